"""Which logs belong together, read and checked: what the plots and the report are made from.

A training run is known by its id. A benchmark belongs to the run that trained the adapter it scored; the base
model's benchmark and the comparison are those of the same base model and validation file.
"""

import json
import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

import config
from legalqa.errors import UserError
from legalqa.files import read_json

TRAINING_STAGES = ("config", "metrics", "history")


class Log(NamedTuple):
    """One file: `name` is what people see (folder/file), `data` its JSON object, or a history's entries."""

    name: str
    run: str
    data: object


# ---- Shapes: what the readers rely on. A leaf is (what is expected, test).


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def within(low, high):
    return lambda value: (
        is_number(value) and low <= value <= high
    )  # false for NaN; an int may be too large for a float


TEXT = ("text", lambda value: isinstance(value, str))
TEXT_OR_NULL = ("text or null", lambda value: value is None or isinstance(value, str))
FLAG_OR_NULL = ("true, false or null", lambda value: value is None or isinstance(value, bool))
COUNT = ("a count", lambda value: type(value) is int and 0 <= value < 10**15)
NUMBER = ("a number", within(-1e18, 1e18))
# A diverged run logs NaN or infinity; Python's JSON reads both.
ANY_NUMBER = (
    "a number or null",
    lambda value: (
        value is None
        or is_number(value)
        and (abs(value) <= 1e18 or isinstance(value, float) and not math.isfinite(value))
    ),
)
AMOUNT = ("a number from 0, or null", lambda value: value is None or within(0, 1e18)(value))
SHARE = ("a share from 0 to 1, or null", lambda value: value is None or within(0, 1)(value))
CHANGE = ("a difference of shares, or null", lambda value: value is None or within(-1, 1)(value))
BOUNDS = (
    "two numbers or null",
    lambda value: (
        value is None or isinstance(value, list) and len(value) == 2 and all(map(within(-1, 1), value))
    ),
)
FLAG = ("true or false", lambda value: isinstance(value, bool))
ANYTHING = ("anything", lambda value: True)
# By the type of the setting's default in CONFIG.
SETTINGS = {str: TEXT, bool: FLAG, int: NUMBER, float: NUMBER, list: [TEXT]}
SHOWN_SETTINGS = (
    "model_name",
    "max_seq_length",
    "load_in_4bit",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "batch_size",
    "grad_accum",
    "num_epochs",
    "max_steps",
    "learning_rate",
    "warmup_ratio",
    "weight_decay",
    "optim",
    "lr_scheduler_type",
    "seed",
    "completion_only_loss",
    "output_dir",
)

META = {
    "run": TEXT,
    "command": TEXT,
    "git": {"commit": TEXT_OR_NULL, "dirty": FLAG_OR_NULL},
    "versions": {str: TEXT},
    "platform": TEXT,
}
DEVICE = {"type": TEXT, "name": TEXT, "memory_bytes": AMOUNT}
DATA_FILE = {
    "file": TEXT,
    "sha256": TEXT,
    "num_rows": COUNT,
    "num_used": COUNT,
    "num_dropped": COUNT,
    "by_language?": {str: COUNT},
}
SCORES = {str: {"mean": SHARE, "ci95": BOUNDS, "num_samples": COUNT}}
GROUPS = {str: {"num_samples": COUNT, "metrics": SCORES}}
CITATION = {"act": TEXT_OR_NULL, "article": TEXT, "text": TEXT, "exists": FLAG_OR_NULL}
DIFFERENCES = {str: {"a": SHARE, "b": SHARE, "difference": CHANGE, "ci95": BOUNDS, "num_samples": COUNT}}
LOSSES = (
    "train_loss",
    "initial_loss",
    "final_loss",
    "min_loss",
    "loss_reduction_percent",
    "initial_eval_loss",
    "eval_loss",
    "min_eval_loss",
)
AMOUNTS = (
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "total_flos",
    "epoch",
    "total_steps",
    "trainable_parameters",
    "total_parameters",
    "trainable_percent",
    "tokens_per_second",
    "peak_memory_bytes",
    "peak_vram_bytes",
)
ENTRY = {
    "step": COUNT,
    "epoch?": AMOUNT,
    "loss?": ANY_NUMBER,
    "eval_loss?": ANY_NUMBER,
    "learning_rate?": AMOUNT,
}
SHAPES = {
    "config": {
        **{key: SETTINGS[type(config.CONFIG[key])] for key in SHOWN_SETTINGS},
        "profile": TEXT,
        "meta": {
            **META,
            "device": DEVICE,
            "data": {"train": DATA_FILE, "validation?": DATA_FILE},
            "base_model": {"name": TEXT, "parameters": COUNT},
        },
    },
    "metrics": {
        "meta": {"run": TEXT, "resumed_from": AMOUNT},
        **dict.fromkeys(LOSSES, ANY_NUMBER),
        **dict.fromkeys(AMOUNTS, AMOUNT),
        "history": [ENTRY],
    },
    "benchmark": {
        # Ready answers (kind "predictions") have no adapter, device or decoding.
        "meta": {
            **META,
            "model": TEXT,
            "base_model": TEXT_OR_NULL,
            "kind": TEXT,
            "device?": (DEVICE, None),
            "adapter": ({"path": TEXT, "sha256": TEXT, "run?": TEXT_OR_NULL}, None),
            "batch_size?": AMOUNT,
            "engine?": TEXT_OR_NULL,
            "decoding?": ({"temperature?": AMOUNT, "max_new_tokens?": AMOUNT}, None),
            "validation": {"file": TEXT, "sha256": TEXT, "num_rows": COUNT},
        },
        "summary": {
            "num_samples": COUNT,
            "metrics": SCORES,
            "by_language": GROUPS,
            "by_act?": GROUPS,
            "by_seen_article?": GROUPS,
            "generation": (
                {
                    "total_sec": AMOUNT,
                    "mean_sec_per_sample": AMOUNT,
                    "tokens_per_second": AMOUNT,
                    "new_tokens": COUNT,
                },
                None,
            ),
        },
        "samples": [
            {
                "id": TEXT,
                "language": TEXT,
                "instruction": TEXT,
                "input": TEXT_OR_NULL,
                "reference": TEXT,
                "prediction": TEXT,
                "scores": {str: SHARE},
                "citations": {"prediction": [CITATION]},
                "generation_sec": AMOUNT,
            }
        ],
    },
    "compare": {
        "meta": {**META, "a": TEXT, "b": TEXT, "num_shared": COUNT},
        "metrics": DIFFERENCES,
        "by_language": {str: {"num_samples": COUNT, "metrics": DIFFERENCES}},
    },
}


