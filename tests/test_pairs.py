"""Pairs for DPO: their file, the faults of answers, hard negatives. No model."""

import json
import random

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import prepare_pairs
from legalqa.data import pairs as pair_files
from legalqa.data import records
from legalqa.data.pairs import Origin, Pair
from legalqa.errors import UserError
from legalqa.law.citations import parse_citations
from legalqa.law.other_article import replace_article
from legalqa.model.answers import Line
from legalqa.scoring.faults import FAULTS, badness, faults_of
from legalqa.scoring.metrics import score_sample

ROW = {
    "instruction": "Когда отпуск оплачивают?",
    "input": "",
    "output": "За три дня до его начала: пункт 4 статьи 92 Трудового кодекса РК.",
}


def line(prediction, cut_off=False):
    return Line("0", prediction, 10, cut_off, 0.1)


def pair(number, chosen="Да.", rejected="Нет."):
    return Pair(f"Вопрос {number}", "", chosen, rejected, ["loop"])


# ---- Faults


@pytest.mark.parametrize(
    "answer, cut_off, expected",
    [
        ("За три дня: статья 92 Трудового кодекса РК.", False, []),
        ("За три дня: статья 93 Трудового кодекса РК.", False, ["wrong_article"]),
        ("За три дня: статья 999 Трудового кодекса РК.", False, ["invented_article", "wrong_article"]),
        ("За три дня.", False, []),
        ("За три дня до начала", True, ["cut_off"]),
        ("Өтініш берілген күннен бастап үш күн ішінде төленеді.", False, ["wrong_language"]),
        ("отпуск оплачивают за три дня до начала " * 6, True, ["loop", "cut_off"]),
    ],
)
def test_faults_are_those_that_the_metrics_show(answer, cut_off, expected):
    assert faults_of(score_sample(ROW, answer, cut_off)["scores"]) == expected


def test_an_invented_article_is_worse_than_all_the_rest():
    assert badness(["invented_article"]) > badness([fault for fault in FAULTS if fault != "invented_article"])
    assert (
        badness(["wrong_article", "cut_off"]) > badness(["wrong_article"]) > badness(["loop"]) > badness([])
    )


def test_the_worst_answer_is_taken_and_only_one_with_a_fault():
    answers = [
        line("За три дня: статья 92 Трудового кодекса РК."),
        line("За три дня: статья 93 Трудового кодекса РК."),
        line("За три дня: статья 999 Трудового кодекса РК."),
        line(""),
    ]
    worst = prepare_pairs.worst_answer(ROW, answers)
    assert worst == (answers[2].prediction, ["invented_article", "wrong_article"])
    assert prepare_pairs.worst_answer(ROW, [answers[0], line("")]) is None


def test_a_fault_that_the_reference_has_too_makes_no_pair():
    row = {**ROW, "output": "За три дня: статья 999 Трудового кодекса РК."}
    assert prepare_pairs.worst_answer(row, [line("За четыре дня: статья 999 Трудового кодекса РК.")]) is None


# ---- Hard negatives


@pytest.mark.parametrize(
    "text",
    [
        "В течение трёх дней (п. 3 ст. 61 ТК РК).",
        "Статья 79-3 Предпринимательского кодекса РК, 79 человек.",
        "Еңбек кодексінің 28-бабы 1-тармағының 1) тармақшасы.",
        "Смотрите п.1ст. 43 ТК РК и снова статью 43 Трудового кодекса.",
    ],
)
def test_one_article_is_replaced_and_nothing_else(text):
    replaced = replace_article(text, "", random.Random(1))
    before, after = parse_citations(text), parse_citations(replaced.text)
    assert replaced.old != replaced.new and replaced.new not in {c.article for c in before}
    assert replaced.text.replace(replaced.new, replaced.old) == text
    assert [(c.act, c.paragraph, c.subparagraph) for c in after] == [
        (c.act, c.paragraph, c.subparagraph) for c in before
    ]
    assert {c.article for c in after} == {replaced.new}
    assert all(c.article in pair_files_articles(c.act) for c in after)


def pair_files_articles(act):
    from legalqa.law import acts

    return acts.articles_of(act)[0]


def test_nothing_is_replaced_where_more_would_change():
    for text in (
        "Ответ без ссылок.",
        "Статьи 40-44 ТК РК.",
        "Пункт 1 статьи 999 ТК РК.",
        "Закон о том, ст. 5.",
    ):
        assert replace_article(text, "", random.Random(1)) is None


