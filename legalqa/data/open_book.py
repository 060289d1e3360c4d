"""Open book: the passages of the law that a row's answer may rest on, found once and carried in the row.

Training, benchmark, chat and export add them here, so that a question has the same passages everywhere;
legalqa/model/prompt.py puts them into the prompt. In training the article that the answer cites is put among
them where the search missed it; afterwards the search is alone.
"""

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import file_sha256, text_sha256
from legalqa.law import acts
from legalqa.law.passages import AskedQuestion, Passage, asked_questions, cited_articles, question_of

if TYPE_CHECKING:  # it brings numpy, which scores and --help do without
    from legalqa.law.search import LawIndex

FIELD = "passages"  # of a row; a data file's own field of that name is no Passages and is ignored
ROWS_A_PROCESS = 500  # below which another process costs more than it saves

Key = tuple[str, str]  # act, article


class Passages(NamedTuple):
    """What a row's answer may rest on, nearest first. max_tokens: to which the prompt cuts each."""

    found: tuple[Passage, ...]
    max_tokens: int

    @property
    def keys(self) -> list[Key]:
        return [(passage.act, passage.article) for passage in self.found]


class OpenBook(NamedTuple):
    """The law, and how much of it goes with a question: passages, and tokens of each one."""

    index: "LawIndex"
    num_passages: int
    max_tokens: int

    def add(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with the passages that the search finds."""
        return {**row, FIELD: Passages(tuple(search_of_row(row, self)), self.max_tokens)}

    def add_all(self, rows: list[dict]) -> list[dict]:
        found = find_all(rows, self, search_of_row)
        return [
            {**row, FIELD: Passages(tuple(passages), self.max_tokens)} for row, passages in zip(rows, found)
        ]


class Found(NamedTuple):
    """What the search finds for a training row."""

    passages: list[Passage]
    is_right: bool  # an article that the row's answer cites is among them
    missed: Passage | None  # of such an article, where none is among them and the law has its text


def open_book(
    law_dir: str | Path, train_file: str | Path, num_passages: int, max_tokens: int, as_saved: bool = False
) -> OpenBook:
    """The book of a folder of law. The search also knows the training rows' questions, where they are.

    as_saved: those that it knew when its index was made, in a tenth of a second.
    """
    from legalqa.law.search import LawIndex

    saved = LawIndex.open_saved(law_dir) if as_saved else None
    if saved:
        return OpenBook(saved, num_passages, max_tokens)
    has_rows = Path(train_file).is_file()
    questions = questions_of(train_file) if has_rows else ()
    index = LawIndex.load_or_build(law_dir, questions, file_sha256(train_file) if has_rows else "")
    return OpenBook(index, num_passages, max_tokens)


def questions_of(train_file: str | Path) -> Iterator[AskedQuestion]:
    """Read when the first is asked for."""
    yield from asked_questions(records.read_records(train_file))


def has_law(law_dir: str | Path) -> bool:
    return any(Path(law_dir).glob("*.jsonl"))


def check_law(law_dir: str | Path, model: str = "") -> None:
    """UserError where there is no law to open; `model` names what wants it."""
    if not has_law(law_dir):
        wanted = f"{model} answers with the law open" if model else "--law-passages needs the law's text"
        raise UserError(
            f"{wanted}, and {law_dir} has no texts of acts; make them: python prepare_law.py FILES, "
            "or close the book: --law-passages 0"
        )


def passages_of(row: Mapping[str, Any]) -> Passages | None:
    passages = row.get(FIELD)
    return passages if isinstance(passages, Passages) else None


def without_passages(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != FIELD}


# ---------------------------------------------------------------- training rows


class TrainingRows(NamedTuple):
    """Rows with passages, and how many have an article that their answer cites among them."""

    rows: list[dict]
    num_found: int  # by the search alone
    num_right: int


def training_rows(rows: list[dict], book: OpenBook, gold_share: float, seed: int) -> TrainingRows:
    """The rows with passages, an article that the answer cites among them in `gold_share` of the rows or
    more.

    The search does not know the row's own question: it would find the article nearly always, and the model
    would trust its passages more than they deserve. What it finds keeps its rank; where it misses, the
    article takes a random place in as many rows as are wanting.
    """
    found = find_all(rows, book, find)
    keys = [records.user_turn(row) for row in rows]
    num_found = sum(of_row.is_right for of_row in found)
    missing = [number for number, of_row in enumerate(found) if of_row.missed]
    missing.sort(key=lambda number: text_sha256(f"{seed} {keys[number]}"))  # a function of row and seed alone
    helped = set(missing[: max(0, round(gold_share * len(rows)) - num_found)])
    chosen = [
        choose(of_row, number in helped, f"{seed} {key}", book.num_passages)
        for number, (of_row, key) in enumerate(zip(found, keys))
    ]
    with_passages = [
        {**row, FIELD: Passages(passages, book.max_tokens)} for row, passages in zip(rows, chosen)
    ]
    return TrainingRows(with_passages, num_found, num_found + len(helped))


def choose(found: Found, helped: bool, seed: str, num_passages: int) -> tuple[Passage, ...]:
    """The passages of a training row, as many as the search gives."""
    passages = list(found.passages)
    if helped and found.missed:
        passages.insert(random.Random(seed).randrange(num_passages), found.missed)
    return tuple(passages[:num_passages])


def find(row: dict, book: OpenBook) -> Found:
    ranking = book.index.rank(question_of(row), new=True)
    passages = book.index.passages(ranking, book.num_passages)
    right = cited_articles(row["output"])
    if not {(passage.act, passage.article) for passage in passages}.isdisjoint(right):
        return Found(passages, True, None)
    known = (book.index.passage_of(*key, ranking) for key in right)
    return Found(passages, False, next((passage for passage in known if passage), None))


# ---------------------------------------------------------------- many rows


def search_of_row(row: Mapping[str, Any], book: OpenBook) -> list[Passage]:
    return book.index.search(question_of(row), book.num_passages)


def find_all(rows: list[dict], book: OpenBook, find_one: Callable[[dict, OpenBook], Any]) -> list[Any]:
    """`find_one` of each row, by several processes where there are many: a row takes 7 ms."""
    workers = min(os.cpu_count() or 1, len(rows) // ROWS_A_PROCESS)
    if workers < 2:
        return [find_one(row, book) for row in rows]
    parts, found = [rows[start::workers] for start in range(workers)], [None] * len(rows)
    work = partial(find_part, law_dir=book.index.law_dir, num_passages=book.num_passages, find_one=find_one)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for start, part in enumerate(pool.map(work, parts)):
            found[start::workers] = part
    return found


def find_part(
    rows: list[dict], law_dir: Path, num_passages: int, find_one: Callable[[dict, OpenBook], Any]
) -> list[Any]:
    """In a process of its own: the index is memory-mapped, to open it costs nothing."""
    from legalqa.law.search import LawIndex

    acts.use(law_dir)
    book = OpenBook(LawIndex(law_dir), num_passages, 0)
    return [find_one(row, book) for row in rows]
