"""One conversation with one model: settings, context, turns, and what a question becomes. Knows no terminal."""

import contextlib
import time
from dataclasses import asdict
from pathlib import Path

from legalqa import cli
from legalqa.chat.words import citation_name, citation_status, say
from legalqa.data import records
from legalqa.errors import UserError
from legalqa.law import citations
from legalqa.model import prompt
from legalqa.model.adapter import AdapterSettings, answer_settings, check_adapter, is_adapter
from legalqa.model.base import load_for_inference, merge_unpacked
from legalqa.model.device import find_device, is_out_of_memory
from legalqa.model.generate import generate_stream
from legalqa.model.settings import Decoding

SHOWN_CITATIONS = 12
DECODING = {
    "temperature": float,
    "top_p": float,
    "repetition_penalty": float,
    "max_new_tokens": int,
    "seed": int,
}


class Dialogue:
    """`name`: adapter folder, merged folder or hub id; `given`: the settings that the command line names, which win over
    those saved with the adapter, which win over `config`."""

    def __init__(self, name, config, given):
        self.name, self.config = name, config
        self.base = check_adapter(name) if is_adapter(name) else None
        saved = AdapterSettings.load(name) if self.base else AdapterSettings()
        self.settings = answer_settings(name, config, given)
        self.decoding = {**asdict(self.settings.decoding), "seed": config["seed"]}
        self.system = self.settings.system_prompt
        self.trained_system = self.settings.overridden.get("system_prompt", self.system)
        self.trained_length = self.settings.max_seq_length
        self.run = saved.run
        self.context, self.history_on, self.turns = "", False, []
        self.language = config["language"]
        self.language_model = self.tokenizer = self.device = None
        self.load_sec = 0.0

    @property
    def label(self):
        """The model's name as people say it: the folder's, or the hub id."""
        return Path(self.name).name if Path(self.name).is_dir() else self.name

    def load(self, report=lambda stage: None):
        started = time.monotonic()
        self.language_model, self.tokenizer = load_for_inference(self.name, self.settings, report)
        self.device = find_device()
        self.seed()
        self.load_sec = time.monotonic() - started

    def seed(self):
        from transformers import set_seed

        set_seed(self.decoding["seed"])

    def set_language(self, question):
        """The language of what is said about this question: the configured one; Kazakh for a Kazakh question unless English."""
        if self.config["language"] == "ru":
            self.language = records.detect_language(question)

    def set_decoding(self, name, text):
        """False if `text` is no fitting value of the setting."""
        try:
            value = DECODING[name](text.replace(",", "."))
        except ValueError:
            return False
        if cli.out_of_limits({name: value}):
            return False
        self.decoding[name] = value
        if name == "seed" and self.language_model is not None:
            self.seed()
        return True

    def prepare(self, record, turns):
        """(prompt, its tokens, notes): the prompt with as many of the earlier `turns` as fit, and what a person should know.

        Turns stay within the length of the training rows; a question alone may take all that the model itself can read.
        """
        room = self.trained_length - self.decoding["max_new_tokens"]
        history = [(turn, turn["output"]) for turn in turns] if self.history_on else []
        text, tokens = self.render(record, history)
        kept = history
        while kept and tokens > room:
            kept = kept[1:]
            text, tokens = self.render(record, kept)
        notes, limit = (
            [],
            self.language_model.config.get_text_config().max_position_embeddings
            - self.decoding["max_new_tokens"],
        )
        if len(kept) < len(history):
            notes.append(say(self.language, "dropped", limit=room, count=len(history) - len(kept)))
        if tokens > limit:
            raise UserError(say(self.language, "too_long", tokens=tokens, limit=max(limit, 0)))
        if tokens > self.trained_length:
            notes.append(say(self.language, "long", tokens=tokens, limit=self.trained_length))
        return text, tokens, notes

    def render(self, record, history):
        text = prompt.render_prompt(record, self.tokenizer, self.system, history)
        return text, len(self.tokenizer(text).input_ids)

    def answer(self, record, text, on_text=lambda piece: None, stop=lambda: False, base=False):
        """A turn: the record with its answer as `output`, citations and numbers. `base`: with the adapter off."""
        adapter = self.language_model.disable_adapter() if base else contextlib.nullcontext()
        try:
            with adapter:
                made = generate_stream(
                    self.language_model, self.tokenizer, text, Decoding.of(self.decoding), on_text, stop
                )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                say(self.language, "out_of_memory", tokens=len(self.tokenizer(text).input_ids))
            ) from error
        finally:
            if base:
                merge_unpacked(self.language_model)
        rest = made.generation_sec - made.first_token_sec
        rate = round((made.new_tokens - 1) / rest, 2) if made.new_tokens > 1 and rest else None
        cited = [citations.citation_as_dict(citation) for citation in citations.parse_citations(made.text)]
        return {
            **record,
            "output": made.text,
            "language": records.detect_language(records.user_turn(record)),
            "citations": cited,
            "prompt_tokens": made.prompt_tokens,
            "new_tokens": made.new_tokens,
            "cut_off": made.cut_off,
            "stopped": made.stopped,
            "first_token_sec": made.first_token_sec,
            "generation_sec": made.generation_sec,
            "tokens_per_second": rate,
        }


# ------------------------------------------------------------------------------------------------ what is said of a turn


def answer_notes(language, turn, cut_off="cut_off"):
    notes = (
        [say(language, cut_off, tokens=turn["new_tokens"], longer=2 * turn["new_tokens"])]
        if turn["cut_off"]
        else []
    )
    notes += [say(language, "stopped")] if turn["stopped"] else []
    return notes + ([say(language, "empty")] if not turn["output"] and not turn["stopped"] else [])


def citation_lines(language, turn):
    """A heading and a line for every norm cited: a mark (+ - ?), its name, and whether acts.json has the article."""
    lines = {}
    for citation in turn["citations"]:
        status = citation_status(citation)
        mark = {"exists": "+", "missing": "-", "repealed": "-"}.get(status, "?")
        lines[f"  {mark} {citation_name(language, citation)}: {say(language, status)}"] = None
    shown = list(lines)[:SHOWN_CITATIONS]
    if len(lines) > len(shown):
        shown.append("    " + say(language, "more", count=len(lines) - len(shown)))
    return [say(language, "citations"), *shown] if shown else []


def transcript(dialogue):
    """The chat as Markdown: every question with its context, answer and citations."""
    language, parts = dialogue.language, []
    for turn in dialogue.turns:
        parts.append(f"## {say(language, 'question')}\n\n{turn['instruction']}")
        if turn["input"]:
            parts.append(
                f"**{say(language, 'context')}**\n\n"
                + "\n".join(f"> {line}" for line in turn["input"].split("\n"))
            )
        parts.append(f"**{say(language, 'answer')}**\n\n{turn['output']}")
        notes = answer_notes(language, turn, "cut_off_plain")
        parts += ["\n".join(f"_{note}_" for note in notes)] if notes else []
        heading, *lines = citation_lines(language, turn) or [""]
        parts += [heading, "\n".join(f"- {line[4:]}" for line in lines)] if lines else []
    return (
        "\n\n".join(
            [
                f"# {say(language, 'transcript', model=dialogue.label)}",
                *parts,
                f"_{say(language, 'disclaimer')}_",
            ]
        )
        + "\n"
    )


def turn_as_json(dialogue, turn):
    renamed = {"instruction": "question", "output": "answer"}
    return {"model": dialogue.label, **{renamed.get(key, key): value for key, value in turn.items()}}
