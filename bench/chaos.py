"""Does a run survive kill -9 at any moment? Real runs of the real scripts on a tiny model, killed, started
again, compared.

Each training run is killed one to four times: half of the kills at a random moment of the whole run, half
within milliseconds of a save (checkpoint, adapter) being seen on the disk. After each kill it is started
again, with --resume where a complete checkpoint exists. Its adapter and its losses must equal those of the
unbroken run bit for bit, and at no moment may a complete checkpoint, or the adapter that was there before, be
gone. The same for benchmark.py: no answer made twice, the same answers in the end. The last line is the
result as JSON; exit code 1 when anything was lost or differs.

  python bench/chaos.py --runs 50 --benchmark-runs 20        some 5 minutes on two cores
"""

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

import tiny
import warm

from legalqa.files import file_sha256, read_json
from legalqa.model.adapter import ADAPTER_FILES, SETTINGS_FILE, AdapterSettings, is_adapter
from legalqa.training import checkpoints

# What can go wrong at a resume: dropout (random state), rows grouped by length (order), micro-batches of a
# step (split or accumulated), a short last step, saves that fall inside a logging interval.
VARIANTS = {
    "plain": (),
    "by length": ("--group-by-length",),
    "dropout": ("--lora-dropout", "0.2"),
    "split": ("--micro-batch-tokens", "300"),
    "accumulation": ("--micro-batch-tokens", "0", "--save-total-limit", "1"),
}
COMMON = (
    "--profile",
    "demo",
    "--max-seq-length",
    256,
    "--grad-accum",
    4,
    "--num-epochs",
    3,
    "--max-steps",
    -1,
    "--logging-steps",
    2,
    "--save-steps",
    3,
    "--eval-samples",
    4,
    "--learning-rate",
    0.01,
    "--group-by-length",
    "false",
)
ROWS, VALIDATION_ROWS, MOST_KILLS, TIMEOUT_SEC = 44, 6, 4, 600


def train_flags(data, folder, variant):
    return [
        "--model-name",
        data / "model",
        "--train-file",
        data / "train.jsonl",
        "--validation-file",
        data / "validation.jsonl",
        "--output-dir",
        folder / "adapter",
        "--checkpoint-dir",
        folder / "checkpoints",
        "--logs-dir",
        folder / "logs",
        "--overwrite",
        *COMMON,
        *VARIANTS[variant],
    ]


def train_outcome(folder):
    """What must not depend on kills: the adapter's bytes, every loss, the mean loss."""
    (metrics_file,) = (folder / "logs").glob("metrics_*.json")
    metrics = read_json(metrics_file)
    history = [
        {key: value for key, value in entry.items() if key != "elapsed_sec"} for entry in metrics["history"]
    ]
    file = folder / "logs" / metrics_file.name.replace("metrics", "history").replace(".json", ".jsonl")
    assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == metrics["history"]
    return {
        "adapter": file_sha256(folder / "adapter" / "adapter_model.safetensors"),
        "history": history,
        "train_loss": metrics["train_loss"],
        "epoch": metrics["epoch"],
        "total_flos": metrics["total_flos"],
    }


def saving(folder):
    """Whether a checkpoint or the adapter is being written at this moment."""
    return (folder / "adapter.saving.tmp").exists() or any(folder.glob("checkpoints/*/saving.tmp"))


def kill_somewhere(process, folder, rng, usual_sec):
    """Kill -9 at a random moment, or just after a random one of the run's saves has begun. False: it ended
    before."""
    deadline = time.monotonic() + rng.uniform(0.2, 1.0) * usual_sec
    if rng.random() < 0.5:
        saves = rng.randint(1, 6)
        while saves and process.is_alive():
            saves -= 1
            while process.is_alive() and not saving(folder):
                time.sleep(0.0005)
            if saves:
                while process.is_alive() and saving(folder):
                    time.sleep(0.0005)
        deadline = time.monotonic() + rng.uniform(0, 0.03)
    process.join(max(0, deadline - time.monotonic()))
    alive = process.exitcode is None
    process.kill()
    process.join()
    return alive and process.exitcode == -9


