"""The pictures of a comparison of many models: their main scores, and what quality costs in time."""

from typing import NamedTuple

from legalqa.report import figures
from legalqa.report.figures import CannotDraw
from legalqa.report.logs import Log, RunLogs
from legalqa.report.numbers import number
from legalqa.report.words import PLOT_WORDS
from legalqa.scoring.comparison import in_order
from legalqa.scoring.metric_table import MAIN_SCORES, METRICS
from legalqa.scoring.results import ComparedModel

COLOURS = (figures.BASE_COLOUR, *figures.RUN_COLOURS, figures.YELLOW, figures.GREY)
QUALITIES = ("word_f1", "citation_f1")
# Where a point's label may stand: offset in points, alignments; the first free place is taken.
PLACES = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (8, 12, "left", "bottom"),
    (8, -12, "left", "top"),
    (-8, 12, "right", "bottom"),
    (-8, -12, "right", "top"),
)


def comparison_of(runs: list[RunLogs]) -> Log:
    """The first run's that has one."""
    return next(run.models for run in runs if run.models)


def model_comparison(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """Means with intervals, a bar a model."""
    log = comparison_of(runs)
    words, ordered = PLOT_WORDS[language], in_order(log.data["models"])
    models, notes = ordered[: len(COLOURS)], shared_notes(log, language)
    if len(models) < len(ordered):
        notes.insert(0, words["first_models"].format(len(models), len(ordered)))
    names = [(figures.short(model["label"]), colour) for model, colour in zip(models, COLOURS)]
    height_in = 2.4 + len(MAIN_SCORES) * (0.24 + 0.17 * len(models)) + figures.LINE_IN * len(models) / 2
    figure, axes = figures.new_figure(
        words["model_comparison"], names, [log], height_in, note=" · ".join(notes)
    )
    groups = [(model["scores"], colour) for model, colour in zip(models, COLOURS)]
    figures.score_bars(axes, MAIN_SCORES, groups, words, language)
    axes.set_xlabel(words["score"])
    return figure, [log]


def shared_notes(log: Log, language: str) -> list[str]:
    words, meta = PLOT_WORDS[language], log.data["meta"]
    unnamed = number(meta["num_unnamed"], language)
    return [
        words["shared"].format(number(meta["num_shared"], language)),
        words["citations_of"].format(f"n = {unnamed}"),
    ]


class Point(NamedTuple):
    """A model in a panel; percents."""

    label: str
    colour: str
    seconds: float  # an answer
    percent: float
    bounds: list[float]


def points_of(models: list[ComparedModel], name: str) -> list[Point]:
    """Of the models whose seconds and whose score are known."""
    points = []
    for index, model in enumerate(models):
        score, seconds = model["scores"][name], model["sec_per_answer"]
        if score["mean"] is not None and seconds:
            bounds = [100 * bound for bound in score["ci95"] or (score["mean"], score["mean"])]
            colour = COLOURS[index % len(COLOURS)]
            points.append(
                Point(figures.short(model["label"], 30), colour, seconds, 100 * score["mean"], bounds)
            )
    return points


def quality_speed(runs: list[RunLogs], language: str) -> tuple[object, list[Log]]:
    """A point a model: its score, with the interval, above the seconds that an answer takes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    log = comparison_of(runs)
    words, models = PLOT_WORDS[language], in_order(log.data["models"])
    untimed = [figures.short(model["label"], 24) for model in models if not model["sec_per_answer"]]
    if len(models) - len(untimed) < 2:
        raise CannotDraw("fewer than two of the compared results have generation times")
    notes = shared_notes(log, language) + ([words["untimed"].format(", ".join(untimed))] if untimed else [])
    panels = {name: points for name in QUALITIES if (points := points_of(models, name))}
    figure, grid = figures.new_figure(
        words["quality_speed"],
        [],
        [log],
        1.4 + 3.4 * len(panels),
        note=" · ".join(notes),
        nrows=len(panels),
        sharex=True,
        squeeze=False,
    )
    seconds = [point.seconds for points in panels.values() for point in points]
    for axes, (name, points) in zip(grid[:, 0], panels.items()):
        axes.set_xscale("log" if max(seconds) > 10 * min(seconds) else "linear")
        draw_points(axes, points)
        axes.set_ylabel(f"{METRICS[name].title(language)}, %")
        figures.number_ticks(axes.xaxis, language)
        figures.number_ticks(axes.yaxis, language)
    grid[-1, 0].set_xlabel(words["seconds"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # lays the axes out
    for axes, points in zip(grid[:, 0], panels.values()):
        label_points(canvas, axes, points)
    return figure, [log]


def draw_points(axes, points: list[Point]) -> None:
    for point in points:
        low, high = point.bounds
        axes.plot([point.seconds] * 2, [low, high], color=point.colour, lw=1.4, alpha=0.6, clip_on=False)
        axes.plot(point.seconds, point.percent, "o", ms=9, color=point.colour, mec="black", clip_on=False)
    axes.margins(x=0.2)
    axes.set_ylim(0, 1.15 * max(point.bounds[1] for point in points) or 1)


def label_points(canvas, axes, points: list[Point]) -> None:
    """The model's name beside each point, where no other name, point or interval is."""
    taken = [box for point in points for box in boxes_of(axes, point)]
    for point in points:
        taken.append(place_label(canvas, axes, point, taken))


def boxes_of(axes, point: Point) -> list:
    """Where the point and its interval are, in pixels."""
    from matplotlib.transforms import Bbox

    across, along = axes.transData.transform((point.seconds, point.percent))
    (_, low), (_, high) = (axes.transData.transform((point.seconds, bound)) for bound in point.bounds)
    return [
        Bbox.from_bounds(across - 10, along - 10, 20, 20),
        Bbox.from_extents(across - 3, low, across + 3, high),
    ]


def place_label(canvas, axes, point: Point, taken: list):
    """Write the name at the first of PLACES that is free and inside, else at the first of all; its box."""
    for right, up, across, along in (*PLACES, PLACES[0]):
        label = axes.annotate(
            point.label,
            (point.seconds, point.percent),
            (right, up),
            textcoords="offset points",
            ha=across,
            va=along,
            size=10.5,
        )
        label.set_in_layout(False)  # the axes stay where they were measured
        box = label.get_window_extent(canvas.get_renderer())
        inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
        if inside and not any(box.overlaps(other) for other in taken):
            return box
        label.remove()
    axes.add_artist(label)
    return box
