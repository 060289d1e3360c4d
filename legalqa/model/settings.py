"""How answers are made: a flag wins over what the adapter was trained with, and that over config."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FLAG, ADAPTER, CONFIG = "flag", "adapter", "config"


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen, and when to stop. The limits of each are in config.LIMITS."""

    temperature: float  # 0: greedy
    top_p: float  # only with temperature above 0
    repetition_penalty: float  # 1: off
    max_new_tokens: int  # the end token counts

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Decoding":
        """The four settings out of a flat dict of many."""
        return cls(**{key: values[key] for key in DECODING_KEYS})


DECODING_KEYS = tuple(field.name for field in dataclasses.fields(Decoding))


@dataclass(frozen=True)
class AnswerSettings:
    """Prompt, weights and decoding of answers. `sources`: {key: FLAG, ADAPTER or CONFIG}."""

    system_prompt: str
    load_in_4bit: bool
    max_seq_length: int  # tokens of the rows the adapter was trained on
    law_passages: int  # in every prompt; 0: closed book
    law_passage_tokens: int  # of each one's text, at most
    decoding: Decoding
    sources: dict[str, str]
    overridden: dict[str, Any]  # the adapter's values of what a flag changed


MODEL_KEYS = ("system_prompt", "load_in_4bit", "max_seq_length", "law_passages", "law_passage_tokens")
LAW_KEYS = ("law_passages", "law_passage_tokens")


def resolve(flags: Mapping[str, Any], saved: Mapping[str, Any], config: Mapping[str, Any]) -> AnswerSettings:
    """The settings that hold, each from the first of the three that has it: flat dicts by config's keys."""
    ranked = ((FLAG, flags), (ADAPTER, saved), (CONFIG, config))
    sources = {
        key: next(source for source, values in ranked if key in values)
        for key in (*MODEL_KEYS, *DECODING_KEYS)
    }
    values = {key: dict(ranked)[source][key] for key, source in sources.items()}
    overridden = {
        key: saved[key]
        for key, source in sources.items()
        if source == FLAG and key in saved and saved[key] != values[key]
    }
    return AnswerSettings(
        **{key: values[key] for key in MODEL_KEYS},
        decoding=Decoding.of(values),
        sources=sources,
        overridden=overridden,
    )


def source_lines(settings: AnswerSettings) -> list[str]:
    """What comes from the adapter and what a flag says, a line each; none where config alone decided."""
    values = {key: getattr(settings, key) for key in MODEL_KEYS} | dataclasses.asdict(settings.decoding)
    if not settings.law_passages and settings.sources["law_passages"] != FLAG:  # closed book, as ever
        values = {key: value for key, value in values.items() if key not in LAW_KEYS}
    inherited = [named(key, values[key]) for key in values if settings.sources[key] == ADAPTER]
    given = [
        named(key, values[key])
        + (f" (the adapter's: {shown(settings.overridden[key])})" if key in settings.overridden else "")
        for key in values
        if settings.sources[key] == FLAG
    ]
    lines = [f"as trained {', '.join(inherited)}"] if inherited else []
    lines += [f"by flag    {', '.join(given)}"] if given else []
    if "system_prompt" in settings.overridden:
        lines.append("warning: another system prompt than the adapter was trained with; answers may be worse")
    return lines


def named(key: str, value: Any) -> str:
    return f"{key} {shown(value)}"


def shown(value: Any) -> str:
    """A value as the flags take it; a long text cut."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    return str(value)
