"""It survives: kills, stops, full disks, hostile files. Real runs of the real scripts on a tiny Qwen3, forked
from a warm process.

The long versions: bench/chaos.py and bench/fuzz_inputs.py. Run: make test
"""

import errno
import json
import os
import pickle
import random
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import warm

from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import lock, write_json, write_text
from legalqa.model import adapter as adapter_room
from legalqa.model.adapter import AdapterSettings, check_adapter, check_output, is_adapter, save_adapter
from legalqa.model.answers import Answers, Line
from legalqa.model.base import check_model_name, load_tokenizer
from legalqa.training import checkpoints, plan, stage

sys.path.insert(0, str(warm.REPOSITORY / "bench"))
import chaos
import fuzz_inputs

RUN = "20260101_000000"


@pytest.fixture(scope="module")
def python():
    return warm.WarmPython()


@pytest.fixture(scope="module")
def data(tmp_path_factory, tiny_model):
    folder, rows = tmp_path_factory.mktemp("survival"), tiny.make_rows(chaos.ROWS + chaos.VALIDATION_ROWS)
    tiny.write_rows(folder / "train.jsonl", rows[: chaos.ROWS])
    tiny.write_rows(folder / "validation.jsonl", rows[chaos.ROWS :])
    (folder / "model").symlink_to(tiny_model)
    return folder


@pytest.fixture(scope="module")
def unbroken(python, data, tmp_path_factory):
    """(folder, outcome) of a run that nothing stops."""
    folder = tmp_path_factory.mktemp("unbroken")
    code, log = python.run("train_8b.py", chaos.train_flags(data, folder, "plain"), folder, folder / "log")
    assert code == 0, log
    return folder, chaos.train_outcome(folder)


@pytest.fixture
def train(python, data, tmp_path):
    """train(*more flags, prepare=None) -> (exit code, output) of a run in tmp_path."""

    def run(*flags, prepare=None, folder=tmp_path):
        return python.run(
            "train_8b.py",
            [*chaos.train_flags(data, folder, "plain"), *flags],
            folder,
            tmp_path / "log",
            prepare,
        )

    return run


def wait_for(condition, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.005)


def only_error(log):
    """The one line of an error; there is no traceback."""
    assert "Traceback" not in log, log
    (line,) = [line for line in log.splitlines() if line.startswith("error: ")]
    return line


# ---- Prepared processes: what a `prepare` does runs in the forked process, before the script


def slow_steps(seconds=0.3):
    def step(self, *args, **kwargs):
        time.sleep(seconds)
        return original(self, *args, **kwargs)

    from trl import SFTTrainer

    original, SFTTrainer.training_step = SFTTrainer.training_step, step


def endless_steps():
    slow_steps(60)


def die_before_the_adapter():
    adapter_room.save_adapter = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def die_between_the_renames():
    def replace(source, target):
        original(source, target)
        if str(target).endswith("adapter.old.tmp"):
            os.kill(os.getpid(), signal.SIGKILL)

    original, adapter_room.os = os.replace, type("os", (), {"replace": replace})


def die_while_pruning():
    def rmtree(path, **_):
        (Path(path) / "optimizer.pt").unlink()
        os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.shutil = type("shutil", (), {"rmtree": rmtree})


def fail_at_step_4(make_error):
    def step(self, *args, **kwargs):
        if self.state.global_step == 4:
            raise make_error()
        return original(self, *args, **kwargs)

    from trl import SFTTrainer

    original, SFTTrainer.training_step = SFTTrainer.training_step, step


def no_memory_on_the_gpu():
    import torch

    fail_at_step_4(
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")
    )


def no_memory_on_the_host():
    fail_at_step_4(
        lambda: RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"
        )
    )


def print_micro_batches():
    def step(self, model, inputs, *args, **kwargs):
        print("micro-batch", *inputs["input_ids"].shape, flush=True)
        return original(self, model, inputs, *args, **kwargs)

    from trl import SFTTrainer

    original, SFTTrainer.training_step = SFTTrainer.training_step, step


def try_nothing_before_the_first_step():
    from legalqa.training import trainer

    trainer.Trainer.try_largest = lambda self, *_: setattr(self, "tried_largest", True)


