"""The adapter's folder: put in place whole, and never over anything else."""

import os
import shutil
from pathlib import Path

from legalqa import runlog
from legalqa.errors import UserError
from legalqa.files import beside, read_json, sync, write_json, write_text, writing
from legalqa.model import prompt, untrusted

ADAPTER_FILES = (untrusted.ADAPTER_CONFIG, untrusted.ADAPTER_WEIGHTS)
SETTINGS_FILE = "legalqa.json"


def read_adapter_settings(folder):
    """The legalqa.json of an adapter folder, or an empty dict for an adapter made elsewhere."""
    path = Path(folder) / SETTINGS_FILE
    settings = read_json(path) if path.is_file() else {}
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
        raise UserError(
            f"{folder}: no adapter there; "
            + (
                f"a save was cut off: python train_8b.py --resume finishes it; the adapter before it is {cut_off}"
                if is_adapter(cut_off)
                else f"train one: python train_8b.py --output-dir {folder}"
            )
        )
    if not (folder / ADAPTER_FILES[1]).is_file():
        raise UserError(
            f"{folder}: {ADAPTER_FILES[1]} is missing; other weight formats are not loaded, because they can run "
            "code; train again: python train_8b.py"
        )
    read_adapter_settings(folder)
    return untrusted.lora_settings(folder)[0]


def check_prompt(name, tokenizer, settings):
    """UserError when the prompt that this code renders is not the one recorded in `settings`, the adapter's legalqa.json."""
    recorded = settings.get("prompt_sha256")
    if recorded and recorded != prompt.prompt_sha256(tokenizer, settings["system_prompt"]):
        raise UserError(
            f"{name}: its prompt is not the one it was trained with (legalqa.json); its answers would be "
            "worse without a word; train again, or use the code of the run's commit"
        )


def check_adapter_applies(language_model, tokenizer, name):
    """UserError unless the next-token scores of a short text differ with the adapter on and off."""
    import torch

    ids = tokenizer("Статья", return_tensors="pt").input_ids.to(language_model.device)
    with torch.inference_mode():
        tuned = language_model(input_ids=ids).logits[0, -1]
        with language_model.disable_adapter():
            plain = language_model(input_ids=ids).logits[0, -1]
    if torch.equal(tuned, plain):
        raise UserError(
            f"{name}: the adapter was loaded but changes no score: its layers are not those of the base model; "
            "train again: python train_8b.py"
        )


def check_output(config, run, overwrite):
    """The run whose adapter is in `output_dir`, or None. UserError when `run` would destroy something there at its
    end."""
    target = Path(config["output_dir"]).resolve()
    inside = [
        str(path)
        for path in (
            Path.cwd(),
            *(config[key] for key in ("checkpoint_dir", "logs_dir", "train_file", "validation_file")),
        )
        if Path(path).resolve().is_relative_to(target)
    ]
    if inside:
        raise UserError(
            f"--output-dir {config['output_dir']} is replaced as a whole at the end, and {', '.join(inside)} "
            "is in it; give a folder of the adapter's own"
        )
    held = target if target.exists() else beside(target, ".old.tmp")
    if held.exists() and not is_adapter(held) and not (held.is_dir() and not any(held.iterdir())):
        raise UserError(
            f"--output-dir {config['output_dir']} holds files that are no adapter, and is replaced as a whole "
            "at the end; give another folder"
        )
    if not is_adapter(held):
        return None
    try:
        holder = read_adapter_settings(held).get("run", "unknown")
    except UserError:
        holder = "unknown"
    if holder != run and not overwrite:
        raise UserError(
            f"{config['output_dir']} holds the adapter of run {holder}; give another --output-dir, or "
            "--overwrite"
        )
    return holder


def save_adapter(language_model, tokenizer, config, settings, metrics):
    """Adapter, tokenizer, prompt settings and model card, put in place whole by a rename.

    A kill between the two renames leaves the old adapter under `.old.tmp`; the next save begins by putting it back.
    """
    target = Path(config["output_dir"]).resolve()
    temporary, old = beside(target, ".saving.tmp"), beside(target, ".old.tmp")
    advice = f"the last checkpoint holds it: free space, then: {runlog.command_line('--resume')}"
    try:
        with writing(f"the adapter to {config['output_dir']}", advice):
            if old.exists() and not target.exists():
                os.replace(old, target)
            remove(temporary)
            remove(old)
            language_model.save_pretrained(temporary, safe_serialization=True)
            tokenizer.save_pretrained(temporary)
            write_json(temporary / SETTINGS_FILE, settings)
            write_text(temporary / "README.md", model_card(config, settings, metrics))
            sync(*temporary.iterdir(), temporary)
            if target.exists():
                os.replace(target, old)
            os.replace(temporary, target)
            sync(target.parent)
            remove(old)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path):
    """Delete a folder, or the link in its place; nothing there is fine."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def model_card(config, settings, metrics):
    """README.md of the adapter folder, in the hub's form."""
    return f"""---
base_model: {config["model_name"]}
library_name: peft
language: [ru, kk]
tags: [lora, legal, kazakhstan]
---
# LoRA adapter: questions on Kazakhstan's legislation

Base model `{config["model_name"]}`, {"4-bit NF4 (QLoRA)" if config["load_in_4bit"] else "16-bit LoRA"}, rank {config["lora_r"]},
alpha {config["lora_alpha"]}. Run {settings["run"]}: {metrics["total_steps"]} steps, loss {metrics["initial_loss"]:.4f} ->
{metrics["final_loss"]:.4f}, evaluation loss {metrics["eval_loss"] if metrics["eval_loss"] is not None else "not measured"}.

```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
model = AutoPeftModelForCausalLM.from_pretrained("{Path(config["output_dir"]).name}")
tokenizer = AutoTokenizer.from_pretrained("{Path(config["output_dir"]).name}")
```

The prompt is the tokenizer's chat template with `enable_thinking=False`; `legalqa.json` records it. Answers can be wrong and
cite articles that do not exist. This is not legal advice. The base model's licence applies.
"""
