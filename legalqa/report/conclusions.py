"""Rules that turn the numbers of the logs into conclusions: each tests the values of some keys of one log.

What a rule says, in words, stands in the report's templates under the rule's name.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from legalqa.report.logs import Log, RunLogs
from legalqa.scoring.results import UNDEFINED, headline_scores, unnamed_of

# Where the rules of the conclusions draw their lines; the templates print them.
LIMITS = {
    "eval_rise": 0.02,
    "citation_recall": 0.5,
    "citation_exists": 0.95,
    "cut_off_rate": 0.05,
    "repetition_rate": 0.02,
    "wrong_language_rate": 0.02,
    "interval": 0.06,
    "dropped": 0.01,
    "act_samples": 5,
}

# Where the question itself names an article, a model that repeats the question cites it.
UNNAMED, NAMED = "summary.by_named_article.unnamed", "summary.by_named_article.named"


def lookup(log: Log | None, key: str | list[str]) -> Any:
    """The value at a dotted key ("summary.metrics.overall.ci95.0") or list of keys; None if there is none."""
    value = log.data if log else None
    for part in key.split(".") if isinstance(key, str) else key:
        if isinstance(value, list):
            value = value[int(part)]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


class Rule(NamedTuple):
    """When a conclusion is drawn. `name` names its texts in the templates, `kind` how values are shown."""

    name: str
    stage: str
    keys: tuple[str, ...]
    kind: str
    test: Callable[..., bool]  # of the values; not asked when one is missing
    metric: str = ""


class Conclusion(NamedTuple):
    """A rule applied to logs. `fired` is None where the rule's log, or a value in it, is missing."""

    name: str
    metric: str
    stage: str
    values: list[tuple[str, str]]  # (key, formatted value)
    fired: bool | None


def mean_of(name: str, group: str = "summary") -> str:
    return f"{group}.metrics.{name}.mean"


def bounds_of(name: str, group: str = "summary") -> tuple[str, str]:
    return f"{group}.metrics.{name}.ci95.0", f"{group}.metrics.{name}.ci95.1"


def paired(metric: str, group: str = "") -> tuple[Rule, Rule, Rule]:
    keys = (f"{group}metrics.{metric}.ci95.0", f"{group}metrics.{metric}.ci95.1")
    return (
        Rule("better", "compare", keys, "points", lambda low, high: low > 0, metric),
        Rule("worse", "compare", keys, "points", lambda low, high: high < 0, metric),
        Rule("unclear", "compare", keys, "points", lambda low, high: low <= 0 <= high, metric),
    )


def gap(name: str, metric: str, first: str, second: str) -> Rule:
    keys = (*bounds_of(metric, first), *bounds_of(metric, second))
    return Rule(name, "benchmark", keys, "share", lambda a, b, c, d: b < c or d < a)


def above(name: str) -> Rule:
    return Rule(name, "benchmark", (mean_of(name),), "share", lambda rate: rate > LIMITS[name])


RULES = (
    *paired("overall"),
    *paired("citation_f1", "by_named_article.unnamed."),
    Rule("no_gain", "metrics", ("initial_eval_loss", "eval_loss"), "loss", lambda first, last: last >= first),
    Rule(
        "eval_rising",
        "metrics",
        ("eval_loss", "min_eval_loss"),
        "loss",
        lambda last, low: last > (1 + LIMITS["eval_rise"]) * low,
    ),
    Rule(
        "still_falling",
        "metrics",
        ("eval_loss", "min_eval_loss", "initial_eval_loss"),
        "loss",
        lambda last, low, first: last <= low < first,
    ),
    Rule("broken_loss", "metrics", ("history",), "count", lambda broken: broken > 0),
    Rule(
        "weak_citations",
        "benchmark",
        (mean_of("citation_recall", UNNAMED),),
        "share",
        lambda recall: recall < LIMITS["citation_recall"],
    ),
    Rule(
        "invented",
        "benchmark",
        (mean_of("citation_exists", UNNAMED),),
        "share",
        lambda share: share < LIMITS["citation_exists"],
    ),
    Rule(
        "echo",
        "benchmark",
        (bounds_of("citation_recall", UNNAMED)[1], bounds_of("citation_recall", NAMED)[0]),
        "share",
        lambda unnamed_high, named_low: unnamed_high < named_low,
    ),
    # Not `overall`: its key_info knows no Kazakh terms.
    gap("language_gap", "word_f1", "summary.by_language.ru", "summary.by_language.kk"),
    gap("memorised", "overall", "summary.by_seen_article.seen", "summary.by_seen_article.unseen"),
    above("cut_off_rate"),
    above("repetition_rate"),
    above("wrong_language_rate"),
    Rule(
        "wide_interval",
        "benchmark",
        bounds_of("overall"),
        "share",
        lambda low, high: high - low > LIMITS["interval"],
    ),
    Rule(
        "dropped",
        "config",
        ("meta.data.train.num_dropped", "meta.data.train.num_rows"),
        "count",
        lambda dropped, rows: dropped > LIMITS["dropped"] * rows,
    ),
)


def values_of(rule: Rule, log: Log) -> list:
    """The values the rule tests; of a history the number of losses that are no number."""
    if rule.keys == ("history",):
        losses = [entry.get("loss") for entry in log.data["history"]]
        return [sum(loss is not None and not math.isfinite(loss) for loss in losses) if losses else None]
    return [lookup(log, key) for key in rule.keys]


def draw(logs: RunLogs, form: Callable[[Any, str], str]) -> list[Conclusion]:
    """Every rule applied; `form(value, kind)` writes a value."""
    found = []
    for rule in RULES:
        log = getattr(logs, rule.stage)
        values = values_of(rule, log) if log else []
        known = log is not None and not any(value is None or math.isnan(value) for value in values)
        shown = [(key, form(value, rule.kind)) for key, value in zip(rule.keys, values)]
        found.append(
            Conclusion(rule.name, rule.metric, rule.stage, shown, rule.test(*values) if known else None)
        )
    return found


def weak_acts(benchmark: Log) -> list[str]:
    """Acts whose citation recall is under the limit, the five weakest, among those with enough answers.

    Answers to questions that name no article, here too.
    """
    weak = []
    for act, group in benchmark.data["summary"].get("by_act", {}).items():
        unnamed = unnamed_of(group)
        recall = headline_scores(group).get("citation_recall", UNDEFINED)["mean"]
        if unnamed["num_samples"] >= LIMITS["act_samples"] and recall is not None:
            weak.append((recall, act))
    return [act for recall, act in sorted(weak)[:5] if recall < LIMITS["citation_recall"]]
