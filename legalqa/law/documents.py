"""Files of acts (HTML, PDF, DOCX, TXT) as paragraphs: what a reader sees, without page furniture."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from legalqa.errors import UserError, first_line
from legalqa.law.headings import ITEM, is_heading

SUFFIXES = (".html", ".htm", ".pdf", ".docx", ".txt")
RED = ("ff0000", "#ff0000", "red")  # editors' notes are red in the state's database of law
SKIPPED_TAGS = {"script", "style", "noscript", "nav", "header", "footer", "form", "button", "template"}
BLOCK_TAGS = {
    "p",
    "div",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "li",
    "ul",
    "ol",
    "table",
    "article",
    "section",
    "br",
    "blockquote",
}
LETTERS_OF_A_PAGE = 20  # with fewer a page on average, a PDF is pictures of pages
FURNITURE_SHARE = (
    1 / 3
)  # of the pages that begin or end with a line, digits aside: then it is no text of the act


class Paragraph(NamedTuple):
    """A paragraph or a table's row ("a | b"). note: its class or colour marks an editor's note."""

    text: str
    note: bool = False


class Document(NamedTuple):
    """A file's paragraphs in order. hint: title and address that a saved page gives for itself, or ""."""

    path: Path
    paragraphs: list[Paragraph]
    hint: str = ""


def read_document(path: Path) -> Document:
    """The paragraphs of a file, or a UserError that says why it has none."""
    readers = {".pdf": read_pdf, ".docx": read_docx, ".txt": read_txt}
    try:
        document = readers.get(path.suffix.lower(), read_html)(path)
    except UserError:
        raise
    # Broad on purpose: each library raises errors of its own for a damaged file, and the other files go on.
    except Exception as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}; save or download it again") from error
    if not document.paragraphs:
        raise UserError(f"{path}: no text in it; save or download it again")
    return document


def tidy(text: str) -> str:
    """One space at a time, none inside brackets or before a comma, no invisible characters."""
    text = re.sub("[\u00ad\u200b-\u200d\ufeff\x00-\x08\x0e-\x1f]", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<=\() | (?=[),;:]|\.(?!\w))", "", text)


def read_text(path: Path) -> str:
    """UTF-8, UTF-16 by its mark, or the Cyrillic code page of Windows."""
    data = path.read_bytes()
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1251"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UserError(f"{path}: neither UTF-8 nor Windows-1251 text; save it again as UTF-8")


# ---------------------------------------------------------------- TXT and PDF: lines into paragraphs


def read_txt(path: Path) -> Document:
    """A blank line, an indent of two or a heading begins a paragraph; links of the page broke other lines."""
    lines = read_text(path).splitlines()
    return Document(path, join_lines(lines, lambda line, _: bool(re.match(r"\s{2}", line))))


def read_pdf(path: Path) -> Document:
    """By pypdfium2: words of links stay in their places (not so by pypdf), 20 times as fast as pdfplumber."""
    import pypdfium2

    pdf = pypdfium2.PdfDocument(path)
    try:
        pages = [page_lines(pdf[number]) for number in range(len(pdf))]
    finally:
        pdf.close()
    letters = sum(character.isalpha() for page in pages for line in page for character in line)
    if letters < LETTERS_OF_A_PAGE * len(pages):
        raise UserError(
            f"{path}: no text in {len(pages)} pages, a scan? recognise it first, or save the act's HTML page"
        )
    lines = without_furniture(pages)
    indented = sum(line[:1].isspace() for line in lines) > len(lines) / 50

    def begins(line, before):
        return line[:1].isspace() if indented else bool(ITEM.match(line) and re.search(r"[.;:]\s*$", before))

    return Document(path, join_lines(lines, begins))


def page_lines(page) -> list[str]:
    """The lines of a page of a PDF, indents kept as one space; the page's memory is given back."""
    text_page = page.get_textpage()
    try:
        # U+FFFE and U+0002 are pdfium's marks of a hyphen at a line's end.
        return re.sub("[\ufffe\x02]\r?\n?", "-\n", text_page.get_text_range()).splitlines()
    finally:
        text_page.close()
        page.close()


