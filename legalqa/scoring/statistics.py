"""Means that say how sure they are: 95 % intervals, breakdowns, and the paired difference of two runs."""

import math
import warnings
from collections.abc import Callable
from statistics import NormalDist

from legalqa.data.records import user_turn
from legalqa.errors import UserError
from legalqa.law.citations import parse_citations
from legalqa.scoring.metric_table import METRICS, metric_names
from legalqa.scoring.results import (
    Comparison,
    Difference,
    DifferenceGroup,
    Generation,
    Group,
    Sample,
    Score,
    ServedGeneration,
    Summary,
)

RESAMPLES = 2000
ERROR = 0.05  # of a 95 % interval
Z95 = NormalDist().inv_cdf(1 - ERROR / 2)
MIN_FOR_BOOTSTRAP = 10  # a bootstrap of fewer values is much too narrow: no interval rather than a wrong one
MAX_FOR_BCA = 1000  # above it BCa's correction is nothing, its jackknife costs n x n
MIN_SHARED = 10


def mean_ci(values: list[float | None], seed: int = 0) -> Score:
    """{"mean", "ci95": [low, high] or None, "num_samples"} of the values that are not None.

    Only 0s and 1s: Wilson's interval, honest for 0 of n too. Else a seeded bootstrap over samples (scipy's;
    BCa up to MAX_FOR_BCA values, percentile above). None for under 10 values, or if all are equal: nothing to
    resample.
    """
    import numpy

    known = numpy.array([value for value in values if value is not None], dtype=float)
    if not len(known):
        return {"mean": None, "ci95": None, "num_samples": 0}
    return {"mean": float(known.mean()), "ci95": interval_of(known, seed), "num_samples": len(known)}


def interval_of(values, seed):
    """[low, high] around the mean of a numpy vector, or None."""
    import numpy

    if numpy.isin(values, (0.0, 1.0)).all():
        return wilson_interval(int(values.sum()), len(values))
    if len(values) < MIN_FOR_BOOTSTRAP or numpy.ptp(values) == 0:
        return None
    return bootstrap_interval(values, seed)


def wilson_interval(hits: int, size: int) -> list[float]:
    """[low, high] around the share of `hits` (E. B. Wilson, JASA 22, 1927). scipy gives it as a part of a
    test, whose p-value takes most of the time."""
    share, z2 = hits / size, Z95**2
    centre = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = Z95 / (1 + z2 / size) * math.sqrt(share * (1 - share) / size + z2 / (4 * size**2))
    return [centre - half if hits else 0.0, centre + half if hits < size else 1.0]


