"""Every reference to a norm in a text, Russian or Kazakh, as (act, article, paragraph, sub-paragraph).

    parse_citations("пп. 1 п. 1 ст. 28 Трудового кодекса РК") -> [Citation("labor_code", ..., "28", "1", "1")]

How: the text is cut into words, numbers and signs once. One pass finds the acts that are named
(act_names.py), a second the articles with their parts, a third gives each article its act: the one beside it,
else that of the list it stands in, else the last one of its sentence. Every look around is bounded, so time
grows with the length of the text and no input makes it hang.
"""

import functools
import re
from bisect import bisect_left
from itertools import islice, product
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.acts import act_title, article_exists  # noqa: F401 (act_title is part of this module's API)
from legalqa.law.mentions import (
    AND_KK,
    AND_RU,
    ARTICLE_KK,
    ARTICLE_RU,
    CLOSING_QUOTES,
    DASHES,
    HYPHENS,
    MAX_LOOK,
    MONTHS_KK,
    MONTHS_RU,
    PART_RU,
    PLAIN_RU,
    QUOTES,
    Tokens,
    find_mentions,
    month_of,
)

MAX_ARTICLE = 1999  # a higher number is a year or a sum
MAX_RANGE = 100  # numbers a range is written out to; a longer one gives its two ends
MAX_CITATIONS = 20_000  # of one text; after them ranges are not written out, so memory stays bounded
MAX_LIST = 150  # numbers in one list
MAX_CARRY = 40  # tokens over which an act named before still holds in its sentence
SUPERSCRIPT_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
SUPERSCRIPTS = str.maketrans(SUPERSCRIPT_DIGITS, "0123456789")
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
PART_KK = re.compile("(?:(тармақша)|(тармақ|тармағ)|(бөлік|бөліг)|(абзац))")
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
LINKS = DASHES | frozenset(
    [
        "и",
        "или",
        "либо",
        "а",
        "также",
        "с",
        "со",
        "в",
        "во",
        "на",
        "по",
        "к",
        "ко",
        "из",
        "от",
        "о",
        "об",
        "для",
        "при",
        "положениям",
        "положениями",
        "положениях",
        "положений",
        "положения",
        "требованиям",
        "требованиями",
        "требованиях",
        "требований",
        "требования",
        "нормам",
        "нормами",
        "нормах",
        "норм",
        "нормы",
        ",",
        "(",
        ")",
        "және",
        "немесе",
        "мен",
        "пен",
        "бен",
        "сондай",
        "ақ",
    ]
)
BEFORE = frozenset([",", ":", "(", "по", "согласно", "в", "ст", "сәйкес", "бойынша"]) | DASHES
COUNTRY_RU, COUNTRY_KK = ("республики", "казахстан"), ("қазақстан", "республикасы")


class Citation(NamedTuple):
    """One reference. act: id of acts.json or None; act_text: the act as written, None where none is named."""

    act: str | None
    act_text: str | None
    article: str
    paragraph: str | None
    subparagraph: str | None
    text: str
    start: int
    end: int


class Group(NamedTuple):
    """One list of articles. entries: [(number parts, chains)]; chain: [(kind, values)], outermost first."""

    first: int
    last: int
    language: str
    plural: bool
    entries: list


# --------------------------------------------------------------------------------------- articles and parts


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


def part_at(tokens, i):
    """(kind, plural, index after) of a Russian word for a part: "пп", "п", "ч", "абз"; "?" for «пп.»."""
    word = tokens.at(i)
    if word in ("п", "пп", "ч", "подп", "абз", "пункт"):
        if (
            word == "п"
            and tokens.at(i + 1) in (".", "/")
            and tokens.at(i + 2) == "п"
            and (tokens.at(i + 1) == "/" or tokens.at(i + 3) in (".", "") or tokens.is_number(i + 3))
        ):
            return "?", True, i + 4 if tokens.at(i + 3) == "." else i + 3
        if word == "п" and tokens.at(i + 1) == "п" and not tokens.is_number(i + 1):
            return "?", True, i + 2
        if word == "ч" and tokens.at(i + 1) == "." and tokens.at(i + 2) == "ч":
            return "ч", True, i + 4 if tokens.at(i + 3) == "." else i + 3
        kind = {"пп": "?", "подп": "пп", "пункт": "п"}.get(word, word)
        return kind, word == "пп", i + 2 if tokens.at(i + 1) == "." else i + 1
    match = PART_RU.fullmatch(word)
    if not match:
        return None, False, i
    kind = "пп" if match[1] else "п" if match[3] else "ч" if match[5] else "абз"
    ending = next(match[group] for group in (2, 4, 6, 8) if match[group - 1]) or ""
    return kind, ending in ("ы", "ов", "ам", "ами", "ах", "ям", "ями", "ях", "ев"), i + 1


