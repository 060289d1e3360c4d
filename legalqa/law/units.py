"""The words for an article and for its parts (part, paragraph, sub-paragraph, subparagraph's line)."""

import re

ARTICLE_RU = {  # word: whether it is plural
    "статья": False,
    "статьи": False,
    "статье": False,
    "статью": False,
    "статьей": False,
    "статьею": False,
    "ст": False,
    "статии": False,
    "статей": True,
    "статьям": True,
    "статьями": True,
    "статьях": True,
}
PART_RU = re.compile(
    "(?:(подпункт)(а|у|ом|е|ы|ов|ам|ами|ах)?|(пункт)(а|у|ом|е|ы|ов|ам|ами|ах)?"
    "|(част)(ь|и|ью|ей|ям|ями|ях)"
    "|(абзац)(а|у|ем|е|ы|ев|ам|ами|ах)?)"
)
ARTICLE_KK = re.compile("бап(?:тың|қа|ты|та|тан|пен|тағы|тар.*)?|баб(?:ы|ын|ының|ына|ында|ындағы|ынан|ымен)")
PART_KK = re.compile("(?:(тармақша)|(тармақ|тармағ)|(бөлік|бөліг)|(абзац))")
RANK = {"абз": 0, "пп": 1, "тармақша": 1, "п": 2, "тармақ": 2, "ч": 3, "бөлік": 3}
AND_RU, AND_KK = frozenset({"и", "или", "либо"}), frozenset(["және", "немесе", "мен", "пен", "бен", "не"])


def is_unit(word):
    """Whether a word names an article or a part of one; not «часть», which codes have too."""
    return (
        word in ARTICLE_RU
        or ARTICLE_KK.fullmatch(word) is not None
        or PART_RU.fullmatch(word) is not None
        and not word.startswith("част")
    )
