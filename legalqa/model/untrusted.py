"""Model and adapter folders from strangers, checked before a weight is loaded.

Transformers and PEFT run no code of a folder here (`trust_remote_code=False`, jinja's sandbox for templates).
These checks add what they leave open: adapter settings that import modules or unpickle files, sizes that
would fill the memory, paths.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from legalqa.errors import UserError, first_line
from legalqa.files import read_json
from legalqa.model.device import is_out_of_memory

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# The largest that config.json may claim; Qwen3-235B: 94 layers, hidden size 4,096, vocabulary 151,936.
SIZE_LIMITS = {
    "vocab_size": 2**21,
    "hidden_size": 2**15,
    "intermediate_size": 2**17,
    "num_hidden_layers": 512,
    "num_attention_heads": 512,
    "num_key_value_heads": 512,
    "head_dim": 1024,
    "max_position_embeddings": 2**24,
}
# A plain LoRA is these; any other that is not off is refused: some import modules, or unpickle caches.
LORA_SETTINGS = {
    "r": lambda value: type(value) is int and 1 <= value <= 1024,
    "lora_alpha": lambda value: type(value) in (int, float) and 0 < value < 1e6,
    "target_modules": lambda value: (
        isinstance(value, list)
        and value
        and all(isinstance(name, str) and re.fullmatch(r"[\w.]+", name) for name in value)
    ),
    "use_rslora": lambda value: isinstance(value, bool),
}
WITHOUT_EFFECT = {
    "base_model_name_or_path",
    "task_type",
    "peft_version",
    "auto_mapping",
    "inference_mode",
    "lora_dropout",
    "revision",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
}
PLAIN_VALUES = {"peft_type": "LORA", "bias": "none", "init_lora_weights": True}

GPU_WORDS = re.compile(r"cuda|triton|compiler|cublas|gcc", re.IGNORECASE)


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn whatever a library raises over a damaged or hostile file into one line.

    The except is broad on purpose: tokenizers raises bare Exception, and what transformers raises depends on
    which of a hundred fields is wrong. Running out of memory is no fault of the file and passes through.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{what} cannot be loaded: {type(error).__name__}: {first_line(error)}; {advice(error)}"
        ) from error


def advice(error: Exception) -> str:
    """What to do: the installation, the disk or the GPU's software may be at fault; else it is the file."""
    if isinstance(error, ImportError):
        return "a package is missing or does not fit: install the pinned ones (make setup)"
    if isinstance(error, OSError) and error.errno:
        return "mend that and start again"
    if isinstance(error, (RuntimeError, SubprocessError)) and GPU_WORDS.search(str(error)):
        return "that is the GPU's software, not the file: see README, GPUs"
    return "is it damaged, or not of this kind? get it again"


def tensor_headers(path: Path) -> dict[str, tuple[str, list[int]]]:
    """{tensor name: (type as "BF16", shape)} of a safetensors file, from its header alone; UserError when it
    is cut or something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({first_line(error)}); get it again"
        ) from error


def check_model_folder(folder: str | Path) -> None:
    """UserError unless the folder holds a model whose weights are safetensors and whose claimed sizes these
    weights can fill."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no model in this folder (config.json is missing); give a hub id or another folder"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UserError(
            f"{folder}: no *.safetensors in it; other weight formats are not loaded, because they can "
            "run code"
        )
    settings = read_json(folder / "config.json")
    settings = settings["text_config"] if isinstance(settings.get("text_config"), dict) else settings
    for key, limit in SIZE_LIMITS.items():
        value = settings.get(key)
        if value is not None and not (type(value) is int and 1 <= value <= limit):
            raise UserError(
                f"{folder}/config.json: {key} is {str(value)[:40]}, not from 1 to {limit:,}; the file is "
                "damaged or hostile"
            )
    for path in weights:
        tensor_headers(path)
    least, held = least_parameters(settings), sum(path.stat().st_size for path in weights)
    if least > 4 * held:  # 4-bit weights pack two into a byte
        raise UserError(
            f"{folder}: config.json claims {least:,} parameters or more, the weights are {held:,} bytes; "
            "they do not belong together"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = read_json(index).get("weight_map")
        if not isinstance(files, dict) or not {str(name) for name in files.values()} <= {
            path.name for path in weights
        }:
            raise UserError(f"{index}: names files that are not in the folder; get the model again")


def least_parameters(settings: Mapping[str, Any]) -> int:
    """A lower bound of the parameters of a dense decoder: embeddings and one MLP matrix a layer."""
    hidden = settings.get("hidden_size") or 0
    return hidden * (
        (settings.get("vocab_size") or 0)
        + (settings.get("num_hidden_layers") or 0) * (settings.get("intermediate_size") or 0)
    )


def lora_settings(folder: str | Path) -> tuple[str, dict[str, Any]]:
    """(base model's name, {"r", "lora_alpha", "target_modules", "use_rslora"}) of an adapter folder, if it is
    a plain LoRA whose weights are a whole safetensors file of that rank; else a UserError."""
    folder = Path(folder)
    where = folder / ADAPTER_CONFIG
    settings = {"use_rslora": False, **read_json(where)}
    base = settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base or "\0" in base:
        raise UserError(f"{where}: no base_model_name_or_path; which model is it an adapter of?")
    if ".." in Path(base).parts:
        raise UserError(
            f"{where}: the base model's path climbs out of its folder: {base!r}; write the full path "
            "there if "
            "you trust it"
        )
    for key, is_valid in LORA_SETTINGS.items():
        if not is_valid(settings.get(key)):
            raise UserError(
                f"{where}: {key} is {str(settings.get(key))[:60]}; the file is damaged or hostile"
            )
    odd = [
        key
        for key, value in settings.items()
        if key not in LORA_SETTINGS
        and key not in WITHOUT_EFFECT
        and value not in (None, False, {}, [])
        and value != PLAIN_VALUES.get(key)
    ]
    if odd or settings.get("peft_type") != "LORA":
        raise UserError(
            f"{where}: not a plain LoRA ({', '.join(odd) or 'peft_type'}); only what train_8b.py makes is "
            "loaded"
        )
    for name, (_, shape) in tensor_headers(folder / ADAPTER_WEIGHTS).items():
        rank_axis = 0 if name.endswith(".lora_A.weight") else 1 if name.endswith(".lora_B.weight") else None
        if rank_axis is None or len(shape) != 2 or shape[rank_axis] != settings["r"]:
            raise UserError(
                f"{folder / ADAPTER_WEIGHTS}: {name} of shape {shape} is no LoRA weight of rank "
                f"{settings['r']}"
            )
    return base, {key: settings[key] for key in LORA_SETTINGS}


def check_fit(language_model: Any, folder: str | Path) -> None:
    """UserError when a weight of the adapter has no layer of its size in the base model."""
    layers = {name: layer for name, layer in language_model.named_modules() if hasattr(layer, "in_features")}
    for weight, (_, shape) in tensor_headers(Path(folder) / ADAPTER_WEIGHTS).items():
        name, matrix = weight.removeprefix("base_model.model.").rsplit(".lora_", 1)
        axis, size = (1, "in_features") if matrix == "A.weight" else (0, "out_features")  # B: out x rank
        if name in layers and shape[axis] == getattr(layers[name], size):
            continue
        reason = "another size" if name in layers else "no such layer"
        raise UserError(
            f"{folder}: {name} does not fit the base model ({reason}); it is an adapter of another model"
        )