def read_values(tokens, i, plural):
    """(values, index after, bracketed) of the numbers of a part: «1 и 2», «1) - 4)», «первой», «а)»."""
    values, bracketed, end = [], False, i
    while len(values) < MAX_LIST:
        item, after, closed = read_value(tokens, i, plural)
        if not item or values and is_counted(tokens, after, True):
            break
        if tokens.at(after) in DASHES and closed:  # «1) - 12)»
            upper, later, _ = read_value(tokens, after + 1, plural)
            if upper:
                item, after = spread(item[0], upper[-1]), later
        values += item
        bracketed = bracketed or closed
        end = after
        i = next_in_list(tokens, after, AND_RU)
        if i == after:
            break
    return values, end, bracketed


def read_value(tokens, i, plural):
    """([values], index after, whether a bracket closed it) of one number, ordinal or letter at i."""
    parts, after = read_parts(tokens, i)
    if parts:
        after = skip_ordinal_ending(tokens, after)
        closed = tokens.at(after) == ")" and not tokens.gap[after]
        return write_out(parts, plural, None), after + closed, closed
    value, after = read_ordinal(tokens, i)
    if value:
        return [str(value)], after, False
    if tokens.at(i) in QUOTES and is_letter(tokens, i + 1) and tokens.at(i + 2) in CLOSING_QUOTES:
        return [tokens.norm[i + 1]], i + 3, False
    if is_letter(tokens, i) and tokens.at(i + 1) == ")":
        return [tokens.norm[i]], i + 2, True
    return [], i, False


def is_letter(tokens, i):
    return tokens.is_word(i) and len(tokens.norm[i]) == 1


def next_in_list(tokens, i, conjunctions):
    """Index after «,» «и» «а также» at i, or i if no list goes on here."""
    j = i
    if tokens.at(j) == "," and tokens.gap[j] != "\n":
        j += 1
    if tokens.at(j) in conjunctions:
        return j + 1
    if tokens.at(j) == "а" and tokens.at(j + 1) == "также":
        return j + 2
    if tokens.at(j) == "сондай" and tokens.at(j + 2) == "ақ":
        return j + 3
    return j


def read_part(tokens, i):
    """(kind, values, index after) of a Russian part and its number: «пункта 1», «второй части»; or None."""
    kind, plural, after = part_at(tokens, i)
    if kind:
        after += tokens.at(after) == "№"
        values, end, bracketed = read_values(tokens, after, plural)
        if not values:
            return None
        if kind == "?":
            kind = "пп" if bracketed or part_at(tokens, end)[0] == "п" or len(values) == 1 else "п"
        return kind, values, end
    value, after = read_ordinal(tokens, i)
    if not value and tokens.is_number(i):
        parts, after = read_parts(tokens, i)
        ended = skip_ordinal_ending(tokens, after)
        value = parts[0][0] if len(parts) == 1 and (ended > after or not tokens.gap[i] == "\n") else None
        after = ended
    if value and PART_RU.fullmatch(tokens.at(after)):
        kind, _, end = part_at(tokens, after)
        if not tokens.is_number(end) and not read_ordinal(tokens, end)[0]:
            return kind, [str(value)], end
    return None


