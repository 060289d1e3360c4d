"""generate_plots.py: what is drawn, read back from matplotlib's axes.

Run: python -m pytest tests/test_plots.py
"""

import copy
import itertools
import json
import math
import shutil
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
import generate_plots
from legalqa.errors import UserError
from legalqa.report import benchmark_plots, figures, training_plots
from legalqa.report.figures import CannotDraw
from legalqa.report.logs import Shelf, choose
from legalqa.report.pictures import PICTURES

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(autouse=True)
def style():
    figures.use_style()


def chosen(*names, run=None):
    """What logs.choose() finds in each of the fixture folders."""
    return [choose(Shelf(FIXTURES / name), run) for name in names]


def legend_texts(figure):
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def figure_texts(figure):
    return [text.get_text() for text in figure.texts] + legend_texts(figure)


def line_at(axes, label):
    return next(line for line in axes.lines if label in line.get_label())


def visible_texts(figure):
    """(text, box in pixels) of everything written on a drawn figure."""
    figure.draw_without_rendering()
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.findobj(lambda artist: hasattr(artist, "xaxis") and hasattr(artist, "get_title")):
        found += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        found += axes.get_legend().get_texts() if axes.get_legend() else []
        for axis, (low, high) in (
            (axes.xaxis, sorted(axes.get_xlim())),
            (axes.yaxis, sorted(axes.get_ylim())),
        ):
            slack = 1e-6 * (high - low)
            ticks = [tick for tick in axis.get_major_ticks() if low - slack <= tick.get_loc() <= high + slack]
            found += [label for tick in ticks for label in (tick.label1, tick.label2)]
    found = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in found]


def make_canvas(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return figure


SCENES = {
    "one run": (["logs"], None),
    "base alone": (["logs"], "20260301_094500"),
    "few points": (["few"], None),
    "NaN and resumed": (["nan"], None),
    "died": (["resumed"], None),
    "two runs": (["logs", "nan"], None),
    "four runs": (["logs", "nan", "few", "resumed"], None),
}


@pytest.mark.parametrize(
    "scene, language",
    [
        ("one run", "ru"),
        ("NaN and resumed", "en"),
        ("died", "ru"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ("base alone", "ru"),
                ("few points", "ru"),
                ("NaN and resumed", "ru"),
                ("two runs", "ru"),
                ("four runs", "ru"),
                ("one run", "en"),
            ]
        ),
    ],
)
def test_no_text_covers_another_or_leaves_the_figure(scene, language):
    names, run = SCENES[scene]
    drawn = 0
    for draw in PICTURES.values():
        try:
            figure, _ = draw(chosen(*names, run=run), language)
        except CannotDraw:
            continue
        drawn += 1
        texts = visible_texts(make_canvas(figure))
        width, height = figure.bbox.size
        for text, box in texts:
            inside = min(box.x0, box.y0, width - box.x1, height - box.y1) >= -1
            assert inside, (draw.__name__, text)
        for (one, a), (other, b) in itertools.combinations(texts, 2):
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            along = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert across < 2 or along < 2, (draw.__name__, one, other)
    assert drawn >= 2


def test_loss_shows_history_smoothing_evaluation_epochs_and_marks():
    run = chosen("logs")
    history = run[0].metrics.data["history"]
    figure, logs = training_plots.training_loss(run, "ru")
    axes = figure.axes[0]
    raw, smooth = line_at(axes, "при обучении"), line_at(axes, "сглаженные")
    losses = [entry for entry in history if "loss" in entry]
    assert list(raw.get_xdata()) == [entry["step"] for entry in losses]
    assert list(raw.get_ydata()) == [entry["loss"] for entry in losses]
    assert len(smooth.get_ydata()) == len(losses)
    assert smooth.get_ydata()[2] == pytest.approx(sum(entry["loss"] for entry in losses[:5]) / 5)
    evaluation = line_at(axes, "на проверочных")
    assert list(evaluation.get_xdata()) == [0, 50, 100, 150, 155]
    assert list(evaluation.get_ydata()) == [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    assert {"первое: 3,0615 (шаг 5)", "последнее: 1,5148 (шаг 155)", "минимум: 1,4140 (шаг 140)"} <= set(
        legend_texts(figure)
    )
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_ylim()[0]) == ("Шаг", "Потери (кросс-энтропия)", 0)
    top = next(child for child in axes.child_axes)
    assert top.get_xlabel() == "Эпоха" and top._functions[0](155) == pytest.approx(3.0)
    assert "finetuned_demo (models/demo), 155 шагов" in figure_texts(figure)
    assert "logs/metrics_20260301_100000.json" in figure_texts(figure)
    assert [log.name for log in logs] == ["logs/metrics_20260301_100000.json"]


