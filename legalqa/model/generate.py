"""Answers of a loaded model: a batch side by side, or one as a stream."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from legalqa.model.settings import Decoding


@dataclass(frozen=True)
class Answer:
    """What the model wrote. What one of a batch took cannot be told: None."""

    text: str
    new_tokens: int  # the end token counts
    cut_off: bool  # the token limit ended it
    stopped: bool = False  # a person ended it
    prompt_tokens: int | None = None
    first_token_sec: float | None = None
    generation_sec: float | None = None


def generation_arguments(decoding: Decoding, tokenizer: Any) -> dict[str, Any]:
    """Arguments of `generate`: greedy at temperature 0, stopping at the end of the turn."""
    arguments = {
        "max_new_tokens": decoding.max_new_tokens,
        "pad_token_id": tokenizer.pad_token_id,
        "use_cache": True,
    }
    if decoding.repetition_penalty != 1.0:
        arguments["repetition_penalty"] = decoding.repetition_penalty
    if decoding.temperature > 0:
        return arguments | {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
    return arguments | {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def generate_batch(
    language_model: Any,
    tokenizer: Any,
    prompts: list[str],
    decoding: Decoding,
    on_step: Callable[[], object] = lambda: None,
) -> list[Answer]:
    """Answers to a batch of rendered prompts, padded on the left; `on_step` is called at each token.

    On a CPU, where a step costs by its rows, the finished ones leave the batch whenever they are half of it.
    (On CUDA a step costs the same, and Unsloth keeps its cache to itself.)
    """
    import torch

    tokenizer.padding_side = "left"
    batch = tokenizer(prompts, return_tensors="pt", padding=True).to(language_model.device)
    ids, mask, cache, width = batch["input_ids"], batch["attention_mask"], None, batch["input_ids"].shape[1]
    ends = torch.tensor(language_model.generation_config.eos_token_id, device=ids.device)
    rows, shrinks = list(range(len(prompts))), ids.device.type == "cpu"
    answers: dict[int, Answer] = {}

    def ended(ids):
        return torch.isin(ids[:, width:], ends).any(dim=1)

    def half_ended(ids, _):
        on_step()
        return torch.full((len(ids),), shrinks and ended(ids).float().mean().item() >= 0.5, device=ids.device)

    while rows:
        left = decoding.max_new_tokens - ids.shape[1] + width
        with torch.inference_mode():
            made = language_model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                return_dict_in_generate=True,
                stopping_criteria=[half_ended],
                **generation_arguments(replace(decoding, max_new_tokens=left), tokenizer),
            )
            ids, cache, going = made.sequences, made.past_key_values, ~ended(made.sequences)
            if ids.shape[1] - width == decoding.max_new_tokens:
                going[:] = False
            for row, row_ids, unfinished in zip(rows, ids[:, width:].tolist(), going.tolist()):
                if not unfinished:
                    answers[row] = finish(row_ids, tokenizer, language_model)
            kept = going.nonzero()[:, 0]
            rows = [rows[i] for i in kept.tolist()]
            if rows:
                cache.batch_select_indices(kept)
                ids = ids[kept]
                mask = torch.nn.functional.pad(mask[kept], (0, ids.shape[1] - mask.shape[1]), value=1)
    return [answers[row] for row in range(len(prompts))]


class AnswerStream:
    """A streamer for the library's `generate`: keeps the ids, hands new pieces of text to `on_text`."""

    def __init__(self, tokenizer: Any, ends: list[int], on_text: Callable[[str], object]):
        self.tokenizer, self.ends, self.on_text = tokenizer, ends, on_text
        self.ids, self.shown, self.prompt_came = [], "", False
        self.started, self.first_token_sec = time.monotonic(), 0.0

    def put(self, ids: Any) -> None:
        if not self.prompt_came:  # the library hands it over first
            self.prompt_came = True
            return
        if not self.ids:
            self.first_token_sec = time.monotonic() - self.started
        self.ids += ids.tolist()
        if self.ids[-1] not in self.ends:
            text = self.tokenizer.decode(self.ids, skip_special_tokens=True).lstrip()
            self.show(
                text.rstrip("\ufffd").rstrip()
            )  # half a letter waits for its other bytes, white space for a word

    def show(self, text: str) -> None:
        if text.startswith(self.shown) and len(text) > len(self.shown):
            self.on_text(text[len(self.shown) :])
            self.shown = text

    def end(self) -> None:
        """Called by the library after the last token; the last piece comes from `finish`."""


def generate_stream(
    language_model: Any,
    tokenizer: Any,
    text: str,
    decoding: Decoding,
    on_text: Callable[[str], object],
    stop: Callable[[], bool] = lambda: False,
) -> Answer:
    """The answer to the prompt `text`, handed to `on_text` piece by piece; the pieces joined are its text.
    `stop` is asked at each token."""
    import torch

    def ask_stop(ids, _):
        return torch.full((len(ids),), stop(), dtype=torch.bool, device=ids.device)

    batch = tokenizer(text, return_tensors="pt").to(language_model.device)
    stream = AnswerStream(tokenizer, language_model.generation_config.eos_token_id, on_text)
    with torch.inference_mode():
        language_model.generate(
            **batch,
            **generation_arguments(decoding, tokenizer),
            stopping_criteria=[ask_stop],
            streamer=stream,
        )
    seconds = time.monotonic() - stream.started
    answer = finish(stream.ids, tokenizer, language_model)
    stream.show(answer.text)
    return replace(
        answer,
        prompt_tokens=batch["input_ids"].shape[1],
        cut_off=answer.cut_off and not stop(),
        stopped=answer.cut_off and stop(),
        first_token_sec=round(stream.first_token_sec, 4),
        generation_sec=round(seconds, 4),
    )


def finish(ids: list[int], tokenizer: Any, language_model: Any) -> Answer:
    """The answer in the generated ids of one row, padding and all."""
    ends = language_model.generation_config.eos_token_id
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    text = tokenizer.decode(ids if stop is None else ids[:stop], skip_special_tokens=True).strip()
    return Answer(text, len(ids) if stop is None else stop + 1, cut_off=stop is None)
