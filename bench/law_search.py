"""How often does the search find the right article? Recall at 1, 3, 5, 10, beside a plain BM25's; its costs.

Right is the article that a row's `source` names, or any that its answer cites where it has no source. Rows:
validation's, training rows kept out of the index (200, drawn by seed; no setting of the search was chosen on
them) and those of --more. The index has the questions of the other training rows. The plain BM25 is what this
search grew out of: articles (title three times) and paragraphs, a Russian stem or five Kazakh letters, joined
by reciprocal ranks.

  python bench/law_search.py --law-dir law                     two minutes on two cores
  python bench/law_search.py --law-dir law --more rows.jsonl   rows whose answers cite their articles
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import bm25s
import numpy as np

from legalqa.data.records import read_records
from legalqa.files import write_json
from legalqa.law.citations import parse_citations
from legalqa.law.passages import asked_questions, question_of
from legalqa.law.search import LawIndex, paragraphs_of
from legalqa.law.words import detect_language, stem, words_of

RESULTS = REPOSITORY / "bench" / "results" / "law_search.json"
DEPTHS = 1, 3, 5, 10
HELD_OUT = 200  # training rows
SEED = 20
NOT_FOUND = 10**6

Key = tuple[str, str]  # act, article


class Question(NamedTuple):
    text: str
    right: set[Key]
    groups: list[str]  # what it is counted under


def read_questions(rows: list[dict], seen: set[Key], with_kazakh: set[Key]) -> list[Question]:
    """The rows with a right article. seen: articles of the questions in the index."""
    questions = []
    for row in rows:
        text, source = question_of(row), row.get("source")
        cited = {(c.act, c.article) for c in parse_citations(row["output"]) if c.act}
        right = {(source["act"], source["article"])} if source else cited
        if right:
            language = detect_language(text)
            groups = ["all", {"ru": "Russian", "kk": "Kazakh"}[language]]
            if language == "kk":
                has_text = right & with_kazakh
                groups.append(
                    "Kazakh, act has Kazakh text" if has_text else "Kazakh, act has Russian text only"
                )
            groups.append("names an article" if parse_citations(text) else "names no article")
            groups.append("article seen in training" if right & seen else "article not seen")
            questions.append(Question(text, right, groups))
    return questions


def recall(questions: list[Question], search: Callable[[str], list[Key]]) -> dict[str, dict]:
    """{group: {"questions", "at_1": share, ...}}."""
    ranks: dict[str, list[int]] = {}
    for question in questions:
        found = search(question.text)
        rank = next((i for i, key in enumerate(found) if key in question.right), NOT_FOUND)
        for group in question.groups:
            ranks.setdefault(group, []).append(rank)
    return {
        group: {"questions": len(places)}
        | {f"at_{depth}": round(float(np.mean(np.array(places) < depth)), 3) for depth in DEPTHS}
        for group, places in ranks.items()
    }


class PlainIndex:
    """BM25 as it is usually done, to compare with."""

    def __init__(self, law_dir: Path):
        self.parts = {language: self.index(law_dir, language) for language in ("ru", "kk")}

    def index(self, law_dir: Path, language: str) -> tuple:
        keys, articles, paragraphs, owner = [], [], [], []
        for path in sorted(law_dir.glob(f"*.{language}.jsonl")):
            for article in map(json.loads, path.read_text("utf-8").splitlines()):
                if article["text"]:
                    articles.append(plain_words(f"{article['title']} " * 3 + article["text"], language))
                    lines = paragraphs_of(article)
                    paragraphs += [plain_words(line, language) for line in lines]
                    owner += [len(keys)] * len(lines)
                    keys.append((path.name.split(".")[0], article["article"]))
        return keys, plain_bm25(articles), plain_bm25(paragraphs), np.array(owner)

    def search(self, question: str) -> list[Key]:
        language = detect_language(question)
        keys, articles, paragraphs, owner = self.parts[language]
        words = plain_words(question, language)
        best = np.zeros(len(keys), np.float32)
        np.maximum.at(best, owner, paragraphs.get_scores(words))
        fused = sum(
            1 / (60 + np.argsort(np.argsort(-s, kind="stable"))) for s in (articles.get_scores(words), best)
        )
        return [keys[i] for i in np.argsort(-fused, kind="stable")[: DEPTHS[-1]]]


def plain_words(text: str, language: str) -> list[str]:
    return [stem(word, "ru") if language == "ru" else word[:5] for word in words_of(text)]


def plain_bm25(documents: list[list[str]]) -> bm25s.BM25:
    retriever = bm25s.BM25()
    retriever.index(documents, show_progress=False)
    return retriever


def build_costs(law_dir: Path, train_file: Path, held: list[int]) -> dict[str, float]:
    """Time and memory to make the index, in a process of its own."""
    code = (
        f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / 'bench')!r}]\n"
        f"import law_search; law_search.open_index({str(law_dir)!r}, {str(train_file)!r}, {held})"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"build_sec": round(seconds, 1), "build_peak_mb": round(peak)}


def open_index(law_dir: str, train_file: str, held: list[int]) -> LawIndex:
    left_out = set(held)
    rows = read_records(train_file)
    return LawIndex.load_or_build(
        law_dir, asked_questions(row for i, row in enumerate(rows) if i not in left_out)
    )


def query_costs(index: LawIndex, questions: list[Question]) -> dict[str, float]:
    seconds = []
    for question in questions:
        start = time.perf_counter()
        index.search(question.text, 3)
        seconds.append(time.perf_counter() - start)
    median, slow = np.percentile(seconds, [50, 95]) * 1000
    return {"query_median_ms": round(float(median), 1), "query_95_percent_ms": round(float(slow), 1)}


def print_table(name: str, ours: dict[str, dict], plain: dict[str, dict]) -> None:
    print(f"\n{name}: recall at 1 / 3 / 5 / 10, %, and plain BM25's")
    for group, row in ours.items():
        shares = [
            " / ".join(f"{100 * side[group][f'at_{depth}']:4.1f}" for depth in DEPTHS)
            for side in (ours, plain)
        ]
        print(f"  {group:34s} {row['questions']:5d}   {shares[0]}   ({shares[1]})")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--law-dir", type=Path, default=REPOSITORY / "law")
    parser.add_argument("--train-file", type=Path, default=REPOSITORY / "combined_data" / "train.jsonl")
    parser.add_argument(
        "--validation-file", type=Path, default=REPOSITORY / "combined_data" / "validation.jsonl"
    )
    parser.add_argument("--more", type=Path, help="JSONL of rows whose answers cite their articles")
    args = parser.parse_args()
    train = read_records(args.train_file)
    order = list(range(len(train)))
    random.Random(SEED).shuffle(order)
    held = order[:HELD_OUT]
    with tempfile.TemporaryDirectory() as folder:
        law_dir = Path(folder)  # the user's own index stays as it is
        for path in args.law_dir.glob("*.jsonl"):
            (law_dir / path.name).symlink_to(path.resolve())
        costs = build_costs(law_dir, args.train_file, held)
        start = time.perf_counter()
        index = open_index(str(law_dir), str(args.train_file), held)
        costs["load_with_rows_sec"] = round(time.perf_counter() - start, 2)
        start = time.perf_counter()
        LawIndex(law_dir)
        costs["load_sec"] = round(time.perf_counter() - start, 2)
        results = measure(index, PlainIndex(law_dir), train, held, args)
        costs |= query_costs(index, results.pop("questions"))
    print("\n" + ", ".join(f"{name} {value}" for name, value in costs.items()))
    write_json(RESULTS, {"index_sha256": index.sha256, "costs": costs, "recall": results})


def measure(index: LawIndex, plain: PlainIndex, train: list[dict], held: list[int], args) -> dict:
    """{set: {"search", "plain_bm25": recall by group}} and the questions of all sets."""
    left_out = set(held)
    indexed = [row for i, row in enumerate(train) if i not in left_out]
    seen = {(question.act, question.article) for question in asked_questions(indexed)}
    with_kazakh = {key for key, kazakh in zip(index.keys, index.has_kazakh) if kazakh}
    sets = {
        "validation": read_records(args.validation_file),
        "training rows kept out": [train[i] for i in held],
    }
    if args.more:
        sets["more"] = read_records(args.more)
    results, everything = {}, []
    for name, rows in sets.items():
        questions = read_questions(rows, seen, with_kazakh)
        ours = recall(questions, lambda text: [(p.act, p.article) for p in index.search(text, DEPTHS[-1])])
        other = recall(questions, plain.search)
        print_table(name, ours, other)
        results[name] = {"search": ours, "plain_bm25": other}
        everything += questions
    return {**results, "questions": everything}


if __name__ == "__main__":
    main()
