"""benchmark.py --compare of many: paired with the baseline on shared rows, intervals that hold together."""

import json
import random

import pytest
import tiny

import benchmark
from legalqa.errors import UserError
from legalqa.scoring.comparison import labels_of, read_results
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
