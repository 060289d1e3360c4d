"""Seconds to score ready answers with all metrics and intervals: 4,000 in under 20 s, 500 in under 10 s.

The answers are made up, with the reference data's lengths (median 23 words, mean about 50), a quarter of them
Kazakh, two in five citing an article; a prediction keeps about half of its reference's words. Then the parser
of references alone: on 1 MB of these answers in under 1 s, and on 1,000,000 characters of hostile text.

    python bench/scoring.py
    python bench/scoring.py --rows 500
"""

import argparse
import json
import math
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from legalqa.law import citations
from legalqa.scoring import metrics, statistics

LIMITS = {4000: 20, 500: 10}  # rows: seconds
LETTERS = {"ru": "оеаинтсрвлкмдпуяызьбгчйх", "kk": "аеынітрлдсқмғбәңуөпүкшұз"}
CITATIONS = {
    "ru": "Согласно подпункту {0}) пункта {0} статьи {1} Трудового кодекса Республики Казахстан",
    "kk": "Еңбек кодексінің {1}-бабының {0}-тармағының {0}) тармақшасына сәйкес",
}
HOSTILE = (
    "ст. 1-90, ",
    "1, 2 және ",
    "Закона РК «о ",
    "статьи 5 (",
    "1-",
    "туралы заң ",
    "подпункты 1) - 90) пунктов 1-90 ",
)


def make_rows(count, seed=3407):
    """Rows with instruction, input, output and prediction."""
    rng, rows = random.Random(seed), []
    words = {
        language: ["".join(rng.choices(letters, k=rng.randint(2, 12))) for _ in range(20_000)]
        for language, letters in LETTERS.items()
    }
    for _ in range(count):
        language = "kk" if rng.random() < 0.25 else "ru"
        size = min(2417, max(3, round(rng.lognormvariate(math.log(19), 1.25))))
        answer = rng.choices(words[language], k=size)
        prediction = [word if rng.random() < 0.5 else rng.choice(words[language]) for word in answer][:400]
        question = " ".join(rng.choices(words[language], k=9)) + (" қ?" if language == "kk" else "?")
        cited = [
            "" if rng.random() < 0.6 else CITATIONS[language].format(rng.randint(1, 9), rng.randint(1, 205))
            for _ in range(2)
        ]
        rows.append(
            {
                "instruction": question,
                "input": "",
                "output": f"{cited[0]} {' '.join(answer)}.",
                "prediction": f"{cited[1]} {' '.join(prediction)}.",
            }
        )
    return rows


def parse_sec(text):
    """Seconds that the parser takes for a text."""
    started = time.perf_counter()
    citations.parse_citations(text)
    return round(time.perf_counter() - started, 2)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4000)
    rows = make_rows(parser.parse_args(argv).rows)
    started, cpu = time.perf_counter(), time.process_time()
    samples = metrics.score_predictions(rows)
    scored = time.perf_counter()
    summary = statistics.summarize(samples, 3407)
    done, cpu = time.perf_counter(), time.process_time() - cpu
    answers = "\n".join(row["output"] for row in rows) * 10
    answers_sec = parse_sec(answers.encode()[:1_000_000].decode(errors="ignore"))
    hostile_sec = {
        piece.strip(): parse_sec(("1 " + piece * (1_000_000 // len(piece) + 1))[:1_000_000])
        for piece in HOSTILE
    }
    limit = LIMITS.get(len(rows))
    means = {name: metric["mean"] for name, metric in summary["metrics"].items()}
    print(
        f"{len(rows)} answers: {scored - started:.1f} s of scoring and {done - scored:.1f} s of intervals, "
        f"imports included ({cpu:.1f} s of CPU, one core)" + (f"; limit {limit} s" if limit else "")
    )
    print(f"token_f1 {means['token_f1']:.3f}, has_citation {means['has_citation']:.3f}")
    print(f"1 MB of answers parsed in {answers_sec} s; limit 1 s")
    hostile = ", ".join(f"{piece!r} {sec}" for piece, sec in hostile_sec.items())
    print("1,000,000 characters of hostile text, seconds:", hostile)
    print(
        json.dumps(
            {
                "rows": len(rows),
                "scoring_sec": round(scored - started, 2),
                "cpu_sec": round(cpu, 2),
                "intervals_sec": round(done - scored, 2),
                "limit_sec": limit,
                "parse_answers_sec": answers_sec,
                "parse_1mb_sec": hostile_sec,
            },
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
