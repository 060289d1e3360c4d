"""Make pairs of a right and a wrong answer, from which train_dpo.py learns to cite no wrong article.

The model answers training rows several times at a temperature. Of the answers to a row that cite an article
which does not exist or is not the reference's, loop, are in the wrong language or are cut off, the worst is
the pair's rejected one; the reference is the chosen one. Beside them hard negatives: the reference against
itself with another article of the same act.

Reads   training rows (combined_data/train.jsonl), an adapter; validation rows, which never enter
Writes  combined_data/pairs.jsonl, combined_data/pairs.json (what made them, counts); while it runs
        logs/answers_<key>.jsonl, so that a second start goes on where the first one died

  python prepare_pairs.py                                the adapter of train_8b.py
  python prepare_pairs.py --pair-rows 400 --samples 4
  python prepare_pairs.py --hard-negatives 0             the model's own answers alone
"""

import random
import sys
from collections import Counter
from pathlib import Path

from legalqa import cli, libraries, runlog
from legalqa.data import records
from legalqa.data.pairs import Origin, Pair, write_pairs
from legalqa.errors import UserError
from legalqa.files import file_sha256, text_sha256
from legalqa.law import acts
from legalqa.law.citations import parse_citations
from legalqa.law.other_article import replace_article
from legalqa.law.words import detect_language
from legalqa.model import prompt
from legalqa.model.adapter import AdapterSettings, answer_settings, check_adapter, fingerprint
from legalqa.model.answers import Answers, Line, answers_file, generate_all
from legalqa.model.engine import load_engine
from legalqa.model.law_of_adapter import check_closed_book
from legalqa.model.settings import AnswerSettings, source_lines
from legalqa.scoring.faults import REPLACED, badness, faults_of
from legalqa.scoring.metrics import score_sample

# fmt: off
KEYS = ("train_file", "validation_file", "pairs_file", "pair_rows", "samples", "sample_temperature",
        "hard_negatives", "seed", "max_new_tokens", "top_p", "repetition_penalty", "generation_batch_size",
        "engine", "vllm_memory_share", "system_prompt", "load_in_4bit", "max_seq_length", "logs_dir",
        "law_dir")
# fmt: on
SHOWN_ACTS = 5


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS)
    parser.add_argument("--model", metavar="NAME", help="adapter folder (default: that of train_8b.py)")
    parser.add_argument("--verbose", action="store_true", help="show what libraries print as well")
    return parser.parse_args(argv)


def read_rows(config):
    """Training rows that no validation row asks too, in the order in which they are drawn."""
    rows = records.read_records(config["train_file"])
    if Path(config["validation_file"]).is_file():
        clean = records.without_leaks(rows, records.read_records(config["validation_file"]))
        if len(clean) < len(rows):
            print(
                f"warning: {len(rows) - len(clean)} training rows ask what a validation row asks; left out",
                file=sys.stderr,
            )
        rows = clean
    if not rows:
        raise UserError(
            f"{config['train_file']}: every row asks what a row of {config['validation_file']} asks"
        )
    return random.Random(config["seed"]).sample(rows, len(rows))


def sample_answers(name, config, rows, settings: AnswerSettings) -> tuple[list[list[Line]], str, list[Path]]:
    """(the answers to each row, hash of the prompt, files of the answers)."""
    engine = load_engine(name, settings, config)
    prompts = [prompt.render_prompt(row, engine.tokenizer, settings.system_prompt) for row in rows]
    print(
        f"{name}: {len(prompts)} rows, {config['samples']} answers to each",
        *source_lines(settings),
        sep="\n",
        file=sys.stderr,
    )
    from transformers import set_seed

    made, batch_size = [], config["generation_batch_size"]
    for number in range(config["samples"]):
        answers = Answers(answers_file(config, fingerprint(name), engine.name, settings, number))
        set_seed(config["seed"] + number)
        batch_size = generate_all(engine.generate, prompts, settings.decoding, batch_size, answers)
        made.append(answers)
    lines = [[answers.made[text_sha256(text)] for answers in made] for text in prompts]
    rendered = prompt.prompt_sha256(engine.tokenizer, settings.system_prompt)
    return lines, rendered, [answers.path for answers in made]


def worst_answer(row, lines: list[Line]) -> tuple[str, list[str]] | None:
    """(the worst of the answers, its faults that the reference does not share); None where none has any."""
    shared = faults_of(score_sample(row, row["output"])["scores"])
    found = []
    for line in lines:
        faults = (
            faults_of(score_sample(row, line.prediction, line.cut_off)["scores"]) if line.prediction else []
        )
        found.append((line.prediction, [fault for fault in faults if fault not in shared]))
    answer, why = max(found, key=lambda answer_and_why: badness(answer_and_why[1]))
    return (answer, why) if why else None


def sampled_pairs(rows, lines: list[list[Line]]) -> list[Pair]:
    pairs = []
    for row, answers in zip(rows, lines):
        worst = worst_answer(row, answers)
        if worst:
            pairs.append(make_pair(row, *worst))
    return pairs


def replaced_pairs(rows, count: int, seed: int) -> list[Pair]:
    """`count` pairs, fewer where the rows allow no more, whose answers differ in one article alone."""
    pairs = []
    for row in rows:
        if len(pairs) == count:
            break
        rng = random.Random(f"{seed}\n{records.user_turn(row)}")
        replacement = replace_article(row["output"], records.user_turn(row), rng)
        if replacement:
            pairs.append(make_pair(row, replacement.text, [REPLACED]))
    return pairs


def make_pair(row, rejected: str, why: list[str]) -> Pair:
    return Pair(row["instruction"], row["input"], row["output"], rejected, why, row.get("source"))


def first_act(pair: Pair) -> str:
    return next((citation.act for citation in parse_citations(pair.chosen) if citation.act), "none")


def count_pairs(pairs: list[Pair]) -> dict[str, dict[str, int]]:
    """How many pairs there are by fault (a pair may have several), language, and act of the reference."""
    language_of = [detect_language(records.question(pair.question)) for pair in pairs]
    return {
        "why": dict(Counter(fault for pair in pairs for fault in pair.why).most_common()),
        "language": dict(Counter(language_of).most_common()),
        "act": dict(Counter(map(first_act, pairs)).most_common()),
    }


def print_counts(counts: dict[str, dict[str, int]]) -> None:
    for kind, numbers in counts.items():
        shown = [f"{name} {number:,}" for name, number in numbers.items()]
        more = f", and {len(shown) - SHOWN_ACTS} more" if kind == "act" and len(shown) > SHOWN_ACTS else ""
        print(f"{kind:<11}{', '.join(shown[: SHOWN_ACTS if kind == 'act' else None])}{more}")


def main(argv=None):
    args = parse_args(argv)
    config = cli.effective_config(args)
    acts.use(config["law_dir"])
    name = args.model or config["output_dir"]
    base_model, flags = check_adapter(name), cli.given_flags(args)
    check_closed_book(name)
    rows = read_rows(config)
    asked = rows[: config["pair_rows"]]
    settings = answer_settings(name, config, {**flags, "temperature": config["sample_temperature"]})
    with runlog.new_run(config["logs_dir"]) as run:
        libraries.log_to(Path(config["logs_dir"]) / f"pairs_{run}.log", args.verbose)
        lines, prompt_sha256, files = sample_answers(name, config, asked, settings)
        pairs = sampled_pairs(asked, lines)
        share = config["hard_negatives"]
        # Rows that the model did not answer come first: more questions.
        pairs += replaced_pairs(
            [*rows[len(asked) :], *asked], round(len(pairs) * share / (1 - share)), config["seed"]
        )
        if not pairs:
            raise UserError(
                f"{name}: no answer to {len(asked)} rows has a fault; more --pair-rows or --samples"
            )
        counts = count_pairs(pairs)
        origin = Origin(base_model, prompt_sha256, fingerprint(name))
        meta = runlog.run_meta(
            run, adapter_run=AdapterSettings.load(name).run, train_sha256=file_sha256(config["train_file"])
        )
        write_pairs(
            config["pairs_file"], pairs, origin, {"meta": meta, "num_pairs": len(pairs), "counts": counts}
        )
    for path in files:
        path.unlink(missing_ok=True)
    print(f"pairs      {len(pairs):,} of {len(asked):,} rows x {config['samples']} answers")
    print_counts(counts)
    print(f"written    {config['pairs_file']}")
    print(f"next       {runlog.command('train_dpo.py', '--adapter', name)}")
    return 0


if __name__ == "__main__":
    cli.run_main(main)
