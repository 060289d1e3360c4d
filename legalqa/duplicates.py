"""Which rows ask the same thing: exact and near-duplicate questions and answers, found by MinHash, verified exactly.

What "near-duplicate" means was read off the pairs of a real set of 3,009 short Russian and Kazakh questions (median 10 words):
- Words are compared as sets of their first six letters: Russian and Kazakh inflect at the end («решения» / «решений»), and
  several true pairs differ in word order alone, which word pairs (bigrams) would score 0.5.
- Digits decide. «Что регулирует статья 190 ...» and «... статья 195 ...» share 89 % of their words and are two questions.
- «Республики Казахстан», «РК», «ҚР» are left out: they add nothing and come and go between two forms of one question.
- At a Jaccard index of 0.8 and above every pair seen was one question reworded; from 0.78 down pairs begin that differ by the
  one word that matters («при гибели судьи» / «при увечье судьи»). One word of n changed gives (n - 1) / (n + 1): a
  short «Что такое аренда по ГК?» / «Что такое лизинг по ГК?» has 0.67 and stays apart; nine words are needed to reach 0.8.
- Two questions less alike are still one if they have one answer: with answers of four words or more that agree at the
  same threshold, every pair down to 0.5 was a paraphrase, and at 0.44 the first false one came.
So such pairs are kept on one side of a split, which costs nothing. A row is called a duplicate, and may be dropped, only if
its answer agrees as well, digits included; «Да.» and «Нет.» prove nothing, so there the questions must have the same words.
"""
import re
import unicodedata
import zlib
from collections import defaultdict
from typing import NamedTuple

from legalqa.records import question

STEM_LETTERS = 6
FILLER = frozenset(["респуб", "казахс", "қазақс", "рк", "қр"])
ALIKE_IF_SAME_ANSWER = 0.5  # least Jaccard index of two questions that have one answer
TELLING_ANSWER = 4  # different words from which on an answer says something about its question
PERMUTATIONS = 128
MISSED_PAIRS = 0.001  # most of the pairs at the threshold that the bands of MinHash may miss
BUCKET_SIZE = 64  # members of a bucket that later ones are compared with: bounds the time where thousands are alike
MIXER = 0x9E3779B97F4A7C15  # odd: folds the columns of a band into one 64-bit key; a collision costs one comparison

WORD = re.compile(r"\w+")
DIGITS = re.compile(r"\d+")
LATIN_IN_CYRILLIC = re.compile("[a-z][а-яёәғқңөұүһі]|[а-яёәғқңөұүһі][a-z]", re.IGNORECASE)
CYRILLIC = re.compile("[а-яәғқңөұүһі]")
LOOKALIKES = str.maketrans("aeopcxyikhmtb", "аеорсхуікһмтв")  # Latin letters typed for Cyrillic ones («тәртiбiн»)


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


def fingerprint(text):
    stems = {word[:STEM_LETTERS] for word in split_words(text)}
    numbers = tuple(sorted(DIGITS.findall(text)))
    return Fingerprint(frozenset(zlib.crc32(stem.encode()) for stem in stems - FILLER or stems), numbers)


def jaccard(one, other):
    """Jaccard index of two sets; 1 for two empty ones."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if one or other else 1.0


class Comparison:
    """The fingerprints of some records, and which of the records are alike."""

    def __init__(self, records, threshold, advance=lambda steps: None):
        """`advance(n)` is called as work proceeds, len(records) * 2 steps in all."""
        self.threshold = threshold
        self.questions = [fingerprint(question(record)) for record in records]
        self.answers = [fingerprint(record["output"]) for record in records]
        self.pairs = sorted(self._same_questions(advance))

    def _same_questions(self, advance):
        """Pairs (i, j), i < j, of records with the same or nearly the same question."""
        pairs = set(similar_rows(self.questions, self.threshold, advance))
        telling = [index for index, answer in enumerate(self.answers) if len(answer.words) >= TELLING_ANSWER]
        advance(len(self.answers) - len(telling))
        for i, j in similar_rows([self.answers[index] for index in telling], self.threshold, advance):
            i, j = telling[i], telling[j]
            if alike(self.questions[i], self.questions[j], ALIKE_IF_SAME_ANSWER):
                pairs.add((i, j))
        return pairs

    def same_answer(self, i, j):
        """Whether records i and j, whose questions are alike, say the same: one of them is then a duplicate."""
        if not alike(self.answers[i], self.answers[j], self.threshold):
            return False
        if min(len(self.answers[i].words), len(self.answers[j].words)) < TELLING_ANSWER:
            return self.questions[i] == self.questions[j]
        return alike(self.questions[i], self.questions[j], self.threshold)


def alike(one, other, threshold):
    return one.numbers == other.numbers and jaccard(one.words, other.words) >= threshold


def similar_rows(fingerprints, threshold, advance):
    """Yield (i, j), i < j, of fingerprints alike at `threshold`; of many equal ones, each with the first BUCKET_SIZE."""
    rows_of = defaultdict(list)
    for row, mark in enumerate(fingerprints):
        rows_of[mark].append(row)
    advance(len(fingerprints) - len(rows_of))
    for rows in rows_of.values():
        yield from ((i, j) for n, i in enumerate(rows[:BUCKET_SIZE]) for j in rows[n + 1:])
    distinct = list(rows_of)
    for one, other in similar_distinct(distinct, threshold, advance):
        for i in rows_of[distinct[one]][:BUCKET_SIZE]:
            for j in rows_of[distinct[other]][:BUCKET_SIZE]:
                yield min(i, j), max(i, j)


def similar_distinct(fingerprints, threshold, advance):
    """Yield (i, j), i < j, of different fingerprints alike at `threshold`: candidates by MinHash, each verified once."""
    import numpy as np
    from datasketch import MinHash
    # The wider a band of the signature, the fewer false candidates; as wide as the threshold allows without missing pairs.
    width = next(width for width in range(16, 0, -1)
                 if width == 1 or (1 - threshold ** width) ** (PERMUTATIONS // width) <= MISSED_PAIRS)
    signatures = np.empty((len(fingerprints), PERMUTATIONS), np.uint64)
    sets = (mark.words for mark in fingerprints)
    for index, signature in enumerate(MinHash.generator(sets, num_perm=PERMUTATIONS, hashfunc=int)):
        signatures[index] = signature.hashvalues
        advance(1)
    numbers = np.array([zlib.crc32(" ".join(mark.numbers).encode()) for mark in fingerprints], np.uint64)
    weights = np.array([pow(MIXER, power, 2 ** 64) for power in range(1, width + 1)], np.uint64)
    found = set()
    for band in range(PERMUTATIONS // width):
        keys = (signatures[:, band * width:(band + 1) * width] * weights).sum(axis=1) + numbers * np.uint64(MIXER)
        order = np.argsort(keys, kind="stable")
        bounds = np.concatenate(([0], np.flatnonzero(np.diff(keys[order])) + 1, [len(keys)]))
        crowded = np.flatnonzero(np.diff(bounds) > 1)
        for start, end in zip(bounds[crowded], bounds[crowded + 1]):
            rows = order[start:end].tolist()
            for place, i in enumerate(rows[:BUCKET_SIZE]):
                for j in rows[place + 1:]:
                    if (i, j) not in found and alike(fingerprints[i], fingerprints[j], threshold):
                        found.add((i, j))
                        yield i, j


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
