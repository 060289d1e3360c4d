"""The lists of articles in a text, each with its parts: «ст. 52 и п. 2 ст. 53», «52-бабының 1-тармағы»."""

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from legalqa.law.mentions import Mention
from legalqa.law.numbers import (
    CARDINALS_RU,
    FEMININE_ORDINAL,
    ORDINALS_KK,
    TENS_KK,
    UNITS_KK,
    is_counted,
    ordinal_ru,
    read_ordinal,
    read_parts,
    skip_ordinal_ending,
    write_out,
)
from legalqa.law.parts import (
    MAX_LIST,
    SHORT_PARTS,
    Chain,
    Part,
    chains_after,
    chains_inward,
    chains_outward,
    next_in_list,
    part_at,
    read_part_list,
    read_value,
)
from legalqa.law.tokens import DASHES, HYPHENS, MAX_LOOK, Tokens, fold, word_set
from legalqa.law.units import (
    AND_KK,
    AND_RU,
    ARTICLE_KK,
    ARTICLE_RU,
    PART_KK,
    PART_RU,
    PLURAL_PART_KK,
    RANK,
    article_word,
)

MAX_GLOSS = 6  # tokens of «(кража)» inside a list of articles
MAX_ARTICLE = 1999  # a higher number is a year or a sum
NUMBER_WORDS_KK = ORDINALS_KK.keys() | TENS_KK.keys() | UNITS_KK.keys()
THAT_RU = re.compile("(?:эт|т|данн|(?:выше)?указанн|(?:выше)?названн|настоящ)(?:ой|ей)")
THIS_ARTICLE = re.compile("настоящ(?:ей|ую|ая)|осы")
THAT_KK = word_set("осы сол аталган корсетилген")  # without Kazakh letters
AMENDING = re.compile("дополн(?:ить|яется|ена|ить)|исключить|изложить")
Number = list[tuple[str, str]]  # [(digits, sign before)], as numbers.read_parts gives it


class Group(NamedTuple):
    """One list of articles: tokens first to last (exclusive); open_until: where parts of it may follow, after
    itself or its act; entries: [(number, chains of parts)]; repeats: place among the groups of the one whose
    article it means («п. 3 этой же статьи»), -1 while that is not known, None if it names its own."""

    first: int
    last: int
    language: str
    plural: bool
    entries: list[tuple[Number, list[Chain]]]
    open_until: int
    repeats: int | None = None


class Parts(NamedTuple):
    """A list of parts that stands by itself, for the article before or after it."""

    first: int
    last: int
    language: str
    found: list[Part]


class ActPlaces(NamedTuple):
    """Where acts are named: {first token: mention}, and the tokens right after them."""

    starts: dict[int, Mention]
    ends: frozenset[int]


# ------------------------------------------------------------------------------------------ Russian


def is_gazette(tokens: Tokens, i: int) -> bool:
    """Whether «ст.» at i is of an official gazette («2014 г., № 1, ст. 6»), not of an act."""
    for j in range(i - 1, max(-1, i - MAX_LOOK), -1):
        if tokens.norm[j] == "№":
            return tokens.at(j - 1) in (",", ";", "г", ".", "года", "рк", "казахстан", "(")
        if not (tokens.is_number(j) or re.fullmatch("[ivxіх]+|[-,–]", tokens.norm[j])):
            return False
    return False


def read_articles_ru(tokens: Tokens, i: int, places: ActPlaces) -> Group | None:
    """Group of the Russian list of articles whose unit word is token i, or None."""
    word = article_word(tokens.norm[i])
    if not word:
        return None
    if word == "статей" and tokens.is_number(i - 1) and not PART_RU.fullmatch(tokens.at(i - 2)):
        return None  # «10 статей 25 авторов», not «пункты 1 статей 25 и 26»
    plural, after = ARTICLE_RU[word], i + 1
    if word == "ст":
        if is_gazette(tokens, i):
            return None
        after += tokens.at(after) in (".", ",")
        after += tokens.at(after) == "." and tokens.is_tight(after)
        if tokens.at(after) == "ст" and tokens.gap[after] != "\n":
            plural, after = True, after + 1
            after += tokens.at(after) == "."
    after += tokens.at(after) == ":"
    after += tokens.at(after) in ("№", "номер")
    entries, end, j = [], after, after
    while len(entries) < MAX_LIST:
        number, after = read_article_number(tokens, j)
        if not number or is_counted(tokens, after, bool(entries)):
            break
        if entries and not continues(tokens, after, plural, places):
            break
        chains, end = read_bracketed_parts(tokens, after)
        if plural and not chains:
            chains, end = read_inner_parts(tokens, end)
        entries.append((number, chains))
        j = next_in_list(tokens, end, AND_RU)
        if j == end:
            break
    return Group(i, end, "ru", plural, entries, end) if entries else None


