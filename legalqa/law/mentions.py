"""Which acts a text names: codes by adjective, laws by title, both by abbreviation, number or date."""

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.countries import skip_country, skip_country_back, skip_foreign, skip_foreign_back
from legalqa.law.numbers import MONTHS_KK, month_of, read_date, read_year
from legalqa.law.tokens import (
    CLOSING_QUOTES,
    DASHES,
    HYPHENS,
    MAX_LOOK,
    QUOTES,
    UPPER_LOOK_ALIKES,
    Tokens,
    fold,
    kazakh,
    normalize_word,
    word_set,
)
from legalqa.law.units import AND_RU, ARTICLE_RU, PART_RU, is_unit

ROMAN = str.maketrans("ІХСМіхсм", "IXCMixcm")
LAW_RU = re.compile("закон(?:а|у|ом|е|ы|ов|ам|ами|ах)?|зрк")
LAW_KK = kazakh("заң(?:ы|ның|ына|ынан|ында|ындағы|ының|ын|ымен|ға|ды|да|дан|нан|мен|дағы)?")
CONSTITUTION = kazakh(
    "конституци(?:я|и|ю|ей|ею)|конституция(?:ның|ға|ны|да|дан|мен|сы|сын|сының|сына|сында|сындағы|сынан|сымен)"
)
OTHER_ACT = kazakh(
    "правил|положени[яюей]+|конвенци[июяей]+|приказ[ауоме]*|постановлени[яюемй]+"
    "|указ[ауоме]*|регламент[ауоме]*|инструкци[июяей]+|пакт[ауоме]*"
    "|протокол[ауоме]*|деклараци[июяей]+|уложени[яюемй]+|стандарт[ауоме]*"
    "|қағидалар.*|ереже(?:нің|сінің)|конвенция.*|жарлы[қғ].*|қаулы.*|бұйры[қғ].*"
)
NO_ACT = kazakh(  # what has articles and is no law: contracts, statutes of firms, estimates, newspapers
    "договора|контракта|соглашения|устава|сметы|газеты|журнала|классификации|сборника"
    "|шарт(?:тың|ының)|келісім(?:нің|інің|шарттың|шартының)|жарғы(?:ның|сының)"
)
TREATY = re.compile(  # words beside a contract between states, or the statute of an army
    ".*(?:союз|сотруднич|государств|дружб|границ|еаэс|еврази|двойн|правов|партн|торгов|междунар|правительств).*"
    "|внутренней|гарнизонной|дисциплинарного|строевого"
)
ADJECTIVE_RU = re.compile(".{3,}(?:ый|ий|ой|ого|его|ому|ему|ым|им|ом|ем)")
FEMININE = re.compile(".{3,}(?:[ая]я|[ое]й|[ую]ю)")
THIS_RU = re.compile("настоящ(?:ий|его|ему|им|ем|ая|ей|ую)")
SAME_RU = re.compile(
    "эт(?:от|ого|ому|им|ом|ой|у|а)|(?:данн|(?:выше)?указанн|(?:выше)?названн|(?:выше)?упомянут)"
    "(?:ый|ого|ому|ым|ом|ой|ую|ая)|той|же"
)
SAME_KK = word_set("аталган корсетилген сол бул осындай жогарыда")  # without Kazakh letters
OLD = kazakh("стар(?:ый|ого|ому|ым|ом|ой|ая|ую)|прежн.*|бывш.*|действовавш.*|утративш.*|ескі|бұрынғы")
PLAIN_RU = re.compile(
    "действующ.*|нов(?:ый|ого|ому|ым|ом)|стар(?:ый|ого|ому|ым|ом)|прежн.*"
    "|казахстанск.*|наш.*|сам.*|отдельн.*|кажд.*|перв.*|втор.*|любо.*|тако.*|мо(?:его|ему)"
    "|утративш.*|силу|ранее|бывш.*|всего|отечественн.*|соответствующ.*|ино(?:й|го|му)"
)
VERB = re.compile(".{3,}(?:[аеиуюя]т(?:ся)?|[аи]л[аои]?(?:сь|ся)?|ен[аоы]|ан[аоы]|ит)|не|является")
OF_CONDUCT = re.compile("этики|чести|поведения|корпоративного")  # no code of laws
GLUED = re.compile(
    "([А-ЯҚӘҒҢӨҰҮҺІ][А-ЯҚӘҒҢӨҰҮҺІт]*К)(?:[нтд]ің|[нтд]ың|[тд]е|[гк]е|мен|пен|[тд]ен)"
)  # «ЕКнің»
EVERYDAY = word_set("жк")  # «жеке кәсіпкер», «жилой комплекс»: a code only right beside an article


