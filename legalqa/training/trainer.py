"""The trainer: TRL's, with a row order that a resume repeats, checkpoints whole or not at all, and a watch on the
loss."""

import contextlib
import json
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from legalqa import runlog
from legalqa.errors import UserError
from legalqa.files import sync, write_json, write_text, writing
from legalqa.model.device import is_out_of_memory, peak_memory_bytes
from legalqa.training import checkpoints

MAX_NONFINITE_STEPS = 3
SAME_SIGNAL_SEC = 2  # torchrun passes on a Ctrl-C that the terminal has already sent to each of its processes


def gather(value):
    """`value` of every process of a torchrun, in the order of their ranks; of one process a list of one."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_main_process(value):
    """The main process's `value`, in every process of a torchrun."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return value
    from accelerate import PartialState

    PartialState()  # joins the processes
    return gather(value)[0]


def make_trainer(language_model, tokenizer, config, facts, run, binding, saved):
    """TRL's SFTTrainer, with our row order, whole-or-nothing checkpoints, and a watch on the loss.

    `saved` is the progress of the checkpoint to go on from, or None.
    """
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    class Trainer(SFTTrainer):
        order = facts["order"]
        nonfinite_steps = []
        # Of earlier processes of this run. The Trainer's own sums start at 0 in each, which bends the loss average
        # that a save cut in two, the mean loss, the time and the speed.
        progress = saved or {
            "history": [],
            "loss_sum": 0.0,
            "total_loss": 0.0,
            "last_logged_step": 0,
            "train_sec": 0.0,
            "train_tokens": 0,
        }

        def _get_train_sampler(self, *_):
            return self.order

        def restore_progress(self):
            self.began = time.monotonic()
            self._tr_loss += self.progress["loss_sum"]
            self._total_loss_scalar = self.progress["total_loss"]
            self._globalstep_last_logged = self.progress["last_logged_step"]

        def current_progress(self):
            return {
                "history": self.progress["history"],
                "loss_sum": self.accelerator.gather(self._tr_loss).mean().item(),
                "total_loss": self._total_loss_scalar,
                "last_logged_step": self._globalstep_last_logged,
                "train_sec": self.progress["train_sec"] + time.monotonic() - self.began,
                "train_tokens": sum(map(facts["order"].tokens_of_step, range(self.state.global_step))),
            }

        def _run_epoch(self, *args, **kwargs):
            if self.state.global_step >= self.state.max_steps:
                # Resumed after its last step: the Trainer would make one more.
                self.control.should_training_stop = True
            else:
                super()._run_epoch(*args, **kwargs)

        def training_step(self, language_model, inputs, num_items_in_batch=None):
            loss = 0.0
            parts = split_padded(inputs, 0 if config["padding_free"] else config["micro_batch_tokens"])
            for part in parts:
                # Several processes may have different numbers of parts: they add up their gradients at the last one alone.
                with (
                    contextlib.nullcontext()
                    if part is parts[-1]
                    else self.accelerator.no_sync(language_model)
                ):
                    loss = loss + super().training_step(language_model, part, num_items_in_batch)
            step = self.state.global_step
            if not torch.isfinite(loss):
                self.nonfinite_steps = sorted({*self.nonfinite_steps, step})
            elif step not in self.nonfinite_steps:
                self.nonfinite_steps = []
            if len(self.nonfinite_steps) >= MAX_NONFINITE_STEPS:
                raise UserError(nonfinite_message(facts, self.nonfinite_steps, config))
            return loss

        def weights_finite(self):
            trained = [weight for weight in self.model.parameters() if weight.requires_grad]
            return torch.stack([weight.isfinite().all() for weight in trained]).all().item()

        def _save_checkpoint(self, language_model, trial):
            if not all(gather(self.weights_finite())):
                return  # the last good checkpoint stays the newest
            run_dir, is_main = Path(self.args.output_dir), self.is_world_process_zero()
            saving = run_dir / "saving.tmp"
            progress = self.current_progress()
            advice = f"the complete ones there stay; free space, then: {runlog.command_line('--resume')}"
            try:
                with writing(f"a checkpoint in {run_dir}", advice):
                    if is_main:
                        shutil.rmtree(saving, ignore_errors=True)
                    self.accelerator.wait_for_everyone()
                    self.args.output_dir = str(saving)
                    super()._save_checkpoint(language_model, trial)
                    self.accelerator.wait_for_everyone()
                    if is_main:
                        folder = saving / f"checkpoint-{self.state.global_step}"
                        facts_of_run = {"run": run, "binding": binding, "progress": progress}
                        write_json(folder / checkpoints.RUN_FILE, facts_of_run)
                        checkpoints.mark_complete(folder)
                        shutil.rmtree(run_dir / folder.name, ignore_errors=True)  # a damaged one
                        os.replace(folder, run_dir / folder.name)
                        sync(run_dir)
            finally:
                self.args.output_dir = str(run_dir)
                if is_main:
                    shutil.rmtree(saving, ignore_errors=True)
            if is_main:
                checkpoints.prune(run_dir, self.state.global_step, config["save_total_limit"])

        def create_model_card(self, *_, **__):
            pass  # ours is written with the adapter

    arguments = SFTConfig(
        output_dir=str(Path(config["checkpoint_dir"]) / run),
        per_device_train_batch_size=facts["micro_batch_rows"],
        gradient_accumulation_steps=facts["accumulation"],
        num_train_epochs=config["num_epochs"],
        max_steps=config["max_steps"],
        learning_rate=config["learning_rate"],
        warmup_steps=math.ceil(config["warmup_ratio"] * facts["steps"]),
        weight_decay=config["weight_decay"],
        optim=config["optim"],
        lr_scheduler_type=config["lr_scheduler_type"],
        max_grad_norm=config["max_grad_norm"],
        seed=config["seed"],
        logging_steps=config["logging_steps"],
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=config["save_steps"],
        eval_strategy="steps" if facts["eval_texts"] else "no",
        eval_steps=config["save_steps"],
        per_device_eval_batch_size=config["eval_batch_size"],
        prediction_loss_only=True,
        gradient_checkpointing=config["gradient_checkpointing"],
        completion_only_loss=config["completion_only_loss"],
        padding_free=config["padding_free"],
        packing=False,
        max_length=None,
        report_to="none",
        disable_tqdm=True,
        dataset_num_proc=None,
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
    )
    trainer = Trainer(
        model=language_model,
        processing_class=tokenizer,
        args=arguments,
        train_dataset=Dataset.from_list(facts["texts"]),
        eval_dataset=Dataset.from_list(facts["eval_texts"]) if facts["eval_texts"] else None,
    )
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            # TRL makes a 4-bit model's adapter bfloat16 (on CUDA Unsloth removes that). With its 8 bits many updates
            # of AdamW round to nothing, a CPU that computes in float32 has no fast product for it, and a resume,
            # which loads float32, would go on as another run.
            weight.data = weight.data.float()
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)
    return trainer


