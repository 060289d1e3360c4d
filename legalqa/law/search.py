"""The articles of the user's law that answer a question: BM25 over articles and over their paragraphs.

    index = LawIndex.load_or_build("law", asked_questions(train_rows))
    index.search("Когда работодатель обязан выплатить зарплату при увольнении?", 3)

Stages do not search by themselves: legalqa/data/open_book.py gives a row its passages.

The score of an article is its own BM25 score and that of its best paragraph, as a share of the best
article's. A Kazakh question is also translated, word by word, and looked for in the Russian texts: acts
without a Kazakh text are found by that alone. An act that the question names comes before others, an article
that it names before all; so does an article about which the same question was asked before."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from legalqa.errors import UserError
from legalqa.files import beside, file_sha256, lock, read_json, text_sha256, write_text
from legalqa.law.acts import cite_as, load_acts
from legalqa.law.citations import Citation, parse_citations
from legalqa.law.glossary import PAIRS_FILE, Translations, Weighted, law_words, learn_translations, translate
from legalqa.law.mentions import find_mentions
from legalqa.law.passages import AskedQuestion, Passage
from legalqa.law.tokens import Tokens
from legalqa.law.words import detect_language, forms, words_of

INDEX_FOLDER = "search_index"  # in the folder of the law
FORMAT = 2  # of the index: one more whenever the same texts give another index
LONGEST_QUESTION = 20_000  # characters; the rest is not read
# Chosen on training rows kept out of the index, as all weights here: docs/LOG.md.
TITLE_TIMES = 2  # that a title is counted in its article
ARTICLE_BM25 = {"k1": 1.2, "b": 0.8}
PARAGRAPH_BM25 = {"k1": 1.2, "b": 0.75}
QUESTION_BM25 = {"k1": 1.2, "b": 0.5}
PARAGRAPH_WEIGHT = 1.5  # against 1 for the article
TRANSLATED_WEIGHT = 0.4  # of the Russian texts, for a Kazakh question
ONLY_TRANSLATED = 0.9  # of a Russian text that stands in for the missing Kazakh one
ASKED_WEIGHT = 0.6  # of a question asked before in the same words
OTHER_ACT = 0.2  # left of an article's score where the question names another act
SECOND_PARAGRAPH = 0.6  # share of the best paragraph's score from which a passage has a second one


class Ranking(NamedTuple):
    """How near everything is to one question."""

    scores: np.ndarray  # of each article, as in Passage
    paragraph_scores: np.ndarray  # of each paragraph, BM25
    language: str  # of the question


class Source(NamedTuple):
    """Where an article stands in the folder of the law."""

    file: str  # name
    offset: int  # bytes
    act: str
    article: str
    language: str


class LawIndex:
    """The index of a folder of law. law_sha256: of its texts; sha256: of texts and questions asked before."""

    def __init__(self, law_dir: Path):
        """Open the index that is in `law_dir`."""
        import bm25s  # here and below: a stage's --help does without

        folder = law_dir / INDEX_FOLDER
        self.law_dir = law_dir
        saved = read_json(folder / "index.json")
        self.sha256: str = saved["sha256"]
        self.law_sha256: str = saved["law_sha256"]
        self.sources = [Source(*values) for values in saved["sources"]]
        self.vocabulary: dict[str, int] = saved["vocabulary"]
        self.translations: Translations = saved["translations"]
        self.first_paragraph = np.load(folder / "first_paragraph.npy")
        self.articles, self.paragraphs = (
            bm25s.BM25.load(folder / name, mmap=True, load_vocab=False) for name in ("articles", "paragraphs")
        )
        self.keys = article_keys(self.sources)
        self.number_of = {key: number for number, key in enumerate(self.keys)}
        owners = [self.number_of[source.act, source.article] for source in self.sources]
        self.owner = np.array(owners)  # of each source: number of its article
        self.has_kazakh = np.zeros(len(self.keys), bool)
        self.has_kazakh[self.owner[[source.language == "kk" for source in self.sources]]] = True
        self.act_of = np.array([cite_as(act) for act, _ in self.keys])
        known = load_acts()
        self.in_force = np.array([known.get(act, {}).get("in_force", True) for act, _ in self.keys])
        self.asked = None
        if saved["asked"]:
            self.asked = bm25s.BM25.load(folder / "asked", mmap=True, load_vocab=False)
            self.asked_article = np.array(saved["asked"])
            self.asked_keys = np.array(saved["asked_keys"])
            most = np.bincount(self.asked.scores["indices"], self.asked.scores["data"], len(saved["asked"]))
            self.asked_most = np.maximum(most, 1e-6)  # what each question scores against itself

    @classmethod
    def load_or_build(
        cls,
        law_dir: str | Path,
        extra_questions: Iterable[AskedQuestion] = (),
        questions_sha256: str | None = None,
    ) -> "LawIndex":
        """The index of a folder of law, made anew (half a minute) when texts or questions changed.

        Give training rows' questions, the same in every stage: another list is another index. Never
        validation's. With `questions_sha256`, of where they come from, they are taken only to build.
        """
        law_dir = Path(law_dir)
        files = sorted(law_dir.glob("*.jsonl"))
        if not files:
            raise UserError(f"no texts of acts in {law_dir}; make them: python prepare_law.py FILES")
        if questions_sha256 is None:
            extra_questions = list(extra_questions)
            questions_sha256 = text_sha256(json.dumps(extra_questions, ensure_ascii=False))
        law_sha256 = texts_sha256(files)
        sha256 = text_sha256("\n".join([str(FORMAT), file_sha256(PAIRS_FILE), law_sha256, questions_sha256]))
        folder = law_dir / INDEX_FOLDER
        if saved_sha256(folder) != sha256:
            with lock(folder, wait=True):
                if saved_sha256(folder) != sha256:  # another run may have made it while this one waited
                    build(files, list(extra_questions), law_sha256, sha256, folder)
        return cls(law_dir)

    @classmethod
    def open_saved(cls, law_dir: str | Path) -> "LawIndex | None":
        """The index that is there, whatever questions it knows; None where there is none of these texts."""
        law_dir = Path(law_dir)
        path = law_dir / INDEX_FOLDER / "index.json"
        saved = read_json(path) if path.is_file() else {}
        texts = texts_sha256(sorted(law_dir.glob("*.jsonl")))
        same = saved.get("format") == FORMAT and saved.get("law_sha256") == texts
        return cls(law_dir) if same else None

    def search(self, question: str, k: int) -> list[Passage]:
        """The k passages nearest to the question, best first; fewer where fewer have a word of it."""
        return self.passages(self.rank(question), k)

    def rank(self, question: str, new: bool = False) -> Ranking:
        """How near every article is. new: as if this very question had not been asked before."""
        question = question[:LONGEST_QUESTION]
        language = detect_language(question)
        cited = parse_citations(question)
        own = law_words(without(question, cited), language)
        russian = translate(question, own, self.translations) if language == "kk" else {}
        scores, paragraphs = self.score_words(own, language)
        if russian:
            translated, in_russian = self.score_words(russian, "ru")
            scores = (
                np.where(self.has_kazakh, scores, ONLY_TRANSLATED * translated)
                + TRANSLATED_WEIGHT * translated
            )
            paragraphs = paragraphs + in_russian
        scores = self.raise_asked(scores, own, language, question_key(question) if new else None)
        scores = self.raise_named(scores, question, cited, language)
        return Ranking(scores, paragraphs, language)

    def passages(self, ranking: Ranking, k: int) -> list[Passage]:
        best = np.argsort(-ranking.scores, kind="stable")[: max(k, 0)]
        return [self.passage(int(number), ranking) for number in best if ranking.scores[number] > 0]

    def passage_of(self, act: str, article: str, ranking: Ranking) -> Passage | None:
        """The passage of this very article, wherever it ranks; None where the law has no text of it."""
        number = self.number_of.get((act, article))
        return None if number is None else self.passage(number, ranking)

    def score_words(self, words: Weighted, language: str) -> tuple[np.ndarray, np.ndarray]:
        """(score of each article, 1 for the best; BM25 score of each paragraph)."""
        tokens = self.tokens(words, language)
        paragraphs = bm25_scores(self.paragraphs, tokens)
        nearest = np.maximum.reduceat(paragraphs, self.first_paragraph[:-1])
        by_source = bm25_scores(self.articles, tokens) + PARAGRAPH_WEIGHT * nearest
        scores = np.zeros(len(self.keys), np.float32)
        np.maximum.at(scores, self.owner, by_source)
        return scores / max(scores.max(), 1e-9), paragraphs

    def tokens(self, words: Weighted, language: str) -> dict[int, float]:
        """{number in the vocabulary: weight} of all forms of the words."""
        weights: dict[int, float] = {}
        for word, weight in words.items():
            for form in forms(word, language):
                number = self.vocabulary.get(form)
                if number is not None:
                    weights[number] = max(weights.get(number, 0), weight)
        return weights

    def raise_asked(
        self, scores: np.ndarray, words: Weighted, language: str, left_out: str | None
    ) -> np.ndarray:
        """Raise articles by how like this question one is that was asked about them, but for that of the key
        `left_out`.

        The cube leaves questions out that share only a subject: those about one article ask about its
        different points, and a likeness below a half raised more wrong articles than right ones.
        """
        if self.asked is None:
            return scores
        likeness = bm25_scores(self.asked, self.tokens(own_words(words), language)) / self.asked_most
        likeness = np.where(self.asked_keys == left_out, 0, likeness)
        raised = np.zeros_like(scores)
        np.maximum.at(raised, self.asked_article, likeness**3)
        return scores + ASKED_WEIGHT * raised

    def raise_named(
        self, scores: np.ndarray, question: str, cited: list[Citation], language: str
    ) -> np.ndarray:
        """Articles of acts other than those that the question names fall back; a cited one comes first.
        Articles of acts no longer in force are found by that alone."""
        scores = np.where(self.in_force, scores, 0)
        acts = named_acts(question, language)
        if acts and np.isin(self.act_of, list(acts)).any():
            scores = np.where(np.isin(self.act_of, list(acts)), scores, OTHER_ACT * scores)
        keys = {(citation.act or "", citation.article) for citation in cited}
        scores[[self.number_of[key] for key in keys if key in self.number_of]] += (
            2  # more than words and a question asked before can give
        )
        return scores

    def passage(self, number: int, ranking: Ranking) -> Passage:
        """The passage of an article, from its text in the question's language or else in Russian."""
        rows = np.flatnonzero(self.owner == number)
        row = next((row for row in rows if self.sources[row].language == ranking.language), rows[0])
        source = self.sources[row]
        with open(self.law_dir / source.file, "rb") as file:
            file.seek(source.offset)
            article = json.loads(file.readline())
        first, end = self.first_paragraph[row : row + 2]
        text = nearest_paragraphs(paragraphs_of(article), ranking.paragraph_scores[first:end])
        score = float(ranking.scores[number])
        return Passage(source.act, source.article, article["title"], text, score, source.language)