class Mention(NamedTuple):
    """An act named in the text: tokens first to last (exclusive).

    kind: "code", "law", "constitution" or the first letters of another act's head word («конвен»); state:
    "known", "unknown" (named, but not in acts.json), "bare" («Закона»), "same" («того же Закона»), "this"
    («настоящего Кодекса»), "contract" (no act at all); act: id, or {"ru", "kk"} of an abbreviation that
    depends on the language; strong: names its act by itself, not only beside an article; alias: "code" or
    "law" if «(далее – Закон)» follows.
    """

    first: int
    last: int
    kind: str
    state: str
    act: str | dict[str, str | None] | None
    strong: bool
    alias: str | None = None


@dataclass
class Details:
    """What stands around an act's head word: tokens first to end (exclusive) and what they say of the act."""

    first: int
    end: int
    number: str | None = None  # "414-v"
    date: str | None = None  # "2015-11-23", "2015" or acts.OLD
    edition: str | None = None  # the year in «в редакции 1995 года»
    title: str | None = None  # act id by the title
    named: bool = False  # a title stands there, known or not
    of_kazakhstan: bool = False
    foreign: bool = False
    alias: str | None = None
    part: str | None = None  # of the Civil Code


def read_number(tokens: Tokens, i: int) -> tuple[str | None, int]:
    """(number of an act such as "414-v", index after it) at «№», or (None, i)."""
    if tokens.at(i) not in ("№", "n", "no", "нн") or not tokens.is_number(i + 1):
        return None, i
    number, i = tokens.at(i + 1), i + 2
    if tokens.at(i) in DASHES and (tokens.is_word(i + 1) or tokens.is_number(i + 1)):
        number, i = f"{number}-{tokens.raw(i + 1).translate(ROMAN).lower()}", i + 2
    return number, i + 1 if tokens.at(i) in ("зрк", "қрз") else i


def read_title(tokens: Tokens, i: int) -> tuple[str | None, int]:
    """(act id or None, index after) of an unquoted title that starts at «о», «об»; (None, i) if none does."""
    if tokens.at(i) not in ("о", "об") or not tokens.is_word(i + 1):
        return None, i
    words, last = [], i
    while len(words) < 24 and last < tokens.size and (tokens.is_word(last) or tokens.norm[last] in "()-"):
        if tokens.is_word(last):
            words.append((tokens.norm[last], last + 1))
        last += 1
    key = acts.title_key(word for word, _ in words)
    for count in range(len(words), 1, -1):
        act = acts.titles().get(key[:count])
        if act:
            end = words[count - 1][1]
            bracketed = tokens.at(end) == ")" and "(" in tokens.norm[i:end]  # «... (Налоговый кодекс)»
            return act, end + bracketed
    end = i + 1  # not known: take words up to a sign, a number or the next reference
    while end < i + 8 and tokens.is_word(end):
        if starts_reference(tokens, end) or VERB.fullmatch(tokens.norm[end]):
            break
        end += 1
    return None, end


def starts_reference(tokens: Tokens, i: int) -> bool:
    """Whether an article, a part of one or another act begins at token i, or after an «и» there."""
    word = tokens.at(i + (tokens.at(i) in AND_RU))
    return (
        word in ARTICLE_RU
        or word in ("п", "пп", "ч", "подп", "рк")
        or bool(PART_RU.fullmatch(word))
        or word.startswith(("кодекс", "закон", "республик"))
    )


def read_after(tokens: Tokens, i: int, titled: bool) -> Details:
    """What follows an act's head word; titled: a title may follow (not if an adjective names it)."""
    details = Details(i, i)
    for _ in range(MAX_LOOK):
        if not (
            read_identity(tokens, details)
            or tokens.at(details.end) == "("
            and read_bracket(tokens, details, titled)
            or titled
            and not details.named
            and read_title_after(tokens, details)
        ):
            break
    return details


