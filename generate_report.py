"""Write RESULTS.md, the report of a run, from its logs and nothing else.

Reads   what generate_plots.py reads, and logs/compare_*.json; it shows the pictures of plots/ that were drawn
        from the same logs
Writes  RESULTS.md, from templates/report.LANGUAGE.md.j2; under every table stand the file and the keys of its
        numbers

  python generate_report.py                                            the newest run, in Russian
  python generate_report.py --language en --run 20260301_100000
  python generate_report.py --check             exit code 1 when RESULTS.md is not what the logs say
"""

import functools
import os
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

from legalqa import cli
from legalqa.files import write_text
from legalqa.law import acts
from legalqa.report import conclusions
from legalqa.report.cells import NOT_RUN, Cells
from legalqa.report.conclusions import lookup
from legalqa.report.logs import Log, RunLogs, Shelf, choose, warn
from legalqa.report.markdown import ABSENT, as_markdown, code
from legalqa.report.numbers import number, plural
from legalqa.report.pictures import COMPARISON_PICTURES, PICTURES, TRAINING_PICTURES, pictures_of
from legalqa.report.words import CRITERIA_NAMES, LANGUAGE_NAMES, PLOT_WORDS, checked_language
from legalqa.scoring.comparison import in_order
from legalqa.scoring.metric_table import MAIN_SCORES, METRICS, metric_names
from legalqa.scoring.results import Sample, invented_citations

KEYS = ("language", "logs_dir", "plots_dir", "report_file", "law_dir")
TEMPLATES = Path(__file__).resolve().parent / "templates"
NUM_EXAMPLES, MAX_INVENTED, SHOWN_CHARACTERS = 3, 20, 500


