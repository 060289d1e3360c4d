"""prepare_human_eval.py: a sheet that gives no model away, and what two filled copies say."""

import json
import random
import re
import shutil
import zipfile

import pytest
import tiny
from openpyxl import load_workbook
from test_comparison import make_result

import generate_report
import prepare_human_eval
from legalqa.errors import UserError
from legalqa.report.rating_sheet import ANSWERS, GUIDE, rating_of
from legalqa.scoring import ratings
from legalqa.scoring.comparison import read_results
from legalqa.scoring.results import HumanLog
from legalqa.typed_json import json_problem

NAMES = ("secret-weak-4b", "secret-good-8b", "secret-middle")
FIRST = 5  # the first column of ratings


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return [make_result(folder, name, share) for name, share in zip(NAMES, (0.3, 1.0, 0.6))]


@pytest.fixture(scope="module")
def made(results, tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"), results)


@pytest.fixture
def sheet(made, tmp_path):
    """A sheet and its key in a folder of their own."""
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / made.name


def make(folder, results, *more):
    path = folder / "human_eval.xlsx"
    assert prepare_human_eval.main([*results, "--num-questions", "16", "--output", str(path), *more]) == 0
    return path


def key_of(sheet):
    return json.loads(sheet.with_suffix(".key.json").read_text("utf-8"))


def fill(sheet, name, rate):
    """A filled copy: rate(question, letter, row) gives the four ratings."""
    book = load_workbook(sheet)
    for row in range(2, book[ANSWERS].max_row + 1):
        number, letter = book[ANSWERS].cell(row, 1).value, book[ANSWERS].cell(row, 3).value
        for column, rating in enumerate(rate(number, letter, row), FIRST):
            book[ANSWERS].cell(row, column).value = rating
    path = sheet.with_name(name)
    book.save(path)
    return str(path)


def score(tmp_path, sheet, *filled):
    arguments = ["--score", *filled, "--key", str(sheet.with_suffix(".key.json"))]
    assert prepare_human_eval.main([*arguments, "--logs-dir", str(tmp_path / "logs")]) == 0
    (path,) = (tmp_path / "logs").glob("human_*.json")
    return json.loads(path.read_text("utf-8"))


def test_the_sheet_gives_no_model_away(sheet, results):
    with zipfile.ZipFile(sheet) as archive:
        content = "".join(archive.read(name).decode("utf-8") for name in archive.namelist())
    runs = [result.log["meta"]["run"] for result in read_results(results)]
    for word in (*NAMES, "secret", *runs, "openpyxl", "benchmark"):
        assert word not in content
    places = [tuple(question["answers"].values()) for question in key_of(sheet)["questions"]]
    assert all(sorted(place) == [0, 1, 2] for place in places) and len(set(places)) > 2
    assert len({place[0] for place in places}) == 3  # no model is always the first


def test_the_key_tells_whose_answer_is_whose(sheet, results):
    rows = load_workbook(sheet)[ANSWERS].iter_rows(min_row=2, values_only=True)
    answers = {(row[0], row[2]): row[3] for row in rows}
    key, logs = key_of(sheet), [result.log for result in read_results(results)]
    assert [model["model"] for model in key["models"]] == list(NAMES)
    for question in key["questions"]:
        for letter, place in question["answers"].items():
            (sample,) = [one for one in logs[place]["samples"] if one["id"] == question["id"]]
            assert answers[question["number"], letter] == sample["prediction"].strip()
    assert len(answers) == 48


def test_a_lawyer_can_work_with_it(sheet):
    book = load_workbook(sheet)
    guide = [row[0] for row in book[GUIDE].iter_rows(values_only=True) if row[0]]
    assert guide[0].startswith("Оценка ответов") and any("бағалау" in text for text in guide)
    answers = book[ANSWERS]
    assert answers.freeze_panes == "A2"
    assert [cell.value.split("\n")[0] for cell in answers[1]] == [
        *("№", "Вопрос", "Вариант", "Ответ", "Правильность", "Полнота", "Ссылки", "Ясность", "Замечания")
    ]
    (choices,) = answers.data_validations.dataValidation
    assert str(choices.sqref) == "E2:H49" and choices.formula1 == '"1,2,3,4,5"'
    assert answers.column_dimensions["D"].width > 60 and answers["D2"].alignment.wrap_text


def test_the_same_seed_makes_the_same_sheet(results, tmp_path):
    keys = []
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / folder).mkdir()
        key = key_of(make(tmp_path / folder, results, "--seed", seed))
        keys.append((key["sheet_id"], key["questions"]))
    assert keys[0] == keys[1] != keys[2]