def split_padded(inputs, max_tokens):
    """The rows of a padded batch in consecutive parts of at most `max_tokens` positions (one row at least), each cut
    to its own longest row. The loss is a sum over the step's tokens, so that the parts' gradients add up to the
    batch's."""
    rows, width = inputs["input_ids"].shape
    if not max_tokens or rows * width <= max_tokens:
        return [inputs]
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    parts, start = [], 0
    while start < rows:
        end = start + 1
        while end < rows and (end + 1 - start) * max(lengths[start : end + 1]) <= max_tokens:
            end += 1
        parts.append({key: value[start:end, : max(lengths[start:end])] for key, value in inputs.items()})
        start = end
    return parts


def nonfinite_message(facts, steps, config):
    order, size = facts["order"], facts["rows_per_step"]
    rows = sorted(
        {
            facts["row_numbers"][row]
            for step in steps
            for row in order.rows_of(step // facts["steps_per_epoch"])[
                step % facts["steps_per_epoch"] * size :
            ][:size]
        }
    )
    return (
        f"loss or weights are NaN or infinite from step {steps[0] + 1} to step {steps[-1] + 1}; the rows of these "
        f"steps in {config['train_file']}: {', '.join(map(str, rows))}; the last good checkpoint is kept: lower "
        f"--learning-rate or mend the rows, then: {runlog.command_line('--resume', '--force')}, or start again"
    )


