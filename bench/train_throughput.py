"""Training throughput: the published recipe against the toolkit's default, same rows, one after the other.

The recipe as its authors' script has it, in plain Unsloth and TRL, on the demo's model: padded micro-batches
of 2 x 4, loss over prompt and answer, gradient checkpointing. Both train on the same rows of the train file
for the same number of steps of 8 rows; then the loss on the answers of the same validation rows is taken for
each adapter. Prints a table with the share of the machine's matrix rate that training reaches and, last, the
same as JSON. UNSLOTH_CPU_BF16=0 or 1 before the command chooses the arithmetic of a CPU: float32 or bfloat16.

  python bench/train_throughput.py
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))


def train_default(args, train_file, folder):
    """Metrics of one run of train_8b.py in its own process."""
    command = [
        sys.executable,
        str(REPOSITORY / "train_8b.py"),
        "--profile",
        args.profile,
        "--train-file",
        train_file,
        "--validation-file",
        args.validation_file,
        "--eval-samples",
        "0",
        "--num-epochs",
        "1",
        "--max-steps",
        "-1",
        "--batch-size",
        "2",
        "--grad-accum",
        "4",
        "--save-steps",
        "100000",
        "--logging-steps",
        "1",
        "--output-dir",
        str(folder / "default"),
        "--checkpoint-dir",
        str(folder / "checkpoints"),
        "--logs-dir",
        str(folder / "logs"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    (path,) = (folder / "logs").glob("metrics_*.json")
    return json.loads(path.read_text())


def train_plain(args, train_file, output):
    """The recipe without the toolkit, but for its prompts; metrics into `output`/metrics.json."""
    import resource

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer
    from unsloth import FastLanguageModel  # before TRL

    import config
    from legalqa.data import records
    from legalqa.model import prompt
    from legalqa.model.base import load_tokenizer

    settings = {**config.CONFIG, **config.PROFILES[args.profile]}
    model, _ = FastLanguageModel.from_pretrained(
        settings["model_name"], max_seq_length=settings["max_seq_length"], load_in_4bit=True
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=settings["lora_r"],
        lora_alpha=settings["lora_alpha"],
        target_modules=settings["target_modules"],
        use_gradient_checkpointing="unsloth",
        random_state=settings["seed"],
    )
    tokenizer = load_tokenizer(settings["model_name"])
    rows = records.read_records(train_file)
    texts = [prompt.render_prompt(row, tokenizer) + prompt.render_completion(row, tokenizer) for row in rows]
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"text": texts}),
        args=SFTConfig(
            output_dir=str(output / "checkpoints"),
            per_device_train_batch_size=2,
            gradient_accumulation_steps=4,
            num_train_epochs=1,
            learning_rate=settings["learning_rate"],
            warmup_steps=1,
            weight_decay=settings["weight_decay"],
            optim="adamw_8bit",
            lr_scheduler_type="linear",
            seed=settings["seed"],
            max_length=settings["max_seq_length"],
            packing=False,
            save_strategy="no",
            report_to="none",
        ),
    )
    result = trainer.train()
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    tokens, seconds = sum(map(len, tokenizer(texts).input_ids)), result.metrics["train_runtime"]
    metrics = {
        "train_samples_per_second": result.metrics["train_samples_per_second"],
        "tokens_per_second": tokens / seconds,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_vram_bytes": None,
        "train_runtime": seconds,
        "total_steps": trainer.state.global_step,
    }
    (output / "metrics.json").write_text(json.dumps(metrics))


def plain_in_a_process(args, train_file, output):
    output.mkdir()
    command = [sys.executable, __file__, "--profile", args.profile, "--train-file", train_file]
    subprocess.run([*command, "--plain", str(output)], check=True, stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    return json.loads((output / "metrics.json").read_text())


def operations_per_sec(tokens_per_second, base_parameters, trainable):
    """Of the layers' products: 2 operations a weight forward and 2 backward, of a trained one 2 more."""
    return tokens_per_second * (4 * base_parameters + 6 * trainable)