def read_article_number(tokens: Tokens, i: int) -> tuple[Number, int]:
    """(number, index after) of an article: «52-54», «с 10 по 15», «28-й», «двадцать восьмая»; or ([], i)."""
    if tokens.at(i) in ("с", "со"):
        low, middle = read_parts(tokens, i + 1)
        middle = skip_ordinal_ending(tokens, middle)
        high, end = read_parts(tokens, middle + 1)
        if tokens.at(middle) != "по" or not len(low) == len(high) == 1:
            return [], i
        return [*low, (high[0][0], "–")], skip_ordinal_ending(tokens, end)
    number, end = read_parts(tokens, i)
    if number:
        end = skip_ordinal_ending(tokens, end)
        if tokens.at(end) == "." and tokens.is_number(end + 1) and tokens.is_tight(end + 1):
            end += 2  # «ст. 28.1»: no such numbers in Kazakhstan, and no telling what is meant
        return (number, end) if int(number[0][0]) <= MAX_ARTICLE else ([], i)
    value, end = read_ordinal(tokens, i)
    if value and FEMININE_ORDINAL.fullmatch(tokens.norm[end - 1]):
        return [(str(value), "")], end
    return [], i


def read_bracketed_parts(tokens: Tokens, i: int) -> tuple[list[Chain], int]:
    """(chains, index after) of parts in brackets at i: «190 (часть 2, пункт 1)», or of none in a gloss inside
    a list: «190 (мошенничество) и 191»; ([], i) if neither is."""
    if tokens.at(i) != "(":
        return [], i
    found, close = read_part_list(tokens, i + 1)
    if found and tokens.at(close) == ")":
        return chains_after(found), close + 1
    close = i + 1
    while close < i + MAX_GLOSS and tokens.is_word(close):
        close += 1
    following = next_in_list(tokens, close + 1, AND_RU)
    goes_on = following > close + 1 and tokens.is_number(following)
    return [], close + 1 if tokens.at(close) == ")" and goes_on else i


def read_inner_parts(tokens: Tokens, i: int) -> tuple[list[Chain], int]:
    """(chains, index after) of the «ч. 3» in «ст.ст. 24 ч. 3, 188 ч. 2», parts of an article inside a list;
    ([], i) if the list does not go on after them."""
    found: list[Part] = []
    end = i
    while len(found) < len(RANK):
        kind, _, start = part_at(tokens, end)
        values, after, _ = read_value(tokens, start, False) if kind else ([], end, False)
        if not kind or kind == "?" or not values:
            break
        found.append(Part(kind, values, end, after))
        end = after
    following = next_in_list(tokens, end, AND_RU)
    _, after = read_parts(tokens, following)
    goes_on = end < following < after and part_at(tokens, after)[0]
    return (chains_after(found), end) if found and goes_on else ([], i)


def continues(tokens: Tokens, i: int, plural: bool, places: ActPlaces) -> bool:
    """Whether the number that ends before i is one more article, not the number of an item or a count."""
    word = tokens.at(i)
    if word == ")" and not tokens.depth[i - 1]:
        return False
    if plural or not tokens.is_word(i) or i in places.starts:
        return True
    return (
        word in AND_RU
        or word in ("рк", "п", "ч", "пп")
        or word in ARTICLE_RU
        or PART_RU.fullmatch(word) is not None
    )


def read_number_first(tokens: Tokens, i: int, places: ActPlaces) -> Group | None:
    """Group of «28-й статье», «28 статьи ТК», «ТК 28 статья», «по 188-й УК» at i, or None; «28 статей» is a
    count."""
    number, after = read_parts(tokens, i)
    if not number:
        value, after = read_ordinal(tokens, i)
        if not value or not FEMININE_ORDINAL.fullmatch(tokens.norm[after - 1]):
            return None
        number = [(str(value), "")]
    if len(number) > 2 or int(number[0][0]) > MAX_ARTICLE:
        return None
    ended = skip_ordinal_ending(tokens, after)
    mention = places.starts.get(ended)
    if ended > after and mention and mention.kind == "code" and mention.state in ("known", "unknown"):
        nominative = any(word == "кодекс" for word in tokens.norm[mention.first : mention.last])
        return None if nominative else Group(i, ended, "ru", False, [(number, [])], ended)
    word = tokens.at(ended)
    if word == "ст":  # «52 ст. ТК РК»
        end = ended + 1 + (tokens.at(ended + 1) == ".")
        of_act = end in places.starts or i in places.ends or tokens.at(i - 1) == "," and i - 1 in places.ends
        return Group(i, end, "ru", False, [(number, [])], end) if of_act and tokens.is_number(i) else None
    if ARTICLE_RU.get(word, True) or read_parts(tokens, ended + 1)[0]:
        return None
    of_act = ended + 1 in places.starts or i in places.ends
    by_number = tokens.is_number(i) and (ended > after or word in ("статье", "статью", "статьей"))
    if by_number or of_act:
        return Group(i, ended + 1, "ru", False, [(number, [])], ended + 1)
    return None


def read_more_of_another_act(tokens: Tokens, i: int, places: ActPlaces) -> Group | None:
    """Group of the «9 и 8» in «ст. 52 ТК РК, 9 и 8 ГК РК», numbers between two acts, or None."""
    before = i - 1 if tokens.at(i - 1) == "," or tokens.at(i - 1) in AND_RU else i
    if before == i or before not in places.ends:
        return None
    entries, j = [], i
    while len(entries) < MAX_LIST:
        number, end = read_article_number(tokens, j)
        if not number or is_counted(tokens, end, True):
            return None
        entries.append((number, []))
        if end in places.starts and places.starts[end].state in ("known", "unknown"):
            return Group(i, end, "ru", True, entries, end)
        j = next_in_list(tokens, end, AND_RU)
        if j == end:
            return None
    return None


def read_reference_back(tokens: Tokens, i: int) -> Group | None:
    """Group of «этой же статьи», «осы баптың» at i, which means the article before, or None."""
    if THAT_RU.fullmatch(tokens.norm[i]):
        end = i + 1 + (tokens.at(i + 1) == "же")
        if tokens.at(end) in ("статьи", "статье", "статьей") and not tokens.is_number(end + 1):
            return Group(i, end + 1, "ru", False, [([], [])], end + 1, repeats=-1)
    elif tokens.folded(i) in THAT_KK and ARTICLE_KK.fullmatch(tokens.folded(i + 1)):
        found, end = read_parts_kk(tokens, i + 2)
        return Group(i, end, "kk", False, [([], chains_outward(found))], end, repeats=-1) if found else None
    return None


# ------------------------------------------------------------------------------------------ Kazakh


class NumbersKk(NamedTuple):
    """A Kazakh unit after its numbers: kind, "бап" or of a part, None if no unit follows; word: the unit,
    without Kazakh letters; by_word: «және» before the last number; end: index after."""

    kind: str | None
    items: list[Number]
    word: str
    by_word: bool
    end: int

    @property
    def plural(self) -> bool:
        return self.word.startswith("баптар") or PLURAL_PART_KK.fullmatch(self.word) is not None


def read_numbers_kk(tokens: Tokens, i: int, of_act: bool = False) -> NumbersKk:
    """The numbers at i and the Kazakh unit after them: «71, 72 және 73-баптарының», «1), 2) тармақшалары»,
    «бірінші бөлігі», «52-ші бабы»."""
    items: list[Number] = []
    by_word = False
    while len(items) < MAX_LIST:
        number, after = read_number_kk(tokens, i)
        if not number:
            break
        items.append(number)
        kind, word, end = unit_after(tokens, after, of_act)
        if kind:
            return NumbersKk(kind, items, word, by_word, end)
        i = next_in_list(tokens, after, AND_KK)
        if i == after:
            return NumbersKk(None, items, "", by_word, max(after, 1))
        by_word = tokens.norm[i - 1] != ","
    return NumbersKk(None, items, "", by_word, i)


def read_number_kk(tokens: Tokens, i: int) -> tuple[Number, int]:
    """(number, index after) of «52», «52-ші», «1)», «1) - 4)», «елу екінші» at i; ([], i) if none is."""
    number, after = read_parts(tokens, i)
    if not number:
        value, after = read_ordinal(tokens, i)
        return ([(str(value), "")], after) if value else ([], i)
    if tokens.at(after) == ")" and not tokens.gap[after]:
        after += 1
        if tokens.at(after) in DASHES and tokens.is_number(after + 1) and tokens.at(after + 2) == ")":
            return [*number, (tokens.norm[after + 1], "–")], after + 3
    return number, skip_ordinal_ending(tokens, after)