@given(st.integers(0, 10**6))
def test_an_article_that_the_question_names_is_never_put_in(seed):
    act = "citizen_bankruptcy_law"
    named = sorted(pair_files_articles(act), key=int)[:-3]
    question = "Закон о банкротстве физических лиц: " + ", ".join(f"статья {article}" for article in named)
    text = f"Статья {named[0]} Закона РК о банкротстве физических лиц."
    replaced = replace_article(text, question, random.Random(seed))
    assert replaced is None or replaced.new not in named


def test_hard_negatives_of_the_projects_own_rows():
    rows = records.read_records("combined_data/train.jsonl")[:300]
    made = prepare_pairs.replaced_pairs(rows, 10**6, seed=1)
    assert len(made) > 280 and made == prepare_pairs.replaced_pairs(rows, 10**6, seed=1)
    for row in made:
        cited = [
            [(c.act, c.article, c.paragraph, c.subparagraph) for c in parse_citations(answer)]
            for answer in (row.chosen, row.rejected)
        ]
        differing = {(a[:2], b[:2]) for a, b in zip(*cited) if a != b}
        ((old, new),) = differing
        assert old[0] == new[0] and len(cited[0]) == len(cited[1]) and row.why == ["replaced_article"]


# ---- The file


def test_pairs_are_written_and_read_back(tmp_path):
    file, origin = tmp_path / "pairs.jsonl", Origin("models/demo", "abc", "def")
    made = [pair(1), Pair("Вопрос", "Дело", "Да.", "Нет.", ["cut_off"], {"act": "x"})]
    pair_files.write_pairs(file, made, origin, {"num_pairs": 2})
    assert pair_files.read_pairs(file) == made and pair_files.read_origin(file) == origin
    assert json.loads((tmp_path / "pairs.json").read_text())["num_pairs"] == 2
    with open(file, "a") as more:
        more.write(records.to_line(pair(3).row))
    assert pair_files.read_origin(file) == Origin(None, None, None)  # not the pairs it speaks of


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rejected": None}, "line 2: field 'rejected' is not a string"),
        ({"rejected": " "}, "line 2: field 'rejected' is empty"),
        ({"chosen": ""}, "line 2: field 'chosen' is empty"),
        ({"chosen": "Нет. "}, "line 2: 'chosen' and 'rejected' are the same answer"),
        ({"why": "loop"}, "line 2: field 'why' is not a list of strings"),
    ],
)
def test_a_bad_pair_is_named(tmp_path, change, message):
    file = tiny.write_rows(tmp_path / "pairs.jsonl", [pair(1).row, {**pair(2).row, **change}])
    with pytest.raises(UserError, match="bad line") as error:
        pair_files.read_pairs(file)
    assert message in str(error.value) and "make them again" in str(error.value)


def test_no_file_and_no_pairs_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match="no such file; make the data with: python prepare_pairs.py"):
        pair_files.read_pairs(tmp_path / "pairs.jsonl")
    (tmp_path / "pairs.jsonl").write_text("")
    with pytest.raises(UserError, match="no rows in it; make the data with: python prepare_pairs.py"):
        pair_files.read_pairs(tmp_path / "pairs.jsonl")


@given(st.binary(max_size=200))
def test_any_bytes_are_pairs_or_one_line(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("fuzz") / "pairs.jsonl"
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        pair_files.read_pairs(file)
    assert "\n" not in str(error.value)


def test_a_pair_that_asks_a_validation_question_is_refused():
    validation = [{"instruction": "ВОПРОС  7!", "input": "", "output": "Да."}]
    pairs = [pair(number) for number in range(10)]
    with pytest.raises(UserError, match=r"pairs.jsonl: 1 pairs ask what a row of v.jsonl asks \(rows 8\)"):
        pair_files.check_not_validation(pairs, validation, "pairs.jsonl", "v.jsonl")
    pair_files.check_not_validation(pairs[:7], validation, "pairs.jsonl", "v.jsonl")


@given(st.lists(st.integers(0, 30), min_size=1), st.floats(0, 0.9), st.integers(0, 5))
def test_a_question_is_held_with_all_of_its_pairs(numbers, share, seed):
    held = pair_files.split_held([pair(number) for number in numbers], share, seed)
    of_question = dict(zip(numbers, held))
    assert held == [of_question[number] for number in numbers]
    assert sum(of_question.values()) == round(share * len(of_question))


def test_validation_rows_never_enter(tmp_path, capsys):
    rows = tiny.make_rows(12)
    config = {
        "train_file": tiny.write_rows(tmp_path / "t.jsonl", rows[:8]),
        "validation_file": tiny.write_rows(tmp_path / "v.jsonl", rows[6:]),
        "seed": 1,
    }
    drawn = prepare_pairs.read_rows(config)
    assert sorted(records.asked(row) for row in drawn) == sorted(map(records.asked, rows[:6]))
    assert "2 training rows ask what a validation row asks" in capsys.readouterr().err
