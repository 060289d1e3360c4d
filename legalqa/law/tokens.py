"""A text cut into words, numbers and signs, each in a normal form, with its sentence.

Every look around is bounded, so time grows with the length of the text.
"""

import re

from legalqa.law.acts import normalize_word

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
FEW_LETTERS = frozenset(
    [
        "ст",
        "п",
        "пп",
        "ч",
        "подп",
        "абз",
        "г",
        "гг",
        "др",
        "пр",
        "т",
        "д",
        "е",
        "им",
        "тыс",
        "млн",
        "стр",
        "см",
        "рис",
        "ж",
        "тб",
        "н",
        "б",
    ]
)


class Tokens:
    """A text cut up: of each token the normal form, kind ("w", "n", "s"), place, gap before, sentence."""

    def __init__(self, text):
        self.text = text
        self.norm, self.kind, self.start, self.end, self.gap = [], [], [], [], []
        gap = ""
        for match in TOKEN.finditer(text):
            group = match.lastindex
            if group == 3:
                gap = "\n" if "\n" in match.group() else " "
                continue
            self.norm.append(normalize_word(match.group()) if group == 1 else match.group())
            self.kind.append("w" if group == 1 else "n" if group == 2 else "s")
            self.start.append(match.start())
            self.end.append(match.end())
            self.gap.append(gap)
            gap = ""
        self.size = len(self.norm)
        self.mark_sentences()

    def mark_sentences(self):
        """Number the sentences and the bracket depth inside each."""
        self.sentence, self.depth = [], []
        sentence = depth = 0
        for i in range(self.size):
            if i and self.is_break(i):
                sentence, depth = sentence + 1, 0
            if self.norm[i] == ")":
                depth = max(0, depth - 1)
            self.sentence.append(sentence)
            self.depth.append(depth)
            if self.norm[i] == "(":
                depth += 1

    def is_break(self, i):
        """Whether a sentence starts at token i."""
        before = self.norm[i - 1]
        if self.gap[i] == "\n" and before not in (",", ":", ";", "(") and self.kind[i - 1] == "s":
            return True
        if before in "!?…":
            return self.raw(i)[0].isupper()
        if before != "." or not self.raw(i)[0].isupper():
            return False
        word = self.at(i - 2)
        return not (word in FEW_LETTERS or len(word) == 1 and self.kind[i - 2] == "w")

    def raw(self, i):
        return self.text[self.start[i] : self.end[i]]

    def at(self, i):
        """Normal form of token i, "" past either end."""
        return self.norm[i] if 0 <= i < self.size else ""

    def is_number(self, i):
        return 0 <= i < self.size and self.kind[i] == "n"

    def is_word(self, i):
        return 0 <= i < self.size and self.kind[i] == "w"

    def is_tight(self, i):
        """No gap before token i."""
        return 0 <= i < self.size and not self.gap[i]

    def closing(self, i):
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

    def opening(self, i):
        """Index of the quote that opens what the sign at i closes, or None within MAX_QUOTE tokens."""
        for j in range(i - 1, max(-1, i - MAX_QUOTE), -1):
            if self.norm[j] in QUOTES and self.norm[i] in QUOTES[self.norm[j]]:
                return j
        return None

    def words(self, first, last):
        return tuple(self.norm[i] for i in range(first, last) if self.kind[i] != "s")
