"""Texts of acts in every form to law/, the list that citations are checked against."""

import json
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import benchmark
import chat
import generate_report
import prepare_law
from legalqa.errors import UserError
from legalqa.law import acts, documents, identity, texts
from legalqa.law.citations import parse_citations

LAW = Path(__file__).parent / "fixtures" / "law"  # an invented act, 20 articles in Russian and in Kazakh
GARDEN = "law_2024_9001"
RED_MARKS = (
    "Примечание ИЗПИ",
    "Порядок введения",
    "В статью 8",
    "Сноска",
    "ЗҚАИ",
    "Осы Заңның қолд",
    "8-бапқа",
    "Ескерту.",
)


@pytest.fixture(autouse=True)
def built_in_list():
    yield
    acts.use("no such folder")


@pytest.fixture
def run(tmp_path, capsys):
    """run(source, "--flag") -> (exit code, stdout); law/ is below tmp_path."""

    def run(*arguments):
        code = prepare_law.main([*map(str, arguments), "--law-dir", str(tmp_path / "law")])
        return code, capsys.readouterr().out

    return run


def expected(language):
    return [
        json.loads(line)
        for line in (LAW / "expected" / f"{GARDEN}.{language}.jsonl").read_text("utf-8").splitlines()
    ]


def as_records(text):
    return [json.loads(article.as_json()) for article in text.articles]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return path


def paragraphs_of(language):
    """The act's paragraphs, as its TXT has them."""
    return documents.read_document(LAW / f"garden_law.{language}.txt").paragraphs


def make_docx(path, language):
    import docx
    from docx.shared import RGBColor

    document, rows = docx.Document(), []
    for text, _ in [*paragraphs_of(language), ("", False)]:
        if " | " in text:
            rows.append(text.split(" | "))
            continue
        if rows:
            table = document.add_table(len(rows), 2)
            for row, cells in zip(table.rows, rows):
                for cell, words in zip(row.cells, cells):
                    cell.text = words
            rows = []
        run = document.add_paragraph().add_run(f"\n\xa0\xa0\xa0\xa0\xa0\xa0{text}")
        if text.startswith(RED_MARKS):
            run.font.color.rgb = RGBColor(255, 0, 0)
    document.save(path)


def make_pdf(path, language, lines_of_a_page=40):
    """Pages of wrapped lines with a header and a page number; the first line of a paragraph is indented."""
    lines = []
    for text, _ in paragraphs_of(language):
        indent = "" if texts.headings.is_heading(text) else "      "
        lines += textwrap.wrap(
            indent + text, 70, drop_whitespace=True, break_on_hyphens=False, initial_indent=indent
        )
    pages = [lines[n : n + lines_of_a_page] for n in range(0, len(lines), lines_of_a_page)]
    write_pages(path, [["ИПС «Әділет»", *page, str(number)] for number, page in enumerate(pages, 1)])


def write_pages(path, pages):
    import matplotlib
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"pdf.fonttype": 42}), PdfPages(path) as pdf:
        for page in pages:
            figure = Figure(figsize=(8, 11))
            for number, line in enumerate(page):
                figure.text(0.05, 0.98 - number / 45, line, fontsize=9)
            pdf.savefig(figure)


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize(
    "form, language",
    [
        *((form, language) for form in ("txt", "html", "docx", "jsonl") for language in ("ru", "kk")),
        pytest.param("pdf", "ru", marks=pytest.mark.slow),  # drawing one takes seconds
        ("pdf", "kk"),
    ],
)
def test_every_form_gives_the_same_articles(form, language, tmp_path):
    path = LAW / f"garden_law.{language}.{form}"
    if form in ("docx", "pdf"):
        path = tmp_path / path.name
        {"docx": make_docx, "pdf": make_pdf}[form](path, language)
    if form == "jsonl":
        text = texts.read_articles(LAW / "expected" / f"{GARDEN}.{language}.jsonl")
    else:
        text = texts.find_articles(documents.read_document(path))
    assert as_records(text) == expected(language)
    assert (text.language, text.odd) == (language, [])


def test_what_the_invented_act_is_there_to_show():
    articles = {record["article"]: record for record in expected("ru")}
    assert list(articles) == [*map(str, range(1, 8)), "7-1", *map(str, range(8, 20))]
    assert articles["12"]["repealed"] and not articles["12"]["text"]
    assert articles["7-1"]["amended"] == "2025-05-05"
    assert "Законом РК от 11.11.2025" in articles["8"]["pending"] and "amended" not in articles["8"]
    assert "\nдо 50 000 | 2\n" in articles["5"]["text"]
    assert "Примечание. Здоровым признается" in articles["10"]["text"]  # the law's own, no editor's
    assert "3) исключен" in articles["1"]["text"] and "Сноска" not in articles["1"]["text"]
    assert articles["13"]["text"].endswith("1 февраля.")  # the chapter after it is no part of it
    assert articles["19"]["text"].count("\n") == 0  # nor are the signature and the annex


