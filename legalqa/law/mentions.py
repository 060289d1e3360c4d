"""Which acts a text names, and where: codes by adjective, laws by title, both by abbreviation, number or date."""

import functools
import re
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.acts import normalize_word
from legalqa.law.numbers import MONTHS_KK, month_of, read_date
from legalqa.law.tokens import CLOSING_QUOTES, DASHES, HYPHENS, MAX_LOOK, QUOTES
from legalqa.law.units import AND_RU, ARTICLE_RU, PART_RU, is_unit

ROMAN = str.maketrans("ІХСМіхсм", "IXCMixcm")
UPPER_LOOK_ALIKES = str.maketrans("ABCEHKMOPTXY", "АВСЕНКМОРТХУ")
LAW_RU = re.compile("закон(?:а|у|ом|е|ы|ов|ам|ами|ах)?|зрк")
LAW_KK = re.compile("заң(?:ы|ның|ына|ынан|ында|ындағы|ының|ын|ымен|ға|ды|да|дан|нан|мен|дағы)?")
CONSTITUTION = re.compile(
    "конституци(?:я|и|ю|ей|ею)"
    "|конституция(?:ның|ға|ны|да|дан|мен|сы|сын|сының|сына|сында|сындағы|сынан|сымен)"
)
OTHER_ACT = re.compile(
    "правил|положени[яюей]+|конвенци[июяей]+|приказ[ауоме]*|постановлени[яюемй]+"
    "|указ[ауоме]*|регламент[ауоме]*|инструкци[июяей]+|устав[ауоме]*|пакт[ауоме]*"
    "|протокол[ауоме]*|деклараци[июяей]+|уложени[яюемй]+|стандарт[ауоме]*"
    "|қағидалар.*|ереже(?:нің|сінің)"
    "|конвенция.*|жарлы[қғ].*|қаулы.*|бұйры[қғ].*|жарғы.*|шарт(?:тың|ының)"
    "|келісім(?:нің|інің)"
)
CONTRACT = re.compile("(?:договор|контракт|соглашени)[ауоюяем]*")
ADJECTIVE_RU = re.compile(".{3,}(?:ый|ий|ой|ого|его|ому|ему|ым|им|ом|ем)")
THIS_RU = re.compile("настоящ(?:ий|его|ему|им|ем|ая|ей|ую)")
SAME_RU = re.compile(
    "эт(?:от|ого|ому|им|ом)|(?:данн|(?:выше)?указанн|(?:выше)?названн|(?:выше)?упомянут)"
    "(?:ый|ого|ому|ым|ом)|же"
)
SAME_KK = frozenset(["аталған", "көрсетілген", "сол", "бұл", "осындай", "жоғарыда"])
PLAIN_RU = re.compile(
    "действующ.*|нов(?:ый|ого|ому|ым|ом)|стар(?:ый|ого|ому|ым|ом)|прежн.*"
    "|казахстанск.*|наш.*|сам.*|отдельн.*|кажд.*|перв.*|втор.*|любо.*|тако.*|мо(?:его|ему)"
    "|всего|отечественн.*|соответствующ.*|ино(?:й|го|му)"
)
VERB = re.compile(".{3,}(?:[аеиуюя]т(?:ся)?|[аи]л[аои]?(?:сь|ся)?|ен[аоы]|ан[аоы]|ит)|не|является")
FOREIGN = frozenset(
    [
        "рф",
        "россии",
        "российской",
        "еаэс",
        "снг",
        "ссср",
        "украины",
        "узбекистана",
        "кыргызской",
        "беларусь",
        "белоруссии",
        "таможенного",
        "ресей",
    ]
)
FOREIGN_PAIRS = frozenset(["российской", "кыргызской", "республики", "таможенного"])  # the name is two words


class Mention(NamedTuple):
    """An act named in the text: tokens first to last (exclusive).

    state: "known", "unknown" (named, but not in acts.json), "bare" («Закона»), "same" («того же Закона»),
    "this" («настоящего Кодекса»), "contract" (no act at all); act: id, or {"ru", "kk"} of an abbreviation
    that depends on the language; strong: names its act by itself, not only beside an article; alias: "code"
    or "law" if «(далее – Закон)» follows.
    """

    first: int
    last: int
    kind: str
    state: str
    act: object
    strong: bool
    alias: str | None


