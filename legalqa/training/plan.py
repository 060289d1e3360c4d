"""What a training run will do, worked out before the model is loaded: rows, tokens, order, steps, time, memory."""

import math
import random
from pathlib import Path

from legalqa.errors import UserError
from legalqa.files import read_json
from legalqa.model import prompt


class TrainingOrder:
    """The order of the rows: a function of seed and epoch alone, so that a resumed run sees the same rows.

    A sampler for the Trainer, which calls `set_epoch`. With `by_length`, shuffled rows are sorted by length within windows of
    50 steps, cut into steps, and the steps are shuffled: like lengths side by side, other neighbours every epoch.
    """

    WINDOW_STEPS = 50

    def __init__(self, lengths, rows_per_step, seed, by_length):
        self.lengths, self.rows_per_step, self.seed, self.by_length = lengths, rows_per_step, seed, by_length
        self.epoch = 0
        self.latest = (None, None)  # (epoch, its rows): asked for at every step

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        return iter(self.rows_of(self.epoch))

    def set_epoch(self, epoch):
        self.epoch = epoch

    def rows_of(self, epoch):
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
        # Only full steps are shuffled: a short one in the middle would shift all the rows behind it across steps.
        full = [step for step in steps if len(step) == self.rows_per_step]
        rest = [row for step in steps if len(step) < self.rows_per_step for row in step]
        rng.shuffle(full)
        return [row for step in full for row in step] + rest

    def tokens_of_step(self, step):
        """Tokens, padding not counted, of optimizer step `step` (0, 1, ...), all devices together."""
        epoch, number = divmod(step, math.ceil(len(self.lengths) / self.rows_per_step))
        rows = self.rows_of(epoch)[number * self.rows_per_step :][: self.rows_per_step]
        return sum(self.lengths[row] for row in rows)

    def micro_batches(self, rows, epochs):
        """All micro-batches of `rows` rows in `epochs` epochs, as lists of row lengths in tokens."""
        for epoch in range(math.ceil(epochs)):
            order = self.rows_of(epoch)
            for step in range(0, len(order), self.rows_per_step):
                for start in range(step, min(step + self.rows_per_step, len(order)), rows):
                    end = min(start + rows, step + self.rows_per_step)
                    yield [self.lengths[row] for row in order[start:end]]


def render_rows(records, tokenizer, config):
    """[{"prompt", "completion"}] of the records, and the token count of each: what training will see of it."""
    texts = [
        {
            "prompt": prompt.render_prompt(record, tokenizer, config["system_prompt"]),
            "completion": prompt.render_completion(record, tokenizer),
        }
        for record in records
    ]
    lengths = [len(ids) for ids in tokenizer([t["prompt"] + t["completion"] for t in texts]).input_ids]
    answers = [
        len(ids) for ids in tokenizer([t["completion"] for t in texts], add_special_tokens=False).input_ids
    ]
    return texts, lengths, answers


def drop_long(records, texts, lengths, config, file):
    """(kept indices, [(row number, tokens)] of the dropped). UserError when every row is too long."""
    limit = config["max_seq_length"]
    kept = [i for i, length in enumerate(lengths) if length <= limit]
    dropped = [(i + 1, lengths[i]) for i in range(len(records)) if lengths[i] > limit]
    if not kept:
        raise UserError(
            f"{file}: every row is longer than {limit} tokens; raise --max-seq-length (shortest: {min(lengths)})"
        )
    return kept, dropped


def micro_batch_rows(order, config, rows_per_device_step):
    """Rows of a micro-batch. The step's rows, and with them the gradient, are the same whatever comes out.

    Padding-free: the most, among the divisors of a device's share of a step, whose worst micro-batch keeps to
    `micro_batch_tokens`. Padded: the whole share, which training.split_padded cuts up wherever it is over the budget.
    """
    budget = config["micro_batch_tokens"]
    if not budget:
        return min(config["batch_size"], rows_per_device_step)
    if not config["padding_free"]:
        return rows_per_device_step
    divisors = [rows for rows in range(rows_per_device_step, 0, -1) if rows_per_device_step % rows == 0]
    return next((rows for rows in divisors if worst_tokens(order, rows, config) <= budget), 1)


def worst_tokens(order, rows, config):
    """Tokens of the largest micro-batch, padding included where micro-batches are padded."""

    def tokens(lengths):
        return sum(lengths) if config["padding_free"] else len(lengths) * max(lengths)

    worst = max(tokens(lengths) for lengths in order.micro_batches(rows, config["num_epochs"]))
    if config["micro_batch_tokens"] and not config["padding_free"]:
        return min(worst, max(config["micro_batch_tokens"], max(order.lengths)))
    return worst


def padding_share(order, rows, config):
    """Share of the first epoch's token positions that are padding; 0 where micro-batches are padding-free."""
    if config["padding_free"]:
        return 0.0
    batches = list(order.micro_batches(rows, 1))
    return 1 - sum(map(sum, batches)) / sum(len(lengths) * max(lengths) for lengths in batches)


def past_tokens_per_sec(logs_dir, config, device_name):
    """Training speed of the newest finished run of this model on this device, non-padding tokens/s; None without one."""
    for path in sorted(Path(logs_dir).glob("metrics_*.json"), reverse=True):
        try:
            settings = read_json(path.with_name(path.name.replace("metrics_", "config_")))
            speed, device = read_json(path)["tokens_per_second"], settings["meta"]["device"]["name"]
        except (UserError, KeyError, TypeError):
            continue
        if (
            settings.get("model_name") == config["model_name"]
            and device == device_name
            and type(speed) in (int, float)
            and speed > 0
        ):
            return speed
    return None


def rough_tokens_per_sec(weights, gradient_checkpointing):
    """Training speed for a first guess, tokens/s: a timed matrix product, of which training reaches about 0.4.

    A token costs 2 operations a weight forward, 2 backward to the activations (the base's weights are frozen), and 2 more where
    activations are recomputed.
    """
    import time

    import torch

    cuda = torch.cuda.is_available()
    size = 4096 if cuda else 1024
    a = torch.ones(
        size, size, device="cuda" if cuda else "cpu", dtype=torch.bfloat16 if cuda else torch.float32
    )
    best = math.inf
    for _ in range(5):
        started = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - started)
    return 0.4 * 2 * size**3 / best / (weights * (6 if gradient_checkpointing else 4))


def memory_estimate_bytes(model_config, trainable, total, tokens, config, device_type):
    """Rough peak bytes of training: weights, adapter with its optimizer, activations of the worst micro-batch.

    NF4 with double quantization takes 0.516 byte a weight (Dettmers et al., arXiv 2305.14314); embeddings and head keep 16
    bits (32 on a CPU without bfloat16); LoRA in fp32 with gradient and two AdamW moments takes 16 bytes a parameter. A layer
    keeps about 12 hidden and 5 intermediate values a token; recomputation keeps one layer's and each layer's input.
    """
    hidden, inner, layers = (
        model_config.hidden_size,
        model_config.intermediate_size,
        model_config.num_hidden_layers,
    )
    value_bytes = 4 if device_type == "cpu" else 2
    embeddings = model_config.vocab_size * hidden * (1 if model_config.tie_word_embeddings else 2)
    body = total - trainable - embeddings
    weights = body * (0.516 if config["load_in_4bit"] else value_bytes) + embeddings * value_bytes
    layer_values = 12 * hidden + 5 * inner
    per_token = layer_values + layers * hidden if config["gradient_checkpointing"] else layers * layer_values
    runtime = 1.2e9  # Python, torch, CUDA context
    return int(weights + 16 * trainable + tokens * per_token * value_bytes + runtime)
