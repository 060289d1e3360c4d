"""What a run leaves behind: JSON written whole or not at all, and the facts that make a number traceable."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

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


def new_run_id():
    """YYYYmmdd_HHMMSS, local time."""
    return time.strftime("%Y%m%d_%H%M%S")


def package_versions():
    """{package: installed version}, for those that are installed; imports none of them."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_state():
    """{"commit", "dirty"} of this checkout; both None outside git."""

    def git(*words):
        return subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True)

    commit = git("rev-parse", "HEAD")
    if commit.returncode:
        return {"commit": None, "dirty": None}
    return {
        "commit": commit.stdout.strip(),
        "dirty": bool(git("status", "--porcelain", "-uno").stdout.strip()),
    }


def command_line(*more):
    """This process's command, to be pasted into a shell, with the flags `more` where it lacks them."""
    given = sys.argv[1:]
    return shlex.join(
        ["python", os.path.basename(sys.argv[0]), *given, *(flag for flag in more if flag not in given)]
    )


def run_meta(run_id, **facts):
    """The `meta` of a log: who ran what, on which code, with which packages; `facts` adds what the stage knows."""
    return {
        "run": run_id,
        "command": command_line(),
        "git": git_state(),
        "versions": package_versions(),
        "platform": platform.platform(),
        **facts,
    }