def unit_after(tokens: Tokens, i: int, of_act: bool) -> tuple[str | None, str, int]:
    """(kind, folded word, index after) of the Kazakh unit at i, where a number ends; kind None if none is.

    of_act: an act stands before the number; without it «2 бабы» may be Russian, and «52-б.» a page.
    """
    hyphen = tokens.at(i) in HYPHENS and tokens.is_word(i + 1)
    unit = i + 1 if hyphen else i
    word = tokens.folded(unit)
    if ARTICLE_KK.fullmatch(word):
        known = hyphen or of_act or word != "бабы" or tokens.is_kazakh_near(i)
        if tokens.folded(unit + 1).startswith(("тура", "курал")):  # «заң 25 баптан тұрады»
            known = False
        return ("бап" if known else None), word, unit + 1
    stop = tokens.at(unit + 1) == "."
    if word == "б" and hyphen and of_act:  # «ҚР ЕК 52-б.»
        return "бап", word, unit + 1 + stop
    match = PART_KK.match(word)
    if match and (word != "т" or hyphen or stop):
        kind = "тармақша" if match[1] else "тармақ" if match[2] else "бөлік" if match[3] else "абз"
        return kind, word, unit + 1 + (stop and len(word) < 3)
    return None, "", i


def read_parts_kk(tokens: Tokens, i: int) -> tuple[list[Part], int]:
    """(parts, index after) of the Kazakh parts from i on."""
    found: list[Part] = []
    end = i
    while len(found) < MAX_LIST:
        joined = tokens.is_number(end) or read_ordinal(tokens, end)[0] is not None
        start = end if joined else next_in_list(tokens, end, AND_KK)
        start += not joined and tokens.at(start) == "("
        numbers = read_numbers_kk(tokens, start)
        if numbers.kind in (None, "бап"):
            break
        many = numbers.plural or len(numbers.items) > 1
        values = [value for number in numbers.items for value in write_out(number, many, None)]
        found.append(Part(numbers.kind, values, start, numbers.end, "" if joined else ",", numbers.plural))
        end = numbers.end
    return found, end


def read_articles_kk(tokens: Tokens, i: int, of_act: bool) -> tuple[Group | None, int]:
    """(Group or None, index to go on from) of the Kazakh list of articles that starts at i, and its parts.

    of_act: an act stands right before it, so that «52, 53-бабы» is a list though the word is singular."""
    numbers = read_numbers_kk(tokens, i, of_act)
    if numbers.kind != "бап":
        return None, numbers.end
    items = numbers.items
    if not (numbers.plural or numbers.by_word or of_act):
        i += sum(len(number) * 2 for number in items[:-1])  # each number, its hyphens and its comma
        items = items[-1:]
    items = [number for number in items if int(number[0][0]) <= MAX_ARTICLE]
    if not items:
        return None, numbers.end
    upper, end = range_end_kk(tokens, numbers)
    if upper:
        items[-1] = [*items[-1], (upper, "–")]
    found, end = read_parts_kk(tokens, end)
    chains = chains_outward(found)
    of_each = len(items) > 1 and len(found) == 1 == len(found[0].values) and found[0].plural
    entries = [(number, chains if of_each else []) for number in items[:-1]]
    return Group(i, end, "kk", numbers.plural, [*entries, (items[-1], chains)], end), end


def range_end_kk(tokens: Tokens, numbers: NumbersKk) -> tuple[str | None, int]:
    """(last article, index after) of «52-баптан 54-бапқа дейінгі», of which `numbers` has the 52, or None."""
    if re.fullmatch("ба[бп](?:тан|ынан)", numbers.word):
        upper = read_numbers_kk(tokens, numbers.end)
        until = tokens.folded(upper.end).startswith("дейин")
        if until and upper.kind == "бап" and len(upper.items) == 1 == len(upper.items[0]):
            return upper.items[0][0][0], upper.end + 1
    return None, numbers.end


def read_unit_first_kk(tokens: Tokens, i: int) -> Group | None:
    """Group of «бап 52» at i, or None."""
    number, end = read_parts(tokens, i + 1)
    if not number or tokens.is_number(i - 1) or tokens.at(i - 1) in HYPHENS:
        return None
    if tokens.folded(i) != "бап" or tokens.at(end) in HYPHENS or unit_after(tokens, end, False)[0]:
        return None
    found, end = read_parts_kk(tokens, end)
    return Group(i, end, "kk", False, [(number, chains_outward(found))], end)


