"""Which rows ask the same thing, and which say the same: found by MinHash, each pair verified exactly.

What "near-duplicate" means was read off the pairs of a real set of 3,009 short Russian and Kazakh questions
(median 10 words):
- Words are compared as sets of their first six letters: Russian and Kazakh inflect at the end («решения» /
  «решений»), and some true pairs differ in word order alone, which word pairs (bigrams) would score 0.5.
- Digits decide: «О чём статья 12 такого-то кодекса?» and «... статья 15 ...» share nearly all words and are
  two questions.
- «Республики Казахстан», «РК», «ҚР» are left out: they come and go between two forms of one question.
- Of the ten pairs with a Jaccard index of 0.8 or more, seven were one question reworded and three overlapped
  for the most part. (Plain words, without these rules, found five of the seven and three false ones.) From
  0.78 down came pairs that differ in the one word that matters, of the kind «пособие при рождении» / «пособие
  при болезни». One word of n changed gives (n - 1) / (n + 1): «Что такое аренда по ГК?» / «Что такое лизинг
  по ГК?» has 0.67 and stays apart; nine words are needed to reach 0.8.
- Two questions less alike are still one if they have one answer: with answers of four words or more that
  agree at the same threshold, every pair down to 0.5 was a paraphrase, and at 0.44 the first false one came.
- A question like more than 20 others is a template with other words filled in: in the real set none was like
  more than one. So such pairs are kept on one side of a split, which costs nothing. A row is called a
  duplicate, and may be dropped, only if its instruction and its answer agree as well, digits included: one
  passage as the input of two questions makes two rows. «Да.» and «Нет.» prove nothing, so there all words
  must agree."""

import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from legalqa.data.records import question
from legalqa.data.text import text_key

STEM_LETTERS = 6
FILLER = frozenset(["респуб", "казахс", "қазақс", "рк", "қр"])
ALIKE_IF_SAME_ANSWER = 0.5  # least Jaccard index of two questions that have one answer
TELLING_ANSWER = 4  # different words from which on an answer says something about its question
PERMUTATIONS = 128
MISSED_PAIRS = 0.001  # most of the pairs at the threshold that the bands of MinHash may miss
MOST_REWORDINGS = 20
# Members of a bucket that later ones are compared with: bounds the time where thousands are alike.
BUCKET_SIZE = 64
# Odd: folds the columns of a band into one 64-bit key; a collision costs one comparison.
MIXER = 0x9E3779B97F4A7C15

DIGITS = re.compile(r"\d+")
Advance = Callable[[int], object]  # told how many more records are done
Pair = tuple[int, int]  # indices, the smaller first


class Fingerprint(NamedTuple):
    """What is compared of a text: hashes of its different words, and all its numbers."""

    words: frozenset
    numbers: tuple


class RecordKey(NamedTuple):
    """The words of a record by its parts: two records are exactly the same if these are."""

    instruction: str
    question: str
    answer: str


def record_key(record: dict) -> RecordKey:
    return RecordKey(*map(text_key, (record["instruction"], question(record), record["output"])))


def fingerprint(key: str) -> Fingerprint:
    """Of a text, by its `text_key`."""
    stems = {word[:STEM_LETTERS] for word in key.split(" ")}
    numbers = tuple(sorted(DIGITS.findall(key)))
    return Fingerprint(frozenset(zlib.crc32(stem.encode()) for stem in stems - FILLER or stems), numbers)