def read_identity(tokens: Tokens, details: Details) -> bool:
    """Take a country, number or date at details.end; False if none stands there."""
    i = details.end
    details.end = skip_country(tokens, i)
    if details.end > i:
        details.of_kazakhstan = True
        return True
    details.end = skip_foreign(tokens, i)
    if details.end > i:
        details.foreign = True
        return True
    number, after = read_number(tokens, i + (tokens.at(i) == "за"))
    if number and not details.number:
        details.number, details.end = number, after
        return True
    date, after = read_date(tokens, i)
    if not date and not details.number:
        date, after = read_year(tokens, i)
    if date and not details.date:
        details.date, details.end = date, after
        return True
    return False


def read_title_after(tokens: Tokens, details: Details) -> bool:
    """Take a title at details.end, in quotes or without; False if none stands there."""
    i = details.end
    if tokens.at(i) in QUOTES and tokens.at(i + 1) in ("о", "об"):
        close = tokens.closing(i)
        if close:
            details.title, details.end = acts.known_title(tokens.words(i + 1, close)), close + 1
    else:
        details.title, details.end = read_title(tokens, i)
    details.named = details.end > i
    return details.named


def read_bracket(tokens: Tokens, details: Details, titled: bool) -> bool:
    """Take «(далее – Закон)», «(Общая часть)», «(Налоговый кодекс)», «(1995 г.)», «(РФ)», «(с изменениями)»
    at details.end; False if it cites articles."""
    i = details.end
    close = tokens.closing(i)
    words = tokens.words(i + 1, close) if close else ()
    if not close or not words or words[0] not in ("далее", "бұдан") and any(map(is_unit, words)):
        return False
    inside = Details(i + 1, i + 1)
    while inside.end < close and read_identity(tokens, inside):
        pass
    if inside.end == close:  # a country, number or date
        details.foreign = details.foreign or inside.foreign
        details.date, details.number = details.date or inside.date, details.number or inside.number
    elif words[0] in ("далее", "бұдан"):
        if words[-1].startswith(("кодекс", "закон", "заң")):
            details.alias = "code" if words[-1].startswith("кодекс") else "law"
    elif words[0] in ("общая", "общей", "жалпы"):
        details.part = "civil_code_general"
    elif words[0] in ("особенная", "особенной", "ерекше"):
        details.part = "civil_code_special"
    elif words[-1].startswith("кодекс"):
        if titled and not details.named:
            details.named, details.title, _ = read_adjectives(tokens, close - 1)
    elif words[:2] in (("с", "изменениями"), ("в", "редакции"), ("в", "ред"), ("по", "состоянию")):
        details.edition = read_date(tokens, i + 3 + (words[1] == "ред"))[0]
    elif not (len(words) == 1 and tokens.raw(i + 1).isupper()):  # «(ТК)»
        return False
    details.end = close + 1
    return True


def words_before(tokens: Tokens, i: int, count: int) -> list[tuple[str, int]]:
    """Up to `count` words before token i, nearest first, hyphens between them skipped, the full stop of an
    abbreviation kept («адм.»): [(word, index)]."""
    words, j, stop = [], i - 1, ""
    while len(words) < count and j >= 0:
        if tokens.kind[j] == "w":
            words.append((tokens.norm[j] + stop, j))
            stop = ""
        elif tokens.norm[j] == "." and tokens.is_tight(j) and not stop and not tokens.is_capital(j + 1):
            stop = "."
        elif not (tokens.norm[j] in HYPHENS and tokens.is_tight(j) and (tokens.is_tight(j + 1) or stop)):
            break
        j -= 1
    return words


def is_form_of(word: str, stem: str) -> bool:
    """Whether a word is a form of an adjective, or its beginning and a full stop."""
    if word.endswith("."):
        return len(word) > 2 and stem.startswith(word[:-1])
    return word.startswith(stem) and len(word) <= len(stem) + 5


