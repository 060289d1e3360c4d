"""Values of the logs as the report's cells: formatted, with intervals, beside the reference run's."""

from collections.abc import Mapping
from typing import Any

from config import CONFIG, PROFILES, REFERENCE_RUN
from legalqa.report.conclusions import lookup
from legalqa.report.logs import RunLogs
from legalqa.report.markdown import ABSENT, as_markdown, code
from legalqa.report.numbers import duration, gigabytes, interval, number, percent, points, real, scientific

NOT_RUN = {"ru": "не запускалось", "en": "not run"}
YES_NO = {"ru": ("нет", "да"), "en": ("no", "yes")}
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
        **{f"summary.metrics.{name}.mean": mean for name, mean in REFERENCE_RUN["benchmark"].items()},
        **{f"summary.generation.{name}": value for name, value in REFERENCE_RUN["generation"].items()},
    },
}
FORMS = {
    "text": lambda value, language: as_markdown(value),
    "code": lambda value, language: code(value),
    "list": lambda value, language: code(", ".join(value)),
    "flag": lambda value, language: YES_NO[language][value],
    "count": number,
    "loss": lambda value, language: number(value, language, 4),
    "two": lambda value, language: number(value, language, 2),
    "real": real,
    "rounded": lambda value, language: real(round(value, 3), language),
    "rate": lambda value, language: number(value, language, 3),
    "share": percent,
    "share2": lambda value, language: percent(value, language, 2),
    "hundred": lambda value, language: percent(value / 100, language, 2),
    "points": points,
    "time": duration,
    "bytes": gigabytes,
    "scientific": scientific,
}


def with_interval(text: str, bounds: list[float] | None, language: str):
    from markupsafe import Markup

    return Markup(f"{text} {interval(bounds, language)}".strip())


class Cells:
    """Formatted values of one run's logs in one language, for the templates."""

    def __init__(self, logs: RunLogs, act_titles: dict[str, str], language: str):
        self.logs, self.act_titles, self.language = logs, act_titles, language

    def form(self, value: Any, kind: str) -> str:
        return ABSENT if value is None else FORMS[kind](value, self.language)

    def value(self, stage: str, key: str | list[str], kind: str) -> str:
        log = getattr(self.logs, stage)
        return NOT_RUN[self.language] if log is None else self.form(lookup(log, key), kind)

    def log_name(self, stage: str) -> str | None:
        log = getattr(self.logs, stage)
        return log.name if log else None

    def reference(self, stage: str, key: str, kind: str) -> str:
        return self.form(REFERENCE[stage].get(key), kind)

    def act(self, act_id: str | None):
        """The act's title, where the report is in Russian and the act is known, and its id."""
        from markupsafe import Markup

        title = self.act_titles.get(act_id or "") if self.language == "ru" else None
        return Markup(f"{as_markdown(title)} ({code(act_id)})") if title else code(act_id or "")

    def row(self, label: str, stage: str, key: str, kind: str):
        """A table row: label, key, this run, the reference run."""
        from markupsafe import Markup

        cells = (label, code(key), self.value(stage, key, kind), self.reference(stage, key, kind))
        return Markup("| " + " | ".join(as_markdown(cell) for cell in cells) + " |")

    def score(self, stage: str, name: str, group=("summary",)) -> str:
        """Mean and interval of a metric, "52,6 % [38,1; 67,9]"."""
        log = getattr(self.logs, stage)
        if log is None:
            return NOT_RUN[self.language]
        return self.score_of(lookup(log, [*group, "metrics", name]) or {"mean": None, "ci95": None})

    def score_of(self, score: Mapping[str, Any]) -> str:
        return with_interval(percent(score["mean"], self.language), score["ci95"], self.language)

    def difference(self, name: str, group: list[str] | tuple = (), stage: str = "compare") -> str:
        """Paired difference and interval in percentage points, "+40,7 [20,9; 59,2]"."""
        found = lookup(getattr(self.logs, stage), [*group, "metrics", name])
        return self.difference_of(found or {"difference": None, "ci95": None})

    def difference_of(self, difference: Mapping[str, Any]) -> str:
        bounds = difference["ci95"]
        return with_interval(points(difference["difference"], self.language), bounds, self.language)

    def side(self, name: str, group: list[str] | tuple = (), stage: str = "compare") -> str | None:
        """ "above", "below" or "across" zero: where the difference's interval lies; None without one."""
        bounds = lookup(getattr(self.logs, stage), [*group, "metrics", name, "ci95"])
        return None if not bounds else "above" if bounds[0] > 0 else "below" if bounds[1] < 0 else "across"

    def rating_of(self, model: Mapping[str, Any], name: str):
        """Mean rating and interval of a model, and in parentheses how much more than the baseline's."""
        from markupsafe import Markup

        score, difference = model["scores"][name], (model["differences"] or {}).get(name)
        text = self.rating(score["mean"], score["ci95"])
        if difference is None or difference["difference"] is None:
            return Markup(text)
        sign = "+" if difference["difference"] > 0 else ""
        return Markup(f"{text} ({sign}{self.rating(difference['difference'], difference['ci95'])})")

    def rating(self, value: float | None, bounds: list[float] | None) -> str:
        shown = number(value, self.language, 2)
        if bounds is None:
            return shown
        low, high = (number(bound, self.language, 2) for bound in bounds)
        return f"{shown} [{low}{';' if self.language == 'ru' else ','} {high}]"
