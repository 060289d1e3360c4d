"""Every reference to a norm in a text, Russian or Kazakh, as (act, article, paragraph, sub-paragraph).

    parse_citations("пп. 1 п. 1 ст. 28 Трудового кодекса РК") -> [Citation("labor_code", ..., "28", "1", "1")]

How: the text is cut into words, numbers and signs once (tokens). One pass finds the acts that are named
(mentions), a second the articles with their parts (articles), a third which act each is of (attribution).
Every look around is bounded, so time grows with the length of the text and no input makes it hang.
"""

import re
from itertools import islice, product
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.acts import act_title, article_exists  # noqa: F401 (act_title is part of this module's API)
from legalqa.law.articles import find_groups
from legalqa.law.attribution import Attributed, act_key, assign_acts  # noqa: F401 (act_key too)
from legalqa.law.mentions import find_mentions
from legalqa.law.numbers import MAX_RANGE, write_out
from legalqa.law.parts import Chain, read_chain
from legalqa.law.tokens import Tokens

MAX_CITATIONS = 20_000  # of one text; after them ranges are not written out, so memory stays bounded
CUE = re.compile("[0-9]|стат|ба[бп]", re.IGNORECASE)  # without one of these there is no article


class Citation(NamedTuple):
    """One reference. act: id of acts.json or None; act_text: the act as written, None where none is named."""

    act: str | None
    act_text: str | None
    article: str
    paragraph: str | None
    subparagraph: str | None
    text: str
    start: int
    end: int


def parse_citations(text: str, context_act: str | None = None) -> list[Citation]:
    """Every reference to an article in `text`, in order; a list gives one Citation for each article and part.

    context_act: id of the act that «настоящий Кодекс», «осы Заң» mean; without it, the one just named.
    """
    if not CUE.search(text):
        return []
    tokens = Tokens(text)
    mentions = find_mentions(tokens)
    groups = find_groups(tokens, mentions)
    citations: list[Citation] = []
    for attributed in assign_acts(tokens, mentions, groups, context_act):
        citations += cite(text, attributed, in_full=len(citations) <= MAX_CITATIONS)
    return citations


def cite(text: str, attributed: Attributed, in_full: bool) -> list[Citation]:
    """A Citation for each article and part of a list; without the inside of ranges if not `in_full`."""
    group, act, act_text, start, end = attributed
    written, citations = text[start:end], []
    for number, chains in group.entries:
        articles = write_out(number, group.plural or len(group.entries) > 1, act)
        parts = read_chains(chains)
        if not in_full:
            articles, parts = articles[:1], parts[:1]
        for article in articles:
            own = acts.part_of_civil_code(article) if act == acts.CIVIL_CODE else act
            citations += [Citation(own, act_text, article, *part, written, start, end) for part in parts]
    return citations


def read_chains(chains: list[Chain]) -> list[tuple[str | None, str | None]]:
    """[(paragraph, sub-paragraph)] of an article's chains, at most MAX_RANGE; (None, None) without any."""
    if not chains:
        return [(None, None)]
    pairs = [pair for chain in chains for pair in islice(product(*read_chain(chain)), MAX_RANGE)]
    return list(dict.fromkeys(pairs))[:MAX_RANGE]


def citation_as_dict(citation: Citation) -> dict[str, str | bool | None]:
    """A citation as logs/benchmark_<run>.json keeps it."""
    kept = {key: value for key, value in citation._asdict().items() if key not in ("start", "end")}
    return {**kept, "exists": article_exists(citation.act, citation.article)}
