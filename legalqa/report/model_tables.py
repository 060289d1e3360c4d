"""What is printed of several models: a block a score, in it a row a model, within 80 columns."""

import string
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from legalqa.report.tables import make_table, score_text, verdict_of
from legalqa.scoring.metric_table import MAIN_SCORES, METRICS
from legalqa.scoring.ratings import CRITERIA, MEAN
from legalqa.scoring.results import HumanLog, ModelsLog

COLUMNS = ("metric", "", "mean", "95 % interval", "- A", "corrected", "pairs", "")


def print_models(log: ModelsLog, console) -> None:
    """A comparison of benchmarks."""
    models, meta = log["models"], log["meta"]
    print_names(
        console,
        f"{len(models)} results, {meta['num_shared']} shared samples, scores in %; A is the baseline",
        (
            model["label"]
            + ("" if model["sec_per_answer"] is None else f"  {model['sec_per_answer']:.2f} s an answer")
            for model in models
        ),
    )
    higher_is_better = {name: METRICS[name].better == "higher" for name in MAIN_SCORES}
    print_blocks(console, models, higher_is_better, score_text)
    print_correction(console, models)
    tell(console, f"citation scores: of the {meta['num_unnamed']} questions that name no article")


def print_ratings(log: HumanLog, console) -> None:
    """What raters said, and how far they agree."""
    models, meta = log["models"], log["meta"]
    print_names(
        console,
        f"{len(log['raters'])} raters, {meta['num_questions']} questions, ratings 1 to 5; A is the baseline",
        (model["label"] for model in models),
    )
    for rater in log["raters"]:
        tell(
            console,
            f"  {Path(rater['file']).name}: {rater['num_rated']} of {meta['num_answers']} answers rated",
        )
    print_blocks(console, models, dict.fromkeys((*CRITERIA, MEAN), True), rating_text)
    print_correction(console, models)
    tell(console, "agreement of the raters, Krippendorff's alpha (ordinal; 1: full, 0: chance):")
    for name, agreement in log["agreement"].items():
        alpha = agreement["alpha"]
        shown = "-" if alpha is None else f"{alpha:.2f}"
        tell(console, f"  {name:<13} {shown:>5}  {agreement['num_answers']} answers rated by two or more")


def rating_text(rating: float | None, sign: str = "") -> str:
    return "-" if rating is None else f"{rating:{sign}.2f}"


def tell(console, text: str) -> None:
    console.print(text, highlight=False, markup=False)


def marks_of(models: Sequence[Any]) -> list[str]:
    letters = string.ascii_uppercase
    return [letters[place] if place < len(letters) else str(place + 1) for place in range(len(models))]


def print_names(console, title: str, names: Iterable[str]) -> None:
    tell(console, title)
    names = list(names)
    for mark, name in zip(marks_of(names), names):
        tell(console, f"  {mark}  {name}")


def print_blocks(
    console, models: Sequence[Any], higher_is_better: dict[str, bool], text: Callable[..., str]
) -> None:
    """`text(value, sign)` writes a number of the models' scores and differences."""

    def interval(bounds, sign=""):
        return f"{text(bounds[0], sign)} .. {text(bounds[1], sign)}" if bounds else "-"

    table, marks = make_table(None, *COLUMNS, padding=0), marks_of(models)
    for name, higher in higher_is_better.items():
        for mark, model in zip(marks, models):
            score, cells = model["scores"][name], [""] * 4
            if model["differences"]:
                difference = model["differences"][name]
                cells = [
                    text(difference["difference"], "+"),
                    interval(difference["ci95"], "+"),
                    str(difference["num_samples"]),
                    verdict_of(difference["ci95"], higher),
                ]
            first = name if mark == marks[0] else ""
            shown = (first, mark, text(score["mean"]), interval(score["ci95"]), *cells)
            table.add_row(*shown, end_section=mark == marks[-1])
    console.print(table)


def print_correction(console, models: Sequence[Any]) -> None:
    if len(models) > 2:
        count = len(models) - 1
        tell(console, f"corrected (Bonferroni): the {count} intervals of a score hold together with 95 %")