def read_part_list(tokens, i):
    """([(kind, values, joined)], index after) of the parts from i on; joined: no «,» or «и» before it."""
    found, end, joined = [], i, True
    while len(found) < MAX_LIST:
        part = read_part(tokens, i)
        if not part:
            break
        found.append((part[0], part[1], joined))
        end = part[2]
        i = next_in_list(tokens, end, AND_RU)
        if tokens.at(i) in ("в", "с", "на", "по") and i > end:
            i += 1
        joined = i == end
    return found, end


RANK = {"абз": 0, "пп": 1, "тармақша": 1, "п": 2, "тармақ": 2, "ч": 3, "бөлік": 3}


def chains_inward(found):
    """Chains of parts written smallest first («подпункте 1) пункта 1 и пункте 3»), turned outermost first."""
    chains = []
    for kind, values, joined in found:
        if chains and joined:
            chains[-1].insert(0, (kind, values))
        else:
            chains.append([(kind, values)])
    for i in range(len(chains) - 2, -1, -1):  # «подпункт 1), подпункт 2) пункта 3»: both are of paragraph 3
        outer = chains[i + 1][0]
        if RANK[chains[i][0][0]] <= 1 < RANK[outer[0]]:
            chains[i].insert(0, outer)
    return chains


def chains_outward(found):
    """Chains of parts written largest first («пункт 1, подпункт 2», «1-тармағының 1) тармақшасы»)."""
    chains = []
    for kind, values, joined in found:
        above = chains[-1] if chains else []
        if above and not joined:
            above = [part for part in above if RANK[part[0]] > RANK[kind]]
        if chains and (joined or len(above) == len(chains[-1])):
            chains[-1] = [*chains[-1], (kind, values)]
        else:
            chains.append([*above, (kind, values)])
    return chains


def chains_after(found):
    """Chains of Russian parts that follow their article, in whichever order they are written."""
    rising = len(found) > 1 and found[1][2] and RANK[found[1][0]] > RANK[found[0][0]]
    return chains_inward(found) if rising else chains_outward(found)


def is_gazette(tokens, i):
    """Whether «ст.» at i is of an official gazette («2014 г., № 1, ст. 6»), not of an act."""
    for j in range(i - 1, max(-1, i - MAX_LOOK), -1):
        if tokens.norm[j] == "№":
            return tokens.at(j - 1) in (",", ";", "г", ".", "года", "рк", "казахстан", "(")
        if not (tokens.is_number(j) or re.fullmatch("[ivxіх]+|[-,–]", tokens.norm[j])):
            return False
    return False


def read_articles_ru(tokens, i, mention_starts):
    """Group of the Russian list of articles whose unit word is token i, or None."""
    word, plural = tokens.norm[i], ARTICLE_RU[tokens.norm[i]]
    if word == "статей" and tokens.is_number(i - 1):  # «10 статей 25 авторов»
        return None
    after = i + 1
    if word == "ст":
        if is_gazette(tokens, i):
            return None
        after += tokens.at(after) == "."
        if tokens.at(after) == "ст" and not tokens.gap[after] == "\n":
            plural, after = True, after + 1
            after += tokens.at(after) == "."
    after += tokens.at(after) == ":"
    after += tokens.at(after) == "№"
    entries, end, j = [], after, after
    while len(entries) < MAX_LIST:
        parts, after = read_parts(tokens, j)
        if not parts or int(parts[0][0]) > MAX_ARTICLE or is_counted(tokens, after, bool(entries)):
            break
        if entries and not continues(tokens, after, plural, mention_starts):
            break
        after = skip_ordinal_ending(tokens, after)
        if tokens.at(after) == "." and tokens.is_number(after + 1) and tokens.is_tight(after + 1):
            after += 2  # «ст. 28.1»: no such numbers in Kazakhstan, and no telling what is meant
        chains = []
        if tokens.at(after) == "(":
            found, close = read_part_list(tokens, after + 1)
            if found and tokens.at(close) == ")":
                chains, after = chains_after(found), close + 1
        entries.append((parts, chains))
        end = after
        j = next_in_list(tokens, after, AND_RU)
        if j == after:
            break
    return Group(i, end, "ru", plural, entries) if entries else None