def read_text(tmp_path, text, name="act.txt"):
    return texts.find_articles(documents.read_document(write(tmp_path / name, text)))


def test_windows_1251_and_utf16(tmp_path):
    source = (LAW / "garden_law.ru.txt").read_text("utf-8")
    for encoding in ("cp1251", "utf-16"):
        path = tmp_path / f"{encoding}.txt"
        path.write_bytes(source.encode(encoding))
        assert as_records(texts.find_articles(documents.read_document(path))) == expected("ru")


def test_contents_before_the_act(tmp_path):
    contents = "\n".join(f"Статья {record['article']}. {record['title']}" for record in expected("ru"))
    source = (
        (LAW / "garden_law.ru.txt").read_text("utf-8").replace("СОДЕРЖАНИЕ.", f"СОДЕРЖАНИЕ\n\n{contents}\n")
    )
    text = read_text(tmp_path, source)
    assert as_records(text) == expected("ru") and not text.odd


def test_headings_out_of_order_stay_in_the_text_and_are_named(tmp_path):
    text = read_text(
        tmp_path,
        "".join(
            f"Статья {n}. Имя\n\n      Текст статьи, достаточно длинный для нее.\n\n" for n in (1, 2, 4, 2, 5)
        ),
    )
    assert [article.number for article in text.articles] == ["1", "2", "4", "5"]
    assert text.odd == ["no article: 3", "heading out of order: 2"]
    assert "Статья 2. Имя" in text.articles[2].text


@pytest.mark.parametrize(
    ("source", "title", "repealed"),
    [
        ("Статья 1. Исключена Законом РК от 05.05.2025 № 10-VIII.", "", True),
        ("Статья 1 исключена Законом РК от 05.05.2025 № 10-VIII.", "", True),
        ("Статья 1. Имя\n\n      Утратила силу Законом РК от 05.05.2025 № 10-VIII.", "Имя", True),
        ("1-бап. Алып тасталды – ҚР 05.05.2025 № 10-VIII Заңымен.", "", True),
        (
            "1-бап. Атауы\n\n      Ескерту. 1-баптың күші жойылды – ҚР 05.05.2025 № 10-VIII Заңымен.",
            "Атауы",
            True,
        ),
        (
            "Статья 1. Имя\n\n      Сноска. Из нее исключено слово, 05.05.2025 № 10-VIII.\n\n      Текст.",
            "Имя",
            False,
        ),
    ],
)
def test_repealed_articles(source, title, repealed, tmp_path):
    (article,) = read_text(tmp_path, source).articles
    assert (article.title, article.repealed, article.amended) == (title, repealed, "2025-05-05")
    assert bool(article.text) is not repealed


def test_constitution_preamble_and_headings_of_two_lines(tmp_path):
    text = read_text(
        tmp_path,
        "Конституция\n\n      Мы, жители города,\n\n      принимаем ее.\n\nРаздел I\n\n"
        "Основы строя\n\nСтатья 1\n\n      Один текст.",
    )
    preamble, article = text.articles
    assert (preamble.number, preamble.text) == ("0", "Мы, жители города,\nпринимаем ее.")
    assert (article.number, article.title, article.text, article.chapter) == (
        "1",
        "",
        "Один текст.",
        "Раздел I. Основы строя",
    )


def test_sentences_that_look_like_headings(tmp_path):
    (article,) = read_text(
        tmp_path, "Статья 1. Имя\n\n      Статья 7 настоящего Закона не нужна.\n\n      Глава 2 Закона нужна."
    ).articles
    assert article.text.count("\n") == 1


def test_titles_that_begin_like_an_exclusion(tmp_path):
    (article,) = read_text(
        tmp_path, "Статья 1. Исключение садовника\n\n      Исключенный садовник уходит."
    ).articles
    assert (article.title, article.text, article.repealed) == (
        "Исключение садовника",
        "Исключенный садовник уходит.",
        False,
    )


