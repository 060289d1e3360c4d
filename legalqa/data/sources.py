"""Files and folders of strangers (JSONL, JSON, CSV, Parquet, saved `datasets`) as rows, every file and row
accounted for."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from legalqa.data import formats, layouts
from legalqa.data.records import load_json
from legalqa.errors import UserError, first_line

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
COMPRESSED = (".gz", ".bz2", ".xz")
SAVED_DATASET = ("state.json", "dataset_dict.json")  # what `datasets.save_to_disk` leaves in its folder
DELIMITERS = ",;\t|"
EXCEL_DELIMITER = re.compile('"?sep=(.)"?\r?', re.IGNORECASE)  # Excel's first line, maybe in quotes
ROWS_AT_ONCE = 1000
PROBED_ROWS = 20  # of a CSV, to tell its delimiter by

READ, SKIPPED, UNKNOWN = "read", "skipped", "unknown"


class Row(NamedTuple):
    """A row of a source: its record, or why it has none; what was taken out of it or left aside."""

    file: str
    line: int  # of the file; the number of the row in JSON lists, Parquet and saved datasets
    record: Any  # a dict, or None where there is a reason
    reason: str | None
    notes: tuple[str, ...] = ()


class Source(NamedTuple):
    """A file (or the folder of a saved dataset) to read, or that cannot be read and why."""

    path: Path
    outcome: str = READ  # READ, SKIPPED or UNKNOWN
    why: str | None = None
    named: bool = False  # by the user; what is wrong with it then stops everything
    num_rows: int = 0


class Parsed(NamedTuple):
    """What a reader found: the line or row number, the value or what is wrong with it, bytes read since the
    last one."""

    line: int
    value: Any
    problem: str | None
    size: float


# ---------------------------------------------------------------- which files


def find_sources(paths: list[str]) -> list[Source]:
    """Every file of the paths given, each once; in folders, the unreadable ones among them. Named files must
    be readable."""
    found, seen = [], set()
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        if path.is_dir() and not is_saved_dataset(path):
            inside = list(walk(path))
            if not any(source.outcome == READ for source in inside):
                raise UserError(f"{path}: no file ending in {', '.join(SUFFIXES)} in this folder")
            found += inside
        else:
            source = judge(path)._replace(named=True)
            if source.why:
                raise UserError(f"{path}: {source.why}; expected {', '.join(SUFFIXES)}, or a folder of such")
            found.append(source)
    once = []
    for source in found:
        real = source.path.resolve()
        if real not in seen:
            once.append(source)
        elif source.path not in [other.path for other in once]:
            once.append(source._replace(outcome=SKIPPED, why="the same file as one before, by a link"))
        seen.add(real)
    return once


def walk(folder: Path, parents: tuple[Path, ...] = ()) -> Iterator[Source]:
    """A Source for every file below a folder, links followed; hidden folders and links in a circle are one
    each."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield Source(folder, SKIPPED, f"cannot be opened: {error.strerror}")
        return
    parents = (*parents, folder.resolve())
    for path in entries:
        if path.name.startswith("."):
            yield Source(path, SKIPPED, "hidden")
        elif not path.is_dir() or is_saved_dataset(path):
            yield judge(path)
        elif path.resolve() in parents:
            yield Source(path, SKIPPED, "a link to a folder it is in")
        else:
            yield from walk(path, parents)


def judge(path: Path) -> Source:
    """Whether a path is to be read, by its kind and name alone."""
    if not path.exists():
        return Source(path, SKIPPED, "a link to nothing")
    if path.is_dir() or suffix_of(path) in SUFFIXES and path.is_file():
        return Source(path)
    if not path.is_file():
        return Source(path, UNKNOWN, "not a regular file")
    try:
        with open(path, "rb") as file:
            kind = formats.kind_of(file.read(32))
    except OSError as error:
        return Source(path, SKIPPED, f"cannot be read: {error.strerror}")
    return Source(path, UNKNOWN, f"unknown kind of file{f': {kind}' if kind else ''}")


