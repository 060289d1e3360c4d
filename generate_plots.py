"""Draw the pictures of a run from its logs: loss, learning rate, scores, languages, citations, speed.

Reads logs/metrics_RUN.json, or logs/history_RUN.jsonl of a run that is going on or died, logs/config_RUN.json
and logs/benchmark_*.json. Writes plots/*.png; the log files a picture came from are named in its corner and
in its PNG metadata (key Source).

  python generate_plots.py                                                the newest run
  python generate_plots.py --run 20260301_100000                          that run: of training, or of a
  benchmark python generate_plots.py --run 20260301_100000 --run 20260302_090000    several runs, side by side
"""

import math
import sys
import time
from pathlib import Path
from statistics import fmean, median

from legalqa import cli
from legalqa.errors import UserError
from legalqa.report import figures
from legalqa.report.curves import finite, points, read_curve, running_mean
from legalqa.report.logs import Shelf, choose
from legalqa.report.numbers import SUPERSCRIPTS, number, percent, plural, scientific
from legalqa.report.words import CITATION_METRICS, LANGUAGE_NAMES, PLOT_WORDS, PUBLISHED, checked_language

SETTINGS = ("language", "logs_dir", "plots_dir")
MAX_RUNS = 5
BASE_COLOUR = figures.ORANGE
RUN_COLOURS = (figures.BLUE, figures.GREEN, figures.VERMILION, figures.PURPLE, figures.SKY)
KIND_COLOURS = (
    (figures.SKY, "black"),
    (figures.VERMILION, "white"),
    (figures.YELLOW, "black"),
    ("white", "black"),
)
MARKERS = {"first": "o", "last": "s", "lowest": "v", "peak": "^", "last_rate": "s"}
MARKS = {"color": "black", "ms": 8, "mfc": "white", "mew": 1.8, "zorder": 5, "clip_on": False, "ls": ""}


class CannotDraw(Exception):
    """Why a picture has nothing to show, and which command would change that."""


# ---- Training: `runs` is a list of what logs.choose() found


def curves_with(runs, key):
    curves = [read_curve(run) for run in runs if run["metrics"] or run["history"]]
    if not curves:
        raise CannotDraw("no training steps logged; run: python train_8b.py")
    drawable = [curve for curve in curves if finite(*points(curve, key))[0]]
    if not drawable:
        raise CannotDraw(f"no finite '{key}' in {', '.join(curve['log'].name for curve in curves)}")
    return drawable


def curve_name(curve):
    """Adapter and base model; the run's id where its settings are missing."""
    if curve["config"] is None:
        return curve["log"].run
    settings = curve["config"].data
    adapter = figures.short(Path(settings["output_dir"]).name, 26)
    return f"{adapter} ({figures.short(settings['model_name'], 34)})"


def training_figure(picture, curves, legend_lines, language):
    """(figure, axes) titled with model and number of steps; epochs along the top when there is one run."""
    words, models = PLOT_WORDS[language], []
    for curve, colour in zip(curves, RUN_COLOURS):
        last = curve["entries"][-1]["step"]
        steps = f"{number(last, language)} {plural(last, *words['steps'])}"
        label = f"{curve_name(curve)}, {steps}"
        label += "" if curve["finished"] else f", {words['unfinished']}"
        models.append((label if len(curves) == 1 else f"{curve['log'].run}: {label}", colour))
    figure, axes = figures.new_figure(
        words[picture], models, [curve["log"] for curve in curves], legend_lines=legend_lines
    )
    axes.set_xlabel(words["step"])
    longest = max(curve["entries"][-1]["step"] for curve in curves)
    axes.set_xlim(0, 1.02 * longest or 1)
    figures.number_ticks(axes.xaxis, language)
    last = curves[0]["entries"][-1]
    if len(curves) == 1 and last.get("epoch") and last["step"]:
        per_epoch = last["step"] / last["epoch"]
        top = axes.secondary_xaxis("top", functions=(lambda x: x / per_epoch, lambda x: x * per_epoch))
        top.set_xlabel(words["epoch"])
        figures.number_ticks(top.xaxis, language)
    return figure, axes


