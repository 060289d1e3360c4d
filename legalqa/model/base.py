"""The model, by one engine: Unsloth on CUDA and on a plain CPU. Every import of it is inside a function."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from legalqa import cli
from legalqa.errors import UserError, first_line
from legalqa.files import user_folder
from legalqa.libraries import quiet
from legalqa.model import prompt, untrusted
from legalqa.model.adapter import (
    ADAPTER_FILES,
    check_adapter,
    check_adapter_applies,
    check_prompt,
    is_adapter,
    tokenizer_folder,
)
from legalqa.model.device import tune_cpu_process, why_no_cuda
from legalqa.model.settings import AnswerSettings

DEMO_MODEL_DIR = "models/demo"
PACKED = ("U8", "I8")  # two 4-bit weights a byte, or a scale
NF4_BYTES = (
    0.516  # a weight with its share of the scales, doubly quantized (Dettmers et al., arXiv 2305.14314)
)


def import_unsloth(model_name: str) -> Any:
    """Import Unsloth, which must come before trl, transformers and peft: it patches them as they load.

    No telemetry, and no network for a model that is a folder.
    """
    os.environ.update(
        UNSLOTH_DISABLE_STATISTICS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        DO_NOT_TRACK="1",
        TOKENIZERS_PARALLELISM="true",
        TRANSFORMERS_VERBOSITY="error",
        UNSLOTH_DISABLE_AUTO_UPDATES="1",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    )
    if not cli.has_accelerator():
        tune_cpu_process()
    # On CUDA Unsloth writes patched classes to this folder and imports them from there; by default it is the
    # current folder's.
    cache = user_folder("XDG_CACHE_HOME", ".cache") / "legalqa" / "unsloth_compiled_cache"
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache))
    if Path(model_name).is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
    with quiet():
        try:
            import unsloth
        except (ImportError, RuntimeError) as error:
            if isinstance(error, NotImplementedError) or "accelerator" in str(error):
                raise UserError(f"{why_no_cuda()} (Unsloth: {first_line(error)})") from error
            raise UserError(
                f"cannot import unsloth ({first_line(error)}); install the packages: make setup"
            ) from error
    if unsloth.DEVICE_TYPE == "mlx":
        raise UserError(
            "Unsloth computes with Apple's MLX here, which nothing of this toolkit was tested with; for "
            "the CPU: pip uninstall mlx"
        )
    from transformers.utils import logging

    logging.disable_progress_bar()
    return unsloth


def check_model_name(model_name: str) -> str:
    """The name, if it is a folder with a model, or a hub id that is cached or reachable; else a UserError.
    Makes models/demo."""
    if Path(model_name) == Path(DEMO_MODEL_DIR):
        from legalqa.model.demo import ensure_demo_model

        ensure_demo_model(DEMO_MODEL_DIR)
    if Path(model_name).is_dir():
        untrusted.check_model_folder(model_name)
        # The adapter records this name: one that climbs out of its folder would mean another somewhere else.
        # A trailing slash makes no other model either, which --resume would ask about.
        climbs = ".." in Path(model_name).parts
        return os.path.abspath(model_name) if climbs else os.path.normpath(model_name)
    if model_name.count("/") != 1 or model_name.startswith((".", "/", "~")):
        raise UserError(f"model '{model_name}' is neither a folder nor a hub id (owner/name)")
    from httpx import HTTPError
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if isinstance(try_to_load_from_cache(model_name, "config.json"), str):
        return model_name
    try:
        HfApi().model_info(model_name, timeout=10)
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise UserError(
            f"model '{model_name}' is neither a folder nor reachable on the hub ({reason}); "
            "without a hub use --profile demo or a local folder"
        ) from error
    return model_name


def load_tokenizer(model_name: str) -> Any:
    """The tokenizer of a base model or an adapter, ready for prompts. Never runs code of the folder."""
    from transformers import AutoTokenizer

    with untrusted.loading(f"the tokenizer of {model_name}"):
        tokenizer = prompt.prepare_tokenizer(
            AutoTokenizer.from_pretrained(model_name, trust_remote_code=False)
        )
        tokenizer.decode(
            tokenizer(["Статья 1", "бап"], padding=True).input_ids[0]
        )  # a wrong setting fails here, not in the middle
        return tokenizer


def check_vocabulary(tokenizer: Any, vocab_size: int, name: str) -> None:
    """UserError when the tokenizer makes ids that the model has no embedding for."""
    if len(tokenizer) > vocab_size:
        raise UserError(
            f"{name}: the tokenizer has {len(tokenizer):,} tokens, the model {vocab_size:,}; they do "
            "not belong together"
        )


def load_base(
    model_name: str, max_seq_length: int, load_in_4bit: bool, gradient_checkpointing: bool = False
) -> tuple[Any, Any]:
    """(model, tokenizer) of a base model in 4 bits or 16, by Unsloth."""
    unsloth = import_unsloth(model_name)
    from transformers import GenerationConfig

    with quiet(), untrusted.loading(f"the model {model_name}"):
        model, _ = unsloth.FastLanguageModel.from_pretrained(
            model_name,
            max_seq_length=max_seq_length,
            load_in_4bit=load_in_4bit,
            dtype=None,
            trust_remote_code=False,
            use_safetensors=True,
            use_gradient_checkpointing="unsloth" if gradient_checkpointing else False,
        )
    tokenizer = load_tokenizer(model_name)
    check_vocabulary(tokenizer, model.get_input_embeddings().num_embeddings, model_name)
    # The tokenizer's EOS is the end of a turn; generation stops there, at the model's own EOS as well.
    # Nothing else of its generation settings is kept: a repetition penalty or a number of beams there would
    # change answers without a word.
    own = model.generation_config.eos_token_id
    own = [token for token in (own if isinstance(own, list) else [own]) if type(token) is int]
    model.generation_config = GenerationConfig(
        eos_token_id=sorted({tokenizer.eos_token_id, *own}), pad_token_id=tokenizer.pad_token_id
    )
    return model, tokenizer


def add_lora(model: Any, config: Mapping[str, Any], use_rslora: bool = False) -> Any:
    """The reference run's adapter: LoRA on all attention and MLP projections, no bias."""
    import torch
    import unsloth

    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        model = fit_to_cpu(model, config["load_in_4bit"], trains=True)
    with quiet():
        model = unsloth.FastLanguageModel.get_peft_model(
            model,
            r=config["lora_r"],
            lora_alpha=config["lora_alpha"],
            lora_dropout=config["lora_dropout"],
            target_modules=config["target_modules"],
            bias="none",
            use_rslora=use_rslora,
            random_state=config["seed"],
            use_gradient_checkpointing="unsloth" if config["gradient_checkpointing"] else False,
        )
    if on_cpu:
        from legalqa.model.fused import use_fused_layers

        use_fused_layers(model)
    return model


