"""The open book that a model's settings ask for, and whether it is the law of its training."""

from collections.abc import Mapping
from typing import Any

from legalqa.data.open_book import OpenBook, check_law, open_book
from legalqa.errors import UserError
from legalqa.model.adapter import AdapterSettings
from legalqa.model.settings import AnswerSettings


def book_of(
    name: str, settings: AnswerSettings, config: Mapping[str, Any], as_saved: bool = False
) -> OpenBook | None:
    """The open book that the settings ask for; None for a closed one. UserError where there is no law."""
    if not settings.law_passages:
        return None
    check_law(config["law_dir"], str(name))
    how_much = settings.law_passages, settings.law_passage_tokens
    return open_book(config["law_dir"], config["train_file"], *how_much, as_saved)


def another_law(name: str, saved: AdapterSettings, book: OpenBook) -> str | None:
    """What differs from the law that the adapter was trained with, in a line; None where nothing does."""
    if saved.law_sha256 not in (None, book.index.law_sha256):
        return f"{book.index.law_dir} is not the law that {name} was trained with: other texts or versions"
    if saved.law_index_sha256 not in (None, book.index.sha256):
        return f"the search knows other questions than when {name} was trained: another --train-file"
    return None


def check_closed_book(name: str) -> None:
    """UserError for an adapter that answers with the law open: a pair's two answers would lack passages."""
    if AdapterSettings.load(name).law_passages:
        raise UserError(
            f"{name} answers with the law open, and DPO knows closed-book adapters alone; give one that was "
            "trained with --law-passages 0"
        )
