"""Write RESULTS.md, the report of a run, from its logs and nothing else.

Reads what generate_plots.py reads, and logs/compare_*.json; shows the pictures of plots/ that were drawn from
the same logs. Writes RESULTS.md from templates/report.LANGUAGE.md.j2. Under every table stand the file and
the keys of its numbers.

  python generate_report.py                            the newest run, in Russian
  python generate_report.py --language en --run 20260301_100000
  python generate_report.py --check                    exit code 1 when RESULTS.md is not what the logs say
"""

import os
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

from config import CONFIG, PROFILES, REFERENCE_RUN
from legalqa import cli
from legalqa.files import write_text
from legalqa.law import acts
from legalqa.report import conclusions
from legalqa.report.conclusions import lookup
from legalqa.report.logs import Shelf, choose, warn
from legalqa.report.markdown import ABSENT, as_markdown, code
from legalqa.report.numbers import (
    duration,
    gigabytes,
    interval,
    number,
    percent,
    plural,
    points,
    real,
    scientific,
)
from legalqa.report.words import (
    CITATION_METRICS,
    HEALTH_METRICS,
    LANGUAGE_NAMES,
    METRIC_NAMES,
    PLOT_WORDS,
    PUBLISHED,
    TEXT_METRICS,
    checked_language,
)

SETTINGS = ("language", "logs_dir", "plots_dir", "report_file")
TEMPLATES = Path(__file__).resolve().parent / "templates"
PICTURES = (
    "training_loss",
    "learning_rate",
    "benchmark_metrics",
    "key_info_distribution",
    "generation_time",
    "by_language",
    "citations",
)
NOT_RUN = {"ru": "не запускалось", "en": "not run"}
YES_NO = {"ru": ("нет", "да"), "en": ("no", "yes")}
NUM_EXAMPLES, MAX_INVENTED, SHOWN_CHARACTERS = 3, 20, 500
# The published run, by the keys of our logs. Its settings are CONFIG's with the profile `reference`.
REFERENCE = {
    "config": {
        **CONFIG,
        **PROFILES["reference"],
        "profile": "reference",
        "meta.device.name": REFERENCE_RUN["device"],
        "meta.data.train.num_rows": REFERENCE_RUN["train_rows"],
        "meta.data.validation.num_rows": REFERENCE_RUN["validation_rows"],
        **{f"meta.versions.{name}": version for name, version in REFERENCE_RUN["versions"].items()},
    },
    "metrics": REFERENCE_RUN["training"],
    "benchmark": {
        "summary.num_samples": REFERENCE_RUN["benchmark_samples"],
        **{
            f"summary.metrics.{name}.mean": REFERENCE_RUN["benchmark"][name]
            for name in REFERENCE_RUN["benchmark"]
        },
        **{
            f"summary.generation.{name}": REFERENCE_RUN["generation"][name]
            for name in REFERENCE_RUN["generation"]
        },
    },
}


# ---- Numbers out of logs


def with_interval(text, bounds, language):
    from markupsafe import Markup

    return Markup(f"{text} {interval(bounds, language)}".strip())