def spoil_the_weights():
    def step(self, *args, **kwargs):
        if self.state.global_step == 4:
            for weight in self.model.parameters():
                if weight.requires_grad:
                    weight.data.fill_(float("nan"))
        return original(self, *args, **kwargs)

    from trl import SFTTrainer

    original, SFTTrainer.training_step = SFTTrainer.training_step, step


# ---- Kills


def test_killed_runs_end_as_if_nothing_had_happened(python, tmp_path):
    counts = chaos.run_all(python, tmp_path, runs=2, benchmark_runs=1, rng=random.Random(7))
    for count in counts.values():
        assert count["lost"] == count["differing"] == 0 < count["killed"], counts


@pytest.mark.parametrize(
    "prepare, old_adapter", [(die_before_the_adapter, False), (die_between_the_renames, True)]
)
def test_killed_after_training_is_finished_by_resume(train, unbroken, tmp_path, prepare, old_adapter):
    if old_adapter:
        shutil.copytree(unbroken[0] / "adapter", tmp_path / "adapter")
    assert train(prepare=prepare)[0] == -signal.SIGKILL
    if old_adapter:
        assert chaos.adapter_is_there(tmp_path) and not (tmp_path / "adapter").exists()
        with pytest.raises(UserError, match=r"a save was cut off.*--resume.*adapter\.old\.tmp"):
            check_adapter(tmp_path / "adapter")
    code, log = train("--resume")
    assert code == 0, log
    assert chaos.train_outcome(tmp_path) == unbroken[1] and not list(tmp_path.glob("*.tmp"))


def test_killed_while_pruning_leaves_a_checkpoint_and_no_doubt(train, unbroken, tmp_path):
    assert train("--save-total-limit", 1, prepare=die_while_pruning)[0] == -signal.SIGKILL
    folder, _ = checkpoints.newest_complete(tmp_path / "checkpoints")
    assert checkpoints.step_of(folder) == 6 and checkpoints.damage(
        folder.with_name("checkpoint-3")
    ).startswith("half-written")
    (folder / "optimizer.pt").write_bytes(b"damaged")  # now neither is whole
    code, log = train("--resume")
    assert code == 2 and "checkpoint-6: optimizer.pt differs from what was written" in log
    assert "nothing to resume" in only_error(log)


def test_a_finished_run_says_so(train, unbroken):
    code, log = train("--resume", folder=unbroken[0])
    assert code == 0 and "is finished" in log and chaos.train_outcome(unbroken[0]) == unbroken[1]


# ---- Stops


