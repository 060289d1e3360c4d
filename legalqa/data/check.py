"""What is wrong in a train and a validation file together: bad rows, duplicates, questions on both sides."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from legalqa.data import duplicates, records, splits
from legalqa.data.layouts import SEEN_ARTICLE
from legalqa.data.text import clean_text
from legalqa.errors import UserError

LONG_ANSWER = 20  # words from which on one answer in both files is worth a warning
SHOWN_EXAMPLES = 3


class PartRow(NamedTuple):
    """A good row of one of the two files."""

    part: str  # train or validation
    place: str  # file:line
    record: dict
    key: duplicates.RecordKey


class Findings(NamedTuple):
    """{kind: places} of what is wrong, and of what is merely odd."""

    errors: dict[str, list[str]]
    warnings: dict[str, list[str]]


def check_pair(files: dict[str, str], threshold: float, progress) -> Findings:
    """`files`: {part: path}; `progress(title, total)` yields a function that is told how many rows are
    done."""
    found = Findings(defaultdict(list), defaultdict(list))
    rows = [row for part, path in files.items() for row in good_rows(part, path, found.errors)]
    comparison = duplicates.Comparison([row.key for row in rows], threshold)
    with progress("comparing", 2 * len(rows)) as advance:
        same_rows = set(comparison.duplicates(advance))
        same_questions = comparison.same_questions(range(len(rows)), advance)
    for i, j in sorted(same_rows.union(same_questions)):
        judge_pair(rows[i], rows[j], (i, j) in same_rows, threshold, found)
    judge_answers(rows, found)
    return found


def good_rows(part: str, path: str, errors: dict[str, list[str]]) -> Iterator[PartRow]:
    """The rows of a file, which must be in the project's format as they stand; the bad ones go into
    `errors`."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; make it with: python prepare_data.py SOURCE")
    is_empty = True
    for number, line in enumerate(records.read_lines(path), 1):
        if not line.strip():
            continue
        record, problem = records.parse_record(line)
        if record is None:
            errors[f"bad row in {part}"].append(f"{path}:{number} {problem}")
        else:
            is_empty = False
            yield PartRow(part, f"{path}:{number}", record, duplicates.record_key(record))
    if is_empty:
        errors[f"bad row in {part}"].append(f"{path} has no rows")


def judge_pair(one: PartRow, other: PartRow, is_duplicate: bool, threshold: float, found: Findings) -> None:
    same_words, pair = one.key.question == other.key.question, f"{one.place} and {other.place}"
    if one.part != other.part:
        if on_one_passage(one, other, threshold):
            found.warnings["one input in train and validation, under two instructions"].append(pair)
        else:
            kind = "question" if same_words else "near-duplicate question"
            found.errors[f"{kind} of train in validation"].append(pair)
    elif one.key == other.key:
        found.errors[f"exact duplicate in {one.part}"].append(pair)
    elif is_duplicate:
        found.errors[f"near-duplicate in {one.part}"].append(pair)
    elif same_words and not on_one_passage(one, other, threshold):
        found.warnings[f"same question, other answer in {one.part}"].append(pair)


def on_one_passage(one: PartRow, other: PartRow, threshold: float) -> bool:
    """Whether the two share their input alone: their instructions ask two things."""
    if not (one.record["input"] and other.record["input"]):
        return False
    first, second = (duplicates.fingerprint(row.key.instruction) for row in (one, other))
    return not duplicates.alike(first, second, threshold)


def judge_answers(rows: list[PartRow], found: Findings) -> None:
    train = [row for row in rows if row.part == "train"]
    covered = {splits.article_of(row.record) for row in train} - {None}
    answers = {row.key.answer: row for row in train}
    for row in rows:
        record, article = row.record, splits.article_of(row.record)
        if any(
            clean_text(record[field], field == "output").text != record[field] for field in records.FIELDS
        ):
            found.warnings["text not normalized"].append(row.place)
        if row.part == "train":
            continue
        twin = answers.get(row.key.answer)
        if twin and len(row.key.answer.split()) >= LONG_ANSWER:
            found.warnings["long answer of train in validation"].append(f"{twin.place} and {row.place}")
        if SEEN_ARTICLE in record and record[SEEN_ARTICLE] is not (article and article in covered):
            found.errors["seen_article is not true"].append(f"{row.place} says {record[SEEN_ARTICLE]}")


def print_findings(found: Findings, files: dict[str, str]) -> int:
    """One line for each kind of finding, with examples. The exit code: 1 if anything is wrong."""
    for label, findings in (("error", found.errors), ("warning", found.warnings)):
        for kind, places in findings.items():
            more = f"; and {len(places) - SHOWN_EXAMPLES} more" if len(places) > SHOWN_EXAMPLES else ""
            print(f"{label}: {kind}: {len(places)}: {'; '.join(places[:SHOWN_EXAMPLES])}{more}")
    if not found.errors:
        print(
            f"ok: {' and '.join(files.values())}: every row is well-formed, none is there twice, "
            "no question of train is in validation"
        )
    return 1 if found.errors else 0
