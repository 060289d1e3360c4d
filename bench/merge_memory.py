"""Peak memory and time of a merge at Qwen3's real dimensions, with random weights that it makes itself.

  python bench/merge_memory.py --size 8b --folder /tmp/merge      needs 34 GB of disk; --size 4b needs 17

Writes  bench/results/merge_memory.json. The merge runs in a process of its own; its peak is the kernel's.
"""

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from legalqa import runlog
from legalqa.files import write_json
from legalqa.model.device import find_device, peak_memory_bytes
from legalqa.model.merge import plan_merge, write_weights

# hidden size, intermediate size, layers, query heads, whether the head is the embedding (Qwen3's config.json)
SIZES = {"8b": (4096, 12288, 36, 32, False), "4b": (2560, 9728, 36, 32, True), "tiny": (64, 128, 2, 4, True)}
VOCABULARY, KEY_VALUE_HEADS, HEAD, RANK = 151_936, 8, 128, 16
SHARD_BYTES = 4_000_000_000
RESULTS = Path(__file__).resolve().parent / "results"


def tensor_shapes(size: str) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """({tensor of the base: shape}, {adapted layer: shape})."""
    hidden, inner, layers, heads, is_tied = SIZES[size]
    adapted = {
        "self_attn.q_proj": [heads * HEAD, hidden],
        "self_attn.k_proj": [KEY_VALUE_HEADS * HEAD, hidden],
        "self_attn.v_proj": [KEY_VALUE_HEADS * HEAD, hidden],
        "self_attn.o_proj": [hidden, heads * HEAD],
        "mlp.gate_proj": [inner, hidden],
        "mlp.up_proj": [inner, hidden],
        "mlp.down_proj": [hidden, inner],
    }
    layer_shapes = {
        f"model.layers.{i}.{name}": shape for i in range(layers) for name, shape in adapted.items()
    }
    shapes = {"model.embed_tokens.weight": [VOCABULARY, hidden], "model.norm.weight": [hidden]}
    shapes |= {} if is_tied else {"lm_head.weight": [VOCABULARY, hidden]}
    return shapes | {f"{name}.weight": shape for name, shape in layer_shapes.items()}, layer_shapes


def make_base(folder: Path, shapes: dict[str, list[int]]) -> None:
    """Random bfloat16 shards of up to 4 GB, as Qwen's own."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    shard, filled, number = {}, 0, 0
    block = torch.randn(1 << 24).bfloat16() * 0.02
    for position, (name, shape) in enumerate(shapes.items(), 1):
        count = math.prod(shape)
        shard[name] = block.repeat(-(-count // len(block)))[:count].reshape(shape).clone()
        filled += 2 * count
        if filled > SHARD_BYTES or position == len(shapes):
            save_file(shard, folder / f"model-{number:05}.safetensors", metadata={"format": "pt"})
            shard, filled, number = {}, 0, number + 1
    (folder / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')


def make_adapter(folder: Path, base: Path, layers: dict[str, list[int]]) -> None:
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    lora = {}
    for name, (rows, columns) in layers.items():
        lora[f"base_model.model.{name}.lora_A.weight"] = torch.randn(RANK, columns) * 0.01
        lora[f"base_model.model.{name}.lora_B.weight"] = torch.randn(rows, RANK) * 0.01
    save_file(lora, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "use_rslora": False}
    settings |= {"base_model_name_or_path": str(base), "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    write_json(folder / "adapter_config.json", settings)


def merge(folder: Path) -> dict[str, float]:
    """Plan and write: what export_model.py does but for the tokenizer and the replay."""
    started = time.monotonic()
    plan = plan_merge(folder / "adapter", None, False)
    (folder / "merged").mkdir()
    write_weights(plan, folder / "merged", lambda text: None)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "parameters": plan.parameters,
        "tensors": len(plan.shapes),
        "merged_tensors": len(plan.pairs),
        "written_bytes": plan.total_bytes,
        "merge_sec": round(seconds, 1),
        "cpu_sec": round(used.ru_utime + used.ru_stime, 1),
        "bytes_per_sec": round(plan.total_bytes / seconds),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="8b")
    parser.add_argument("--folder", type=Path, required=True, help="where the weights lie while it runs")
    parser.add_argument("--merge", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS / "merge_memory.json")
    args = parser.parse_args()
    if args.merge:
        print(json.dumps(merge(args.folder)))
        return
    shapes, layers = tensor_shapes(args.size)
    try:
        make_base(args.folder / "base", shapes)
        make_adapter(args.folder / "adapter", args.folder / "base", layers)
        command = [sys.executable, __file__, "--merge", "--folder", str(args.folder)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        shutil.rmtree(args.folder, ignore_errors=True)
    device = find_device()
    result = {"size": args.size, "device": device.name, "memory_bytes": device.memory_bytes} | result
    print(json.dumps(result, indent=2))
    write_json(args.output, result | {"git": runlog.git_state(), "versions": runlog.package_versions()})


if __name__ == "__main__":
    main()
