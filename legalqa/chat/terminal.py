"""What the chat needs of a terminal: output by words, a spinner, an input line with completion."""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from legalqa.files import user_folder

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

MAX_COLUMNS = 100  # longer lines are hard to read
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def is_dumb() -> bool:
    return os.environ.get("TERM", "") in ("dumb", "unknown", "") and sys.platform != "win32"


def printable(text: str) -> str:
    """`text` without control characters, so that no answer moves the cursor or sets a title."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def clean_text(text: str) -> tuple[str, bool]:
    """(text without half surrogate pairs, whether it had any): they stand for bytes that are not UTF-8."""
    cleaned = text
    if re.search("[\udc80-\udcff]", text):
        cleaned = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    cleaned = cleaned.encode("utf-8", "replace").decode("utf-8")
    return cleaned, cleaned != text


def columns(stream: TextIO) -> int:
    """How wide to write on `stream`: its terminal's width within bounds, 80 where it has none."""
    try:
        return max(20, min(MAX_COLUMNS, os.get_terminal_size(stream.fileno()).columns or 80))
    except OSError:
        return 80


@contextlib.contextmanager
def quiet_keys() -> Iterator[None]:
    """Keys pressed during an answer are not echoed into it; they wait for the next prompt. Ctrl-C works."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, ValueError, OSError, termios.error):  # Windows; no terminal
        yield
        return
    quiet = before[:3] + [before[3] & ~termios.ECHO] + before[4:]
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def stop_by_ctrl_c(begun: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Yields a function that is true once Ctrl-C was pressed: the answer ends at the next token.
    Before one has `begun`, or pressed again, Ctrl-C interrupts at once."""
    pressed = []

    def handler(*_):
        if pressed or not begun():
            raise KeyboardInterrupt
        pressed.append(True)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


class WordWriter:
    """Writes text as it comes, a word at a time, and breaks lines between words at `width` columns."""

    def __init__(self, stream: TextIO, width: int):
        self.stream, self.width = stream, width
        self.column, self.word, self.space = 0, "", ""

    def write(self, text: str) -> None:
        for character in printable(text):
            if character.isspace():
                self.put_word()
                if character == "\n":
                    self.stream.write("\n")
                    self.column, self.space = 0, ""
                else:
                    self.space += " "
            else:
                self.word += character
        self.stream.flush()

    def put_word(self) -> None:
        from rich.cells import cell_len

        if not self.word:
            return
        length = cell_len(self.word)
        if self.column and self.column + len(self.space) + length > self.width:
            self.stream.write("\n")
            self.column, self.space = 0, ""
        self.stream.write(self.space + self.word)
        self.column += len(self.space) + length
        self.word, self.space = "", ""

    def close(self) -> None:
        """Write the last word and end the line."""
        self.put_word()
        if self.column:
            self.stream.write("\n")
        self.stream.flush()


class Spinner:
    """One line that says what is going on, redrawn in place, gone afterwards.
    One plain line on a dumb terminal; nothing where the stream is none.

    Not rich's Status: that redirects sys.stdout, and so does the thread that loads the model meanwhile;
    whichever ended last would leave the other's stream there.
    """

    def __init__(self, stream: TextIO, text: str, unit: str):
        self.stream, self.text, self.unit = stream, text, unit
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.draw, daemon=True)

    def __enter__(self) -> "Spinner":
        if self.stream.isatty() and is_dumb():
            self.stream.write(self.text + " ...\n")
        elif self.stream.isatty():
            self.thread.start()
        return self

    def draw(self) -> None:
        started = time.monotonic()
        while not self.done.wait(0.1):
            elapsed = time.monotonic() - started
            line = f"{SPINNER[int(elapsed * 10) % len(SPINNER)]} {self.text} {elapsed:.0f} {self.unit}"
            self.stream.write(f"\r\x1b[K{line[: columns(self.stream) - 1]}")
            self.stream.flush()
        self.stream.write("\r\x1b[K")
        self.stream.flush()

    def stop(self) -> None:
        self.done.set()
        if self.thread.is_alive():
            self.thread.join()

    def __exit__(self, *_: object) -> None:
        self.stop()


def history_file() -> Path | None:
    """The file of what was typed, readable by its owner alone; None where it cannot be written."""
    path = user_folder("XDG_STATE_HOME", ".local/state") / "legalqa" / "chat_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return None
    return path


def make_session(
    commands: Iterable[str], settings: Iterable[str], toolbar: Callable[[], str]
) -> "PromptSession":
    """An input line: history across chats, Alt+Enter for a new line, completion of commands after a slash."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.application import get_app
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.styles import Style

    words = {"/set": settings, "/history": ("on", "off"), "/context": ("off",), "/system": ("off",)}

    class CommandCompleter(Completer):
        def get_completions(self, document, _):
            before = document.text_before_cursor
            first, _, rest = before.partition(" ")
            known, typed = (words.get(first, ()), rest) if " " in before else (commands, before)
            if before.startswith("/") and " " not in typed:
                for word in known:
                    if word.startswith(typed):
                        yield Completion(word, start_position=-len(typed))

    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event):
        event.current_buffer.insert_text("\n")

    path = history_file()
    return PromptSession(
        history=FileHistory(str(path)) if path else InMemoryHistory(),
        key_bindings=bindings,
        completer=CommandCompleter(),
        complete_while_typing=Condition(lambda: get_app().current_buffer.text.startswith("/")),
        bottom_toolbar=toolbar,
        refresh_interval=0.5,
        reserve_space_for_menu=5,
        enable_history_search=False,
        style=Style.from_dict({"bottom-toolbar": "noreverse", "prompt": "bold"}),
    )


def leave_prompt(session: "PromptSession") -> None:
    """End the input line of `session` as Ctrl-D does; from any thread."""
    if session.app.is_running and session.app.loop:
        session.app.loop.call_soon_threadsafe(lambda: session.app.exit(exception=EOFError))
