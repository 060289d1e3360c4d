"""Fine-tune a base model on question-answer rows by 4-bit QLoRA with Unsloth.

Reads   train and validation rows (combined_data/*.jsonl)
Writes  the adapter (finetuned_qwen3_8b/, or finetuned_demo/ without a GPU), checkpoints (outputs/),
        logs/config_<run>.json, logs/metrics_<run>.json, logs/history_<run>.jsonl

  python train_8b.py                                  the reference run (the demo model where no GPU is found)
  python train_8b.py --dry-run                        check everything, print the plan, train nothing
  python train_8b.py --resume                         go on from the newest complete checkpoint
  python train_8b.py --num-epochs 5 --lora-r 32       what the reference run advises next
  python train_8b.py --law-passages 3                 open book: answers from the law's text (prepare_law.py)
  torchrun --nproc-per-node 2 train_8b.py             two GPUs; a step stays batch_size x grad_accum rows
"""

import contextlib
import os
import sys
from dataclasses import asdict
from pathlib import Path

from legalqa import cli, libraries, runlog
from legalqa.data import open_book, records
from legalqa.data.text import leftovers_warning
from legalqa.files import lock, write_json
from legalqa.law import acts
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
from legalqa.model.device import Device, find_device
from legalqa.training import checkpoints
from legalqa.training.plan import (
    Plan,
    describe_data,
    make_plan,
    memory_estimate_bytes,
    render_rows,
    weight_estimate_bytes,
)
from legalqa.training.processes import from_main_process
from legalqa.training.stage import (
    add_run_flags,
    check_disk_space,
    check_same_run,
    check_tracker,
    is_finished,
    print_costs,
    print_dropped,
    print_end,
    print_stopped,
    resume_point,
)

# fmt: off
KEYS = (
    "model_name", "max_seq_length", "load_in_4bit", "lora_r", "lora_alpha", "lora_dropout", "target_modules",
    "train_file", "validation_file", "system_prompt", "batch_size", "grad_accum", "micro_batch_tokens",
    "num_epochs", "max_steps", "learning_rate", "warmup_ratio", "weight_decay", "optim", "lr_scheduler_type",
    "max_grad_norm", "seed", "gradient_checkpointing", "completion_only_loss", "padding_free",
    "group_by_length", "eval_samples", "eval_batch_size", "save_steps", "save_total_limit", "logging_steps",
    "temperature", "top_p", "repetition_penalty", "max_new_tokens", "law_passages", "law_passage_tokens",
    "law_gold_share", "law_dir", "report_to", "output_dir", "checkpoint_dir", "logs_dir",
)
# fmt: on


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS)
    add_run_flags(parser)
    return parser.parse_args(argv)


def read_data(config):
    """(train records, validation records without rows that train has too)."""
    train = records.read_records(config["train_file"])
    if warning := leftovers_warning(train, config["train_file"]):
        print(f"warning: {warning}", file=sys.stderr)
    validation = records.read_records(config["validation_file"]) if config["eval_samples"] else []
    clean = records.without_leaks(validation, train)
    if len(clean) < len(validation):
        print(
            f"warning: {len(validation) - len(clean)} validation rows ask what a training row asks; left out "
            "of the evaluation (python prepare_data.py --check lists them)",
            file=sys.stderr,
        )
    return train, clean


def open_law(config, train, validation):
    """(train rows, validation rows, what the logs say of the law): with passages where the book is open.
    Validation rows have what the search finds, as in the benchmark."""
    if not config["law_passages"]:
        return train, validation, None
    acts.use(config["law_dir"])
    print(f"searching  the law in {config['law_dir']} for {len(train):,} rows", file=sys.stderr)
    book = open_book.open_book(
        config["law_dir"], config["train_file"], config["law_passages"], config["law_passage_tokens"]
    )
    found = open_book.training_rows(train, book, config["law_gold_share"], config["seed"])
    facts = {
        "sha256": book.index.law_sha256,
        "index_sha256": book.index.sha256,
        "right_by_search": found.num_found / len(train),  # share of the rows
        "right": found.num_right / len(train),
    }
    return found.rows, book.add_all(validation), facts


def print_plan(config, plan: Plan, device: Device, trainable, total, memory_bytes):
    lengths, bits = sorted(plan.order.lengths), "4-bit" if config["load_in_4bit"] else "16-bit"
    print(f"model      {config['model_name']}, {bits}, on {device.name}")
    print(
        f"adapter    LoRA r {config['lora_r']}: {trainable:,} trainable of {total:,} parameters "
        f"({100 * trainable / total:.2f} %)"
    )
    print(
        f"train      {len(lengths):,} rows of {config['train_file']}; {plan.tokens_per_epoch:,} tokens an "
        f"epoch (median {lengths[len(lengths) // 2]}, longest {lengths[-1]}), "
        f"{100 * plan.answer_share:.0f} % answer"
    )
    print_dropped(config, plan, "rows")
    print(
        f"evaluate   {len(plan.eval_examples)} rows of {config['validation_file']}, before step 1 and at "
        "every save"
    )
    print(
        f"steps      {plan.steps:,} of {plan.rows_per_step} rows ({plan.accumulation} micro-batch(es) of "
        f"{plan.micro_batch_rows}; {100 * plan.padding_share:.0f} % padding), {plan.epochs:.3g} epochs"
    )
    print_costs(config, plan, device, total, memory_bytes)


