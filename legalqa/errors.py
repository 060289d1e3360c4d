"""The one error that users see, and its text in a line."""


class UserError(Exception):
    """What is wrong, where, and what to do: printed as one line on stderr, exit code 2."""


def first_line(error):
    """A library's error as a part of one line: torch and transformers write paragraphs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
