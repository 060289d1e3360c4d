"""Raw files (JSONL, JSON, CSV, Parquet, saved `datasets`) as rows in the project's format, every row accounted for."""

import csv
import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from legalqa.data.records import FIELDS, HALF_SURROGATE, record_problem
from legalqa.errors import UserError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
SAVED_DATASET = ("state.json", "dataset_dict.json")  # what `datasets.save_to_disk` leaves in its folder
SEEN_ARTICLE = "seen_article"  # said of a split, so it never travels from one split into another

LINE_ENDS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
SPACES = re.compile(r"[^\S\n]+")
BLANK_LINES = re.compile(r"\n{3,}")


class Row(NamedTuple):
    """A row of a source: its record, or why it has none."""

    file: str
    line: int  # of the file; the number of the row in JSON lists, Parquet and saved datasets
    record: dict | None
    reason: str | None


def normalize_text(text):
    """NFC; no control or invisible characters; one space, one blank line at a time; nothing at the ends."""
    text = LINE_ENDS.sub("\n", unicodedata.normalize("NFC", text))
    if not text.isprintable():
        text = "".join(
            character
            for character in text
            if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf")
        )
    lines = (SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return unicodedata.normalize("NFC", BLANK_LINES.sub("\n\n", "\n".join(lines)).strip())


def find_files(sources):
    """The files of the sources given, folders searched for the suffixes above; a saved dataset is its folder."""
    files = []
    for source in map(Path, sources):
        if source.is_dir() and not is_saved_dataset(source):
            found = sorted(path for path in source.rglob("*") if path.suffix in SUFFIXES and path.is_file())
            if not found:
                raise UserError(f"{source}: no file ending in {', '.join(SUFFIXES)} in this folder")
            files += found
        elif not source.exists():
            raise UserError(f"{source}: no such file or folder")
        elif source.is_file() and source.suffix not in SUFFIXES:
            raise UserError(
                f"{source}: unknown kind of file; expected {', '.join(SUFFIXES)}, or a folder of such"
            )
        else:
            files.append(source)
    return list(dict.fromkeys(files))


def is_saved_dataset(folder):
    return any((folder / name).is_file() for name in SAVED_DATASET)


def read_file(path, mapping, advance=lambda steps: None):
    """Yield a Row for every row of a file. `advance(n)` is called as n bytes are done.

    Raises a UserError that names the columns if the rows are well-formed but none has the fields of a record.
    """
    read = {
        ".jsonl": read_jsonl,
        ".json": read_json,
        ".csv": read_csv,
        ".tsv": read_csv,
        ".parquet": read_parquet,
    }.get(path.suffix, read_saved_dataset)
    columns, usable = {}, False
    try:
        for line, value, problem, size in read(path):
            record, reason = (None, problem) if problem else to_record(value, mapping)
            usable |= record is not None or not reason.startswith("no field")
            if not usable and isinstance(value, dict):
                columns.update(dict.fromkeys(map(str, value)))
            advance(size)
            yield Row(str(path), line, record, reason)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if columns and not usable:
        raise UserError(
            f"{path}: no row has the fields instruction and output; its columns are {', '.join(columns)}: "
            "name them, e.g. --map question=instruction --map answer=output"
        )


# Each reader yields (line or row number, parsed value, what is wrong with it or None, bytes read since the last one).


def read_jsonl(path):
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8")), None, len(line)
            except UnicodeDecodeError:
                yield number, None, "not UTF-8", len(line)
            except (ValueError, RecursionError):  # ValueError: also a number of 5,000 digits
                yield number, None, "not JSON", len(line)


def read_json(path):
    """A list of rows, or an object that holds one such list; a `.json` of JSON lines is read as lines."""
    content = path.read_bytes()
    try:
        data = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8; convert it, e.g. iconv -f cp1251 -t utf-8") from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") and b"\n" in content.strip():
            yield from read_jsonl(path)
            return
        raise UserError(
            f"{path}: not JSON: {getattr(error, 'msg', 'nested too deep, or too long a number')}"
            f" (line {getattr(error, 'lineno', 1)})"
        ) from error
    if isinstance(data, dict):
        lists = [
            value
            for value in data.values()
            if isinstance(value, list) and value and isinstance(value[0], dict)
        ]
        data = lists[0] if len(lists) == 1 and "messages" not in data else [data]
    if not isinstance(data, list):
        raise UserError(f"{path}: a list of rows is expected, found {type(data).__name__}")
    for number, value in enumerate(data, 1):
        yield number, value, None, len(content) / len(data)


