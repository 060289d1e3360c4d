"""Which logs belong together, read and checked: what the plots and the report are made from.

A training run is known by its id. A benchmark belongs to the run that trained the adapter it scored; the base
model's benchmark and the comparison are those of the same base model and validation file.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, get_type_hints

from legalqa.errors import UserError
from legalqa.files import read_json
from legalqa.scoring.results import BenchmarkLog, CompareLog, Device, HumanLog, ModelsLog, RunMeta
from legalqa.scoring.statistics import add_named_article, difference_groups, named_article_of, shared_pairs
from legalqa.typed_json import Amount, AnyNumber, Count, Number, json_problem

TRAINING_STAGES = ("config", "metrics", "history")


class Log(NamedTuple):
    """One file: `name` is what people see (folder/file), `data` its JSON object, or a history's entries."""

    name: str
    run: str
    data: Any


class RunLogs(NamedTuple):
    """The logs that belong to one run; None where there is no such log."""

    config: Log | None = None
    metrics: Log | None = None
    history: Log | None = None  # read where there are no metrics yet
    base: Log | None = None
    benchmark: Log | None = None
    compare: Log | None = None
    models: Log | None = None  # a comparison of many
    human: Log | None = None  # ratings by people
    closed: Log | None = None  # closed-book side of an open-book benchmark
    law_compare: Log | None = None  # `benchmark` minus `closed`
    dpo: "RunLogs | None" = None  # of the DPO run that goes on from this one: its `base` is our `benchmark`


# ---- What train_8b.py leaves, as far as plots and report read it


class DataFacts(TypedDict):
    file: str
    sha256: str
    num_rows: Count
    num_used: Count
    num_dropped: Count
    by_language: NotRequired[dict[str, Count]]


class DataFiles(TypedDict):
    train: DataFacts
    validation: NotRequired[DataFacts]


class BaseModelFacts(TypedDict):
    name: str
    parameters: Count


class FromAdapter(TypedDict):
    """The adapter that a DPO run goes on from."""

    path: str
    run: str | None


class ConfigMeta(RunMeta):
    device: Device
    data: DataFiles
    base_model: BaseModelFacts
    from_adapter: NotRequired[FromAdapter]  # of train_dpo.py


class ConfigLog(TypedDict):
    """config_<run>.json: the settings that the report shows, as CONFIG types them."""

    meta: ConfigMeta
    profile: str
    model_name: str
    output_dir: str
    max_seq_length: Number
    load_in_4bit: bool
    lora_r: Number
    lora_alpha: Number
    lora_dropout: Number
    target_modules: list[str]
    batch_size: Number
    grad_accum: Number
    num_epochs: Number
    max_steps: Number
    learning_rate: Number
    warmup_ratio: Number
    weight_decay: Number
    optim: str
    lr_scheduler_type: str
    seed: Number
    completion_only_loss: bool


class HistoryEntry(TypedDict):
    """A line of history_<run>.jsonl: what was logged at a step."""

    step: Count
    epoch: NotRequired[Amount]
    loss: NotRequired[AnyNumber]
    eval_loss: NotRequired[AnyNumber]
    learning_rate: NotRequired[Amount]
    margin: NotRequired[AnyNumber]  # these four of DPO
    accuracy: NotRequired[Amount]
    eval_margin: NotRequired[AnyNumber]
    eval_accuracy: NotRequired[Amount]


class MetricsMeta(TypedDict):
    run: str
    resumed_from: Amount


class MetricsLog(TypedDict):
    """metrics_<run>.json: the totals of a run that has ended, times in seconds, and its history."""

    meta: MetricsMeta
    train_loss: AnyNumber
    initial_loss: AnyNumber
    final_loss: AnyNumber
    min_loss: AnyNumber
    loss_reduction_percent: AnyNumber
    initial_eval_loss: AnyNumber
    eval_loss: AnyNumber
    min_eval_loss: AnyNumber
    train_runtime: Amount
    train_samples_per_second: Amount
    train_steps_per_second: Amount
    total_flos: Amount
    epoch: Amount
    total_steps: Amount
    trainable_parameters: Amount
    total_parameters: Amount
    trainable_percent: Amount
    tokens_per_second: Amount
    peak_memory_bytes: Amount
    peak_vram_bytes: Amount
    history: list[HistoryEntry]


TRAINER_TOTALS = {
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "total_flos",
    "train_loss",
    "epoch",
}
LOG_TYPES = {
    "config": ConfigLog,
    "metrics": MetricsLog,
    "benchmark": BenchmarkLog,
    "compare": CompareLog,
    "models": ModelsLog,
    "human": HumanLog,
}