def read_adjectives(tokens: Tokens, i: int) -> tuple[bool, str | None, int]:
    """(found, act id or None, first token) of the words that name the code whose head is token i."""
    before = words_before(tokens, i, 3)
    words = [word for word, _ in before][::-1]
    for count in range(len(words), 0, -1):
        tail = tuple(words[-count:])
        for stems, act in acts.CODES_RU.items():
            if len(stems) == count and all(map(is_form_of, tail, stems)):
                return True, act, before[count - 1][1]
        key = tuple(map(fold, tail))
        if key in acts.CODES_KK:
            return True, acts.CODES_KK[key], before[count - 1][1]
    return False, None, i


def read_before(tokens: Tokens, i: int) -> Details:
    """What stands before a Kazakh head word at i: «... туралы» Қазақстан Республикасының 2015 жылғы Заңы."""
    details = Details(i, i)
    j = read_back(tokens, i, details)
    if tokens.at(j - 1) in CLOSING_QUOTES:
        opened = tokens.opening(j - 1)
        words = tokens.words(opened + 1, j - 1) if opened is not None else ()
        if opened is not None and words and ("туралы" in words or words[0] in ("о", "об")):
            details.named, details.title = True, acts.known_title(words)
            details.first = read_back(tokens, opened, details)
    elif tokens.at(j - 1) == "туралы":
        first, details.title = read_unquoted_before(tokens, j)
        details.named, details.first = True, read_back(tokens, first, details)
    elif details.number or details.date:
        details.first = j
    return details


def read_back(tokens: Tokens, i: int, details: Details) -> int:
    """Step back over country, number and date that end before i, noting them; index of the first."""
    j = skip_country_back(tokens, i)
    k = j
    while k > 0 and j - k < MAX_LOOK and (tokens.is_number(k - 1) or of_number_or_date(tokens.norm[k - 1])):
        k -= 1
    m = k
    if tokens.at(k) == "№" and is_unit(tokens.at(k - 1)):  # «статья № 52 ТК»
        return j
    while m < j:
        number, after = read_number(tokens, m)
        date, later = read_date(tokens, m)
        details.number = details.number or number
        details.date = details.date or date
        m = max(after, later, m + 1)
    found = details.number or details.date
    return skip_country_back(tokens, k) if found and k < j else j


@functools.lru_cache(maxsize=65536)
def of_number_or_date(word: str) -> bool:
    return (
        word in DASHES
        or word in ("№", "жылғы", "жылгы", "ж", ".", "n", "қрз")
        or month_of(word, MONTHS_KK) is not None
        or re.fullmatch("[ivxіх]+", word) is not None
    )


def read_unquoted_before(tokens: Tokens, j: int) -> tuple[int, str | None]:
    """(index of the first token, act id or None) of an unquoted Kazakh title that ends before j."""
    words, k = [], j - 1
    while k >= 0 and len(words) < 20 and (tokens.kind[k] == "w" or tokens.norm[k] in "()-"):
        if tokens.kind[k] == "w":
            words.append((tokens.norm[k], k))
        k -= 1
    key = acts.title_key(word for word, _ in reversed(words))
    for start in range(len(key) - 1):
        if key[start] in acts.title_starts() and key[start:] in acts.titles():
            return words[len(key) - 1 - start][1], acts.titles()[key[start:]]
    return words[min(len(words), 6) - 1][1], None


def settle(name: str | None, named: bool, details: Details) -> tuple[str, str | None]:
    """(state, act id) of what words, number and date say together; name: act id by the words, if `named`."""
    if details.foreign:
        return "unknown", None
    if details.number or details.date:
        if named and name is None:
            return "unknown", None
        act = acts.resolve_dated(name, details.number, details.date)
        return ("known", act) if act else ("unknown", None)
    if not named:
        return "bare", None
    if name == acts.CIVIL_CODE and details.part:
        name = details.part
    if details.edition:  # of the act in force, unless an older one of that name is of that year
        name = acts.resolve_dated(name, None, details.edition) or name
    return ("known", name) if name else ("unknown", None)


def pointed_at(tokens: Tokens, i: int) -> tuple[str | None, int]:
    """("this" | "same" | None, index) for «настоящего», «того же», «осы», «аталған» before token i."""
    word, before = tokens.at(i - 1), tokens.at(i - 2)
    if THIS_RU.fullmatch(word) or word == "осы":
        return "this", i - 1
    if fold(word) in SAME_KK and before == "осы":
        return "this", i - 2
    if SAME_RU.fullmatch(word) or fold(word) in SAME_KK:
        two = word == "же" and before in ("того", "тому", "тем", "том", "этого", "тот", "той", "этой")
        return "same", i - 2 if two else i - 1
    return None, i


