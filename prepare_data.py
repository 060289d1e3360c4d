"""Make combined_data/train.jsonl and validation.jsonl from raw question-answer files, or check the two.

Reads any number of files or folders of JSONL, JSON, CSV, TSV, Parquet (or datasets saved to disk), compressed
or not, in the project's format (instruction, input, output), as chats (messages, ShareGPT), prompt and
completion, SQuAD, or in columns that --map names. Normalizes the text, takes template tokens and HTML out of
it, drops what cannot be used and every duplicate, keeps rows that ask the same thing on one side of the
split, and prints what it found. Writes the two files and logs/prepare_<run>.json, which names every file and
every row dropped by file and line; all of it or nothing. --check reads the two files and exits with 1 if a
row is bad, there twice, or leaks into validation.

    python prepare_data.py raw/
    python prepare_data.py questions.csv more.jsonl --map question=instruction --map answer=output
    python prepare_data.py --check
"""

import json
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import config
from legalqa import cli, runlog
from legalqa.data import check, duplicates, records, sources, splits, summary
from legalqa.data.layouts import MAPPED_FIELDS
from legalqa.errors import UserError
from legalqa.files import file_sha256, write_files

# fmt: off
KEYS = ("train_file", "validation_file", "validation_fraction", "near_duplicate_threshold", "seed",
        "tokenizer", "max_seq_length", "logs_dir")
# fmt: on


class Dropped(NamedTuple):
    """A row that is not used, and the row kept that says the same."""

    row: sources.Row
    reason: str
    same_as: sources.Row | None = None

    def as_json(self) -> dict[str, Any]:
        entry = {"file": self.row.file, "line": self.row.line, "reason": self.reason}
        if self.same_as:
            entry["same_as"] = place(self.same_as)
            entry["question"] = records.question(self.row.record)
        return entry


class Kept(NamedTuple):
    """The different rows, and for each the first of those that ask the same."""

    records: list[dict]
    groups: list[int]
    num_questions: int  # different in their words


class Prepared(NamedTuple):
    """What will be written: the records of both files, and the log (without its meta)."""

    train: list[dict]
    validation: list[dict]
    log: dict[str, Any]


# ---------------------------------------------------------------- reading and dropping


def prepare(paths: list[str], mapping: dict[str, str], settings: dict, progress) -> Prepared:
    """Read, drop, split, describe; writes nothing."""
    files, rows = read_sources(paths, mapping, progress)
    dropped = [Dropped(row, row.reason) for row in rows if row.reason]
    kept, duplicate = drop_duplicates(
        [row for row in rows if not row.reason], settings["near_duplicate_threshold"], progress
    )
    dropped += duplicate
    train, validation = split(kept, settings["validation_fraction"], settings["seed"])
    if not (train and validation):
        raise UserError(explain_loss(files, rows, kept, dropped))
    report = {
        "rows_in": len(rows),
        "dropped": count(entry.reason for entry in dropped),
        "kept": len(kept.records),
        "changed": count(note for row in rows for note in row.notes),
        "rows_with_a_near_question": sum(size for size in Counter(kept.groups).values() if size > 1),
        "other_answers": len(kept.records) - kept.num_questions,
    }
    tokenizer = tokenizer_of(settings)
    with progress("describing", len(kept.records) * (2 if tokenizer else 1)) as advance:
        report |= summary.describe(train, validation, settings["max_seq_length"], tokenizer, advance)
    log = {
        "summary": report,
        "files": [file_entry(source) for source in files],
        "dropped": [entry.as_json() for entry in dropped],
    }
    return Prepared(train, validation, log)


def read_sources(paths, mapping, progress) -> tuple[list[sources.Source], list[sources.Row]]:
    files = sources.find_sources(paths)
    size = sum(source.path.stat().st_size for source in files if source.outcome == sources.READ)
    with progress("reading", size) as advance:
        return sources.read_sources(files, mapping, advance)


