"""Which rows ask the same thing, and which say the same: found by MinHash, each pair verified exactly.

What "near-duplicate" means was read off the pairs of a real set of 3,009 short Russian and Kazakh questions (median
10 words):
- Words are compared as sets of their first six letters: Russian and Kazakh inflect at the end («решения» /
  «решений»), and some true pairs differ in word order alone, which word pairs (bigrams) would score 0.5.
- Digits decide: «О чём статья 12 такого-то кодекса?» and «... статья 15 ...» share nearly all words and are two
  questions.
- «Республики Казахстан», «РК», «ҚР» are left out: they come and go between two forms of one question.
- Of the ten pairs with a Jaccard index of 0.8 or more, seven were one question reworded and three overlapped for the
  most part. (Plain words, without these rules, found five of the seven and three false ones.) From 0.78 down came
  pairs that differ in the one word that matters, of the kind «пособие при рождении» / «пособие при болезни». One word
  of n changed gives (n - 1) / (n + 1): «Что такое аренда по ГК?» / «Что такое лизинг по ГК?» has 0.67 and stays
  apart; nine words are needed to reach 0.8.
- Two questions less alike are still one if they have one answer: with answers of four words or more that agree at
  the same threshold, every pair down to 0.5 was a paraphrase, and at 0.44 the first false one came.
- A question like more than 20 others is a template with other words filled in: in the real set none was like more
  than one.
So such pairs are kept on one side of a split, which costs nothing. A row is called a duplicate, and may be dropped,
only if its answer agrees as well, digits included; «Да.» and «Нет.» prove nothing, so there all words must agree.
"""

import re
import unicodedata
import zlib
from collections import defaultdict
from typing import NamedTuple

from legalqa.data.records import question

STEM_LETTERS = 6
FILLER = frozenset(["респуб", "казахс", "қазақс", "рк", "қр"])
ALIKE_IF_SAME_ANSWER = 0.5  # least Jaccard index of two questions that have one answer
TELLING_ANSWER = 4  # different words from which on an answer says something about its question
PERMUTATIONS = 128
MISSED_PAIRS = 0.001  # most of the pairs at the threshold that the bands of MinHash may miss
MOST_REWORDINGS = 20
BUCKET_SIZE = (
    64  # members of a bucket that later ones are compared with: bounds the time where thousands are alike
)
MIXER = 0x9E3779B97F4A7C15  # odd: folds the columns of a band into one 64-bit key; a collision costs one comparison

WORD = re.compile(r"\w+")
DIGITS = re.compile(r"\d+")
LATIN_IN_CYRILLIC = re.compile("[a-z][а-яёәғқңөұүһі]|[а-яёәғқңөұүһі][a-z]", re.IGNORECASE)
CYRILLIC = re.compile("[а-яәғқңөұүһі]")
LOOKALIKES = str.maketrans(
    "aeopcxyikhmtb", "аеорсхуікһмтв"
)  # Latin letters typed for Cyrillic ones («тәртiбiн»)


class Fingerprint(NamedTuple):
    """What is compared of a text: hashes of its different words, and all its numbers."""

    words: frozenset
    numbers: tuple


def split_words(text):
    """Words for comparing: case, «ё», punctuation and Latin letters inside Cyrillic words make no difference."""
    words = WORD.findall(unicodedata.normalize("NFC", text).casefold().replace("ё", "е"))
    if LATIN_IN_CYRILLIC.search(text):
        return [word.translate(LOOKALIKES) if CYRILLIC.search(word) else word for word in words]
    return words


def text_key(text):
    """Two texts are exactly the same if their keys are."""
    return " ".join(split_words(text))


def record_key(record):
    """The keys of a record's question and answer."""
    return text_key(question(record)), text_key(record["output"])


def fingerprint(key):
    """Of a text, by its `text_key`."""
    stems = {word[:STEM_LETTERS] for word in key.split(" ")}
    numbers = tuple(sorted(DIGITS.findall(key)))
    return Fingerprint(frozenset(zlib.crc32(stem.encode()) for stem in stems - FILLER or stems), numbers)


