"""Open book, on an invented law: passages in rows, prompts, training, scores, report and chat."""

import io
import json
import os
import re

import garden
import pytest
from chat_server import ChatServer, completion, question_of
from conftest import folders

import benchmark
import prepare_law
from legalqa.chat import commands, remarks
from legalqa.chat.dialogue import Question, Turn
from legalqa.data import open_book
from legalqa.data.open_book import Passages, passages_of, training_rows
from legalqa.errors import UserError
from legalqa.law import acts, lookup
from legalqa.law.citation_form import citation_form
from legalqa.law.citations import parse_citations
from legalqa.law.passages import Passage
from legalqa.law.search import LawIndex
from legalqa.model.adapter import AdapterSettings
from legalqa.model.generate import Answer
from legalqa.model.law_of_adapter import another_law
from legalqa.model.settings import resolve, source_lines
from legalqa.scoring import comparison, metrics, statistics
from legalqa.training import checkpoints

ROWS = garden.make_rows()


@pytest.fixture(scope="module")
def law_dir(tmp_path_factory):
    """The invented act, made by prepare_law.py; citations are checked against it in this module."""
    folder = tmp_path_factory.mktemp("garden")
    prepare_law.main([str(garden.write_sources(folder / "sources")), "--law-dir", str(folder / "law")])
    acts.use(folder / "law")
    yield folder / "law"
    acts.use(folder)  # no list there: the built-in one again


@pytest.fixture(autouse=True)
def own_law(law_dir):
    acts.use(law_dir)


@pytest.fixture(scope="module")
def train_file(law_dir):
    return garden.write_rows(law_dir.parent / "train.jsonl", ROWS)


@pytest.fixture(scope="module")
def book(law_dir, train_file):
    return open_book.open_book(law_dir, train_file, num_passages=3, max_tokens=40)


# ---------------------------------------------------------------- how an article is cited


@pytest.mark.parametrize("language", ["ru", "kk"])
def test_every_act_is_cited_so_that_it_is_read_back(language):
    for act in acts.load_acts():
        article = "500-1" if act == "civil_code_special" else "52-1"
        if (act, language) != ("constitution_1995_repealed", "kk"):  # the name is that of the one in force
            found = parse_citations(f"Так: {citation_form(act, article, language)}.")
            assert [(citation.act, citation.article) for citation in found] == [(act, article)]


def test_citation_forms():
    assert citation_form("labor_code", "52", "ru") == "ст. 52 ТК РК"
    assert citation_form("education_law", "5", "ru") == "ст. 5 Закона об образовании"
    assert citation_form("education_law", "5", "kk") == "«Білім туралы» заңның 5-бабы"
    assert citation_form("land_code", "5", "kk") == "Жер кодексінің 5-бабы"
    assert citation_form("constitution", "5", "kk") == "Конституциясының 5-бабы"


# ---------------------------------------------------------------- passages of rows


@pytest.mark.parametrize("question, article", garden.QUESTIONS)
def test_a_row_gets_the_passages_that_the_search_finds(book, question, article):
    row = book.add({"instruction": question, "input": "", "output": "Ответ."})
    found = passages_of(row)
    assert found.keys[0] == (garden.ACT, article) and len(found.found) <= 3 and found.max_tokens == 40
    assert found.found[0].language == ("kk" if "қ" in question.lower() else "ru")


@pytest.mark.slow
def test_many_rows_get_what_each_gets_alone(book, monkeypatch):
    alone = [book.add(row) for row in ROWS]
    trained = training_rows(ROWS, book, 0.9, 1)
    monkeypatch.setattr(open_book, "ROWS_A_PROCESS", 9)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert book.add_all(ROWS) == alone
    assert training_rows(ROWS, book, 0.9, 1) == trained


def test_in_training_the_search_does_not_know_the_rows_own_question(law_dir, tmp_path):
    """The answer cites an article that has none of the question's words: the question alone leads there."""
    row = {
        "instruction": "Где живёт почтальон?",
        "input": "",
        "output": "Статья 12 Закона РК «О городских садах».",
    }
    rows = [*ROWS, row]
    book = open_book.open_book(law_dir, garden.write_rows(tmp_path / "train.jsonl", rows), 3, 40)
    assert passages_of(book.add(row)).keys == [(garden.ACT, "12")]
    *_, trained = training_rows(rows, book, gold_share=0, seed=1).rows
    assert (garden.ACT, "12") not in passages_of(trained).keys
    same = {**row, "instruction": "где ЖИВЁТ почтальон"}  # the same words
    *_, trained = training_rows([*ROWS, same], book, gold_share=0, seed=1).rows
    assert (garden.ACT, "12") not in passages_of(trained).keys