def drop_duplicates(rows: list[sources.Row], threshold: float, progress) -> tuple[Kept, list[Dropped]]:
    different, exact = drop_exact_duplicates(rows)
    keys, usable = list(different), list(different.values())
    comparison = duplicates.Comparison(keys, threshold)
    with progress("comparing", 2 * len(usable)) as advance:
        kept, near = drop_near_duplicates(usable, comparison.duplicates(advance))
        position = {index: place for place, index in enumerate(kept)}
        same = [(position[i], position[j]) for i, j in comparison.same_questions(kept, advance)]
    groups = duplicates.join_groups(len(kept), same)
    num_questions = len({keys[index].question for index in kept})
    return Kept([usable[index].record for index in kept], groups, num_questions), exact + near


def drop_exact_duplicates(
    rows: list[sources.Row],
) -> tuple[dict[duplicates.RecordKey, sources.Row], list[Dropped]]:
    """({key: row to keep}, dropped): a row is dropped if an earlier one has the same words in all its
    parts."""
    first, dropped = {}, []
    for row in rows:
        key = duplicates.record_key(row.record)
        if key in first:
            dropped.append(Dropped(row, "exact duplicate", first[key]))
        else:
            first[key] = row
    return first, dropped


def drop_near_duplicates(
    rows: list[sources.Row], pairs: list[duplicates.Pair]
) -> tuple[list[int], list[Dropped]]:
    """(indices to keep, dropped): the later row of a pair is dropped if the earlier one is kept."""
    earlier = defaultdict(list)
    for i, j in pairs:
        earlier[j].append(i)
    kept, dropped = set(), []
    for j, row in enumerate(rows):
        same = next((i for i in earlier[j] if i in kept), None)
        if same is None:
            kept.add(j)
        else:
            dropped.append(Dropped(row, "near-duplicate", rows[same]))
    return sorted(kept), dropped


def split(kept: Kept, fraction: float, seed: int) -> tuple[list[dict], list[dict]]:
    """(train, validation), each in an order that depends on its rows and the seed alone."""
    chosen = splits.split_rows(kept.records, kept.groups, fraction, seed)
    parts = [], []
    for index, record in enumerate(kept.records):
        parts[index in chosen].append(record)
    train, validation = (sorted(part, key=lambda record: splits.row_order(record, seed)) for part in parts)
    return train, splits.mark_seen_articles(train, validation)


def explain_loss(files, rows, kept: Kept, dropped: list[Dropped]) -> str:
    """Why nothing can be split: the first row or file lost, then the counts."""
    lost = [f"{place(entry.row)}: {entry.reason}" for entry in dropped]
    lost += [f"{source.path}: {source.why}" for source in files if source.why]
    sizes = count(entry.reason for entry in dropped)
    reasons = ", ".join(f"{size} dropped: {why}" for why, size in sizes.items())
    remedy = " or mend these" if lost else " or another --validation-fraction" if kept.records else ""
    first = f"{lost[0]}; " if lost else ""
    counts = f"{len(rows)} rows read, {len(kept.records)} kept ({reasons or 'none dropped'})"
    return f"{first}{counts}: too few to split; give more sources{remedy}"


def count(names) -> dict[str, int]:
    """{name: how often}, the most frequent first."""
    return dict(Counter(names).most_common())


def place(row: sources.Row) -> str:
    return f"{row.file}:{row.line}"


def file_entry(source: sources.Source) -> dict[str, Any]:
    return {
        "file": str(source.path),
        "outcome": source.outcome,
        "num_rows": source.num_rows,
        "why": source.why,
    }


def tokenizer_of(settings):
    """The tokenizer asked for; the default one only if it is there."""
    default = settings["tokenizer"] == config.CONFIG["tokenizer"]
    if default and not (Path(settings["tokenizer"]) / "tokenizer.json").is_file():
        return None
    return summary.load_tokenizer(settings["tokenizer"])


# ---------------------------------------------------------------- writing and the command


