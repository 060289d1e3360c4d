"""Answers to many prompts: in batches that fit the memory, kept on disk as they land, none made twice."""

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec

from legalqa.errors import UserError
from legalqa.files import text_sha256
from legalqa.model.device import is_out_of_memory
from legalqa.model.generate import Answer
from legalqa.model.settings import AnswerSettings, Decoding

# generate(prompts, decoding, on_step): the answers of a batch; `on_step` is called at each token.
Generate = Callable[[list[str], Decoding, Callable[[], object]], list[Answer]]


Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Line(msgspec.Struct, omit_defaults=True):
    """One answer in the file. What follows `generation_sec` only a server says."""

    prompt_sha256: str
    prediction: str
    new_tokens: Count | None
    cut_off: bool
    generation_sec: Seconds  # its share of the batch's, or of the time when others were asked as well
    latency_sec: Seconds | None = None  # from the question to the answer
    prompt_tokens: Count | None = None
    reasoning: str = ""
    reasoning_tokens: Count | None = None
    refused: bool = False
    answered_by: str | None = None


class Answers:
    """Answers made so far, each a line on disk at once. Keyed by the prompt; the file's name by the rest."""

    def __init__(self, path: Path):
        self.path, self.made = path, {}
        if path.is_file():
            lines = path.read_text("utf-8", errors="replace").split("\n")
            for text in lines:
                with contextlib.suppress(msgspec.DecodeError, RecursionError):  # one that a kill cut short
                    line = msgspec.json.decode(text, type=Line)
                    self.made[line.prompt_sha256] = line
            if lines[-1]:
                self.write(b"\n")

    def append(self, lines: list[Line]) -> None:
        self.made |= {line.prompt_sha256: line for line in lines}
        self.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def write(self, data: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                file.write(data)
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; the answers made so far are in it; free "
                "space and "
                "start again"
            ) from error


def answers_file(
    config: Mapping[str, Any],
    weights: str,
    engine: str,
    settings: AnswerSettings,
    sample: int | None = None,
    law: Mapping[str, Any] | None = None,
) -> Path:
    """Where the answers of this model, made in this way, are kept until all are there. `weights`: their
    fingerprint; `sample`: which of several answers to one prompt; `law`: what the logs say of an
    open book."""
    identity = {
        "engine": engine,
        "model": weights,
        "load_in_4bit": settings.load_in_4bit,
        "decoding": asdict(settings.decoding),
        "seed": config["seed"] if settings.decoding.temperature else None,
    }
    if sample is not None:
        identity["sample"] = sample
    if law:
        identity["law"] = law
    return file_of(config["logs_dir"], identity)


def file_of(logs_dir: str | Path, identity: Mapping[str, Any]) -> Path:
    """The file of the answers that `identity`, in JSON, tells from all others."""
    return Path(logs_dir) / f"answers_{text_sha256(json.dumps(identity))[:16]}.jsonl"


def without_answer(prompts: list[str], answers: Answers) -> list[str]:
    """The prompts still to be answered, each once; says how many are there from an earlier start."""
    todo = [text for text in dict.fromkeys(prompts) if text_sha256(text) not in answers.made]
    if len(todo) < len(prompts) and answers.made:
        print(
            f"{len(prompts) - len(todo)} of {len(prompts)} answers are there from an earlier start",
            file=sys.stderr,
        )
    return todo


def generate_all(
    generate: Generate, prompts: list[str], decoding: Decoding, batch_size: int, answers: Answers
) -> int:
    """Answer every prompt that has no answer yet, longest prompts first, appending each batch to `answers`.

    When memory runs out the batch size is halved and the batch made again. Returns the batch size at the end.
    """
    from tqdm import tqdm

    todo = sorted(without_answer(prompts, answers), key=len, reverse=True)
    bar = tqdm(
        total=len(todo) * decoding.max_new_tokens,
        unit="tok",
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 15,
    )
    done = made_tokens = 0
    while done < len(todo):
        texts = todo[done : done + batch_size]
        started = time.monotonic()
        try:
            made = generate(texts, decoding, functools.partial(bar.update, len(texts)))
        except (MemoryError, RuntimeError) as error:
            batch_size = smaller_batch(batch_size, error)
            continue
        answers.append(lines_of(texts, made, time.monotonic() - started))
        done += len(texts)
        made_tokens += sum(answer.new_tokens for answer in made)
        bar.n, bar.total = made_tokens, made_tokens * len(todo) // done  # the rest at the mean length so far
        bar.set_postfix_str(f"{done}/{len(todo)} answers")
    bar.close()
    return batch_size


def smaller_batch(batch_size: int, error: Exception) -> int:
    """Half of it when memory ran out; any other error goes on its way."""
    if not is_out_of_memory(error):
        raise error
    if batch_size == 1:
        raise UserError(
            "out of memory with a single row; lower --max-new-tokens or --max-seq-length"
        ) from None
    print(f"out of memory: batches of {batch_size // 2} from here on", file=sys.stderr)
    return batch_size // 2


def lines_of(prompts: list[str], made: list[Answer], seconds: float) -> list[Line]:
    share = round(seconds / len(prompts), 4)
    return [
        Line(text_sha256(text), answer.text, answer.new_tokens, answer.cut_off, share)
        for text, answer in zip(prompts, made)
    ]