def load_for_training(adapter: str, config: Mapping[str, Any]) -> Any:
    """The adapter's base model with the adapter, as training begins with a new one: weights trainable, the
    layers those that Unsloth makes."""
    language_model, _ = load_base(
        config["model_name"],
        config["max_seq_length"],
        config["load_in_4bit"],
        config["gradient_checkpointing"],
    )
    untrusted.check_fit(language_model, adapter)
    language_model = add_lora(language_model, config, config["use_rslora"])
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    with untrusted.loading(f"the adapter {adapter}"):
        set_peft_model_state_dict(language_model, load_file(Path(adapter) / ADAPTER_FILES[1]))
    return language_model


def load_model_config(model_name: str) -> Any:
    from transformers import AutoConfig

    with untrusted.loading(f"config.json of {model_name}"):
        return AutoConfig.from_pretrained(model_name, trust_remote_code=False).get_text_config()


def count_parameters(model_config: Any, lora_r: int, target_modules: Sequence[str]) -> tuple[int, int]:
    """(trainable, total) parameters of base plus LoRA, counted on the meta device: without weights.

    `total` counts logical parameters, as the reference run does: a 4-bit tensor packs two weights a byte. An
    adapted layer of shape (out, in) adds r * (in + out) trainable parameters (Hu et al., arXiv 2106.09685).
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"), untrusted.loading("the model that config.json describes"):
        base = AutoModelForCausalLM.from_config(model_config)
    layers = [
        (name.rsplit(".", 1)[-1], module)
        for name, module in base.named_modules()
        if hasattr(module, "in_features")
    ]
    unknown = set(target_modules) - {name for name, _ in layers}
    if unknown:
        raise UserError(
            f"--target-modules: the model has no layer {', '.join(sorted(unknown))}; it has "
            f"{', '.join(sorted({name for name, _ in layers}))}"
        )
    trainable = sum(
        lora_r * (module.in_features + module.out_features)
        for name, module in layers
        if name in target_modules
    )
    return trainable, sum(parameter.numel() for parameter in base.parameters()) + trainable


def weight_bytes(model_name: str, load_in_4bit: bool, value_bytes: int) -> int | None:
    """Bytes of a base model's weights once loaded, by the headers of its files; None without these.

    What a file holds packed stays as it is, and so do the 16-bit layers beside it, which its maker left out
    on purpose (Unsloth's dynamic 4-bit). Of a file without packed weights the layers are packed at loading,
    embeddings and head are not. Whatever is not packed takes `value_bytes` a value.
    """
    tensors = [
        tensor for path in weight_files(model_name) for tensor in untrusted.tensor_headers(path).items()
    ]
    pack = load_in_4bit and not any(dtype in PACKED for _, (dtype, _) in tensors)

    def value_size(name, dtype, shape):
        if dtype in PACKED:
            return 1
        is_layer = len(shape) == 2 and "embed_tokens" not in name and "lm_head" not in name
        return NF4_BYTES if pack and is_layer else value_bytes

    total = sum(math.prod(shape) * value_size(name, dtype, shape) for name, (dtype, shape) in tensors)
    return int(total) or None


def weight_files(model_name: str) -> list[Path]:
    """The safetensors files of a folder, or of a hub id as far as they are in the cache."""
    if Path(model_name).is_dir():
        return sorted(Path(model_name).glob("*.safetensors"))
    from huggingface_hub import try_to_load_from_cache

    settings = try_to_load_from_cache(model_name, "config.json")
    return sorted(Path(settings).parent.glob("*.safetensors")) if isinstance(settings, str) else []


def load_for_inference(
    name: str, settings: AnswerSettings, report: Callable[[str], object] = lambda stage: None
) -> tuple[Any, Any]:
    """(model, tokenizer) of an adapter folder, a merged folder or a hub id, ready to generate.

    `report` is told what begins: "libraries", "weights", "adapter". UserError when the adapter's base model
    is not there, when it changes nothing (lora_B is zero), or when its prompt is not the one that this code
    renders.
    """
    base = check_adapter(name) if Path(name).is_dir() and is_adapter(name) else None
    try:
        base_name = check_model_name(base or name)
    except UserError as error:
        raise UserError(f"the base model of {name} is not there: {error}" if base else str(error)) from error
    report("libraries")
    import_unsloth(base_name)
    report("weights")
    language_model, tokenizer = load_base(base_name, settings.max_seq_length, settings.load_in_4bit)
    # Unsloth on CUDA cuts a prompt longer than `max_seq_length`: answers get the model's whole context.
    for module in language_model.modules():
        if hasattr(module, "max_seq_length"):
            module.max_seq_length = language_model.config.get_text_config().max_position_embeddings
    import torch

    if not torch.cuda.is_available():
        language_model = fit_to_cpu(language_model, settings.load_in_4bit, trains=False)
        use_one_head_product(language_model)
    if base:
        report("adapter")
        from peft import LoraConfig, PeftModel

        tokenizer = load_tokenizer(tokenizer_folder(name, base_name))
        check_vocabulary(tokenizer, language_model.get_input_embeddings().num_embeddings, name)
        untrusted.check_fit(language_model, name)
        lora = LoraConfig(**untrusted.lora_settings(name)[1], task_type="CAUSAL_LM", inference_mode=True)
        with untrusted.loading(f"the adapter {name}"):
            language_model = PeftModel.from_pretrained(
                language_model, name, config=lora, use_safetensors=True
            )
        if not any(
            parameter.any() for key, parameter in language_model.named_parameters() if "lora_B" in key
        ):
            raise UserError(
                f"{name}: the adapter changes nothing (every lora_B is zero); train again: python train_8b.py"
            )
    check_prompt(name, tokenizer)
    import unsloth

    unsloth.FastLanguageModel.for_inference(language_model)
    language_model.config.use_cache = True
    language_model.eval()
    if base:
        check_adapter_applies(language_model, tokenizer, name)
        merge_unpacked(language_model)
    return language_model, tokenizer


def fit_to_cpu(language_model: Any, load_in_4bit: bool, trains: bool) -> Any:
    """The model as a CPU computes it fastest. Each step would unpack every 4-bit weight again; unpacked once
    they give the same numbers. Answers in float32 come sooner by torch's own attention."""
    from torch import bfloat16

    from legalqa.model.attention import use_grouped_attention

    if trains or language_model.get_input_embeddings().weight.dtype == bfloat16:
        use_grouped_attention(language_model)
    return language_model.dequantize() if load_in_4bit else language_model


def use_one_head_product(language_model: Any) -> None:
    """Let the head multiply a batch's last positions in one product.

    They are a slice of all positions, which torch's CPU product answers by copying the whole head (42 MB for
    the demo model) for each row: 2.5 GB for 64 prompts.
    """
    head = language_model.get_output_embeddings()
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))


def merge_unpacked(language_model: Any) -> None:
    """Add the adapter to the weights it adapts where they are float32 (on a CPU): the same answers, sooner.
    Packed or 16-bit weights stay apart: merged, they would be rounded. `disable_adapter()` undoes it by
    itself."""
    if all(parameter.dtype.itemsize == 4 for parameter in language_model.parameters()):
        language_model.merge_adapter()