def question_key(question: str) -> str:
    """What two questions in the same words have in common."""
    return text_sha256(" ".join(words_of(question)))[:16]


def named_acts(question: str, language: str) -> set[str]:
    """Ids of the acts that the question names, the Civil Code's parts as one."""
    named = [mention.act for mention in find_mentions(Tokens(question)) if mention.state == "known"]
    ids = [act.get(language) if isinstance(act, dict) else act for act in named]
    return {cite_as(act) for act in ids if act}


def without(text: str, citations: list[Citation]) -> str:
    """The text without its citations: «пункт 2 статьи 52» is in many articles that are not the 52nd."""
    for citation in reversed(citations):
        text = text[: citation.start] + " " * (citation.end - citation.start) + text[citation.end :]
    return text


def bm25_scores(retriever, tokens: dict[int, float]) -> np.ndarray:
    """Score of each document; bm25s itself knows no weights of a query's words."""
    data, indices, starts = (retriever.scores[name] for name in ("data", "indices", "indptr"))
    scores = np.zeros(retriever.scores["num_docs"], np.float32)
    for number, weight in tokens.items():
        start, end = starts[number : number + 2]
        scores[indices[start:end]] += np.float32(weight) * data[start:end]
    return scores


def nearest_paragraphs(paragraphs: list[str], scores: np.ndarray) -> str:
    """The best paragraph and the line that opens the list it stands in, or else another about as good."""
    best = int(scores.argmax())
    chosen = {best}
    opening = next((i for i in range(best - 1, -1, -1) if paragraphs[i].endswith(":")), None)
    if opening is not None and paragraphs[best].split(" ")[0].endswith(")"):  # «3) ...»
        chosen.add(opening)
    elif len(paragraphs) > 1:
        second = int(np.argsort(-scores, kind="stable")[1])
        if scores[second] >= SECOND_PARAGRAPH * scores[best] > 0:
            chosen.add(second)
    return "\n".join(paragraphs[i] for i in sorted(chosen))


