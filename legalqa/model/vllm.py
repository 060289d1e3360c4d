"""Answers by vLLM, where it is installed and a CUDA GPU is there: the same prompts, token by token, many times faster."""

import importlib.util

from legalqa.files import read_json
from legalqa.model.adapter import (
    ADAPTER_FILES,
    check_adapter,
    check_prompt,
    is_adapter,
    read_adapter_settings,
)
from legalqa.model.base import check_model_name, load_tokenizer

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # those vLLM allocates for


def is_available():
    """Whether benchmark.py should use vLLM: the package is installed and torch sees a CUDA device."""
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


def load(name, config):
    """(generate, tokenizer, settings) like model.load_for_inference, but `generate(prompts, decoding)` is vLLM's.

    The 4-bit base is quantized as in training (bitsandbytes); the adapter is applied at run time.
    """
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    base = check_adapter(name) if is_adapter(name) else None
    check_model_name(base or name)
    settings = {"system_prompt": config["system_prompt"]} | (read_adapter_settings(name) if base else {})
    tokenizer = load_tokenizer(name)
    check_prompt(name, tokenizer, settings)
    length = settings.get("max_seq_length", config["max_seq_length"]) + config["max_new_tokens"]
    options = {"quantization": "bitsandbytes"} if settings.get("load_in_4bit", config["load_in_4bit"]) else {}
    adapter = None
    if base:
        rank = read_json(f"{name}/{ADAPTER_FILES[0]}")["r"]
        options |= {
            "enable_lora": True,
            "max_lora_rank": next(allowed for allowed in LORA_RANKS if allowed >= rank),
        }
        adapter = LoRARequest("adapter", 1, str(name))
    engine = LLM(
        model=base or name, tokenizer=str(name), max_model_len=length, seed=config["seed"], **options
    )

    def generate(prompts, decoding, on_step=lambda: None):
        """[(answer, new tokens, cut off)], in the order of `prompts`."""
        sampling = SamplingParams(
            temperature=decoding["temperature"],
            top_p=decoding["top_p"],
            max_tokens=decoding["max_new_tokens"],
            repetition_penalty=decoding["repetition_penalty"],
            stop_token_ids=[tokenizer.eos_token_id],
        )
        inputs = [{"prompt_token_ids": tokenizer(text).input_ids} for text in prompts]
        outputs = [
            result.outputs[0]
            for result in engine.generate(inputs, sampling, lora_request=adapter, use_tqdm=False)
        ]
        return [
            (output.text.strip(), len(output.token_ids), output.finish_reason == "length")
            for output in outputs
        ]

    return generate, tokenizer, settings
