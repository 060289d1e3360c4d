"""What a line of an act is by its words: heading, editor's note, the signature after which annexes begin."""

import re

NUMBER = r"\d+(?:\s?[-–‑]\s?\d+)*"
# «Исключена Законом ...», not «Исключение участника ...».
EXCLUSION = r"исключен[аоы]?\b|утратил[аи]?\s+силу|алып\s+таста|күші\s+жой|күшін\s+жой"
# «Статья 7-1. Название», «7-1-бап. Атауы»; without the full stop only where nothing or an exclusion follows:
# «Статья 7 настоящего Закона» is a sentence.
ARTICLE = re.compile(
    rf"(?:Статья\s+(?P<ru>{NUMBER})|(?P<kk>{NUMBER})\s?[-–‑]?\s?бап)"
    rf"(?:\s*[.:]\s*|\s+(?={EXCLUSION})|\s*$)(?P<title>.*)",
    re.IGNORECASE | re.DOTALL,
)
ROMAN = "IVXLCІХ"  # the last two are Cyrillic
# Under «Глава 2» alone the title stands in the next line; «Глава 2 Закона применяется.» is a sentence.
AFTER_CHAPTER = r"(?:\s*[.:]|\s*$|\s+(?=[А-ЯЁӘҒҚҢӨҰҮҺІ])(?!.*[.;:]\s*$))"
CHAPTER = re.compile(
    rf"(?i:Глава|Раздел)\s+(?:{NUMBER}|[{ROMAN}]+){AFTER_CHAPTER}"
    rf"|(?:{NUMBER}|[{ROMAN}]+)\s?[-–‑]?\s?(?i:тарау|бөлім){AFTER_CHAPTER}"
)
# Headings between articles, in no article's text: parts of a code, subsections, paragraphs of a chapter.
DIVISION = re.compile(
    rf"(?:Параграф|Подраздел|§)\s*(?:{NUMBER}|[{ROMAN}]+)\s*[.:]"
    rf"|{NUMBER}\s?[-–‑]?\s?(?:параграф|кіші\s+бөлім)\s*[.:]"
    r"|(?:ОБЩАЯ|ОСОБЕННАЯ)\s+ЧАСТЬ\s*$|(?:ЖАЛПЫ|ЕРЕКШЕ)\s+БӨЛІМ\s*$"
)
FOOTNOTE = re.compile(r"Сноска\b|Ескерту\s*[.:]")  # «Ескерту» is a word of the law too: a warning
# The publishers of the state's database of law: РЦПИ, ИЗПИ; РҚАИ, ЗҚАИ. «Примечание.» alone is the law's own.
PENDING = re.compile(
    r"(?:Примечание\s+(?:ИЗПИ|РЦПИ)|(?:[А-ЯҚ]ҚАИ|ЗҚАИ)\s?-?\s?н[ыі]ң\s+ескертпесі)\s*[!.:]*\s*"
)
EDITORIAL = re.compile(
    r"ввод[ия]тся\s+в\s+действие|предусм(?:отрен|атрива)|Данная\s+редакция|в\s+редакции\s+Закона"
    r"|қолданысқа\s+енгізіл|көзделген|редакцияда"
)
ITEM = re.compile(rf"\"?{NUMBER}[.)]|\"?[а-яәі]\)")
EXCLUDED = re.compile(EXCLUSION, re.IGNORECASE)
EXCLUDED_ITEM = re.compile(rf"{NUMBER}[.)]\s+(?:{EXCLUSION})", re.IGNORECASE)
SIGNATURE = re.compile(
    r"(?:Президент|Председатель\s+Верховного\s+Совета)(?:\s+Республики\s+Казахстан)?(?:\s+\w\.\s*\w+)?\s*$"
    r"|Қазақстан\s+Республикасының(?:\s+Президенті(?:\s+\w\.\s*\w+)?)?\s*$"
    r"|П(?i:риложение)(?:\s+№?\s*\d+)?(?:\s+к\s+(?:\w+\s+)?(?:Закону|[Кк]одексу|Конституции)\b[^.]*)?$"
    r"|\S.*\s(?:Заңына|[Кк]одексіне)\s+(?:\d+-)?қосымша\s*$|©|Если\s+Вы\s+обнаружили\s+на\s+странице"
)


def is_heading(line: str) -> bool:
    """Whether a line begins a heading or the publisher's mark: the paragraph before it has ended."""
    return bool(ARTICLE.match(line) or CHAPTER.match(line) or DIVISION.match(line) or line.startswith("©"))


def article_number(heading: re.Match) -> str:
    """ "7-1" of a match of ARTICLE."""
    return re.sub(r"\s?[-–‑]\s?", "-", heading["ru"] or heading["kk"])