@pytest.mark.parametrize("number, expected", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_finishes_the_step_saves_and_says_how_to_go_on(
    python, data, unbroken, tmp_path, number, expected
):
    process = python.start(
        "train_8b.py", chaos.train_flags(data, tmp_path, "plain"), tmp_path, tmp_path / "log"
    )
    history = tmp_path / "logs"
    wait_for(lambda: any(path.read_text().count("\n") >= 3 for path in history.glob("history_*")), process)
    os.kill(process.pid, number)
    process.join(300)
    log = (tmp_path / "log").read_text("utf-8")
    assert process.exitcode == expected, log
    command = shlex.split(re.search(r"; to go on: (python .*)", log)[1])
    assert command[1] == "train_8b.py" and command[-1] == "--resume" and str(data / "train.jsonl") in command
    code, log = python.run("train_8b.py", command[2:], tmp_path, tmp_path / "log")
    assert code == 0 and re.search(r"first loss after the resume \d", log), log
    assert chaos.train_outcome(tmp_path) == unbroken[1]


def test_the_second_ctrl_c_leaves_at_once_and_the_lock_with_it(python, data, tmp_path):
    process = python.start(
        "train_8b.py", chaos.train_flags(data, tmp_path, "plain"), tmp_path, tmp_path / "log", endless_steps
    )
    wait_for(lambda: list(tmp_path.glob("logs/history_*")), process)
    with (
        pytest.raises(
            UserError,
            match=rf"adapter is in use by process {process.pid} since \d{{4}}-.*choose another folder",
        ),
        lock(tmp_path / "adapter"),
    ):
        pass
    code, log = python.run(
        "train_8b.py", chaos.train_flags(data, tmp_path, "plain"), tmp_path, tmp_path / "log2"
    )
    assert code == 2 and f"in use by process {process.pid}" in only_error(log)
    os.kill(process.pid, signal.SIGINT)
    wait_for(lambda: "once more to leave at once" in (tmp_path / "log").read_text("utf-8"), process)
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130 and not list(tmp_path.glob("checkpoints/*/checkpoint-*"))
    assert (tmp_path / "adapter.lock").exists()  # stale: its owner left without a word
    with lock(tmp_path / "adapter"):
        assert f"process {os.getpid()} since" in (tmp_path / "adapter.lock").read_text()
    assert not (tmp_path / "adapter.lock").exists()


# ---- Refused resumes, bad losses, no memory


def test_resume_under_other_data_or_settings_is_refused(python, data, train, unbroken, tmp_path):
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "logs" / next((tmp_path / "logs").glob("metrics_*")).name).unlink()
    other = tiny.write_rows(tmp_path / "other.jsonl", tiny.make_rows(chaos.ROWS, seed=1))
    code, log = train("--resume", "--train-file", other, "--learning-rate", 0.02)
    error = only_error(log)
    assert (
        code == 2
        and "learning_rate: 0.01 -> 0.02" in error
        and "train_sha256: " in error
        and "--force" in error
    )
    code, log = train("--resume", "--train-file", other, "--num-epochs", 4, "--force")
    assert code == 0 and "warning: resuming with another num_epochs: 3.0 -> 4.0" in log, log
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert "is finished" in train("--resume", run.name)[1] and "of run no" in only_error(
        train("--resume", "no")[1]
    )


@pytest.mark.parametrize("prepare", [no_memory_on_the_gpu, no_memory_on_the_host])
def test_out_of_memory_says_what_to_change_by_how_much(train, tmp_path, prepare):
    code, log = train(prepare=prepare)
    error = only_error(log)
    tokens = int(re.search(r"up to (\d+) tokens", error)[1])
    assert (
        code == 2
        and f"--micro-batch-tokens {tokens // 2}, --gradient-checkpointing" in error
        and error.endswith("--resume")
    )
    assert checkpoints.step_of(checkpoints.newest_complete(tmp_path / "checkpoints")[0]) == 3


def test_the_largest_micro_batch_is_tried_before_the_first_step(train):
    code, log = train(prepare=print_micro_batches)
    first, *others = [int(a) * int(b) for a, b in re.findall(r"micro-batch (\d+) (\d+)", log)]
    assert code == 0 and first == max(others) > others[0]


def test_the_trial_leaves_no_trace(train, unbroken, tmp_path):
    assert train(prepare=try_nothing_before_the_first_step)[0] == 0
    assert chaos.train_outcome(tmp_path) == unbroken[1]


def test_nan_stops_the_run_names_the_rows_and_keeps_the_last_good_checkpoint(train, data, tmp_path):
    code, log = train(prepare=spoil_the_weights)
    error = only_error(log)
    named = {int(number) for number in re.search(r"train.jsonl: ([\d, ]+);", error)[1].split(", ")}
    order = plan.TrainingOrder([1] * chaos.ROWS, 8, seed=3407, by_length=False)
    assert code == 2 and "from step 5 to step 7" in error
    assert named == {
        row + 1 for row in order.rows_of(0)[32:] + order.rows_of(1)[:8]
    }  # step 6 is the short one of the epoch
    assert [path.name for path in tmp_path.glob("checkpoints/*/checkpoint-*")] == ["checkpoint-3"]


