"""Let lawyers rate answers blind: a spreadsheet of answers without names, and what the filled ones say.

Reads   2 to 6 results of benchmark.py (logs/benchmark_*.json); with --score the sheets that came back
Writes  human_eval.xlsx for the raters, a copy for each, and human_eval.key.json, which says whose answer is
        whose and stays here; with --score logs/human_<run>.json, which the report shows

  python prepare_human_eval.py logs/benchmark_A.json logs/benchmark_B.json    30 questions, both answers
  python prepare_human_eval.py --score aigul.xlsx pavel.xlsx                  means, differences, agreement
"""

import sys
from pathlib import Path
from typing import Any

from legalqa import cli, runlog
from legalqa.errors import UserError
from legalqa.files import read_json, write_json
from legalqa.report import model_tables, rating_sheet
from legalqa.scoring import comparison, ratings
from legalqa.scoring.results import HumanLog
from legalqa.typed_json import json_problem

KEYS = ("seed", "logs_dir")
SHEET = "human_eval.xlsx"


def parse_args(argv=None):
    parser = cli.make_parser(__file__, __doc__, KEYS, profile=False)
    parser.add_argument(
        "results", nargs="*", metavar="FILE", help="benchmark_*.json; the first is the baseline"
    )
    parser.add_argument(
        "--num-questions", type=cli.parse_int, default=30, metavar="INT", help="in the sheet (default: 30)"
    )
    parser.add_argument(
        "--output", default=SHEET, metavar="FILE", help=f"the sheet; the key is beside it (default: {SHEET})"
    )
    parser.add_argument("--score", nargs="+", metavar="FILE", help="filled sheets, one a rater")
    parser.add_argument(
        "--key", metavar="FILE", help=f"of --score: the key of the sheets (default: {key_path(SHEET)})"
    )
    return parser.parse_args(argv)


def key_path(sheet):
    return Path(sheet).with_suffix(".key.json")


def make_sheet(args, config):
    """Write the sheet and its key; neither is written over: lawyers may be at work with the old ones."""
    if not 2 <= len(args.results) <= len(ratings.LETTERS):
        raise UserError(f"give 2 to {len(ratings.LETTERS)} results of benchmark.py, not {len(args.results)}")
    if args.num_questions < 1:
        raise UserError(f"--num-questions must be from 1, not {args.num_questions}")
    sheet, key_file = Path(args.output), key_path(args.output)
    if sheet.suffix != ".xlsx":
        raise UserError(f"--output {sheet}: a name that ends in .xlsx is needed")
    for path in (sheet, key_file):
        if path.exists():
            raise UserError(f"{path} is there, and may be in use; move it away or give another --output")
    comparison.check_distinct(args.results)
    results = comparison.read_results(args.results)
    rows, key = ratings.make_rows(results, args.num_questions, config["seed"])
    num_questions = len(key["questions"])
    if num_questions < args.num_questions:
        print(f"warning: the results share {num_questions} questions: all of them are used", file=sys.stderr)
    write_json(key_file, {"meta": {"command": runlog.command_line(), "seed": config["seed"]}, **key})
    rating_sheet.write_sheet(sheet, key["sheet_id"], rows)
    print(
        f"{sheet}      {num_questions} questions, {len(rows)} answers: a copy for each rater",
        f"{key_file}  whose answer is whose: keep it from the raters",
        f"next       {runlog.command('prepare_human_eval.py', '--score', 'FILLED.xlsx', '...')}",
        sep="\n",
    )


def read_key(path) -> Any:
    """A ratings.Key."""
    key = read_json(path)
    problem = json_problem(key, ratings.Key)
    if problem:
        raise UserError(f"{path}: not a key of prepare_human_eval.py: {problem}")
    return key


def score_sheets(args, config):
    """Read the filled sheets, print and save what they say."""
    key_file = args.key or key_path(SHEET)
    key = read_key(key_file)
    comparison.check_distinct(args.score)
    filled = [rating_sheet.read_sheet(path) for path in args.score]
    for path, sheet in zip(args.score, filled):
        if sheet.sheet_id != key["sheet_id"]:
            raise UserError(
                f"{path} is sheet '{sheet.sheet_id}', but {key_file} is the key of '{key['sheet_id']}'; give "
                "--key"
            )
    sheets = [ratings.check_rows(sheet.rows, key, path) for path, sheet in zip(args.score, filled)]
    num_rated = [sum(any(row.values()) for row in sheet.values()) for sheet in sheets]
    if not any(num_rated):
        raise UserError("no row of the sheets is rated")
    problems = [problem for sheet in filled for problem in sheet.problems]
    with runlog.new_run(config["logs_dir"]) as run:
        log: HumanLog = {
            "meta": runlog.run_meta(
                run,
                sheet_id=key["sheet_id"],
                num_questions=len(key["questions"]),
                num_answers=sum(len(question["answers"]) for question in key["questions"]),
                correction=comparison.correction_of(len(key["models"])),
            ),
            "raters": [{"file": path, "num_rated": num} for path, num in zip(args.score, num_rated)],
            "problems": problems,
            "agreement": {name: ratings.agreement_of(sheets, name) for name in ratings.CRITERIA},
            "models": ratings.rate_models(sheets, key, config["seed"]),
        }
        path = Path(config["logs_dir"]) / f"human_{run}.json"
        write_json(path, log)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    from rich.console import Console

    model_tables.print_ratings(log, Console())
    print(f"\nwritten    {path}\nnext       python generate_report.py")


def main(argv=None):
    args = parse_args(argv)
    config = cli.effective_config(args)
    if args.score and args.results:
        raise UserError("give results to make a sheet of, or --score with filled sheets, not both")
    if args.score:
        score_sheets(args, config)
    else:
        make_sheet(args, config)
    return 0


if __name__ == "__main__":
    cli.run_main(main)