def skip_country(tokens, i):
    """Index after «РК» or «Республики Казахстан» at i, else i."""
    if tokens.at(i) in ("рк", "казахстана", "қр"):
        i += 1
        return i + 2 if tokens.at(i) in HYPHENS and tokens.is_tight(i) and tokens.is_word(i + 1) else i
    if tokens.at(i).startswith("республик") and tokens.at(i + 1) == "казахстан":
        return i + 2
    if tokens.at(i) == "қазақстан" and tokens.at(i + 1).startswith("республика"):
        return i + 2
    return i


def skip_country_back(tokens, i):
    """Index of the first token of «ҚР» or «Қазақстан Республикасының» that ends before i, else i."""
    if tokens.at(i - 1) == "қр":
        return i - 1
    if tokens.at(i - 1).startswith("республика") and tokens.at(i - 2) == "қазақстан":
        return i - 2
    if tokens.at(i - 2) in HYPHENS and tokens.at(i - 3) == "қр":
        return i - 3
    return i


def read_number(tokens, i):
    """(number of an act such as "414-v", index after it) at «№», or (None, i)."""
    if tokens.at(i) not in ("№", "n", "no", "нн") or not tokens.is_number(i + 1):
        return None, i
    number, i = tokens.at(i + 1), i + 2
    if tokens.at(i) in DASHES and (tokens.is_word(i + 1) or tokens.is_number(i + 1)):
        number, i = f"{number}-{tokens.raw(i + 1).translate(ROMAN).lower()}", i + 2
    return number, i + 1 if tokens.at(i) in ("зрк", "қрз") else i


def known_title(words):
    """Act id of a title's words in either language, or None."""
    short = acts.without_country(words)
    for language in ("ru", "kk"):
        table = acts.titles(language)
        if words in table or short in table:
            return table.get(words) or table[short]
    return None


def read_title(tokens, i):
    """(act id or None, index after) of an unquoted title that starts at «о», «об»; (None, i) if none does."""
    if tokens.at(i) not in ("о", "об") or not tokens.is_word(i + 1):
        return None, i
    words = []
    last = i
    while len(words) < 24 and last < tokens.size and (tokens.is_word(last) or tokens.norm[last] in "()-"):
        if tokens.is_word(last):
            words.append((tokens.norm[last], last + 1))
        last += 1
    table = acts.titles("ru")
    for count in range(len(words), 1, -1):
        act = table.get(tuple(word for word, _ in words[:count]))
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


def starts_reference(tokens, i):
    """Whether an article, a part of one or another act begins at token i, or after an «и» there."""
    word = tokens.at(i + (tokens.at(i) in AND_RU))
    return (
        word in ARTICLE_RU
        or word in ("п", "пп", "ч", "подп", "рк")
        or bool(PART_RU.fullmatch(word))
        or word.startswith(("кодекс", "закон", "республик"))
    )


def read_after(tokens, i, titled):
    """What follows an act's head word: {"end", "number", "date", "title" (act id), "named", "foreign",
    "alias", "part"}.

    titled: a title may follow (not after a code that its adjective names).
    """
    facts = {
        "end": i,
        "number": None,
        "date": None,
        "title": None,
        "named": False,
        "foreign": False,
        "alias": None,
        "part": None,
    }
    for _ in range(MAX_LOOK):
        i = facts["end"]
        after = skip_country(tokens, i)
        if after > i:
            facts["end"] = after
            continue
        if tokens.at(i) in FOREIGN or tokens.at(i) == "республики" and tokens.is_word(i + 1):
            facts["foreign"], facts["end"] = True, i + (2 if tokens.at(i) in FOREIGN_PAIRS else 1)
            continue
        number, after = read_number(tokens, i + (tokens.at(i) == "за"))
        if number and not facts["number"]:
            facts["number"], facts["end"] = number, after
            continue
        date, after = read_date(tokens, i)
        if date and not facts["date"]:
            facts["date"], facts["end"] = date, after
            continue
        if tokens.at(i) == "(" and read_bracket(tokens, i, facts, titled):
            continue
        if titled and not facts["named"]:
            if tokens.at(i) in QUOTES:
                close = tokens.closing(i)
                if close and tokens.at(i + 1) in ("о", "об"):
                    facts.update(title=known_title(tokens.words(i + 1, close)), named=True, end=close + 1)
                    continue
            act, after = read_title(tokens, i)
            if after > i:
                facts.update(title=act, named=True, end=after)
                continue
        return facts
    return facts


