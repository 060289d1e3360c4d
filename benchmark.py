"""Score answers on validation rows: did it get better, and does it cite the right articles?

Reads   validation rows (combined_data/validation.jsonl), and an adapter, a merged folder or a hub id, or a
        model behind an OpenAI-compatible server, its key in OPENAI_API_KEY; or ready predictions
Writes  logs/benchmark_<run>.json, with --compare logs/compare_<run>.json (of two) or logs/models_<run>.json;
        while it runs logs/answers_<key>.jsonl, so that a second start goes on where the first one died

  python benchmark.py                                     100 random rows, the newest adapter
  python benchmark.py --model models/demo                 the base model on the same rows
  python benchmark.py --law-passages 0                    an open-book adapter without the law's text
  python benchmark.py --compare                           newest adapter minus newest base, on shared rows
  python benchmark.py --compare A.json B.json C.json ...  each of many minus the first, intervals corrected
  python benchmark.py --server http://127.0.0.1:8080/v1   a served model (llama.cpp, Ollama, vLLM, paid API)
  python benchmark.py --predictions answers.jsonl         rows with a `prediction`: no model, no torch
"""

import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

from legalqa import cli, libraries, runlog
from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import file_sha256, read_json, text_sha256, write_json
from legalqa.law import acts
from legalqa.model import prompt, server
from legalqa.model.adapter import (
    AdapterSettings,
    answer_settings,
    check_adapter,
    fingerprint,
    is_adapter,
    is_merged,
    newest_adapter,
)
from legalqa.model.answers import Answers, answers_file, generate_all
from legalqa.model.device import find_device, peak_memory_bytes
from legalqa.model.engine import load_engine
from legalqa.model.law_of_adapter import another_law, book_of
from legalqa.model.settings import resolve, source_lines
from legalqa.report import model_tables, tables
from legalqa.scoring import comparison, metrics, statistics
from legalqa.scoring.results import BenchmarkLog, ComparedLog, ModelsLog

# fmt: off
KEYS = ("validation_file", "train_file", "num_samples", "seed", "max_new_tokens", "temperature", "top_p",
        "repetition_penalty", "generation_batch_size", "engine", "vllm_memory_share", "concurrency",
        "server_timeout_sec", "server_retries", "system_prompt", "load_in_4bit", "max_seq_length", "logs_dir",
        "law_dir", "law_passages", "law_passage_tokens")
# fmt: on
TUNED_KINDS = ("adapter", "merged")
DPO_KIND = "dpo"  # an adapter that train_dpo.py went on with


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="adapter folder, merged folder or hub id (default: newest finetuned_*); with --server one of "
        "its models (default: its only one)",
    )
    parser.add_argument(
        "--server", metavar="URL", help="ask this OpenAI-compatible server, e.g. http://127.0.0.1:11434/v1"
    )
    parser.add_argument(
        "--predictions", metavar="FILE", help="score these JSONL rows, which have a `prediction`"
    )
    parser.add_argument(
        "--compare",
        nargs="*",
        metavar="FILE",
        help="paired difference B - A of two benchmark_*.json (default: the newest base and adapter in "
        "logs_dir, and that of DPO if it is scored), or of each of many and the first",
    )
    parser.add_argument(
        "--baseline", metavar="FILE", help="of --compare: the result that the others are compared with"
    )
    parser.add_argument("--output", metavar="FILE", help="write the result here instead of logs_dir")
    parser.add_argument(
        "--examples", action="store_true", help=f"print the {tables.SHOWN_EXAMPLES} best and worst answers"
    )
    parser.add_argument(
        "--invented", action="store_true", help="print every cited article that does not exist"
    )
    parser.add_argument("--verbose", action="store_true", help="show what libraries print as well")
    return parser.parse_args(argv)


