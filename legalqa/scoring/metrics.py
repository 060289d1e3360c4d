"""What an answer is worth: the formula of every metric in metric_table.py, and an answer's scores.

Scores are fractions from 0 to 1; None means undefined for this sample (and out of the mean). README has the
table of formulas. The published five are as the reference run computed them, weaknesses included, so that
results compare.
"""

import functools
import hashlib
import re
import unicodedata
from collections import Counter

from legalqa.data.open_book import passages_of
from legalqa.data.records import prediction_problem
from legalqa.errors import UserError
from legalqa.law.citations import citation_as_dict, parse_citations
from legalqa.law.words import KAZAKH_LETTERS, detect_language
from legalqa.scoring.citation_scores import score_citations, score_passages
from legalqa.scoring.results import Sample

REQUIRED = ("instruction", "output", "prediction")
# fmt: off
KEY_TERMS = ["статья", "закон", "кодекс", "право", "обязанность", "договор", "срок", "штраф", "суд", "иск",
             "заявление", "документ", "лицо", "гражданин", "организация", "государство", "орган", "решение"]
RUSSIAN_WORDS = frozenset(["и", "в", "на", "с", "по", "для", "что", "или", "от", "из", "к", "при", "за", "о",
                           "это", "как", "его", "если"])  # not Kazakh
# fmt: on
THINK_TAG = re.compile(r"</?think\b", re.IGNORECASE)
STUTTER = re.compile(r"([^\W_]{1,8}?)\1{15,}")  # «аааа», «дадада»: one piece 16 times or more


def sample_id(record: dict) -> str:
    """First 16 hex digits of sha256 over instruction, input and output; `sample_ids` tells repeats apart."""
    text = "\n".join((record["instruction"], record.get("input") or "", record["output"]))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def sample_ids(records: list[dict]) -> list[str]:
    """Ids of the records in order, unique: the k-th repeat of a row gets "-k"."""
    seen, ids = Counter(), []
    for record in records:
        base = sample_id(record)
        ids.append(f"{base}-{seen[base]}" if seen[base] else base)
        seen[base] += 1
    return ids


def words(text: str) -> list[str]:
    """Words for word_f1 and rouge_l: NFC, casefold, every run of anything but letters and digits is a gap."""
    text = unicodedata.normalize("NFC", text).casefold()
    text = re.sub("[\u0300-\u036f\u00ad]", "", text)  # stress marks, soft hyphens
    return re.sub(r"[\W_]+", " ", text).split()


def share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the two sets of lower-case white-space tokens; 0 if either is empty."""
    ours, theirs = set(prediction.lower().split()), set(reference.lower().split())
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0


def exact_match(prediction: str, reference: str) -> float:
    return float(prediction.strip().lower() == reference.strip().lower())


def key_info(prediction: str, reference: str) -> float:
    """Mean of the shares of the reference's digit runs and of its KEY_TERMS that the prediction has too."""
    numbers = set(re.findall(r"\d+", reference))
    found_numbers = numbers.intersection(re.findall(r"\d+", prediction))
    terms = [term for term in KEY_TERMS if term in reference.lower()]
    found_terms = [term for term in terms if term in prediction.lower()]
    return (share(len(found_numbers), len(numbers)) + share(len(found_terms), len(terms))) / 2


def length_ratio(prediction: str, reference: str) -> float:
    """Shorter over longer, in white-space words; 0 if the reference is empty."""
    ours, theirs = len(prediction.split()), len(reference.split())
    if not ours or not theirs:
        return 0.0
    ratio = ours / theirs
    return 1 / ratio if ratio > 1 else ratio  # so are the published values, to the last bit


def word_f1(prediction: str, reference: str) -> float:
    """F1 of the two multisets of `words`; 0 if either is empty."""
    ours, theirs = Counter(words(prediction)), Counter(words(reference))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def common_length(a: list, b: list) -> int:
    """Length of the longest common subsequence of two lists.

    A bit for each item of `a` that is not in it yet (Hyyrö 2004): a hundred times faster than a table, and
    without its memory.
    """
    places = {}
    for place, item in enumerate(a):
        places[item] = places.get(item, 0) | 1 << place
    full = (1 << len(a)) - 1
    left = full
    for item in b:
        hits = left & places.get(item, 0)
        left = (left + hits | left - hits) & full
    return len(a) - left.bit_count()


@functools.cache
def chrf_scorer():
    from sacrebleu.metrics import CHRF

    return CHRF()