def test_loss_with_nan_breaks_the_line_and_says_where():
    figure, _ = training_plots.training_loss(chosen("nan"), "en")
    axes = figure.axes[0]
    for label in ("training", "smoothed"):
        line = line_at(axes, label)
        gaps = [step for step, loss in zip(line.get_xdata(), line.get_ydata()) if math.isnan(loss)]
        assert gaps == [105, 110, 115]
    assert list(line_at(axes, "NaN").get_xdata()) == [105, 110, 115]
    assert {"NaN or ∞: 3 (steps 105–115)", "resumed from step 50"} <= set(legend_texts(figure))
    assert math.isfinite(axes.get_ylim()[1])


def test_resumed_history_draws_each_step_once():
    figure, _ = training_plots.training_loss(chosen("resumed"), "en")
    steps = list(line_at(figure.axes[0], "training").get_xdata())
    assert steps == list(range(5, 125, 5))  # 55 to 85 were logged twice, the last line of the file is cut
    assert "resumed from step 50" in legend_texts(figure)
    assert any("120 steps, not finished" in text for text in figure_texts(figure))


def test_few_points_are_drawn_as_points_without_smoothing():
    figure, _ = training_plots.training_loss(chosen("few"), "en")
    assert not any("smoothed" in text for text in legend_texts(figure))
    assert line_at(figure.axes[0], "training").get_marker() == "o"
    assert "last, lowest: 2.7991 (step 10)" in legend_texts(figure)


def test_single_entry_is_a_point():
    run = chosen("few")
    log = run[0].metrics
    data = {**log.data, "history": log.data["history"][:1]}
    figure, _ = training_plots.training_loss([run[0]._replace(metrics=log._replace(data=data))], "en")
    assert "first, last, lowest: 3.0615 (step 5)" in legend_texts(figure)


def test_loss_without_a_number_cannot_be_drawn():
    run = chosen("few")
    log = run[0].metrics
    history = [{"step": 5, "loss": math.nan}, {"step": 10, "loss": None}, {"step": 15, "loss": math.inf}]
    with pytest.raises(CannotDraw, match="no finite 'loss' in few/metrics_20260304_090000.json"):
        log = log._replace(data={**log.data, "history": history})
        training_plots.training_loss([run[0]._replace(metrics=log)], "ru")


def test_learning_rate_curve_and_marks():
    run = chosen("logs")
    figure, _ = training_plots.learning_rate(run, "ru")
    entries = [entry for entry in run[0].metrics.data["history"] if "learning_rate" in entry]
    line = figure.axes[0].lines[0]
    assert list(line.get_ydata()) == [entry["learning_rate"] for entry in entries]
    assert figure.axes[0].get_ylabel() == "Скорость обучения, ×10⁻⁴"
    assert legend_texts(figure) == ["наибольшая: 2·10⁻⁴ (шаг 5)", "последняя: 0 (шаг 155)"]


def shown_score(log, name):
    """Of all questions; of citations those that name no article."""
    summary = log.data["summary"]
    group = summary["by_named_article"]["unnamed"] if "citation" in name else summary
    return group["metrics"][name]


def test_metrics_bars_are_the_means_and_whiskers_the_intervals():
    run = chosen("logs")
    figure, logs = benchmark_plots.benchmark_metrics(run, "ru")
    assert [Path(log.name).name for log in logs] == [
        "benchmark_20260301_094500.json",
        "benchmark_20260301_103000.json",
    ]
    left, right = figure.axes
    names = (
        "token_f1",
        "exact_match",
        "key_info",
        "length_ratio",
        "overall",
        "citation_f1",
        "citation_exists",
    )
    scores = [[shown_score(log, name) for name in names] for log in logs]
    for bars, of_model in zip((left.patches[:7], left.patches[7:14]), scores):
        means = [100 * score["mean"] for score in of_model]
        assert [bar.get_width() for bar in bars] == pytest.approx(means)
    black = [line.get_xdata() for line in left.lines if line.get_color() == "black"]
    bounds = [[100 * bound for bound in score["ci95"]] for of_model in scores for score in of_model]
    assert [list(line) for line in black] == [pytest.approx(pair) for pair in bounds]
    assert "63,2\u00a0%" in [text.get_text() for text in left.texts]
    assert [label.get_text() for label in left.get_yticklabels()][-1] == "Существующие ссылки"
    assert sum(bar.get_height() for bar in right.patches) == pytest.approx(200)  # 100 % of each model
    assert {"models/demo (базовая), n = 10", "finetuned_demo, n = 10"} <= set(legend_texts(figure))
    assert "ссылки — по вопросам, где статья не названа (n = 9)" in figure_texts(figure)


