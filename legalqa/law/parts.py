"""The parts of an article, as lists of (kind, values): «пп. 1) п. 2», «2-тармағының 1) тармақшасы»."""

from typing import NamedTuple

from legalqa.law.numbers import is_counted, read_ordinal, read_parts, skip_ordinal_ending, spread, write_out
from legalqa.law.tokens import CLOSING_QUOTES, DASHES, QUOTES, Tokens
from legalqa.law.units import AND_RU, PART_RU, RANK

MAX_LIST = 150  # numbers in one list
SHORT_PARTS = frozenset(("п", "пп", "ч", "подп", "абз", "пункт"))
Chain = list[tuple[str, list[str]]]  # [(kind, values)], outermost first


class Part(NamedTuple):
    """A part and its numbers, tokens first to last (exclusive); link: "", "," or "и" before it; plural: the
    word is («пункты 1»)."""

    kind: str
    values: list[str]
    first: int
    last: int
    link: str = ""
    plural: bool = False


def part_at(tokens: Tokens, i: int) -> tuple[str | None, bool, int]:
    """(kind, plural, index after) of a Russian word for a part: "пп", "п", "ч", "абз"; "?" for «пп.»."""
    word = tokens.at(i)
    if word in SHORT_PARTS:
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


def read_values(tokens: Tokens, i: int, plural: bool) -> tuple[list[str], int, bool]:
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


def read_value(tokens: Tokens, i: int, plural: bool) -> tuple[list[str], int, bool]:
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


def is_letter(tokens: Tokens, i: int) -> bool:
    return tokens.is_word(i) and len(tokens.norm[i]) == 1


def next_in_list(tokens: Tokens, i: int, conjunctions: frozenset[str]) -> int:
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


def read_part(tokens: Tokens, i: int) -> tuple[Part | None, int]:
    """(part, index after) of a Russian part and its number: «пункта 1», «второй части»; (None, i) if none."""
    kind, plural, after = part_at(tokens, i)
    if not kind:
        return read_number_before_part(tokens, i)
    after += tokens.at(after) == "№"
    values, end, bracketed = read_values(tokens, after, plural)
    if not values:
        return None, i
    if kind == "?":
        kind = "пп" if bracketed or part_at(tokens, end)[0] == "п" or len(values) == 1 else "п"
    return Part(kind, values, i, end, plural=plural), end


def read_number_before_part(tokens: Tokens, i: int) -> tuple[Part | None, int]:
    """(part, index after) of «второй части», «2-я часть» at i; (None, i) if none."""
    number, after = read_ordinal(tokens, i)
    value = str(number) if number else None
    if not value and tokens.is_number(i):
        parts, after = read_parts(tokens, i)
        ended = skip_ordinal_ending(tokens, after)
        value = parts[0][0] if len(parts) == 1 and (ended > after or tokens.gap[i] != "\n") else None
        after = ended
    if value and PART_RU.fullmatch(tokens.at(after)):
        kind, _, end = part_at(tokens, after)
        if kind and not tokens.is_number(end) and not read_ordinal(tokens, end)[0]:
            return Part(kind, [value], i, end), end
    return None, i


def read_part_list(tokens: Tokens, i: int) -> tuple[list[Part], int]:
    """(Russian parts, index after) from i on."""
    found: list[Part] = []
    end, link = i, ""
    while len(found) < MAX_LIST:
        part, after = read_part(tokens, i)
        if not part:
            break
        found.append(part._replace(link=link))
        end = after
        i = next_in_list(tokens, end, AND_RU)
        link = "" if i == end else "," if i == end + 1 and tokens.norm[end] == "," else "и"
        if link and tokens.at(i) in ("в", "с", "на", "по"):
            i += 1
    return found, end


def chains_inward(found: list[Part]) -> list[Chain]:
    """Chains of parts written smallest first («подпункте 1) пункта 1 и пункте 3»), turned outermost first."""
    chains: list[Chain] = []
    links = []
    for part in found:
        if chains and not part.link:
            chains[-1].insert(0, (part.kind, part.values))
        else:
            chains.append([(part.kind, part.values)])
            links.append(part.link)
    for i in range(len(chains) - 2, -1, -1):  # «подпункт 1), подпункт 2) пункта 3»: both are of paragraph 3
        outer = chains[i + 1][0]
        if RANK[chains[i][0][0]] <= 1 < RANK[outer[0]]:
            chains[i].insert(0, outer)
            if links[i + 1] == "," and chains[i + 1] == [outer]:  # «пп. 2), п. 1»: one reference
                del chains[i + 1], links[i + 1]
    return chains


def chains_outward(found: list[Part]) -> list[Chain]:
    """Chains of parts written largest first («пункт 1, подпункт 2», «1-тармағының 1) тармақшасы»)."""
    chains: list[Chain] = []
    for part in found:
        above = chains[-1] if chains else []
        if above and part.link:
            above = [outer for outer in above if RANK[outer[0]] > RANK[part.kind]]
        if chains and (not part.link or len(above) == len(chains[-1])):
            chains[-1] = [*chains[-1], (part.kind, part.values)]
        else:
            chains.append([*above, (part.kind, part.values)])
    return chains


def chains_after(found: list[Part]) -> list[Chain]:
    """Chains of Russian parts that follow their article, in whichever order they are written."""
    rising = len(found) > 1 and not found[1].link and RANK[found[1].kind] > RANK[found[0].kind]
    return chains_inward(found) if rising else chains_outward(found)


def read_chain(chain: Chain) -> tuple[list[str | None], list[str | None]]:
    """(paragraphs, sub-paragraphs) of a chain; a part of a paragraph («часть вторая пункта 2») is none."""
    kind, values = chain[0]
    if RANK[kind] <= 1:
        return [None], [*values] if RANK[kind] else [None]
    inner = next((values for kind, values in chain[1:] if RANK[kind] in (1, 2)), [None])
    return [*values], [*inner]
