"""train_8b.py run for real, through Unsloth, on a tiny Qwen3. Run: make test"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from conftest import REPOSITORY, folders
from hypothesis import given
from hypothesis import strategies as st

import train_8b
from legalqa.training import checkpoints
from legalqa.training.plan import Example, Plan, TrainingOrder


def test_training_leaves_what_the_design_says(tiny_adapter):
    logs = tiny_adapter.parent / "logs"
    (metrics_file,) = logs.glob("metrics_*.json")
    run = metrics_file.stem.removeprefix("metrics_")
    metrics, config = (
        json.loads(metrics_file.read_text()),
        json.loads((logs / f"config_{run}.json").read_text()),
    )
    history = [json.loads(line) for line in (logs / f"history_{run}.jsonl").read_text().splitlines()]
    assert {p.name for p in tiny_adapter.iterdir()} >= {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "legalqa.json",
        "README.md",
    }
    assert {path.stat().st_mode for path in tiny_adapter.iterdir()} == {metrics_file.stat().st_mode}
    assert metrics["history"] == history and metrics["total_steps"] == 6
    assert (
        metrics["final_loss"] < metrics["initial_loss"]
        and metrics["eval_loss"] < metrics["initial_eval_loss"]
    )
    assert [e["step"] for e in history if "eval_loss" in e] == [0, 2, 4, 6]
    assert config["lora_r"] == 16 and config["meta"]["data"]["train"]["num_rows"] == 40
    assert not list(tiny_adapter.parent.glob("*.tmp"))


def test_dry_run_writes_nothing(run_script, tiny_flags, tmp_path):
    done = run_script("train_8b.py", *tiny_flags, *folders(tmp_path), "--dry-run", cwd=tmp_path)
    assert done.returncode == 0 and "dry run: nothing was trained" in done.stdout
    assert "steps      5 of 8 rows" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no such file; make the data with: python prepare_data.py"),
        (b"", "no rows in it"),
        (
            b'{"instruction": "q", "output": "a"}\n{"instruction": "q"\nx\n[]\n{"instruction": "q"}\n',
            "4 bad line(s): line 2: not JSON (Expecting ',' delimiter); line 3: not JSON (Expecting value); "
            "line 4: not a JSON object; and 1 more",
        ),
        ('{"instruction": "вопрос", "output": "a"}\n'.encode("cp1251"), "line 1: not UTF-8"),
        (b'{"instruction": "q", "output": 5}\n', "line 1: field 'output' is not a string"),
        (b'{"instruction": " ", "output": "a"}\n', "line 1: field 'instruction' is empty"),
    ],
)
def test_bad_data_is_one_line(run_script, tiny_flags, tmp_path, content, message):
    file = tmp_path / "train.jsonl"
    if content is not None:
        file.write_bytes(content)
    assert_one_error(
        run_script("train_8b.py", *tiny_flags, *folders(tmp_path), "--train-file", file), message
    )


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--max-seq-length", "8"], "every row is longer than 8 tokens; raise --max-seq-length (shortest: "),
        (
            ["--model-name", "no_such_folder"],
            "model 'no_such_folder' is neither a folder nor a hub id (owner/name)",
        ),
        (["--model-name", "owner/no-such-model"], "neither a folder nor reachable on the hub"),
        (["--lora-rank", "8"], "unknown argument --lora-rank; did you mean --lora-r?"),
        (["--lora-r", "many"], "argument --lora-r: expected a whole number, got 'many'"),
        (["--profile", "dmo"], "unknown profile 'dmo' (known: gpu, reference, demo); did you mean demo?"),
        (
            ["--lora-r", "0", "--learning-rate", "-1"],
            "--lora-r must be from 1 to 1,024, not 0; --learning-rate must be from 1e-12 to 1,000, not -1.0",
        ),
        (["--resume"], "nothing to resume: no complete checkpoint in"),
    ],
)
def test_bad_settings_are_one_line(run_script, tiny_flags, tmp_path, flags, message):
    done = run_script("train_8b.py", *tiny_flags, *folders(tmp_path), *flags, env={"HF_HUB_OFFLINE": "1"})
    assert_one_error(done, message)


def test_another_runs_adapter_is_not_overwritten(run_script, tiny_flags, tiny_adapter, tmp_path):
    before = (tiny_adapter / "adapter_model.safetensors").read_bytes()
    done = run_script("train_8b.py", *tiny_flags, *folders(tmp_path), "--output-dir", tiny_adapter)
    assert_one_error(done, "holds the adapter of run")
    assert (tiny_adapter / "adapter_model.safetensors").read_bytes() == before


def test_long_rows_are_named_and_dropped(run_script, tiny_flags, tiny_data, tmp_path):
    rows = tiny.make_rows(20)
    rows[6]["output"] = "слово " * 400
    file = tiny.write_rows(tmp_path / "train.jsonl", rows)
    done = run_script("train_8b.py", *tiny_flags, *folders(tmp_path), "--train-file", file, "--dry-run")
    assert done.returncode == 0 and "dropped    1 rows over 256 tokens: row 7 (" in done.stdout, (
        done.stdout + done.stderr
    )


def test_adapter_loads_with_plain_peft_and_answers_alike(tiny_adapter):
    """No Unsloth and nothing of this repository in the other process; the answers are those of benchmark.py's
    path."""
    import config
    from legalqa.model import prompt
    from legalqa.model.adapter import answer_settings
    from legalqa.model.base import load_for_inference
    from legalqa.model.generate import generate_batch
    from legalqa.model.settings import Decoding

    settings = answer_settings(tiny_adapter, config.CONFIG)
    language_model, tokenizer = load_for_inference(str(tiny_adapter), settings)
    prompts = [prompt.render_prompt(row, tokenizer) for row in tiny.make_rows(4)]
    decoding = Decoding(0.0, 1.0, 1.0, 8)
    ours = [answer.text for answer in generate_batch(language_model, tokenizer, prompts, decoding)]
    script = """
