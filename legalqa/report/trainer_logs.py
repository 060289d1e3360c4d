"""Training histories that other tools left: a Trainer's trainer_state.json, its totals, its console output.

The console has lines such as {'loss': 1.8544, 'grad_norm': 0.52, 'learning_rate': 2e-05, 'epoch': 0.01} (as
'1.854' in newer versions) between progress bars, and no step numbers. Steps are counted: losses come at even
distances, and the steps of an epoch follow from the total that a bar shows and the number of epochs.
"""

import re
from pathlib import Path
from typing import NamedTuple, cast

from legalqa.errors import UserError
from legalqa.files import read_json
from legalqa.report.logs import HistoryEntry, Log, MetricsLog, RunLogs, totals_as_metrics
from legalqa.typed_json import json_problem

SHOWN = ("loss", "eval_loss", "learning_rate")  # of an entry, in the pictures
KEPT = (*SHOWN, "epoch")
NUMBER = r"[-+]?(?:\d{1,30}(?:\.\d{0,30})?(?:e[-+]?\d{1,4})?|nan|inf)"
ENTRY = re.compile(r"\{'\w+': [^{}\n]*\}")
VALUE = re.compile(rf"'(\w+)': '?({NUMBER})'?(?=[,}}])")
PROGRESS = re.compile(r"^\s*\d+%\|[^|\n]*\|\s*\d+/(\d{1,12}) \[", re.MULTILINE)  # a bar without a description
TOTAL_STEPS = re.compile(r"Total (?:optimization )?steps = (\d[\d,]{0,14})")
NUM_EPOCHS = re.compile(r"Num Epochs = (\d[\d,]{0,14})")


class Training(NamedTuple):
    """What a file says of a run. `finished`: its totals are there too; `note`: what a reader should know."""

    entries: list[HistoryEntry]
    finished: bool
    note: str = ""


def read_trainer_log(path: Path) -> tuple[RunLogs, str]:
    """(the logs of the run, a line on what is in the file and what is not); a UserError where nothing is."""
    name, run = f"{path.resolve().parent.name}/{path.name}", path.stem
    data, text = read_any(path)
    if "train_runtime" in data:
        metrics = totals_as_metrics(data, run)
        checked(metrics, MetricsLog, path)
        return RunLogs(metrics=Log(name, run, metrics)), about(Training(metrics["history"], finished=True))
    training = from_state(data, path) if "log_history" in data else from_console(text)
    checked(training.entries, list[HistoryEntry], path)
    if not training.entries:
        raise UserError(
            f"{path}: no training history in it; a Trainer's trainer_state.json, its metrics, or its console "
            "output with lines of {'loss': ...} is expected"
        )
    if not training.finished:
        return RunLogs(history=Log(name, run, training.entries)), about(training)
    metrics = {**totals_as_metrics({}, run), "history": training.entries}
    return RunLogs(metrics=Log(name, run, metrics)), about(training)


def read_any(path: Path) -> tuple[dict, str]:
    """(JSON object, text) of a file: one of them is empty."""
    try:
        text = path.read_bytes().decode("utf-8", "replace").replace("\r", "\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return (read_json(path), "") if re.match(r"\s*\{\s*\"", text) else ({}, text)


def checked(data, kind, path: Path) -> None:
    problem = json_problem(data, kind)
    if problem:
        raise UserError(f"{path} is not the history of a training: {problem}")


def about(training: Training) -> str:
    """What the entries hold, and what the pictures will lack."""
    counts = {key: sum(key in entry for entry in training.entries) for key in SHOWN}
    held = ", ".join(f"{count} x {key}" for key, count in counts.items() if count) or "totals alone"
    absent = ", ".join(key for key, count in counts.items() if not count)
    return "; ".join(filter(None, (held, absent and f"not in it: {absent}", training.note)))


def entry_of(step: int, logged: dict) -> HistoryEntry:
    return cast(HistoryEntry, {"step": step, **{key: logged[key] for key in KEPT if key in logged}})


def has_shown(logged: dict) -> bool:
    return not logged.keys().isdisjoint(SHOWN)


def from_state(state: dict, path: Path) -> Training:
    """The history in a trainer_state.json."""
    checked(state["log_history"], list[HistoryEntry], path)
    entries = [entry_of(logged["step"], logged) for logged in state["log_history"] if has_shown(logged)]
    return Training(entries, any("train_runtime" in logged for logged in state["log_history"]))


def from_console(text: str) -> Training:
    """The history in what a Trainer printed."""
    printed = [{key: float(value) for key, value in VALUE.findall(entry)} for entry in ENTRY.findall(text)]
    printed = [logged for logged in printed if json_problem({"step": 0, **logged}, HistoryEntry) is None]
    losses = [logged for logged in printed if "loss" in logged]
    steps, note = count_steps([logged.get("epoch") for logged in losses], steps_per_epoch(text, printed))
    step, left, entries = 0, iter(steps), []
    for logged in filter(has_shown, printed):
        step = next(left) if "loss" in logged else step
        entries.append(entry_of(step, logged))
    return Training(entries, any("train_runtime" in logged for logged in printed), note)


def steps_per_epoch(text: str, printed: list[dict]) -> float | None:
    """From the banner, or from the longest progress bar and the epoch in the last line; None if not there."""
    totals = [
        int(total.replace(",", "")) for total in TOTAL_STEPS.findall(text)[:1] or PROGRESS.findall(text)
    ]
    epochs = [int(count.replace(",", "")) for count in NUM_EPOCHS.findall(text)[:1]]
    epochs += [logged["epoch"] for logged in printed if "train_runtime" in logged and "epoch" in logged]
    return max(totals) / epochs[0] if totals and epochs and epochs[0] else None


def count_steps(epochs: list[float | None], per_epoch: float | None) -> tuple[list[int], str]:
    """(the step of each loss, by its epoch as printed, rounded; what to say of that)."""
    known = [epoch for epoch in epochs if epoch is not None]
    if per_epoch is None or len(known) < len(epochs) or known != sorted(known) or not known:
        return list(range(1, len(epochs) + 1)), "no steps in it: its losses are numbered"
    gaps = len(known) - 1 or 1
    distance = max(1, round((known[-1] - (known[0] if len(known) > 1 else 0)) * per_epoch / gaps))
    last = round(known[-1] * per_epoch / distance) * distance
    steps = [max(0, last - distance * (len(known) - 1 - i)) for i in range(len(known))]
    return steps, f"steps counted, a loss every {distance}"
