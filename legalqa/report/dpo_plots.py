"""The picture of DPO: how often the chosen answer is preferred to the rejected one, and by how much."""

from legalqa.report import figures
from legalqa.report.curves import Curve, finite, read_curve
from legalqa.report.figures import RUN_COLOURS, CannotDraw
from legalqa.report.logs import Log, RunLogs
from legalqa.report.training_plots import curve_label
from legalqa.report.words import PLOT_WORDS

HELD, TRAINED = {"lw": 2.4, "marker": "D", "ms": 6, "mec": "white", "zorder": 4}, {"lw": 1.2, "alpha": 0.5}


def dpo(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """Accuracy and margin over steps, of held pairs and of those trained on."""
    words = PLOT_WORDS[language]
    curves = [curve for run in runs if run.dpo and (curve := read_curve(run.dpo))]
    curves = [curve for curve in curves if finite(curve, "margin")[0] or finite(curve, "eval_margin")[0]]
    if not curves:
        raise CannotDraw("no steps of DPO logged; run: python train_dpo.py")
    models = [(curve_label(c, len(curves) == 1, language), colour) for c, colour in zip(curves, RUN_COLOURS)]
    logs = [curve.log for curve in curves]
    figure, (left, right) = figures.new_figure(words["dpo"], models, logs, 4.6, legend_lines=1, ncols=2)
    for curve, colour in zip(curves, RUN_COLOURS):
        draw_pair(left, curve, "accuracy", colour, words, 100)
        draw_pair(right, curve, "margin", colour, words, 1)
    left.axhline(50, color=figures.GREY, lw=1, ls=":")
    left.set_ylim(0, 103)
    left.set_title(words["accuracy"])
    figures.percent_ticks(left.yaxis, language)
    right.axhline(0, color=figures.GREY, lw=1, ls=":")
    right.set_title(words["margin"])
    figures.number_ticks(right.yaxis, language)
    for axes in (left, right):
        axes.set_xlabel(words["step"])
        axes.set_xlim(0, 1.02 * max(curve.entries[-1]["step"] for curve in curves) or 1)
        figures.number_ticks(axes.xaxis, language)
    figures.legend_below(figure, left, 2)
    return figure, logs


def draw_pair(axes, curve: Curve, key: str, colour: str, words: dict, scale: float) -> None:
    """The curves of the held pairs and of those trained on; one line of the legend for each kind."""
    labels = {line.get_label() for line in axes.lines}
    for name, label, style in ((key, words["pairs"], TRAINED), (f"eval_{key}", words["held"], HELD)):
        steps, values = finite(curve, name)
        if steps:
            shown = [scale * value for value in values]
            axes.plot(steps, shown, color=colour, label=None if label in labels else label, **style)
