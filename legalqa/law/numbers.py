"""Numbers as legal texts write them: dates, ordinals in words, articles with a suffix, ranges, counts."""

import functools
import re
from collections.abc import Callable, Sequence

from legalqa.law import acts
from legalqa.law.acts import article_exists
from legalqa.law.tokens import DASHES, HYPHENS, Tokens, fold, word_set
from legalqa.law.units import is_unit

MAX_RANGE = 100  # numbers a range is written out to; a longer one gives its two ends
MAX_SUFFIX = 3  # digits of an article's suffix
SUPERSCRIPT_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
SUPERSCRIPTS = str.maketrans(SUPERSCRIPT_DIGITS, "0123456789")


def numbered(text: str, start: int = 1, step: int = 1) -> dict[str, int]:
    """{word, without Kazakh letters: start, start + step, ...}."""
    return {fold(word): start + step * place for place, word in enumerate(text.split())}


MONTHS_RU = numbered("январ феврал март апрел мая июн июл август сентябр октябр ноябр декабр")
MONTHS_KK = numbered("қаңтар ақпан наурыз сәуір мамыр маусым шілде тамыз қыркүйек қазан қараша желтоқсан")
ORDINALS_RU = {  # by stem
    **numbered("перв втор трет четверт пят шест седьм восьм девят десят одиннадцат двенадцат тринадцат"),
    **numbered("четырнадцат пятнадцат шестнадцат семнадцат восемнадцат девятнадцат", 14),
    **numbered("двадцат тридцат сороков пятидесят шестидесят семидесят восьмидесят девяност", 20, 10),
    **numbered("сот двухсот трехсот четырехсот пятисот шестисот семисот восьмисот девятисот", 100, 100),
}
CARDINALS_RU = {
    **numbered("двадцать тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто", 20, 10),
    **numbered("сто двести триста четыреста пятьсот шестьсот семьсот восемьсот девятьсот", 100, 100),
}
ORDINALS_KK = {
    **numbered("бірінші екінші үшінші төртінші бесінші алтыншы жетінші сегізінші тоғызыншы"),
    **numbered(
        "оныншы жиырмасыншы отызыншы қырқыншы елуінші алпысыншы жетпісінші сексенінші тоқсаныншы жүзінші",
        10,
        10,
    ),
}
TENS_KK = numbered("он жиырма отыз қырық елу алпыс жетпіс сексен тоқсан жүз", 10, 10)
UNITS_KK = numbered("бір екі үш төрт бес алты жеті сегіз тоғыз")
ORDINAL_ENDING = re.compile(
    "ый|ой|ий|ая|ья|ое|ье|ого|ьего|ому|ьему|ым|ьим|ом|ьем|ую|ью|ей|ьей|ые|ьи|ых|ьих|ыми|ьими"
)
FEMININE_ORDINAL = re.compile(".*(?:[ая]я|ой|ую|ья|ью|ьей)")
NUMERAL_ENDINGS = word_set("й ой я ая ю ую е го ого му ом ей ші шы ши")  # «28-й», «1-ші»
COUNTED = re.compile(
    "дн(?:я|ей|и|ям)|день|год(?:а|у|ом|ы|ов)?|лет|месяц.*|час(?:а|ов)?|мин(?:ут.*)?|сек(?:унд.*)?"
    "|тенге|тг|мрп|мзп|процент.*|календарн.*|банковск.*|раза?|человек.*|тысяч.*|миллион.*|миллиард.*"
    "|млн|млрд|тыс|руб(?:л.*)?|доллар.*|евро|квадратн.*|гектар.*|км|метр.*|недел.*|сут(?:ок|ки)|жыл.*"
    "|күн(?:і|нен|дік|ге)?|теңге.*|пайыз.*|айлық"
    "|мкрн?|микрорайон.*|пут(?:ь|и|ей)|ложк.*|ложек|стакан.*|шт|штук.*"
)
COUNTED_IN_LIST = re.compile(
    "рабоч.*|лиц[ао]?|экземпляр.*|сотрудник.*|работник.*|жұмыс|рет|адам.*|ай"
    "|айдан|айға|балл.*|ступен.*|категори.*"
)
MONEY = re.compile("тенге|тг|руб.*|доллар.*|евро|теңге.*|₸|[$]|€|тысяч.*|тыс|млн|мрп")


