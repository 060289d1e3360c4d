"""What a run leaves behind: an id of its own, and the facts that make a number traceable."""

import atexit
import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from legalqa.errors import UserError, os_advice

PACKAGES = (
    "unsloth",
    "unsloth_zoo",
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "datasets",
    "accelerate",
    "numpy",
    "matplotlib",
)
REPOSITORY = Path(__file__).resolve().parent.parent


RUN_ID, RUN_ID_FORMAT = re.compile(r"(?<!\d)\d{8}_\d{6}(?!\d)"), "%Y%m%d_%H%M%S"
LAST_YEAR = 9999  # of Python's datetime: no id follows one of its end


def next_run_id(logs_dir: str | Path) -> str:
    """YYYYmmdd_HHMMSS in UTC, or the second after the newest id in the folder if that is later.

    So ids sort by time whatever the clocks say: after one was set back, and among logs of several time zones.
    """
    folder = Path(logs_dir)
    try:
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}; {os_advice(error)}") from error
    moments = [datetime.now(UTC).replace(microsecond=0)]
    for text in {text for name in names for text in RUN_ID.findall(name)}:
        with contextlib.suppress(ValueError):  # digits that are no date
            taken = datetime.strptime(text, RUN_ID_FORMAT).replace(tzinfo=UTC)
            moments += [taken + timedelta(seconds=1)] if taken.year < LAST_YEAR else []
    return max(moments).strftime(RUN_ID_FORMAT)


@contextlib.contextmanager
def new_run(logs_dir: str | Path) -> Iterator[str]:
    """A run id that no other run of these logs has or gets: an empty file holds it until the block has
    written a log."""
    folder = Path(logs_dir)
    while True:
        run = next_run_id(folder)
        claim = folder / f".{run}.claim"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            claim.touch(exist_ok=False)
        except FileExistsError as error:
            if not folder.is_dir():
                raise UserError(f"{folder}: not a folder; give another --logs-dir") from error
            continue
        except OSError as error:
            raise UserError(f"cannot write {claim}: {error.strerror}; {os_advice(error)}") from error
        if not any(path != claim for path in folder.glob(f"*{run}*")):
            break
        claim.unlink(missing_ok=True)  # its owner ended, and deleted it, between our look and our claim
    try:
        yield run
    finally:
        claim.unlink(missing_ok=True)


def new_run_id(logs_dir: str | Path) -> str:
    """`new_run` for as long as this process lives."""
    guard = contextlib.ExitStack()
    atexit.register(guard.close)
    return guard.enter_context(new_run(logs_dir))


def log_file(logs_dir: str | Path, stage: str, run: str) -> Path:
    return Path(logs_dir) / f"{stage}_{run}.json"


@functools.cache
def package_versions() -> dict[str, str]:
    """{package: installed version}, for those that are installed; imports none of them."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> dict[str, str | bool | None]:
    """{"commit", "dirty"} of this checkout; both None outside git, or where no git is installed."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True)

    try:
        commit = git("rev-parse", "HEAD")
    except OSError:
        return {"commit": None, "dirty": None}
    if commit.returncode:
        return {"commit": None, "dirty": None}
    status = git("status", "--porcelain", "-uno").stdout.strip()
    return {"commit": commit.stdout.strip(), "dirty": bool(status)}


def command(*words: object) -> str:
    """A command of this repository to be pasted into a shell: spaces and dollar signs in paths are quoted."""
    return shlex.join(["python", *map(str, words)])


def command_line(*more: str) -> str:
    """This process's command, to be pasted into a shell, with the flags `more` where it lacks them."""
    given = sys.argv[1:]
    return command(os.path.basename(sys.argv[0]), *given, *(flag for flag in more if flag not in given))


def run_meta(run_id: str, **facts: Any) -> Any:
    """The `meta` of a log: who ran what, on which code, with which packages; `facts` adds what the stage
    knows."""
    return {
        "run": run_id,
        "command": command_line(),
        "git": git_state(),
        "versions": package_versions(),
        "platform": platform.platform(),
        **facts,
    }
