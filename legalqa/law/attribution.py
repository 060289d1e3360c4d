"""Which act each article is of: the one beside it, else that of its list, else the last one of its sentence."""

import re
from bisect import bisect_left

from legalqa.law import acts
from legalqa.law.articles import gap_is
from legalqa.law.mentions import PLAIN_RU
from legalqa.law.numbers import MONTHS_RU, month_of
from legalqa.law.tokens import DASHES, QUOTES, Tokens

MAX_CARRY = 40  # tokens over which an act named before still holds in its sentence
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
GENERIC = re.compile(
    "кодекс.*|закон.*|заң.*|рк|қр|республик.*|казахстан.*|қазақстан.*|от|года?|г"
    "|эт(?:от|ого|ому|им|ом)|данн.*|.*указанн.*|.*названн.*|того|же|настоящ.*|осы|аталған"
    "|көрсетілген|сол|бұл|конституционн.*|туралы|зрк|қрз|жылғы"
    "|об?|и|в|на|және|далее|по|тексту|бұдан|әрі"
)


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
