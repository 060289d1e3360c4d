"""Several results beside each other, each against one of them, on the questions that all of them answered."""

import math
import re
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from legalqa.errors import UserError
from legalqa.files import read_json
from legalqa.scoring.metric_table import METRICS, metric_names
from legalqa.scoring.results import BenchmarkLog, ComparedModel, Correction, Sample
from legalqa.scoring.statistics import ERROR, MIN_SHARED, mean_ci, named_article_of, paired_difference
from legalqa.typed_json import json_problem

PARAMETERS = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)  # 0.6B, 270M; not 4bit


class Result(NamedTuple):
    """A benchmark's log and its file."""

    file: str
    log: BenchmarkLog

    def of_ids(self, ids: list[str]) -> list[Sample]:
        by_id = {sample["id"]: sample for sample in self.log["samples"]}
        return [by_id[identifier] for identifier in ids]


def read_results(files: list[str], kind: Any = BenchmarkLog) -> list[Result]:
    """The logs, of which `kind` is needed; UserError for another file."""
    results = []
    for file in files:
        data: Any = read_json(file)
        problem = json_problem(data, kind)
        if problem:
            raise UserError(f"{file}: not a result of benchmark.py: {problem}")
        results.append(Result(file, data))
    return results


def check_distinct(files: list[str]) -> None:
    seen = set()
    for file in files:
        if Path(file).resolve() in seen:
            raise UserError(f"{file} is given twice")
        seen.add(Path(file).resolve())


def baseline_first(files: list[str], baseline: str | None) -> list[str]:
    """The files with `baseline` in front, which need not be among them."""
    if baseline is None:
        return files
    return [baseline, *(file for file in files if Path(file).resolve() != Path(baseline).resolve())]


def shared_ids(results: list[Result]) -> list[str]:
    """Ids of the samples that all have, in the first one's order."""
    ids = [dict.fromkeys(sample["id"] for sample in result.log["samples"]) for result in results]
    shared = [identifier for identifier in ids[0] if all(identifier in others for others in ids)]
    if len(shared) < MIN_SHARED:
        sizes = ", ".join(str(len(own)) for own in ids)
        raise UserError(
            f"the {len(results)} results share {len(shared)} samples (of {sizes}), fewer than {MIN_SHARED}; "
            "score all on the same rows: same --validation-file, --num-samples and --seed"
        )
    return shared


def correction_of(num_models: int) -> Correction:
    comparisons = num_models - 1
    return {"method": "bonferroni", "comparisons": comparisons, "level": 1 - ERROR / comparisons}


def compare_models(results: list[Result], ids: list[str], seed: int) -> list[ComparedModel]:
    """The `models` of logs/models_<run>.json; the first result is the baseline."""
    unnamed = [named_article_of(sample) == ["unnamed"] for sample in results[0].of_ids(ids)]
    columns = [columns_of(result.of_ids(ids), unnamed) for result in results]
    return [
        {
            "label": label,
            "file": result.file,
            "model": result.log["meta"]["model"],
            "kind": result.log["meta"]["kind"],
            "base_model": result.log["meta"]["base_model"],
            "sec_per_answer": sec_per_answer(result.of_ids(ids)),
            "scores": {name: mean_ci(column, seed) for name, column in own.items()},
            "differences": None
            if own is columns[0]
            else {
                name: paired_difference(columns[0][name], column, seed, len(results) - 1)
                for name, column in own.items()
            },
        }
        for result, label, own in zip(results, labels_of(results), columns)
    ]


def columns_of(samples: list[Sample], unnamed: list[bool]) -> dict[str, list[float | None]]:
    """{metric: score of each sample}; of citations None where the question names an article."""
    of_citations = metric_names("citation", "open_book")
    return {
        name: [
            sample["scores"].get(name) if is_unnamed or name not in of_citations else None
            for sample, is_unnamed in zip(samples, unnamed)
        ]
        for name in METRICS
    }


def sec_per_answer(samples: list[Sample]) -> float | None:
    seconds = [second for sample in samples if (second := sample["generation_sec"]) is not None]
    return fmean(seconds) if len(seconds) == len(samples) else None


def labels_of(results: list[Result]) -> list[str]:
    """The models' names. Where several results are of one name, with what tells them apart: how many passages
    of the law each had, the run, or the file."""
    names = [result.log["meta"]["model"] for result in results]
    with_book = [f"{name}, {book_of(result)}" for name, result in zip(names, results)]
    with_run = [f"{name}, {result.log['meta'].get('run')}" for name, result in zip(names, results)]
    files = [result.file for result in results]
    return [
        next((kind[number] for kind in (names, with_book, with_run) if kind.count(kind[number]) == 1), file)
        for number, file in enumerate(files)
    ]


def in_order(models: list[ComparedModel]) -> list[ComparedModel]:
    """As people read them: base models beside what was tuned from them, small ones first; then the others."""
    return sorted(models, key=reading_order)


def reading_order(model: ComparedModel) -> tuple[bool, float, str, bool, str]:
    family = Path(model["base_model"] or model["model"]).name
    is_ours = model["kind"] in ("base", "adapter", "merged")
    return not is_ours, billions(family), family, model["kind"] != "base", model["label"]


def billions(name: str) -> float:
    """Parameters that a model's name tells, in billions; infinite where it tells none."""
    found = PARAMETERS.search(name)
    return float(found[1]) / (1 if found[2] in "bB" else 1000) if found else math.inf


def book_of(result: Result) -> str:
    passages = (result.log["meta"].get("law") or {}).get("passages", 0)
    return f"{passages} passages" if passages else "closed book"
