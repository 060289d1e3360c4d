"""What is wrong with an answer, by its scores: why it is the rejected one of a pair for DPO."""

from collections.abc import Mapping, Sequence

INVENTED, WRONG_ARTICLE, LOOP = "invented_article", "wrong_article", "loop"
WRONG_LANGUAGE, CUT_OFF = "wrong_language", "cut_off"
REPLACED = "replaced_article"  # of a made-up answer: the reference with another article of the same act
# {fault: (the score that shows it, where the fault begins)}, worst first.
FAULTS = {
    INVENTED: ("citation_exists", lambda share: share < 1),
    WRONG_ARTICLE: ("citation_precision", lambda share: share < 1),
    LOOP: ("repetition_rate", lambda rate: rate > 0),
    WRONG_LANGUAGE: ("wrong_language_rate", lambda rate: rate > 0),
    CUT_OFF: ("cut_off_rate", lambda rate: rate > 0),
}


def faults_of(scores: Mapping[str, float | None]) -> list[str]:
    """Names of FAULTS, worst first; a score that is undefined shows none."""
    found = []
    for fault, (name, begins) in FAULTS.items():
        score = scores[name]
        if score is not None and begins(score):
            found.append(fault)
    return found


def badness(faults: Sequence[str]) -> tuple[bool, ...]:
    """Larger for the worse of two answers: the first fault of FAULTS that only one of them has decides."""
    return tuple(fault in faults for fault in FAULTS)
