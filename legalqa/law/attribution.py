"""Which act each article is of: the one beside it, else that of its list, else the last of its sentence."""

import functools
import re
from bisect import bisect_left
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.articles import Group, gap_is
from legalqa.law.mentions import PLAIN_RU, VERB, Mention, skip_country
from legalqa.law.numbers import MONTHS_KK, MONTHS_RU, month_of
from legalqa.law.tokens import DASHES, QUOTES, Tokens, word_set

MAX_CARRY = 40  # tokens over which an act named before still holds in its sentence
MAX_HEADING = 12  # tokens of an article's heading between it and its act
MAX_SUBJECT = 25  # tokens on each side that may tell what an article without an act is of
RECENT = 3  # sentences after an act was named in which «настоящий Кодекс» means it
LAWS = word_set("code law constitution")
LINKS = DASHES | word_set(
    "и или либо а также с со в во на по к ко из от о об для при"
    " положениям положениями положениях положений положения требованиям требованиями требованиях требований"
    " требования нормам нормами нормах норм нормы , ( ) және жане немесе мен пен бен сондай ақ"
)
BEFORE = DASHES | word_set(", : ( по согласно в ст сәйкес бойынша")
POINTS_BACK = word_set("нем ней там него оның онын онда ондағы")  # «В нём ст. 52»: in the act just named
OF_HEADING = word_set("по согласно сәйкес бойынша")
NOT_LAW = re.compile(  # books, accounts and papers that have articles or verses of their own
    "коран[ауе]?|библи[яиюей]+|евангели[еяюем]+|завет[ауе]?|тор[аыеу]|сур[аыеу]|псал.*|құран.*|інжіл.*|аят.*|хадис.*"
    "|смет[аыеу]|газет[аыеу]|журнал[ауе]"
)
STEEL = re.compile("стал[ьию]|сталью|гост|швеллер.*|арматур.*|двутавр.*|балк[аиу]")
GENERIC = re.compile(
    "кодекс.*|закон.*|заң.*|рк|қр|республик.*|казахстан.*|қазақстан.*|от|года?|г"
    "|эт(?:от|ого|ому|им|ом)|данн.*|.*указанн.*|.*названн.*|того|же|настоящ.*|осы|аталған"
    "|көрсетілген|сол|бұл|конституционн.*|туралы|зрк|қрз|жылғы"
    "|об?|и|в|на|және|далее|по|тексту|бұдан|әрі"
)


class Attributed(NamedTuple):
    """A list of articles with its act: id or None, the act as written or None; start and end of the whole
    reference, in characters."""

    group: Group
    act: str | None
    act_text: str | None
    start: int
    end: int


NamedAct = tuple[str | None, str | None]  # act id, act as written


class Acts:
    """What the text has said of acts so far: last of each kind, aliases, the one that holds here."""

    def __init__(self, tokens: Tokens, context_act: str | None):
        self.tokens, self.context_act = tokens, context_act and acts.cite_as(context_act)
        self.last: dict[str, NamedAct] = {}
        self.named_in: dict[str, int] = {}  # kind: sentence where its last one was named
        self.alias: dict[str, NamedAct] = {}
        self.seen: dict[str, set[str | None]] = {}
        self.current: NamedAct = (None, None)
        self.place: int | None = None  # token before which the current act was named or cited
        self.other_books = any(NOT_LAW.fullmatch(word) or STEEL.fullmatch(word) for word in set(tokens.norm))
        self.stands_alone = False  # its sentence does nothing but name it

    def resolve(self, mention: Mention, language: str) -> NamedAct:
        """(act id, act text) of a mention; (None, text) if it names no act that we know."""
        text = self.tokens.text[self.tokens.start[mention.first] : self.tokens.end[mention.last - 1]]
        if mention.state in ("known", "unknown"):
            if isinstance(mention.act, dict):
                return mention.act.get(language) or next(iter(mention.act.values())), text
            return mention.act, text
        named = None
        if mention.state == "this":
            if self.context_act:
                return self.context_act, text
            sentence = self.tokens.sentence[mention.first]
            if sentence - self.named_in.get(mention.kind, -RECENT) < RECENT:
                named = self.last[mention.kind]
        elif mention.state == "same":
            named = self.last.get(mention.kind)
        elif mention.state == "bare":
            only = len(self.seen.get(mention.kind, ())) == 1
            named = self.alias.get(mention.kind) or (self.last[mention.kind] if only else None)
        return (named[0], text if named[0] else named[1]) if named else (None, text)

    def note(self, mention: Mention, resolved: NamedAct) -> None:
        """Remember a mention for what comes after it."""
        if mention.state in ("known", "unknown"):
            self.last[mention.kind] = resolved
            self.named_in[mention.kind] = self.tokens.sentence[mention.first]
            self.seen.setdefault(mention.kind, set()).add(resolved[0] or act_key(resolved[1] or ""))
            if mention.alias:
                self.alias[mention.alias] = resolved
        if mention.strong or mention.state in ("bare", "same", "this") and mention.kind in LAWS:
            self.hold(resolved, mention.last)
            self.stands_alone = stands_alone(self.tokens, mention)

    def hold(self, resolved: NamedAct, place: int) -> None:
        """Let an act hold for the articles after token `place`."""
        self.current, self.place, self.stands_alone = resolved, place, False

    def carried_to(self, group: Group) -> NamedAct | None:
        """The act that a group without one takes over from what stands before it, or None."""
        if self.place is None or group.first - self.place > MAX_CARRY:
            return None
        sentence = self.tokens.sentence[group.first]
        sentences = sentence - self.tokens.sentence[self.place - 1]
        if (
            sentences == 0
            or sentences == 1
            and (self.stands_alone or points_back(self.tokens, group, sentence))
        ):
            return self.current
        return None


