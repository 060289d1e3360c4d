"""Files and places of strangers: what went wrong with other tools, by kind. A row or file is used or named.

The kinds are numbered as in the issue that listed them. python -m pytest tests/test_strangers_files.py
"""

import bz2
import csv
import datetime
import errno
import gzip
import json
import os
import subprocess
import sys
import time
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prepare_data import REPOSITORY, make_rows, read_jsonl, write_jsonl

import benchmark
import prepare_data
import train_8b
from legalqa import runlog
from legalqa.data import formats, layouts, records, sources
from legalqa.data.text import clean_text, leftovers_warning, without_thoughts
from legalqa.errors import UserError, describe_os_error, os_advice
from legalqa.files import read_json, user_folder
from legalqa.model import device
from legalqa.model.base import check_model_name
from legalqa.report.logs import Shelf
from legalqa.scoring.metrics import score_predictions

PAIR = {"instruction": "Вопрос о сроке?", "output": "Ответ о сроке."}


@pytest.fixture
def prepared(tmp_path, capsys, no_tokenizer):
    """prepared("raw", "--flag") -> (rows written, log, stdout)."""

    def run(*arguments):
        out = tmp_path / "out"
        flags = [
            "--train-file",
            out / "train.jsonl",
            "--validation-file",
            out / "validation.jsonl",
            "--logs-dir",
            out / "logs",
        ]
        assert prepare_data.main([str(word) for word in [*arguments, *flags]]) == 0
        rows = [row for name in ("train", "validation") for row in read_jsonl(out / f"{name}.jsonl")]
        return rows, read_json(max((out / "logs").glob("prepare_*.json"))), capsys.readouterr().out

    return run


def outcome(log):
    """{file name: (outcome, why)}"""
    return {
        os.path.basename(entry["file"]): (entry["outcome"], entry["why"] or entry["num_rows"])
        for entry in log["files"]
    }


# ---- 1. One input under two instructions is two rows


@pytest.mark.parametrize(
    "rows",
    [
        [
            {"instruction": "Нужен ли залог?", "input": "Статья 5.", "output": "Да."},
            {"instruction": "Нужна ли доверенность?", "input": "Статья 5.", "output": "Да."},
        ],
        [
            {"instruction": question, "input": "Договор найма жилья " * 20, "output": answer}
            for question in ("Кто платит за ремонт?", "Кому сообщать о протечке?", "Кто?")
            for answer in ("Наниматель жилого помещения, если договор не говорит иного.",)
        ],
        [  # a general instruction may still be no more than that
            {"instruction": "Қандай мерзім қолданылады?", "input": "", "output": "Үш жыл."},
            {"instruction": "Жауап бер.", "input": "Қандай мерзім қолданылады?", "output": "Үш жыл."},
        ],
    ],
)
def test_rows_of_one_input_are_kept(tmp_path, prepared, rows):
    written, log, _ = prepared(write_jsonl(tmp_path / "raw.jsonl", make_rows(30) + rows))
    assert log["summary"]["dropped"] == {} and len(written) == 30 + len(rows)


def test_a_passage_in_both_files_is_a_warning_and_a_question_an_error(tmp_path, capsys):
    passage = {"input": "Статья 5. Залог возможен.", "output": "Да."}
    pair = [tmp_path / "train.jsonl", tmp_path / "validation.jsonl"]
    flags = ["--check", "--train-file", str(pair[0]), "--validation-file", str(pair[1])]
    write_jsonl(pair[0], [passage | {"instruction": "Нужен ли залог?"}])
    write_jsonl(pair[1], [passage | {"instruction": "Кто составляет опись имущества?"}])
    assert prepare_data.main(flags) == 0
    assert "one input in train and validation, under two instructions: 1" in capsys.readouterr().out
    write_jsonl(pair[1], [PAIR | {"instruction": "Ответь.", "input": "Нужен ли залог?"}])
    write_jsonl(pair[0], [PAIR | {"instruction": "Нужен ли залог?", "output": "Нужен."}])
    assert prepare_data.main(flags) == 1


def test_an_input_that_all_rows_share_does_not_make_them_one_group(tmp_path, prepared):
    rows = [row | {"input": "Республика Казахстан"} for row in make_rows(60)]
    written, log, _ = prepared(write_jsonl(tmp_path / "raw.jsonl", rows))
    assert len(written) == 60 and log["summary"]["validation"] == 6


# ---- 2. No git; advice that fits the error


