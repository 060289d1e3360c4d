"""The model, by one engine: Unsloth on CUDA, on Apple Silicon and on a plain CPU. Every import of it is inside a function."""
import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path

from legalqa import runlog
from legalqa.model import prompt, untrusted
from legalqa.training.checkpoints import beside
from legalqa.cli import UserError

DEMO_MODEL_DIR = "models/demo"
ADAPTER_FILES = (untrusted.ADAPTER_CONFIG, untrusted.ADAPTER_WEIGHTS)
SETTINGS_FILE = "legalqa.json"
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's <malloc.h>


def keep_freed_memory():
    """Let the process reuse the memory it frees, in huge pages, in place of asking the kernel for cleared pages again.

    A training step on the CPU frees and allocates gigabytes: with this it is faster and peaks lower. Before torch
    allocates; glibc only, nothing elsewhere.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        libc.mallopt(M_MMAP_MAX, 0)


def import_unsloth(model_name):
    """Import Unsloth, which must come before trl, transformers and peft: it patches them as they load.

    No telemetry, and no network for a model that is a folder. What Unsloth prints goes to stderr.
    """
    os.environ.update(UNSLOTH_DISABLE_STATISTICS="1", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1",
                      TOKENIZERS_PARALLELISM="true", TRANSFORMERS_VERBOSITY="error", UNSLOTH_DISABLE_AUTO_UPDATES="1")
    keep_freed_memory()
    # On CUDA Unsloth writes patched classes to this folder and imports them from there; by default it is the current folder's.
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "legalqa" / "unsloth_compiled_cache"
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache))
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
    """The name, if it is a folder with a model, or a hub id that is cached or reachable; else a UserError. Makes models/demo."""
    if Path(model_name) == Path(DEMO_MODEL_DIR):
        from legalqa.model.demo import ensure_demo_model
        ensure_demo_model(DEMO_MODEL_DIR)
    if Path(model_name).is_dir():
        untrusted.check_model_folder(model_name)
        # The adapter records this name; one that climbs out of a folder would mean another model somewhere else.
        return os.path.abspath(model_name) if ".." in Path(model_name).parts else model_name
    if model_name.count("/") != 1 or model_name.startswith((".", "/", "~")):
        raise UserError(f"model '{model_name}' is neither a folder nor a hub id (owner/name)")
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from httpx import HTTPError
    if isinstance(try_to_load_from_cache(model_name, "config.json"), str):
        return model_name
    try:
        HfApi().model_info(model_name, timeout=10)
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise UserError(f"model '{model_name}' is neither a folder nor reachable on the hub ({reason}); "
                        "without a hub use --profile demo or a local folder") from error
    return model_name


def load_tokenizer(model_name):
    """The tokenizer of a base model or an adapter folder, ready for prompts. Never runs code of the folder."""
    from transformers import AutoTokenizer
    with untrusted.loading(f"the tokenizer of {model_name}"):
        tokenizer = prompt.prepare_tokenizer(AutoTokenizer.from_pretrained(model_name, trust_remote_code=False))
        tokenizer.decode(tokenizer(["Статья 1", "бап"], padding=True).input_ids[0])  # a wrong setting fails here, not in the middle
        return tokenizer


def check_vocabulary(tokenizer, vocab_size, name):
    """UserError when the tokenizer makes ids that the model has no embedding for."""
    if len(tokenizer) > vocab_size:
        raise UserError(f"{name}: the tokenizer has {len(tokenizer):,} tokens, the model {vocab_size:,}; they do not belong together")


def load_base(config):
    """(model, tokenizer) of `config["model_name"]` in 4 bits or 16, by Unsloth."""
    unsloth = import_unsloth(config["model_name"])
    from transformers import GenerationConfig
    with contextlib.redirect_stdout(sys.stderr), untrusted.loading(f"the model {config['model_name']}"):
        model, _ = unsloth.FastLanguageModel.from_pretrained(
            config["model_name"], max_seq_length=config["max_seq_length"], load_in_4bit=config["load_in_4bit"],
            dtype=None, trust_remote_code=False, use_safetensors=True,
            use_gradient_checkpointing="unsloth" if config["gradient_checkpointing"] else False)
    tokenizer = load_tokenizer(config["model_name"])
    check_vocabulary(tokenizer, model.get_input_embeddings().num_embeddings, config["model_name"])
    # The tokenizer's EOS is the end of a turn; generation stops there, at the model's own EOS as well. Nothing else of its
    # generation settings is kept: a repetition penalty or a number of beams there would change answers without a word.
    own = model.generation_config.eos_token_id
    own = [token for token in (own if isinstance(own, list) else [own]) if type(token) is int]
    model.generation_config = GenerationConfig(eos_token_id=sorted({tokenizer.eos_token_id, *own}), pad_token_id=tokenizer.pad_token_id)
    return model, tokenizer


def add_lora(model, config):
    """The reference run's adapter: LoRA on all attention and MLP projections, no bias."""
    import unsloth
    with contextlib.redirect_stdout(sys.stderr):
        return unsloth.FastLanguageModel.get_peft_model(
            model, r=config["lora_r"], lora_alpha=config["lora_alpha"], lora_dropout=config["lora_dropout"],
            target_modules=config["target_modules"], bias="none", random_state=config["seed"],
            use_gradient_checkpointing="unsloth" if config["gradient_checkpointing"] else False)


