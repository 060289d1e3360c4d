"""README's commands, flags, files and make targets exist, in both languages; one screen comes first."""

import importlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ENGLISH, RUSSIAN = ((REPOSITORY / name).read_text("utf-8") for name in ("README.md", "README.ru.md"))
README = f"{ENGLISH}\n{RUSSIAN}"
SCRIPTS = sorted(path.stem for path in REPOSITORY.glob("*.py") if path.stem != "config")
WRITTEN_BY_RUNS = (
    "finetuned_",
    "models",
    "outputs",
    "raw/",
    ".venv",
    "logs/metrics_<",
    "logs/train_<",
    "law/",
    "logs/benchmark_<",
    "plots/*",
    "plots/dpo.png",
)


def commands():
    """(script, flags) of every `python x.py ...` in README."""
    return [
        (match[1], re.findall(r"--[a-z][a-z-]*", match[2]))
        for match in re.finditer(r"python ([\w/]+)\.py([^`\n#]*)", README)
    ]


@pytest.mark.parametrize("script, flags", sorted({(script, tuple(flags)) for script, flags in commands()}))
def test_commands_and_flags_exist(script, flags, capsys):
    assert (REPOSITORY / f"{script}.py").is_file()
    if script in SCRIPTS:
        with pytest.raises(SystemExit):
            importlib.import_module(script).parse_args(["--help"])
        known = re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)
        assert set(flags) <= set(known)


def test_paths_exist():
    paths = {
        path
        for path in re.findall(r"`([\w.]+(?:/[\w.<>*]*)*)`", README)
        if "/" in path or path.endswith((".py", ".md", ".txt"))
    }
    missing = [
        path for path in paths if not path.startswith(WRITTEN_BY_RUNS) and not (REPOSITORY / path).exists()
    ]
    assert not missing


def test_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+(?:-[a-z]+)*)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_first_screen():
    for text, caution in ((ENGLISH, "not legal advice"), (RUSSIAN, "не юридическая консультация")):
        first = text.split("\n## ")[0]
        assert len(first.splitlines()) <= 45 and caution in first


def test_both_languages_name_the_same_stages():
    first_screens = [text.split("\n## ")[0] for text in (ENGLISH, RUSSIAN)]
    stages = [re.findall(r"^\| `(python [\w.]+)`", text, re.M) for text in first_screens]
    assert stages[0] == stages[1] and len(stages[0]) == 5


def test_profiles_and_keys_named_in_readme_exist():
    import config

    for profile in re.findall(r"--profile (\w+)", README):
        assert profile in config.PROFILES
