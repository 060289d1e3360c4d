"""How far the citations of an answer agree with those of the reference."""

from legalqa.law.acts import article_exists
from legalqa.law.citations import act_key, parse_citations


def citation_pairs(citations):
    """The set of (act, article). act: an id, "? words" for a named act that is not in acts.json, None if none
    is.

    A pair without an act is left out where the same article comes with one too: it is the same norm said
    again.
    """
    pairs = set()
    for citation in citations:
        act = citation.act
        if act is None and citation.act_text:
            key = act_key(citation.act_text)
            act = f"? {key}" if key else None
        pairs.add((act, citation.article))
    named = {article for act, article in pairs if act is not None}
    return {(act, article) for act, article in pairs if act is not None or article not in named}


def matches(ours, theirs):
    """How many pairs of `ours` are in `theirs`, one to one; one without an act matches one of any act."""
    exact = ours & theirs
    open_ours = [article for act, article in ours if act is None and (act, article) not in exact]
    open_theirs = [article for act, article in theirs if act is None and (act, article) not in exact]
    return (
        len(exact)
        + sum(any(article == other for _, other in theirs) for article in open_ours)
        + sum(any(article == other for _, other in ours) for article in open_theirs)
    )


def score_citations(prediction, reference):
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