def month_of(word: str, months: dict[str, int]) -> int | None:
    """1 to 12 for a month's name in any case form, typed with or without Kazakh letters."""
    return month_of_folded(fold(word), months is MONTHS_KK) if word else None


@functools.lru_cache(maxsize=65536)
def month_of_folded(word: str, in_kazakh: bool) -> int | None:
    months = MONTHS_KK if in_kazakh else MONTHS_RU
    return next((month for stem, month in months.items() if word.startswith(stem)), None)


def read_year(tokens: Tokens, i: int) -> tuple[str | None, int]:
    """(year, index after it) of a bare year at i, as in «ГК РК 1999», or (None, i)."""
    if re.fullmatch("19[5-9][0-9]|20[0-4][0-9]", tokens.at(i)) and not (
        tokens.at(i + 1) in DASHES or tokens.is_number(i + 1) or tokens.at(i + 1).startswith("ба")
    ):
        return tokens.at(i), skip_year_word(tokens, i + 1)
    return None, i


def read_date(tokens: Tokens, i: int) -> tuple[str | None, int]:
    """(date, index after it) of «от 23 ноября 2015 года», «от 23.11.2015 г.», «1995 года», «2015 жылғы 23
    қарашадағы»: "2015-11-23" or "1995"; (None, i) if none is."""
    given = i
    i += tokens.at(i) == "от"
    if not tokens.is_number(i):
        return None, given
    if len(tokens.at(i)) == 4:
        date, end = read_year_first(tokens, i)
        return (date, end) if date else (None, given)
    if i == given or len(tokens.at(i)) > 2:
        return None, given
    month = month_of(tokens.at(i + 1), MONTHS_RU)
    if month and tokens.is_number(i + 2):
        year, end = tokens.at(i + 2), i + 3
    elif tokens.at(i + 1) == tokens.at(i + 3) == "." and all(map(tokens.is_number, (i + 2, i + 4))):
        month, year, end = int(tokens.at(i + 2)[:4]), tokens.at(i + 4)[:4], i + 5
    else:
        return None, given
    year = year if len(year) == 4 else "20" + year
    return f"{year}-{month:02}-{int(tokens.at(i)):02}", skip_year_word(tokens, end)


def read_year_first(tokens: Tokens, i: int) -> tuple[str | None, int]:
    """(date, index after it) of «1995 года», «1995 жылғы», «2015 жылғы 23 қарашадағы» at i, or (None, i)."""
    year = tokens.at(i)
    if tokens.folded(i + 1) not in ("жылгы", "ж"):
        end = skip_year_word(tokens, i + 1)
        return (year, end) if end > i + 1 else (None, i)
    end = i + 2 + (tokens.at(i + 2) == ".")
    month = month_of(tokens.at(end + 1), MONTHS_KK)
    if month and tokens.is_number(end) and len(tokens.at(end)) <= 2:
        return f"{year}-{month:02}-{int(tokens.at(end)):02}", end + 2
    return year, end


def skip_year_word(tokens: Tokens, i: int) -> int:
    if tokens.at(i) in ("года", "год", "году"):
        return i + 1
    if tokens.at(i) == "г":
        return i + 2 if tokens.at(i + 1) == "." else i + 1
    return i


def is_sum_or_date(tokens: Tokens, i: int) -> bool:
    """Whether the number at i starts «5 000», «1 200 тенге», «12.05.2024» or «10:30»."""
    following = tokens.at(i + 1)
    if following == ":" and tokens.is_tight(i + 1) and tokens.is_tight(i + 2) and tokens.is_number(i + 2):
        return True
    if tokens.is_number(i + 1) and len(following) == 3 and len(tokens.norm[i]) <= 3:
        return following == "000" or MONEY.fullmatch(tokens.at(i + 2)) is not None
    return (
        following == tokens.at(i + 3) == "."
        and all(tokens.is_tight(j) for j in range(i + 1, i + 5))
        and tokens.is_number(i + 2)
        and tokens.is_number(i + 4)
    )


