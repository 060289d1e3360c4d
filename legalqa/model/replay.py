"""An export answers the same questions as the adapter did, and the answers are compared token by token.

Both sides run as anyone else would run them: plain transformers and PEFT, the folder's own chat template,
tokenizer and end tokens. Nothing of Unsloth, nothing of this repository's loading.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from legalqa.libraries import quiet
from legalqa.model import untrusted
from legalqa.model.device import usable_memory_bytes
from legalqa.model.export import adapter_tokenizer, end_ids
from legalqa.model.generate import generation_arguments
from legalqa.model.merge import Merge
from legalqa.model.prompt import prompt_messages, render_prompt
from legalqa.model.settings import Decoding
from legalqa.scoring.metrics import word_f1

FIRST_TOKENS = 20
# The least share of next tokens that are the adapter's, by the rounding of the weights. Seen with the demo:
# 99 % in 16 bits, 95 % in 8, of its base alone 48 %; in 4 bits 54 %, which is no longer the tuned model.
LEAST_AGREEMENT = {"float32": 1.0, "16-bit": 0.9, "f16": 0.9, "q8_0": 0.85, "q4_k_m": 0.75}


@dataclass(frozen=True)
class Question:
    """A validation question, as chat turns (the system turn is the template's), as text and as token ids."""

    messages: list[dict[str, str]]
    text: str
    ids: list[int]


class Reply(NamedTuple):
    """What a model made of a question."""

    prompt_ids: list[int]  # as it read the question
    ids: list[int]  # its greedy answer; the end token may be last
    text: str
    # What it would write at each of the adapter's first tokens, having read the adapter's answer up to there.
    # In an answer of its own one flipped token spoils all that follow, here only itself.
    next_ids: list[int]


class Replayed(NamedTuple):
    """The replies of one side to all questions, and the tokens at which it stops."""

    replies: list[Reply]
    end_ids: list[int]


class Agreement(NamedTuple):
    """How one reply compares with the adapter's."""

    same_prompt: bool
    identical: bool  # every token, the end too
    next_tokens: float  # the share of next_ids that are the adapter's
    word_f1: float


def make_questions(records: Sequence[dict], tokenizer: Any, system_prompt: str) -> list[Question]:
    texts = [render_prompt(record, tokenizer, system_prompt) for record in records]
    return [
        Question(prompt_messages(record, tokenizer), text, tokenizer(text).input_ids)
        for record, text in zip(records, texts)
    ]


def compare(expected: Reply, made: Reply) -> Agreement:
    same_text = 1.0 if expected.text == made.text else word_f1(made.text, expected.text)
    share = shared(expected.next_ids, made.next_ids)
    return Agreement(expected.prompt_ids == made.prompt_ids, expected.ids == made.ids, share, same_text)


def shared(ids: list[int], others: list[int]) -> float:
    """The share of positions with the same token."""
    return sum(a == b for a, b in zip(ids, others)) / max(1, len(ids))


def mean_agreement(expected: Replayed, next_ids: list[list[int]]) -> float:
    shares = [shared(reply.next_ids, ids) for reply, ids in zip(expected.replies, next_ids)]
    return sum(shares) / len(shares)


def find_problem(kind: str, expected: Replayed, made: Replayed, base: list[list[int]]) -> str | None:
    """Why the export does not answer as the adapter did, or None. `base`: next_ids of the base alone."""
    agreements = [compare(*pair) for pair in zip(expected.replies, made.replies)]
    wrong = [number for number, agreement in enumerate(agreements, 1) if not agreement.same_prompt]
    if wrong:
        return (
            f"question {wrong[0]} becomes other tokens than in training ({len(wrong)} of {len(agreements)} "
            "do): the chat template or the tokenizer is another one"
        )
    if not set(expected.end_ids) <= set(made.end_ids):
        return (
            f"it stops at the tokens {made.end_ids}, the adapter at {expected.end_ids}: answers would not end"
        )
    differing = sum(not agreement.identical for agreement in agreements)
    if kind == "float32" and differing:
        return f"{differing} of {len(agreements)} answers differ from the adapter's"
    share, least = mean_agreement(expected, [reply.next_ids for reply in made.replies]), LEAST_AGREEMENT[kind]
    without = mean_agreement(expected, base)
    if share < least or share <= without < 1:
        advice = "; --quant q8_0 keeps more of the tuning" if kind == "q4_k_m" else ""
        return (
            f"{100 * share:.0f} % of its next tokens are the adapter's, {100 * least:.0f} % should be with "
            f"{kind} weights, and the base without the adapter has {100 * without:.0f} %{advice}"
        )
    return None


def replay_adapter(
    merge: Merge, questions: list[Question], decoding: Decoding, report: Callable[[str], None]
) -> tuple[Replayed, list[list[int]]]:
    """(the adapter's replies, next_ids of its base alone), on the base that the export was made of."""
    with quiet():
        from peft import LoraConfig, PeftModel
        from transformers import GenerationConfig

    tokenizer = adapter_tokenizer(merge)
    ends = end_ids(merge.base, tokenizer)
    language_model = load_model(merge.base, merge)
    language_model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    lora = LoraConfig(**untrusted.lora_settings(merge.adapter)[1], task_type="CAUSAL_LM", inference_mode=True)
    with untrusted.loading(f"the adapter {merge.adapter}"):
        language_model = PeftModel.from_pretrained(
            language_model, str(merge.adapter), config=lora, use_safetensors=True
        ).eval()
    report("replay     the adapter")
    replies = [reply(language_model, tokenizer, question.ids, decoding) for question in questions]
    with language_model.disable_adapter():
        base = [choose_next(language_model, answer.prompt_ids, answer.ids) for answer in replies]
    del language_model
    gc.collect()
    return Replayed(replies, ends), base


def replay_merged(
    folder: Path, merge: Merge, questions: list[Question], decoding: Decoding, expected: Replayed
) -> Replayed:
    """The replies of a merged folder, by what is in it alone."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    language_model = load_model(folder, merge)
    ends = language_model.generation_config.eos_token_id
    replies = []
    for question, answer in zip(questions, expected.replies):
        prompt = tokenizer.apply_chat_template(
            question.messages, add_generation_prompt=True, return_dict=True
        )
        replies.append(reply(language_model, tokenizer, prompt["input_ids"], decoding, answer.ids))
    del language_model
    gc.collect()
    return Replayed(replies, ends if isinstance(ends, list) else [] if ends is None else [ends])


def load_model(folder: Path, merge: Merge) -> Any:
    """In float32 where that fits in memory: then only the rounding of the stored weights can differ."""
    import psutil
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # a temperature of 0 in generation_config.json is for vLLM
    on_gpu = torch.cuda.is_available()
    free = min(psutil.virtual_memory().available, usable_memory_bytes())
    memory = torch.cuda.mem_get_info()[0] if on_gpu else free
    dtype = torch.float32 if merge.in_float32 or merge.parameters * 4 < 0.8 * memory else "auto"
    with untrusted.loading(f"the model {folder}"):
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map="auto" if on_gpu else "cpu", use_safetensors=True
        ).eval()


def reply(
    language_model: Any,
    tokenizer: Any,
    prompt_ids: list[int],
    decoding: Decoding,
    adapter_ids: list[int] | None = None,
) -> Reply:
    """One question at a time: in a batch padding changes the last bits. `adapter_ids`: its own by default."""
    import torch

    ids = torch.tensor([prompt_ids], device=language_model.device)
    arguments = generation_arguments(replace(decoding, temperature=0.0), tokenizer)
    with torch.inference_mode():
        made = language_model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **arguments)
    new = made[0, len(prompt_ids) :].tolist()
    text = tokenizer.decode(new, skip_special_tokens=True).strip()
    return Reply(prompt_ids, new, text, choose_next(language_model, prompt_ids, adapter_ids or new))


def choose_next(language_model: Any, prompt_ids: list[int], answer_ids: list[int]) -> list[int]:
    """The likeliest token at each of the first positions of an answer, given what stands before it."""
    import torch

    first = answer_ids[:FIRST_TOKENS]
    ids = torch.tensor([prompt_ids + first[:-1]], device=language_model.device)
    with torch.inference_mode():
        logits = language_model(input_ids=ids, logits_to_keep=len(first)).logits
    return logits[0].argmax(dim=-1).tolist()
