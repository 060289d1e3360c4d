"""Thousands of damaged and hostile files and flags, given to the code that reads them: success or one line,
nothing else.

Valid data files, flags, adapters, models, checkpoints and logs are mutated (values of the wrong type, absurd
numbers, missing keys, cut and flipped bytes, other encodings) and given to the product's own readers and main
functions, in this process. A traceback, a hang, an error of no or of several lines, or a changed input file
is a failure; hypothesis then shrinks it. The last line is the result as JSON; exit code 1 on a failure.

  python bench/fuzz_inputs.py --inputs 5000        some 5 minutes on one core
"""

import argparse
import collections
import contextlib
import datetime
import gzip
import io
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]
os.environ.update(
    HF_HUB_OFFLINE="1",
    UNSLOTH_DISABLE_STATISTICS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
)

import tiny
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import config
import train_8b
from legalqa import cli, runlog
from legalqa.data import records, sources
from legalqa.data.text import clean_text
from legalqa.errors import UserError
from legalqa.files import read_json, write_json
from legalqa.model import prompt
from legalqa.model.adapter import SETTINGS_FILE, answer_settings, check_adapter, check_output
from legalqa.model.answers import Answers
from legalqa.model.base import check_model_name, load_for_inference, load_tokenizer
from legalqa.training import checkpoints, plan

HANG_SEC, ROWS, SOURCE_ROWS = 60, 12, 46
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
NASTY_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "../../etc/passwd",
        "/dev/zero",
        "a" * 5000,
        "\ud800",
        "{{ ''.__class__.__mro__ }}",
        "{% for i in range(9) %}{{ 1/0 }}{% endfor %}",
        "<|im_end|>",
        "<think>",
        "</think>&lt;br&gt;",
        "&amp;lt;|im_end|&amp;gt;_x000D_",
        "sep=;",
        "21000101_000000",
        "\u2028",
        "nan",
        "-1",
        "1e309",
        "юрист",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    NASTY_TEXT,
    TEXT,
    st.sampled_from([2**31, 2**63, -1, 0, 10**18, 10**400, float("nan"), float("inf")]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=5,
)


# ---- Mutation


def paths_in(value, path=()):
    """Every place in a JSON value, as the keys that lead there."""
    yield path
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    )
    for key, inner in items:
        yield from paths_in(inner, (*path, key))