def test_questions_are_chosen_in_proportion():
    """A quarter is Kazakh, and each act has its share, whatever the seed."""
    samples = [
        {
            "id": str(number),
            "language": "kk" if number % 4 == 0 else "ru",
            "source": {"act": ("labor_code", "tax_code", "land_code")[number % 3]},
            "citations": {"reference": []},
        }
        for number in range(240)
    ]
    orders = set()
    for seed in range(20):
        chosen = ratings.choose_questions(samples, 24, random.Random(seed))
        assert len({sample["id"] for sample in chosen}) == 24
        assert abs(sum(sample["language"] == "kk" for sample in chosen) - 6) <= 1
        for act in ("labor_code", "tax_code", "land_code"):
            assert abs(sum(sample["source"]["act"] == act for sample in chosen) - 8) <= 2
        orders.add(tuple(sample["id"] for sample in chosen))
    assert len(orders) == 20
    assert len(ratings.choose_questions(samples[:5], 24, random.Random(0))) == 5


def test_agreement_equals_a_hand_worked_example(results, tmp_path, capsys):
    """Correctness by two raters: (1,1) (2,2) (3,3) (3,2), eight ratings, of which n1 = 2, n2 = 3, n3 = 3.

    Ordinal distances: d(1,2) = ((2+3)/2)^2 = 6.25, d(2,3) = 9, d(1,3) = (8 - (2+3)/2)^2 = 30.25.
    Observed: 2 x 9 / 8 = 2.25. Expected: 2 x (6 x 6.25 + 6 x 30.25 + 9 x 9) / (8 x 7) = 600 / 56.
    Alpha = 1 - 2.25 x 56 / 600 = 0.79.
    """
    path = tmp_path / "human_eval.xlsx"
    assert prepare_human_eval.main([*results[:2], "--num-questions", "2", "--output", str(path)]) == 0
    first = fill(path, "a.xlsx", lambda number, letter, row: ((1, 2, 3, 3)[row - 2], 5, 4, None))
    second = fill(path, "b.xlsx", lambda number, letter, row: ((1, 2, 3, 2)[row - 2], 5, None, None))
    log = score(tmp_path, path, first, second)
    assert log["agreement"]["correctness"] == {"alpha": pytest.approx(0.79), "num_answers": 4}
    assert log["agreement"]["completeness"] == {"alpha": None, "num_answers": 4}  # all ratings are equal
    assert log["agreement"]["citations"] == {"alpha": None, "num_answers": 0}  # one rater
    assert "correctness    0.79  4 answers rated by two or more" in capsys.readouterr().out


def rater(key, seed, noise):
    """A rater with taste: the second model is best, the first worst."""
    rng, level = random.Random(seed), (2, 5, 3)
    answers = {question["number"]: question["answers"] for question in key["questions"]}

    def rate(number, letter, _):
        true = level[answers[number][letter]]
        return [min(5, max(1, true + rng.choice(noise))) for _ in ratings.CRITERIA]

    return rate


def test_two_filled_copies(sheet, tmp_path, capsys):
    files = [
        fill(sheet, f"{name}.xlsx", rater(key_of(sheet), name, (-1, 0, 0, 1))) for name in ("aigul", "pavel")
    ]
    log = score(tmp_path, sheet, *files)
    assert json_problem(log, HumanLog) is None and log["problems"] == []
    assert [one["num_rated"] for one in log["raters"]] == [48, 48]
    weak, good, middle = log["models"]
    assert [model["label"] for model in log["models"]] == list(NAMES) and weak["differences"] is None
    for model, expected in ((weak, 2), (good, 4.75), (middle, 3)):
        score_of = model["scores"]["correctness"]
        assert score_of["num_samples"] == 16 and abs(score_of["mean"] - expected) < 0.35
        assert score_of["ci95"][0] < score_of["mean"] < score_of["ci95"][1]
    assert good["differences"]["mean"]["ci95"][0] > 2
    assert log["meta"]["correction"]["level"] == 0.975
    assert all(0.5 < one["alpha"] < 1 for one in log["agreement"].values())
    out = capsys.readouterr().out
    assert "48 of 48 answers rated" in out and max(map(len, re.findall(r".* \.\. .*", out))) <= 80
    assert "better" in out