def suffix_of(path: Path) -> str:
    """The suffix in lower case, of `a.jsonl.gz` the `.jsonl`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_saved_dataset(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED_DATASET)


def read_sources(
    sources: list[Source], mapping: dict[str, str], advance: Callable[[float], Any]
) -> tuple[list[Source], list[Row]]:
    """(the sources, now with what became of each, all their rows). A bad file stops everything only if it was
    named."""
    outcomes, rows = [], []
    for source in sources:
        if source.outcome != READ:
            outcomes.append(source)
            continue
        try:
            found = list(read_file(source.path, mapping, advance))
        except UserError as error:
            if source.named:
                raise
            why = str(error).removeprefix(f"{source.path}: ")
            outcomes.append(source._replace(outcome=SKIPPED, why=why))
            continue
        rows += found
        outcomes.append(source._replace(num_rows=len(found)))
    if not any(source.outcome == READ for source in outcomes):
        raise UserError("; ".join(f"{source.path}: {source.why}" for source in outcomes if source.why))
    return outcomes, rows


# ---------------------------------------------------------------- their rows


def read_file(
    path: Path, mapping: dict[str, str], advance: Callable[[float], Any] = lambda steps: None
) -> Iterator[Row]:
    """Yield a Row for every row of a file. `advance(n)` is called as n bytes are done.

    Raises a UserError that names the columns if the rows are well-formed but none has the fields of a record.
    """
    columns, usable = {}, False
    try:
        for line, value, problem, size in parse_file(path):
            reading = layouts.Reading(None, problem) if problem else layouts.to_record(value, mapping)
            usable |= not (reading.reason or "").startswith("no field")
            if not usable and isinstance(value, dict):
                columns.update(dict.fromkeys(map(str, value)))
            advance(size)
            yield Row(str(path), line, *reading)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if columns and not usable:
        raise UserError(
            f"{path}: no row has the fields instruction and output; its columns are {', '.join(columns)}: "
            "name them, e.g. --map question=instruction --map answer=output"
        )


def parse_file(path: Path) -> Iterator[Parsed]:
    if path.is_dir():
        yield from parse_saved_dataset(path)
        return
    content, size = formats.read_content(path), path.stat().st_size
    if formats.kind_of(content) == formats.PARQUET:
        parse = parse_parquet
    else:
        parse = {".json": parse_json, ".csv": parse_csv, ".tsv": parse_csv, ".parquet": parse_parquet}.get(
            suffix_of(path), parse_jsonl
        )
    for parsed in parse(path, content):
        yield parsed._replace(size=parsed.size * size / max(1, len(content)))


def parse_jsonl(path: Path, content: bytes) -> Iterator[Parsed]:
    good = bad = 0  # lines of more than ASCII
    for number, line in enumerate(io.BytesIO(content), 1):
        if not line.strip():
            continue
        value, problem = None, None
        try:
            value = load_json(line.decode("utf-8"))
        except UnicodeDecodeError:
            problem = "not UTF-8"
        except (ValueError, RecursionError):  # ValueError: also a number of 5,000 digits
            problem = "not JSON"
        good, bad = good + (problem is None and not line.isascii()), bad + (problem == "not UTF-8")
        yield Parsed(number, value, problem, len(line))
    if bad > 1 and not good:
        raise UserError(f"{path}: {formats.not_utf8(content)}")


def parse_json(path: Path, content: bytes) -> Iterator[Parsed]:
    """A list of rows, or an object that holds one such list; a `.json` of JSON lines is read as lines."""
    try:
        data = load_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {formats.not_utf8(content)}") from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        if content.lstrip(b" \r\n\t").startswith(b"{") and b"\n" in content.strip():
            yield from parse_jsonl(path, content)
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
        is_row = any(column in data for column in (*layouts.CHAT_COLUMNS, "prompt", "paragraphs"))
        data = lists[0] if len(lists) == 1 and not is_row else [data]
    if not isinstance(data, list):
        raise UserError(f"{path}: a list of rows is expected, found {type(data).__name__}")
    rows = [row for value in data for row in layouts.squad_rows(value)]
    for number, row in enumerate(rows, 1):
        yield Parsed(number, row, None, len(content) / len(rows))


def parse_csv(path: Path, content: bytes) -> Iterator[Parsed]:
    """Rows under a header; the delimiter is what divides header and rows alike, or what Excel's line `sep=;`
    names."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {formats.not_utf8(content)}") from error
    csv.field_size_limit(2**31 - 1)
    first, _, rest = text.partition("\n")
    if named := EXCEL_DELIMITER.fullmatch(first):
        text, delimiter, skipped_lines = rest, named[1], 1
    else:
        delimiter, skipped_lines = max(DELIMITERS, key=lambda mark: fit_of(mark, text)), 0
    reader = csv_reader(text, delimiter)
    try:
        columns = check_header(path, next(filter(None, reader), []))
        number, line_size = reader.line_num, len(content) / (1 + text.count("\n"))
        for fields in reader:
            # A quoted field may span lines: the row is named by its first.
            line, size, number = number + 1, (reader.line_num - number) * line_size, reader.line_num
            if fields:
                surplus = "more fields than the header" if len(fields) > len(columns) else None
                yield Parsed(line + skipped_lines, dict(zip(columns, fields)), surplus, size)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num + skipped_lines}: not CSV: {error}") from error