def jaccard(one: frozenset, other: frozenset) -> float:
    """Jaccard index of two sets; 1 for two empty ones."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if one or other else 1.0


def alike(one: Fingerprint, other: Fingerprint, threshold: float) -> bool:
    return one.numbers == other.numbers and jaccard(one.words, other.words) >= threshold


class Comparison:
    """The fingerprints of some records, and which of them say or ask the same."""

    def __init__(self, keys: Sequence[RecordKey], threshold: float):
        self.threshold = threshold
        self.instructions = [fingerprint(key.instruction) for key in keys]
        self.questions = list(map(fingerprint, questions_of(keys)))
        self.answers = [fingerprint(key.answer) for key in keys]
        self._paraphrases: list[Pair] = []

    def duplicates(self, advance: Advance) -> list[Pair]:
        """Sorted pairs of records whose instruction, question and answer agree."""
        same, telling, first = [], [], {}
        for index, (asked, answer) in enumerate(zip(self.questions, self.answers)):
            if len(answer.words) >= TELLING_ANSWER:
                telling.append(index)
            else:
                twin = first.setdefault((self.instructions[index], asked, answer), index)
                same += [(twin, index)] if twin != index else []
        advance(len(self.answers) - len(telling))
        alike_answers = self._pairs_of_like_answers(telling, advance)
        self._paraphrases = same + [
            pair for pair in alike_answers if self._agree(self.questions, pair, ALIKE_IF_SAME_ANSWER)
        ]
        return sorted(
            pair
            for pair in self._paraphrases
            if self._agree(self.questions, pair) and self._agree(self.instructions, pair)
        )

    def same_questions(self, rows: Sequence[int], advance: Advance) -> list[Pair]:
        """Sorted pairs that connect all those of `rows` (increasing) which ask the same; after
        `duplicates`."""
        rows_of = defaultdict(list)
        for index in rows:
            rows_of[self.questions[index]].append(index)
        advance(len(rows) - len(rows_of))
        chosen = set(rows)
        pairs = {(i, j) for i, j in self._paraphrases if i in chosen and j in chosen}
        pairs.update((same[0], index) for same in rows_of.values() for index in same[1:])
        for one, other in similar_pairs(list(rows_of), self.threshold, advance, MOST_REWORDINGS):
            pairs.add(in_order(rows_of[one][0], rows_of[other][0]))
        return sorted(pairs)

    def _agree(self, fingerprints: list[Fingerprint], pair: Pair, threshold: float | None = None) -> bool:
        return alike(fingerprints[pair[0]], fingerprints[pair[1]], threshold or self.threshold)

    def _pairs_of_like_answers(self, telling: list[int], advance: Advance) -> Iterator[Pair]:
        """Pairs of the records `telling`, whose answers say something, by answers that are alike."""
        rows_of = defaultdict(list)
        for index in telling:
            rows_of[self.answers[index]].append(index)
        for rows in rows_of.values():
            yield from crowd_pairs(rows)
        for one, other in similar_pairs(list(rows_of), self.threshold, advance):
            for i in rows_of[one][:BUCKET_SIZE]:
                for j in rows_of[other][:BUCKET_SIZE]:
                    yield in_order(i, j)
        advance(len(telling) - len(rows_of))


def questions_of(keys: Sequence[RecordKey]) -> list[str]:
    """What each record is taken to ask: its input; the instruction where it has none, or where many
    instructions share the input, which then is a passage or a form, no question."""
    instructions = defaultdict(set)
    for key in keys:
        instructions[key.question].add(key.instruction)
    return [
        key.instruction if len(instructions[key.question]) > MOST_REWORDINGS else key.question for key in keys
    ]


def in_order(i: int, j: int) -> Pair:
    return (i, j) if i < j else (j, i)


def crowd_pairs(rows: list[int]) -> Iterator[Pair]:
    """Pairs of `rows`; where they are many, of the first BUCKET_SIZE with all."""
    if len(rows) <= BUCKET_SIZE:
        return combinations(rows, 2)
    return ((i, j) for place, i in enumerate(rows[:BUCKET_SIZE]) for j in rows[place + 1 :])


def similar_pairs(
    fingerprints: list[Fingerprint], threshold: float, advance: Advance, most: int | None = None
) -> list[tuple[Fingerprint, Fingerprint]]:
    """Pairs of different fingerprints alike at `threshold`: candidates by MinHash, each verified.

    With `most`, those of a fingerprint that is like more than so many others are left out.
    """
    found, like, enough = set(), [0] * len(fingerprints), most or len(fingerprints)
    for rows in buckets(fingerprints, threshold, advance):
        for i, j in crowd_pairs(rows):
            if like[i] > enough and like[j] > enough or (i, j) in found:
                continue
            if alike(fingerprints[i], fingerprints[j], threshold):
                found.add((i, j))
                like[i] += 1
                like[j] += 1
    return [(fingerprints[i], fingerprints[j]) for i, j in found if max(like[i], like[j]) <= enough]


def band_width(threshold: float) -> int:
    """Columns of a MinHash band: the wider, the fewer false candidates, so as wide as MISSED_PAIRS allows."""
    for width in range(16, 1, -1):
        if (1 - threshold**width) ** (PERMUTATIONS // width) <= MISSED_PAIRS:
            return width
    return 1


def buckets(fingerprints: list[Fingerprint], threshold: float, advance: Advance) -> Iterator[list[int]]:
    """Of each band of the MinHash signatures, the indices of two or more fingerprints that agree in it and in
    numbers."""
    import numpy as np

    signatures, width = minhash_signatures(fingerprints, advance), band_width(threshold)
    numbers = np.array([zlib.crc32(" ".join(mark.numbers).encode()) for mark in fingerprints], np.uint64)
    weights = np.array([pow(MIXER, power, 2**64) for power in range(1, width + 1)], np.uint64)
    for start in range(0, PERMUTATIONS - width + 1, width):
        band = signatures[:, start : start + width]
        keys = (band * weights).sum(axis=1) + numbers * np.uint64(MIXER)
        order = np.argsort(keys, kind="stable")
        bounds = np.concatenate(([0], np.flatnonzero(np.diff(keys[order])) + 1, [len(order)]))
        for place in np.flatnonzero(np.diff(bounds) > 1):
            yield order[bounds[place] : bounds[place + 1]].tolist()


def minhash_signatures(fingerprints: list[Fingerprint], advance: Advance):
    """One row of PERMUTATIONS hashes for each fingerprint."""
    import numpy as np
    from datasketch import MinHash

    signatures = np.empty((len(fingerprints), PERMUTATIONS), np.uint64)
    sets = (mark.words for mark in fingerprints)
    for index, signature in enumerate(MinHash.generator(sets, num_perm=PERMUTATIONS, hashfunc=int)):
        signatures[index] = signature.hashvalues
        advance(1)
    return signatures


def join_groups(size: int, pairs: Iterable[Pair]) -> list[int]:
    """For each of `size` rows the smallest row it is connected with by `pairs`, directly or through
    others."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(list(pairs), np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(ends.shape[1], bool), ends), shape=(size, size))
    _, labels = connected_components(links, directed=False)
    _, smallest = np.unique(labels, return_index=True)
    return smallest[labels].tolist()
