"""Numbers as legal texts write them: dates, ordinals in words, articles with a suffix, ranges, counts."""

import functools
import re

from legalqa.law import acts
from legalqa.law.acts import article_exists
from legalqa.law.tokens import DASHES, HYPHENS

MAX_RANGE = 100  # numbers a range is written out to; a longer one gives its two ends
SUPERSCRIPT_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
SUPERSCRIPTS = str.maketrans(SUPERSCRIPT_DIGITS, "0123456789")
MONTHS_RU = {
    stem: month
    for month, stem in enumerate(
        [
            "январ",
            "феврал",
            "март",
            "апрел",
            "мая",
            "июн",
            "июл",
            "август",
            "сентябр",
            "октябр",
            "ноябр",
            "декабр",
        ],
        1,
    )
}
MONTHS_KK = {
    stem: month
    for month, stem in enumerate(
        [
            "қаңтар",
            "ақпан",
            "наурыз",
            "сәуір",
            "мамыр",
            "маусым",
            "шілде",
            "тамыз",
            "қыркүйек",
            "қазан",
            "қараша",
            "желтоқсан",
        ],
        1,
    )
}
ORDINALS_RU = {
    stem: value
    for value, stem in enumerate(
        [
            "перв",
            "втор",
            "трет",
            "четверт",
            "пят",
            "шест",
            "седьм",
            "восьм",
            "девят",
            "десят",
            "одиннадцат",
            "двенадцат",
            "тринадцат",
            "четырнадцат",
            "пятнадцат",
            "шестнадцат",
            "семнадцат",
            "восемнадцат",
            "девятнадцат",
            "двадцат",
        ],
        1,
    )
}
ORDINAL_ENDING = re.compile(
    "ый|ой|ий|ая|ья|ое|ье|ого|ьего|ому|ьему|ым|ьим|ом|ьем|ую|ью|ей|ьей|ые|ьи|ых|ьих|ыми|ьими"
)
NUMERAL_ENDINGS = frozenset(
    ["й", "ой", "я", "ая", "ю", "ую", "е", "го", "ого", "му", "ом", "ей", "ші", "шы"]
)  # «28-й», «1-ші»
ORDINALS_KK = {
    word: value
    for value, word in enumerate(
        [
            "бірінші",
            "екінші",
            "үшінші",
            "төртінші",
            "бесінші",
            "алтыншы",
            "жетінші",
            "сегізінші",
            "тоғызыншы",
            "оныншы",
        ],
        1,
    )
}
TENS = {"двадцать": 20, "тридцать": 30, "он": 10, "жиырма": 20}
COUNTED = re.compile(
    "дн(?:я|ей|и|ям)|день|год(?:а|у|ом|ы|ов)?|лет|месяц.*|час(?:а|ов)?|минут.*|тенге|тг|мрп"
    "|мзп|процент.*|календарн.*|банковск.*|раза?|человек.*|тысяч.*|миллион.*|миллиард.*|млн"
    "|тыс|рубл.*|доллар.*|евро|квадратн.*|гектар.*|км|метр.*|недел.*|сут(?:ок|ки)|жыл.*"
    "|күн(?:і|нен|дік|ге)?|теңге.*|пайыз.*|айлық"
)
COUNTED_IN_LIST = re.compile(
    "рабоч.*|лиц[ао]?|экземпляр.*|сотрудник.*|работник.*|жұмыс|рет|адам.*|ай"
    "|айдан|айға|балл.*|ступен.*|категори.*"
)


def month_of(word, months):
    return next((month for stem, month in months.items() if word.startswith(stem)), None) if word else None


def read_date(tokens, i):
    """(date, index after it) of «от 23 ноября 2015 года», «от 23.11.2015 г.», «1995 года», «2015 жылғы 23
    қарашадағы».
    """
    given = i
    i += tokens.at(i) == "от"
    if not tokens.is_number(i):
        return None, given
    day = tokens.at(i)
    if i > given and len(day) <= 2:
        month = month_of(tokens.at(i + 1), MONTHS_RU)
        if month and tokens.is_number(i + 2):
            year, end = tokens.at(i + 2), i + 3
        elif tokens.at(i + 1) == tokens.at(i + 3) == "." and all(map(tokens.is_number, (i + 2, i + 4))):
            month, year, end = int(tokens.at(i + 2)), tokens.at(i + 4), i + 5
        else:
            return None, given
        year = year if len(year) == 4 else "20" + year
        return f"{year}-{month:02}-{int(day):02}", skip_year_word(tokens, end)
    if len(day) == 4:
        if tokens.at(i + 1) in ("жылғы", "ж"):
            dot = tokens.at(i + 2) == "."
            month = month_of(tokens.at(i + 3 + dot), MONTHS_KK)
            if month and tokens.is_number(i + 2 + dot):
                return f"{day}-{month:02}-{int(tokens.at(i + 2 + dot)):02}", i + 4 + dot
            return day, i + 2 + dot
        end = skip_year_word(tokens, i + 1)
        if end > i + 1:
            return day, end
    return None, given


