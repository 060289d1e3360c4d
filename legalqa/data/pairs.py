"""Pairs of answers for DPO: the rows of combined_data/pairs.jsonl, their one reader, and what made them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import file_sha256, read_json, text_sha256, write_files

SHOWN_ROWS = 5
SCRIPT = "prepare_pairs.py"


class Pair(NamedTuple):
    """A right answer and a wrong one to the same question."""

    instruction: str
    input: str
    chosen: str
    rejected: str
    why: list[str]  # what is wrong with `rejected`: names of scoring.faults
    source: Any = None  # of the row it was made from

    @property
    def question(self) -> dict[str, str]:
        return {"instruction": self.instruction, "input": self.input}

    @property
    def row(self) -> dict[str, Any]:
        """As the file has it."""
        return {key: value for key, value in self._asdict().items() if key != "source" or value is not None}


class Origin(NamedTuple):
    """Which model made the rejected answers; None where the file does not say."""

    base_model: str | None
    prompt_sha256: str | None
    adapter_sha256: str | None


def origin_file(pairs_file: str | Path) -> Path:
    """Beside pairs.jsonl: pairs.json, what made them."""
    return Path(pairs_file).with_suffix(".json")


def write_pairs(path: str | Path, pairs: Iterable[Pair], origin: Origin, about: Mapping[str, Any]) -> None:
    """The pairs and, in the file beside them, what made them and `about`: both or neither."""
    lines = "".join(records.to_line(pair.row) for pair in pairs)
    said = {**about, "origin": origin._asdict(), "pairs_sha256": text_sha256(lines)}
    write_files({path: [lines], origin_file(path): [records.to_line(said)]})


def read_origin(path: str | Path) -> Origin:
    """All None for pairs that were not written by `write_pairs`, or changed since."""
    file = origin_file(path)
    said = read_json(file) if file.is_file() else {}
    if said.get("pairs_sha256") != file_sha256(path) or not isinstance(said.get("origin"), dict):
        return Origin(None, None, None)
    return Origin(**{key: said["origin"].get(key) for key in Origin._fields})


def read_pairs(path: str | Path) -> list[Pair]:
    """The pairs; UserError that names the bad lines: a field missing, an answer empty, both alike."""
    rows = records.read_rows(path, pair_problem, SCRIPT)
    return [
        Pair(
            row["instruction"],
            row["input"],
            row["chosen"],
            row["rejected"],
            row.get("why", []),
            row.get("source"),
        )
        for row in rows
    ]


def pair_problem(row: Any) -> str | None:
    """What is wrong with a row of a pairs file, or None."""
    problem = records.text_problem(row, ("instruction", "input", "chosen", "rejected"))
    if problem:
        return problem
    why = row.get("why", [])
    if not (isinstance(why, list) and all(isinstance(name, str) for name in why)):
        return "field 'why' is not a list of strings"
    if row["chosen"].strip() == row["rejected"].strip():
        return "'chosen' and 'rejected' are the same answer"
    return None


def check_not_validation(pairs: list[Pair], validation: list[dict], path: str, file: str) -> None:
    """UserError when a pair asks what a validation row asks: it would flatter the model."""
    kept = {records.asked(row) for row in validation}
    leaks = [number for number, pair in enumerate(pairs, 1) if records.asked(pair.question) in kept]
    if leaks:
        shown = ", ".join(map(str, leaks[:SHOWN_ROWS])) + (" ..." if len(leaks) > SHOWN_ROWS else "")
        raise UserError(
            f"{path}: {len(leaks)} pairs ask what a row of {file} asks (rows {shown}); take them out: they "
            "would flatter the model"
        )


def split_held(pairs: list[Pair], share: float, seed: int) -> list[bool]:
    """Whether each pair is held for the evaluation: `share` of the questions, each with all of its pairs."""
    keys = [records.asked(pair.question) for pair in pairs]
    order = sorted(set(keys), key=lambda key: text_sha256(f"{seed}\n{key}"))
    held = set(order[: round(share * len(order))])
    return [key in held for key in keys]
