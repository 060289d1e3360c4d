"""Which act a text is: by its number and date, title, number in the state's database, or file name."""

import re
from pathlib import Path
from typing import NamedTuple

from legalqa.law import acts
from legalqa.law.texts import ActText
from legalqa.law.tokens import normalize_word

MONTHS = {  # their first letters
    "ru": ("янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"),
    "kk": ("қаң", "ақп", "нау", "сәу", "мам", "мау", "шіл", "там", "қыр", "қаз", "қар", "жел"),
}
# «Закон Республики Казахстан от 6 апреля 2016 года № 480-V ЗРК», «... Заңы 2016 жылғы 6 сәуір № 480-V ҚРЗ»
REQUISITES = re.compile(
    r"(?:[Зз]акон|Кодекс|Указ)\b[^№«\"]{0,80}?\sот\s+(?P<day>\d{1,2})\s+(?P<month>[а-я]+)\s+(?P<year>\d{4})"
    r"\s*(?:года|г\.)?,?\s*(?:№|N)\s*(?P<number>\d+(?:-[IVXLCІХ]+)?)"
    r"|(?:Заңы|Кодексі|Жарлығы)\b[^№«\"]{0,40}?"
    r"(?P<year_kk>\d{4})\s+жыл\w*\s+(?P<day_kk>\d{1,2})\s+(?P<month_kk>[а-яәғқңөұүһі]+)\w*,?\s*(?:№|N)?\s*"
    r"(?P<number_kk>\d+(?:-[IVXLCІХ]+)?)"
)
# A number of adilet.zan.kz: kind of act, year, number: K1500000414, Z970000094_.
DATABASE_ID = re.compile(r"(?<![a-z0-9])([kzu])(\d\d)(\d{8}|\d{7}_)(?![a-z0-9])", re.IGNORECASE)
DATE = re.compile(r"(?<!\d)(?:(\d\d)[-._](\d\d)[-._](\d{4})|(\d{4})[-._](\d\d)[-._](\d\d))(?!\d)")
NAME_ENDING = re.compile(r"[-._ ](?:rus|ru|kaz|kk|kz)$", re.IGNORECASE)
TITLE = re.compile(
    r"(?:О|Об|Закон|Кодекс|Конституция)\s|\S.*\s(?:кодекс|туралы|Заңы|кодексі|Кодексі|Конституциясы)\b"
)
HEAD_LINES = 6  # of a text, among which its title, date and number are
# fmt: off
# Words of titles that people and files leave out.
FILLERS = {"закон", "заңы", "республики", "республике", "казахстан", "рк", "қазақстан", "республикасының",
           "қр"}
LATIN = {**dict(zip("абвгдеёзийклмнопрстуфыэәғқңөұүһі", "abvgdeeziiklmnoprstufyeagknouuhi")), "ж": "zh",
         "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ь": "", "ю": "yu", "я": "ya"}
# fmt: on


class Identity(NamedTuple):
    """What act a text is of: its record in the built-in list, or one made for it; and the version."""

    record: dict  # in the form of acts.json, without its articles
    known: bool
    version_date: str | None  # "2026-01-20"
    version_from: str  # "file name", "newest amendment", "adoption" or ""


def identify(text: ActText) -> Identity:
    """The act of a text. An unknown one gets an id by its number in the state's database or its file name."""
    known = known_act(text)
    record = dict(acts.load_acts()[known]) if known else new_record(text)
    newest = max((article.amended for article in text.articles if article.amended), default=None)
    named = version_in(f"{text.path.stem} {text.hint}")
    if named:
        return Identity(record, bool(known), named, "file name")
    if newest:
        return Identity(record, bool(known), newest, "newest amendment")
    return Identity(record, bool(known), record["adopted"] or None, "adoption" if record["adopted"] else "")


def known_act(text: ActText) -> str | None:
    """Id of the act in the built-in list, or None, as where the text gives a number that no act there has."""
    requisites = requisites_of(text)
    if requisites:
        same = [act["id"] for act in acts.load_acts().values() if numbered(act, requisites)]
        return same[0] if same else None
    name = f"{text.path.stem} {text.hint}"
    in_name = acts_named_in_file(text.path)
    found = by_database_id(name) or by_title(text) or in_name
    head = " ".join(text.head[:HEAD_LINES])
    dated = [act for act in found if acts.load_acts()[act]["adopted"][:4] in head]
    # The Constitution has a repealed namesake: the file's name or the year tells.
    return next((act for act in (*in_name, *dated, *found) if act in found), None)


class Requisites(NamedTuple):
    """What the line under an act's title says."""

    number: str  # "480-V"
    adopted: str  # "2016-04-06"
    kind: str  # "code" or "law"
    title: str  # what stands before the line


def requisites_of(text: ActText) -> Requisites | None:
    head = " ".join(text.head[:HEAD_LINES])
    match = REQUISITES.search(head)
    if not match:
        return None
    language, suffix = ("ru", "") if match["number"] else ("kk", "_kk")
    day, month, year, number = (match[name + suffix] for name in ("day", "month", "year", "number"))
    index = next((i for i, name in enumerate(MONTHS[language], 1) if month.startswith(name)), 0)
    kind = "code" if match[0].startswith("Кодекс") else "law"
    number = number.upper().translate(str.maketrans("ІХ", "IX"))  # Cyrillic letters in a Roman number
    title = head[: match.start()].removesuffix("Қазақстан Республикасының ").strip()
    return Requisites(number, f"{year}-{index:02}-{int(day):02}", kind, title)


