"""The chat: its loop, its commands, and how an answer appears on a stream."""

import difflib
import itertools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from config import LIMITS
from legalqa.chat import terminal
from legalqa.chat.dialogue import SETTINGS, Dialogue, Prompt, Question, Turn
from legalqa.chat.remarks import (
    answer_notes,
    article_lines,
    citation_line,
    citation_lines,
    citations_heading,
    source_lines,
    status_rows,
    transcript,
)
from legalqa.chat.words import TEXTS, say
from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import write_text
from legalqa.law.citations import Citation
from legalqa.law.lookup import find_article, language_of_name, named_article

LONG_PROMPT = 400  # tokens from which reading takes seconds on a CPU, so the spinner says how many
LEAVE_WORDS = ("exit", "quit", "выход")


class Chat:
    """`read_line(mark)` gives the next thing typed; `wait` returns when the model is loaded.
    An EOFError of either ends the chat."""

    def __init__(
        self, dialogue: Dialogue, stream: TextIO, read_line: Callable[[str], str], wait: Callable[[], None]
    ):
        from rich.console import Console

        self.dialogue, self.stream, self.read_line, self.wait = dialogue, stream, read_line, wait
        # With a height the width holds on a dumb terminal too.
        self.console = Console(file=stream, highlight=False, markup=False, emoji=False, width=80, height=25)
        self.commands = {
            "/help": self.help,
            "/reset": self.reset,
            "/context": self.context,
            "/law": self.law,
            "/article": self.article,
            "/system": self.system,
            "/history": self.history,
            "/set": self.set,
            "/retry": self.retry,
            "/undo": self.undo,
            "/compare": self.compare,
            "/save": self.save,
            "/save!": self.save_over,
            "/status": self.status,
        }

    # ----------------------------------------------------------------------------------------------- the loop

    def greet(self) -> None:
        self.fit_window()
        self.tell(self.say("greeting", model=self.dialogue.label), "bold")
        for note in self.dialogue.opening_notes():
            self.tell(note)
        self.tell(self.say("how_to"), "dim")
        self.tell(self.say("disclaimer") + "\n", "dim")

    def run(self) -> None:
        """Until Ctrl-D, /exit or the end of input. An error or Ctrl-C ends a turn, never the chat."""
        while True:
            self.fit_window()
            try:
                text, broken = terminal.clean_text(self.read_line(self.mark()).strip())
            except EOFError:
                return
            except KeyboardInterrupt:
                self.tell(self.say("leave_hint"), "dim")
                continue
            if text.split(maxsplit=1)[:1] == ["/exit"] or text.lower() in LEAVE_WORDS:
                return
            try:
                if broken:
                    self.tell(self.say("bad_bytes_typed"), "dim")
                self.act(text)
            except EOFError:
                return
            except UserError as error:
                self.tell(f"{error}\n")
            except KeyboardInterrupt:
                self.tell("\n" + self.say("stopped") + "\n", "dim")

    def act(self, text: str) -> None:
        """A command, or a question."""
        command = re.fullmatch(r"(/[^\W\d]\S*)\s*(.*)", text, re.DOTALL)
        if command:
            self.obey(*command.groups())
        elif text:
            self.dialogue.set_language(text)
            turn = self.ask(self.dialogue.new_question(text), self.dialogue.turns)
            self.dialogue.turns.append(turn)

    def obey(self, name: str, argument: str) -> None:
        if name not in self.commands:
            near = self.did_you_mean(name, [*self.commands, "/exit"])
            raise UserError(self.say("unknown_command", name=name, near=near))
        self.commands[name](argument)
        if name not in ("/retry", "/compare"):  # these end with an answer, which has its blank line
            self.tell("")

    # ------------------------------------------------------------------------------------------------- saying

    def say(self, key: str, **values: object) -> str:
        return say(self.dialogue.language, key, **values)

    def tell(self, text: str, style: str | None = None) -> None:
        self.console.print(terminal.printable(text), style=style)

    def tell_pairs(self, pairs: Iterable[tuple[object, object]], styles: Iterable[str] = (), gap: int = 2):
        """Two columns, the second wrapped within itself."""
        from rich.table import Table

        grid = Table.grid(padding=(0, gap))
        grid.add_column(no_wrap=True)
        for (key, value), style in itertools.zip_longest(pairs, styles):
            grid.add_row(str(key), terminal.printable(str(value)), style=style)
        self.console.print(grid)

    def fit_window(self) -> None:
        """The window may have changed."""
        self.console.width = terminal.columns(self.stream)

    def mark(self) -> str:
        """What stands before the line to be typed."""
        mark = "> "
        if self.dialogue.context:
            mark = self.say("context_mark", length=len(self.dialogue.context)) + mark
        if self.dialogue.history_on:
            mark = self.say("history_mark", count=len(self.dialogue.turns)) + mark
        return mark

    def did_you_mean(self, name: str, known: Iterable[str]) -> str:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        return self.say("did_you_mean", near=near[0]) if near else ""

    # ---------------------------------------------------------------------------------------------- an answer

    def ask(self, question: Question, turns: list[Turn], base: bool = False) -> Turn:
        """Answer as the words come, then say what there is to say of it. `base`: with the adapter off."""
        with terminal.quiet_keys():
            self.wait()
            prompt = self.dialogue.prepare(question, turns)
            for note in prompt.notes:
                self.tell(note, "dim")
            self.tell("")
            turn = self.stream_answer(question, prompt, base)
            for note in answer_notes(self.dialogue.language, turn):
                self.tell(note, "dim")
            self.tell_citations(turn)
            self.tell("" if base else self.say("disclaimer") + "\n", "dim")
        return turn

    def stream_answer(self, question: Question, prompt: Prompt, base: bool) -> Turn:
        key = "thinking_long" if prompt.tokens >= LONG_PROMPT else "thinking"
        writer = terminal.WordWriter(self.stream, self.console.width)
        with (
            terminal.Spinner(self.stream, self.say(key, tokens=prompt.tokens), self.say("second")) as spinner,
            terminal.stop_by_ctrl_c(spinner.done.is_set) as stop,
        ):

            def write(piece):
                spinner.stop()
                writer.write(piece)

            turn = self.dialogue.answer(question, prompt, write, stop, base)
            writer.close()
        return turn

    def tell_citations(self, turn: Turn) -> None:
        sources = source_lines(self.dialogue.language, turn)
        if sources:
            self.tell(self.say("sources"), "dim")
            self.tell_pairs(
                [(f"  {line.mark}", line.text) for line in sources], ["dim"] * len(sources), gap=1
            )
        lines = citation_lines(self.dialogue.language, turn.citations)
        if lines:
            self.tell(citations_heading(self.dialogue.language), "dim")
            pairs = [(f"  {line.mark}", line.text) for line in lines]
            self.tell_pairs(pairs, ["bold" if line.mark == "-" else "dim" for line in lines], gap=1)

    # ----------------------------------------------------------------------------------------------- commands

    def help(self, _: str) -> None:
        self.tell_pairs(TEXTS[self.dialogue.language]["help"].items())
        self.tell(self.say("help_keys"))

    def reset(self, _: str) -> None:
        self.dialogue.turns, self.dialogue.context = [], ""
        self.tell(self.say("reset_done"))

    def context(self, text: str) -> None:
        context = self.dialogue.context
        if text == "off":
            self.dialogue.context = ""
            self.tell(self.say("context_off"))
        elif text:
            self.dialogue.context = text
            self.tell(self.say("context_set", length=len(text)))
        elif context:
            self.tell(self.say("context_is", length=len(context), text=context))
        else:
            self.tell(self.say("context_none"))

    def law(self, text: str) -> None:
        if text not in ("on", "off"):
            raise UserError(self.say("law_usage"))
        self.wait()
        self.dialogue.switch_law(text == "on")
        self.tell(self.say("law_on" if text == "on" else "law_off"))

    def article(self, text: str) -> None:
        """The text of an article; its title alone where there is no law/."""
        named = named_article(text)
        if not named:
            raise UserError(self.say("article_usage"))
        language = language_of_name(text) or self.dialogue.language
        found = find_article(*named, language)
        if found:
            heading, *lines = article_lines(language, *named, found)
            self.tell(heading, "bold")
            for line in lines:
                self.tell(line)
        else:
            act, article = named
            self.tell(citation_line(language, Citation(act, None, article, None, None, "", 0, 0)).text)
            self.tell(self.say("article_no_text"), "dim")

    def system(self, text: str) -> None:
        if text == "off":
            self.dialogue.system = self.dialogue.trained_system
            self.tell(self.say("system_off" if self.dialogue.tuned else "system_off_base"))
        elif text:
            self.dialogue.system = text
            self.tell(self.say("system_set" if self.dialogue.tuned else "system_set_base"))
        elif self.dialogue.system:
            self.tell(self.say("system_is", text=self.dialogue.system))
        else:
            self.tell(self.say("system_none"))

    def history(self, text: str) -> None:
        if text not in ("on", "off"):
            raise UserError(self.say("history_usage"))
        self.dialogue.history_on = text == "on"
        if self.dialogue.history_on:
            self.tell(self.say("history_on" if self.dialogue.tuned else "history_on_base"))
        else:
            self.tell(self.say("history_off"))

    def set(self, text: str) -> None:
        name, _, value = text.partition(" ")
        value = value.strip()
        if not name:
            self.tell_pairs(self.dialogue.current().items())
            return
        if name not in SETTINGS:
            near = self.did_you_mean(name, SETTINGS)
            raise UserError(self.say("set_unknown", name=name, keys=", ".join(SETTINGS), near=near))
        if not value:
            raise UserError(self.say("set_usage"))
        if not self.dialogue.set(name, value):
            low, high = LIMITS[name]
            wanted = self.say(f"wants_{name}", low=low, high=high)
            raise UserError(self.say("set_bad", name=name, value=value, wanted=wanted))
        self.tell(f"{name} {self.dialogue.current()[name]}")

    def last_turn(self) -> Turn:
        if not self.dialogue.turns:
            raise UserError(self.say("nothing_yet"))
        return self.dialogue.turns[-1]

    def retry(self, _: str) -> None:
        last = self.last_turn()
        if self.dialogue.decoding.temperature == 0:
            self.tell(self.say("retry_same"), "dim")
        self.dialogue.turns[-1] = self.ask(last.question, self.dialogue.turns[:-1])

    def undo(self, _: str) -> None:
        last = self.last_turn()
        self.dialogue.turns.pop()
        self.tell(self.say("undo_done", question=last.question.text))

    def compare(self, text: str) -> None:
        if not self.dialogue.base:
            raise UserError(self.say("compare_none"))
        if text:
            self.dialogue.set_language(text)
            question, turns = self.dialogue.new_question(text), self.dialogue.turns
        else:
            question, turns = self.last_turn().question, self.dialogue.turns[:-1]
        self.tell(self.say("base_answer", model=self.dialogue.base), "bold")
        if not self.ask(question, turns, base=True).answer.stopped:
            self.tell(self.say("tuned_answer", model=self.dialogue.label), "bold")
            self.ask(question, turns)

    def save(self, text: str, replace: bool = False) -> None:
        if not text:
            raise UserError(self.say("save_usage"))
        if not self.dialogue.turns:
            raise UserError(self.say("save_nothing"))
        path = Path(text).expanduser()
        if path.suffix == ".jsonl":
            self.save_row(path)
            return
        if path.exists() and not replace:
            raise UserError(self.say("save_exists", path=path))
        write_text(path, transcript(self.dialogue))
        self.tell(self.say("saved", path=path))

    def save_over(self, text: str) -> None:
        self.save(text, replace=True)

    def save_row(self, path: Path) -> None:
        """Append the last turn as a training row; the file keeps what it had, or is refused."""
        last = self.last_turn()
        if last.answer.stopped or last.answer.cut_off or not last.answer.text:
            raise UserError(self.say("save_row_unfit"))
        row = json.dumps(last.as_row(), ensure_ascii=False)
        lines = [line for line in records.read_lines(path) if line.strip()] if path.exists() else []
        for count, line in enumerate(lines, 1):
            _, problem = records.parse_record(line)
            if problem:
                raise UserError(self.say("save_bad_file", path=path, problem=f"{count}: {problem}"))
        if row in lines:
            raise UserError(self.say("save_row_there", path=path))
        write_text(path, "".join(line + "\n" for line in [*lines, row]))
        self.tell(self.say("saved_row", path=path, count=len(lines) + 1))

    def status(self, _: str) -> None:
        self.wait()
        names, none = TEXTS[self.dialogue.language]["status"], self.say("none")
        self.tell_pairs((names[key], value or none) for key, value in status_rows(self.dialogue).items())