def test_metric_that_is_undefined_says_so():
    run = chosen("logs")[0]
    log = run.benchmark
    undefined = {"mean": None, "ci95": None, "num_samples": 0}
    data = copy.deepcopy(log.data)
    data["summary"]["by_named_article"]["unnamed"]["metrics"]["citation_exists"] = undefined
    run = run._replace(base=None, benchmark=log._replace(data=data))
    figure, _ = benchmark_plots.benchmark_metrics([run], "en")
    assert "undefined" in [text.get_text() for text in figure.axes[0].texts]
    note = "citations: questions that name no article (n = 9)"
    assert f"finetuned_demo, n = 10 · {note}" in figure_texts(figure)


@pytest.mark.parametrize("value, expected", [(0, 0), (0.2499, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 3)])
def test_bins_hold_their_lower_edge_and_the_last_also_its_upper(value, expected):
    counts, shares = figures.binned([value], (0, 25, 50, 75, 100))
    assert counts.index(1) == expected and shares[expected] == 100


def test_key_info_bars_are_shares_of_the_answers():
    run = chosen("logs")
    figure, logs = benchmark_plots.key_info_distribution(run, "ru")
    for bars, log in zip((figure.axes[0].patches[:4], figure.axes[0].patches[4:8]), logs):
        values = [100 * sample["scores"]["key_info"] for sample in log.data["samples"]]
        bins = ((0, 25), (25, 50), (50, 75), (75, 101))
        counts = [sum(low <= value < high for value in values) for low, high in bins]
        assert [bar.get_height() for bar in bars] == pytest.approx([100 * count / 10 for count in counts])
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["0–25", "25–50", "50–75", "75–100"]
    assert "70\u00a0%\n(7)" in [text.get_text() for text in figure.axes[0].texts]


def test_generation_time_counts_every_answer_and_marks_mean_and_median():
    run = chosen("logs")
    figure, logs = benchmark_plots.generation_time(run, "en")
    for axes, log in zip(figure.axes, logs):
        times = sorted(sample["generation_sec"] for sample in log.data["samples"])
        assert sum(bar.get_height() for bar in axes.patches) == 10
        marks = [line.get_xdata()[0] for line in axes.lines]
        assert marks == pytest.approx([sum(times) / 10, (times[4] + times[5]) / 2])
    assert figure.axes[-1].get_xlabel() == "Time per answer, s" and "batches of 32" in figure_texts(figure)


def test_generation_time_of_ready_answers_cannot_be_drawn():
    run = chosen("logs")[0]
    log = run.benchmark
    data = {**log.data, "samples": [{**sample, "generation_sec": None} for sample in log.data["samples"]]}
    with pytest.raises(CannotDraw, match="no generation times"):
        benchmark_plots.generation_time([run._replace(base=None, benchmark=log._replace(data=data))], "en")


def test_languages_have_a_panel_each():
    figure, logs = benchmark_plots.by_language(chosen("logs"), "ru")
    assert [axes.get_title("left") for axes in figure.axes] == ["русский, n = 6", "казахский, n = 4"]
    means = [100 * log.data["summary"]["by_language"]["kk"]["metrics"]["overall"]["mean"] for log in logs]
    # The base model's `citation_exists` is undefined: six bars of it, then seven.
    assert [figure.axes[1].patches[i].get_width() for i in (0, 6)] == pytest.approx(means)
    note = "ссылки — по вопросам, где статья не названа (русский: 6, казахский: 3)"
    assert note in figure_texts(figure)


def test_citation_shares_add_up_and_are_counted_by_answer():
    figure, _ = benchmark_plots.citations(chosen("logs"), "en")
    shares = [bar.get_width() for bar in figure.axes[0].patches]
    # Base, then fine-tuned: all exist, one invented, cannot be checked, none cited; of the 9 questions that
    # name no article. The base's one citation that exists repeats the article of the tenth.
    assert shares == pytest.approx([100 * count / 9 for count in (0, 1, 0, 8, 6, 2, 1, 0)])
    assert {"models/demo (base), n = 9", "finetuned_demo, n = 9"} <= set(legend_texts(figure))
    assert "questions that name no article" in figure_texts(figure)