def numbered(act: dict, requisites: Requisites) -> bool:
    """Whether an act has this date of adoption and this number, whose Roman part may be left out."""
    own = (act["number"] or "").upper()
    return act["adopted"] == requisites.adopted and requisites.number in (own, own.split("-")[0])


def by_database_id(name: str) -> list[str]:
    """Acts whose year and number an id of adilet.zan.kz gives: K1500000414 is the code 414 of 2015."""
    return [
        act["id"]
        for kind, year, number in DATABASE_ID.findall(name)
        for act in acts.load_acts().values()
        if act["adopted"][2:4] == year
        and (act["number"] or "").split("-")[0] == str(int(number.rstrip("_")))
        and (kind in "Kk") == (act["kind"] != "law")
    ]


def by_title(text: ActText) -> list[str]:
    """Acts whose title the text begins with, or gives for itself, or has for its file's name."""
    titles = [title_core(title) for title in (*text.head[:2], text.hint, text.path.stem)]
    known = {
        act["id"]: {title_core(act["title_ru"]), title_core(act["title_kk"])}
        for act in acts.load_acts().values()
    }
    return [act for title in titles if title for act, own in known.items() if title in own]


def title_core(title: str) -> tuple[str, ...]:
    """A title's words, without the country, the word for law and what the website adds; quoted ones alone."""
    title = re.sub(r"\s+-\s+ИПС.*|\([^)]*\d[^)]*\)|[_.]", " ", title)
    quoted = re.search('[«"](.+)[»"]', title)
    words = map(normalize_word, re.findall(r"\w+", quoted[1] if quoted else title))
    words = tuple(word for word in words if word not in FILLERS)
    # «Кодекс Республики Казахстан об административных правонарушениях»
    return words[1:] if words[:1] == ("кодекс",) else words


def acts_named_in_file(path: Path) -> list[str]:
    """Acts all of whose id's words are in the file's name, longest id first: law_on_personal_data.txt."""
    words = set(re.findall(r"[a-z]+|\d+", path.stem.lower()))
    named = [act for act in acts.load_acts() if set(act.split("_")) <= words]
    return sorted(named, key=lambda act: -len(act))


def new_record(text: ActText) -> dict:
    """A record of acts.json for an act that is not in the built-in list, as far as its text tells."""
    requisites = requisites_of(text)
    page_title = re.sub(r"\s+-\s+ИПС.*|saved from url=\S+|https?://\S+", "", text.hint).strip()
    titles = [requisites.title if requisites else "", *text.head[:1], page_title]
    title = next((title for title in titles if TITLE.match(title)), name_of_file(text.path).replace("_", " "))
    is_code = requisites.kind == "code" if requisites else "кодекс" in title.lower()
    if re.match("Об? ", title):
        title = f"{'Кодекс' if is_code else 'Закон'} Республики Казахстан «{title}»"
    elif title.endswith("туралы"):
        title = f"«{title}» Қазақстан Республикасының {'Кодексі' if is_code else 'Заңы'}"
    return {
        "id": new_id(text, is_code),
        "kind": "code" if is_code else "law",
        "in_force": True,
        "title_ru": title,
        "title_kk": title,
        "abbr_ru": [],
        "abbr_kk": [],
        "number": requisites.number if requisites else None,
        "adopted": requisites.adopted if requisites else "",
    }


def new_id(text: ActText, is_code: bool) -> str:
    """ "law_2024_106" by year and number, so that texts of both languages agree; else the file's name."""
    requisites = requisites_of(text)
    database_id = DATABASE_ID.search(f"{text.path.stem} {text.hint}")
    kind = "code" if is_code else "law"
    if requisites:
        return f"{kind}_{requisites.adopted[:4]}_{requisites.number.split('-')[0]}"
    if database_id:
        return f"{kind}_{full_year(database_id[2])}_{int(database_id[3].rstrip('_'))}"
    latin = "".join(LATIN.get(letter, letter) for letter in name_of_file(text.path).lower())
    slug = re.sub("[^a-z0-9]+", "_", latin).strip("_") or kind
    return f"{slug}_other" if slug in acts.load_acts() else slug


def full_year(digits: str) -> str:
    return f"19{digits}" if digits > "50" else f"20{digits}"


def name_of_file(path: Path) -> str:
    """ "law_on_notaries" of law_on_notaries.20-01-2026.kaz.pdf."""
    return NAME_ENDING.sub("", DATE.sub("", NAME_ENDING.sub("", path.stem)).rstrip("-._ "))


def version_in(name: str) -> str | None:
    """The date in a file's name or a page's address, "20-01-2026" or "2026.01.20", as "2026-01-20"."""
    match = DATE.search(name)
    if not match:
        return None
    day, month, year = match.group(1, 2, 3) if match[1] else match.group(6, 5, 4)
    return f"{year}-{month}-{day}" if "01" <= month <= "12" and "01" <= day <= "31" else None