def check_supervision(trainer, tokenizer, facts, config):
    """Decode what the first batch trains on, and refuse to start if it is not what the prompt module says.

    On CUDA Unsloth's own code tokenizes the rows, not TRL's: it may see a BOS in a template, cut a row, mask another
    span.
    """
    batch = next(iter(trainer.get_train_dataloader()))
    ids, labels = batch["input_ids"].flatten().tolist(), batch["labels"].flatten().tolist()
    supervised = [token for token, label in zip(ids, labels) if label != -100]
    # Micro-batches go to the processes in turn: the first of process 1 is the second of the epoch.
    row = facts["texts"][facts["order"].rows_of(0)[trainer.args.process_index * facts["micro_batch_rows"]]]
    expected = tokenizer(row["prompt"] + row["completion"]).input_ids
    answer = expected[len(tokenizer(row["prompt"]).input_ids) :]
    if not supervised:
        raise UserError(
            "no token of the first batch is supervised: nothing would be learned; is the answer empty?"
        )
    if ids[: len(expected)] != expected:
        raise UserError(
            f"the first batch begins with {tokenizer.decode(ids[: len(expected)])!r}, not with the row that is its "
            "first; this is a version clash of trl and unsloth: install the pinned requirements"
        )
    if config["completion_only_loss"] and (
        supervised[: len(answer)] != answer or answer.count(tokenizer.eos_token_id) != 1
    ):
        raise UserError(
            "the first batch does not train on exactly the answer and one end token; this is a version clash of "
            "trl and unsloth: install the pinned requirements"
        )
    print(
        f"supervised {100 * len(supervised) / len(ids):.0f} % of the first batch; one row, the trained text in >>> <<<:"
    )
    print("  " + (row["prompt"] + ">>>" + row["completion"] + "<<<").replace("\n", "\n  "))


class StopRequest:
    """First SIGINT or SIGTERM: finish the step, save, stop. Second: leave at once."""

    def __init__(self):
        self.signal, self.signal_time = None, None
        self.previous = {
            number: signal.signal(number, self.on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }

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


def make_callback(trainer, config, run, stop):
    """Progress bar with loss, learning rate, tokens/s, memory and ETA; the history file; stopping on request."""
    import torch
    from tqdm import tqdm
    from transformers import TrainerCallback

    path = history_file(config, run)
    history, before = (
        trainer.progress["history"],
        [e["loss"] for e in trainer.progress["history"] if "loss" in e],
    )
    began = time.monotonic()
    started = began - (history[-1]["elapsed_sec"] if history else 0)

    class Progress(TrainerCallback):
        bar = None
        tokens = 0  # Unsloth's trainer on CUDA does not count them (its compute_loss replaces TRL's): the plan knows

        def on_train_begin(self, args, state, control, **_):
            trainer.restore_progress()
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                unit="step",
                dynamic_ncols=True,
                mininterval=0.5 if sys.stderr.isatty() else 15,
                disable=not state.is_world_process_zero,
            )

        def on_log(self, args, state, control, logs=None, **_):
            if not ("loss" in logs or "eval_loss" in logs):
                return
            entry = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
            entry |= {
                key: logs[key] for key in ("loss", "learning_rate", "grad_norm", "eval_loss") if key in logs
            }
            entry["elapsed_sec"] = round(time.monotonic() - started, 2)
            history.append(entry)
            if not state.is_world_process_zero:
                return
            append_line(path, entry)
            if "loss" in logs:
                speed = self.tokens / (time.monotonic() - began)
                memory = (
                    torch.cuda.max_memory_reserved() if torch.cuda.is_available() else peak_memory_bytes()
                )
                self.bar.set_postfix_str(
                    f"loss {logs['loss']:.4f}, lr {logs['learning_rate']:.1e}, {speed:,.0f} tok/s, "
                    f"{memory / 1e9:.1f} GB"
                )
                if before:
                    tqdm.write(
                        f"first loss after the resume {logs['loss']:.4f}, last before it {before[-1]:.4f}",
                        file=sys.stderr,
                    )
                    before.clear()
            else:
                tqdm.write(
                    f"step {state.global_step}: evaluation loss {logs['eval_loss']:.4f}", file=sys.stderr
                )

        def on_step_end(self, args, state, control, **_):
            self.bar.update(state.global_step - self.bar.n)
            self.tokens += trainer.order.tokens_of_step(state.global_step - 1)
            stop.signal = next((number for number in gather(stop.signal) if number is not None), None)
            if stop.signal is not None:
                control.should_save = control.should_training_stop = True
            elif state.global_step >= state.max_steps:
                control.should_log = True  # the last steps too, where they do not fill a logging interval
            return control

        def close(self):
            if self.bar:
                self.bar.close()  # ends its line, before an error is printed on it

    return Progress()


