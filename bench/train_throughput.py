"""Training throughput: the reference recipe against the toolkit's default, same rows, one after the other.

The reference recipe is profile `reference` on the demo's model: padded micro-batches of 2 x 4, loss over
prompt and answer, gradient checkpointing. Both train on the same rows of the train file for the same number
of steps of 8 rows; then the loss on the answers of the same validation rows is taken for each adapter. Prints
a table and, last, the same as JSON.

  python bench/train_throughput.py --steps 20
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

REFERENCE_FLAGS = (
    "--completion-only-loss",
    "false",
    "--micro-batch-tokens",
    "0",
    "--gradient-checkpointing",
    "true",
    "--group-by-length",
    "false",
)


def train(name, flags, args, train_file, folder):
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
        str(folder / name),
        "--checkpoint-dir",
        str(folder / f"{name}_ck"),
        "--logs-dir",
        str(folder / f"{name}_logs"),
        *flags,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    (path,) = (folder / f"{name}_logs").glob("metrics_*.json")
    return json.loads(path.read_text())


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
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps of 8 rows each")
    parser.add_argument("--train-file", default=config.CONFIG["train_file"])
    parser.add_argument("--validation-file", default=config.CONFIG["validation_file"])
    parser.add_argument("--eval-rows", type=int, default=40)
    args = parser.parse_args()
    settings = {**config.CONFIG, **config.PROFILES[args.profile]}
    rows = records.read_records(args.train_file)
    rows = random.Random(0).sample(rows, min(len(rows), args.steps * 8))
    held_out = records.read_records(args.validation_file)[: args.eval_rows]
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_file = folder / "train.jsonl"
        train_file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        for label, flags in (("reference recipe", REFERENCE_FLAGS), ("default", ())):
            key = label.split()[0]
            metrics = train(key, flags, args, str(train_file), folder)
            results[label] = {
                "samples_per_second": metrics["train_samples_per_second"],
                "tokens_per_second": metrics["tokens_per_second"],
                "peak_memory_bytes": metrics["peak_memory_bytes"],
                "peak_vram_bytes": metrics["peak_vram_bytes"],
                "train_sec": metrics["train_runtime"],
                "steps": metrics["total_steps"],
                "validation_loss": answer_loss(str(folder / key), settings, held_out),
            }
    from legalqa.model.device import find_device

    reference, default = results["reference recipe"], results["default"]
    print(f"{'':18}{'samples/s':>10}{'tokens/s':>10}{'peak GB':>9}{'val. loss':>11}")
    for label, result in results.items():
        print(
            f"{label:18}{result['samples_per_second']:10.2f}{result['tokens_per_second']:10.0f}"
            f"{result['peak_memory_bytes'] / 1e9:9.2f}{result['validation_loss']:11.4f}"
        )
    ratio = default["samples_per_second"] / reference["samples_per_second"]
    tokens_ratio = default["tokens_per_second"] / reference["tokens_per_second"]
    print(f"ratio             {ratio:10.2f}{tokens_ratio:10.2f}")
    print(
        json.dumps(
            {
                "ratio_samples_per_second": ratio,
                "rows": len(rows),
                "results": results,
                "device": asdict(find_device()),
                "versions": runlog.package_versions(),
            },
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
