"""An adapter merged into its 16-bit base: an ordinary model folder, written tensor by tensor."""

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from legalqa.errors import UserError
from legalqa.files import beside, file_sha256, read_json, sync, write_json, write_text, writing
from legalqa.model import untrusted
from legalqa.model.adapter import ADAPTER_FILES, AdapterSettings, check_adapter, remove
from legalqa.model.base import PACKED, check_model_name, load_tokenizer, weight_files
from legalqa.model.prompt import prompt_sha256

SHARD_BYTES = 2 * 10**9  # a shard is built in memory, and copied once when it is written
DTYPE_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
CARD_SCORES = ("token_f1", "citation_f1", "citation_exists", "overall")
# The last part of a 4-bit repository's name, without which it is, by its makers' custom, the 16-bit one.
FOUR_BIT_NAME = re.compile(r"-(unsloth-)?bnb-4bit$", re.IGNORECASE)


@dataclass(frozen=True)
class Merge:
    """What a merge reads and writes: every tensor of the base, and the pair of the adapter that changes it."""

    adapter: Path
    base_name: str  # hub id or folder
    base: Path
    files: dict[str, Path]  # tensor: file of the base
    shapes: dict[str, tuple[str, list[int]]]  # tensor: (safetensors dtype, shape)
    pairs: dict[str, str]  # tensor: the adapter's key up to `.lora_A.weight`
    scale: float  # alpha / r, or alpha / sqrt(r)
    in_float32: bool  # the values as they are added; else rounded to the base's 16 bits

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shapes.values())

    def bytes_of(self, tensor: str) -> int:
        dtype, shape = self.shapes[tensor]
        return math.prod(shape) * (4 if self.in_float32 else DTYPE_BYTES[dtype])

    @property
    def total_bytes(self) -> int:
        return sum(map(self.bytes_of, self.shapes))


def plan_merge(adapter: str | Path, base_name: str | None, in_float32: bool) -> Merge:
    """Read the headers alone. UserError when the base is 4-bit, not here, or another model than the adapter's."""
    recorded = check_adapter(adapter)
    base_name = base_name or recorded
    base = base_folder(base_name)
    files = {name: path for path in weight_files(str(base)) for name in untrusted.tensor_headers(path)}
    shapes = {
        name: header
        for path in weight_files(str(base))
        for name, header in untrusted.tensor_headers(path).items()
    }
    if "quantization_config" in read_json(base / "config.json") or any(
        dtype in PACKED for dtype, _ in shapes.values()
    ):
        raise UserError(
            f"{base_name} holds 4-bit weights alone; merged into them, the adapter would be rounded to 4 bits and "
            f"answer worse; give the 16-bit model that they were made of: --base {FOUR_BIT_NAME.sub('', base_name)}"
            + ("" if FOUR_BIT_NAME.search(base_name) else " (its name without 4-bit)")
        )
    odd = sorted({dtype for dtype, _ in shapes.values()} - set(DTYPE_BYTES))
    if odd:
        raise UserError(
            f"{base_name}: weights of type {', '.join(odd)}; give a base of 16 or 32 bits: --base NAME"
        )
    settings = untrusted.lora_settings(Path(adapter))[1]
    root = math.sqrt(settings["r"]) if settings["use_rslora"] else settings["r"]
    pairs = matched_pairs(Path(adapter), base_name, shapes)
    check_same_model(recorded, base_name, base)
    return Merge(
        Path(adapter), base_name, base, files, shapes, pairs, settings["lora_alpha"] / root, in_float32
    )


def base_folder(name: str) -> Path:
    """The folder of a base model; a hub id is downloaded if its weights are not in the cache."""
    name = check_model_name(name)
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    with untrusted.loading(f"the model {name}"):
        return Path(
            snapshot_download(
                name, allow_patterns=["*.safetensors", "*.json", "LICENSE*", "NOTICE*", "README.md"]
            )
        )


def matched_pairs(
    adapter: Path, base_name: str, shapes: Mapping[str, tuple[str, list[int]]]
) -> dict[str, str]:
    """{tensor of the base: the adapter's key}; UserError when one has no tensor of its size in the base."""
    headers, pairs = untrusted.tensor_headers(adapter / ADAPTER_FILES[1]), {}
    lora = {name: shape for name, (_, shape) in headers.items()}
    for key in sorted({name.rsplit(".lora_", 1)[0] for name in lora}):
        tensor = key.removeprefix("base_model.model.") + ".weight"
        a, b = (lora.get(f"{key}.lora_{part}.weight") for part in "AB")
        if tensor not in shapes or a is None or b is None or shapes[tensor][1] != [b[0], a[1]]:
            raise UserError(
                f"{adapter}: {tensor} does not fit {base_name}; give the base that the adapter was trained on: --base NAME"
            )
        pairs[tensor] = key
    return pairs


def check_same_model(recorded: str, base_name: str, base: Path) -> None:
    """UserError when --base is another model than the recorded 4-bit one: these keep their norms in 16 bits."""
    old = {name: path for path in weight_files(recorded) for name in untrusted.tensor_headers(path)}
    new = {name: path for path in weight_files(str(base)) for name in untrusted.tensor_headers(path)}
    norms = [name for name in sorted(old) if name.endswith("norm.weight") and name in new]
    if norms and base_name != recorded:
        name = norms[-1]
        theirs, ours = read_tensor(old[name], name).float(), read_tensor(new[name], name).float()
        if theirs.shape != ours.shape or not theirs.allclose(ours, rtol=0.01, atol=0.01):
            raise UserError(
                f"--base {base_name} is not the model that {recorded} was made of ({name} differs); the adapter would "
                "answer worse without a word; give that model"
            )