@pytest.mark.parametrize(
    "heading",
    [
        "Глава 2. УХОД",
        "Глава 2 УХОД",
        "РАЗДЕЛ II Уход. Сады и парки",
        "2-тарау. КҮТУ",
        "ІІ тарау. КҮТУ",
        "2-БӨЛІМ. КҮТУ",
    ],
)
def test_chapter_headings(heading, tmp_path):
    source = "Статья 1. Имя\n\n      Текст.\n\n{}\n\nСтатья 2. Имя\n\n      Текст."
    one, two = read_text(tmp_path, source.format(heading)).articles
    assert (one.text, one.chapter, two.chapter) == ("Текст.", "", heading)


def test_words_broken_at_the_line_end():
    lines = [
        "  Предприятие обя-",
        "зано платить в социально-",
        "экономические и обязано; ставка 250 ккал/",
        "час",
    ]
    (paragraph,) = documents.join_lines(lines, lambda line, before: line.startswith(" "))
    assert (
        paragraph.text
        == "Предприятие обязано платить в социально-экономические и обязано; ставка 250 ккал/час"
    )


WORDS = st.text("абвгежз іқңө", min_size=1, max_size=30).map(lambda text: " ".join(text.split()) or "а")
ARTICLES = st.dictionaries(
    st.one_of(st.tuples(st.integers(1, 300)), st.tuples(st.integers(1, 300), st.integers(1, 9))),
    st.tuples(WORDS, st.lists(WORDS.map(lambda words: f"1. {words}."), min_size=1, max_size=4)),
    min_size=1,
    max_size=20,
)


@given(ARTICLES, st.sampled_from(["Статья {}. {}", "{}-бап. {}"]), st.sampled_from(["txt", "html"]))
@settings(max_examples=60, deadline=None)
def test_any_act_comes_back(tmp_path_factory, articles, heading, form):
    articles = {"-".join(map(str, key)): articles[key] for key in sorted(articles)}
    blocks = []
    for number, (title, lines) in articles.items():
        blocks += [heading.format(number, title), *(f"      {line}" for line in lines)]
    content = "\n\n".join(blocks) if form == "txt" else "".join(f"<p>{block}</p>" for block in blocks)
    path = write(tmp_path_factory.mktemp("any") / f"act.{form}", content)
    found = texts.find_articles(documents.read_document(path)).articles
    assert {article.number: (article.title, article.text.split("\n")) for article in found} == articles


@given(
    st.binary(max_size=300) | st.text("Статья1. бап-<p>/\n «№", max_size=200).map(str.encode),
    st.sampled_from([*documents.SUFFIXES, ".jsonl"]),
)
@settings(max_examples=150, deadline=None)
def test_no_file_does_more_harm_than_a_line(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"act{suffix}"
    path.write_bytes(content)
    found, skipped = prepare_law.read_sources([path])
    assert len(found) + len(skipped) == 1 and all(str(path) in line for line in skipped)


# ---------------------------------------------------------------- which act


@pytest.mark.parametrize(
    ("name", "head", "act"),
    [
        (
            "any.txt",
            "Трудовой кодекс\nКодекс Республики Казахстан от 23 ноября 2015 года № 414-V ЗРК.",
            "labor_code",
        ),
        (
            "any.txt",
            "Еңбек кодексі\n\nҚазақстан Республикасының Кодексі 2015 жылғы 23 қарашадағы № 414-V ҚРЗ.",
            "labor_code",
        ),
        ("k1500000414.20-01-2026.rus.txt", "", "labor_code"),
        ("Z970000155_.txt", "", "notariat_law"),
        ("law_on_public_procurement.txt", "", "public_procurement_law"),
        ("Закон о нотариате.txt", "", "notariat_law"),
        ("any.txt", "О персональных данных и их защите", "personal_data_law"),
        (
            "any.txt",
            "«Дербес деректер және оларды қорғау туралы» Қазақстан Республикасының Заңы",
            "personal_data_law",
        ),
        ("any.txt", "Кодекс Республики Казахстан об административных правонарушениях", "admin_offences_code"),
        ("any.txt", "Гражданский кодекс Республики Казахстан (Общая часть)", "civil_code_general"),
        ("any.txt", "Конституция Республики Казахстан", "constitution"),
        (
            "any.txt",
            "Конституция Республики Казахстан\n\nпринята на референдуме 30 августа 1995 года",
            "constitution_1995_repealed",
        ),
        ("constitution_1995_repealed.txt", "Конституция Республики Казахстан", "constitution_1995_repealed"),
        # A number that is not the named act's: an older act of that name, whatever the file is called.
        (
            "labor_code.txt",
            "Трудовой кодекс\nКодекс Республики Казахстан от 15 мая 2007 года № 251-III.",
            None,
        ),
        ("any.txt", "Трудовой кодекс\nКодекс Республики Казахстан от 23 ноября 2010 года № 414-V.", None),
        ("garden.txt", "О городских садах", None),
        ("z2400009001.txt", "", None),
    ],
)
def test_known_act(name, head, act, tmp_path):
    text = read_text(tmp_path, f"{head}\n\nСтатья 1. Имя\n\n      Текст.", name)
    assert identity.known_act(text) == act


def test_records_of_new_acts(tmp_path):
    def record(name, head=""):
        return identity.identify(read_text(tmp_path, f"{head}\n\nСтатья 1. Имя\n\n      Текст.", name)).record

    old = record(
        "labor_code.txt",
        "Трудовой кодекс Республики Казахстан\nКодекс Республики Казахстан от 15 мая 2007 года № 251-III.",
    )
    assert (old["id"], old["kind"], old["number"], old["adopted"]) == (
        "code_2007_251",
        "code",
        "251-III",
        "2007-05-15",
    )
    assert record("Z2400009001.20-01-2026.rus.txt")["id"] == GARDEN
    named = record("Закон о щенках.kaz.txt")
    assert (named["id"], named["title_ru"]) == ("zakon_o_shchenkakh", "Закон о щенках")
    assert set(acts.RECORD_KEYS) - {"articles", "repealed"} == set(named)


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("k1.20-01-2026.rus", "2026-01-20"),
        ("закон 2026.01.20", "2026-01-20"),
        ("z1 99-01-2026", None),
        ("закон 414", None),
    ],
)
def test_version_in_a_name(name, date):
    assert identity.version_in(name) == date