def answer_loss(adapter, config, rows):
    """Mean negative log-likelihood a token of the answers, end token included, by the plain forward pass."""
    import torch

    from legalqa.model import prompt
    from legalqa.model.adapter import answer_settings
    from legalqa.model.base import load_for_inference

    language_model, tokenizer = load_for_inference(adapter, answer_settings(adapter, config))
    total = count = 0
    for row in rows:
        asked = tokenizer(prompt.render_prompt(row, tokenizer)).input_ids
        ids = tokenizer(
            prompt.render_prompt(row, tokenizer) + prompt.render_completion(row, tokenizer),
            return_tensors="pt",
        ).input_ids
        ids = ids.to(language_model.device)
        with torch.inference_mode():
            scores = language_model(input_ids=ids).logits[0, len(asked) - 1 : -1].float()
        total += torch.nn.functional.cross_entropy(scores, ids[0, len(asked) :], reduction="sum").item()
        count += ids.shape[1] - len(asked)
    return total / count


def main():
    import config
    from legalqa import runlog
    from legalqa.data import records

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of 8 rows each")
    parser.add_argument("--train-file", default=config.CONFIG["train_file"])
    parser.add_argument("--validation-file", default=config.CONFIG["validation_file"])
    parser.add_argument("--eval-rows", type=int, default=120)
    parser.add_argument("--plain", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        return train_plain(args, args.train_file, args.plain)
    settings = {**config.CONFIG, **config.PROFILES[args.profile]}
    rows = records.read_records(args.train_file)
    rows = random.Random(0).sample(rows, min(len(rows), args.steps * 8))
    held_out = records.read_records(args.validation_file)[: args.eval_rows]
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_file = folder / "train.jsonl"
        train_file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        runs = {
            "plain recipe": lambda: plain_in_a_process(args, str(train_file), folder / "plain"),
            "default": lambda: train_default(args, str(train_file), folder),
        }
        for label, run in runs.items():
            metrics = run()
            results[label] = {
                "samples_per_second": metrics["train_samples_per_second"],
                "tokens_per_second": metrics["tokens_per_second"],
                "peak_memory_bytes": metrics["peak_memory_bytes"],
                "peak_vram_bytes": metrics["peak_vram_bytes"],
                "train_sec": metrics["train_runtime"],
                "steps": metrics["total_steps"],
                "validation_loss": answer_loss(str(folder / label.split()[0]), settings, held_out),
            }
    from legalqa.model.base import count_parameters, load_model_config
    from legalqa.model.device import find_device, matrix_flops_per_sec

    device, default = find_device(), results["default"]
    machine = matrix_flops_per_sec(device)
    model_config = load_model_config(settings["model_name"])
    trainable, total = count_parameters(model_config, settings["lora_r"], settings["target_modules"])
    columns = f"{'samples/s':>10}{'tokens/s':>10}{'peak GB':>9}{'val. loss':>11}"
    columns += f"{'of matrix rate':>16}{'default':>10}"
    print(f"{'':18}{columns}")
    for label, result in results.items():
        own = operations_per_sec(result["tokens_per_second"], total - trainable, trainable)
        result["share_of_matrix_rate"] = own / machine
        result["default_is_times_faster"] = default["samples_per_second"] / result["samples_per_second"]
        print(
            f"{label:18}{result['samples_per_second']:10.2f}{result['tokens_per_second']:10.0f}"
            f"{result['peak_memory_bytes'] / 1e9:9.2f}{result['validation_loss']:11.4f}"
            f"{100 * result['share_of_matrix_rate']:14.0f} %{result['default_is_times_faster']:9.2f}x"
        )
    print(f"matrix rate in {device.arithmetic}: {machine / 1e9:.0f} GFLOP/s")
    facts = {"matrix_flops_per_sec": machine, "device": asdict(device), "versions": runlog.package_versions()}
    print(json.dumps({"rows": len(rows), "results": results, **facts}, ensure_ascii=False))


if __name__ == "__main__":
    main()