def has_right_article(row):
    return not set(open_book.cited_articles(row["output"])).isdisjoint(passages_of(row).keys)


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_the_cited_article_is_put_in_until_there_are_enough(law_dir, train_file, share):
    book = open_book.open_book(law_dir, train_file, 2, 40)
    # A question on one article, an answer that cites another: the search misses it.
    rows = [{**row, "output": ROWS[(i + 5) % len(ROWS)]["output"]} for i, row in enumerate(ROWS)]
    made = training_rows(rows, book, share, seed=7)
    right = sum(has_right_article(row) for row in made.rows)
    assert right == made.num_right == max(made.num_found, round(share * len(rows)))
    assert made.num_found < len(rows) / 2 and all(len(passages_of(row).found) <= 2 for row in made.rows)
    assert made == training_rows(rows, book, share, seed=7)
    if share == 0.5:
        assert made.rows != training_rows(rows, book, share, seed=8).rows
    if share == 1:
        places = {
            passages_of(row).keys.index((garden.ACT, parse_citations(row["output"])[0].article))
            for row in made.rows
        }
        assert places == {0, 1}


def test_what_the_search_finds_keeps_its_rank(book):
    made = training_rows(ROWS, book, 1, seed=7)
    for row, alone in zip(made.rows, training_rows(ROWS, book, 0, seed=7).rows):
        if has_right_article(alone):
            assert passages_of(row) == passages_of(alone)


def test_an_article_that_the_law_lacks_is_not_put_in(book):
    row = {
        "instruction": "Нужен ли собаке поводок?",
        "input": "",
        "output": "Статья 999 Закона РК «О городских садах».",
    }
    made = training_rows([row], book, 1, seed=1)
    assert made.num_right == 0 and passages_of(made.rows[0]).keys[0] == (garden.ACT, "4")


def test_a_data_files_own_field_is_no_passages():
    assert passages_of({"passages": [{"act": "x", "article": "1"}]}) is None


def test_without_law_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="--law-passages needs the law's text, and .*prepare_law.py"):
        open_book.check_law(tmp_path)


def test_the_saved_index_is_taken_as_it_is_while_the_texts_are_the_same(law_dir, train_file, tmp_path):
    saved = open_book.open_book(law_dir, train_file, 3, 40)
    again = open_book.open_book(law_dir, tmp_path / "no such rows", 3, 40, as_saved=True)
    assert again.index.sha256 == saved.index.sha256
    path = law_dir / f"{garden.ACT}.kk.jsonl"
    before = path.read_bytes()
    try:
        path.write_bytes(before + before.splitlines(keepends=True)[0].replace(b'"1"', b'"21"'))
        assert LawIndex.open_saved(law_dir) is None
        assert LawIndex.open_saved(tmp_path) is None
    finally:
        path.write_bytes(before)


def test_acts_no_longer_in_force_are_found_by_their_article_alone(tmp_path):
    act = "constitution_1995_repealed"
    line = {"article": "5", "title": "Маяк", "text": "Маяк горит ночью.", "chapter": ""}
    (tmp_path / f"{act}.ru.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n", "utf-8")
    assert LawIndex.load_or_build(tmp_path).search("Когда горит маяк?", 3) == []


# ---------------------------------------------------------------- how an adapter was trained, and what holds


def test_a_flag_wins_over_the_adapter_and_that_over_config():
    config = {"law_passages": 0, "law_passage_tokens": 96, "system_prompt": "", "load_in_4bit": True}
    config |= {
        "max_seq_length": 64,
        "temperature": 0.0,
        "top_p": 1.0,
        "repetition_penalty": 1.0,
        "max_new_tokens": 9,
    }
    saved = {"law_passages": 2, "law_passage_tokens": 50}
    trained, closed = resolve({}, saved, config), resolve({"law_passages": 0}, saved, config)
    assert (trained.law_passages, trained.law_passage_tokens) == (2, 50)
    assert "law_passages 2, law_passage_tokens 50" in source_lines(trained)[0]
    assert closed.law_passages == 0 and "law_passages 0 (the adapter's: 2)" in source_lines(closed)[1]
    assert "law" not in " ".join(source_lines(resolve({}, {"law_passages": 0}, config)))