def test_citations_of_questions_that_all_name_an_article_are_not_drawn():
    run = chosen("logs")[0]
    data = copy.deepcopy(run.benchmark.data)
    del data["summary"]["by_named_article"]["unnamed"]
    run = run._replace(base=None, benchmark=run.benchmark._replace(data=data))
    with pytest.raises(CannotDraw, match="every question of the benchmark names an article"):
        benchmark_plots.citations([run], "ru")
    figure, _ = benchmark_plots.benchmark_metrics([run], "ru")
    assert [text.get_text() for text in figure.axes[0].texts].count("не определено") == 2


def test_base_missing_draws_the_adapter_alone():
    run = chosen("logs")[0]._replace(base=None, compare=None)
    for name in ("benchmark_metrics", "key_info_distribution", "generation_time", "by_language", "citations"):
        figure, logs = PICTURES[name]([run], "ru")
        assert [log.run for log in logs] == ["20260301_103000"]
        count = 9 if name == "citations" else 10  # of questions that name no article, or of all
        assert any(f"finetuned_demo, n = {count}" in text for text in figure_texts(figure))


def test_no_benchmark_is_a_clear_line():
    with pytest.raises(CannotDraw, match="no benchmark yet; run: python benchmark.py"):
        benchmark_plots.citations(chosen("few"), "ru")


def test_two_runs_are_told_apart():
    figure, logs = training_plots.training_loss(chosen("logs", "few"), "en")
    assert [log.run for log in logs] == ["20260301_100000", "20260304_090000"]
    labels = legend_texts(figure)
    assert labels[0].startswith("20260301_100000: ") and labels[1].startswith("20260304_090000: ")


@pytest.mark.slow
def test_command_writes_every_picture_twice_the_same(tmp_path, capsys):
    for folder in ("one", "two"):
        generate_plots.main(["--logs-dir", str(FIXTURES / "logs"), "--plots-dir", str(tmp_path / folder)])
    pictures = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert pictures == sorted(f"{name}.png" for name in PICTURES)
    for name in pictures:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert b"Software" not in content[:2000] and b"Source" in content[:2000]
    out = capsys.readouterr().out
    assert "training_loss.png  from logs/metrics_20260301_100000.json" in out
    assert "next: python generate_report.py" in out


def test_command_names_what_it_cannot_draw(tmp_path, capsys):
    (tmp_path / "citations.png").write_bytes(b"older")
    generate_plots.main(["--logs-dir", str(FIXTURES / "few"), "--plots-dir", str(tmp_path)])
    captured = capsys.readouterr()
    assert "citations.png  not drawn: no benchmark yet" in captured.err and "of other logs" in captured.err
    assert "2 of 7 pictures" in captured.out
    assert (tmp_path / "citations.png").read_bytes() == b"older"


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--logs-dir", "nowhere"], "no logs in nowhere; run: python train_8b.py"),
        (["--run", "20990101_000000"], "no run '20990101_000000' in .*; the newest there: 20260301_100000"),
        (["--language", "kk"], "unknown language 'kk'; known: ru, en"),
        ([part for i in range(6) for part in ("--run", str(i))], "6 runs asked for; a picture holds up to 5"),
        (["--runs", "1"], "unknown argument --runs; did you mean --run?"),
    ],
)
def test_user_errors(flags, message, tmp_path):
    base = ["--logs-dir", str(FIXTURES / "logs"), "--plots-dir", str(tmp_path)]
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        generate_plots.main(base + flags)


def test_nothing_logged_yet(tmp_path):
    shutil.copy(next((FIXTURES / "few").glob("config_*")), tmp_path)
    with pytest.raises(UserError, match="nothing to draw"):
        generate_plots.main(["--logs-dir", str(tmp_path), "--plots-dir", str(tmp_path / "plots")])


def test_hostile_names_are_drawn_as_text(tmp_path):
    run = chosen("logs")[0]
    data = json.loads(json.dumps(run.benchmark.data))
    data["meta"]["model"] = "$\\frac{1}{0}$ _x^ " + "long " * 40 + "\u202e\n\t"
    run = run._replace(benchmark=run.benchmark._replace(data=data))
    figure, _ = benchmark_plots.benchmark_metrics([run], "ru")
    figures.save(figure, tmp_path / "x.png", [run.benchmark])
