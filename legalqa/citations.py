"""Every reference to a norm in a text, Russian or Kazakh, as (act, article, paragraph, sub-paragraph), and its score.

    parse_citations("пп. 1 п. 1 ст. 28 Трудового кодекса РК")  ->  [Citation(act="labor_code", article="28", ...)]

How: the text is cut into words, numbers and signs once. One pass finds the acts that are named (a code by its adjective, a
law by its title, both by abbreviation or number), a second finds the articles with their parts, a third gives
each article its act: the one beside it, else that of the list it stands in, else the last one of its sentence. Every
look around is bounded, so time grows with the length of the text and no input makes it hang.
"""
import re
from bisect import bisect_left
from typing import NamedTuple

from legalqa import acts
from legalqa.acts import act_title, article_exists, normalize_word  # noqa: F401 (both belong to this module's API)

MAX_ARTICLE = 1999  # a higher number is a year or a sum
MAX_RANGE = 100  # numbers a range is written out to; a longer one gives its two ends
MAX_CITATIONS = 20_000  # of one text, after which lists of parts and ranges are not written out: memory stays bounded
MAX_LIST = 150  # numbers in one list
MAX_QUOTE = 45  # tokens looked through for a closing quote or bracket
MAX_LOOK = 12  # tokens looked through elsewhere

TOKEN = re.compile("([^\\W\\d_](?:[^\\W\\d_]|[\u0300-\u036f\u00ad\u200b-\u200d])*)|([0-9]+)|([\\s\u200b]+)|(.)", re.DOTALL)
DASHES = frozenset("-‐‑–—−")
HYPHENS = frozenset("-‐‑")
QUOTES = {"«": "»", "“": "”“", "„": "“”", '"': '"', "”": "”"}
CLOSING_QUOTES = frozenset("»”\"“")
SUPERSCRIPT_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
SUPERSCRIPTS = str.maketrans(SUPERSCRIPT_DIGITS, "0123456789")
ROMAN = str.maketrans("ІХСМіхсм", "IXCMixcm")
UPPER_LOOK_ALIKES = str.maketrans("ABCEHKMOPTXY", "АВСЕНКМОРТХУ")

MONTHS_RU = {stem: month for month, stem in enumerate(
    "январ феврал март апрел мая июн июл август сентябр октябр ноябр декабр".split(), 1)}
MONTHS_KK = {stem: month for month, stem in enumerate(
    "қаңтар ақпан наурыз сәуір мамыр маусым шілде тамыз қыркүйек қазан қараша желтоқсан".split(), 1)}
ORDINALS_RU = {stem: value for value, stem in enumerate(
    "перв втор трет четверт пят шест седьм восьм девят десят одиннадцат двенадцат тринадцат четырнадцат пятнадцат шестнадцат "
    "семнадцат восемнадцат девятнадцат двадцат".split(), 1)}
ORDINAL_ENDING = re.compile("(ый|ой|ий|ая|ья|ое|ье|ого|ьего|ому|ьему|ым|ьим|ом|ьем|ую|ью|ей|ьей|ые|ьи|ых|ьих|ыми|ьими)$")
ORDINALS_KK = {word: value for value, word in enumerate(
    "бірінші екінші үшінші төртінші бесінші алтыншы жетінші сегізінші тоғызыншы оныншы".split(), 1)}
TENS = {"двадцать": 20, "тридцать": 30, "он": 10, "жиырма": 20}

ARTICLE_RU = {"статья": False, "статьи": False, "статье": False, "статью": False, "статьей": False, "статьею": False,
              "статей": True, "статьям": True, "статьями": True, "статьях": True, "ст": False, "статии": False}
PART_RU = re.compile("(?:(подпункт)(а|у|ом|е|ы|ов|ам|ами|ах)?|(пункт)(а|у|ом|е|ы|ов|ам|ами|ах)?|(част)(ь|и|ью|ей|ям|ями|ях)"
                     "|(абзац)(а|у|ем|е|ы|ев|ам|ами|ах)?)")
PART_KK = re.compile("(?:(тармақша)|(тармақ|тармағ)|(бөлік|бөліг)|(абзац))")
ARTICLE_KK = re.compile("бап(?:тың|қа|ты|та|тан|пен|тағы|тар.*)?|баб(?:ы|ын|ының|ына|ында|ындағы|ынан|ымен)")
LAW_KK = re.compile("заң(?:ы|ның|ына|ынан|ында|ындағы|ының|ын|ымен|ға|ды|да|дан|нан|мен|дағы)?")
CONSTITUTION = re.compile("конституци(?:я|и|ю|ей|ею)|конституция(?:ның|ға|ны|да|дан|мен|сы|сын|сының|сына|сында|сындағы|сынан|сымен)")
OTHER_ACT = re.compile("правил|положени[яюей]+|конвенци[июяей]+|приказ[ауоме]*|постановлени[яюемй]+|указ[ауоме]*|регламент[ауоме]*"
                       "|инструкци[июяей]+|устав[ауоме]*|пакт[ауоме]*|протокол[ауоме]*|деклараци[июяей]+|уложени[яюемй]+"
                       "|стандарт[ауоме]*|қағидалар.*|ереже(?:нің|сінің)|конвенция.*|жарлы[қғ].*|қаулы.*|бұйры[қғ].*|жарғы.*|шарт(?:тың|ының)"
                       "|келісім(?:нің|інің)")
