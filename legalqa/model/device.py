"""What computes, and its memory."""

import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # glibc's <malloc.h>
LOGITS_BLOCK_BYTES = 2**25  # a larger block often finds no hole in the heap
# Of a process that computes on the CPU; docs/LOG.md has the measurements. Read once, as torch is imported.
CPU_ENVIRONMENT = {
    # torch and oneDNN keep the compiled kernels of the last 1,024 shapes each, half a megabyte apiece, and
    # every micro-batch has a shape of its own: memory would grow by some 10 MB a step. A step needs about 50.
    "LRU_CACHE_CAPACITY": "64",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "THP_MEM_ALLOC_ENABLE": "1",  # huge pages: fewer page faults
    # How long an OpenMP thread spins for the others: by default for milliseconds, and beside another program
    # all wait for one that is not running. Passive waiting costs 5 % on free cores, this nothing.
    "GOMP_SPINCOUNT": "1000",
}


def tune_cpu_process() -> None:
    """Settings of a process that computes on the CPU, made before torch is imported: speed, and memory that
    does not grow. What the environment says already wins."""
    for name, value in CPU_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let the process reuse the memory it frees, in place of asking the kernel for cleared pages again.

    A training step on the CPU frees and allocates gigabytes: with this it is faster and peaks lower. One
    arena, because the backward pass runs in a thread of its own and would keep another. glibc only, nothing
    elsewhere.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        libc.mallopt(M_MMAP_MAX, 0)


@dataclass(frozen=True)
class Device:
    """What computes."""

    type: str  # "cuda", "mps" or "cpu"
    name: str
    memory_bytes: int
    arithmetic: str = "bfloat16"  # of its matrix products: "bfloat16", "float16" or "float32"


def find_device() -> Device:
    """The first CUDA GPU, or the machine itself. After Unsloth's import, which chooses the arithmetic."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        arithmetic = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        return Device("cuda", properties.name, properties.total_memory, arithmetic)
    from unsloth import is_bfloat16_supported

    arithmetic = "bfloat16" if is_bfloat16_supported() else "float32"
    kind = "mps" if torch.backends.mps.is_available() else "cpu"
    return Device(kind, cpu_name(), usable_memory_bytes(), arithmetic)


def matrix_flops_per_sec(device: Device) -> float:
    """Operations a second in a large square matrix product of random numbers, in the device's arithmetic,
    laid out as a linear layer has it: some CPUs take twice as long where the second one is not transposed."""
    import torch

    size, place = (8192, "cuda") if device.type == "cuda" else (1024, "cpu")
    a, b = (torch.randn(size, size, device=place, dtype=getattr(torch, device.arithmetic)) for _ in range(2))
    times = []
    for _ in range(13):
        started = time.perf_counter()
        (a @ b.T)[0, 0].item()  # waits for the GPU
        times.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(times[3:])


def why_no_cuda() -> str:
    """Why torch cannot use the NVIDIA GPU whose driver is loaded, and what to do when Unsloth gave up."""
    import torch

    driver = driver_version()
    on_cpu = "or compute on the CPU: CUDA_VISIBLE_DEVICES= before the command, with --profile demo"
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} is a build without CUDA, beside an NVIDIA GPU (driver "
            f"{driver}); install the "
            f"build with it: pip install --force-reinstall torch=={torch.__version__.split('+')[0]}; {on_cpu}"
        )
    built = f"torch {torch.__version__} for CUDA {torch.version.cuda}"
    if (
        torch.version.cuda.startswith("13.")
        and driver.split(".")[0].isdigit()
        and int(driver.split(".")[0]) < 580
    ):
        return (
            f"driver {driver} is too old for {built}, which needs 580 or newer: update the driver; {on_cpu}"
        )
    return f"{built} finds no usable GPU, though driver {driver} is loaded; does nvidia-smi? {on_cpu}"


def driver_version() -> str:
    """The NVIDIA driver's, as "550.54.15"; "unknown" where nvidia-smi does not say."""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        lines = subprocess.run(query, capture_output=True, text=True).stdout.split()
        if lines and lines[0][0].isdigit():
            return lines[0]
    return "unknown"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the GPU or the host: torch, cuBLAS and the kernel each say it otherwise."""
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


def usable_memory_bytes() -> int:
    """The machine's memory, or as much of it as a container or systemd leaves to this process."""
    import psutil

    return min([psutil.virtual_memory().total, *memory_limits()])


def memory_limits(root: Path = Path("/")) -> Iterator[int]:
    """Bytes that Linux's control groups, version 2 or 1, allow this process: its own and those around it."""
    membership, groups = root / "proc/self/cgroup", root / "sys/fs/cgroup"
    for line in membership.read_text().splitlines() if membership.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            folder, name = groups / path.lstrip("/"), "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = groups / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
        else:
            continue
        files = [place / name for place in (folder, *folder.parents)]
        limits = [file.read_text().strip() for file in files if file.is_file()]
        yield from (int(limit) for limit in limits if limit.isdigit())  # "max": none


def peak_memory_bytes() -> int:
    """Peak resident memory of this process, bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