def test_another_law_or_other_questions_are_named(book):
    same = AdapterSettings(law_sha256=book.index.law_sha256, law_index_sha256=book.index.sha256)
    assert another_law("tuned", same, book) is None and another_law("older", AdapterSettings(), book) is None
    assert "is not the law that tuned was trained with" in another_law(
        "tuned", AdapterSettings(law_sha256="0"), book
    )
    other = AdapterSettings(law_sha256=book.index.law_sha256, law_index_sha256="0")
    assert "another --train-file" in another_law("tuned", other, book)


# ---------------------------------------------------------------- scores


def passage(article, act=garden.ACT):
    return Passage(act, article, "", "Текст.", 1.0, "ru")


def scores_of(answer, *articles, reference="Статья 4 Закона РК «О городских садах»."):
    row = {"instruction": "Вопрос?", "output": reference}
    if articles:
        row["passages"] = Passages(tuple(map(passage, articles)), 40)
    return metrics.make_sample(row, "id", answer)


def test_scores_of_an_open_book_by_hand(law_dir):
    answer = "Статьи 4 и 5 Закона РК «О городских садах»; статья 5 ТК РК."
    sample = scores_of(answer, "4", "7")
    assert sample["scores"]["article_found"] == 1
    assert sample["scores"]["citation_supported"] == pytest.approx(1 / 3)
    assert sample["passages"] == [{"act": garden.ACT, "article": "4"}, {"act": garden.ACT, "article": "7"}]
    missed = scores_of("Статья 7.", "7", "8")
    assert missed["scores"]["article_found"] == 0 and missed["scores"]["citation_supported"] == 1
    nothing = scores_of("Не знаю.", "4", reference="Не знаю.")
    assert nothing["scores"]["article_found"] is None and nothing["scores"]["citation_supported"] is None
    closed = scores_of(answer)
    assert closed["scores"]["article_found"] is None and closed["scores"]["citation_supported"] is None
    assert "passages" not in closed


def many(*articles):
    """12 samples: of every second one the right article is 7, which is not before the model."""
    answer = "Статья 4 Закона РК «О городских садах»."
    samples = [scores_of(answer, *articles, reference=answer.replace("4", "47"[i % 2])) for i in range(12)]
    return [{**sample, "id": str(i)} for i, sample in enumerate(samples)]


def test_summary_and_comparison_tell_found_from_missed(law_dir):
    opened, closed = statistics.summarize(many("4")), statistics.summarize(many())
    assert opened["metrics"]["article_found"]["mean"] == 0.5
    assert opened["by_language"]["ru"]["metrics"]["article_found"]["mean"] == 0.5
    groups = opened["by_article_found"]
    assert {key: group["metrics"]["citation_f1"]["mean"] for key, group in groups.items()} == {
        "found": 1,
        "missed": 0,
    }
    assert groups["found"]["by_named_article"]["unnamed"]["metrics"]["citation_supported"]["mean"] == 1
    assert "by_article_found" not in closed
    for pair in ((many(), many("4")), (many("4"), many())):
        compared = statistics.compare(*pair)
        assert {key: group["num_samples"] for key, group in compared["by_article_found"].items()} == {
            "found": 6,
            "missed": 6,
        }
    assert "by_article_found" not in statistics.compare(many(), many())


def test_two_runs_of_one_adapter_are_told_apart():
    metas = [{"model": "tuned", "law": {"passages": 3}}, {"model": "tuned", "law": None}, {"model": "base"}]
    results = [comparison.Result(f"{number}.json", {"meta": meta}) for number, meta in enumerate(metas)]
    assert comparison.labels_of(results) == ["tuned, 3 passages", "tuned, closed book", "base"]
    assert comparison.labels_of(results[1:]) == ["tuned", "base"]


# ---------------------------------------------------------------- an article by its number


@pytest.mark.parametrize(
    "words, expected",
    [
        ("ТК 52", ("labor_code", "52")),
        ("ст. 52 ТК РК", ("labor_code", "52")),
        ("ЕК 52", ("labor_code", "52")),
        ("52-бап ЕК", ("labor_code", "52")),
        ("ГК, 500", ("civil_code_special", "500")),
        ("Жер кодексі 48", ("land_code", "48")),
        ("Закон о нотариате 5", ("notariat_law", "5")),
        ("Закон «О городских садах» 4", (garden.ACT, "4")),
        ("52", None),
        ("что-то 52", None),
        ("ТК", None),
        ("", None),
    ],
)
def test_named_article(law_dir, words, expected):
    assert lookup.named_article(words) == expected


