"""Take a tuned model out of the toolkit, and prove that it still answers the same.

Reads   an adapter (the newest finetuned_*), its 16-bit base, validation questions for the replay
Writes  a folder: `merged` (safetensors for vLLM and transformers), `gguf` (llama.cpp) or `ollama` (GGUF and
        Modelfile). It appears whole, after its answers were compared with the adapter's, or not at all

  python export_model.py --dry-run                                 sizes, space and time
  python export_model.py --base Qwen/Qwen3-8B                      a merged folder
  python export_model.py --base Qwen/Qwen3-8B --format gguf        one file for llama.cpp
  python export_model.py --base Qwen/Qwen3-8B --format ollama      the same, and a Modelfile
"""

import random
import shlex
import sys
import time
from pathlib import Path

from legalqa import cli, libraries
from legalqa.data import open_book, records
from legalqa.errors import UserError
from legalqa.files import lock, read_json, write_text
from legalqa.law import acts
from legalqa.model import llama_cpp, ollama, replay
from legalqa.model.adapter import (
    SETTINGS_FILE,
    AdapterSettings,
    answer_settings,
    check_prompt,
    newest_adapter,
    remove,
)
from legalqa.model.base import load_tokenizer
from legalqa.model.export import (
    LICENCES,
    adapter_tokenizer,
    check_space,
    put_in_place,
    scores_of,
    write_merged,
)
from legalqa.model.law_of_adapter import book_of
from legalqa.model.merge import Merge, plan_merge
from legalqa.model.replay import Question, Replayed
from legalqa.model.settings import Decoding
from legalqa.report.tables import make_table

KEYS = ("validation_file", "train_file", "max_new_tokens", "seed", "logs_dir", "law_dir")
FORMATS = ("merged", "gguf", "ollama")
DEFAULT_QUANT = "q8_0"  # 4 bits may round a small adapter away
GGUF_FILE = "model.gguf"
MERGE_BYTES_PER_SEC, GGUF_WEIGHTS_PER_SEC = 300e6, 15e6  # on two cores: bench/results/merge_memory.json
EXIT_ANSWERS_DIFFER = 1


class AnswersDiffer(Exception):
    """Why the export is not what was tuned."""


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS, profile=False)
    parser.add_argument("--model", metavar="FOLDER", help="adapter folder (default: the newest finetuned_*)")
    parser.add_argument("--format", choices=FORMATS, default="merged", help="what to write (default: merged)")
    quant_help = f"weights of the GGUF file (default: {DEFAULT_QUANT})"
    parser.add_argument("--quant", choices=llama_cpp.QUANTS, help=quant_help)
    base_help = "16-bit base, hub id or folder, of an adapter trained on a 4-bit one"
    parser.add_argument("--base", metavar="NAME", help=base_help)
    parser.add_argument("--float32", action="store_true", help="merged weights unrounded, twice the size")
    parser.add_argument("--output", metavar="FOLDER", help="the new folder (default: MODEL_FORMAT)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in --output")
    replay_help = "validation questions to compare on; 0: none (default: 8)"
    parser.add_argument("--replay", type=int, default=8, metavar="N", help=replay_help)
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    args = parser.parse_args(argv)
    if args.quant and args.format == "merged":
        raise UserError("--quant is of a GGUF file; add --format gguf or --format ollama")
    if args.format != "merged":
        args.quant = args.quant or DEFAULT_QUANT
    return args


def find_output(args, model: str) -> Path:
    """The folder to write; UserError when something else is there, or an export without --overwrite."""
    output = Path(args.output or f"{Path(model)}_{args.format}")
    if output.resolve() == Path(model).resolve():
        raise UserError(f"--output {output} is the adapter itself; give another folder")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        if AdapterSettings.load(output).merged_adapter_sha256 is None:
            raise UserError(f"--output {output} holds files that are no export; give another folder")
        if not args.overwrite:
            raise UserError(f"--output {output} holds an export; give another folder, or --overwrite")
    return output


def needed_bytes(merge: Merge, quant: str | None) -> int:
    """What lies on the disk at the fullest moment: the merged folder, its exact GGUF, the quantized one."""
    gguf = 0 if quant is None else merge.parameters * llama_cpp.QUANTS[quant]
    exact = merge.total_bytes if quant not in (None, "f16") else 0
    return int(1.02 * (merge.total_bytes + exact + gguf)) + 50_000_000


def print_plan(merge: Merge, args, output: Path, needed: int) -> None:
    written, minutes = merge.total_bytes, merge.total_bytes / MERGE_BYTES_PER_SEC / 60
    if args.quant:
        output, written = output / GGUF_FILE, merge.parameters * llama_cpp.QUANTS[args.quant]
        minutes += merge.parameters / GGUF_WEIGHTS_PER_SEC / 60
    changed = f"{len(merge.pairs)} of {len(merge.shapes)} tensors"
    print(f"adapter    {merge.adapter} changes {changed} of {merge.base_name}")
    print(f"write      {output}, {weights_kind(args)}, {written / 1e9:.1f} GB")
    print(f"space      {needed / 1e9:.1f} GB at the fullest; 6 GB of memory, without the replay")
    print(f"time       {max(1, minutes):.0f} min on two cores, and the replay of {args.replay} questions")


def weights_kind(args) -> str:
    """The rounding of what is written, a key of replay.LEAST_AGREEMENT."""
    return args.quant or ("float32" if args.float32 else "16-bit")


def choose_rows(config, count: int) -> list[dict]:
    """A seeded sample of the validation rows."""
    rows = records.read_records(config["validation_file"]) if count > 0 else []
    return random.Random(config["seed"]).sample(rows, min(count, len(rows)))


