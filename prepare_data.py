"""Make combined_data/train.jsonl and validation.jsonl from raw question-answer files, or check a pair of them.

Reads any number of files or folders of JSONL, JSON, CSV, TSV, Parquet (or datasets saved to disk), in the project's format
(instruction, input, output), as chats (messages), or in columns that --map names. Normalizes the text, drops what cannot
be used and every duplicate, keeps rows that ask the same thing on one side of the split, and prints what it found.
Writes the two files and logs/prepare_<run>.json, which names every row dropped by file and line; all of it or nothing.

    python prepare_data.py raw/
    python prepare_data.py questions.csv more.jsonl --map question=instruction --map answer=output
    python prepare_data.py --check
"""
import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path

import config
from legalqa import cli, duplicates, records, runlog, sources
from legalqa.cli import UserError

KEYS = ("train_file", "validation_file", "validation_fraction", "near_duplicate_threshold", "seed", "tokenizer", "logs_dir")
LANGUAGES = ("ru", "kk")
PERCENTILES = (5, 25, 50, 75, 95, 100)
SHORT_ANSWERS = (3, 10)  # words
LONG_ANSWER = 20  # words from which on one answer in both files is worth a warning
OPENING_WORDS = 4
SHOWN_OPENINGS = 10
SHOWN_EXAMPLES = 3
TOKENIZE_AT_ONCE = 1000  # rows; more only costs memory
MIXED_SCRIPT = re.compile("[a-z][а-яёәғқңөұүһі]|[а-яёәғқңөұүһі][a-z]", re.IGNORECASE)


# ---------------------------------------------------------------- reading and dropping

def read_sources(paths, mapping, progress):
    """All rows of the sources as sources.Row, dropped ones among them."""
    files = sources.find_files(paths)
    with progress("reading", sum(file.stat().st_size for file in files)) as advance:
        return [row for file in files for row in sources.read_file(file, mapping, advance)]


def drop_exact_duplicates(rows):
    """(rows to keep, dropped): a row is dropped if an earlier one has the same question and answer, word for word."""
    first, kept, dropped = {}, [], []
    for row in rows:
        key = row_key(row.record)
        if key in first:
            dropped.append(drop_entry(row, "exact duplicate", first[key]))
        else:
            first[key] = row
            kept.append(row)
    return kept, dropped


def drop_near_duplicates(rows, comparison):
    """(indices to keep, dropped): a row is dropped if question and answer are nearly those of an earlier one kept."""
    earlier = defaultdict(list)
    for i, j in comparison.pairs:
        earlier[j].append(i)
    kept, dropped = set(), []
    for j, row in enumerate(rows):
        same = next((i for i in earlier[j] if i in kept and comparison.same_answer(i, j)), None)
        if same is None:
            kept.add(j)
        else:
            dropped.append(drop_entry(row, "near-duplicate", rows[same]))
    return sorted(kept), dropped


def row_key(record):
    question, answer = records.question(record), record["output"]
    return duplicates.text_key(question), duplicates.text_key(answer)


def drop_entry(row, reason, same_as=None):
    entry = {"file": row.file, "line": row.line, "reason": reason}
    if same_as:
        entry |= {"same_as": f"{same_as.file}:{same_as.line}", "question": records.question(row.record)}
    return entry


# ---------------------------------------------------------------- splitting

def article_of(record):
    """(act, article) that the row was made from, or None where `source` does not say."""
    source = record.get("source")
    if isinstance(source, dict) and isinstance(source.get("act"), str) and isinstance(source.get("article"), str):
        return source["act"], source["article"]
    return None


def row_order(record, seed):
    """A place in a random order that depends on the row and the seed alone, not on where the row stood."""
    text = "\n".join([str(seed), *(record[field] for field in records.FIELDS)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def split_rows(rows, groups, fraction, seed):
    """Indices of the validation rows: `fraction` of each language, groups whole.

    Of rows with a `source`, half are taken about articles that no row of train is about (then all rows about
    them are taken), half about articles that train covers as well.
    """
    order = [row_order(record, seed) for record in rows]
    articles = [article_of(record) for record in rows]
    strata = [(records.detect_language(records.question(record)), article is not None)
              for record, article in zip(rows, articles)]
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
    about_one_article = [(first_about.setdefault(article, row), row) for row, article in enumerate(articles) if article]
    clusters = duplicates.join_groups(len(rows), [*enumerate(groups), *about_one_article])
    for members in in_random_order(clusters):
        if any(articles[row] for row in members):
            take(members, unseen_room)

    left = Counter(article for row, article in enumerate(articles) if row not in validation)
    for members in in_random_order(groups):
        need = Counter(articles[row] for row in members if articles[row])
        if members[0] not in validation and all(left[article] > size for article, size in need.items()):
            if take(members, room):
                left -= need
    return validation


def mark_seen_articles(train, validation):
    """The validation rows, those with a source told whether train has a row about the same article."""
    covered = {article_of(record) for record in train} - {None}
    return [record | {sources.SEEN_ARTICLE: article_of(record) in covered} if article_of(record) else record
            for record in validation]