def continues(tokens, i, plural, mention_starts):
    """Whether the number that ends before i is one more article, not the number of an item or a count."""
    word = tokens.at(i)
    if word == ")" and not tokens.depth[i - 1]:
        return False
    if plural or not tokens.is_word(i) or i in mention_starts:
        return True
    return (
        word in AND_RU
        or word in ("рк", "п", "ч", "пп")
        or word in ARTICLE_RU
        or PART_RU.fullmatch(word) is not None
    )


def read_number_first(tokens, i, mention_starts):
    """Group of «28-й статье», «28 статьи ТК» at number i, or None; «28 статей» is a count."""
    parts, after = read_parts(tokens, i)
    if not parts or len(parts) > 2 or int(parts[0][0]) > MAX_ARTICLE:
        return None
    ended = skip_ordinal_ending(tokens, after)
    word = tokens.at(ended)
    if word == "ст" or ARTICLE_RU.get(word, True) or read_parts(tokens, ended + 1)[0]:
        return None
    if ended > after or word in ("статье", "статью", "статьей") or ended + 1 in mention_starts:
        return Group(i, ended + 1, "ru", False, [(parts, [])])
    return None


def read_numbers_kk(tokens, i):
    """(kind, [number parts], plural, last joined by a word, index after) of a Kazakh unit and its numbers at
    i («71, 72 және 73-баптарының», «1) және 2) тармақшалары», «бірінші бөлігі»); kind None if none is."""
    items, closed, by_word = [], False, False
    while len(items) < MAX_LIST:
        parts, after = read_parts(tokens, i)
        if not parts:
            value, after = read_ordinal(tokens, i)
            parts = [(str(value), "")] if value else []
        if not parts:
            break
        if tokens.at(after) == ")" and not tokens.gap[after]:
            closed, after = True, after + 1
            if tokens.at(after) in DASHES and tokens.is_number(after + 1) and tokens.at(after + 2) == ")":
                parts, after = [*parts, (tokens.norm[after + 1], "–")], after + 3
        items.append(parts)
        unit = after + 1 if tokens.at(after) in HYPHENS and tokens.is_word(after + 1) else after
        word = tokens.at(unit)
        if ARTICLE_KK.fullmatch(word):
            return "бап", items, word.startswith("баптар"), by_word, unit + 1
        match = PART_KK.match(word)
        if match:
            kind = "тармақша" if match[1] else "тармақ" if match[2] else "бөлік" if match[3] else "абз"
            return kind, items, "лар" in word or "тер" in word, by_word, unit + 1
        i = next_in_list(tokens, after, AND_KK)
        if i == after:
            return None, [], False, False, max(after, 1)
        by_word = tokens.norm[i - 1] != ","
    return None, [], False, False, i


def read_articles_kk(tokens, i, of_act):
    """(Group or None, index to go on from) of the Kazakh list of articles that starts at i, and its parts.

    of_act: an act stands right before it, so that «52, 53-бабы» is a list though the word is singular."""
    kind, items, plural, by_word, end = read_numbers_kk(tokens, i)
    if kind != "бап":
        return None, end
    if not (plural or by_word or of_act):
        first = i + sum(len(parts) * 2 for parts in items[:-1])  # each number, its hyphens and its comma
        items, i = items[-1:], first
    items = [parts for parts in items if int(parts[0][0]) <= MAX_ARTICLE]
    found, j = [], end
    while len(found) < MAX_LIST and items:
        joined = tokens.is_number(j) or read_ordinal(tokens, j)[0] is not None
        start = j if joined else next_in_list(tokens, j, AND_KK)
        start += not joined and tokens.at(start) == "("
        kind, values, many, _, after = read_numbers_kk(tokens, start)
        if kind in (None, "бап"):
            break
        many = many or len(values) > 1
        found.append((kind, [value for parts in values for value in write_out(parts, many, None)], joined))
        end = j = after
    if not items:
        return None, end
    entries = [(parts, []) for parts in items]
    entries[-1] = (items[-1], chains_outward(found))
    return Group(i, end, "kk", plural, entries), end


