"""TRL's trainer with rows in an order that a resume repeats, checkpoints whole or not, a watch on the loss.

To be imported after Unsloth, which patches TRL's classes as they load.
"""

import unsloth  # noqa: F401, I001
import contextlib
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer

from legalqa import runlog
from legalqa.errors import UserError
from legalqa.files import sync, write_json, write_text, writing
from legalqa.model.device import find_device, is_out_of_memory, peak_memory_bytes
from legalqa.training import checkpoints
from legalqa.training.plan import Plan, cut_by_tokens
from legalqa.training.processes import gather
from legalqa.training.progress import Progress, StopRequest, history_file

MAX_NONFINITE_STEPS = 3
ROOM_BYTES = 2**27  # of what 64 kernels of each cache, the optimizer and small blocks take
NO_PROGRESS = {
    "history": [],
    "loss_sum": 0.0,
    "total_loss": 0.0,
    "last_logged_step": 0,
    "train_sec": 0.0,
    "train_tokens": 0,
}


class Resumable(transformers.Trainer):
    """What a Trainer of `plan`'s rows needs to survive; among the bases it comes before TRL's class.

    `binding` is what a resume must find unchanged; `saved` the progress of the checkpoint to go on from. The
    Trainer's own sums start at 0 in each process, which would bend the loss average that a save cut in two,
    the mean loss, the time and the speed: they go on from `saved`.
    """

    rate_flag = "--learning-rate"
    sequences_an_example = 1
    _metrics: dict[str, dict[str, list[float]]]  # TRL's trainers average these from log to log

    def __init__(self, config: dict, plan: Plan, run_id: str, binding: dict, saved, **of_trl: Any):
        self.config, self.plan, self.run_id, self.binding = config, plan, run_id, binding
        self.progress = saved or {**NO_PROGRESS, "history": []}
        self.nonfinite_steps, self.tried_largest = [], False
        super().__init__(**of_trl)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def trained_weights(self) -> list[torch.nn.Parameter]:
        assert self.model is not None
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def _get_train_sampler(self, *_):
        return self.plan.order

    def restore_progress(self):
        self.began = time.monotonic()
        self._tr_loss += self.progress["loss_sum"]
        self._total_loss_scalar = self.progress["total_loss"]
        self._globalstep_last_logged = self.progress["last_logged_step"]

    def current_progress(self) -> dict:
        return {
            "history": self.progress["history"],
            "loss_sum": torch.as_tensor(self.accelerator.gather(self._tr_loss)).mean().item(),
            "total_loss": self._total_loss_scalar,
            "last_logged_step": self._globalstep_last_logged,
            "train_sec": self.progress["train_sec"] + time.monotonic() - self.began,
            "train_tokens": sum(map(self.plan.order.tokens_of_step, range(self.state.global_step))),
        }

    def _run_epoch(self, *args, **kwargs):
        if self.state.global_step >= self.state.max_steps:
            # Resumed after its last step: the Trainer would make one more.
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def training_step(self, language_model, inputs, num_items_in_batch=None):
        if not self.tried_largest:
            self.try_largest(language_model, num_items_in_batch)
        loss, parts = 0.0, self.split(inputs)
        for part in parts:
            # Several processes may have different numbers of parts: they add up their gradients at the last
            # alone.
            last = part is parts[-1]
            with contextlib.nullcontext() if last else self.accelerator.no_sync(language_model):
                loss = loss + super().training_step(language_model, part, num_items_in_batch)
        self.watch(loss)
        return loss

    def cuts(self) -> tuple[int, bool]:
        """(the most tokens of a part, 0 where micro-batches are whole; whether parts are padded)."""
        is_padded = not self.config["padding_free"]
        is_whole = not is_padded and self.args.device.type == "cuda"  # they come flat
        return 0 if is_whole else self.config["micro_batch_tokens"], is_padded

    def split(self, inputs: dict) -> list[dict]:
        """The parts in which a micro-batch is computed."""
        return [inputs]

    def try_largest(self, language_model, num_items_in_batch):
        """Before the first step compute the gradients of the largest part of a micro-batch, and forget them.

        Memory that does not suffice is told of in the first minute and not after hours. And the heap of a CPU
        has its size at once: it would grow whenever a larger part than before finds no hole in it. What stays
        in memory between steps, kernels above all, soon lies scattered over these holes: room for it is held
        meanwhile.
        """
        self.tried_largest = True
        assert self.train_dataset is not None
        device, logged = self.args.device, self._metrics["train"]
        kept = {key: list(values) for key, values in logged.items()}
        room = bytearray(ROOM_BYTES if device.type == "cpu" else 0)
        largest = self.plan.largest_part(*self.cuts(), self.sequences_an_example)
        rows = [self.train_dataset[row] for row in largest]
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for part in self.split(self._prepare_inputs(self.data_collator(rows))):
                with self.accelerator.no_sync(language_model):
                    super().training_step(language_model, part, num_items_in_batch)
        language_model.zero_grad()
        del room
        logged.clear()
        logged.update(kept)

    def watch(self, loss):
        """UserError when the loss has been NaN or infinite in three steps on end."""
        step = self.state.global_step
        if not torch.isfinite(loss):
            self.nonfinite_steps = sorted({*self.nonfinite_steps, step})
        elif step not in self.nonfinite_steps:
            self.nonfinite_steps = []
        if len(self.nonfinite_steps) >= MAX_NONFINITE_STEPS:
            raise UserError(self.nonfinite_message(self.nonfinite_steps))

    def nonfinite_message(self, steps: list[int]) -> str:
        rows = ", ".join(map(str, self.plan.row_numbers_of_steps(steps)))
        return (
            f"loss or weights are NaN or infinite from step {steps[0] + 1} to step {steps[-1] + 1}; the rows "
            f"of these steps in {self.config['train_file']}: {rows}; the last good checkpoint is kept: lower "
            f"{self.rate_flag} or mend the rows, then: {runlog.command_line('--resume', '--force')}, or "
            "start again"
        )

    def weights_finite(self) -> bool:
        return bool(torch.stack([weight.isfinite().all() for weight in self.trained_weights()]).all())

    def _save_checkpoint(self, language_model, trial):
        if not all(gather(self.weights_finite())):
            return  # the last good checkpoint stays the newest
        run_dir, is_main = Path(str(self.args.output_dir)), self.is_world_process_zero()
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
                    self.put_in_place(saving / f"checkpoint-{self.state.global_step}", run_dir, progress)
        finally:
            self.args.output_dir = str(run_dir)
            if is_main:
                shutil.rmtree(saving, ignore_errors=True)
        if is_main:
            checkpoints.prune(run_dir, self.state.global_step, self.config["save_total_limit"])

    def put_in_place(self, folder: Path, run_dir: Path, progress: dict):
        about = {"run": self.run_id, "binding": self.binding, "progress": progress}
        write_json(folder / checkpoints.RUN_FILE, about)
        checkpoints.mark_complete(folder)
        shutil.rmtree(run_dir / folder.name, ignore_errors=True)  # a damaged one
        os.replace(folder, run_dir / folder.name)
        sync(run_dir)

    def create_model_card(self, *_, **__):
        """Ours is written with the adapter."""


class Trainer(Resumable, SFTTrainer):
    """TRL's trainer of rows with one answer."""

    def __init__(
        self, language_model, tokenizer, config: dict, plan: Plan, run_id: str, binding: dict, saved
    ):
        super().__init__(
            config,
            plan,
            run_id,
            binding,
            saved,
            model=language_model,
            processing_class=tokenizer,
            args=SFTConfig(
                **trainer_arguments(config, plan, run_id),
                completion_only_loss=config["completion_only_loss"],
                padding_free=config["padding_free"],
                packing=False,
            ),
            train_dataset=as_dataset(plan.examples),
            eval_dataset=as_dataset(plan.eval_examples) if plan.eval_examples else None,
        )
        for weight in self.trained_weights():
            # TRL makes a 4-bit model's adapter bfloat16 (on CUDA Unsloth removes that). With its 8 bits many
            # updates of AdamW round to nothing, a CPU that computes in float32 has no fast product for it,
            # and a resume, which loads float32, would go on as another run.
            weight.data = weight.data.float()

    def split(self, inputs: dict) -> list[dict]:
        max_tokens, is_padded = self.cuts()
        if is_padded:
            return split_padded(inputs, max_tokens)
        return [inputs] if self.args.device.type == "cuda" else split_flat(inputs, max_tokens)


