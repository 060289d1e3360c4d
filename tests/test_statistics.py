"""Intervals against known values. Run: python -m pytest tests/test_statistics.py"""

import io
import re

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from legalqa.errors import UserError
from legalqa.report import tables
from legalqa.scoring import statistics
from legalqa.scoring.metric_table import METRICS, metric_names
from legalqa.scoring.results import headline_scores

SPREAD = [0.1, 0.9, 0.4, 0.6, 0.35, 0.5, 0.75, 0.2, 0.3, 0.8, 0.45, 0.55]


def make_samples(count, language="ru", offset=0.0, **extra):
    scores = [
        dict.fromkeys(METRICS)
        | {"token_f1": (i * 7 % 10) / 20 + offset * (1 + i % 3), "has_citation": float(i % 2)}
        for i in range(count)
    ]
    return [
        {
            "id": f"{language}{i}",
            "language": language,
            "instruction": "Каков срок?",
            "input": "",
            "scores": score,
            "citations": {"reference": []},
            "new_tokens": None,
            "generation_sec": None,
            **extra,
        }
        for i, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    "successes, count, low, high",
    [  # Wilson's interval, published tables
        (0, 100, 0.0, 0.0370),
        (1, 100, 0.0018, 0.0545),
        (50, 100, 0.4038, 0.5962),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_zeros_and_ones_get_wilsons_interval(successes, count, low, high):
    result = statistics.mean_ci([1.0] * successes + [0.0] * (count - successes))
    assert result["mean"] == successes / count and result["num_samples"] == count
    assert result["ci95"] == pytest.approx([low, high], abs=1e-4)


def test_bootstrap_agrees_with_theory():
    values = numpy.random.default_rng(1).uniform(0, 1, 400).tolist()
    result, error = statistics.mean_ci(values, 3407), 1.96 * numpy.std(values, ddof=1) / 20
    assert result["ci95"] == pytest.approx([result["mean"] - error, result["mean"] + error], abs=0.1 * error)
    larger = statistics.mean_ci(values * 4, 3407)  # percentile instead of BCa: half the width
    assert numpy.diff(larger["ci95"])[0] == pytest.approx(numpy.diff(result["ci95"])[0] / 2, rel=0.1)


def test_seeded_and_none_left_out():
    first = statistics.mean_ci(SPREAD, 1)
    assert first == statistics.mean_ci([None, *SPREAD, None], 1) and first["num_samples"] == len(SPREAD)
    assert first["ci95"] != statistics.mean_ci(SPREAD, 2)["ci95"]
    assert first["ci95"][0] < first["mean"] < first["ci95"][1]


@pytest.mark.parametrize(
    "values, mean",
    [
        ([], None),
        ([None, None], None),
        ([0.5], 0.5),
        (SPREAD[:9], pytest.approx(4.1 / 9)),
        ([0.4] * 50, pytest.approx(0.4)),
    ],
)
def test_no_interval_where_there_is_none_to_give(values, mean):
    result = statistics.mean_ci(values)
    assert result["mean"] == mean and result["ci95"] is None


def test_paired_difference():
    better = [value + 0.01 * (1 + i % 3) for i, value in enumerate(SPREAD)]
    result = statistics.paired_difference(SPREAD, better)
    assert result["difference"] == pytest.approx(0.02) and result["b"] - result["a"] == pytest.approx(0.02)
    assert 0.01 < result["ci95"][0] < result["ci95"][1] < 0.03  # each mean alone: to about 0.13
    swapped = statistics.paired_difference(better, SPREAD)
    assert swapped["difference"] == pytest.approx(-0.02)
    same = statistics.paired_difference(SPREAD, SPREAD)
    assert same["difference"] == 0 and same["ci95"] is None
    assert statistics.paired_difference([None, 0.5], [0.5, None])["num_samples"] == 0
    assert statistics.paired_difference([0.5, 0.2, None], [0.7, None, 0.1])["num_samples"] == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=40))
def test_interval_holds_the_mean_and_stays_inside(values):
    result = statistics.mean_ci(values)
    assert result["num_samples"] == sum(value is not None for value in values)
    if result["ci95"]:
        low, high = result["ci95"]
        assert -1e-9 <= low <= result["mean"] + 1e-9 and result["mean"] - 1e-9 <= high <= 1 + 1e-9


def test_summarize():
    russian, kazakh = make_samples(30, "ru", seen_article=True), make_samples(12, "kk", seen_article=False)
    russian[0]["citations"] = {"reference": [{"act": "labor_code"}, {"act": "labor_code"}, {"act": None}]}
    russian[1]["source"] = {"act": "tax_code", "article": "5"}
    russian[1]["citations"] = {"reference": [{"act": "land_code"}]}  # the source says more than the citation
    summary = statistics.summarize(russian + kazakh, 3407)
    assert summary["num_samples"] == 42 and list(summary["by_language"]) == ["ru", "kk"]
    assert set(summary["metrics"]) == set(METRICS)
    assert summary["by_language"]["kk"]["num_samples"] == 12
    assert summary["by_seen_article"]["unseen"]["num_samples"] == 12
    by_act = {act: group["num_samples"] for act, group in summary["by_act"].items()}
    assert by_act == {"labor_code": 1, "tax_code": 1}
    assert summary["metrics"]["chrf"] == {"mean": None, "ci95": None, "num_samples": 0}
    assert "by_seen_article" not in statistics.summarize(make_samples(3))


