"""What the search is given and gives: questions with known answers, and passages of the law."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from legalqa.law.citations import parse_citations


class Passage(NamedTuple):
    """An article that may answer the question. score: about 1 for the best by words, 2 more if named."""

    act: str  # id, as in law/acts.json
    article: str  # "52", "73-1"
    title: str
    text: str  # the one or two paragraphs nearest to the question, in the order of the article
    score: float
    language: str  # of title and text: "ru" or "kk"


class AskedQuestion(NamedTuple):
    """A question to which the answer is known to rest on an article."""

    text: str
    act: str
    article: str


def question_of(row: Mapping[str, Any]) -> str:
    """The question of a training row: `input` under an instruction, or the instruction itself."""
    return f"{row['instruction']}\n{row.get('input') or ''}".strip()


def cited_articles(answer: str) -> list[tuple[str, str]]:
    """(act, article) of each that an answer cites with its act, in its order."""
    return list(dict.fromkeys((c.act, c.article) for c in parse_citations(answer) if c.act))


def asked_questions(rows: Iterable[Mapping[str, Any]]) -> list[AskedQuestion]:
    """The questions of training rows with the articles that their answers cite."""
    return [
        AskedQuestion(question_of(row), act, article)
        for row in rows
        for act, article in sorted(cited_articles(row["output"]))
    ]