def history_file(config, run):
    return Path(config["logs_dir"]) / f"history_{run}.jsonl"


def append_line(path, entry):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; the complete checkpoints stay; free space, then: "
            f"{runlog.command_line('--resume')}"
        ) from error


def run(trainer, config, facts, run_id, stop, checkpoint):
    """Train, from `checkpoint` if given; the Trainer's result. Evaluates before step 1: a broken evaluation fails in
    seconds."""
    history = trainer.progress["history"]
    if (
        checkpoint and trainer.is_world_process_zero()
    ):  # what a dead process logged beyond its checkpoint is made again
        write_text(history_file(config, run_id), "".join(json.dumps(entry) + "\n" for entry in history))
    progress = make_callback(trainer, config, run_id, stop)
    trainer.add_callback(progress)
    # Inside train(): an evaluate() before it would leave the model unwrapped, and several GPUs training apart
    # (accelerate prepares a model once, and for an evaluation without DDP).
    trainer.args.eval_on_start = bool(facts["eval_texts"]) and not checkpoint
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.nonfinite_steps or not trainer.weights_finite():
            raise UserError(
                nonfinite_message(facts, trainer.nonfinite_steps or [trainer.state.global_step - 1], config)
            )
        if (
            facts["eval_texts"]
            and stop.signal is None
            and not evaluated_at(history, trainer.state.global_step)
        ):
            trainer.evaluate()
        return result
    finally:
        progress.close()
        stop.restore()


@contextlib.contextmanager
def memory_advice(config, facts):
    """Turn running out of memory, on the GPU or the host, into a UserError that says what to change by how much."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        raise UserError(memory_message(config, facts)) from error


def memory_message(config, facts):
    rows, tokens, longest = facts["micro_batch_rows"], facts["worst_tokens"], max(facts["lengths"])
    if rows == 1 or tokens <= longest:
        advice = [
            f"--max-seq-length {longest // 2} (longer rows are dropped; as another run, without --resume)"
        ]
    elif config["micro_batch_tokens"]:
        advice = [f"--micro-batch-tokens {tokens // 2}"]
    else:
        advice = [f"--batch-size {rows // 2} --grad-accum {facts['accumulation'] * rows // (rows // 2)}"]
    if not config["gradient_checkpointing"]:
        advice.append("--gradient-checkpointing")
    if (
        config["eval_batch_size"] > 1
        and max(facts["eval_lengths"], default=0) * config["eval_batch_size"] > tokens
    ):
        advice.append(f"--eval-batch-size {config['eval_batch_size'] // 2}")
    return (
        f"out of memory; a micro-batch has up to {tokens:,} tokens; add {', '.join(advice)}; complete checkpoints stay: "
        f"{runlog.command_line('--resume')}"
    )


def evaluated_at(history, step):
    return any(entry["step"] == step and "eval_loss" in entry for entry in history)


def run_metrics(trainer, result, trainable, total, run_id, checkpoint):
    """The contents of metrics_<run>.json, of the whole run: a resumed one counts the time and tokens of its earlier
    processes."""
    import torch

    progress = trainer.current_progress()
    history = progress["history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    evaluations = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    seconds = trainer.progress["train_sec"] + result.metrics["train_runtime"]
    share = result.metrics["train_runtime"] / seconds
    return {
        "meta": {"run": run_id, "resumed_from": checkpoints.step_of(checkpoint) if checkpoint else None},
        "train_runtime": seconds,
        **{
            key: result.metrics[key] * share for key in ("train_samples_per_second", "train_steps_per_second")
        },
        **{
            key: result.metrics[key] for key in ("total_flos", "train_loss", "epoch") if key in result.metrics
        },
        "initial_loss": losses[0],
        "final_loss": losses[-1],
        "min_loss": min(losses),
        "loss_reduction_percent": 100 * (1 - losses[-1] / losses[0]),
        "initial_eval_loss": evaluations[0] if evaluations else None,
        "eval_loss": evaluations[-1] if evaluations else None,
        "min_eval_loss": min(evaluations, default=None),
        "total_steps": trainer.state.global_step,
        "trainable_parameters": trainable,
        "total_parameters": total,
        "trainable_percent": 100 * trainable / total,
        "tokens_per_second": progress["train_tokens"] / seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_vram_bytes": torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None,
        "history": history,
    }