def read_bracket(tokens, i, facts, titled):
    """Take «(далее – Закон)», «(Общая часть)», «(Налоговый кодекс)», «(с изменениями ...)» at i into `facts`;
    False if it cites articles."""
    close = tokens.closing(i)
    if close is None:
        return False
    words = tokens.words(i + 1, close)
    if not words or words[0] not in ("далее", "бұдан") and any(map(is_unit, words)):
        return False
    if words[0] in ("далее", "бұдан"):
        if words[-1].startswith(("кодекс", "закон", "заң")):
            facts["alias"] = "code" if words[-1].startswith("кодекс") else "law"
    elif words[0] in ("общая", "общей", "жалпы"):
        facts["part"] = "civil_code_general"
    elif words[0] in ("особенная", "особенной", "ерекше"):
        facts["part"] = "civil_code_special"
    elif words[-1].startswith("кодекс"):
        if titled and not facts["named"]:
            found, act, _ = read_adjectives(tokens, close - 1)
            facts.update(title=act, named=found)
    elif not (
        len(words) == 1
        and tokens.raw(i + 1).isupper()  # «(ТК)»
        or words[:2] in (("с", "изменениями"), ("в", "редакции"), ("по", "состоянию"))
    ):
        return False
    facts["end"] = close + 1
    return True


def words_before(tokens, i, count):
    """Up to `count` words before token i, nearest first, hyphens between them skipped: [(word, index)]."""
    words, j = [], i - 1
    while len(words) < count and j >= 0:
        if tokens.kind[j] == "w":
            words.append((tokens.norm[j], j))
        elif not (tokens.norm[j] in HYPHENS and tokens.is_tight(j) and tokens.is_tight(j + 1)):
            break
        j -= 1
    return words


def is_form_of(word, stem):
    return word.startswith(stem) and len(word) <= len(stem) + 5


def read_adjectives(tokens, i):
    """(found, act id or None, first token) of the words that name the code whose head is token i."""
    before = words_before(tokens, i, 3)
    words = [word for word, _ in before][::-1]
    for count in range(len(words), 0, -1):
        tail = tuple(words[-count:])
        for stems, act in acts.CODES_RU.items():
            if len(stems) == count and all(map(is_form_of, tail, stems)):
                return True, act, before[count - 1][1]
        if tail in acts.CODES_KK:
            return True, acts.CODES_KK[tail], before[count - 1][1]
    return False, None, i


def read_title_before(tokens, i):
    """What stands before a Kazakh head word at i («... туралы» Қазақстан Республикасының 2015 жылғы № 1-V
    Заңы): {"named", "title", "number", "date", "first"}."""
    facts = {"named": False, "title": None, "number": None, "date": None, "first": i}
    j = read_back(tokens, i, facts)
    if tokens.at(j - 1) in CLOSING_QUOTES:
        opened = tokens.opening(j - 1)
        words = tokens.words(opened + 1, j - 1) if opened is not None else ()
        if words and ("туралы" in words or words[0] in ("о", "об")):
            facts.update(named=True, title=known_title(words), first=read_back(tokens, opened, facts))
    elif tokens.at(j - 1) == "туралы":
        first, title = read_unquoted_before(tokens, j)
        facts.update(named=True, title=title, first=read_back(tokens, first, facts))
    elif facts["number"] or facts["date"]:
        facts["first"] = j
    return facts


def read_back(tokens, i, facts):
    """Step back over country, number and date that end before i, noting them; index of the first."""
    j = skip_country_back(tokens, i)
    k = j
    while k > 0 and j - k < MAX_LOOK and (tokens.is_number(k - 1) or of_number_or_date(tokens.norm[k - 1])):
        k -= 1
    m = k
    while m < j:
        number, after = read_number(tokens, m)
        date, later = read_date(tokens, m)
        facts["number"] = facts["number"] or number
        facts["date"] = facts["date"] or date
        m = max(after, later, m + 1)
    found = facts["number"] or facts["date"]
    return skip_country_back(tokens, k) if found and k < j else j


