"""How strangers lay out a row (Alpaca, chats, ShareGPT, prompt and completion, SQuAD), made a record of the
project."""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from legalqa.data.records import FIELDS, HALF_SURROGATE, DoubledKeys, record_problem
from legalqa.data.text import clean_text

SEEN_ARTICLE = "seen_article"  # said of a split, so it never travels from one split into another
MAPPED_FIELDS = (*FIELDS, "messages", "source")
CHAT_COLUMNS = ("messages", "conversations", "conversation")
COMPLETION_COLUMNS = ("completion", "response")
ROLES = {
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "model", "bot", "chatgpt"),
    "system": ("system", "developer"),
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names}
SYSTEM_TURN, NOT_A_NUMBER = "system turn, not trained on", "NaN or infinity in a further field, made null"
SEVERAL_QUESTIONS = "a chat of several questions"
NO_QUESTION = "a chat without a question and an answer"


class Reading(NamedTuple):
    """A row as a record, or why it is none; `notes` names what of the row is not in the record's three
    fields."""

    record: dict | None
    reason: str | None
    notes: tuple[str, ...] = ()


class Unusable(Exception):
    """Why a row cannot be used, in a few words that are the same for all rows with this fault."""


def to_record(row, mapping: dict[str, str]) -> Reading:
    """One parsed row in the project's format, cleaned. `mapping`: {column: field} that the user named."""
    try:
        return read_row(row, mapping)
    except Unusable as error:
        return Reading(None, str(error))
    except RecursionError:
        return Reading(None, "nested too deep")


def read_row(row, mapping: dict[str, str]) -> Reading:
    if not isinstance(row, dict):
        raise Unusable("not an object")
    check_keys(row)
    mapped = {field: row[column] for column, field in mapping.items() if column in row}
    row = {key: value for key, value in row.items() if key not in mapping and key != SEEN_ARTICLE} | mapped
    row = in_three_fields(row)
    record = {field: row.pop(field) for field in FIELDS}
    notes = [SYSTEM_TURN] if row.get("system") else []
    record = {field: text for field, text in record.items() if text is not None}
    if problem := record_problem(record):
        raise Unusable(problem)
    cleaned = {field: clean_text(text, field == "output") for field, text in record.items()}
    for field in ("instruction", "output"):
        check_has_words(field, cleaned[field])
    notes += sorted(frozenset().union(*(part.removed for part in cleaned.values())))
    further = as_json(row)
    if further != row:
        notes += [NOT_A_NUMBER] if has_lost_number(row) else []
    if row and HALF_SURROGATE.search(json.dumps(further, ensure_ascii=False)):
        raise Unusable("half a surrogate pair in a further field")
    return Reading({field: part.text for field, part in cleaned.items()} | further, None, tuple(notes))


def check_keys(value) -> None:
    """Unusable if in any object of the row a key occurs twice."""
    if isinstance(value, DoubledKeys):
        raise Unusable(f"key '{value.key}' occurs twice")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, (dict, list)):
            check_keys(inner)


def check_has_words(field, cleaned) -> None:
    if any(map(str.isalnum, cleaned.text)):
        return
    if cleaned.removed:
        raise Unusable(f"field '{field}' has nothing but {' and '.join(sorted(cleaned.removed))}")
    raise Unusable(f"field '{field}' has no word" if cleaned.text else f"field '{field}' is empty")


# ---- Layouts: each turns its columns into instruction, input, output (and system); None: not there


def in_three_fields(row: dict) -> dict:
    """The row with instruction, input and output in the place of the columns of its layout."""
    row = dict(row)
    if row.pop("history", None):
        raise Unusable(SEVERAL_QUESTIONS)
    chat = next((column for column in CHAT_COLUMNS if column in row), None)
    completion = next((column for column in COMPLETION_COLUMNS if column in row), None)
    if "instruction" in row:
        fields = {}
    elif chat:
        fields = from_turns(row.pop(chat))
    elif "prompt" in row and completion:
        fields = from_completion(row.pop("prompt"), row.pop(completion))
    elif isinstance(row.get("answers"), dict) and "question" in row:
        fields = from_squad(row.pop("question"), row.pop("context", None), row.pop("answers"))
    else:
        fields = {}
    row |= fields
    if row.get("input") is None:
        row["input"] = ""
    return dict.fromkeys(FIELDS) | row


def from_turns(turns) -> dict:
    """A chat of one question; its system turn beside."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise Unusable("messages are not a list of turns")
    said = [(role_of(turn), turn_text(turn.get("content", turn.get("value")))) for turn in turns]
    roles = [role for role, _ in said if role != "system"]
    if None in roles:
        raise Unusable("a chat with a turn of neither user nor assistant")
    if roles != ["user", "assistant"]:
        raise Unusable(SEVERAL_QUESTIONS if roles[:2] == ["user", "assistant"] else NO_QUESTION)
    fields = dict(zip(("instruction", "output"), (text for role, text in said if role != "system")))
    system = [text for role, text in said if role == "system" and text]
    return fields | ({"system": "\n".join(map(str, system))} if system else {})


def role_of(turn: dict) -> str | None:
    return ROLE_OF.get(str(turn.get("role", turn.get("from"))).lower())


def turn_text(content):
    """The text of a turn; in the form that lists its parts, the text parts joined."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content


def from_completion(prompt, completion) -> dict:
    """A prompt and its completion, as texts or as lists of turns."""
    if isinstance(prompt, list) and isinstance(completion, list):
        return from_turns(prompt + completion)
    return {"instruction": prompt, "output": completion}


def from_squad(question, context, answers: dict) -> dict:
    """A question on a passage: the passage is the input, the first answer the output."""
    texts = answers.get("text")
    if not isinstance(texts, list) or not texts:
        raise Unusable("a question without an answer")
    return {"instruction": question, "input": context, "output": texts[0]}


def squad_rows(value) -> Iterator[Any]:
    """The rows of a nested SQuAD entry (paragraphs with questions each); another value is one row itself."""
    paragraphs = value.get("paragraphs") if isinstance(value, dict) else None
    if not isinstance(paragraphs, list):
        yield value
        return
    for paragraph in paragraphs:
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if isinstance(questions, list):
            yield from (with_passage(entry, paragraph.get("context")) for entry in questions)
        else:
            yield paragraph


def with_passage(entry, context):
    """A question of a SQuAD paragraph as a row: its passage beside it, its answers in one object."""
    if not isinstance(entry, dict):
        return entry
    answers = entry.get("answers")
    answers = answers if isinstance(answers, list) else []
    texts = [answer.get("text") for answer in answers if isinstance(answer, dict)]
    return {"question": entry.get("question"), "context": context, "answers": {"text": texts}}


# ---- Further fields: kept, as values that JSON has


def as_json(value) -> Any:
    """The value with texts for keys, null for NaN and infinity, and text for what JSON has no word for
    (dates, bytes)."""
    if isinstance(value, dict):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def has_lost_number(value) -> bool:
    if isinstance(value, dict):
        return any(map(has_lost_number, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(has_lost_number, value))
    return isinstance(value, float) and not math.isfinite(value)
