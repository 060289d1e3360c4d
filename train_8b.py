"""Fine-tune a base model on question-answer rows by 4-bit QLoRA with Unsloth.

Reads   train and validation rows (combined_data/*.jsonl)
Writes  the adapter (finetuned_qwen3_8b/, or finetuned_demo/ without a GPU), checkpoints (outputs/),
        logs/config_<run>.json, logs/metrics_<run>.json, logs/history_<run>.jsonl

  python train_8b.py                                  the reference run (the demo model where no GPU is found)
  python train_8b.py --dry-run                        check everything, print the plan, train nothing
  python train_8b.py --resume                         go on from the newest complete checkpoint
  python train_8b.py --num-epochs 5 --lora-r 32       what the reference run advises next
  torchrun --nproc-per-node 2 train_8b.py             two GPUs; a step stays batch_size x grad_accum rows
"""

import contextlib
import math
import os
import random
import shutil
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from legalqa import cli, runlog
from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import file_sha256, lock, read_json, write_json
from legalqa.model.adapter import AdapterSettings, check_output, save_adapter
from legalqa.model.base import (
    add_lora,
    check_model_name,
    count_parameters,
    import_unsloth,
    load_base,
    load_model_config,
    load_tokenizer,
)
from legalqa.model.device import find_device
from legalqa.training import checkpoints, plan
from legalqa.training.trainer import (
    StopRequest,
    check_supervision,
    from_main_process,
    make_trainer,
    memory_advice,
    run_metrics,
)

# fmt: off
KEYS = ("model_name", "max_seq_length", "load_in_4bit", "lora_r", "lora_alpha", "lora_dropout", "target_modules",
        "train_file", "validation_file", "system_prompt", "batch_size", "grad_accum", "micro_batch_tokens", "num_epochs",
        "max_steps", "learning_rate", "warmup_ratio", "weight_decay", "optim", "lr_scheduler_type", "max_grad_norm", "seed",
        "gradient_checkpointing", "completion_only_loss", "padding_free", "group_by_length", "eval_samples",
        "eval_batch_size", "save_steps", "save_total_limit", "logging_steps", "output_dir", "checkpoint_dir", "logs_dir")
# fmt: on
SHOWN_LONG_ROWS = 5
NEWEST = "newest"


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS)
    parser.add_argument("--dry-run", action="store_true", help="stop after the plan")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=NEWEST,
        metavar="RUN",
        help="go on from the newest complete checkpoint in checkpoint_dir, or from that of RUN",
    )
    parser.add_argument(
        "--force", action="store_true", help="with --resume: go on although data or settings differ"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace another run's adapter in output_dir, at the end"
    )
    return parser.parse_args(argv)


def read_data(config):
    """(train records, validation records without rows that train has too)."""
    train = records.read_records(config["train_file"])
    validation = records.read_records(config["validation_file"]) if config["eval_samples"] else []
    clean = records.without_leaks(validation, train)
    if len(clean) < len(validation):
        print(
            f"warning: {len(validation) - len(clean)} validation rows ask what a training row asks; left out of the "
            "evaluation (python prepare_data.py --check lists them)",
            file=sys.stderr,
        )
    return train, clean


