"""How numbers and metric names are written in Russian and English: for the plots and the report."""
import math

from legalqa.cli import UserError
from legalqa.report.markdown import ABSENT  # the log has the key, without a value

LANGUAGES = ("ru", "en")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PUBLISHED = ("token_f1", "exact_match", "key_info", "length_ratio", "overall")
TEXT_METRICS = ("rouge_l", "chrf", "word_f1")
CITATION_METRICS = ("citation_precision", "citation_recall", "citation_f1", "citation_exists", "has_citation")
HEALTH_METRICS = ("cut_off_rate", "empty_rate", "think_leak_rate", "wrong_language_rate",
                  "repetition_rate")  # less is better
METRICS = PUBLISHED + TEXT_METRICS + CITATION_METRICS + HEALTH_METRICS
METRIC_NAMES = {
    "ru": dict(zip(METRICS, (
        "Token F1", "Точное совпадение", "Ключевые сведения", "Соотношение длин", "Общая оценка",
        "ROUGE-L", "chrF", "F1 по словам",
        "Точность ссылок", "Полнота ссылок", "F1 ссылок", "Существующие ссылки", "Ответы со ссылкой",
        "Обрезанные ответы", "Пустые ответы", "Утечка рассуждений", "Не тот язык", "Зацикленные ответы"))),
    "en": dict(zip(METRICS, (
        "Token F1", "Exact match", "Key information", "Length ratio", "Overall",
        "ROUGE-L", "chrF", "Word F1",
        "Citation precision", "Citation recall", "Citation F1", "Citations that exist",
        "Answers with a citation",
        "Cut-off answers", "Empty answers", "Leaked reasoning", "Wrong language", "Repetitive answers"))),
}
LANGUAGE_NAMES = {"ru": {"ru": "русский", "kk": "казахский"}, "en": {"ru": "Russian", "kk": "Kazakh"}}
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
        "citations": "Ссылки на нормы права в ответах", "batch": "группами по {}"},
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
        "batch": "batches of {}"},
}
DURATION_UNITS = {"ru": ("ч", "мин", "с"), "en": ("h", "min", "s")}


def number(value, language, decimals=0):
    """1234.5 -> "1 234,5" (ru, no-break space) or "1,234.5" (en); None -> a dash."""
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "−∞" if value < 0 else "∞"
    text = f"{value:,.{decimals}f}".replace("-", "−")
    if not float(f"{value:.{decimals}f}"):
        text = text.lstrip("−")
    return text.translate({ord(","): "\u00a0", ord("."): ","}) if language == "ru" else text


def real(value, language):
    """A setting as people write it: 0.0002 -> "0,0002", 3.0 -> "3"."""
    if value is None or not math.isfinite(value):
        return number(value, language)
    return number(value, language, max(0, min(12, len(f"{value:.12f}".rstrip("0").partition(".")[2]))))


def scientific(value, language):
    """0.0002 -> "2·10⁻⁴": three digits and a power of ten."""
    if not value:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = str(int(exponent)).translate(SUPERSCRIPTS)
    return f"{real(float(mantissa), language)}·10{power}"


def percent(fraction, language, decimals=1):
    """0.2671 -> "26,7 %" (ru) or "26.7%" (en)."""
    if fraction is None or not math.isfinite(fraction):
        return number(fraction, language)
    return number(100 * fraction, language, decimals) + ("\u00a0%" if language == "ru" else "%")


def interval(bounds, language, decimals=1):
    """[0.241, 0.295] -> "[24,1; 29,5]": percent, without the sign; None -> empty."""
    if bounds is None:
        return ""
    low, high = (number(100 * bound, language, decimals) for bound in bounds)
    return f"[{low}{';' if language == 'ru' else ','} {high}]"


def points(fraction, language):
    """A difference of two shares in percentage points, always with its sign: "+4,2"."""
    if fraction is None:
        return ABSENT
    return ("+" if fraction > 0 else "") + number(100 * fraction, language, 1)


def duration(seconds, language):
    """86147 -> "23 ч 55 мин 47 с"; under a minute with one decimal."""
    if seconds is None or not math.isfinite(seconds):
        return number(seconds, language)
    hour, minute, second = DURATION_UNITS[language]
    if seconds < 59.95:
        return f"{number(seconds, language, 1)}\u00a0{second}"
    minutes, rest = divmod(round(seconds), 60)
    parts = [(minutes // 60, hour), (minutes % 60, minute), (rest, second)]
    return " ".join(f"{number(count, language)}\u00a0{unit}" for count,
                    unit in parts[0 if parts[0][0] else 1:])


def gigabytes(size, language):
    """3012345678 -> "3,0 ГБ": units of 10**9 bytes."""
    if size is None:
        return ABSENT
    return number(size / 1e9, language, 1) + ("\u00a0ГБ" if language == "ru" else "\u00a0GB")


def plural(count, *forms):
    """The form that agrees with `count`: two forms are English (step, steps), three Russian (шаг, шага,
    шагов).
    """
    if len(forms) == 2:
        return forms[count != 1]
    if 11 <= count % 100 <= 14:
        return forms[2]
    return forms[0 if count % 10 == 1 else 1 if 2 <= count % 10 <= 4 else 2]


def checked_language(language):
    """`language`, or a UserError that names those there are."""
    if language not in LANGUAGES:
        raise UserError(f"unknown language '{language}'; known: {', '.join(LANGUAGES)}")
    return language