class Numbers:
    """Formatted values of the logs, for the templates."""

    def __init__(self, logs, language):
        self.logs, self.language = logs, language

    def form(self, value, kind):
        language = self.language
        if value is None:
            return ABSENT
        forms = {
            "text": as_markdown,
            "code": code,
            "list": lambda v: code(", ".join(v)),
            "flag": lambda v: YES_NO[language][v],
            "count": lambda v: number(v, language),
            "loss": lambda v: number(v, language, 4),
            "real": lambda v: real(v, language),
            "rounded": lambda v: real(round(v, 3), language),
            "rate": lambda v: number(v, language, 3),
            "share": lambda v: percent(v, language),
            "share2": lambda v: percent(v, language, 2),
            "hundred": lambda v: percent(v / 100, language, 2),
            "points": lambda v: points(v, language),
            "time": lambda v: duration(v, language),
            "bytes": lambda v: gigabytes(v, language),
            "scientific": lambda v: scientific(v, language),
        }
        return forms[kind](value)

    def value(self, stage, key, kind):
        log = self.logs[stage]
        return NOT_RUN[self.language] if log is None else self.form(lookup(log, key), kind)

    def reference(self, stage, key, kind):
        return self.form(REFERENCE[stage].get(key), kind)

    def act(self, act_id):
        """The act's title, where the report is in Russian and the act is known, and its id."""
        from markupsafe import Markup

        title = self.logs["acts"].get(act_id) if self.language == "ru" else None
        return Markup(f"{as_markdown(title)} ({code(act_id)})") if title else code(act_id or "")

    def row(self, label, stage, key, kind):
        """A table row: label, key, this run, the reference run."""
        from markupsafe import Markup

        cells = (label, code(key), self.value(stage, key, kind), self.reference(stage, key, kind))
        return Markup("| " + " | ".join(as_markdown(cell) for cell in cells) + " |")

    def score(self, stage, name, group=("summary",)):
        """Mean and interval of a metric, "52,6 % [38,1; 67,9]"."""
        if self.logs[stage] is None:
            return NOT_RUN[self.language]
        found = lookup(self.logs[stage], [*group, "metrics", name]) or {"mean": None, "ci95": None}
        return with_interval(percent(found["mean"], self.language), found["ci95"], self.language)

    def difference(self, name):
        """Paired difference and interval in percentage points, "+40,7 [20,9; 59,2]"."""
        found = lookup(self.logs["compare"], f"metrics.{name}")
        return with_interval(points(found["difference"], self.language), found["ci95"], self.language)

    def side(self, name):
        """ "above", "below" or "across" zero: where the difference's interval lies; None without one."""
        bounds = lookup(self.logs["compare"], f"metrics.{name}.ci95")
        return None if not bounds else "above" if bounds[0] > 0 else "below" if bounds[1] < 0 else "across"


# ---- Examples


