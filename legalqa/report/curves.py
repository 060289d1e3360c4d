"""The history of a run as curves: each step once, NaN where there is no number."""

import math


def merged_history(entries):
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


def read_curve(run):
    """{"log", "config", "entries", "resumed", "finished"} of a run's history, without the steps that a resume
    voided.
    """
    log = run["metrics"] or run["history"]
    entries, resumed = merged_history(log.data["history"] if run["metrics"] else log.data)
    if run["metrics"] and run["metrics"].data["meta"]["resumed_from"]:
        resumed = sorted({*resumed, run["metrics"].data["meta"]["resumed_from"]})
    return {
        "log": log,
        "config": run["config"],
        "entries": entries,
        "resumed": resumed,
        "finished": bool(run["metrics"]),
    }


def points(curve, key):
    """([steps], [values]) of the entries with a `key`; NaN where it is not finite, so that a line breaks
    there.
    """
    found = [(entry["step"], entry[key]) for entry in curve["entries"] if key in entry]
    return [step for step, _ in found], [
        math.nan if value is None or math.isinf(value) else value for _, value in found
    ]


def finite(steps, values):
    """The same without NaN."""
    kept = [(step, value) for step, value in zip(steps, values) if not math.isnan(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def running_mean(values, window):
    """Mean over `window` neighbours, half on each side; it narrows at both ends."""
    half, sums = window // 2, [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    reach = [min(half, i, len(values) - 1 - i) for i in range(len(values))]
    return [(sums[i + r + 1] - sums[i - r]) / (2 * r + 1) for i, r in enumerate(reach)]
