"""What a question's words are called in the law: terms for everyday words, Russian words for Kazakh ones.

Both by pairs written by hand (everyday_words.json); Kazakh words also by translations learned from the user's
own law, wherever an act is there in both languages.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from legalqa.law.words import stem, words_of

PAIRS_FILE = Path(__file__).with_name("everyday_words.json")
EVERYDAY_WEIGHT = 0.3  # of a law's term beside an everyday word of the question, which weighs 1
HAND_WEIGHT = 0.4  # of a translation from everyday_words.json
ROUNDS = 6  # of expectation and maximisation; the translations hardly change after five
MOST_TRANSLATIONS = 3  # of a word
LEAST_PROBABILITY = 0.1  # of a translation

Weighted = dict[str, float]  # {word in its normal form: weight, 1 for a word of the question itself}
Translations = dict[str, list[tuple[str, float]]]  # {Kazakh stem: [(Russian word, probability), ...]}


class Pairs(NamedTuple):
    """everyday_words.json, ready for use. A table: {stems of the words looked for: what they stand for}."""

    stop_words: frozenset[str]  # of letters and questions in general; they say nothing of the subject
    everyday: dict[str, dict[tuple[str, ...], list[str]]]  # by language
    kazakh_russian: dict[tuple[str, ...], list[str]]


@functools.cache
def load_pairs() -> Pairs:
    data = json.loads(PAIRS_FILE.read_text("utf-8"))

    def table(name: str, language: str) -> dict[tuple[str, ...], list[str]]:
        return {
            tuple(stem(word, language) for word in words_of(key)): words_of(value)
            for key, value in data[name].items()
        }

    stop_words = frozenset(words_of(data["stop_words_ru"] + " " + data["stop_words_kk"]))
    everyday = {"ru": table("everyday_ru", "ru"), "kk": table("everyday_kk", "kk")}
    return Pairs(stop_words, everyday, table("kazakh_russian", "kk"))


def stand_ins(words: list[str], language: str, table: dict[tuple[str, ...], list[str]]) -> list[str]:
    """The words that the table has for any run of `words`."""
    stems = [stem(word, language) for word in words]
    longest = max(map(len, table))
    runs = {
        tuple(stems[start : start + length])
        for start in range(len(stems))
        for length in range(1, longest + 1)
    }
    return [word for run in sorted(runs) for word in table.get(run, ())]


def law_words(question: str, language: str) -> Weighted:
    """The question's words without stop words, and the law's terms for them."""
    pairs, words = load_pairs(), words_of(question)
    weights = dict.fromkeys(stand_ins(words, language, pairs.everyday[language]), EVERYDAY_WEIGHT)
    weights.update(dict.fromkeys((word for word in words if word not in pairs.stop_words), 1.0))
    return weights


def translate(question: str, weights: Weighted, translations: Translations) -> Weighted:
    """Russian words for a Kazakh question and the law's terms in it (`weights`)."""
    russian: Weighted = dict.fromkeys(
        stand_ins(words_of(question), "kk", load_pairs().kazakh_russian), HAND_WEIGHT
    )
    for word, weight in weights.items():
        found = [(word, 1.0)] if word[0].isdigit() else translations.get(stem(word, "kk"), [])
        for translation, probability in found:
            russian[translation] = max(russian.get(translation, 0), weight * probability)
    return russian


# ---------------------------------------------------------------- learned translations


def learn_translations(pairs: Iterable[tuple[str, str]]) -> Translations:
    """Translations of Kazakh stems from (Kazakh, Russian) paragraphs that say the same, by IBM Model 1.

    P(Russian stem | Kazakh stem) starts as how often the two stand in one pair, and is sharpened by letting
    the Kazakh stems of a pair compete for each of its Russian ones.
    """
    kazakh, russian, spelled = {}, {}, {}
    sides = []
    for one, two in pairs:
        left = {kazakh.setdefault(stem(word, "kk"), len(kazakh)) for word in words_of(one)}
        right = set()
        for word in words_of(two):
            number = russian.setdefault(stem(word, "ru"), len(russian))
            spelled.setdefault(number, Counter())[word] += 1
            right.add(number)
        if left and right:
            sides.append((np.array(sorted(left), np.int32), np.array(sorted(right), np.int32)))
    if not sides:
        return {}
    source, target, probability, count = alignment(sides, len(kazakh), len(russian))
    names, likely = list(kazakh), (probability >= LEAST_PROBABILITY) & (count > 1)
    translations: Translations = {}
    for i in np.flatnonzero(likely)[np.lexsort((-probability[likely], source[likely]))]:
        found = translations.setdefault(names[source[i]], [])
        if len(found) < MOST_TRANSLATIONS and not names[source[i]][0].isdigit():
            word = spelled[int(target[i])].most_common(1)[0][0]
            found.append((word, round(float(probability[i]), 3)))
    return {name: found for name, found in translations.items() if found}


def alignment(sides: list[tuple[np.ndarray, np.ndarray]], num_kazakh: int, num_russian: int) -> tuple:
    """Four arrays over the stems that meet: Kazakh, Russian, P(Russian | Kazakh), pairs with both."""
    left = np.concatenate([np.repeat(one, len(two)) for one, two in sides])
    right = np.concatenate([np.tile(two, len(one)) for one, two in sides])
    starts = np.cumsum([0] + [len(two) for _, two in sides])
    place = (
        np.concatenate(  # one number for each Russian stem of each pair: what its Kazakh stems compete for
            [
                np.tile(np.arange(len(two), dtype=np.int32) + start, len(one))
                for (one, two), start in zip(sides, starts)
            ]
        )
    )
    codes, meeting = np.unique(left.astype(np.int64) * num_russian + right, return_inverse=True)
    source, target = np.divmod(codes, num_russian)
    count = np.bincount(meeting)
    probability = count.astype(float)
    for _ in range(ROUNDS):
        share = probability[meeting]
        share /= np.bincount(place, share)[place]
        expected = np.bincount(meeting, share)
        probability = expected / np.bincount(source, expected, num_kazakh)[source]
    return source, target, probability, count
