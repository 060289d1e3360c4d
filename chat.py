"""Talk to the model in the terminal: questions on Kazakhstan's legislation, in Russian and Kazakh.

Reads   an adapter (the newest finetuned_* here), a merged folder or a hub id; questions from the terminal, --question or a pipe
Writes  nothing by itself; /save FILE writes the chat, or a training row

  python chat.py --model finetuned_qwen3_8b                  a chat; /help lists its commands
  python chat.py --question "Сколько дней длится отпуск?"    the answer alone on stdout, notes on stderr
  python chat.py --json < questions.txt > answers.jsonl      one question a line, one JSON object an answer
"""

import contextlib
import difflib
import io
import itertools
import json
import os
import re
import sys
import threading
import time
from pathlib import Path

from legalqa import cli
from legalqa.chat import terminal
from legalqa.chat.dialogue import DECODING, Dialogue, answer_notes, citation_lines, transcript, turn_as_json
from legalqa.chat.words import TEXTS, number, say
from legalqa.data import records
from legalqa.errors import UserError
from legalqa.files import write_text
from legalqa.model.adapter import check_adapter, newest_adapter
from legalqa.model.base import DEMO_MODEL_DIR, check_model_name
from legalqa.model.device import peak_memory_bytes

KEYS = ("language", "system_prompt", *DECODING, "load_in_4bit")
LANGUAGES = ("ru", "kk", "en")
LONG_PROMPT = 400  # tokens from which reading takes seconds on a CPU, so the spinner says how many
LEAVE_WORDS = ("exit", "quit", "выход")


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="adapter folder, merged folder or hub id (default: newest finetuned_*, "
        "else the demo base model)",
    )
    parser.add_argument("--question", metavar="TEXT", help="answer this, print the answer alone, exit")
    parser.add_argument(
        "--context", metavar="TEXT", default="", help="text that the questions are about; the row's `input`"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object an answer: text, citations, tokens, seconds"
    )
    return parser.parse_args(argv)


def make_dialogue(args, config):
    """The dialogue that the flags ask for, model not loaded yet."""
    if args.question is not None and not args.question.strip():
        raise UserError("--question is empty; give it a text")
    name = args.model or newest_adapter() or DEMO_MODEL_DIR
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        check_adapter(name)
    elif not Path(name).is_dir() and name != DEMO_MODEL_DIR:
        check_model_name(name)
    dialogue = Dialogue(name, config, cli.given_flags(args))
    dialogue.context, _ = terminal.clean_text(args.context.strip())
    return dialogue


def new_record(dialogue, question):
    return {"instruction": question, "input": dialogue.context}


@contextlib.contextmanager
def captured_output():
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


# ------------------------------------------------------------------------------------ --question and piped lines


def answer_plainly(dialogue, questions, as_json):
    """Answer (question, note) pairs: the answer alone on stdout, everything else on stderr. Exit code."""
    stdout, stderr, failed = sys.stdout, sys.stderr, False
    if not dialogue.base:
        print(say(dialogue.language, "no_adapter"), file=stderr)
    with (
        terminal.Spinner(
            stderr, say(dialogue.language, "starting"), say(dialogue.language, "second")
        ) as spinner,
        captured_output(),
    ):
        dialogue.load(lambda stage: setattr(spinner, "text", say(dialogue.language, stage)))
    with contextlib.redirect_stdout(stderr):  # whatever a library prints is no answer
        for question, note in questions:
            made, notes = answer_once(dialogue, question)
            failed = failed or "error" in made
            if as_json:
                print(json.dumps(made, ensure_ascii=False), file=stdout, flush=True)
            elif "answer" in made:
                print(
                    terminal.printable(made["answer"]) if stdout.isatty() else made["answer"],
                    file=stdout,
                    flush=True,
                )
                notes += citation_lines(dialogue.language, made)
            for line in [note, *notes] if note else notes:
                print(line, file=stderr)
        print(say(dialogue.language, "disclaimer"), file=stderr)
    return cli.EXIT_USER_ERROR if failed else 0


def answer_once(dialogue, question):
    """(the answer as JSON has it, or {"question", "error"}; what else there is to say)."""
    dialogue.set_language(question)
    record = new_record(dialogue, question)
    try:
        text, _, notes = dialogue.prepare(record, dialogue.turns)
        turn = dialogue.answer(record, text)
    except UserError as error:
        return {"question": question, "error": str(error)}, [f"error: {error}"]
    return turn_as_json(dialogue, turn), notes + answer_notes(dialogue.language, turn, "cut_off_plain")


