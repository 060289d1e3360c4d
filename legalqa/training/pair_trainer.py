"""TRL's DPO trainer with the survival of our own, and as reference the adapter as it was before step 1.

To be imported after Unsloth, which patches TRL's classes as they load.
"""

import unsloth  # noqa: F401, I001
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm
from trl import DPOConfig, DPOTrainer

from legalqa.errors import UserError
from legalqa.training.pair_plan import PairExample, cut_pairs, micro_batches
from legalqa.training.plan import Plan
from legalqa.training.trainer import Resumable, trainer_arguments

TRL_REFERENCE = "ref"  # TRL's name of the copy that it makes of a trained adapter


class PairTrainer(Resumable, DPOTrainer):
    """TRL's trainer of pairs of answers.

    The log-probabilities of the reference are computed once, with the adapter that training goes on from, and
    kept as numbers: no second model or adapter in memory. They are made in the parts of the first epoch, so
    that there, in bfloat16 too, the policy of step 1 gives the very same numbers.
    """

    rate_flag = "--dpo-learning-rate"
    sequences_an_example = 2

    def __init__(
        self, language_model, tokenizer, config: dict, plan: Plan, run_id: str, binding: dict, saved
    ):
        weights = [w.data.float() for w in language_model.parameters() if w.requires_grad]
        sft_weight = config["dpo_sft_weight"]
        super().__init__(
            config,
            plan,
            run_id,
            binding,
            saved,
            model=language_model,
            processing_class=tokenizer,
            args=DPOConfig(
                **trainer_arguments(config, plan, run_id),
                beta=config["dpo_beta"],
                loss_type=["sigmoid", "sft"] if sft_weight else ["sigmoid"],
                loss_weights=[1.0, sft_weight] if sft_weight else [1.0],
            ),
            train_dataset=as_dataset(plan.examples),
            eval_dataset=as_dataset(plan.eval_examples) if plan.eval_examples else None,
        )
        language_model.delete_adapter(TRL_REFERENCE)
        for weight, value in zip(self.trained_weights(), weights, strict=True):
            # TRL has rounded a 4-bit model's adapter to bfloat16: the policy would not be the adapter.
            weight.data = value

    def _prepare_dataset(self, dataset, *_):
        """Nothing: the pairs are token ids already, by the prompt module."""
        return dataset

    def add_reference(self):
        """To be called before training, and before a checkpoint is loaded."""
        plan = self.plan
        batches = micro_batches(plan.order.rows_of(0), plan.micro_batch_rows)
        self.train_dataset = self.with_reference(self.train_dataset, batches, self.split)
        if self.eval_dataset is not None:
            rows = list(range(len(plan.eval_examples)))
            batches = micro_batches(rows, self.args.per_device_eval_batch_size)
            self.eval_dataset = self.with_reference(self.eval_dataset, batches, lambda inputs: [inputs])
        self.precompute_ref_logps = True  # TRL reads the columns from here on

    def with_reference(self, dataset: Any, batches: list[list[int]], split: Callable) -> Any:
        """`dataset` with the log-probabilities of its answers by the model as it is now."""
        chosen, rejected = [0.0] * len(dataset), [0.0] * len(dataset)
        for rows in tqdm(batches, "reference", unit="batch", dynamic_ncols=True, mininterval=5):
            inputs = self._prepare_inputs(self.data_collator([dataset[row] for row in rows]))
            sums = [self.log_probabilities(part) for part in split(inputs)]
            of_chosen, of_rejected = (torch.cat(halves).tolist() for halves in zip(*sums))
            for row, *both in zip(rows, of_chosen, of_rejected):
                chosen[row], rejected[row] = both
        return dataset.add_column("ref_chosen_logps", chosen).add_column("ref_rejected_logps", rejected)

    @torch.no_grad()
    def log_probabilities(self, inputs: dict) -> tuple[torch.Tensor, ...]:
        """(of the chosen answers, of the rejected ones): sums over an answer's tokens."""
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        assert self.model is not None
        with self.accelerator.autocast():  # as a training step has it
            outputs = self.model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
                labels=labels,
                fused_lm_head=True,
            )
        return outputs.log_probs.sum(dim=1).chunk(2)

    def split(self, inputs: dict) -> list[dict]:
        """A micro-batch in parts of `micro_batch_tokens` positions, each cut to its own longest answer."""
        self.num_pairs = num_pairs(inputs)
        lengths = inputs["attention_mask"].sum(dim=1).view(2, self.num_pairs).amax(dim=0).tolist()
        parts = []
        for start, end in cut_pairs(lengths, self.config["micro_batch_tokens"]):
            rows = [*range(start, end), *range(self.num_pairs + start, self.num_pairs + end)]
            longest = max(lengths[start:end])
            parts.append(
                {
                    key: value[rows, :longest] if value.dim() == 2 else value[start:end]
                    for key, value in inputs.items()
                }
            )
        return parts

    def compute_loss(self, model, inputs, *args, **kwargs):
        """TRL's mean over the pairs; of a part its share in the mean over the whole micro-batch."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        return loss * num_pairs(inputs) / self.num_pairs if model.training else loss

    def _compute_loss(self, model, inputs, return_outputs):
        loss = super()._compute_loss(model, inputs, return_outputs)
        logged = self._metrics["train" if model.training else "eval"]
        if logged["rewards/margins"][-1] == 0:
            # Policy and reference are the same, as before step 1: TRL counts a tie as wrong.
            logged["rewards/accuracies"][-1] = 0.5
        for values in logged.values():  # TRL averages over parts: each counts once a pair
            values += values[-1:] * (num_pairs(inputs) - 1)
        return loss

    def restore_progress(self):
        super().restore_progress()
        self._metrics["train"] = defaultdict(list, self.progress.get("metrics_since_log", {}))

    def current_progress(self) -> dict:
        return {**super().current_progress(), "metrics_since_log": dict(self._metrics["train"])}


def num_pairs(inputs: dict) -> int:
    """In TRL's batches the chosen answers come first, the rejected ones after them."""
    return len(inputs["input_ids"]) // 2