# ---------------------------------------------------------------- the stage


def test_law_is_written_and_citations_are_checked_against_it(run, tmp_path):
    code, output = run(LAW / "garden_law.ru.html", LAW / "garden_law.kk.txt")
    assert code == 0 and "new act" in output and output.count(GARDEN) >= 3
    for language in ("ru", "kk"):
        written = (tmp_path / "law" / f"{GARDEN}.{language}.jsonl").read_text("utf-8")
        assert [json.loads(line) for line in written.splitlines()] == expected(language)
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.glob("*.lock"))

    question = "Отпуск садовника: статья 7-1 Закона «О городских садах»."
    assert not [citation.act for citation in parse_citations(question) if citation.act == GARDEN]
    acts.use(tmp_path / "law")
    assert acts.article_exists(GARDEN, "7-1") is True
    assert acts.article_exists(GARDEN, "12") is False and acts.article_exists(GARDEN, "21") is False
    assert acts.act_title(GARDEN, "kk") == "«Қалалық бақтар туралы» Қазақстан Республикасының Заңы"
    assert acts.article_exists("labor_code", "52") is True  # acts that were not given stay as built in
    assert [(citation.act, citation.article) for citation in parse_citations(question)] == [(GARDEN, "7-1")]


def test_sources_decide_what_exists(run, tmp_path):
    write(
        tmp_path / "labor_code.jsonl",
        json.dumps({"article": "1", "title": "Имя", "text": "Текст. " * 9, "chapter": ""}),
    )
    run(tmp_path / "labor_code.jsonl")
    acts.use(tmp_path / "law")
    assert acts.article_exists("labor_code", "1") and not acts.article_exists("labor_code", "52")
    code, output = run("--check")
    assert code == 0 and re.fullmatch(r"labor_code: no longer there: 2\.\.20 20-1 .*204\n", output)


def test_check_of_a_law_like_the_built_in_one_and_of_a_damaged_one(run, tmp_path):
    run(LAW / "garden_law.ru.txt")
    assert run("--check") == (
        0,
        f"{GARDEN}: new act, 19 articles: Закон Республики Казахстан «О городских садах»\n",
    )
    write(tmp_path / "law" / f"{GARDEN}.ru.jsonl", "")
    code, output = run("--check")
    assert code == 1 and output.splitlines()[-1].startswith("error: ") and "is changed" in output
    (tmp_path / "law" / f"{GARDEN}.ru.jsonl").unlink()
    assert "is missing" in run("--check")[1]