def load_model_config(model_name):
    from transformers import AutoConfig
    with untrusted.loading(f"config.json of {model_name}"):
        return AutoConfig.from_pretrained(model_name, trust_remote_code=False).get_text_config()


def count_parameters(model_config, lora_r, target_modules):
    """(trainable, total) parameters of base plus LoRA, counted on the meta device: no weights, no quantization.

    `total` counts logical parameters, as the reference run does: a 4-bit tensor packs two weights a byte. An adapted layer of
    shape (out, in) adds r * (in + out) trainable parameters (Hu et al., arXiv 2106.09685).
    """
    import torch
    from transformers import AutoModelForCausalLM
    with torch.device("meta"), untrusted.loading("the model that config.json describes"):
        base = AutoModelForCausalLM.from_config(model_config)
    layers = [(name.rsplit(".", 1)[-1], module) for name, module in base.named_modules() if hasattr(module, "in_features")]
    unknown = set(target_modules) - {name for name, _ in layers}
    if unknown:
        raise UserError(f"--target-modules: the model has no layer {', '.join(sorted(unknown))}; it has "
                        f"{', '.join(sorted({name for name, _ in layers}))}")
    trainable = sum(lora_r * (module.in_features + module.out_features) for name, module in layers if name in target_modules)
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
    settings = runlog.read_json(path) if path.is_file() else {}
    untrusted.check_settings(settings, path)
    return settings


def is_adapter(folder):
    return (Path(folder) / ADAPTER_FILES[0]).is_file()


def newest_adapter():
    """The adapter folder finetuned_* saved last, or None."""
    folders = [path for path in Path(".").glob("finetuned_*") if is_adapter(path) and path.suffix != ".tmp"]
    return str(max(folders, key=lambda path: (path / ADAPTER_FILES[0]).stat().st_mtime)) if folders else None


def check_adapter(folder):
    """The base model's name of an adapter folder; UserError when a file is missing, damaged, hostile or not safetensors."""
    folder = Path(folder)
    if not is_adapter(folder):
        cut_off = beside(folder, ".old.tmp")
        raise UserError(f"{folder}: no adapter there; " + (
            f"a save was cut off: python train_8b.py --resume finishes it; the adapter before it is {cut_off}" if is_adapter(cut_off)
            else f"train one: python train_8b.py --output-dir {folder}"))
    if not (folder / ADAPTER_FILES[1]).is_file():
        raise UserError(f"{folder}: {ADAPTER_FILES[1]} is missing; other weight formats are not loaded, because they can run "
                        "code; train again: python train_8b.py")
    read_adapter_settings(folder)
    return untrusted.lora_settings(folder)[0]