CONTRACT = re.compile("(?:договор|контракт|соглашени)[ауоюяем]*")
ADJECTIVE_RU = re.compile(".{3,}(?:ый|ий|ой|ого|его|ому|ему|ым|им|ом|ем)")
THIS_RU = re.compile("настоящ(?:ий|его|ему|им|ем|ая|ей|ую)")
SAME_RU = re.compile("эт(?:от|ого|ому|им|ом)|данн(?:ый|ого|ому|ым|ом)|указанн(?:ый|ого|ому|ым|ом)|названн(?:ый|ого|ому|ым|ом)|"
                     "вышеуказанн(?:ый|ого|ому|ым|ом)|вышеназванн(?:ый|ого|ому|ым|ом)|упомянут(?:ый|ого|ому|ым|ом)|же")
SAME_KK = frozenset("аталған көрсетілген сол бұл осындай жоғарыда".split())
PLAIN_RU = re.compile("действующ.*|нов(?:ый|ого|ому|ым|ом)|стар(?:ый|ого|ому|ым|ом)|прежн.*|казахстанск.*|наш.*|сам.*|так(?:ой|ого).*|"
                      "отдельн.*|кажд.*|перв.*|втор.*|любо.*|тако.*|мо(?:его|ему)|всего|отечественн.*|соответствующ.*|иног?о.*")
COUNTED = re.compile("дн(?:я|ей|и|ям)|день|год(?:а|у|ом|ы|ов)?|лет|месяц.*|час(?:а|ов)?|минут.*|тенге|тг|мрп|мзп|процент.*|календарн.*|"
                     "банковск.*|раз(?:а)?|человек.*|тысяч.*|миллион.*|миллиард.*|млн|тыс|рубл.*|доллар.*|евро|квадратн.*|"
                     "гектар.*|км|метр.*|недел.*|сут(?:ок|ки)|жыл.*|күн(?:і|нен|дік|ге)?|теңге.*|пайыз.*|айлық")
COUNTED_IN_LIST = re.compile("рабоч.*|лиц(?:а|о)?|экземпляр.*|сотрудник.*|работник.*|жұмыс|рет|адам.*|ай|айдан|айға|балл.*|ступен.*|категори.*")
AND_RU, AND_KK = frozenset({"и", "или", "либо"}), frozenset("және немесе мен пен бен не".split())
LINKS = frozenset("и или либо а также с со в во на по к ко из от о об для при положениям положениями положениях положений положения "
                  "требованиям требованиями требованиях требований требования нормам нормами нормах норм нормы , ( ) және немесе "
                  "мен пен бен сондай ақ".split()) | DASHES
BEFORE = frozenset(", : ( по согласно в ст сәйкес бойынша".split()) | DASHES
COUNTRY_RU, COUNTRY_KK = ("республики", "казахстан"), ("қазақстан", "республикасы")
FOREIGN = frozenset("рф россии российской еаэс снг ссср украины узбекистана кыргызской беларусь белоруссии таможенного ресей".split())
FEW_LETTERS = frozenset("ст п пп ч подп абз г гг др пр т д е им тыс млн стр см рис ж тб н б".split())


class Citation(NamedTuple):
    """One reference. act: id of acts.json, or None; act_text: the act as written, None where none is named."""
    act: str | None
    act_text: str | None
    article: str
    paragraph: str | None
    subparagraph: str | None
    text: str
    start: int
    end: int


class Mention(NamedTuple):
    """An act named in the text: tokens first to last (exclusive).

    state: "known", "unknown" (named, but not in acts.json), "bare" («Закона»), "same" («того же Закона»), "this" («настоящего
    Кодекса»), "contract" (no act at all); act: id, or {"ru", "kk"} of an abbreviation that depends on the language;
    strong: names its act by itself, not only beside an article; alias: "code" or "law" if «(далее – Закон)» follows.
    """
    first: int
    last: int
    kind: str
    state: str
    act: object
    strong: bool
    alias: str | None


class Group(NamedTuple):
    """One list of articles with their parts. entries: [(number parts, chains)]; a chain is [(kind, values)], outermost first."""
    first: int
    last: int
    language: str
    plural: bool
    entries: list


# ------------------------------------------------------------------------------------------------------------ tokens