def examples(benchmark: Log) -> tuple[list[Sample], list[Sample]]:
    """(best, worst): up to three samples each by `overall`, equal ones by id; no sample is in both."""
    scored = [sample for sample in benchmark.data["samples"] if sample["scores"].get("overall") is not None]
    ranked = sorted(scored, key=lambda sample: (-sample["scores"]["overall"], sample["id"]))
    num_best = min(NUM_EXAMPLES, -(-len(ranked) // 2))
    return ranked[:num_best], ranked[max(num_best, len(ranked) - NUM_EXAMPLES) :][::-1]


def cut(text: str, language: str) -> str:
    """`text`, or its start with a note of how much is left out."""
    if len(text) <= SHOWN_CHARACTERS:
        return text or ABSENT
    shown, total = number(SHOWN_CHARACTERS, language), number(len(text), language)
    notes = {"ru": f"показано {shown} знаков из {total}", "en": f"{shown} of {total} characters shown"}
    return f"{text[:SHOWN_CHARACTERS]}… ({notes[language]})"


def is_same_questions(logs: RunLogs) -> bool:
    """Whether the base and the fine-tuned model answered the same questions."""
    ids = [{sample["id"] for sample in log.data["samples"]} for log in (logs.base, logs.benchmark) if log]
    return ids[0] == ids[-1] if ids else True


@functools.cache
def report_template(language: str):
    """Compiled once: that takes longer than the rest of a report."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=as_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"report.{language}.md.j2")


def render_report(logs: RunLogs, language: str, pictures: dict[str, str], act_titles: dict[str, str]) -> str:
    """The report's text: a function of the logs, the pictures' {name: path}, the acts' {id: title}."""
    cells, benchmark = Cells(logs, act_titles, language), logs.benchmark
    dpo = Cells(logs.dpo, act_titles, language) if logs.dpo else None
    best, worst = examples(benchmark) if benchmark else ([], [])
    text = report_template(language).render(
        logs=logs,
        row=cells.row,
        value=cells.value,
        score=cells.score,
        dpo=dpo,
        difference=cells.difference,
        side=cells.side,
        reference=cells.reference,
        form=cells.form,
        act=cells.act,
        lookup=lookup,
        code=code,
        names={name: metric.title(language) for name, metric in METRICS.items()},
        arrows={name: {"higher": "↑", "lower": "↓"}[metric.better] for name, metric in METRICS.items()},
        metric_names=metric_names,
        languages=LANGUAGE_NAMES[language],
        plural=plural,
        conclusions=conclusions.draw(logs, cells.form),
        weak_acts=conclusions.weak_acts(benchmark) if benchmark else [],
        limits=conclusions.LIMITS,
        compared=in_order(logs.models.data["models"]) if logs.models else [],
        main_scores=MAIN_SCORES,
        score_of=cells.score_of,
        difference_of=cells.difference_of,
        rating_of=cells.rating_of,
        criteria=CRITERIA_NAMES[language],
        comparison_pictures={name: path for name, path in pictures.items() if name in COMPARISON_PICTURES},
        same_samples=is_same_questions(logs),
        best=best,
        worst=worst,
        invented=invented_citations(benchmark.data["samples"]) if benchmark else [],
        max_invented=MAX_INVENTED,
        cut=lambda text: cut(text, language),
        pictures=pictures,
        picture_names=tuple(PICTURES),
        titles=PLOT_WORDS[language],
        not_run=NOT_RUN[language],
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def picture_sources(path: Path) -> set[str]:
    """Names of the logs a picture says it was drawn from; none for a file that is no picture."""
    from PIL import Image

    try:
        with Image.open(path) as image:  # reads the header only
            return set(image.info.get("Source", "").split(", "))
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for no picture, or a broken one
        return set()


def shown_in(name: str, logs: RunLogs) -> tuple[Log | None, ...]:
    """The logs that a picture is drawn from."""
    if name in COMPARISON_PICTURES:
        return (logs.models,)
    if name == "dpo" and logs.dpo:
        return (logs.dpo.metrics, logs.dpo.history)
    return (logs.metrics, logs.history) if name in TRAINING_PICTURES else (logs.base, logs.benchmark)


def current_pictures(plots_dir: str, logs: RunLogs, report_file: Path) -> dict[str, str]:
    """{name: path for a link} of the pictures drawn from these very logs; others are named on stderr."""
    pictures = {}
    for name in pictures_of([logs]):
        path = Path(plots_dir) / f"{name}.png"
        if not path.exists():
            continue
        expected, sources = {log.name for log in shown_in(name, logs) if log}, picture_sources(path)
        if sources == expected or name == "generation_time" and sources and sources <= expected:
            pictures[name] = quote(Path(os.path.relpath(path, report_file.resolve().parent)).as_posix())
        else:
            warn(
                f"{path} was not drawn from the logs of this report: left out; run: python generate_plots.py"
            )
    return pictures


def named_logs(logs: RunLogs) -> list[tuple[str, Log | None]]:
    """[(stage, its log)], those of DPO too."""
    own = [(stage, log) for stage, log in logs._asdict().items() if stage != "dpo"]
    of_dpo = logs.dpo._replace(base=None)._asdict() if logs.dpo else {}
    return own + [(f"dpo {stage}", log) for stage, log in of_dpo.items()]


def next_command(logs: RunLogs) -> str:
    if not (logs.metrics or logs.history):
        return "python train_8b.py"
    if not logs.benchmark:
        return "python benchmark.py"
    if not logs.base:
        base_model = logs.benchmark.data["meta"]["base_model"] or "BASE_MODEL"
        return f"python benchmark.py --model {shlex.quote(base_model)}"
    if not logs.compare:
        return f"python benchmark.py --compare {logs.base.name} {logs.benchmark.name}"
    adapter = logs.benchmark.data["meta"]["adapter"]
    return f"python chat.py --model {shlex.quote(adapter['path'])}" if adapter else "python chat.py"


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS, profile=False)
    parser.add_argument(
        "--run", metavar="RUN", help="run id, as in the names of the logs (default: the newest)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when the report is stale"
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    config = cli.effective_config(args)
    acts.use(config["law_dir"])
    language, report_file = checked_language(config["language"]), Path(config["report_file"])
    logs = choose(Shelf(config["logs_dir"]), args.run)
    pictures = current_pictures(config["plots_dir"], logs, report_file)
    act_titles = {act_id: act["title_ru"] for act_id, act in acts.load_acts().items()}
    text = render_report(logs, language, pictures, act_titles)
    if args.check:
        return check(report_file, text)
    write_text(report_file, text)
    for stage, log in named_logs(logs):
        if log:
            print(f"{stage:<10} {log.name}")
    num_pictures = len(pictures_of([logs]))
    print(
        f"{report_file} written with {len(pictures)} of {num_pictures} pictures; next: {next_command(logs)}"
    )
    return 0


def check(report_file: Path, text: str) -> int:
    """0 when the file says what the logs say; else 1 and one line that names the first difference."""
    if not report_file.exists():
        print(f"{report_file} does not exist; run: python generate_report.py", file=sys.stderr)
        return 1
    old, new = report_file.read_bytes().decode("utf-8", "replace").split("\n"), text.split("\n")
    if old == new:
        print(f"{report_file} is up to date")
        return 0
    same = [one == other for one, other in zip(old, new)]
    line = 1 + (same.index(False) if False in same else len(same))
    print(
        f"{report_file} is stale: line {line} differs from what the logs say; run: python generate_report.py",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    cli.run_main(main)
