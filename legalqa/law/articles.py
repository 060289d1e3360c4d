"""The lists of articles in a text, each with its parts: «ст. 52 и пп. 1) п. 2 ст. 53», «52-бабының 1-тармағы»."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from legalqa.law.mentions import Mention
from legalqa.law.numbers import (
    ORDINALS_KK,
    is_counted,
    read_ordinal,
    read_parts,
    skip_ordinal_ending,
    spread,
    write_out,
)
from legalqa.law.tokens import CLOSING_QUOTES, DASHES, HYPHENS, MAX_LOOK, QUOTES, Tokens
from legalqa.law.units import AND_KK, AND_RU, ARTICLE_KK, ARTICLE_RU, PART_KK, PART_RU, RANK

MAX_ARTICLE = 1999  # a higher number is a year or a sum
MAX_LIST = 150  # numbers in one list


class Group(NamedTuple):
    """One list of articles: tokens first to last (exclusive); open_until: where parts of it may follow, after
    itself or its act; entries: [(number parts, chains)]; chain: [(kind, values)], outermost first."""

    first: int
    last: int
    open_until: int
    language: str
    plural: bool
    entries: list


class Parts(NamedTuple):
    """A Russian list of parts; found: [(kind, values, joined)], joined: no «,» or «и» before it."""

    first: int
    last: int
    found: list[tuple[str, list[str], bool]]


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
    return Group(i, end, end, "ru", plural, entries) if entries else None


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
        return Group(i, ended + 1, ended + 1, "ru", False, [(parts, [])])
    return None


def read_numbers_kk(tokens, i):
    """(kind, [number parts], plural, last joined by a word, index after) of a Kazakh unit and its numbers at
    i («71, 72 және 73-баптарының», «1) және 2) тармақшалары», «бірінші бөлігі»); kind None if none is."""
    items, by_word = [], False
    while len(items) < MAX_LIST:
        parts, after = read_parts(tokens, i)
        if not parts:
            value, after = read_ordinal(tokens, i)
            parts = [(str(value), "")] if value else []
        if not parts:
            break
        if tokens.at(after) == ")" and not tokens.gap[after]:
            after += 1
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
    return Group(i, end, end, "kk", plural, entries), end


def read_item(
    tokens: Tokens, i: int, starts: dict[int, Mention], ends: set[int]
) -> tuple[Mention | Group | Parts | None, int]:
    """(the act, list of articles or list of parts that begins at token i, or None; index to go on from)."""
    if i in starts:
        return starts[i], max(starts[i].last, i + 1)
    if tokens.kind[i] == "s":
        return None, i + 1
    group, end = None, i
    if tokens.norm[i] in ARTICLE_RU:
        group = read_articles_ru(tokens, i, starts)
    elif (tokens.is_number(i) or tokens.norm[i] in ORDINALS_KK) and not is_range_end(tokens, i):
        group, end = read_articles_kk(tokens, i, i in ends)
        group = group or read_number_first(tokens, i, starts)
    elif tokens.is_number(i):
        group = read_number_first(tokens, i, starts)
    if group:
        return group, group.last
    if end > i + MAX_LOOK:  # a long list of numbers of nothing: read it once
        return None, end
    found, end = read_part_list(tokens, i)
    return (Parts(i, end, found), end) if found else (None, i + 1)


def is_range_end(tokens: Tokens, i: int) -> bool:
    """Whether number i is the 54 of 52-54."""
    return tokens.at(i - 1) in DASHES and tokens.is_number(i - 2)


def read_items(tokens: Tokens, mentions: list[Mention]) -> Iterator[Mention | Group | Parts]:
    """Acts, lists of articles and lists of parts, in order."""
    starts, ends = {mention.first: mention for mention in mentions}, {mention.last for mention in mentions}
    i = 0
    while i < tokens.size:
        item, i = read_item(tokens, i, starts, ends)
        if item:
            yield item


def find_groups(tokens: Tokens, mentions: list[Mention]) -> list[Group]:
    """The lists of articles, in order, each with the parts before and after it."""
    groups: list[Group] = []
    waiting: Parts | None = None  # parts for the article that follows them
    for item, following in pairwise([*read_items(tokens, mentions), None]):
        if isinstance(item, Group):
            if waiting and gap_is(tokens, waiting.last, item.first, (",", ".")):
                item = with_leading_parts(item, waiting)
            groups.append(item)
            waiting = None
        elif isinstance(item, Parts):
            leads = isinstance(following, Group) and following.language == "ru"
            if leads and following.first == item.last:
                waiting = item
            elif groups and follows(tokens, groups[-1], item):
                groups[-1] = with_following_parts(tokens, groups[-1], item)
            elif leads:
                waiting = item
        elif groups and gap_is(tokens, groups[-1].open_until, item.first, ()):
            groups[-1] = groups[-1]._replace(open_until=item.last)
    return groups


def follows(tokens: Tokens, group: Group, parts: Parts) -> bool:
    """Whether `parts` stand right after the group or its act, and its last article has none yet."""
    beside = gap_is(tokens, group.open_until, parts.first, (",", "(", ":"), DASHES)
    return beside and not group.entries[-1][1]


def with_leading_parts(group: Group, parts: Parts) -> Group:
    """The group with the parts that stand before it, which are of its first article."""
    (number, own), *others = group.entries
    return group._replace(first=parts.first, entries=[(number, own + chains_inward(parts.found)), *others])


def with_following_parts(tokens: Tokens, group: Group, parts: Parts) -> Group:
    """The group with the parts that stand after it, which are of its last article."""
    in_brackets = tokens.at(parts.last) == ")" and tokens.at(parts.first - 1) == "("
    end = parts.last + in_brackets
    *others, (number, own) = group.entries
    last = end if group.open_until == group.last else group.last  # else its act stands between them
    entries = [*others, (number, own + chains_after(parts.found))]
    return group._replace(last=last, open_until=end, entries=entries)


def gap_is(tokens, first, last, allowed, more=()):
    """Whether there are two tokens at most from first to last, all `allowed`, in one sentence."""
    if not 0 <= last - first <= 2:
        return False
    if last < tokens.size and tokens.sentence[max(0, first - 1)] != tokens.sentence[last]:
        return False
    return all(tokens.norm[j] in allowed or tokens.norm[j] in more for j in range(first, last))
