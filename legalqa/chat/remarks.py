"""What is said of an answer and of a chat: how it ended, the norms cited, the transcript, the status."""

from collections.abc import Iterable
from typing import NamedTuple

from legalqa.chat.dialogue import Dialogue, Turn
from legalqa.chat.words import decimal, say
from legalqa.law import acts
from legalqa.law.citation_form import citation_form
from legalqa.law.citations import Citation
from legalqa.law.lookup import Article, article_title
from legalqa.model.device import peak_memory_bytes
from legalqa.model.settings import shown

SHOWN_CITATIONS = 12
MARKS = {"exists": "+", "missing": "-", "repealed": "-"}  # of a citation's standing; ? of any other


class CitationLine(NamedTuple):
    """A norm cited. mark: + its article exists, - it does not, ? unknown; a blank if it says "and more"."""

    mark: str
    text: str

    def plain(self) -> str:
        return f"  {self.mark} {self.text}"


def citation_lines(language: str, citations: Iterable[Citation]) -> list[CitationLine]:
    """A line for every norm, each once."""
    lines = list(dict.fromkeys(citation_line(language, citation) for citation in citations))
    more = len(lines) - SHOWN_CITATIONS
    return lines[:SHOWN_CITATIONS] + (
        [CitationLine(" ", say(language, "more", count=more))] if more > 0 else []
    )


def source_lines(language: str, turn: Turn) -> list[CitationLine]:
    """A line for every passage that was before the model; mark: * where the answer cites its article."""
    cited = {(citation.act, citation.article) for citation in turn.citations}
    form = "kk" if language == "kk" else "ru"
    return [
        CitationLine(
            "*" if (passage.act, passage.article) in cited else " ",
            ". ".join(filter(None, (citation_form(passage.act, passage.article, form), passage.title))),
        )
        for passage in turn.passages
    ]


def citations_heading(language: str) -> str:
    """Which list the citations were checked against: the built-in one, of its date, or the user's."""
    own = acts.acts_file != acts.ACTS_FILE
    return say(language, "citations_own" if own else "citations", path=acts.acts_file)


def citation_line(language: str, citation: Citation) -> CitationLine:
    standing = citation_standing(citation)
    text = f"{citation_name(language, citation)}: {say(language, standing)}"
    title = article_title(citation.act, citation.article, language) if citation.act else ""
    text += f". {title}" if title and standing in ("exists", "old_act") else ""
    return CitationLine(MARKS.get(standing, "?"), text)


def citation_standing(citation: Citation) -> str:
    """The key of the words for it: "exists", "missing", "repealed", "old_act", "unknown_act" or "no_act"."""
    act, article = citation.act, citation.article
    exists = acts.article_exists(act, article)
    if act is None or exists is None:
        return "unknown_act" if act or citation.act_text else "no_act"
    if exists:
        return "exists" if acts.load_acts()[act]["in_force"] else "old_act"
    return "repealed" if article in acts.articles_of(act)[1] else "missing"


def citation_name(language: str, citation: Citation) -> str:
    """«ст. 28, п. 1, пп. 2», then the act's title, or its words as written."""
    article, paragraph, sub = citation.article, citation.paragraph, citation.subparagraph
    if language == "kk":
        parts = [f"{article}-бап", paragraph and f"{paragraph}-тармақ", sub and f"{sub}) тармақша"]
    elif language == "en":
        parts = [f"art. {article}", paragraph and f"para. {paragraph}", sub and f"sub-para. {sub}"]
    else:
        parts = [f"ст. {article}", paragraph and f"п. {paragraph}", sub and f"пп. {sub}"]
    title = citation.act_text
    if citation.act in acts.load_acts():
        title = acts.act_title(citation.act, "kk" if language == "kk" else "ru")
    return ", ".join(part for part in [*parts, title] if part)


def answer_notes(language: str, turn: Turn, cut_off: str = "cut_off") -> list[str]:
    """How the answer ended, if not well. `cut_off`: "cut_off" advises /set, "cut_off_plain" the flag."""
    answer, notes = turn.answer, []
    if answer.cut_off:
        notes.append(say(language, cut_off, tokens=answer.new_tokens, longer=2 * answer.new_tokens))
    if answer.stopped:
        notes.append(say(language, "stopped"))
    elif not answer.text:
        notes.append(say(language, "empty"))
    return notes


