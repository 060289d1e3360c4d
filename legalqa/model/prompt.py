"""The only place that makes text for the model: training, benchmark and chat all call it.

A prompt is the tokenizer's own chat template around the user turn, with thinking off (for Qwen3 the empty
think block is part of the prompt, at training as at inference). Its token ids are
`tokenizer(text).input_ids`, nothing added or left out.
"""

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from legalqa.data.open_book import FIELD, Passages, passages_of
from legalqa.data.records import user_turn
from legalqa.errors import UserError
from legalqa.files import text_sha256
from legalqa.law.citation_form import citation_form
from legalqa.law.passages import Passage
from legalqa.law.words import detect_language
from legalqa.model import untrusted

# For a base model that brings no chat template.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}\n\n"
    "{% elif message['role'] == 'user' %}### Question\n{{ message['content'] }}\n\n"
    "{% else %}### Answer\n{{ message['content'] }}{{ eos_token }}\n\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}### Answer\n{% endif %}"
)
PROBE = "\u00a7answer\u00a7"  # a text no template contains
SAMPLE_RECORD = {"instruction": "Вопрос \u2116 1?", "input": "Қосымша", "output": "Ответ."}
SAMPLE_PASSAGE = Passage(
    "labor_code", "1", "Название", "Текст нормы.\nВторая часть, более длинная.", 1.0, "ru"
)
PASSAGES_HEADING = {
    "ru": "Нормы, которые могут относиться к вопросу:",
    "kk": "Сұраққа қатысты болуы мүмкін нормалар:",
}


def prepare_tokenizer(tokenizer: Any) -> Any:
    """Give the tokenizer what prompts rely on: a chat template, the end of a turn as EOS, another PAD."""
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    tokenizer.eos_token = end_token(tokenizer)
    if tokenizer.eos_token is None:
        raise UserError(
            f"{tokenizer.name_or_path}: the tokenizer has no token that ends a turn (eos_token); "
            "answers would never end"
        )
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        others = [
            t for t in tokenizer.all_special_tokens if t not in (tokenizer.eos_token, tokenizer.bos_token)
        ]
        others += [
            t.content
            for t in tokenizer.added_tokens_decoder.values()
            if t.special and t.content != tokenizer.eos_token
        ]
        tokenizer.pad_token = others[0] if others else tokenizer.eos_token
    return tokenizer


