"""What benchmark.py prints: scores and differences as tables, examples, invented citations."""

from config import REFERENCE_RUN
from legalqa.data.records import question
from legalqa.scoring.metric_table import METRICS, metric_names
from legalqa.scoring.results import (
    NO_SAMPLES,
    BenchmarkLog,
    Bounds,
    Comparison,
    Difference,
    Generation,
    Sample,
    Share,
    Summary,
    headline_scores,
    invented_citations,
    unnamed_of,
)

SHOWN_EXAMPLES, SHOWN_ACTS = 5, 5


def score_text(score: Share, sign: str = "") -> str:
    """A fraction in percent, without the sign that the table's title has."""
    return "-" if score is None else f"{100 * score:{sign}.1f}"


def interval_text(ci95: Bounds, sign: str = "") -> str:
    return f"{score_text(ci95[0], sign)} .. {score_text(ci95[1], sign)}" if ci95 else "-"


def make_table(title: str | None, *columns: str, padding: int = 1):
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False, padding=(0, padding))
    for column in columns:
        words = column in ("metric", "group", "")
        # In a narrow terminal a cell goes on in the next line: cut off, 65.3 would be shown as 6.
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    return table


def print_summary(result: BenchmarkLog, console) -> None:
    summary = result["summary"]
    title = f"{result['meta']['model']}: {summary['num_samples']} samples, scores in %"
    table = make_table(title, "metric", "mean", "95 % interval", "n", "ru", "kk", "reference")
    languages = [summary["by_language"].get(language) for language in ("ru", "kk")]
    for name in metric_names("published", "text", "health"):
        entry = summary["metrics"][name]
        table.add_row(
            name,
            score_text(entry["mean"]),
            interval_text(entry["ci95"]),
            str(entry["num_samples"]),
            *(score_text(group and group["metrics"][name]["mean"]) for group in languages),
            score_text(REFERENCE_RUN["benchmark"].get(name)),
        )
    console.print(table)
    print_citations(summary, console)
    print_open_book(summary, console)
    print_groups(summary, console)


def print_citations(summary: Summary, console) -> None:
    """Citation scores of the questions that name no article; beside them those that an echo earns."""
    unnamed, named = unnamed_of(summary), summary.get("by_named_article", {}).get("named", NO_SAMPLES)
    counts = f"{unnamed['num_samples']} questions that name no article, {named['num_samples']} that name one"
    table = make_table(f"citations: {counts}", "metric", "no article", "95 % interval", "n", "named", "n")
    for name in metric_names("citation"):
        entry, echo = unnamed["metrics"][name], named["metrics"][name]
        table.add_row(
            name,
            score_text(entry["mean"]),
            interval_text(entry["ci95"]),
            str(entry["num_samples"]),
            score_text(echo["mean"]),
            str(echo["num_samples"]),
        )
    console.print(table)


def print_open_book(summary: Summary, console) -> None:
    """Whether the search found the right article, and the citation scores where it did and where it did not.
    Of the questions that name no article; nothing with a closed book."""
    groups = summary.get("by_article_found", {})
    if not groups:
        return
    found, missed = (unnamed_of(groups.get(key, NO_SAMPLES)) for key in ("found", "missed"))
    unnamed = unnamed_of(summary)
    title = (
        f"open book: the right article is among the passages for {found['num_samples']} questions, "
        f"missing for {missed['num_samples']}"
    )
    table = make_table(title, "metric", "all", "95 % interval", "n", "found", "missed")
    for name in (*metric_names("open_book"), *metric_names("citation")):
        entry = unnamed["metrics"][name]
        sides = (score_text(group["metrics"][name]["mean"]) for group in (found, missed))
        table.add_row(
            name, score_text(entry["mean"]), interval_text(entry["ci95"]), str(entry["num_samples"]), *sides
        )
    console.print(table)


