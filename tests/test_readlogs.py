"""legalqa/report/logs.py: which logs belong together, and what becomes of bad ones."""

import json
import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legalqa.errors import UserError
from legalqa.report import curves
from legalqa.report.logs import LOG_TYPES, Shelf, choose, read_checked
from legalqa.typed_json import json_problem

FIXTURES = Path(__file__).parent / "fixtures"
RUN, BASE, ADAPTER = "20260301_100000", "20260301_094500", "20260301_103000"


@pytest.fixture
def logs_dir(tmp_path):
    shutil.copytree(FIXTURES / "logs", tmp_path / "logs")
    return tmp_path / "logs"


def chosen(logs_dir, run=None):
    return {stage: log and log.run for stage, log in choose(Shelf(logs_dir), run)._asdict().items()}


def edit(path, change, target=None):
    data = json.loads(path.read_text("utf-8"))
    change(data)
    (target or path).write_text(json.dumps(data), "utf-8")


def test_what_belongs_together(logs_dir):
    assert chosen(logs_dir) == {
        "config": RUN,
        "metrics": RUN,
        "history": None,
        "benchmark": ADAPTER,
        "base": BASE,
        "compare": "20260301_103500",
        "models": None,
        "human": None,
        "closed": None,
        "law_compare": None,
        "dpo": None,
    }
    assert chosen(logs_dir, RUN) == chosen(logs_dir, ADAPTER) == chosen(logs_dir)
    assert chosen(logs_dir, BASE) == {
        "config": None,
        "metrics": None,
        "history": None,
        "benchmark": None,
        "base": BASE,
        "compare": None,
        "models": None,
        "human": None,
        "closed": None,
        "law_compare": None,
        "dpo": None,
    }


def test_newest_run_does_not_borrow_an_older_runs_scores(logs_dir, capsys):
    for path in (FIXTURES / "few").iterdir():
        shutil.copy(path, logs_dir)
    assert chosen(logs_dir)["metrics"] == "20260304_090000" and chosen(logs_dir)["benchmark"] is None
    assert f"--run {ADAPTER} shows it" in capsys.readouterr().err
    assert chosen(logs_dir, RUN)["benchmark"] == ADAPTER
    assert chosen(logs_dir, ADAPTER)["metrics"] == RUN


def test_run_that_has_not_logged_a_step_yet_does_not_hide_the_last_one(logs_dir):
    shutil.copy(logs_dir / f"config_{RUN}.json", logs_dir / "config_20260401_100000.json")
    assert chosen(logs_dir)["metrics"] == RUN


def test_base_is_of_the_same_validation_file_and_model(logs_dir):
    path = logs_dir / f"benchmark_{BASE}.json"
    edit(
        path,
        lambda data: data["meta"]["validation"].update(sha256="other"),
        logs_dir / "benchmark_20260301_113000.json",
    )
    edit(
        path,
        lambda data: data["meta"].update(base_model="other"),
        logs_dir / "benchmark_20260301_123000.json",
    )
    assert chosen(logs_dir)["base"] == BASE
    edit(path, lambda data: data["samples"].pop(), logs_dir / "benchmark_20260301_133000.json")
    assert chosen(logs_dir)["base"] == BASE  # the newer one has other samples
    path.unlink()
    assert chosen(logs_dir)["base"] == "20260301_133000" and chosen(logs_dir)["compare"] is None


def test_comparison_is_of_exactly_these_two_the_base_first(logs_dir):
    def swap(data):
        data["meta"].update(a=data["meta"]["b"], b=data["meta"]["a"])

    edit(logs_dir / "compare_20260301_103500.json", swap)
    assert chosen(logs_dir)["compare"] is None


def test_live_run_is_read_from_its_history():
    found = choose(Shelf(FIXTURES / "resumed"))
    assert found.metrics is None and found.history.data[-1]["step"] == 120


@pytest.mark.parametrize(
    "steps, kept, resumed",
    [
        ([5, 10, 15], [5, 10, 15], []),
        ([5, 10, 15, 20, 15, 20, 25], [5, 10, 15, 20, 25], [10]),  # killed at 20, resumed from 10
        ([50, 55, 60, 50, 55], [50, 55], [50]),  # evaluated again at 50: its first entry is kept and added to
        ([5, 10, 5, 10, 5], [5], [5, 5]),
        ([0, 5, 5], [0, 5], []),
    ],
)
def test_resumed_history_is_merged(steps, kept, resumed):
    entries, found = curves.merged_history([{"step": step, "loss": 1.0} for step in steps])
    assert [entry["step"] for entry in entries] == kept
    assert found == resumed


def test_entries_of_a_step_are_put_together():
    entries, _ = curves.merged_history([{"step": 50, "loss": 1.0}, {"step": 50, "eval_loss": 2.0}])
    assert entries == [{"step": 50, "loss": 1.0, "eval_loss": 2.0}]