def test_an_article_is_found_in_its_language_or_in_russian(law_dir):
    found = lookup.find_article(garden.ACT, "4", "kk")
    assert found.title == "Иттерді серуендету" and found.language == "kk" and found.version is None
    assert lookup.find_article(garden.ACT, "99", "ru") is None
    assert lookup.article_title("labor_code", "88", "kk").startswith("Продолжительность основного")
    assert lookup.article_title("labor_code", "9999", "ru") == ""
    assert lookup.language_of_name("ЖК 48") == "kk" and lookup.language_of_name("ЗК 48") == "ru"
    assert lookup.language_of_name("Закон о нотариате 48") is None


def test_built_in_titles_are_of_articles_that_exist():
    acts.use("no such folder")
    titles = lookup.built_in_titles()
    assert set(titles) <= set(acts.load_acts())
    wrong = [
        (act, article)
        for act, languages in titles.items()
        for of_language in languages.values()
        for article in of_language
        if article != "0" and not acts.article_exists(act, article)
    ]
    assert not wrong and sum(len(of_act.get("ru", {})) for of_act in titles.values()) > 8000


# ---------------------------------------------------------------- the chat


class Stub:
    """As much of a Dialogue as the commands about the law ask for."""

    language = usual_language = "ru"
    context, history_on, turns = "", False, []
    config = {"law_dir": "law"}


def said(*lines):
    stream, waiting = io.StringIO(), list(lines)

    def read_line(mark):
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    commands.Chat(Stub(), stream, read_line, lambda: None).run()
    return re.sub(" +\n", "\n", stream.getvalue())


def test_article_command(law_dir):
    shown = said("/article Закон «О городских садах» 3")
    assert shown.startswith(
        "ст. 3 Закона РК «О городских садах»\nОбязанности посетителя\n1. Посетитель обязан:\n"
    )
    assert "/article ТК 52" in said("/article сад")


def test_article_command_without_a_law_gives_the_title_and_where_to_get_the_text(tmp_path):
    acts.use(tmp_path)
    shown = said("/article ТК 88")
    assert "статья есть. Продолжительность основного" in shown.replace("\n", " ") and "adilet.zan.kz" in shown
    assert "такой статьи нет" in said("/article ТК 999")


def test_sources_are_named_with_their_titles_and_what_the_answer_cites(law_dir, book):
    question = Question("Нужен ли собаке поводок?")
    passages = passages_of(book.add(question.as_row())).found
    text = "Да: ст. 4 Закона РК «О городских садах»."
    turn = Turn(question, Answer(text, 5, False), parse_citations(text), passages)
    lines = remarks.source_lines("ru", turn)
    assert (lines[0].mark, lines[0].text) == ("*", "ст. 4 Закона РК «О городских садах». Выгул собак")
    assert all(line.mark == " " for line in lines[1:])
    assert turn.as_json("m")["passages"][0] == {"act": garden.ACT, "article": "4", "title": "Выгул собак"}
    assert remarks.source_lines("kk", turn)[0].text.startswith("«Қалалық бақтар туралы» заңның 4-бабы. ")


# ---------------------------------------------------------------- a model behind a server


