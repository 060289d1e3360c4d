"""What a run leaves behind: JSON written whole or not at all, and the facts that make a number traceable."""
import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

from legalqa.cli import UserError, first_line

PACKAGES = ("unsloth", "unsloth_zoo", "torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate",
            "numpy", "matplotlib")
REPOSITORY = Path(__file__).resolve().parent.parent


def new_run_id():
    """YYYYmmdd_HHMMSS, local time."""
    return time.strftime("%Y%m%d_%H%M%S")


def write_text(path, text):
    """Write through a temporary file, fsync and rename: `path` holds the old text or the new, never a part."""
    write_files({path: [text]})


def write_bytes(path, data):
    write_files({path: [data]})


def write_files(contents):
    """Write {path: pieces of text or bytes}: every file in full under a temporary name, then the renames; or none of
    them.

    A path holds the old content or the new, never a part, and a name that is there after a power cut has all its
    bytes.
    """
    temporary = {Path(path): Path(f"{path}.tmp") for path in contents}
    try:
        for path, pieces in zip(temporary, contents.values()):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary[path], "wb") as file:
                file.writelines(piece.encode("utf-8") if isinstance(piece, str) else piece for piece in pieces)
                file.flush()
                os.fsync(file.fileno())
        for path in temporary:
            os.replace(temporary[path], path)
            sync(path.parent)
    except OSError as error:
        for leftover in temporary.values():
            with contextlib.suppress(OSError):
                leftover.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}; free space or choose another folder") from error


@contextlib.contextmanager
def writing(what, advice):
    """Turn whatever a library raises while it writes into one line. The except is broad on purpose: on a full disk
    torch raises RuntimeError, safetensors an error of its own, and tokenizers bare Exception."""
    try:
        yield
    except Exception as error:
        raise UserError(f"cannot write {what}: {first_line(error)}; {advice}") from error


def sync(*paths):
    """Flush files, and the entries of folders, to the disk: what is renamed after this survives a power cut whole."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path, data):
    write_text(path, json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def read_json(path):
    """The JSON of `path`; a UserError that names it when it cannot be read as a JSON object."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not JSON, not UTF-8, a number of 5,000 digits
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"cannot read {path}: a JSON object is expected, found {type(data).__name__}")
    return data


def file_sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text):
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


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
    return {"commit": commit.stdout.strip(), "dirty": bool(git("status", "--porcelain", "-uno").stdout.strip())}


def command_line(*more):
    """This process's command, to be pasted into a shell, with the flags `more` where it lacks them."""
    given = sys.argv[1:]
    return shlex.join(["python", os.path.basename(sys.argv[0]), *given, *(flag for flag in more if flag not in given)])


def run_meta(run_id, **facts):
    """The `meta` of a log: who ran what, on which code, with which packages; `facts` adds what the stage knows."""
    return {"run": run_id, "command": command_line(), "git": git_state(), "versions": package_versions(),
            "platform": platform.platform(), **facts}


def newest(logs_dir, stage):
    """Path of the newest `<stage>_<run>.json` in `logs_dir`, or None. Run ids sort by time."""
    return max(Path(logs_dir).glob(f"{stage}_*.json"), key=lambda path: path.stem, default=None)
