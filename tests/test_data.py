"""The committed rows: format, counts, languages, articles that exist, no leak from train into validation."""

import functools
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest
import tiny

import prepare_data
from legalqa.data import records
from legalqa.law.acts import article_exists
from legalqa.law.citations import parse_citations
from legalqa.law.words import detect_language
from legalqa.scoring.metrics import words

DATA = Path(__file__).resolve().parent.parent / "combined_data"
TRAIN, VALIDATION = (records.read_records(DATA / f"{name}.jsonl") for name in ("train", "validation"))
ROWS = TRAIN + VALIDATION


cited = functools.cache(parse_citations)


def article(row):
    return row["source"]["act"], row["source"]["article"]


def test_counts():
    assert len(ROWS) >= 3000 and len(VALIDATION) >= 400
    assert len({article(row) for row in ROWS}) >= 2200
    by_act = Counter(row["source"]["act"] for row in ROWS)
    assert len(by_act) >= 20 and max(by_act.values()) <= 0.07 * len(ROWS)


def test_keys():
    assert {tuple(row) for row in TRAIN} == {("instruction", "input", "output", "source")}
    assert {tuple(row) for row in VALIDATION} == {
        ("instruction", "input", "output", "source", "seen_article")
    }


def test_languages():
    kazakh = [row for row in ROWS if detect_language(records.question(row)) == "kk"]
    assert 0.36 <= len(kazakh) / len(ROWS) <= 0.42
    for row in ROWS:  # an instruction before the input is in the language of the input
        if row["input"]:
            assert detect_language(row["instruction"]) == detect_language(row["input"]), row
    assert not [row for row in kazakh if detect_language(row["output"]) == "ru"]


def test_lengths_and_shapes():
    lengths = [len(row["output"].split()) for row in ROWS]
    assert 18 <= statistics.median(lengths) <= 30 and sum(length >= 100 for length in lengths) >= 50
    assert sum(length <= 12 for length in lengths) >= len(ROWS) / 3
    assert sum(50 <= length <= 120 for length in lengths) >= len(ROWS) / 6
    assert 0.1 <= sum(bool(row["input"]) for row in ROWS) / len(ROWS) <= 0.25


def test_yes_and_no_are_even():
    """A model that always says no must not be right more often than not."""
    words_first = Counter(words(row["output"])[0] for row in ROWS)
    no, yes = (sum(words_first[word] for word in pair) for pair in (("нет", "жоқ"), ("да", "иә")))
    assert 0.45 <= no / (no + yes) <= 0.55


def test_questions_seldom_name_the_article():
    named = [row for row in ROWS if parse_citations(records.user_turn(row))]
    assert len(named) <= 0.05 * len(ROWS)
    assert not [row for row in ROWS if re.search("о ч[её]м (статья|пункт)", records.user_turn(row).lower())]


def test_no_template_feel():
    openings = Counter(" ".join(words(records.question(row))[:4]) for row in ROWS)
    assert openings.most_common(1)[0][1] <= 0.03 * len(ROWS)


def test_every_source_and_every_cited_article_exists():
    for row in ROWS:
        assert article_exists(*article(row)) is True, row
        for citation in cited(row["output"]):
            assert article_exists(citation.act, citation.article) is not False, (citation, row)


def test_answers_name_their_norm():
    def names_it(row):
        return any(
            found.article == row["source"]["article"] and found.act in (None, row["source"]["act"])
            for found in cited(row["output"])
        )

    assert sum(map(names_it, ROWS)) == len(ROWS)


def test_seen_article_is_true_and_half():
    trained = {article(row) for row in TRAIN}
    assert all(row["seen_article"] == (article(row) in trained) for row in VALIDATION)
    assert 0.45 <= sum(row["seen_article"] for row in VALIDATION) / len(VALIDATION) <= 0.55


def test_check_finds_a_leak(tmp_path, capsys):
    """That the files as they are pass is in test_prepare_data.py."""
    asked = VALIDATION[::4]
    about = {article(row) for row in asked}
    train = [row for row in TRAIN if article(row) in about]
    leaking = asked + [{**train[0], "seen_article": True}]
    files = [
        part
        for name, rows in (("train", train), ("validation", leaking))
        for part in (f"--{name}-file", tiny.write_rows(tmp_path / f"{name}.jsonl", rows))
    ]
    assert prepare_data.main(["--check", *map(str, files)]) == 1
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "question of train in validation: 1: " in errors[0]


@pytest.mark.parametrize(
    "act, number, exists",
    [("labor_code", "28", True), ("tax_code", "9999", False), ("constitution", "97", False)],
)
def test_articles_of_acts(act, number, exists):
    assert article_exists(act, number) is exists
