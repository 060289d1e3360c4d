"""What the stages that train have in common around the training itself: flags, resuming, room, the end."""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from legalqa import runlog
from legalqa.errors import UserError
from legalqa.files import read_json
from legalqa.model.device import Device
from legalqa.training import checkpoints
from legalqa.training.plan import Plan, past_tokens_per_sec, rough_tokens_per_sec

NEWEST = "newest"
SHOWN_LONG_ROWS = 5


class ResumePoint(NamedTuple):
    """Where a run goes on: three None for a new run."""

    run: str | None
    checkpoint: Path | None
    saved: dict[str, Any] | None  # the contents of the checkpoint's run.json


def add_run_flags(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--verbose", action="store_true", help="show what libraries print as well")


def check_tracker(config: dict) -> None:
    """UserError unless the package that `report_to` names is installed."""
    tracker = config["report_to"]
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise UserError(f"--report-to {tracker}: the package is not installed: pip install {tracker}")


def resume_point(config: dict, args: argparse.Namespace) -> ResumePoint:
    """Where --resume goes on; UserError when there is nothing to go on from."""
    if not args.resume:
        return ResumePoint(None, None, None)
    run = None if args.resume == NEWEST else args.resume
    folder, skipped = checkpoints.newest_complete(config["checkpoint_dir"], run)
    for path, reason in skipped:
        print(f"warning: skipping {path}: {reason}", file=sys.stderr)
    if folder is None:
        raise UserError(
            f"nothing to resume: no complete checkpoint in {config['checkpoint_dir']}"
            f"{f' of run {run}' if run else ''}; start without --resume"
        )
    return ResumePoint(folder.parent.name, folder, read_json(folder / checkpoints.RUN_FILE))


def check_same_run(saved: dict[str, Any], binding: dict, folder: Path, force: bool) -> None:
    changed = checkpoints.differences(saved["binding"], binding)
    if changed and not force:
        raise UserError(
            f"{folder} belongs to a run with other data or settings: {'; '.join(changed)}; give the same "
            "ones, name another run (--resume RUN), or --force to go on all the same"
        )
    for change in changed:
        print(f"warning: resuming with another {change}", file=sys.stderr)


def is_finished(config: dict, run: str, holder: str | None) -> bool:
    """Whether the run's adapter and metrics are there: nothing is left to resume. `holder`: the run whose
    adapter is in output_dir."""
    return holder == run and runlog.log_file(config["logs_dir"], "metrics", run).is_file()


def check_disk_space(config: dict, trainable: int, run: str) -> None:
    """UserError unless adapter and checkpoints will fit: 4 bytes a parameter, in a checkpoint 8 more of
    AdamW."""
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


# ---- What is printed


def print_dropped(config: dict, plan: Plan, what: str) -> None:
    if plan.dropped:
        longest = sorted(plan.dropped, key=lambda example: -example.tokens)[:SHOWN_LONG_ROWS]
        named = ", ".join(f"row {example.row_number} ({example.tokens} tokens)" for example in longest)
        more = " ..." if len(plan.dropped) > SHOWN_LONG_ROWS else ""
        print(
            f"dropped    {len(plan.dropped)} {what} over {config['max_seq_length']} tokens: {named}{more}; "
            "--max-seq-length keeps them"
        )


def print_costs(config: dict, plan: Plan, device: Device, total: int, memory_bytes: int) -> None:
    """Time and memory of the plan; `total`: parameters of base model and adapter."""
    past = past_tokens_per_sec(config["logs_dir"], config, device.name)
    speed = past or rough_tokens_per_sec(total, config["gradient_checkpointing"], device)
    source = (
        "the last run's speed here"
        if past
        else ("a rough guess: no run of this model on this device is in the logs")
    )
    seconds = plan.tokens_per_epoch * plan.epochs / speed
    print(f"time       about {format_sec(seconds)} at {speed:,.0f} tokens/s ({source})")
    print(
        f"memory     about {memory_bytes / 1e9:.1f} GB at the longest micro-batch ({plan.worst_tokens:,} "
        f"tokens), of {device.memory_bytes / 1e9:.1f} GB"
    )


def print_stopped(config: dict, run: str, step: int, steps: int) -> None:
    saved, _ = checkpoints.newest_complete(config["checkpoint_dir"], run)
    outcome = "nothing was saved: the weights are not finite"
    if saved:
        outcome = f"saved in {saved}; to go on: {runlog.command_line('--resume')}"
    print(f"stopped after step {step} of {steps}; {outcome}", file=sys.stderr)


def print_end(config: dict, metrics: dict, run: str) -> None:
    print(
        f"time       {format_sec(metrics['train_runtime'])}, {metrics['train_samples_per_second']:.2f} "
        f"samples/s, {metrics['tokens_per_second']:,.0f} tokens/s, "
        f"{metrics['peak_memory_bytes'] / 1e9:.1f} GB memory"
    )
    print(f"adapter    {config['output_dir']}")
    print(f"logs       {config['logs_dir']}/metrics_{run}.json")
    print(f"next       {runlog.command('benchmark.py', '--model', config['output_dir'])}")


def format_sec(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