@st.composite
def mutated_json(draw, value):
    """`value` with one to three of its places replaced, or removed."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths_in(value))))
        if not path:
            return draw(VALUES)
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.integers(0, 3)) == 0:
            del holder[path[-1]]
        else:
            holder[path[-1]] = draw(VALUES)
    return value


@st.composite
def mutated_bytes(draw, content):
    """`content` cut, flipped, with bytes put in, in another encoding, or none of it."""
    kind = draw(
        st.sampled_from(
            ["cut", "flip", "insert", "utf-16", "cp1251", "random", "empty", "twice", "deep", "long number"]
        )
    )
    place = draw(st.integers(0, max(0, len(content) - 1)))
    if kind in ("utf-16", "cp1251"):
        return content.decode("utf-8", "replace").encode(kind, "replace")
    return {
        "cut": content[:place],
        "flip": content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :],
        "insert": content[:place] + draw(st.binary(max_size=9)) + content[place:],
        "random": draw(st.binary(max_size=60)),
        "empty": b"",
        "twice": content + content,
        "deep": b"[" * 100_000,
        "long number": b'{"a": ' + b"9" * 5000 + b"}",
    }[kind]


def dump(value):
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mutated_file(path):
    """New content for a JSON file: its structure damaged, or its bytes."""
    content = path.read_bytes()
    return st.one_of(mutated_json(json.loads(content)).map(dump), mutated_bytes(content))


def mutated_lines(path):
    """New content for a JSON lines file: one of its lines damaged, or its bytes."""
    lines = path.read_bytes().splitlines()
    line = st.sampled_from(range(len(lines)))
    damaged = line.flatmap(
        lambda number: mutated_json(json.loads(lines[number])).map(
            lambda value: b"\n".join([*lines[:number], dump(value), *lines[number + 1 :]]) + b"\n"
        )
    )
    return st.one_of(damaged, mutated_bytes(path.read_bytes()))


# ---- What is read: each surface is (the file to damage or a strategy, what the product does with it)


def make_good_files(folder):
    """Whole files of every kind in `folder`: what a finished tiny run leaves, without running it."""
    rows = tiny.make_rows(ROWS)
    tiny.write_rows(folder / "train.jsonl", rows[:8])
    tiny.write_rows(folder / "validation.jsonl", rows[8:])
    made = {
        "cut_off": False,
        "new_tokens": 3,
        "generation_sec": 0.1,
        "seen_article": True,
        "source": {"act": "x"},
    }
    tiny.write_rows(
        folder / "predictions.jsonl", [{**row, "prediction": row["output"], **made} for row in rows]
    )
    make_sources(folder / "raw")
    tiny.make_model(folder / "model")
    make_adapter(folder)
    checkpoint = folder / "checkpoints" / "20260101_000000" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    for name in checkpoints.NEEDED_FILES:
        (checkpoint / name).write_text("{}")
    write_json(checkpoint / checkpoints.RUN_FILE, {"run": "20260101_000000", "binding": {}, "progress": {}})
    checkpoints.mark_complete(checkpoint)
    (folder / "logs").mkdir()
    shutil.copytree(REPOSITORY / "tests" / "fixtures" / "logs", folder / "report_logs")
    facts = {"run": "20260101_000000", "device": {"type": "cpu", "name": "cpu", "memory_bytes": 1}}
    write_json(folder / "logs" / "config_20260101_000000.json", {**config.CONFIG, "meta": facts})
    write_json(folder / "logs" / "metrics_20260101_000000.json", {"tokens_per_second": 9.0, "history": []})
    for name in ("a", "b"):
        flags = ("--predictions", folder / "predictions.jsonl", "--output", folder / f"{name}.json")
        run_quietly(stage("benchmark", *flags, "--logs-dir", folder / "logs"))
    (folder / "answers.jsonl").write_text(
        '{"prompt_sha256": "0", "prediction": "да", "new_tokens": 1, "cut_off": false, '
        '"generation_sec": 0.1}\n' * 2,
        "utf-8",
    )


def make_sources(folder):
    """Rows of strangers, in every layout and kind of file that prepare_data.py reads."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir()
    rows = tiny.make_rows(SOURCE_ROWS)
    chats = [
        {
            "conversations": [
                {"from": "system", "value": "Юрист."},
                {"from": "human", "value": row["instruction"]},
                {"from": "gpt", "value": row["output"]},
            ]
        }
        for row in rows[:10]
    ]
    plain = [
        {"instruction": row["instruction"], "input": "Статья 5.", "output": row["output"], "note": {"n": 0.5}}
        for row in rows[10:20]
    ]
    tiny.write_rows(folder / "chats.jsonl", chats + plain)
    paragraphs = [
        {
            "context": "Статья 5.",
            "qas": [{"question": row["instruction"], "answers": [{"text": row["output"]}]}],
        }
        for row in rows[20:26]
    ]
    write_json(folder / "squad.json", {"data": [{"paragraphs": paragraphs}]})
    lines = [f'"{row["instruction"]}";"{row["output"]}";<b>нет</b>' for row in rows[26:32]]
    table = "\n".join(["sep=;", ' instruction ;output;"заметка, дата"', *lines]) + "\n"
    (folder / "table.csv").write_text(table, "utf-8")
    pairs = [{"prompt": row["instruction"], "completion": row["output"]} for row in rows[32:]]
    packed = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs[:8])
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(packed.encode("utf-8"), mtime=0))
    cells = [pair | {"day": datetime.date(2026, 1, 1), "share": 0.5} for pair in pairs[8:]]
    parquet.write_table(pyarrow.Table.from_pylist(cells), folder / "cells.parquet")