def note_surroundings(tokens: Tokens, first: int, details: Details) -> int:
    """Note another state («РФ ТК-нің») or «старого» before a named act; index of the first token."""
    before_country = skip_country_back(tokens, first)
    before_state = skip_foreign_back(tokens, first)
    if before_country == first > before_state and not details.of_kazakhstan:
        details.foreign = True
        return before_state
    old = before_country - 1 - (tokens.at(before_country - 1) == "силу")  # «утратившего силу»
    if OLD.fullmatch(tokens.folded(old)) and not details.number and not details.date:
        details.date = acts.OLD
        return old
    return first


def head_mention(tokens: Tokens, i: int, kind: str) -> Mention | None:
    """The act whose head word («кодекс», «закон», «заң») is token i; None for a plural («законами РК»)."""
    state, first = pointed_at(tokens, i)
    if state:
        after = read_after(tokens, i + 1, titled=state == "same")
        if not after.named:
            return Mention(first, after.end, kind, state, None, False, after.alias)
    found, name, first = read_adjectives(tokens, i) if kind == "code" else (False, None, i)
    word = tokens.norm[i]
    before = Details(first, first)
    if not found:
        before = read_before(tokens, i)
    elif is_kazakh_code(tokens, first, i):  # «2017 жылғы Салық кодексінің»
        before.first = read_back(tokens, first, before)
    if before.named:
        found, name, first = True, before.title, before.first
    after = read_after(tokens, i + 1, titled=not found)
    if after.named:
        found, name = True, after.title
    after.number, after.date = after.number or before.number, after.date or before.date
    if after.number or after.date:
        first = min(first, before.first)
    if kind == "code" and not found and OF_CONDUCT.fullmatch(tokens.at(i + 1)):
        return Mention(i, i + 2, kind, "unknown", None, True)
    if kind == "code" and not found and not after.number and has_own_adjective(tokens, i):
        return Mention(i - 1, after.end, kind, "unknown", None, True, after.alias)
    if kind == "law" and tokens.at(i - 1).startswith("конституционн"):
        found, name, first = True, None, i - 1
    if not found and word.startswith(("закон", "кодекс")) and word.endswith(("ы", "ов", "ам", "ами", "ах")):
        return None
    if found:
        first = note_surroundings(tokens, first, after)
    state, act = settle(name, found, after)
    first = pointed_at(tokens, first)[1]  # «настоящего Трудового кодекса»
    return Mention(first, after.end, kind, state, act, state != "bare", after.alias)


def is_kazakh_code(tokens: Tokens, first: int, i: int) -> bool:
    """Whether the adjectives from first to the head word at i are Kazakh."""
    return tuple(map(fold, tokens.words(first, i))) in acts.CODES_KK


def has_own_adjective(tokens: Tokens, i: int) -> bool:
    """Whether the word before the head word at i names a code that we do not know («Водного кодекса»)."""
    word, prior = tokens.norm[i], tokens.at(i - 1)
    if fold(word).startswith("кодекси"):
        return tokens.is_word(i - 1) and skip_country_back(tokens, i) == i
    is_adjective = ADJECTIVE_RU.fullmatch(prior) and not PLAIN_RU.fullmatch(prior)
    return bool(is_adjective) and not word.endswith("ң")


@functools.lru_cache(maxsize=65536)
def code_of_adjective(word: str) -> str | None:
    """The code in acts.json that one Russian adjective names, or None."""
    codes = (act for stems, act in acts.CODES_RU.items() if len(stems) == 1 and is_form_of(word, stems[0]))
    return next(codes, None)


def elliptic_mention(tokens: Tokens, i: int) -> Mention | None:
    """The code of the adjective at i where its head word comes later: «ст. 52 Трудового и ст. 9 Гражданского
    кодексов»; else None."""
    last = min(tokens.size, i + MAX_LOOK)
    if tokens.at(i + 1) not in AND_RU and tokens.at(i + 1) != ",":
        return None
    heads = (
        tokens.norm[j].startswith("кодекс") and tokens.sentence[j] == tokens.sentence[i]
        for j in range(i, last)
    )
    return (
        Mention(i, i + 1, "code", "known", code_of_adjective(tokens.norm[i]), False) if any(heads) else None
    )