def print_groups(summary: Summary, console) -> None:
    """Scores by article seen in training, and by act."""
    shown = ("overall", "citation_f1", "citation_exists")
    title = "by article seen in training, and by act (the five most frequent); citations as above"
    table = make_table(title, "group", "n", *shown)
    seen = [(f"{key} article", group) for key, group in summary.get("by_seen_article", {}).items()]
    for key, group in seen + list(summary.get("by_act", {}).items())[:SHOWN_ACTS]:
        scores = headline_scores(group)
        table.add_row(key, str(group["num_samples"]), *(score_text(scores[name]["mean"]) for name in shown))
    console.print(table)


def print_generation(generation: Generation) -> None:
    rate = generation["tokens_per_second"]
    print(
        f"\ngenerated  {generation['new_tokens']:,} tokens in {generation['total_sec']:.0f} s"
        + (f", {rate:.0f} tokens/s" if rate is not None else "")
    )
    served = generation.get("served")
    if served:
        print(
            f"served     {count_text(served['prompt_tokens'])} prompt tokens, "
            f"{served['mean_latency_sec'] or 0:.2f} s from a question to its answer; with reasoning "
            f"{score_text(served['reasoning_rate'])} % ({count_text(served['reasoning_tokens'])} tokens), "
            f"refused {score_text(served['refusal_rate'])} %"
        )


def count_text(count: float | None) -> str:
    return "an unknown number of" if count is None else f"{count:,.0f}"


def print_comparison(comparison: Comparison, model_a: str, model_b: str, console) -> None:
    title = f"B = {model_b}, A = {model_a}: {comparison['num_shared']} shared samples, scores in %"
    groups = comparison.get("by_named_article", {})  # none where the results hold no questions
    names = metric_names("published", "text", "health") if groups else tuple(METRICS)
    print_differences(title, names, comparison["metrics"], console)
    for key, what in (("unnamed", "name no article"), ("named", "name an article")):
        if key in groups:
            group = groups[key]
            title = f"citations, {group['num_samples']} questions that {what}"
            print_differences(title, metric_names("citation"), group["metrics"], console)
    found = comparison.get("by_article_found", {})
    for key, what in (("found", "is among the passages"), ("missed", "is not among the passages")):
        if key in found:
            title = f"citations, {found[key]['num_samples']} of these whose right article {what}"
            print_differences(title, metric_names("citation"), found[key]["metrics"], console)


def print_differences(title: str, names: tuple[str, ...], entries: dict[str, Difference], console) -> None:
    table = make_table(title, "metric", "A", "B", "B - A", "95 % interval", "n", "")
    for name in names:
        entry = entries[name]
        table.add_row(
            name,
            score_text(entry["a"]),
            score_text(entry["b"]),
            score_text(entry["difference"], "+"),
            interval_text(entry["ci95"], "+"),
            str(entry["num_samples"]),
            verdict(name, entry),
        )
    console.print(table)


def verdict(name: str, entry: Difference) -> str:
    return verdict_of(entry["ci95"], METRICS[name].better == "higher")


def verdict_of(ci95: Bounds, higher_is_better: bool) -> str:
    """In a word: `better` or `worse` where the interval is clear of 0."""
    if not ci95:
        return ""
    low, high = ci95
    if low <= 0 <= high:
        return "not clear"
    return "better" if (low > 0) == higher_is_better else "worse"


def print_examples(samples: list[Sample]) -> None:
    ranked = sorted(samples, key=lambda sample: sample["scores"]["overall"] or 0.0, reverse=True)
    for title, chosen in (("best", ranked[:SHOWN_EXAMPLES]), ("worst", ranked[::-1][:SHOWN_EXAMPLES])):
        for sample in chosen:
            print(
                f"\n{title}: overall {score_text(sample['scores']['overall'])} %, {sample['id']}\n"
                f"  question   {question(sample)}\n"
                f"  reference  {sample['reference']}\n"
                f"  answer     {sample['prediction']}"
            )


def print_invented(samples: list[Sample]) -> None:
    invented = invented_citations(samples)
    print(f"\n{len(invented)} cited articles do not exist" + (":" if invented else ""))
    for sample, citation in invented:
        print(f"  {citation['act']} {citation['article']}: «{citation['text']}» in {sample['id']}")
