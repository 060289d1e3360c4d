"""Checkpoints that can be trusted: whole or known as not, resumed under the same data and settings alone."""

import contextlib
import shutil
import sys
from pathlib import Path

from legalqa.errors import UserError
from legalqa.files import file_sha256, read_json, sync, write_json

MARKER = "complete.json"
# What a resume needs beside the Trainer's own files: {"run", "binding", "progress"}.
RUN_FILE = "run.json"
NEEDED_FILES = {RUN_FILE, "adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"}
# What decides the weights: a run resumed under another value of one of these would be a different run.
# fmt: off
BINDING_KEYS = (
    "model_name", "max_seq_length", "load_in_4bit", "lora_r", "lora_alpha", "lora_dropout", "target_modules",
    "system_prompt", "rows_per_step", "num_epochs", "max_steps", "learning_rate", "warmup_ratio",
    "weight_decay", "optim", "lr_scheduler_type", "max_grad_norm", "seed", "completion_only_loss",
    "group_by_length", "train_sha256", "prompt_sha256",
)
OPEN_BOOK_BINDING_KEYS = ("law_passages", "law_passage_tokens", "law_gold_share", "law_index_sha256")
DPO_BINDING_KEYS = (
    *(key for key in BINDING_KEYS if not key.startswith("law_")),  # its adapters are of a closed book
    "dpo_beta", "dpo_sft_weight", "dpo_held", "adapter_sha256", "micro_batch_rows",
)
# fmt: on


def mark_complete(folder):
    """Write the marker of a checkpoint, last: every file's size and sha256.

    The files are flushed to the disk first, so that a marker that is there speaks of bytes that are there.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sync(*paths, folder)
    write_json(
        folder / MARKER,
        {
            "files": {
                str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
                for path in paths
            }
        },
    )


def damage(folder):
    """What is wrong with a checkpoint, in a few words; None when it is whole."""
    folder = Path(folder)
    if not (folder / MARKER).is_file():
        return "half-written: no completeness marker"
    try:
        files = read_json(folder / MARKER)["files"]
        for name in sorted(NEEDED_FILES | set(files)):
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                return f"{name} lies outside the folder"
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != files[name]["bytes"] or file_sha256(path) != files[name]["sha256"]:
                return f"{name} differs from what was written"
    except (UserError, KeyError, TypeError, ValueError):
        return f"{MARKER} is damaged"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def step_of(folder):
    return int(folder.name.rsplit("-", 1)[1])


def checkpoints_of(run_dir):
    """Checkpoint folders of one run, oldest first."""
    found = [
        p for p in Path(run_dir).glob("checkpoint-*") if p.is_dir() and p.name.rsplit("-", 1)[1].isdecimal()
    ]
    return sorted(found, key=step_of)


def newest_complete(checkpoint_dir, run=None):
    """(newest whole checkpoint of `run` or else of the newest run that has one, [(skipped folder, why)])."""
    skipped = []
    run_dirs = [Path(checkpoint_dir) / run] if run else sorted(Path(checkpoint_dir).glob("*"), reverse=True)
    for run_dir in filter(Path.is_dir, run_dirs):
        folders = checkpoints_of(run_dir)
        if not folders:
            skipped.append((run_dir, "no checkpoint in it"))
        for folder in reversed(folders):
            reason = damage(folder)
            if reason is None:
                return folder, skipped
            skipped.append((folder, reason))
    return None, skipped


def prune(run_dir, newest_step, keep):
    """Keep the newest `keep` checkpoints up to `newest_step`, which is complete; those beyond it are of a
    damaged future."""
    folders = checkpoints_of(run_dir)
    kept = [folder for folder in folders if step_of(folder) <= newest_step][-keep:]
    for folder in folders:
        if folder not in kept:
            with contextlib.suppress(FileNotFoundError):
                (folder / MARKER).unlink()  # first, so that a kill leaves it recognisable as incomplete
            shutil.rmtree(folder, onerror=warn_undeleted)


def warn_undeleted(_, path, error):
    print(f"warning: cannot delete {path}: {error[1]}", file=sys.stderr)


def differences(saved, current):
    """["learning_rate: 0.0002 -> 0.0001", ...]: what would make the resumed run another run."""
    return [
        f"{key}: {saved[key]} -> {value}"
        for key, value in current.items()
        if key in saved and saved[key] != value
    ]