def find_groups(tokens, mentions):
    """The lists of articles, in order, each with the parts that belong to it."""
    starts, ends = {mention.first: mention for mention in mentions}, {mention.last for mention in mentions}
    groups, i = [], 0
    pending, pending_first = None, 0  # parts that wait for their article
    before_end = -1  # where the last group, or the act beside it, ended
    while i < tokens.size:
        if i in starts:
            attached = before_end >= 0 and gap_is(tokens, before_end, i, ())
            before_end = max(starts[i].last, i + 1) if attached else -1
            i, pending = max(starts[i].last, i + 1), None
            continue
        group = None
        if tokens.kind[i] == "w" and tokens.norm[i] in ARTICLE_RU:
            group = read_articles_ru(tokens, i, starts)
        elif tokens.kind[i] == "n" or tokens.norm[i] in ORDINALS_KK:
            tail = tokens.at(i - 1) in DASHES and tokens.is_number(i - 2)  # the 54 of 52-54
            group, after = (None, i) if tail else read_articles_kk(tokens, i, i in ends)
            group = group or read_number_first(tokens, i, starts)
            if not group and after > i + MAX_LOOK:  # a long list of numbers of nothing: read it once
                i, pending = after, None
                continue
        if group:
            if pending and gap_is(tokens, pending[1], i, (",", ".")):
                group = with_chains(group, chains_inward(pending[0]), pending_first)
            groups.append(group)
            i, pending, before_end = group.last, None, group.last
            continue
        found, after = read_part_list(tokens, i) if tokens.kind[i] != "s" else ([], i)
        if not found:
            i += 1
            continue
        follows = groups and before_end >= 0 and gap_is(tokens, before_end, i, (",", "(", ":"), DASHES)
        joined = tokens.at(after) in ARTICLE_RU or read_number_first(tokens, after, starts)
        if follows and not groups[-1].entries[-1][1] and not joined:
            last = after + (tokens.at(after) == ")" and tokens.at(i - 1) == "(")
            beside = before_end == groups[-1].last  # else its act stands between them
            before = groups.pop()
            groups.append(with_chains(before, chains_after(found), before.first, last if beside else None))
            before_end, pending = last, None
        elif joined or tokens.at(after) in (",", ".") and tokens.at(after + 1) in ARTICLE_RU:
            pending, pending_first = (found, after), i
        i = after
    return groups


def gap_is(tokens, first, last, allowed, more=()):
    """Whether there are two tokens at most from first to last, all `allowed`, in one sentence."""
    if not 0 <= last - first <= 2:
        return False
    if last < tokens.size and tokens.sentence[max(0, first - 1)] != tokens.sentence[last]:
        return False
    return all(tokens.norm[j] in allowed or tokens.norm[j] in more for j in range(first, last))


def with_chains(group, chains, first, last=None):
    """The group with `chains` on its first article if they stand before it, on its last if they follow."""
    entries = list(group.entries)
    place = 0 if first < group.first else -1
    parts, own = entries[place]
    entries[place] = (parts, own + chains)
    return group._replace(first=first, last=last or group.last, entries=entries)


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


# ----------------------------------------------------------------------------------------- which act it is of