def without_furniture(pages: list[list[str]]) -> list[str]:
    """All lines but page numbers and the headers and footers that many pages share."""

    def shape(line):
        return re.sub(r"\d+", "#", line.strip())

    pages = [[line for line in page if line.strip()] for page in pages]
    edges = Counter(shape(line) for page in pages for line in {*page[:1], *page[-1:]})
    furniture = {line for line, size in edges.items() if size > max(2, FURNITURE_SHARE * len(pages))}
    furniture |= {"#", "- # -", "– # –"}
    lines = []
    for page in pages:
        start = 1 if page and shape(page[0]) in furniture else 0
        end = len(page) - 1 if page[start:] and shape(page[-1]) in furniture else len(page)
        lines += page[start:end]
    return lines


def join_lines(lines: list[str], begins) -> list[Paragraph]:
    """Lines as paragraphs; begins(line, line before) says where one starts, beside blanks and headings."""
    words = Counter(word.lower() for line in lines for word in re.findall(r"\w+", line))
    paragraphs, before = [], ""
    for line in lines:
        text = line.strip()
        if text and (not before.strip() or begins(line, before) or is_heading(text)):
            paragraphs.append(text)
        elif text:
            paragraphs[-1] = join_words(paragraphs[-1], text, words)
        before = line
    return [Paragraph(tidy(text)) for text in paragraphs]


def join_words(text: str, line: str, words: Counter) -> str:
    """Two lines of a paragraph as one: a hyphen at the end goes where the document has the whole word."""
    broken, following = re.search(r"(\w+)-$", text), re.match(r"\w*", line)
    if not broken:
        return text + ("" if text.endswith("/") else " ") + line
    right = following[0] if following else ""
    hyphenated = right.islower() and (broken[1] + right).lower() in words
    return (text[:-1] if hyphenated else text) + line


# ---------------------------------------------------------------- DOCX


def read_docx(path: Path) -> Document:
    import docx
    from docx.table import Table

    paragraphs = []
    for block in docx.Document(str(path)).iter_inner_content():
        if isinstance(block, Table):
            paragraphs += [Paragraph(row) for row in map(docx_row, block.rows) if row]
        else:
            note = docx_is_red(block)
            paragraphs += [Paragraph(tidy(line), note) for line in block.text.split("\n") if tidy(line)]
    return Document(path, paragraphs)


def docx_row(row) -> str:
    cells = list(dict.fromkeys(row._tr.tc_lst))  # a merged cell is there once for each column
    texts = [
        tidy(" ".join(node.text or "" for node in cell.iter() if node.tag.endswith("}t"))) for cell in cells
    ]
    return " | ".join(texts) if any(texts) else ""


def docx_is_red(paragraph) -> bool:
    """Whether the paragraph's first words are red."""
    for run in paragraph.runs:
        if run.text.strip():
            return str(run.font.color.rgb if run.font.color else "").lower() in RED
    return False


# ---------------------------------------------------------------- HTML


def read_html(path: Path) -> Document:
    from lxml import html

    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", read_text(path))
    if not text.strip():
        raise UserError(f"{path}: empty; save the page again")
    page = html.document_fromstring(text)
    hint = " ".join(
        [
            *page.xpath("//title/text()"),
            *page.xpath("//link[@rel='canonical']/@href"),
            *re.findall(r"saved from url=\S+", text[:2000]),
        ]
    )
    return Document(path, html_paragraphs(act_element(page)), tidy(hint))


def act_element(page):
    """The element that holds the act: the state's database puts it into <article>."""
    articles = page.xpath("//article")
    return max(articles, key=lambda element: len(element.text_content())) if articles else page.find("body")


def html_paragraphs(element) -> list[Paragraph]:
    paragraphs, pieces = [], []

    def end():
        text = tidy("".join(text for text, _ in pieces))
        if text:
            paragraphs.append(Paragraph(text, next(note for piece, note in pieces if piece.strip())))
        pieces.clear()

    def add(text, note):
        if text:
            pieces.append((text, note))

    def walk(element, note):
        tag = element.tag if isinstance(element.tag, str) else "script"  # comments have a function for a tag
        if tag in SKIPPED_TAGS:
            return
        note = note or is_note(element)
        if tag == "tr":
            end()
            cells = [tidy(cell.text_content()) for cell in element if cell.tag in ("td", "th")]
            if any(cells):
                paragraphs.append(Paragraph(" | ".join(cells), note))
            return
        if tag in BLOCK_TAGS:
            end()
        add(element.text, note)
        for child in element:
            walk(child, note)
            add(child.tail, note)
        if tag in BLOCK_TAGS:
            end()

    walk(element, False)
    end()
    return paragraphs


def is_note(element) -> bool:
    return "note" in (element.get("class") or "").split() or (element.get("color") or "").lower() in RED
