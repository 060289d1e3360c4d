"""Raw files to a train and a validation file, and the check of such a pair."""

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare_data
from legalqa.data import layouts, records, splits, summary
from legalqa.data.text import normalize_text
from legalqa.errors import UserError
from legalqa.files import read_json
from legalqa.law.words import detect_language

REPOSITORY = Path(prepare_data.__file__).parent
WORDS = {"ru": "абвгдежиклмнопрст", "kk": "абвгәіңғқұөһү"}


def make_rows(count, seed=0, articles=0, kazakh=0.3):
    """Rows that are not alike; with `articles`, each about one of so many."""
    rng = random.Random(seed)

    def text(language, size):
        return " ".join("".join(rng.choices(WORDS[language], k=8)) for _ in range(size))

    rows = []
    for number in range(count):
        language = "kk" if number < kazakh * count else "ru"
        rows.append(
            {
                "instruction": text(language, 6) + ("ә?" if language == "kk" else "?"),
                "input": "",
                "output": text(language, 9).capitalize() + ".",
            }
        )
        if articles:
            rows[-1]["source"] = {"act": "labor_code", "article": str(rng.randrange(articles))}
    return rows


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def run(tmp_path, capsys, no_tokenizer):
    """run("raw.jsonl", "--flag") -> (exit code, stdout); all output goes below tmp_path/out."""

    def run(*arguments):
        folders = [
            "--train-file",
            tmp_path / "out/train.jsonl",
            "--validation-file",
            tmp_path / "out/validation.jsonl",
            "--logs-dir",
            tmp_path / "out/logs",
        ]
        code = prepare_data.main([str(word) for word in [*arguments, *folders]])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def parts(tmp_path):
    return lambda: [read_jsonl(tmp_path / f"out/{name}.jsonl") for name in ("train", "validation")]


def logged(tmp_path):
    return read_json(max((tmp_path / "out/logs").glob("prepare_*.json")))  # run ids sort by time


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("  Два   пробела\tи\u00a0неразрывный ", "Два пробела и неразрывный"),
        ("Строка\r\nдругая\rтретья\u2028четвёртая", "Строка\nдругая\nтретья\nчетвёртая"),
        ("до\u00adго\u200bвор\ufeff \x00\x07", "договор"),
        ("и\u0306", "й"),
        ("абзац\n\n\n\n  другой  \n", "абзац\n\nдругой"),
        ("а \u200b б", "а б"),
    ],
)
def test_normalize_text(raw, clean):
    assert normalize_text(raw) == clean


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_normalized_text_stays_as_it_is(text):
    clean = normalize_text(text)
    assert normalize_text(clean) == clean == unicodedata.normalize("NFC", clean) == clean.strip()
    assert not re.search(r"[^\S\n ]|  | \n|\n |\n\n\n", clean)
    assert not any(
        unicodedata.category(character) in ("Cc", "Cf") for character in clean if character != "\n"
    )


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["instruction", "input", "output", "note"]),
        st.one_of(st.none(), st.integers(), st.text()),
    )
)
def test_to_record_gives_a_record_or_a_reason(row):
    record, reason, _ = layouts.to_record(dict(row), {})
    assert (record is None) != (reason is None)
    if record:
        assert records.record_problem(record) is None
        assert layouts.to_record(json.loads(json.dumps(record)), {}) == (record, None, ())


@pytest.mark.parametrize(
    "question, language",
    [
        ("Сколько дней отпуска?", "ru"),
        ("Қанша күн?", "kk"),
        ("Іс қалай қозғалады?", "kk"),
        ("В чём разница?", "ru"),
        ("", "ru"),
    ],
)
def test_detect_language(question, language):
    assert detect_language(question) == language


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize(
    "messages, expected",
    [
        ([("user", "Вопрос?"), ("assistant", "Ответ.")], ("Вопрос?", "Ответ.")),
        ([("system", "Ты юрист."), ("user", "Вопрос?"), ("assistant", "Ответ.")], ("Вопрос?", "Ответ.")),
        ([("user", [{"type": "text", "text": "Вопрос?"}]), ("assistant", "Ответ.")], ("Вопрос?", "Ответ.")),
        (
            [("user", "А?"), ("assistant", "Б."), ("user", "В?"), ("assistant", "Г.")],
            "a chat of several questions",
        ),
        ([("assistant", "Ответ.")], "a chat without a question and an answer"),
        ([("user", "Вопрос?"), ("assistant", None)], "no field 'output'"),
        ("Вопрос?", "messages are not a list of turns"),
    ],
)
def test_chats(messages, expected):
    if isinstance(messages, list):
        messages = [dict(zip(("role", "content"), turn)) for turn in messages]
    record, reason, _ = layouts.to_record({"messages": messages}, {})
    assert expected == (reason or (record["instruction"], record["output"]))


