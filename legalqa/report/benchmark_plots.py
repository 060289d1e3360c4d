"""The pictures of a benchmark: scores, citations, languages, generation times."""

from statistics import fmean, median
from typing import NamedTuple

from legalqa.report import figures
from legalqa.report.figures import BASE_COLOUR, RUN_COLOURS, CannotDraw
from legalqa.report.logs import Log, RunLogs
from legalqa.report.numbers import number, percent
from legalqa.report.words import LANGUAGE_NAMES, PLOT_WORDS
from legalqa.scoring.metric_table import metric_names
from legalqa.scoring.results import NO_SAMPLES, Group, Sample, Summary, headline_scores, unnamed_of
from legalqa.scoring.statistics import named_article_of

KIND_COLOURS = (
    (figures.SKY, "black"),
    (figures.VERMILION, "white"),
    (figures.YELLOW, "black"),
    ("white", "black"),
)
MIN_LABELLED = 6  # percent: a narrower part of a bar has no room for its number


class Model(NamedTuple):
    """A benchmark on a picture: its name there, and the colour of its bars."""

    label: str
    colour: str
    log: Log

    @property
    def summary(self) -> Summary:
        return self.log.data["summary"]

    @property
    def samples(self) -> list[Sample]:
        return self.log.data["samples"]


def counts_of(groups: list[Group], language: str) -> str:
    """Their numbers of samples: "87" or, where the models answered different questions, "87 / 85"."""
    return " / ".join(dict.fromkeys(number(group["num_samples"], language) for group in groups))


def models_of(runs: list[RunLogs], language: str) -> list[Model]:
    """The benchmarks of the runs, the base model's first; CannotDraw where there are none."""
    logs = list({run.benchmark.name: run.benchmark for run in runs if run.benchmark}.values())
    bases = [run.base for run in runs if run.base][:1]
    if not logs and not bases:
        raise CannotDraw("no benchmark yet; run: python benchmark.py")
    models = []
    for log, colour in [*((log, BASE_COLOUR) for log in bases), *zip(logs, RUN_COLOURS)]:
        label = figures.short(log.data["meta"]["model"])
        if log in bases:
            label += f" ({PLOT_WORDS[language]['base']})"
        elif len(logs) > 1:
            label += f", {log.run}"
        models.append(Model(label, colour, log))
    return models


def logs_of(models: list[Model]) -> list[Log]:
    return [model.log for model in models]


def benchmark_figure(
    picture: str, models: list[Model], language: str, height_in: float = 5.6, unnamed=False, **options
):
    """(figure, axes); n of each model is that of all its questions, or of the `unnamed` ones."""
    counts = [(unnamed_of(model.summary) if unnamed else model.summary)["num_samples"] for model in models]
    labels = [
        (f"{model.label}, n = {number(count, language)}", model.colour)
        for model, count in zip(models, counts)
    ]
    return figures.new_figure(PLOT_WORDS[language][picture], labels, logs_of(models), height_in, **options)


def sample_scores(model: Model, name: str) -> list[float]:
    scores = [sample["scores"].get(name) for sample in model.samples]
    return [score for score in scores if score is not None]


