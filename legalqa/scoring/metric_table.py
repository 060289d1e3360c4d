"""The metrics: name, group, which way is better, and how they are called in Russian and English."""

from typing import NamedTuple


class Metric(NamedTuple):
    """One metric. `name` is its key in JSON and in README; every score is a fraction from 0 to 1."""

    name: str
    group: str  # published (by the reference run), text, citation, open_book, health
    better: str  # higher, lower
    ru: str
    en: str

    def title(self, language: str) -> str:
        return {"ru": self.ru, "en": self.en}[language]


# fmt: off
METRICS = {metric.name: metric for metric in (
    Metric("token_f1", "published", "higher", "Token F1", "Token F1"),
    Metric("exact_match", "published", "higher", "Точное совпадение", "Exact match"),
    Metric("key_info", "published", "higher", "Ключевые сведения", "Key information"),
    Metric("length_ratio", "published", "higher", "Соотношение длин", "Length ratio"),
    Metric("overall", "published", "higher", "Общая оценка", "Overall"),
    Metric("rouge_l", "text", "higher", "ROUGE-L", "ROUGE-L"),
    Metric("chrf", "text", "higher", "chrF", "chrF"),
    Metric("word_f1", "text", "higher", "F1 по словам", "Word F1"),
    Metric("citation_precision", "citation", "higher", "Точность ссылок", "Citation precision"),
    Metric("citation_recall", "citation", "higher", "Полнота ссылок", "Citation recall"),
    Metric("citation_f1", "citation", "higher", "F1 ссылок", "Citation F1"),
    Metric("citation_exists", "citation", "higher", "Существующие ссылки", "Citations that exist"),
    Metric("has_citation", "citation", "higher", "Ответы со ссылкой", "Answers with a citation"),
    Metric("article_found", "open_book", "higher", "Верная статья среди отрывков", "Right article found"),
    Metric("citation_supported", "open_book", "higher", "Ссылки из отрывков", "Citations from the passages"),
    Metric("cut_off_rate", "health", "lower", "Обрезанные ответы", "Cut-off answers"),
    Metric("empty_rate", "health", "lower", "Пустые ответы", "Empty answers"),
    Metric("think_leak_rate", "health", "lower", "Утечка рассуждений", "Leaked reasoning"),
    Metric("wrong_language_rate", "health", "lower", "Не тот язык", "Wrong language"),
    Metric("repetition_rate", "health", "lower", "Зацикленные ответы", "Repetitive answers"),
)}
# fmt: on


# What a table or a picture of many models has room for.
MAIN_SCORES = ("overall", "word_f1", "chrf", "citation_f1", "citation_exists")


def metric_names(*groups: str) -> tuple[str, ...]:
    """Names of the metrics of these groups, in the table's order."""
    return tuple(name for name, metric in METRICS.items() if metric.group in groups)