import json, sys
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer, BitsAndBytesConfig
import torch
folder, prompts = json.load(sys.stdin)
quantized = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=torch.float32)
model = AutoPeftModelForCausalLM.from_pretrained(folder, quantization_config=quantized, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(folder)
answers = []
for text in prompts:
    ids = tokenizer(text, return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=8, do_sample=False)
    answers.append(tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True).strip())
print(json.dumps(answers))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([str(tiny_adapter), prompts]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ours


@pytest.mark.slow
def test_lora_of_qwen3_8b_has_the_published_size():
    from transformers import Qwen3Config

    import config
    from legalqa.model.base import count_parameters

    published = Qwen3Config(
        hidden_size=4096,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=12288,
        vocab_size=151936,
        tie_word_embeddings=False,
    )
    trainable, total = count_parameters(published, config.CONFIG["lora_r"], config.CONFIG["target_modules"])
    assert trainable == 43_646_976 and round(100 * trainable / total, 2) == 0.53


def assert_one_error(done, message):
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and message in errors[0], done.stderr
    assert "Traceback" not in done.stderr and "supervised" not in done.stdout


@pytest.mark.parametrize(
    "script",
    ["train_8b.py", "benchmark.py", "prepare_data.py", "generate_plots.py", "generate_report.py", "chat.py"],
)
def test_help_is_there_without_torch(run_script, tmp_path, script):
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')")
    done = run_script(script, "--help", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0 and script in done.stdout, done.stderr
    if script == "train_8b.py":
        assert (
            "rank of the adapter (default: 16)" in done.stdout
            and "peak, after warm-up (default: 0.0002)" in done.stdout
        )


@pytest.fixture(scope="module")
def trainer():
    """Imported before a property's first example, which has a deadline."""
    from legalqa.training import trainer

    return trainer


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), budget=st.integers(0, 120))
@pytest.mark.slow
def test_split_padded_loses_nothing(trainer, lengths, budget):
    import torch

    width = max(lengths)
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    ids = torch.arange(mask.numel()).reshape(mask.shape) * mask
    parts = trainer.split_padded({"input_ids": ids, "attention_mask": mask, "labels": ids}, budget)
    assert [t for part in parts for t in part["input_ids"][part["attention_mask"] == 1].tolist()] == ids[
        mask == 1
    ].tolist()
    if budget:
        assert all(part["input_ids"].numel() <= budget or len(part["input_ids"]) == 1 for part in parts)


