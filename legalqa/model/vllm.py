"""Answers by vLLM on a CUDA GPU, where it is installed: the same prompts, many times faster."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from legalqa.errors import UserError, first_line
from legalqa.files import read_json
from legalqa.model.adapter import ADAPTER_FILES, check_adapter, check_prompt, is_adapter, tokenizer_folder
from legalqa.model.answers import Generate
from legalqa.model.base import check_model_name, load_tokenizer
from legalqa.model.generate import Answer
from legalqa.model.settings import AnswerSettings, Decoding

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # those vLLM allocates for


def is_installed() -> bool:
    return importlib.util.find_spec("vllm") is not None


def why_not(name: str) -> str | None:
    """Why vLLM cannot answer for this model or adapter; None where it can."""
    if not is_installed():
        return "the package vllm is not installed (pip install vllm, in an environment of its own)"
    import torch

    if not torch.cuda.is_available():
        return "vLLM needs a CUDA GPU, and torch finds none"
    if is_adapter(name) and adapter_rank(name) > LORA_RANKS[-1]:
        return f"{name} has rank {adapter_rank(name)}, vLLM takes adapters up to rank {LORA_RANKS[-1]}"
    return None


def adapter_rank(folder: str) -> int:
    check_adapter(folder)
    return read_json(f"{folder}/{ADAPTER_FILES[0]}")["r"]


def load(name: str, settings: AnswerSettings, config: Mapping[str, Any]) -> tuple[Generate, Any]:
    """(generate, tokenizer) of an adapter folder, a merged folder or a hub id.

    The 4-bit base is quantized as in training (bitsandbytes); the adapter is applied at run time.
    """
    from vllm import LLM, SamplingParams  # type: ignore  # no requirement of this project
    from vllm.lora.request import LoRARequest  # type: ignore

    base = check_adapter(name) if is_adapter(name) else None
    check_model_name(base or name)
    source = tokenizer_folder(name, base) if base else name
    tokenizer = load_tokenizer(source)
    check_prompt(name, tokenizer)
    options, adapter = {"quantization": "bitsandbytes"} if settings.load_in_4bit else {}, None
    if base:
        rank = next(allowed for allowed in LORA_RANKS if allowed >= adapter_rank(name))
        options |= {"enable_lora": True, "max_lora_rank": rank}
        adapter = LoRARequest("adapter", 1, str(name))
    context = settings.max_seq_length + settings.decoding.max_new_tokens
    engine = LLM(
        model=base or name,
        tokenizer=str(source),
        max_model_len=context,
        gpu_memory_utilization=config["vllm_memory_share"],
        seed=config["seed"],
        **options,
    )

    def generate(prompts: list[str], decoding: Decoding, on_step: Callable[[], object]) -> list[Answer]:
        sampling = SamplingParams(
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=decoding.max_new_tokens,
            repetition_penalty=decoding.repetition_penalty,
            stop_token_ids=[tokenizer.eos_token_id],
        )
        inputs = [{"prompt_token_ids": tokenizer(text).input_ids} for text in prompts]
        check_lengths(inputs, context - decoding.max_new_tokens)
        try:
            results = engine.generate(inputs, sampling, lora_request=adapter, use_tqdm=False)
        except Exception as error:
            raise UserError(
                f"vLLM failed: {type(error).__name__}: {first_line(error)}; the answers made are kept: the "
                "same command goes on; or --engine unsloth"
            ) from error
        outputs = [result.outputs[0] for result in results]
        return [
            Answer(output.text.strip(), len(output.token_ids), output.finish_reason == "length")
            for output in outputs
        ]

    return generate, tokenizer


def check_lengths(inputs: list[dict[str, list[int]]], limit: int) -> None:
    """UserError when a prompt is longer than the context that vLLM was started with has room for."""
    longest = max(len(entry["prompt_token_ids"]) for entry in inputs)
    if longest > limit:
        raise UserError(
            f"a prompt has {longest} tokens, vLLM was started for {limit}; give --max-seq-length {longest}"
        )