# ---------------------------------------------------------------- making the index


def texts_sha256(files: list[Path]) -> str:
    """Of the texts of a folder of law."""
    return text_sha256("\n".join(f"{path.name} {file_sha256(path)}" for path in files))


def saved_sha256(folder: Path) -> str | None:
    """Of the index in `folder`; None where there is none."""
    path = folder / "sha256"
    return path.read_text("utf-8").strip() if path.is_file() else None


def build(
    files: list[Path], questions: list[AskedQuestion], law_sha256: str, sha256: str, folder: Path
) -> None:
    """Make the index in a folder beside, then put it in place: a run that dies leaves the old one or none."""
    making = beside(folder, ".making")
    shutil.rmtree(making, ignore_errors=True)
    sources, texts = read_sources(files)
    number_of = {key: number for number, key in enumerate(article_keys(sources))}
    questions = [question for question in questions if (question.act, question.article) in number_of]
    vocabulary: dict[str, int] = {}
    encoded = [
        [encode(words_of(text), source.language, vocabulary) for text in lines]
        for source, lines in zip(sources, texts)
    ]
    asked = [encode_question(question.text, vocabulary) for question in questions]
    articles = [lines[0] * TITLE_TIMES + list(chain(*lines[1:])) for lines in encoded]
    save_bm25(making / "articles", articles, vocabulary, ARTICLE_BM25)
    paragraphs = [lines[0] + line for lines in encoded for line in lines[1:]]
    save_bm25(making / "paragraphs", paragraphs, vocabulary, PARAGRAPH_BM25)
    np.save(making / "first_paragraph.npy", np.cumsum([0] + [len(lines) - 1 for lines in encoded]))
    if asked:
        save_bm25(making / "asked", asked, vocabulary, QUESTION_BM25)
    index = {
        "format": FORMAT,
        "sha256": sha256,
        "law_sha256": law_sha256,
        "sources": sources,
        "asked": [number_of[question.act, question.article] for question in questions],
        "asked_keys": [question_key(question.text) for question in questions],
        "translations": learn_translations(side_by_side(sources, texts)),
        "vocabulary": vocabulary,
    }
    write_text(making / "index.json", json.dumps(index, ensure_ascii=False))
    write_text(making / "sha256", sha256)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(making, folder)


