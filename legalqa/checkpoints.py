"""Checkpoints that can be trusted: complete or recognised as not, resumed only under the same data and settings."""
import json
import os
import shutil
import time
from pathlib import Path

from legalqa import runlog
from legalqa.cli import UserError

MARKER = "complete.json"
# What decides the weights: a run resumed under another value of one of these would be a different run.
BINDING_KEYS = ("model_name", "max_seq_length", "load_in_4bit", "lora_r", "lora_alpha", "lora_dropout", "target_modules",
                "system_prompt", "rows_per_step", "num_epochs", "max_steps", "learning_rate", "warmup_ratio",
                "weight_decay", "optim", "lr_scheduler_type", "max_grad_norm", "seed", "completion_only_loss",
                "group_by_length", "train_sha256", "prompt_sha256")


def mark_complete(folder, facts):
    """Write the marker of a checkpoint, last: every file's size and sha256, and the `facts` a resume compares.

    The files are flushed to the disk first, so that a marker that is there speaks of bytes that are there.
    """
    folder = Path(folder)
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MARKER):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        files[str(path.relative_to(folder))] = {"bytes": path.stat().st_size, "sha256": runlog.file_sha256(path)}
    runlog.write_json(folder / MARKER, {**facts, "files": files})


def damage(folder):
    """What is wrong with a checkpoint, in a few words; None when it is whole."""
    folder = Path(folder)
    if not (folder / MARKER).is_file():
        return "half-written: no completeness marker"
    try:
        files = runlog.read_json(folder / MARKER)["files"]
        for name, expected in files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                return f"{name} lies outside the folder"
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["bytes"] or runlog.file_sha256(path) != expected["sha256"]:
                return f"{name} differs from what was written"
    except (UserError, KeyError, TypeError, AttributeError):
        return f"{MARKER} is damaged"
    return None


def step_of(folder):
    return int(folder.name.rsplit("-", 1)[1])


def checkpoints_of(run_dir):
    """Checkpoint folders of one run, oldest first."""
    found = [p for p in Path(run_dir).glob("checkpoint-*") if p.is_dir() and p.name.rsplit("-", 1)[1].isdigit()]
    return sorted(found, key=step_of)


def newest_complete(checkpoint_dir):
    """(folder, [(skipped folder, why)]): the newest whole checkpoint of the newest run that has one."""
    skipped = []
    for run_dir in sorted((p for p in Path(checkpoint_dir).glob("*") if p.is_dir()), reverse=True):
        for folder in reversed(checkpoints_of(run_dir)):
            reason = damage(folder)
            if reason is None:
                return folder, skipped
            skipped.append((folder, reason))
    return None, skipped


def prune(run_dir, keep):
    """Delete all but the newest `keep` checkpoints; called only once a newer complete one exists."""
    for folder in checkpoints_of(run_dir)[:-keep]:
        (folder / MARKER).unlink(missing_ok=True)  # first, so that a kill leaves it recognisable as incomplete
        shutil.rmtree(folder)


def differences(saved, current):
    """["learning_rate: 0.0002 -> 0.0001", ...]: what would make the resumed run another run."""
    return [f"{key}: {saved[key]} -> {current[key]}" for key in BINDING_KEYS
            if key in saved and saved[key] != current[key]]


class FolderLock:
    """One run at a time in a folder. `with FolderLock(folder): ...`

    The lock file names its owner; one whose process is gone (or was another boot's) is taken over.
    """

    def __init__(self, folder):
        self.path = Path(folder) / ".lock"

    def __enter__(self):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(2):
                try:
                    with open(self.path, "x", encoding="utf-8") as file:
                        json.dump({"pid": os.getpid(), "started": process_start(os.getpid()),
                                   "since": time.strftime("%Y-%m-%d %H:%M:%S")}, file)
                    return self
                except FileExistsError:
                    self.refuse_or_remove()
        except OSError as error:
            raise UserError(f"cannot write in {self.path.parent}: {error.strerror}; choose another folder") from error
        raise UserError(f"{self.path.parent} is taken by another run; wait for it, or choose another folder")

    def refuse_or_remove(self):
        try:
            owner = runlog.read_json(self.path)
        except UserError:
            owner = {}
        if owner.get("started") is not None and owner["started"] == process_start(owner.get("pid")):
            raise UserError(f"{self.path.parent} is in use by process {owner['pid']} since {owner.get('since')}; "
                            "wait for it, or choose another folder")
        self.path.unlink(missing_ok=True)

    def __exit__(self, *_):
        self.path.unlink(missing_ok=True)


def process_start(pid):
    """When the process started, seconds since the epoch; None when there is no such process."""
    import psutil
    try:
        return psutil.Process(pid).create_time()
    except (psutil.Error, TypeError, ValueError):
        return None
