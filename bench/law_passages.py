"""How many passages of the law, and how long? What each choice gives and costs, on rows kept aside.

The search, which does not know these training rows' questions, either has the right article among the first
passages or not; of the right one, cut to a length, the prompt has so many tokens, and so many of the
answer's words. No model answers here: whether one can choose among several is another question.

  python bench/law_passages.py --law-dir law          a minute on two cores
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path
from statistics import fmean

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from legalqa.data.open_book import OpenBook, open_book, passages_of
from legalqa.data.records import read_records, to_line, user_turn
from legalqa.law import acts
from legalqa.law.glossary import load_pairs
from legalqa.law.passages import cited_articles, question_of
from legalqa.law.words import detect_language, stem, words_of
from legalqa.model.base import load_tokenizer
from legalqa.model.prompt import passage_line

HELD_OUT, SEED = 200, 77
NUMBERS, LENGTHS = (1, 2, 3, 5), (32, 48, 64, 96, 128, 192)


def words(text: str, language: str) -> set[str]:
    return {
        stem(word, language)
        for word in words_of(text)
        if word not in load_pairs().stop_words and not word.isdigit()
    }


def print_recall(rows: list[dict], book: OpenBook) -> None:
    ranks = []
    for row in rows:
        passages, right = passages_of(book.add(row)), cited_articles(row["output"])
        keys = passages.keys if passages else []
        ranks.append(next((rank for rank, key in enumerate(keys) if key in right), max(NUMBERS)))
    shares = [f"{100 * fmean(rank < number for rank in ranks):.0f}" for number in NUMBERS]
    print(f"  right article among the first {' / '.join(map(str, NUMBERS))}: {' / '.join(shares)} %")


def print_lengths(rows: list[dict], book: OpenBook, language: str, tokenizer) -> None:
    for length in LENGTHS:
        tokens, covered = [], []
        for row in rows:
            ranking = book.index.rank(question_of(row))
            found = [book.index.passage_of(*key, ranking) for key in cited_articles(row["output"])[:1]]
            if found and found[0]:
                line = passage_line(found[0], language, length, tokenizer)
                said = words(row["output"], language)
                tokens.append(len(tokenizer(line).input_ids))
                covered.append(len(said & words(line, language)) / max(1, len(said)))
        share = f"{100 * fmean(covered):.0f} % of the answer's words"
        print(f"  cut to {length:>3}: {fmean(tokens):>4.0f} tokens a passage, {share}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--law-dir", type=Path, default=REPOSITORY / "law")
    parser.add_argument("--train-file", type=Path, default=REPOSITORY / "combined_data" / "train.jsonl")
    parser.add_argument("--tokenizer", default="models/demo")
    args = parser.parse_args()
    acts.use(args.law_dir)
    rows = read_records(args.train_file)
    held = random.Random(SEED).sample(rows, HELD_OUT)
    tokenizer = load_tokenizer(args.tokenizer)
    with tempfile.TemporaryDirectory() as folder:  # the user's own index stays as it is
        law_dir, others = Path(folder) / "law", Path(folder) / "others.jsonl"
        law_dir.mkdir()
        for path in args.law_dir.glob("*.jsonl"):
            (law_dir / path.name).symlink_to(path.resolve())
        others.write_text("".join(to_line(row) for row in rows if row not in held), "utf-8")
        book = open_book(law_dir, others, max(NUMBERS), max_tokens=0)
        for language in ("ru", "kk"):
            part = [row for row in held if detect_language(user_turn(row)) == language]
            print(f"{language}, {len(part)} rows")
            print_recall(part, book)
            print_lengths(part, book, language, tokenizer)


if __name__ == "__main__":
    main()