def shape_problem(value, shape, where=""):
    """The first place where `value` is not of `shape`, as "place: what is expected"; None when all is well.

    Shapes: {key: shape} (a key ending in "?" may be absent, `str` stands for any key), [shape],
    (shape, None), or a leaf.
    """
    place = where or "top level"
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{place}: an object is expected"
        if str in shape:
            return first_problem((item, shape[str], f"{where}.{key}") for key, item in value.items())
        for key, inner in shape.items():
            name = key.rstrip("?")
            if name in value:
                problem = shape_problem(value[name], inner, f"{where}.{name}".lstrip("."))
            else:
                problem = None if key.endswith("?") else f"{place}: no key '{name}'"
            if problem:
                return problem
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place}: a list is expected"
        return first_problem((item, shape[0], f"{where}[{i}]") for i, item in enumerate(value))
    if shape[1] is None:
        return None if value is None else shape_problem(value, shape[0], where)
    return None if shape[1](value) else f"{place}: {shape[0]} is expected"


def first_problem(parts):
    return next(filter(None, (shape_problem(*part) for part in parts)), None)


# ---- Reading


def warn(text):
    print(f"warning: {text}", file=sys.stderr)


def suffix(stage):
    return ".jsonl" if stage == "history" else ".json"


class Shelf:
    """The logs of a folder, each read and checked once; a bad one is named on stderr and taken as absent."""

    def __init__(self, logs_dir):
        self.folder = Path(logs_dir)
        self.cache = {}
        self.num_bad = 0

    def runs(self, *stages):
        """Run ids that have a log of any of `stages`, newest first: they sort by time."""
        names = "\n".join(path.name for path in self.folder.glob("*_*.json*")) if self.folder.is_dir() else ""
        return sorted(
            {
                run
                for stage in stages
                for run in re.findall(rf"^{stage}_([^\n.]+){re.escape(suffix(stage))}$", names, re.M)
            },
            reverse=True,
        )

    def read(self, stage, run):
        """The Log of this stage and run, or None."""
        path = self.folder / f"{stage}_{run}{suffix(stage)}"
        if path not in self.cache:
            self.cache[path] = None
            if path.exists():
                try:
                    data = read_history(path) if stage == "history" else read_checked(path, stage)
                    self.cache[path] = Log(f"{self.folder.name}/{path.name}", run, data)
                except UserError as error:
                    self.num_bad += 1
                    warn(f"skipped: {error}")
        return self.cache[path]


def read_checked(path, stage):
    data = read_json(path)
    problem = shape_problem(data, SHAPES[stage])
    if problem:
        raise UserError(f"{path} is not a log of this toolkit's {stage} stage: {problem}")
    return data