def of_number_or_date(word):
    return (
        word in DASHES
        or word in ("№", "жылғы", "ж", ".", "n", "қрз")
        or month_of(word, MONTHS_KK) is not None
        or re.fullmatch("[ivxіх]+", word) is not None
    )


def read_unquoted_before(tokens, j):
    """(index of the first token, act id or None) of an unquoted Kazakh title that ends before j."""
    words, k = [], j - 1
    while k >= 0 and len(words) < 20 and (tokens.kind[k] == "w" or tokens.norm[k] in "()-"):
        if tokens.kind[k] == "w":
            words.append((tokens.norm[k], k))
        k -= 1
    for count in range(len(words), 1, -1):
        title = known_title(tuple(word for word, _ in words[:count][::-1]))
        if title:
            return words[count - 1][1], title
    return words[min(len(words), 6) - 1][1], None


def settle(name, named, facts):
    """(state, act id) of what words, number and date say together; name: act id by the words, if `named`."""
    if facts.get("foreign"):
        return "unknown", None
    if facts["number"] or facts["date"]:
        if named and name is None:
            return "unknown", None
        act = acts.resolve_dated(name, facts["number"], facts["date"])
        return ("known", act) if act else ("unknown", None)
    if named:
        if name == acts.CIVIL_CODE and facts.get("part"):
            name = facts["part"]
        return ("known", name) if name else ("unknown", None)
    return "bare", None


def pointed_at(tokens, i):
    """("this" | "same" | None, index) for «настоящего», «того же», «осы», «аталған» before token i."""
    word = tokens.at(i - 1)
    if THIS_RU.fullmatch(word) or word == "осы":
        return "this", i - 1
    if word in SAME_KK and tokens.at(i - 2) == "осы":
        return "this", i - 2
    if SAME_RU.fullmatch(word) or word in SAME_KK:
        two = word == "же" and tokens.at(i - 2) in ("того", "тому", "тем", "том", "этого", "тот")
        return "same", i - 2 if two else i - 1
    return None, i


def head_mention(tokens, i, kind):
    """The act whose head word («кодекс», «закон», «заң») is token i; None for a plural («законами РК»)."""
    state, first = pointed_at(tokens, i)
    if state:
        after = read_after(tokens, i + 1, titled=state == "same")
        if not after["named"]:
            return Mention(first, after["end"], kind, state, None, False, after["alias"])
    found, name, first = read_adjectives(tokens, i) if kind == "code" else (False, None, i)
    before = {"named": False} if found else read_title_before(tokens, i)
    if before["named"]:
        found, name, first = True, before["title"], before["first"]
    after = read_after(tokens, i + 1, titled=not found)
    if after["named"]:
        found, name = True, after["title"]
    for key in ("number", "date"):
        after[key] = after[key] or before.get(key)
    if not found and (after["number"] or after["date"]):
        first = min(first, before.get("first", i))
    word = tokens.norm[i]
    if kind == "code" and not found and not after["number"]:
        prior = tokens.at(i - 1)
        if word.startswith("кодексі"):
            own = tokens.is_word(i - 1) and skip_country_back(tokens, i) == i
        else:
            own = ADJECTIVE_RU.fullmatch(prior) and not PLAIN_RU.fullmatch(prior) and not word.endswith("ң")
        if own:
            return Mention(i - 1, after["end"], kind, "unknown", None, True, after["alias"])
    if kind == "law" and tokens.at(i - 1).startswith("конституционн"):
        found, name, first = True, None, i - 1
    if not found and (word.endswith(("ы", "ов", "ам", "ами", "ах")) and word.startswith(("закон", "кодекс"))):
        return None
    state, act = settle(name, found, after)
    first = pointed_at(tokens, first)[1]  # «настоящего Трудового кодекса»
    return Mention(first, after["end"], kind, state, act, state != "bare", after["alias"])


