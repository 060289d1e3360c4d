"""The acts this project knows: names, numbers and articles from acts.json, and tables to recognise them by.

acts.json lists, per act, the articles that have text ("1..19 19-1 20", the union of the Russian and the
Kazakh text) and, apart, the excluded ones; chapters excluded whole are in neither. Versions are of January to
April 2026; the Constitution is that of 1 July 2026.
"""

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path

from legalqa.errors import UserError
from legalqa.law.tokens import fold, normalize_word

ACTS_FILE = Path(__file__).with_name("acts.json")  # the built-in list
acts_file = ACTS_FILE  # the list in use
# fmt: off
RECORD_KEYS = ("id", "kind", "in_force", "title_ru", "title_kk", "abbr_ru", "abbr_kk", "number", "adopted",
               "articles", "repealed")
# fmt: on
CIVIL_CODE = "civil_code"  # both parts, as people cite them; `part_of_civil_code` tells which by the article
LAST_GENERAL_ARTICLE = 405

# Adjectives of codes by stem, as they stand before "кодекс"; None: a code we know of but have no articles of.
# fmt: off
CODES_RU: dict[tuple[str, ...], str | None] = {
    ("трудов",): "labor_code", ("гражданск",): CIVIL_CODE, ("налогов",): "tax_code",
    ("земельн",): "land_code", ("предпринимательск",): "entrepreneurial_code", ("уголовн",): "criminal_code",
    ("экологическ",): "environmental_code",
    ("социальн",): "social_code", ("семейн",): "family_code", ("брачн", "семейн"): "family_code",
    ("гражданск", "процессуальн"): "civil_procedure_code",
    ("уголовн", "процессуальн"): "criminal_procedure_code", ("уголовн", "исполнительн"): None,
    ("административн", "процедурн", "процессуальн"): "admin_procedure_code",
    ("административн",): "admin_offences_code",
}
CODES_KK: dict[tuple[str, ...], str | None] = {
    ("еңбек",): "labor_code", ("азаматтық",): CIVIL_CODE, ("салық",): "tax_code", ("жер",): "land_code",
    ("кәсіпкерлік",): "entrepreneurial_code", ("қылмыстық",): "criminal_code",
    ("экология",): "environmental_code", ("экологиялық",): "environmental_code",
    ("әлеуметтік",): "social_code", ("отбасы",): "family_code",
    ("азаматтық", "процестік"): "civil_procedure_code",
    ("азаматтық", "іс", "жүргізу"): "civil_procedure_code",
    ("қылмыстық", "процестік"): "criminal_procedure_code",
    ("қылмыстық", "іс", "жүргізу"): "criminal_procedure_code",
    ("әкімшілік", "рәсімдік", "процестік"): "admin_procedure_code", ("қылмыстық", "атқару"): None,
    ("әкімшілік",): "admin_offences_code", ("денсаулық",): "health_code",
    ("денсаулық", "сақтау"): "health_code",
}
# fmt: on
CODES_KK = {tuple(map(fold, words)): act_id for words, act_id in CODES_KK.items()}
# Titles people use beside the official ones and those of acts.json.
# fmt: off
TITLES_RU = {
    "об административных правонарушениях": "admin_offences_code",
    "о браке и семье": "family_code",
    "о здоровье народа": "health_code",
    "о товариществах с ограниченной ответственностью": "llp_law",
    "об исполнительном производстве": "enforcement_law",
    "о регистрации юридических лиц": "legal_entities_registration_law",
    "о государственной регистрации юридических лиц": "legal_entities_registration_law",
    "о регистрации прав на недвижимое имущество": "real_estate_registration_law",
    "о регистрации прав на недвижимость": "real_estate_registration_law",
    "о госрегистрации прав на недвижимость": "real_estate_registration_law",
    "о государственной регистрации прав на недвижимость": "real_estate_registration_law",
    "о защите персональных данных": "personal_data_law",
    "о банкротстве физических лиц": "citizen_bankruptcy_law",
    "об обязательном страховании гпо владельцев транспортных средств": "vehicle_insurance_law",
    "о налогах": "tax_code",
    "о налогах и обязательных платежах в бюджет": "tax_code_2017_repealed",  # not of the one in force
    "о налогах и других обязательных платежах в бюджет": "tax_code_2017_repealed",
    "о налогах и других обязательных платежах в бюджет налоговый кодекс": "tax_code_2017_repealed",
}
TITLES_KK = {
    "әкімшілік құқық бұзушылық туралы": "admin_offences_code",
    "әкімшілік құқықбұзушылық туралы": "admin_offences_code",
    "неке және отбасы туралы": "family_code",
    "халық денсаулығы туралы": "health_code",
    "жылжымайтын мүлікке құқықтарды тіркеу туралы": "real_estate_registration_law",
    "салық және бюджетке төленетін басқа да міндетті төлемдер туралы": "tax_code_2017_repealed",
    "салық және бюджетке төленетін басқа да міндетті төлемдер туралы салық кодексі": "tax_code_2017_repealed",
}
# fmt: on
ABBREVIATIONS_RU = {"кроап": "admin_offences_code", "кркоап": "admin_offences_code", "кобс": "family_code"}
ABBREVIATIONS_KK = {"әқбк": "admin_offences_code"}
OLD = "old"  # in place of a date: an act of that name which is no longer in force


