"""TRL's DPO trainer with the survival of our own, and as reference the adapter as it was before step 1.

To be imported after Unsloth, which patches TRL's classes as they load.
"""

import unsloth  # noqa: F401, I001
from collections import defaultdict
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm
from trl import DPOConfig, DPOTrainer

from legalqa.training.pair_plan import PairExample, micro_batches
from legalqa.training.plan import Plan
from legalqa.training.trainer import Resumable, trainer_arguments

TRL_REFERENCE = "ref"  # TRL's name of the copy that it makes of a trained adapter


class PairTrainer(Resumable, DPOTrainer):
    """TRL's trainer of pairs of answers.

    The log-probabilities of the reference are computed once, with the adapter that training goes on from, and
    kept as numbers: no second model or adapter in memory. They are made in the batches of the first epoch, so
    that there, in bfloat16 too, the policy of step 1 gives the very same numbers.
    """

    rate_flag = "--dpo-learning-rate"

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
        self.train_dataset = self.with_reference(self.train_dataset, batches, "training pairs")
        if self.eval_dataset is not None:
            batches = micro_batches(
                list(range(len(plan.eval_examples))), self.args.per_device_eval_batch_size
            )
            self.eval_dataset = self.with_reference(self.eval_dataset, batches, "held pairs")
        self.precompute_ref_logps = True  # TRL reads the columns from here on

    def with_reference(self, dataset: Any, batches: list[list[int]], what: str) -> Any:
        """`dataset` with the log-probabilities of its answers by the model as it is now."""
        chosen, rejected = [0.0] * len(dataset), [0.0] * len(dataset)
        for rows in tqdm(
            batches, f"reference of the {what}", unit="batch", dynamic_ncols=True, mininterval=5
        ):
            inputs = self._prepare_inputs(self.data_collator([dataset[row] for row in rows]))
            sums = self.log_probabilities(inputs)
            for row, of_chosen, of_rejected in zip(rows, *(half.tolist() for half in sums)):
                chosen[row], rejected[row] = of_chosen, of_rejected
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

    def _compute_loss(self, *args, **kwargs):
        loss = super()._compute_loss(*args, **kwargs)
        assert self.model is not None
        logged = self._metrics["train" if self.model.training else "eval"]
        if logged["rewards/margins"][-1] == 0:
            # Policy and reference are the same, as before step 1: TRL counts a tie as wrong.
            logged["rewards/accuracies"][-1] = 0.5
        return loss

    def restore_progress(self):
        super().restore_progress()
        self._metrics["train"] = defaultdict(list, self.progress.get("metrics_since_log", {}))

    def current_progress(self) -> dict:
        return {**super().current_progress(), "metrics_since_log": dict(self._metrics["train"])}


def as_dataset(examples: list[PairExample]) -> Dataset:
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    return Dataset.from_list([{name: getattr(example, name) for name in columns} for example in examples])


def pair_metrics(history: list[dict]) -> dict[str, float | None]:
    """What the metrics of a DPO run say beside those of any training: by the last entries of its history."""
    names = ("chosen_reward", "rejected_reward", "margin", "accuracy")
    keys = (*names, *(f"eval_{name}" for name in names))
    return {key: next((entry[key] for entry in reversed(history) if key in entry), None) for key in keys}