def stands_alone(tokens: Tokens, mention: Mention) -> bool:
    """Whether a mention is a sentence of its own, as a heading is: «Трудовой кодекс РК.», «ЕК бойынша.»"""
    sentence, i, j = tokens.sentence[mention.first], mention.first, mention.last
    while i and tokens.sentence[i - 1] == sentence and tokens.norm[i - 1] in OF_HEADING:
        i -= 1
    while tokens.at(j) in OF_HEADING:
        j += 1
    starts = i == 0 or tokens.sentence[i - 1] != sentence
    return starts and tokens.at(j) == "." and tokens.sentence[j] == sentence


def points_back(tokens: Tokens, group: Group, sentence: int) -> bool:
    """Whether a word before the group, in its sentence, means the act of the sentence before."""
    before = range(max(0, group.first - MAX_HEADING), group.first)
    return any(tokens.norm[j] in POINTS_BACK for j in before if tokens.sentence[j] == sentence)


def beside_after(tokens: Tokens, group: Group, mention: Mention) -> bool:
    """Whether `mention` follows `group` as its act: nothing, a bracket or a quoted title is between them."""
    i, steps = group.last, 0
    while i < mention.first and steps < 3:
        close = tokens.closing(i) if tokens.norm[i] == "(" or tokens.norm[i] in QUOTES else None
        if close:
            i = close + 1
        elif PLAIN_RU.fullmatch(tokens.norm[i]) or tokens.norm[i] in DASHES:
            i += 1
        elif group.language == "kk" and skip_country(tokens, i) > i:
            i = skip_country(tokens, i)
        else:
            return False
        steps += 1
    return i == mention.first and tokens.sentence[group.last - 1] == tokens.sentence[mention.first]


def heading_between(tokens: Tokens, group: Group, mention: Mention) -> bool:
    """Whether only the article's heading is between it and its act: «Статья 188. Понятие права собственности
    Гражданского кодекса РК»."""
    first, last = group.last, mention.first
    if tokens.at(first) != "." or not tokens.is_capital(first + 1) or not tokens.is_capital(group.first):
        return False
    if last - first > MAX_HEADING or tokens.sentence[first + 1] != tokens.sentence[last]:
        return False
    of_act = tokens.norm[last : mention.last]
    genitive = (
        any(word in ("кодекса", "закона", "конституции") for word in of_act) or tokens.raw(last).isupper()
    )
    heading = range(first + 1, last)
    return genitive and not any(
        VERB.fullmatch(tokens.norm[j]) or tokens.norm[j] in OF_HEADING or tokens.norm[j] in ".;:"
        for j in heading
    )


def is_act_after(tokens: Tokens, group: Group, mention: Mention) -> bool:
    return mention.first >= group.last and (
        beside_after(tokens, group, mention) or heading_between(tokens, group, mention)
    )


def linked(tokens: Tokens, group: Group, following: Group) -> bool:
    """Whether only «,», «и», «а также» and the like stand between two groups."""
    j, steps = group.last, 0
    while j < following.first and steps < 6:
        close = tokens.closing(j) if tokens.norm[j] == "(" else None
        if not close and tokens.norm[j] not in LINKS:
            return False
        j, steps = (close or j) + 1, steps + 1
    return j == following.first and tokens.sentence[group.last - 1] == tokens.sentence[following.first]


def own_mention(tokens: Tokens, group: Group, mentions: list[Mention], firsts: list[int]) -> Mention | None:
    """The mention that stands right after the group, or None."""
    i = bisect_left(firsts, group.last)
    if i == len(mentions):
        return None
    if group.language == "kk" and i and gap_is(tokens, mentions[i - 1].last, group.first, ()):
        return None  # its act stands before it
    mention = mentions[i]
    if mention.first > group.last and (tokens.norm[group.last] == "(" or tokens.norm[group.last] in QUOTES):
        after_title = bisect_left(firsts, tokens.closing(group.last) or group.last)
        if after_title < len(mentions) and is_act_after(tokens, group, mentions[after_title]):
            return mentions[after_title]
    if is_act_after(tokens, group, mention):
        return mention
    in_brackets = tokens.at(group.first - 1) == "(" and tokens.at(group.last) == ")"
    if in_brackets and mention.first == group.last + 1:  # «в порядке главы 44 (статья 829-3) КоАП»
        before = bisect_left(firsts, group.first)
        return None if before and mentions[before - 1].last == group.first - 1 else mention
    inside = group.last + 1
    if mention.state in ("bare", "contract") or mention.first not in (inside, skip_country(tokens, inside)):
        return None
    sign, after = tokens.norm[group.last], tokens.at(mention.last)
    bracketed = sign == "(" and after == ")"  # «ст. 52 (ТК РК)»
    at_the_end = sign == "," and after in (")", ".", ";", "")  # «(52-бап, ҚР ЕК)»
    return mention if bracketed or mention.strong and at_the_end else None


