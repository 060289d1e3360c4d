"""Make combined_data/train.jsonl and validation.jsonl from raw question-answer files, or check the two.

Reads any number of files or folders of JSONL, JSON, CSV, TSV, Parquet (or datasets saved to disk), in the project's
format (instruction, input, output), as chats (messages), or in columns that --map names. Normalizes the text, drops
what cannot be used and every duplicate, keeps rows that ask the same thing on one side of the split, and prints what
it found. Writes the two files and logs/prepare_<run>.json, which names every row dropped by file and line; all of it
or nothing. --check reads the two files and exits with 1 if a row is bad, there twice, or leaks into validation.

    python prepare_data.py raw/
    python prepare_data.py questions.csv more.jsonl --map question=instruction --map answer=output
    python prepare_data.py --check
"""

import json
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path

import config
from legalqa import cli, runlog
from legalqa.data import duplicates, records, sources, splits, summary
from legalqa.errors import UserError
from legalqa.files import file_sha256, write_files

KEYS = (
    "train_file",
    "validation_file",
    "validation_fraction",
    "near_duplicate_threshold",
    "seed",
    "tokenizer",
    "max_seq_length",
    "logs_dir",
)
MAPPED_FIELDS = (*records.FIELDS, "messages", "source")
LONG_ANSWER = 20  # words from which on one answer in both files is worth a warning
SHOWN_EXAMPLES = 3


# ---------------------------------------------------------------- reading and dropping


def read_sources(paths, mapping, progress):
    """All rows of the sources as sources.Row, dropped ones among them."""
    files = sources.find_files(paths)
    with progress("reading", sum(file.stat().st_size for file in files)) as advance:
        return [row for file in files for row in sources.read_file(file, mapping, advance)]


def drop_exact_duplicates(rows):
    """({key: row to keep}, dropped): a row is dropped if an earlier one has the same question and answer."""
    first, dropped = {}, []
    for row in rows:
        key = duplicates.record_key(row.record)
        if key in first:
            dropped.append(drop_entry(row, "exact duplicate", first[key]))
        else:
            first[key] = row
    return first, dropped


def drop_near_duplicates(rows, pairs):
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
            dropped.append(drop_entry(row, "near-duplicate", rows[same]))
    return sorted(kept), dropped


def drop_entry(row, reason, same_as=None):
    entry = {"file": row.file, "line": row.line, "reason": reason}
    if same_as:
        entry |= {"same_as": f"{same_as.file}:{same_as.line}", "question": records.question(row.record)}
    return entry


# ---------------------------------------------------------------- checking a pair of files


def check(settings, progress):
    """({kind: places} of what is wrong, {kind: places} of what is merely odd) in the two files together."""
    errors, warnings, rows = defaultdict(list), defaultdict(list), []
    for part in ("train", "validation"):
        found = list(read_strictly(settings[f"{part}_file"]))
        errors[f"bad row in {part}"] += [f"{place(row)} {row.reason}" for row in found if row.reason]
        if not any(row.record for row in found):
            errors[f"bad row in {part}"].append(f"{settings[f'{part}_file']} has no rows")
        rows += [(part, row) for row in found if row.record]
    contents = [row.record for _, row in rows]
    keys = [duplicates.record_key(record) for record in contents]
    comparison = duplicates.Comparison(keys, settings["near_duplicate_threshold"])
    with progress("comparing", 2 * len(rows)) as advance:
        same_rows = set(comparison.duplicates(advance))
        same_questions = comparison.same_questions(range(len(rows)), advance)
    for i, j in sorted(same_rows.union(same_questions)):
        (part, one), (other_part, other) = rows[i], rows[j]
        same_words, pair = keys[i][0] == keys[j][0], f"{place(one)} and {place(other)}"
        if part != other_part:
            errors[
                f"{'question' if same_words else 'near-duplicate question'} of train in validation"
            ].append(pair)
        elif keys[i] == keys[j]:
            errors[f"exact duplicate in {part}"].append(pair)
        elif (i, j) in same_rows:
            errors[f"near-duplicate in {part}"].append(pair)
        elif same_words:
            warnings[f"same question, other answer in {part}"].append(pair)

    covered = {splits.article_of(row.record) for part, row in rows if part == "train"} - {None}
    answers = {keys[n][1]: row for n, (part, row) in enumerate(rows) if part == "train"}
    for (part, row), (_, answer) in zip(rows, keys):
        record = row.record
        if any(sources.normalize_text(record[field]) != record[field] for field in records.FIELDS):
            warnings["text not normalized"].append(place(row))
        if part == "validation" and answer in answers and len(answer.split()) >= LONG_ANSWER:
            warnings["long answer of train in validation"].append(
                f"{place(answers[answer])} and {place(row)}"
            )
        if part == "validation" and sources.SEEN_ARTICLE in record:
            truth = splits.article_of(record) and splits.article_of(record) in covered
            if record[sources.SEEN_ARTICLE] is not truth:
                errors["seen_article is not true"].append(f"{place(row)} says {record[sources.SEEN_ARTICLE]}")
    return {kind: places for kind, places in errors.items() if places}, warnings