def load_for_inference(name, config, report=lambda stage: None):
    """(model, tokenizer, settings) of an adapter folder, a merged folder or a hub id, ready to generate.

    `report` is told what begins: "libraries", "weights", "adapter". `settings` is the adapter's legalqa.json: the prompt it was
    trained with. UserError when the adapter's base model is not there, when it changes nothing (lora_B is zero), or when its
    prompt is not the one that this code renders.
    """
    base = check_adapter(name) if Path(name).is_dir() and is_adapter(name) else None
    try:
        base_name = check_model_name(base or name)
    except UserError as error:
        raise UserError(f"the base model of {name} is not there: {error}" if base else str(error)) from error
    settings = {"system_prompt": config["system_prompt"]} | (read_adapter_settings(name) if base else {})
    settings_4bit = settings.get("load_in_4bit", config["load_in_4bit"])
    report("libraries")
    import_unsloth(base_name)
    report("weights")
    language_model, tokenizer = load_base({**config, "model_name": base_name, "load_in_4bit": settings_4bit,
                                           "max_seq_length": settings.get("max_seq_length", config["max_seq_length"]),
                                           "gradient_checkpointing": False})
    # Unsloth on CUDA cuts a prompt longer than `max_seq_length` at its right end: answers get the model's whole context.
    for module in language_model.modules():
        if hasattr(module, "max_seq_length"):
            module.max_seq_length = language_model.config.get_text_config().max_position_embeddings
    import torch
    if not torch.cuda.is_available() and settings_4bit:
        # On a CPU each step would unpack every 4-bit weight again; unpacked once they give the same numbers.
        language_model = language_model.dequantize()
    if base:
        report("adapter")
        from peft import LoraConfig, PeftModel
        tokenizer = load_tokenizer(name)
        check_vocabulary(tokenizer, language_model.get_input_embeddings().num_embeddings, name)
        untrusted.check_fit(language_model, name)
        lora = LoraConfig(**untrusted.lora_settings(name)[1], task_type="CAUSAL_LM", inference_mode=True)
        with untrusted.loading(f"the adapter {name}"):
            language_model = PeftModel.from_pretrained(language_model, name, config=lora, use_safetensors=True)
        check_prompt(name, tokenizer, settings)
        if not any(parameter.any() for key, parameter in language_model.named_parameters() if "lora_B" in key):
            raise UserError(f"{name}: the adapter changes nothing (every lora_B is zero); train again: python train_8b.py")
    import unsloth
    unsloth.FastLanguageModel.for_inference(language_model)
    language_model.config.use_cache = True
    language_model.eval()
    if base:
        check_adapter_applies(language_model, tokenizer, name)
        merge_unpacked(language_model)
    return language_model, tokenizer, settings


def check_prompt(name, tokenizer, settings):
    """UserError when the prompt that this code renders is not the one recorded in `settings`, the adapter's legalqa.json."""
    recorded = settings.get("prompt_sha256")
    if recorded and recorded != prompt.prompt_sha256(tokenizer, settings["system_prompt"]):
        raise UserError(f"{name}: its prompt is not the one it was trained with (legalqa.json); its answers would be "
                        "worse without a word; train again, or use the code of the run's commit")


def check_adapter_applies(language_model, tokenizer, name):
    """UserError unless the next-token scores of a short text differ with the adapter on and off."""
    import torch
    ids = tokenizer("Статья", return_tensors="pt").input_ids.to(language_model.device)
    with torch.inference_mode():
        tuned = language_model(input_ids=ids).logits[0, -1]
        with language_model.disable_adapter():
            plain = language_model(input_ids=ids).logits[0, -1]
    if torch.equal(tuned, plain):
        raise UserError(f"{name}: the adapter was loaded but changes no score: its layers are not those of the base model; "
                        "train again: python train_8b.py")


