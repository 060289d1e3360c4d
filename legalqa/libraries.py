"""What libraries print, apart from what this toolkit says: into a log file, on the screen if it matters."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# A line that says so is shown: a library rarely means well with these words. The rest is in the log file.
ALARMING = re.compile(r"warn|error|fail|deprecat|traceback|exception", re.IGNORECASE)
# Said at every start, and of no consequence here.
HARMLESS = re.compile(
    r"gemm_4bit_forward"  # bitsandbytes: a faster CPU kernel of a package that is on no index
    r"|UNSLOTH_DISABLE_CPU_FALLBACK"  # Unsloth: that there is no GPU; the plan names the device
)


class LibraryOutput(io.TextIOBase):
    """A stream that writes lines to `path` (None: nowhere), and the alarming ones, or all, to `screen`."""

    def __init__(self, path: Path | None, verbose: bool, screen):
        self.path, self.verbose, self.screen, self.rest = path, verbose, screen, ""

    def writable(self):
        return True

    def isatty(self):
        return False

    def write(self, text: str) -> int:
        *lines, self.rest = re.split(r"[\r\n]+", self.rest + text)
        for line in filter(str.strip, lines):
            self.keep(line)
        return len(text)

    def keep(self, line):
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8", errors="replace") as file:
                file.write(line + "\n")
        if self.verbose or (ALARMING.search(line) and not HARMLESS.search(line)):
            print(line, file=self.screen)


_output: LibraryOutput | None = None  # of this process, as standard streams are


def log_to(path: Path | None, verbose: bool):
    """From here on `quiet` writes to `path`, and with `verbose` to stderr too."""
    global _output
    _output = LibraryOutput(path, verbose, sys.stderr)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """While it lasts, what is printed by a library goes where `log_to` said; before that, to stderr."""
    stream = _output or sys.stderr
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield
