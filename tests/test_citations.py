"""The parser of legal references. Run: python -m pytest tests/test_citations.py"""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legalqa.law import acts
from legalqa.law.acts import act_title, article_exists
from legalqa.law.citations import act_key, citation_as_dict, parse_citations
from legalqa.law.tokens import Tokens
from legalqa.scoring.citation_scores import citation_pairs, matches, score_citations

FIXTURE = Path(__file__).with_name("fixtures") / "citations.jsonl"
KINDS = [
    json.loads(line) for line in FIXTURE.with_name("citation_kinds.jsonl").read_text("utf-8").splitlines()
]
PIECES = [
    "ст",
    ".",
    ",",
    "(",
    ")",
    "«",
    "»",
    '"',
    "1",
    "2",
    "28",
    "52-54",
    "65-1",
    "1)",
    "100",
    "–",
    "-",
    "№",
    "414-V",
    "п",
    "пп",
    "ч",
    "пункта",
    "части",
    "статьи",
    "статей",
    "и",
    "или",
    "кодекс",
    "Закон",
    "Закона",
    "заң",
    "заңның",
    "туралы",
    "о",
    "об",
    "РК",
    "ҚР",
    "ТК",
    "ЕК",
    "Трудового",
    "Республики",
    "Казахстан",
    "бап",
    "бабы",
    "баптар",
    "тармақ",
    "тармақша",
    "бірінші",
    "первой",
    "двадцать",
    "настоящего",
    "осы",
    "того",
    "же",
    "от",
    "2015",
    "года",
    "ноября",
    "жылғы",
    "далее",
    "Конституции",
    "договора",
    ";",
    ":",
    "!",
    "¹",
    "\n",
    "*",
    "Об",
    "образовании",
    "ст.ст.",
    "п.п.",
    "кодексінің",
    "Соцкодекс",
    "¹¹¹¹",
    "РФ",
    "Ресей",
    "этой",
    "статье",
    "бап 52",
    "б",
    "ЕКнің",
    "000",
    "тг",
    "старого",
    "с",
    "по",
    "восьмая",
    "елу",
    "екінші",
    "жүз",
    "…",
    "дейін",
    "баптан",
    "дополнить",
    "Коран",
    "Договора",
    "фз",
    "тк",
    "силу",
    "основной",
    "в редакции",
]


def found(text, context_act=None):
    """[(act, article, paragraph, subparagraph)] of a text."""
    return [(citation.act, *citation[2:5]) for citation in parse_citations(text, context_act)]


def test_fixture_precision_and_recall():
    """References in sentences of our own, marked by hand: at least 0.97 of each, every part counted."""
    hits = ours = theirs = 0
    for line in FIXTURE.read_text("utf-8").splitlines():
        row = json.loads(line)
        got, expected = Counter(found(row["text"])), Counter(map(tuple, row["citations"]))
        hits, ours, theirs = hits + (got & expected).total(), ours + got.total(), theirs + expected.total()
        if got != expected:
            print(
                row["text"],
                "\n  missed",
                list((expected - got).elements()),
                "\n  wrongly taken",
                list((got - expected).elements()),
            )
    print(f"precision {hits / ours:.4f} of {ours}, recall {hits / theirs:.4f} of {theirs}")
    assert theirs >= 200 and hits / ours >= 0.97 and hits / theirs >= 0.97


@pytest.mark.parametrize("kind", dict.fromkeys(row["kind"] for row in KINDS))
def test_kind(kind):
    """References as people write them, by kind; act "?": one that is named and is not in acts.json."""
    for row in KINDS:
        if row["kind"] == kind:
            got = [
                (citation.act or ("?" if act_key(citation.act_text or "") else None), *citation[2:5])
                for citation in parse_citations(row["text"])
            ]
            assert got == list(map(tuple, row["citations"])), row["text"]


@pytest.mark.parametrize(
    "text", ["ст. 1" + "¹" * 4301, "ст. 1-" + "9" * 5000, "от 1." + "1" * 5000 + ".2020, ст. 1"]
)
def test_number_without_end(text):
    assert [citation.article for citation in parse_citations(text)] == ["1"]


def test_this_article_in_a_quotation_is_the_quoted_one():
    text = "Статья 56 ТК РК: кроме случаев статьи 51 настоящего Кодекса и пункта 3 настоящей статьи."
    assert found(text) == [
        ("labor_code", "56", None, None),
        ("labor_code", "51", None, None),
        ("labor_code", "56", "3", None),
    ]