def make_adapter(folder):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    get_peft_model(base, LoraConfig(r=8, target_modules=["q_proj"], init_lora_weights=False)).save_pretrained(
        folder / "adapter"
    )
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "adapter")
    write_json(
        folder / "adapter" / SETTINGS_FILE,
        {
            "run": "20260101_000000",
            "system_prompt": "",
            "max_seq_length": 256,
            "load_in_4bit": True,
            "prompt_sha256": prompt.prompt_sha256(prompt.prepare_tokenizer(tokenizer), ""),
            "decoding": {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, "max_new_tokens": 9},
        },
    )


def flags_for(keys):
    """Command lines: real flags with odd values, odd flags."""
    names = st.one_of(
        st.sampled_from([cli.flag_of(key) for key in keys] + ["--profile", "--resume", "--force"]),
        TEXT.map(lambda text: "--" + text),
    )
    words = st.one_of(NASTY_TEXT, TEXT, st.integers().map(str), st.floats().map(str)).filter(
        lambda text: "\0" not in text
    )
    return st.lists(st.one_of(st.tuples(names, words), st.tuples(names)), max_size=4).map(
        lambda pairs: [word for pair in pairs for word in pair]
    )


def read_flags(folder):
    def read(argv):
        args = train_8b.parse_args(["--checkpoint-dir", str(folder / "checkpoints"), *argv])
        settings = cli.effective_config(args)
        run, _, _ = train_8b.resume_point(settings, args)
        check_output(settings, run, args.overwrite)

    return read


def dry_run(folder):
    return lambda: train_8b.main(
        [
            "--profile",
            "demo",
            "--model-name",
            str(folder / "model"),
            "--train-file",
            str(folder / "train.jsonl"),
            "--validation-file",
            str(folder / "validation.jsonl"),
            "--logs-dir",
            str(folder / "logs"),
            "--output-dir",
            str(folder / "new"),
            "--checkpoint-dir",
            str(folder / "new_checkpoints"),
            "--dry-run",
        ]
    )


def read_checkpoint(folder):
    def read():
        found, _ = checkpoints.newest_complete(folder / "checkpoints")
        if found:
            checkpoints.differences(read_json(found / checkpoints.RUN_FILE)["binding"], {})

    return read


def stage(script, *arguments):
    """The main of a stage that needs no model, with these arguments."""
    module = __import__(script)
    return lambda: module.main([str(argument) for argument in arguments])


def read_source(path):
    def read():
        for row in sources.read_file(path, {}):
            assert (row.record is None) != (row.reason is None)
            if row.record:
                json.loads(records.to_line(row.record))

    return read


def read_text(text):
    """A text cleaned is clean."""
    clean = clean_text(text, is_answer=True).text
    assert clean_text(clean, is_answer=True) == (clean, frozenset()), clean


def take_run_id(folder):
    """A run id among files of any names is new, and sorts after the ids there."""

    def take(names):
        logs = folder / "new_ids"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        for name in names:
            (logs / name).touch()
        with runlog.new_run(logs) as run:
            assert not any(run in name for name in names)
            assert all(run > name[10:25] for name in names if name.startswith("benchmark_2"))

    return take


RUN_NAMES = st.one_of(
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2999, 12, 31)).map(
        lambda moment: f"benchmark_{moment:%Y%m%d_%H%M%S}.json"
    ),
    st.from_regex(r"[a-z]{1,9}_\d{8}_\d{6}\.json", fullmatch=True),
    st.text("abc_0123456789.", min_size=1, max_size=30).filter(lambda name: name.strip(".")),
)
MARKED_TEXT = st.lists(
    st.one_of(
        NASTY_TEXT,
        TEXT,
        st.sampled_from(["<", ">", "&", ";", "lt", "/think>", "sup>", "1", "|", "[INST]", "_x00", "0A_"]),
    ),
    max_size=9,
).map(lambda pieces: "".join(pieces).encode("utf-8", "replace").decode("utf-8"))


