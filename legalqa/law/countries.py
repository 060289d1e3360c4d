"""The states that are named beside an act: Kazakhstan, and others, whose act it then is."""

import re

from legalqa.law.tokens import HYPHENS, Tokens, fold

# Names in the cases that stand beside an act, by stem; Kazakh ones without Kazakh letters.
FOREIGN = re.compile(
    "рф|ссср|рсфср|снг|еаэс|ес|сша|акш|фрг|кнр|оаэ|оон|вто"
    "|(?:росси|герман|франц|грузи|армени|молдави|белорусси|киргизи|турци|итали|испани|англи|(?:велико)?британи"
    "|швейцари|австри|япони|монголи|инди|латви|эстони|швеци|норвеги|финлянди|голланди|греци|румыни|болгари"
    "|венгри|чехи|словаки|серби|бельги|португали|туркмени|ирланди|австрали|бразили|германи|франци)(?:я|и|ю|ей)"
    "|(?:узбеки|кыргыз|таджики|туркмени|афгани|паки|узбек|озбек|тажик|туркимен|ауган|татар)стан(?:а|е|у|ом|нын|да)?"
    "|украин(?:а|ы|е|у|ой|анын)|литв[аыеу]|польш[аиеу]|кита[йяею]|кытай(?:дын)?|израил[ьяею]|иран(?:а|е|нын)?"
    "|азербайджан(?:а|е|нын)?|беларус[ьи]|беларусьтин|молдов[аыеу]|коре[яию]|канад[аыеу]|нидерландов|вьетнама"
    "|сингапура|эмиратов|ресей(?:дин)?|туркия(?:нын)?|германия(?:нын)?|франция(?:нын)?|америка(?:нын)?"
)
FOREIGN_ADJECTIVE = re.compile(
    "(?:российск|русск|узбекск|германск|немецк|французск|украинск|белорусск|китайск|турецк|киргизск|кыргызск|кыргыз"
    "|американск|английск|советск|федеральн|таможенн)(?:ий|ый|ого|ому|им|ым|ом|ая|ой|ую|ие|ых|их)?"
)
UNION = re.compile("федераци.*|республик.*|союз.*|штат.*|конфедераци.*|королевств.*|княжеств.*|сср")


def skip_country(tokens: Tokens, i: int) -> int:
    """Index after «РК» or «Республики Казахстан» at i, else i."""
    if tokens.at(i) in ("рк", "казахстана", "қр"):
        i += 1
        return i + 2 if tokens.at(i) in HYPHENS and tokens.is_tight(i) and tokens.is_word(i + 1) else i
    if tokens.at(i).startswith("республик") and tokens.folded(i + 1) in ("казахстан", "казакстан"):
        return i + 2
    if tokens.folded(i) == "казакстан" and tokens.at(i + 1).startswith("республика"):
        return i + 2
    return i


def skip_country_back(tokens: Tokens, i: int) -> int:
    """Index of the first token of «ҚР» or «Қазақстан Республикасының» that ends before i, else i."""
    if tokens.at(i - 1) == "қр":
        return i - 1
    if tokens.at(i - 1).startswith("республика") and tokens.folded(i - 2) in ("казакстан", "казахстан"):
        return i - 2
    if tokens.at(i - 2) in HYPHENS and tokens.at(i - 3) == "қр":
        return i - 3
    return i


def skip_foreign(tokens: Tokens, i: int) -> int:
    """Index after another state's name at i («РФ», «Российской Федерации», «Республики Беларусь»), else i."""
    word = tokens.at(i)
    if FOREIGN_ADJECTIVE.fullmatch(fold(word)) and UNION.fullmatch(tokens.at(i + 1)):
        return i + 2
    if is_state(tokens, i):
        return i + 1
    if word == "республики" and tokens.is_capital(i + 1) and tokens.at(i + 1) != "казахстан":
        return i + 2
    return i + 2 if word == "казахской" and tokens.at(i + 1) == "сср" else i


def skip_foreign_back(tokens: Tokens, i: int) -> int:
    """Index of the first token of another state's name that ends before i («РФ», «Ресей Федерациясының»,
    «российского»), else i."""
    word = tokens.at(i - 1)
    if UNION.fullmatch(word) and tokens.is_capital(i - 2):
        before = tokens.folded(i - 2)
        return i if before in ("казакстан", "казахстан", "республики") else i - 2
    if FOREIGN_ADJECTIVE.fullmatch(word):
        return i - 1
    return i - 1 if is_state(tokens, i - 1) and tokens.is_kazakh_near(i) else i  # in Russian it stands after


def is_state(tokens: Tokens, i: int) -> bool:
    written = tokens.is_capital(i) or tokens.at(i) in ("рф", "россии")
    return written and FOREIGN.fullmatch(tokens.folded(i)) is not None