def examples(benchmark):
    """(best, worst): up to three samples each by `overall`, equal ones by id; no sample is in both."""
    scored = [sample for sample in benchmark.data["samples"] if sample["scores"].get("overall") is not None]
    ranked = sorted(scored, key=lambda sample: (-sample["scores"]["overall"], sample["id"]))
    num_best = min(NUM_EXAMPLES, -(-len(ranked) // 2))
    return ranked[:num_best], ranked[max(num_best, len(ranked) - NUM_EXAMPLES) :][::-1]


def invented_citations(benchmark):
    """[(sample, citation)] of every citation in an answer whose article does not exist in its act."""
    return [
        (sample, citation)
        for sample in benchmark.data["samples"]
        for citation in sample["citations"]["prediction"]
        if citation["exists"] is False
    ]


def cut(text, language):
    """`text`, or its start with a note of how much is left out."""
    if len(text) <= SHOWN_CHARACTERS:
        return text or ABSENT
    shown, total = number(SHOWN_CHARACTERS, language), number(len(text), language)
    note = {"ru": f"показано {shown} знаков из {total}", "en": f"{shown} of {total} characters shown"}[
        language
    ]
    return f"{text[:SHOWN_CHARACTERS]}… ({note})"


def render_report(logs, language):
    """The report's text: a pure function of `logs`.

    These are what logs.choose() found, "pictures", {name: path}, and "acts", {id: title}.
    """
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
    numbers, benchmark = Numbers(logs, language), logs["benchmark"]
    ids = [
        {sample["id"] for sample in logs[stage].data["samples"]}
        for stage in ("base", "benchmark")
        if logs[stage]
    ]
    best, worst = examples(benchmark) if benchmark else ([], [])
    text = environment.get_template(f"report.{language}.md.j2").render(
        logs=logs,
        row=numbers.row,
        value=numbers.value,
        score=numbers.score,
        difference=numbers.difference,
        side=numbers.side,
        reference=numbers.reference,
        form=numbers.form,
        act=numbers.act,
        lookup=lookup,
        code=code,
        names=METRIC_NAMES[language],
        published=PUBLISHED,
        text_metrics=TEXT_METRICS,
        citation_metrics=CITATION_METRICS,
        health_metrics=HEALTH_METRICS,
        languages=LANGUAGE_NAMES[language],
        plural=plural,
        conclusions=conclusions.draw(logs, numbers.form),
        weak_acts=conclusions.weak_acts(benchmark) if benchmark else [],
        limits=conclusions.LIMITS,
        same_samples=ids[0] == ids[-1] if ids else True,
        best=best,
        worst=worst,
        invented=invented_citations(benchmark) if benchmark else [],
        max_invented=MAX_INVENTED,
        cut=lambda text: cut(text, language),
        pictures=logs["pictures"],
        picture_names=PICTURES,
        titles=PLOT_WORDS[language],
        not_run=NOT_RUN[language],
    )
    return re.sub(r"\n{3,}", "\n\n", text)


# ---- Command


def current_pictures(plots_dir, logs, report_file):
    """{name: path for a link} of the pictures that were drawn from these very logs; others are named on
    stderr.
    """
    from PIL import Image

    pictures = {}
    for name in PICTURES:
        stages = (
            ("metrics", "history") if name in ("training_loss", "learning_rate") else ("base", "benchmark")
        )
        expected = {logs[stage].name for stage in stages if logs[stage]}
        path = Path(plots_dir) / f"{name}.png"
        if not path.exists():
            continue
        try:
            with Image.open(path) as image:  # reads the header only
                sources = set(image.info.get("Source", "").split(", "))
        except (
            OSError,
            SyntaxError,
            ValueError,
        ):  # what Pillow raises for a file that is no picture, or a broken one
            sources = set()
        if sources == expected or name == "generation_time" and sources and sources <= expected:
            pictures[name] = quote(Path(os.path.relpath(path, report_file.resolve().parent)).as_posix())
        else:
            warn(
                f"{path} was not drawn from the logs of this report: left out; run: python generate_plots.py"
            )
    return pictures


def next_command(logs):
    if not (logs["metrics"] or logs["history"]):
        return "python train_8b.py"
    if not logs["benchmark"]:
        return "python benchmark.py"
    if not logs["base"]:
        base_model = logs["benchmark"].data["meta"]["base_model"] or "BASE_MODEL"
        return f"python benchmark.py --model {shlex.quote(base_model)}"
    if not logs["compare"]:
        return f"python benchmark.py --compare {logs['base'].name} {logs['benchmark'].name}"
    adapter = logs["benchmark"].data["meta"]["adapter"]
    return f"python chat.py --model {shlex.quote(adapter['path'])}" if adapter else "python chat.py"


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, SETTINGS, profile=False)
    parser.add_argument(
        "--run", metavar="RUN", help="run id, as in the names of the logs (default: the newest)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when the report is stale"
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    settings = cli.effective_config(args)
    language, report_file = checked_language(settings["language"]), Path(settings["report_file"])
    logs = choose(Shelf(settings["logs_dir"]), args.run)
    logs["pictures"] = current_pictures(settings["plots_dir"], logs, report_file)
    logs["acts"] = {key: act["title_ru"] for key, act in acts.load_acts().items()}
    text = render_report(logs, language)
    if args.check:
        return check(report_file, text)
    write_text(report_file, text)
    for stage in ("config", "metrics", "history", "base", "benchmark", "compare"):
        if logs[stage]:
            print(f"{stage:<10} {logs[stage].name}")
    print(
        f"{report_file} written with {len(logs['pictures'])} of {len(PICTURES)} pictures; "
        f"next: {next_command(logs)}"
    )
    return 0


def check(report_file, text):
    """0 when the file says what the logs say; else 1 and one line that names the first difference."""
    if not report_file.exists():
        print(f"{report_file} does not exist; run: python generate_report.py", file=sys.stderr)
        return 1
    old, new = report_file.read_bytes().decode("utf-8", "replace").split("\n"), text.split("\n")
    if old == new:
        print(f"{report_file} is up to date")
        return 0
    line = (
        next((i for i, pair in enumerate(zip(old, new)) if pair[0] != pair[1]), min(len(old), len(new))) + 1
    )
    print(
        f"{report_file} is stale: line {line} differs from what the logs say; run: python generate_report.py",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    cli.run_main(main)
