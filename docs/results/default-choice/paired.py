"""
Paired differences "method minus baseline" over the seeds that both have: mean and 95 % bootstrap interval.

    python docs/results/default-choice/paired.py "NBSP" "rehearsal" docs/results/half-batches docs/results/quick
    python docs/results/default-choice/paired.py "NBSP" "rehearsal" FOLDER --against OTHER_FOLDER
    python docs/results/default-choice/paired.py "rehearsal" "task gates" docs/results/atari --tasks

Runs are judged as in the report of their folder (the mean of the last evaluations that its suite names; ``--last`` says
another number). ``--tasks``: the mean return on each task instead, right after each of its trainings and at the end.
"""

import argparse
from pathlib import Path

from sb3_nbsp.benchmark.comparison import METRICS, group
from sb3_nbsp.benchmark.find_runs import collect
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.statistics import estimate

Values = dict[str, dict[int, dict[str, float]]]


def values_of(folder: Path, method: str, last: int | None, tasks: bool) -> Values:
    """What is compared of a method's runs, by sequence, seed and name."""
    found = collect(folder)
    result: Values = {}
    for run in found.runs:
        if run.method == method and run.seed is not None:
            judged = group([run], last)[0].methods[0]
            values = returns(judged.judged[0]) if tasks else {metric.upper(): judged.values(metric)[0] for metric in METRICS}
            result.setdefault(run.sequence, {})[run.seed] = values
    return result


def returns(run: SequenceResults) -> dict[str, float]:
    """Raw returns: a game's score."""
    matrix, found = run.matrix("return"), {}
    for place, task in enumerate(run.task_names):
        rows = [row for row, name in enumerate(run.segments) if name == task]
        visits = ["", *(f" {n}" for n in range(2, len(rows) + 1))]
        after = {f"{task} after its training{n}": float(matrix[row, place]) for n, row in zip(visits, rows, strict=True)}
        end = float(matrix[-1, place])
        found |= after | {f"{task} at the end": end, f"{task}, change": end - float(matrix[rows[0], place])}
    return found


def main() -> None:
    """Print one line per folder, sequence and metric: both means with their intervals, and the difference's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("baseline")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--against", type=Path, help="where the baseline's runs are, if elsewhere")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--last", type=int, help="number of evaluations that are averaged")
    parser.add_argument("--tasks", action="store_true", help="returns on each task")
    args = parser.parse_args()
    for folder in args.folders:
        mine = values_of(folder, args.method, args.last, args.tasks)
        theirs = values_of(args.against or folder, args.baseline, args.last, args.tasks)
        for sequence in [name for name in mine if name in theirs]:
            seeds = sorted(set(mine[sequence]) & set(theirs[sequence]) & set(args.seeds or mine[sequence]))
            if not seeds:
                continue
            print(f"{args.method} minus {args.baseline}, {sequence}, {len(seeds)} seeds ({folder})")
            for name in mine[sequence][seeds[0]]:
                own, other = ([found[sequence][seed][name] for seed in seeds] for found in (mine, theirs))
                difference = estimate([[a - b for a, b in zip(own, other, strict=True)]])
                print(f"  {name:<4} {estimate([own])} - {estimate([other])} = {difference}")


if __name__ == "__main__":
    main()