class Tokens:
    """A text cut up: for each token its normal form, its own letters, kind ("w", "n", "s"), place, gap before, sentence."""

    def __init__(self, text):
        self.text = text
        self.norm, self.kind, self.start, self.end, self.gap = [], [], [], [], []
        gap = ""
        for match in TOKEN.finditer(text):
            group = match.lastindex
            if group == 3:
                gap = "\n" if "\n" in match.group() else " "
                continue
            self.norm.append(normalize_word(match.group()) if group == 1 else match.group())
            self.kind.append("w" if group == 1 else "n" if group == 2 else "s")
            self.start.append(match.start())
            self.end.append(match.end())
            self.gap.append(gap)
            gap = ""
        self.size = len(self.norm)
        self.mark_sentences()

    def mark_sentences(self):
        """Number the sentences and the bracket depth inside each."""
        self.sentence, self.depth = [], []
        sentence = depth = 0
        for i in range(self.size):
            if i and self.is_break(i):
                sentence, depth = sentence + 1, 0
            if self.norm[i] == ")":
                depth = max(0, depth - 1)
            self.sentence.append(sentence)
            self.depth.append(depth)
            if self.norm[i] == "(":
                depth += 1

    def is_break(self, i):
        """Whether a sentence starts at token i."""
        before = self.norm[i - 1]
        if self.gap[i] == "\n" and before not in (",", ":", ";", "(") and self.kind[i - 1] == "s":
            return True
        if before in "!?…":
            return self.raw(i)[0].isupper()
        if before != "." or not self.raw(i)[0].isupper():
            return False
        word = self.at(i - 2)
        return not (word in FEW_LETTERS or len(word) == 1 and self.kind[i - 2] == "w")

    def raw(self, i):
        return self.text[self.start[i]:self.end[i]]

    def at(self, i):
        """Normal form of token i, "" past either end."""
        return self.norm[i] if 0 <= i < self.size else ""

    def is_number(self, i):
        return 0 <= i < self.size and self.kind[i] == "n"

    def is_word(self, i):
        return 0 <= i < self.size and self.kind[i] == "w"

    def is_tight(self, i):
        """No gap before token i."""
        return 0 <= i < self.size and not self.gap[i]

    def closing(self, i):
        """Index of the sign that closes the quote or bracket at i, or None within MAX_QUOTE tokens."""
        sign = self.norm[i]
        close = ")" if sign == "(" else QUOTES[sign]
        depth = 0
        for j in range(i + 1, min(self.size, i + MAX_QUOTE)):
            if self.norm[j] in close and not depth:
                return j
            if sign in "(«":
                depth += (self.norm[j] == sign) - (self.norm[j] in close)
        return None

    def opening(self, i):
        """Index of the quote that opens what the sign at i closes, or None within MAX_QUOTE tokens."""
        for j in range(i - 1, max(-1, i - MAX_QUOTE), -1):
            if self.norm[j] in QUOTES and self.norm[i] in QUOTES[self.norm[j]]:
                return j
        return None

    def words(self, first, last):
        return tuple(self.norm[i] for i in range(first, last) if self.kind[i] != "s")


# ------------------------------------------------------------------------------------------------------ acts by name

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


def month_of(word, months):
    return next((month for stem, month in months.items() if word.startswith(stem)), None) if word else None


def read_number(tokens, i):
    """(number of an act such as "414-v", index after it) at «№», or (None, i)."""
    if tokens.at(i) not in ("№", "n", "no", "нн") or not tokens.is_number(i + 1):
        return None, i
    number, i = tokens.at(i + 1), i + 2
    if tokens.at(i) in DASHES and (tokens.is_word(i + 1) or tokens.is_number(i + 1)):
        number, i = f"{number}-{tokens.raw(i + 1).translate(ROMAN).lower()}", i + 2
    return number, i + 1 if tokens.at(i) in ("зрк", "қрз") else i


def read_date(tokens, i):
    """(date, index after it) of «от 23 ноября 2015 года», «от 23.11.2015 г.», «1995 года», «2015 жылғы 23 қарашадағы»."""
    given = i
    i += tokens.at(i) == "от"
    if not tokens.is_number(i):
        return None, given
    day = tokens.at(i)
    if i > given and len(day) <= 2:
        month = month_of(tokens.at(i + 1), MONTHS_RU)
        if month and tokens.is_number(i + 2):
            year, end = tokens.at(i + 2), i + 3
        elif tokens.at(i + 1) == "." and tokens.at(i + 3) == "." and tokens.is_number(i + 2) and tokens.is_number(i + 4):
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


def known_title(words):
    """Act id of a title's words in either language, or None."""
    short = acts.without_country(words)
    for language in ("ru", "kk"):
        table = acts.titles(language)
        if words in table or short in table:
            return table.get(words) or table[short]
    return None


def read_title(tokens, i):
    """(act id or None, index after) of an unquoted title that starts at «о», «об»; (None, i) if none starts here."""
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
            return act, end + 1 if tokens.at(end) == ")" else end
    end = i + 1  # not known: take words up to a sign, a number or the next reference
    while end < i + 8 and tokens.is_word(end) and not starts_reference(tokens, end):
        end += 1
    return None, end


def starts_reference(tokens, i):
    word = tokens.at(i)
    return (word in ARTICLE_RU or word in ("п", "пп", "ч", "подп", "рк") or PART_RU.fullmatch(word) is not None
            or word.startswith(("кодекс", "закон", "республик")) or word in AND_RU and starts_reference(tokens, i + 1))


def read_after(tokens, i, titled):
    """What follows an act's head word: {"end", "number", "date", "title" (act id), "named", "foreign", "alias", "part"}.

    titled: a title may follow (not after a code that its adjective names).
    """
    facts = {"end": i, "number": None, "date": None, "title": None, "named": False, "foreign": False, "alias": None, "part": None}
    for _ in range(MAX_LOOK):
        i = facts["end"]
        after = skip_country(tokens, i)
        if after > i:
            facts["end"] = after
            continue
        if tokens.at(i) in FOREIGN or tokens.at(i) == "республики" and tokens.is_word(i + 1):
            facts["foreign"], facts["end"] = True, i + (2 if tokens.at(i) in ("российской", "кыргызской", "республики", "таможенного") else 1)
            continue
        number, after = read_number(tokens, i + (tokens.at(i) == "за"))
        if number and not facts["number"]:
            facts["number"], facts["end"] = number, after
            continue
        date, after = read_date(tokens, i)
        if date and not facts["date"]:
            facts["date"], facts["end"] = date, after
            continue
        if tokens.at(i) == "(" and read_bracket(tokens, i, facts):
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


