"""train_8b.py run for real, through Unsloth, on a tiny Qwen3. Run: make test"""
import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY, folders
from legalqa import checkpoints


def test_training_leaves_what_the_design_says(tiny_adapter):
    logs = tiny_adapter.parent / "logs"
    (metrics_file,) = logs.glob("metrics_*.json")
    run = metrics_file.stem.removeprefix("metrics_")
    metrics, config = json.loads(metrics_file.read_text()), json.loads((logs / f"config_{run}.json").read_text())
    history = [json.loads(line) for line in (logs / f"history_{run}.jsonl").read_text().splitlines()]
    assert {p.name for p in tiny_adapter.iterdir()} >= {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "legalqa.json", "README.md"}
    assert metrics["history"] == history and metrics["total_steps"] == 6
    assert metrics["final_loss"] < metrics["initial_loss"] and metrics["eval_loss"] < metrics["initial_eval_loss"]
    assert [e["step"] for e in history if "eval_loss" in e] == [0, 2, 4, 6]
    assert config["lora_r"] == 16 and config["meta"]["data"]["train"]["num_rows"] == 40
    assert not list(tiny_adapter.parent.glob("*.tmp"))
    assert metrics["tokens_per_second"] * metrics["train_runtime"] > 6 * 8 * 20  # six steps of eight rows of 20 tokens and more


def test_dry_run_writes_nothing(run_script, tiny_flags, tmp_path):
    done = run_script("train_8b.py", *tiny_flags, *folders(tmp_path), "--dry-run", cwd=tmp_path)
    assert done.returncode == 0 and "dry run: nothing was trained" in done.stdout
    assert "steps      15 of 8 rows" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_two_processes_make_the_same_steps_as_one(tiny_flags, tmp_path, run_script):
    """torchrun: one writes, both train; losses, gradients and the saved adapter are one process's."""
    flags = [str(flag) for flag in (*tiny_flags, "--load-in-4bit", "false", "--max-steps", 4, "--learning-rate", 0.01)]
    torchrun = Path(sys.executable).with_name("torchrun")
    done = subprocess.run([torchrun, "--nproc-per-node", "2", "--master-port", "29713", REPOSITORY / "train_8b.py", *flags,
                           *map(str, folders(tmp_path / "two"))], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"})
    assert done.returncode == 0, done.stderr
    alone = run_script("train_8b.py", *flags, *folders(tmp_path / "one"))
    assert alone.returncode == 0, alone.stderr
    histories = []
    for name in ("one", "two"):
        (path,) = (tmp_path / name / "logs").glob("history_*.jsonl")
        histories.append([{key: round(entry[key], 4) for key in ("step", "loss", "grad_norm", "eval_loss") if key in entry}
                          for entry in map(json.loads, path.read_text().splitlines())])
    assert histories[0] == histories[1]
    (checkpoint,) = (tmp_path / "two" / "checkpoints").glob("*/checkpoint-4")
    assert checkpoints.damage(checkpoint) is None and (checkpoint / "rng_state_1.pth").is_file()
    assert done.stdout.count("of the first batch") == 1
