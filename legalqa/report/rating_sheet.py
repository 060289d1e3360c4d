"""The spreadsheet that lawyers fill: written and read by openpyxl, its words in Russian and Kazakh."""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from legalqa.errors import UserError, first_line, os_advice
from legalqa.scoring.ratings import BEST, CRITERIA, AnswerRow, Rated

GUIDE, ANSWERS = "Инструкция · Нұсқаулық", "Ответы · Жауаптар"
SHEET_ID = "Комплект · Жинақ"
EMPTY_ANSWER = "(ответа нет · жауап жоқ)"
MAX_CELL = 32_767  # characters that a cell can hold
CUT = " … (обрезано · қысқартылды)"
# Title and width in characters of each column; the criteria stand between.
COLUMNS_BEFORE = (("№", 5), ("Вопрос\nСұрақ", 44), ("Вариант\nНұсқа", 10), ("Ответ\nЖауап", 84))
COLUMNS_AFTER = (("Замечания\nЕскертпелер", 40),)
CRITERION_TITLES = {
    "correctness": "Правильность\nДұрыстығы",
    "completeness": "Полнота\nТолықтығы",
    "citations": "Ссылки\nСілтемелер",
    "clarity": "Ясность\nТүсініктілігі",
}
CRITERION_WIDTH = 15
GUIDE_WIDTH = 110
FONT, LINE_POINTS, MAX_POINTS = (
    "Calibri",
    15,
    409,
)  # points: the height of a line, the most that a row can have
# What the raters read first: a title, then a paragraph a line.
TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates"
GUIDES = (TEMPLATES / "human_eval.ru.txt", TEMPLATES / "human_eval.kk.txt")


class Filled(NamedTuple):
    """A sheet that came back. `problems`: ratings that cannot be counted, half-filled rows; a line each."""

    sheet_id: str
    rows: list[Rated]
    problems: list[str]


# ------------------------------------------------------------------------------------------------- writing


