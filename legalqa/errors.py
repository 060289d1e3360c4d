"""The one error that users see, its text in a line, and what to do about an error of the system."""

import errno
import os
import subprocess
import traceback

NO_SPACE = frozenset([errno.ENOSPC, errno.EDQUOT])
NO_RIGHTS = frozenset([errno.EACCES, errno.EPERM, errno.EROFS])


class UserError(Exception):
    """What is wrong, where, and what to do: printed as one line on stderr, exit code 2."""


def first_line(error):
    """A library's error as a part of one line: torch and transformers write paragraphs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def os_advice(error: OSError, otherwise: str = "choose another folder") -> str:
    """What to do about a file that could not be read or written."""
    if error.errno in NO_SPACE:
        return f"free space or {otherwise}"
    return f"mend the rights there or {otherwise}" if error.errno in NO_RIGHTS else otherwise


def describe_os_error(error: OSError) -> str:
    """An OSError that no code foresaw, as a line: a missing program is named as such."""
    frames = traceback.extract_tb(error.__traceback__)
    started_a_program = bool(frames) and os.path.samefile(frames[-1].filename, subprocess.__file__)
    if started_a_program and error.errno in (errno.ENOENT, errno.EACCES):
        return f"the program '{error.filename}' is not here, or may not be run; install it"
    return f"{first_line(error)}; {os_advice(error, 'see whether that path is right')}"