def generation_arguments(decoding, tokenizer):
    """Arguments of `generate`: greedy at temperature 0, stopping at the end of the turn."""
    arguments = {"max_new_tokens": decoding["max_new_tokens"], "pad_token_id": tokenizer.pad_token_id, "use_cache": True}
    if decoding["repetition_penalty"] != 1.0:
        arguments["repetition_penalty"] = decoding["repetition_penalty"]
    if decoding["temperature"] > 0:
        return arguments | {"do_sample": True, "temperature": decoding["temperature"], "top_p": decoding["top_p"]}
    return arguments | {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def generate(language_model, tokenizer, prompts, decoding, on_step=lambda: None):
    """[(answer, new tokens, cut off)] for a batch of rendered prompts, padded on the left; `on_step` is called at each token.

    On a CPU, where a step costs by its rows, the finished ones leave the batch whenever they are half of it. (On CUDA a step
    costs the same, and Unsloth keeps its cache to itself.)
    """
    import torch
    tokenizer.padding_side = "left"
    batch = tokenizer(prompts, return_tensors="pt", padding=True).to(language_model.device)
    ids, mask, cache, width = batch["input_ids"], batch["attention_mask"], None, batch["input_ids"].shape[1]
    ends = torch.tensor(language_model.generation_config.eos_token_id, device=ids.device)
    rows, answers, shrinks = list(range(len(prompts))), [None] * len(prompts), ids.device.type == "cpu"

    def ended(ids):
        return torch.isin(ids[:, width:], ends).any(dim=1)

    def half_ended(ids, _):
        on_step()
        return torch.full((len(ids),), shrinks and ended(ids).float().mean().item() >= 0.5, device=ids.device)
    while rows:
        left = decoding["max_new_tokens"] - ids.shape[1] + width
        with torch.inference_mode():
            made = language_model.generate(
                input_ids=ids, attention_mask=mask, past_key_values=cache, return_dict_in_generate=True,
                stopping_criteria=[half_ended], **generation_arguments({**decoding, "max_new_tokens": left}, tokenizer))
            ids, cache, going = made.sequences, made.past_key_values, ~ended(made.sequences)
            if ids.shape[1] - width == decoding["max_new_tokens"]:
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
    return answers


class AnswerStream:
    """A streamer for the library's `generate`: keeps the new ids and hands every new piece of text to `on_text`."""

    def __init__(self, tokenizer, ends, on_text):
        self.tokenizer, self.ends, self.on_text = tokenizer, ends, on_text
        self.ids, self.shown, self.first_token_sec = None, "", None
        self.started = time.monotonic()

    def put(self, ids):
        if self.ids is None:  # the library hands over the prompt first
            self.ids = []
            return
        self.first_token_sec = self.first_token_sec or time.monotonic() - self.started
        self.ids += ids.tolist()
        if self.ids[-1] not in self.ends:
            text = self.tokenizer.decode(self.ids, skip_special_tokens=True).lstrip()
            self.show(text.rstrip("\ufffd").rstrip())  # half a letter waits for its other bytes, white space for a word

    def show(self, text):
        if text.startswith(self.shown) and len(text) > len(self.shown):
            self.on_text(text[len(self.shown):])
            self.shown = text

    def end(self):
        """Called by the library after the last token; the last piece comes from `finish`."""


def generate_stream(language_model, tokenizer, text, decoding, on_text, stop=lambda: False):
    """The answer of `generate` for the prompt `text`, handed to `on_text` piece by piece; `stop` is asked at each token.

    Returns {"answer", "prompt_tokens", "new_tokens", "cut_off", "stopped", "first_token_sec", "generation_sec"}; the pieces
    joined are the answer.
    """
    import torch

    def ask_stop(ids, _):
        return torch.full((len(ids),), stop(), dtype=torch.bool, device=ids.device)
    batch = tokenizer(text, return_tensors="pt").to(language_model.device)
    stream = AnswerStream(tokenizer, language_model.generation_config.eos_token_id, on_text)
    with torch.inference_mode():
        language_model.generate(**batch, **generation_arguments(decoding, tokenizer), stopping_criteria=[ask_stop], streamer=stream)
    seconds = time.monotonic() - stream.started
    answer, new_tokens, unfinished = finish(stream.ids, tokenizer, language_model)
    stream.show(answer)
    return {"answer": answer, "prompt_tokens": batch["input_ids"].shape[1], "new_tokens": new_tokens,
            "cut_off": unfinished and not stop(), "stopped": unfinished and stop(),
            "first_token_sec": round(stream.first_token_sec, 4), "generation_sec": round(seconds, 4)}


def merge_unpacked(language_model):
    """Add the adapter to the weights it adapts where they are float32 (on a CPU): the same answers, sooner.
    Packed or 16-bit weights stay apart: merged, they would be rounded. `disable_adapter()` undoes it by itself."""
    if all(parameter.dtype.itemsize == 4 for parameter in language_model.parameters()):
        language_model.merge_adapter()


def finish(ids, tokenizer, language_model):
    """(answer, new tokens including the end token, cut off) of the generated ids of one row, padding and all."""
    ends = language_model.generation_config.eos_token_id
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    answer = tokenizer.decode(ids if stop is None else ids[:stop], skip_special_tokens=True).strip()
    return answer, len(ids) if stop is None else stop + 1, stop is None
