"""benchmark.py --compare of many: paired with the baseline on shared rows, intervals that hold together."""

import itertools
import json
import math
import pathlib
import random
import shutil

import pytest
import tiny
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import benchmark
import generate_plots
import generate_report
from legalqa.errors import UserError
from legalqa.report import figures, pictures
from legalqa.report.comparison_plots import quality_speed
from legalqa.report.logs import Log, RunLogs
from legalqa.scoring.comparison import billions, in_order, labels_of, read_results
from legalqa.scoring.metric_table import METRICS
from legalqa.scoring.results import ModelsLog
from legalqa.scoring.statistics import paired_difference
from legalqa.typed_json import json_problem

ROWS = tiny.make_rows(40)


def make_result(folder, name, share_kept, rows=ROWS):
    """A benchmark of ready answers, each the first part of the reference; 0.2 s an answer where it is cut."""
    rng = random.Random(name)
    answers = [
        {
            **row,
            "prediction": row["output"][: int(share_kept * len(row["output"])) + rng.randint(0, 3)],
            "cut_off": False,
            "new_tokens": 5,
            "generation_sec": 0.2,
        }
        for row in rows
    ]
    tiny.write_rows(folder / f"{name}.jsonl", answers)
    path = folder / f"{name}.json"
    assert benchmark.main(["--predictions", str(folder / f"{name}.jsonl"), "--output", str(path)]) == 0
    return str(path)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return [make_result(folder, name, share) for name, share in (("a", 0.4), ("b", 0.9), ("c", 0.41))]


def compare(tmp_path, *files):
    path = tmp_path / "models.json"
    assert benchmark.main(["--compare", *files, "--output", str(path)]) == 0
    return json.loads(path.read_text("utf-8"))


def test_many_are_compared_with_the_first(results, tmp_path, capsys):
    log = compare(tmp_path, *results)
    assert json_problem(log, ModelsLog) is None
    assert log["meta"]["num_shared"] == 40
    assert log["meta"]["correction"] == {"method": "bonferroni", "comparisons": 2, "level": 0.975}
    first, second, third = log["models"]
    assert [model["label"] for model in log["models"]] == ["a", "b", "c"] and first["differences"] is None
    assert second["sec_per_answer"] == 0.2
    better, same = (model["differences"]["word_f1"] for model in (second, third))
    assert better["ci95"][0] > 0 and same["ci95"][0] < same["difference"] < same["ci95"][1]
    assert better["a"] == pytest.approx(first["scores"]["word_f1"]["mean"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:-3])) <= 80
    rows = [line.split() for line in out.splitlines() if " .. " in line]
    assert [row[-1] for row in rows if row[0] == "B"][:3] == ["better"] * 3
    assert "corrected (Bonferroni): the 2 intervals of a score hold together" in out


def test_an_interval_among_many_is_wider():
    rng = random.Random(3)
    a, b = ([rng.random() for _ in range(200)] for _ in range(2))
    alone, among = paired_difference(a, b), paired_difference(a, b, comparisons=4)
    assert among["ci95"][0] < alone["ci95"][0] < alone["ci95"][1] < among["ci95"][1]
    assert {**alone, "ci95": None} == {**among, "ci95": None}
    # Of a mean of 200 the normal interval is near: 2.498 standard errors where alone it is 1.960.
    ratio = (among["ci95"][1] - among["ci95"][0]) / (alone["ci95"][1] - alone["ci95"][0])
    assert ratio == pytest.approx(2.498 / 1.960, rel=0.06)


def test_the_baseline_may_be_any(results, tmp_path):
    log = compare(tmp_path, *results, "--baseline", results[1])
    assert [model["label"] for model in log["models"]] == ["b", "a", "c"]
    assert log["models"][1]["differences"]["word_f1"]["ci95"][1] < 0
    assert compare(tmp_path, *results[:2], "--baseline", results[2])["models"][0]["label"] == "c"


