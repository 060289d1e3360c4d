"""Which engine answers many prompts: vLLM where it is installed and can, else Unsloth."""

import functools
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from legalqa.errors import UserError, first_line
from legalqa.model import vllm
from legalqa.model.answers import Generate
from legalqa.model.base import load_for_inference
from legalqa.model.generate import generate_batch
from legalqa.model.settings import AnswerSettings


class Engine(NamedTuple):
    """A loaded model, ready to answer."""

    name: str  # "unsloth" or "vllm"
    generate: Generate
    tokenizer: Any


def load_engine(name: str, settings: AnswerSettings, config: Mapping[str, Any]) -> Engine:
    """The engine that `config["engine"]` names, with the model or adapter `name`."""
    if config["engine"] != "unsloth":
        reason = vllm.why_not(name)
        if reason is None:
            return load_vllm(name, settings, config)
        if config["engine"] == "vllm":
            raise UserError(f"--engine vllm: {reason}; without it: --engine unsloth")
        if vllm.is_installed():
            print(f"Unsloth answers, not vLLM: {reason}", file=sys.stderr)
    language_model, tokenizer = load_for_inference(name, settings)
    return Engine("unsloth", functools.partial(generate_batch, language_model, tokenizer), tokenizer)


def load_vllm(name: str, settings: AnswerSettings, config: Mapping[str, Any]) -> Engine:
    try:
        return Engine("vllm", *vllm.load(name, settings, config))
    except UserError:
        raise
    except Exception as error:  # whatever it is: another engine is there
        reason = f"vLLM cannot load {name}: {type(error).__name__}: {first_line(error)}"
    if config["engine"] == "vllm":
        raise UserError(f"{reason}; lower --vllm-memory-share or --max-seq-length, or --engine unsloth")
    print(f"{reason}; starting again with --engine unsloth", file=sys.stderr, flush=True)
    # A new process: Unsloth comes before transformers, which vLLM has imported, and the GPU is free.
    os.execv(sys.executable, [*sys.orig_argv, "--engine", "unsloth"])