def read_strictly(path):
    """sources.Row of every line of a prepared file, which must be in the project's format as it stands."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; make it with: python prepare_data.py SOURCE")
    for line, value, problem, _ in sources.read_jsonl(Path(path)):
        if isinstance(value, dict):
            value.setdefault("input", "")
        problem = problem or records.record_problem(value)
        yield sources.Row(str(path), line, None if problem else value, problem)


def place(row):
    return f"{row.file}:{row.line}"


def report_check(errors, warnings, settings):
    """One line for each kind of finding, with examples. The exit code: 1 if anything is wrong."""
    for label, findings in (("error", errors), ("warning", warnings)):
        for kind, places in findings.items():
            more = f"; and {len(places) - SHOWN_EXAMPLES} more" if len(places) > SHOWN_EXAMPLES else ""
            print(f"{label}: {kind}: {len(places)}: {'; '.join(places[:SHOWN_EXAMPLES])}{more}")
    if not errors:
        print(
            f"ok: {settings['train_file']} and {settings['validation_file']}: every row is well-formed, none is there "
            "twice, no question of train is in validation"
        )
    return 1 if errors else 0


# ---------------------------------------------------------------- the command


def prepare(paths, mapping, settings, progress):
    """(train, validation, report): the report is the summary, and every row dropped with its file and line."""
    rows = read_sources(paths, mapping, progress)
    dropped = [drop_entry(row, row.reason) for row in rows if row.reason]
    different, exact = drop_exact_duplicates([row for row in rows if not row.reason])
    keys, usable = list(different), list(different.values())
    comparison = duplicates.Comparison(keys, settings["near_duplicate_threshold"])
    with progress("comparing", 2 * len(usable)) as advance:
        kept, near = drop_near_duplicates(usable, comparison.duplicates(advance))
        position = {index: place for place, index in enumerate(kept)}
        same = [(position[i], position[j]) for i, j in comparison.same_questions(kept, advance)]
    dropped += exact + near
    contents = [usable[index].record for index in kept]
    groups = duplicates.join_groups(len(kept), same)
    chosen = splits.split_rows(contents, groups, settings["validation_fraction"], settings["seed"])
    if not chosen or len(chosen) == len(contents):
        raise UserError(
            f"{len(rows)} rows read, {len(contents)} kept ({reasons(dropped)}): too few to split; "
            "give more sources or another --validation-fraction"
        )
    parts = [], []
    for index, record in enumerate(contents):
        parts[index in chosen].append(record)
    train, validation = (
        sorted(part, key=lambda record: splits.row_order(record, settings["seed"])) for part in parts
    )
    validation = splits.mark_seen_articles(train, validation)
    report = {
        "rows_in": len(rows),
        "dropped": dict(Counter(entry["reason"] for entry in dropped).most_common()),
        "kept": len(contents),
        "rows_with_a_near_question": sum(size for size in Counter(groups).values() if size > 1),
        "other_answers": len(kept) - len({keys[index][0] for index in kept}),
    }
    tokenizer = tokenizer_of(settings)
    with progress("describing", len(contents) * (2 if tokenizer else 1)) as advance:
        report |= summary.describe(train, validation, settings["max_seq_length"], tokenizer, advance)
    return train, validation, {"summary": report, "dropped": dropped}


def reasons(dropped):
    counts = Counter(entry["reason"] for entry in dropped).most_common()
    return ", ".join(f"{size} dropped: {reason}" for reason, size in counts) or "none dropped"


def tokenizer_of(settings):
    """The tokenizer asked for; the default one only if it is there."""
    default = settings["tokenizer"] == config.CONFIG["tokenizer"]
    if default and not (Path(settings["tokenizer"]) / "tokenizer.json").is_file():
        return None
    return summary.load_tokenizer(settings["tokenizer"])


def write(train, validation, report, settings, paths):
    """The two files and the log under temporary names, then three renames."""
    run = runlog.new_run_id()
    log = Path(settings["logs_dir"]) / f"prepare_{run}.json"
    files = {str(path): file_sha256(path) for path in sources.find_files(paths) if path.is_file()}
    report = {"meta": runlog.run_meta(run, config=settings, sources=files), **report}
    lines = {
        settings[name]: (json.dumps(record, ensure_ascii=False, default=str) + "\n" for record in part)
        for name, part in (("train_file", train), ("validation_file", validation))
    }
    write_files({**lines, log: [json.dumps(report, ensure_ascii=False, indent=2) + "\n"]})
    print(f"wrote {settings['train_file']}, {settings['validation_file']}, {log}")


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


def parse_mapping(pairs):
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


def main(argv=None):
    args = parse_args(argv)
    if args.profile == "auto":
        args.profile = "gpu"  # no profile matters here: do not look for an accelerator
    settings = {key: value for key, value in cli.effective_config(args).items() if key in KEYS}
    if not 0 < settings["validation_fraction"] < 1:
        raise UserError(
            f"--validation-fraction {settings['validation_fraction']}: expected a share between 0 and 1"
        )
    if not duplicates.ALIKE_IF_SAME_ANSWER <= settings["near_duplicate_threshold"] <= 1:
        raise UserError(
            f"--near-duplicate-threshold {settings['near_duplicate_threshold']}: expected "
            f"{duplicates.ALIKE_IF_SAME_ANSWER} to 1"
        )
    if Path(settings["train_file"]).absolute() == Path(settings["validation_file"]).absolute():
        raise UserError(
            f"--train-file and --validation-file are one file, {settings['train_file']}: give two"
        )
    if args.check:
        if args.sources or args.map:
            raise UserError(
                "--check reads --train-file and --validation-file: give it no sources and no --map"
            )
        return report_check(*check(settings, progress_bar), settings)
    if not args.sources:
        raise UserError(
            "no source given; e.g. python prepare_data.py raw/  (or --check for the files that are there)"
        )

    from rich.console import Console

    train, validation, report = prepare(args.sources, parse_mapping(args.map), settings, progress_bar)
    summary.print_tables(report["summary"], Console())
    if args.dry_run:
        print("dry run: nothing written")
    else:
        write(train, validation, report, settings, args.sources)
    return 0


if __name__ == "__main__":
    cli.run_main(main)