def choose_rows(config):
    """The seeded sample of the validation rows, without those that the training rows ask as well."""
    rows = records.read_records(config["validation_file"])
    if Path(config["train_file"]).is_file():
        clean = records.without_leaks(rows, records.read_records(config["train_file"]))
        if len(clean) < len(rows):
            print(
                f"warning: {len(rows) - len(clean)} validation rows ask what a training row asks; left out, "
                "they would flatter the model",
                file=sys.stderr,
            )
        rows = clean
    if config["num_samples"] == "all":
        return rows
    if not config["num_samples"].isdigit() or int(config["num_samples"]) == 0:
        raise UserError(f"--num-samples must be a positive number or `all`, not '{config['num_samples']}'")
    count = int(config["num_samples"])
    if count > len(rows):
        print(
            f"warning: {count} samples asked, {config['validation_file']} has {len(rows)}: all of them "
            "are used",
            file=sys.stderr,
        )
    return random.Random(config["seed"]).sample(rows, min(count, len(rows)))


def find_model(args):
    name = args.model or newest_adapter()
    if name is None:
        raise UserError(
            "no adapter here (finetuned_*); train one: python train_8b.py, or name a model: --model NAME"
        )
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        check_adapter(name)
    return name


def run_model(args, config, rows):
    """(samples, what the meta says of the model, file of the answers) of a model's answers to `rows`."""
    name, started = find_model(args), time.monotonic()
    settings = answer_settings(name, config, cli.given_flags(args))
    rows, law = add_passages(name, settings, config, rows)
    engine = load_engine(name, settings, config)
    device = find_device()
    print(
        f"model {name} on {device.name}, loaded in {time.monotonic() - started:.0f} s; {len(rows)} rows, "
        f"{settings.decoding.max_new_tokens} tokens at most",
        *source_lines(settings),
        sep="\n",
        file=sys.stderr,
    )
    prompts = [prompt.render_prompt(row, engine.tokenizer, settings.system_prompt) for row in rows]
    answers = Answers(answers_file(config, fingerprint(name), engine.name, settings, law=law))
    from transformers import set_seed

    set_seed(config["seed"])
    batch_size = generate_all(
        engine.generate, prompts, settings.decoding, config["generation_batch_size"], answers
    )
    about = {
        **model_facts(name),
        "device": asdict(device),
        "decoding": asdict(settings.decoding),
        "load_in_4bit": settings.load_in_4bit,
        "batch_size": batch_size,
        "engine": engine.name,
        "law": law,
        "prompt_sha256": prompt.prompt_sha256(
            engine.tokenizer, settings.system_prompt, settings.law_passage_tokens if law else None
        ),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    return samples_of(rows, prompts, answers), about, answers.path


def samples_of(rows, prompts, answers):
    """The scored answers to `rows`; `prompts` are their keys among the answers."""
    lines = [answers.made[text_sha256(text)] for text in prompts]
    return [
        metrics.make_sample(
            row, identifier, line.prediction, line.cut_off, line.new_tokens, line.generation_sec
        )
        for row, identifier, line in zip(rows, metrics.sample_ids(rows), lines)
    ]


def run_server(args, config, rows):
    """The same three of a model behind a server."""
    endpoint = server.find_endpoint(args.server, args.model, config)
    settings = resolve(cli.given_flags(args), {}, config)
    decoding, seed = settings.decoding, config["seed"]
    rows, law = add_passages(endpoint.model, settings, config, rows)
    print(
        f"model {endpoint.model} at {endpoint.url}; {len(rows)} rows, {config['concurrency']} at a time, "
        f"{decoding.max_new_tokens} tokens at most",
        f"the questions are this project's, the template around them is {server.TEMPLATE}",
        *source_lines(settings),
        sep="\n",
        file=sys.stderr,
    )
    chats = [
        server.as_key(prompt.chat_messages(row, settings.system_prompt, turn=prompt.whole_turn))
        for row in rows
    ]
    answers = Answers(server.answers_file(config["logs_dir"], endpoint, decoding, seed))
    server.answer_all(endpoint, chats, decoding, seed, config["concurrency"], answers)
    lines = [answers.made[text_sha256(chat)] for chat in chats]
    num_unfinished = sum(bool(line.reasoning) and line.cut_off and not line.prediction for line in lines)
    if num_unfinished:
        print(
            f"warning: {num_unfinished} answers ended within their reasoning; raise --max-new-tokens",
            file=sys.stderr,
        )
    samples = samples_of(rows, chats, answers)
    for sample, line in zip(samples, lines):
        sample |= server.facts_of(line)
    about = {
        "model": endpoint.model,
        "kind": "server",
        "base_model": None,
        "adapter": None,
        "server": {
            "url": endpoint.url,
            "template": server.TEMPLATE,
            "concurrency": config["concurrency"],
            "answered_by": sorted({line.answered_by for line in lines if line.answered_by}),
        },
        "decoding": asdict(decoding),
        "engine": "server",
        "law": law,
    }
    return samples, about, answers.path


def add_passages(name, settings, config, rows):
    """(rows with the passages that the search finds, what the logs say of the law): None, closed book."""
    book = book_of(name, settings, config)
    if not book:
        return rows, None
    if warning := another_law(name, AdapterSettings.load(name), book):
        print(f"warning: {warning}", file=sys.stderr)
    return book.add_all(rows), {
        "passages": book.num_passages,
        "passage_tokens": book.max_tokens,
        "sha256": book.index.law_sha256,
        "index_sha256": book.index.sha256,
    }


def model_facts(name):
    """What answered: a base model, an adapter, one with DPO behind, or a folder into which one was merged; of
    which run."""
    saved, kind = AdapterSettings.load(name), "base"
    if is_adapter(name):
        kind, base_model = DPO_KIND if saved.pairs_sha256 else "adapter", check_adapter(name)
        sha256 = fingerprint(name)
    elif is_merged(name):
        kind, base_model = "merged", saved.base_model
        sha256 = saved.merged_adapter_sha256 or fingerprint(name)
    facts = {"model": Path(name).name if Path(name).exists() else name, "kind": kind}
    if kind == "base":
        return {**facts, "base_model": name, "adapter": None}
    adapter = {"path": str(name), "sha256": sha256, "run": saved.run}
    if kind == DPO_KIND:
        adapter["from_run"] = saved.from_run
    return {**facts, "base_model": base_model, "adapter": adapter}


def read_predictions(path):
    return metrics.score_predictions(records.read_records(path), path)


def newest_result(logs_dir, matches):
    """Path of the newest benchmark_*.json whose meta `matches`; None without one."""
    paths = sorted(Path(logs_dir).glob("benchmark_*.json"), reverse=True)
    return next((str(path) for path in paths if matches(read_json(path).get("meta", {}))), None)


def newest_of_kind(logs_dir, *kinds):
    """Path of the newest benchmark_*.json of a base model, or of a tuned one."""
    path = newest_result(logs_dir, lambda meta: meta.get("kind") in kinds)
    if path:
        return path
    of_base = "base" in kinds
    wanted = "--model models/demo (or your base model)" if of_base else ""
    raise UserError(
        f"no benchmark of {'a base model' if of_base else 'an adapter'} in {logs_dir} to compare; "
        f"make one: python benchmark.py {wanted}".rstrip()
    )


def newest_of_each(logs_dir):
    """[base model, tuned one] and, where it was scored, the adapter with which DPO went on from the tuned
    one."""
    paths = [newest_of_kind(logs_dir, *kinds) for kinds in (("base",), TUNED_KINDS)]
    run = (read_json(paths[1])["meta"].get("adapter") or {}).get("run")

    def went_on(meta):
        return meta.get("kind") == DPO_KIND and (meta.get("adapter") or {}).get("from_run") == run

    dpo = newest_result(logs_dir, went_on) if run else None
    return [*paths, dpo] if dpo else paths


def log_folder(args, config):
    """Where the result goes."""
    return Path(args.output).parent if args.output else Path(config["logs_dir"])


def compare(args, config, console):
    """Score nothing: read results, print and save B minus A, or each of many minus the first."""
    paths = args.compare or newest_of_each(config["logs_dir"])
    paths = comparison.baseline_first(paths, args.baseline)
    if len(paths) == 1:
        raise UserError("--compare takes two files or none, or more than two, not 1")
    path = (
        compare_two(args, config, paths, console)
        if len(paths) == 2
        else compare_many(args, config, paths, console)
    )
    print(f"\nwritten    {path}\nnext       python generate_plots.py && python generate_report.py")


def compare_many(args, config, paths, console):
    comparison.check_distinct(paths)
    results = comparison.read_results(paths)
    ids = comparison.shared_ids(results)
    models = comparison.compare_models(results, ids, config["seed"])
    with runlog.new_run(log_folder(args, config)) as run:
        meta = runlog.run_meta(
            run,
            num_shared=len(ids),
            num_unnamed=models[0]["scores"]["has_citation"]["num_samples"],
            correction=comparison.correction_of(len(models)),
        )
        path = args.output or Path(config["logs_dir"]) / f"models_{run}.json"
        log: ModelsLog = {"meta": meta, "models": models}
        write_json(path, log)
    model_tables.print_models(log, console)
    return path


def compare_two(args, config, paths, console):
    results = comparison.read_results(paths, ComparedLog)
    model_a, model_b = comparison.labels_of(results)
    difference = statistics.compare(results[0].log["samples"], results[1].log["samples"], config["seed"])
    with runlog.new_run(log_folder(args, config)) as run:
        about = {"model_a": model_a, "model_b": model_b, "num_shared": difference["num_shared"]}
        meta = runlog.run_meta(run, a=paths[0], b=paths[1], **about)
        path = args.output or Path(config["logs_dir"]) / f"compare_{run}.json"
        write_json(path, {"meta": meta, **difference})
    tables.print_comparison(difference, model_a, model_b, console)
    return path


def main(argv=None):
    args = parse_args(argv)
    if args.server and args.predictions:
        raise UserError("--server makes answers, --predictions scores ready ones: give one of them")
    if args.server and args.profile == "auto":
        args.profile = "gpu"  # the one that overrides nothing: what this machine has does not matter
    config = cli.effective_config(args, announce=args.compare is None and not args.predictions)
    acts.use(config["law_dir"])
    from rich.console import Console

    console = Console()
    if args.compare is not None:
        compare(args, config, console)
        return 0
    with runlog.new_run(log_folder(args, config)) as run:
        path = Path(args.output or Path(config["logs_dir"]) / f"benchmark_{run}.json")
        if args.predictions:
            samples, answers_path = read_predictions(args.predictions), None
            about = {
                "model": Path(args.predictions).stem,
                "kind": "predictions",
                "base_model": None,
                "adapter": None,
            }
            file, num_rows = args.predictions, len(samples)
        else:
            if not args.server:
                libraries.log_to(Path(config["logs_dir"]) / f"benchmark_{run}.log", args.verbose)
            answer = run_server if args.server else run_model
            samples, about, answers_path = answer(args, config, choose_rows(config))
            file, num_rows = config["validation_file"], len(records.read_records(config["validation_file"]))
        validation = {"file": file, "sha256": file_sha256(file), "num_rows": num_rows}
        result: BenchmarkLog = {
            "meta": runlog.run_meta(run, seed=config["seed"], validation=validation, **about),
            "summary": statistics.summarize(samples, config["seed"]),
            "samples": samples,
        }
        write_json(path, result)
    if answers_path:
        answers_path.unlink(missing_ok=True)
    tables.print_summary(result, console)
    if args.examples:
        tables.print_examples(samples)
    if args.invented:
        tables.print_invented(samples)
    generation = result["summary"]["generation"]
    if generation:
        tables.print_generation(generation)
    print(f"written    {path}")
    if about["kind"] in (*TUNED_KINDS, DPO_KIND):
        print(
            f"next       {runlog.command('benchmark.py', '--model', about['base_model'])}   "
            "(the base on the same rows, then --compare)"
        )
    else:
        print("next       python benchmark.py --compare   (the newest adapter minus the newest base)")
    return 0


if __name__ == "__main__":
    cli.run_main(main)