def make_plan(config, train, validation, tokenizer, world_size):
    """What will be trained, exactly: texts, lengths, the order, micro-batches, steps."""
    texts, lengths, answers = plan.render_rows(train, tokenizer, config)
    kept, dropped = plan.drop_long(train, texts, lengths, config, config["train_file"])
    rows_per_step = config["batch_size"] * config["grad_accum"]
    if rows_per_step % world_size:
        raise UserError(
            f"{rows_per_step} rows a step (batch_size x grad_accum) cannot be shared by {world_size} devices; "
            "change --batch-size or --grad-accum"
        )
    order = plan.TrainingOrder(
        [lengths[i] for i in kept], rows_per_step, config["seed"], config["group_by_length"]
    )
    rows = plan.micro_batch_rows(order, config, rows_per_step // world_size)
    steps_per_epoch = math.ceil(len(kept) / rows_per_step)
    steps = (
        config["max_steps"] if config["max_steps"] > 0 else math.ceil(steps_per_epoch * config["num_epochs"])
    )
    eval_texts, eval_lengths = [], []
    if validation:
        all_texts, all_lengths, _ = plan.render_rows(validation, tokenizer, config)
        kept_eval, _ = plan.drop_long(validation, all_texts, all_lengths, config, config["validation_file"])
        chosen = random.Random(config["seed"]).sample(kept_eval, min(config["eval_samples"], len(kept_eval)))
        chosen.sort(key=all_lengths.__getitem__)  # like lengths side by side: less padding
        eval_texts, eval_lengths = [all_texts[i] for i in chosen], [all_lengths[i] for i in chosen]
    return {
        "texts": [texts[i] for i in kept],
        "row_numbers": [i + 1 for i in kept],
        "lengths": order.lengths,
        "dropped": dropped,
        "order": order,
        "rows_per_step": rows_per_step,
        "micro_batch_rows": rows,
        "accumulation": rows_per_step // world_size // rows,
        "steps_per_epoch": steps_per_epoch,
        "steps": steps,
        "epochs": steps / steps_per_epoch,
        "tokens_per_epoch": sum(order.lengths),
        "answer_share": sum(answers[i] for i in kept) / sum(order.lengths),
        "padding_share": plan.padding_share(order, rows, config),
        "worst_tokens": plan.worst_tokens(order, rows, config),
        "eval_texts": eval_texts,
        "eval_lengths": eval_lengths,
    }


def print_plan(config, facts, device, trainable, total, memory_bytes):
    lengths = sorted(facts["lengths"])
    print(
        f"model      {config['model_name']}, {'4-bit' if config['load_in_4bit'] else '16-bit'}, on {device.name}"
    )
    print(
        f"adapter    LoRA r {config['lora_r']}: {trainable:,} trainable of {total:,} parameters "
        f"({100 * trainable / total:.2f} %)"
    )
    print(
        f"train      {len(lengths):,} rows of {config['train_file']}; {facts['tokens_per_epoch']:,} tokens an epoch "
        f"(median {lengths[len(lengths) // 2]}, longest {lengths[-1]}), {100 * facts['answer_share']:.0f} % answer"
    )
    if facts["dropped"]:
        longest = sorted(facts["dropped"], key=lambda row: -row[1])[:SHOWN_LONG_ROWS]
        named = ", ".join(f"row {number} ({tokens} tokens)" for number, tokens in longest)
        print(
            f"dropped    {len(facts['dropped'])} rows over {config['max_seq_length']} tokens: {named}"
            f"{' ...' if len(facts['dropped']) > SHOWN_LONG_ROWS else ''}; --max-seq-length keeps them"
        )
    print(
        f"evaluate   {len(facts['eval_texts'])} rows of {config['validation_file']}, before step 1 and at every save"
    )
    print(
        f"steps      {facts['steps']:,} of {facts['rows_per_step']} rows ({facts['accumulation']} micro-batch(es) of "
        f"{facts['micro_batch_rows']}; {100 * facts['padding_share']:.0f} % padding), {facts['epochs']:.3g} epochs"
    )
    past = plan.past_tokens_per_sec(config["logs_dir"], config, device.name)
    speed = past or plan.rough_tokens_per_sec(total, config["gradient_checkpointing"])
    print(
        f"time       about {format_sec(facts['tokens_per_epoch'] * facts['epochs'] / speed)} at {speed:,.0f} tokens/s "
        + (
            "(the last run's speed here)"
            if past
            else "(a rough guess: no run of this model on this device is in the logs)"
        )
    )
    print(
        f"memory     about {memory_bytes / 1e9:.1f} GB at the longest micro-batch ({facts['worst_tokens']:,} tokens), of "
        f"{device.memory_bytes / 1e9:.1f} GB"
    )


def format_sec(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def resume_point(config, args):
    """(run id, checkpoint folder, what it says of the run) to go on from; (None, None, None) for a new run."""
    if not args.resume:
        return None, None, None
    run = None if args.resume == NEWEST else args.resume
    folder, skipped = checkpoints.newest_complete(config["checkpoint_dir"], run)
    for path, reason in skipped:
        print(f"warning: skipping {path}: {reason}", file=sys.stderr)
    if folder is None:
        raise UserError(
            f"nothing to resume: no complete checkpoint in {config['checkpoint_dir']}"
            f"{f' of run {run}' if run else ''}; start without --resume"
        )
    return folder.parent.name, folder, read_json(folder / checkpoints.RUN_FILE)


def check_same_run(saved, binding, folder, force):
    changed = checkpoints.differences(saved["binding"], binding)
    if changed and not force:
        raise UserError(
            f"{folder} belongs to a run with other data or settings: {'; '.join(changed)}; give the same "
            "ones, name another run (--resume RUN), or --force to go on all the same"
        )
    for change in changed:
        print(f"warning: resuming with another {change}", file=sys.stderr)


def check_disk_space(config, trainable, run):
    """UserError unless adapter and checkpoints will fit: 4 bytes a parameter, in a checkpoint 8 more of AdamW."""
    there = len(checkpoints.checkpoints_of(Path(config["checkpoint_dir"]) / run))
    needed = {
        config["checkpoint_dir"]: 12 * trainable * max(1, config["save_total_limit"] + 1 - there),
        config["output_dir"]: 4 * trainable,
    }
    disks = {}
    for folder, size in needed.items():
        existing = next(
            path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists()
        )
        sizes = disks.setdefault(existing.stat().st_dev, {})
        sizes[folder] = size
        free, total = shutil.disk_usage(existing).free, sum(sizes.values()) + 50e6  # logs, tokenizer
        if free < total:
            raise UserError(
                f"{' and '.join(sizes)}: {total / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free; "
                "free space, or give another --checkpoint-dir or --output-dir"
            )


def describe_run(config, facts, train, validation, tokenizer, run):
    """(data files, settings to save with the adapter, what binds a checkpoint to its run)."""
    data = {
        name: {
            "file": config[f"{name}_file"],
            "sha256": file_sha256(config[f"{name}_file"]),
            "num_rows": len(rows),
            "num_used": used,
            "num_dropped": len(rows) - used,
            "by_language": Counter(records.detect_language(records.question(row)) for row in rows),
        }
        for name, rows, used in (
            ("train", train, len(facts["lengths"])),
            ("validation", validation, len(facts["eval_texts"])),
        )
        if rows
    }
    settings = AdapterSettings.of_run(config, tokenizer, run, data["train"]["sha256"])
    binding = {
        **config,
        "rows_per_step": facts["rows_per_step"],
        "train_sha256": data["train"]["sha256"],
        "prompt_sha256": settings.prompt_sha256,
    }
    return data, settings, {key: binding[key] for key in checkpoints.BINDING_KEYS}


def print_stopped(config, run, step, steps):
    saved, _ = checkpoints.newest_complete(config["checkpoint_dir"], run)
    outcome = (
        f"saved in {saved}; to go on: {runlog.command_line('--resume')}"
        if saved
        else "nothing was saved: the weights are not finite"
    )
    print(f"stopped after step {step} of {steps}; {outcome}", file=sys.stderr)


def main(argv=None):
    args = parse_args(argv)
    world_size, is_main = int(os.environ.get("WORLD_SIZE", 1)), os.environ.get("RANK", "0") == "0"
    if not is_main:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # torchrun: one process speaks
    config = cli.effective_config(args)
    train, validation = read_data(config)
    run, checkpoint, saved = resume_point(config, args)
    holder = check_output(config, run, args.overwrite or args.dry_run)
    if checkpoint and holder == run and logs_of(config, "metrics", run).is_file() and not args.force:
        print(f"run {run} is finished, its adapter is in {config['output_dir']}: nothing to resume")
        return 0
    config["model_name"] = check_model_name(config["model_name"])

    import_unsloth(config["model_name"])
    from transformers import set_seed

    set_seed(config["seed"])
    run = run or from_main_process(runlog.new_run_id())
    device = find_device()
    if device.type != "cuda":
        config["padding_free"] = False  # needs a CUDA attention kernel that keeps rows apart
    tokenizer = load_tokenizer(config["model_name"])
    facts = make_plan(config, train, validation, tokenizer, world_size)
    model_config = load_model_config(config["model_name"])
    trainable, total = count_parameters(model_config, config["lora_r"], config["target_modules"])
    memory_bytes = plan.memory_estimate_bytes(
        model_config, trainable, total, facts["worst_tokens"], config, device.type
    )
    if is_main:  # it measures the machine
        print_plan(config, facts, device, trainable, total, memory_bytes)
    data, settings, binding = describe_run(config, facts, train, validation, tokenizer, run)
    if checkpoint:
        check_same_run(saved, binding, checkpoint, args.force)
        print(f"resume     run {run}, after step {checkpoints.step_of(checkpoint)}")
    if args.dry_run:
        print("dry run: nothing was trained; to train: the same command without --dry-run")
        return 0
    check_disk_space(config, trainable, run)

    with contextlib.ExitStack() as guards:
        if is_main:
            guards.enter_context(lock(config["output_dir"]))
            guards.enter_context(lock(Path(config["checkpoint_dir"]) / run))
            meta = runlog.run_meta(
                run,
                device=asdict(device),
                data=data,
                prompt_sha256=settings.prompt_sha256,
                base_model={"name": config["model_name"], "parameters": total - trainable},
            )
            write_json(logs_of(config, "config", run), {**config, "meta": meta})
        guards.enter_context(memory_advice(config, facts))
        language_model, _ = load_base(
            config["model_name"],
            config["max_seq_length"],
            config["load_in_4bit"],
            config["gradient_checkpointing"],
        )
        language_model = add_lora(language_model, config)
        trainer = make_trainer(
            language_model, tokenizer, config, facts, run, binding, saved and saved["progress"]
        )
        check_supervision(trainer, tokenizer, facts, config)
        stop = StopRequest()
        result = run(trainer, config, facts, run, stop, checkpoint)
        if stop.signal is not None:
            if is_main:
                print_stopped(config, run, trainer.state.global_step, facts["steps"])
            return 128 + stop.signal
        metrics = run_metrics(trainer, result, trainable, total, run, checkpoint)
        if is_main:
            save_adapter(language_model, tokenizer, config, settings, metrics)
            write_json(logs_of(config, "metrics", run), metrics)
            print_summary(config, metrics, run)
    return 0


def logs_of(config, stage, run):
    return Path(config["logs_dir"]) / f"{stage}_{run}.json"


def print_summary(config, metrics, run):
    print(
        f"\nloss       {metrics['initial_loss']:.4f} -> {metrics['final_loss']:.4f} (minimum {metrics['min_loss']:.4f}, "
        f"{metrics['loss_reduction_percent']:.1f} % less)"
    )
    if metrics["eval_loss"] is not None:
        print(f"evaluation {metrics['initial_eval_loss']:.4f} -> {metrics['eval_loss']:.4f}")
    print(
        f"time       {format_sec(metrics['train_runtime'])}, {metrics['train_samples_per_second']:.2f} samples/s, "
        f"{metrics['tokens_per_second']:,.0f} tokens/s, {metrics['peak_memory_bytes'] / 1e9:.1f} GB memory"
    )
    print(f"adapter    {config['output_dir']}")
    print(f"logs       {config['logs_dir']}/metrics_{run}.json")
    print(f"next       python benchmark.py --model {config['output_dir']}")


if __name__ == "__main__":
    cli.run_main(main)
