"""Names of the files that runs are kept in."""

import re
from pathlib import PurePath
from typing import Any

# What stands in a cell's folder.
MANIFEST = "manifest.json"  # what is trained, with what; written before a training starts
RESULTS = "results.json"  # copied here from the run's own folder when it is finished
DONE = "done.json"  # the last file to be written
FAILED = "failed.json"
LOG = "log.txt"
TOGETHER = "together.json"  # in the first cell's folder of a pack: the arguments of all its runs
RUN = "run"  # rl-zoo3's log folder

# What stands in a benchmark's folder.
SUITE = "suite.json"  # names, their order, the baselines, and which cells there are to be
RUNS = "runs.jsonl.xz"  # runs that are published: see runs_file.py


def natural(path: PurePath | str) -> list[Any]:
    """A key that sorts seed2 before seed10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(path))]