def read_before_next_act_kk(tokens: Tokens, i: int, places: ActPlaces) -> Group | None:
    """Group of the «52, 54» in «ЕК-нің 52, 54 және АК-нің 9-баптары»: the unit comes after the last act."""
    entries, j = [], i
    while len(entries) < MAX_LIST:
        number, end = read_number_kk(tokens, j)
        if not number:
            return None
        entries.append((number, []))
        j = next_in_list(tokens, end, AND_KK)
        if j == end:
            return None
        if j in places.starts:
            last = read_numbers_kk(tokens, places.starts[j].last, True)
            of_both = last.kind == "бап" and last.plural
            return Group(i, end, "kk", True, entries, end) if of_both else None
    return None


# -------------------------------------------------------------------------------- the walk over both


def read_item(tokens: Tokens, i: int, places: ActPlaces) -> tuple[Mention | Group | Parts | None, int]:
    """(the act, list of articles or list of parts that begins at token i, or None; index to go on from)."""
    if i in places.starts:
        return places.starts[i], max(places.starts[i].last, i + 1)
    if tokens.is_number(i):
        if tokens.at(i - 1) in DASHES and tokens.is_number(i - 2):  # the 54 of 52-54
            return None, i + 1
    elif not may_begin(tokens.norm[i]):
        return None, i + 1
    group, end = read_group(tokens, i, places)
    if group:
        return group, max(group.last, i + 1)
    if end > i + MAX_LOOK:  # a long list of numbers of nothing: read it once
        return None, end
    found, end = read_part_list(tokens, i)
    if found:
        return Parts(i, end, "ru", found), end
    if i in places.ends and tokens.is_number(i):  # «ЕК-нің 1-тармағының 2) тармақшасы, 52-бап»
        found, end = read_parts_kk(tokens, i)
        if found:
            return Parts(i, end, "kk", found), end
    return None, i + 1


@functools.lru_cache(maxsize=65536)
def may_begin(word: str) -> bool:
    """Whether a list of articles or of parts may begin with a word."""
    folded = fold(word)
    return bool(
        article_word(word)
        or folded == "бап"
        or folded in NUMBER_WORDS_KK
        or word in CARDINALS_RU
        or ordinal_ru(word)
        or word in SHORT_PARTS
        or PART_RU.fullmatch(word)
        or THAT_RU.fullmatch(word)
        or folded in THAT_KK
    )


def read_group(tokens: Tokens, i: int, places: ActPlaces) -> tuple[Group | None, int]:
    """(list of articles at token i or None, index up to which it was looked for)."""
    word, group, end = tokens.norm[i], None, i
    if tokens.is_number(i) or fold(word) in NUMBER_WORDS_KK:
        group, end = read_articles_kk(tokens, i, i in places.ends)
        if not group and i in places.ends:
            group = read_before_next_act_kk(tokens, i, places)
        group = group or read_more_of_another_act(tokens, i, places)
    if group:
        return group, end
    if article_word(word):
        group = read_articles_ru(tokens, i, places)
    elif fold(word) == "бап":
        group = read_unit_first_kk(tokens, i)
    return group or read_reference_back(tokens, i) or read_number_first(tokens, i, places), end


def read_items(tokens: Tokens, mentions: list[Mention]) -> Iterator[Mention | Group | Parts]:
    """Acts, lists of articles and lists of parts, in order."""
    places = ActPlaces(
        {mention.first: mention for mention in mentions}, frozenset(mention.last for mention in mentions)
    )
    i = 0
    while i < tokens.size:
        item, i = read_item(tokens, i, places)
        if item:
            yield item