def constitution_mention(tokens: Tokens, i: int, head: int | None = None) -> Mention:
    """The Constitution, named at i; head: the second word of «Ата заң»."""
    state, first = pointed_at(tokens, i)
    before = Details(i, i)
    read_back(tokens, i, before)
    after = read_after(tokens, (head or i) + 1, titled=False)
    if state:
        return Mention(first, after.end, "constitution", state, None, False)
    after.date, after.number = after.date or before.date, None
    first = note_surroundings(tokens, i, after)
    state, act = settle("constitution", True, after)
    return Mention(first, after.end, "constitution", state, act, True)


def read_abbreviation(tokens: Tokens, i: int) -> tuple[str, int, bool]:
    """(key of acts.abbreviations, index after, whether a Kazakh case ending follows) of the abbreviation at
    i: «ТК», «ЕК-нің», «ЕКнің»; index i if it is none."""
    raw, key, end = tokens.raw(i), tokens.norm[i], i + 1
    if raw.isascii() and raw.isupper():
        return normalize_word(raw.translate(UPPER_LOOK_ALIKES)), end, False
    glued = GLUED.fullmatch(raw)
    if glued and normalize_word(glued[1]) in acts.abbreviations("kk"):
        return normalize_word(glued[1]), end, True
    if not (tokens.at(end) in HYPHENS and tokens.is_tight(end) and tokens.is_word(end + 1)):
        return key, end, False
    if tokens.raw(end + 1).isupper() or not (
        key in acts.abbreviations("ru") or key in acts.abbreviations("kk")
    ):
        return key, i, False
    return key, end + 2, True


def abbreviation_mention(tokens: Tokens, i: int) -> Mention | None:
    """The act whose abbreviation is token i, or None."""
    key, end, in_kazakh = read_abbreviation(tokens, i)
    if end == i or tokens.at(i - 1) in HYPHENS and tokens.is_tight(i):
        return None
    before, after = Details(i, i), read_after(tokens, end, titled=False)
    first = min(read_back(tokens, i, before), skip_country_back(tokens, i))
    after.number, after.date = after.number or before.number, after.date or before.date
    first = min(first, note_surroundings(tokens, i, after))
    of_kazakhstan = skip_country_back(tokens, i) < i  # «ҚР ЕК»
    in_russian = after.of_kazakhstan and tokens.at(end) != "қр"  # «ТК РК»
    of_state = of_kazakhstan or in_russian or after.foreign
    raw, names = tokens.raw(i), {lang: acts.abbreviations(lang).get(key) for lang in ("ru", "kk")}
    if not any(names.values()):
        of_code = raw.isupper() and 2 <= len(raw) <= 6 and key.endswith("к") and of_state  # «УИК РК»
        return Mention(first, after.end, "code", "unknown", None, False) if of_code else None
    written, beside = sum(map(str.isupper, raw)) > 1, is_beside_article(tokens, i, end)
    if not (written or in_russian or after.foreign or beside):
        return None
    if key in EVERYDAY and not (of_state or in_kazakh or beside or tokens.at(i - 1) == "("):
        return None
    name = names["kk"] if of_kazakhstan or in_kazakh else names["ru"] if in_russian else None
    if name:
        act = settle(name, True, after)[1]
    else:  # the article's language will tell; where the country's name does, it is no act of that language
        settled = {lang: settle(name, True, after)[1] for lang, name in names.items() if name}
        act = settled if any(settled.values()) and not of_state else None
    dated = act is not None and bool(after.date or after.number)
    strong = written and name is not None and (of_kazakhstan or in_russian or dated)
    kind = "law" if key == "зозпп" else "code"
    return Mention(first, after.end, kind, "known" if act else "unknown", act, strong, after.alias)


def is_beside_article(tokens: Tokens, i: int, end: int) -> bool:
    """Whether a number or the word for an article touches the abbreviation at i, which ends before `end`."""
    return (
        tokens.is_number(i - 1)
        or tokens.is_number(end)
        or tokens.at(end) in ARTICLE_RU
        or tokens.is_word(i - 1)
        and is_unit(tokens.at(i - 1))
    )


