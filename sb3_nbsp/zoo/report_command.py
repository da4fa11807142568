"""``sb3-nbsp report``: tables with intervals, and figures, of a benchmark or of any other runs."""

import re
import sys
from pathlib import Path

from sb3_nbsp.base.plain_text import from_markdown
from sb3_nbsp.benchmark.archive import write_archive
from sb3_nbsp.benchmark.file_names import RUNS
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.zoo.argument_types import whole
from sb3_nbsp.zoo.command_parser import CommandParser

RUNS_HELP = f"folder of a benchmark, or of any runs of sb3-nbsp train, or a file of published runs ({RUNS})"


def main(arguments: list[str]) -> None:
    """
    Write a report.

    :param arguments: command line arguments
    :raises SystemExit: with status 2 if there is nothing to report on
    """
    parser = CommandParser("sb3-nbsp report", description="Tables with intervals, and figures, of finished runs.")
    parser.add_argument("runs", type=Path, metavar="RUNS", help=RUNS_HELP)
    parser.add_argument("-o", "--out", type=Path, help="where the report goes (default: RUNS/report, or ARCHIVE/report)")
    archive_help = "write here into one file what a report needs of the runs, small enough to be committed, and report on it"
    parser.add_argument("--archive", type=Path, metavar="ARCHIVE", help=archive_help)
    parser.add_argument("--baselines", nargs="+", metavar="NAME", help="what others are compared with (default: the suite's)")
    last_help = "judge by the mean of the last K evaluations of each segment (default: the suite's, or 1)"
    figures_help = "draw these only, by SEQUENCE'S FOLDER/NAME; * stands for anything, e.g. '*/intervals' (default: all)"
    parser.add_argument("--figures", nargs="*", metavar="FIGURE", help=figures_help)
    parser.add_argument("--last", type=whole(1, "evaluations"), metavar="K", help=last_help)
    args = parser.parse_args(arguments)
    runs = args.runs
    try:
        if args.archive is not None:
            archived, runs = write_archive(runs, args.archive), args.archive
            print(f"Archived: {runs / RUNS} ({archived}). `sb3-nbsp report {runs}` makes this report again.\n")
        beside = runs.parent if runs.is_file() else runs
        report = write_report(runs, args.out or beside / "report", args.baselines, args.last, args.figures)
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"sb3-nbsp report: {error}\n")
    print(_for_terminal(report.read_text()))
    print(f"Written: {report}")


def _for_terminal(text: str) -> str:
    """Without pictures, and without what is folded up; tables to be read as they are."""
    return from_markdown(re.sub(r"<details.*?</details>\n+|!\[.*?\]\(.*?\)\n+", "", text, flags=re.DOTALL))


if __name__ == "__main__":
    main(sys.argv[1:])
