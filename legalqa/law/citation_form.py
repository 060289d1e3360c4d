"""An article as an answer cites it: «ст. 52 ТК РК», «Еңбек кодексінің 52-бабы»."""

import re

from legalqa.law import acts

GENITIVE_RU = {"Закон": "Закона", "Кодекс": "Кодекса", "Конституция": "Конституции"}
COUNTRY_RU, COUNTRY_KK = "Республики Казахстан", "Қазақстан Республикасының"
NOTE = re.compile(r"\s*\([^«»]*\)$")  # «(Общая часть)», «(2017 жылғы, ...)»


def citation_form(act: str, article: str, language: str) -> str:
    """The citation in Russian ("ru") or Kazakh ("kk") of an article of an act in the list in use."""
    record = acts.load_acts()[act]
    if language == "kk":
        return f"{act_of_which_kk(record['title_kk'])} {article}-бабы"
    return f"ст. {article} {act_of_which_ru(record)}"


def act_of_which_ru(record: dict) -> str:
    """«ТК РК», «Закона о нотариате», «Закона РК «О нотариате»»: the usual short name where there is one."""
    name = (record["abbr_ru"] or [NOTE.sub("", record["title_ru"]).replace(COUNTRY_RU, "РК")])[0]
    first, _, rest = name.partition(" ")
    return f"{GENITIVE_RU.get(first, first)} {rest}".strip()


def act_of_which_kk(title: str) -> str:
    """««Білім туралы» заңның», «Жер кодексінің»."""
    name = NOTE.sub("", title)
    quoted = re.match(rf"(«.+»)\s+(?:{COUNTRY_KK}\s+)?(Заңы|Кодексі)$", name)
    if quoted:
        return f"{quoted[1]} {'заңның' if quoted[2] == 'Заңы' else 'кодекстің'}"
    name = name.removeprefix(COUNTRY_KK).strip()
    return f"{name}нің" if name.endswith("сі") else f"{name}ның" if name.endswith("сы") else name