def read_history(path):
    """The entries of a history; a last line that is being written or was cut by a kill is left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    entries = []
    for i, line in enumerate(lines[:-1]):
        try:
            entry = json.loads(line)
            problem = shape_problem(entry, ENTRY)
        except (ValueError, RecursionError) as error:
            problem = f"not JSON ({error})"
        if problem:
            warn(f"skipped line {i + 1} of {path}: {problem}")
        else:
            entries.append(entry)
    if not entries:
        raise UserError(f"cannot read {path}: no whole entry in it")
    return entries


# ---- Which belong together


def trained_by(benchmark, shelf):
    """Id of the training run whose adapter this benchmark scored, or None.

    The adapter names its run; one that does not is taken for that of the last run that wrote its folder.
    """
    adapter = benchmark.data["meta"]["adapter"]
    if adapter and adapter.get("run"):
        return adapter["run"]
    for run in shelf.runs("config"):
        settings = shelf.read("config", run) if run <= benchmark.run and adapter else None
        if settings and Path(settings.data["output_dir"]).name == Path(adapter["path"]).name:
            return run
    return None


def choose(shelf, run=None):
    """The Log, or None, of each stage of `run`, or of the newest run.

    Stages: config, metrics, history (read where there are no metrics yet), benchmark, base, compare.
    """
    training_runs, benchmark_runs = shelf.runs(*TRAINING_STAGES), shelf.runs("benchmark")
    if not training_runs and not benchmark_runs:
        raise UserError(f"no logs in {shelf.folder}; run: python train_8b.py")
    if run is not None and run not in training_runs + benchmark_runs:
        known = ", ".join((training_runs + benchmark_runs)[:5])
        raise UserError(f"no run '{run}' in {shelf.folder}; the newest there: {known}")
    asked = run is not None
    logs = dict.fromkeys((*TRAINING_STAGES, "benchmark", "base", "compare"))
    if run is not None and run not in training_runs:
        logs["benchmark"] = shelf.read("benchmark", run)
        run = trained_by(logs["benchmark"], shelf) if logs["benchmark"] else None
        run = run if run in training_runs else None
        training_runs = [run] if run else []
    logs.update(training_logs(shelf, [run] if run else training_runs))
    logs["benchmark"] = logs["benchmark"] or adapter_benchmark(shelf, logs, benchmark_runs, asked)
    if logs["benchmark"] and logs["benchmark"].data["meta"]["kind"] == "base":
        logs["base"], logs["benchmark"] = logs["benchmark"], None
    logs["base"] = logs["base"] or base_benchmark(shelf, logs["benchmark"], benchmark_runs)
    logs["compare"] = comparison(shelf, logs)
    if not any(logs.values()):
        raise UserError(
            f"no readable log in {shelf.folder} ({shelf.num_bad} skipped, named above); "
            "run: python train_8b.py"
        )
    return logs


def training_logs(shelf, runs):
    """The logs of the first of `runs` that has trained a step; if none has, of the first with a config."""
    fallback = {}
    for run in runs:
        logs = {"config": shelf.read("config", run), "metrics": shelf.read("metrics", run)}
        logs["history"] = None if logs["metrics"] else shelf.read("history", run)
        if logs["metrics"] or logs["history"]:
            return logs
        if logs["config"]:
            fallback = fallback or logs
    return fallback


def adapter_benchmark(shelf, logs, runs, asked):
    """The newest benchmark of the training run's adapter; with no training log, the newest but the base's."""
    trained = next((log.run for log in logs.values() if log), None)
    for run in runs:
        log = shelf.read("benchmark", run)
        if log is None or log.data["meta"]["kind"] == "base":
            continue
        owner = trained_by(log, shelf)
        if trained is None or run == trained or owner == trained:
            return log
        if log.data["meta"]["kind"] == "adapter" and not asked:
            scored = f"the adapter of run {owner}" if owner else "an adapter of no run in these logs"
            warn(f"{log.name} scores {scored}, not that of {trained}: left out; --run {run} shows it")
    return None


def base_benchmark(shelf, benchmark, runs):
    """The newest benchmark of the base model on the same validation file, best on the very same samples."""

    def facts(log):
        return Path(log.data["meta"]["base_model"] or "").name, log.data["meta"]["validation"]["sha256"]

    def ids(log):
        return {sample["id"] for sample in log.data["samples"]}

    logs = [shelf.read("benchmark", run) for run in runs]
    logs = [log for log in logs if log and log.data["meta"]["kind"] == "base"]
    if benchmark:
        logs = [log for log in logs if facts(log) == facts(benchmark)]
        logs.sort(key=lambda log: ids(log) != ids(benchmark))
    return logs[0] if logs else None


def comparison(shelf, logs):
    """The newest comparison of exactly the base and the adapter benchmark chosen, or None."""
    if not (logs["benchmark"] and logs["base"]):
        return None
    wanted = [Path(logs[side].name).name for side in ("base", "benchmark")]
    for run in shelf.runs("compare"):
        log = shelf.read("compare", run)
        if log and [Path(log.data["meta"][side]).name for side in "ab"] == wanted:
            return log
    return None