def test_citations_are_those_of_questions_that_name_no_article(tmp_path):
    rows = [{**row, "input": "Статья 5?" if i < 12 else row["input"]} for i, row in enumerate(ROWS)]
    log = compare(tmp_path, *(make_result(tmp_path, name, 1, rows) for name in "abc"))
    assert log["meta"]["num_unnamed"] == 28
    assert log["models"][1]["differences"]["citation_f1"]["num_samples"] == 28
    assert log["models"][1]["differences"]["overall"]["num_samples"] == 40


def test_two_stay_as_they_are(results, tmp_path):
    log = compare(tmp_path, *results[:2])
    assert log["meta"]["model_a"] == "a" and log["num_shared"] == 40 and "models" not in log
    turned = compare(tmp_path, *results[:2], "--baseline", results[1])
    assert turned["meta"]["model_a"] == "b"
    assert turned["metrics"]["overall"]["difference"] == -log["metrics"]["overall"]["difference"]


def test_results_of_one_name_are_told_apart(results):
    named = [result._replace(log=json.loads(json.dumps(result.log))) for result in read_results(results)]
    for result, run in zip(named, ("20260101_000000", "20260102_000000", "20260102_000000")):
        result.log["meta"] |= {"model": "qwen", "run": run}
    assert labels_of(named) == ["qwen, 20260101_000000", results[1], results[2]]


def test_errors(results, tmp_path):
    with pytest.raises(UserError, match="two files or none, or more than two"):
        benchmark.main(["--compare", results[0]])
    with pytest.raises(UserError, match="is given twice"):
        benchmark.main(["--compare", *results, results[0]])
    other = make_result(tmp_path, "other", 1, tiny.make_rows(30, seed=5))
    with pytest.raises(UserError, match="the 3 results share 0 samples .of 40, 40, 30., fewer than 10"):
        benchmark.main(["--compare", *results[:2], other])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UserError, match="bad.json: not a result of benchmark.py: top level: no key"):
        benchmark.main(["--compare", *results, str(tmp_path / "bad.json")])


# --------------------------------------------------------------------------------- order, pictures, report


def model(label, kind, base_model=None):
    return {"label": label, "model": label, "kind": kind, "base_model": base_model}