def training_loss(runs, language):
    """Raw and smoothed training loss, and the evaluation loss, over steps."""
    words, curves = PLOT_WORDS[language], curves_with(runs, "loss")
    alone = len(curves) == 1
    troubled = any(curve["resumed"] or any(map(math.isnan, points(curve, "loss")[1])) for curve in curves)
    figure, axes = training_figure("training_loss", curves, 1 + alone + troubled, language)
    for index, (curve, colour) in enumerate(zip(curves, RUN_COLOURS)):
        steps, losses = finite(*points(curve, "loss"))
        window = max(5, len(losses) // 20) | 1
        smoothed = len(losses) >= 10
        label = None if index else words["raw"]
        axes.plot(
            *points(curve, "loss"),
            color=colour,
            alpha=0.4 if smoothed else 1,
            lw=1.2 if smoothed else 2,
            marker="" if smoothed else "o",
            label=label,
        )
        if smoothed:
            label = None if index else words["smooth"].format(window) if alone else words["smooth_each"]
            means = dict(zip(steps, running_mean(losses, window)))
            every_step = points(curve, "loss")[0]
            means = [means.get(step, math.nan) for step in every_step]
            axes.plot(every_step, means, color=colour, lw=2.4, label=label)
        if alone:
            lowest = losses.index(min(losses))
            mark(
                axes,
                steps,
                losses,
                {"first": 0, "last": len(losses) - 1, "lowest": lowest},
                language,
                lambda loss: number(loss, language, 4),
            )
        evaluations = finite(*points(curve, "eval_loss"))
        if evaluations[0]:
            axes.plot(
                *evaluations,
                color=figures.VERMILION if alone else colour,
                lw=1.6,
                ls="--",
                marker="D",
                ms=7,
                mec="white",
                label=None if index else words["eval"],
                zorder=4,
                clip_on=False,
            )
        mark_trouble(axes, curve, words, None if alone else colour)
    axes.set_ylabel(words["loss"])
    axes.set_ylim(
        0,
        1.08
        * max(
            max(finite(*points(curve, key))[1], default=0)
            for curve in curves
            for key in ("loss", "eval_loss")
        )
        or 1,
    )
    figures.number_ticks(axes.yaxis, language)
    figures.legend_below(figure, axes, 3)
    return figure, [curve["log"] for curve in curves]


def mark(axes, steps, values, places, language, form):
    """A marker at each of `places`, {word: index}; the values stand in the legend, clear of the data."""
    words = PLOT_WORDS[language]
    for i in dict.fromkeys(places.values()):
        names = [word for word, place in places.items() if place == i]
        text = words["at"].format(
            ", ".join(words[name] for name in names), form(values[i]), number(steps[i], language)
        )
        axes.plot(steps[i], values[i], marker=MARKERS[names[0]], label=text, **MARKS)


def mark_trouble(axes, curve, words, colour):
    """Where the run was resumed, and where its loss was no number; in `colour` beside other runs."""
    known = [line.get_label() for line in axes.lines]
    for step in curve["resumed"]:
        axes.axvline(step, color=colour or figures.GREY, ls=":", lw=1.8)
    if curve["resumed"]:
        steps = ", ".join(map(str, curve["resumed"][:3])) + (", …" if len(curve["resumed"]) > 3 else "")
        label = words["resumed_each"] if colour else words["resumed"].format(steps)
        axes.plot(
            [], [], color=colour or figures.GREY, ls=":", lw=1.8, label=None if label in known else label
        )
    broken = [step for step, loss in zip(*points(curve, "loss")) if math.isnan(loss)]
    if broken:
        label = words["nan_each"] if colour else words["nan"].format(len(broken), broken[0], broken[-1])
        axes.plot(
            broken,
            [0] * len(broken),
            "x",
            color=colour or figures.VERMILION,
            ms=9,
            mew=2.2,
            clip_on=False,
            zorder=6,
            label=None if label in known else label,
        )


def learning_rate(runs, language):
    """Learning rate over steps; its highest and last value marked."""
    words, curves = PLOT_WORDS[language], curves_with(runs, "learning_rate")
    alone = len(curves) == 1
    figure, axes = training_figure("learning_rate", curves, int(alone), language)
    peak = max(max(finite(*points(curve, "learning_rate"))[1]) for curve in curves)
    exponent = math.floor(math.log10(peak)) if peak > 0 else 0
    for index, (curve, colour) in enumerate(zip(curves, RUN_COLOURS)):
        steps, rates = finite(*points(curve, "learning_rate"))
        width = 2.2 + 2 * (len(curves) - 1 - index)  # runs often share a schedule: lower lines stay visible
        axes.plot(steps, rates, color=colour, lw=width, marker="o" if len(rates) < 10 else "")
        if alone:
            mark(
                axes,
                steps,
                rates,
                {"peak": rates.index(max(rates)), "last_rate": len(rates) - 1},
                language,
                lambda rate: scientific(rate, language),
            )
    axes.set_ylabel(
        words["rate_scaled"].format(str(exponent).translate(SUPERSCRIPTS)) if exponent else words["rate"]
    )
    axes.set_ylim(0, 1.1 * peak or 1)
    figures.number_ticks(axes.yaxis, language, 10.0**-exponent)
    if alone:
        figures.legend_below(figure, axes, 2)
    return figure, [curve["log"] for curve in curves]


# ---- Benchmark: a bar is (label with n, colour, Log); the base model's comes first


def benchmark_bars(runs, language):
    logs = list({run["benchmark"].name: run["benchmark"] for run in runs if run["benchmark"]}.values())
    bases = [run["base"] for run in runs if run["base"]][:1]
    if not logs and not bases:
        raise CannotDraw("no benchmark yet; run: python benchmark.py")
    bars = []
    for log, colour in [*((log, BASE_COLOUR) for log in bases), *zip(logs, RUN_COLOURS)]:
        label = figures.short(log.data["meta"]["model"])
        if log in bases:
            label += f" ({PLOT_WORDS[language]['base']})"
        elif len(logs) > 1:
            label += f", {log.run}"
        count = number(log.data["summary"]["num_samples"], language)
        bars.append((f"{label}, n = {count}", colour, log))
    return bars


def benchmark_figure(picture, bars, language, height_in=5.6, **options):
    return figures.new_figure(
        PLOT_WORDS[language][picture],
        [(label, colour) for label, colour, _ in bars],
        [log for _, _, log in bars],
        height_in,
        **options,
    )


def summaries(bars):
    return [(log.data["summary"]["metrics"], colour) for _, colour, log in bars]


def sample_scores(log, name):
    return [
        sample["scores"][name] for sample in log.data["samples"] if sample["scores"].get(name) is not None
    ]


def benchmark_metrics(runs, language):
    """The published metrics and citations with intervals; beside them how token F1 is spread."""
    words, bars = PLOT_WORDS[language], benchmark_bars(runs, language)
    figure, (left, right) = benchmark_figure(
        "benchmark_metrics", bars, language, 6.4, ncols=2, width_ratios=(3, 2)
    )
    figures.score_bars(left, (*PUBLISHED, "citation_f1", "citation_exists"), summaries(bars), words, language)
    left.set(title=words["means"], xlabel=words["score"])
    edges = range(0, 101, 10)
    shares = [figures.binned(sample_scores(log, "token_f1"), edges)[1] for _, _, log in bars]
    figures.share_bars(right, shares, [colour for _, colour, _ in bars], edges)
    right.set(title=words["spread"], xlabel=words["token_f1"], ylabel=words["share"], xlim=(0, 100))
    figures.percent_ticks(right.xaxis, language)
    figures.number_ticks(right.yaxis, language)
    right.grid(axis="x", visible=False)
    return figure, [log for _, _, log in bars]


def key_info_distribution(runs, language):
    """How many answers have 0-25, 25-50, 50-75 and 75-100 % of the key information."""
    words, bars, edges = PLOT_WORDS[language], benchmark_bars(runs, language), (0, 25, 50, 75, 100)
    figure, axes = benchmark_figure("key_info_distribution", bars, language)
    bins = [figures.binned(sample_scores(log, "key_info"), edges) for _, _, log in bars]
    figures.share_bars(axes, [shares for _, shares in bins], [colour for _, colour, _ in bars], edges)
    for patch, (count, share) in zip(axes.patches, [pair for one in bins for pair in zip(*one)]):
        text = f"{percent(share / 100, language, 0)}\n({number(count, language)})"
        axes.annotate(
            text,
            (patch.get_x() + patch.get_width() / 2, share),
            (0, 3),
            textcoords="offset points",
            ha="center",
            size=11.5 if len(bars) < 4 else 9,
        )
    axes.set(xlabel=words["key_info"], ylabel=words["share"], ylim=(0, 118), xlim=(0, 100))
    axes.set_xticks([12.5, 37.5, 62.5, 87.5], ["0–25", "25–50", "50–75", "75–100"])
    axes.tick_params(axis="x", length=0)
    figures.percent_ticks(axes.yaxis, language)
    axes.grid(axis="x", visible=False)
    return figure, [log for _, _, log in bars]


def generation_time(runs, language):
    """Seconds an answer, a row of the picture for each model; mean and median marked."""
    words = PLOT_WORDS[language]
    bars = []
    for label, colour, log in benchmark_bars(runs, language):
        seconds = [sample["generation_sec"] for sample in log.data["samples"]]
        bars.append((label, colour, log, [second for second in seconds if second is not None]))
    bars = [bar for bar in bars if bar[3]]
    if not bars:
        raise CannotDraw("the benchmark has no generation times: it scored ready answers")
    batch = bars[-1][2].data["meta"].get("batch_size")
    figure, grid = benchmark_figure(
        "generation_time",
        [bar[:3] for bar in bars],
        language,
        max(5.6, 1.8 + 2 * len(bars)),
        note=words["batch"].format(batch) if isinstance(batch, int) else "",
        nrows=len(bars),
        sharex=True,
        squeeze=False,
    )
    longest = max(max(bar[3]) for bar in bars) or 1
    edges = [1.0001 * longest * i / 20 for i in range(21)]
    for axes, (_, colour, _, times) in zip(grid[:, 0], bars):
        axes.hist(times, edges, color=colour, alpha=0.8, rwidth=0.94)
        for value, word, dash in ((fmean(times), "mean", "-"), (median(times), "median", (0, (2, 1.5)))):
            axes.axvline(
                value, color="black", lw=2.2, ls=dash, label=words[word].format(number(value, language, 2))
            )
        axes.set(ylabel=words["count"], xlim=(0, edges[-1]))
        axes.yaxis.get_major_locator().set_params(integer=True)
        for axis in (axes.xaxis, axes.yaxis):
            figures.number_ticks(axis, language)
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    grid[-1, 0].set_xlabel(words["seconds"])
    return figure, [bar[2] for bar in bars]


def by_language(runs, language):
    """Means with intervals, a panel for each language of the question."""
    words, bars = PLOT_WORDS[language], benchmark_bars(runs, language)
    found = {code for _, _, log in bars for code in log.data["summary"]["by_language"]}
    codes = [code for code in ("ru", "kk") if code in found] + sorted(found - {"ru", "kk"})[:1]
    if not codes:
        raise CannotDraw("the benchmark has no scores by language")
    figure, grid = benchmark_figure(
        "by_language", bars, language, 6.4, ncols=len(codes), sharey=True, squeeze=False
    )
    names = ("overall", "token_f1", "key_info", "rouge_l", "chrf", "citation_f1", "citation_exists")
    for axes, code in zip(grid[0], codes):
        groups = [
            log.data["summary"]["by_language"].get(code, {"num_samples": 0, "metrics": {}})
            for _, _, log in bars
        ]
        figures.score_bars(
            axes, names, [(group["metrics"], bar[1]) for group, bar in zip(groups, bars)], words, language
        )
        counts = dict.fromkeys(number(group["num_samples"], language) for group in groups)
        name = LANGUAGE_NAMES[language].get(code, figures.short(code, 12))
        axes.set(title=f"{name}, n = {' / '.join(counts)}", xlabel=words["score"])
    return figure, [log for _, _, log in bars]


def citation_kind(sample):
    """0: every checked article exists; 1: one does not; 2: none could be checked; 3: nothing cited."""
    verdicts = [citation["exists"] for citation in sample["citations"]["prediction"]]
    if not verdicts:
        return 3
    return 1 if False in verdicts else 0 if True in verdicts else 2


def citations(runs, language):
    """Above: answers by what became of their citations. Below: citation scores with intervals."""
    words, bars = PLOT_WORDS[language], benchmark_bars(runs, language)
    figure, (top, bottom) = benchmark_figure(
        "citations",
        bars,
        language,
        6.4 + 0.3 * len(bars),
        nrows=2,
        height_ratios=(0.5 + 0.5 * len(bars), 4.5),
    )
    for row, (_, _, log) in enumerate(bars):
        kinds, left = [citation_kind(sample) for sample in log.data["samples"]], 0.0
        for kind, (colour, ink) in enumerate(KIND_COLOURS):
            share = 100 * kinds.count(kind) / max(1, len(kinds))
            top.barh(
                row,
                share,
                0.8,
                left,
                color=colour,
                edgecolor=figures.GREY,
                lw=0.8,
                label=None if row else words["kinds"][kind],
            )
            if share >= 6:
                top.text(
                    left + share / 2,
                    row,
                    percent(share / 100, language, 0),
                    ha="center",
                    va="center",
                    color=ink,
                )
            left += share
    by_model = len(bars) < 3  # several runs may have written the same adapter folder: then name the runs
    top.set_yticks(
        range(len(bars)),
        [
            figures.short(log.data["meta"]["model"], 20)
            if by_model or log.data["meta"]["kind"] == "base"
            else log.run
            for _, _, log in bars
        ],
    )
    top.set(xlabel=words["share"], xlim=(0, 100), ylim=(len(bars) - 0.5, -0.5))
    figures.percent_ticks(top.xaxis, language)
    top.grid(visible=False)
    top.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=4, handlelength=1.2, columnspacing=1.2, borderpad=0.2
    )
    figures.score_bars(bottom, CITATION_METRICS, summaries(bars), words, language)
    bottom.set(xlabel=words["score"])
    return figure, [log for _, _, log in bars]