# ---- Reading


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def suffix(stage: str) -> str:
    return ".jsonl" if stage == "history" else ".json"


class Shelf:
    """The logs of a folder, each read and checked once; a bad one is named on stderr and taken as absent."""

    def __init__(self, logs_dir: str | Path):
        self.folder = Path(logs_dir)
        self.cache: dict[Path, Log | None] = {}
        self.num_bad = 0

    def runs(self, *stages: str) -> list[str]:
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

    def read(self, stage: str, run: str) -> Log | None:
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


def totals_as_metrics(data: dict, run: str) -> dict:
    """A Trainer's own totals, all that the reference run's metrics_<run>.json has: the rest is None."""
    absent = dict.fromkeys(get_type_hints(MetricsLog))
    return {**absent, "meta": {"run": run, "resumed_from": None}, "history": [], **data}


def read_checked(path: Path, stage: str) -> dict:
    data = read_json(path)
    if stage == "metrics" and "meta" not in data and data.keys() >= TRAINER_TOTALS:
        warn(f"{path} holds a Trainer's totals alone: no loss by step, no evaluation")
        data = totals_as_metrics(data, path.stem.removeprefix("metrics_"))
    problem = json_problem(data, LOG_TYPES[stage])
    if problem:
        raise UserError(f"{path} is not a log of this toolkit's {stage} stage: {problem}")
    if stage == "benchmark" and "by_named_article" not in data["summary"]:  # an older log
        add_named_article(data["summary"], data["samples"], data["meta"].get("seed", 0))
    return data


def read_history(path: Path) -> list[HistoryEntry]:
    """The entries of a history; a last line that is being written or was cut by a kill is left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    entries = []
    for i, line in enumerate(lines[:-1]):
        try:
            entry = json.loads(line)
            problem = json_problem(entry, HistoryEntry)
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


def trained_by(benchmark: Log, shelf: Shelf) -> str | None:
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


def choose(shelf: Shelf, run: str | None = None) -> RunLogs:
    """The logs of `run`, of a training or of a benchmark; without one, of the newest."""
    training_runs, benchmark_runs = shelf.runs(*TRAINING_STAGES), shelf.runs("benchmark")
    if not training_runs and not benchmark_runs:
        raise UserError(f"no logs in {shelf.folder}; run: python train_8b.py")
    run = run and supervised_run(shelf, run)
    if run is not None and run not in training_runs + benchmark_runs:
        known = ", ".join((training_runs + benchmark_runs)[:5])
        raise UserError(f"no run '{run}' in {shelf.folder}; the newest there: {known}")
    base = benchmark = None
    if run in training_runs:
        training_runs = [run]
    elif run is not None:
        benchmark = shelf.read("benchmark", run)
        owner = trained_by(benchmark, shelf) if benchmark else None
        training_runs = [owner] if owner in training_runs else []
    supervised = (name for name in training_runs if from_run(shelf, name) is None)
    logs = training_logs(shelf, supervised)
    if not any(logs):
        logs = training_logs(shelf, training_runs)
    trained = next((log.run for log in (logs.config, logs.metrics, logs.history) if log), None)
    benchmark = benchmark or adapter_benchmark(shelf, trained, benchmark_runs, asked=run is not None)
    if benchmark and benchmark.data["meta"]["kind"] == "base":
        base, benchmark = benchmark, None
    base = base or base_benchmark(shelf, benchmark, benchmark_runs)
    logs = logs._replace(benchmark=benchmark, base=base, compare=comparison(shelf, base, benchmark))
    if benchmark and benchmark.data["meta"].get("law"):
        logs = logs._replace(**closed_book(shelf, benchmark)._asdict())
    logs = logs._replace(dpo=dpo_logs(shelf, trained, benchmark))
    benchmarks = [log for log in (benchmark, base) if log]
    logs = logs._replace(
        models=newest_of_many(shelf, "models", benchmarks), human=newest_of_many(shelf, "human", benchmarks)
    )
    if not any(logs):
        raise UserError(
            f"no readable log in {shelf.folder} ({shelf.num_bad} skipped, named above); "
            "run: python train_8b.py"
        )
    return logs


def from_run(shelf: Shelf, run: str) -> str | None:
    """Of a DPO run: the run of the adapter it goes on from ("" where that names none); None of any other."""
    config = shelf.read("config", run)
    adapter = config.data["meta"].get("from_adapter") if config else None
    return (adapter["run"] or "") if adapter else None


def supervised_run(shelf: Shelf, run: str) -> str:
    """Of a DPO run, or of the benchmark of its adapter: the run it goes on from. Any other as it is."""
    log = None if run in shelf.runs(*TRAINING_STAGES) else shelf.read("benchmark", run)
    trained = (log and trained_by(log, shelf)) or run
    earlier = from_run(shelf, trained)
    return earlier if earlier in shelf.runs(*TRAINING_STAGES) else run


def dpo_logs(shelf: Shelf, trained: str | None, benchmark: Log | None) -> RunLogs | None:
    """The newest DPO run that goes on from the run `trained`, whose adapter `benchmark` has scored."""
    for run in shelf.runs(*TRAINING_STAGES):
        if trained is None or from_run(shelf, run) != trained:
            continue
        logs = training_logs(shelf, [run])
        scored = [log for name in shelf.runs("benchmark") if (log := shelf.read("benchmark", name))]
        own = next((log for log in scored if trained_by(log, shelf) == run), None)
        return logs._replace(base=benchmark, benchmark=own, compare=comparison(shelf, benchmark, own))
    return None


def training_logs(shelf: Shelf, runs: Iterable[str]) -> RunLogs:
    """The logs of the first of `runs` that has trained a step; if none has, of the first with a config."""
    fallback = RunLogs()
    for run in runs:
        logs = RunLogs(config=shelf.read("config", run), metrics=shelf.read("metrics", run))
        if not logs.metrics:
            logs = logs._replace(history=shelf.read("history", run))
        if logs.metrics or logs.history:
            return logs
        if logs.config and not fallback.config:
            fallback = logs
    return fallback


def adapter_benchmark(shelf: Shelf, trained: str | None, runs: list[str], asked: bool) -> Log | None:
    """The newest benchmark of the adapter of the run `trained`; without one, the newest but the base's."""
    for run in runs:
        log = shelf.read("benchmark", run)
        if log is None or log.data["meta"]["kind"] == "base":
            continue
        owner = trained_by(log, shelf)
        if trained is None or run == trained or owner == trained:
            return log
        if log.data["meta"]["kind"] not in ("predictions", "server", "dpo") and not asked:
            scored = f"the adapter of run {owner}" if owner else "an adapter of no run in these logs"
            warn(f"{log.name} scores {scored}, not that of {trained}: left out; --run {run} shows it")
    return None