def test_reading_order():
    """Base beside tuned, small models before large ones, then what is not of this toolkit."""
    models = [
        model("gpt-4o", "server"),
        model("finetuned_8b", "adapter", "unsloth/Qwen3-8B-unsloth-bnb-4bit"),
        model("Qwen/Qwen3-8B-unsloth-bnb-4bit", "base", "unsloth/Qwen3-8B-unsloth-bnb-4bit"),
        model("finetuned_demo", "adapter", "models/gemma-270m"),
        model("served-4b", "server"),
        model("finetuned_14b", "merged", "Qwen/Qwen3-14B"),
        model("models/gemma-270m", "base", "models/gemma-270m"),
        model("unknown", "base", "some-model"),
    ]
    assert [one["label"] for one in in_order(models)] == [
        "models/gemma-270m",
        "finetuned_demo",
        "Qwen/Qwen3-8B-unsloth-bnb-4bit",
        "finetuned_8b",
        "finetuned_14b",
        "unknown",
        "served-4b",
        "gpt-4o",
    ]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen3-8B-bnb-4bit", 8),
        ("gemma-270m", 0.27),
        ("Qwen3-0.6B", 0.6),
        ("gpt-4o", math.inf),
        ("v2.5b", 2.5),
    ],
)
def test_size_in_a_name(name, size):
    assert billions(name) == size


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with logs of five results and their comparison, pictures and reports."""
    folder = tmp_path_factory.mktemp("five")
    (folder / "logs").mkdir()
    files = []
    for number, share in enumerate((0.3, 0.5, 0.7, 0.9, 1.0)):
        path = make_result(folder, f"model-{number}b", share)
        files.append(folder / "logs" / f"benchmark_2026010{number + 1}_000000.json")
        pathlib.Path(path).rename(files[-1])
    flags = ["--logs-dir", str(folder / "logs")]
    assert benchmark.main(["--compare", *map(str, files), *flags]) == 0
    flags += ["--plots-dir", str(folder / "plots")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "PICTURES", {})  # those of a single benchmark: nothing here looks at them
        generate_plots.main(flags)
    for language in ("ru", "en"):
        report = str(folder / f"{language}.md")
        assert generate_report.main([*flags, "--language", language, "--report-file", report]) == 0
        assert generate_report.main([*flags, "--language", language, "--report-file", report, "--check"]) == 0
    return folder


@pytest.mark.slow
def test_pictures_of_a_comparison(drawn):
    (log,) = (drawn / "logs").glob("models_*.json")
    for name in ("model_comparison", "quality_speed"):
        with Image.open(drawn / "plots" / f"{name}.png") as image:
            assert image.info["Source"] == f"logs/{log.name}" and image.width == 1500


def test_report_of_a_comparison(drawn):
    russian, english = ((drawn / f"{language}.md").read_text("utf-8") for language in ("ru", "en"))
    assert "## Сравнение моделей" in russian and "## Comparison of models" in english
    section = english.split("## Comparison of models")[1].split("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    names = [f"| `model-{number}b`" for number in range(5)]
    assert rows == names + names[1:]  # scores of all, differences of all but the baseline
    assert "the 4 intervals of a score hold together with 95 % (each has 98.8%)" in section
    for name in ("model_comparison", "quality_speed"):
        assert f"(plots/{name}.png)" in section


def test_a_picture_of_another_comparison_is_left_out(drawn, tmp_path, capsys):
    """A second comparison, not drawn yet: the report shows its numbers, not the first one's pictures."""
    shutil.copytree(drawn, tmp_path / "copy")
    logs, flags = tmp_path / "copy" / "logs", ["--logs-dir", str(tmp_path / "copy" / "logs")]
    files = sorted(str(path) for path in logs.glob("benchmark_*"))
    assert benchmark.main(["--compare", *files[1:], *flags]) == 0
    flags += ["--plots-dir", str(tmp_path / "copy" / "plots"), "--report-file", str(tmp_path / "R.md")]
    assert generate_report.main(flags) == 0
    assert "model_comparison.png was not drawn from the logs of this report" in capsys.readouterr().err
    assert "`model-0b`" not in (tmp_path / "R.md").read_text("utf-8").split("## Сравнение моделей")[1]


def test_models_without_times_have_no_speed_picture(tmp_path):
    score = {"mean": 0.5, "ci95": [0.4, 0.6], "num_samples": 20}
    models = [
        {**model(label, "predictions"), "sec_per_answer": seconds, "scores": dict.fromkeys(METRICS, score)}
        for label, seconds in (("a", 1.0), ("b", None))
    ]
    log = Log("logs/models_x.json", "x", {"meta": {"num_shared": 20, "num_unnamed": 20}, "models": models})
    with pytest.raises(
        figures.CannotDraw, match="fewer than two of the compared results have generation times"
    ):
        quality_speed([RunLogs(models=log)], "ru")


def test_names_do_not_cover_each_other():
    """Eight points in two heaps: no label overlaps another or a point of another model."""
    heap = [(1 + 0.03 * (i % 4) + 3 * (i // 4), 0.3 + 0.02 * (i % 3)) for i in range(8)]
    models = [
        {
            **model(f"model-{i}", "server"),
            "sec_per_answer": seconds,
            "scores": dict.fromkeys(METRICS, {"mean": mean, "ci95": None, "num_samples": 20}),
        }
        for i, (seconds, mean) in enumerate(heap)
    ]
    log = Log("logs/models_x.json", "x", {"meta": {"num_shared": 20, "num_unnamed": 20}, "models": models})
    figure, _ = quality_speed([RunLogs(models=log)], "en")
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert len(boxes) == 8
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