def write(prepared: Prepared, settings: dict) -> None:
    """The two files and the log under temporary names, then three renames."""
    files = [Path(entry["file"]) for entry in prepared.log["files"] if entry["outcome"] == sources.READ]
    hashes = {str(path): file_sha256(path) for path in files if path.is_file()}
    parts = {settings["train_file"]: prepared.train, settings["validation_file"]: prepared.validation}
    lines = {path: map(records.to_line, part) for path, part in parts.items()}
    with runlog.new_run(settings["logs_dir"]) as run:
        log = Path(settings["logs_dir"]) / f"prepare_{run}.json"
        report = {"meta": runlog.run_meta(run, config=settings, sources=hashes), **prepared.log}
        write_files({**lines, log: [json.dumps(report, ensure_ascii=False, indent=2) + "\n"]})
    print(f"wrote {settings['train_file']}, {settings['validation_file']}, {log}")


def print_outcome(log: dict[str, Any]) -> None:
    """Every file where there are several or one was not read; then what became of the rows, in a line."""
    files = log["files"]
    if len(files) > 1 or any(entry["why"] for entry in files):
        for entry in files:
            outcome = f"{entry['num_rows']} rows" if entry["outcome"] == sources.READ else entry["why"]
            print(f"{entry['outcome']:8} {entry['file']}: {outcome}")
    report = log["summary"]
    reasons = ", ".join(f"{reason} {size}" for reason, size in report["dropped"].items())
    print(
        f"read {report['rows_in']}, kept {report['kept']}, not used {report['rows_in'] - report['kept']}"
        f"{f': {reasons}' if reasons else ''}"
    )


@contextmanager
def progress_bar(title, total):
    """A progress bar on stderr, where that is a terminal; yields advance(n)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(title, total=total)
        yield lambda steps: bars.update(task, advance=steps)


def parse_mapping(pairs: list[str]) -> dict[str, str]:
    """{column: field} of `--map column=field`, each checked."""
    mapping = {}
    for pair in pairs:
        column, equals, field = pair.rpartition("=")
        if not equals or not column or field not in MAPPED_FIELDS:
            raise UserError(
                f"--map {pair}: expected COLUMN=FIELD, where FIELD is one of {', '.join(MAPPED_FIELDS)}"
            )
        mapping[column] = field
    if len(set(mapping.values())) < len(mapping):
        raise UserError(f"--map: two columns for one field: {', '.join(pairs)}")
    return mapping


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="files or folders of raw rows")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=FIELD",
        help="a column of the sources that holds a field: instruction, input, output, messages, source",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the train and validation files that are there; exit 1 if bad",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the tables, write nothing")
    return parser.parse_args(argv)


def check_settings(settings: dict) -> None:
    """UserError for what the limits in config.py do not say."""
    fraction, threshold = settings["validation_fraction"], settings["near_duplicate_threshold"]
    if not 0 < fraction < 1:
        raise UserError(f"--validation-fraction {fraction}: expected a share between 0 and 1")
    if not duplicates.ALIKE_IF_SAME_ANSWER <= threshold <= 1:
        raise UserError(
            f"--near-duplicate-threshold {threshold}: expected {duplicates.ALIKE_IF_SAME_ANSWER} to 1"
        )
    if Path(settings["train_file"]).absolute() == Path(settings["validation_file"]).absolute():
        raise UserError(
            f"--train-file and --validation-file are one file, {settings['train_file']}: give two"
        )


def main(argv=None):
    args = parse_args(argv)
    if args.profile == "auto":
        args.profile = "gpu"  # no profile matters here: do not look for an accelerator
    settings = {key: value for key, value in cli.effective_config(args).items() if key in KEYS}
    check_settings(settings)
    if args.check:
        if args.sources or args.map:
            raise UserError(
                "--check reads --train-file and --validation-file: give it no sources and no --map"
            )
        pair = {part: settings[f"{part}_file"] for part in ("train", "validation")}
        findings = check.check_pair(pair, settings["near_duplicate_threshold"], progress_bar)
        return check.print_findings(findings, pair)
    if not args.sources:
        raise UserError(
            "no source given; e.g. python prepare_data.py raw/  (or --check for the files that are there)"
        )

    from rich.console import Console

    prepared = prepare(args.sources, parse_mapping(args.map), settings, progress_bar)
    summary.print_tables(prepared.log["summary"], Console())
    if args.dry_run:
        print("dry run: nothing written")
    else:
        write(prepared, settings)
    print_outcome(prepared.log)
    return 0


if __name__ == "__main__":
    cli.run_main(main)