def rouge_l(prediction: str, reference: str) -> float:
    """rouge_score's rougeL over `words`; a test compares them.

    (Its own tokenizer deletes all but a-z and 0-9, so it scores Cyrillic text on its digits.)
    """
    ours, theirs = words(prediction), words(reference)
    return 2 * common_length(ours, theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0


def chrf(prediction: str, reference: str) -> float:
    """sacrebleu's sentence chrF (character 1- to 6-grams, beta 2), scaled to 0-1."""
    return min(chrf_scorer().sentence_score(prediction, [reference]).score / 100, 1.0)


def is_wrong_language(prediction: str, language: str) -> bool | None:
    """Whether the answer is in another language than the question; None if it has no letters to tell by.

    Wrong: under half of the letters are Cyrillic; for a Russian question, 5 % or more of them are
    Kazakh-only; for a Kazakh question, under 1 % are, and the answer is long (60 letters) or has a Russian
    function word.
    """
    letters = [letter for letter in prediction.lower() if letter.isalpha()]
    if not letters:
        return None
    kazakh = sum(letter in KAZAKH_LETTERS for letter in letters) / len(letters)
    if sum("Ѐ" <= letter <= "ԯ" for letter in letters) < len(letters) / 2:
        return True
    if language == "ru":
        return kazakh >= 0.05
    return kazakh < 0.01 and (len(letters) >= 60 or not RUSSIAN_WORDS.isdisjoint(words(prediction)))


def is_repetitive(prediction: str) -> bool:
    """Whether the answer goes round in circles: it has 20 words or more and over 30 % of its 4-word runs have
    come before in it, or a piece of up to 8 letters is stuttered 16 times. (People stay under 26 %.)"""
    tokens = words(prediction)
    runs = [tuple(tokens[start : start + 4]) for start in range(len(tokens) - 3)]
    looping = len(tokens) >= 20 and len(set(runs)) < 0.7 * len(runs)
    return looping or STUTTER.search(prediction) is not None


def as_score(flag: bool | None) -> float | None:
    return None if flag is None else float(flag)


def score_sample(record: dict, prediction: str, cut_off: bool | None = None) -> dict:
    """{"language", "scores", "citations"} of one answer, as logs/benchmark_<run>.json keeps them.

    record: {"instruction", "input"?, "output"}; cut_off: whether the answer hit the token limit, None if
    unknown.
    """
    reference, passages = record["output"], passages_of(record)
    language = detect_language(record["instruction"] + "\n" + (record.get("input") or ""))
    cited, expected = parse_citations(prediction), parse_citations(reference)
    scores = {
        "token_f1": token_f1(prediction, reference),
        "exact_match": exact_match(prediction, reference),
        "key_info": key_info(prediction, reference),
        "length_ratio": length_ratio(prediction, reference),
    }
    scores["overall"] = 0.5 * scores["token_f1"] + 0.3 * scores["key_info"] + 0.2 * scores["length_ratio"]
    scores |= {
        "rouge_l": rouge_l(prediction, reference),
        "chrf": chrf(prediction, reference),
        "word_f1": word_f1(prediction, reference),
        **score_citations(cited, expected),
        **score_passages(cited, expected, set(passages.keys) if passages else None),
        "cut_off_rate": as_score(cut_off),
        "empty_rate": as_score(not prediction.strip()),
        "think_leak_rate": as_score(THINK_TAG.search(prediction) is not None),
        "wrong_language_rate": as_score(is_wrong_language(prediction, language)),
        "repetition_rate": as_score(is_repetitive(prediction)),
    }
    citations = {
        "prediction": [citation_as_dict(citation) for citation in cited],
        "reference": [citation_as_dict(citation) for citation in expected],
    }
    return {"language": language, "scores": scores, "citations": citations}


def make_sample(
    record: dict,
    identifier: str,
    prediction: str,
    cut_off: bool | None = None,
    new_tokens: int | None = None,
    generation_sec: float | None = None,
) -> Sample:
    """One entry of `samples` in logs/benchmark_<run>.json."""
    scored = score_sample(record, prediction, cut_off)
    sample: Sample = {
        "id": identifier,
        "language": scored["language"],
        "instruction": record["instruction"],
        "input": record.get("input") or "",
        "reference": record["output"],
        "prediction": prediction,
        "scores": scored["scores"],
        "citations": scored["citations"],
        "new_tokens": new_tokens,
        "generation_sec": generation_sec,
        "cut_off": cut_off,
    }
    if "seen_article" in record:
        sample["seen_article"] = record["seen_article"]
    if "source" in record:
        sample["source"] = record["source"]
    if passages := passages_of(record):
        sample["passages"] = [{"act": act, "article": article} for act, article in passages.keys]
    return sample


def score_predictions(rows: list[dict], source: str = "the predictions") -> list[Sample]:
    """Samples of ready answers: instruction, input, output, prediction; `source` names them in errors."""
    if not rows:
        raise UserError(f"{source}: no rows to score; each needs instruction, input, output and prediction")
    for number, row in enumerate(rows, 1):
        missing = [key for key in REQUIRED if not isinstance(row.get(key), str)]
        if missing:
            raise UserError(
                f"{source}: row {number} has no text in {', '.join(missing)}; each row needs "
                "instruction, input (may be empty), output and prediction"
            )
        if problem := prediction_problem(row):
            raise UserError(f"{source}: row {number}: {problem}")
    generated = ("cut_off", "new_tokens", "generation_sec")
    return [
        make_sample(row, identifier, row["prediction"], **{key: row.get(key) for key in generated})
        for row, identifier in zip(rows, sample_ids(rows))
    ]
