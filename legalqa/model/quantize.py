"""A GGUF file in fewer bits, as llama-quantize makes it: `python -m legalqa.model.quantize FROM TO q4_k_m`.

The mixture of types is that of llama.cpp's src/llama-quant.cpp for a dense model, the numbers come from
ggml's own kernels, which xllamacpp carries. (The ready builds of llama-quantize on PyPI need a newer glibc
than Debian 12 has.) Memory holds one tensor.
"""

import ctypes
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHUNK_WEIGHTS = 2**22  # of a tensor's rows, a task of one thread


def has_more_bits(layer: int, num_layers: int) -> bool:
    """The layers that llama.cpp gives more bits: the first and last eighth, and every third between."""
    eighth = num_layers // 8
    return layer < eighth or layer >= 7 * num_layers // 8 or (layer - eighth) % 3 == 2


def choose_type(name: str, shape: list[int], num_layers: int, is_tied: bool, quant: str) -> str | None:
    """ggml's type of a tensor; None: as it is. `shape` has the length of a row first.

    Of the 236 tensors of the Q4_K_M file that the demo model comes in, each gets the type that it has there.
    """
    if len(shape) < 2 or not name.endswith("weight") or "_norm.weight" in name:
        return None
    if quant == "q8_0":
        return "Q8_0" if shape[0] % 32 == 0 else "F16"
    layer = re.match(r"blk\.(\d+)\.(attn_v|ffn_down)\.", name)
    more = has_more_bits(int(layer[1]), num_layers) if layer else False
    is_head = name == ("token_embd.weight" if is_tied else "output.weight")
    wanted = "Q6_K" if more or is_head else "Q4_K"
    if shape[0] % 256 == 0:
        return wanted
    return {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}[wanted] if shape[0] % 32 == 0 else "F16"


def load_kernel() -> Any:
    """ggml_quantize_chunk(type, source, target, first weight, rows, weights a row, importance) -> bytes."""
    import xllamacpp.xllamacpp as library  # pyright: ignore[reportMissingImports]

    kernel = ctypes.CDLL(library.__file__).ggml_quantize_chunk
    kernel.restype = ctypes.c_size_t
    kernel.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return kernel


def quantize_tensor(kernel: Any, data: Any, source_type: Any, target_type: Any, row_bytes: int) -> Any:
    """The rows of a tensor as bytes of `target_type`, by all cores (ctypes lets go of Python's lock)."""
    import gguf
    import numpy as np

    rows = data.reshape(-1, data.shape[-1])
    result = np.empty((len(rows), row_bytes), np.uint8)
    step = max(1, CHUNK_WEIGHTS // data.shape[-1])

    def work(start: int) -> None:
        part = np.ascontiguousarray(
            gguf.quants.dequantize(rows[start : start + step], source_type), np.float32
        )
        kernel(
            int(target_type), part.ctypes.data, result[start:].ctypes.data, 0, len(part), part.shape[1], None
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(0, len(rows), step)))
    return result.reshape(*data.shape[:-1], row_bytes)


def quantize(source: Path, target: Path, quant: str) -> None:
    import gguf
    import numpy as np

    reader, kernel = gguf.GGUFReader(source), load_kernel()
    architecture = reader.fields["general.architecture"].contents()
    num_layers = reader.fields[f"{architecture}.block_count"].contents()
    is_tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    writer = gguf.GGUFWriter(target, architecture)
    copy_fields(reader, writer, gguf.LlamaFileType[f"MOSTLY_{quant.upper()}"])
    plan = []
    for tensor in reader.tensors:
        shape = [int(size) for size in tensor.shape]
        chosen = choose_type(tensor.name, shape, num_layers, is_tied, quant)
        kind = tensor.tensor_type if chosen is None else gguf.GGMLQuantizationType[chosen]
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        row_bytes = shape[0] // block * block_bytes
        rows = shape[:0:-1]
        writer.add_tensor_info(
            tensor.name,
            [*rows, row_bytes],
            np.dtype(np.uint8),
            row_bytes * int(tensor.n_elements) // shape[0],
            kind,
        )
        plan.append((tensor, kind, row_bytes))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, kind, row_bytes in plan:
        data = tensor.data
        if kind != tensor.tensor_type:
            data = quantize_tensor(kernel, data, tensor.tensor_type, kind, row_bytes)
        writer.write_tensor_data(data)
    writer.close()


def copy_fields(reader: Any, writer: Any, file_type: Any) -> None:
    """All metadata but the file's type."""
    import gguf

    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        sub_type = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    writer.add_file_type(file_type)


if __name__ == "__main__":
    quantize(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
