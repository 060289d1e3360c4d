"""The adapter's folder: put in place whole, never over anything else; legalqa.json: how it was trained."""

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from config import LIMITS
from legalqa import cli, runlog
from legalqa.errors import UserError
from legalqa.files import (
    beside,
    file_sha256,
    open_to_others,
    read_json,
    sync,
    write_json,
    write_text,
    writing,
)
from legalqa.model import prompt, untrusted
from legalqa.model.settings import DECODING_KEYS, MODEL_KEYS, AnswerSettings, Decoding, resolve

ADAPTER_FILES = (untrusted.ADAPTER_CONFIG, untrusted.ADAPTER_WEIGHTS)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")  # a tokenizer has one of them
SETTINGS_FILE = "legalqa.json"


@dataclass(frozen=True)
class AdapterSettings:
    """legalqa.json of an adapter's folder: how it was trained, which benchmark and chat follow.

    None where the file does not say, as for an adapter made elsewhere. `decoding` is the answers' by default.
    """

    system_prompt: str | None = None
    chat_template: str | None = None
    enable_thinking: bool | None = None
    eos_token: str | None = None
    prompt_sha256: str | None = None  # of a fixed record, rendered
    run: str | None = None
    base_model: str | None = None
    max_seq_length: int | None = None  # tokens
    load_in_4bit: bool | None = None
    train_sha256: str | None = None  # of the training file
    law_passages: int | None = None  # in every prompt; 0: closed book
    law_passage_tokens: int | None = None  # this and what follows: of an open book
    law_gold_share: float | None = None
    law_sha256: str | None = None  # of the texts of law_dir
    law_index_sha256: str | None = None  # of these and of the questions that the search knew
    from_run: str | None = None  # of the adapter that DPO went on from (train_dpo.py)
    pairs_sha256: str | None = None  # of the pairs file of DPO
    decoding: Decoding | None = None
    merged_adapter_sha256: str | None = None  # of the adapter in these weights (export_model.py)

    @classmethod
    def of_run(
        cls,
        config: Mapping[str, Any],
        tokenizer: Any,
        run: str,
        train_sha256: str,
        law: Mapping[str, str] | None = None,
    ) -> "AdapterSettings":
        """What a run saves. `law`: of an open book, the sha256 of its texts and its index_sha256."""
        open_book: dict[str, Any] = {"law_passages": 0}
        if law:
            keys = ("law_passages", "law_passage_tokens", "law_gold_share")
            open_book = {key: config[key] for key in keys}
            open_book |= {"law_sha256": law["sha256"], "law_index_sha256": law["index_sha256"]}
        return cls(
            system_prompt=config["system_prompt"],
            chat_template=tokenizer.chat_template,
            enable_thinking=False,
            eos_token=tokenizer.eos_token,
            prompt_sha256=prompt.prompt_sha256(
                tokenizer, config["system_prompt"], config["law_passage_tokens"] if law else None
            ),
            run=run,
            base_model=config["model_name"],
            max_seq_length=config["max_seq_length"],
            load_in_4bit=config["load_in_4bit"],
            train_sha256=train_sha256,
            decoding=Decoding.of(config),
            **open_book,
        )

    @classmethod
    def load(cls, folder: str | Path) -> "AdapterSettings":
        """UserError when a value is not of its type or out of its limits; all None without the file."""
        path = Path(folder) / SETTINGS_FILE
        saved = read_json(path) if path.is_file() else {}
        decoding, types = saved.pop("decoding", None), get_type_hints(cls)
        known = {key: value for key, value in saved.items() if key in types}
        numbers = {key: value for key, value in known.items() if key in LIMITS and value is not None}
        if decoding is not None:
            given = decoding if isinstance(decoding, dict) else {}
            numbers |= {key: given.get(key) for key in DECODING_KEYS}
        wrong = cli.out_of_limits(numbers) + [
            f"{key} is {str(value)[:40]}"
            for key, value in known.items()
            if key not in numbers and not isinstance(value, types[key])
        ]
        if wrong:
            raise UserError(f"{path}: damaged: {'; '.join(wrong)}; train again, or get the adapter again")
        return cls(**known, decoding=Decoding.of(decoding) if decoding else None)

    def save(self, folder: str | Path) -> None:
        write_json(Path(folder) / SETTINGS_FILE, dataclasses.asdict(self))

    def as_config(self) -> dict[str, Any]:
        """What it says of answers, by config's keys."""
        said = {key: getattr(self, key) for key in MODEL_KEYS if getattr(self, key) is not None}
        return said | (dataclasses.asdict(self.decoding) if self.decoding else {})


def answer_settings(
    name: str | Path, config: Mapping[str, Any], flags: Mapping[str, Any] | None = None
) -> AnswerSettings:
    """How the model or adapter `name` answers. A merged folder may keep its adapter's legalqa.json."""
    return resolve(flags or {}, AdapterSettings.load(name).as_config(), config)


def is_adapter(folder: str | Path) -> bool:
    return (Path(folder) / ADAPTER_FILES[0]).is_file()


def fingerprint(name: str | Path) -> str:
    """What identifies the weights: sha256 of the adapter, or of a model folder's config; else the hub id."""
    for file in (ADAPTER_FILES[1], "config.json"):
        if (Path(name) / file).is_file():
            return file_sha256(Path(name) / file)
    return str(name)


def is_merged(folder: str | Path) -> bool:
    """Whether it is a model folder into which an adapter was merged: it keeps the adapter's legalqa.json."""
    saved = AdapterSettings.load(folder)
    return not is_adapter(folder) and bool(saved.run or saved.merged_adapter_sha256)