def skip_year_word(tokens, i):
    if tokens.at(i) in ("года", "год", "году"):
        return i + 1
    if tokens.at(i) == "г":
        return i + 2 if tokens.at(i + 1) == "." else i + 1
    return i


def read_parts(tokens, i):
    """(number parts, index after) of a number such as 28, 65-1, 52-54, 44-1 – 44-3 at i; ([], i) if none is.

    parts: [(digits, sign before)], sign "" for the first, "-" for a tight hyphen, "–" for any other dash.
    """
    if not tokens.is_number(i) or len(tokens.norm[i]) > 4 or tokens.norm[i][0] == "0":
        return [], i
    parts, i = [(tokens.norm[i], "")], i + 1
    while i < tokens.size and len(parts) < 4:
        if tokens.is_tight(i) and not tokens.norm[i].strip(SUPERSCRIPT_DIGITS):
            parts.append((tokens.norm[i].translate(SUPERSCRIPTS), "-"))
            i += 1
            continue
        if tokens.norm[i] not in DASHES or not tokens.is_number(i + 1) or len(tokens.norm[i + 1]) > 4:
            break
        tight = tokens.norm[i] in HYPHENS and tokens.is_tight(i) and tokens.is_tight(i + 1)
        parts.append((tokens.norm[i + 1], "-" if tight else "–"))
        i += 2
    return parts, i


def skip_ordinal_ending(tokens, i):
    """Index after «-й», «-ой», «-ші» at i, else i."""
    if tokens.at(i) in HYPHENS and tokens.is_tight(i) and tokens.at(i + 1) in NUMERAL_ENDINGS:
        return i + 2
    return i


@functools.lru_cache(maxsize=65536)
def ordinal(word):
    """1 to 20 for an ordinal of one word in any case form, else None."""
    if word in ORDINALS_KK:
        return ORDINALS_KK[word]
    return next(
        (
            value
            for stem, value in ORDINALS_RU.items()
            if word.startswith(stem) and ORDINAL_ENDING.fullmatch(word[len(stem) :])
        ),
        None,
    )


def read_ordinal(tokens, i):
    """(value, index after) of an ordinal in words at i: «первой», «двадцать первой»; (None, i) if none."""
    word = tokens.at(i)
    if word in TENS:
        value = ordinal(tokens.at(i + 1))
        return (TENS[word] + value, i + 2) if value and value < 10 else (None, i)
    value = ordinal(word)
    return (value, i + 1) if value else (None, i)


def is_counted(tokens, i, in_list=False):
    """Whether the number before token i counts something: «5 лет», «15 календарных дней», «12 января»."""
    word = tokens.at(i)
    if word in ("%", "₸", "$", "€") or COUNTED.fullmatch(word) or in_list and COUNTED_IN_LIST.fullmatch(word):
        return True
    if word in (".", ",") and tokens.is_tight(i) and tokens.is_number(i + 1) and tokens.is_tight(i + 1):
        return in_list and word == "."
    if month_of(word, MONTHS_RU) or month_of(word, MONTHS_KK):
        return True
    return word == "г" and tokens.at(i + 1) == "."


def spread(first, last):
    """Numbers from first to last as strings; the two ends alone where that is no short rising range."""
    if first.isdigit() and last.isdigit() and 0 <= int(last) - int(first) <= MAX_RANGE:
        return [str(number) for number in range(int(first), int(last) + 1)]
    return [first, last]


def write_out(parts, plural, act):
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
        if len(numbers) == 2 and is_suffixed(*numbers, plural, act):
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
    inner = [str(number) for number in range(low + 1, high)] if 0 < high - low <= MAX_RANGE else []
    if act:
        inner = [number for number in inner if article_exists(act, number) is not False]
    return [first, *inner, last]


def is_suffixed(base, suffix, plural, act):
    if int(suffix) <= int(base):
        return True
    number = f"{base}-{suffix}"
    if act:
        act = acts.part_of_civil_code(base) if act == acts.CIVIL_CODE else act
        in_force, repealed = acts.articles_of(act)
        if in_force:
            return number in in_force or number in repealed
    return not plural and number in acts.known_numbers()
