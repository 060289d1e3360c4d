"""The words for an article and for its parts: часть, пункт, подпункт, абзац; бап, бөлік, тармақ, тармақша."""

import functools
import re

from legalqa.law.tokens import fold, kazakh, word_set

ARTICLE_RU = dict.fromkeys(sorted(word_set("статья статьи статье статью статьей статьею ст статии")), False)
ARTICLE_RU |= dict.fromkeys(sorted(word_set("статей статьям статьями статьях")), True)  # word: is it plural
NOT_ARTICLE_RU = word_set("стать стати стаи стая статуя статуи статую")  # other words, one slip away
PART_RU = re.compile(
    "(?:(подпункт)(а|у|ом|е|ы|ов|ам|ами|ах)?|(пункт)(а|у|ом|е|ы|ов|ам|ами|ах)?"
    "|(част)(ь|и|ью|ей|ям|ями|ях)"
    "|(абзац)(а|у|ем|е|ы|ев|ам|ами|ах)?)"
)
ARTICLE_KK = kazakh(
    "бап|ба[бп](?:тар)?(?:ы|дың|тың|ның|ының|қа|ға|ына|ты|ын|та|ында|тағы|ындағы|тан|ынан|пен|мен|ымен)"
    "|баптар(?:ға|да|ды|дан|дағы|мен)?"
)
PART_KK = kazakh("(тармақша|тармақш$|тш$)|(тармақ|тармағ|т$)|(бөлік|бөліг)|(абзац)")
PLURAL_PART_KK = kazakh("(?:тармақша|тармақ|бөлік|абзац)[лтд][ае]р.*")
RANK = {"абз": 0, "пп": 1, "тармақша": 1, "п": 2, "тармақ": 2, "ч": 3, "бөлік": 3}
AND_RU, AND_KK = word_set("и или либо"), word_set("және жане немесе мен пен бен не")


@functools.lru_cache(maxsize=65536)
def is_unit(word: str) -> bool:
    """Whether a word names an article or a part of one; not «часть», which codes have too."""
    return (
        word in ARTICLE_RU
        or ARTICLE_KK.fullmatch(fold(word)) is not None
        or PART_RU.fullmatch(word) is not None
        and not word.startswith("част")
    )


@functools.lru_cache(maxsize=65536)
def article_word(word: str) -> str | None:
    """The form of «статья» that a word is, one slip of the keyboard allowed («стаье», «сттаьи»), or None."""
    if word in ARTICLE_RU:
        return word
    if not 5 <= len(word) <= 8 or not word.startswith(("ст", "са")) or word in NOT_ARTICLE_RU:
        return None
    return next((form for form in ARTICLE_RU if len(form) > 4 and one_slip(word, form)), None)


def one_slip(word: str, form: str) -> bool:
    """Whether one letter left out, put in, changed or swapped with the next turns `form` into `word`."""
    if abs(len(word) - len(form)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, form)) if a != b), min(len(word), len(form)))
    mine, theirs = word[start:], form[start:]
    return (
        mine[1:] == theirs[1:]
        or mine[1:] == theirs
        or mine == theirs[1:]
        or mine[:2] == theirs[:2][::-1]
        and mine[2:] == theirs[2:]
    )