def title_key(words: Iterable[str]) -> tuple[str, ...]:
    """The words of a title as it is looked up: without Kazakh letters and most of the case endings."""
    return tuple(fold(word)[:7] for word in words)


def title_words(title: str) -> tuple[str, ...]:
    return title_key(map(normalize_word, re.findall(r"\w+", title)))


def without_country(words: tuple[str, ...]) -> tuple[str, ...]:
    """A title's key without the country's name at either end, which people leave out."""
    for country in (("в", "республ", "казахст"), ("республ", "казахст"), ("рк",)):
        if words[-len(country) :] == country:
            words = words[: -len(country)]
    if words[:1] == ("кр",):
        return words[1:]
    return words[2:] if words[:2] == ("казакст", "республ") else words


def use(law_dir: str | Path) -> None:
    """Check citations against the user's copy of the law from now on, where prepare_law.py has made one.

    A stage calls it once, before it reads a citation: what was read is kept in caches.
    """
    global acts_file
    users = Path(law_dir) / ACTS_FILE.name
    acts_file = users if users.is_file() else ACTS_FILE
    for table in globals().values():
        if hasattr(table, "cache_clear"):
            table.cache_clear()
    load_acts()  # a damaged list is told of now


@functools.cache
def load_acts() -> dict[str, dict]:
    """{id: record of acts.json}."""
    return read_acts(acts_file)


def read_acts(path: Path) -> dict[str, dict]:
    """{id: record} of a list of acts."""
    try:
        records = {act["id"]: act for act in json.loads(path.read_text("utf-8"))}
        missing = [key for act in records.values() for key in RECORD_KEYS if key not in act]
        if missing or not records:
            raise ValueError(f"no {missing[0]}" if missing else "empty")
        return records
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: no list of acts: {error!r}; make it again: python prepare_law.py SOURCES"
        ) from error


def expand(ranges: str) -> set[str]:
    """ "1..3 3-1..3-2" -> {"1", "2", "3", "3-1", "3-2"}."""
    articles = set()
    for item in ranges.split():
        first, _, last = item.partition("..")
        *base, start = first.split("-")
        end = (last or first).split("-")[-1]
        articles.update("-".join([*base, str(number)]) for number in range(int(start), int(end) + 1))
    return articles


def article_key(article: str) -> tuple[int, ...]:
    """ "7-1" -> (7, 1), by which articles are in order."""
    return tuple(int(part) for part in article.split("-"))


def ranges(articles: Iterable[str]) -> str:
    """{"1", "2", "3", "3-1", "3-2"} -> "1..3 3-1..3-2"."""
    runs = []  # [first, last], each as a key
    for key in sorted(map(article_key, articles)):
        if runs and key == (*runs[-1][1][:-1], runs[-1][1][-1] + 1):
            runs[-1][1] = key
        else:
            runs.append([key, key])
    return " ".join("..".join("-".join(map(str, key)) for key in dict.fromkeys(run)) for run in runs)


@functools.cache
def articles_of(act_id: str | None) -> tuple[frozenset[str], frozenset[str]]:
    """(articles in force, repealed articles) of an act; empty sets where acts.json has no list."""
    act = load_acts().get(act_id or "") or {}
    return frozenset(expand(act.get("articles") or "")), frozenset(expand(act.get("repealed") or ""))