def end_of_log(folder):
    return (folder / "log").read_text("utf-8")[-2000:]


def adapter_is_there(folder):
    """Whether the old adapter or the new one is whole, under its name or, between two renames, under the one
    next to it."""
    return any(
        is_adapter(path) and (path / ADAPTER_FILES[1]).is_file() and (path / SETTINGS_FILE).is_file()
        for path in (folder / "adapter", folder / "adapter.old.tmp")
    )


def chaotic_training(python, data, folder, variant, rng, usual_sec, unbroken, old_adapter, counts):
    """One run, killed and resumed until it is done; what is lost or differs is counted and named."""
    shutil.copytree(old_adapter, folder / "adapter")
    kills, best_step = rng.randint(1, MOST_KILLS), 0
    while True:
        newest, _ = checkpoints.newest_complete(folder / "checkpoints")
        step = checkpoints.step_of(newest) if newest else 0
        if step < best_step or not adapter_is_there(folder):
            counts["lost"] += 1
            print(
                f"LOST in {folder}: step {best_step} -> {step}, adapter there: {adapter_is_there(folder)}",
                flush=True,
            )
        best_step = max(step, best_step)
        counts["resumed"] += newest is not None
        process = python.start(
            "train_8b.py",
            train_flags(data, folder, variant) + (["--resume"] if newest else []),
            folder,
            folder / "log",
        )
        if kills:
            killed = kill_somewhere(process, folder, rng, usual_sec)
            counts["killed"] += killed
            kills -= killed
            if killed:
                continue
        process.join(TIMEOUT_SEC)
        if process.exitcode != 0:
            process.kill()
            counts["lost"] += 1
            print(f"LOST in {folder}: exit code {process.exitcode}:\n{end_of_log(folder)}", flush=True)
            return
        if any((folder / "logs").glob("metrics_*.json")):
            break
    outcome = train_outcome(folder)
    run = AdapterSettings.load(folder / "adapter").run
    leftovers = [
        path.name
        for pattern in (
            "*.tmp",
            "*.lock",
            f"checkpoints/{run}/*.tmp",
            f"checkpoints/{run}.lock",
            f"logs/*{run}*.tmp",
        )
        for path in folder.glob(pattern)
    ]
    wrong = [key for key in unbroken if outcome[key] != unbroken[key]] + leftovers
    counts["differing"] += bool(wrong)
    if wrong:
        print(f"DIFFERS in {folder} ({variant}): {', '.join(wrong)}", flush=True)


