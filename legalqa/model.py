"""The model, by one engine: Unsloth on CUDA, on Apple Silicon and on a plain CPU. Every import of it is inside a function."""
import contextlib
import os
import sys
from pathlib import Path

from legalqa import runlog
from legalqa.cli import UserError

DEMO_MODEL_DIR = "models/demo"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
SETTINGS_FILE = "legalqa.json"


def import_unsloth(model_name):
    """Import Unsloth, which must come before trl, transformers and peft: it patches them as they load.

    No telemetry, and no network for a model that is a folder. What Unsloth prints goes to stderr.
    """
    os.environ.update(UNSLOTH_DISABLE_STATISTICS="1", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1",
                      TOKENIZERS_PARALLELISM="true", TRANSFORMERS_VERBOSITY="error", UNSLOTH_DISABLE_AUTO_UPDATES="1")
    if Path(model_name).is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
    with contextlib.redirect_stdout(sys.stderr):
        try:
            import unsloth
        except ImportError as error:
            raise UserError(f"cannot import unsloth ({error}); install the packages: make setup") from error
    from transformers.utils import logging
    logging.disable_progress_bar()
    return unsloth


def check_model_name(model_name):
    """UserError unless `model_name` is a folder with a model, or a hub id that is cached or reachable. Makes models/demo."""
    if Path(model_name) == Path(DEMO_MODEL_DIR):
        from legalqa.demo_model import ensure_demo_model
        ensure_demo_model(DEMO_MODEL_DIR)
    folder = Path(model_name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no model in this folder (config.json is missing); give a hub id or another folder")
        if not list(folder.glob("*.safetensors")):
            raise UserError(f"{folder}: no *.safetensors in it; other weight formats are not loaded, because they can run code")
        return
    if model_name.count("/") != 1 or model_name.startswith((".", "/", "~")):
        raise UserError(f"model '{model_name}' is neither a folder nor a hub id (owner/name)")
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from httpx import HTTPError
    if isinstance(try_to_load_from_cache(model_name, "config.json"), str):
        return
    try:
        HfApi().model_info(model_name, timeout=10)
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise UserError(f"model '{model_name}' is neither a folder nor reachable on the hub ({reason}); "
                        "without a hub use --profile demo or a local folder") from error


def load_tokenizer(model_name):
    """The tokenizer of a base model or an adapter folder, ready for prompts. Never runs code of the folder."""
    from transformers import AutoTokenizer
    from legalqa.prompt import prepare_tokenizer
    return prepare_tokenizer(AutoTokenizer.from_pretrained(model_name, trust_remote_code=False))


def load_base(config):
    """(model, tokenizer) of `config["model_name"]` in 4 bits or 16, by Unsloth."""
    unsloth = import_unsloth(config["model_name"])
    with contextlib.redirect_stdout(sys.stderr):
        model, _ = unsloth.FastLanguageModel.from_pretrained(
            config["model_name"], max_seq_length=config["max_seq_length"], load_in_4bit=config["load_in_4bit"],
            dtype=None, trust_remote_code=False, use_safetensors=True,
            use_gradient_checkpointing="unsloth" if config["gradient_checkpointing"] else False)
    tokenizer = load_tokenizer(config["model_name"])
    # The tokenizer's EOS is the end of a turn; generation stops there, at the model's own EOS as well.
    own = model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [own] if own is not None else []
    model.generation_config.eos_token_id = sorted({tokenizer.eos_token_id, *own})
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def add_lora(model, config):
    """The reference run's adapter: LoRA on all attention and MLP projections, no bias."""
    import unsloth
    with contextlib.redirect_stdout(sys.stderr):
        return unsloth.FastLanguageModel.get_peft_model(
            model, r=config["lora_r"], lora_alpha=config["lora_alpha"], lora_dropout=config["lora_dropout"],
            target_modules=config["target_modules"], bias="none", random_state=config["seed"],
            use_gradient_checkpointing="unsloth" if config["gradient_checkpointing"] else False)


def count_parameters(model_config, lora_r, target_modules):
    """(trainable, total) parameters of base plus LoRA, counted on the meta device: no weights, no quantization.

    `total` counts logical parameters, as the reference run does: a 4-bit tensor packs two weights a byte. An adapted layer of
    shape (out, in) adds r * (in + out) trainable parameters (Hu et al., arXiv 2106.09685).
    """
    import torch
    from transformers import AutoModelForCausalLM
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(model_config)
    trainable = sum(lora_r * (module.in_features + module.out_features) for name, module in base.named_modules()
                    if name.rsplit(".", 1)[-1] in target_modules and hasattr(module, "in_features"))
    return trainable, sum(parameter.numel() for parameter in base.parameters()) + trainable


def device_facts():
    """{"type", "name", "memory_bytes"} of what computes."""
    import psutil
    import torch
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return {"type": "cuda", "name": properties.name, "memory_bytes": properties.total_memory}
    kind = "mps" if torch.backends.mps.is_available() else "cpu"
    return {"type": kind, "name": cpu_name(), "memory_bytes": psutil.virtual_memory().total}


def cpu_name():
    import platform
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] \
        if cpuinfo.is_file() else []
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def peak_memory_bytes():
    """Peak resident memory of this process, bytes."""
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def read_adapter_settings(folder):
    """The legalqa.json of an adapter folder, or an empty dict for an adapter made elsewhere."""
    path = Path(folder) / SETTINGS_FILE
    return runlog.read_json(path) if path.is_file() else {}