PICTURES = {
    draw.__name__: draw
    for draw in (
        training_loss,
        learning_rate,
        benchmark_metrics,
        key_info_distribution,
        generation_time,
        by_language,
        citations,
    )
}


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, SETTINGS, profile=False)
    parser.add_argument(
        "--run",
        action="append",
        metavar="RUN",
        help="run id, as in the names of the logs; repeat it to "
        f"compare up to {MAX_RUNS} runs (default: the newest)",
    )
    return parser.parse_args(argv)


def main(argv=None):
    started = time.perf_counter()
    args = parse_args(argv)
    settings = cli.effective_config(args)
    language = checked_language(settings["language"])
    names = list(dict.fromkeys(args.run or [None]))
    if len(names) > MAX_RUNS:
        raise UserError(f"{len(names)} runs asked for; a picture holds up to {MAX_RUNS}")
    shelf = Shelf(settings["logs_dir"])
    runs = [choose(shelf, name) for name in names]

    figures.use_style()
    num_drawn = 0
    for name, draw in PICTURES.items():
        path = Path(settings["plots_dir"]) / f"{name}.png"
        try:
            figure, logs = draw(runs, language)
        except CannotDraw as reason:
            stale = "; the file of that name is of other logs" if path.exists() else ""
            print(f"{path}  not drawn: {reason}{stale}", file=sys.stderr)
            continue
        figures.save(figure, path, logs)
        num_drawn += 1
        print(f"{path}  from {', '.join(log.name for log in logs)}")
    if not num_drawn:
        raise UserError(
            f"nothing to draw in {settings['logs_dir']}: no training steps and no benchmark; "
            "run: python train_8b.py"
        )
    print(
        f"{num_drawn} of {len(PICTURES)} pictures in {time.perf_counter() - started:.1f} s; "
        "next: python generate_report.py"
    )


if __name__ == "__main__":
    cli.run_main(main)
