"""Everything that a CPU computes, in one table: training, a chat, answers in batches; each arithmetic it has.

Training is bench/train_throughput.py (the published recipe in plain Unsloth and TRL against the default),
batches are bench/generation_throughput.py; a chat is chat.py on the first validation questions, with the
adapter itself and with its export (GGUF, q8_0) behind llama.cpp's server. Needs the adapter of `make demo`
and the packages of `make export-packages`; half an hour on two cores with native bfloat16, which must be
free. Prints the table and, last, the same as JSON.

  python bench/cpu.py --model finetuned_demo
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

ENVIRONMENT = dict(os.environ)  # of what is run; importing Unsloth here changes it
CHAT_QUESTIONS, ANSWER_TOKENS = 6, 96
SERVE = """
import sys
from legalqa.model.llama_server import start_server
server = start_server(sys.argv[1], 4096)
print("ready", server.listening_address, flush=True)
sys.stdin.read()
"""


def output_of(*command, questions=None, arithmetic=None):
    """Lines that a script of the repository prints."""
    print("running:", " ".join(map(str, command)), file=sys.stderr)
    environment = {"UNSLOTH_CPU_BF16": str(int(arithmetic == "bfloat16"))} if arithmetic else {}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        input=questions,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={**ENVIRONMENT, **environment},
    )
    return done.stdout.splitlines()


def bench(name, *flags, arithmetic):
    return json.loads(output_of(f"bench/{name}.py", *flags, arithmetic=arithmetic)[-1])


def chat(questions, *flags, arithmetic=None):
    """Medians over the answers after the first, which a process makes more slowly."""
    flags = (*flags, "--max-new-tokens", ANSWER_TOKENS)
    lines = output_of("chat.py", "--json", *flags, questions=questions, arithmetic=arithmetic)
    answers = [json.loads(line) for line in lines[1:]]
    return {
        key: statistics.median(answer[key] for answer in answers)
        for key in ("tokens_per_second", "first_token_sec")
    }


@contextlib.contextmanager
def served(adapter):
    """(URL, GGUF file) of the adapter's export behind llama.cpp's server."""
    from legalqa.model.llama_cpp import PACKAGES

    with tempfile.TemporaryDirectory() as name:
        output_of("export_model.py", "--model", adapter, "--format", "gguf", "--output", Path(name) / "gguf")
        file = Path(name) / "gguf" / "model.gguf"
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
            env={**ENVIRONMENT, "PYTHONPATH": f"{PACKAGES}{os.pathsep}{REPOSITORY}"},
        )
        try:
            address = next(line for line in server.stdout if line.startswith("ready")).split()[1]
            yield address, file
        finally:
            server.communicate()  # the end of its input ends it


def measure(args, arithmetics):
    """(arithmetic, what was measured in it), as it comes."""
    import config
    from legalqa.data import records

    rows = [row for row in records.read_records(args.validation_file) if not row["input"]]
    questions = "".join(row["instruction"].replace("\n", " ") + "\n" for row in rows[:CHAT_QUESTIONS])
    size = config.PROFILES["demo"]["generation_batch_size"]
    generation = ("--model", args.model, "--rows", size, "--max-new-tokens", 48)
    for arithmetic in arithmetics:
        yield (
            arithmetic,
            {
                "training": bench("train_throughput", "--steps", args.steps, arithmetic=arithmetic),
                "generation": bench("generation_throughput", *generation, arithmetic=arithmetic),
                "chat": chat(questions, "--model", args.model, arithmetic=arithmetic),
            },
        )
    with served(args.model) as (address, file):
        yield "llama.cpp", {"chat": chat(questions, "--server", address, "--model", file)}


def remarks_on(training):
    """What the default's speed in training is to be held against."""
    plain, default = training["results"]["plain recipe"], training["results"]["default"]
    rate = training["matrix_flops_per_sec"] / 1e9
    yield f"{100 * default['share_of_matrix_rate']:.0f} % of {rate:.0f} GFLOP/s"
    yield f"{plain['default_is_times_faster']:.2f} x the recipe"
    yield f"validation loss {plain['validation_loss']:.3f} -> {default['validation_loss']:.3f}"
    yield f"peak {default['peak_memory_bytes'] / 1e9:.2f} GB"


def lines(measured):
    """(what, tokens/s, remarks) of an arithmetic."""
    if "training" in measured:
        training, generation = measured["training"], measured["generation"]["results"]
        speed = training["results"]["default"]["tokens_per_second"]
        yield "training, default", speed, ", ".join(remarks_on(training))
        label = next(label for label in generation if label.startswith("batches"))
        yield f"answers, {label}", generation[label]["tokens_per_second"], ""
    answers = measured["chat"]
    first = f"first token after {answers['first_token_sec']:.2f} s"
    yield "one answer in the chat", answers["tokens_per_second"], first


def main():
    import config

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="finetuned_demo", help="adapter")
    parser.add_argument("--steps", type=int, default=40, help="of each training run")
    parser.add_argument("--validation-file", default=config.CONFIG["validation_file"])
    args = parser.parse_args()
    from legalqa import runlog
    from legalqa.model.base import import_unsloth
    from legalqa.model.device import find_device
    from legalqa.model.llama_cpp import check_packages

    check_packages()
    import_unsloth(args.model)
    device = find_device()
    results = {}
    print(f"{'':12}{'':24}{'tokens/s':>9}")
    for arithmetic, measured in measure(args, dict.fromkeys([device.arithmetic, "float32"])):
        results[arithmetic] = measured
        for what, tokens_per_second, remarks in lines(measured):
            print(f"{arithmetic:12}{what:24}{tokens_per_second:9.1f}  {remarks}".rstrip(), flush=True)
    facts = {"device": asdict(device), "versions": runlog.package_versions()}
    print(json.dumps({"steps": args.steps, "results": results, **facts}, ensure_ascii=False))


if __name__ == "__main__":
    main()