def base_benchmark(shelf: Shelf, benchmark: Log | None, runs: list[str]) -> Log | None:
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


class ClosedBook(NamedTuple):
    """What an open-book benchmark is compared with, and the comparison."""

    closed: Log | None = None
    law_compare: Log | None = None


def closed_book(shelf: Shelf, benchmark: Log) -> ClosedBook:
    """The newest comparison of this benchmark with a tuned model's without the law: the same adapter, or one
    that was trained without. Where there is none, the newest closed-book benchmark of the same adapter."""
    for run in shelf.runs("compare"):
        log = shelf.read("compare", run)
        if log and Path(log.data["meta"]["b"]).name == Path(benchmark.name).name:
            other = shelf.read("benchmark", Path(log.data["meta"]["a"]).stem.removeprefix("benchmark_"))
            meta = other.data["meta"] if other else {"kind": "base"}
            if meta["kind"] != "base" and not meta.get("law"):
                return ClosedBook(other, log)
    for run in shelf.runs("benchmark"):
        log = shelf.read("benchmark", run)
        meta = log.data["meta"] if log else {"adapter": None}
        if meta["adapter"] and meta["adapter"] == benchmark.data["meta"]["adapter"] and not meta.get("law"):
            return ClosedBook(log)
    return ClosedBook()


def comparison(shelf: Shelf, base: Log | None, benchmark: Log | None) -> Log | None:
    """The newest comparison of exactly these two, or None."""
    if not (base and benchmark):
        return None
    wanted = [Path(base.name).name, Path(benchmark.name).name]
    for run in shelf.runs("compare"):
        log = shelf.read("compare", run)
        if log and [Path(log.data["meta"][side]).name for side in "ab"] == wanted:
            if "by_named_article" not in log.data:  # an older log
                pairs = shared_pairs(base.data["samples"], benchmark.data["samples"])
                seed = benchmark.data["meta"].get("seed", 0)
                log.data["by_named_article"] = difference_groups(pairs, named_article_of, seed)
            return log
    return None


def newest_of_many(shelf: Shelf, stage: str, benchmarks: list[Log]) -> Log | None:
    """The newest log of many models that has the first of these benchmarks among them, else the next."""
    logs = [log for run in shelf.runs(stage) if (log := shelf.read(stage, run))]
    for benchmark in benchmarks:
        for log in logs:
            if Path(benchmark.name).name in {Path(model["file"]).name for model in log.data["models"]}:
                return log
    return None