@pytest.mark.slow
def test_without_git_the_facts_are_null_and_nothing_stops(tmp_path, run_script):
    source = write_jsonl(tmp_path / "raw.jsonl", make_rows(30))
    flags = (
        "--train-file",
        tmp_path / "t",
        "--validation-file",
        tmp_path / "v",
        "--logs-dir",
        tmp_path / "logs",
    )
    done = run_script("prepare_data.py", source, *flags, env={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "logs").glob("prepare_*")
    assert read_json(log)["meta"]["git"] == {"commit": None, "dirty": None}
    predictions = write_jsonl(tmp_path / "p.jsonl", [{**PAIR, "prediction": "Ответ."}])
    done = run_script(
        "benchmark.py",
        "--predictions",
        predictions,
        "--logs-dir",
        tmp_path / "logs",
        env={"PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "number, free, rights",
    [
        (errno.ENOSPC, True, False),
        (errno.EDQUOT, True, False),
        (errno.EACCES, False, True),
        (errno.EROFS, False, True),
        (errno.EPERM, False, True),
        (errno.ENOENT, False, False),
        (errno.EISDIR, False, False),
        (errno.EIO, False, False),
    ],
)
def test_advice_fits_the_error(number, free, rights):
    for text in (os_advice(OSError(number, "x")), describe_os_error(OSError(number, "x", "file"))):
        assert ("free space" in text, "rights" in text) == (free, rights)


@pytest.mark.parametrize("program", ["no_such_compiler", "git_of_nowhere"])
def test_a_missing_program_is_named_as_such(program):
    with pytest.raises(OSError) as caught:
        subprocess.run([program])
    assert describe_os_error(caught.value) == (
        f"the program '{program}' is not here, or may not be run; install it"
    )
    with pytest.raises(OSError) as caught:
        open(program)
    assert "program" not in describe_os_error(caught.value)


# ---- 3. Run ids


CLAIM_IDS = """
import pathlib, sys
from legalqa import runlog
folder = pathlib.Path(sys.argv[1])
for _ in range(25):
    with runlog.new_run(folder) as run:
        (folder / f"benchmark_{run}.json").write_text(run)
        print(run)
"""


def test_ids_of_runs_at_once_are_unique(tmp_path):
    command = [sys.executable, "-c", CLAIM_IDS, str(tmp_path)]
    workers = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    ids = [run for worker in workers for run in worker.communicate(timeout=60)[0].split()]
    assert all(worker.returncode == 0 for worker in workers)
    assert len(ids) == len(set(ids)) == 100 and len(list(tmp_path.iterdir())) == 100
    assert all(path.read_text() in path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", [".20260101_000000.claim", "benchmark_20260101_000000.json"])
def test_an_id_taken_between_look_and_claim_is_left(tmp_path, monkeypatch, name):
    ids = iter(["20260101_000000", "20260101_000000", "20260101_000001"])
    monkeypatch.setattr(runlog, "next_run_id", lambda folder: next(ids))
    (tmp_path / name).write_text("another's")
    with runlog.new_run(tmp_path) as run:
        assert run == "20260101_000001"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "another's")]


def test_six_benchmarks_in_a_loop_leave_six_logs(tmp_path, capsys):
    predictions = write_jsonl(tmp_path / "p.jsonl", [{**PAIR, "prediction": "Ответ."}])
    for _ in range(6):
        benchmark.main(["--predictions", str(predictions), "--logs-dir", str(tmp_path / "logs")])
    assert len(list((tmp_path / "logs").iterdir())) == 6
    assert len(Shelf(tmp_path / "logs").runs("benchmark")) == 6


@pytest.mark.parametrize("zone", ["Asia/Almaty", "America/New_York", "Pacific/Kiritimati"])
def test_order_is_true_across_time_zones(tmp_path, monkeypatch, zone):
    (tmp_path / "metrics_20260101_120000.json").touch()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        run = runlog.next_run_id(tmp_path)
    finally:
        monkeypatch.undo()
        time.tzset()
    moment = datetime.datetime.strptime(run, "%Y%m%d_%H%M%S").replace(tzinfo=datetime.UTC)
    assert abs(datetime.datetime.now(datetime.UTC) - moment) < datetime.timedelta(seconds=60)


@pytest.mark.parametrize("name", ["benchmark_{}.json", "history_{}.jsonl", "train_{}.log", ".{}.claim"])
def test_a_clock_that_was_set_back_makes_no_older_run(tmp_path, name):
    (tmp_path / name.format("21000101_235959")).touch()
    (tmp_path / "benchmark_99999999_999999.json").touch()  # no date
    (tmp_path / "benchmark_99991231_235959.json").touch()
    with runlog.new_run(tmp_path) as run:
        assert run == "21000102_000000"
        assert runlog.next_run_id(tmp_path) == "21000102_000001"
    assert len(list(tmp_path.iterdir())) == 3


def test_logs_folder_that_is_a_file_or_closed(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "logs"):
        with (
            pytest.raises(UserError, match="another --logs-dir|choose another folder"),
            runlog.new_run(folder),
        ):
            pass


# ---- 4. What a template will add


@pytest.mark.parametrize(
    "answer, clean",
    [
        ("Срок три года.<|im_end|>", "Срок три года."),
        ("Срок три года.</s>", "Срок три года."),
        ("<think>\nПодумаю.\n</think>\n\nСрок три года.", "Срок три года."),
        ("Подумаю о сроке. </think> Срок три года.", "Срок три года."),
        ("Срок три года. <think> а может", "Срок три года."),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nСрок три года.<|eot_id|>", "Срок три года."),
        ("<start_of_turn>model\nСрок три года.<end_of_turn>\n<eos>", "Срок три года."),
        ("<|im_start|>assistant\nСрок три года.<|im_end|>\n<|endoftext|>", "Срок три года."),
        ("Срок три года.<｜end▁of▁sentence｜>", "Срок три года."),
        ("[INST] Срок [/INST] три года.", "Срок три года."),
        ("Срок &lt;|im_end|&gt; три года.", "Срок три года."),
        ("Если a < b, то штраф > 3 МРП [1].", "Если a < b, то штраф > 3 МРП [1]."),
    ],
)
def test_template_tokens_are_taken_out(answer, clean):
    text, removed = clean_text(answer, is_answer=True)
    assert text == clean and bool(removed) is (text != answer)


def test_template_tokens_are_counted_and_rows_of_nothing_else_dropped(tmp_path, prepared):
    rows = make_rows(40)
    for row in rows[:3]:
        row["output"] += "<|im_end|>"
    rows[3]["output"] = "<think>мысль</think> " + rows[3]["output"]
    rows[4]["instruction"] = "<|im_start|>user\n" + rows[4]["instruction"]
    bad = [{"instruction": "Что это?", "output": "<think>мысль без конца"}, PAIR | {"output": "</s>"}]
    written, log, output = prepared(write_jsonl(tmp_path / "raw.jsonl", rows + bad))
    assert log["summary"]["changed"] == {"chat template tokens": 4, "<think>": 1}
    assert "changed: chat template tokens" in output
    assert not any("<" in row["instruction"] + row["output"] for row in written) and len(written) == 40
    assert log["summary"]["dropped"] == {
        "field 'output' has nothing but <think>": 1,
        "field 'output' has nothing but chat template tokens": 1,
    }


def test_training_is_warned_of_template_tokens():
    rows = [
        {"instruction": "А?", "input": "", "output": text} for text in ("Б.</s>", "<think>В</think>Г.", "Д.")
    ]
    assert "(1 with chat template tokens, 1 with <think>)" in leftovers_warning(rows, "t.jsonl")
    assert leftovers_warning(rows[2:], "t.jsonl") is None


def test_training_says_so_before_anything_slow(tmp_path, capsys):
    rows = [row | {"output": f"<think>Да.</think>{row['output']}<|im_end|>"} for row in make_rows(3)]
    file = write_jsonl(tmp_path / "train.jsonl", rows)
    with pytest.raises(UserError, match="nothing to resume"):
        train_8b.main(["--train-file", str(file), "--checkpoint-dir", str(tmp_path), "--resume"])
    assert (
        f"warning: {file}: rows that hold what a chat template adds by itself (3 with chat template tokens, "
        "3 with <think>)" in capsys.readouterr().err
    )


PIECES = "<think> </think> &lt; &amp; br> < /s> <| |> im_end _x000D_ \u200b а 12<sup> </sup> 1".split() + [
    " "
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_clean_text_stays_as_it_is(pieces):
    text = clean_text("".join(pieces), is_answer=True).text
    assert clean_text(text, is_answer=True) == (text, frozenset())
    assert not any(mark in text for mark in ("<think>", "</think>", "<br>", "</s>", "<|im_end|>", "_x000D_"))


def test_many_open_thoughts_take_no_time_to_speak_of():
    assert without_thoughts("<think>" * 200_000) == ""


# ---- 5. Every file is read or named


def test_a_folder_lists_every_file(tmp_path, prepared):
    raw, rows = tmp_path / "raw", make_rows(90)
    (raw / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (raw / "a.jsonl").write_text("".join(lines[:10]), "utf-8")
    (raw / "B.JSONL").write_text("".join(lines[10:20]), "utf-8")
    (raw / "c.ndjson").write_text("".join(lines[20:30]), "utf-8")
    table = "instruction,output\n" + "".join(
        f'{row["instruction"]},"{row["output"]}"\n' for row in rows[30:40]
    )
    (raw / "d.csv.gz").write_bytes(gzip.compress(table.encode()))
    (raw / "deep" / "f.jsonl.bz2").write_bytes(bz2.compress("".join(lines[40:50]).encode()))
    (tmp_path / "elsewhere" / "g.jsonl").write_text("".join(lines[50:60]), "utf-8")
    (raw / "linked").symlink_to(tmp_path / "elsewhere")
    (raw / "loop").symlink_to(raw)
    (raw / "twin.jsonl").symlink_to(raw / "a.jsonl")
    (raw / "e.xlsx").write_bytes(b"PK\x03\x04" + b"\0" * 60)
    (raw / "notes.json").write_text('{"note": "text", "date": 5}')
    (raw / "old.csv").write_bytes(
        "instruction;output\nсрок давности;три года по общему правилу\n".encode("cp1251")
    )
    (raw / "gone.jsonl").symlink_to(raw / "nowhere")
    (raw / "read me.txt").write_text("x")
    (raw / ".git").mkdir()
    written, log, output = prepared(raw)
    assert len(written) == 60 and log["summary"]["rows_in"] == 60
    named = outcome(log)
    for name in ("a.jsonl", "B.JSONL", "c.ndjson", "d.csv.gz", "f.jsonl.bz2", "g.jsonl"):
        assert named.pop(name) == ("read", 10), name
    notes = named.pop("notes.json")
    assert notes[0] == "skipped" and "its columns are note, date" in notes[1]
    old = named.pop("old.csv")
    assert old[0] == "skipped" and "looks like cp1251" in old[1] and "iconv -f cp1251" in old[1]
    assert named == {
        "twin.jsonl": ("skipped", "the same file as one before, by a link"),
        "loop": ("skipped", "a link to a folder it is in"),
        "gone.jsonl": ("skipped", "a link to nothing"),
        ".git": ("skipped", "hidden"),
        "e.xlsx": (
            "unknown",
            "unknown kind of file: an Excel file or a zip archive: save it as CSV, or unpack it",
        ),
        "read me.txt": ("unknown", "unknown kind of file"),
    }
    for name in outcome(log):
        assert name in output


@pytest.mark.parametrize(
    "name, content, why",
    [
        ("raw.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("raw.csv", b"PK\x03\x04xl/workbook", "save it as CSV"),
        ("raw.jsonl.gz", b"\x1f\x8b\x08broken", "damaged gzip file"),
        ("raw.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:-4], "damaged gzip file"),
        ("raw.csv.bz2", b"BZh91AY&SY", "damaged bzip2 file"),
        ("raw.json.xz", b"\xfd7zXZ\0", "damaged xz file"),
        ("raw.json", gzip.compress(gzip.compress(b"[]", mtime=0), mtime=0), "compressed twice"),
        ("raw.parquet", b"%PDF-1.7", "a PDF"),
        ("raw.zip", b"PK\x03\x04", "unpack it"),
    ],
)
def test_a_named_file_that_is_something_else_stops(tmp_path, prepared, name, content, why):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=why) as error:
        prepared(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_kind_is_told_by_the_content_not_the_name(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([PAIR]), tmp_path / "table.jsonl")
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    for name in ("table.jsonl", "packed.jsonl"):
        (row,) = sources.read_file(tmp_path / name, {})
        assert row.record == PAIR | {"input": ""}


@pytest.mark.slow
def test_saved_datasets_in_a_folder(tmp_path, prepared):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(make_rows(30)).save_to_disk(str(tmp_path / "raw" / "saved"))
    write_jsonl(tmp_path / "raw" / "more.jsonl", make_rows(30, seed=1))
    written, log, _ = prepared(tmp_path / "raw")
    assert len(written) == 60 and outcome(log) == {"saved": ("read", 30), "more.jsonl": ("read", 30)}


# ---- 6. Optional fields of predictions


@pytest.mark.parametrize(
    "field, value",
    [
        ("cut_off", "false"),
        ("cut_off", 0),
        ("new_tokens", 1.5),
        ("new_tokens", -1),
        ("new_tokens", True),
        ("generation_sec", "3"),
        ("generation_sec", float("nan")),
        ("generation_sec", [1]),
        ("seen_article", "yes"),
        ("prediction", None),
    ],
)
def test_optional_fields_of_predictions_are_checked(field, value):
    row = {**PAIR, "input": "", "prediction": "Ответ.", field: value}
    with pytest.raises(UserError, match=f"p.jsonl: row 1.*{field}"):
        score_predictions([row], "p.jsonl")


def test_odd_sources_of_predictions_are_no_acts(tmp_path, capsys):
    rows = [
        {**PAIR, "prediction": "Да.", "source": source}
        for source in ("сайт", {"act": ["x"]}, {"act": 5}, None)
    ]
    benchmark.main(
        ["--predictions", str(write_jsonl(tmp_path / "p.jsonl", rows)), "--output", str(tmp_path / "o")]
    )
    assert read_json(tmp_path / "o")["summary"]["by_act"] == {}


# ---- 7. Parquet cells that are no values of Python


def test_parquet_cells(tmp_path):
    import pyarrow
    from pyarrow import parquet

    broken = "срок".encode("cp1251")
    texts = pyarrow.array([b"\xd0\x90?", b"\xd0\x91?", broken], pyarrow.binary()).view(pyarrow.string())
    far = pyarrow.array([2**62, 0, None], pyarrow.int64())
    table = pyarrow.table(
        {
            "instruction": texts,
            "output": ["Да.", "Нет.", "Да."],
            "when": far.cast(pyarrow.timestamp("us")),
            "day": pyarrow.array([10**7, 0, None], pyarrow.int32()).cast(pyarrow.date32()),
            "took": pyarrow.array([1, 2**60, None], pyarrow.duration("ns")),
            "share": [float("nan"), 0.5, None],
            "blob": [b"\xff", b"", None],
        }
    )
    parquet.write_table(table, tmp_path / "raw.parquet")
    rows = list(sources.read_file(tmp_path / "raw.parquet", {}))
    assert [row.reason for row in rows] == [None, None, "column 'instruction' cannot be read"]
    assert rows[0].record["share"] is None and rows[0].notes == (layouts.NOT_A_NUMBER,)
    for row in rows[:2]:
        json.loads(records.to_line(row.record))


# ---- 8. Terminals of other encodings


@pytest.mark.parametrize(
    "encoding", ["cp1251", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ascii", "latin-1"))]
)
def test_a_terminal_that_lacks_letters(tmp_path, encoding):
    source = write_jsonl(tmp_path / "raw.jsonl", make_rows(40, kazakh=0.6))
    flags = ("--train-file", tmp_path / "t", "--validation-file", tmp_path / "v", "--logs-dir", tmp_path)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "prepare_data.py"), source, *flags],
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"},
        capture_output=True,
    )
    assert done.returncode == 0 and (tmp_path / "t").is_file(), done.stderr
    assert done.stdout.decode(encoding).rstrip().endswith("read 40, kept 40, not used 0")


# ---- 9. Layouts


SYSTEM = {"role": "system", "content": "Ты юрист."}


@pytest.mark.parametrize(
    "row, expected",
    [
        (
            {"conversations": [{"from": "human", "value": "А?"}, {"from": "gpt", "value": "Б."}]},
            ("А?", "", "Б."),
        ),
        (
            {
                "conversations": [
                    {"from": "system", "value": "С"},
                    {"from": "user", "value": "А?"},
                    {"from": "assistant", "value": "Б."},
                ]
            },
            ("А?", "", "Б."),
        ),
        (
            {"messages": [SYSTEM, {"role": "user", "content": "А?"}, {"role": "assistant", "content": "Б."}]},
            ("А?", "", "Б."),
        ),
        (
            {
                "messages": [
                    SYSTEM | {"role": "developer"},
                    {"role": "Human", "content": "А?"},
                    {"role": "model", "content": "Б."},
                ]
            },
            ("А?", "", "Б."),
        ),
        ({"instruction": "А?", "input": "", "output": "Б.", "history": [], "system": ""}, ("А?", "", "Б.")),
        ({"instruction": "А?", "input": None, "output": "Б.", "system": "Ты юрист."}, ("А?", "", "Б.")),
        ({"prompt": "А?", "completion": "Б."}, ("А?", "", "Б.")),
        ({"prompt": "А?", "response": "Б."}, ("А?", "", "Б.")),
        (
            {
                "prompt": [{"role": "user", "content": "А?"}],
                "completion": [{"role": "assistant", "content": "Б."}],
            },
            ("А?", "", "Б."),
        ),
        (
            {
                "question": "А?",
                "context": "Статья 5.",
                "answers": {"text": ["Б.", "В."], "answer_start": [0, 1]},
            },
            ("А?", "Статья 5.", "Б."),
        ),
    ],
)
def test_layouts(row, expected):
    reading = layouts.to_record(row, {})
    assert reading.reason is None
    assert tuple(reading.record[field] for field in records.FIELDS) == expected
    assert not {"messages", "conversations", "history", "prompt", "answers"} & reading.record.keys()


@pytest.mark.parametrize(
    "row, reason",
    [
        (PAIR | {"history": [["А?", "Б."]]}, "a chat of several questions"),
        ({"conversations": [{"from": "human", "value": "А?"}]}, "a chat without a question and an answer"),
        (
            {"messages": [{"role": "tool", "content": "А?"}]},
            "a chat with a turn of neither user nor assistant",
        ),
        ({"question": "А?", "context": "С.", "answers": {"text": []}}, "a question without an answer"),
        ({"prompt": "А?"}, "no field 'instruction'"),
        ({"prompt": "А?", "completion": 5}, "field 'output' is not a string"),
    ],
)
def test_rows_of_no_use_say_why(row, reason):
    assert layouts.to_record(row, {})[:2] == (None, reason)


def test_sharegpt_named_by_map_as_well(tmp_path, prepared):
    rows = [
        {"talk": [{"from": "human", "value": row["instruction"]}, {"from": "gpt", "value": row["output"]}]}
        for row in make_rows(30)
    ]
    written, _, _ = prepared(write_jsonl(tmp_path / "raw.jsonl", rows), "--map", "talk=messages")
    assert len(written) == 30


@pytest.mark.parametrize("answers", [True, None, "б", [5], {"text": 5}, {}])
def test_answers_of_another_shape_are_none(answers):
    (row,) = layouts.squad_rows(
        {"paragraphs": [{"context": "С.", "qas": [{"question": "а?", "answers": answers}]}]}
    )
    assert layouts.to_record(row, {}).reason == "a question without an answer"


def test_nested_squad(tmp_path, prepared):
    rows = make_rows(40)
    paragraphs = [
        {
            "context": f"Статья {number}.",
            "qas": [{"question": row["instruction"], "answers": [{"text": row["output"]}]}],
        }
        for number, row in enumerate(rows)
    ]
    paragraphs[0]["qas"].append({"question": "Без ответа?", "answers": [], "is_impossible": True})
    (tmp_path / "squad.json").write_text(
        json.dumps({"version": "2", "data": [{"title": "т", "paragraphs": paragraphs}]})
    )
    written, log, _ = prepared(tmp_path / "squad.json")
    assert len(written) == 40 and log["summary"]["dropped"] == {"a question without an answer": 1}


@pytest.mark.parametrize(
    "lines, first",
    [
        (
            ["{broken", json.dumps(PAIR)],
            r"raw.jsonl:1: not JSON; 2 rows read, 1 kept \(1 dropped: not JSON\)",
        ),
        (
            [json.dumps({"messages": []})] * 3,
            r"raw.jsonl:1: a chat without a question and an answer; 3 rows read",
        ),
    ],
)
def test_the_reason_file_and_line_come_first(tmp_path, prepared, lines, first):
    (tmp_path / "raw.jsonl").write_text("\n".join(lines), "utf-8")
    with pytest.raises(UserError, match=first) as error:
        prepared(tmp_path / "raw.jsonl")
    assert "validation-fraction" not in str(error.value)


# ---- 10. CSV


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\ninstruction;output\n{q};{a}\n",
        '"sep=|"\r\ninstruction|output\r\n{q}|{a}\r\n',
        "SEP=\t\ninstruction\toutput\n{q}\t{a}\n",
        'instruction, output, "заметка, дата"\n{q}, {a}, "нет"\n',
        ' "instruction"; "output"\n"{q}"; "{a}"\n',
        '"instruction";"output";"заметка, дата, место"\n{q};{a};нет\n',
        " instruction ;  output\n{q};{a}\n",
        "instruction|output\n{q}|{a}\n",
        "instruction\toutput\n{q}\t{a}\n",
        "\n\ninstruction,output\n{q},{a}\n",
        "instruction;output;заметка, дата, место\n{q};{a};нет\n",
        '"instruction","output","дата;\nместо;время"\n{q},{a},\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_of_every_make(tmp_path, text, encoding):
    (tmp_path / "raw.csv").write_bytes(text.format(q="Каков срок?", a="Три года.").encode(encoding))
    rows = list(sources.read_file(tmp_path / "raw.csv", {}))
    assert [(row.record["instruction"], row.record["output"]) for row in rows] == [
        ("Каков срок?", "Три года.")
    ]
    lines = text.splitlines()
    assert rows[0].line == next(number for number, line in enumerate(lines, 1) if "{q}" in line)


def test_csv_with_a_column_twice(tmp_path):
    (tmp_path / "raw.csv").write_text("instruction,output,output\nа,б,в\n", "utf-8")
    with pytest.raises(UserError, match="column 'output' occurs twice"):
        list(sources.read_file(tmp_path / "raw.csv", {}))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sources.DELIMITERS),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(
        lambda text: text + "я"
    ),
)
def test_csv_written_by_python_is_read(tmp_path_factory, delimiter, answer):
    path = tmp_path_factory.mktemp("csv") / "raw.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([["instruction", "output"], ["Вопрос?", answer]])
    (row,) = sources.read_file(path, {})
    assert row.record["output"] == clean_text(answer, is_answer=True).text


# ---- 11. Encodings


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["raw.jsonl", "raw.json", "raw.jsonl.gz"])
def test_unicode_of_every_width_is_read(tmp_path, encoding, name):
    content = json.dumps(PAIR, ensure_ascii=False).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    (row,) = sources.read_file(tmp_path / name, {})
    assert row.record["output"] == PAIR["output"]


