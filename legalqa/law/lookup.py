"""An article by its number: title, text and version from the user's law/, or the title alone where it is not.

find_article("labor_code", "52", "ru")
named_article("ЕК 52")  ->  ("labor_code", "52")
"""

import functools
import json
import re
from pathlib import Path
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.citations import parse_citations
from legalqa.law.words import detect_language

TITLES_FILE = Path(__file__).with_name("article_titles.json")  # of the built-in list: {act: {language: ...}}
LAST_NUMBER = re.compile(r"^(.*?)[\s,.:№]*(\d+(?:-\d+)*)[\s.]*$", re.DOTALL)  # «ТК РК, 52»


class Article(NamedTuple):
    """An article of the user's law. version: date of the text, "2026-01-20", or of its newest amendment."""

    title: str
    text: str  # paragraphs by line; empty where it is repealed
    language: str  # of both: "ru" where there is no Kazakh text
    version: str | None
    exact: bool  # whether `version` is the text's own date
    pending: str | None  # editor's note of an amendment not yet in force


def named_article(words: str) -> tuple[str, str] | None:
    """(act, article) that a person means by «ТК 52», «ст. 52 ТК», «ЕК 52», «52-бап ЕК», or None."""
    texts = [words]
    match = LAST_NUMBER.match(words)
    if match and match[1]:
        texts += [f"статья {match[2]} {match[1]}", f"{match[1]} {match[2]}-бап"]
    for text in texts:
        found = [citation for citation in parse_citations(text) if citation.act in acts.load_acts()]
        if found:
            return found[0].act or "", found[0].article
    return None


def language_of_name(words: str) -> str | None:
    """The language in which an act is named, "kk" for «ЕК 52», "ru" for «ТК 52»; None where nothing tells."""
    if detect_language(words) == "kk":
        return "kk"
    kazakh, russian = (acts.abbreviations(language).keys() for language in ("kk", "ru"))
    named = set(words.lower().split())
    return "kk" if named & (kazakh - russian) else "ru" if named & (russian - kazakh) else None


def find_article(act: str, article: str, language: str) -> Article | None:
    """From the user's law, in Russian where it has no text in `language`; None without one."""
    described = acts.load_acts().get(act, {}).get("texts", {})
    for code in dict.fromkeys((language, *described)):
        record = records_of(acts.acts_file.with_name(f"{act}.{code}.jsonl")).get(article)
        if record:
            text = described.get(code, {})
            exact = text.get("version_date_from") == "file name"
            version, pending = text.get("version_date"), record.get("pending")
            return Article(record["title"], record["text"], code, version, exact, pending)
    return None


def article_title(act: str, article: str, language: str) -> str:
    """The title in `language`, else in another; "" where it has none, or is not known."""
    found = find_article(act, article, language)
    if found:
        return found.title
    titles = built_in_titles().get(act, {})
    known = (titles.get(code, {}).get(article) for code in (language, *titles))
    return next(filter(None, known), "")


@functools.cache
def records_of(path: Path) -> dict[str, dict]:
    """{article: its line} of a text of the user's law; empty where there is none."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return {record["article"]: record for record in map(json.loads, lines)}


@functools.cache
def built_in_titles() -> dict[str, dict[str, dict[str, str]]]:
    """{act: {language: {article: title}}} of the built-in list's acts, in their versions of early 2026."""
    return json.loads(TITLES_FILE.read_text("utf-8"))
