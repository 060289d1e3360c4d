"""The adapter's folder: put in place whole, and never over anything else."""
import os
import shutil
from pathlib import Path

from legalqa import runlog
from legalqa.model import base as model
from legalqa.training.checkpoints import beside
from legalqa.cli import UserError


def check_output(config, run, overwrite):
    """The run whose adapter is in `output_dir`, or None. UserError when `run` would destroy something there at its
    end."""
    target = Path(config["output_dir"]).resolve()
    inside = [str(path) for path in (Path.cwd(), *(config[key] for key in ("checkpoint_dir", "logs_dir", "train_file",
                                                                           "validation_file")))
              if Path(path).resolve().is_relative_to(target)]
    if inside:
        raise UserError(f"--output-dir {config['output_dir']} is replaced as a whole at the end, and {', '.join(inside)} "
                        "is in it; give a folder of the adapter's own")
    held = target if target.exists() else beside(target, ".old.tmp")
    if held.exists() and not model.is_adapter(held) and not (held.is_dir() and not any(held.iterdir())):
        raise UserError(f"--output-dir {config['output_dir']} holds files that are no adapter, and is replaced as a whole "
                        "at the end; give another folder")
    if not model.is_adapter(held):
        return None
    try:
        holder = model.read_adapter_settings(held).get("run", "unknown")
    except UserError:
        holder = "unknown"
    if holder != run and not overwrite:
        raise UserError(f"{config['output_dir']} holds the adapter of run {holder}; give another --output-dir, or "
                        "--overwrite")
    return holder


def save(language_model, tokenizer, config, settings, metrics):
    """Adapter, tokenizer, prompt settings and model card, put in place whole by a rename.

    A kill between the two renames leaves the old adapter under `.old.tmp`; the next save begins by putting it back.
    """
    target = Path(config["output_dir"]).resolve()
    temporary, old = beside(target, ".saving.tmp"), beside(target, ".old.tmp")
    advice = f"the last checkpoint holds it: free space, then: {runlog.command_line('--resume')}"
    try:
        with runlog.writing(f"the adapter to {config['output_dir']}", advice):
            if old.exists() and not target.exists():
                os.replace(old, target)
            remove(temporary)
            remove(old)
            language_model.save_pretrained(temporary, safe_serialization=True)
            tokenizer.save_pretrained(temporary)
            runlog.write_json(temporary / model.SETTINGS_FILE, settings)
            runlog.write_text(temporary / "README.md", model_card(config, settings, metrics))
            runlog.sync(*temporary.iterdir(), temporary)
            if target.exists():
                os.replace(target, old)
            os.replace(temporary, target)
            runlog.sync(target.parent)
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