def bootstrap_interval(values, seed, comparisons=1):
    """[low, high] of scipy's bootstrap of the mean; None where it has none. Of several `comparisons` all
    intervals together hold with 95 % (Bonferroni): each is wider, and takes as many more resamples, so that
    its tails hold as many."""
    import numpy
    from scipy import stats

    method = "BCa" if len(values) <= MAX_FOR_BCA else "percentile"
    batch = max(1, 2**22 // len(values))  # 32 MB at a time
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (values,),
            numpy.mean,
            n_resamples=RESAMPLES * comparisons,
            confidence_level=1 - ERROR / comparisons,
            method=method,
            batch=batch,
            rng=numpy.random.default_rng(seed),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return None if numpy.isnan(low) or numpy.isnan(high) else [low, high]


def paired_difference(
    a: list[float | None], b: list[float | None], seed: int = 0, comparisons: int = 1
) -> Difference:
    """{"a", "b", "difference", "ci95", "num_samples"}: means, and mean of b - a, over pairs in which both are
    defined.

    The interval is a bootstrap over pairs, one of `comparisons` that hold together; None for under 10 pairs,
    or where every pair differs by the same.
    """
    import numpy

    if len(a) != len(b):
        raise ValueError(f"paired_difference needs lists of one length, got {len(a)} and {len(b)}")
    pairs = numpy.array([pair for pair in zip(a, b) if None not in pair], dtype=float).reshape(-1, 2)
    if not len(pairs):
        return {"a": None, "b": None, "difference": None, "ci95": None, "num_samples": 0}
    differences = pairs[:, 1] - pairs[:, 0]
    enough = len(pairs) >= MIN_FOR_BOOTSTRAP and numpy.ptp(differences) > 0
    mean_a, mean_b = pairs.mean(axis=0)
    return {
        "a": float(mean_a),
        "b": float(mean_b),
        "difference": float(differences.mean()),
        "ci95": bootstrap_interval(differences, seed, comparisons) if enough else None,
        "num_samples": len(pairs),
    }


def group_summary(samples: list[Sample], seed: int, names: tuple[str, ...] = tuple(METRICS)) -> Group:
    metrics = {name: mean_ci([sample["scores"].get(name) for sample in samples], seed) for name in names}
    return {"num_samples": len(samples), "metrics": metrics}


def acts_of(sample: Sample) -> set[str]:
    """Acts a sample is about: its `source` where the data has one, else those its reference answer cites."""
    source = sample.get("source")
    if isinstance(source, dict) and source.get("act") and isinstance(source["act"], str):
        return {source["act"]}
    return {citation["act"] for citation in sample["citations"]["reference"] if citation["act"]}


def grouped(samples, keys_of):
    """{key: samples}, largest group first; a sample is in the group of each of its keys."""
    groups = {}
    for sample in samples:
        for key in keys_of(sample):
            groups.setdefault(key, []).append(sample)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def language_of(sample: Sample) -> list[str]:
    return [sample["language"]]


def named_article_of(sample: Sample) -> list[str]:
    """Whether the question itself names an article: then a model that repeats the question cites it."""
    if "instruction" not in sample:  # --compare takes results that have no more than scores
        return []
    asked = user_turn({"instruction": sample["instruction"], "input": sample["input"] or ""})
    return ["named" if parse_citations(asked) else "unnamed"]


def seen_of(sample: Sample) -> list[str]:
    seen = sample.get("seen_article")
    return ["seen" if seen else "unseen"] if isinstance(seen, bool) else []


def article_found_of(sample: Sample) -> list[str]:
    """Whether the right article was among the passages; nothing with a closed book."""
    found = sample["scores"].get("article_found")
    return [] if found is None else ["found" if found else "missed"]


def generation_summary(samples: list[Sample]) -> Generation | None:
    """Speed and cut-offs; None where the answers were not generated here."""
    seconds = [second for sample in samples if (second := sample["generation_sec"]) is not None]
    tokens = [count for sample in samples if (count := sample["new_tokens"]) is not None]
    cut_off = [flag for sample in samples if (flag := sample.get("cut_off")) is not None]
    if not len(seconds) == len(tokens) == len(cut_off) == len(samples):
        return None
    summary: Generation = {
        "total_sec": round(sum(seconds), 2),
        "mean_sec_per_sample": sum(seconds) / len(samples),
        "new_tokens": int(sum(tokens)),
        "tokens_per_second": sum(tokens) / sum(seconds) if sum(seconds) else None,
        "cut_off_rate": sum(cut_off) / len(samples),
    }
    if all("latency_sec" in sample for sample in samples):
        summary["served"] = served_summary(samples)
    return summary


def served_summary(samples: list[Sample]) -> ServedGeneration:
    def total(key: str) -> float | None:
        """None where the server did not say it of every answer."""
        values = [value for sample in samples if (value := sample.get(key)) is not None]
        return sum(values) if len(values) == len(samples) else None

    latency_sec = total("latency_sec")
    return {
        "mean_latency_sec": None if latency_sec is None else latency_sec / len(samples),
        "prompt_tokens": total("prompt_tokens"),
        "reasoning_tokens": total("reasoning_tokens"),
        "reasoning_rate": sum(bool(sample.get("reasoning")) for sample in samples) / len(samples),
        "refusal_rate": sum(bool(sample.get("refused")) for sample in samples) / len(samples),
    }


def breakdown(samples: list[Sample], keys_of: Callable, seed: int) -> dict[str, Group]:
    return {key: group_summary(group, seed) for key, group in grouped(samples, keys_of).items()}


def summarize(samples: list[Sample], seed: int = 0) -> Summary:
    """The `summary` of logs/benchmark_<run>.json."""
    summary: Summary = {
        **group_summary(samples, seed),
        "by_language": breakdown(samples, language_of, seed),
        "by_act": breakdown(samples, acts_of, seed),
        "generation": generation_summary(samples),
    }
    by_seen = breakdown(samples, seen_of, seed)
    if by_seen:
        summary["by_seen_article"] = by_seen
    by_found = breakdown(samples, article_found_of, seed)
    if by_found:
        summary["by_article_found"] = by_found
    add_named_article(summary, samples, seed)
    return summary


def add_named_article(summary: Summary, samples: list[Sample], seed: int) -> None:
    """Add the groups of questions that name an article and that name none; in breakdowns citations alone."""
    summary["by_named_article"] = named_article_groups(samples, seed, tuple(METRICS))
    for groups, keys_of in (
        (summary["by_language"], language_of),
        (summary.get("by_act", {}), acts_of),
        (summary.get("by_seen_article", {}), seen_of),
        (summary.get("by_article_found", {}), article_found_of),
    ):
        of_key = grouped(samples, keys_of)
        for key, group in groups.items():
            citation = metric_names("citation", "open_book")
            group["by_named_article"] = named_article_groups(of_key.get(key, []), seed, citation)


def named_article_groups(samples: list[Sample], seed: int, names: tuple[str, ...]) -> dict[str, Group]:
    groups = grouped(samples, named_article_of)
    return {key: group_summary(group, seed, names) for key, group in groups.items()}


def compare(samples_a: list[Sample], samples_b: list[Sample], seed: int = 0) -> Comparison:
    """What logs/compare_<run>.json says beside its `meta`: b minus a on the ids both have."""
    pairs = shared_pairs(samples_a, samples_b)
    if len(pairs) < MIN_SHARED:
        sizes = f"{len(samples_a)} and {len(samples_b)}"
        raise UserError(
            f"the two results share {len(pairs)} samples (of {sizes}), fewer than {MIN_SHARED}; "
            "score both on the same rows: same --validation-file, --num-samples and --seed"
        )
    comparison: Comparison = {
        "num_shared": len(pairs),
        "metrics": differences(pairs, seed),
        "by_language": difference_groups(pairs, language_of, seed),
        "by_named_article": difference_groups(pairs, named_article_of, seed),
    }
    unnamed = [pair for pair in pairs if named_article_of(pair[1]) == ["unnamed"]]
    by_found = difference_groups(unnamed, article_found_of, seed)
    if by_found:
        comparison["by_article_found"] = by_found
    return comparison


def shared_pairs(samples_a: list[Sample], samples_b: list[Sample]) -> list[tuple[Sample, Sample]]:
    by_id = {sample["id"]: sample for sample in samples_a}
    return [(by_id[sample["id"]], sample) for sample in samples_b if sample["id"] in by_id]


def differences(pairs: list[tuple[Sample, Sample]], seed: int) -> dict[str, Difference]:
    def scores(side, name):
        return [pair[side]["scores"].get(name) for pair in pairs]

    return {name: paired_difference(scores(0, name), scores(1, name), seed) for name in METRICS}


def difference_groups(
    pairs: list[tuple[Sample, Sample]], keys_of: Callable, seed: int
) -> dict[str, DifferenceGroup]:
    """By what is so of either side's sample: one with a closed book does not say what the other's found."""
    return {
        key: {"num_samples": len(group), "metrics": differences(group, seed)}
        for key, group in grouped(pairs, lambda pair: keys_of(pair[1]) or keys_of(pair[0])).items()
    }
