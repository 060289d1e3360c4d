import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests"), str(REPOSITORY / "bench")]
os.environ.update(
    OMP_WAIT_POLICY="PASSIVE",
    HF_HUB_OFFLINE="1",
    UNSLOTH_DISABLE_STATISTICS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
)


# Whoever asks for one of these loads a model, or has one trained.
MODEL_FIXTURES = {"tiny_model", "python", "adapter", "place", "gemma"}


def pytest_collection_modifyitems(items):
    for item in items:
        if MODEL_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Modules and tests live until the end: the garbage collector need not look through them each time."""
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of a tiny random Qwen3."""
    import tiny

    return tiny.make_model(tmp_path_factory.mktemp("tiny") / "tiny_qwen3")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """(train file, validation file) of 40 and 12 different rows."""
    import tiny

    folder, rows = tmp_path_factory.mktemp("data"), tiny.make_rows(52)
    return tiny.write_rows(folder / "train.jsonl", rows[:40]), tiny.write_rows(
        folder / "validation.jsonl", rows[40:]
    )


@pytest.fixture(scope="session")
def run_script():
    """run_script("train_8b.py", "--dry-run", cwd=...) -> CompletedProcess with text output."""

    def run(script, *arguments, cwd=REPOSITORY, stdin="", env=None, timeout=300):
        return subprocess.run(
            [sys.executable, str(REPOSITORY / script), *map(str, arguments)],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
        )

    return run


@pytest.fixture
def no_tokenizer(monkeypatch):
    """As after a clone: no demo model, whose tokenizer would be loaded to count the tokens of every row."""
    import config

    monkeypatch.setitem(config.CONFIG, "tokenizer", "no such folder")


@pytest.fixture
def run_stage(capsys, monkeypatch):
    """run_stage(benchmark, "--compare", "one.json") -> what run_script gives, without a process of its own:
    most of such a process's time is its imports."""
    from legalqa import cli

    def run(stage, *arguments, stdin=""):
        lines = io.BufferedReader(io.BytesIO(stdin.encode()))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(lines, "utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run_main(lambda: stage.main(list(map(str, arguments))))
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def tiny_flags(tiny_model, tiny_data):
    """Flags that make train_8b.py train the tiny model on the tiny data; add folders."""
    return (
        "--profile",
        "demo",
        "--model-name",
        tiny_model,
        "--train-file",
        tiny_data[0],
        "--validation-file",
        tiny_data[1],
        "--max-seq-length",
        256,
        "--grad-accum",
        4,
        "--max-steps",
        -1,
        "--repetition-penalty",
        1,
        "--logging-steps",
        1,
        "--save-steps",
        2,
        "--eval-samples",
        8,
    )


def folders(path):
    """Output flags inside `path`."""
    return (
        "--output-dir",
        path / "adapter",
        "--checkpoint-dir",
        path / "checkpoints",
        "--logs-dir",
        path / "logs",
    )


@pytest.fixture(scope="session")
def tiny_adapter(run_script, tiny_flags, tmp_path_factory):
    """Folder of an adapter that train_8b.py made of the tiny model, with logs/ beside it."""
    path = tmp_path_factory.mktemp("trained")
    done = run_script("train_8b.py", *tiny_flags, *folders(path), "--max-steps", 6, "--learning-rate", 0.01)
    assert done.returncode == 0, done.stderr
    return path / "adapter"
