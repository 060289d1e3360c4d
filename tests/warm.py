"""Runs of the real scripts without the ten seconds of imports: processes forked from one that has imported
everything.

`WarmPython().start("train_8b.py", flags, cwd=..., log=...)` is a real process with its own pid, standard
streams and signals, whose `__main__` is the script; only the import of torch, Unsloth and TRL is shared. It
runs on one thread: OpenMP does not survive a fork once it has threads, and one thread gives the same bits
every time.
"""

import contextlib
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
HEAVY = ["unsloth", "trl", "peft", "datasets", "bitsandbytes", "legalqa.training.pair_trainer"]


def run_script(script, arguments, cwd, log, prepare):
    """In the forked process: become `python script arguments`, with stdout and stderr in the file `log`."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(cwd)
    sys.path[:0] = [str(REPOSITORY)]
    sys.argv = [str(REPOSITORY / script), *arguments]
    if prepare:
        prepare()
    runpy.run_path(sys.argv[0], run_name="__main__")


class WarmPython:
    def __init__(self):
        os.environ.update(
            OMP_NUM_THREADS="1",
            TOKENIZERS_PARALLELISM="false",
            PYTHONUNBUFFERED="1",
            UNSLOTH_DISABLE_STATISTICS="1",
            HF_HUB_OFFLINE="1",
            HF_HUB_DISABLE_TELEMETRY="1",
            PYTHONPATH=f"{REPOSITORY}:{REPOSITORY / 'tests'}",
        )
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(HEAVY)

    def start(self, script, arguments, cwd, log, prepare=None):
        """A running multiprocessing.Process; `prepare` (a module-level function) runs in it before the
        script."""
        arguments = [str(argument) for argument in arguments]
        process = self.context.Process(
            target=run_script, args=(script, arguments, str(cwd), str(log), prepare)
        )
        process.start()
        return process

    def call(self, function, *arguments):
        """Run a module-level function in a forked process."""
        process = self.context.Process(target=function, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == 0

    def run(self, script, arguments, cwd, log, prepare=None, timeout=300):
        """(exit code, text of stdout and stderr); minus the signal's number where a signal ended it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        process = self.start(script, arguments, cwd, log, prepare)
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"{script} took more than {timeout} s:\n{Path(log).read_text('utf-8')}")
        return process.exitcode, Path(log).read_text("utf-8")
