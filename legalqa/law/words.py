"""Words as the search compares them: a question's language, and the forms that a word is indexed under.

One stem is not enough for either language: «уволить», «увольнение» and «уволен» have three Russian stems, and
a Kazakh word carries up to five suffixes. So every word is indexed three times: its stem, its first five
letters and its first four. On 916 training questions that raised the mean reciprocal rank from 53 to 57 %.
"""

import functools
import re

from legalqa.law.tokens import normalize_word

WORD = re.compile(r"[^\W\d_]+|\d+(?:-\d+)*")  # a number with its index is one word: "34-1"
KAZAKH_LETTERS = frozenset("әғқңөұүһі")  # the letters of the Kazakh alphabet that Russian lacks
PREFIXES = 5, 4  # letters
SHORTEST_RUSSIAN = 4  # letters; the stemmer makes «то» of «тоо»
SHORTEST_KAZAKH_STEM = 3  # letters
MOST_SUFFIXES = 4
KAZAKH_SUFFIXES = sorted(
    (
        "лар лер дар дер тар тер ларын лерін ның нің дың дің тың тің ға ге қа ке на не ды ді ты ті"
        " ны ні н ын ін"
        " да де та те нда нде дан ден тан тен нан нен мен бен пен дағы дегі тағы тегі ндағы ндегі"
        " ым ім м ың ің ң ы і сы сі сын сін мыз міз ымыз іміз ңыз ңіз ыңыз іңіз мын мін пын пін бын бін"
        " сыз сіз пыз піз"
        " дық дік тық тік лық лік дай дей тай тей ған ген қан кен атын етін йтын йтін ады еді ды са се ып іп"
        " у уы уі уға уге уды уді удың удің ушы уші мақ мек бақ бек пақ пек"
    ).split(),
    key=len,
    reverse=True,
)


def detect_language(text: str) -> str:
    """ "kk" for a text with a letter that only Kazakh has, else "ru"."""
    return "ru" if KAZAKH_LETTERS.isdisjoint(text.lower()) else "kk"


def words_of(text: str) -> list[str]:
    """The words and numbers of a text in their normal form, in order."""
    return [normalize_word(word) for word in WORD.findall(text)]


@functools.cache
def russian_stemmer():
    import Stemmer  # here: a stage's --help does without

    return Stemmer.Stemmer("russian")


@functools.lru_cache(maxsize=262144)
def stem(word: str, language: str) -> str:
    """A word in its normal form without its endings."""
    if language == "ru":
        return word if len(word) < SHORTEST_RUSSIAN else russian_stemmer().stemWord(word)
    for _ in range(MOST_SUFFIXES):
        for suffix in KAZAKH_SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= SHORTEST_KAZAKH_STEM:
                word = word[: -len(suffix)]
                break
        else:
            break
    return word


@functools.lru_cache(maxsize=262144)
def forms(word: str, language: str) -> tuple[str, ...]:
    """What a word in its normal form is indexed under; a star tells beginnings from stems."""
    return stem(word, language), *(word[:length] + "*" for length in PREFIXES)
