"""Draw the pictures of a run from its logs: loss, learning rate, scores, languages, citations, speed.

Reads   logs/metrics_<run>.json, or logs/history_<run>.jsonl of a run that is going on or died,
        logs/config_<run>.json and logs/benchmark_*.json; with --history what another Trainer left
Writes  plots/*.png; the logs of a picture are named in its corner and in its PNG metadata (key Source)

  python generate_plots.py                                                the newest run
  python generate_plots.py --run 20260301_100000                          that run, of training or benchmark
  python generate_plots.py --run 20260301_100000 --run 20260302_090000    several runs, side by side
  python generate_plots.py --history trainer_state.json                   a run of another tool
"""

import sys
import time
from pathlib import Path

from legalqa import cli
from legalqa.errors import UserError
from legalqa.report import figures
from legalqa.report.figures import CannotDraw
from legalqa.report.logs import RunLogs, Shelf, choose
from legalqa.report.pictures import pictures_of
from legalqa.report.trainer_logs import read_trainer_log
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
    parser.add_argument(
        "--history",
        action="append",
        metavar="FILE",
        default=[],
        help="a run that another tool trained, beside those of --run: "
        "a Trainer's trainer_state.json, its metrics, or its console output",
    )
    return parser.parse_args(argv)


def chosen_runs(args, logs_dir: str) -> list[RunLogs]:
    """The runs asked for by --run and --history; the newest where none is."""
    names = list(dict.fromkeys(args.run or ([] if args.history else [None])))
    num_runs = len(names) + len(args.history)
    if num_runs > MAX_RUNS:
        raise UserError(f"{num_runs} runs asked for; a picture holds up to {MAX_RUNS}")
    shelf = Shelf(logs_dir)
    runs = [choose(shelf, name) for name in names]
    for path in args.history:
        run, note = read_trainer_log(Path(path))
        print(f"{path}  {note}", file=sys.stderr)
        runs.append(run)
    return runs


def draw_all(runs: list[RunLogs], plots_dir: str, language: str) -> int:
    """Write every picture that has something to show, say why another has not; how many were written."""
    figures.use_style()
    num_drawn = 0
    for name, draw in pictures_of(runs).items():
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
    runs = chosen_runs(args, config["logs_dir"])
    num_drawn = draw_all(runs, config["plots_dir"], language)
    if not num_drawn:
        where = ", ".join(args.history) or config["logs_dir"]
        raise UserError(
            f"nothing to draw in {where}: no training steps and no benchmark; run: python train_8b.py"
        )
    print(
        f"{num_drawn} of {len(pictures_of(runs))} pictures in {time.perf_counter() - started:.1f} s; "
        "next: python generate_report.py"
    )


if __name__ == "__main__":
    cli.run_main(main)
