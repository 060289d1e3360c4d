"""Text as it should be: normalized, without what templates, web pages and spreadsheets leave in it; words to
compare."""

import html
import re
import unicodedata
from collections import Counter
from typing import NamedTuple

LINE_ENDS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
SPACES = re.compile(r"[^\S\n]+")
BLANK_LINES = re.compile(r"\n{3,}")

# What a chat template puts around a turn: ChatML (Qwen), Llama 2 and 3, Gemma, Mistral, DeepSeek; with the
# role's name.
# fmt: off
TEMPLATE_TOKENS = re.compile(
    r"<\|start_header_id\|>\s*\w{1,20}\s*<\|end_header_id\|>"
    r"|(?:<\|im_start\|>|<start_of_turn>)(?:[ \t]*(?:system|user|assistant|model|tool)\b)?"
    r"|<\|[A-Za-z][\w./-]{0,40}\|>|<｜[^｜<>\s]{1,40}｜>"
    r"|<(?:bos|eos|pad|unk|end_of_turn|/?s)>|\[/?INST\]|<</?SYS>>"
)
# fmt: on
THINK_START = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)

ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
# fmt: off
TAGS = {  # of HTML, and what stands in their place
    "\n": "br|p|div|li|ul|ol|tr|table|tbody|thead|hr|blockquote|section|article|h1|h2|h3|h4|h5|h6",
    " ": "td|th",
    "": "a|b|i|u|em|strong|span|font|small|sub|sup|del|ins|mark|center|img|code|pre",
}
# fmt: on
TAG_PATTERNS = {
    instead: re.compile(rf"</?(?:{names})(?:\s[^<>]*|/)?>", re.IGNORECASE) for instead, names in TAGS.items()
}
# «Статья 12<sup>1</sup>» is article 12-1, not 121.
RAISED_NUMBER = re.compile(r"(?<=\d)\s?<sup>\s?(?=\d)", re.IGNORECASE)
CELL_ESCAPE = re.compile(r"_x00([01][0-9A-Fa-f])_")  # how Excel's XML writes a control character
MARKS = re.compile(r"[<&]|_x00|\[/?INST\]")  # none of the above is in a text without one of these

TEMPLATE, THOUGHTS, HTML, CELL = "chat template tokens", "<think>", "HTML", "Excel's _x000D_"

WORD = re.compile(r"\w+")
LATIN_IN_CYRILLIC = re.compile("[a-z][а-яёәғқңөұүһі]|[а-яёәғқңөұүһі][a-z]", re.IGNORECASE)
CYRILLIC = re.compile("[а-яәғқңөұүһі]")
# Latin letters typed for Cyrillic ones («тәртiбiн»)
LOOKALIKES = str.maketrans("aeopcxyikhmtb", "аеорсхуікһмтв")


class Cleaned(NamedTuple):
    """A text, and the names of what was taken out of it."""

    text: str
    removed: frozenset[str]


def normalize_text(text: str) -> str:
    """NFC; no control or invisible characters; one space, one blank line at a time; nothing at the ends."""
    text = LINE_ENDS.sub("\n", unicodedata.normalize("NFC", text))
    if not text.isprintable():
        text = "".join(
            char for char in text if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf")
        )
    lines = (SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return unicodedata.normalize("NFC", BLANK_LINES.sub("\n\n", "\n".join(lines)).strip())


def clean_text(text: str, is_answer: bool = False) -> Cleaned:
    """The text normalized, without template tokens, HTML and Excel's escapes; of an answer, without its
    thoughts."""
    text, removed = normalize_text(text), set()
    steps = {CELL: without_cell_escapes, HTML: without_html, TEMPLATE: without_template_tokens}
    if is_answer:
        steps = {THOUGHTS: without_thoughts, **steps}
    changed = True
    while changed and MARKS.search(
        text
    ):  # again after a change: `&amp;lt;br&amp;gt;` is a tag in two wrappers
        changed = False
        for name, step in steps.items():
            left = step(text)
            if left != text:
                text, changed = left, True
                removed.add(name)
        text = normalize_text(text)
    return Cleaned(text, frozenset(removed))


def without_template_tokens(text: str) -> str:
    return TEMPLATE_TOKENS.sub("", text)


def without_thoughts(answer: str) -> str:
    """Without `<think>...</think>`; what stands before a lone `</think>` is a thought too, and so is what
    follows a lone `<think>`."""
    start, ends = THINK_START.search(answer), list(THINK_END.finditer(answer))
    starts_inside = ends and not (start and start.start() < ends[0].start())
    before = answer[: start.start()] if start and not starts_inside else ""
    after = answer[ends[-1].end() :] if ends else "" if start else answer
    return before + after


def without_html(text: str) -> str:
    text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = RAISED_NUMBER.sub("-", text)
    for instead, pattern in TAG_PATTERNS.items():
        text = pattern.sub(instead, text)
    return text


def without_cell_escapes(text: str) -> str:
    return CELL_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)


def template_leftovers(records: list[dict]) -> Counter:
    """{what: rows} of template tokens and thoughts in the records: a tokenizer shows them to the model as
    plain text."""
    counts = Counter()
    for record in records:
        texts = [record["instruction"], record["input"], record["output"]]
        if any(MARKS.search(text) and TEMPLATE_TOKENS.search(text) for text in texts):
            counts[TEMPLATE] += 1
        if MARKS.search(texts[2]) and without_thoughts(texts[2]) != texts[2]:
            counts[THOUGHTS] += 1
    return counts


def leftovers_warning(records: list[dict], path: str) -> str | None:
    """One line for people about `template_leftovers`, or None."""
    found = template_leftovers(records)
    if not found:
        return None
    counts = ", ".join(f"{rows} with {what}" for what, rows in found.items())
    return (
        f"{path}: rows that hold what a chat template adds by itself ({counts}): the model would learn to "
        f"write it as text; take it out with: python prepare_data.py {path}"
    )


def split_words(text: str) -> list[str]:
    """Words for comparing: case, «ё», punctuation and Latin letters inside Cyrillic words make no
    difference."""
    words = WORD.findall(unicodedata.normalize("NFC", text).casefold().replace("ё", "е"))
    if LATIN_IN_CYRILLIC.search(text):
        return [word.translate(LOOKALIKES) if CYRILLIC.search(word) else word for word in words]
    return words


def text_key(text: str) -> str:
    """Two texts are exactly the same if their keys are."""
    return " ".join(split_words(text))