def csv_reader(text: str, delimiter: str):
    """Strict about quotes, which may stand behind a space: `"Да?", "Да, можно"`."""
    lines = io.StringIO(text, newline="")
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def fit_of(delimiter: str, text: str) -> tuple[bool, float, int]:
    """How well a delimiter fits: whether it divides the header, the share of rows of that size, that size."""
    reader, sizes = csv_reader(text, delimiter), []
    try:
        sizes += (len(fields) for fields in islice(filter(None, reader), PROBED_ROWS))
    except csv.Error:
        sizes = sizes[:1]
    columns = sizes[0] if sizes else 0
    return columns > 1, sizes.count(columns) / max(1, len(sizes)), columns


def check_header(path: Path, columns: list[str]) -> list[str]:
    columns = [column.strip() for column in columns]
    doubled = next((column for column in columns if column and columns.count(column) > 1), None)
    if doubled:
        raise UserError(f"{path}: column '{doubled[:40]}' occurs twice in the header; rename or remove one")
    return columns


def parse_parquet(path: Path, content: bytes) -> Iterator[Parsed]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        tables = file.iter_batches(batch_size=ROWS_AT_ONCE)
        yield from parse_tables(tables, len(content) / max(1, file.metadata.num_rows))
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file that can be read: {first_line(error)}") from error


def parse_saved_dataset(path: Path) -> Iterator[Parsed]:
    """A folder that `datasets.save_to_disk` made; of several splits, all."""
    import datasets

    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a saved dataset that can be read: {first_line(error)}") from error
    splits = data.values() if isinstance(data, datasets.DatasetDict) else [data]
    tables = (table for split in splits for table in split.with_format("arrow").iter(ROWS_AT_ONCE))
    yield from parse_tables(tables, 0)


def parse_tables(tables, row_size: float) -> Iterator[Parsed]:
    """The rows of Arrow tables. A cell that is no value of Python (a broken text, the year 20,000) becomes
    text, or costs its row."""
    number = 0
    for table in tables:
        columns = [cells_of(column) for column in table.columns]
        for cells in zip(*columns) if columns else ():
            number += 1
            row = dict(zip(table.schema.names, cells))
            broken = next((name for name, cell in row.items() if isinstance(cell, BrokenCell)), None)
            yield Parsed(number, row, f"column '{broken}' cannot be read" if broken else None, row_size)


class BrokenCell:
    """In the place of a value that Arrow cannot give."""


def cells_of(column) -> list:
    """The values of a column; dates, times and durations as text, since Python's reach from the year 1 to
    9999."""
    import pyarrow

    if pyarrow.types.is_temporal(column.type):
        try:
            return column.cast(pyarrow.string()).to_pylist()
        except pyarrow.ArrowException:
            return [cell_of(cell) for cell in column.cast(pyarrow.int64())]
    try:
        return column.to_pylist()
    except (ValueError, OverflowError, ImportError, pyarrow.ArrowException):
        return [cell_of(cell) for cell in column]


def cell_of(cell):
    import pyarrow

    try:
        return cell.as_py()
    except (ValueError, OverflowError, ImportError, pyarrow.ArrowException):
        return BrokenCell()
