"""The list of pictures: the name of each file in plots/, and what draws it from the logs of some runs."""

from legalqa.report.benchmark_plots import (
    benchmark_metrics,
    by_language,
    citations,
    generation_time,
    key_info_distribution,
)
from legalqa.report.comparison_plots import model_comparison, quality_speed
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
# Of a comparison of many, a log of its own.
COMPARISON_PICTURES = {"model_comparison": model_comparison, "quality_speed": quality_speed}
