"""What a training run will do, worked out before the model is loaded: rows, order, steps, time, memory."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import file_sha256, read_json
from legalqa.law.words import detect_language
from legalqa.model import prompt
from legalqa.model.base import weight_bytes
from legalqa.model.device import LOGITS_BLOCK_BYTES, Device, matrix_flops_per_sec


class Example(NamedTuple):
    """A row on its way to the loss."""

    row_number: int  # its line in the file, from 1
    prompt: str
    completion: str  # the answer and its end token
    tokens: int  # of both
    answer_tokens: int  # of the completion


class TrainingOrder:
    """The order of the rows: a function of seed and epoch alone, so that a resumed run sees the same rows.

    A sampler for the Trainer, which calls `set_epoch`. With `by_length`, shuffled rows are sorted by length
    within windows of 50 steps, cut into steps, and the steps are shuffled: like lengths side by side, other
    neighbours every epoch. `lengths` are the rows' tokens.
    """

    WINDOW_STEPS = 50

    def __init__(self, lengths: list[int], rows_per_step: int, seed: int, by_length: bool):
        self.lengths, self.rows_per_step, self.seed, self.by_length = lengths, rows_per_step, seed, by_length
        self.epoch = 0
        self.latest: tuple[int, list[int]] = (-1, [])  # (epoch, its rows): asked for at every step

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        return iter(self.rows_of(self.epoch))

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.lengths) / self.rows_per_step)

    def rows_of(self, epoch: int) -> list[int]:
        """Row indices in the order of `epoch` (0, 1, ...)."""
        if self.latest[0] != epoch:
            self.latest = (epoch, self.make_rows(epoch))
        return self.latest[1]

    def make_rows(self, epoch):
        rng = random.Random(f"{self.seed}-{epoch}")
        rows = rng.sample(range(len(self.lengths)), len(self.lengths))
        if not self.by_length:
            return rows
        window = self.WINDOW_STEPS * self.rows_per_step
        steps = []
        for start in range(0, len(rows), window):
            part = sorted(rows[start : start + window], key=self.lengths.__getitem__, reverse=True)
            steps += [part[i : i + self.rows_per_step] for i in range(0, len(part), self.rows_per_step)]
        # Only full steps are shuffled: a short one in the middle would shift all rows behind it across steps.
        full = [step for step in steps if len(step) == self.rows_per_step]
        rest = [row for step in steps if len(step) < self.rows_per_step for row in step]
        rng.shuffle(full)
        return [row for step in full for row in step] + rest

    def rows_of_step(self, step: int) -> list[int]:
        """Row indices of optimizer step `step` (0, 1, ... over all epochs), all devices together."""
        epoch, number = divmod(step, self.steps_per_epoch)
        return self.rows_of(epoch)[number * self.rows_per_step :][: self.rows_per_step]

    def tokens_of_step(self, step: int) -> int:
        """Tokens, padding not counted, of optimizer step `step`, all devices together."""
        return sum(self.lengths[row] for row in self.rows_of_step(step))

    def micro_batches(self, rows: int, epochs: float) -> Iterator[list[int]]:
        """All micro-batches of `rows` rows in `epochs` epochs, as lists of row lengths in tokens."""
        for epoch in range(math.ceil(epochs)):
            order = self.rows_of(epoch)
            for step in range(0, len(order), self.rows_per_step):
                for start in range(step, min(step + self.rows_per_step, len(order)), rows):
                    end = min(start + rows, step + self.rows_per_step)
                    yield [self.lengths[row] for row in order[start:end]]


@dataclass(frozen=True)
class Plan:
    """What will be trained, exactly. Token counts are without padding unless they say so."""

    examples: list[Any]  # Example, or PairExample of DPO: trained on, in the order of the file
    dropped: list[Any]  # longer than max_seq_length
    eval_examples: list[Any]  # of the evaluation loss, shortest first
    order: TrainingOrder  # of `examples`
    rows_per_step: int  # of an optimizer step, all devices together
    micro_batch_rows: int  # of one device
    accumulation: int  # micro-batches of one device in a step
    steps: int
    padding_share: float  # of the first epoch's token positions
    worst_tokens: int  # of the largest micro-batch, padding included

    @property
    def epochs(self) -> float:
        return self.steps / self.order.steps_per_epoch

    @property
    def tokens_per_epoch(self) -> int:
        return sum(self.order.lengths)

    @property
    def answer_share(self) -> float:
        return sum(example.answer_tokens for example in self.examples) / self.tokens_per_epoch

    def largest_part(self, max_tokens: int, is_padded: bool, sequences: int) -> list[int]:
        """Row indices of what takes the most memory in the first epoch: of the micro-batches, as they are cut
        by `max_tokens`, the part with the most positions. (Logits are made in blocks.) An example is
        `sequences` of its length."""
        rows, size = self.order.rows_of(0)[: self.steps * self.rows_per_step], self.micro_batch_rows
        parts = []
        for batch in (rows[start : start + size] for start in range(0, len(rows), size)):
            lengths = [sequences * self.examples[row].tokens for row in batch]
            parts += [batch[start:end] for start, end in cut_by_tokens(lengths, max_tokens, is_padded)]
        return max(parts, key=lambda part: positions([self.examples[row].tokens for row in part], is_padded))

    def row_numbers_of_steps(self, steps: list[int]) -> list[int]:
        """Lines of the train file that the optimizer steps (0, 1, ...) train on."""
        rows = (row for step in steps for row in self.order.rows_of_step(step))
        return sorted({self.examples[row].row_number for row in rows})


def make_plan(
    config: dict, train: list[dict], validation: list[dict], tokenizer, world_size: int, device: Device
) -> Plan:
    """The plan of a run over `world_size` devices; UserError when there is nothing to train on."""
    examples, dropped = split_by_length(render_rows(train, tokenizer, config), config, config["train_file"])
    rows_per_step = config["batch_size"] * config["grad_accum"]
    if rows_per_step % world_size:
        raise UserError(
            f"{rows_per_step} rows a step (batch_size x grad_accum) cannot be shared by {world_size} "
            "devices; change --batch-size or --grad-accum"
        )
    lengths = [example.tokens for example in examples]
    order = TrainingOrder(lengths, rows_per_step, config["seed"], config["group_by_length"])
    rows = micro_batch_rows(order, config, rows_per_step // world_size, device)
    all_epochs = math.ceil(order.steps_per_epoch * config["num_epochs"])
    return Plan(
        examples=examples,
        dropped=dropped,
        eval_examples=choose_eval_examples(validation, tokenizer, config),
        order=order,
        rows_per_step=rows_per_step,
        micro_batch_rows=rows,
        accumulation=rows_per_step // world_size // rows,
        steps=config["max_steps"] if config["max_steps"] > 0 else all_epochs,
        padding_share=padding_share(order, rows, config),
        worst_tokens=worst_tokens(order, rows, config),
    )


def render_rows(rows: list[dict], tokenizer, config: dict) -> list[Example]:
    """The records as training will see them."""
    prompts = [prompt.render_prompt(row, tokenizer, config["system_prompt"]) for row in rows]
    completions = [prompt.render_completion(row, tokenizer) for row in rows]
    whole = tokenizer([a + b for a, b in zip(prompts, completions)]).input_ids
    answers = tokenizer(completions, add_special_tokens=False).input_ids
    numbers, tokens, answer_tokens = range(1, len(rows) + 1), map(len, whole), map(len, answers)
    return [Example(*parts) for parts in zip(numbers, prompts, completions, tokens, answer_tokens)]


def split_by_length(examples: list[Any], config: dict, file: str) -> tuple[list[Any], list[Any]]:
    """(kept, dropped) by `max_seq_length`; UserError when every row is too long."""
    limit = config["max_seq_length"]
    kept = [example for example in examples if example.tokens <= limit]
    if not kept:
        shortest = min(example.tokens for example in examples)
        raise UserError(
            f"{file}: every row is longer than {limit} tokens; raise --max-seq-length (shortest: {shortest})"
        )
    return kept, [example for example in examples if example.tokens > limit]


def choose_eval_examples(validation, tokenizer, config):
    """`eval_samples` of the validation rows, fixed by the seed; like lengths side by side: less padding."""
    if not validation:
        return []
    rendered = render_rows(validation, tokenizer, config)
    kept, _ = split_by_length(rendered, config, config["validation_file"])
    count = min(config["eval_samples"], len(kept))
    return sorted(random.Random(config["seed"]).sample(kept, count), key=lambda example: example.tokens)


def micro_batch_rows(order: TrainingOrder, config: dict, rows_per_device_step: int, device: Device) -> int:
    """Rows of a micro-batch. The step's rows, and with them the gradient, are the same whatever comes out.

    Padding-free on CUDA: the most, among the divisors of a device's share of a step, whose worst micro-batch
    keeps to `micro_batch_tokens`. Else: the whole share, which trainer.split cuts up where it is over the
    budget.
    """
    budget, is_padded = config["micro_batch_tokens"], not config["padding_free"]
    if not budget:
        return min(config["batch_size"], rows_per_device_step)
    if is_padded or device.type != "cuda":
        return rows_per_device_step

    def worst(rows):
        return max(map(sum, order.micro_batches(rows, config["num_epochs"])))

    divisors = [rows for rows in range(rows_per_device_step, 0, -1) if rows_per_device_step % rows == 0]
    return next((rows for rows in divisors if worst(rows) <= budget), 1)


def worst_tokens(order: TrainingOrder, rows: int, config: dict) -> int:
    """Tokens of the largest part of a micro-batch, padding included where these are padded."""
    is_padded, budget = not config["padding_free"], config["micro_batch_tokens"]
    worst = max(positions(lengths, is_padded) for lengths in order.micro_batches(rows, config["num_epochs"]))
    return min(worst, max(budget, max(order.lengths))) if budget else worst


def positions(lengths: list[int], is_padded: bool) -> int:
    """Tokens of rows side by side, padded to the longest, or end to end."""
    return len(lengths) * max(lengths) if is_padded else sum(lengths)


def cut_by_tokens(lengths: list[int], max_tokens: int, is_padded: bool = True) -> list[tuple[int, int]]:
    """[(start, end)] of consecutive rows that keep to `max_tokens` together (one row at least); all in one
    where it is 0."""
    cuts, start = [], 0
    while start < len(lengths):
        end = start + 1 if max_tokens else len(lengths)
        while end < len(lengths) and positions(lengths[start : end + 1], is_padded) <= max_tokens:
            end += 1
        cuts.append((start, end))
        start = end
    return cuts


def padding_share(order: TrainingOrder, rows: int, config: dict) -> float:
    """Share of the first epoch's token positions that are padding; 0 where micro-batches are padding-free."""
    if config["padding_free"]:
        return 0.0
    parts = [
        lengths[start:end]
        for lengths in order.micro_batches(rows, 1)
        for start, end in cut_by_tokens(lengths, config["micro_batch_tokens"])
    ]
    return 1 - sum(map(sum, parts)) / sum(positions(lengths, is_padded=True) for lengths in parts)