@pytest.mark.parametrize(
    "content, advice",
    [
        (
            (json.dumps(PAIR, ensure_ascii=False) + "\n").encode("cp1251"),
            "looks like cp1251.*iconv -f cp1251",
        ),
        (
            (json.dumps(PAIR, ensure_ascii=False) + "\n").encode("koi8-r"),
            "looks like koi8_r.*iconv -f koi8_r",
        ),
        ((json.dumps(PAIR, ensure_ascii=False) + "\n").encode("utf-16"), "UTF-16.*prepare_data.py reads it"),
        (gzip.compress(b"{}", mtime=0), "not UTF-8 text but gzip; python prepare_data.py reads it"),
        (b"PAR1\xff\xfe", "but Parquet; python prepare_data.py reads it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        (b"PK\x03\x04\xff", "Excel"),
    ],
)
def test_advice_about_a_train_file_in_another_encoding(tmp_path, content, advice):
    (tmp_path / "train.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=advice) as error:
        records.read_records(tmp_path / "train.jsonl")
    assert "cp1251" in advice or "cp1251" not in str(error.value)


@pytest.mark.parametrize("name", ["raw.csv", "raw.json", "raw.jsonl"])
def test_cp1251_is_named_with_the_right_advice(tmp_path, name):
    text = "instruction,output\nКаков срок исковой давности?,Три года\n" if name == "raw.csv" else ""
    text = text or "\n".join([json.dumps(PAIR, ensure_ascii=False)] * 3)
    text = f"[{text.replace(chr(10), ',')}]" if name == "raw.json" else text
    (tmp_path / name).write_bytes(text.encode("cp1251"))
    with pytest.raises(UserError, match=f"{name}: not UTF-8, it looks like cp1251; .*iconv -f cp1251"):
        list(sources.read_file(tmp_path / name, {}))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_named(tmp_path_factory, content):
    assert formats.not_utf8(content)
    folder = tmp_path_factory.mktemp("bytes")
    for suffix in sources.SUFFIXES:
        path = folder / f"raw{suffix}"
        path.write_bytes(content)
        try:
            rows = list(sources.read_file(path, {}))
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert all((row.record is None) != (row.reason is None) for row in rows)


# ---- 13. The leak filter


@pytest.mark.parametrize(
    "asked",
    [
        unicodedata.normalize("NFD", "Какой срок у жалобы, если её подаёт ребёнок?"),
        "Какой  срок у жалобы, если её подаёт ребёнок?",
        "какой срок у жалобы если её подаёт ребёнок",
        "Какой срок у жалобы, если ее подает ребенок?",
        "«Какой срок у жалобы, если её подаёт ребёнок?»",
        "Какой срок у жалoбы, если её подаёт ребёнок?",  # Latin o
    ],
)
def test_the_same_question_in_other_letters_leaks(asked):
    train = [{"instruction": "Какой срок у жалобы, если её подаёт ребёнок?", "input": "", "output": "а"}]
    other = {"instruction": "Какой срок у иска?", "input": "", "output": "а"}
    assert records.without_leaks([{"instruction": asked, "input": "", "output": "б"}, other], train) == [
        other
    ]


def test_a_question_in_two_fields_leaks_too():
    train = [{"instruction": "Какой срок у жалобы?", "input": "", "output": "а"}]
    assert (
        records.without_leaks([{"instruction": "Какой срок", "input": "у жалобы", "output": "б"}], train)
        == []
    )


def test_questions_without_words_are_not_one():
    rows = [{"instruction": mark, "input": "", "output": "а"} for mark in ("???", "!!!")]
    assert records.without_leaks(rows[:1], rows[1:]) == rows[:1]


# ---- 14. Nothing is left out without a count; what is written is JSON; texts are texts


def test_keys_that_occur_twice(tmp_path):
    lines = [
        '{"instruction": "а", "output": "б", "output": "в"}',
        '{"instruction": "а", "output": "б", "source": {"act": "x", "act": "y"}}',
        '{"messages": [{"role": "user", "content": "а", "content": "б"}, {"role": "model", "content": "в"}]}',
    ]
    (tmp_path / "raw.jsonl").write_text("\n".join(lines), "utf-8")
    reasons = [row.reason for row in sources.read_file(tmp_path / "raw.jsonl", {})]
    assert reasons == ["key 'output' occurs twice", "key 'act' occurs twice", "key 'content' occurs twice"]
    (tmp_path / "raw.json").write_text(f"[{','.join(lines)}]", "utf-8")
    assert [row.reason for row in sources.read_file(tmp_path / "raw.json", {})] == reasons
    with pytest.raises(UserError, match="line 1: key 'output' occurs twice"):
        records.read_records(tmp_path / "raw.jsonl")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '{"a": [NaN]}'])
