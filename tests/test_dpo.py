"""train_dpo.py and prepare_pairs.py run for real, through Unsloth, on a tiny Qwen3. Run: make test"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys

import pytest
import tiny
import warm

import benchmark
import train_dpo
from legalqa import cli
from legalqa.data.pairs import Origin, Pair, read_origin, read_pairs, write_pairs
from legalqa.errors import UserError
from legalqa.files import file_sha256, read_json
from legalqa.model.adapter import AdapterSettings
from legalqa.model.base import load_tokenizer
from legalqa.training.pair_plan import make_pair_plan, render_pairs

sys.path.insert(0, str(warm.REPOSITORY / "bench"))
import chaos


def make_pairs(rows):
    """Chosen: the reference; rejected: other words, every third cut off before its end."""
    return [
        Pair(
            row["instruction"],
            row["input"],
            row["output"],
            row["output"].replace("Стат", "Ст").replace("Еңбек", "Ек") + " налог" * (1 + number % 7),
            ["loop", "cut_off"] if number % 3 == 0 else ["loop"],
        )
        for number, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def python():
    return warm.WarmPython()


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_adapter, tiny_data):
    """Folder with adapter/, pairs.jsonl of 38 pairs and validation.jsonl."""
    folder = tmp_path_factory.mktemp("dpo")
    (folder / "adapter").symlink_to(tiny_adapter)
    (folder / "validation.jsonl").symlink_to(tiny_data[1])
    settings = AdapterSettings.load(tiny_adapter)
    origin = Origin(
        settings.base_model, settings.prompt_sha256, file_sha256(tiny_adapter / "adapter_model.safetensors")
    )
    write_pairs(folder / "pairs.jsonl", make_pairs(tiny.make_rows(38)), origin, {})
    return folder


def flags_of(place, folder, *more):
    """Flags of a run of train_dpo.py that writes into `folder`."""
    # fmt: off
    return ["--profile", "demo", "--adapter", place / "adapter", "--pairs-file", place / "pairs.jsonl",
            "--validation-file", place / "validation.jsonl", "--output-dir", folder / "adapter",
            "--checkpoint-dir", folder / "checkpoints", "--logs-dir", folder / "logs", "--grad-accum", 2,
            "--dpo-learning-rate", 0.01, "--dpo-epochs", 2, "--dpo-save-steps", 4, "--logging-steps", 3,
            "--dpo-sft-weight", 0, *more]
    # fmt: on


@pytest.fixture(scope="module")
def unbroken(python, place, tmp_path_factory):
    """(folder, what it printed) of a run that nothing stops."""
    folder = tmp_path_factory.mktemp("unbroken")
    code, log = python.run("train_dpo.py", flags_of(place, folder), folder, folder / "log")
    assert code == 0, log
    return folder, log


def metrics_of(folder):
    (path,) = (folder / "logs").glob("metrics_*.json")
    return read_json(path)


def only_error(log):
    assert "Traceback" not in log, log
    (line,) = [line for line in log.splitlines() if line.startswith("error: ")]
    return line


# ---- The loss


def test_before_training_the_policy_is_the_reference(unbroken):
    history = metrics_of(unbroken[0])["history"]
    before = next(entry for entry in history if "eval_loss" in entry)
    assert before["step"] == 0 and f"{before['eval_loss']:.4f}" == f"{math.log(2):.4f}" == "0.6931"
    assert before["eval_accuracy"] == 0.5 and before["eval_margin"] == 0
    assert before["eval_chosen_reward"] == before["eval_rejected_reward"] == 0


def test_training_leaves_what_the_design_says(unbroken, place):
    folder, log = unbroken
    metrics = metrics_of(folder)
    assert metrics["eval_accuracy"] > 0.8 and metrics["eval_margin"] > 0.1 > metrics["final_loss"] - 0.6
    assert metrics["chosen_reward"] > metrics["rejected_reward"] and metrics["accuracy"] > 0.5
    logged = [entry for entry in metrics["history"] if "loss" in entry]
    assert [entry["step"] for entry in logged] == [3, 6, 9, 12, 15, 18]  # the last quarter: 15 and 18
    assert metrics["margin"] == pytest.approx((logged[-2]["margin"] + logged[-1]["margin"]) / 2)
    assert all({"chosen_reward", "rejected_reward", "margin", "accuracy"} <= entry.keys() for entry in logged)
    run, before = metrics["meta"]["run"], AdapterSettings.load(place / "adapter")
    saved = AdapterSettings.load(folder / "adapter")
    assert (saved.run, saved.from_run) == (run, before.run) and metrics["meta"]["from_run"] == before.run
    assert saved.train_sha256 == before.train_sha256 and saved.decoding == before.decoding
    assert saved.pairs_sha256 == file_sha256(place / "pairs.jsonl")
    config = read_json(folder / "logs" / f"config_{run}.json")
    assert config["meta"]["from_adapter"]["run"] == before.run and config["dpo_beta"] == 0.1
    assert {p.name for p in (folder / "adapter").iterdir()} >= {"adapter_model.safetensors", "README.md"}
    assert not (folder / "adapter" / "ref").exists()  # TRL's copy of the reference
    assert "34 pairs of" in log and "4 held pairs" in log


def test_benchmark_says_dpo(unbroken, place):
    about = benchmark.model_facts(str(unbroken[0] / "adapter"))
    assert about["kind"] == "dpo" and about["adapter"]["run"] == metrics_of(unbroken[0])["meta"]["run"]
    assert benchmark.model_facts(str(place / "adapter"))["kind"] == "adapter"


COMPARE_WITH_PLAIN = """
import json, sys
import legalqa.model.base as base
from legalqa import cli
import train_dpo
args = train_dpo.parse_args(sys.argv[1:])
config = train_dpo.run_settings(args, cli.effective_config(args)) | {"load_in_4bit": False}
base.import_unsloth(config["model_name"])
from legalqa.training import pair_trainer
from legalqa.training.pair_plan import make_pair_plan
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
tokenizer = base.load_tokenizer(config["adapter"])
plan = make_pair_plan(config, train_dpo.read_pairs(config), tokenizer)
model = base.load_for_training(config["adapter"], config)
trainer = pair_trainer.PairTrainer(model, tokenizer, config, plan, "run", {}, None)
trainer.add_reference()
assert list(model.peft_config) == ["default"]
file = load_file(config["adapter"] + "/adapter_model.safetensors")
trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
ours = {name.replace(".default", ""): weight for name, weight in trained.items()}
assert ours.keys() == file.keys() and all(torch.equal(ours[name], file[name]) for name in file)
plain = AutoModelForCausalLM.from_pretrained(config["model_name"], dtype=torch.float32)
plain = PeftModel.from_pretrained(plain, config["adapter"])

