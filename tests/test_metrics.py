"""Metrics worked by hand, in Russian and Kazakh. Run: python -m pytest tests/test_metrics.py"""

import functools
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legalqa.errors import UserError
from legalqa.law.words import detect_language
from legalqa.scoring import metrics
from legalqa.scoring.metric_table import METRICS

RECORD = {"instruction": "Каков срок испытания?", "input": "", "output": "Три месяца, по статье 36 ТК РК."}
TEXTS = st.lists(
    st.sampled_from(
        [
            "срок",
            "договор",
            "статья",
            "28",
            "28-бап",
            "жұмыс",
            "беруші",
            "—",
            "«Әділет»",
            "№",
            "375-V",
            "офлайн.",
            "офлайн",
            "ст.",
            "ТК",
            "РК",
            "Да,",
            "нет;",
            "қаңтар",
            "ё́",
            "й",
            "й",
            ",",
        ]
    ),
    max_size=25,
).map(" ".join)


@pytest.mark.parametrize(
    "prediction, reference, expected",
    [
        (
            "Чтобы охватить разные категории пользователей — онлайн и офлайн.",
            "Чтобы обеспечить доступность информации как онлайн, так и офлайн.",
            1 / 3,
        ),  # published example
        ("Иә, болады.", "иә, БОЛАДЫ.", 1.0),
        ("жер жер жер", "жер учаскесі", 2 / 3),  # sets: the repeats do not count
        ("офлайн.", "офлайн", 0.0),  # punctuation belongs to the token
        ("", "текст", 0.0),
        ("", "", 0.0),
    ],
)
def test_token_f1(prediction, reference, expected):
    assert metrics.token_f1(prediction, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    "prediction, reference, expected",
    [(" Он бес күн. ", "он БЕС күн.", 1.0), ("Он бес күн", "Он бес күн.", 0.0), ("", "", 1.0)],
)
def test_exact_match(prediction, reference, expected):
    assert metrics.exact_match(prediction, reference) == expected


@pytest.mark.parametrize(
    "prediction, reference, expected",
    [
        (
            "Статья 28, срок 15 дней",
            "Срок по статье 28 — 15 дней",
            1.0,
        ),  # 2 of 2 numbers, 1 of 1 terms («срок»)
        ("За 15 дней", "Договор: 15 дней, 30 дней", (1 / 2 + 0 / 1) / 2),
        (
            "суд",
            "Суд принял решение по иску",
            (1.0 + 1 / 3) / 2,
        ),  # no numbers: 1; суд, решение and, inside «иску», иск
        ("28-бап бойынша", "28-бап, 3 күн", (1 / 2 + 1.0) / 2),  # no Kazakh terms are known
        ("что угодно", "да", 1.0),  # nothing to have
    ],
)
def test_key_info(prediction, reference, expected):
    assert metrics.key_info(prediction, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    "prediction, reference, expected",
    [
        ("раз два три", "раз два три четыре", 3 / 4),
        ("раз два три четыре", "раз два три", 3 / 4),
        ("", "раз", 0.0),
        ("раз", "", 0.0),
        ("бір екі", "үш төрт", 1.0),
    ],
)
def test_length_ratio(prediction, reference, expected):
    assert metrics.length_ratio(prediction, reference) == pytest.approx(expected)


def test_length_ratio_equals_the_published_values_to_the_last_bit():
    assert metrics.length_ratio("а " * 9, "а " * 7) == 0.7777777777777777  # not 7 / 9 = 0.7777777777777778


@pytest.mark.parametrize(
    "prediction, reference, expected",
    [
        ("Офлайн.", "«офлайн»", 1.0),
        ("жер жер жер", "жер учаскесі", 2 * 1 / 5),  # multiset
        ("52-бабына сәйкес", "52 бабына", 2 * 2 / 5),  # a hyphen is a gap: the number stays
        ("и\u0306од", "йод", 1.0),  # decomposed й
        ("ӘДІЛЕТ", "әділет", 1.0),
        ("№ 375-V", "375-v", 1.0),
        ("—", "—", 0.0),
    ],
)
def test_word_f1(prediction, reference, expected):
    assert metrics.word_f1(prediction, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    "prediction, reference, expected",
    [
        ("Жұмыс беруші шартты бұзады", "Жұмыс беруші келісімді бұзады", 3 / 4),
        ("срок договор", "договор срок", 1 / 2),
        ("Қайта қарау", "иное дело", 0.0),
        ("", "", 0.0),
    ],
)
def test_rouge_l_sees_cyrillic(prediction, reference, expected):
    assert metrics.rouge_l(prediction, reference) == pytest.approx(expected)


class WordTokenizer:
    def tokenize(self, text):
        return metrics.words(text)


@functools.cache
def rouge_scorer():
    from rouge_score.rouge_scorer import RougeScorer  # here: imports nltk and scipy, most of a second

    return RougeScorer(["rougeL"], tokenizer=WordTokenizer())


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_rouge_l_is_rouge_scores(a, b):
    assert metrics.rouge_l(a, b) == pytest.approx(rouge_scorer().score(b, a)["rougeL"].fmeasure)


def test_chrf_is_sacrebleus_as_a_fraction():
    assert metrics.chrf("шарт", "шарт") == pytest.approx(1.0)
    assert metrics.chrf("шартты", "шартта") == pytest.approx(
        metrics.chrf_scorer().sentence_score("шартты", ["шартта"]).score / 100
    )
    assert 0.4 < metrics.chrf("шартты", "шартта") < 1 and metrics.chrf("abc", "шарт") == 0


