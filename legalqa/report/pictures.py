"""The list of pictures: the name of each file in plots/, and what draws it from the logs of some runs."""

from collections.abc import Callable

from legalqa.report.benchmark_plots import (
    benchmark_metrics,
    by_language,
    citations,
    generation_time,
    key_info_distribution,
)
from legalqa.report.comparison_plots import model_comparison, quality_speed
from legalqa.report.dpo_plots import dpo
from legalqa.report.logs import RunLogs
from legalqa.report.training_plots import learning_rate, training_loss

TRAINING_PICTURES = {"training_loss": training_loss, "learning_rate": learning_rate}
PICTURES = {
    **TRAINING_PICTURES,
    "benchmark_metrics": benchmark_metrics,
    "key_info_distribution": key_info_distribution,
    "generation_time": generation_time,
    "by_language": by_language,
    "citations": citations,
}
COMPARISON_PICTURES = {"model_comparison": model_comparison, "quality_speed": quality_speed}


def pictures_of(runs: list[RunLogs]) -> dict[str, Callable]:
    """Those that these logs can have: those of DPO and of a comparison of many where such are among them."""
    pictures = dict(PICTURES)
    if any(run.dpo for run in runs):
        pictures["dpo"] = dpo
    if any(run.models for run in runs):
        pictures |= COMPARISON_PICTURES
    return pictures
