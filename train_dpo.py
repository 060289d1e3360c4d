"""Go on from an adapter by DPO, on pairs of a right and a wrong answer: fewer wrong and invented articles.

The reference of DPO is the adapter itself as it was: log-probabilities computed once, before training.

Reads   an adapter, combined_data/pairs.jsonl (prepare_pairs.py), validation rows, which no pair may ask
Writes  the adapter (that of --adapter with _dpo behind), checkpoints (outputs_dpo/),
        logs/config_<run>.json, logs/metrics_<run>.json, logs/history_<run>.jsonl

  python train_dpo.py                                    goes on from the adapter of train_8b.py
  python train_dpo.py --adapter finetuned_qwen3_8b --output-dir finetuned_qwen3_8b_dpo
  python train_dpo.py --dry-run                          check everything, print the plan, train nothing
  python train_dpo.py --resume                           go on from the newest complete checkpoint
"""

import dataclasses
import os
from pathlib import Path

from config import CONFIG, PROFILES
from legalqa import cli, libraries, runlog
from legalqa.data import pairs as pair_files
from legalqa.data import records
from legalqa.data.pairs import Pair
from legalqa.errors import UserError
from legalqa.files import lock, write_json
from legalqa.model import untrusted
from legalqa.model.adapter import (
    AdapterSettings,
    answer_settings,
    check_adapter,
    check_output,
    check_prompt,
    fingerprint,
    save_adapter,
    tokenizer_folder,
)
from legalqa.model.base import (
    check_model_name,
    count_parameters,
    import_unsloth,
    load_for_training,
    load_model_config,
    load_tokenizer,
)
from legalqa.model.device import Device, find_device
from legalqa.model.law_of_adapter import check_closed_book
from legalqa.training import checkpoints
from legalqa.training.pair_plan import make_pair_plan
from legalqa.training.plan import Plan, describe_data, memory_estimate_bytes, weight_estimate_bytes
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
    "pairs_file", "validation_file", "max_seq_length", "dpo_beta", "dpo_learning_rate", "dpo_epochs",
    "dpo_sft_weight", "dpo_held", "dpo_save_steps", "batch_size", "grad_accum", "micro_batch_tokens",
    "eval_batch_size", "warmup_ratio", "weight_decay", "optim", "lr_scheduler_type", "max_grad_norm", "seed",
    "gradient_checkpointing", "save_total_limit", "logging_steps", "report_to",
    "output_dir", "checkpoint_dir", "logs_dir",
)
# fmt: on
SUFFIX = "_dpo"


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS)
    parser.add_argument(
        "--adapter", metavar="FOLDER", help="adapter to go on from (default: that of train_8b.py)"
    )
    add_run_flags(parser)
    return parser.parse_args(argv)


