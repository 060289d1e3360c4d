"""Articles of an act, found among its paragraphs or read from JSONL."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from legalqa.errors import UserError
from legalqa.law import headings
from legalqa.law.acts import article_key, ranges
from legalqa.law.documents import Document, Paragraph, tidy

PREAMBLE = "0"  # the number that the Constitution's preamble goes by
SHORT_TEXT = 25  # characters; the shortest article of 9,749 real ones has more than 40


class Article(NamedTuple):
    """An article of an act. Dates as "2026-01-31"; text: paragraphs by line, a table's row as "a | b"."""

    number: str  # "7", "7-1"
    title: str
    text: str  # empty where `repealed`
    chapter: str  # the heading it stands under
    repealed: bool = False
    amended: str | None = None  # date of the newest amending law that the editor's notes name
    pending: str | None = None  # editor's note of an amendment not yet in force

    def as_json(self) -> str:
        """A line of law/ACT.LANGUAGE.jsonl."""
        record = {"article": self.number, "title": self.title, "text": self.text, "chapter": self.chapter}
        for name in ("repealed", "amended", "pending"):
            if getattr(self, name):
                record[name] = getattr(self, name)
        return json.dumps(record, ensure_ascii=False) + "\n"


class ActText(NamedTuple):
    """An act in one language, as a file has it."""

    path: Path
    language: str  # "ru" or "kk"
    articles: list[Article]
    head: list[str]  # paragraphs before the first heading, editor's notes aside: title, kind, date, number
    hint: (
        str  # what the file says of itself elsewhere: title and address of a saved page, act's name in JSONL
    )
    odd: list[str]  # what a person should look at, each in a few words


# ---------------------------------------------------------------- paragraphs to articles


class Line(NamedTuple):
    """A paragraph and what it is: "text", or an editor's "footnote" (of the past) or "pending" note."""

    text: str
    kind: str


def find_articles(document: Document) -> ActText:
    """The act in a document; UserError where no article is in it."""
    lines = mark_notes(document.paragraphs)
    candidates = article_headings(lines)
    chosen = in_order(candidates, len(lines))
    if not chosen:
        raise UserError(f"{document.path}: no article found in it («Статья 1.», «1-бап.»); is it an act?")
    starts = [start for start, _ in chosen]
    opening, articles, moved = lines[: starts[0]], [], []
    chapter, head_end = chapter_after(opening, "")
    for (start, heading), end, (_, next_heading) in zip(
        chosen, [*starts[1:], len(lines)], [*chosen[1:], (0, None)]
    ):
        body = lines[start + 1 : end]
        below = notes_of_next(body, next_heading)
        article = read_article(heading, moved + body[: len(body) - len(below)], chapter)
        chapter, _ = chapter_after(body, chapter)
        articles.append(article)
        moved = below
    head = [line.text for line in opening[:head_end] if line.kind == "text"]
    unplaced = [heading for index, heading in candidates if index > starts[0] and index not in set(starts)]
    language = "ru" if chosen[0][1]["ru"] else "kk"
    articles = preamble(head) + articles
    return ActText(document.path, language, articles, head, document.hint, oddities(articles, unplaced))


def mark_notes(paragraphs: list[Paragraph]) -> list[Line]:
    """The paragraphs as lines, editors' notes found by the file's marks or by the words they begin with."""
    lines, open_note, alone = [], None, False
    marked = any(paragraph.note for paragraph in paragraphs)
    for text, note in paragraphs:
        pending = headings.PENDING.match(text)
        if pending or headings.FOOTNOTE.match(text):
            open_note, alone = "pending" if pending else "footnote", bool(headings.PENDING.fullmatch(text))
        elif note and not headings.EXCLUDED_ITEM.match(
            text
        ):  # «3) исключен Законом ...» keeps the place of a point
            open_note = open_note or ("pending" if headings.EDITORIAL.search(text) else "footnote")
        elif marked or headings.is_heading(text) or not (open_note and (alone or is_editorial(text))):
            open_note = None
        else:
            alone = False
        lines.append(Line(text, open_note or "text"))
    return lines


def is_editorial(text: str) -> bool:
    """Whether a paragraph after a note reads like its continuation, not like a point of the law."""
    return bool(headings.EDITORIAL.search(text)) and not headings.ITEM.match(text)


def preamble(head: list[str]) -> list[Article]:
    """The Constitution's preamble, as an article of its own."""
    start = next((i for i, text in enumerate(head) if re.match("Мы, |Біз, ", text)), None)
    if start is None:
        return []
    title = "Преамбула" if head[start].startswith("Мы") else "Кіріспе"
    return [Article(PREAMBLE, title, "\n".join(head[start:]), "")]


def notes_of_next(lines: list[Line], next_heading: re.Match | None) -> list[Line]:
    """The notes at the end of an article's lines that tell of the next one, before whose heading they are."""
    if next_heading is None:
        return []
    number = re.escape(headings.article_number(next_heading))
    start = len(lines)
    while start and lines[start - 1].kind == "pending":
        start -= 1
    told = any(
        re.search(rf"стать\w+ {number}(?![\d-])|(?<![\d-]){number}-бап", line.text) for line in lines[start:]
    )
    return lines[start:] if told else []


def article_headings(lines: list[Line]) -> list[tuple[int, re.Match]]:
    """(index, match) of every line that reads like an article's heading, in the language of most of them."""
    found = [
        (index, heading)
        for index, line in enumerate(lines)
        if line.kind == "text" and (heading := headings.ARTICLE.match(line.text))
    ]
    russian = sum(bool(heading["ru"]) for _, heading in found)
    language = "ru" if 2 * russian >= len(found) else "kk"
    return [(index, heading) for index, heading in found if heading[language]]


