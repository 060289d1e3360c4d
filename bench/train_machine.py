"""What demo training takes of a CPU: memory over many steps, and speed beside a program that never stops.

Memory: one run of train_8b.py, its resident memory read at every step of its history. It must not grow: the
mean of the last 100 steps against that of steps 100 to 200. Speed: the same steps on free cores and beside
one busy process, with the OpenMP threads spinning as the toolkit sets them and as OpenMP does by default.
Prints both and, last, the same as JSON.

  python bench/train_machine.py --memory-steps 700
  python bench/train_machine.py --memory-steps 0        speed alone, five minutes on two cores
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

WARM_UP_STEPS, TIMED_STEPS = 4, 12
BUSY = (sys.executable, "-c", "while True: pass")
DEFAULT_SPINS = {"GOMP_SPINCOUNT": "300000"}  # libgomp's own, without OMP_WAIT_POLICY


def start(folder, steps, environment, rows_per_step=4):
    """A running train_8b.py of so many steps, a line of history each."""
    command = [
        sys.executable,
        str(REPOSITORY / "train_8b.py"),
        "--profile",
        "demo",
        "--max-steps",
        str(steps),
    ]
    command += ["--eval-samples", "0", "--logging-steps", "1", "--save-steps", str(steps)]
    command += ["--batch-size", str(rows_per_step), "--grad-accum", "1"]
    command += ["--output-dir", str(folder / "adapter"), "--checkpoint-dir", str(folder / "checkpoints")]
    command += ["--logs-dir", str(folder / "logs")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **environment}, **quiet)


def history(folder):
    return [
        json.loads(line) for path in folder.glob("logs/history_*") for line in path.read_text().splitlines()
    ]


def timed_sec(environment, beside=None):
    """Seconds of the timed steps, with a process of the command `beside` on the same cores."""
    with tempfile.TemporaryDirectory() as name:
        folder, other = Path(name), subprocess.Popen(beside) if beside else None
        try:
            if start(folder, WARM_UP_STEPS + TIMED_STEPS, environment).wait():
                sys.exit("error: train_8b.py failed; run it by hand: python train_8b.py --profile demo")
        finally:
            if other:
                other.kill()
        times = [entry["elapsed_sec"] for entry in history(folder)]
        return times[-1] - times[WARM_UP_STEPS - 1]


def resident_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def memory_of_steps(steps, rows_per_step):
    """({step: resident bytes}, peak bytes) of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder, by_step = Path(name), {}
        process = start(folder, steps, {}, rows_per_step)
        while process.poll() is None:
            entries = history(folder)
            with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
                by_step[entries[-1]["step"]] = resident_bytes(process.pid)
            time.sleep(0.5)
        (path,) = folder.glob("logs/metrics_*.json")
        return by_step, json.loads(path.read_text())["peak_memory_bytes"]


def mean_between(by_step, first, last):
    sizes = [size for step, size in by_step.items() if first <= step <= last]
    return sum(sizes) / len(sizes)


def measure_memory(steps, rows_per_step):
    by_step, peak = memory_of_steps(steps, rows_per_step)
    early, late = mean_between(by_step, 100, 200), mean_between(by_step, steps - 100, steps)
    print(f"resident memory, steps 100-200: {early / 1e9:.2f} GB, last 100 of {steps}: {late / 1e9:.2f} GB")
    print(f"growth {100 * (late / early - 1):+.1f} %, peak {peak / 1e9:.2f} GB")
    sizes = {"steps": steps, "rows_per_step": rows_per_step}
    return sizes | {"early_bytes": early, "late_bytes": late, "peak_bytes": peak}


def measure_speed():
    results = {}
    for label, environment in (("as set", {}), ("OpenMP's default", DEFAULT_SPINS)):
        free, busy = timed_sec(environment), timed_sec(environment, BUSY)
        results[label] = {"free_sec": free, "busy_sec": busy, "busy_share_of_free_speed": free / busy}
        share = 100 * free / busy
        print(f"{label:18}{TIMED_STEPS} steps: {free:6.1f} s free, {busy:6.1f} s busy: {share:.0f} %")
    return results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memory-steps", type=int, default=700, help="optimizer steps; 0: speed alone")
    parser.add_argument("--memory-rows", type=int, default=4, help="rows of each of these")
    args = parser.parse_args()
    from legalqa import runlog
    from legalqa.model.base import import_unsloth
    from legalqa.model.device import find_device

    speed = measure_speed()
    memory = measure_memory(args.memory_steps, args.memory_rows) if args.memory_steps else None
    import_unsloth("models/demo")
    facts = {"device": asdict(find_device()), "versions": runlog.package_versions()}
    print(json.dumps({"speed": speed, "memory": memory, **facts}))


if __name__ == "__main__":
    main()