def write_source(path, rows):
    if path.suffix == ".csv":
        with open(path, "w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter=";")
            writer.writerow(["question", "answer"])
            writer.writerows((row["instruction"], row["output"]) for row in rows)
    elif path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"version": 1, "data": rows}), "utf-8")
    elif path.suffix == ".jsonl":
        write_jsonl(
            path,
            [
                {
                    "messages": [
                        {"role": "user", "content": row["instruction"]},
                        {"role": "assistant", "content": row["output"]},
                    ]
                }
                for row in rows
            ],
        )
    else:
        import datasets

        datasets.Dataset.from_list(rows).save_to_disk(str(path))


@pytest.mark.parametrize("name", ["raw.csv", "raw.parquet", "raw.json", "raw.jsonl", "raw_saved"])
@pytest.mark.slow
def test_every_kind_of_source_gives_the_same_rows(tmp_path, run, parts, name):
    rows = make_rows(40)
    rows[3]["output"] = 'Ответ в две строки,\nс запятой; точкой с запятой и "кавычками".'
    write_source(tmp_path / name, rows)
    assert run(tmp_path / name, "--map", "question=instruction", "--map", "answer=output")[0] == 0
    train, validation = parts()
    assert len(validation) == 4
    key = json.dumps
    assert sorted(map(key, train + validation)) == sorted(map(key, rows))


