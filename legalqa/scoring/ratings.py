"""Blind ratings by people: which questions they get, which answer is whose, and what their ratings say."""

import random
from statistics import fmean
from typing import Any, NamedTuple, TypedDict

from legalqa.data.records import user_turn
from legalqa.errors import UserError
from legalqa.files import text_sha256
from legalqa.scoring.comparison import Result, labels_of, shared_ids
from legalqa.scoring.results import Agreement, RatedModel, RatingScore, Sample
from legalqa.scoring.statistics import MIN_FOR_BOOTSTRAP, acts_of, bootstrap_interval, paired_difference
from legalqa.typed_json import Count

CRITERIA = ("correctness", "completeness", "citations", "clarity")
MEAN = "mean"  # of the four criteria
BEST = 5  # ratings are whole numbers from 1
LETTERS = "ABCDEF"


class KeyModel(TypedDict):
    label: str
    file: str
    model: str


class KeyQuestion(TypedDict):
    """`answers`: {letter: place among the models} of the question's rows in the sheet."""

    number: Count
    id: str
    answers: dict[str, Count]


class Key(TypedDict):
    """What the sheet does not say. `sheet_id` is in both."""

    sheet_id: str
    models: list[KeyModel]
    questions: list[KeyQuestion]


class AnswerRow(NamedTuple):
    """A row of the sheet."""

    number: int  # of the question, from 1
    letter: str
    question: str
    answer: str


class Rated(NamedTuple):
    """A row that a person filled; None where there is no rating."""

    number: int
    letter: str
    ratings: dict[str, int | None]


# ------------------------------------------------------------------------------------------------ the sheet


def make_rows(results: list[Result], num_questions: int, seed: int) -> tuple[list[AnswerRow], Key]:
    """The rows of the sheet, and the key: answers of all `results` under letters, shuffled per question."""
    rng = random.Random(seed)
    ids = shared_ids(results)
    chosen = choose_questions(results[0].of_ids(ids), num_questions, rng)
    answers = [{sample["id"]: sample for sample in result.log["samples"]} for result in results]
    rows, questions = [], []
    for number, asked in enumerate(chosen, 1):
        places = rng.sample(range(len(results)), len(results))
        text = user_turn({"instruction": asked["instruction"], "input": asked["input"] or ""})
        for letter, place in zip(LETTERS, places):
            rows.append(AnswerRow(number, letter, text, answers[place][asked["id"]]["prediction"]))
        question: KeyQuestion = {"number": number, "id": asked["id"], "answers": dict(zip(LETTERS, places))}
        questions.append(question)
    models: list[KeyModel] = [
        {"label": label, "file": result.file, "model": result.log["meta"]["model"]}
        for result, label in zip(results, labels_of(results))
    ]
    sheet_id = text_sha256(repr((rows, questions)))[:8]
    return rows, {"sheet_id": sheet_id, "models": models, "questions": questions}


def choose_questions(samples: list[Sample], count: int, rng: random.Random) -> list[Sample]:
    """`count` of the samples, in random order: every n-th of them sorted by language and act, so that each
    has its share."""

    def stratum(sample):
        return sample["language"], min(acts_of(sample), default=""), rng.random()

    ordered, count = sorted(samples, key=stratum), min(count, len(samples))
    start, step = rng.random(), len(ordered) / count
    chosen = [ordered[int((place + start) * step)] for place in range(count)]
    rng.shuffle(chosen)
    return chosen


# ------------------------------------------------------------------------------------------ filled sheets


def check_rows(rows: list[Rated], key: Key, file: str) -> dict[tuple[int, str], dict[str, int | None]]:
    """{(number, letter): ratings} of a filled sheet; UserError for rows that are not in the key, or twice."""
    known = {(question["number"], letter) for question in key["questions"] for letter in question["answers"]}
    found = {}
    for row in rows:
        place = (row.number, row.letter)
        if place not in known or place in found:
            what = "twice" if place in found else "not in the key"
            raise UserError(f"{file}: question {row.number}, answer {row.letter} is {what}; restore the row")
        found[place] = row.ratings
    return found


def agreement_of(sheets: list[dict], criterion: str) -> Agreement:
    """Krippendorff's alpha of the raters; None for one rater, or where all ratings are equal."""
    import krippendorff
    import numpy

    places = sorted(set().union(*sheets))
    given = [[sheet.get(place, {}).get(criterion) for place in places] for sheet in sheets]
    matrix = numpy.array(given, dtype=float).reshape(len(sheets), len(places))
    paired = matrix[:, (~numpy.isnan(matrix)).sum(axis=0) >= 2]
    alpha = None
    if paired.size and len(numpy.unique(paired[~numpy.isnan(paired)])) > 1:
        alpha = float(krippendorff.alpha(paired, level_of_measurement="ordinal"))
    return {"alpha": alpha, "num_answers": paired.shape[1]}


def rate_models(sheets: list[dict], key: Key, seed: int) -> list[RatedModel]:
    """The `models` of logs/human_<run>.json."""
    columns = [columns_of(sheets, key, place) for place in range(len(key["models"]))]
    comparisons = len(columns) - 1
    return [
        {
            **model,
            "scores": {name: rating_score(values, seed) for name, values in own.items()},
            "differences": None
            if own is columns[0]
            else {
                name: paired_difference(columns[0][name], values, seed, comparisons)
                for name, values in own.items()
            },
        }
        for model, own in zip(key["models"], columns)
    ]


def columns_of(sheets: list[dict], key: Key, place: int) -> dict[str, list[float | None]]:
    """{criterion: the raters' mean for each question} of the model at `place`; MEAN where all four are."""
    columns: dict[str, list[float | None]] = {name: [] for name in (*CRITERIA, MEAN)}
    for question in key["questions"]:
        letter = next(letter for letter, of in question["answers"].items() if of == place)
        ratings = [sheet.get((question["number"], letter), {}) for sheet in sheets]
        means = {name: mean_of([rating.get(name) for rating in ratings]) for name in CRITERIA}
        complete = [mean for mean in means.values() if mean is not None]
        means[MEAN] = fmean(complete) if len(complete) == len(CRITERIA) else None
        for name, mean in means.items():
            columns[name].append(mean)
    return columns


def mean_of(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def rating_score(values: list[float | None], seed: int) -> RatingScore:
    """Mean with a bootstrap interval over questions; none of few, or of equal ones."""
    import numpy

    known = [value for value in values if value is not None]
    varied = len(known) >= MIN_FOR_BOOTSTRAP and min(known) < max(known)
    return {
        "mean": mean_of(known),
        "ci95": bootstrap_interval(numpy.array(known), seed) if varied else None,
        "num_samples": len(known),
    }