def test_no_number_that_json_lacks_is_written(tmp_path, prepared, number):
    def refuse(name):
        raise AssertionError(name)

    lines = [
        json.dumps(row | {"score": 0}).replace('"score": 0', f'"score": {number}') for row in make_rows(30)
    ]
    (tmp_path / "raw.jsonl").write_text("\n".join(lines), "utf-8")
    _, log, output = prepared(tmp_path / "raw.jsonl")
    assert log["summary"]["changed"] == {layouts.NOT_A_NUMBER: 30}
    for line in (tmp_path / "out/train.jsonl").read_text("utf-8").splitlines():
        json.loads(line, parse_constant=refuse)


def test_system_turns_and_histories_are_counted(tmp_path, prepared):
    rows = [row | {"system": "Ты юрист."} for row in make_rows(30)]
    rows += [
        {
            "messages": [
                SYSTEM,
                {"role": "user", "content": row["instruction"]},
                {"role": "assistant", "content": row["output"]},
            ]
        }
        for row in make_rows(10, seed=1)
    ]
    rows += [row | {"history": [["а", "б"]]} for row in make_rows(5, seed=2)]
    written, log, output = prepared(write_jsonl(tmp_path / "raw.jsonl", rows))
    assert log["summary"]["changed"] == {layouts.SYSTEM_TURN: 40}
    assert {row["system"] for row in written} == {"Ты юрист."}
    assert output.rstrip().endswith("read 45, kept 40, not used 5: a chat of several questions 5")


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("Суд&nbsp;&mdash; орган", "Суд — орган"),
        ("&laquo;Срок&raquo; &#8211; 3&nbsp;года", "«Срок» – 3 года"),
        ("&amp;quot;Да&amp;quot;", '"Да"'),
        ("Первая.<br/>Вторая.<BR>Третья.", "Первая.\nВторая.\nТретья."),
        ("<p class='x'>Первая.</p><p>Вторая.</p>", "Первая.\n\nВторая."),
        ('<b>Срок</b> — <a href="/ru">три года</a>', "Срок — три года"),
        ("Первая._x000D_\nВторая.", "Первая.\nВторая."),
        ("Первая._x000D__x000A_Вторая_x0009_.", "Первая.\nВторая ."),
        ("Статья 12<sup>1</sup> закона", "Статья 12-1 закона"),
        ("<td>Срок</td><td>Три года</td>", "Срок Три года"),
        ("AT&T и ?a=1&copy=2, x<y>z, <Указ>", "AT&T и ?a=1&copy=2, x<y>z, <Указ>"),
    ],
)
def test_marks_of_pages_and_spreadsheets(raw, clean):
    assert clean_text(raw).text == clean


