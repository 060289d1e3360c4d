"""What a data set looks like: counts and lengths as one dict, and that dict as tables."""

import math
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from legalqa.data import records
from legalqa.data.text import LATIN_IN_CYRILLIC, split_words
from legalqa.errors import UserError
from legalqa.law.words import detect_language

Advance = Callable[[int], object]  # told how many more rows are done
PERCENTILES = (5, 25, 50, 75, 95, 100)
SHORT_ANSWERS = (3, 10)  # words
OPENING_WORDS = 4
SHOWN_OPENINGS = 10
TOKENIZE_AT_ONCE = 1000  # rows; more costs memory and saves no time
WORTH_PROCESSES = 5000  # rows from which on reading their citations is shared out among the cores


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer in a model's folder, by the `tokenizers` package alone: nothing else of the model is
    read."""
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{folder}: no tokenizer.json there; give --tokenizer the folder of a model")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises no narrower class than this
        raise UserError(f"{path}: cannot be read as a tokenizer: {error}") from error


def count_tokens(rows: list[dict], tokenizer, advance: Advance) -> list[int]:
    """Tokens of each row's question and answer, without those of the chat template."""
    counts = []
    for start in range(0, len(rows), TOKENIZE_AT_ONCE):
        batch = rows[start : start + TOKENIZE_AT_ONCE]
        texts = [f"{records.user_turn(row)}\n{row['output']}" for row in batch]
        counts += [len(encoding) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        advance(len(batch))
    return counts


def percentiles(values: list[int]) -> dict[str, float]:
    """{"p5": ..., "p100": ...} by nearest rank, and the mean; {} of nothing."""
    if not values:
        return {}
    values = sorted(values)
    ranks = {f"p{percent}": values[math.ceil(percent / 100 * len(values)) - 1] for percent in PERCENTILES}
    return ranks | {"mean": round(sum(values) / len(values), 1)}


def all_cited_acts(texts: list[str]) -> Iterator[set[str]]:
    """`cited_acts` of each text, in order; of many, on all cores, because a reading takes most of a
    millisecond."""
    if len(texts) < WORTH_PROCESSES:
        yield from map(cited_acts, texts)
        return
    # Not forked: the progress bar's thread runs here.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as workers:
        yield from workers.map(cited_acts, texts, chunksize=500)


def cited_acts(text: str) -> set[str]:
    """The acts that a text cites an article of: ids of acts.json, or in words that there is none."""
    from legalqa.law.citations import parse_citations

    return {citation.act or "an act not in acts.json" for citation in parse_citations(text)} or {"no act"}


def describe(
    train: list[dict], validation: list[dict], max_tokens: int, tokenizer, advance: Advance
) -> dict[str, Any]:
    """The dict that `print_tables` shows: rows by language and cited act, lengths, openings, oddities."""
    rows = [*train, *validation]
    acts, languages = Counter(), {}
    for cited in all_cited_acts([row["output"] for row in rows]):
        acts.update(cited)
        advance(1)
    for language in ("ru", "kk"):
        size = [
            sum(detect_language(records.question(row)) == language for row in part)
            for part in (train, validation)
        ]
        languages[language] = {"train": size[0], "validation": size[1]}
    questions = [split_words(records.question(row)) for row in rows]
    answer_words = [len(row["output"].split()) for row in rows]
    summary = {
        "train": len(train),
        "validation": len(validation),
        "by_language": languages,
        "by_seen_article": Counter(
            "seen" if row["seen_article"] else "unseen" for row in validation if "seen_article" in row
        ),
        "by_cited_act": dict(acts.most_common()),
        "question_words": percentiles([len(records.question(row).split()) for row in rows]),
        "answer_words": percentiles(answer_words),
        "short_answers": {
            f"up to {limit} words": sum(size <= limit for size in answer_words) for limit in SHORT_ANSWERS
        },
        "first_words": dict(Counter(words[0] for words in questions if words).most_common(SHOWN_OPENINGS)),
        "openings": dict(
            Counter(" ".join(words[:OPENING_WORDS]) for words in questions).most_common(SHOWN_OPENINGS)
        ),
        "latin_in_cyrillic": sum(
            bool(LATIN_IN_CYRILLIC.search(" ".join(row[field] for field in records.FIELDS))) for row in rows
        ),
    }
    if tokenizer:
        tokens = count_tokens(rows, tokenizer, advance)
        summary["tokens"] = percentiles(tokens)
        summary["over_max_seq_length"] = sum(size > max_tokens for size in tokens)
    return summary


class Table(NamedTuple):
    """A table for people: its first column are names, the others are figures."""

    title: str
    columns: list[str]
    lines: list[tuple]


def print_tables(summary: dict, console) -> None:
    """The summary for people. `rows_in`, `dropped`, `changed` and `kept` are added by prepare_data.py."""
    from rich import table

    for title, columns, lines in (*row_tables(summary), length_table(summary), *text_tables(summary)):
        grid = table.Table(title=title, title_justify="left", min_width=len(title))
        for number, column in enumerate(columns):
            grid.add_column(column, justify="right" if number else "left", overflow="fold")
        for line in lines:
            grid.add_row(*map(str, line))
        console.print(grid)


def row_tables(summary: dict) -> list[Table]:
    kept = summary["kept"]
    rows = {
        "in": summary["rows_in"],
        **{f"dropped: {reason}": size for reason, size in summary["dropped"].items()},
        "kept": kept,
        **{f"changed: {what}": size for what, size in summary["changed"].items()},
        "train": summary["train"],
        "validation": summary["validation"],
        **{f"validation about {name} articles": size for name, size in summary["by_seen_article"].items()},
    }
    languages = [
        (language, size["train"], size["validation"], share_text(sum(size.values()), kept))
        for language, size in summary["by_language"].items()
    ]
    return [
        Table("Rows", ["", "rows"], list(rows.items())),
        Table("Language of the question", ["", "train", "validation", "share"], languages),
        share_table("Cited act", summary["by_cited_act"], kept),
    ]


def length_table(summary: dict) -> Table:
    lengths = {
        "question, words": summary["question_words"],
        "answer, words": summary["answer_words"],
        "question and answer, tokens": summary.get("tokens"),
    }
    lines = [(name, *values.values()) for name, values in lengths.items() if values]
    return Table("Length", ["", *summary["answer_words"]], lines)


def text_tables(summary: dict) -> list[Table]:
    kept = summary["kept"]
    oddities = {f"answers of {name}": size for name, size in summary["short_answers"].items()}
    oddities["same question, other answer"] = summary["other_answers"]
    oddities["Latin letter inside a Cyrillic word"] = summary["latin_in_cyrillic"]
    if "tokens" in summary:
        oddities["more tokens than max_seq_length"] = summary["over_max_seq_length"]
    return [
        share_table("Answers and oddities", oddities, kept),
        share_table("Most frequent first words", summary["first_words"], kept),
        share_table(f"Most frequent {OPENING_WORDS}-word openings", summary["openings"], kept),
    ]


def share_table(title: str, sizes: dict[str, int], kept: int) -> Table:
    return Table(
        title, ["", "rows", "share"], [(name, size, share_text(size, kept)) for name, size in sizes.items()]
    )


def share_text(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
