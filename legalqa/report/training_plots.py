"""The pictures of training: loss and learning rate over steps."""

import math
from pathlib import Path

from legalqa.report import figures
from legalqa.report.curves import Curve, finite, logged, read_curve, running_mean
from legalqa.report.figures import RUN_COLOURS, CannotDraw
from legalqa.report.logs import Log, RunLogs
from legalqa.report.numbers import SUPERSCRIPTS, number, plural, scientific
from legalqa.report.words import PLOT_WORDS

MARKERS = {"first": "o", "last": "s", "lowest": "v", "peak": "^", "last_rate": "s"}
MARKS = {"color": "black", "ms": 8, "mfc": "white", "mew": 1.8, "zorder": 5, "clip_on": False, "ls": ""}
MIN_SMOOTHED = 10  # fewer losses are drawn as points, without a smoothed line
SHOWN_RESUMES = 3


def curves_with(runs: list[RunLogs], key: str) -> list[Curve]:
    """The curves that have a finite `key`; CannotDraw where none has."""
    curves = [curve for curve in map(read_curve, runs) if curve]
    if not curves:
        raise CannotDraw("no training steps logged; run: python train_8b.py")
    if not any(curve.entries for curve in curves):
        raise CannotDraw(f"no steps in {', '.join(curve.log.name for curve in curves)}, totals alone")
    drawable = [curve for curve in curves if finite(curve, key)[0]]
    if not drawable:
        raise CannotDraw(f"no finite '{key}' in {', '.join(curve.log.name for curve in curves)}")
    return drawable


def curve_name(curve: Curve) -> str:
    """Adapter and base model; the run's id or the file's name where its settings are missing."""
    if curve.config is None:
        return figures.short(curve.log.run)
    settings = curve.config.data
    adapter = figures.short(Path(settings["output_dir"]).name, 26)
    return f"{adapter} ({figures.short(settings['model_name'], 34)})"


def curve_label(curve: Curve, alone: bool, language: str) -> str:
    """ "finetuned_demo (models/demo), 155 steps": name, length, and the run where it is not `alone`."""
    words, last_step = PLOT_WORDS[language], curve.entries[-1]["step"]
    label = f"{curve_name(curve)}, {number(last_step, language)} {plural(last_step, *words['steps'])}"
    label += "" if curve.finished else f", {words['unfinished']}"
    return label if alone or curve.config is None else f"{curve.log.run}: {label}"


def training_figure(picture: str, curves: list[Curve], legend_lines: int, language: str):
    """(figure, axes) titled with model and number of steps; epochs along the top when there is one run."""
    words, alone = PLOT_WORDS[language], len(curves) == 1
    models = [(curve_label(curve, alone, language), colour) for curve, colour in zip(curves, RUN_COLOURS)]
    figure, axes = figures.new_figure(
        words[picture], models, [curve.log for curve in curves], legend_lines=legend_lines
    )
    axes.set_xlabel(words["step"])
    axes.set_xlim(0, 1.02 * max(curve.entries[-1]["step"] for curve in curves) or 1)
    figures.number_ticks(axes.xaxis, language)
    last = curves[0].entries[-1]
    epochs = last.get("epoch")
    if alone and epochs and last["step"]:
        per_epoch = last["step"] / epochs
        top = axes.secondary_xaxis("top", functions=(lambda x: x / per_epoch, lambda x: x * per_epoch))
        top.set_xlabel(words["epoch"])
        figures.number_ticks(top.xaxis, language)
    return figure, axes