def chaotic_benchmark(python, data, folder, adapter, rng, usual_sec, unbroken, counts):
    """benchmark.py, killed and started again until it is done: no answer is lost, and the answers are the
    same."""
    kills, answered = rng.randint(1, MOST_KILLS), 0
    while True:
        process = python.start("benchmark.py", benchmark_flags(data, folder, adapter), folder, folder / "log")
        killed = False
        if kills:
            wanted = answered + rng.randint(0, ROWS // 2)
            while process.is_alive() and num_answers(folder) < wanted:
                time.sleep(0.001)
            process.join(rng.uniform(0, 0.3 * usual_sec))
            killed = process.exitcode is None
            process.kill()
            counts["killed"] += killed
            kills -= killed
        process.join(TIMEOUT_SEC)
        lines = num_answers(folder)
        if not any(folder.glob("benchmark_*.json")) and lines < answered:
            counts["lost"] += 1
            print(f"LOST in {folder}: {answered} answers -> {lines}", flush=True)
        answered = lines
        counts["resumed"] += killed
        if not killed:
            break
    if process.exitcode != 0 or benchmark_outcome(folder) != unbroken:
        counts["differing"] += 1
        print(f"DIFFERS in {folder}: exit code {process.exitcode}\n{end_of_log(folder)}", flush=True)


def num_answers(folder):
    with contextlib.suppress(FileNotFoundError):  # a finished run deletes the file, perhaps at this moment
        return sum(path.read_bytes().count(b"\n") for path in folder.glob("answers_*.jsonl"))
    return 0


def benchmark_flags(data, folder, adapter):
    return [
        "--profile",
        "demo",
        "--model",
        adapter,
        "--validation-file",
        data / "train.jsonl",
        "--train-file",
        data / "none.jsonl",
        "--num-samples",
        "all",
        "--max-new-tokens",
        24,
        "--generation-batch-size",
        4,
        "--logs-dir",
        folder,
    ]


def benchmark_outcome(folder):
    path = max(
        folder.glob("benchmark_*.json")
    )  # a kill after the result was written leaves one, and the next start makes another
    return [
        [sample[key] for key in ("id", "prediction", "new_tokens", "scores")]
        for sample in read_json(path)["samples"]
    ]


def unbroken_run(python, script, flags, folder):
    """Seconds of a run that nothing kills."""
    folder.mkdir(parents=True)
    started = time.monotonic()
    code, log = python.run(script, flags, folder, folder / "log")
    assert code == 0, log
    return time.monotonic() - started


def run_all(python, root, runs, benchmark_runs, rng):
    """{"training": counts, "benchmark": counts} of the chaotic runs, made in the folder `root`."""
    data = root / "data"
    data.mkdir()
    rows = tiny.make_rows(ROWS + VALIDATION_ROWS)
    tiny.write_rows(data / "train.jsonl", rows[:ROWS])
    tiny.write_rows(data / "validation.jsonl", rows[ROWS:])
    python.call(tiny.make_model, data / "model")
    counts = {
        stage: {"runs": number, "killed": 0, "resumed": 0, "lost": 0, "differing": 0}
        for stage, number in (("training", runs), ("benchmark", benchmark_runs))
    }

    variants = list(VARIANTS)[: max(1, runs)]
    usual_sec, unbroken = {}, {}
    for variant in variants:
        folder = root / f"unbroken {variant}"
        usual_sec[variant] = unbroken_run(python, "train_8b.py", train_flags(data, folder, variant), folder)
        unbroken[variant] = train_outcome(folder)
    adapter = root / f"unbroken {variants[0]}" / "adapter"
    for number in range(runs):
        folder, variant = root / f"run {number}", variants[number % len(variants)]
        folder.mkdir()
        chaotic_training(
            python,
            data,
            folder,
            variant,
            rng,
            usual_sec[variant],
            unbroken[variant],
            adapter,
            counts["training"],
        )
        print(f"training {number + 1}/{runs}: {counts['training']}", flush=True)

    if benchmark_runs:
        folder = root / "unbroken benchmark"
        seconds = unbroken_run(python, "benchmark.py", benchmark_flags(data, folder, adapter), folder)
        answers = benchmark_outcome(folder)
    for number in range(benchmark_runs):
        folder = root / f"benchmark {number}"
        folder.mkdir()
        chaotic_benchmark(python, data, folder, adapter, rng, seconds, answers, counts["benchmark"])
        print(f"benchmark {number + 1}/{benchmark_runs}: {counts['benchmark']}", flush=True)
    return counts


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50, help="training runs")
    parser.add_argument("--benchmark-runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the folder of the runs")
    args = parser.parse_args(argv)
    root = Path(tempfile.mkdtemp(prefix="chaos_"))
    counts = run_all(warm.WarmPython(), root, args.runs, args.benchmark_runs, random.Random(args.seed))
    failed = any(count["lost"] or count["differing"] for count in counts.values())
    if args.keep or failed:
        print(f"kept in {root}")
    else:
        shutil.rmtree(root)
    for stage, count in counts.items():
        print(
            f"{stage}: {count['runs']} runs, killed {count['killed']} times, resumed {count['resumed']}, "
            f"lost {count['lost']}, differing {count['differing']}"
        )
    print(json.dumps(counts))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
