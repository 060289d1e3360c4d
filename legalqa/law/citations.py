"""Every reference to a norm in a text, Russian or Kazakh, as (act, article, paragraph, sub-paragraph).

    parse_citations("пп. 1 п. 1 ст. 28 Трудового кодекса РК") -> [Citation("labor_code", ..., "28", "1", "1")]

How: the text is cut into words, numbers and signs once (tokens). One pass finds the acts that are named
(mentions), a second the articles with their parts (articles), a third gives each article its act (attribution).
Every look around is bounded, so time grows with the length of the text and no input makes it hang.
"""

import re
from itertools import islice, product
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.acts import act_title, article_exists  # noqa: F401 (act_title is part of this module's API)
from legalqa.law.articles import find_groups
from legalqa.law.attribution import act_key, assign_acts  # noqa: F401 (act_key too)
from legalqa.law.mentions import find_mentions
from legalqa.law.numbers import MAX_RANGE, write_out
from legalqa.law.tokens import Tokens
from legalqa.law.units import RANK

MAX_CITATIONS = 20_000  # of one text; after them ranges are not written out, so memory stays bounded


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


def read_chain(chain):
    """(paragraphs, sub-paragraphs) of a chain; a part of a paragraph («часть вторая пункта 2») is none."""
    kind, values = chain[0]
    if RANK[kind] <= 1:
        return [None], values if RANK[kind] else [None]
    inner = next((values for kind, values in chain[1:] if RANK[kind] in (1, 2)), [None])
    return values, inner


def parse_citations(text, context_act=None):
    """Every reference to an article in `text`, in order; a list gives one Citation for each article and part.

    context_act: id of the act that «настоящий Кодекс», «осы Заң» mean; without it they name no act.
    """
    if not re.search("[0-9]", text):
        return []
    tokens = Tokens(text)
    mentions = find_mentions(tokens)
    groups = find_groups(tokens, mentions)
    citations = []
    for group, act, act_text, first, last in assign_acts(tokens, mentions, groups, context_act):
        written = text[first:last]
        for parts, chains in group.entries:
            articles = write_out(parts, group.plural or len(group.entries) > 1, act)
            pairs = [pair for chain in chains for pair in islice(product(*read_chain(chain)), MAX_RANGE)]
            pairs = list(dict.fromkeys(pairs))[:MAX_RANGE] or [(None, None)]
            if len(citations) > MAX_CITATIONS:
                articles, pairs = articles[:1], pairs[:1]
            for article in articles:
                own = acts.part_of_civil_code(article) if act == acts.CIVIL_CODE else act
                for paragraph, sub in pairs:
                    citations.append(Citation(own, act_text, article, paragraph, sub, written, first, last))
    return citations


def citation_as_dict(citation):
    """A citation as logs/benchmark_<run>.json keeps it."""
    kept = {key: value for key, value in citation._asdict().items() if key not in ("start", "end")}
    return {**kept, "exists": article_exists(citation.act, citation.article)}