def check_first_pair(trainer: PairTrainer, tokenizer: Any) -> None:
    """Show what the first batch trains on, and refuse to start if it is not what the prompt module says: on
    CUDA Unsloth puts code of its own in place of TRL's."""
    batch = next(iter(trainer.get_train_dataloader()))
    pair = trainer.plan.examples[trainer.plan.order.rows_of(0)[0]]
    for row, answer in ((0, pair.chosen_ids), (trainer.plan.micro_batch_rows, pair.rejected_ids)):
        length = len(pair.prompt_ids) + len(answer)
        ids, mask = batch["input_ids"][row].tolist(), batch["completion_mask"][row].tolist()
        expected = [0] * len(pair.prompt_ids) + [1] * len(answer)
        if ids[:length] != pair.prompt_ids + answer or mask != expected + [0] * (len(ids) - length):
            raise UserError(
                "the first batch is not the pair that is its first; this is a version clash of trl and "
                "unsloth: install the pinned requirements"
            )
    prompt, chosen, rejected = map(tokenizer.decode, pair[1:4])
    print("the first pair, chosen in >>> <<<, rejected in ### ###:")
    print("  " + f"{prompt}>>>{chosen}<<<\n###{rejected}###".replace("\n", "\n  "))


def as_dataset(examples: list[PairExample]) -> Dataset:
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    return Dataset.from_list([{name: getattr(example, name) for name in columns} for example in examples])


def pair_metrics(history: list[dict]) -> dict[str, float | None]:
    """What the metrics of a DPO run say beside those of any training: of the held pairs the last evaluation,
    of those trained on the mean over the last quarter of the steps."""
    names = ("chosen_reward", "rejected_reward", "margin", "accuracy")
    held = [entry for entry in history if "eval_accuracy" in entry]
    logged = [entry for entry in history if "accuracy" in entry]
    steps = [entry["step"] - before for entry, before in zip(logged, [0, *(e["step"] for e in logged)])]
    last = [(e, n) for e, n in zip(logged, steps) if e["step"] > 0.75 * logged[-1]["step"]]
    trained = {name: sum(e[name] * n for e, n in last) / sum(n for _, n in last) for name in names}
    return trained | {f"eval_{name}": held[-1][f"eval_{name}"] if held else None for name in names}
