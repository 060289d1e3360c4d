"""The trainer: TRL's, with a row order that a resume repeats, checkpoints whole or not at all, and a watch on the loss."""
import json
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from legalqa import checkpoints, model
from legalqa.cli import UserError

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


def make_trainer(language_model, tokenizer, config, facts, run, binding):
    """TRL's SFTTrainer, with our row order, whole-or-nothing checkpoints, and a watch on the loss."""
    import torch
    from datasets import Dataset
    from safetensors import SafetensorError
    from trl import SFTConfig, SFTTrainer

    class Trainer(SFTTrainer):
        nonfinite_steps = []

        def _get_train_sampler(self, *_):
            return facts["order"]

        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            if torch.isfinite(loss):
                self.nonfinite_steps = []
            elif self.state.global_step not in self.nonfinite_steps:
                self.nonfinite_steps = [*self.nonfinite_steps, self.state.global_step]
                if len(self.nonfinite_steps) >= MAX_NONFINITE_STEPS:
                    raise UserError(nonfinite_message(facts, self.nonfinite_steps, config))
            return loss

        def _save_checkpoint(self, language_model, trial):
            if any(gather(bool(self.nonfinite_steps))):
                return  # the last good checkpoint stays the newest
            run_dir, is_main = Path(self.args.output_dir), self.is_world_process_zero()
            saving = run_dir / "saving.tmp"
            if is_main:
                shutil.rmtree(saving, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self.args.output_dir = str(saving)
            try:
                super()._save_checkpoint(language_model, trial)
                self.accelerator.wait_for_everyone()  # each process writes its own random state into the folder
                if is_main:
                    folder = saving / f"checkpoint-{self.state.global_step}"
                    checkpoints.mark_complete(folder, binding)
                    shutil.rmtree(run_dir / folder.name, ignore_errors=True)
                    os.replace(folder, run_dir / folder.name)
                    checkpoints.prune(run_dir, config["save_total_limit"])
            except (OSError, SafetensorError, RuntimeError) as error:
                raise UserError(f"cannot write a checkpoint in {run_dir}: {error}; the complete ones there stay; free "
                                "space, then: python train_8b.py --resume") from error
            finally:
                self.args.output_dir = str(run_dir)
                if is_main:
                    shutil.rmtree(saving, ignore_errors=True)

        def create_model_card(self, *_, **__):
            pass  # ours is written with the adapter

    arguments = SFTConfig(
        output_dir=str(Path(config["checkpoint_dir"]) / run), per_device_train_batch_size=facts["micro_batch_rows"],
        gradient_accumulation_steps=facts["accumulation"], num_train_epochs=config["num_epochs"],
        max_steps=config["max_steps"], learning_rate=config["learning_rate"],
        warmup_steps=math.ceil(config["warmup_ratio"] * facts["steps"]), weight_decay=config["weight_decay"],
        optim=config["optim"], lr_scheduler_type=config["lr_scheduler_type"], max_grad_norm=config["max_grad_norm"],
        seed=config["seed"], logging_steps=config["logging_steps"], logging_nan_inf_filter=False, save_strategy="steps",
        save_steps=config["save_steps"], eval_strategy="steps" if facts["eval_texts"] else "no",
        eval_steps=config["save_steps"], per_device_eval_batch_size=config["eval_batch_size"], prediction_loss_only=True,
        gradient_checkpointing=config["gradient_checkpointing"], completion_only_loss=config["completion_only_loss"],
        padding_free=config["padding_free"], packing=False, max_length=None, report_to="none", disable_tqdm=True,
        dataset_num_proc=None, bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    trainer = Trainer(model=language_model, processing_class=tokenizer, args=arguments,
                      train_dataset=Dataset.from_list(facts["texts"]),
                      eval_dataset=Dataset.from_list(facts["eval_texts"]) if facts["eval_texts"] else None)
    if not torch.cuda.is_available() and language_model.dtype == torch.float32:
        # TRL has put the adapter into bfloat16; a CPU that computes in float32 has no fast bfloat16 product.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)
    return trainer


def nonfinite_message(facts, steps, config):
    order, size = facts["order"], facts["rows_per_step"]
    rows = [facts["row_numbers"][row] for step in steps for row in
            order.rows_of(step // facts["steps_per_epoch"])[step % facts["steps_per_epoch"] * size:][:size]]
    return (f"the loss is NaN or infinite for {len(steps)} steps in a row (steps {steps[0] + 1}-{steps[-1] + 1}); their rows "
            f"in {config['train_file']}: {', '.join(map(str, rows))}; the last complete checkpoint is kept; lower "
            "--learning-rate or mend these rows, then: python train_8b.py --resume --force")


def check_supervision(trainer, tokenizer, facts, config):
    """Decode what the first batch trains on, and refuse to start if it is not what the prompt module says.

    On CUDA Unsloth's own code tokenizes the rows, not TRL's: it may see a BOS in a template, cut a row, mask another span.
    """
    batch = next(iter(trainer.get_train_dataloader()))
    ids, labels = batch["input_ids"].flatten().tolist(), batch["labels"].flatten().tolist()
    supervised = [token for token, label in zip(ids, labels) if label != -100]
    # Micro-batches go to the processes in turn: the first of process 1 is the second of the epoch.
    row = facts["texts"][facts["order"].rows_of(0)[trainer.args.process_index * facts["micro_batch_rows"]]]
    expected = tokenizer(row["prompt"] + row["completion"]).input_ids
    answer = expected[len(tokenizer(row["prompt"]).input_ids):]
    if not supervised:
        raise UserError("no token of the first batch is supervised: nothing would be learned; is the answer empty?")
    if ids[:len(expected)] != expected:
        raise UserError(f"the first batch begins with {tokenizer.decode(ids[:len(expected)])!r}, not with the row that is its "
                        "first; this is a version clash of trl and unsloth: install the pinned requirements")
    if config["completion_only_loss"] and (supervised[:len(answer)] != answer or answer.count(tokenizer.eos_token_id) != 1):
        raise UserError("the first batch does not train on exactly the answer and one end token; this is a version clash of "
                        "trl and unsloth: install the pinned requirements")
    print(f"supervised {100 * len(supervised) / len(ids):.0f} % of the first batch; one row, the trained text in >>> <<<:")
    print("  " + (row["prompt"] + ">>>" + row["completion"] + "<<<").replace("\n", "\n  "))


class StopRequest:
    """First SIGINT or SIGTERM: finish the step, save, stop. Second: leave at once."""

    def __init__(self):
        self.signal, self.signal_time = None, None
        self.previous = {number: signal.signal(number, self.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(self, number, _):
        if self.signal is not None:
            if "WORLD_SIZE" in os.environ and time.monotonic() - self.signal_time < SAME_SIGNAL_SEC:
                return
            os._exit(128 + number)
        self.signal, self.signal_time = number, time.monotonic()
        print("\nstopping after this step; once more to leave at once", file=sys.stderr)

    def restore(self):
        for number, handler in self.previous.items():
            signal.signal(number, handler)


def make_callback(config, facts, run, stop, history, resumed_step):
    """Progress bar with loss, learning rate, tokens/s, memory and ETA; the history file; stopping on request."""
    import torch
    from tqdm import tqdm
    from transformers import TrainerCallback
    path = Path(config["logs_dir"]) / f"history_{run}.jsonl"
    started = time.monotonic() - (history[-1]["elapsed_sec"] if history else 0)
    first_elapsed = time.monotonic()

    class Progress(TrainerCallback):
        bar = None
        tokens = 0  # Unsloth's trainer on CUDA does not count them (its compute_loss replaces TRL's): the plan knows

        def on_train_begin(self, args, state, control, **_):
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True,
                            mininterval=0.5 if sys.stderr.isatty() else 15, disable=not state.is_world_process_zero)

        def on_log(self, args, state, control, logs=None, **_):
            if not ("loss" in logs or "eval_loss" in logs):
                return
            entry = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
            entry |= {key: logs[key] for key in ("loss", "learning_rate", "grad_norm", "eval_loss") if key in logs}
            entry["elapsed_sec"] = round(time.monotonic() - started, 2)
            history.append(entry)
            if not state.is_world_process_zero:
                return
            append_line(path, entry)
            if "loss" in logs:
                speed = self.tokens / (time.monotonic() - first_elapsed)
                memory = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else model.peak_memory_bytes()
                self.bar.set_postfix_str(f"loss {logs['loss']:.4f}, lr {logs['learning_rate']:.1e}, {speed:,.0f} tok/s, "
                                         f"{memory / 1e9:.1f} GB")
                if len(history) > 1 and state.global_step == resumed_step + config["logging_steps"] and resumed_step:
                    before = [e["loss"] for e in history[:-1] if "loss" in e]
                    tqdm.write(f"first loss after the resume {logs['loss']:.4f}, last before it {before[-1]:.4f}"
                               if before else "")
            else:
                tqdm.write(f"step {state.global_step}: evaluation loss {logs['eval_loss']:.4f}", file=sys.stderr)

        def on_step_end(self, args, state, control, **_):
            self.bar.update(state.global_step - self.bar.n)
            self.tokens += facts["order"].tokens_of_step(state.global_step - 1)
            stop.signal = next((number for number in gather(stop.signal) if number is not None), None)
            if stop.signal is not None:
                control.should_save = control.should_training_stop = True
            return control

        def on_train_end(self, args, state, control, **_):
            self.bar.close()

    return Progress()


def append_line(path, entry):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space, then: python train_8b.py --resume") from error


def run(trainer, config, facts, run_id, stop, history, checkpoint):
    """Train, from `checkpoint` if given; the Trainer's result. Evaluates before step 1: a broken evaluation fails in seconds."""
    import torch
    resumed_step = checkpoints.step_of(checkpoint) if checkpoint else 0
    trainer.add_callback(make_callback(config, facts, run_id, stop, history, resumed_step))
    # Inside train(): an evaluate() before it would leave the model unwrapped, and several GPUs training apart (accelerate
    # prepares a model once, and for an evaluation without DDP).
    trainer.args.eval_on_start = bool(facts["eval_texts"]) and not checkpoint
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if facts["eval_texts"] and stop.signal is None and not evaluated_at(history, trainer.state.global_step):
            trainer.evaluate()
        return result
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "can't allocate memory" not in str(error):
            raise
        tokens = facts["worst_tokens"]
        raise UserError(f"out of memory at micro-batches of up to {tokens:,} tokens; halve them with --micro-batch-tokens "
                        f"{tokens // 2}{'' if config['gradient_checkpointing'] else ' or add --gradient-checkpointing'}, or lower "
                        "--max-seq-length; the last checkpoint is kept: add --resume") from error
    finally:
        stop.restore()


def evaluated_at(history, step):
    return any(entry["step"] == step and "eval_loss" in entry for entry in history)


def run_metrics(trainer, result, history, order, trainable, total, run_id, resumed_step):
    """The contents of metrics_<run>.json. Times and speeds are those of this process; `history` is the whole run's."""
    import torch
    losses = [entry["loss"] for entry in history if "loss" in entry]
    evaluations = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    seconds = result.metrics["train_runtime"]
    tokens = sum(order.tokens_of_step(step) for step in range(resumed_step, trainer.state.global_step))
    return {
        "meta": {"run": run_id, "resumed_from": resumed_step or None},
        **{key: result.metrics[key] for key in ("train_runtime", "train_samples_per_second", "train_steps_per_second",
                                                "total_flos", "train_loss", "epoch") if key in result.metrics},
        "initial_loss": losses[0], "final_loss": losses[-1], "min_loss": min(losses),
        "loss_reduction_percent": 100 * (1 - losses[-1] / losses[0]),
        "initial_eval_loss": evaluations[0] if evaluations else None,
        "eval_loss": evaluations[-1] if evaluations else None, "min_eval_loss": min(evaluations, default=None),
        "total_steps": trainer.state.global_step, "trainable_parameters": trainable, "total_parameters": total,
        "trainable_percent": 100 * trainable / total, "tokens_per_second": tokens / seconds,
        "peak_memory_bytes": model.peak_memory_bytes(),
        "peak_vram_bytes": torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None,
        "history": history,
    }
