"""Talk to the model in the terminal: questions on Kazakhstan's legislation, in Russian and Kazakh.

Reads   an adapter (the newest finetuned_* here), a merged folder or a hub id
        questions from the terminal, --question or a pipe
Writes  nothing by itself; /save FILE writes the chat, or a training row

  python chat.py --model finetuned_qwen3_8b                  a chat; /help lists its commands
  python chat.py --question "Сколько дней длится отпуск?"    the answer alone on stdout, notes on stderr
  python chat.py --server http://127.0.0.1:11434/v1 --model qwen3:8b      a model behind a server
  python chat.py --json < questions.txt > answers.jsonl      one question a line, one JSON object an answer
"""

import argparse
import contextlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO, cast

from legalqa import cli
from legalqa.chat import terminal
from legalqa.chat.commands import Chat
from legalqa.chat.dialogue import SETTINGS, Dialogue, Turn
from legalqa.chat.remarks import answer_notes, citation_lines, citations_heading, source_lines
from legalqa.chat.served import ServedDialogue
from legalqa.chat.words import LANGUAGES, TEXTS, say
from legalqa.errors import UserError
from legalqa.law import acts
from legalqa.model.adapter import check_adapter, newest_adapter
from legalqa.model.base import DEMO_MODEL_DIR, check_model_name
from legalqa.model.server import find_endpoint

KEYS = (
    "language",
    "system_prompt",
    *SETTINGS,
    "load_in_4bit",
    "law_dir",
    "train_file",
    "law_passages",
    "law_passage_tokens",
    "server_timeout_sec",
    "server_retries",
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = cli.make_parser(__file__, __doc__, KEYS)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="adapter folder, merged folder or hub id (default: newest finetuned_*, "
        "else the demo base model)",
    )
    parser.add_argument(
        "--server", metavar="URL", help="ask --model of this OpenAI-compatible server; key: OPENAI_API_KEY"
    )
    parser.add_argument("--question", metavar="TEXT", help="answer this, print the answer alone, exit")
    parser.add_argument(
        "--context", metavar="TEXT", default="", help="text that the questions are about; the row's `input`"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object an answer: text, citations, tokens, seconds"
    )
    return parser.parse_args(argv)


def make_dialogue(args: argparse.Namespace, config: Mapping[str, Any]) -> Dialogue:
    """The dialogue that the flags ask for, model not loaded yet."""
    if args.question is not None and not args.question.strip():
        raise UserError("--question is empty; give it a text")
    if args.server:
        endpoint = find_endpoint(args.server, args.model, config)
        dialogue = ServedDialogue(endpoint, config, cli.given_flags(args))
    else:
        dialogue = local_dialogue(args, config)
    dialogue.context, _ = terminal.clean_text(args.context.strip())
    return dialogue


def local_dialogue(args: argparse.Namespace, config: Mapping[str, Any]) -> Dialogue:
    name = args.model or newest_adapter() or DEMO_MODEL_DIR
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        check_adapter(name)
    elif not Path(name).is_dir() and name != DEMO_MODEL_DIR:
        check_model_name(name)
    return Dialogue(name, config, cli.given_flags(args))


@contextlib.contextmanager
def captured_output() -> Iterator[None]:
    """What libraries print while they load is noise unless loading fails: then it is shown."""
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException:
        sys.stderr.write(log.getvalue())
        raise


# --------------------------------------------------------------------------------- --question and piped lines


class Line(NamedTuple):
    """A question without a terminal. `number`: its line of stdin; `damaged`: some bytes could not be read."""

    text: str
    number: int = 0
    damaged: bool = False

    def is_unreadable(self) -> bool:
        """Whether most of it is lost: another encoding, not a slip."""
        letters = [letter for letter in self.text if not letter.isspace()]
        return self.damaged and 2 * letters.count("\ufffd") > len(letters)


def piped_lines(stdin: io.BufferedReader) -> Iterator[Line]:
    """Every line that is not empty, as it arrives: UTF-8, or what the first bytes say."""
    start = stdin.peek(4)
    encoding = json.detect_encoding(start)
    if encoding == "utf-8" and b"\0" in start:
        likely = "utf-16le" if start.index(b"\0") % 2 else "utf-16be"
        raise UserError(f"stdin: not UTF-8, zero bytes in it; convert it, e.g. iconv -f {likely} -t utf-8")
    # What cannot be read: clean_text replaces it and says so, but only UTF-8 can hand it over.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    lines = io.TextIOWrapper(stdin, encoding, errors, newline="\n")
    for number, line in enumerate(lines, 1):
        text, damaged = terminal.clean_text(line.strip())
        if text:
            yield Line(text, number, damaged)


def answer_plainly(dialogue: Dialogue, lines: Iterable[Line], as_json: bool) -> int:
    """The answers alone on stdout, everything else on stderr. The exit code."""
    stdout, stderr, code = sys.stdout, sys.stderr, 0
    load_quietly(dialogue, stderr)
    with contextlib.redirect_stdout(stderr):  # whatever a library prints is no answer
        for line in lines:
            try:
                turn, notes = answer_line(dialogue, line)
            except UserError as error:
                code, notes = cli.EXIT_USER_ERROR, [f"error: {error}"]
                if as_json:
                    print_json({"question": line.text, "error": str(error)}, stdout)
            else:
                if as_json:
                    print_json(turn.as_json(dialogue.label), stdout)
                else:
                    text = turn.answer.text
                    print(terminal.printable(text) if stdout.isatty() else text, file=stdout, flush=True)
                    notes += citation_notes(dialogue.language, turn)
            for note in notes:
                print(note, file=stderr)
        print(say(dialogue.language, "disclaimer"), file=stderr)
    return code