# ---- What the logs say of the data


class DataFile(NamedTuple):
    """A data file as the logs describe it; a row may be unused because it is too long, or leaks."""

    file: str
    sha256: str
    num_rows: int
    num_used: int
    num_dropped: int
    by_language: dict[str, int]


def describe_data(file: str, rows: list[dict], used: int) -> DataFile:
    languages = Counter(detect_language(records.question(row)) for row in rows)
    return DataFile(file, file_sha256(file), len(rows), used, len(rows) - used, languages)


# ---- Time and memory, before they are spent


def past_tokens_per_sec(logs_dir: str, config: dict, device_name: str) -> float | None:
    """Speed of the newest finished run of this model on this device, non-padding tokens/s, if any."""
    for path in sorted(Path(logs_dir).glob("metrics_*.json"), reverse=True):
        try:
            settings = read_json(path.with_name(path.name.replace("metrics_", "config_")))
            speed, device = read_json(path)["tokens_per_second"], settings["meta"]["device"]["name"]
        except (UserError, KeyError, TypeError):
            continue
        same = settings.get("model_name") == config["model_name"] and device == device_name
        if same and type(speed) in (int, float) and speed > 0:
            return speed
    return None


def rough_tokens_per_sec(parameters: int, gradient_checkpointing: bool, device: Device) -> float:
    """Training speed for a first guess, tokens/s: of a timed matrix product training reaches about 0.4.

    A token costs 2 operations a parameter forward, 2 backward to the activations (the base's weights are
    frozen), and 2 more where activations are recomputed.
    """
    operations = parameters * (6 if gradient_checkpointing else 4)
    return 0.4 * matrix_flops_per_sec(device) / operations