def transcript(dialogue: Dialogue) -> str:
    """The chat as Markdown: every question with its context, answer and citations."""
    language = dialogue.language
    title = f"# {say(language, 'transcript', model=dialogue.label)}"
    parts = [part for turn in dialogue.turns for part in turn_as_markdown(language, turn)]
    return "\n\n".join([title, *parts, f"_{say(language, 'disclaimer')}_"]) + "\n"


def turn_as_markdown(language: str, turn: Turn) -> list[str]:
    """The paragraphs of a turn."""
    parts = [f"## {say(language, 'question')}", turn.question.text]
    if turn.question.context:
        quoted = "\n".join(f"> {line}" for line in turn.question.context.split("\n"))
        parts += [f"**{say(language, 'context')}**", quoted]
    parts += [f"**{say(language, 'answer')}**", turn.answer.text]
    if notes := answer_notes(language, turn, "cut_off_plain"):
        parts.append("\n".join(f"_{note}_" for note in notes))
    if sources := source_lines(language, turn):
        parts += [say(language, "sources"), "\n".join(f"- {line.text}" for line in sources)]
    if lines := citation_lines(language, turn.citations):
        parts += [citations_heading(language), "\n".join(f"- {line.text}" for line in lines)]
    return parts


# ---------------------------------------------------------------------------------------------------- /status


def status_rows(dialogue: Dialogue) -> dict[str, str | None]:
    """{name of the row in TEXTS: what it says} of a loaded dialogue; nothing where there is none of it."""
    language, saved, turns = dialogue.language, dialogue.saved, dialogue.turns
    context = len(dialogue.context)
    rows = {
        "model": dialogue.name,
        "base": dialogue.base or saved.base_model,
        "run": saved.run,
        "device": dialogue.device and dialogue.device.name,
        "loaded": f"{decimal(language, dialogue.load_sec)} {say(language, 'second')}",
        "system": dialogue.system,
        "context": say(language, "characters", count=context) if context else None,
        "history": say(language, "turns", count=len(turns)) if dialogue.history_on else say(language, "off"),
        "law": law_state(dialogue),
        "settings": ", ".join(f"{key} {shown(value)}" for key, value in dialogue.in_force().items()),
        "changed": changed_settings(dialogue),
        "limit": saved.max_seq_length and say(language, "tokens", count=saved.max_seq_length),
        "last": speed(language, turns[-1]) if turns else None,
        "memory": f"{decimal(language, peak_memory_bytes() / 1e9)} {say(language, 'gigabyte')}",
    }
    if not saved.decoding:  # made elsewhere, or a base: there is nothing to differ from
        del rows["changed"]
    return rows


def law_state(dialogue: Dialogue) -> str:
    if not dialogue.law_on:
        return say(dialogue.language, "off")
    path = dialogue.config["law_dir"]
    return say(dialogue.language, "law_open", path=path, count=dialogue.settings.law_passages)


def article_lines(language: str, act: str, article: str, found: Article) -> list[str]:
    """An article as /article shows it: where it stands and of what date, title, text, amendments to come."""
    form = "kk" if language == "kk" else "ru"
    heading = citation_form(act, article, form)
    if found.version:
        key = "version" if found.exact else "version_from"
        heading += f" ({say(language, key, date=found.version)})"
    lines = [heading, found.title, found.text or say(language, "repealed")]
    if found.pending:
        lines.append(say(language, "pending", note=found.pending))
    return [line for line in lines if line]


def changed_settings(dialogue: Dialogue) -> str:
    """What a flag, /set or /system made other than in training."""
    return ", ".join(
        say(dialogue.language, "changed", setting=key, value=shown(value), trained=shown(trained))
        for key, value, trained in dialogue.changed()
    )


def speed(language: str, turn: Turn) -> str:
    answer = turn.answer
    return say(
        language,
        "last",
        tokens=answer.new_tokens,
        seconds=decimal(language, answer.generation_sec or 0),
        first=decimal(language, answer.first_token_sec or 0, 2),
        rate=decimal(language, turn.tokens_per_second or 0),
        prompt=answer.prompt_tokens,
    )
