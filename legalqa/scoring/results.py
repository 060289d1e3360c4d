"""The logs of benchmark.py, as it writes them and as plots and report read them."""

from typing import Annotated, NotRequired, TypedDict

from legalqa.scoring.metric_table import METRICS
from legalqa.typed_json import Amount, Count, Leaf, or_none, within

Share = Annotated[float | None, Leaf("a share from 0 to 1, or null", or_none(within(0, 1)))]
Change = Annotated[float | None, Leaf("a difference of shares, or null", or_none(within(-1, 1)))]
Bounds = Annotated[
    list[float] | None,
    Leaf(
        "two numbers or null",
        or_none(lambda pair: isinstance(pair, list) and len(pair) == 2 and all(map(within(-1, 1), pair))),
    ),
]


class GitState(TypedDict):
    commit: str | None
    dirty: bool | None


class RunMeta(TypedDict):
    """Who ran what, on which code: runlog.run_meta()."""

    run: str
    command: str
    git: GitState
    versions: dict[str, str]
    platform: str


class Device(TypedDict):
    type: str
    name: str
    memory_bytes: Amount


# ---- benchmark_<run>.json


class Score(TypedDict):
    """The mean of a metric over the samples where it is defined, a fraction, with its interval."""

    mean: Share
    ci95: Bounds
    num_samples: Count


class Group(TypedDict):
    """Scores of some of the samples, by name of the metric."""

    num_samples: Count
    metrics: dict[str, Score]
    by_named_article: NotRequired[dict[str, "Group"]]  # unnamed, named: whether the question names an article


class Generation(TypedDict):
    total_sec: Amount
    mean_sec_per_sample: Amount
    new_tokens: Count
    tokens_per_second: Amount
    cut_off_rate: Share
    served: NotRequired["ServedGeneration"]


class ServedGeneration(TypedDict):
    """What a server's answers took; None where it does not say. (The seconds of Generation are shares of the
    time in which several were asked at once: they add up to it.)"""

    mean_latency_sec: Amount  # from a question to its answer
    prompt_tokens: Amount
    reasoning_tokens: Amount  # of new_tokens
    reasoning_rate: Share  # answers with reasoning, which is kept apart
    refusal_rate: Share


class Summary(Group):
    by_language: dict[str, Group]
    by_act: NotRequired[dict[str, Group]]
    by_seen_article: NotRequired[
        dict[str, Group]
    ]  # seen, unseen: whether training rows are about the article
    by_article_found: NotRequired[dict[str, Group]]  # found, missed: is the right one among the passages?
    generation: Generation | None  # None for ready answers


class CitationEntry(TypedDict):
    """A reference to a norm; `exists`: whether the act has the article, None where that is not known."""

    act: str | None
    article: str
    text: str
    exists: bool | None
    act_text: NotRequired[str | None]
    paragraph: NotRequired[str | None]
    subparagraph: NotRequired[str | None]


class Citations(TypedDict):
    prediction: list[CitationEntry]
    reference: list[CitationEntry]


class PassageEntry(TypedDict):
    """An article that was before the model."""

    act: str
    article: str


class Sample(TypedDict):
    """One answer with its scores; a score is None where it is undefined."""

    id: str
    language: str
    instruction: str
    input: str | None
    reference: str
    prediction: str
    scores: dict[str, Share]
    citations: Citations
    new_tokens: Amount
    generation_sec: Amount
    cut_off: bool | None
    latency_sec: NotRequired[Amount]  # these five of a server's answer
    prompt_tokens: NotRequired[Amount]
    reasoning: NotRequired[str]
    reasoning_tokens: NotRequired[Amount]
    refused: NotRequired[bool]
    seen_article: NotRequired[object]  # of the data, kept as it came
    source: NotRequired[object]
    passages: NotRequired[list[PassageEntry]]  # nearest first; absent with a closed book


class AdapterFacts(TypedDict):
    path: str
    sha256: str
    run: NotRequired[str | None]
    from_run: NotRequired[str | None]  # of the adapter that DPO went on from


class DecodingFacts(TypedDict):
    temperature: NotRequired[Amount]
    max_new_tokens: NotRequired[Amount]


class ValidationFacts(TypedDict):
    file: str
    sha256: str
    num_rows: Count


class LawFacts(TypedDict):
    """An open book: passages in a prompt, tokens of each at most; its texts; these and questions known."""

    passages: Count
    passage_tokens: Count
    sha256: str
    index_sha256: str


class ServerFacts(TypedDict):
    """Which server answered. `answered_by`: its own names of the model."""

    url: str
    template: str
    concurrency: Count
    answered_by: list[str]


class BenchmarkMeta(RunMeta):
    """Ready answers (kind "predictions") have no adapter, device or decoding; a server has no adapter or
    device."""

    model: str
    kind: str  # base, adapter, dpo, merged, server, predictions
    base_model: str | None
    adapter: AdapterFacts | None
    validation: ValidationFacts
    seed: NotRequired[Count]  # of the intervals
    device: NotRequired[Device | None]
    decoding: NotRequired[DecodingFacts | None]
    batch_size: NotRequired[Amount]
    engine: NotRequired[str | None]
    law: NotRequired[LawFacts | None]  # None with a closed book
    server: NotRequired[ServerFacts]


