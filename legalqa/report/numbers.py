"""Numbers as people write them, in Russian and English."""

import math

from legalqa.report.markdown import ABSENT

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
DURATION_UNITS = {"ru": ("ч", "мин", "с"), "en": ("h", "min", "s")}


def number(value: float | None, language: str, decimals: int = 0) -> str:
    """1234.5 -> "1 234,5" (ru, no-break space) or "1,234.5" (en); None -> a dash."""
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "−∞" if value < 0 else "∞"
    text = f"{value:,.{decimals}f}".replace("-", "−")
    if not float(f"{value:.{decimals}f}"):
        text = text.lstrip("−")
    return text.translate({ord(","): "\u00a0", ord("."): ","}) if language == "ru" else text


def real(value: float | None, language: str) -> str:
    """A setting as people write it: 0.0002 -> "0,0002", 3.0 -> "3"."""
    if value is None or not math.isfinite(value):
        return number(value, language)
    return number(value, language, max(0, min(12, len(f"{value:.12f}".rstrip("0").partition(".")[2]))))


def scientific(value: float, language: str) -> str:
    """0.0002 -> "2·10⁻⁴": three digits and a power of ten."""
    if not value:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = str(int(exponent)).translate(SUPERSCRIPTS)
    return f"{real(float(mantissa), language)}·10{power}"


def percent(fraction: float | None, language: str, decimals: int = 1) -> str:
    """0.2671 -> "26,7 %" (ru) or "26.7%" (en)."""
    if fraction is None or not math.isfinite(fraction):
        return number(fraction, language)
    return number(100 * fraction, language, decimals) + ("\u00a0%" if language == "ru" else "%")


def interval(bounds: list[float] | None, language: str, decimals: int = 1) -> str:
    """[0.241, 0.295] -> "[24,1; 29,5]": percent, without the sign; None -> empty."""
    if bounds is None:
        return ""
    low, high = (number(100 * bound, language, decimals) for bound in bounds)
    return f"[{low}{';' if language == 'ru' else ','} {high}]"


def points(fraction: float | None, language: str) -> str:
    """A difference of two shares in percentage points, always with its sign: "+4,2"."""
    if fraction is None:
        return ABSENT
    return ("+" if fraction > 0 else "") + number(100 * fraction, language, 1)


def duration(seconds: float | None, language: str) -> str:
    """86147 -> "23 ч 55 мин 47 с"; under a minute with one decimal."""
    if seconds is None or not math.isfinite(seconds):
        return number(seconds, language)
    hour, minute, second = DURATION_UNITS[language]
    if seconds < 59.95:
        return f"{number(seconds, language, 1)}\u00a0{second}"
    minutes, rest = divmod(round(seconds), 60)
    parts = [(minutes // 60, hour), (minutes % 60, minute), (rest, second)]
    return " ".join(
        f"{number(count, language)}\u00a0{unit}" for count, unit in parts[0 if parts[0][0] else 1 :]
    )


def gigabytes(size: float | None, language: str) -> str:
    """3012345678 -> "3,0 ГБ": units of 10**9 bytes."""
    if size is None:
        return ABSENT
    return number(size / 1e9, language, 1) + ("\u00a0ГБ" if language == "ru" else "\u00a0GB")


def plural(count: int, *forms: str) -> str:
    """The form that agrees with `count`: two are English (step, steps), three Russian (шаг, шага, шагов)."""
    if len(forms) == 2:
        return forms[count != 1]
    if 11 <= count % 100 <= 14:
        return forms[2]
    return forms[0 if count % 10 == 1 else 1 if 2 <= count % 10 <= 4 else 2]
