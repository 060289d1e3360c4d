"""How far the citations of an answer agree with those of the reference."""

from collections.abc import Iterable

from legalqa.law.acts import article_exists
from legalqa.law.citations import Citation, act_key, parse_citations

Pairs = set[tuple[str | None, str]]


def citation_pairs(citations: Iterable[Citation]) -> Pairs:
    """The set of (act, article). act: an id, "? words" for a named act that is not in acts.json, None if none
    is.

    A pair without an act is left out where the same article comes with one too: it is the same norm said
    again.
    """
    pairs: Pairs = set()
    for citation in citations:
        act = citation.act
        if act is None and citation.act_text:
            key = act_key(citation.act_text)
            act = f"? {key}" if key else None
        pairs.add((act, citation.article))
    named = {article for act, article in pairs if act is not None}
    return {(act, article) for act, article in pairs if act is not None or article not in named}


def matches(ours: Pairs, theirs: Pairs) -> int:
    """How many pairs of `ours` are in `theirs`, one to one; one without an act matches one of any act."""
    exact = ours & theirs
    our_articles, their_articles = ({article for _, article in pairs} for pairs in (ours, theirs))
    open_ours = [article for act, article in ours - exact if act is None]
    open_theirs = [article for act, article in theirs - exact if act is None]
    return (
        len(exact)
        + sum(article in their_articles for article in open_ours)
        + sum(article in our_articles for article in open_theirs)
    )


def score_passages(
    prediction: list[Citation], reference: list[Citation], passages: Pairs | None
) -> dict[str, float | None]:
    """The metrics of an open book; `passages`: the articles before the model, None with a closed book.

    article_found: 1 if an article that the reference cites is among them; None if it cites nothing.
    citation_supported: share of the prediction's pairs that are among them; None if it cites nothing.
    """
    if passages is None:
        return {"article_found": None, "citation_supported": None}
    ours, theirs = citation_pairs(prediction), citation_pairs(reference)
    return {
        "article_found": float(matches(theirs, passages) > 0) if theirs else None,
        "citation_supported": matches(ours, passages) / len(ours) if ours else None,
    }


def score_citations(
    prediction: str | list[Citation], reference: str | list[Citation]
) -> dict[str, float | None]:
    """The citation metrics of an answer; both arguments are texts or lists of Citation. None is "undefined".

    citation_precision: share of the prediction's pairs that the reference has; None if either cites nothing
    (a reference without citations does not say which articles would be wrong). citation_recall: share of the
    reference's pairs that the prediction has; None if the reference cites nothing. citation_f1: harmonic
    mean; 0 if only the reference cites; None if the reference cites nothing. citation_exists: share of the
    prediction's pairs, of acts whose articles we know, that exist; None if none are. has_citation: 1 if the
    prediction cites anything.
    """
    ours = citation_pairs(parse_citations(prediction) if isinstance(prediction, str) else prediction)
    theirs = citation_pairs(parse_citations(reference) if isinstance(reference, str) else reference)
    shared = matches(ours, theirs)
    known = [exists for exists in (article_exists(*pair) for pair in ours) if exists is not None]
    return {
        "citation_precision": shared / len(ours) if ours and theirs else None,
        "citation_recall": shared / len(theirs) if theirs else None,
        "citation_f1": 2 * shared / (len(ours) + len(theirs)) if theirs else None,
        "citation_exists": sum(known) / len(known) if known else None,
        "has_citation": float(bool(ours)),
    }