def run_settings(args, config) -> dict:
    """The config of this run: what the adapter was trained with, what DPO has of its own, under the names
    that training has for them."""
    flags = cli.given_flags(args)
    of_training = {**CONFIG, **PROFILES[config["profile"]]}["output_dir"]  # our own flag names another folder
    adapter = os.path.normpath(args.adapter or of_training)
    base_model = check_adapter(adapter)
    check_closed_book(adapter)
    _, lora = untrusted.lora_settings(adapter)
    answers = answer_settings(adapter, config, flags)
    return {
        **config,
        "adapter": adapter,
        "model_name": base_model,
        "system_prompt": answers.system_prompt,
        "load_in_4bit": answers.load_in_4bit,
        "max_seq_length": answers.max_seq_length,
        **dataclasses.asdict(answers.decoding),
        **{key: lora[key] for key in ("lora_alpha", "target_modules")},
        "lora_r": lora["r"],
        "lora_dropout": 0.0,  # policy and reference are compared without
        "use_rslora": lora["use_rslora"],
        "train_file": config["pairs_file"],
        "learning_rate": config["dpo_learning_rate"],
        "num_epochs": config["dpo_epochs"],
        "save_steps": config["dpo_save_steps"],
        "max_steps": -1,
        "eval_batch_size": -(-config["eval_batch_size"] // 2),  # a pair is two answers
        "padding_free": False,
        "group_by_length": True,  # both answers of a micro-batch's pairs are padded to the longest
        "output_dir": flags.get("output_dir", adapter + SUFFIX),
        "checkpoint_dir": flags.get("checkpoint_dir", config["checkpoint_dir"] + SUFFIX),
    }


def read_pairs(config) -> list[Pair]:
    """The pairs; UserError when one asks a validation question, or the model of another base or prompt
    answered."""
    file = config["pairs_file"]
    pairs = pair_files.read_pairs(file)
    if Path(config["validation_file"]).is_file():
        validation = records.read_records(config["validation_file"])
        pair_files.check_not_validation(pairs, validation, file, config["validation_file"])
    origin, saved = pair_files.read_origin(file), AdapterSettings.load(config["adapter"])
    for what, of_pairs, of_adapter in (
        ("base model", origin.base_model, config["model_name"]),
        ("prompt", origin.prompt_sha256, saved.prompt_sha256),
    ):
        if of_pairs and of_adapter and of_pairs != of_adapter:
            raise UserError(
                f"{file}: its answers were made with another {what} ({of_pairs[:40]}) than that of "
                f"{config['adapter']} ({of_adapter[:40]}); make pairs with this adapter: "
                f"{runlog.command('prepare_pairs.py', '--model', config['adapter'])}"
            )
    return pairs


def print_plan(config, plan: Plan, device: Device, trainable, total, memory_bytes):
    lengths, bits = sorted(plan.order.lengths), "4-bit" if config["load_in_4bit"] else "16-bit"
    run = AdapterSettings.load(config["adapter"]).run
    print(f"model      {config['model_name']}, {bits}, on {device.name}")
    print(
        f"adapter    {config['adapter']}{f' of run {run}' if run else ''}: LoRA r {config['lora_r']}, "
        f"{trainable:,} trainable of {total:,} parameters; as it is now it is the reference"
    )
    print(
        f"train      {len(lengths):,} pairs of {config['pairs_file']}; {plan.tokens_per_epoch:,} tokens an "
        f"epoch (a pair: median {lengths[len(lengths) // 2]}, longest {lengths[-1]})"
    )
    print_dropped(config, plan, "pairs")
    print(f"evaluate   {len(plan.eval_examples)} held pairs, before step 1 and at every save")
    print(
        f"steps      {plan.steps:,} of {plan.rows_per_step} pairs ({plan.accumulation} micro-batch(es) of "
        f"{plan.micro_batch_rows}; {100 * plan.padding_share:.0f} % padding), {plan.epochs:.3g} epochs"
    )
    print_costs(config, plan, device, total, memory_bytes)


def describe_run(config, plan: Plan, pairs: list[Pair], tokenizer, run):
    """(data files, settings to save with the adapter, what binds a checkpoint to its run)."""
    used, saved = len(plan.examples) + len(plan.eval_examples), AdapterSettings.load(config["adapter"])
    data = describe_data(config["pairs_file"], [pair.question for pair in pairs], used)
    settings = dataclasses.replace(
        AdapterSettings.of_run(config, tokenizer, run, data.sha256),
        train_sha256=saved.train_sha256,
        pairs_sha256=data.sha256,
        from_run=saved.run,
    )
    binding = {
        **config,
        "rows_per_step": plan.rows_per_step,
        "micro_batch_rows": plan.micro_batch_rows,
        "train_sha256": data.sha256,
        "adapter_sha256": fingerprint(config["adapter"]),
        "prompt_sha256": settings.prompt_sha256,
    }
    return {"train": data._asdict()}, settings, {key: binding[key] for key in checkpoints.DPO_BINDING_KEYS}


def check_places(config) -> None:
    """UserError when the run would destroy what it goes on from, or would be several processes."""
    if Path(config["output_dir"]).resolve() == Path(config["adapter"]).resolve():
        raise UserError(
            f"--output-dir {config['output_dir']} is the adapter to go on from, which is the reference: give "
            "another folder"
        )
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("train_dpo.py runs on one device: start it without torchrun")


def main(argv=None):
    args = parse_args(argv)
    config = run_settings(args, cli.effective_config(args))
    check_tracker(config)
    check_places(config)
    pairs = read_pairs(config)
    run, checkpoint, saved = resume_point(config, args)
    holder = check_output(config, run, args.overwrite or args.dry_run)
    if checkpoint and run and is_finished(config, run, holder) and not args.force:
        print(f"run {run} is finished, its adapter is in {config['output_dir']}: nothing to resume")
        return 0
    own_log = not args.dry_run  # a dry run leaves nothing
    if run is None:
        run = (runlog.new_run_id if own_log else runlog.next_run_id)(config["logs_dir"])
    libraries.log_to(Path(config["logs_dir"]) / f"train_{run}.log" if own_log else None, args.verbose)
    config["model_name"] = check_model_name(config["model_name"])

    import_unsloth(config["model_name"])
    from transformers import set_seed

    with libraries.quiet():
        from legalqa.training import pair_trainer
        from legalqa.training import trainer as training

    set_seed(config["seed"])
    device = find_device()
    tokenizer = load_tokenizer(tokenizer_folder(config["adapter"], config["model_name"]))
    check_prompt(config["adapter"], tokenizer)
    plan = make_pair_plan(config, pairs, tokenizer)
    model_config = load_model_config(config["model_name"])
    trainable, total = count_parameters(model_config, config["lora_r"], config["target_modules"])
    weights = weight_estimate_bytes(config, model_config, total - trainable, device)
    memory_bytes = memory_estimate_bytes(model_config, weights, trainable, plan, config, device)
    print_plan(config, plan, device, trainable, total, memory_bytes)
    data, settings, binding = describe_run(config, plan, pairs, tokenizer, run)
    if checkpoint and saved:
        check_same_run(saved, binding, checkpoint, args.force)
        print(f"resume     run {run}, after step {checkpoints.step_of(checkpoint)}")
    if args.dry_run:
        print("dry run: nothing was trained; to train: the same command without --dry-run")
        return 0
    check_disk_space(config, trainable, run)

    with (
        lock(config["output_dir"]),
        lock(Path(config["checkpoint_dir"]) / run),
        training.memory_advice(config, plan),
    ):
        meta = runlog.run_meta(
            run,
            device=dataclasses.asdict(device),
            data=data,
            prompt_sha256=settings.prompt_sha256,
            base_model={"name": config["model_name"], "parameters": total - trainable},
            from_adapter={
                "path": config["adapter"],
                "sha256": binding["adapter_sha256"],
                "run": settings.from_run,
            },
        )
        write_json(runlog.log_file(config["logs_dir"], "config", run), {**config, "meta": meta})
        language_model = load_for_training(config["adapter"], config)
        with libraries.quiet():
            trainer = pair_trainer.PairTrainer(
                language_model, tokenizer, config, plan, run, binding, saved and saved["progress"]
            )
        trainer.add_reference()
        pair_trainer.check_first_pair(trainer, tokenizer)
        stop = training.StopRequest()
        result = training.train(trainer, stop, checkpoint)
        if stop.signal is not None:
            print_stopped(config, run, trainer.state.global_step, plan.steps)
            return 128 + stop.signal
        resumed_from = checkpoints.step_of(checkpoint) if checkpoint else None
        metrics = training.run_metrics(trainer, result, trainable, total, resumed_from)
        metrics |= pair_trainer.pair_metrics(metrics["history"])
        metrics["meta"]["from_run"] = settings.from_run
        save_adapter(language_model, tokenizer, config, settings, metrics)
        write_json(runlog.log_file(config["logs_dir"], "metrics", run), metrics)
        print_summary(config, metrics, run)
    return 0


def print_summary(config, metrics, run):
    of_reference = "" if config["dpo_sft_weight"] else "; 0.6931, log 2, is the reference's own"
    print(
        f"\nloss       {metrics['initial_loss']:.4f} -> {metrics['final_loss']:.4f} "
        f"(minimum {metrics['min_loss']:.4f}{of_reference})"
    )
    if metrics["eval_loss"] is not None:
        print(
            f"held pairs loss {metrics['initial_eval_loss']:.4f} -> {metrics['eval_loss']:.4f}; accuracy "
            f"{100 * metrics['eval_accuracy']:.1f} %, margin {metrics['eval_margin']:.3f}"
        )
    print_end(config, metrics, run)


if __name__ == "__main__":
    cli.run_main(main)