def read_bracket(tokens, i, facts):
    """Take «(далее – Закон)», «(Общая часть)», «(с изменениями ...)» at i into `facts`; False if it cites articles."""
    close = tokens.closing(i)
    if close is None:
        return False
    words = tokens.words(i + 1, close)
    if not words or words[0] not in ("далее", "бұдан") and any(
            word in ARTICLE_RU or PART_RU.fullmatch(word) and not word.startswith("част") or ARTICLE_KK.fullmatch(word) for word in words):
        return False
    if words[0] in ("далее", "бұдан"):
        facts["alias"] = "code" if words[-1].startswith("кодекс") else "law" if words[-1] in ("закон", "заң") else facts["alias"]
    elif words[0] in ("общая", "общей", "жалпы"):
        facts["part"] = "civil_code_general"
    elif words[0] in ("особенная", "особенной", "ерекше"):
        facts["part"] = "civil_code_special"
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


def read_adjectives(tokens, i):
    """(found, act id or None, index of the first token) of the words that name the code whose head is token i."""
    before = words_before(tokens, i, 3)
    words = [word for word, _ in before][::-1]
    for count in range(len(words), 0, -1):
        tail = tuple(words[-count:])
        for stems, act in acts.CODES_RU.items():
            if len(stems) == count and all(word.startswith(stem) and len(word) <= len(stem) + 5 for word, stem in zip(tail, stems)):
                return True, act, before[count - 1][1]
        if tail in acts.CODES_KK:
            return True, acts.CODES_KK[tail], before[count - 1][1]
    return False, None, i


def read_title_before(tokens, i):
    """What stands before a Kazakh head word at i («... туралы» Қазақстан Республикасының 2015 жылғы ... № 1-V Заңы):
    {"named", "title", "number", "date", "first"}."""
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
    while k > 0 and j - k < MAX_LOOK and (tokens.is_number(k - 1) or tokens.norm[k - 1] in DASHES or tokens.norm[k - 1] in (
            "№", "жылғы", "ж", ".", "n") or month_of(tokens.norm[k - 1], MONTHS_KK) or re.fullmatch("[ivxіх]+|қрз", tokens.norm[k - 1])):
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
    """(state, act id): what the words, the number and the date say together; name: act id by its words; named: words say one."""
    if facts.get("foreign"):
        return "unknown", None
    if facts["number"] or facts["date"]:
        if named and name is None:
            return "unknown", None
        act = acts.resolve_dated(name, facts["number"], facts["date"])
        return ("known", act) if act else ("unknown", None)
    if named:
        return ("known", facts.get("part") if name == acts.CIVIL_CODE and facts.get("part") else name) if name else ("unknown", None)
    return "bare", None


def pointed_at(tokens, i):
    """("this" | "same" | None, index) for «настоящего», «того же», «осы», «аталған» before token i."""
    word = tokens.at(i - 1)
    if THIS_RU.fullmatch(word) or word == "осы":
        return "this", i - 1
    if word in SAME_KK and tokens.at(i - 2) == "осы":
        return "this", i - 2
    if SAME_RU.fullmatch(word) or word in SAME_KK:
        return "same", i - 2 if word == "же" and tokens.at(i - 2) in ("того", "тому", "тем", "том", "этого", "тот") else i - 1
    return None, i


def head_mention(tokens, i, kind):
    """The act whose head word («кодекс», «закон», «заң») is token i, or None where the word is no act («законами РК»)."""
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
        own = ADJECTIVE_RU.fullmatch(prior) and not PLAIN_RU.fullmatch(prior) and not word.endswith(("і", "ң"))
        if own or word.startswith("кодексі") and tokens.is_word(i - 1) and skip_country_back(tokens, i) == i:
            return Mention(i - 1, after["end"], kind, "unknown", None, True, after["alias"])
    if kind == "law" and tokens.at(i - 1).startswith("конституционн"):
        found, name, first = True, None, i - 1
    if not found and (word.endswith(("ы", "ов", "ам", "ами", "ах")) and word.startswith(("закон", "кодекс"))):
        return None
    state, act = settle(name, found, after)
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
    if tokens.at(i - 1) in HYPHENS and tokens.is_tight(i) or not (mixed or any(by_language.values())):
        return None
    end = i + 1
    if tokens.at(end) in HYPHENS and tokens.is_tight(end) and tokens.is_word(end + 1):  # «ЕК-нің»
        if tokens.raw(end + 1).isupper() or not any(by_language.values()):
            return None
        end += 2
    first = skip_country_back(tokens, i)
    after = read_after(tokens, end, titled=False)
    in_russia = skip_country(tokens, end) > end and tokens.at(end) != "қр"
    if not any(by_language.values()):
        if upper and 2 <= len(raw) <= 6 and key.endswith("к") and (first < i or in_russia or after["foreign"]):
            return Mention(first, after["end"], "code", "unknown", None, False, None)
        return None
    if not (upper or mixed) and not in_russia:
        return None
    kind = "law" if key == "зозпп" else "code"
    act = by_language["kk"] if first < i else by_language["ru"] if in_russia else None
    if act and not after["foreign"]:
        state, act = settle(act, True, after)
        return Mention(first, after["end"], kind, state, act, upper or mixed, after["alias"])
    if after["foreign"] or first < i or in_russia:
        return Mention(first, after["end"], kind, "unknown", None, False, None)
    return Mention(first, after["end"], kind, "known", by_language, False, None)