def test_matching_pairs_takes_linear_time():
    compared = [0]

    class Article(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared[0] += 1
            return str.__eq__(self, other)

    ours = {(None, Article(number)) for number in range(1000)}
    theirs = {("labor_code", Article(number)) for number in range(500, 1500)}
    assert matches(ours, theirs) == matches(theirs, ours) == 500
    assert compared[0] < 20_000


@pytest.mark.parametrize(
    "text, article",
    [
        ("статья 65-1 Предпринимательского кодекса РК", ["65-1"]),  # falling: a suffix
        (
            "статьи 10-11 Закона РК «О жилищных отношениях»",
            ["10-11"],
        ),  # rising, but that law has an article 10-11
        ("статьи 52-54 Трудового кодекса РК", ["52", "53", "54"]),
        ("статьи 115-118 ТК РК", ["115", "116", "118"]),  # 117 is excluded: inside a range only what exists
        ("статьи 54–52 ТК РК", ["54-52"]),  # no range, and no such article: for citation_exists to say so
        ("ст. 28¹ ТК", ["28-1"]),
        ("статьи 1-400 ГК РК", ["1", "400"]),  # too long to write out
    ],
)
def test_range_or_suffix(text, article):
    assert [citation.article for citation in parse_citations(text)] == article


@pytest.mark.parametrize(
    "text, act",
    [
        ("статья 405 Гражданского кодекса РК", "civil_code_general"),
        ("статья 406 Гражданского кодекса РК", "civil_code_special"),
        ("ҚР СК 208-бап", "tax_code"),
        ("ст. 208 СК РК", "social_code"),
        ("ст. 5 Закона № 94-V", "personal_data_law"),
        (
            "ст. 5 Закона РК от 15 мая 2007 года № 251-III «О нотариате»",
            None,
        ),  # not that law's number: another act
        ("ст. 5 Трудового кодекса РК от 15 мая 2007 года", None),
        ("ст. 5 ГК РФ", None),
        ("ст. 5 Закона «О нотариате и адвокатуре»", None),
        ("ст. 12 Конституции РК", "constitution"),
        ("ст. 12 Конституции РК 1995 года", "constitution_1995_repealed"),
        ("ст. 12 Кодекса РК от 25 декабря 2017 года № 120-VI", "tax_code_2017_repealed"),
        ("В соответствии с Трудовым кодексом, а именно статьёй 36", "labor_code"),
        ("Трудовой кодекс действует. Статья 36 важна", None),  # another sentence
        ("**Статья 28** Трудового кодекса", "labor_code"),  # Markdown
        ("Настоящий Кодекс: статья 5", None),
    ],
)
def test_act(text, act):
    assert [citation.act for citation in parse_citations(text)] == [act]


def test_act_from_context():
    assert found("статья 5 настоящего Кодекса") == [(None, "5", None, None)]
    assert found("статья 5 настоящего Кодекса", "labor_code") == [("labor_code", "5", None, None)]
    assert found("Осы Заңның 5-бабы", "notariat_law") == [("notariat_law", "5", None, None)]
    assert found("статья 9 настоящего Кодекса", "civil_code_special") == [
        ("civil_code_general", "9", None, None)
    ]


def test_place_and_text():
    text = "Итак, согласно п. 1 ст. 28 ТК РК (заключение), договор письменный."
    (citation,) = parse_citations(text)
    assert text[citation.start : citation.end] == citation.text == "п. 1 ст. 28 ТК РК"
    assert citation_as_dict(citation) == {
        "act": "labor_code",
        "act_text": "ТК РК",
        "article": "28",
        "paragraph": "1",
        "subparagraph": None,
        "text": "п. 1 ст. 28 ТК РК",
        "exists": True,
    }


def test_closing_bracket_is_not_part_of_the_reference():
    (citation,) = parse_citations("Можно (пп. 6) ст. 18 Закона о нотариате).")
    assert citation.text == "пп. 6) ст. 18 Закона о нотариате" and citation.subparagraph == "6"


def test_acts_file():
    known = acts.load_acts()
    assert len(known) == 34 and acts.ACTS_FILE.stat().st_size < 150_000
    assert {act["id"] for act in known.values() if not act["in_force"]} == {
        "constitution_1995_repealed",
        "tax_code_2017_repealed",
    }
    assert article_exists("labor_code", "28") is True
    assert article_exists("labor_code", "117") is False  # excluded
    assert article_exists("labor_code", "999") is False
    assert article_exists("tax_code_2017_repealed", "1") is None  # we have no list of its articles
    assert article_exists(None, "28") is None
    assert act_title("land_code", "kk") == "Қазақстан Республикасының Жер кодексі"
    for act_id in known:
        in_force, repealed = acts.articles_of(act_id)
        assert not in_force & repealed


@pytest.mark.parametrize(
    "prediction, reference, expected",
    [  # precision, recall, f1, exists, has
        ("статья 28 ТК РК", "ст. 28 Трудового кодекса", (1.0, 1.0, 1.0, 1.0, 1.0)),
        (
            "статья 28",
            "ст. 28 Трудового кодекса",
            (1.0, 1.0, 1.0, None, 1.0),
        ),  # no act on one side matches any
        ("статья 28 ГК РК", "ст. 28 Трудового кодекса", (0.0, 0.0, 0.0, 1.0, 1.0)),
        ("статьи 28 и 999 ТК РК", "ст. 28 и 33 ТК РК", (0.5, 0.5, 0.5, 0.5, 1.0)),
        ("статьи 28 и 30 ТК РК", "ст. 28 ТК РК", (0.5, 1.0, 2 / 3, 1.0, 1.0)),
        ("статья 28 ТК РК", "Так установлено законом.", (None, None, None, 1.0, 1.0)),
        ("Не знаю.", "ст. 28 ТК РК", (None, 0.0, 0.0, None, 0.0)),
        ("Не знаю.", "И я.", (None, None, None, None, 0.0)),
        ("Жер кодексінің 84-бабы", "ст. 84 ЗК РК", (1.0, 1.0, 1.0, 1.0, 1.0)),  # across languages
        ("ст. 95 Бюджетного кодекса РК", "ст. 95 Трудового кодекса", (0.0, 0.0, 0.0, None, 1.0)),
        ("ст. 95 Бюджетного кодекса РК", "Бюджетным кодексом, статьёй 95", (1.0, 1.0, 1.0, None, 1.0)),
        ("ст. 28", "ст. 28 ТК РК и ст. 28 ГК РК", (1.0, 0.5, 2 / 3, None, 1.0)),  # one to one
    ],
)
def test_scores_by_hand(prediction, reference, expected):
    names = ("citation_precision", "citation_recall", "citation_f1", "citation_exists", "has_citation")
    assert score_citations(prediction, reference) == pytest.approx(dict(zip(names, expected)))


def test_pairs_merge_a_reference_said_again_without_its_act():
    pairs = citation_pairs(
        parse_citations("Согласно ст. 28 ТК РК договор письменный. Статья 28 ясна. Статья 5.")
    )
    assert pairs == {("labor_code", "28"), (None, "5")}


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
        st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    )
)
def test_never_raises(text):
    for citation in parse_citations(text, "labor_code"):
        assert text[citation.start : citation.end] == citation.text
        assert citation.act is None or citation.act in acts.load_acts()
    scores = score_citations(text, "ст. 28 ТК РК")
    assert all(score is None or 0 <= score <= 1 for score in scores.values())