def read_tensor(path: Path, name: str) -> Any:
    """A copy of one tensor. The file is opened for it alone: an open one would keep every page it has read."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name).clone()


def merged_tensor(merge: Merge, name: str) -> Any:
    """W, or W + scale * B A: added in float32, rounded once."""
    import torch

    weight = read_tensor(merge.files[name], name)
    dtype = torch.float32 if merge.in_float32 else weight.dtype
    if name in merge.pairs:
        a, b = (
            read_tensor(merge.adapter / ADAPTER_FILES[1], f"{merge.pairs[name]}.lora_{part}.weight").float()
            for part in "AB"
        )
        weight = weight.float().addmm_(b, a, alpha=merge.scale)
    return weight.to(dtype).contiguous()


def make_shards(merge: Merge, shard_bytes: int = SHARD_BYTES) -> list[list[str]]:
    """The tensors of each file, in the base's order: as many as fit, one at least."""
    shards, filled = [[]], 0
    for name in merge.shapes:
        size = merge.bytes_of(name)
        if shards[-1] and filled + size > shard_bytes:
            shards, filled = [*shards, []], 0
        shards[-1].append(name)
        filled += size
    return shards


def write_weights(
    merge: Merge, folder: Path, report: Callable[[str], None], shard_bytes: int = SHARD_BYTES
) -> None:
    """The shards and their index, as transformers writes them."""
    from safetensors.torch import save_file

    shards, weight_map = make_shards(merge, shard_bytes), {}
    for number, names in enumerate(shards, 1):
        report(f"merge      {number} of {len(shards)} files")
        file = (
            f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        )
        save_file(
            {name: merged_tensor(merge, name) for name in names}, folder / file, metadata={"format": "pt"}
        )
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": merge.total_bytes}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)


def write_merged(
    merge: Merge,
    settings: AdapterSettings,
    folder: Path,
    report: Callable[[str], None],
    scores: Mapping[str, Any] | None,
) -> None:
    """The whole model folder: weights, config, tokenizer, decoding, how it was trained, card and licence."""
    tokenizer = load_tokenizer(str(merge.adapter))
    tokenizer.chat_template = trained_template(tokenizer.chat_template, settings.system_prompt)
    tokenizer.save_pretrained(folder)
    model_config = read_json(merge.base / "config.json") | {"eos_token_id": tokenizer.eos_token_id}
    if merge.in_float32:
        model_config = {key: value for key, value in model_config.items() if key != "torch_dtype"} | {
            "dtype": "float32"
        }
    write_json(folder / "config.json", model_config)
    write_json(folder / "generation_config.json", generation_config(merge.base, tokenizer, settings))
    merged_settings(merge, settings, tokenizer).save(folder)
    for path in (*merge.base.glob("LICENSE*"), *merge.base.glob("NOTICE*")):
        shutil.copyfile(path, folder / path.name)
    write_text(folder / "README.md", model_card(merge, settings, scores))
    write_weights(merge, folder, report)


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
    """The chat template that renders the trained prompt without being asked to: vLLM, llama.cpp and others call it
    with messages alone, so thinking is off and the system prompt there in the template itself."""
    lines = ["{%- set enable_thinking = false %}"] if "enable_thinking" in template else []
    if system_prompt:
        message = json.dumps(system_prompt, ensure_ascii=False)
        lines += [
            "{%- if messages[0]['role'] != 'system' %}{%- set messages = [{'role': 'system', 'content': "
            + message
            + "}] + messages %}{%- endif %}"
        ]
    return "".join(lines) + template


def end_ids(base: Path, tokenizer: Any) -> list[int]:
    """The tokens at which answers stop: the end of a turn, and the base model's own end."""
    path = base / "generation_config.json"
    own = (
        read_json(path).get("eos_token_id")
        if path.is_file()
        else read_json(base / "config.json").get("eos_token_id")
    )
    own = own if isinstance(own, list) else [own]
    return sorted({tokenizer.eos_token_id, *(token for token in own if type(token) is int)})


def generation_config(base: Path, tokenizer: Any, settings: AdapterSettings) -> dict[str, Any]:
    """The trained decoding as generation_config.json has it. vLLM takes its default temperature from there."""
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
Answers can be wrong and cite articles that do not exist. This is not legal advice. The base model's licence applies.
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
    return f"Scores of the adapter on {scores['num_samples']} validation questions, %:\n\n| metric | mean |\n|---|---|\n{rows}\n"


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
def put_in_place(target: Path):
    """A folder to fill, which becomes `target` whole at the end; after an error or a kill `target` is as it was."""
    temporary = beside(target, ".exporting.tmp")
    remove(temporary)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        with writing(f"the export to {target}", "free space and start again"):
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
            f"{parent} has {free / 1e9:.1f} GB free, the export needs {needed_bytes / 1e9:.1f} GB; free space, or "
            "--output on another disk"
        )