def jaccard(one, other):
    """Jaccard index of two sets; 1 for two empty ones."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if one or other else 1.0


def alike(one, other, threshold):
    return one.numbers == other.numbers and jaccard(one.words, other.words) >= threshold


class Comparison:
    """The fingerprints of some records, and which of them say or ask the same. Pairs are (i, j) with i < j."""

    def __init__(self, keys, threshold):
        """`keys`: the `record_key` of each record."""
        self.threshold = threshold
        self.questions = [fingerprint(asked) for asked, _ in keys]
        self.answers = [fingerprint(answer) for _, answer in keys]
        self._paraphrases = []

    def duplicates(self, advance):
        """Sorted pairs of records whose question and answer agree. `advance(n)`: n more records are done."""
        same, telling, first = [], [], {}
        for index, (asked, answer) in enumerate(zip(self.questions, self.answers)):
            if len(answer.words) >= TELLING_ANSWER:
                telling.append(index)
            elif first.setdefault((asked, answer), index) != index:
                same.append((first[asked, answer], index))
        advance(len(self.answers) - len(telling))
        rows_of = defaultdict(list)
        for index in telling:
            rows_of[self.answers[index]].append(index)
        pairs = [
            (i, j)
            for rows in rows_of.values()
            for place, i in enumerate(rows[:BUCKET_SIZE])
            for j in rows[place + 1 :]
        ]
        for one, other in similar_pairs(list(rows_of), self.threshold, advance):
            pairs += [
                (min(i, j), max(i, j))
                for i in rows_of[one][:BUCKET_SIZE]
                for j in rows_of[other][:BUCKET_SIZE]
            ]
        self._paraphrases = same + [
            (i, j) for i, j in pairs if alike(self.questions[i], self.questions[j], ALIKE_IF_SAME_ANSWER)
        ]
        advance(len(telling) - len(rows_of))
        return sorted(
            (i, j)
            for i, j in self._paraphrases
            if alike(self.questions[i], self.questions[j], self.threshold)
        )

    def same_questions(self, rows, advance):
        """Sorted pairs that connect all those of `rows` (increasing indices) which ask the same; after `duplicates`."""
        rows_of = defaultdict(list)
        for index in rows:
            rows_of[self.questions[index]].append(index)
        advance(len(rows) - len(rows_of))
        chosen = set(rows)
        pairs = {(i, j) for i, j in self._paraphrases if i in chosen and j in chosen}
        pairs.update((same[0], index) for same in rows_of.values() for index in same[1:])
        for one, other in similar_pairs(list(rows_of), self.threshold, advance, MOST_REWORDINGS):
            i, j = rows_of[one][0], rows_of[other][0]
            pairs.add((min(i, j), max(i, j)))
        return sorted(pairs)


def similar_pairs(fingerprints, threshold, advance, most=None):
    """Pairs of different fingerprints alike at `threshold`: candidates by MinHash, each verified.

    With `most`, those of a fingerprint that is like more than so many others are left out.
    """
    import numpy as np
    from datasketch import MinHash

    # The wider a band of the signature, the fewer false candidates: as wide as MISSED_PAIRS allows.
    width = next(
        width
        for width in range(16, 0, -1)
        if width == 1 or (1 - threshold**width) ** (PERMUTATIONS // width) <= MISSED_PAIRS
    )
    signatures = np.empty((len(fingerprints), PERMUTATIONS), np.uint64)
    sets = (mark.words for mark in fingerprints)
    for index, signature in enumerate(MinHash.generator(sets, num_perm=PERMUTATIONS, hashfunc=int)):
        signatures[index] = signature.hashvalues
        advance(1)
    numbers = np.array([zlib.crc32(" ".join(mark.numbers).encode()) for mark in fingerprints], np.uint64)
    weights = np.array([pow(MIXER, power, 2**64) for power in range(1, width + 1)], np.uint64)
    found, like, enough = set(), [0] * len(fingerprints), most or len(fingerprints)
    for band in range(PERMUTATIONS // width):
        keys = (signatures[:, band * width : (band + 1) * width] * weights).sum(axis=1) + numbers * np.uint64(
            MIXER
        )
        order = np.argsort(keys, kind="stable")
        bounds = np.concatenate(([0], np.flatnonzero(np.diff(keys[order])) + 1, [len(keys)]))
        crowded = np.flatnonzero(np.diff(bounds) > 1)
        for start, end in zip(bounds[crowded], bounds[crowded + 1]):
            rows = order[start:end].tolist()
            for place, i in enumerate(rows[:BUCKET_SIZE]):
                for j in rows[place + 1 :]:
                    if (
                        (like[i] <= enough or like[j] <= enough)
                        and (i, j) not in found
                        and alike(fingerprints[i], fingerprints[j], threshold)
                    ):
                        found.add((i, j))
                        like[i] += 1
                        like[j] += 1
    return [(fingerprints[i], fingerprints[j]) for i, j in found if max(like[i], like[j]) <= enough]


def join_groups(size, pairs):
    """For each of `size` rows the smallest row it is connected with by `pairs`, directly or through others."""
    parent = list(range(size))

    def root(row):
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for i, j in pairs:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    return [root(row) for row in range(size)]
