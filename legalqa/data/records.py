"""The record format, {"instruction": str, "input": str, "output": str}, and the one reader of its files."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from legalqa.data import formats
from legalqa.data.text import text_key
from legalqa.errors import UserError

SHOWN_PROBLEMS = 3
FIELDS = ("instruction", "input", "output")
HALF_SURROGATE = re.compile("[\ud800-\udfff]")  # valid in JSON escapes, cannot be written as UTF-8
DATA_SCRIPT = "prepare_data.py"


class DoubledKeys(dict):
    """A JSON object with a key that occurs twice: Python keeps the last, and another value may have been
    meant."""

    key = ""


def load_json(text: str | bytes) -> Any:
    """json.loads, with objects whose keys occur twice marked. Raises ValueError or RecursionError."""
    return json.loads(text, object_pairs_hook=json_object)


def json_object(pairs: list) -> dict:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    keys = [key for key, _ in pairs]
    doubled = DoubledKeys(value)
    doubled.key = next(key for key in keys if keys.count(key) > 1)
    return doubled


def read_records(path: str | Path) -> list[dict]:
    """All records of a JSONL file, in file order; `input` is added where absent, further keys are kept.

    Every line is checked before anything is returned. UserError names the file and the first bad lines, and
    counts the rest: not JSON, not an object, a field missing, not a string, or empty (`input` may be empty).
    """
    return read_rows(path, record_problem, DATA_SCRIPT)


def read_rows(path: str | Path, problem_of: Callable[[Any], str | None], script: str) -> list[dict]:
    """The same for rows of another format: `problem_of` says what is wrong with one, `script` makes such a
    file."""
    records, problems = [], []
    for number, line in enumerate(read_lines(path, script), 1):
        if not line.strip():
            continue
        record, problem = parse_record(line, problem_of)
        if problem:
            problems.append(f"line {number}: {problem}")
        else:
            records.append(record)
    if problems:
        more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        raise UserError(
            f"{path}: {len(problems)} bad line(s): {'; '.join(problems[:SHOWN_PROBLEMS])}{more}; "
            f"mend them, or {'let prepare_data.py drop them' if script == DATA_SCRIPT else 'make them again'}"
        )
    if not records:
        raise UserError(f"{path}: no rows in it; make the data with: python {script}")
    return records


def read_lines(path: str | Path, script: str = DATA_SCRIPT) -> list[str]:
    """The lines of a UTF-8 text file, split at line feeds alone: U+2028 inside a JSON string is not a line
    end."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise UserError(
                f"{path}: not a regular file; the rows are read more than once: give a file on disk"
            )
        content = Path(path).read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; make the data with: python {script}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line}: {formats.not_utf8(error.object)}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if kind := formats.kind_of(content):
        raise UserError(f"{path}: {kind}")
    return text.split("\n")


def to_line(record: dict) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def parse_record(
    line: str, problem_of: Callable[[Any], str | None] | None = None
) -> tuple[dict | None, str | None]:
    """(record, None) or (None, what is wrong) of one JSONL line; `input` is added where absent."""
    try:
        record = load_json(line)
    except json.JSONDecodeError as error:
        return None, f"not JSON ({error.msg})"
    except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand brackets
        return None, "not JSON that can be read (nested too deep, or too long a number)"
    if isinstance(record, dict):
        record.setdefault("input", "")
    problem = (problem_of or record_problem)(record)
    return (None, problem) if problem else (record, None)


def record_problem(record) -> str | None:
    """What is wrong with a record, or None."""
    return text_problem(record, FIELDS)


def text_problem(record: Any, fields: tuple[str, ...]) -> str | None:
    """What is wrong with a JSON object whose `fields` are texts, of which only `input` may be empty; or
    None."""
    if not isinstance(record, dict):
        return "not a JSON object"
    if isinstance(record, DoubledKeys):
        return f"key '{record.key}' occurs twice"
    for field in fields:
        if field not in record:
            return f"no field '{field}'"
        if not isinstance(record[field], str):
            return f"field '{field}' is not a string"
        if HALF_SURROGATE.search(record[field]):
            return f"field '{field}' has half a surrogate pair"
    for field in fields:
        if field != "input" and not record[field].strip():
            return f"field '{field}' is empty"
    return None


def is_amount(value) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e15 and math.isfinite(value)


# What a prediction may say of its making: {field: (what is expected, test)}; null says nothing.
MADE_HOW = {
    "cut_off": ("true or false", lambda value: isinstance(value, bool)),
    "new_tokens": ("a count", lambda value: type(value) is int and is_amount(value)),
    "generation_sec": ("seconds", is_amount),
    "seen_article": ("true or false", lambda value: isinstance(value, bool)),
}


def prediction_problem(record: dict) -> str | None:
    """What is wrong with a row of ready answers, beyond `record_problem`, or None."""
    if not isinstance(record.get("prediction"), str):
        return "no text in 'prediction'"
    for field, (expected, test) in MADE_HOW.items():
        if record.get(field) is not None and not test(record[field]):
            value = record[field]
            shown = repr(value[:40]) if isinstance(value, str) else type(value).__name__
            return f"field '{field}' must be {expected}, or null, not {shown}"
    return None


def user_turn(record: Mapping[str, Any]) -> str:
    """What the user says: the instruction, then, if there is input, a blank line and the input."""
    instruction, text = record["instruction"].strip(), record["input"].strip()
    return f"{instruction}\n\n{text}" if text else instruction


def question(record: Mapping[str, Any]) -> str:
    """The question itself: the input where the instruction is a general one, else the instruction."""
    return record["input"].strip() or record["instruction"].strip()


def asked(record: Mapping[str, Any]) -> str:
    """What a record asks, for comparing: how its letters are composed, case, spaces and punctuation make no
    difference."""
    turn = user_turn(record)
    return text_key(turn) or turn


def without_leaks(validation: list[dict], train: list[dict]) -> list[dict]:
    """The validation records that no training record asks too: the same words in the user's turn."""
    taken = {asked(record) for record in train}
    return [record for record in validation if asked(record) not in taken]