class BenchmarkLog(TypedDict):
    meta: BenchmarkMeta
    summary: Summary
    samples: list[Sample]


# ---- compare_<run>.json


class ComparedMeta(TypedDict):
    model: str


class ComparedSample(TypedDict):
    id: str
    language: str
    scores: dict[str, Share]


class ComparedLog(TypedDict):
    """As much of a benchmark's log as a comparison takes."""

    meta: ComparedMeta
    samples: list[ComparedSample]


class Difference(TypedDict):
    """Means of two runs over the samples that both have, and of b - a, with its paired interval."""

    a: Share
    b: Share
    difference: Change
    ci95: Bounds
    num_samples: Count


class DifferenceGroup(TypedDict):
    num_samples: Count
    metrics: dict[str, Difference]


class Differences(TypedDict):
    metrics: dict[str, Difference]
    by_language: dict[str, DifferenceGroup]
    by_named_article: NotRequired[dict[str, DifferenceGroup]]  # as in Group
    by_article_found: NotRequired[dict[str, DifferenceGroup]]  # of questions that name no article


class Comparison(Differences):
    num_shared: Count


class CompareMeta(RunMeta):
    a: str
    b: str
    num_shared: Count
    model_a: NotRequired[str]
    model_b: NotRequired[str]


class CompareLog(Differences):
    meta: CompareMeta


# ---- models_<run>.json


class ComparedModel(TypedDict):
    """A result among several, on the questions that all of them answered; citation scores on those of them
    that name no article."""

    label: str  # unique among them
    file: str
    model: str
    kind: str
    base_model: str | None
    sec_per_answer: Amount  # None for ready answers
    scores: dict[str, Score]
    differences: dict[str, Difference] | None  # b: this model's, a: the baseline's; None for the baseline


class Correction(TypedDict):
    """How the intervals of the differences hold together with 95 %: each has this level."""

    method: str
    comparisons: Count
    level: Share


class ModelsMeta(RunMeta):
    num_shared: Count
    num_unnamed: Count  # of them, that name no article
    correction: Correction


class ModelsLog(TypedDict):
    """`models`: the baseline first."""

    meta: ModelsMeta
    models: list[ComparedModel]


# ---- human_<run>.json

Rating = Annotated[float | None, Leaf("a rating, or null", or_none(within(1, 5)))]
RatingBounds = Annotated[
    list[float] | None,
    Leaf(
        "two ratings, their difference, or null",
        or_none(lambda pair: isinstance(pair, list) and len(pair) == 2 and all(map(within(-4, 5), pair))),
    ),
]


class RatingScore(TypedDict):
    """Mean over questions of the mean of the raters, from 1 to 5."""

    mean: Rating
    ci95: RatingBounds
    num_samples: Count


class RatingDifference(TypedDict):
    """As Difference, of ratings."""

    a: Rating
    b: Rating
    difference: Annotated[float | None, Leaf("a difference of ratings, or null", or_none(within(-4, 4)))]
    ci95: RatingBounds
    num_samples: Count


class RatedModel(TypedDict):
    """A model whose answers people rated blind; `differences` as in ComparedModel."""

    label: str
    file: str
    model: str
    scores: dict[str, RatingScore]  # by criterion, and `mean` of the four
    differences: dict[str, RatingDifference] | None


class Agreement(TypedDict):
    """Krippendorff's alpha (ordinal) over the answers that two raters or more have rated; None where it is
    not defined."""

    alpha: Annotated[float | None, Leaf("a number up to 1, or null", or_none(within(-1, 1)))]
    num_answers: Count


class Rater(TypedDict):
    """A filled sheet. `num_rated`: rows with a rating at least."""

    file: str
    num_rated: Count


class HumanMeta(RunMeta):
    sheet_id: str
    num_questions: Count
    num_answers: Count
    correction: Correction


class HumanLog(TypedDict):
    """`models`: the baseline first. `problems`: what in the sheets was not counted, by sheet and row."""

    meta: HumanMeta
    raters: list[Rater]
    problems: list[str]
    agreement: dict[str, Agreement]
    models: list[RatedModel]


def invented_citations(samples: list[Sample]) -> list[tuple[Sample, CitationEntry]]:
    """Every citation in an answer whose article does not exist in its act."""
    return [
        (sample, citation)
        for sample in samples
        for citation in sample["citations"]["prediction"]
        if citation["exists"] is False
    ]


# ---- What counts of a group's scores

UNDEFINED: Score = {"mean": None, "ci95": None, "num_samples": 0}
NO_SAMPLES: Group = {"num_samples": 0, "metrics": dict.fromkeys(METRICS, UNDEFINED)}


def unnamed_of(group: Group) -> Group:
    """The questions that name no article: in the others a model that repeats the question cites rightly."""
    return group.get("by_named_article", {}).get("unnamed", NO_SAMPLES)


def headline_scores(group: Group) -> dict[str, Score]:
    """Over all questions of the group; those of citations over the questions that name no article."""
    unnamed = unnamed_of(group)["metrics"]
    return {
        name: unnamed.get(name, UNDEFINED) if name in METRICS and METRICS[name].group == "citation" else score
        for name, score in group["metrics"].items()
    }
