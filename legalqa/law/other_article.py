"""A text that cites another article of the same act, and differs in nothing else: a hard wrong answer."""

import random
import re
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.citations import Citation, parse_citations


class Replacement(NamedTuple):
    """What was put in place of what."""

    text: str
    act: str  # id
    old: str  # article
    new: str


def replace_article(text: str, question: str, rng: random.Random) -> Replacement | None:
    """`text` with one of its articles replaced, everywhere, by another that its act has; never by one that
    the text or the question names. None where no article can be replaced without changing anything else."""
    cited = parse_citations(text)
    named = {citation.article for citation in (*cited, *parse_citations(question))}
    real = sorted({(c.act, c.article) for c in cited if c.act and acts.article_exists(c.act, c.article)})
    for act, old in rng.sample(real, len(real)):
        others = sorted(acts.articles_of(act)[0] - named)
        if not others:
            continue
        new = rng.choice(others)
        replaced = replaced_everywhere(text, cited, act, old, new)
        if replaced:
            return Replacement(replaced, act, old, new)
    return None


def replaced_everywhere(text: str, cited: list[Citation], act: str, old: str, new: str) -> str | None:
    """None unless the new text, read again, cites what the old one did, with `new` for `old`."""
    wanted = [
        norm_of(
            citation._replace(article=new) if (citation.act, citation.article) == (act, old) else citation
        )
        for citation in cited
    ]
    spans = sorted({(c.start, c.end) for c in cited if (c.act, c.article) == (act, old)}, reverse=True)
    for start, end in spans:  # from the end: places before stay where they are
        changed = number_pattern(old).sub(new, text[start:end])
        text = text[:start] + changed + text[end:]
    return text if [norm_of(citation) for citation in parse_citations(text)] == wanted else None


def number_pattern(article: str) -> re.Pattern[str]:
    """The number standing alone: not «28» in «128», «28-1» or «28-ші», but in «28-бап»."""
    return re.compile(rf"(?<!\d)(?<!\d[.–-]){re.escape(article)}(?![\d.]*\d|[–-](?!ба[бп]))")


def norm_of(citation: Citation) -> tuple[str | None, ...]:
    return citation.act, citation.article, citation.paragraph, citation.subparagraph