BAD = {
    "cut off": b'{"meta": {"run": "x"',
    "empty": b"",
    "a list": b"[1, 2]",
    "foreign": b'{"hello": "world"}',
    "not UTF-8": b'{"a": "\xff"}',
    "deep": b"[" * 100_000,
    "huge number": b'{"a": ' + b"9" * 10_000 + b"}",
    "null": b"null",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_bad_log_is_named_and_skipped(content, logs_dir, capsys):
    path = logs_dir / f"benchmark_{ADAPTER}.json"
    path.write_bytes(content)
    assert chosen(logs_dir)["benchmark"] is None and chosen(logs_dir)["metrics"] == RUN
    err = capsys.readouterr().err
    assert "warning: skipped: " in err and path.name in err and err.count(path.name) == 2  # once a Shelf
    assert "Traceback" not in err


def test_all_bad_is_one_error(tmp_path, capsys):
    (tmp_path / f"metrics_{RUN}.json").write_text("{")
    (tmp_path / f"benchmark_{RUN}.json").write_text("[]")
    with pytest.raises(
        UserError, match=r"no readable log in .* \(2 skipped, named above\); run: python train_8b.py"
    ):
        chosen(tmp_path)


def test_damaged_metrics_fall_back_to_the_history_then_to_an_older_run(logs_dir):
    for path in (FIXTURES / "resumed").iterdir():
        shutil.copy(path, logs_dir)
    (logs_dir / "metrics_20260302_090000.json").write_text("{")
    assert chosen(logs_dir)["history"] == "20260302_090000"
    (logs_dir / "history_20260302_090000.jsonl").write_text('{"step": 5, "loss"')  # not one whole line
    assert chosen(logs_dir)["metrics"] == RUN


def test_bad_history_line_is_named(tmp_path, capsys):
    path = tmp_path / f"history_{RUN}.jsonl"
    lines = ('{"step": 5, "loss": 1.0}', "nonsense", '{"step": -1}', '{"step": 10, "loss": NaN}', '{"ste')
    path.write_text("\n".join(lines))
    entries = choose(Shelf(tmp_path)).history.data
    assert [entry["step"] for entry in entries] == [5, 10] and math.isnan(entries[1]["loss"])
    err = capsys.readouterr().err
    assert f"skipped line 2 of {path}: not JSON" in err
    assert f"skipped line 3 of {path}: step: a count is expected" in err


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda data: data.pop("summary"), "top level: no key 'summary'"),
        (
            lambda data: data["summary"]["metrics"]["overall"].update(mean=1.5),
            "summary.metrics.overall.mean: a share from 0 to 1",
        ),
        (
            lambda data: data["summary"]["metrics"]["overall"].update(ci95=[0.1]),
            "summary.metrics.overall.ci95: two numbers or null",
        ),
        (
            lambda data: data["samples"][3].update(prediction=None),
            r"samples\[3\].prediction: text is expected",
        ),
        (
            lambda data: data["samples"][0]["scores"].update(overall=math.nan),
            r"samples\[0\].scores.overall: a share",
        ),
        (
            lambda data: data["samples"][0]["scores"].update(overall=10**400),
            r"samples\[0\].scores.overall: a share",
        ),
        (lambda data: data.update(samples={}), "samples: a list is expected"),
        (lambda data: data["summary"].update(num_samples=True), "summary.num_samples: a count is expected"),
    ],
)
def test_wrong_shape_names_the_place(change, problem, logs_dir):
    path = logs_dir / f"benchmark_{ADAPTER}.json"
    edit(path, change)
    with pytest.raises(UserError, match=f"{path.name} is not a log of .* benchmark stage: {problem}"):
        read_checked(path, "benchmark")


def test_older_logs_get_the_groups_by_named_article_from_their_samples(logs_dir):
    fixture = choose(Shelf(FIXTURES / "logs"))

    def make_older(data):
        for group in (
            (data["summary"], *data["summary"]["by_language"].values()) if "summary" in data else (data,)
        ):
            group.pop("by_named_article")

    for path in (*logs_dir.glob("benchmark_*"), *logs_dir.glob("compare_*")):
        edit(path, make_older)
    found = choose(Shelf(logs_dir))
    for stage in ("base", "benchmark"):
        summary, expected = (getattr(logs, stage).data["summary"] for logs in (found, fixture))
        assert means_of(summary) == means_of(expected)
        for language in ("ru", "kk"):
            assert means_of(summary["by_language"][language]) == means_of(expected["by_language"][language])
    groups, expected = found.compare.data["by_named_article"], fixture.compare.data["by_named_article"]
    for key in ("unnamed", "named"):
        differences = [group[key]["metrics"]["citation_f1"]["difference"] for group in (groups, expected)]
        assert differences[0] == pytest.approx(differences[1], abs=1e-4)


def means_of(group):
    """Of each metric that is defined, by whether the question names an article, to the four digits that the
    fixtures have."""
    return {
        (key, name): round(score["mean"], 4)
        for key, inner in group["by_named_article"].items()
        for name, score in inner["metrics"].items()
        if score["mean"] is not None
    }


KEYS = st.sampled_from(["meta", "summary", "metrics", "samples", "history", "step", "loss", "run", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.sampled_from(list(LOG_TYPES)))
def test_any_json_is_refused_in_words(value, stage):
    problem = json_problem(value, LOG_TYPES[stage])
    assert ": no key '" in problem or problem.endswith(" is expected")


@settings(max_examples=50, deadline=None)
@given(st.data(), VALUES)
def test_a_log_with_one_value_replaced_is_right_or_named(data, value):
    log = json.loads((FIXTURES / "logs" / f"benchmark_{ADAPTER}.json").read_text("utf-8"))
    place, target = [], log
    while isinstance(target, dict | list) and target:
        holder = target
        keys = list(target) if isinstance(target, dict) else range(len(target))
        place.append(data.draw(st.sampled_from(keys)))
        target = target[place[-1]]
    holder[place[-1]] = value
    problem = json_problem(log, LOG_TYPES["benchmark"])
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")
    if problem:  # at the place, inside it, or of the leaf around it (a bound of an interval)
        named = problem.rsplit(": ", 1)[0].replace("top level", "")
        assert named.startswith(where) or where.startswith(named)


def test_unknown_run_names_the_newest(logs_dir):
    with pytest.raises(UserError, match=f"no run 'x' in .*; the newest there: {RUN}, {ADAPTER}, {BASE}"):
        chosen(logs_dir, "x")