def test_bad_files_cost_a_line_each(run, tmp_path):
    sources = tmp_path / "sources"
    shutil.copytree(LAW, sources, ignore=shutil.ignore_patterns("expected", "*.html"))
    write_pages(sources / "scan.pdf", [[], [], []])
    write(sources / "broken.pdf", "%PDF-1.7 and no more")
    write(sources / "broken.docx", "no zip")
    write(sources / "news.html", "<html><body><p>Новости сайта</p></body></html>")
    write(sources / "empty.html", "")
    write(sources / "bad.jsonl", '{"article": 1}\n')
    newer = (LAW / "garden_law.ru.txt").read_text("utf-8").replace("трех рабочих", "пяти рабочих")
    write(sources / "z2400009001.20-01-2026.rus.txt", newer)
    code, output = run(sources)
    skipped = [line for line in output.splitlines() if line.startswith("skipped: ")]
    assert code == 0 and len(skipped) == 7
    for name, reason in {
        "scan.pdf": "a scan?",
        "broken.pdf": "cannot be read",
        "broken.docx": "cannot be read",
        "news.html": "no article found",
        "empty.html": "empty",
        "bad.jsonl:1": "no article",
        "garden_law.ru.txt": "2026-01-20 is taken",
    }.items():
        assert sum(name in line and reason in line for line in skipped) == 1, (name, skipped)
    assert "пяти рабочих" in (tmp_path / "law" / f"{GARDEN}.ru.jsonl").read_text("utf-8")


def test_a_second_run_replaces_the_first(run, tmp_path):
    run(LAW / "garden_law.ru.txt", LAW / "garden_law.kk.txt")
    write(tmp_path / "law" / "index", "of the search")
    run(LAW / "garden_law.ru.txt")
    assert sorted(path.name for path in (tmp_path / "law").iterdir()) == [
        "acts.json",
        "index",
        f"{GARDEN}.ru.jsonl",
    ]


def test_a_write_that_fails_leaves_the_law_as_it_was(run, tmp_path):
    run(LAW / "garden_law.ru.txt")
    before = {path.name: path.read_bytes() for path in (tmp_path / "law").iterdir()}
    (tmp_path / "law" / f"{GARDEN}.kk.jsonl").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        run(LAW / "garden_law.ru.txt", LAW / "garden_law.kk.txt")
    assert {path.name: path.read_bytes() for path in (tmp_path / "law").iterdir() if path.is_file()} == before


def test_dry_run_writes_nothing(run, tmp_path):
    assert run(LAW / "garden_law.ru.txt", "--dry-run")[0] == 0
    assert not (tmp_path / "law").exists()


def test_errors_of_the_command(run, tmp_path):
    write(tmp_path / "law" / "letter.txt", "mine")
    write(tmp_path / "news.txt", "Новости")
    for arguments, message in [
        ((), "no source given"),
        (("--check", "x"), "give it no sources"),
        (("--check",), "acts.json: no such file"),
        ((tmp_path / "none.pdf",), "no such file or folder"),
        ((tmp_path / "law",), "keep the sources in another folder"),
        ((write(tmp_path / "act.odt", ""),), "unknown kind of file"),
        ((tmp_path / "news.txt",), "no act in 1 files"),
        ((LAW / "garden_law.ru.txt",), "holds other files"),
    ]:
        with pytest.raises(UserError, match=message):
            run(*arguments)
    assert (tmp_path / "law" / "letter.txt").read_text("utf-8") == "mine"


@pytest.mark.parametrize("content", ["", "[]", "{}", '[{"id": "labor_code"}]', "[1]", "\xff"])
def test_a_damaged_list_of_acts_is_named(content, tmp_path):
    write(tmp_path / "acts.json", content)
    with pytest.raises(UserError, match="no list of acts"):
        acts.use(tmp_path)


@given(st.sets(st.lists(st.integers(0, 40), min_size=1, max_size=3).map(lambda key: "-".join(map(str, key)))))
def test_ranges_and_expand(numbers):
    assert acts.expand(acts.ranges(numbers)) == numbers
    assert acts.ranges({"1", "2", "3", "3-1", "3-2", "5"}) == "1..3 3-1..3-2 5"


def test_the_built_in_list_is_in_the_form_that_is_written():
    for act in acts.load_acts().values():
        for key in ("articles", "repealed"):
            assert acts.ranges(acts.expand(act[key] or "")) == (act[key] or "")


def test_no_source_is_one_line_on_stderr(run_script, tmp_path):
    result = run_script("prepare_law.py", cwd=tmp_path)
    assert (
        result.returncode == 2
        and result.stderr.startswith("error: no source given")
        and result.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("stage", [benchmark, chat, generate_report])
def test_stages_check_citations_against_the_users_law(stage, run_stage, monkeypatch, tmp_path):
    write(tmp_path / "law" / "acts.json", "[]")
    monkeypatch.chdir(tmp_path)
    result = run_stage(stage)
    assert result.returncode == 2 and "acts.json: no list of acts" in result.stderr