def test_what_cannot_be_counted_is_named(sheet, tmp_path, capsys):
    """By sheet and row; the rest counts."""

    def rate(number, letter, row):
        odd = {2: (7, 3, 3, 3), 3: (4, None, 4, 4), 4: ("плохо", 2, 2, 2), 5: (2.5, 2, 2, 2), 6: [None] * 4}
        return odd.get(row, ("4", 4.0, 4, 4))

    log = score(tmp_path, sheet, fill(sheet, "one.xlsx", rate))
    assert [problem.split(f"sheet '{ANSWERS}', ")[1] for problem in log["problems"]] == [
        "row 2: correctness is '7', not a whole number from 1 to 5",
        "row 3: half-filled, no completeness",
        "row 4: correctness is 'плохо', not a whole number from 1 to 5",
        "row 5: correctness is '2.5', not a whole number from 1 to 5",
    ]
    assert capsys.readouterr().err.count("warning: ") == 4
    assert log["raters"][0]["num_rated"] == 47
    assert sum(model["scores"]["correctness"]["num_samples"] for model in log["models"]) == 44
    assert all(model["scores"]["correctness"]["mean"] == 4 for model in log["models"])


@pytest.mark.parametrize(
    ("value", "rating"),
    [(3, 3), (3.0, 3), (" 5 ", 5), ("4.0", 4), (0, None), (6, None), (2.5, None), ("", None), (True, None)],
)
def test_rating_of_a_cell(value, rating):
    assert rating_of(value) == rating


def test_answers_that_look_like_formulas_stay_text(results, tmp_path):
    rows = [{**row, "output": "=HYPERLINK(1) \x07 эталон"} for row in tiny.make_rows(12)]
    files = [make_result(tmp_path, name, share, rows) for name, share in (("x", 1.0), ("y", 0.0))]
    path = tmp_path / "human_eval.xlsx"
    assert prepare_human_eval.main([*files, "--output", str(path)]) == 0
    cells = [row[3] for row in load_workbook(path)[ANSWERS].iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert any(cell.value.startswith("=HYPERLINK(1) \ufffd") for cell in cells)


def test_errors(sheet, results, tmp_path):
    def fails(message, *arguments):
        with pytest.raises(UserError, match=message):
            prepare_human_eval.main(list(map(str, arguments)))

    fails("give 2 to 6 results", results[0])
    fails("is there, and may be in use", *results, "--output", sheet)
    fails("ends in .xlsx", *results, "--output", tmp_path / "x.ods")
    fails("is given twice", results[0], results[0], "--output", tmp_path / "x.xlsx")
    fails("not both", *results, "--score", sheet)
    key = ("--key", sheet.with_suffix(".key.json"))
    fails("no row of the sheets is rated", "--score", sheet, *key)
    fails("is given twice", "--score", sheet, sheet, *key)
    (tmp_path / "other.xlsx").write_text("no workbook")
    fails("other.xlsx: not a sheet of prepare_human_eval.py", "--score", tmp_path / "other.xlsx", *key)
    fails("cannot read .*nowhere.xlsx", "--score", tmp_path / "nowhere.xlsx", *key)
    fails("not a key of prepare_human_eval.py", "--score", sheet, "--key", results[0])
    (tmp_path / "second").mkdir()
    second = make(tmp_path / "second", results, "--seed", "9")
    fails("but .* is the key of", "--score", second, *key)
    book = load_workbook(sheet)
    book[ANSWERS]["C3"].value = "A"
    book.save(tmp_path / "twice.xlsx")
    fails("question 1, answer A is twice; restore the row", "--score", tmp_path / "twice.xlsx", *key)


def test_the_report_shows_it(results, tmp_path):
    (tmp_path / "logs").mkdir()
    files = [tmp_path / "logs" / f"benchmark_2026010{place}_000000.json" for place in range(3)]
    for result, file in zip(results, files):
        file.write_bytes(open(result, "rb").read())
    sheet = make(tmp_path, list(map(str, files)))
    rated = [fill(sheet, f"{seed}.xlsx", rater(key_of(sheet), seed, (-1, 0, 1))) for seed in "ab"]
    log = score(tmp_path, sheet, *rated)
    texts = {}
    for language in ("ru", "en"):
        flags = ["--logs-dir", tmp_path / "logs", "--plots-dir", tmp_path, "--language", language]
        report = tmp_path / f"{language}.md"
        assert generate_report.main(list(map(str, [*flags, "--report-file", report]))) == 0
        texts[language] = report.read_text("utf-8")
    section = texts["en"].split("## Ratings by people")[1].split("\n## ")[0]
    mean = log["models"][1]["scores"]["clarity"]["mean"]
    (row,) = [line for line in section.splitlines() if line.startswith(f"| `{NAMES[1]}`")]
    assert f" {mean:.2f} [" in row and "(+" in row
    assert f"correctness {log['agreement']['correctness']['alpha']:.2f}," in section
    assert "## Оценка людьми" in texts["ru"] and "правильность — 0," in texts["ru"]