def other_mention(tokens, i):
    """An act of another kind («Правил ...», «Конвенции ...») at i, or a contract, which is no act; else None."""
    titled = tokens.at(i + 1) in ("о", "об")
    if CONTRACT.fullmatch(tokens.norm[i]) and not titled and tokens.raw(i)[0].islower():
        return Mention(i, i + 1, "other", "contract", None, False, None)
    if titled or tokens.raw(i)[0].isupper():
        return Mention(i, read_after(tokens, i + 1, titled)["end"], "other", "unknown", None, False, None)
    return None


def mention_at(tokens, i):
    word = tokens.norm[i]
    if word.startswith("кодекс"):
        return head_mention(tokens, i, "code")
    if re.fullmatch("закон(?:а|у|ом|е|ы|ов|ам|ами|ах)?|зрк", word):
        return head_mention(tokens, i, "law")
    if LAW_KK.fullmatch(word):
        return constitution_mention(tokens, i - 1, i) if tokens.at(i - 1) == "ата" else head_mention(tokens, i, "law")
    if CONSTITUTION.fullmatch(word):
        return constitution_mention(tokens, i)
    if OTHER_ACT.fullmatch(word) or CONTRACT.fullmatch(word):
        return other_mention(tokens, i)
    return abbreviation_mention(tokens, i) if len(word) <= 8 else None


def find_mentions(tokens):
    """The acts named, in order, none inside another."""
    mentions, i = [], 0
    while i < tokens.size:
        mention = mention_at(tokens, i) if tokens.kind[i] == "w" else None
        if mention:
            while mentions and mentions[-1].first >= mention.first:  # «... (Салық кодексі)» inside the title now complete
                mentions.pop()
            if mentions and mentions[-1].last > mention.first:
                mention = mention._replace(first=mentions[-1].last)
            mentions.append(mention)
            i = max(i + 1, mention.last)
        else:
            i += 1
    return mentions


# ----------------------------------------------------------------------------------------------- articles and parts

def read_parts(tokens, i):
    """(number parts, index after) of a number such as 28, 65-1, 52-54, 44-1 – 44-3 at i; ([], i) if none is there.

    parts: [(digits, sign before)], sign "" for the first, "-" for a tight hyphen, "–" for any other dash.
    """
    if not tokens.is_number(i) or len(tokens.norm[i]) > 4 or tokens.norm[i][0] == "0":
        return [], i
    parts, i = [(tokens.norm[i], "")], i + 1
    while i < tokens.size and len(parts) < 4:
        if tokens.is_tight(i) and tokens.norm[i][0] in SUPERSCRIPT_DIGITS and not tokens.norm[i].strip(SUPERSCRIPT_DIGITS):
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
    if tokens.at(i) in HYPHENS and tokens.is_tight(i) and tokens.at(i + 1) in ("й", "ой", "я", "ая", "ю", "ую", "е", "го", "ого", "му", "ом", "ей", "ші", "шы"):
        return i + 2
    return i


def read_ordinal(tokens, i):
    """(value, index after) of an ordinal in words at i: «первой», «двадцать первой», «бірінші»; (None, i) if none."""
    word = tokens.at(i)
    tens = TENS.get(word, 0)
    if tens:
        value, after = read_ordinal(tokens, i + 1) if tokens.at(i + 1) not in TENS else (None, i)
        return (value + tens, after) if value and value < 10 else (None, i)
    if word in ORDINALS_KK:
        return ORDINALS_KK[word], i + 1
    for stem, value in ORDINALS_RU.items():
        if word.startswith(stem) and ORDINAL_ENDING.fullmatch(word[len(stem):]):
            return value, i + 1
    return None, i


def is_counted(tokens, i, in_list=False):
    """Whether the number before token i counts something: «5 лет», «15 календарных дней», «12 января», «50 %», «3,5»."""
    word = tokens.at(i)
    if word in ("%", "₸", "$", "€") or COUNTED.fullmatch(word) or in_list and COUNTED_IN_LIST.fullmatch(word):
        return True
    if word in (".", ",") and tokens.is_tight(i) and tokens.is_number(i + 1) and tokens.is_tight(i + 1):
        return in_list and word == "."
    if month_of(word, MONTHS_RU) or month_of(word, MONTHS_KK):
        return True
    return word == "г" and tokens.at(i + 1) == "."