# ---- 15. Places


@pytest.mark.parametrize(
    "words, text",
    [
        (["benchmark.py", "--model", "my models/tuned"], "python benchmark.py --model 'my models/tuned'"),
        (["chat.py", "--model", "l$\\frac$"], "python chat.py --model 'l$\\frac$'"),
        (["chat.py", "--model", "a/b"], "python chat.py --model a/b"),
    ],
)
def test_commands_to_paste_are_quoted(words, text):
    assert runlog.command(*words) == text


def test_a_folder_for_a_user_without_a_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folder("XDG_CACHE_HOME", ".cache") == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_folder("XDG_CACHE_HOME", ".cache") == tmp_path / "home" / ".cache"

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("legalqa.files.Path.home", no_home)
    assert user_folder("XDG_STATE_HOME", ".local/state").is_absolute()


@pytest.mark.parametrize(
    "membership, files, limit_bytes",
    [
        ("0::/\n", {"memory.max": "2147483648\n"}, 2**31),
        (
            "0::/a.slice/b.scope\n",
            {"a.slice/memory.max": "5000000", "a.slice/b.scope/memory.max": "max"},
            5e6,
        ),
        ("4:cpu,memory:/docker/1\n0::/\n", {"memory/memory.limit_in_bytes": "7000000\n"}, 7e6),
        ("0::/\n", {"memory.max": "max\n"}, 16e9),
        (None, {}, 16e9),
    ],
)
def test_memory_is_what_the_container_has(tmp_path, monkeypatch, membership, files, limit_bytes):
    if membership:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(membership)
    for name, content in files.items():
        (tmp_path / "sys/fs/cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/fs/cgroup" / name).write_text(content)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=16_000_000_000))
    limits = list(device.memory_limits(tmp_path))
    monkeypatch.setattr(device, "memory_limits", lambda: limits)
    assert device.usable_memory_bytes() == limit_bytes


@pytest.mark.slow
def test_a_trailing_slash_names_no_other_model(tiny_model):
    assert check_model_name(f"{tiny_model}/") == str(tiny_model) == check_model_name(str(tiny_model))