def constitution_mention(tokens, i, head=None):
    state, first = pointed_at(tokens, i)
    before = {"named": False, "number": None, "date": None}
    read_back(tokens, i, before)
    after = read_after(tokens, (head or i) + 1, titled=False)
    if state:
        return Mention(first, after["end"], "constitution", state, None, False, None)
    after["date"], after["number"] = after["date"] or before["date"], None
    state, act = settle("constitution", True, after)
    return Mention(i, after["end"], "constitution", state, act, True, None)


def abbreviation_mention(tokens, i):
    """The act whose abbreviation is token i, or None."""
    raw = tokens.raw(i)
    upper = raw.isupper()
    key = normalize_word(raw.translate(UPPER_LOOK_ALIKES)) if upper and raw.isascii() else tokens.norm[i]
    by_language = {language: acts.abbreviations(language).get(key) for language in ("ru", "kk")}
    mixed = sum(letter.isupper() for letter in raw) > 1
    if tokens.at(i - 1) in HYPHENS and tokens.is_tight(i):
        return None
    end = i + 1
    if tokens.at(end) in HYPHENS and tokens.is_tight(end) and tokens.is_word(end + 1):  # «ЕК-нің»
        if tokens.raw(end + 1).isupper() or not any(by_language.values()):
            return None
        end += 2
    first = skip_country_back(tokens, i)
    after = read_after(tokens, end, titled=False)
    in_kazakhstan = skip_country(tokens, end) > end and tokens.at(end) != "қр"
    if not any(by_language.values()):
        of_country = first < i or in_kazakhstan or after["foreign"]
        if upper and 2 <= len(raw) <= 6 and key.endswith("к") and of_country:
            return Mention(first, after["end"], "code", "unknown", None, False, None)
        return None
    if not (upper or mixed) and not in_kazakhstan:
        return None
    kind = "law" if key == "зозпп" else "code"
    act = by_language["kk"] if first < i else by_language["ru"] if in_kazakhstan else None
    if act and not after["foreign"]:
        state, act = settle(act, True, after)
        return Mention(first, after["end"], kind, state, act, upper or mixed, after["alias"])
    if after["foreign"] or first < i or in_kazakhstan:
        return Mention(first, after["end"], kind, "unknown", None, False, None)
    return Mention(first, after["end"], kind, "known", by_language, False, None)


def other_mention(tokens, i):
    """An act of another kind («Правил», «Конвенции») at i, or a contract, which is no act; else None."""
    titled = tokens.at(i + 1) in ("о", "об")
    if CONTRACT.fullmatch(tokens.norm[i]) and not titled and tokens.raw(i)[0].islower():
        return Mention(i, i + 1, "other", "contract", None, False, None)
    if titled or tokens.raw(i)[0].isupper():
        return Mention(i, read_after(tokens, i + 1, titled)["end"], "other", "unknown", None, False, None)
    return None


@functools.lru_cache(maxsize=65536)
def kind_of_word(raw):
    """What a word may name: "code", "law", "constitution", "other", "social", "abbreviation" or nothing (None)."""
    word = normalize_word(raw)
    if word.startswith(("кодекс", "соцкодекс")):
        return "code" if word[0] == "к" else "social"
    if LAW_RU.fullmatch(word) or LAW_KK.fullmatch(word):
        return "law"
    if CONSTITUTION.fullmatch(word):
        return "constitution"
    if OTHER_ACT.fullmatch(word) or CONTRACT.fullmatch(word):
        return "other"
    known = word in acts.abbreviations("ru") or word in acts.abbreviations("kk")
    return "abbreviation" if len(word) <= 8 and (known or sum(map(str.isupper, raw)) > 1) else None


def mention_at(tokens, i):
    """The act that is named at word i, or None."""
    kind = kind_of_word(tokens.raw(i))
    if kind == "social":  # «Соцкодекс»
        end = read_after(tokens, i + 1, titled=False)["end"]
        return Mention(i, end, "code", "known", "social_code", True, None)
    if kind == "law" and tokens.at(i - 1) == "ата":
        return constitution_mention(tokens, i - 1, i)
    if kind in ("code", "law"):
        return head_mention(tokens, i, kind)
    if kind == "constitution":
        return constitution_mention(tokens, i)
    if kind == "other":
        return other_mention(tokens, i)
    return abbreviation_mention(tokens, i) if kind else None


def find_mentions(tokens):
    """The acts named, in order, none inside another."""
    mentions, i = [], 0
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