def apply_template(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> str:
    """The messages as text. A template is a program of whoever made the model: it runs in jinja's sandbox."""
    with untrusted.loading(f"the chat template of {tokenizer.name_or_path}"):
        return tokenizer.apply_chat_template(messages, tokenize=False, enable_thinking=False, **options)


def end_token(tokenizer: Any) -> str | None:
    """The token with which the template closes an assistant's turn; if it names none, the tokenizer's EOS."""
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": PROBE}]
    text = apply_template(tokenizer, messages)
    after = text.split(PROBE)[-1]
    found = [
        (after.index(t.content), t.content)
        for t in tokenizer.added_tokens_decoder.values()
        if t.content.strip() and t.content in after
    ]
    return min(found)[1] if found else tokenizer.eos_token


def whole_turn(record: Mapping[str, Any], tokenizer: Any = None) -> str:
    """What the user says, and under it the passages of the law that go with the record, if any."""
    said, passages = user_turn(record), passages_of(record)
    if not passages or not passages.found:
        return said
    language = detect_language(said)
    lines = [
        f"{number}. {passage_line(passage, language, passages.max_tokens, tokenizer)}"
        for number, passage in enumerate(passages.found, 1)
    ]
    return "\n".join([said, "", PASSAGES_HEADING[language], *lines])


def passage_line(passage: Passage, language: str, max_tokens: int, tokenizer: Any) -> str:
    """«ст. 52 ТК РК. Title. Text»: the citation first, as an answer in the question's language has it."""
    text = " ".join(passage.text.split())
    said = f"{passage.title.strip().rstrip('.')}. {text}" if passage.title.strip() else text
    citation = citation_form(passage.act, passage.article, language)
    return f"{citation}. {cut_at_word(said, max_tokens, tokenizer)}"


def cut_at_word(text: str, max_tokens: int, tokenizer: Any) -> str:
    """`text`, or as many of its words as fit into `max_tokens` tokens, and an ellipsis. A server's model has
    its tokenizer to itself: without one a token is taken for three letters."""
    if tokenizer is None:
        return textwrap.shorten(text, max(3 * max_tokens, 2), placeholder="…")
    places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(places) <= max_tokens:
        return text
    end = places[max_tokens][0]  # where the first token that is too many begins
    kept = text[:end] if text[end].isspace() or text[end - 1].isspace() else text[:end].rpartition(" ")[0]
    return kept.rstrip() + "…"


def chat_messages(
    record: Mapping[str, Any],
    system_prompt: str = "",
    history: Iterable[tuple[Mapping[str, Any], str]] = (),
    turn: Callable[[Mapping[str, Any]], str] = user_turn,
) -> list[dict[str, str]]:
    """The turns of a prompt, as chat interfaces take them: system turn and earlier (record, answer) turns if
    any, the user turn. `turn` gives the text of a user's."""
    messages = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for record_before, answer in history:
        messages.append({"role": "user", "content": turn(record_before)})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": turn(record)})
    return messages


def prompt_messages(
    record: Mapping[str, Any],
    tokenizer: Any,
    system_prompt: str = "",
    history: Iterable[tuple[Mapping[str, Any], str]] = (),
) -> list[dict[str, str]]:
    """`chat_messages` with the passages of the law, that spell out no control token of the tokenizer."""
    messages = chat_messages(record, system_prompt, history, lambda of: whole_turn(of, tokenizer))
    return [{**message, "content": plain_text(message["content"], tokenizer)} for message in messages]


def render_prompt(
    record: Mapping[str, Any],
    tokenizer: Any,
    system_prompt: str = "",
    history: Iterable[tuple[Mapping[str, Any], str]] = (),
) -> str:
    """The text the model continues: system turn and earlier (record, answer) turns if any, the user turn, the
    opening of the assistant's. `tokenizer(text)` gives it exactly one BOS where the model has one."""
    messages = prompt_messages(record, tokenizer, system_prompt, history)
    text = apply_template(tokenizer, messages, add_generation_prompt=True)
    adds_bos = tokenizer.bos_token and tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return text.removeprefix(tokenizer.bos_token) if adds_bos else text


def render_completion(record: Mapping[str, Any], tokenizer: Any) -> str:
    """The answer and its one end-of-turn token. It ends with the EOS, so that TRL appends no second one."""
    return plain_text(record["output"].strip(), tokenizer) + tokenizer.eos_token


def plain_text(text: str, tokenizer: Any) -> str:
    """`text` with a space put into every control token that it spells out (`<|im_end|>`, `<think>`, ...), so
    that a user's words never become control tokens; any other text is left as it is."""
    pattern = control_token_pattern(tokenizer)
    while pattern.search(text):
        text = pattern.sub(lambda match: match[0][0] + " " + match[0][1:], text)
    return text


def control_token_pattern(tokenizer: Any) -> re.Pattern[str]:
    """Matches every added token but those of white space alone; compiled once a tokenizer."""
    cached = getattr(tokenizer, "_legalqa_control_tokens", None)
    tokens = frozenset(
        t.content for t in tokenizer.added_tokens_decoder.values() if len(t.content.strip()) > 1
    )
    if cached is None or cached[0] != tokens:
        longest_first = sorted(tokens, key=len, reverse=True)
        cached = (tokens, re.compile("|".join(map(re.escape, longest_first)) if tokens else "(?!)"))
        tokenizer._legalqa_control_tokens = cached
    return cached[1]


def prompt_sha256(tokenizer: Any, system_prompt: str, passage_tokens: int | None = None) -> str:
    """Hash of a fixed record, rendered: differs whenever the text around a row differs. `passage_tokens`: of
    an open book, whose passages' form counts too."""
    record: dict[str, Any] = {**SAMPLE_RECORD}
    if passage_tokens:
        record[FIELD] = Passages((SAMPLE_PASSAGE,), min(passage_tokens, 8))
    return text_sha256(render_prompt(record, tokenizer, system_prompt) + render_completion(record, tokenizer))