def test_bad_rows_are_dropped_counted_and_named(tmp_path, run, parts):
    rows = make_rows(30)
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    bad = [
        b"{broken",
        b"[1, 2]",
        b'{"instruction": "?", "output": "x"}',
        b'{"instruction": "a", "output": " "}',
        b'{"instruction": "a"}',
        b'{"instruction": "a", "output": 5}',
        b'{"instruction": "\xd0", "output": "b"}',
        b'{"instruction": "a", "output": "\\ud800"}',
        b'{"instruction": "a", "output": "b", "note": "\\udc00"}',
        lines[0],
    ]
    (tmp_path / "raw.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join([*lines, b"", *bad]) + b"\n")
    code, output = run(tmp_path / "raw.jsonl")
    assert code == 0 and sum(map(len, parts())) == 30
    log = logged(tmp_path)
    assert log["summary"]["rows_in"] == 40 and log["summary"]["kept"] == 30
    assert {entry["line"]: entry["reason"] for entry in log["dropped"]} == {
        32: "not JSON",
        33: "not an object",
        34: "field 'instruction' has no word",
        35: "field 'output' is empty",
        36: "no field 'output'",
        37: "field 'output' is not a string",
        38: "not UTF-8",
        39: "field 'output' has half a surrogate pair",
        40: "half a surrogate pair in a further field",
        41: "exact duplicate",
    }
    assert log["dropped"][-1]["same_as"] == f"{tmp_path / 'raw.jsonl'}:1"
    assert "dropped: not UTF-8" in output


def test_further_fields_are_kept(tmp_path, run, parts):
    rows = [row | {"note": "проверено", "seen_article": True} for row in make_rows(30)]
    run(write_jsonl(tmp_path / "raw.jsonl", rows))
    for row in sum(parts(), []):
        assert row["note"] == "проверено" and "seen_article" not in row  # which is for the new split to say


@pytest.mark.parametrize(
    "content, name, message",
    [
        ("", "raw.jsonl", r"0 rows read, 0 kept \(none dropped\): too few to split"),
        (
            '{"question": "a", "answer": "b"}',
            "raw.jsonl",
            r"its columns are question, answer: name them, e.g. --map question=",
        ),
        ("{", "raw.json", r"not JSON"),
        ('"text"', "raw.json", "a list of rows is expected, found str"),
        ("not parquet", "raw.parquet", "not a Parquet file"),
        ('a,b\n"x', "raw.csv", "line 2: not CSV"),
        ("text", "raw.txt", "unknown kind of file"),
    ],
)
def test_bad_sources(tmp_path, run, content, name, message):
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(UserError, match=message) as error:
        run(tmp_path / name)
    assert str(tmp_path / name) in str(error.value) or "rows read" in message
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no source given"),
        (["nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
        (["raw", "--map", "question"], "--map question: expected COLUMN=FIELD"),
        (["raw", "--map", "question=reply"], "is one of instruction, input, output"),
        (["raw", "--map", "a=output", "--map", "b=output"], "two columns for one field"),
        (["raw", "--validation-fraction", "1"], "expected a share between 0 and 1"),
        (["raw", "--near-duplicate-threshold", "0.1"], "expected 0.5 to 1"),
        (["raw", "--tokeniser", "x"], "did you mean --tokenizer"),
        (["--check", "raw"], "give it no sources"),
        (["--check"], "train.jsonl: no such file"),
    ],
)
def test_bad_arguments(run, arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        run(*arguments)


def test_error_is_one_line_and_code_2(run_script):
    done = run_script("prepare_data.py", "nowhere.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nowhere.jsonl: no such file or folder\n"


# ---------------------------------------------------------------- the split


def test_split_is_stratified_and_keeps_groups_whole(tmp_path, run, parts):
    rows = make_rows(200)
    rows += [
        row | {"instruction": row["instruction"].replace("?", " в Казахстане?"), "output": other["output"]}
        for row, other in zip(rows[:60], make_rows(60, seed=1))
    ]
    run(write_jsonl(tmp_path / "raw.jsonl", rows))
    train, validation = parts()
    languages = Counter(detect_language(row["instruction"]) for row in validation)
    whole = Counter(detect_language(row["instruction"]) for row in rows)
    assert languages == {language: round(size / 10) for language, size in whole.items()}

    def stem(row):
        return row["instruction"].removesuffix("?").removesuffix(" в Казахстане")

    assert not set(map(stem, train)) & set(map(stem, validation))


def test_half_of_validation_is_about_unseen_articles(tmp_path, run, parts):
    run(write_jsonl(tmp_path / "raw.jsonl", make_rows(600, articles=250)), "--validation-fraction", "0.2")
    train, validation = parts()
    covered = {splits.article_of(row) for row in train}
    assert {row["seen_article"] for row in validation} == {True, False}
    assert all(row["seen_article"] is (splits.article_of(row) in covered) for row in validation)
    unseen = sum(not row["seen_article"] for row in validation)
    assert len(validation) == 120 and 58 <= unseen <= 60
    assert all("seen_article" not in row for row in train)


def test_rerun_on_its_own_output_changes_nothing(tmp_path, run):
    rows = make_rows(300, articles=120)
    rows += [row | {"output": row["output"] + " Ещё слово."} for row in rows[:30]]
    names = [tmp_path / f"out/{name}.jsonl" for name in ("train", "validation")]
    run(write_jsonl(tmp_path / "raw.jsonl", rows))
    before = [name.read_bytes() for name in names]
    assert logged(tmp_path)["summary"]["dropped"] == {"near-duplicate": 30}
    code, output = run(*reversed(names))
    assert code == 0 and [name.read_bytes() for name in names] == before
    assert "dropped" not in output
    run(*names, "--seed", "1")
    assert [name.read_bytes() for name in names] != before


def test_dry_run_writes_nothing(tmp_path, run):
    code, output = run(write_jsonl(tmp_path / "raw.jsonl", make_rows(50)), "--dry-run")
    assert code == 0 and "dry run: nothing written" in output and not (tmp_path / "out").exists()


def test_all_files_or_none(tmp_path, run, monkeypatch):
    source = write_jsonl(tmp_path / "raw.jsonl", make_rows(50))
    run(source)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    calls = iter(range(9))

    def full_disk(descriptor):
        if next(calls) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="validation.jsonl: No space left on device"):
        run(source, "--seed", "5")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_target_that_is_a_folder(tmp_path, run):
    (tmp_path / "out/validation.jsonl").mkdir(parents=True)
    with pytest.raises(UserError, match="validation.jsonl: Is a directory"):
        run(write_jsonl(tmp_path / "raw.jsonl", make_rows(50)))
    assert not (tmp_path / "out/train.jsonl").exists()


# ---------------------------------------------------------------- the table


def test_summary(tmp_path, run):
    rows = make_rows(40)
    rows[0]["output"] = "Да."
    rows[1]["output"] = "Согласно статье 28 Трудового кодекса РК договор письменный, статья 30 о сроках."
    rows[2] |= {"instruction": rows[0]["instruction"]}
    rows[5]["output"] = "Сот мүшелерiнiң саны бірге тең."  # Latin i
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    _, output = run(
        write_jsonl(tmp_path / "raw.jsonl", rows), "--tokenizer", tmp_path, "--max-seq-length", "14"
    )
    log = logged(tmp_path)["summary"]
    assert log["by_language"] == {"ru": {"train": 25, "validation": 3}, "kk": {"train": 11, "validation": 1}}
    assert log["by_cited_act"] == {"no act": 39, "labor_code": 1}
    assert log["short_answers"] == {"up to 3 words": 1, "up to 10 words": 39}
    assert log["latin_in_cyrillic"] == 1 and log["other_answers"] == 1
    assert log["tokens"]["p50"] == 15 and log["over_max_seq_length"] == 38
    for title in ("Cited act", "labor_code", "question and answer, tokens", "Most frequent first words"):
        assert title in output


def test_percentiles():
    assert summary.percentiles(list(range(1, 101))) == {
        "p5": 5,
        "p25": 25,
        "p50": 50,
        "p75": 75,
        "p95": 95,
        "p100": 100,
        "mean": 50.5,
    }
    assert summary.percentiles([]) == {}


# ---------------------------------------------------------------- the check


@pytest.fixture(scope="module")
def good_pair(tmp_path_factory):
    """The folder of a pair of files that prepare_data.py wrote."""
    folder = tmp_path_factory.mktemp("good")
    source = write_jsonl(folder / "raw.jsonl", make_rows(120, articles=30))
    out = folder / "out"
    files = ("--train-file", out / "train.jsonl", "--validation-file", out / "validation.jsonl")
    assert prepare_data.main(list(map(str, (source, *files, "--logs-dir", out / "logs")))) == 0
    return out


@pytest.fixture
def pair(tmp_path, good_pair, run, parts):
    """The rows of a good pair of files, and a function that checks the pair with other rows."""
    shutil.copytree(good_pair, tmp_path / "out")

    def check(train, validation):
        write_jsonl(tmp_path / "out/train.jsonl", train)
        write_jsonl(tmp_path / "out/validation.jsonl", validation)
        return run("--check")

    return (*parts(), check)


def test_check_passes_what_prepare_wrote(pair):
    train, validation, check = pair
    code, output = check(train, validation)
    assert code == 0 and output.startswith("ok: ") and output.count("\n") == 1


def reworded(row):
    words = row["instruction"].rstrip("?").split()
    return row | {"instruction": " ".join(words[::-1]) + " по закону РК"}  # 6 of 8 words; the answer the same


@pytest.mark.parametrize(
    "spoil, finding",
    [
        (
            lambda train, validation: validation.append(train[4] | {"output": "Совсем другой ответ."}),
            r"question of train in validation: 1: \S+train.jsonl:5 and \S+validation.jsonl:13$",
        ),
        (
            lambda train, validation: validation.append(reworded(train[4])),
            r"near-duplicate question of train in validation: 1: \S+train.jsonl:5 and "
            r"\S+validation.jsonl:13$",
        ),
        (
            lambda train, validation: train.append(train[0]),
            r"exact duplicate in train: 1: \S+:1 and \S+:109$",
        ),
        (lambda train, validation: validation.append(validation[0]), "exact duplicate in validation: 1: "),
        (
            lambda train, validation: train.append(train[0] | {"output": train[0]["output"] + " Да."}),
            "near-duplicate in train: 1: ",
        ),
        (
            lambda train, validation: train.extend(
                [{"instruction": "a"}, [], {"instruction": "a", "output": None}]
            ),
            r"bad row in train: 3: \S+:109 no field 'output'; \S+:110 not a JSON object; \S+:111 field "
            r"'output' is not a string$",
        ),
        (lambda train, validation: validation.clear(), "bad row in validation: 1: .* has no rows"),
        (
            lambda train, validation: validation[0].update(seen_article=not validation[0]["seen_article"]),
            r"seen_article is not true: 1: \S+validation.jsonl:1 says (True|False)$",
        ),
        (lambda train, validation: validation[0].pop("source"), r"seen_article is not true: 1: "),
    ],
)
def test_check_finds(pair, spoil, finding):
    train, validation, check = pair
    spoil(train, validation)
    code, output = check(train, validation)
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(errors) == 1 and re.search("^error: " + finding, errors[0]), output


def test_check_warns(pair):
    train, validation, check = pair
    train[0]["output"] = validation[0]["output"] = " ".join(f"слово{chr(0x430 + n)}" for n in range(25))
    train.append(train[1] | {"output": "Другой ответ на тот же вопрос."})
    train[2]["output"] += "  Два пробела."
    code, output = check(train, validation)
    assert code == 0
    for kind in (
        "long answer of train in validation",
        "same question, other answer in train",
        "text not normalized",
    ):
        assert f"warning: {kind}: 1: " in output


def test_committed_data_pass_the_check(capsys):
    files = [str(REPOSITORY / "combined_data" / f"{name}.jsonl") for name in ("train", "validation")]
    code = prepare_data.main(["--check", "--train-file", files[0], "--validation-file", files[1]])
    assert code == 0, capsys.readouterr().out


def test_nothing_heavy_is_imported_for_help():
    heavy = {"datasets", "numpy", "pyarrow", "rich", "datasketch"}
    script = (
        "import atexit, sys, prepare_data\n"
        f"atexit.register(lambda: print(sorted({heavy} & set(sys.modules)), file=sys.stderr))\n"
        "prepare_data.main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, done.stderr.strip()) == (0, "[]") and "--dry-run" in done.stdout