@torch.no_grad()
def log_probability(prompt, answer):
    scores = plain(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    return sum(scores[len(prompt) + i - 1, token].item() for i, token in enumerate(answer))

found = []
for examples, dataset in ((plan.examples, trainer.train_dataset), (plan.eval_examples, trainer.eval_dataset)):
    for example, row in zip(examples, dataset):
        for name, ids in (("chosen", example.chosen_ids), ("rejected", example.rejected_ids)):
            tuned = log_probability(example.prompt_ids, ids)
            with plain.disable_adapter():
                base_model = log_probability(example.prompt_ids, ids)
            found.append((row[f"ref_{name}_logps"], tuned, base_model))
print(json.dumps(found))
"""


def test_log_probabilities_are_those_of_plain_transformers_and_peft(place, tmp_path):
    arguments = map(str, flags_of(place, tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", COMPARE_WITH_PLAIN, *arguments],
        capture_output=True,
        text=True,
        cwd=warm.REPOSITORY,
        env={**os.environ, "UNSLOTH_CPU_BF16": "0"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 2 * 38
    assert all(abs(ours - tuned) < 1e-5 * abs(tuned) for ours, tuned, _ in found)
    # and not those of the base model, which TRL takes for a fresh adapter
    assert all(abs(ours - base) > 1e-3 * abs(base) for ours, _, base in found)


def test_parts_of_a_step_add_up_to_it(run_script, place, tmp_path):
    """Four pairs at once, by twos, and cut up by the budget: the same losses and scores."""
    histories = []
    for budget in (2000, 0, 250):
        folder = tmp_path / str(budget)
        flags = flags_of(place, folder, "--micro-batch-tokens", budget, "--logging-steps", 1)
        done = run_script("train_dpo.py", *flags, env={"UNSLOTH_CPU_BF16": "0", "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        histories.append(metrics_of(folder)["history"])
    for entries in zip(*histories, strict=True):
        for key in {"loss", "margin", "accuracy", "grad_norm", "eval_margin"} & entries[0].keys():
            values = [entry[key] for entry in entries]
            assert values == pytest.approx(values[:1] * 3, rel=1e-3, abs=1e-5), (key, entries)


# ---- Tokens


def test_tokens_are_those_of_the_prompt_module_with_one_end(place):
    tokenizer = load_tokenizer(place / "adapter")
    pairs, config = read_pairs(place / "pairs.jsonl"), {"system_prompt": ""}
    for number, (pair, example) in enumerate(zip(pairs, render_pairs(pairs, tokenizer, config))):
        end = tokenizer.eos_token_id
        assert example.row_number == number + 1
        assert example.chosen_ids.count(end) == 1 and example.chosen_ids[-1] == end
        assert example.rejected_ids.count(end) == ("cut_off" not in pair.why)
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in example[2:4]]
        assert texts == [pair.chosen, pair.rejected]


def test_the_plan_keeps_to_the_budget(place):
    tokenizer, pairs = load_tokenizer(place / "adapter"), read_pairs(place / "pairs.jsonl")
    config = {
        "system_prompt": "", "pairs_file": "p", "max_seq_length": 256, "dpo_held": 0.1, "seed": 1,
        "batch_size": 2, "grad_accum": 4, "num_epochs": 1, "group_by_length": True, "micro_batch_tokens": 600,
    }  # fmt: skip
    plan = make_pair_plan(config, pairs, tokenizer)
    assert len(plan.examples) == 34 and len(plan.eval_examples) == 4 and plan.steps == 5
    assert plan.worst_tokens <= 600 and plan.micro_batch_rows * plan.accumulation == 8
    single = make_pair_plan({**config, "micro_batch_tokens": 10}, pairs, tokenizer)
    assert single.worst_tokens == 2 * max(example.tokens for example in plan.examples)
    assert make_pair_plan({**config, "micro_batch_tokens": 0}, pairs, tokenizer).micro_batch_rows == 2


# ---- It survives


def die_at_step_6():
    """Step 6 is beyond the checkpoint of step 4, and inside a logging interval."""

    def step(self, *args, **kwargs):
        if self.state.global_step == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *args, **kwargs)

    from trl import DPOTrainer

    original, DPOTrainer.training_step = DPOTrainer.training_step, step


def test_killed_and_resumed_it_ends_as_the_unbroken_run(python, place, unbroken, tmp_path):
    flags = flags_of(place, tmp_path)
    code, log = python.run("train_dpo.py", flags, tmp_path, tmp_path / "log", die_at_step_6)
    assert code == -signal.SIGKILL, log
    code, log = python.run("train_dpo.py", [*flags, "--resume"], tmp_path, tmp_path / "log")
    assert code == 0 and "after step 4" in log, log
    assert chaos.train_outcome(tmp_path) == chaos.train_outcome(unbroken[0])
    code, log = python.run("train_dpo.py", [*flags, "--resume"], tmp_path, tmp_path / "log")
    assert code == 0 and "is finished" in log


def test_resume_under_another_beta_or_adapter_is_refused(python, place, unbroken, tmp_path):
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "logs" / next((tmp_path / "logs").glob("metrics_*")).name).unlink()
    flags = flags_of(place, tmp_path, "--resume", "--dpo-beta", 0.2)
    code, log = python.run("train_dpo.py", flags, tmp_path, tmp_path / "log")
    assert code == 2 and "dpo_beta: 0.1 -> 0.2" in only_error(log)


def test_dry_run_writes_nothing(python, place, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    code, log = python.run("train_dpo.py", flags_of(place, folder, "--dry-run"), folder, tmp_path / "log")
    assert code == 0 and "dry run: nothing was trained" in log, log
    assert "steps      18 of 4 pairs" in log and "as it is now it is the reference" in log
    assert list(folder.iterdir()) == []


# ---- Bad input


def other_origin(folder, place, **change):
    origin = read_origin(place / "pairs.jsonl")._replace(**change)
    write_pairs(folder / "other.jsonl", read_pairs(place / "pairs.jsonl"), origin, {})
    return ["--pairs-file", folder / "other.jsonl"]


BAD = {
    "no adapter": (
        lambda folder, place: ["--adapter", folder / "none"],
        "none: no adapter there; train one: python train_8b.py",
    ),
    "another prompt": (
        lambda folder, place: other_origin(folder, place, prompt_sha256="abc"),
        "its answers were made with another prompt (abc) than that of",
    ),
    "another base": (
        lambda folder, place: other_origin(folder, place, base_model="some/model"),
        "its answers were made with another base model (some/model) than that of",
    ),
    "too long": (
        lambda folder, place: ["--max-seq-length", 8],
        "every row is longer than 8 tokens; raise --max-seq-length",
    ),
    "validation": (
        lambda folder, place: ["--validation-file", validation_of(folder, place)],
        "1 pairs ask what a row of",
    ),
    "over its reference": (
        lambda folder, place: ["--output-dir", place / "adapter", "--overwrite"],
        "is the adapter to go on from",
    ),
    "no pairs": (
        lambda folder, place: ["--pairs-file", folder / "none.jsonl"],
        "none.jsonl: no such file; make the data with: python prepare_pairs.py",
    ),
}


def validation_of(folder, place):
    return tiny.write_rows(folder / "validation.jsonl", tiny.make_rows(5)[4:])


@pytest.mark.parametrize("flags, message", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_before_the_model_is_loaded(python, place, tmp_path, flags, message):
    flags = [*flags_of(place, tmp_path), *flags(tmp_path, place)]
    code, log = python.run("train_dpo.py", flags, tmp_path, tmp_path / "log")
    assert code == 2 and message in only_error(log) and "loading" not in log, log
    assert not (tmp_path / "logs" / "metrics").exists() and not (tmp_path / "checkpoints").exists()


def test_without_adapter_it_is_that_of_training(tmp_path, monkeypatch):
    """Also where --output-dir names another folder, as train_8b.py's flag of that name does not here."""
    monkeypatch.chdir(tmp_path)
    for profile, folder in (("demo", "finetuned_demo"), ("gpu", "finetuned_qwen3_8b")):
        args = train_dpo.parse_args(["--profile", profile, "--output-dir", "elsewhere"])
        with pytest.raises(UserError, match=f"^{folder}: no adapter there"):
            train_dpo.run_settings(args, cli.effective_config(args))


def test_it_runs_on_one_device(run_script, place, tmp_path):
    done = run_script("train_dpo.py", *flags_of(place, tmp_path), env={"WORLD_SIZE": "2"})
    assert done.returncode == 2 and "runs on one device" in only_error(done.stderr)


# ---- prepare_pairs.py


def die_after_two_samples():
    from legalqa.model import answers

    def generate_all(*args):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    calls, original, answers.generate_all = [], answers.generate_all, generate_all


def test_pairs_are_made_resumed_and_trained_on(python, place, tiny_data, tmp_path):
    # fmt: off
    flags = ["--profile", "demo", "--model", place / "adapter", "--train-file", tiny_data[0],
             "--validation-file", tiny_data[1], "--pairs-file", tmp_path / "pairs.jsonl", "--pair-rows", 10,
             "--samples", 3, "--hard-negatives", 0.25, "--max-new-tokens", 24,
             "--logs-dir", tmp_path / "logs"]
    # fmt: on
    log = tmp_path / "log"
    code, text = python.run("prepare_pairs.py", flags, tmp_path, log, die_after_two_samples)
    assert code == -signal.SIGKILL, text
    kept = {path: path.read_text() for path in (tmp_path / "logs").glob("answers_*")}
    assert len(kept) == 2 and all(text.count("\n") == 10 for text in kept.values())
    first, second = ([json.loads(line)["prediction"] for line in text.splitlines()] for text in kept.values())
    assert first != second
    code, text = python.run("prepare_pairs.py", flags, tmp_path, log)
    assert code == 0 and text.count("10 of 10 answers are there from an earlier start") == 2, text
    assert not list((tmp_path / "logs").glob("answers_*"))
    pairs, about = read_pairs(tmp_path / "pairs.jsonl"), read_json(tmp_path / "pairs.json")
    hard = [pair for pair in pairs if pair.why == ["replaced_article"]]
    assert 1 <= len(pairs) - len(hard) <= 10 and len(hard) == round((len(pairs) - len(hard)) / 3)
    assert about["num_pairs"] == len(pairs) and sum(about["counts"]["language"].values()) == len(pairs)
    origin = read_origin(tmp_path / "pairs.jsonl")
    assert origin.prompt_sha256 == AdapterSettings.load(place / "adapter").prompt_sha256
    flags = flags_of(place, tmp_path, "--pairs-file", tmp_path / "pairs.jsonl", "--dpo-held", 0, "--dry-run")
    assert python.run("train_dpo.py", flags, tmp_path, log)[0] == 0