def trainer_arguments(config: dict, plan: Plan, run_id: str) -> dict[str, Any]:
    """What TRL's trainers are told alike."""
    device = find_device()
    os.environ.setdefault(  # where TensorBoard's callback writes; by itself it would among the checkpoints
        "TENSORBOARD_LOGGING_DIR", str(Path(config["logs_dir"]) / "tensorboard" / run_id)
    )
    return {
        "output_dir": str(Path(config["checkpoint_dir"]) / run_id),
        "per_device_train_batch_size": plan.micro_batch_rows,
        "gradient_accumulation_steps": plan.accumulation,
        "num_train_epochs": config["num_epochs"],
        "max_steps": config["max_steps"],
        "learning_rate": config["learning_rate"],
        "warmup_steps": math.ceil(config["warmup_ratio"] * plan.steps),
        "weight_decay": config["weight_decay"],
        "optim": config["optim"],
        "lr_scheduler_type": config["lr_scheduler_type"],
        "max_grad_norm": config["max_grad_norm"],
        "seed": config["seed"],
        "logging_steps": config["logging_steps"],
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config["save_steps"],
        "eval_strategy": "steps" if plan.eval_examples else "no",
        "eval_steps": config["save_steps"],
        "per_device_eval_batch_size": config["eval_batch_size"],
        "prediction_loss_only": True,
        "gradient_checkpointing": config["gradient_checkpointing"],
        "max_length": None,
        "report_to": config["report_to"],
        "run_name": run_id,
        "disable_tqdm": True,
        "dataset_num_proc": None,
        "use_cpu": device.type == "cpu",
        # The adapter's float32 weights multiply in bfloat16 too (autocast).
        "bf16": device.type != "mps" and device.arithmetic == "bfloat16",
    }


def as_dataset(examples):
    return Dataset.from_list([{"prompt": row.prompt, "completion": row.completion} for row in examples])


def split_padded(inputs: dict, max_tokens: int) -> list[dict]:
    """The rows of a padded batch in consecutive parts of at most `max_tokens` positions (one row at least),
    each cut to its own longest row. The loss is a sum over the step's tokens, so that the parts' gradients
    add up to the batch's."""
    rows, width = inputs["input_ids"].shape
    if not max_tokens or rows * width <= max_tokens:
        return [inputs]
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    return [
        {key: value[start:end, : max(lengths[start:end])] for key, value in inputs.items()}
        for start, end in cut_by_tokens(lengths, max_tokens)
    ]


def split_flat(inputs: dict, max_tokens: int) -> list[dict]:
    """The rows of a batch that is padded on the right, in consecutive parts of at most `max_tokens` tokens
    (one row at least), end to end and without padding.

    Positions begin at 0 with each row: by that transformers and attention.py keep rows apart. The first token
    of a row is no answer to the last one of the row before.
    """
    is_token = inputs["attention_mask"].bool()
    places = is_token.cumsum(dim=1) - 1
    inputs = {
        "input_ids": inputs["input_ids"],
        "position_ids": places,
        "labels": inputs["labels"].masked_fill(places == 0, -100),
    }
    return [
        {key: value[start:end][is_token[start:end]].unsqueeze(0) for key, value in inputs.items()}
        for start, end in cut_by_tokens(is_token.sum(dim=1).tolist(), max_tokens, is_padded=False)
    ]


def check_supervision(trainer: Trainer, tokenizer):
    """Decode what the first batch trains on, and refuse to start if it is not what the prompt module says.

    On CUDA Unsloth's own code tokenizes the rows, not TRL's: it may see a BOS in a template, cut a row, mask
    another span.
    """
    plan, clash = (
        trainer.plan,
        "; this is a version clash of trl and unsloth: install the pinned requirements",
    )
    batch = next(iter(trainer.get_train_dataloader()))
    ids, labels = batch["input_ids"].flatten().tolist(), batch["labels"].flatten().tolist()
    supervised = [token for token, label in zip(ids, labels) if label != -100]
    # Micro-batches go to the processes in turn: the first of process 1 is the second of the epoch.
    row = plan.examples[plan.order.rows_of(0)[trainer.args.process_index * plan.micro_batch_rows]]
    expected = tokenizer(row.prompt + row.completion).input_ids
    answer = expected[len(tokenizer(row.prompt).input_ids) :]
    if not supervised:
        raise UserError(
            "no token of the first batch is supervised: nothing would be learned; is the answer empty?"
        )
    if ids[: len(expected)] != expected:
        begins = repr(tokenizer.decode(ids[: len(expected)]))
        raise UserError(f"the first batch begins with {begins}, not with the row that is its first{clash}")
    one_end = answer.count(tokenizer.eos_token_id) == 1
    if trainer.config["completion_only_loss"] and not (supervised[: len(answer)] == answer and one_end):
        raise UserError(f"the first batch does not train on exactly the answer and one end token{clash}")
    share = 100 * len(supervised) / len(ids)
    print(f"supervised {share:.0f} % of the first batch; one row, the trained text in >>> <<<:")
    print("  " + f"{row.prompt}>>>{row.completion}<<<".replace("\n", "\n  "))