def piped_questions(dialogue):
    """(question, note) of every line of stdin that is not empty; bytes that are not UTF-8 are replaced, and said so."""
    for count, line in enumerate(sys.stdin.buffer, 1):
        text = line.decode("utf-8-sig" if count == 1 else "utf-8", "replace").strip()
        if text:
            broken = "\ufffd" in text and b"\xef\xbf\xbd" not in line
            yield text, say(dialogue.language, "bad_bytes", line=count) if broken else None


def given_question(dialogue, question):
    text, broken = terminal.clean_text(question.strip())
    return [(text, say(dialogue.language, "bad_bytes_argument") if broken else None)]


# ------------------------------------------------------------------------------------------------------------ the chat


class Loader(threading.Thread):
    """Loads the model while the first question is typed: importing Unsloth and torch alone takes longer than reading the screen."""

    def __init__(self, dialogue, on_error=lambda: None):
        super().__init__(daemon=True)
        self.dialogue, self.on_error = dialogue, on_error
        self.stage, self.error, self.started = "starting", None, time.monotonic()

    def run(self):
        try:
            with captured_output():
                self.dialogue.load(lambda stage: setattr(self, "stage", stage))
        except BaseException as error:  # handed to the main thread by `wait`, whatever it is
            self.error = error
            self.on_error()

    def wait(self, stream):
        """Return when the model is there, saying meanwhile what is going on; EOFError, which ends the chat, if it will never be."""
        language = self.dialogue.language
        if self.is_alive():
            with terminal.Spinner(stream, say(language, self.stage), say(language, "second")) as spinner:
                while self.is_alive():
                    spinner.text = say(language, self.stage)
                    self.join(0.1)
        if self.error:
            raise EOFError