def read_parts(tokens: Tokens, i: int) -> tuple[list[tuple[str, str]], int]:
    """(number parts, index after) of a number such as 28, 65-1, 52-54, 44-1 – 44-3 at i; ([], i) if none is.

    parts: [(digits, sign before)], sign "" for the first, "-" for a tight hyphen, "–" for any other dash.
    """
    if not tokens.is_number(i) or len(tokens.norm[i]) > 4 or tokens.norm[i][0] == "0":
        return [], i
    if is_sum_or_date(tokens, i):
        return [], i
    parts, i = [(tokens.norm[i], "")], i + 1
    while i < tokens.size and len(parts) < 4:
        word = tokens.norm[i]
        if not tokens.gap[i] and len(word) <= MAX_SUFFIX and not word.strip(SUPERSCRIPT_DIGITS):
            parts.append((word.translate(SUPERSCRIPTS), "-"))
            i += 1
            continue
        after = i + 1
        if word == "." == tokens.at(after):  # «10..12»
            after += 1 + (tokens.at(after + 1) == ".")
        elif word not in DASHES and word != "…":
            break
        if not tokens.is_number(after) or len(tokens.norm[after]) > 4:
            break
        tight = word in HYPHENS and not tokens.gap[i] and not tokens.gap[after]
        parts.append((tokens.norm[after], "-" if tight else "–"))
        i = after + 1
    return parts, i


def skip_ordinal_ending(tokens: Tokens, i: int) -> int:
    """Index after «-й», «-ой», «-ші» at i, else i."""
    if tokens.at(i) in HYPHENS and tokens.is_tight(i) and tokens.at(i + 1) in NUMERAL_ENDINGS:
        return i + 2
    return i


@functools.lru_cache(maxsize=65536)
def ordinal_ru(word: str) -> int | None:
    """1 to 900 for a Russian ordinal of one word in any case form, else None."""
    return next(
        (
            value
            for stem, value in ORDINALS_RU.items()
            if word.startswith(stem) and ORDINAL_ENDING.fullmatch(word[len(stem) :])
        ),
        None,
    )


def read_ordinal(tokens: Tokens, i: int) -> tuple[int | None, int]:
    """(value, index after) of an ordinal in words at i: «первой», «сто двадцать первой», «елу екінші», or
    (None, i)."""
    if not tokens.is_word(i):
        return None, i
    value, end = read_compound(tokens, i, CARDINALS_RU, ordinal_ru)
    if not value:
        value, end = read_compound_kk(tokens, i)
    return (value, end) if value else (None, i)


def read_compound(
    tokens: Tokens, i: int, cardinals: dict[str, int], ordinal: Callable[[str], int | None]
) -> tuple[int | None, int]:
    """(value, index after) of an ordinal that cardinals may precede, each larger than what follows it."""
    total, least = 0, 1000
    for j in range(i, i + 3):
        word = tokens.folded(j)
        cardinal = cardinals.get(word)
        if cardinal and cardinal < least:
            total, least = total + cardinal, cardinal
            continue
        value = ordinal(word)
        return (total + value, j + 1) if value and value < least else (None, i)
    return None, i


def read_compound_kk(tokens: Tokens, i: int) -> tuple[int | None, int]:
    """(value, index after) of a Kazakh ordinal: «елу екінші», «екі жүз отызыншы»."""
    hundreds = UNITS_KK.get(tokens.folded(i)) if tokens.folded(i + 1) == "жуз" else None
    if hundreds is None:
        return read_compound(tokens, i, TENS_KK, ORDINALS_KK.get)
    value, end = read_compound(tokens, i + 2, TENS_KK, ORDINALS_KK.get)
    return (100 * hundreds + value, end) if value and value < 100 else (None, i)


