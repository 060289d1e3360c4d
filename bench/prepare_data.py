"""Seconds and peak memory of prepare_data.py on 63,114 rows, the size of the reference data: at most 60 s and
1.5 GB.

The rows are made up: lengths (answers: median 23 words, mean over 40, longest 2,417) and language shares of
the reference data, every answer with a citation, a tenth of the questions from one template, 1 % exact and 3
% near-duplicates, one line in a thousand broken.

    python bench/prepare_data.py
    python bench/prepare_data.py --rows 10000
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = 63_114
WORDS = 30_000  # of the made-up vocabulary
LETTERS = {"ru": "оеаинтсрвлкмдпуяызьбгчйх", "kk": "аеынітрлдсқмғбәңуөпүкшұз"}
CITATIONS = {
    "ru": "Согласно пункту {} статьи {} Трудового кодекса Республики Казахстан",
    "kk": "Еңбек кодексінің {1}-бабының {0}-тармағына сәйкес",
}


def make_words(rng, letters):
    return ["".join(rng.choices(letters, k=rng.randint(2, 12))) for _ in range(WORDS)]


def make_row(rng, words, language, zipf):
    def text(size):
        return " ".join(rng.choices(words[language], cum_weights=zipf, k=size))

    size = min(2417, max(3, round(rng.lognormvariate(math.log(16), 1.25))))
    question = text(round(rng.triangular(4, 20, 9)))
    if rng.random() < 0.1:
        question = f"О чём говорит статья {rng.randint(1, 900)} закона о {rng.choice(words[language])}"
    return {
        "instruction": question.capitalize() + "?",
        "input": "",
        "output": f"{CITATIONS[language].format(rng.randint(1, 9), rng.randint(1, 205))} {text(size)}.",
    }


def make_lines(count, seed=3407):
    rng, rows = random.Random(seed), []
    words = {language: make_words(rng, letters) for language, letters in LETTERS.items()}
    zipf, total = [], 0.0
    for rank in range(1, WORDS + 1):
        total += 1 / rank
        zipf.append(total)
    for _ in range(count):
        kind = rng.random()
        row = make_row(rng, words, "ru" if rng.random() < 0.76 else "kk", zipf)
        if rows and kind < 0.04:
            row = dict(rng.choice(rows))
            if kind < 0.03:
                row["output"] = row["output"].replace(".", "!") + " " + rng.choice(words["ru"])
        rows.append(row)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return ["{broken" if rng.random() < 0.001 else line for line in lines]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "raw.jsonl")
        source.write_text("\n".join(make_lines(count)) + "\n", "utf-8")
        command = [
            sys.executable,
            str(ROOT / "prepare_data.py"),
            str(source),
            "--train-file",
            f"{folder}/train.jsonl",
            "--validation-file",
            f"{folder}/validation.jsonl",
            "--logs-dir",
            folder,
        ]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            sys.exit(f"prepare_data.py failed: {status}")
        summary = json.loads(next(Path(folder).glob("prepare_*.json")).read_text("utf-8"))["summary"]
        figures = {
            "rows": count,
            "source_mb": round(source.stat().st_size / 1e6, 1),
            "seconds": round(seconds, 1),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "peak_memory_mb": round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6),
            "answer_words": summary["answer_words"],
            "dropped": summary["dropped"],
            "kept": summary["kept"],
        }
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    main()
