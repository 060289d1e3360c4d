"""A terminal for tests: tmux on a server of its own, driven by keys and read as text."""

import os
import subprocess
import time


class Terminal:
    """`columns` x `rows`; runs `command`, a list that does not end by itself, in `folder`.
    A context manager: its server ends with it."""

    def __init__(self, command, folder, columns=60, rows=40, env=None):
        self.socket = f"legalqa-test-{os.getpid()}-{time.monotonic_ns()}"
        # -f /dev/null: nobody's settings
        self.tmux(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            str(columns),
            "-y",
            str(rows),
            "sleep 1000",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        variables = [
            word
            for name, value in {"LC_ALL": "C.UTF-8", **(env or {})}.items()
            for word in ("-e", f"{name}={value}")
        ]
        self.tmux("respawn-pane", "-k", "-c", str(folder), *variables, *map(str, command))

    def tmux(self, *arguments, env=None):
        done = subprocess.run(
            ["tmux", "-u", "-L", self.socket, *arguments], capture_output=True, text=True, env=env
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, text, *keys):
        """Type `text` literally, then press `keys` ("Enter", "C-c", "M-Enter")."""
        if text:
            self.tmux("send-keys", "-l", text)
        if keys:
            self.tmux("send-keys", *keys)

    def paste(self, text):
        """Paste as a person does, between bracketed-paste marks where the program asked for them."""
        subprocess.run(
            ["tmux", "-u", "-L", self.socket, "load-buffer", "-"], input=text, text=True, check=True
        )
        self.tmux("paste-buffer", "-p", "-r")

    def text(self):
        """All that was written, history included, without trailing blanks."""
        lines = self.tmux("capture-pane", "-p", "-S", "-").split("\n")
        return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"

    def wait_for(self, wanted, timeout=300):
        """Until `wanted(text)` holds."""
        end = time.monotonic() + timeout
        while not wanted(self.text()):
            assert time.monotonic() < end, f"not seen in {timeout} s; the terminal shows:\n{self.text()}"
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")
