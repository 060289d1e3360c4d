"""The folder of an export: a model that any library loads, with the trained prompt, decoding and a card."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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
from legalqa.model.adapter import ADAPTER_FILES, AdapterSettings, remove, tokenizer_folder
from legalqa.model.base import load_tokenizer
from legalqa.model.merge import Merge, write_weights
from legalqa.model.prompt import prompt_sha256

LICENCES = ("LICENSE*", "NOTICE*")
CARD_SCORES = ("token_f1", "citation_f1", "citation_exists", "overall")


def write_merged(
    merge: Merge,
    settings: AdapterSettings,
    folder: Path,
    report: Callable[[str], None],
    scores: Mapping[str, Any] | None,
) -> None:
    """The whole model folder: weights, config, tokenizer, decoding, how it was trained, card and licence."""
    tokenizer = adapter_tokenizer(merge)
    tokenizer.chat_template = trained_template(tokenizer.chat_template, settings.system_prompt)
    tokenizer.save_pretrained(folder)
    model_config = read_json(merge.base / "config.json") | {"eos_token_id": tokenizer.eos_token_id}
    if merge.in_float32:
        model_config.pop("torch_dtype", None)  # the older name of dtype
        model_config["dtype"] = "float32"
    write_json(folder / "config.json", model_config)
    write_json(folder / "generation_config.json", generation_config(merge.base, tokenizer, settings))
    merged_settings(merge, settings, tokenizer).save(folder)
    for pattern in LICENCES:
        for path in merge.base.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    write_text(folder / "README.md", model_card(merge, settings, scores))
    write_weights(merge, folder, report)


def adapter_tokenizer(merge: Merge) -> Any:
    return load_tokenizer(tokenizer_folder(str(merge.adapter), str(merge.base)))


def merged_settings(merge: Merge, settings: AdapterSettings, tokenizer: Any) -> AdapterSettings:
    """legalqa.json of the merged folder: the adapter's, and what was merged into what."""
    return replace(
        settings,
        chat_template=tokenizer.chat_template,
        prompt_sha256=prompt_sha256(tokenizer, settings.system_prompt or ""),
        base_model=merge.base_name,
        load_in_4bit=False,
        merged_adapter_sha256=file_sha256(merge.adapter / ADAPTER_FILES[1]),
    )


def trained_template(template: str, system_prompt: str | None) -> str:
    """The chat template that renders the trained prompt unasked: vLLM, llama.cpp and others call it with the
    messages alone, so it switches thinking off and adds the system prompt by itself."""
    head = "{%- set enable_thinking = false %}" if "enable_thinking" in template else ""
    if system_prompt:
        turn = "{'role': 'system', 'content': " + json.dumps(system_prompt, ensure_ascii=False) + "}"
        head += "{%- if messages[0]['role'] != 'system' %}"
        head += "{%- set messages = [" + turn + "] + messages %}{%- endif %}"
    return head + template


def end_ids(base: Path, tokenizer: Any) -> list[int]:
    """The tokens at which answers stop: the end of a turn, and the base model's own end."""
    path = base / "generation_config.json"
    own = read_json(path if path.is_file() else base / "config.json").get("eos_token_id")
    own = own if isinstance(own, list) else [own]
    return sorted({tokenizer.eos_token_id, *(token for token in own if type(token) is int)})


def generation_config(base: Path, tokenizer: Any, settings: AdapterSettings) -> dict[str, Any]:
    """The trained decoding. vLLM takes its default temperature from generation_config.json too."""
    decoding = asdict(settings.decoding) if settings.decoding else {"temperature": 0.0}
    return {
        **decoding,
        "do_sample": decoding["temperature"] > 0,
        "eos_token_id": end_ids(base, tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
    }


def model_card(merge: Merge, settings: AdapterSettings, scores: Mapping[str, Any] | None) -> str:
    """README.md of the merged folder, in the hub's form."""
    licence = licence_of(merge.base)
    kind = "32-bit" if merge.in_float32 else "16-bit"
    return f"""---
base_model: {merge.base_name}
{licence}library_name: transformers
language: [ru, kk]
tags: [legal, kazakhstan]
---
# Questions on Kazakhstan's legislation

`{merge.base_name}` with the LoRA adapter of run {settings.run or "unknown"} merged into its {kind} weights.
The chat template renders the prompt of the training (no thinking), `generation_config.json` its decoding and
both end tokens; `legalqa.json` says how it was trained.

{score_table(scores)}
Answers can be wrong and cite articles that do not exist. This is not legal advice. The base model's licence
applies.
"""


def licence_of(base: Path) -> str:
    """The `license:` line of the base model's card, or nothing: then LICENSE or NOTICE, copied, says it."""
    card = base / "README.md"
    lines = card.read_text("utf-8", errors="replace").splitlines() if card.is_file() else []
    return "".join(f"{line}\n" for line in lines[1:30] if re.match(r"license(_name|_link)?:", line))


def score_table(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return "Scores: not measured.\n"
    rows = "\n".join(
        f"| {name} | {100 * scores['metrics'][name]['mean']:.1f} |"
        for name in CARD_SCORES
        if scores["metrics"].get(name, {}).get("mean") is not None
    )
    title = f"Scores of the adapter on {scores['num_samples']} validation questions, %:"
    return f"{title}\n\n| metric | mean |\n|---|---|\n{rows}\n"


def scores_of(adapter: Path, logs_dir: str | Path) -> Mapping[str, Any] | None:
    """`summary` of the newest benchmark of this very adapter, or None."""
    sha256 = file_sha256(adapter / ADAPTER_FILES[1])
    for path in sorted(Path(logs_dir).glob("benchmark_*.json"), reverse=True):
        with contextlib.suppress(UserError):
            log = read_json(path)
            if (log.get("meta", {}).get("adapter") or {}).get("sha256") == sha256:
                return log["summary"]
    return None


@contextlib.contextmanager
def put_in_place(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` whole at the end; after an error or a kill `target` is as it
    was."""
    temporary = beside(target, ".exporting.tmp")
    remove(temporary)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        with writing(f"the export to {target}", "free space and start again"):
            open_to_others(temporary)
            sync(*(path for path in temporary.rglob("*") if path.is_file()), temporary)
            remove(target)
            os.replace(temporary, target)
            sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_space(target: Path, needed_bytes: int) -> None:
    """UserError unless the disk of `target` has room for what the export holds at its fullest."""
    parent = next(path for path in target.resolve().parents if path.is_dir())
    free = shutil.disk_usage(parent).free
    if free < needed_bytes:
        raise UserError(
            f"{parent} has {free / 1e9:.1f} GB free, the export needs {needed_bytes / 1e9:.1f} GB; free "
            "space, or --output on another disk"
        )
