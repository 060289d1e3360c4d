"""The words of the plots and the report in Russian and English."""

from legalqa.errors import UserError

LANGUAGES = ("ru", "en")
LANGUAGE_NAMES = {"ru": {"ru": "русский", "kk": "казахский"}, "en": {"ru": "Russian", "kk": "Kazakh"}}
# fmt: off
PLOT_WORDS = {
    "ru": {
        "step": "Шаг", "epoch": "Эпоха", "loss": "Потери (кросс-энтропия)", "raw": "при обучении",
        "smooth": "сглаженные (окно {})", "smooth_each": "сглаженные", "eval": "на проверочных строках",
        "first": "первое", "last": "последнее", "lowest": "минимум", "peak": "наибольшая",
        "last_rate": "последняя", "at": "{}: {} (шаг {})", "nan": "NaN или ∞: {} (шаги {}–{})",
        "nan_each": "NaN или ∞", "resumed": "продолжено с шага {}", "resumed_each": "продолжение",
        "steps": ("шаг", "шага", "шагов"), "unfinished": "не завершено", "rate": "Скорость обучения",
        "rate_scaled": "Скорость обучения, ×10{}", "score": "Среднее и 95 % ДИ, %",
        "share": "Доля ответов, %", "token_f1": "Token F1 ответа, %",
        "key_info": "Ключевые сведения в ответе, %", "seconds": "Время на ответ, с", "count": "Ответов",
        "mean": "среднее {} с", "median": "медиана {} с", "undefined": "не определено", "means": "Средние",
        "spread": "Распределение Token F1",
        "kinds": ("статьи существуют", "есть выдуманная статья", "нельзя проверить", "без ссылок"),
        "base": "базовая", "training_loss": "Потери при обучении", "learning_rate": "Скорость обучения",
        "benchmark_metrics": "Оценки ответов",
        "key_info_distribution": "Ключевые сведения: распределение ответов",
        "generation_time": "Время генерации ответа", "by_language": "Оценки по языку вопроса",
        "citations": "Ссылки на нормы права в ответах", "batch": "группами по {}",
        "unnamed": "вопросы, в которых статья не названа",
        "citations_of": "ссылки — по вопросам, где статья не названа ({})",
        "model_comparison": "Сравнение моделей", "quality_speed": "Качество и время на ответ",
        "shared": "общих вопросов: {}", "first_models": "первые {} моделей из {}",
        "untimed": "время не измерено: {}",
        "dpo": "DPO: предпочтение верных ответов", "accuracy": "Верный ответ предпочтён, % пар",
        "margin": "Отрыв верного ответа (разность наград)", "held": "отложенные пары",
        "pairs": "пары обучения"},
    "en": {
        "step": "Step", "epoch": "Epoch", "loss": "Loss (cross-entropy)", "raw": "training",
        "smooth": "smoothed (window {})", "smooth_each": "smoothed", "eval": "validation rows",
        "first": "first", "last": "last", "lowest": "lowest", "peak": "highest", "last_rate": "last",
        "at": "{}: {} (step {})", "nan": "NaN or ∞: {} (steps {}–{})", "nan_each": "NaN or ∞",
        "resumed": "resumed from step {}", "resumed_each": "resumed", "steps": ("step", "steps"),
        "unfinished": "not finished", "rate": "Learning rate", "rate_scaled": "Learning rate, ×10{}",
        "score": "Mean and 95 % CI, %", "share": "Share of answers, %",
        "token_f1": "Token F1 of an answer, %", "key_info": "Key information of an answer, %",
        "seconds": "Time per answer, s", "count": "Answers", "mean": "mean {} s", "median": "median {} s",
        "undefined": "undefined", "means": "Means", "spread": "Distribution of token F1",
        "kinds": ("the articles exist", "an article is invented", "cannot be checked", "no citation"),
        "base": "base", "training_loss": "Training loss", "learning_rate": "Learning rate",
        "benchmark_metrics": "Scores of the answers",
        "key_info_distribution": "Key information: distribution of the answers",
        "generation_time": "Generation time of an answer",
        "by_language": "Scores by language of the question", "citations": "Legal citations in the answers",
        "batch": "batches of {}", "unnamed": "questions that name no article",
        "citations_of": "citations: questions that name no article ({})",
        "model_comparison": "Comparison of models", "quality_speed": "Quality and time per answer",
        "shared": "shared questions: {}", "first_models": "the first {} models of {}",
        "untimed": "time not measured: {}",
        "dpo": "DPO: preference for the right answers", "accuracy": "Right answer preferred, % of pairs",
        "margin": "Margin of the right answer (difference of rewards)", "held": "held pairs",
        "pairs": "training pairs"},
}
CRITERIA_NAMES = {
    "ru": {"correctness": "Правильность", "completeness": "Полнота", "citations": "Ссылки",
           "clarity": "Ясность", "mean": "Среднее"},
    "en": {"correctness": "Correctness", "completeness": "Completeness", "citations": "Citations",
           "clarity": "Clarity", "mean": "Mean"},
}
# fmt: on


def checked_language(language: str) -> str:
    """`language`, or a UserError that names those there are."""
    if language not in LANGUAGES:
        raise UserError(f"unknown language '{language}'; known: {', '.join(LANGUAGES)}")
    return language