@pytest.mark.parametrize(
    "question, language",
    [
        ("Какой срок?", "ru"),
        ("Қандай мерзім?", "kk"),
        ("Что такое ӘҚБтК?", "kk"),
        ("Одан не болады?", "ru"),
        ("", "ru"),
    ],
)
def test_detect_language(question, language):
    assert detect_language(question) == language


@pytest.mark.parametrize(
    "prediction, language, wrong",
    [
        ("Работодатель обязан выплатить зарплату в срок.", "ru", False),
        ("Работодатель обязан выплатить зарплату в срок.", "kk", True),
        ("Да, можно и без согласия.", "kk", True),  # short, but «и» is no Kazakh word
        ("Жұмыс беруші жалақыны уақытында төлейді.", "ru", True),
        ("Жұмыс беруші жалақыны уақытында төлейді.", "kk", False),
        ("Мемлекет атынан.", "kk", False),  # Kazakh without one Kazakh letter
        ("Обратитесь в акимат района Түркістан города Шымкент с заявлением и документами.", "ru", False),
        ("The employer shall pay.", "ru", True),
        ("15", "ru", None),
        ("", "kk", None),
    ],
)
def test_wrong_language(prediction, language, wrong):
    assert metrics.is_wrong_language(prediction, language) is wrong


@pytest.mark.parametrize(
    "prediction, repetitive",
    [
        ("Согласно закону срок составляет месяц. " * 6, True),
        ("Согласно закону срок составляет месяц.", False),
        ("да " * 10, False),  # under 20 words
        ("аааааааааааааааааааа", True),
        (
            "Работник вправе расторгнуть договор, предупредив работодателя за месяц; работодатель вправе "
            "отпустить его раньше, "
            "если стороны согласны, а по истечении срока работник может прекратить работу.",
            False,
        ),
        ("________________________", False),
        ("", False),
    ],
)
def test_repetition(prediction, repetitive):
    assert metrics.is_repetitive(prediction) is repetitive


def test_score_sample():
    scored = metrics.score_sample(RECORD, "По статье 36 ТК РК три месяца.", cut_off=False)
    scores = scored["scores"]
    assert list(scores) == list(METRICS) and scored["language"] == "ru"
    # tokens: {по статье 36 тк рк три месяца.} and {три месяца, по статье 36 тк рк.}: 5 shared of 7 and 7
    assert scores["token_f1"] == pytest.approx(5 / 7)
    assert scores["key_info"] == 1.0 and scores["length_ratio"] == 1.0
    assert scores["overall"] == pytest.approx(0.5 * 5 / 7 + 0.3 + 0.2)
    assert scores["word_f1"] == 1.0 and scores["citation_f1"] == 1.0 and scores["cut_off_rate"] == 0.0
    assert [citation["article"] for citation in scored["citations"]["prediction"]] == ["36"]
    empty = metrics.score_sample(RECORD, "")["scores"]
    assert (
        empty["empty_rate"] == 1.0 and empty["cut_off_rate"] is None and empty["wrong_language_rate"] is None
    )
    assert metrics.score_sample(RECORD, "<think>\nИтак</think> Три.")["scores"]["think_leak_rate"] == 1.0


def test_sample_ids_tell_repeats_apart():
    other = {**RECORD, "output": "Иначе."}
    first, second, third, fourth = metrics.sample_ids([RECORD, other, RECORD, dict(RECORD)])
    assert first == metrics.sample_id(RECORD) and len(first) == 16 and second != first
    assert (third, fourth) == (first + "-1", first + "-2")
    assert metrics.sample_id({"instruction": "а", "output": "б"}) == metrics.sample_id(
        {"instruction": "а", "input": "", "output": "б"}
    )


def test_score_predictions():
    (sample,) = metrics.score_predictions([{**RECORD, "prediction": "Три месяца.", "seen_article": True}])
    assert (
        sample["seen_article"] is True
        and sample["cut_off"] is None
        and sample["reference"] == RECORD["output"]
    )
    with pytest.raises(UserError, match="answers.jsonl: row 2 has no text in prediction"):
        metrics.score_predictions([{**RECORD, "prediction": "а"}, RECORD], "answers.jsonl")
    with pytest.raises(UserError, match="no rows to score"):
        metrics.score_predictions([])


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_scores_are_fractions_and_symmetric_where_they_should_be(a, b):
    for name, score in metrics.score_sample({**RECORD, "output": b}, a)["scores"].items():
        assert score is None or 0 <= score <= 1, name
    for metric in (metrics.token_f1, metrics.exact_match, metrics.word_f1, metrics.rouge_l):
        assert metric(a, b) == pytest.approx(metric(b, a)), metric.__name__
    assert metrics.length_ratio(a, b) == pytest.approx(metrics.length_ratio(b, a))


@settings(max_examples=100, deadline=None)
@given(TEXTS.filter(lambda text: any(letter.isalnum() for letter in text)))
def test_identity_is_one(text):
    scores = metrics.score_sample({**RECORD, "output": text}, text)["scores"]
    for name in (
        "token_f1",
        "exact_match",
        "key_info",
        "length_ratio",
        "overall",
        "rouge_l",
        "chrf",
        "word_f1",
    ):
        assert scores[name] == pytest.approx(1.0), name
    assert scores["citation_f1"] in (None, 1.0)


def test_imports_are_light():
    code = (
        "import sys, legalqa.scoring.metrics, legalqa.scoring.statistics, legalqa.law.citations\n"
        "print([name for name in ('torch', 'numpy', 'scipy', 'sacrebleu') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=metrics.__file__.rsplit("/", 3)[0]
    )
    assert done.stdout.strip() == "[]", done.stderr