class Acts:
    """What the text has said of acts so far: last of each kind, aliases, the one that holds here."""

    def __init__(self, tokens, context_act):
        self.tokens, self.context_act = tokens, context_act and acts.cite_as(context_act)
        self.last, self.alias, self.seen = {}, {}, {}
        self.current, self.place = (None, None), None

    def text_of(self, mention):
        return self.tokens.text[self.tokens.start[mention.first] : self.tokens.end[mention.last - 1]]

    def resolve(self, mention, language):
        """(act id, act text) of a mention; (None, text) if it names no act that we know."""
        text = self.text_of(mention)
        if mention.state == "known":
            if isinstance(mention.act, dict):
                return mention.act[language] or mention.act["ru" if language == "kk" else "kk"], text
            return mention.act, text
        if mention.state == "this":
            return self.context_act, text
        named = None
        if mention.state == "same":
            named = self.last.get(mention.kind)
        elif mention.state == "bare":
            only = len(self.seen.get(mention.kind, ())) == 1
            named = self.alias.get(mention.kind) or (self.last[mention.kind] if only else None)
        return (named[0], text if named[0] else named[1]) if named else (None, text)

    def note(self, mention, resolved):
        """Remember a mention for what comes after it."""
        if mention.state in ("known", "unknown") and mention.kind != "other":
            self.last[mention.kind] = resolved
            self.seen.setdefault(mention.kind, set()).add(resolved[0] or act_key(resolved[1]))
            if mention.alias:
                self.alias[mention.alias] = resolved
        if mention.strong or mention.state in ("bare", "same", "this") and mention.kind != "other":
            self.current, self.place = resolved, mention.last

    def carried_to(self, group):
        """The act that a group without one takes over from what stands before it in its sentence, or None."""
        if (
            self.place is None
            or group.first - self.place > MAX_CARRY
            or (self.tokens.sentence[self.place - 1] != self.tokens.sentence[group.first])
        ):
            return None
        if group.first - self.place > 3 and ";" in self.tokens.norm[self.place : group.first]:
            return None
        return self.current


def beside_after(tokens, group, mention):
    """Whether `mention` follows `group` as its act: nothing, a bracket or a quoted title is between them."""
    i, steps = group.last, 0
    while i < mention.first and steps < 3:
        close = tokens.closing(i) if tokens.norm[i] == "(" or tokens.norm[i] in QUOTES else None
        if close:
            i = close + 1
        elif PLAIN_RU.fullmatch(tokens.norm[i]) or tokens.norm[i] in DASHES:
            i += 1
        else:
            return False
        steps += 1
    return i == mention.first and tokens.sentence[group.last - 1] == tokens.sentence[mention.first]


def linked(tokens, group, following):
    """Whether only «,», «и», «а также» and the like stand between two groups."""
    j, steps = group.last, 0
    while j < following.first and steps < 6:
        close = tokens.closing(j) if tokens.norm[j] == "(" else None
        if not close and tokens.norm[j] not in LINKS:
            return False
        j, steps = (close or j) + 1, steps + 1
    return j == following.first and tokens.sentence[group.last - 1] == tokens.sentence[following.first]


def assign_acts(tokens, mentions, groups, context_act):
    """[(group, act id, act text, start, end of the whole reference)]; articles of contracts are left out."""
    firsts = [mention.first for mention in mentions]
    after = [own_mention(tokens, group, mentions, firsts) for group in groups]
    for i in range(len(groups) - 2, -1, -1):  # «статьи 8, пункта 2 статьи 15 и статьи 16 ТК РК»
        group, following = groups[i : i + 2]
        if after[i] is None and group.language == "ru" and after[i + 1] and linked(tokens, group, following):
            after[i] = after[i + 1]
    state, m, result = Acts(tokens, context_act), 0, []
    for group, mention in zip(groups, after):
        while m < len(mentions) and mentions[m].first < group.first:
            named = mentions[m].state in ("known", "unknown")
            near = not mentions[m].strong and named and near_before(tokens, mentions[m], group)
            resolved = state.resolve(mentions[m], group.language)
            state.note(mentions[m]._replace(strong=mentions[m].strong or near), resolved)
            m += 1
        first, last = tokens.start[group.first], tokens.end[group.last - 1]
        if mention is not None:
            if mention.state == "contract":
                continue
            act, text = state.resolve(mention, group.language)
            if mention.first >= group.last and beside_after(tokens, group, mention):
                last = tokens.end[mention.last - 1]
            state.current = (act, text)
        else:
            act, text = state.carried_to(group) or (None, None)
            if act is None and text and act_key(text) is None:  # «закон» somewhere before names nothing
                text = None
            state.current = (act, text)
            if m and gap_is(tokens, mentions[m - 1].last, group.first, ()):
                first = tokens.start[mentions[m - 1].first]
        state.place = group.last
        result.append((group, act, text, first, last))
    return result