def test_a_served_model_gets_the_same_passages(law_dir, train_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    row = {"instruction": "Скажите, нужен ли собаке поводок?", "input": "", "output": ROWS[1]["output"]}
    validation = garden.write_rows(tmp_path / "validation.jsonl", [row])
    with ChatServer(lambda number, body: completion(ROWS[1]["output"])) as endpoint:
        flags = ("--server", endpoint.url, "--validation-file", validation, "--train-file", train_file)
        flags += ("--law-dir", law_dir, "--law-passages", 1, "--law-passage-tokens", 8)
        flags += ("--num-samples", "all", "--logs-dir", tmp_path)
        benchmark.main(list(map(str, flags)))
        assert question_of(endpoint.asked[0]) == (
            f"{row['instruction']}\n\nНормы, которые могут относиться к вопросу:\n"
            "1. ст. 4 Закона РК «О городских садах». Выгул собак. Собаку…"
        )
    (log,) = tmp_path.glob("benchmark_*.json")
    result = json.loads(log.read_text("utf-8"))
    assert result["meta"]["law"]["passages"] == 1
    assert result["samples"][0]["scores"]["citation_supported"] == 1


# ---------------------------------------------------------------- the stages, on a tiny model


@pytest.fixture(scope="module")
def trained(run_script, tiny_model, law_dir, train_file):
    """Folder with the adapter of an open-book run and its logs."""
    place = law_dir.parent
    validation = garden.write_rows(
        place / "validation.jsonl",
        [{**row, "instruction": f"Скажите: {row['instruction']}"} for row in ROWS[:12]],
    )
    flags = (
        *("--profile", "demo", "--model-name", tiny_model, "--train-file", train_file),
        *(
            "--validation-file",
            validation,
            "--law-dir",
            law_dir,
            "--law-passages",
            2,
            "--law-passage-tokens",
            30,
        ),
        *("--grad-accum", 2, "--max-steps", 2, "--eval-samples", 4, "--max-seq-length", 900),
    )
    done = run_script("train_8b.py", *flags, "--dry-run", *folders(place))
    assert done.returncode == 0, done.stderr
    assert (
        "in a prompt: 2, each up to 30 tokens" in done.stdout
        and "the article that the answer cites" in done.stdout
    )
    assert "\ntokens     " in done.stdout and "Нормы, которые могут относиться к вопросу:\n1. " in done.stdout
    done = run_script("train_8b.py", *flags, *folders(place))
    assert done.returncode == 0, done.stderr
    return place, flags


@pytest.mark.slow
def test_training_says_how_and_on_what_law(trained):
    place, _ = trained
    saved = json.loads((place / "adapter" / "legalqa.json").read_text())
    index = LawIndex(place / "law")
    assert (
        saved["law_passages"] == 2 and saved["law_passage_tokens"] == 30 and saved["law_gold_share"] == 0.85
    )
    assert (saved["law_sha256"], saved["law_index_sha256"]) == (index.law_sha256, index.sha256)
    (config,) = (place / "logs").glob("config_*.json")
    law = json.loads(config.read_text())["meta"]["law"]
    assert (
        law["index_sha256"] == index.sha256
        and 0.8 < law["right"] <= 1
        and law["right_by_search"] <= law["right"]
    )


@pytest.mark.slow
def test_benchmark_follows_the_adapter_and_a_flag_closes_the_book(trained, run_script, law_dir, train_file):
    place, _ = trained
    flags = (
        *(
            "--profile",
            "demo",
            "--model",
            place / "adapter",
            "--train-file",
            train_file,
            "--max-new-tokens",
            6,
        ),
        *(
            "--validation-file",
            place / "validation.jsonl",
            "--num-samples",
            "all",
            "--logs-dir",
            place / "logs",
        ),
    )
    results = []
    for more in (("--law-dir", law_dir, "--law-passages", 0), ("--law-dir", law_dir)):
        done = run_script("benchmark.py", *flags, *more)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(max((place / "logs").glob("benchmark_*.json")).read_text()))
    closed, opened = results
    assert closed["meta"]["law"] is None and opened["meta"]["law"]["passages"] == 2
    assert closed["meta"]["prompt_sha256"] != opened["meta"]["prompt_sha256"]
    assert all(len(sample["passages"]) <= 2 for sample in opened["samples"])
    assert opened["summary"]["metrics"]["article_found"]["mean"] > 0.8
    assert "open book: the right article is among the passages" in done.stdout
    done = run_script("benchmark.py", *flags, "--law-dir", place / "nothing")
    assert (
        done.returncode == 2 and "answers with the law open" in done.stderr and "Traceback" not in done.stderr
    )
    paths = sorted((place / "logs").glob("benchmark_*.json"))
    done = run_script("benchmark.py", "--compare", *paths, "--logs-dir", place / "logs")
    assert done.returncode == 0 and "adapter, closed book" in done.stdout, done.stderr
    for language, title in (("ru", "## Открытая книга"), ("en", "## Open book")):
        report = place / f"RESULTS.{language}.md"
        done = run_script(
            *("generate_report.py", "--logs-dir", place / "logs", "--report-file", report),
            *("--language", language, "--law-dir", law_dir),
        )
        assert done.returncode == 0 and title in report.read_text("utf-8"), done.stderr


def test_another_book_is_another_run():
    saved = {"law_passages": 3, "law_index_sha256": "a"}
    assert checkpoints.differences(saved, {**saved, "law_passages": 2}) == ["law_passages: 3 -> 2"]
    assert checkpoints.differences({}, saved) == []  # a checkpoint of before there were books


def test_garden_rows_are_rows():
    assert len(ROWS) == len(garden.QUESTIONS) + len(garden.ARTICLES) == 28
