"""The search in the law: an invented law of a park, and one of boats that has no Kazakh text."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from legalqa.errors import UserError
from legalqa.law import glossary, search
from legalqa.law.glossary import law_words, learn_translations, load_pairs, stand_ins, translate
from legalqa.law.passages import AskedQuestion, asked_questions, question_of
from legalqa.law.search import LawIndex, nearest_paragraphs
from legalqa.law.words import detect_language, forms, stem, words_of

PARK_RU = {
    "1": ("Основные понятия", "1) парк – участок города с деревьями;\n2) сторож – работник парка."),
    "2": (
        "Обязанности посетителя",
        "1. Посетитель обязан:\n1) беречь деревья и скамьи;\n2) уносить мусор с собой;\n"
        "3) держать собаку на поводке.\n2. Посетитель вправе отдыхать на траве.",
    ),
    "3": ("Расторжение трудового договора со сторожем", "Сторож предупреждается за десять дней."),
    "3-1": ("Заработная плата сторожа", "Заработная плата сторожа выплачивается каждую неделю."),
    "4": ("Утратила силу", ""),
}
PARK_KK = {
    "1": ("Негізгі ұғымдар", "1) саябақ – қаланың ағаштары бар учаскесі;\n2) күзетші – саябақ қызметкері."),
    "2": (
        "Келушінің міндеттері",
        "1. Келуші:\n1) ағаштар мен орындықтарды қорғауға;\n2) қоқысты өзімен алып кетуге;\n"
        "3) итті қарғыбаумен ұстауға міндетті.\n2. Келуші шөпте демалуға құқылы.",
    ),
    "3": ("Күзетшімен еңбек шартын бұзу", "Күзетшіге он күн бұрын ескертіледі."),
    "3-1": ("Күзетшінің жалақысы", "Күзетшінің жалақысы апта сайын төленеді."),
}
BOATS_RU = {
    "1": ("Прокат лодок", "Лодка выдается на один час."),
    "2": ("Заработная плата лодочника", "Заработная плата лодочника зависит от погоды."),
    "52": ("Зимовка лодок", "Зимой лодки хранятся в сарае."),
    "53": ("Перекрестное правило", "Правило статьи 52 применяется летом. Статья 52, статья 52, статья 52."),
}


def write_act(folder, name, articles):
    lines = [
        json.dumps({"article": number, "title": title, "text": text, "chapter": ""}, ensure_ascii=False)
        for number, (title, text) in articles.items()
    ]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture
def law_dir(tmp_path):
    folder = tmp_path / "law"
    folder.mkdir()
    write_act(folder, "park_law.ru", PARK_RU)
    write_act(folder, "park_law.kk", PARK_KK)
    write_act(folder, "labor_code.ru", BOATS_RU)  # a name that questions can give: Трудовой кодекс, ТК
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    for name, act in (("park_law.ru", PARK_RU), ("park_law.kk", PARK_KK), ("labor_code.ru", BOATS_RU)):
        write_act(folder, name, act)
    return LawIndex.load_or_build(folder)


def keys(passages):
    return [(passage.act, passage.article) for passage in passages]


# ---------------------------------------------------------------- what is found


@pytest.mark.parametrize(
    "question, expected",
    [
        ("Можно ли гулять с собакой без поводка?", ("park_law", "2")),
        ("Здравствуйте! Подскажите, пожалуйста, в парке есть деревья?", ("park_law", "1")),
        ("Сторожа уволили, за сколько дней предупреждают?", ("park_law", "3")),  # уволить: расторжение
        ("Как платят зарплату сторожу?", ("park_law", "3-1")),  # зарплата: заработная плата
        ("Иттің қарғыбауы керек пе?", ("park_law", "2")),
        ("Күзетшінің айлығы қашан төленеді?", ("park_law", "3-1")),  # айлық: жалақы
    ],
)
def test_finds_the_article(index, question, expected):
    assert keys(index.search(question, 1)) == [expected]


def test_everyday_word_alone_finds_the_laws_term(index):
    """No letter of «зарплата» beyond the first three is in «заработная плата»."""
    assert set(keys(index.search("Зарплата?", 2))) == {("park_law", "3-1"), ("labor_code", "2")}


def test_passage_has_the_texts_language_title_and_nearest_paragraphs(index):
    (passage,) = index.search("Нужен ли собаке поводок?", 1)
    assert passage.language == "ru" and passage.title == "Обязанности посетителя"
    assert passage.text == "1. Посетитель обязан:\n3) держать собаку на поводке."
    (passage,) = index.search("Итке қарғыбау керек пе?", 1)
    assert passage.language == "kk" and passage.title == "Келушінің міндеттері"
    assert "қарғыбаумен" in passage.text and passage.text.startswith("1. Келуші:")


def test_kazakh_question_finds_an_act_that_has_only_russian_text(index):
    passages = index.search("Ақ кеме мен жалақы туралы не айтылған?", 4)
    assert ("labor_code", "2") in keys(passages)  # жалақы: заработная плата, learned or by hand
    russian = next(passage for passage in passages if passage.act == "labor_code")
    assert russian.language == "ru"


def test_named_act_comes_before_others(index):
    assert keys(index.search("Заработная плата сторожа", 1)) == [("park_law", "3-1")]
    assert keys(index.search("Заработная плата сторожа по Трудовому кодексу РК", 1)) == [("labor_code", "2")]


def test_cited_article_comes_first_and_its_number_is_no_word(index):
    passages = index.search("Что говорит статья 52 ТК РК?", 3)
    assert keys(passages)[0] == ("labor_code", "52") and passages[0].score >= 2


def test_article_without_text_is_not_found(index):
    assert ("park_law", "4") not in keys(index.search("Утратила силу", 10))


def test_as_many_as_asked_best_first(index):
    passages = index.search("заработная плата сторожа парка", 3)
    scores = [passage.score for passage in passages]
    assert len(passages) == 3 and scores == sorted(scores, reverse=True) and scores[0] == pytest.approx(1)
    assert index.search("заработная плата", 0) == []


# ---------------------------------------------------------------- questions asked before


def test_question_asked_before_brings_its_article(law_dir):
    question = "Сколько стоит покататься по воде?"
    assert ("labor_code", "1") not in keys(LawIndex.load_or_build(law_dir).search(question, 1))
    asked = [AskedQuestion(question, "labor_code", "1"), AskedQuestion("Что-то иное", "no_such_act", "1")]
    index = LawIndex.load_or_build(law_dir, asked)
    assert keys(index.search(question, 1)) == [("labor_code", "1")]
    assert keys(index.search("Нужен ли собаке поводок?", 1)) == [("park_law", "2")]


def test_asked_questions_are_those_whose_answers_cite_an_article():
    rows = [
        {"instruction": "Как уволить?", "input": "", "output": "По статье 52 Трудового кодекса РК."},
        {
            "instruction": "Ответь.",
            "input": "Что это?",
            "output": "Статья 1 и статья 2 ТК РК, статья 1 ТК РК.",
        },
        {"instruction": "А это?", "output": "Не знаю."},
    ]
    assert asked_questions(rows) == [
        ("Как уволить?", "labor_code", "52"),
        ("Ответь.\nЧто это?", "labor_code", "1"),
        ("Ответь.\nЧто это?", "labor_code", "2"),
    ]
    assert question_of(rows[2]) == "А это?"


# ---------------------------------------------------------------- made, kept, made anew


def test_loaded_index_gives_what_the_built_one_gave(law_dir, monkeypatch):
    questions = ["Нужен ли собаке поводок?", "Күзетшінің айлығы", "статья 52 ТК", "заработная плата"]
    asked = [AskedQuestion("Где собака?", "park_law", "2")]
    built = LawIndex.load_or_build(law_dir, asked)
    before = [built.search(question, 5) for question in questions]
    monkeypatch.setattr(search, "build", None)  # it is not called again
    loaded = LawIndex.load_or_build(law_dir, asked)
    assert loaded.sha256 == built.sha256
    assert [loaded.search(question, 5) for question in questions] == before


def test_the_same_texts_give_the_same_index(law_dir, tmp_path):
    other = tmp_path / "elsewhere"
    shutil.copytree(law_dir, other)
    one, two = LawIndex.load_or_build(law_dir), LawIndex.load_or_build(other)
    assert one.sha256 == two.sha256 and one.vocabulary == two.vocabulary
    assert np.array_equal(one.paragraphs.scores["data"], two.paragraphs.scores["data"])


def test_made_anew_when_a_text_or_a_question_changes(law_dir):
    first = LawIndex.load_or_build(law_dir)
    write_act(law_dir, "labor_code.ru", {**BOATS_RU, "60": ("Маяк", "Маяк горит ночью.")})
    second = LawIndex.load_or_build(law_dir)
    assert keys(second.search("Когда горит маяк?", 1)) == [("labor_code", "60")]
    third = LawIndex.load_or_build(law_dir, [AskedQuestion("Маяк?", "labor_code", "60")])
    (law_dir / "labor_code.ru.jsonl").unlink()
    fourth = LawIndex.load_or_build(law_dir)
    assert len({first.sha256, second.sha256, third.sha256, fourth.sha256}) == 4
    assert all(act == "park_law" for act, _ in keys(fourth.search("заработная плата", 10)))


def test_a_build_that_dies_is_begun_again(law_dir, monkeypatch):
    before = LawIndex.load_or_build(law_dir)
    write_act(law_dir, "park_law.ru", {"1": ("Новое", "Новый текст.")})
    monkeypatch.setattr(search, "learn_translations", lambda pairs: os.kill(os.getpid(), 0) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        LawIndex.load_or_build(law_dir)
    assert search.saved_sha256(law_dir / search.INDEX_FOLDER) == before.sha256  # the old one is whole
    monkeypatch.undo()
    assert keys(LawIndex.load_or_build(law_dir).search("Новый текст", 1)) == [("park_law", "1")]


def test_bad_folders_are_named(tmp_path, law_dir):
    with pytest.raises(UserError, match="no texts of acts in .*prepare_law.py"):
        LawIndex.load_or_build(tmp_path / "nothing")
    (law_dir / "park_law.kk.jsonl").write_text('{"article": "1"}\n', "utf-8")
    with pytest.raises(UserError, match="park_law.kk.jsonl:1: not an article"):
        LawIndex.load_or_build(law_dir)
    write_act(law_dir, "park_law.kk", {"4": ("Күшін жойды", "")})
    for name in ("park_law.ru", "labor_code.ru"):
        (law_dir / f"{name}.jsonl").unlink()
    with pytest.raises(UserError, match="no article with text"):
        LawIndex.load_or_build(law_dir)


def test_import_is_light():
    code = "import legalqa.law.search, sys; print({'torch', 'scipy', 'bm25s', 'Stemmer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "set()", done.stderr


# ---------------------------------------------------------------- odd questions


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.integers(-1, 20))
def test_any_question_gives_passages(index, question, k):
    passages = index.search(question, k)
    assert len(passages) <= max(k, 0) and len(set(keys(passages))) == len(passages)
    assert all(passage.text and passage.score > 0 for passage in passages)


@pytest.mark.parametrize("question", ["", " ", "?", "😀", "я", "ы", "и в на", "\ud800", "0", "1-1-1", "\x00"])
def test_a_question_without_words_of_the_law_finds_nothing(index, question):
    assert index.search(question, 5) == []


def test_very_long_question(index):
    assert keys(index.search("собака на поводке " * 100_000, 1)) == [("park_law", "2")]


# ---------------------------------------------------------------- words


def test_forms_join_what_the_stems_do_not():
    assert set(forms("уволить", "ru")) & set(forms("увольнение", "ru"))
    assert set(forms("жалақысын", "kk")) & set(forms("жалақыдан", "kk"))
    assert stem("тоо", "ru") == "тоо"
    assert stem("куәліктеріңізден", "kk") == stem("куәлік", "kk")
    assert words_of("Статья 34-1: ЕЩЁ раз!") == ["статья", "34-1", "еще", "раз"]
    assert detect_language("Қайда?") == "kk" and detect_language("Где?") == "ru"


@given(st.text(alphabet="абвгқңөұүіәғһы", min_size=1, max_size=30), st.sampled_from(["ru", "kk"]))
def test_stem_is_a_beginning_that_is_not_empty(word, language):
    found = stem(word, language)
    assert found and (language == "ru" or word.startswith(found))


def test_pairs_file_has_what_it_should():
    pairs = load_pairs()
    assert len(pairs.everyday["ru"]) + len(pairs.everyday["kk"]) >= 250 and len(pairs.kazakh_russian) >= 200
    assert {"здравствуйте", "пожалуйста", "сәлеметсіз"} <= pairs.stop_words
    data = json.loads(glossary.PAIRS_FILE.read_text("utf-8"))
    for name in ("everyday_ru", "everyday_kk", "kazakh_russian"):
        assert list(data[name]) == sorted(data[name])
        assert all(words_of(key) and words_of(value) for key, value in data[name].items())
    assert not [value for value in data["kazakh_russian"].values() if detect_language(value) == "kk"]


def test_law_words_weigh_less_than_the_questions_own():
    words = law_words("Скажите, когда дадут зарплату?", "ru")
    assert words["зарплату"] == 1 and words["заработная"] == glossary.EVERYDAY_WEIGHT
    assert "скажите" not in words and "когда" not in words


def test_stand_ins_are_of_whole_runs_of_words():
    table = {("отпуск", "за", "сво", "счет"): ["без", "сохранения"]}
    assert stand_ins(words_of("дают отпуск за свой счёт"), "ru", table) == ["без", "сохранения"]
    assert stand_ins(words_of("отпуск, и счёт за свой"), "ru", table) == []


# ---------------------------------------------------------------- learned translations


def test_translations_are_learned_from_paragraphs_side_by_side():
    pairs = [
        ("қала саябағы", "городской парк"),
        ("қала бюджеті", "городской бюджет"),
        ("саябақ күзетшісі", "сторож парка"),
        ("бюджет күзетшісі", "сторож бюджета"),
        ("12", "12"),
    ]
    learned = learn_translations(pairs)
    assert learned[stem("қала", "kk")][0][0] == "городской"
    assert learned[stem("күзетшісі", "kk")][0][0] == "сторож"
    assert all(0 < share <= 1 for found in learned.values() for _, share in found)
    assert "12" not in learned and learn_translations([]) == {}
    assert learn_translations(pairs) == learned


def test_translate_adds_pairs_by_hand_and_keeps_numbers():
    russian = translate("құқық бұзушылық 34-1", {"34-1": 1.0, "саябақ": 1.0}, {"саябақ": [("парк", 0.8)]})
    assert russian["правонарушение"] == glossary.HAND_WEIGHT and russian["34-1"] == 1
    assert russian.get("парк", 0.8) == 0.8


# ---------------------------------------------------------------- paragraphs of a passage


def test_nearest_paragraphs():
    paragraphs = ["1. Обязан:", "1) беречь;", "2) уносить.", "2. Вправе сидеть.", "3. Вправе стоять."]
    pick = lambda *scores: nearest_paragraphs(paragraphs, np.array(scores, np.float32))  # noqa: E731
    assert pick(0, 1, 9, 1, 1) == "1. Обязан:\n2) уносить."
    assert pick(0, 0, 0, 4, 3) == "2. Вправе сидеть.\n3. Вправе стоять."
    assert pick(0, 0, 0, 4, 1) == "2. Вправе сидеть."
    assert pick(0, 0, 0, 0, 0) == "1. Обязан:"
    assert nearest_paragraphs(["Одна."], np.array([0.0])) == "Одна."
