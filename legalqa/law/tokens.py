"""A text cut into words, numbers and signs, each in a normal form, with its sentence.

Every look around is bounded, so time grows with the length of the text.
"""

import functools
import re
import unicodedata

MAX_QUOTE = 45  # tokens looked through for a closing quote or bracket
MAX_LOOK = 12  # tokens looked through elsewhere
TOKEN = re.compile(
    "([^\\W\\d_](?:[^\\W\\d_]|[\u0300-\u036f\u00ad\u200b-\u200d])*)|([0-9]+)"  # word, number,
    "|([\\s\u200b*`_]+)|(.)",
    re.DOTALL,
)  # gap (Markdown's signs too), sign
DASHES = frozenset("-‐‑–—−")
HYPHENS = frozenset("-‐‑")
QUOTES = {"«": "»", "“": "”“", "„": "“”", '"': '"', "”": "”"}
CLOSING_QUOTES = frozenset('»”"“')
LOOK_ALIKES = str.maketrans("abcehikmoptxyё", "авсенікмортхуе")
UPPER_LOOK_ALIKES = str.maketrans("ABCEHKMOPTXY", "АВСЕНКМОРТХУ")
CYRILLIC = re.compile("[\u0400-\u052f]")
KAZAKH_AS_RUSSIAN = str.maketrans("әғқңөұүһі", "агкноуухи")


def word_set(text: str) -> frozenset[str]:
    """The words and signs of a text, for a table of them."""
    return frozenset(text.split())


FEW_LETTERS = word_set("ст п пп ч подп абз г гг др пр т д е им тыс млн стр см рис ж тб тш н б")


@functools.lru_cache(maxsize=65536)
def normalize_word(word: str) -> str:
    """Lower-case NFC, no stress marks, ё is е; Latin look-alikes in a Cyrillic word and «PK» are Cyrillic."""
    word = re.sub("[\u0300-\u036f\u00ad\u200b-\u200d]", "", unicodedata.normalize("NFC", word))
    if word in ("PK", "РK", "PК"):
        return "рк"
    word = word.lower()
    return word.translate(LOOK_ALIKES) if CYRILLIC.search(word) else word


@functools.lru_cache(maxsize=65536)
def fold(word: str) -> str:
    """A normal form as it is typed where the keyboard has no Kazakh letters: «қылмыстық» -> «кылмыстык»."""
    return word.translate(KAZAKH_AS_RUSSIAN)


def kazakh(pattern: str) -> re.Pattern[str]:
    """A pattern of Kazakh words, to be matched with a folded word."""
    return re.compile(fold(pattern))


class Tokens:
    """A text cut up: of each token the normal form, kind ("w", "n", "s"), place, gap before, sentence."""

    def __init__(self, text: str):
        self.text = text
        self.norm: list[str] = []
        self.kind: list[str] = []
        self.start: list[int] = []
        self.end: list[int] = []
        self.gap: list[str] = []
        gap = ""
        for match in TOKEN.finditer(text):
            group, piece = match.lastindex or 0, match[0]
            if group == 3:
                gap = "\n" if "\n" in piece else " "
                continue
            self.norm.append(normalize_word(piece) if group == 1 else piece)
            self.kind.append("wn s"[group - 1])
            self.start.append(match.start())
            self.end.append(match.end())
            self.gap.append(gap)
            gap = ""
        self.size = len(self.norm)
        self.sentence: list[int] = []  # its number
        self.depth: list[int] = []  # of brackets, in its sentence
        self.mark_sentences()

    def mark_sentences(self) -> None:
        """Number the sentences and the bracket depth inside each."""
        sentence = depth = 0
        for i, word in enumerate(self.norm):
            if i and self.kind[i - 1] == "s" and self.is_break(i):
                sentence, depth = sentence + 1, 0
            if word == ")":
                depth = max(0, depth - 1)
            self.sentence.append(sentence)
            self.depth.append(depth)
            if word == "(":
                depth += 1

    def is_break(self, i: int) -> bool:
        """Whether a sentence starts at token i, which a sign precedes."""
        before = self.norm[i - 1]
        if self.gap[i] == "\n" and before not in (",", ":", ";", "("):
            return True
        if before not in ".!?…" or not self.text[self.start[i]].isupper():
            return False
        if before != ".":
            return True
        word = self.at(i - 2)
        return not (word in FEW_LETTERS or len(word) == 1 and self.kind[i - 2] == "w")

    def raw(self, i: int) -> str:
        return self.text[self.start[i] : self.end[i]]

    def at(self, i: int) -> str:
        """Normal form of token i, "" past either end."""
        return self.norm[i] if 0 <= i < self.size else ""

    def folded(self, i: int) -> str:
        """Token i as it is typed without Kazakh letters."""
        return fold(self.at(i))

    def is_number(self, i: int) -> bool:
        return 0 <= i < self.size and self.kind[i] == "n"

    def is_word(self, i: int) -> bool:
        return 0 <= i < self.size and self.kind[i] == "w"

    def is_capital(self, i: int) -> bool:
        return self.is_word(i) and self.text[self.start[i]].isupper()

    def is_tight(self, i: int) -> bool:
        """No gap before token i."""
        return 0 <= i < self.size and not self.gap[i]

    def is_kazakh_near(self, i: int) -> bool:
        """Whether a word near token i has a Kazakh letter."""
        around = range(max(0, i - MAX_LOOK), min(self.size, i + MAX_LOOK))
        return any(self.norm[j] != fold(self.norm[j]) for j in around)

    def closing(self, i: int) -> int | None:
        """Index of the sign that closes the quote or bracket at i, or None within MAX_QUOTE tokens."""
        sign = self.norm[i]
        close = ")" if sign == "(" else QUOTES[sign]
        depth = 0
        for j in range(i + 1, min(self.size, i + MAX_QUOTE)):
            if self.norm[j] in close and not depth:
                return j
            if sign in "(«":
                depth += (self.norm[j] == sign) - (self.norm[j] in close)
        return None

    def opening(self, i: int) -> int | None:
        """Index of the quote that opens what the sign at i closes, or None within MAX_QUOTE tokens."""
        for j in range(i - 1, max(-1, i - MAX_QUOTE), -1):
            if self.norm[j] in QUOTES and self.norm[i] in QUOTES[self.norm[j]]:
                return j
        return None

    def words(self, first: int, last: int) -> tuple[str, ...]:
        return tuple(self.norm[i] for i in range(first, last) if self.kind[i] != "s")