def mentions_after(tokens: Tokens, mentions: list[Mention], groups: list[Group]) -> list[Mention | None]:
    """Of each group the mention that follows it, or the list of articles that it is in."""
    firsts = [mention.first for mention in mentions]
    after = [own_mention(tokens, group, mentions, firsts) for group in groups]
    for i in range(len(groups) - 2, -1, -1):  # «статьи 8, пункта 2 статьи 15 и статьи 16 ТК РК»
        group, following = groups[i : i + 2]
        if after[i] is None and after[i + 1] and linked(tokens, group, following):
            j = bisect_left(firsts, group.first)
            before = j and gap_is(tokens, mentions[j - 1].last, group.first, ())
            if group.language == "ru" or not before:  # a Kazakh act mostly stands before: «ЕК 52-бап»
                after[i] = after[i + 1]
    return after


def near_before(tokens: Tokens, mention: Mention, group: Group) -> bool:
    """Whether an abbreviation stands right before the group: «ТК, ст. 28», «УК по статье 188»."""
    gap = range(mention.last, group.first)
    return len(gap) <= 3 and all(tokens.norm[j] in BEFORE for j in gap)


def is_of_no_law(tokens: Tokens, group: Group) -> bool:
    """Whether words around a group without an act tell of a holy book, an estimate, a newspaper or steel."""
    sentence = tokens.sentence[group.first]
    around = range(max(0, group.first - MAX_SUBJECT), min(tokens.size, group.last + MAX_SUBJECT))
    words = [tokens.norm[j] for j in around if tokens.kind[j] == "w" and tokens.sentence[j] == sentence]
    steel = "ст" in tokens.norm[group.first : group.last] and any(map(STEEL.fullmatch, words))
    return steel or any(map(NOT_LAW.fullmatch, words))


def assign_acts(
    tokens: Tokens, mentions: list[Mention], groups: list[Group], context_act: str | None
) -> list[Attributed]:
    """Each group with its act; articles of contracts and books are left out."""
    known, result, m = Acts(tokens, context_act), [], 0
    acts_named: list[NamedAct | None] = []  # of each group; None: its articles are of no law
    for group, following in zip(groups, mentions_after(tokens, mentions, groups)):
        while m < len(mentions) and mentions[m].first < group.first:
            near = mentions[m].state in ("known", "unknown") and near_before(tokens, mentions[m], group)
            noted = mentions[m]._replace(strong=mentions[m].strong or near)
            known.note(noted, known.resolve(mentions[m], group.language))
            m += 1
        beside = mentions[m - 1] if m and gap_is(tokens, mentions[m - 1].last, group.first, ()) else None
        if group.repeats is None:
            named = act_of(tokens, known, group, following, beside)
        else:
            named = acts_named[group.repeats]
        acts_named.append(named)
        if (
            named is None or group.repeats is not None and not group.entries[0][1]
        ):  # «этой статьи», no part of it
            continue
        first, last = group.first, group.last
        if following and is_act_after(tokens, group, following):
            last = max(last, following.last)
        elif beside and not following and group.repeats is None:
            first = beside.first
        known.hold(named, group.last)
        result.append(Attributed(group, *named, tokens.start[first], tokens.end[last - 1]))
    return result


def act_of(
    tokens: Tokens, known: Acts, group: Group, following: Mention | None, beside: Mention | None
) -> NamedAct | None:
    """The act of a group, (None, None) if none is named, None if its articles are of no law."""
    mention = following or (beside if beside and beside.state == "contract" else None)
    if mention:
        return None if mention.state == "contract" else known.resolve(mention, group.language)
    act, text = known.carried_to(group) or (None, None)
    if act is None and text and act_key(text) is None:  # «закон» somewhere before names nothing
        text = None
    unnamed = not act and not text
    return None if unnamed and known.other_books and is_of_no_law(tokens, group) else (act, text)


@functools.lru_cache(maxsize=65536)
def act_key(act_text: str) -> str | None:
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
        and not month_of(tokens.norm[i], MONTHS_KK)
    ]
    words = [word for word in telling if len(word) > 2]
    digits = [tokens.norm[i] for i in range(tokens.size) if tokens.kind[i] == "n"]
    return " ".join(words[:4]) or " ".join(telling + digits) or None
