"""Flags made from config.py, profiles, and errors a user can act on."""
import argparse
import difflib
import io
import os
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import config

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130


class UserError(Exception):
    """What is wrong, where, and what to do: printed as one line on stderr, exit code 2."""


def run_main(main):
    """Run a stage's `main()` as a command: a UserError ends with one line and code 2, Ctrl-C with code 130."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # `... | head` closed our stdout: not an error; keep the interpreter from a second try at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def config_comments():
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

    def error(self, message):
        raise UserError(f"{message}; see: python {self.prog} --help")

    def parse_args(self, argv=None):
        args, unknown = self.parse_known_args(argv)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(unknown[0].split("=")[0], flags, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"see: python {self.prog} --help"
            raise UserError(f"unknown argument {unknown[0]}; {hint}")
        return args


def parse_bool(text):
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")
    return words[text.lower()]


def make_parser(script, doc, keys, profile=True):
    """A parser with a flag for each of `keys`, typed by its default in CONFIG, and `--profile` unless no profile matters."""
    parser = Parser(prog=Path(script).name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter,
                    allow_abbrev=False)
    if profile:
        parser.add_argument("--profile", default="auto", metavar="NAME",
                            help=f"settings by name: {', '.join(config.PROFILES)}; auto takes gpu where an accelerator "
                                 "is found, else demo (default: auto)")
    else:
        parser.set_defaults(profile="gpu")  # the one that overrides nothing
    comments = config_comments()
    settings = parser.add_argument_group("settings, from config.py (the default shown is CONFIG's; a profile may override it)")
    for key in keys:
        default = config.CONFIG[key]
        shown = ",".join(default) if isinstance(default, list) else default
        text = f"{comments[key]} (default: {shown if shown != '' else 'none'})".replace("%", "%%")
        options = {"dest": key, "default": None, "help": text, "metavar": type(default).__name__.upper()}
        if isinstance(default, bool):
            settings.add_argument(flag_of(key), type=parse_bool, nargs="?", const=True, **options)
        elif isinstance(default, list):
            settings.add_argument(flag_of(key), type=lambda text: text.split(","), **options)
        else:
            settings.add_argument(flag_of(key), type=type(default), **options)
    return parser


def flag_of(key):
    return "--" + key.replace("_", "-")


def has_accelerator():
    """Whether a GPU that Unsloth trains on is here, found without importing torch."""
    if sys.platform == "darwin" and os.uname().machine == "arm64":
        return True
    if not shutil.which("nvidia-smi") or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout.startswith(b"GPU")


def effective_config(args, announce=True):
    """CONFIG, then the profile, then the flags given: the flat dict a stage works with. Says so when `auto` picks demo."""
    name = args.profile
    if name == "auto":
        name = "gpu" if has_accelerator() else "demo"
        if name == "demo" and announce:
            print("no accelerator found: profile demo (Gemma 3 270M on the CPU); --profile gpu overrides", file=sys.stderr)
    if name not in config.PROFILES:
        near = difflib.get_close_matches(name, config.PROFILES, 1, 0.0)[0]
        raise UserError(f"unknown profile '{name}' (known: {', '.join(config.PROFILES)}); did you mean {near}?")
    flags = {key: value for key, value in vars(args).items() if key in config.CONFIG and value is not None}
    return {**config.CONFIG, **config.PROFILES[name], **flags, "profile": name}