def part_at(tokens, i):
    """(kind, plural, index after the word) of a Russian part of an article at i: "пп", "п", "ч", "абз", or "?" for «пп.»."""
    word = tokens.at(i)
    if word in ("п", "пп", "ч", "подп", "абз", "пункт"):
        if word == "п" and tokens.at(i + 1) in (".", "/") and tokens.at(i + 2) == "п" and (
                tokens.at(i + 1) == "/" or tokens.at(i + 3) in (".", "") or tokens.is_number(i + 3)):
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
    """(values, index after, bracketed) of the numbers of a part at i: «1 и 2», «1), 2)», «1) - 4)», «первой», «а)»."""
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
    if tokens.at(i) in QUOTES and tokens.is_word(i + 1) and len(tokens.norm[i + 1]) == 1 and tokens.at(i + 2) in CLOSING_QUOTES:
        return [tokens.norm[i + 1]], i + 3, False
    if tokens.is_word(i) and len(tokens.norm[i]) == 1 and tokens.at(i + 1) == ")":
        return [tokens.norm[i]], i + 2, True
    return [], i, False


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
    """(kind, values, index after) of a Russian part with its number at i: «пункта 1», «части второй», «2-й части»; else None."""
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
    """([(kind, values, joined)], index after) of the parts that follow each other from i; joined: no «,» or «и» before it."""
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
    """Chains of parts written smallest first («подпунктах 1) и 2) пункта 1 и пункте 3 статьи»), each turned outermost first."""
    chains = []
    for kind, values, joined in found:
        if chains and joined:
            chains[-1].insert(0, (kind, values))
        else:
            chains.append([(kind, values)])
    for i in range(len(chains) - 2, -1, -1):  # «подпункт 1), подпункт 2) пункта 3»: the first has the last one's paragraph
        outer = chains[i + 1][0]
        if RANK[chains[i][0][0]] <= 1 < RANK[outer[0]]:
            chains[i].insert(0, outer)
    return chains


def chains_outward(found):
    """Chains of parts written largest first («пункт 1, подпункт 2», «1-тармағының 1) тармақшасы»), outermost first."""
    chains = []
    for kind, values, joined in found:
        above = chains[-1] if chains else []
        if above and not joined:
            above = [part for part in above if RANK[part[0]] > RANK[kind] or part is above[0] and part[0] != kind and RANK[kind] <= 1]
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
            return tokens.is_number(j + 1) and tokens.at(j - 1) in (",", ";", "г", ".", "года", "рк", "казахстан", "(")
        if not (tokens.kind[j] == "n" or tokens.norm[j] in DASHES or tokens.norm[j] == "," or re.fullmatch("[ivxіх]+", tokens.norm[j])):
            return False
    return False


def read_articles_ru(tokens, i, mention_starts):
    """Group of the Russian list of articles whose unit word is token i, or None."""
    word, plural = tokens.norm[i], ARTICLE_RU[tokens.norm[i]]
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
    """Whether the number that ends before i goes on with a list of articles, rather than numbering or counting something."""
    word = tokens.at(i)
    if word == ")" and not tokens.depth[i - 1]:
        return False
    if plural or tokens.is_word(i) and i in mention_starts:
        return True
    return not tokens.is_word(i) or word in AND_RU or word in ("рк", "п", "ч", "пп") or word in ARTICLE_RU or bool(PART_RU.fullmatch(word))


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
    """(kind, [number parts], plural, last joined by a word, index after) of a Kazakh unit after its numbers at i
    («71, 72 және 73-баптарының», «1) және 2) тармақшалары», «бірінші бөлігі»); kind None and the index to go on from if none."""
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
            if tokens.at(after) in DASHES and read_parts(tokens, after + 1)[0] and tokens.at(after + 2) == ")":
                parts, after = [*parts, (tokens.norm[after + 1], "–")], after + 3
        items.append(parts)
        unit = after + 1 if tokens.at(after) in HYPHENS and tokens.is_word(after + 1) else after
        word = tokens.at(unit)
        if ARTICLE_KK.fullmatch(word):
            return "бап", items, word.startswith(("баптар",)), by_word, unit + 1
        match = PART_KK.match(word)
        if match:
            kind = "тармақша" if match[1] else "тармақ" if match[2] else "бөлік" if match[3] else "абз"
            return kind, items, "лар" in word or "тер" in word, by_word, unit + 1
        i = next_in_list(tokens, after, AND_KK)
        if i == after:
            return None, [], False, False, max(after, 1)
        by_word = tokens.norm[i - 1] != ","
    return None, [], False, False, i


def read_articles_kk(tokens, i):
    """(Group or None, index to go on from) of the Kazakh list of articles that starts with number i, and its parts."""
    kind, items, plural, by_word, end = read_numbers_kk(tokens, i)
    if kind != "бап":
        return None, end
    if not plural and not by_word:
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
        found.append((kind, [value for parts in values for value in write_out(parts, many or len(values) > 1, None)], joined))
        end = j = after
    if not items:
        return None, end
    return Group(i, end, "kk", plural, [*((parts, []) for parts in items[:-1]), (items[-1], chains_outward(found))]), end


def find_groups(tokens, mentions):
    """The lists of articles, in order, each with the parts that belong to it."""
    starts = {mention.first: mention for mention in mentions}
    groups, i = [], 0
    pending, pending_first, before_end = None, 0, -1  # parts that wait for their article; where the last group or its act ended
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
            group, after = read_articles_kk(tokens, i) if not (i and tokens.norm[i - 1] in DASHES and tokens.is_number(i - 2)) else (None, i)
            group = group or (read_number_first(tokens, i, starts) if tokens.kind[i] == "n" else None)
            if not group and after > i + 12:  # a long list of numbers of nothing: not to be read again from each of them
                i, pending = after, None
                continue
        if group:
            if pending and gap_is(tokens, pending[1], i, (",",)):
                group = with_chains(group, chains_inward(pending[0]), pending_first)
            groups.append(group)
            i, pending, before_end = group.last, None, group.last
            continue
        found, after = read_part_list(tokens, i) if tokens.kind[i] != "s" else ([], i)
        if not found:
            i += 1
            continue
        follows = groups and before_end >= 0 and gap_is(tokens, before_end, i, (",", "(", ":"), DASHES)
        leads = tokens.at(after) in ARTICLE_RU or tokens.at(after) == "," and tokens.at(after + 1) in ARTICLE_RU
        if follows and not any(groups[-1].entries[-1][1]) and not tokens.at(after) in ARTICLE_RU and not number_first_at(tokens, after, starts):
            last = after + (tokens.at(after) == ")" and tokens.at(i - 1) == "(")
            groups[-1] = with_chains(groups[-1], chains_after(found), groups[-1].first, last if before_end == groups[-1].last else None)
            before_end, pending = last, None
        elif leads or number_first_at(tokens, after, starts):
            pending, pending_first = (found, after), i
        i = after
    return groups


