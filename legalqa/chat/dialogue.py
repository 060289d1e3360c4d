"""One conversation with one model: settings, turns, and what a question becomes. Knows no terminal."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from config import CONFIG, PROFILES
from legalqa import cli
from legalqa.chat.words import say
from legalqa.data import open_book, records
from legalqa.data.open_book import OpenBook, passages_of
from legalqa.errors import UserError
from legalqa.law.citations import Citation, citation_as_dict, parse_citations
from legalqa.law.passages import Passage
from legalqa.law.words import detect_language
from legalqa.model.adapter import (
    AdapterSettings,
    answer_settings,
    check_adapter,
    has_tokenizer,
    is_adapter,
    is_merged,
)
from legalqa.model.base import DEMO_MODEL_DIR, load_for_inference, merge_unpacked
from legalqa.model.device import Device, find_device, is_out_of_memory
from legalqa.model.generate import Answer, generate_stream
from legalqa.model.law_of_adapter import another_law, book_of
from legalqa.model.prompt import render_prompt
from legalqa.model.settings import DECODING_KEYS

SETTINGS = (*DECODING_KEYS, "seed")  # what /set changes


class Question(NamedTuple):
    """What is asked. `context`: the text it is about, `input` of a row; may be empty."""

    text: str
    context: str = ""

    def as_row(self) -> dict[str, str]:
        return {"instruction": self.text, "input": self.context}


class Prompt(NamedTuple):
    """The text that the model continues, its length in tokens, what a person should know of it, and the
    passages of the law in it."""

    text: str
    tokens: int
    notes: list[str]
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True)
class Turn:
    """A question, its answer, the norms that the answer cites, the passages that were before the model."""

    question: Question
    answer: Answer
    citations: list[Citation]
    passages: tuple[Passage, ...] = ()

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token; None where it was the only one."""
        seconds = (self.answer.generation_sec or 0) - (self.answer.first_token_sec or 0)
        more = self.answer.new_tokens - 1
        return round(more / seconds, 2) if more and seconds else None

    def as_row(self) -> dict[str, str]:
        return {**self.question.as_row(), "output": self.answer.text}

    def passages_as_json(self) -> list[dict[str, str]]:
        return [
            {key: getattr(passage, key) for key in ("act", "article", "title")} for passage in self.passages
        ]

    def as_json(self, model: str) -> dict[str, Any]:
        """What --json prints."""
        return {
            "model": model,
            "question": self.question.text,
            "input": self.question.context,
            "answer": self.answer.text,
            "language": detect_language(records.user_turn(self.question.as_row())),
            "citations": [citation_as_dict(citation) for citation in self.citations],
            **({"passages": self.passages_as_json()} if self.passages else {}),
            "prompt_tokens": self.answer.prompt_tokens,
            "new_tokens": self.answer.new_tokens,
            "cut_off": self.answer.cut_off,
            "stopped": self.answer.stopped,
            "first_token_sec": self.answer.first_token_sec,
            "generation_sec": self.answer.generation_sec,
            "tokens_per_second": self.tokens_per_second,
        }


