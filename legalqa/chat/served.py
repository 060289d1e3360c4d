"""A conversation with a served model: the dialogue's settings and texts, the server's template and tokens."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from legalqa.chat.dialogue import Dialogue, Prompt, Question, Turn
from legalqa.chat.words import say
from legalqa.errors import UserError
from legalqa.law.citations import parse_citations
from legalqa.model import server
from legalqa.model.device import Device
from legalqa.model.prompt import chat_messages


class ServedDialogue(Dialogue):
    def __init__(self, endpoint: server.Endpoint, config: Mapping[str, Any], flags: Mapping[str, Any]):
        super().__init__(endpoint.model, config, flags)
        self.endpoint = endpoint
        self.settings, self.law_on = replace(self.settings, law_passages=0), False

    @property
    def label(self) -> str:
        return self.endpoint.model

    def load(self, report: Callable[[str], None] = lambda stage: None) -> None:
        """The server has it loaded."""
        self.device = Device("server", self.endpoint.url, 0)

    def opening_notes(self) -> list[str]:
        return [say(self.language, "served", url=self.endpoint.url)]

    def in_force(self) -> dict[str, Any]:
        return self.current()

    def switch_law(self, on: bool) -> None:
        if on:
            raise UserError(say(self.language, "law_served"))

    def prepare(self, question: Question, turns: list[Turn]) -> Prompt:
        """The messages as JSON; how many tokens they are, and whether they fit, only the server knows."""
        history = [(turn.question.as_row(), turn.answer.text) for turn in turns if self.history_on]
        messages = chat_messages(question.as_row(), self.system, history)
        return Prompt(server.as_key(messages), 0, [])

    def answer(
        self,
        question: Question,
        prompt: Prompt,
        on_text: Callable[[str], None] = lambda piece: None,
        stop: Callable[[], bool] = lambda: False,
        base: bool = False,
    ) -> Turn:
        messages = server.from_key(prompt.text)
        answer = server.ask_stream(self.endpoint, messages, self.decoding, self.seed, on_text, stop)
        return Turn(question, answer, parse_citations(answer.text))