@settings(max_examples=100, deadline=None)
@given(
    *[
        st.lists(
            st.sampled_from(
                ("ст. 28 ТК РК.", "ст. 28.", "ст. 9 ГК РК.", "Ст. 5 Водного кодекса.", "28-бап.")
            ),
            max_size=6,
        ).map(" ".join)
    ]
    * 2
)
def test_precision_one_way_is_recall_the_other(a, b):
    one, other = score_citations(a, b), score_citations(b, a)
    if one["citation_precision"] is not None and other["citation_precision"] is not None:
        assert one["citation_precision"] == other["citation_recall"]
        assert one["citation_f1"] == other["citation_f1"]
    if citation_pairs(parse_citations(a)):
        assert score_citations(a, a)["citation_f1"] == 1


@pytest.mark.parametrize(
    "piece",
    [
        "ст. 1, ",
        "1, ",
        "1-",
        "(",
        "«",
        '"',
        "пп. 1, ",
        "ст. 1-100 ",
        "28-бап ",
        "1, 2 және ",
        "туралы заң ",
        "п. 3 этой же статьи ",
        "ЕК-нің 52, ",
        "двадцать ",
        "екі жүз ",
        "ст. 5 (кража), ",
        "Статья 5. Слово ",
        "ст. 5 «а» ",
        "РФ ТК, ",
        "2017 жылғы ",
        "по ТК РК. ",
        "5-баптан ",
        "осы баптың 1-тармағы ",
        "о ",
        "кодекса (",
        "Закона «о ",
        "№ 1-V ",
        "статьи 1 (",
        "подпункты 1) - 90) пунктов 1-90 статей 1-90 ",
        "и ",
        "ТК РК ",
        "бірінші, ",
        "того же Закона ",
        "ст. 5 и ",
    ],
)
def test_linear_time(piece, monkeypatch):
    """Twice the text takes twice the steps, whatever is repeated (steps: tokens looked at)."""
    steps, look = [0], Tokens.at

    def counting(tokens, i):
        steps[0] += 1
        return look(tokens, i)

    monkeypatch.setattr(Tokens, "at", counting)

    def count(size):
        steps[0] = 0
        parse_citations("1 " + (piece * (size // len(piece) + 1))[:size])
        return steps[0]

    small = count(5_000)
    assert count(10_000) < 2.1 * small + 200
