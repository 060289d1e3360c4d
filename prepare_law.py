"""Make law/, the user's copy of the law, from texts of acts: citations are checked against it from then on.

Reads any number of files or folders: pages saved from adilet.zan.kz (HTML), PDF, DOCX, TXT, and JSONL of
articles, in Russian and Kazakh. Tells which act each is, takes its articles without editors' notes and page
furniture, and prints a table and what is odd. A file that cannot be used is named with the reason, the rest
goes on; of two versions of an act the newer is taken. Writes law/ACT.ru.jsonl, law/ACT.kk.jsonl and
law/acts.json, all of it or nothing. Acts of the built-in list (legalqa/law/acts.json) that are not among
the sources stay as they are there. --check shows what differs from that list.

    python prepare_law.py downloads/
    python prepare_law.py k1500000414.20-01-2026.rus.pdf "Закон о нотариате.html"
    python prepare_law.py --check
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from legalqa import cli
from legalqa.errors import UserError
from legalqa.files import file_sha256, lock, text_sha256, write_files
from legalqa.law import acts, documents, texts
from legalqa.law.identity import Identity, identify
from legalqa.law.tokens import CYRILLIC

KEYS = ("law_dir",)
ARTICLES_SUFFIX = ".jsonl"


class Source(NamedTuple):
    """A file that is an act, and which."""

    text: texts.ActText
    identity: Identity

    @property
    def key(self) -> tuple[str, str]:
        return self.identity.record["id"], self.text.language

    @property
    def version(self) -> str:
        """ "2026-01-20" where the file says so; "≥ 2026-01-09" where its newest amendment tells."""
        date = self.identity.version_date or "unknown"
        return date if self.identity.version_from in ("file name", "") else f"≥ {date}"


# ---------------------------------------------------------------- reading


def find_files(sources: list[str], law_dir: str) -> list[Path]:
    """The files of the sources given, folders searched for the kinds of file that can be read."""
    suffixes, files = (*documents.SUFFIXES, ARTICLES_SUFFIX), []
    for source in map(Path, sources):
        if source.resolve().is_relative_to(Path(law_dir).resolve()):
            raise UserError(
                f"{source} is in {law_dir}, which is written anew: keep the sources in another folder"
            )
        if not source.exists():
            raise UserError(f"{source}: no such file or folder")
        if source.is_dir():
            found = sorted(
                path for path in source.rglob("*") if path.suffix.lower() in suffixes and path.is_file()
            )
            if not found:
                raise UserError(f"{source}: no file ending in {', '.join(suffixes)} in this folder")
            files += found
        elif source.suffix.lower() in suffixes:
            files.append(source)
        else:
            raise UserError(
                f"{source}: unknown kind of file; expected {', '.join(suffixes)}, or a folder of such"
            )
    return list(dict.fromkeys(files))


def read_sources(files: list[Path]) -> tuple[list[Source], list[str]]:
    """(acts found, a line for each file that is none)."""
    found, skipped = [], []
    for path in files:
        try:
            if path.suffix.lower() == ARTICLES_SUFFIX:
                text = texts.read_articles(path)
            else:
                text = texts.find_articles(documents.read_document(path))
            found.append(Source(text, identify(text)))
        except UserError as error:
            skipped.append(str(error))
        except OSError as error:
            skipped.append(f"{path}: cannot be read: {error.strerror or error}")
    return found, skipped


def newest_versions(found: list[Source]) -> tuple[list[Source], list[str]]:
    """(one source for each act and language, a line for each older one)."""
    kept, older = {}, []
    for source in found:
        other = kept.setdefault(source.key, source)
        if other is source:
            continue
        if (source.identity.version_date or "") > (other.identity.version_date or ""):
            kept[source.key], source, other = source, other, source
        older.append(
            f"{source.text.path}: {' '.join(source.key)} of {source.version}; "
            f"{other.text.path} of {other.version} is taken: give one alone to choose"
        )
    return list(kept.values()), older


# ---------------------------------------------------------------- the list of acts


def merge_acts(sources: list[Source]) -> tuple[list[dict], dict[str, str]]:
    """(records of acts.json: the built-in list with the sources' articles, new acts; {file name: JSONL})."""
    records = {act_id: dict(act) for act_id, act in acts.load_acts().items()}
    files = {}
    for act_id in dict.fromkeys(source.key[0] for source in sources):
        own = sorted(
            (source for source in sources if source.key[0] == act_id), key=lambda source: source.key[1]
        )
        record = records.setdefault(act_id, dict(own[-1].identity.record))
        with_text, repealed, record["texts"] = set(), set(), {}
        for source in own:
            language = source.text.language
            if not source.identity.known:
                record[f"title_{language}"] = source.identity.record[f"title_{language}"]
            with_text |= {article.number for article in source.text.articles if not article.repealed}
            repealed |= {article.number for article in source.text.articles if article.repealed}
            name = f"{act_id}.{language}{ARTICLES_SUFFIX}"
            files[name] = "".join(article.as_json() for article in source.text.articles)
            record["texts"][language] = describe(source, name, files[name])
        record["articles"] = acts.ranges(with_text - {texts.PREAMBLE})
        record["repealed"] = acts.ranges(repealed - with_text)
    return list(records.values()), files


def describe(source: Source, name: str, content: str) -> dict:
    """What acts.json says of a text."""
    articles = source.text.articles
    return {
        "file": name,
        "articles": len(articles),
        "with_text": sum(bool(article.text) for article in articles),
        "version_date": source.identity.version_date,
        "version_date_from": source.identity.version_from,
        "source": source.text.path.name,
        "sha256": text_sha256(content),
    }


def write_law(sources: list[Source], law_dir: str) -> None:
    """The texts, then acts.json, which makes them count; then texts of acts that are gone are deleted."""
    folder = Path(law_dir)
    list_file = folder / acts.ACTS_FILE.name
    with lock(folder):
        if folder.exists() and not list_file.is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"--law-dir {law_dir} holds other files than prepare_law.py's; give another folder"
            )
        before = texts_of(acts.read_acts(list_file)) if list_file.is_file() else {}
        records, files = merge_acts(sources)
        lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        write_files(
            {folder / name: [content] for name, content in files.items()} | {list_file: [f"[\n{lines}\n]\n"]}
        )
        for name in before.keys() - files.keys():
            (folder / name).unlink(missing_ok=True)
    print(f"wrote {list_file} ({len(records)} acts) and {len(files)} texts")


