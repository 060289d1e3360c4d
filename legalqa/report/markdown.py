"""Text of strangers (questions, answers, names) made safe to stand in a Markdown report."""

import re
import unicodedata

ABSENT = "—"
HIDDEN = ("Cc", "Cs", "Cn", "Co")  # control, half of a pair, unassigned, private
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # can make a text read backwards


def one_line(text: str) -> str:
    """`text` on one line; control, direction and half characters, which can hide text, become U+FFFD."""
    text = re.sub(r"[^\S\u00a0]+", " ", text).strip(" ")  # a no-break space is part of a number
    return "".join(
        "\ufffd" if letter in DIRECTIONS or unicodedata.category(letter) in HIDDEN else letter
        for letter in text
    )


def escape_markdown(text: str) -> str:
    """`text` unable to start markup, a table cell, HTML or a link."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$]|:(?=//)|(?<=www)\.)", r"\\\1", text, flags=re.IGNORECASE)


def code(text):
    """`text` in backticks, where backslashes do not escape."""
    from markupsafe import Markup

    text = one_line(str(text)).replace("`", "'").replace("|", "¦")
    return Markup(f"`{text}`" if text else ABSENT)


def as_markdown(value):
    """What jinja prints for `{{ value }}`: our own markup as it is, everything else escaped."""
    from jinja2 import Undefined
    from markupsafe import Markup

    if hasattr(value, "__html__"):
        return value
    if isinstance(value, Undefined):
        return Markup(str(value))  # empty for an `if` without `else`; raises for a name that is not there
    if not isinstance(value, (str, int)):
        raise TypeError(f"unformatted value in a template: {value!r}")
    return Markup(escape_markdown(str(value)))
