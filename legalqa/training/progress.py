"""A run as it goes on: the history file, the bar with its ETA, the request to stop."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from legalqa import runlog
from legalqa.errors import UserError
from legalqa.model.device import peak_memory_bytes
from legalqa.training.processes import gather

SAME_SIGNAL_SEC = 2  # torchrun passes on a Ctrl-C that the terminal has already sent to each of its processes
# {as TRL's trainers call it: as the history does}
OF_PAIRS = {
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
}
LOGGED = {
    **{name: name for name in ("loss", "learning_rate", "grad_norm", "eval_loss")},
    **OF_PAIRS,
    **{f"eval_{name}": f"eval_{ours}" for name, ours in OF_PAIRS.items()},
}


class StopRequest:
    """First SIGINT or SIGTERM: finish the step, save, stop. Second: leave at once."""

    def __init__(self):
        self.signal: int | None = None
        self.signal_time = 0.0
        numbers = (signal.SIGINT, signal.SIGTERM)
        self.previous = {number: signal.signal(number, self.on_signal) for number in numbers}

    def on_signal(self, number, _):
        if self.signal is not None:
            if "WORLD_SIZE" in os.environ and time.monotonic() - self.signal_time < SAME_SIGNAL_SEC:
                return
            os._exit(128 + number)
        self.signal, self.signal_time = number, time.monotonic()
        # Not print(), which may be the very call that was interrupted.
        os.write(2, b"\nstopping after this step; once more to leave at once\n")

    def restore(self):
        for number, handler in self.previous.items():
            signal.signal(number, handler)


def history_file(logs_dir: str, run_id: str) -> Path:
    return Path(logs_dir) / f"history_{run_id}.jsonl"


def append_line(path: Path, entry: dict):
    """Add `entry` as a line of JSON; UserError when the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; the complete checkpoints stay; free space, then: "
            f"{runlog.command_line('--resume')}"
        ) from error


def peak_bytes() -> int:
    """Peak memory of this process: the GPU's where there is one."""
    import torch

    return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else peak_memory_bytes()


class Progress(TrainerCallback):
    """Bar with loss, learning rate, tokens/s, memory and ETA; the history file; stopping on request.

    `history` holds the entries of earlier processes of this run, and is added to.
    """

    def __init__(self, trainer, history_path: Path, stop: StopRequest):
        self.trainer, self.history, self.path, self.stop = (
            trainer,
            trainer.progress["history"],
            history_path,
            stop,
        )
        losses = [entry["loss"] for entry in self.history if "loss" in entry]
        self.loss_before_resume = losses[-1] if losses else None
        self.began = time.monotonic()
        self.started = self.began - (self.history[-1]["elapsed_sec"] if self.history else 0)
        # Unsloth's trainer on CUDA does not count tokens (its compute_loss replaces TRL's): the plan knows
        # them.
        self.tokens = 0
        self.bar: Any = None  # tqdm, from the first step on

    def on_train_begin(self, args, state, control, **_):
        from tqdm import tqdm

        self.trainer.restore_progress()
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 15,
            disable=not state.is_world_process_zero,
        )

    def on_log(self, args, state, control, logs=None, **_):
        assert logs is not None
        if not ("loss" in logs or "eval_loss" in logs):
            return
        entry = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
        entry |= {ours: logs[name] for name, ours in LOGGED.items() if name in logs}
        entry["elapsed_sec"] = round(time.monotonic() - self.started, 2)
        self.history.append(entry)
        if state.is_world_process_zero:
            append_line(self.path, entry)
            self.show(entry)

    def show(self, entry):
        if "loss" not in entry:
            accuracy = f", accuracy {100 * entry['eval_accuracy']:.0f} %" if "eval_accuracy" in entry else ""
            self.bar.write(
                f"step {entry['step']}: evaluation loss {entry['eval_loss']:.4f}{accuracy}", file=sys.stderr
            )
            return
        speed = self.tokens / (time.monotonic() - self.began)
        self.bar.set_postfix_str(
            f"loss {entry['loss']:.4f}, lr {entry['learning_rate']:.1e}, {speed:,.0f} tok/s, "
            f"{peak_bytes() / 1e9:.1f} GB"
        )
        if self.loss_before_resume is not None:
            before = f"last before it {self.loss_before_resume:.4f}"
            self.bar.write(f"first loss after the resume {entry['loss']:.4f}, {before}", file=sys.stderr)
            self.loss_before_resume = None

    def on_step_end(self, args, state, control, **_):
        self.bar.update(state.global_step - self.bar.n)
        self.tokens += self.trainer.plan.order.tokens_of_step(state.global_step - 1)
        self.stop.signal = next((number for number in gather(self.stop.signal) if number is not None), None)
        if self.stop.signal is not None:
            control.should_save = control.should_training_stop = True
        elif state.global_step >= state.max_steps:
            control.should_log = True  # the last steps too, where they do not fill a logging interval
        return control

    def close(self):
        if self.bar:
            self.bar.close()  # ends its line, before an error is printed on it
