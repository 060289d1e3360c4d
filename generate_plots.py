"""Draw the pictures of a run from its logs: loss, learning rate, scores, languages, citations, speed.

Reads   logs/metrics_<run>.json, or logs/history_<run>.jsonl of a run that is going on or died,
        logs/config_<run>.json and logs/benchmark_*.json
Writes  plots/*.png; the logs of a picture are named in its corner and in its PNG metadata (key Source)

  python generate_plots.py                                                the newest run
  python generate_plots.py --run 20260301_100000                          that run, of training or benchmark
  python generate_plots.py --run 20260301_100000 --run 20260302_090000    several runs, side by side
"""

import sys
import time
from pathlib import Path

from legalqa import cli
from legalqa.errors import UserError
from legalqa.report import figures
from legalqa.report.figures import CannotDraw
from legalqa.report.logs import RunLogs, Shelf, choose
from legalqa.report.pictures import PICTURES
from legalqa.report.words import checked_language

KEYS = ("language", "logs_dir", "plots_dir")
MAX_RUNS = len(figures.RUN_COLOURS)


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS, profile=False)
    parser.add_argument(
        "--run",
        action="append",
        metavar="RUN",
        help="run id, as in the names of the logs; repeat it to "
        f"compare up to {MAX_RUNS} runs (default: the newest)",
    )
    return parser.parse_args(argv)


def draw_all(runs: list[RunLogs], plots_dir: str, language: str) -> int:
    """Write every picture that has something to show, say why another has not; how many were written."""
    figures.use_style()
    num_drawn = 0
    for name, draw in PICTURES.items():
        path = Path(plots_dir) / f"{name}.png"
        try:
            figure, logs = draw(runs, language)
        except CannotDraw as reason:
            stale = "; the file of that name is of other logs" if path.exists() else ""
            print(f"{path}  not drawn: {reason}{stale}", file=sys.stderr)
            continue
        figures.save(figure, path, logs)
        num_drawn += 1
        print(f"{path}  from {', '.join(log.name for log in logs)}")
    return num_drawn


def main(argv=None):
    started = time.perf_counter()
    args = parse_args(argv)
    config = cli.effective_config(args)
    language = checked_language(config["language"])
    names = list(dict.fromkeys(args.run or [None]))
    if len(names) > MAX_RUNS:
        raise UserError(f"{len(names)} runs asked for; a picture holds up to {MAX_RUNS}")
    shelf = Shelf(config["logs_dir"])
    num_drawn = draw_all([choose(shelf, name) for name in names], config["plots_dir"], language)
    if not num_drawn:
        raise UserError(
            f"nothing to draw in {config['logs_dir']}: no training steps and no benchmark; "
            "run: python train_8b.py"
        )
    print(
        f"{num_drawn} of {len(PICTURES)} pictures in {time.perf_counter() - started:.1f} s; "
        "next: python generate_report.py"
    )


if __name__ == "__main__":
    cli.run_main(main)
