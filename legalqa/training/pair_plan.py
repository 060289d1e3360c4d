"""What a DPO run will do, worked out before the model is loaded: the same plan as of rows, of pairs."""

import math
from typing import Any, NamedTuple

from legalqa.data.pairs import Pair, split_held
from legalqa.model import prompt
from legalqa.scoring.faults import CUT_OFF
from legalqa.training.plan import Plan, TrainingOrder, cut_by_tokens, split_by_length


class PairExample(NamedTuple):
    """A pair on its way to the loss, as token ids."""

    row_number: int  # its line in the file, from 1
    prompt_ids: list[int]
    chosen_ids: list[int]  # the answer and its end token
    rejected_ids: list[int]  # the same; without the end token where the answer was cut off before it

    @property
    def tokens(self) -> int:
        """Of the longer one of prompt + chosen and prompt + rejected."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))

    @property
    def both_tokens(self) -> int:
        return 2 * len(self.prompt_ids) + self.answer_tokens

    @property
    def answer_tokens(self) -> int:
        return len(self.chosen_ids) + len(self.rejected_ids)


def make_pair_plan(config: dict, pairs: list[Pair], tokenizer: Any) -> Plan:
    """The plan of a run on one device; UserError when there is nothing to train on."""
    rendered = render_pairs(pairs, tokenizer, config)
    held = split_held(pairs, config["dpo_held"], config["seed"])
    examples, dropped = split_by_length(
        [example for example, is_held in zip(rendered, held) if not is_held], config, config["pairs_file"]
    )
    fitting = [e for e, is_held in zip(rendered, held) if is_held and e.tokens <= config["max_seq_length"]]
    rows_per_step = config["batch_size"] * config["grad_accum"]
    lengths = [example.both_tokens for example in examples]
    order = TrainingOrder(lengths, rows_per_step, config["seed"], config["group_by_length"])
    # Within a budget a step is one micro-batch, computed in parts.
    budget = config["micro_batch_tokens"]
    rows = rows_per_step if budget else config["batch_size"]
    first_epoch = positions(examples, order, rows, 1, budget)
    return Plan(
        examples=examples,
        dropped=dropped,
        eval_examples=sorted(fitting, key=lambda example: example.tokens),
        order=order,
        rows_per_step=rows_per_step,
        micro_batch_rows=rows,
        accumulation=rows_per_step // rows,
        steps=math.ceil(order.steps_per_epoch * config["num_epochs"]),
        padding_share=1 - sum(lengths) / sum(first_epoch),
        worst_tokens=max(positions(examples, order, rows, config["num_epochs"], budget)),
    )


def render_pairs(pairs: list[Pair], tokenizer: Any, config: dict) -> list[PairExample]:
    """The pairs as training will see them, by the prompt module: the model's input at inference and no other.

    A rejected answer that the token limit cut off has no end token: the model never made one there, and
    should not learn that ending is wrong.
    """
    examples = []
    for number, pair in enumerate(pairs, 1):
        text = prompt.render_prompt(pair.question, tokenizer, config["system_prompt"])
        chosen, rejected = (prompt.render_completion({"output": answer}, tokenizer) for answer in pair[2:4])
        if CUT_OFF in pair.why:
            rejected = rejected.removesuffix(tokenizer.eos_token)
        ids = [tokenizer(text + completion).input_ids for completion in ("", chosen, rejected)]
        examples.append(PairExample(number, ids[0], *(whole[len(ids[0]) :] for whole in ids[1:])))
    return examples


def positions(
    examples: list[PairExample], order: TrainingOrder, rows: int, epochs: float, budget: int
) -> list[int]:
    """Token positions, padding included, of each part in which micro-batches of `rows` pairs are computed."""
    found = []
    for epoch in range(math.ceil(epochs)):
        for batch in micro_batches(order.rows_of(epoch), rows):
            lengths = [examples[row].tokens for row in batch]
            parts = [lengths[start:end] for start, end in cut_pairs(lengths, budget)]
            found += [2 * len(part) * max(part) for part in parts]
    return found


def cut_pairs(lengths: list[int], budget: int) -> list[tuple[int, int]]:
    """[(start, end)] of consecutive pairs of at most `budget` positions; both answers of a pair go side by
    side, padded to the longer one, whose tokens `lengths` has."""
    return cut_by_tokens([2 * length for length in lengths], budget)


def micro_batches(rows: list[int], size: int) -> list[list[int]]:
    """Consecutive parts of `size`. (A step is a whole number of them.)"""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