def with_passages(args, config, rows: list[dict]) -> list[dict]:
    """The rows as an open-book adapter was trained to see them, where the law is here."""
    settings = answer_settings(args.model, config)
    if not settings.law_passages or not rows:
        return rows
    if not open_book.has_law(config["law_dir"]):
        report(f"no law in {config['law_dir']}: the questions of the replay have no passages")
        return rows
    acts.use(config["law_dir"])
    book = book_of(args.model, settings, config, as_saved=True)
    return book.add_all(rows) if book else rows


def print_replay(kind: str, expected: Replayed, made: Replayed, base: list[list[int]]) -> None:
    from rich.console import Console

    title = f"the adapter's answers and those of the export ({kind})"
    columns = ("question", "prompt", "next tokens, %", "answer", "word_f1, %")
    table = make_table(title, *columns)
    for number, pair in enumerate(zip(expected.replies, made.replies), 1):
        agreement = replay.compare(*pair)
        table.add_row(
            str(number),
            "same" if agreement.same_prompt else "DIFFERS",
            f"{100 * agreement.next_tokens:.0f}",
            "same" if agreement.identical else "differ",
            f"{100 * agreement.word_f1:.0f}",
        )
    Console().print(table)
    chosen = [reply.next_ids for reply in made.replies]
    share, without = (100 * replay.mean_agreement(expected, side) for side in (chosen, base))
    print(
        f"agreement  {share:.0f} % of the next tokens are the adapter's ({replay.FIRST_TOKENS} an answer); "
        f"of the base alone {without:.0f} %"
    )


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write_gguf(args, folder: Path, merged: Path, settings: AdapterSettings, decoding: Decoding) -> None:
    """model.gguf in `folder` of the merged folder, with its card and legalqa.json; for Ollama a Modelfile."""
    report(f"gguf       {args.quant}")
    llama_cpp.convert(merged, folder / GGUF_FILE, args.quant)
    for pattern in (SETTINGS_FILE, "README.md", *LICENCES):
        for path in merged.glob(pattern):
            path.rename(folder / path.name)
    if args.format == "ollama":
        tokenizer = load_tokenizer(str(merged))
        stops = tokenizer.convert_ids_to_tokens(read_json(merged / "generation_config.json")["eos_token_id"])
        write_text(folder / "Modelfile", ollama.modelfile(GGUF_FILE, tokenizer, stops, settings, decoding))


def check_answers(args, merge: Merge, folder: Path, questions: list[Question], decoding: Decoding) -> None:
    """Ask both sides, print the table; AnswersDiffer when the export is not what was tuned."""
    kind = weights_kind(args)
    expected, base = replay.replay_adapter(merge, questions, decoding, report)
    report("replay     the export")
    if args.quant:
        made = llama_cpp.replay_gguf(folder / GGUF_FILE, questions, decoding, expected)
    else:
        made = replay.replay_merged(folder, merge, questions, decoding, expected)
    print_replay(kind, expected, made, base)
    problem = replay.find_problem(kind, expected, made, base)
    if problem:
        raise AnswersDiffer(problem)


def write_export(
    args, merge: Merge, folder: Path, settings: AdapterSettings, decoding: Decoding, logs_dir: str
) -> None:
    merged = folder / "merged.tmp" if args.quant else folder
    merged.mkdir(exist_ok=True)
    write_merged(merge, settings, merged, report, scores_of(merge.adapter, logs_dir))
    if args.quant:
        write_gguf(args, folder, merged, settings, decoding)
        remove(merged)


def main(argv=None):
    args = parse_args(argv)
    config = cli.effective_config(args)
    libraries.log_to(None, verbose=False)
    args.model = args.model or newest_adapter()
    if args.model is None:
        raise UserError(
            "no adapter here (finetuned_*); train one: python train_8b.py, or name one: --model FOLDER"
        )
    output = find_output(args, args.model)
    if args.quant:
        llama_cpp.check_packages()
    merge = plan_merge(args.model, args.base, args.float32)
    settings = AdapterSettings.load(args.model)
    decoding = answer_settings(args.model, config, cli.given_flags(args)).decoding
    rows = with_passages(args, config, choose_rows(config, args.replay))
    needed = needed_bytes(merge, args.quant)
    print_plan(merge, args, output, needed)
    check_space(output, needed)
    if args.dry_run:
        return 0
    started = time.monotonic()
    tokenizer = adapter_tokenizer(merge)
    check_prompt(args.model, tokenizer)
    questions = replay.make_questions(rows, tokenizer, settings.system_prompt or "")
    try:
        with lock(output), put_in_place(output) as folder:
            write_export(args, merge, folder, settings, decoding, config["logs_dir"])
            if questions:
                check_answers(args, merge, folder, questions, decoding)
    except AnswersDiffer as problem:
        print(
            f"error: the export answers otherwise: {problem}; it was not kept (--replay 0 keeps it)",
            file=sys.stderr,
        )
        return EXIT_ANSWERS_DIFFER
    unchecked = "" if questions else ", its answers not compared"
    print(f"written    {output} in {time.monotonic() - started:.0f} s{unchecked}")
    print(f"next       {next_command(args, output, decoding)}")
    return 0


def next_command(args, output: Path, decoding: Decoding) -> str:
    """What runs the export, to be pasted into a shell; a folder brings its decoding, a GGUF file does not."""
    name, folder = shlex.quote(Path(args.model).resolve().name), shlex.quote(str(output))
    return {
        "merged": f"vllm serve {folder}",
        "gguf": shlex.join(llama_cpp.server_command(output / GGUF_FILE, decoding)),
        "ollama": f"cd {folder} && ollama create {name} -f Modelfile && ollama run {name}",
    }[args.format]


if __name__ == "__main__":
    cli.run_main(main)
