"""Flags made from config.py, profiles, and errors a user can act on."""

import argparse
import difflib
import functools
import io
import math
import os
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import config
from legalqa.errors import UserError, describe_os_error

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run a stage's `main()` as a command: a UserError ends with one line and code 2, Ctrl-C with 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal in cp1251 has no «қ» and no box of a table.
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (
        BrokenPipeError
    ):  # `... | head` closed our stdout: not an error; keep the interpreter from a second try at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # where a library reads or writes: Arrow files, caches, temporary files
        print(f"error: {describe_os_error(error)}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except MemoryError:
        print("error: out of memory; close other programs, or give a smaller model or file", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


@functools.cache
def config_comments() -> dict[str, str]:
    """{key: comment on its line in config.py}, which is the flag's help text."""
    comments, key = {}, None
    for token in tokenize.generate_tokens(io.StringIO(Path(config.__file__).read_text("utf-8")).readline):
        if token.type == tokenize.STRING and token.start[1] == 4:
            key = token.string.strip('"')
        elif token.type == tokenize.COMMENT and token.start[1] > 4:
            comments.setdefault(key, token.string.lstrip("# "))
    return comments


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line, and whose unknown flags name the nearest known one."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see: python {self.prog} --help")

    def parse_args(self, argv=None):
        for text in sys.argv[1:] if argv is None else argv:
            if any("\udc80" <= character <= "\udcff" for character in text):
                raise UserError(
                    f"argument {ascii(text)} is not UTF-8; logs and messages could not name it: rename "
                    "the file"
                )
        args, unknown = self.parse_known_args(argv)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(unknown[0].split("=")[0], flags, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"see: python {self.prog} --help"
            raise UserError(f"unknown argument {unknown[0]}; {hint}")
        return args


def parse_bool(text: str) -> bool:
    words = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")
    return words[text.lower()]


def parse_int(text: str) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a whole number, got '{text}'") from error
    if abs(number) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text} is too large")
    return number


def parse_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a number, got '{text}'") from error
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a finite number, got '{text}'")
    return number


PARSERS = {bool: parse_bool, int: parse_int, float: parse_float, str: str, list: lambda text: text.split(",")}


def make_parser(script: str, doc: str | None, keys: Iterable[str], profile: bool = True) -> Parser:
    """A parser with a flag for each of `keys`, typed by its default in CONFIG; `--profile` if it matters."""
    parser = Parser(
        prog=Path(script).name,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if profile:
        parser.add_argument(
            "--profile",
            default="auto",
            metavar="NAME",
            help=f"settings by name: {', '.join(config.PROFILES)}; auto takes gpu where an NVIDIA GPU is "
            "found, else demo (default: auto)",
        )
    else:
        parser.set_defaults(profile="gpu")  # the one that overrides nothing
    comments = config_comments()
    settings = parser.add_argument_group(
        "settings, from config.py (the default shown is CONFIG's; a profile may override it)"
    )
    for key in keys:
        default = config.CONFIG[key]
        shown = ",".join(default) if isinstance(default, list) else default
        text = f"{comments[key]} (default: {shown if shown != '' else 'none'})".replace("%", "%%")
        options = {"dest": key, "default": None, "help": text, "metavar": type(default).__name__.upper()}
        if isinstance(default, bool):
            options |= {"nargs": "?", "const": True}
        settings.add_argument(flag_of(key), type=PARSERS[type(default)], **options)
    return parser


def flag_of(key: str) -> str:
    return "--" + key.replace("_", "-")


def has_accelerator() -> bool:
    """Whether an NVIDIA GPU is here, found without torch. Unsloth knows others; nobody has tested them."""
    if not shutil.which("nvidia-smi") or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout.startswith(b"GPU")


def given_flags(args: argparse.Namespace) -> dict[str, Any]:
    """{key of CONFIG: value} of the settings that the command line names."""
    return {key: value for key, value in vars(args).items() if key in config.CONFIG and value is not None}


def effective_config(
    args: argparse.Namespace, announce: bool = True, choices: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """CONFIG, then the profile, then the flags given: the flat dict a stage works with. Says so when `auto`
    picks demo. `choices`: {key: the values this stage knows}, more than config.CHOICES has for all."""
    name = args.profile
    if name == "auto":
        name = "gpu" if has_accelerator() else "demo"
        if name == "demo" and announce:
            found = "Apple Silicon is not tested" if sys.platform == "darwin" else "no accelerator found"
            print(
                f"{found}: profile demo (Gemma 3 270M on the CPU); --profile gpu overrides", file=sys.stderr
            )
    if name not in config.PROFILES:
        near = difflib.get_close_matches(name, config.PROFILES, 1, 0.0)[0]
        raise UserError(
            f"unknown profile '{name}' (known: {', '.join(config.PROFILES)}); did you mean {near}?"
        )
    effective = {**config.CONFIG, **config.PROFILES[name], **given_flags(args), "profile": name}
    used = {key: effective[key] for key in config.CONFIG if hasattr(args, key)}
    problems = out_of_limits(used, flag_of)
    problems += [
        f"{flag_of(key)} must be one of {', '.join(names)}, not '{used[key][:40]}'"
        for key, names in {**config.CHOICES, **(choices or {})}.items()
        if key in used and used[key] not in names
    ]
    if problems:
        raise UserError("; ".join(problems))
    return effective


def out_of_limits(values: Mapping[str, Any], name_of: Callable[[str], str] = str) -> list[str]:
    """["--lora-r must be from 1 to 1,024, not 0", ...]: what config.LIMITS does not allow among `values`,
    which a stranger's file may hold."""
    return [
        f"{name_of(key)} must be from {low:,} to {high:,}, not {str(values[key])[:40]}"
        for key, (low, high) in config.LIMITS.items()
        if key in values
        and not (is_number_like(values[key], config.CONFIG[key]) and low <= values[key] <= high)
    ]


def is_number_like(value: Any, default: int | float) -> bool:
    """A whole number where the default is one, else any; True and False are no numbers."""
    return type(value) is int or (type(value) is float and isinstance(default, float))