@functools.cache
def known_numbers() -> frozenset[str]:
    """Every article number with a suffix that some act has, in force or repealed."""
    return frozenset(
        article
        for act_id in load_acts()
        for group in articles_of(act_id)
        for article in group
        if "-" in article
    )


def part_of_civil_code(article: str) -> str:
    general = int(article.split("-")[0]) <= LAST_GENERAL_ARTICLE
    return "civil_code_general" if general else "civil_code_special"


def article_exists(act: str | None, article: str) -> bool | None:
    """Whether `article` has text in `act`: False if it was excluded or never was, None where no list is
    known.

    An act that is no longer in force is judged by its own text: an outdated citation is not an invented one.
    """
    if act == CIVIL_CODE:
        act = part_of_civil_code(article)
    in_force, _ = articles_of(act)
    return article in in_force if in_force else None


def act_title(act_id: str, language: str = "ru") -> str:
    """Official title in Russian or Kazakh ("ru", "kk")."""
    return load_acts()[act_id][f"title_{language}"]


def cite_as(act_id: str) -> str:
    return CIVIL_CODE if act_id.startswith("civil_code_") else act_id


@functools.cache
def titles() -> dict[tuple[str, ...], str]:
    """{key of a title: act id}: official and usual titles, without the words for law, code and country."""
    table = {title_words(title): act_id for title, act_id in (TITLES_RU | TITLES_KK).items()}
    for act in load_acts().values():
        for language in ("ru", "kk"):
            for quoted in re.findall("«(.+)»", act[f"title_{language}"]):
                full = title_words(quoted)
                table.setdefault(full, act["id"])
                table.setdefault(without_country(full), act["id"])
            for name in act[f"abbr_{language}"]:
                words = title_words(name)
                if words[0] in ("закон", "кодекс"):
                    table.setdefault(words[1:], act["id"])
                elif "туралы" in words and words[-1] != "туралы":
                    table.setdefault(words[:-1], act["id"])
    return table


@functools.cache
def title_starts() -> frozenset[str]:
    """The first words of all titles' keys."""
    return frozenset(words[0] for words in titles())


def known_title(words: Iterable[str]) -> str | None:
    """Act id of a title's words in either language, or None."""
    key = title_key(words)
    return titles().get(key) or titles().get(without_country(key))


@functools.cache
def abbreviations(language: str) -> dict[str, str]:
    """{abbreviation's letters, lower case: act id} of one word, such as тк or ӘҚБтК."""
    table = dict(ABBREVIATIONS_RU if language == "ru" else ABBREVIATIONS_KK)
    for act in load_acts().values():
        for name in act[f"abbr_{language}"]:
            words = [word for word in name.split() if word not in ("РК", "ҚР")]
            if len(words) == 1 and sum(letter.isupper() for letter in words[0]) > 1:
                table.setdefault(words[0].lower(), cite_as(act["id"]))
    return table


def resolve_dated(name: str | None, number: str | None, date: str | None) -> str | None:
    """Act id of a citation that gives a number or date of adoption, or None: then it is an act we do not
    know.

    name: act id its words say, or None; number: "414-v" or None; date: "2015-11-23", "2015", OLD or None. A
    number or date that is not the named act's own means an older act of that name, or an invented one: never
    the act in force. A year alone after a code's name may also be that of an edition («НК РК 2024 года»):
    then it is the code that was the last one adopted by then.
    """

    def may_be(act_id: str) -> bool:  # civil_code has two parts, tax_code and constitution repealed namesakes
        return name is None or name in (act_id, cite_as(act_id)) or act_id.startswith(f"{name}_")

    candidates = [act for act in load_acts().values() if may_be(act["id"])]
    if number:
        matching = [act for act in candidates if act["number"] and act["number"].lower() == number]
    elif not name or not date:
        matching = []
    elif date == OLD:
        matching = [act for act in candidates if not act["in_force"]]
    else:
        matching = [act for act in candidates if act["adopted"].startswith(date)]
    if matching or not date or len(date) != 4 or number:
        return matching[0]["id"] if matching else None
    earlier = [act for act in candidates if act["kind"] != "law" and act["adopted"][:4] < date]
    if name == CIVIL_CODE:
        return name if earlier else None
    return max(earlier, key=lambda act: act["adopted"])["id"] if earlier else None
