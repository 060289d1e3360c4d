"""What computes, and its memory."""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Device:
    """What computes."""

    type: str  # "cuda", "mps" or "cpu"
    name: str
    memory_bytes: int


def find_device() -> Device:
    """The first CUDA GPU, or the machine itself."""
    import psutil
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Device("cuda", properties.name, properties.total_memory)
    kind = "mps" if torch.backends.mps.is_available() else "cpu"
    return Device(kind, cpu_name(), psutil.virtual_memory().total)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the GPU or the host: torch, its CPU allocator, cuBLAS and the kernel each say it otherwise."""
    words = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")
    return isinstance(error, MemoryError) or (
        isinstance(error, (RuntimeError, OSError)) and any(word in str(error).lower() for word in words)
    )


def cpu_name() -> str:
    import platform

    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        if cpuinfo.is_file()
        else []
    )
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def peak_memory_bytes() -> int:
    """Peak resident memory of this process, bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