def print_open_book(config, plan: Plan, train, tokenizer, law, in_full):
    """What passages the rows have; `in_full`: also one row as the model reads it, lengths without them."""
    right, found = 100 * law["right"], 100 * law["right_by_search"]
    print(
        f"open book  passages of {config['law_dir']} in a prompt: {config['law_passages']}, each up to "
        f"{config['law_passage_tokens']} tokens; the article that the answer cites is among them in "
        f"{right:.0f} % of the rows (by the search alone in {found:.0f} %)"
    )
    if in_full:
        closed = render_rows([open_book.without_passages(row) for row in train], tokenizer, config)
        without, with_them = sum(row.tokens for row in closed) / len(closed), plan.tokens_per_epoch
        print(
            f"tokens     {with_them / len(plan.examples):.0f} a row with passages, {without:.0f} without\n\n"
            f"{plan.examples[0].prompt}{plan.examples[0].completion}\n"
        )


def describe_run(config, plan: Plan, train, validation, tokenizer, run, law):
    """(data files, settings to save with the adapter, what binds a checkpoint to its run)."""
    data = {"train": describe_data(config["train_file"], train, len(plan.examples))._asdict()}
    if validation:
        used = len(plan.eval_examples)
        data["validation"] = describe_data(config["validation_file"], validation, used)._asdict()
    settings = AdapterSettings.of_run(config, tokenizer, run, data["train"]["sha256"], law)
    binding = {**config, **asdict(settings), "rows_per_step": plan.rows_per_step}
    keys = (*checkpoints.BINDING_KEYS, *checkpoints.OPEN_BOOK_BINDING_KEYS)
    return data, settings, {key: binding[key] for key in keys}


def main(argv=None):
    args = parse_args(argv)
    world_size, is_main = int(os.environ.get("WORLD_SIZE", 1)), os.environ.get("RANK", "0") == "0"
    if not is_main:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # torchrun: one process speaks
    config = cli.effective_config(args)
    check_tracker(config)
    train, validation = read_data(config)
    if config["law_passages"]:
        open_book.check_law(config["law_dir"])
    run, checkpoint, saved = resume_point(config, args)
    holder = check_output(config, run, args.overwrite or args.dry_run)
    if checkpoint and run and is_finished(config, run, holder) and not args.force:
        print(f"run {run} is finished, its adapter is in {config['output_dir']}: nothing to resume")
        return 0
    own_log = is_main and not args.dry_run  # a dry run leaves nothing
    if run is None:
        run = (runlog.new_run_id if own_log else runlog.next_run_id)(config["logs_dir"])
    train, validation, law = open_law(config, train, validation)
    libraries.log_to(Path(config["logs_dir"]) / f"train_{run}.log" if own_log else None, args.verbose)
    config["model_name"] = check_model_name(config["model_name"])

    import_unsloth(config["model_name"])
    from transformers import set_seed

    with libraries.quiet():
        from legalqa.training import trainer as training

    set_seed(config["seed"])
    run = from_main_process(run)
    device = find_device()
    if device.type == "mps":
        config["padding_free"] = False  # no attention there keeps rows apart
    tokenizer = load_tokenizer(config["model_name"])
    plan = make_plan(config, train, validation, tokenizer, world_size, device)
    model_config = load_model_config(config["model_name"])
    trainable, total = count_parameters(model_config, config["lora_r"], config["target_modules"])
    weights = weight_estimate_bytes(config, model_config, total - trainable, device)
    memory_bytes = memory_estimate_bytes(model_config, weights, trainable, plan, config, device)
    if is_main:  # it measures the machine
        print_plan(config, plan, device, trainable, total, memory_bytes)
        if law:
            print_open_book(config, plan, train, tokenizer, law, args.dry_run)
    data, settings, binding = describe_run(config, plan, train, validation, tokenizer, run, law)
    if checkpoint and saved:
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
                law=law,
                prompt_sha256=settings.prompt_sha256,
                base_model={"name": config["model_name"], "parameters": total - trainable},
            )
            write_json(runlog.log_file(config["logs_dir"], "config", run), {**config, "meta": meta})
        guards.enter_context(training.memory_advice(config, plan))
        print(f"loading    {config['model_name']}, then the rows as tokens", file=sys.stderr)
        language_model, _ = load_base(
            config["model_name"],
            config["max_seq_length"],
            config["load_in_4bit"],
            config["gradient_checkpointing"],
        )
        language_model = add_lora(language_model, config)
        progress = saved and saved["progress"]
        with libraries.quiet():
            trainer = training.Trainer(language_model, tokenizer, config, plan, run, binding, progress)
        training.check_supervision(trainer, tokenizer)
        stop = training.StopRequest()
        result = training.train(trainer, stop, checkpoint)
        if stop.signal is not None:
            if is_main:
                print_stopped(config, run, trainer.state.global_step, plan.steps)
            return 128 + stop.signal
        resumed_from = checkpoints.step_of(checkpoint) if checkpoint else None
        metrics = training.run_metrics(trainer, result, trainable, total, resumed_from)
        if is_main:
            save_adapter(language_model, tokenizer, config, settings, metrics)
            write_json(runlog.log_file(config["logs_dir"], "metrics", run), metrics)
            print_summary(config, metrics, run)
    return 0


def print_summary(config, metrics, run):
    print(
        f"\nloss       {metrics['initial_loss']:.4f} -> {metrics['final_loss']:.4f} "
        f"(minimum {metrics['min_loss']:.4f}, {metrics['loss_reduction_percent']:.1f} % less)"
    )
    if metrics["eval_loss"] is not None:
        print(f"evaluation {metrics['initial_eval_loss']:.4f} -> {metrics['eval_loss']:.4f}")
    print_end(config, metrics, run)


if __name__ == "__main__":
    cli.run_main(main)