def weight_estimate_bytes(config: dict, model_config, parameters: int, device: Device) -> int:
    """Bytes of the base model's weights: by its files, or a guess from its size."""
    # On a CPU they are unpacked once (model/base.fit_to_cpu).
    packed = config["load_in_4bit"] and device.type != "cpu"
    how = packed, 4 if device.arithmetic == "float32" else 2
    return weight_bytes(config["model_name"], *how) or weight_guess_bytes(model_config, parameters, *how)


def weight_guess_bytes(model_config, parameters: int, load_in_4bit: bool, value_bytes: int) -> int:
    """Bytes of a base model whose files are not here yet; NF4 with double quantization takes 0.516 byte a
    weight (Dettmers et al., arXiv 2305.14314), embeddings and head are not packed."""
    matrices = 1 if model_config.tie_word_embeddings else 2
    embeddings = model_config.vocab_size * model_config.hidden_size * matrices
    body = (parameters - embeddings) * (0.516 if load_in_4bit else value_bytes)
    return int(body + embeddings * value_bytes)


def memory_estimate_bytes(
    model_config, base_bytes: int, trainable: int, plan: Plan, config: dict, device: Device
) -> int:
    """Rough peak bytes: weights, adapter with its optimizer, what the worst micro-batch keeps, logits on a
    CPU.

    LoRA in float32 with gradient and two AdamW moments takes 16 bytes a parameter. A layer keeps about 12
    hidden and 5 intermediate values a token; recomputation keeps one layer's and each layer's input. On a CPU
    most of these are float32, whatever products are computed in. Logits are made in blocks.
    """
    on_cpu = device.type == "cpu"
    layers, hidden = model_config.num_hidden_layers, model_config.hidden_size
    layer_values = 12 * hidden + 5 * model_config.intermediate_size
    recomputed = layer_values + layers * hidden
    token_values = recomputed if config["gradient_checkpointing"] else layers * layer_values
    activations = plan.worst_tokens * token_values * (4 if on_cpu else 2)
    logits = min(plan.worst_tokens * model_config.vocab_size * 4, LOGITS_BLOCK_BYTES) if on_cpu else 0
    runtime = 1.2e9  # Python, torch, the CUDA context or the kernels compiled for a CPU
    return int(base_bytes + 16 * trainable + activations + logits + runtime)