def training_loss(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """Raw and smoothed training loss, and the evaluation loss, over steps."""
    words, curves = PLOT_WORDS[language], curves_with(runs, "loss")
    alone = len(curves) == 1
    troubled = any(curve.resumed_at or broken_steps(curve) for curve in curves)
    figure, axes = training_figure("training_loss", curves, 1 + alone + troubled, language)
    for index, (curve, colour) in enumerate(zip(curves, RUN_COLOURS)):
        draw_losses(axes, curve, colour, alone, language, named=index == 0)
        if alone:
            steps, losses = finite(curve, "loss")
            places = {"first": 0, "last": len(losses) - 1, "lowest": losses.index(min(losses))}
            mark(axes, steps, losses, places, language, lambda loss: number(loss, language, 4))
        draw_evaluations(axes, curve, figures.VERMILION if alone else colour, words, named=index == 0)
        mark_resumes(axes, curve, words, None if alone else colour)
        mark_broken(axes, curve, words, None if alone else colour)
    axes.set_ylabel(words["loss"])
    losses = [loss for curve in curves for key in ("loss", "eval_loss") for loss in finite(curve, key)[1]]
    axes.set_ylim(0, 1.08 * max(losses) or 1)
    figures.number_ticks(axes.yaxis, language)
    figures.legend_below(figure, axes, 3)
    return figure, [curve.log for curve in curves]


def draw_losses(axes, curve: Curve, colour: str, alone: bool, language: str, named: bool) -> None:
    """The losses as logged and, where there are enough of them, smoothed; in the legend where `named`."""
    words, (steps, losses) = PLOT_WORDS[language], finite(curve, "loss")
    smoothed, raw_label = len(losses) >= MIN_SMOOTHED, words["raw"] if named else None
    if not smoothed:
        axes.plot(*logged(curve, "loss"), color=colour, lw=2, marker="o", label=raw_label)
        return
    axes.plot(*logged(curve, "loss"), color=colour, alpha=0.4, lw=1.2, label=raw_label)
    window = max(5, len(losses) // 20) | 1
    label = words["smooth"].format(window) if alone else words["smooth_each"]
    means = dict(zip(steps, running_mean(losses, window)))
    every_step = logged(curve, "loss")[0]
    with_gaps = [means.get(step, math.nan) for step in every_step]
    axes.plot(every_step, with_gaps, color=colour, lw=2.4, label=label if named else None)


def draw_evaluations(axes, curve: Curve, colour: str, words: dict, named: bool) -> None:
    evaluations = finite(curve, "eval_loss")
    if evaluations[0]:
        style = {"lw": 1.6, "ls": "--", "marker": "D", "ms": 7, "mec": "white", "zorder": 4, "clip_on": False}
        axes.plot(*evaluations, color=colour, label=words["eval"] if named else None, **style)


def mark(axes, steps, values, places: dict[str, int], language: str, form) -> None:
    """A marker at each of `places`, {word: index}; the values stand in the legend, clear of the data."""
    words = PLOT_WORDS[language]
    for i in dict.fromkeys(places.values()):
        names = [word for word, place in places.items() if place == i]
        text = words["at"].format(
            ", ".join(words[name] for name in names), form(values[i]), number(steps[i], language)
        )
        axes.plot(steps[i], values[i], marker=MARKERS[names[0]], label=text, **MARKS)


def broken_steps(curve: Curve) -> list[int]:
    """Steps whose loss was NaN or infinite."""
    return [step for step, loss in zip(*logged(curve, "loss")) if math.isnan(loss)]


def mark_resumes(axes, curve: Curve, words: dict, colour: str | None) -> None:
    """Where the run was resumed; in `colour` beside other runs."""
    if not curve.resumed_at:
        return
    style = {"color": colour or figures.GREY, "ls": ":", "lw": 1.8}
    for step in curve.resumed_at:
        axes.axvline(step, **style)
    steps = ", ".join(map(str, curve.resumed_at[:SHOWN_RESUMES]))
    steps += ", …" if len(curve.resumed_at) > SHOWN_RESUMES else ""
    label = words["resumed_each"] if colour else words["resumed"].format(steps)
    axes.plot([], [], label=once(axes, label), **style)


def mark_broken(axes, curve: Curve, words: dict, colour: str | None) -> None:
    """Where the loss was no number; in `colour` beside other runs."""
    broken = broken_steps(curve)
    if broken:
        label = words["nan_each"] if colour else words["nan"].format(len(broken), broken[0], broken[-1])
        style = {"color": colour or figures.VERMILION, "ms": 9, "mew": 2.2, "clip_on": False, "zorder": 6}
        axes.plot(broken, [0] * len(broken), "x", label=once(axes, label), **style)


def once(axes, label: str) -> str | None:
    """`label`, or None where a line already stands for it in the legend."""
    return None if label in [line.get_label() for line in axes.lines] else label


def learning_rate(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """Learning rate over steps; its highest and last value marked."""
    words, curves = PLOT_WORDS[language], curves_with(runs, "learning_rate")
    alone = len(curves) == 1
    figure, axes = training_figure("learning_rate", curves, int(alone), language)
    peak = max(max(finite(curve, "learning_rate")[1]) for curve in curves)
    exponent = math.floor(math.log10(peak)) if peak > 0 else 0
    for index, (curve, colour) in enumerate(zip(curves, RUN_COLOURS)):
        steps, rates = finite(curve, "learning_rate")
        width = 2.2 + 2 * (len(curves) - 1 - index)  # runs often share a schedule: lower lines stay visible
        axes.plot(steps, rates, color=colour, lw=width, marker="o" if len(rates) < 10 else "")
        if alone:
            places = {"peak": rates.index(max(rates)), "last_rate": len(rates) - 1}
            mark(axes, steps, rates, places, language, lambda rate: scientific(rate, language))
    power = str(exponent).translate(SUPERSCRIPTS)
    axes.set_ylabel(words["rate_scaled"].format(power) if exponent else words["rate"])
    axes.set_ylim(0, 1.1 * peak or 1)
    figures.number_ticks(axes.yaxis, language, 10.0**-exponent)
    if alone:
        figures.legend_below(figure, axes, 2)
    return figure, [curve.log for curve in curves]