def find_groups(tokens: Tokens, mentions: list[Mention]) -> list[Group]:
    """The lists of articles, in order, each with the parts before and after it."""
    groups: list[Group] = []
    quoted = -1  # place of the last one not of «настоящего Кодекса»: «настоящая статья» is in its text
    waiting: Parts | None = None  # parts for the article that follows them
    items = list(read_items(tokens, mentions))
    for item, following in zip(items, [*items[1:], None]):
        if isinstance(item, Group):
            if item.repeats is not None:
                this = THIS_ARTICLE.fullmatch(tokens.norm[item.first]) is not None
                item = with_number_of(tokens, item, groups, quoted if this else len(groups) - 1)
            elif not (isinstance(following, Mention) and following.state == "this"):
                quoted = len(groups)
            if waiting and gap_is(tokens, waiting.last, item.first, (",", ".")):
                item = with_leading_parts(item, waiting)
            if item.entries:
                groups.append(item)
            waiting = None
        elif isinstance(item, Parts):
            groups, waiting = place_parts(tokens, groups, item, following)
        elif groups and gap_is(tokens, groups[-1].open_until, item.first, ()):
            groups[-1] = groups[-1]._replace(open_until=item.last)
    return groups


def place_parts(
    tokens: Tokens, groups: list[Group], parts: Parts, following: Mention | Group | Parts | None
) -> tuple[list[Group], Parts | None]:
    """(groups, parts that wait for their article) after giving the article before those that are of it."""
    leads = following if isinstance(following, Group) and following.language == parts.language else None
    may_follow = bool(groups) and follows(tokens, groups[-1], parts)
    if leads and leads.first == parts.last:
        cut = max(k for k, part in enumerate(parts.found) if k == 0 or part.link)
        if not (may_follow and cut and groups[-1].open_until == parts.first):
            return groups, parts
        mine, others = parts.found[:cut], parts.found[cut:]  # «ст. 91 ч. 1 и ч. 2 ст. 92»
        groups[-1] = with_following_parts(
            tokens, groups[-1], Parts(parts.first, mine[-1].last, parts.language, mine)
        )
        return groups, Parts(others[0].first, parts.last, parts.language, others)
    if may_follow:
        groups[-1] = with_following_parts(tokens, groups[-1], parts)
        return groups, None
    return groups, parts if leads else None


def follows(tokens: Tokens, group: Group, parts: Parts) -> bool:
    """Whether `parts` stand right after the group or its act, and its last article has none yet, or are added
    to it («пункт 1 статьи 5 дополнить подпунктом 2)»)."""
    chains = group.entries[-1][1]
    if AMENDING.fullmatch(tokens.at(parts.first - 1)) and group.open_until == parts.first - 1:
        return all(RANK[parts.found[0].kind] < RANK[chain[-1][0]] for chain in chains)
    beside = gap_is(tokens, group.open_until, parts.first, (",", "(", ":"), DASHES)
    return beside and not chains and parts.language == "ru"


def with_number_of(tokens: Tokens, group: Group, groups: list[Group], place: int) -> Group:
    """A group that means the article of groups[place], with its number; no entries if that is not near."""
    if place < 0 or tokens.sentence[group.first] - tokens.sentence[groups[place].last - 1] > 2:
        return group._replace(entries=[])
    number = groups[place].entries[-1][0]
    return group._replace(repeats=place, entries=[(number, chains) for _, chains in group.entries])


def with_leading_parts(group: Group, parts: Parts) -> Group:
    """The group with the parts that stand before it, which are of its first article, or of each («пункты 1
    статей 5 и 6»)."""
    chains = (chains_inward if parts.language == "ru" else chains_outward)(parts.found)
    last = parts.found[-1]
    of_each = last.plural and group.plural and len(last.values) == 1 == len(parts.found)
    entries = [
        (number, own + chains if of_each or not place else own)
        for place, (number, own) in enumerate(group.entries)
    ]
    return group._replace(first=parts.first, entries=entries)


def with_following_parts(tokens: Tokens, group: Group, parts: Parts) -> Group:
    """The group with the parts that stand after it, which are of its last article."""
    in_brackets = tokens.at(parts.last) == ")" and tokens.at(parts.first - 1) == "("
    end = parts.last + in_brackets
    *others, (number, own) = group.entries
    last = end if group.open_until == group.last else group.last  # else its act stands between them
    chains = chains_after(parts.found)
    if own:
        chains = [outer + inner for outer in own for inner in chains]
    return group._replace(last=last, open_until=end, entries=[*others, (number, chains)])


def gap_is(
    tokens: Tokens, first: int, last: int, allowed: tuple[str, ...], more: frozenset[str] = frozenset()
) -> bool:
    """Whether there are two tokens at most from first to last, all `allowed`, in one sentence."""
    if not 0 <= last - first <= 2:
        return False
    if last < tokens.size and tokens.sentence[max(0, first - 1)] != tokens.sentence[last]:
        return False
    return all(tokens.norm[j] in allowed or tokens.norm[j] in more for j in range(first, last))