# ---- Full disks


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system can be mounted by root alone: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder, leave=0):
    """Fill the file system of `folder` up to `leave` bytes; the file that does it."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        free = shutil.disk_usage(folder).free - leave
        try:
            while free > 0:
                free -= file.write(b"\0" * min(free, 2**20))
        except OSError:
            pass
    return filler


def test_a_disk_that_fills_during_a_checkpoint(python, data, unbroken, tmp_path, small_disk):
    flags = chaos.train_flags(data, tmp_path, "plain") + ["--checkpoint-dir", small_disk / "checkpoints"]
    process = python.start("train_8b.py", flags, tmp_path, tmp_path / "log", slow_steps)
    wait_for(lambda: list(small_disk.glob("checkpoints/*/checkpoint-3")), process)
    filler = fill(small_disk, leave=200_000)
    process.join(300)
    error = only_error((tmp_path / "log").read_text("utf-8"))
    assert (
        process.exitcode == 2
        and "cannot write a checkpoint" in error
        and "free space" in error
        and error.endswith("--resume")
    )
    assert [path.name for path in small_disk.glob("checkpoints/*/*")] == ["checkpoint-3"]
    code, log = python.run("train_8b.py", [*flags, "--resume"], tmp_path, tmp_path / "log")
    assert code == 2 and "are free; free space" in only_error(log)  # seen before anything slow begins
    filler.unlink()
    code, log = python.run("train_8b.py", [*flags, "--resume"], tmp_path, tmp_path / "log")
    assert code == 0 and chaos.train_outcome(tmp_path) == unbroken[1], log


class Saved:
    """Stands for a model or a tokenizer: saves a file of 100 kB."""

    def save_pretrained(self, folder, **_):
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / "weights").write_bytes(b"\1" * 100_000)


def test_a_full_disk_keeps_the_adapter_and_the_logs_that_were_there(unbroken, small_disk):
    from legalqa.training.progress import append_line

    shutil.copytree(unbroken[0] / "adapter", small_disk / "adapter")
    before = {path.name: path.read_bytes() for path in (small_disk / "adapter").iterdir()}
    for name in ("log.json", "history.jsonl", "answers.jsonl"):
        (small_disk / name).write_text('{"prompt_sha256": "old"}\n')
    fill(small_disk)
    with pytest.raises(
        UserError, match="cannot write the adapter to .*No space left.*free space, then: python"
    ):
        save_adapter(Saved(), Saved(), {"output_dir": str(small_disk / "adapter")}, AdapterSettings(), {})
    assert {path.name: path.read_bytes() for path in (small_disk / "adapter").iterdir()} == before
    with pytest.raises(UserError, match="cannot write .*log.json: No space left"):
        write_json(small_disk / "log.json", {"new": "x" * 9000})
    with pytest.raises(UserError, match="cannot write .*history.jsonl: No space left.*--resume"):
        append_line(small_disk / "history.jsonl", {"step": 1, "text": "x" * 9000})
    with pytest.raises(UserError, match="cannot write .*answers.jsonl: No space left.*start again"):
        Answers(small_disk / "answers.jsonl").append([Line("new", "x" * 9000, 1, False, 0.1)])
    for name in ("log.json", "history.jsonl", "answers.jsonl"):
        assert (small_disk / name).read_text().startswith('{"prompt_sha256": "old"}\n')
    assert {path.name for path in small_disk.iterdir()} == {
        "adapter",
        "filler",
        "log.json",
        "history.jsonl",
        "answers.jsonl",
    }


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_keeps_what_was_there(unbroken, tmp_path, monkeypatch, call):
    """As above where no file system can be mounted: the calls fail as on a full disk."""
    shutil.copytree(unbroken[0] / "adapter", tmp_path / "adapter")
    before = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    (tmp_path / "log.json").write_text("old")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(UserError, match="cannot write .*log.json: No space left"):
            write_text(tmp_path / "log.json", "new")
        with pytest.raises(UserError, match="cannot write the adapter to .*No space left"):
            save_adapter(Saved(), Saved(), {"output_dir": str(tmp_path / "adapter")}, AdapterSettings(), {})
    assert (tmp_path / "log.json").read_text() == "old"
    assert {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"adapter", "log.json"}


def test_disk_space_is_counted_before_training(tmp_path, monkeypatch):
    settings = {
        "checkpoint_dir": str(tmp_path / "a"),
        "output_dir": str(tmp_path / "b"),
        "save_total_limit": 2,
    }
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("usage", (), {"free": 12e6 * 3 + 4e6 + 49e6}))
    with pytest.raises(UserError, match="a and .*b: 90 MB are needed, 89 MB are free; free space"):
        stage.check_disk_space(settings, 10**6, RUN)
    (tmp_path / "a" / RUN / "checkpoint-1").mkdir(parents=True)
    stage.check_disk_space(settings, 10**6, RUN)  # a resumed run has one of its checkpoints already


# ---- What an output folder may be


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: (path / "out").write_text("x"), "no adapter"),
        (lambda path: ((path / "out").mkdir(), (path / "out" / "thesis.docx").write_text("x")), "no adapter"),
        (
            lambda path: ((path / "out.old.tmp").mkdir(), (path / "out.old.tmp" / "x").write_text("x")),
            "no adapter",
        ),
    ],
)
def test_only_an_adapter_is_ever_replaced(tmp_path, make, message):
    make(tmp_path)
    settings = {
        "output_dir": str(tmp_path / "out"),
        **dict.fromkeys(("checkpoint_dir", "logs_dir", "train_file", "validation_file"), "/x"),
    }
    with pytest.raises(UserError, match=message):
        check_output(settings, RUN, overwrite=True)
    with pytest.raises(UserError, match="is in it"):
        check_output({**settings, "logs_dir": str(tmp_path / "out" / "logs")}, RUN, overwrite=True)


def test_a_linked_output_folder_stays_a_link(train, unbroken, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "adapter").symlink_to(tmp_path / "real")
    code, log = train("--max-steps", 1)
    assert code == 0 and (tmp_path / "adapter").is_symlink() and is_adapter(tmp_path / "real"), log


# ---- Unreadable and hostile files


@pytest.mark.parametrize(
    "make, message",
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (lambda path: os.symlink(path, path), "rows.jsonl"),
        (lambda path: os.symlink("/nowhere", path), "no such file"),
        (lambda path: Path(path).write_bytes(b"\xff\xfe"), "line 1: not UTF-8"),
        (lambda path: Path(path).write_text('{"a": ' + "9" * 5000 + "}"), "line 1: not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, make, message):
    make(tmp_path / "rows.jsonl")
    with pytest.raises(UserError, match=message):
        records.read_records(tmp_path / "rows.jsonl")


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


@pytest.fixture
def adapter(unbroken, data, tmp_path):
    shutil.copytree(unbroken[0] / "adapter", tmp_path / "hostile")
    shutil.copytree(data / "model", tmp_path / "base")
    edit(tmp_path / "hostile" / "adapter_config.json", base_model_name_or_path=str(tmp_path / "base"))
    return tmp_path / "hostile"


def replace_by_pickle(path):
    path.write_bytes(pickle.dumps(Bomb()))


def only_pickle(path):
    path.unlink()
    path.with_suffix(".bin").write_bytes(pickle.dumps(Bomb()))


@pytest.mark.parametrize(
    "file, damage, message",
    [
        (
            "adapter_model.safetensors",
            only_pickle,
            "safetensors is missing; other weight formats are not loaded",
        ),
        ("adapter_model.safetensors", replace_by_pickle, "not a whole safetensors file"),
        (
            "adapter_model.safetensors",
            lambda path: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
            "not a whole safetensors file",
        ),
        (
            "adapter_model.safetensors",
            lambda path: path.write_bytes(path.read_bytes()[:-100]),
            "not a whole safetensors file",
        ),
        (
            "adapter_config.json",
            lambda path: edit(path, base_model_name_or_path="../../secret"),
            "climbs out of its folder",
        ),
        ("adapter_config.json", lambda path: edit(path, r=10**9), "r is 1000000000"),
        ("adapter_config.json", lambda path: edit(path, r=64), "no LoRA weight of rank 64"),
        (
            "adapter_config.json",
            lambda path: edit(path, megatron_config={"x": 1}),
            "not a plain LoRA .megatron_config",
        ),
        (
            "adapter_config.json",
            lambda path: edit(path, corda_config={"cache_file": "x.pt"}),
            "not a plain LoRA .corda_config",
        ),
        ("adapter_config.json", lambda path: edit(path, target_modules="(a+)+$"), "target_modules is"),
        (
            "adapter_config.json",
            lambda path: edit(path, auto_map={"AutoModel": "evil.Model"}),
            "not a plain LoRA .auto_map",
        ),
        ("adapter_config.json", lambda path: path.write_text("[" * 100_000), "cannot read"),
        ("legalqa.json", lambda path: edit(path, max_seq_length="2048"), "damaged: max_seq_length"),
        (
            "legalqa.json",
            lambda path: edit(path, decoding={"max_new_tokens": 10**12}),
            "damaged: .*max_new_tokens must be",
        ),
        ("../base/config.json", lambda path: edit(path, hidden_size=10**9), "hidden_size is 1000000000"),
        (
            "../base/config.json",
            lambda path: edit(path, num_hidden_layers=500),
            "claims .* parameters or more, the weights are",
        ),
        (
            "../base/config.json",
            lambda path: edit(path, vocab_size=2**21),
            "claims .* parameters or more, the weights are",
        ),
        ("../base/config.json", lambda path: path.write_text("{"), "cannot read"),
        ("../base/model.safetensors", replace_by_pickle, "not a whole safetensors file"),
    ],
)
def test_a_hostile_adapter_or_base_is_refused_before_it_is_loaded(
    adapter, file, damage, message, monkeypatch
):
    monkeypatch.chdir(adapter.parent)
    damage(adapter / file)
    with pytest.raises(UserError, match=message) as caught:
        check_model_name(check_adapter(adapter))
    assert "\n" not in str(caught.value) and not (adapter.parent / "exploded").exists()


ATTACK = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


@pytest.mark.parametrize(
    "file, damage, message",
    [
        (
            "chat_template.jinja",
            lambda path: path.write_text(ATTACK),
            "SecurityError: access to attribute '__class__'",
        ),
        ("chat_template.jinja", lambda path: path.write_text("{% include '/etc/passwd' %}"), "no loader"),
        (
            "chat_template.jinja",
            lambda path: path.write_text("{% for x in range(10**9) %}x{% endfor %}"),
            "Range too big",
        ),
        ("tokenizer.json", lambda path: path.write_text("garbage"), "cannot be loaded"),
        (
            "tokenizer_config.json",
            lambda path: edit(path, tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
            "cannot be loaded",
        ),
    ],
)
def test_a_hostile_tokenizer_is_one_line(adapter, file, damage, message, monkeypatch):
    monkeypatch.chdir(adapter.parent)
    (adapter / "evil.py").write_text("open('exploded', 'w')\nclass Evil: pass\n")
    damage(adapter / file)
    with pytest.raises(UserError, match=message) as caught:
        load_tokenizer(str(adapter))
    assert "\n" not in str(caught.value) and not (adapter.parent / "exploded").exists()


def test_an_adapter_of_another_model_is_named(python, adapter, data, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in weights if name.endswith("q_proj.lora_B.weight"))
    save_file({**weights, name: weights[name][:-2].copy()}, adapter / "adapter_model.safetensors")
    code, log = python.run(
        "benchmark.py", chaos.benchmark_flags(data, tmp_path, adapter), tmp_path, tmp_path / "log"
    )
    assert code == 2 and "q_proj does not fit the base model (another size)" in only_error(log)


OFFLINE = """
import runpy, socket, sys
def refuse(*_, **__):
    print("NETWORK USED", file=sys.stderr, flush=True)
    raise OSError("network used")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_local_model_needs_no_network(data, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            OFFLINE,
            str(warm.REPOSITORY / "train_8b.py"),
            *map(str, (*chaos.train_flags(data, tmp_path, "plain"), "--max-steps", 1)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0 and "NETWORK USED" not in done.stderr, done.stderr


@pytest.mark.slow
def test_fuzzed_inputs_end_in_success_or_one_line(tmp_path, capsys):
    handler = signal.getsignal(signal.SIGALRM)
    fuzz_inputs.make_good_files(tmp_path)
    results = fuzz_inputs.run_all(
        tmp_path, 300, 3, without=("report", "plots", "load", "train dry", "model config")
    )
    signal.signal(signal.SIGALRM, handler)
    assert sum(row["failed"] for row in results.values()) == 0, capsys.readouterr().out