def train(trainer: Resumable, stop: StopRequest, checkpoint: Path | None):
    """Train, from `checkpoint` if given; the Trainer's result.

    Evaluates before step 1: a broken evaluation fails in seconds.
    """
    history, has_evaluation = trainer.progress["history"], bool(trainer.plan.eval_examples)
    path = history_file(trainer.config["logs_dir"], trainer.run_id)
    if checkpoint and trainer.is_world_process_zero():
        # What a dead process logged beyond its checkpoint is made again.
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in history))
    progress = Progress(trainer, path, stop)
    trainer.add_callback(progress)
    # Inside train(): an evaluate() before it would leave the model unwrapped, and several GPUs training apart
    # (accelerate prepares a model once, and for an evaluation without DDP).
    trainer.args.eval_on_start = has_evaluation and not checkpoint
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.nonfinite_steps or not trainer.weights_finite():
            last_step = trainer.state.global_step - 1
            raise UserError(trainer.nonfinite_message(trainer.nonfinite_steps or [last_step]))
        if has_evaluation and stop.signal is None and not evaluated_at(history, trainer.state.global_step):
            trainer.evaluate()
        return result
    finally:
        progress.close()
        stop.restore()


def evaluated_at(history, step):
    return any(entry["step"] == step and "eval_loss" in entry for entry in history)


@contextlib.contextmanager
def memory_advice(config: dict, plan: Plan):
    """Turn running out of memory, on the GPU or the host, into a UserError that says what to change by how
    much."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        raise UserError(memory_message(config, plan)) from error


def memory_message(config: dict, plan: Plan) -> str:
    rows, tokens, longest = (
        plan.micro_batch_rows,
        plan.worst_tokens,
        max(example.tokens for example in plan.examples),
    )
    if rows == 1 or tokens <= longest:
        dropped = "(longer rows are dropped; as another run, without --resume)"
        advice = [f"--max-seq-length {longest // 2} {dropped}"]
    elif config["micro_batch_tokens"]:
        advice = [f"--micro-batch-tokens {tokens // 2}"]
    else:
        advice = [f"--batch-size {rows // 2} --grad-accum {plan.accumulation * rows // (rows // 2)}"]
    if not config["gradient_checkpointing"]:
        advice.append("--gradient-checkpointing")
    eval_rows, longest_eval = (
        config["eval_batch_size"],
        max((e.tokens for e in plan.eval_examples), default=0),
    )
    if eval_rows > 1 and longest_eval * eval_rows > tokens:
        advice.append(f"--eval-batch-size {eval_rows // 2}")
    return (
        f"out of memory; a micro-batch has up to {tokens:,} tokens; add {', '.join(advice)}; complete "
        f"checkpoints stay: {runlog.command_line('--resume')}"
    )


def run_metrics(trainer: Resumable, result, trainable: int, total: int, resumed_from: int | None) -> dict:
    """The contents of metrics_<run>.json, of the whole run: a resumed one counts the time and tokens of its
    earlier processes. `trainable` and `total` are parameters, `resumed_from` a step."""
    progress = trainer.current_progress()
    history = progress["history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    evaluations = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    seconds = trainer.progress["train_sec"] + result.metrics["train_runtime"]
    share = result.metrics["train_runtime"] / seconds
    speeds = ("train_samples_per_second", "train_steps_per_second")
    kept = ("total_flos", "train_loss", "epoch")
    return {
        "meta": {"run": trainer.run_id, "resumed_from": resumed_from},
        "train_runtime": seconds,
        **{key: result.metrics[key] * share for key in speeds},
        **{key: result.metrics[key] for key in kept if key in result.metrics},
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