def read_sources(files: list[Path]) -> tuple[list[Source], list[list[str]]]:
    """(articles with text, title and paragraphs of each) of files such as labor_code.ru.jsonl."""
    sources, texts = [], []
    for path in files:
        act, language = path.name.removesuffix(".jsonl").rsplit(".", 1)
        offset = 0
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            try:
                article = json.loads(line)
                paragraphs = paragraphs_of(article)
                title = article["title"]
                source = Source(path.name, offset, act, article["article"], language)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{path}:{number}: not an article; run prepare_law.py again: {error}"
                ) from error
            if paragraphs:
                sources.append(source)
                texts.append([title, *paragraphs])
            offset += len(line)
    if not sources:
        raise UserError(f"no article with text in {files[0].parent}; make them: python prepare_law.py FILES")
    return sources, texts


def paragraphs_of(article: dict) -> list[str]:
    return [line.strip() for line in article["text"].split("\n") if line.strip()]


def article_keys(sources: list[Source]) -> list[tuple[str, str]]:
    """(act, article) of the sources, those in two languages once."""
    return list(dict.fromkeys((source.act, source.article) for source in sources))


def encode(words: Iterable[str], language: str, vocabulary: dict[str, int]) -> list[int]:
    """Numbers of all forms of the words; new ones are added to the vocabulary."""
    return [vocabulary.setdefault(form, len(vocabulary)) for word in words for form in forms(word, language)]


def encode_question(question: str, vocabulary: dict[str, int]) -> list[int]:
    language = detect_language(question)
    return encode(own_words(law_words(question, language)), language, vocabulary)


def own_words(words: Weighted) -> Weighted:
    """The question's own words, without what they are called in the law."""
    return {word: weight for word, weight in words.items() if weight == 1}


def save_bm25(folder: Path, documents: list[list[int]], vocabulary: dict[str, int], settings: dict) -> None:
    import bm25s

    retriever = bm25s.BM25(**settings)
    retriever.index((documents, dict(vocabulary)), create_empty_token=False, show_progress=False)
    retriever.save(folder, show_progress=False)


def side_by_side(sources: list[Source], texts: list[list[str]]) -> Iterator[tuple[str, str]]:
    """(Kazakh, Russian) titles and paragraphs, line by line, of articles that are there in both languages."""
    russian = {
        (source.act, source.article): lines
        for source, lines in zip(sources, texts)
        if source.language == "ru"
    }
    for source, lines in zip(sources, texts):
        other = russian.get((source.act, source.article)) if source.language == "kk" else None
        if other and len(other) == len(lines):
            yield from zip(lines, other)
        elif other:
            yield lines[0], other[0]