def is_counted(tokens: Tokens, i: int, in_list: bool = False) -> bool:
    """Whether the number before token i counts something: «5 лет», «15 календарных дней», «12 января»,
    «10-дневный»."""
    word = tokens.at(i)
    if counts(word, in_list):
        return True
    if word in HYPHENS and tokens.is_tight(i) and tokens.is_tight(i + 1):
        adjective = tokens.is_word(i + 1) and len(tokens.norm[i + 1]) > 4 and not tokens.is_capital(i + 1)
        return adjective and not is_unit(tokens.norm[i + 1])
    if word in (".", ",") and tokens.is_tight(i) and tokens.is_number(i + 1) and tokens.is_tight(i + 1):
        return in_list and word == "."
    return word == "г" and tokens.at(i + 1) == "."


@functools.lru_cache(maxsize=65536)
def counts(word: str, in_list: bool) -> bool:
    """Whether a word after a number says what it counts."""
    return (
        word in ("%", "₸", "$", "€")
        or COUNTED.fullmatch(word) is not None
        or in_list
        and COUNTED_IN_LIST.fullmatch(word) is not None
        or month_of(word, MONTHS_RU) is not None
        or month_of(word, MONTHS_KK) is not None
    )


def spread(first: str, last: str) -> list[str]:
    """Numbers from first to last as strings; the two ends alone where that is no short rising range."""
    if first.isdigit() and last.isdigit() and 0 <= int(last) - int(first) <= MAX_RANGE:
        return [*between(int(first) - 1, int(last) + 1, None)]
    return [first, last]


@functools.lru_cache(maxsize=4096)
def between(low: int, high: int, act: str | None) -> tuple[str, ...]:
    """The numbers above low and below high; those of the act's articles, where it is known."""
    numbers = map(str, range(low + 1, high))
    return tuple(number for number in numbers if not act or article_exists(act, number) is not False)


def write_out(parts: Sequence[tuple[str, str]], plural: bool, act: str | None) -> list[str]:
    """Numbers a written one stands for: [28], 65-1 -> ["65-1"], 52-54 -> ["52", "53", "54"].

    "a-b" is a suffixed article if b is not above a, or if the act has that article (any act, where it is not
    known and the word is singular); else a range. A range is written out in whole numbers, the act's where it
    is known.
    """
    sides = [[parts[0][0]]]
    for digits, sign in parts[1:]:
        if sign == "-":
            sides[-1].append(digits)
        else:
            sides.append([digits])
    if len(sides) == 1:
        numbers = sides[0]
        if len(numbers) == 1:
            return numbers
        if len(numbers) == 2 and is_suffixed(numbers[0], numbers[1], plural, act):
            return ["-".join(numbers)]
        if len(numbers) == 3 and int(numbers[1]) <= int(numbers[0]) < int(numbers[2]):  # 65-1-67
            sides = [numbers[:2], numbers[2:]]
        else:
            sides = [numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]]
    first, last = "-".join(sides[0]), "-".join(sides[-1])
    if len(sides[0]) == 1 and len(sides[-1]) == 1 and int(last) <= int(first):  # 65–1 with a long dash
        return [f"{first}-{last}"]
    if len(sides[0]) == 2 and sides[0][0] == sides[-1][0] and len(sides[-1]) == 2:
        return [f"{sides[0][0]}-{number}" for number in spread(sides[0][1], sides[-1][1])]
    low, high = int(sides[0][0]), int(sides[-1][0])
    inner = between(low, high, act) if 0 < high - low <= MAX_RANGE else ()
    return [first, *inner, last]


def is_suffixed(base: str, suffix: str, plural: bool, act: str | None) -> bool:
    if int(suffix) <= int(base):
        return True
    number = f"{base}-{suffix}"
    if act:
        act = acts.part_of_civil_code(base) if act == acts.CIVIL_CODE else act
        in_force, repealed = acts.articles_of(act)
        if in_force:
            return number in in_force or number in repealed
    return not plural and number in acts.known_numbers()