def read_csv(path):
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            delimiter = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            columns, done = next(reader, []), 0
            while True:
                number = reader.line_num + 1  # a quoted field may span lines: the row is named by its first
                fields = next(reader, None)
                if fields is None:
                    return
                size, done = file.buffer.tell() - done, file.buffer.tell()
                if fields:
                    surplus = "more fields than the header" if len(fields) > len(columns) else None
                    yield number, dict(zip(columns, fields)), surplus, size
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8; convert it, e.g. iconv -f cp1251 -t utf-8") from error
        except csv.Error as error:
            raise UserError(f"{path}: line {reader.line_num}: not CSV: {error}") from error


def read_parquet(path):
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        size = path.stat().st_size / max(1, file.metadata.num_rows)
        rows = (row for batch in file.iter_batches(batch_size=1000) for row in batch.to_pylist())
        for number, row in enumerate(rows, 1):
            yield number, row, None, size
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a Parquet file that can be read: {first_line(error)}") from error


def read_saved_dataset(path):
    """A folder that `datasets.save_to_disk` made; of several splits, all."""
    import datasets

    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a saved dataset that can be read: {first_line(error)}") from error
    splits = data.values() if isinstance(data, datasets.DatasetDict) else [data]
    rows = (row for split in splits for row in split)
    for number, row in enumerate(rows, 1):
        yield number, row, None, 0


def first_line(error):
    return str(error).strip().split("\n")[0]


def to_record(row, mapping):
    """(record, None) or (None, reason) of one parsed row, in the project's format and normalized."""
    if not isinstance(row, dict):
        return None, "not an object"
    mapped = {field: row[column] for column, field in mapping.items() if column in row}
    row = {key: value for key, value in row.items() if key not in mapping and key != SEEN_ARTICLE} | mapped
    if "messages" in row and "instruction" not in row:
        turns, problem = from_messages(row.pop("messages"))
        if problem:
            return None, problem
        row |= turns
    if row.get("input") is None:
        row["input"] = ""
    record = {field: row.pop(field) for field in FIELDS if row.get(field) is not None}
    if problem := record_problem(record):
        return None, problem
    record = {field: normalize_text(text) for field, text in record.items()}
    for field in ("instruction", "output"):
        if not any(map(str.isalnum, record[field])):
            return None, f"field '{field}' is empty" if not record[field] else f"field '{field}' has no word"
    if row and HALF_SURROGATE.search(json.dumps(row, ensure_ascii=False, default=str)):
        return None, "half a surrogate pair in a further field"
    return record | row, None


def from_messages(messages):
    """({"instruction", "output"}, None) or (None, reason) of a chat of one question; the system turn is left out."""
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        return None, "messages are not a list of turns"
    turns = [(turn.get("role"), turn.get("content")) for turn in messages if turn.get("role") != "system"]
    roles = [role for role, _ in turns]
    if roles != ["user", "assistant"]:
        several = roles[:2] == ["user", "assistant"] and len(roles) > 2
        return None, "a chat of several questions" if several else "a chat without a question and an answer"
    return dict(zip(("instruction", "output"), (content_text(content) for _, content in turns))), None


def content_text(content):
    """The text of a turn; in the form that lists its parts, the text parts joined."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content