def test_the_largest_part_is_that_of_the_micro_batches_as_they_are_cut():
    lengths = [530, 520, 510, 505, 40, 30]
    examples = [Example(number, "", "", tokens, 1) for number, tokens in enumerate(lengths, 1)]
    order = TrainingOrder(lengths, 2, seed=0, by_length=True)  # steps of rows 0 1, 2 3, 4 5
    plan = Plan(examples, [], [], order, 2, 2, 1, steps=3, padding_share=0.0, worst_tokens=1060)
    assert sorted(plan.largest_part(0, True, 1)) == [0, 1]
    assert sorted(plan.largest_part(1024, True, 1)) == [2, 3]  # 2 x 510; of rows 0 and 1 each is alone
    assert plan.largest_part(1024, True, 2) == [0]  # pairs, each alone: 2 x 530
    assert plan.largest_part(69, True, 1) == [0]  # every row alone
    assert sorted(plan.largest_part(1049, False, 1)) == [2, 3]  # end to end 1015; rows 0 and 1 are 1050


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), budget=st.integers(0, 120))
@pytest.mark.slow
def test_split_flat_puts_rows_end_to_end(trainer, lengths, budget):
    import torch

    width = max(lengths)
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    ids = 1 + torch.arange(mask.numel()).reshape(mask.shape)
    labels = (2 * ids).masked_fill(mask == 0, -100)
    parts = trainer.split_flat({"input_ids": ids * mask, "attention_mask": mask, "labels": labels}, budget)
    joined = {key: torch.cat([part[key][0] for part in parts]).tolist() for key in parts[0]}
    places = [place for length in lengths for place in range(length)]
    assert joined["input_ids"] == ids[mask == 1].tolist()
    assert joined["position_ids"] == places
    shifted = [-100 if place == 0 else label for place, label in zip(places, labels[mask == 1].tolist())]
    assert joined["labels"] == shifted
    assert all(part["position_ids"][0, 0] == 0 for part in parts)
    for part in parts:
        rows = int((part["position_ids"] == 0).sum())
        assert not budget or part["input_ids"].numel() <= budget or rows == 1


def test_two_processes_make_the_same_steps_as_one(tiny_flags, tmp_path, run_script):
    """torchrun: one writes, both train; losses, gradients and the saved adapter are one process's.

    In float32, whose sums agree to the four digits compared whichever way they are added up.
    """
    float32 = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "UNSLOTH_CPU_BF16": "0"}
    flags = [
        str(flag)
        for flag in (
            *tiny_flags,
            "--load-in-4bit",
            "false",
            "--max-steps",
            4,
            "--learning-rate",
            0.01,
            "--micro-batch-tokens",
            140,
        )
    ]  # cuts each micro-batch, by its own rows
    torchrun = Path(sys.executable).with_name("torchrun")
    done = subprocess.run(
        [
            torchrun,
            "--nproc-per-node",
            "2",
            "--master-port",
            "29713",
            REPOSITORY / "train_8b.py",
            *flags,
            *map(str, folders(tmp_path / "two")),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **float32},
    )
    assert done.returncode == 0, done.stderr
    alone = run_script("train_8b.py", *flags, *folders(tmp_path / "one"), env=float32)
    assert alone.returncode == 0, alone.stderr
    histories = []
    for name in ("one", "two"):
        (path,) = (tmp_path / name / "logs").glob("history_*.jsonl")
        histories.append(
            [
                {
                    key: round(entry[key], 4)
                    for key in ("step", "loss", "grad_norm", "eval_loss")
                    if key in entry
                }
                for entry in map(json.loads, path.read_text().splitlines())
            ]
        )
    assert histories[0] == histories[1]
    (checkpoint,) = (tmp_path / "two" / "checkpoints").glob("*/checkpoint-4")
    assert checkpoints.damage(checkpoint) is None and (checkpoint / "rng_state_1.pth").is_file()
    assert done.stdout.count("of the first batch") == 1


def test_steps_go_to_tensorboard(run_script, tiny_flags, tmp_path):
    """Into logs_dir, not among the checkpoints; the loss of every step is there."""
    done = run_script(
        "train_8b.py", *tiny_flags, *folders(tmp_path), "--max-steps", 2, "--report-to", "tensorboard"
    )
    assert done.returncode == 0, done.stderr
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (tmp_path / "logs" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    (metrics_file,) = (tmp_path / "logs").glob("metrics_*.json")
    history = json.loads(metrics_file.read_text())["history"]
    assert folder.name == metrics_file.stem.removeprefix("metrics_")
    losses = {event.step: event.value for event in events.Scalars("train/loss")}
    assert losses == {entry["step"]: pytest.approx(entry["loss"]) for entry in history if "loss" in entry}


def test_a_tracker_that_is_not_installed(run_stage, tiny_data, tmp_path):
    files = ("--train-file", tiny_data[0], "--logs-dir", tmp_path)
    done = run_stage(train_8b, "--report-to", "mlflow", *files)
    assert done.returncode == 2 and "the package is not installed: pip install mlflow" in done.stderr
    assert run_stage(train_8b, "--report-to", "aim").returncode == 2
