"""The record format, {"instruction": str, "input": str, "output": str}, and the one reader of its files."""

import json
import re
from pathlib import Path

from legalqa.errors import UserError

SHOWN_PROBLEMS = 3
FIELDS = ("instruction", "input", "output")
HALF_SURROGATE = re.compile("[\ud800-\udfff]")  # valid in JSON escapes, cannot be written as UTF-8
KAZAKH_LETTERS = frozenset("әғқңөұүһі")  # the letters of the Kazakh alphabet that Russian lacks


def read_records(path):
    """All records of a JSONL file, in file order; `input` is added where absent, further keys are kept.

    Every line is checked before anything is returned. UserError names the file and the first bad lines, and
    counts the rest: not JSON, not an object, a field missing, not a string, or empty (`input` may be empty).
    """
    records, problems = [], []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        record, problem = parse_record(line)
        if problem:
            problems.append(f"line {number}: {problem}")
        else:
            records.append(record)
    if problems:
        more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        raise UserError(
            f"{path}: {len(problems)} bad line(s): {'; '.join(problems[:SHOWN_PROBLEMS])}{more}; "
            "mend them, or let prepare_data.py drop them"
        )
    if not records:
        raise UserError(f"{path}: no rows in it; make the data with: python prepare_data.py")
    return records


def read_lines(path):
    """The lines of a UTF-8 text file, split at line feeds alone: U+2028 inside a JSON string is not a line end."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise UserError(
                f"{path}: not a regular file; the rows are read more than once: give a file on disk"
            )
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; make the data with: python prepare_data.py") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: line {line}: not UTF-8; convert it, e.g. iconv -f cp1251 -t utf-8"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return text.split("\n")


def parse_record(line):
    """(record, None) or (None, what is wrong) of one JSONL line; `input` is added where absent."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return None, f"not JSON ({error.msg})"
    except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand brackets
        return None, "not JSON that can be read (nested too deep, or too long a number)"
    if isinstance(record, dict):
        record.setdefault("input", "")
    problem = record_problem(record)
    return (None, problem) if problem else (record, None)


def record_problem(record):
    """What is wrong with a record, or None."""
    if not isinstance(record, dict):
        return "not a JSON object"
    for field in FIELDS:
        if field not in record:
            return f"no field '{field}'"
        if not isinstance(record[field], str):
            return f"field '{field}' is not a string"
        if HALF_SURROGATE.search(record[field]):
            return f"field '{field}' has half a surrogate pair"
    for field in ("instruction", "output"):
        if not record[field].strip():
            return f"field '{field}' is empty"
    return None


def user_turn(record):
    """What the user says: the instruction, then, if there is input, a blank line and the input."""
    instruction, text = record["instruction"].strip(), record["input"].strip()
    return f"{instruction}\n\n{text}" if text else instruction


def question(record):
    """The question itself: the input where the instruction is a general one, else the instruction."""
    return record["input"].strip() or record["instruction"].strip()


def detect_language(text):
    """ "kk" if a letter of the Kazakh alphabet that Russian lacks occurs in the question, else "ru"."""
    return "ru" if KAZAKH_LETTERS.isdisjoint(text.lower()) else "kk"


def without_leaks(validation, train):
    """The validation records that no training record asks too (same user turn, case aside)."""
    asked = {user_turn(record).casefold() for record in train}
    return [record for record in validation if user_turn(record).casefold() not in asked]