def surfaces(folder):
    """[(name, share of the inputs, file to damage, how its new content is made, what reads it)]."""
    adapter, base, logs = folder / "adapter", folder / "model", folder / "logs"
    run_dir = folder / "checkpoints" / "20260101_000000" / "checkpoint-2"
    settings = {**config.CONFIG, "model_name": "x"}

    def load_adapter():
        return load_for_inference(str(adapter), answer_settings(adapter, settings))

    whole = mutated_file
    return (
        (
            "records",
            8,
            folder / "train.jsonl",
            mutated_lines,
            lambda: records.read_records(folder / "train.jsonl"),
        ),
        ("train dry run", 4, folder / "train.jsonl", mutated_lines, dry_run(folder)),
        (
            "prepare check",
            3,
            folder / "train.jsonl",
            mutated_lines,
            stage(
                "prepare_data",
                "--check",
                "--train-file",
                folder / "train.jsonl",
                "--validation-file",
                folder / "validation.jsonl",
                "--logs-dir",
                folder / "new_logs",
            ),
        ),
        *[
            (f"source {name}", share, folder / "raw" / name, make, read_source(folder / "raw" / name))
            for name, share, make in (
                ("chats.jsonl", 8, mutated_lines),
                ("squad.json", 5, whole),
                ("table.csv", 6, None),
                ("packed.jsonl.gz", 3, None),
                ("cells.parquet", 4, None),
            )
        ],
        (
            "prepare a folder",
            2,
            folder / "raw" / "chats.jsonl",
            mutated_lines,
            stage(
                "prepare_data",
                folder / "raw",
                "--dry-run",
                "--train-file",
                folder / "new.train",
                "--validation-file",
                folder / "new.validation",
            ),
        ),
        ("texts", 8, None, MARKED_TEXT, read_text),
        ("run ids", 4, None, st.lists(RUN_NAMES, max_size=4), take_run_id(folder)),
        (
            "predictions",
            4,
            folder / "predictions.jsonl",
            mutated_lines,
            stage(
                "benchmark",
                "--predictions",
                folder / "predictions.jsonl",
                "--output",
                folder / "new.json",
                "--logs-dir",
                logs,
            ),
        ),
        (
            "compare",
            5,
            folder / "a.json",
            whole,
            stage(
                "benchmark",
                "--compare",
                folder / "a.json",
                folder / "b.json",
                "--output",
                folder / "new.json",
                "--logs-dir",
                logs,
            ),
        ),
        ("answers", 4, folder / "answers.jsonl", mutated_lines, lambda: Answers(folder / "answers.jsonl")),
        ("adapter config", 8, adapter / "adapter_config.json", whole, lambda: check_adapter(adapter)),
        ("adapter weights", 5, adapter / "adapter_model.safetensors", None, lambda: check_adapter(adapter)),
        ("adapter settings", 6, adapter / "legalqa.json", whole, lambda: check_adapter(adapter)),
        ("tokenizer", 5, adapter / "tokenizer.json", whole, lambda: load_tokenizer(str(adapter))),
        (
            "tokenizer config",
            5,
            adapter / "tokenizer_config.json",
            whole,
            lambda: load_tokenizer(str(adapter)),
        ),
        ("chat template", 4, adapter / "chat_template.jinja", None, lambda: load_tokenizer(str(adapter))),
        (
            "model config",
            8,
            base / "config.json",
            whole,
            lambda: (check_model_name(str(base)), dry_run(folder)()),
        ),
        ("model weights", 4, base / "model.safetensors", None, lambda: check_model_name(str(base))),
        *[
            (f"load with {file.name}", 0.3, file, make, load_adapter)
            for file, make in (
                (adapter / "adapter_config.json", whole),
                (adapter / "adapter_model.safetensors", None),
                (adapter / "tokenizer.json", whole),
                (adapter / "tokenizer_config.json", whole),
                (base / "config.json", whole),
                (base / "generation_config.json", whole),
                (base / "model.safetensors", None),
            )
        ],
        ("checkpoint marker", 5, run_dir / checkpoints.MARKER, whole, read_checkpoint(folder)),
        ("checkpoint file", 4, run_dir / checkpoints.RUN_FILE, whole, read_checkpoint(folder)),
        (
            "old metrics",
            4,
            logs / "metrics_20260101_000000.json",
            whole,
            lambda: plan.past_tokens_per_sec(logs, settings, "cpu"),
        ),
        (
            "old config",
            4,
            logs / "config_20260101_000000.json",
            whole,
            lambda: plan.past_tokens_per_sec(logs, settings, "cpu"),
        ),
        *[
            (
                f"report {log.name.split('_')[0]}",
                3,
                log,
                whole,
                stage("generate_report", "--logs-dir", log.parent, "--report-file", folder / "new.md"),
            )
            for log in sorted((folder / "report_logs").glob("*.json"))
        ],
        (
            "plots",
            0.05,
            folder / "report_logs" / "metrics_20260301_100000.json",
            whole,
            stage("generate_plots", "--logs-dir", folder / "report_logs", "--plots-dir", folder / "new"),
        ),
        ("train flags", 6, None, flags_for(train_8b.KEYS), read_flags(folder)),
    )