def benchmark_metrics(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """The published metrics and citations with intervals; beside them how token F1 is spread."""
    words, models = PLOT_WORDS[language], models_of(runs, language)
    counts = counts_of([unnamed_of(model.summary) for model in models], language)
    figure, (left, right) = benchmark_figure(
        "benchmark_metrics",
        models,
        language,
        6.4,
        note=words["citations_of"].format(f"n = {counts}"),
        ncols=2,
        width_ratios=(3, 2),
    )
    names = (*metric_names("published"), "citation_f1", "citation_exists")
    groups = [(headline_scores(model.summary), model.colour) for model in models]
    figures.score_bars(left, names, groups, words, language)
    left.set(title=words["means"], xlabel=words["score"])
    edges = range(0, 101, 10)
    shares = [figures.binned(sample_scores(model, "token_f1"), edges)[1] for model in models]
    figures.share_bars(right, shares, [model.colour for model in models], edges)
    right.set(title=words["spread"], xlabel=words["token_f1"], ylabel=words["share"], xlim=(0, 100))
    figures.percent_ticks(right.xaxis, language)
    figures.number_ticks(right.yaxis, language)
    right.grid(axis="x", visible=False)
    return figure, logs_of(models)


def key_info_distribution(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """How many answers have 0-25, 25-50, 50-75 and 75-100 % of the key information."""
    words, models, edges = PLOT_WORDS[language], models_of(runs, language), (0, 25, 50, 75, 100)
    figure, axes = benchmark_figure("key_info_distribution", models, language)
    bins = [figures.binned(sample_scores(model, "key_info"), edges) for model in models]
    figures.share_bars(axes, [shares for _, shares in bins], [model.colour for model in models], edges)
    bars = [(count, share) for counts, shares in bins for count, share in zip(counts, shares)]
    for patch, (count, share) in zip(axes.patches, bars):
        axes.annotate(
            f"{percent(share / 100, language, 0)}\n({number(count, language)})",
            (patch.get_x() + patch.get_width() / 2, share),
            (0, 3),
            textcoords="offset points",
            ha="center",
            size=11.5 if len(models) < 4 else 9,
        )
    axes.set(xlabel=words["key_info"], ylabel=words["share"], ylim=(0, 118), xlim=(0, 100))
    axes.set_xticks([12.5, 37.5, 62.5, 87.5], ["0–25", "25–50", "50–75", "75–100"])
    axes.tick_params(axis="x", length=0)
    figures.percent_ticks(axes.yaxis, language)
    axes.grid(axis="x", visible=False)
    return figure, logs_of(models)


def generation_secs(model: Model) -> list[float]:
    seconds = [sample["generation_sec"] for sample in model.samples]
    return [second for second in seconds if second is not None]


def generation_time(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """Seconds an answer, a row of the picture for each model; mean and median marked."""
    words = PLOT_WORDS[language]
    models = [model for model in models_of(runs, language) if generation_secs(model)]
    if not models:
        raise CannotDraw("the benchmark has no generation times: it scored ready answers")
    batch_size = models[-1].log.data["meta"].get("batch_size")
    figure, grid = benchmark_figure(
        "generation_time",
        models,
        language,
        max(5.6, 1.8 + 2 * len(models)),
        note=words["batch"].format(batch_size) if isinstance(batch_size, int) else "",
        nrows=len(models),
        sharex=True,
        squeeze=False,
    )
    longest = max(max(generation_secs(model)) for model in models) or 1
    edges = [1.0001 * longest * i / 20 for i in range(21)]
    for axes, model in zip(grid[:, 0], models):
        draw_times(axes, generation_secs(model), edges, model.colour, language)
    grid[-1, 0].set_xlabel(words["seconds"])
    return figure, logs_of(models)


def draw_times(axes, seconds: list[float], edges: list[float], colour: str, language: str) -> None:
    words = PLOT_WORDS[language]
    axes.hist(seconds, edges, color=colour, alpha=0.8, rwidth=0.94)
    for value, word, dash in ((fmean(seconds), "mean", "-"), (median(seconds), "median", (0, (2, 1.5)))):
        label = words[word].format(number(value, language, 2))
        axes.axvline(value, color="black", lw=2.2, ls=dash, label=label)
    axes.set(ylabel=words["count"], xlim=(0, edges[-1]))
    axes.yaxis.get_major_locator().set_params(integer=True)
    for axis in (axes.xaxis, axes.yaxis):
        figures.number_ticks(axis, language)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def by_language(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """Means with intervals, a panel for each language of the question."""
    words, models = PLOT_WORDS[language], models_of(runs, language)
    found = {code for model in models for code in model.summary["by_language"]}
    codes = [code for code in ("ru", "kk") if code in found] + sorted(found - {"ru", "kk"})[:1]
    if not codes:
        raise CannotDraw("the benchmark has no scores by language")
    panels = {
        code: [model.summary["by_language"].get(code, NO_SAMPLES) for model in models] for code in codes
    }
    names = {code: LANGUAGE_NAMES[language].get(code, figures.short(code, 12)) for code in codes}
    unnamed = {code: counts_of(list(map(unnamed_of, groups)), language) for code, groups in panels.items()}
    figure, grid = benchmark_figure(
        "by_language",
        models,
        language,
        6.4,
        note=words["citations_of"].format(", ".join(f"{names[code]}: {unnamed[code]}" for code in codes)),
        ncols=len(codes),
        sharey=True,
        squeeze=False,
    )
    shown = ("overall", "token_f1", "key_info", "rouge_l", "chrf", "citation_f1", "citation_exists")
    for axes, (code, groups) in zip(grid[0], panels.items()):
        bars = [(headline_scores(group), model.colour) for group, model in zip(groups, models)]
        figures.score_bars(axes, shown, bars, words, language)
        axes.set(title=f"{names[code]}, n = {counts_of(groups, language)}", xlabel=words["score"])
    return figure, logs_of(models)


def citation_kind(sample: Sample) -> int:
    """0: every checked article exists; 1: one does not; 2: none could be checked; 3: nothing cited."""
    verdicts = [citation["exists"] for citation in sample["citations"]["prediction"]]
    if not verdicts:
        return 3
    return 1 if False in verdicts else 0 if True in verdicts else 2


def citations(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """Of the questions that name no article: answers by what became of their citations, citation scores."""
    words, models = PLOT_WORDS[language], models_of(runs, language)
    if not any(unnamed_of(model.summary)["num_samples"] for model in models):
        raise CannotDraw(
            "every question of the benchmark names an article: an echo would count as a citation"
        )
    figure, (top, bottom) = benchmark_figure(
        "citations",
        models,
        language,
        6.4 + 0.3 * len(models),
        unnamed=True,
        note=words["unnamed"],
        nrows=2,
        height_ratios=(0.5 + 0.5 * len(models), 4.5),
    )
    draw_kinds(top, models, language)
    groups = [(headline_scores(model.summary), model.colour) for model in models]
    figures.score_bars(bottom, metric_names("citation"), groups, words, language)
    bottom.set(xlabel=words["score"])
    return figure, logs_of(models)


def draw_kinds(axes, models: list[Model], language: str) -> None:
    """A bar a model, cut into the shares of the four kinds of answers."""
    words = PLOT_WORDS[language]
    for row, model in enumerate(models):
        asked = [sample for sample in model.samples if named_article_of(sample) == ["unnamed"]]
        kinds, left = [citation_kind(sample) for sample in asked], 0.0
        for kind, (colour, ink) in enumerate(KIND_COLOURS):
            share = 100 * kinds.count(kind) / max(1, len(kinds))
            label = None if row else words["kinds"][kind]
            axes.barh(row, share, 0.8, left, color=colour, edgecolor=figures.GREY, lw=0.8, label=label)
            if share >= MIN_LABELLED:
                text = percent(share / 100, language, 0)
                axes.text(left + share / 2, row, text, ha="center", va="center", color=ink)
            left += share
    axes.set_yticks(range(len(models)), [row_name(model, len(models)) for model in models])
    axes.set(xlabel=words["share"], xlim=(0, 100), ylim=(len(models) - 0.5, -0.5))
    figures.percent_ticks(axes.xaxis, language)
    axes.grid(visible=False)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=4, handlelength=1.2, columnspacing=1.2, borderpad=0.2
    )


def row_name(model: Model, num_models: int) -> str:
    """The model; of three and more the run, for several runs may have written the same adapter folder."""
    if num_models < 3 or model.log.data["meta"]["kind"] == "base":
        return figures.short(model.log.data["meta"]["model"], 20)
    return model.log.run