def in_order(candidates: list[tuple[int, re.Match]], end: int) -> list[tuple[int, re.Match]]:
    """The candidates that are the act's articles: those of the heaviest run of rising numbers.

    A heading with something under it weighs more than one without: a table of contents has the same numbers.
    """
    if not candidates:
        return []
    keys = [article_key(headings.article_number(heading)) for _, heading in candidates]
    ends = [index for index, _ in candidates[1:]] + [end]
    weights = [10 if stop - start > 1 else 1 for (start, _), stop in zip(candidates, ends)]
    if all(one < two for one, two in zip(keys, keys[1:])):
        return candidates
    best, before = (
        [],
        [],
    )  # weight of the heaviest run that ends with each candidate, and the one before it there
    for i, key in enumerate(keys):
        previous = max((j for j in range(i) if keys[j] < key), key=lambda j: best[j], default=None)
        best.append(weights[i] + (0 if previous is None else best[previous]))
        before.append(previous)
    run, i = [], max(range(len(best)), key=lambda j: best[j])
    while i is not None:
        run.append(candidates[i])
        i = before[i]
    return run[::-1]


def read_article(heading: re.Match, lines: list[Line], chapter: str) -> Article:
    """The article of a heading, from the lines up to the next one."""
    _, body_end = chapter_after(lines, chapter)
    body = []
    for line in lines[:body_end]:
        if line.kind == "text" and headings.SIGNATURE.match(line.text):
            break
        if line.kind == "text" and not headings.DIVISION.match(line.text):
            body.append(line.text)
    footnotes = [line.text for line in lines if line.kind == "footnote"]
    pending = [headings.PENDING.sub("", line.text, count=1) for line in lines if line.kind == "pending"]
    title, text = tidy(heading["title"]), "\n".join(body)
    excluded = headings.EXCLUDED.match
    # «Статья 9. Исключена Законом ...»; «Статья 9. Название», and the exclusion as its text or its footnote.
    repealed = bool(
        excluded(title) or excluded(text) or (not text and any(map(headings.EXCLUDED.search, footnotes)))
    )
    if repealed:
        footnotes += [title, text]
        title, text = ("" if excluded(title) else title), ""
    pending_note = " ".join(note for note in pending if note) or None
    number = headings.article_number(heading)
    return Article(number, title, text, chapter, repealed, newest_date(footnotes), pending_note)


def chapter_after(lines: list[Line], chapter: str) -> tuple[str, int]:
    """(last chapter heading among the lines, index of the first): what follows is no article's text."""
    first = len(lines)
    for index, (text, kind) in enumerate(lines):
        if kind == "text" and (heading := headings.CHAPTER.match(text)):
            first, chapter = min(first, index), text
            title = [line.text for line in lines[index + 1 : index + 2] if line.kind == "text"]
            if (
                heading.end() == len(text) and title and not headings.is_heading(title[0])
            ):  # it stands in the next line
                chapter = f"{chapter.rstrip('.')}. {title[0]}"
    return chapter, first


def newest_date(footnotes: list[str]) -> str | None:
    """Date of the newest law that the footnotes give by date and number."""
    dates = [
        date
        for note in footnotes
        for date in re.findall(r"(\d\d)\.(\d\d)\.(\d{4})\s*(?:г\.|года)?\s*№", note)
    ]
    return max((f"{year}-{month}-{day}" for day, month, year in dates), default=None)


def oddities(articles: list[Article], unplaced: list[re.Match]) -> list[str]:
    """Gaps, empty and very short articles, headings that stand out of order, each with the numbers."""
    present = {article.number for article in articles}
    whole = [int(number) for number in present if "-" not in number]
    expected = map(str, range(min(whole, default=1), max(whole, default=0)))
    kinds = {
        "no article": {number for number in expected if number not in present},
        "no text": {article.number for article in articles if not article.text and not article.repealed},
        "one short line": {article.number for article in articles if 0 < len(article.text) < SHORT_TEXT},
        "heading out of order": {headings.article_number(heading) for heading in unplaced},
    }
    return [f"{kind}: {listed(numbers)}" for kind, numbers in kinds.items() if numbers]


def listed(numbers: set[str], most: int = 8) -> str:
    """ "5..7, 9 and 3 more"."""
    items = ranges(numbers).split()
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


# ---------------------------------------------------------------- JSONL


def read_articles(path: Path) -> ActText:
    """An act from JSONL of articles: `article` and `text`, the rest as far as it is there."""
    articles, name = [], ""
    for line_number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig"))
            name = name or str(record.get("act") or "")
            articles.append(article_of(record))
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}:{line_number}: no article; expected an object with article, title, text: {error}"
            ) from error
    if not articles:
        raise UserError(f"{path}: no article in it")
    kazakh = sum(character in "әғқңөұүһі" for article in articles for character in article.text[:500].lower())
    letters = sum(len(article.text[:500]) for article in articles)
    pairs = zip(articles, articles[1:])
    doubles = {one.number for one, two in pairs if article_key(one.number) >= article_key(two.number)}
    odd = oddities(articles, []) + ([f"double or out of order: {listed(doubles)}"] if doubles else [])
    return ActText(path, "kk" if kazakh > letters / 50 else "ru", articles, [], name, odd)


def article_of(record: dict) -> Article:
    number, title, text, chapter = (record.get(key) or "" for key in ("article", "title", "text", "chapter"))
    if not re.fullmatch(r"\d+(-\d+)*", number) or not all(
        isinstance(value, str) for value in (title, text, chapter)
    ):
        raise ValueError(f"article {number!r}")
    repealed = bool(record.get("repealed")) and not text
    return Article(number, title, text, chapter, repealed, record.get("amended"), record.get("pending"))