NAMED = ("Что говорит статья 52 Трудового кодекса РК?", "ЕК-нің 52-бабы не туралы?")
UNNAMED = (
    "Когда можно расторгнуть договор?",
    "Что говорит Трудовой кодекс РК?",
    "Есть ли статья расходов на отпуск?",
)


@pytest.mark.parametrize("question", [*NAMED, *UNNAMED])
@pytest.mark.parametrize("is_input", [False, True])
def test_question_names_an_article_where_a_reference_is_in_the_user_turn(question, is_input):
    sample = (
        {"instruction": "Ответь на вопрос.", "input": question}
        if is_input
        else {"instruction": question, "input": None}
    )
    assert statistics.named_article_of(sample) == ["named" if question in NAMED else "unnamed"]


def echo_samples():
    """Half of the questions name an article; citations are right there, and only there."""
    samples = make_samples(40)
    for i, sample in enumerate(samples):
        sample["instruction"] = NAMED[0] if i % 2 else UNNAMED[0]
        sample["scores"]["citation_f1"] = float(i % 2)
    return samples


def test_citation_scores_are_apart_where_the_question_names_the_article():
    summary = statistics.summarize(echo_samples(), 3407)
    means = {
        key: (group["num_samples"], group["metrics"]["citation_f1"]["mean"])
        for key, group in summary["by_named_article"].items()
    }
    assert means == {"unnamed": (20, 0.0), "named": (20, 1.0)}
    assert summary["metrics"]["citation_f1"]["mean"] == 0.5  # over all samples, as it always was
    assert set(summary["by_named_article"]["unnamed"]["metrics"]) == set(METRICS)
    russian = summary["by_language"]["ru"]["by_named_article"]
    assert russian["unnamed"]["metrics"]["citation_f1"]["mean"] == 0
    assert headline_scores(summary)["citation_f1"]["mean"] == 0
    assert headline_scores(summary)["token_f1"] == summary["metrics"]["token_f1"]


def test_differences_are_apart_where_the_question_names_the_article():
    silent = make_samples(40)
    for sample in silent:
        sample["scores"]["citation_f1"] = 0.0
    groups = statistics.compare(silent, echo_samples())["by_named_article"]
    assert groups["unnamed"]["metrics"]["citation_f1"]["difference"] == 0
    assert groups["named"]["metrics"]["citation_f1"]["difference"] == 1
    bare = [{key: sample[key] for key in ("id", "language", "scores")} for sample in silent]
    assert statistics.compare(bare, bare)["by_named_article"] == {}


def printed(show, *arguments):
    console = Console(file=io.StringIO(), width=100)
    show(*arguments, console)
    return re.sub(" +", " ", console.file.getvalue())


def test_tables_show_citations_apart():
    result = {"meta": {"model": "echo"}, "summary": statistics.summarize(echo_samples()), "samples": []}
    text = printed(tables.print_summary, result)
    assert "citations: 20 questions that name no article, 20 that name one" in text
    assert "\n citation_f1 0.0 0.0 .. 16.1 20 100.0 20 \n" in text
    comparison = statistics.compare(make_samples(40), echo_samples())
    text = printed(tables.print_comparison, comparison, "a", "b")
    assert text.index("20 questions that name no article") < text.index("20 questions that name an article")
    assert text.count("citation_f1") == 2
    bare = [{key: sample[key] for key in ("id", "language", "scores")} for sample in echo_samples()]
    assert (
        printed(tables.print_comparison, statistics.compare(bare, bare), "a", "b").count("citation_f1") == 1
    )


@pytest.mark.parametrize("width", [60, 50])
def test_a_narrow_terminal_cuts_no_number(width):
    result = {"meta": {"model": "echo"}, "summary": statistics.summarize(echo_samples()), "samples": []}
    stream = io.StringIO()
    tables.print_summary(result, Console(file=stream, width=width))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    shown = [
        result["summary"]["metrics"][name]["mean"] for name in metric_names("published", "text", "health")
    ]
    means = [mean for mean in shown if mean is not None]
    assert means and all(f" {100 * mean:.1f} " in text for mean in means)


def test_compare():
    a = make_samples(30) + make_samples(12, "kk")
    b = make_samples(30, offset=0.05) + make_samples(12, "kk", 0.05)
    result = statistics.compare(a, b[::-1])
    assert result["num_shared"] == 42 and result["by_language"]["kk"]["num_samples"] == 12
    assert result["metrics"]["token_f1"]["difference"] == pytest.approx(0.1, abs=0.002)
    assert result["metrics"]["token_f1"]["ci95"][0] > 0
    assert statistics.compare(b, a)["metrics"]["token_f1"]["difference"] < 0
    with pytest.raises(UserError, match="share 9 samples"):
        statistics.compare(a, b[:9])