class Chat:
    """The commands and the loop. `read_line(mark)` gives the next thing typed; `wait` returns when the model is loaded."""

    def __init__(self, dialogue, stream, read_line, wait):
        from rich.console import Console

        self.dialogue, self.stream, self.read_line, self.wait = dialogue, stream, read_line, wait
        self.console = Console(
            file=stream, highlight=False, markup=False, emoji=False, width=terminal.columns(stream), height=25
        )  # with a height the width holds on a dumb terminal too
        self.commands = {
            "/help": self.help,
            "/reset": self.reset,
            "/context": self.context,
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

    def say(self, key, **values):
        return say(self.dialogue.language, key, **values)

    def tell(self, text, style=None):
        self.console.print(text, style=style)

    def run(self):
        """Until Ctrl-D, /exit or the end of input. An error or Ctrl-C ends a turn, never the chat."""
        while True:
            self.console.width = terminal.columns(self.stream)  # the window may have changed
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
                    self.tell(self.say("bad_bytes_argument"), "dim")
                self.act(text)
            except EOFError:
                return
            except UserError as error:
                self.tell(f"{error}\n")
            except KeyboardInterrupt:
                self.tell("\n" + self.say("stopped") + "\n", "dim")

    def mark(self):
        context, turns = self.dialogue.context, self.dialogue.turns
        return (
            (self.say("history_mark", count=len(turns)) if self.dialogue.history_on else "")
            + (self.say("context_mark", length=len(context)) if context else "")
            + "> "
        )

    def act(self, text):
        if re.match(r"/[^\W\d]", text):
            name, argument = re.match(r"(\S+)\s*(.*)", text, re.DOTALL).groups()
            if name not in self.commands:
                near = difflib.get_close_matches(name, [*self.commands, "/exit"], 1, 0.5)
                raise UserError(
                    self.say(
                        "unknown_command",
                        name=name,
                        near=self.say("did_you_mean", near=near[0]) if near else "",
                    )
                )
            self.commands[name](argument)
            if name not in ("/retry", "/compare"):  # these end with an answer, which has its blank line
                self.tell("")
        elif text:
            self.dialogue.set_language(text)
            turn = self.ask(new_record(self.dialogue, text), self.dialogue.turns)
            self.dialogue.turns.append(turn)

    def ask(self, record, turns, base=False):
        """Answer with streamed words, then what there is to say of the answer; returns the turn."""
        with terminal.quiet_keys():
            self.wait()
            return self.stream_answer(record, turns, base)

    def stream_answer(self, record, turns, base):
        text, tokens, notes = self.dialogue.prepare(record, turns)
        for note in notes:
            self.tell(note, "dim")
        self.tell("")
        waiting = self.say("thinking_long", tokens=tokens) if tokens >= LONG_PROMPT else self.say("thinking")
        writer = terminal.WordWriter(self.stream, self.console.width)
        with (
            terminal.Spinner(self.stream, waiting, self.say("second")) as spinner,
            terminal.stop_by_ctrl_c(lambda: spinner.done.is_set()) as stop,
        ):

            def show(piece):
                spinner.stop()
                writer.write(piece)

            turn = self.dialogue.answer(record, text, show, stop, base)
        writer.close()
        for note in answer_notes(self.dialogue.language, turn):
            self.tell(note, "dim")
        heading, *lines = citation_lines(self.dialogue.language, turn) or [None]
        if lines:
            self.tell(heading, "dim")
            self.print_pairs(
                [(line[:3], line[4:]) for line in lines],
                ["bold" if line[2] == "-" else "dim" for line in lines],
                gap=1,
            )
        self.tell("" if base else self.say("disclaimer") + "\n", "dim")
        return turn

    def last_turn(self):
        if not self.dialogue.turns:
            raise UserError(self.say("nothing_yet"))
        return self.dialogue.turns[-1]

    def help(self, _):
        self.print_pairs(TEXTS[self.dialogue.language]["help"].items())
        self.tell(self.say("help_keys"))

    def print_pairs(self, pairs, styles=(), gap=2):
        """Two columns, the second wrapped within itself."""
        from rich.table import Table

        grid = Table.grid(padding=(0, gap))
        grid.add_column(no_wrap=True)
        for (key, value), style in itertools.zip_longest(pairs, styles):
            grid.add_row(str(key), str(value), style=style)
        self.console.print(grid)

    def reset(self, _):
        self.dialogue.turns, self.dialogue.context = [], ""
        self.tell(self.say("reset_done"))

    def context(self, text):
        context = self.dialogue.context
        if not text:
            self.tell(
                self.say("context_is", length=len(context), text=context)
                if context
                else self.say("context_none")
            )
            return
        self.dialogue.context = "" if text == "off" else text
        self.tell(self.say("context_off") if text == "off" else self.say("context_set", length=len(text)))

    def system(self, text):
        if text:
            self.dialogue.system = self.dialogue.trained_system if text == "off" else text
            self.tell(self.say("system_off" if text == "off" else "system_set"))
        elif self.dialogue.system:
            self.tell(self.say("system_is", text=self.dialogue.system))
        else:
            self.tell(self.say("system_none"))

    def history(self, text):
        if text not in ("on", "off"):
            raise UserError(self.say("history_usage"))
        self.dialogue.history_on = text == "on"
        self.tell(self.say(f"history_{text}"))

    def set(self, text):
        if not text:
            self.print_pairs(self.dialogue.decoding.items())
            return
        name, _, value = text.partition(" ")
        if name not in DECODING:
            near = difflib.get_close_matches(name, DECODING, 1, 0.5)
            raise UserError(
                self.say(
                    "set_unknown",
                    name=name,
                    keys=", ".join(DECODING),
                    near=self.say("did_you_mean", near=near[0]) if near else "",
                )
            )
        if not value.strip():
            raise UserError(self.say("set_usage"))
        if not self.dialogue.set_decoding(name, value.strip()):
            raise UserError(
                self.say("set_bad", name=name, value=value.strip(), wanted=self.say(f"wants_{name}"))
            )
        self.tell(f"{name} {self.dialogue.decoding[name]}")

    def retry(self, _):
        last = self.last_turn()
        if self.dialogue.decoding["temperature"] == 0:
            self.tell(self.say("retry_same"), "dim")
        record = {"instruction": last["instruction"], "input": last["input"]}
        self.dialogue.turns[-1] = self.ask(record, self.dialogue.turns[:-1])

    def undo(self, _):
        last = self.last_turn()
        self.dialogue.turns.pop()
        self.tell(self.say("undo_done", question=last["instruction"]))

    def compare(self, text):
        if not self.dialogue.base:
            raise UserError(self.say("compare_none"))
        turns = self.dialogue.turns
        if text:
            self.dialogue.set_language(text)
            record = new_record(self.dialogue, text)
        else:
            last, turns = self.last_turn(), turns[:-1]
            record = {"instruction": last["instruction"], "input": last["input"]}
        self.tell(self.say("base_answer", model=self.dialogue.base), "bold")
        if not self.ask(record, turns, base=True)["stopped"]:
            self.tell(self.say("tuned_answer", model=self.dialogue.label), "bold")
            self.ask(record, turns)

    def save(self, text, replace=False):
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

    def save_over(self, text):
        self.save(text, replace=True)

    def save_row(self, path):
        """Append the last turn as a training row; the file keeps what it had, or is refused."""
        last = self.last_turn()
        if last["stopped"] or last["cut_off"] or not last["output"]:
            raise UserError(self.say("save_row_unfit"))
        row = json.dumps({key: last[key] for key in records.FIELDS}, ensure_ascii=False)
        lines = [line for line in records.read_lines(path) if line.strip()] if path.exists() else []
        for count, line in enumerate(lines, 1):
            _, problem = records.parse_record(line)
            if problem:
                raise UserError(self.say("save_bad_file", path=path, problem=f"{count}: {problem}"))
        if row in lines:
            raise UserError(self.say("save_row_there", path=path))
        write_text(path, "".join(line + "\n" for line in [*lines, row]))
        self.tell(self.say("saved_row", path=path, count=len(lines) + 1))

    def status(self, _):
        self.wait()
        dialogue, language = self.dialogue, self.dialogue.language
        names, none = TEXTS[language]["status"], self.say("none")
        last = dialogue.turns[-1] if dialogue.turns else None
        speed = (
            self.say(
                "last",
                tokens=last["new_tokens"],
                seconds=number(language, last["generation_sec"]),
                first=number(language, last["first_token_sec"], 2),
                prompt=last["prompt_tokens"],
                rate=number(language, last["tokens_per_second"] or 0),
            )
            if last
            else none
        )
        facts = {
            "model": dialogue.name,
            "base": dialogue.base,
            "run": dialogue.run,
            "device": dialogue.device.name,
            "loaded": f"{number(language, dialogue.load_sec)} {self.say('second')}",
            "system": dialogue.system,
            "context": self.say("characters", count=len(dialogue.context)) if dialogue.context else none,
            "history": self.say("turns", count=len(dialogue.turns))
            if dialogue.history_on
            else self.say("off"),
            "decoding": ", ".join(f"{key} {value}" for key, value in dialogue.decoding.items()),
            "limit": self.say("tokens", count=dialogue.trained_length),
            "last": speed,
            "memory": f"{number(language, peak_memory_bytes() / 1e9)} GB",
        }
        self.print_pairs((names[key], value or none) for key, value in facts.items())


def run_chat(dialogue):
    """The chat on a terminal: the prompt is there at once, the model loads behind it."""
    stream, loader = sys.stdout, None

    def toolbar():
        if loader.is_alive():
            elapsed = time.monotonic() - loader.started
            return f"{say(dialogue.language, loader.stage)} {elapsed:.0f} {say(dialogue.language, 'second')}"
        return say(
            dialogue.language,
            "toolbar",
            model=dialogue.label,
            device=dialogue.device.type.upper() if dialogue.device else "",
        )

    if terminal.is_dumb():
        session, loader = None, Loader(dialogue)
    else:

        def leave_prompt():  # called in the loader's thread
            if session.app.is_running:
                session.app.loop.call_soon_threadsafe(lambda: session.app.exit(exception=EOFError))

        names = [word.split()[0] for word in TEXTS["ru"]["help"]]
        session, loader = (
            terminal.make_session(names, tuple(DECODING), toolbar),
            Loader(dialogue, leave_prompt),
        )

    def read_line(mark):
        return input(mark) if session is None else session.prompt([("class:prompt", mark)])

    chat = Chat(dialogue, stream, read_line, lambda: loader.wait(stream))
    chat.tell(chat.say("greeting", model=dialogue.label), "bold")
    if not dialogue.base:
        chat.tell(chat.say("no_adapter"))
    chat.tell(chat.say("how_to"), "dim")
    chat.tell(chat.say("disclaimer") + "\n", "dim")
    loader.start()
    chat.run()
    if loader.error:
        raise loader.error
    if loader.is_alive():  # an interpreter that ends while a thread imports torch may crash
        stream.flush()
        os._exit(0)
    return 0


def main(argv=None):
    args = parse_args(argv)
    config = cli.effective_config(args, announce=False, choices={"language": LANGUAGES})
    dialogue = make_dialogue(args, config)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")
    if args.question is not None:
        return answer_plainly(dialogue, given_question(dialogue, args.question), args.json)
    if args.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return answer_plainly(dialogue, piped_questions(dialogue), args.json)
    sys.stdin.reconfigure(errors="surrogateescape")
    return run_chat(dialogue)


if __name__ == "__main__":
    cli.run_main(main)