def number_first_at(tokens, i, starts):
    return tokens.is_number(i) and read_number_first(tokens, i, starts) is not None


def gap_is(tokens, first, last, allowed, more=()):
    """Whether all tokens from first to last are among `allowed` signs, two at most, in one sentence."""
    return 0 <= last - first <= 2 and all(tokens.norm[j] in allowed or tokens.norm[j] in more for j in range(first, last)) and (
        last >= tokens.size or tokens.sentence[max(0, first - 1)] == tokens.sentence[last])


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

    "a-b" is a suffixed article if b is not above a, or if the act (any act, where it is not known and the word is
    singular) has that article; else a range. A range is written out in whole numbers, those of the act where it is known.
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
            sides = [numbers[:len(numbers) // 2], numbers[len(numbers) // 2:]]
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
        in_force, repealed = acts.articles_of(acts.part_of_civil_code(base) if act == acts.CIVIL_CODE else act)
        if in_force:
            return number in in_force or number in repealed
    return not plural and number in acts.known_numbers()


# ------------------------------------------------------------------------------------------------ which act it is of

class Acts:
    """What the text has said so far about acts: the last of each kind, aliases, the one in force in this sentence."""

    def __init__(self, tokens, context_act):
        self.tokens, self.context_act = tokens, context_act
        self.last, self.alias, self.seen = {}, {}, {}
        self.current, self.sentence = (None, None), -1

    def text_of(self, mention):
        return self.tokens.text[self.tokens.start[mention.first]:self.tokens.end[mention.last - 1]]

    def resolve(self, mention, language):
        """(act id, act text) of a mention; (None, text) for one that is not in acts.json or points at nothing we know."""
        text = self.text_of(mention)
        if mention.state == "known":
            if isinstance(mention.act, dict):
                return mention.act[language] or mention.act["ru" if language == "kk" else "kk"], text
            return mention.act, text
        if mention.state == "this":
            return self.context_act, text
        if mention.state == "same" and mention.kind in self.last:
            return self.last[mention.kind][0], self.last[mention.kind][1] if self.last[mention.kind][0] is None else text
        if mention.state in ("bare", "same"):
            named = self.alias.get(mention.kind) or (self.last.get(mention.kind) if len(self.seen.get(mention.kind, ())) == 1 else None)
            return (named[0], named[1] if named[0] is None else text) if named else (None, text)
        return None, text

    def note(self, mention, resolved):
        """Remember a mention for what comes after it."""
        if mention.state in ("known", "unknown") and mention.kind != "other":
            self.last[mention.kind] = resolved
            self.seen.setdefault(mention.kind, set()).add(resolved[0] or act_key(resolved[1]))
            if mention.alias:
                self.alias[mention.alias] = resolved
        if mention.strong or mention.state in ("bare", "same", "this") and mention.kind != "other":
            self.current, self.sentence = resolved, self.tokens.sentence[mention.first]


def beside_after(tokens, group, mention):
    """Whether `mention` follows `group` closely enough to be its act: nothing, a bracket or a quoted title between them."""
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
    return following.first - group.last <= 5 and all(tokens.norm[j] in LINKS for j in range(group.last, following.first)) and (
        tokens.sentence[group.last - 1] == tokens.sentence[following.first])


def assign_acts(tokens, mentions, groups, context_act):
    """[(group, act id, act text, first token, last token of the whole reference)], in order; contracts are left out."""
    firsts = [mention.first for mention in mentions]
    after = [own_mention(tokens, group, mentions, firsts) for group in groups]
    for i in range(len(groups) - 2, -1, -1):  # «статьи 8, пункта 2 статьи 15 и статьи 16 ТК РК»
        if after[i] is None and after[i + 1] is not None and groups[i].language == "ru" and linked(tokens, groups[i], groups[i + 1]):
            after[i] = after[i + 1]
    state, m, result = Acts(tokens, context_act), 0, []
    for group, mention in zip(groups, after):
        while m < len(mentions) and mentions[m].first < group.first:
            weak = isinstance(mentions[m].act, dict) or not mentions[m].strong
            near = weak and mentions[m].state in ("known", "unknown") and near_before(tokens, mentions[m], group)
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
            state.current, state.sentence = (act, text), tokens.sentence[group.first]
        elif state.sentence == tokens.sentence[group.first]:
            act, text = state.current
            if m and gap_is(tokens, mentions[m - 1].last, group.first, ()):
                first = tokens.start[mentions[m - 1].first]
        else:
            act, text = None, None
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
    return None


def near_before(tokens, mention, group):
    """Whether an abbreviation stands close enough before the group to be its act: «ТК, ст. 28», «УК по статье 188»."""
    return 0 <= group.first - mention.last <= 3 and all(tokens.norm[j] in BEFORE for j in range(mention.last, group.first))


def read_chain(chain):
    """(paragraphs, sub-paragraphs) of a chain, outermost first; a part of a paragraph («часть вторая пункта 2») is left out."""
    kind, values = chain[0]
    if RANK[kind] <= 1:
        return [None], values if RANK[kind] else [None]
    inner = next((values for kind, values in chain[1:] if RANK[kind] in (1, 2)), [None])
    return values, inner


def parse_citations(text, context_act=None):
    """Every reference to an article in `text`, in order; lists and ranges give one Citation for each article and part.

    context_act: id of the act that «настоящий Кодекс», «осы Заң» mean; without it they name no act.
    """
    tokens = Tokens(text)
    mentions = find_mentions(tokens)
    groups = find_groups(tokens, mentions)
    citations = []
    for group, act, act_text, first, last in assign_acts(tokens, mentions, groups, context_act):
        written = text[first:last]
        for parts, chains in group.entries:
            articles = write_out(parts, group.plural or len(group.entries) > 1, act)
            pairs = [(paragraph, sub) for chain in chains for paragraphs, subs in [read_chain(chain)]
                     for paragraph in paragraphs for sub in subs] or [(None, None)]
            if len(citations) > MAX_CITATIONS:
                articles, pairs = articles[:1], pairs[:1]
            for article in articles:
                own = acts.part_of_civil_code(article) if act == acts.CIVIL_CODE else act
                for paragraph, sub in dict.fromkeys(pairs[:MAX_RANGE]):
                    citations.append(Citation(own, act_text, article, paragraph, sub, written, first, last))
    return citations


# -------------------------------------------------------------------------------------------------------------- scores

GENERIC = re.compile("кодекс.*|закон.*|заң.*|рк|қр|республик.*|казахстан.*|қазақстан.*|от|года?|г|эт.*|данн.*|указанн.*|назван.*|того|же|настоящ.*|осы|"
                     "аталған|конституционн.*|туралы|зрк|қрз|жылғы|о|об|и|в|на|и|және|далее|по|тексту|бұдан|әрі")


def act_key(act_text):
    """What tells an act that is not in acts.json from another, whatever its case forms: None if the words name none («Закона»)."""
    tokens = Tokens(act_text)
    words = sorted({tokens.norm[i][:5] for i in range(tokens.size) if tokens.kind[i] == "w" and not GENERIC.fullmatch(tokens.norm[i])
                    and not month_of(tokens.norm[i], MONTHS_RU)})
    named = [word for word in words if len(word) > 2]
    digits = [tokens.norm[i] for i in range(tokens.size) if tokens.kind[i] == "n"]
    return " ".join(named) or " ".join(words + digits) or None


def citation_pairs(citations):
    """The set of (act, article): act is an id, "? words" for a named act that is not in acts.json, None where none is named.

    A pair without an act is left out where the same article also comes with one: it is the same norm said again.
    """
    pairs = set()
    for citation in citations:
        act = citation.act
        if act is None and citation.act_text:
            key = act_key(citation.act_text)
            act = f"? {key}" if key else None
        pairs.add((act, citation.article))
    named = {article for act, article in pairs if act is not None}
    return {(act, article) for act, article in pairs if act is not None or article not in named}


def matches(ours, theirs):
    """How many pairs of `ours` are among `theirs`, one to one; a pair without an act matches one with any act."""
    exact = ours & theirs
    open_ours = [article for act, article in ours if act is None and (act, article) not in exact]
    open_theirs = [article for act, article in theirs if act is None and (act, article) not in exact]
    return (len(exact) + sum(any(article == other for _, other in theirs) for article in open_ours)
            + sum(any(article == other for _, other in ours) for article in open_theirs))


def score_citations(prediction, reference):
    """The citation metrics of an answer; both arguments are texts or lists of Citation. None is "undefined".

    citation_precision: share of the prediction's pairs that the reference has; None if either cites nothing, for then
    there is nothing to be right about: a reference without citations does not say which articles are wrong.
    citation_recall: share of the reference's pairs that the prediction has; None if the reference cites nothing.
    citation_f1: harmonic mean, 0 if the reference cites and the prediction does not; None if the reference cites nothing.
    citation_exists: share of the prediction's pairs, of acts whose articles we know, that exist; None if there are none.
    has_citation: 1 if the prediction cites anything.
    """
    ours = citation_pairs(parse_citations(prediction) if isinstance(prediction, str) else prediction)
    theirs = citation_pairs(parse_citations(reference) if isinstance(reference, str) else reference)
    shared = matches(ours, theirs)
    known = [exists for exists in (article_exists(act, article) for act, article in ours) if exists is not None]
    return {
        "citation_precision": shared / len(ours) if ours and theirs else None,
        "citation_recall": shared / len(theirs) if theirs else None,
        "citation_f1": 2 * shared / (len(ours) + len(theirs)) if theirs else None,
        "citation_exists": sum(known) / len(known) if known else None,
        "has_citation": float(bool(ours)),
    }


def citation_as_dict(citation):
    """A citation as logs/benchmark_<run>.json keeps it."""
    return {"act": citation.act, "act_text": citation.act_text, "article": citation.article, "paragraph": citation.paragraph,
            "subparagraph": citation.subparagraph, "text": citation.text, "exists": article_exists(citation.act, citation.article)}
