"""An adapter's weights added to those of its 16-bit base, tensor by tensor: memory holds one file at most."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legalqa.errors import UserError
from legalqa.files import read_json, write_json, writing
from legalqa.model import untrusted
from legalqa.model.adapter import ADAPTER_FILES, check_adapter
from legalqa.model.base import PACKED, check_model_name, weight_files

SHARD_BYTES = 2 * 10**9  # a shard is built in memory, and copied once when it is written
DTYPE_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
BASE_FILES = ["*.safetensors", "*.json", "LICENSE*", "NOTICE*", "README.md"]
# The last part of a 4-bit repository's name, without which it is, by its makers' custom, the 16-bit one.
FOUR_BIT_NAME = re.compile(r"-(unsloth-)?bnb-4bit$", re.IGNORECASE)


@dataclass(frozen=True)
class Merge:
    """What a merge reads and writes: the tensors of the base, and which of them the adapter changes."""

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
    """From the headers alone. UserError when the base is 4-bit, not here, or another than the adapter's."""
    recorded = check_adapter(adapter)
    base_name = base_name or recorded
    base = base_folder(base_name)
    headers = {path: untrusted.tensor_headers(path) for path in weight_files(str(base))}
    shapes = {name: header for tensors in headers.values() for name, header in tensors.items()}
    check_width(base_name, base, {dtype for dtype, _ in shapes.values()})
    pairs = matched_pairs(Path(adapter), base_name, shapes)
    if base_name != recorded:
        check_same_model(recorded, base_name, base)
    settings = untrusted.lora_settings(Path(adapter))[1]
    root = math.sqrt(settings["r"]) if settings["use_rslora"] else settings["r"]
    return Merge(
        adapter=Path(adapter),
        base_name=base_name,
        base=base,
        files={name: path for path, tensors in headers.items() for name in tensors},
        shapes=shapes,
        pairs=pairs,
        scale=settings["lora_alpha"] / root,
        in_float32=in_float32,
    )


def check_width(base_name: str, base: Path, dtypes: set[str]) -> None:
    """UserError unless the weights have 16 bits or 32."""
    if "quantization_config" in read_json(base / "config.json") or dtypes & set(PACKED):
        exact = FOUR_BIT_NAME.sub("", base_name)
        raise UserError(
            f"{base_name} holds packed weights alone: merged into them the adapter would be rounded to their "
            "few bits and answer worse; give the 16-bit model that they were made of: --base "
            + (exact if exact != base_name else "NAME")
        )
    if odd := sorted(dtypes - set(DTYPE_BYTES)):
        raise UserError(f"{base_name}: weights of type {', '.join(odd)}; give a 16-bit base: --base NAME")


def base_folder(name: str) -> Path:
    """The folder of a base model; a hub id is downloaded if its weights are not in the cache."""
    name = check_model_name(name)
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    with untrusted.loading(f"the model {name}"):
        return Path(snapshot_download(name, allow_patterns=BASE_FILES))


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
                f"{adapter}: {tensor} does not fit {base_name}; give the base that it was trained on: "
                "--base NAME"
            )
        pairs[tensor] = key
    return pairs


def check_same_model(recorded: str, base_name: str, base: Path) -> None:
    """UserError when --base is another model than the recorded one, as far as that is here.

    A 4-bit model keeps its norms in 16 bits, and no two models have the same.
    """
    theirs, ours = (
        {name: path for path in weight_files(model) for name in untrusted.tensor_headers(path)}
        for model in (recorded, str(base))
    )
    name = max((name for name in theirs if name.endswith("norm.weight") and name in ours), default=None)
    if name is None:
        return
    one, other = read_tensor(theirs[name], name).float(), read_tensor(ours[name], name).float()
    if one.shape != other.shape or not one.allclose(other, rtol=0.01, atol=0.01):
        raise UserError(
            f"--base {base_name} is not the model that {recorded} was made of ({name} differs): the adapter "
            "would answer worse without a word; give that model"
        )


def read_tensor(path: Path, name: str) -> Any:
    """A copy of one tensor. The file is opened for it alone: an open one keeps every page it has read."""
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
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {name: merged_tensor(merge, name) for name in names}
        with writing(str(folder / file), "free space and start again"):
            save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": merge.total_bytes}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)