def other_mention(tokens: Tokens, i: int) -> Mention | None:
    """An act of another kind («Правил», «Конвенции») at i, or a contract, which is no act; else None."""
    kind = tokens.norm[i][:6]
    titled = tokens.at(i + 1) in ("о", "об")
    state, first = pointed_at(tokens, i)
    if NO_ACT.fullmatch(tokens.folded(i)):
        after = read_after(tokens, i + 1, titled)
        title = tokens.norm[i - 1 : max(i + 4, after.end if titled else 0)]
        if after.foreign or any(map(TREATY.fullmatch, title)):
            first = i - 1 if ADJECTIVE_RU.fullmatch(tokens.at(i - 1)) else i
            return Mention(first, after.end, kind, "unknown", None, False)
        if first == i and ADJECTIVE_RU.fullmatch(tokens.at(i - 1)):  # «трудового договора»
            first = i - 1
        return Mention(first, i + 1, kind, "contract", None, False)
    if state and not titled:
        return Mention(first, i + 1, kind, state, None, False)
    adjective = ADJECTIVE_RU.fullmatch(tokens.at(i - 1)) or FEMININE.fullmatch(tokens.at(i - 1))
    named_before = tokens.is_capital(i - 1) and adjective  # «Венской конвенции»
    if titled or tokens.is_capital(i) or named_before:
        end = read_after(tokens, i + 1, titled).end
        return Mention(i - 1 if named_before else i, end, kind, "unknown", None, False)
    return None


@functools.lru_cache(maxsize=65536)
def kind_of_word(raw: str) -> str | None:
    """What a word may name: "code", "law", "constitution", "other", "social", "federal", "adjective",
    "abbreviation" or nothing (None)."""
    word = normalize_word(raw)
    if word.startswith(("кодекс", "соцкодекс")):
        return "code" if word[0] == "к" else "social"
    if word in ("фз", "фкз"):
        return "federal"
    if LAW_RU.fullmatch(word) or LAW_KK.fullmatch(fold(word)):
        return "law"
    if CONSTITUTION.fullmatch(fold(word)):
        return "constitution"
    if OTHER_ACT.fullmatch(fold(word)) or NO_ACT.fullmatch(fold(word)):
        return "other"
    if word.endswith(("ого", "его", "ому", "ым")) and code_of_adjective(word):
        return "adjective"
    known = word in acts.abbreviations("ru") or word in acts.abbreviations("kk")
    return "abbreviation" if len(word) <= 8 and (known or sum(map(str.isupper, raw)) > 1) else None


def mention_at(tokens: Tokens, i: int) -> Mention | None:
    """The act that is named at word i, or None."""
    kind = kind_of_word(tokens.raw(i))
    if kind == "social":  # «Соцкодекс»
        return Mention(i, read_after(tokens, i + 1, titled=False).end, "code", "known", "social_code", True)
    if kind == "law" and (tokens.at(i - 1) == "ата" or tokens.at(i - 1).startswith("основн")):
        return constitution_mention(tokens, i - 1, i)
    if kind == "adjective":
        return elliptic_mention(tokens, i)
    if kind == "federal":  # «ФЗ», of the Russian Federation
        return Mention(i, read_after(tokens, i + 1, titled=True).end, "law", "unknown", None, True)
    if kind in ("code", "law"):
        return head_mention(tokens, i, kind)
    if kind == "constitution":
        return constitution_mention(tokens, i)
    if kind == "other":
        return other_mention(tokens, i)
    return abbreviation_mention(tokens, i) if kind else None


def find_mentions(tokens: Tokens) -> list[Mention]:
    """The acts named, in order, none inside another."""
    mentions: list[Mention] = []
    i = 0
    while i < tokens.size:
        mention = mention_at(tokens, i) if tokens.kind[i] == "w" else None
        if mention:
            while mentions and mentions[-1].first >= mention.first:  # «(Салық кодексі)» in the longer title
                mentions.pop()
            if mentions and mentions[-1].last > mention.first:
                mention = mention._replace(first=mentions[-1].last)
            mentions.append(mention)
            i = max(i + 1, mention.last)
        else:
            i += 1
    return mentions