class Dialogue:
    """`name`: adapter folder, merged folder or hub id. `flags`: the settings that the command line names.
    They win over those saved with the model, and these over `config`."""

    def __init__(self, name: str, config: Mapping[str, Any], flags: Mapping[str, Any]):
        self.name, self.config = name, config
        self.base = check_adapter(name) if is_adapter(name) else None  # the adapter's; None without one
        self.saved = AdapterSettings.load(name)
        self.settings = answer_settings(name, config, flags)
        self.decoding, self.seed = self.settings.decoding, config["seed"]
        self.system = self.settings.system_prompt
        self.tuned = bool(self.base) or is_merged(name)
        self.trained_system = self.settings.overridden.get("system_prompt", self.system)
        self.context = ""
        self.history_on = False
        self.law_on = bool(self.settings.law_passages) and open_book.has_law(config["law_dir"])
        self.book: OpenBook | None = None
        self.law_warning: str | None = None  # for the first answer
        self.turns: list[Turn] = []
        self.usual_language = self.language = config["language"]
        self.language_model: Any = None
        self.tokenizer: Any = None
        self.device: Device | None = None
        self.load_sec = 0.0

    @property
    def label(self) -> str:
        """The model's name as people say it: the folder's, or the hub id."""
        return Path(self.name).name if Path(self.name).is_dir() else self.name

    def load(self, report: Callable[[str], None] = lambda stage: None) -> None:
        started = time.monotonic()
        self.language_model, self.tokenizer = load_for_inference(self.name, self.settings, report)
        self.device = find_device()
        self.apply_seed()
        if self.law_on:
            report("law")
            self.open_law()
        self.load_sec = time.monotonic() - started

    def open_law(self) -> None:
        self.book = book_of(self.name, self.settings, self.config, as_saved=True)
        if self.book and another_law(self.name, self.saved, self.book):
            self.law_warning = say(self.language, "another_law", path=self.config["law_dir"])

    def switch_law(self, on: bool) -> None:
        """UserError where the model was not trained with passages, or there is no law."""
        if on and not self.settings.law_passages:
            raise UserError(say(self.language, "law_untrained"))
        if on and not open_book.has_law(self.config["law_dir"]):
            raise UserError(say(self.language, "no_law", path=self.config["law_dir"]))
        if on and not self.book:
            self.open_law()
        self.law_on = on

    def apply_seed(self) -> None:
        from transformers import set_seed

        set_seed(self.seed)

    def opening_notes(self) -> list[str]:
        """What a person should know of the model before the first question."""
        keys = []
        if not self.tuned:
            keys.append("no_adapter" if is_known_base(self.name) else "as_is")
        if self.base and not has_tokenizer(self.name):
            keys.append("base_tokenizer")
        if "system_prompt" in self.settings.overridden:
            keys.append("system_differs")
        notes = [say(self.language, key) for key in keys]
        if self.settings.law_passages and not self.law_on:
            notes.append(say(self.language, "no_law", path=self.config["law_dir"]))
        return notes

    # ---------------------------------------------------------------------------------------- what may change

    def set_language(self, question: str) -> None:
        """What is said of a Kazakh question is said in Kazakh, where Russian is usual."""
        if self.usual_language == "ru":
            self.language = detect_language(question)

    def current(self) -> dict[str, Any]:
        """{setting: value} of what /set changes."""
        return {**asdict(self.decoding), "seed": self.seed}

    def in_force(self) -> dict[str, Any]:
        """{setting: value} of what answers are made with."""
        return {**self.current(), "load_in_4bit": self.settings.load_in_4bit}

    def set(self, name: str, text: str) -> bool:
        """False if `text` is no fitting value of the setting."""
        try:
            value = type(CONFIG[name])(text.replace(",", "."))
        except ValueError:
            return False
        if cli.out_of_limits({name: value}):
            return False
        if name != "seed":
            self.decoding = replace(self.decoding, **{name: value})
            return True
        self.seed = value
        if self.language_model is not None:
            self.apply_seed()
        return True

    def changed(self) -> list[tuple[str, Any, Any]]:
        """(setting, value, value in training) of what is not as the model was trained."""
        now = {
            **asdict(self.decoding),
            "system_prompt": self.system,
            "load_in_4bit": self.settings.load_in_4bit,
        }
        trained = self.saved.as_config()
        return [(key, now[key], trained[key]) for key in now if key in trained and now[key] != trained[key]]

    # ------------------------------------------------------------------------------------------------- a turn

    def new_question(self, text: str) -> Question:
        return Question(text, self.context)

    def prepare(self, question: Question, turns: list[Turn]) -> Prompt:
        """The prompt with as many of the earlier `turns` as fit.

        Turns stay within the length of training rows; a question alone may take all that the model can read.
        """
        new_tokens = self.decoding.max_new_tokens
        room = self.settings.max_seq_length - new_tokens
        limit = self.language_model.config.get_text_config().max_position_embeddings - new_tokens
        kept = list(turns) if self.history_on else []
        count, row = len(kept), question.as_row()
        if self.law_on and self.book:
            row = self.book.add(row)
        text, tokens = self.render(row, kept)
        while kept and tokens > room:
            kept = kept[1:]
            text, tokens = self.render(row, kept)
        notes = [self.law_warning] if self.law_on and self.law_warning else []
        self.law_warning = None
        if len(kept) < count:
            notes.append(say(self.language, "dropped", limit=room, count=count - len(kept)))
        if tokens > limit:
            raise UserError(say(self.language, "too_long", tokens=tokens, limit=max(limit, 0)))
        trained = self.saved.max_seq_length
        if trained and tokens > trained:
            notes.append(say(self.language, "long", tokens=tokens, limit=trained))
        passages = passages_of(row)
        return Prompt(text, tokens, notes, passages.found if passages else ())

    def render(self, row: Mapping[str, Any], turns: list[Turn]) -> tuple[str, int]:
        """The prompt of a row after earlier turns, whose passages are left out."""
        history = [(turn.question.as_row(), turn.answer.text) for turn in turns]
        text = render_prompt(row, self.tokenizer, self.system, history)
        return text, len(self.tokenizer(text).input_ids)

    def answer(
        self,
        question: Question,
        prompt: Prompt,
        on_text: Callable[[str], None] = lambda piece: None,
        stop: Callable[[], bool] = lambda: False,
        base: bool = False,
    ) -> Turn:
        """The turn that `prompt` begins, handed to `on_text` as it comes. `base`: with the adapter off."""
        adapter = self.language_model.disable_adapter() if base else contextlib.nullcontext()
        try:
            with adapter:
                answer = generate_stream(
                    self.language_model, self.tokenizer, prompt.text, self.decoding, on_text, stop
                )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(say(self.language, "out_of_memory", tokens=prompt.tokens)) from error
        finally:
            if base:
                merge_unpacked(self.language_model)
        return Turn(question, answer, parse_citations(answer.text), prompt.passages)


def is_known_base(name: str) -> bool:
    """Whether the model is one that training starts from: the demo model, or a profile's."""
    if Path(name).is_dir():
        return Path(name).resolve() == Path(DEMO_MODEL_DIR).resolve()
    return name in (DEMO_MODEL_DIR, CONFIG["model_name"], *(p.get("model_name") for p in PROFILES.values()))
