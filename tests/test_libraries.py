"""legalqa/libraries.py: what libraries print goes to a file; what matters is seen. Run: make test-fast"""

import logging
import sys

import pytest

from legalqa import libraries


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "logs" / "run.log"
    yield path
    libraries._output = None


def test_chatter_goes_to_the_file_and_warnings_to_the_screen_too(log, capsys):
    libraries.log_to(log, verbose=False)
    with libraries.quiet():
        print("Loading weights: 50%\rLoading weights: 100%")
        print("UserWarning: loss type is None", file=sys.stderr)
        print("Failed to load CPU gemm_4bit_forward from kernels-community")
    assert log.read_text().splitlines() == [
        "Loading weights: 50%",
        "Loading weights: 100%",
        "UserWarning: loss type is None",
        "Failed to load CPU gemm_4bit_forward from kernels-community",
    ]
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err == "UserWarning: loss type is None\n"


def test_verbose_shows_all_and_without_a_file_nothing_is_written(tmp_path, capsys):
    libraries.log_to(None, verbose=True)
    with libraries.quiet():
        print("chatter")
    libraries._output = None
    assert capsys.readouterr().err == "chatter\n" and list(tmp_path.iterdir()) == []


def test_a_logger_made_while_quiet_stays_quiet(log, capsys):
    """Libraries make their handlers as they are imported, and use them long after."""
    libraries.log_to(log, verbose=False)
    with libraries.quiet():
        logger = logging.Logger("library")
        logger.addHandler(logging.StreamHandler())
    logger.info("later")
    assert log.read_text() == "later\n" and capsys.readouterr().err == ""


def test_before_a_stage_says_where_it_all_goes_to_stderr(capsys):
    with libraries.quiet():
        print("hello")
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err == "hello\n"
