"""What counts as the same question and the same row. python -m pytest tests/test_duplicates.py"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legalqa.data import duplicates
from legalqa.data.duplicates import Comparison, alike, fingerprint, text_key

THRESHOLD = 0.8
LONG_ANSWER = "Заявление подают в суд по месту нахождения недвижимости в течение срока давности."
ANSWERS = (
    "Совет директоров решает это большинством голосов присутствующих.",
    "Нотариус выдаёт наследникам свидетельство.",
)


def compare(*rows):
    """(duplicate pairs, same-question pairs) of rows given as (question, answer)."""
    records = [{"instruction": question, "input": "", "output": answer} for question, answer in rows]
    comparison = Comparison(list(map(duplicates.record_key, records)), THRESHOLD)
    return comparison.duplicates(lambda steps: None), comparison.same_questions(
        range(len(rows)), lambda steps: None
    )


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("Что такое аренда по ГК?", "Что такое лизинг по ГК?", False),
        (
            "О чём говорит статья 28 Трудового кодекса Республики Казахстан?",
            "О чём говорит статья 29 Трудового кодекса Республики Казахстан?",
            False,
        ),
        (
            "Сколько дней длится ежегодный оплачиваемый отпуск у работника?",
            "сколько дней длится ежегодный  оплачиваемый отпуск у работника",
            True,
        ),
        (
            "Каков порядок исполнения решения суда?",
            "Каков порядок исполнения решений суда в Казахстане?",
            True,
        ),  # inflected
        ("Мұраны қабылдау мерзімі қандай?", "Қандай мұраны қабылдау мерзімі?", True),  # word order
        ("Ескіру мерзімін ұзартуға бола ма?", "Тексеру мерзімін ұзартуға бола ма?", False),
        ("Еңбек шартын кім жасайды?", "Еңбек шартын кiм жасайды?", True),  # Latin i for Cyrillic
        ("Ещё не поздно подать апелляцию?", "Еще не поздно подать апелляцию?", True),
    ],
)
def test_same_question(one, other, same):
    assert alike(fingerprint(text_key(one)), fingerprint(text_key(other)), THRESHOLD) is same
    assert compare((one, ANSWERS[0]), (other, ANSWERS[1])) == ([], [(0, 1)] if same else [])


def test_row_is_a_duplicate_only_if_its_answer_agrees():
    question = "Куда подавать иск о праве собственности на квартиру в Алматы?"
    reworded = "Куда подавать иск о праве собственности на квартиру в городе Алматы?"
    assert compare((question, LONG_ANSWER), (reworded, LONG_ANSWER.replace("подают", "подаётся"))) == (
        [(0, 1)],
        [(0, 1)],
    )
    assert compare((question, LONG_ANSWER), (reworded, ANSWERS[0])) == ([], [(0, 1)])
    assert compare((question, LONG_ANSWER + " 3 года"), (reworded, LONG_ANSWER + " 5 лет")) == ([], [(0, 1)])


def test_short_answers_prove_nothing():
    one = "Вправе ли работодатель по своей инициативе уволить беременную сотрудницу за прогул без причины?"
    assert compare((one, "Нет."), (one.replace("прогул", "опоздание"), "Нет")) == ([], [(0, 1)])
    assert compare((one, "Нет."), (one.upper(), "Нет")) == ([(0, 1)], [(0, 1)])


def test_one_answer_joins_questions_less_alike():
    one, other = "Кім сотта прокуратура атынан сөйлейді?", "Сотта прокуратура атынан кім қатысып сөз алады?"
    assert compare((one, LONG_ANSWER), (other, LONG_ANSWER)) == ([], [(0, 1)])
    assert compare((one, LONG_ANSWER), (other, ANSWERS[0])) == ([], [])


def test_a_template_is_not_one_question():
    terms = ["".join(random.Random(n).choices("абвгдежзиклмн", k=9)) for n in range(60)]
    rows = [
        (
            f"Объясни простыми и понятными словами, что в законе означает термин «{term}»",
            f"{term} значит {term[::-1]}",
        )
        for term in terms
    ]
    assert compare(*rows) == ([], [])
    assert compare(*rows[:5])[1]  # a handful are taken for one question reworded


def test_finds_what_comparing_all_pairs_finds():
    rng = random.Random(3407)
    vocabulary = ["".join(rng.choices("абвгдеикмнопрст", k=7)) for _ in range(300)]
    texts = []
    for _ in range(400):
        words = rng.choices(vocabulary, k=rng.randint(5, 25))
        texts += [
            " ".join(words),
            " ".join(rng.choice(vocabulary) if rng.random() < 0.06 else word for word in words),
        ]
    marks = list(dict.fromkeys(map(fingerprint, texts)))
    found = duplicates.similar_pairs(marks, THRESHOLD, lambda steps: None)
    expected = {
        (marks[i], marks[j])
        for j in range(len(marks))
        for i in range(j)
        if alike(marks[i], marks[j], THRESHOLD)
    }
    assert len(expected) > 100 and set(found) == expected and len(found) == len(expected)


def test_many_equal_rows_take_no_time_to_speak_of():
    records = [
        {
            "instruction": "Один и тот же вопрос?",
            "input": "",
            "output": f"слово{n} другое{n} третье{n} ещё{n}",
        }
        for n in range(3000)
    ]
    comparison = Comparison(list(map(duplicates.record_key, records)), THRESHOLD)
    assert comparison.duplicates(lambda steps: None) == []
    assert len(comparison.same_questions(range(3000), lambda steps: None)) == 2999


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_key_ignores_case_and_punctuation(text):
    assert text_key(f"«{text}»!") == text_key(text)
    assert text_key(text_key(text)) == text_key(text)


def test_groups():
    assert duplicates.join_groups(6, [(0, 1), (4, 3), (1, 5)]) == [0, 0, 2, 3, 3, 0]
