"""The history of a run as curves: each step once, NaN where there is no number."""

import math
from typing import NamedTuple

from legalqa.report.logs import HistoryEntry, Log, RunLogs


class Curve(NamedTuple):
    """What a run logged while it trained, without the steps that a resume voided."""

    log: Log
    config: Log | None
    entries: list[HistoryEntry]
    resumed_at: list[int]  # the steps from which it went on
    finished: bool


def merged_history(entries: list[HistoryEntry]) -> tuple[list[HistoryEntry], list[int]]:
    """(one entry a step, in order; the steps a resume went on from).

    A run that was killed and resumed wrote the steps after its last checkpoint twice: going back to a step
    voids all that came after it.
    """
    by_step, order, resumed_at = {}, [], []
    for entry in entries:
        step = entry["step"]
        if order and order[-1] > step:
            while order and order[-1] >= step:
                if order[-1] > step:
                    del by_step[order[-1]]
                order.pop()
            resumed_at.append(order[-1] if order else step)
        if not order or order[-1] != step:
            order.append(step)
        by_step[step] = {**by_step.get(step, {}), **entry}
    return [by_step[step] for step in order], resumed_at


def read_curve(run: RunLogs) -> Curve | None:
    """The curve of a run that has trained a step."""
    log = run.metrics or run.history
    if log is None:
        return None
    entries, resumed_at = merged_history(log.data["history"] if run.metrics else log.data)
    if run.metrics and log.data["meta"]["resumed_from"]:
        resumed_at = sorted({*resumed_at, log.data["meta"]["resumed_from"]})
    return Curve(log, run.config, entries, resumed_at, finished=bool(run.metrics))


def logged(curve: Curve, key: str) -> tuple[list[int], list[float]]:
    """(steps, values) of the entries with a `key`; NaN where it is not finite: a line breaks there."""
    found = [(entry["step"], entry[key]) for entry in curve.entries if key in entry]
    values = [math.nan if value is None or math.isinf(value) else value for _, value in found]
    return [step for step, _ in found], values


def finite(curve: Curve, key: str) -> tuple[list[int], list[float]]:
    """The same without NaN."""
    kept = [(step, value) for step, value in zip(*logged(curve, key)) if not math.isnan(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def running_mean(values: list[float], window: int) -> list[float]:
    """Mean over `window` neighbours, half on each side; it narrows at both ends."""
    half, sums = window // 2, [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    reach = [min(half, i, len(values) - 1 - i) for i in range(len(values))]
    return [(sums[i + r + 1] - sums[i - r]) / (2 * r + 1) for i, r in enumerate(reach)]