# ---- Running


class Hang(Exception):
    pass


def on_alarm(*_):
    raise Hang(f"still running after {HANG_SEC} s")


def run_quietly(function, *arguments):
    """What the call printed is dropped; "ok", or the text of its UserError."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            function(*arguments)
        except UserError as error:
            return str(error)
        except SystemExit as error:
            assert error.code == 0, f"exit code {error.code}"
    return "ok"


def contents(folder):
    return {
        path: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).parts[0].startswith("new")
    }


def check_outcome(function, *arguments):
    signal.setitimer(signal.ITIMER_REAL, HANG_SEC)
    try:
        outcome = run_quietly(function, *arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    shown = " ".join(outcome.splitlines())  # as cli.run_main prints it
    assert 0 < len(shown) < 3000, f"an error of {len(shown)} characters"
    shown.encode("utf-8", "backslashreplace")
    return "ok" if outcome == "ok" else "refused"


def fuzz(folder, name, count, target, make_content, read, run_seed):
    """Counter of outcomes of `count` inputs to one surface; the exception of the smallest failing input, or
    None."""
    outcomes = collections.Counter()
    content = (
        make_content
        if target is None
        else mutated_bytes(target.read_bytes())
        if make_content is None
        else make_content(target)
    )
    good = target.read_bytes() if target else None
    if target:
        assert run_quietly(read) == "ok", f"the undamaged {target.name} is refused: {run_quietly(read)}"

    @seed(run_seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(content)
    def one(value):
        if target is None:
            outcomes[check_outcome(read, value)] += 1
            return
        target.write_bytes(value)
        before = contents(folder)
        outcomes[check_outcome(read)] += 1
        after = contents(
            folder
        )  # the file of answers may grow: its cut line is closed before the next is appended
        changed = [str(path) for path in before if not after.get(path, b"").startswith(before[path])]
        assert not changed and after.keys() == before.keys(), f"changed: {changed}"

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            one()
        return outcomes, None
    except Exception:
        return outcomes, traceback.format_exc()
    finally:
        if target:
            target.write_bytes(good)


def run_all(folder, inputs, run_seed, only="", without=()):
    """{surface: {"ok", "refused", "failed"}}; failures are printed as they come."""
    results = {}
    signal.signal(signal.SIGALRM, on_alarm)
    rows = [row for row in surfaces(folder) if only in row[0] and not row[0].startswith(without)]
    total = sum(row[1] for row in rows)
    for name, share, target, make_content, read in rows:
        started = time.monotonic()
        outcomes, failure = fuzz(
            folder, name, math.ceil(inputs * share / total), target, make_content, read, run_seed
        )
        results[name] = {
            "ok": outcomes["ok"],
            "refused": outcomes["refused"],
            "failed": int(failure is not None),
        }
        print(
            f"{name:36} {outcomes['ok']:5} read, {outcomes['refused']:5} refused, "
            f"{time.monotonic() - started:6.1f} s",
            flush=True,
        )
        if failure:
            print(failure, flush=True)
    return results


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="SURFACE")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="fuzz_"))
    make_good_files(folder)
    results = run_all(folder, args.inputs, args.seed, args.only)
    shutil.rmtree(folder)
    inputs = sum(row["ok"] + row["refused"] for row in results.values())
    failed = sum(row["failed"] for row in results.values())
    print(f"{inputs} inputs: {failed} failures")
    print(json.dumps({"inputs": inputs, "failures": failed, "surfaces": results}))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