def own_mention(tokens, group, mentions, firsts):
    """The mention that stands right after the group, or None."""
    i = bisect_left(firsts, group.last)
    if i == len(mentions):
        return None
    mention = mentions[i]
    if group.language == "kk" and i and gap_is(tokens, mentions[i - 1].last, group.first, ()):
        return None  # its act stands before it
    if beside_after(tokens, group, mention):
        return mention
    if (
        mention.strong
        and mention.first == group.last + 1
        and (  # «ст. 52 (ТК РК)», «(52-бап, ҚР ЕК)»
            tokens.norm[group.last] == "("
            and tokens.at(mention.last) == ")"
            or tokens.norm[group.last] == ","
            and tokens.at(mention.last) in (")", ".", ";", "")
        )
    ):
        return mention
    return None


def near_before(tokens, mention, group):
    """Whether an abbreviation stands right before the group: «ТК, ст. 28», «УК по статье 188»."""
    gap = range(mention.last, group.first)
    return len(gap) <= 3 and all(tokens.norm[j] in BEFORE for j in gap)


def read_chain(chain):
    """(paragraphs, sub-paragraphs) of a chain; a part of a paragraph («часть вторая пункта 2») is none."""
    kind, values = chain[0]
    if RANK[kind] <= 1:
        return [None], values if RANK[kind] else [None]
    inner = next((values for kind, values in chain[1:] if RANK[kind] in (1, 2)), [None])
    return values, inner


def parse_citations(text, context_act=None):
    """Every reference to an article in `text`, in order; a list gives one Citation for each article and part.

    context_act: id of the act that «настоящий Кодекс», «осы Заң» mean; without it they name no act.
    """
    if not re.search("[0-9]", text):
        return []
    tokens = Tokens(text)
    mentions = find_mentions(tokens)
    groups = find_groups(tokens, mentions)
    citations = []
    for group, act, act_text, first, last in assign_acts(tokens, mentions, groups, context_act):
        written = text[first:last]
        for parts, chains in group.entries:
            articles = write_out(parts, group.plural or len(group.entries) > 1, act)
            pairs = [pair for chain in chains for pair in islice(product(*read_chain(chain)), MAX_RANGE)]
            pairs = list(dict.fromkeys(pairs))[:MAX_RANGE] or [(None, None)]
            if len(citations) > MAX_CITATIONS:
                articles, pairs = articles[:1], pairs[:1]
            for article in articles:
                own = acts.part_of_civil_code(article) if act == acts.CIVIL_CODE else act
                for paragraph, sub in pairs:
                    citations.append(Citation(own, act_text, article, paragraph, sub, written, first, last))
    return citations


# ----------------------------------------------------------------------------------------------------- scores


GENERIC = re.compile(
    "кодекс.*|закон.*|заң.*|рк|қр|республик.*|казахстан.*|қазақстан.*|от|года?|г"
    "|эт(?:от|ого|ому|им|ом)|данн.*|.*указанн.*|.*названн.*|того|же|настоящ.*|осы|аталған"
    "|көрсетілген|сол|бұл|конституционн.*|туралы|зрк|қрз|жылғы"
    "|об?|и|в|на|және|далее|по|тексту|бұдан|әрі"
)


def act_key(act_text):
    """What tells an act that is not in acts.json from another in any case form; None if it names none
    («Закона»).

    The first four telling words, by their first five letters; for an act that gives no words, its numbers.
    """
    tokens = Tokens(act_text)
    telling = [
        tokens.norm[i][:5]
        for i in range(tokens.size)
        if tokens.kind[i] == "w"
        and not GENERIC.fullmatch(tokens.norm[i])
        and not month_of(tokens.norm[i], MONTHS_RU)
    ]
    words = [word for word in telling if len(word) > 2]
    digits = [tokens.norm[i] for i in range(tokens.size) if tokens.kind[i] == "n"]
    return " ".join(words[:4]) or " ".join(telling + digits) or None


def citation_as_dict(citation):
    """A citation as logs/benchmark_<run>.json keeps it."""
    kept = {key: value for key, value in citation._asdict().items() if key not in ("start", "end")}
    return {**kept, "exists": article_exists(citation.act, citation.article)}