def texts_of(records: dict[str, dict]) -> dict[str, str]:
    """{file name: its sha256} of a list of acts. A name with a folder in it is none of ours."""
    described = [text for act in records.values() for text in act.get("texts", {}).values()]
    return {
        text["file"]: text["sha256"] for text in described if re.fullmatch(r"[\w.-]+\.jsonl", text["file"])
    }


# ---------------------------------------------------------------- what a person sees


def print_table(sources: list[Source]) -> None:
    """A row for each act and language; under the table what is odd, and acts new to the built-in list."""
    from rich.console import Console
    from rich.table import Table

    table, sources = Table(box=None, padding=(0, 1, 0, 0)), sorted(sources, key=lambda source: source.key)
    for column in ("act", "language", "articles", "with\ntext", "repealed", "version date"):
        number = column in ("articles", "with\ntext", "repealed")
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for source in sources:
        articles = source.text.articles
        numbers = (len(articles), sum(bool(a.text) for a in articles), sum(a.repealed for a in articles))
        table.add_row(*source.key, *map(str, numbers), source.version)
    Console().print(table)
    for source in sources:
        if source.text.odd:
            print(f"odd: {' '.join(source.key)}: {'; '.join(source.text.odd)}")
    for source in sources:
        if not source.identity.known:
            title = source.identity.record[f"title_{source.text.language}"]
            advice = "" if CYRILLIC.search(title) else "; write its title above the text to have it cited"
            print(f"new act: {' '.join(source.key)}: {title} ({source.text.path}){advice}")


def check(law_dir: str) -> int:
    """What differs from the built-in list, act by act. Exit code 1 if a text is missing or was changed."""
    list_file = Path(law_dir) / acts.ACTS_FILE.name
    if not list_file.is_file():
        raise UserError(f"{list_file}: no such file; make it with: python prepare_law.py SOURCES")
    built_in, users = acts.read_acts(acts.ACTS_FILE), acts.read_acts(list_file)
    differences = [
        line for act_id, act in users.items() for line in act_differences(act, built_in.get(act_id))
    ]
    print("\n".join(differences or ["the same acts and articles as in the built-in list"]))
    wrong = 0
    for name, sha256 in texts_of(users).items():
        path = Path(law_dir) / name
        if not path.is_file() or file_sha256(path) != sha256:
            state = "changed" if path.is_file() else "missing"
            print(f"error: {path} is {state}; run: python prepare_law.py SOURCES")
            wrong = 1
    return wrong


def act_differences(act: dict, built_in: dict | None) -> list[str]:
    """Lines on an act of the user's list against the same act of the built-in one."""
    if built_in is None:
        return [
            f"{act['id']}: new act, {len(acts.expand(act['articles'] or ''))} articles: {act['title_ru']}"
        ]
    now, repealed_now, then, repealed_then = (
        acts.expand(record[key] or "") for record in (act, built_in) for key in ("articles", "repealed")
    )
    kinds = {
        "new": now - then - repealed_then,
        "in force again": now & repealed_then,
        "repealed": then & repealed_now,
        "no longer there": then - now - repealed_now,
    }
    return [f"{act['id']}: {kind}: {acts.ranges(numbers)}" for kind, numbers in kinds.items() if numbers]


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS, profile=False)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="files or folders of texts of acts")
    parser.add_argument(
        "--check", action="store_true", help="show what law/ has that the built-in list has not"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the table, write nothing")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    law_dir = cli.effective_config(args)["law_dir"]
    if args.check:
        if args.sources:
            raise UserError("--check reads --law-dir: give it no sources")
        return check(law_dir)
    if not args.sources:
        raise UserError(
            "no source given; e.g. python prepare_law.py downloads/  (or --check for what is there)"
        )
    files = find_files(args.sources, law_dir)
    found, skipped = read_sources(files)
    sources, older = newest_versions(found)
    if sources:
        print_table(sources)
    for line in skipped + older:
        print(f"skipped: {line}")
    if not sources:
        raise UserError(
            f"no act in {len(files)} files; save acts from adilet.zan.kz as HTML, PDF, DOCX or TXT"
        )
    if args.dry_run:
        print("dry run: nothing written")
    else:
        write_law(sources, law_dir)
    return 0


if __name__ == "__main__":
    cli.run_main(main)
