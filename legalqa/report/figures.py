"""What the pictures share: size, colours, titles, legends and the two kinds of bars.

Every text has its own strip of the figure (title, models, plot, legend, source), measured in inches, so that
no legend can cover data and nothing overlaps however long the names are.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from legalqa.files import write_bytes
from legalqa.report.logs import Log
from legalqa.report.numbers import percent, real
from legalqa.scoring.metric_table import METRICS

DPI, WIDTH_IN = 150, 10
# Okabe and Ito's palette: told apart by colour-blind readers; orange and blue also differ in a grey print.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#595959",
)
BASE_COLOUR = ORANGE
RUN_COLOURS = (BLUE, GREEN, VERMILION, PURPLE, SKY)
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 12.5,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "axes.edgecolor": GREY,
    "axes.titlesize": 12.5,
    "axes.titlelocation": "left",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}
LINE_IN = 0.27  # height of a line of legend
EDGE_IN = 0.16  # margin on the left and right


class CannotDraw(Exception):
    """Why a picture has nothing to show, and which command would change that."""


def use_style() -> None:
    """The same pictures whatever this machine's matplotlibrc says."""
    import warnings

    import matplotlib

    warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script DejaVu lacks shows as boxes
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(STYLE)


def new_figure(
    title: str,
    models: list[tuple[str, str]],
    logs: list[Log],
    height_in: float = 5.6,
    note: str = "",
    legend_lines: int = 0,
    **grid,
):
    """(figure, axes) with the title, the models and, in the corner, the logs it is drawn from.

    `models` is [(label, colour)]: a grey line of text when there is one, a legend when there are more.
    `legend_lines` are kept free at the bottom for `legend_below`.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, no global state, faster to import
    from matplotlib.patches import Patch

    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI)
    figure.text(EDGE_IN / WIDTH_IN, 1 - 0.15 / height_in, title, size=16, weight="bold", va="top")
    top_in = 0.50
    if len(models) == 1 or note:
        line = " · ".join(filter(None, (models[0][0] if len(models) == 1 else "", note)))
        figure.text(EDGE_IN / WIDTH_IN, 1 - (top_in + 0.01) / height_in, line, size=12, color=GREY, va="top")
        top_in += LINE_IN
    if len(models) > 1:
        columns = 2 if max(len(label) for label, _ in models) < 44 else 1
        figure.legend(
            [Patch(color=colour) for _, colour in models],
            [label for label, _ in models],
            loc="upper left",
            bbox_to_anchor=(EDGE_IN / WIDTH_IN, 1 - top_in / height_in),
            ncols=columns,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.2,
            labelspacing=0.35,
        )
        top_in += LINE_IN * -(-len(models) // columns)
    figure.text(1 - EDGE_IN / WIDTH_IN, 0.07 / height_in, source_line(logs), size=8.5, color=GREY, ha="right")
    bottom_in = 0.27 + (LINE_IN * legend_lines + 0.06 if legend_lines else 0)
    top_in += 0.08
    strip = (0.008, bottom_in / height_in, 0.984, 1 - (top_in + bottom_in) / height_in)
    figure.set_layout_engine("constrained", rect=strip, w_pad=0.08)
    return figure, figure.subplots(**grid)


def source_line(logs: list[Log]) -> str:
    names = [log.name for log in logs]
    return ", ".join(names if len(names) < 4 else [*names[:3], f"+{len(names) - 3}"])


def legend_below(figure, axes, columns: int) -> None:
    """The legend of `axes` in the strip that `new_figure` kept free under the plot."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.27 / figure.get_figheight()),
        ncols=columns,
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.4,
        columnspacing=1.4,
        handlelength=1.6,
        handletextpad=0.6,
        fontsize=11.5,
    )


def save(figure, path: Path, logs: list[Log]) -> None:
    """Write the PNG; the same data gives the same bytes: no date, no version of the software."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image, PngImagePlugin

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # savefig() would draw twice
    about, content = PngImagePlugin.PngInfo(), io.BytesIO()
    about.add_itxt("Source", ", ".join(log.name for log in logs))
    image = Image.frombuffer(
        "RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba()), "raw", "RGBA", 0, 1
    )
    image.convert("RGB").save(content, "png", pnginfo=about, dpi=(DPI, DPI))
    write_bytes(path, content.getvalue())


def short(text: str, limit: int = 38) -> str:
    """A name cut in the middle to `limit` characters: both ends of a path or hub id tell something."""
    text = "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[-(limit // 2 - 1) :]}"


def number_ticks(axis, language: str, scale: float = 1.0) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: real(round(value * scale, 9), language)))


def percent_ticks(axis, language: str) -> None:
    axis.set_ticks(range(0, 101, 20))
    number_ticks(axis, language)


def score_bars(axes, names: Sequence[str], groups: list, words: dict, language: str) -> None:
    """Horizontal bars of means with intervals: a row a metric, in it a bar a group: [(metrics, colour)]."""
    thickness = 0.8 / len(groups)
    for index, (metrics, colour) in enumerate(groups):
        for row, name in enumerate(names):
            y = row - 0.4 + thickness * (index + 0.5)
            score = metrics.get(name)
            if score is None or score["mean"] is None:
                axes.text(1, y, words["undefined"], va="center", size=10, color=GREY)
                continue
            mean = 100 * score["mean"]
            low, high = (100 * bound for bound in score["ci95"] or (score["mean"], score["mean"]))
            axes.barh(y, mean, thickness * 0.92, color=colour)
            if len(groups) < 3:
                axes.plot([low, high], [y, y], color="white", lw=2.8)  # a rim: black drowns in the dark bar
            axes.plot([low, high], [y, y], color="black", lw=1.4, marker="|", ms=7, mew=1.4, clip_on=False)
            axes.text(
                max(high, mean) + 1.5,
                y,
                percent(score["mean"], language),
                va="center",
                size=11.5 if len(groups) < 4 else 8.5,
            )
    axes.set_yticks(range(len(names)), [METRICS[name].title(language) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 122)  # room for the number beside a bar of 100 %
    percent_ticks(axes.xaxis, language)
    axes.grid(axis="y", visible=False)


def binned(values: list[float], edges: Sequence[float]) -> tuple[list[int], list[float]]:
    """(answers, percent of the answers) in each bin between `edges`; the last bin includes its upper edge."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(sum(100 * value >= edge for edge in edges[1:]), len(counts) - 1)] += 1
    return counts, [100 * count / max(1, len(values)) for count in counts]


def share_bars(axes, shares: list[list[float]], colours: list[str], edges: Sequence[float]) -> None:
    """Vertical bars of percentages: a group a bin between `edges`, in it a bar a model."""
    for index, (values, colour) in enumerate(zip(shares, colours)):
        for low, high, value in zip(edges, edges[1:], values):
            width = 0.88 * (high - low) / len(shares)
            axes.bar(low + 0.06 * (high - low) + width * (index + 0.5), value, 0.94 * width, color=colour)