def has_tokenizer(folder: str | Path) -> bool:
    return any((Path(folder) / name).is_file() for name in TOKENIZER_FILES)


def tokenizer_folder(folder: str, base: str) -> str:
    """Where the tokenizer of an adapter is: an adapter made elsewhere may leave it to its base model."""
    if has_tokenizer(folder):
        return folder
    print(f"{folder}: no tokenizer in it; the base model's is used", file=sys.stderr)
    return base


def newest_adapter() -> str | None:
    """The adapter folder finetuned_* saved last, or None."""
    folders = [path for path in Path(".").glob("finetuned_*") if is_adapter(path) and path.suffix != ".tmp"]
    return str(max(folders, key=lambda path: (path / ADAPTER_FILES[0]).stat().st_mtime)) if folders else None


def check_adapter(folder: str | Path) -> str:
    """The base model's name of an adapter folder; UserError when a file is missing, damaged, hostile or not
    safetensors."""
    folder = Path(folder)
    if not is_adapter(folder):
        cut_off = beside(folder, ".old.tmp")
        raise UserError(
            f"{folder}: no adapter there; "
            + (
                "a save was cut off: python train_8b.py --resume finishes it; the adapter before it is "
                f"{cut_off}"
                if is_adapter(cut_off)
                else f"train one: python train_8b.py --output-dir {shlex.quote(str(folder))}"
            )
        )
    if not (folder / ADAPTER_FILES[1]).is_file():
        raise UserError(
            f"{folder}: {ADAPTER_FILES[1]} is missing; other weight formats are not loaded, because they "
            "can run code; train again: python train_8b.py"
        )
    AdapterSettings.load(folder)
    return untrusted.lora_settings(folder)[0]


def check_prompt(folder: str | Path, tokenizer: Any) -> None:
    """UserError when the prompt that this code renders is not the one that legalqa.json records."""
    saved = AdapterSettings.load(folder)
    rendered = prompt.prompt_sha256(tokenizer, saved.system_prompt or "", saved.law_passage_tokens)
    if saved.prompt_sha256 not in (None, rendered):
        raise UserError(
            f"{folder}: its prompt is not the one it was trained with (legalqa.json); its answers would be "
            "worse without a word; train again, or use the code of the run's commit"
        )


def check_adapter_applies(language_model: Any, tokenizer: Any, name: str) -> None:
    """UserError unless the next-token scores of a short text differ with the adapter on and off."""
    import torch

    ids = tokenizer("Статья", return_tensors="pt").input_ids.to(language_model.device)
    with torch.inference_mode():
        tuned = language_model(input_ids=ids).logits[0, -1]
        with language_model.disable_adapter():
            plain = language_model(input_ids=ids).logits[0, -1]
    if torch.equal(tuned, plain):
        raise UserError(
            f"{name}: the adapter was loaded but changes no score: its layers are not those of the base "
            "model; train again: python train_8b.py"
        )


def check_output(config: Mapping[str, Any], run: str | None, overwrite: bool) -> str | None:
    """The run whose adapter is in `output_dir`, or None. UserError when `run` would destroy something there
    at its end."""
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
            f"--output-dir {config['output_dir']} holds files that are no adapter, and is replaced as a "
            "whole at the end; give another folder"
        )
    if not is_adapter(held):
        return None
    try:
        holder = AdapterSettings.load(held).run or "unknown"
    except UserError:
        holder = "unknown"
    if holder != run and not overwrite:
        raise UserError(
            f"{config['output_dir']} holds the adapter of run {holder}; give another --output-dir, or "
            "--overwrite"
        )
    return holder


def save_adapter(
    language_model: Any,
    tokenizer: Any,
    config: Mapping[str, Any],
    settings: AdapterSettings,
    metrics: Mapping[str, Any],
) -> None:
    """Adapter, tokenizer, prompt settings and model card, put in place whole by a rename.

    A kill between the two renames leaves the old adapter under `.old.tmp`; the next save begins by putting it
    back.
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
            settings.save(temporary)
            write_text(temporary / "README.md", model_card(config, settings, metrics))
            open_to_others(temporary)
            sync(*temporary.iterdir(), temporary)
            if target.exists():
                os.replace(target, old)
            os.replace(temporary, target)
            sync(target.parent)
            remove(old)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path: Path) -> None:
    """Delete a folder, or the link in its place; nothing there is fine."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def model_card(config: Mapping[str, Any], settings: AdapterSettings, metrics: Mapping[str, Any]) -> str:
    """README.md of the adapter folder, in the hub's form."""
    kind = "4-bit NF4 (QLoRA)" if config["load_in_4bit"] else "16-bit LoRA"
    eval_loss = "not measured" if metrics["eval_loss"] is None else metrics["eval_loss"]
    return f"""---
base_model: {config["model_name"]}
library_name: peft
language: [ru, kk]
tags: [lora, legal, kazakhstan]
---
# LoRA adapter: questions on Kazakhstan's legislation

Base model `{config["model_name"]}`, {kind}, rank {config["lora_r"]}, alpha {config["lora_alpha"]}.
Run {settings.run}: {metrics["total_steps"]} steps, loss {metrics["initial_loss"]:.4f} ->
{metrics["final_loss"]:.4f}, evaluation loss {eval_loss}.

```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
model = AutoPeftModelForCausalLM.from_pretrained("{Path(config["output_dir"]).name}")
tokenizer = AutoTokenizer.from_pretrained("{Path(config["output_dir"]).name}")
```

The prompt is the tokenizer's chat template with `enable_thinking=False`; `legalqa.json` records it. Answers
can be wrong and cite articles that do not exist. This is not legal advice. The base model's licence applies.
"""