def write_sheet(path: Path, sheet_id: str, rows: list[AnswerRow]) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.properties.creator = None  # nothing of who made it
    fill_guide(book.active, sheet_id)
    fill_answers(book.create_sheet(ANSWERS), rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        book.save(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; {os_advice(error)}") from error


def fill_guide(sheet: Any, sheet_id: str) -> None:
    from openpyxl.styles import Alignment, Font

    sheet.title = GUIDE
    sheet.column_dimensions["A"].width = GUIDE_WIDTH
    for guide in GUIDES:
        for place, text in enumerate(guide.read_text("utf-8").splitlines()):
            sheet.append([text])
            cell = sheet.cell(sheet.max_row, 1)
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            cell.font = Font(FONT, 14 if place == 0 else 11, bold=place == 0)
            set_height(sheet, [(text, GUIDE_WIDTH)])
        sheet.append([None])
    sheet.append([f"{SHEET_ID}: {sheet_id}"])
    fit_page(sheet)


def fill_answers(sheet: Any, rows: list[AnswerRow]) -> None:
    from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
    from openpyxl.utils import get_column_letter

    criteria = tuple((CRITERION_TITLES[name], CRITERION_WIDTH) for name in CRITERIA)
    columns = (*COLUMNS_BEFORE, *criteria, *COLUMNS_AFTER)
    sheet.append([title for title, _ in columns])
    for place, (_, width) in enumerate(columns, 1):
        sheet.column_dimensions[get_column_letter(place)].width = width
        sheet.cell(1, place).font = Font(FONT, 11, bold=True)
        sheet.cell(1, place).fill = PatternFill("solid", fgColor="DDE6F0")
        sheet.cell(1, place).alignment = Alignment(wrap_text=True, vertical="center", horizontal="center")
    set_height(sheet, [(title, width) for title, width in columns])
    thin, thick = Side("thin", "BBBBBB"), Side("medium", "444444")
    for place, row in enumerate(rows, 2):
        texts = (row.number, cell_text(row.question), row.letter, cell_text(row.answer) or EMPTY_ANSWER)
        new_question = row.letter == "A"
        for column in range(1, len(columns) + 1):
            cell = sheet.cell(place, column)
            if column <= len(texts):
                cell.value = texts[column - 1]
                if isinstance(cell.value, str):
                    cell.data_type = "s"  # a text that begins with = is no formula
            is_text = column in (2, 4, len(columns))
            cell.alignment = Alignment("left" if is_text else "center", "top", wrap_text=True)
            cell.font = Font(FONT, 11)
            cell.border = Border(thin, thin, thick if new_question else thin, thin)
        set_height(sheet, [(str(text), width) for text, (_, width) in zip(texts, COLUMNS_BEFORE)])
    add_choices(sheet, len(rows) + 1)
    sheet.freeze_panes = "A2"
    sheet.print_title_rows = "1:1"
    fit_page(sheet)


def set_height(sheet: Any, texts: list[tuple[str, int]]) -> None:
    """Room in the last row for its longest text, of {(text, width of its column)}: not every program makes it
    by itself."""
    num_lines = max(
        sum(max(1, math.ceil(len(line) / width)) for line in text.split("\n")) for text, width in texts
    )
    sheet.row_dimensions[sheet.max_row].height = min(LINE_POINTS * num_lines + 3, MAX_POINTS)


def add_choices(sheet: Any, last_row: int) -> None:
    """The drop-down lists of the ratings."""
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    choices = ",".join(str(rating) for rating in range(1, BEST + 1))
    validation = DataValidation("list", formula1=f'"{choices}"', allow_blank=True, showErrorMessage=True)
    validation.errorTitle, validation.error = "1–5", "Нужна оценка от 1 до 5.\n1-ден 5-ке дейінгі баға керек."
    first = len(COLUMNS_BEFORE) + 1
    left, right = get_column_letter(first), get_column_letter(first + len(CRITERIA) - 1)
    validation.add(f"{left}2:{right}{last_row}")
    sheet.add_data_validation(validation)


def fit_page(sheet: Any) -> None:
    """One page wide on paper, as many high as it takes."""
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", sheet.PAPERSIZE_A4
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_setup.fitToHeight = 0


def cell_text(text: str) -> str:
    """`text` as a cell can hold it."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    text = ILLEGAL_CHARACTERS_RE.sub("\ufffd", text.strip())
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - len(CUT)] + CUT


# ------------------------------------------------------------------------------------------------- reading


def read_sheet(path: str) -> Filled:
    """A filled sheet; UserError for another file."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, data_only=True)
        guide, answers = book[GUIDE], book[ANSWERS]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # openpyxl's own, zipfile's, and those of XML, for what is no such workbook
        raise UserError(
            f"{path}: not a sheet of prepare_human_eval.py ({first_line(error)}); save it as "
            ".xlsx, its sheets named as they were"
        ) from error
    found = [re.search(rf"{SHEET_ID}: (\w+)", str(cell.value)) for (cell, *_) in guide.iter_rows()]
    sheet_id = next((match[1] for match in found if match), "")
    rows, problems = [], []
    for line, values in enumerate(answers.iter_rows(min_row=2, values_only=True), 2):
        if all(value is None for value in values):
            continue
        row, troubles = read_row(values)
        problems += [f"{path}, sheet '{ANSWERS}', row {line}: {trouble}" for trouble in troubles]
        if row:
            rows.append(row)
    return Filled(sheet_id, rows, problems)


def read_row(values: tuple) -> tuple[Rated | None, list[str]]:
    """The row, and what is wrong with it: ratings out of range, some ratings without the others."""
    first = len(COLUMNS_BEFORE)
    number, letter = values[0], str(values[2] or "").strip()
    if not isinstance(number, int | float) or not letter:
        return None, ["no question number or no letter; restore them"]
    ratings, problems = {}, []
    for criterion, value in zip(CRITERIA, values[first : first + len(CRITERIA)]):
        ratings[criterion] = rating_of(value)
        if ratings[criterion] is None and value is not None and str(value).strip():
            problems.append(f"{criterion} is '{str(value)[:20]}', not a whole number from 1 to {BEST}")
    empty = [criterion for criterion, rating in ratings.items() if rating is None]
    if empty and len(empty) < len(CRITERIA) and not problems:
        problems.append(f"half-filled, no {', '.join(empty)}")
    return Rated(int(number), letter, ratings), problems


def rating_of(value: object) -> int | None:
    text = str(value).strip().removesuffix(".0")
    return int(text) if text in map(str, range(1, BEST + 1)) else None
