"""Which rows are for validation: by language, by groups that ask the same thing, and by the article they are
about."""

import hashlib
from collections import Counter, defaultdict

from legalqa.data import duplicates, records
from legalqa.data.layouts import SEEN_ARTICLE
from legalqa.law.words import detect_language


def article_of(record: dict) -> tuple[str, str] | None:
    """(act, article) that the row was made from, or None where `source` does not say."""
    source = record.get("source")
    if (
        isinstance(source, dict)
        and isinstance(source.get("act"), str)
        and isinstance(source.get("article"), str)
    ):
        return source["act"], source["article"]
    return None


def row_order(record: dict, seed: int) -> str:
    """A place in a random order that depends on the row and the seed alone, not on where the row stood."""
    text = "\n".join([str(seed), *(record[field] for field in records.FIELDS)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def split_rows(rows: list[dict], groups: list[int], fraction: float, seed: int) -> set[int]:
    """Indices of the validation rows: `fraction` of each language, groups whole.

    Of rows with a `source`, half are taken about articles that no row of train is about (then all rows about
    them are taken), half about articles that train covers as well.
    """
    order = [row_order(record, seed) for record in rows]
    articles = [article_of(record) for record in rows]
    strata = [
        (detect_language(records.question(record)), article is not None)
        for record, article in zip(rows, articles)
    ]
    room = {stratum: round(size * fraction) for stratum, size in Counter(strata).items()}
    unseen_room = {stratum: size // 2 if stratum[1] else size for stratum, size in room.items()}
    validation = set()

    def take(members, space):
        """Take the rows if there is space for them in each of their strata."""
        need = Counter(strata[row] for row in members)
        if any(space[stratum] < size for stratum, size in need.items()):
            return False
        validation.update(members)
        for stratum, size in need.items():
            room[stratum] -= size
            unseen_room[stratum] -= size
        return True

    def in_random_order(labels):
        members = defaultdict(list)
        for row, label in enumerate(labels):
            members[label].append(row)
        return sorted(members.values(), key=lambda rows: min(order[row] for row in rows))

    first_about = {}
    about_one_article = [
        (first_about.setdefault(article, row), row) for row, article in enumerate(articles) if article
    ]
    clusters = duplicates.join_groups(len(rows), [*enumerate(groups), *about_one_article])
    for members in in_random_order(clusters):
        if any(articles[row] for row in members):
            take(members, unseen_room)

    left = Counter(article for row, article in enumerate(articles) if row not in validation)
    for members in in_random_order(groups):
        need = Counter(articles[row] for row in members if articles[row])
        spares_one_each = all(left[article] > size for article, size in need.items())
        if members[0] not in validation and spares_one_each and take(members, room):
            left -= need
    return validation


def mark_seen_articles(train: list[dict], validation: list[dict]) -> list[dict]:
    """The validation rows, those with a source told whether train has a row about the same article."""
    covered = {article_of(record) for record in train} - {None}
    return [
        record | {SEEN_ARTICLE: article_of(record) in covered} if article_of(record) else record
        for record in validation
    ]
