"""Files written whole or not at all, folders held by one run at a time."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from legalqa.errors import UserError, first_line, os_advice

PathLike = str | Path


def write_text(path: PathLike, text: str) -> None:
    """Write through a temporary file, fsync and rename: `path` holds the old text or the new, never a
    part."""
    write_files({path: [text]})


def write_bytes(path: PathLike, data: bytes) -> None:
    write_files({path: [data]})


def write_files(contents: Mapping[Any, Iterable[str | bytes]]) -> None:
    """Write {path: pieces of text or bytes}: every file in full under a temporary name, then the renames; or
    none of them.

    A path holds the old content or the new, never a part, and a name that is there after a power cut has all
    its bytes."""
    temporary = {Path(path): Path(f"{path}.tmp") for path in contents}
    try:
        for path, pieces in zip(temporary, contents.values()):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary[path], "wb") as file:
                file.writelines(
                    piece.encode("utf-8") if isinstance(piece, str) else piece for piece in pieces
                )
                file.flush()
                os.fsync(file.fileno())
        for path in temporary:
            os.replace(temporary[path], path)
            sync(path.parent)
    except OSError as error:
        for leftover in temporary.values():
            with contextlib.suppress(OSError):
                leftover.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}; {os_advice(error)}") from error


@contextlib.contextmanager
def writing(what: object, advice: str) -> Iterator[None]:
    """Turn whatever a library raises while it writes into one line. The except is broad on purpose: on a full
    disk torch raises RuntimeError, safetensors an error of its own, and tokenizers bare Exception."""
    try:
        yield
    except Exception as error:
        raise UserError(f"cannot write {what}: {first_line(error)}; {advice}") from error


def sync(*paths: PathLike) -> None:
    """Flush files, and the entries of folders, to the disk: what is renamed after this survives a power cut
    whole."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_to_others(folder: Path) -> None:
    """Give the files of a new folder the mode that the umask asks for: safetensors writes for the owner
    alone."""
    umask = os.umask(0o077)  # setting it is the only way to read it
    os.umask(umask)
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(0o666 & ~umask)


def write_json(path: PathLike, data: Any) -> None:
    write_text(path, json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def read_json(path: PathLike) -> dict[str, Any]:
    """The JSON of `path`; a UserError that names it when it cannot be read as a JSON object."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not JSON, not UTF-8, 5,000 digits
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"cannot read {path}: a JSON object is expected, found {type(data).__name__}")
    return data


def file_sha256(path: PathLike) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextlib.contextmanager
def lock(folder: PathLike, wait: bool = False) -> Iterator[None]:
    """One run at a time in `folder`, while the block runs: the second gets a UserError that names the owner,
    or waits.

    Held by the file `folder`.lock. The kernel takes the lock from a process that dies, however it dies, so
    the file that a killed run leaves is no obstacle."""
    from filelock import FileLock, Timeout

    path = beside(folder, ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path, blocking=wait).acquire()
    except Timeout as error:
        owner = path.read_text("utf-8").strip() if path.is_file() else ""
        raise UserError(
            f"{folder} is in use by {owner or 'another run'}; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; {os_advice(error)}") from error
    with held:
        path.write_text(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}", "utf-8")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def beside(folder: PathLike, suffix: str) -> Path:
    """`folder` + suffix, next to the real folder where `folder` is a link to it: on the same disk, so that a
    rename works."""
    folder = Path(folder).resolve()
    return folder.with_name(folder.name + suffix)


def user_folder(xdg_variable: str, below_home: str) -> Path:
    """Where this user's programs keep things; below the temporary folder for a user without a home (a
    container's)."""
    named = os.environ.get(xdg_variable)
    if named:
        return Path(named)
    try:
        return Path.home() / below_home
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"user-{os.getuid()}" / below_home