def load_quietly(dialogue: Dialogue, stderr: TextIO) -> None:
    """Load the model; on `stderr` what a person should know of it, and meanwhile what is going on."""
    language = dialogue.language
    for note in dialogue.opening_notes():
        print(note, file=stderr)
    spinner = terminal.Spinner(stderr, say(language, "starting"), say(language, "second"))
    with spinner, captured_output():
        dialogue.load(lambda stage: setattr(spinner, "text", say(language, stage)))


def answer_line(dialogue: Dialogue, line: Line) -> tuple[Turn, list[str]]:
    """The turn, and what else there is to say. UserError where there can be no answer."""
    dialogue.set_language(line.text)
    language, question = dialogue.language, dialogue.new_question(line.text)
    if line.is_unreadable():
        raise UserError(say(language, "unreadable", line=line.number))
    notes = [say(language, "bad_bytes", line=line.number)] if line.damaged else []
    prompt = dialogue.prepare(question, dialogue.turns)
    turn = dialogue.answer(question, prompt)
    return turn, [*notes, *prompt.notes, *answer_notes(language, turn, "cut_off_plain")]


def citation_notes(language: str, turn: Turn) -> list[str]:
    """The sources of an open book, then the norms cited."""
    sources, lines = source_lines(language, turn), citation_lines(language, turn.citations)
    notes = [say(language, "sources"), *(line.plain() for line in sources)] if sources else []
    return notes + ([citations_heading(language), *(line.plain() for line in lines)] if lines else [])


def print_json(value: dict[str, Any], stdout: TextIO) -> None:
    print(json.dumps(value, ensure_ascii=False), file=stdout, flush=True)


# --------------------------------------------------------------------------------------------------- the chat


class Loader(threading.Thread):
    """Loads the model while the first question is typed: imports alone outlast reading the screen."""

    def __init__(self, dialogue: Dialogue, on_error: Callable[[], None] = lambda: None):
        super().__init__(daemon=True)
        self.dialogue, self.on_error = dialogue, on_error
        self.stage, self.started = "starting", time.monotonic()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with captured_output():
                self.dialogue.load(lambda stage: setattr(self, "stage", stage))
        except BaseException as error:  # handed to the main thread by `wait`, whatever it is
            self.error = error
            self.on_error()

    def wait(self, stream: TextIO) -> None:
        """Return when the model is there, saying meanwhile what is going on; EOFError if it will never be."""
        language = self.dialogue.language
        if self.is_alive():
            with terminal.Spinner(stream, say(language, self.stage), say(language, "second")) as spinner:
                while self.is_alive():
                    spinner.text = say(language, self.stage)
                    self.join(0.1)
        if self.error:
            raise EOFError

    def toolbar(self) -> str:
        """The line under the prompt: how far loading is, then the keys and what answers."""
        dialogue = self.dialogue
        if self.is_alive():
            elapsed = f"{time.monotonic() - self.started:.0f} {say(dialogue.language, 'second')}"
            return f"{say(dialogue.language, self.stage)} {elapsed}"
        device = dialogue.device.type.upper() if dialogue.device else ""
        return say(dialogue.language, "toolbar", model=dialogue.label, device=device)


def make_reader(loader: Loader) -> Callable[[str], str]:
    """A function that reads a line after a mark: with history and completion where the terminal can."""
    if terminal.is_dumb():
        return input
    names = [word.split()[0] for word in TEXTS["ru"]["help"]]
    session = terminal.make_session(names, SETTINGS, loader.toolbar)
    loader.on_error = lambda: terminal.leave_prompt(session)
    return lambda mark: session.prompt([("class:prompt", mark)])


def run_chat(dialogue: Dialogue) -> int:
    """The chat on a terminal: the prompt is there at once, the model loads behind it."""
    stream, loader = sys.stdout, Loader(dialogue)
    chat = Chat(dialogue, stream, make_reader(loader), lambda: loader.wait(stream))
    chat.greet()
    loader.start()
    chat.run()
    if loader.error:
        raise loader.error
    if loader.is_alive():  # an interpreter that ends while a thread imports torch may crash
        stream.flush()
        os._exit(0)
    return 0


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.server and args.profile == "auto":
        args.profile = "gpu"  # the one that overrides nothing: what this machine has does not matter
    config = cli.effective_config(args, announce=False, choices={"language": LANGUAGES})
    acts.use(config["law_dir"])
    dialogue = make_dialogue(args, config)
    stdin, stdout, stderr = (cast(io.TextIOWrapper, stream) for stream in (sys.stdin, sys.stdout, sys.stderr))
    for stream in (stdout, stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")
    if args.question is not None:
        question, _ = terminal.clean_text(args.question.strip())
        return answer_plainly(dialogue, [Line(question)], args.json)
    if args.json or not (stdin.isatty() and stdout.isatty()):
        return answer_plainly(dialogue, piped_lines(cast(io.BufferedReader, stdin.buffer)), args.json)
    stdin.reconfigure(errors="surrogateescape")
    return run_chat(dialogue)


if __name__ == "__main__":
    cli.run_main(main)
