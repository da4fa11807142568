"""
Paired differences "method minus baseline" over the seeds that both have: mean and 95 % bootstrap interval.

    python docs/results/default-choice/paired.py "NBSP" "rehearsal" docs/results/half-batches docs/results/quick
    python docs/results/default-choice/paired.py "NBSP" "rehearsal" FOLDER --against OTHER_FOLDER

Runs are judged as in the report of their folder (the mean of the last evaluations that its suite names).
"""

import argparse
from pathlib import Path

from sb3_nbsp.benchmark.comparison import METRICS, group
from sb3_nbsp.benchmark.find_runs import collect
from sb3_nbsp.evaluation.statistics import estimate

Values = dict[str, dict[int, dict[str, float]]]


def values_of(folder: Path, method: str) -> Values:
    """ASR, FM and FWT of a method's runs, by sequence and seed."""
    found = collect(folder)
    last = max((suite["last_evaluations"] for suite in found.suites), default=1)
    result: Values = {}
    for run in found.runs:
        if run.method == method and run.seed is not None:
            judged = group([run], last)[0].methods[0]
            result.setdefault(run.sequence, {})[run.seed] = {metric: judged.values(metric)[0] for metric in METRICS}
    return result


def main() -> None:
    """Print one line per folder, sequence and metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("baseline")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--against", type=Path, help="where the baseline's runs are, if elsewhere")
    parser.add_argument("--seeds", type=int, nargs="+")
    args = parser.parse_args()
    for folder in args.folders:
        mine, theirs = values_of(folder, args.method), values_of(args.against or folder, args.baseline)
        for sequence in [name for name in mine if name in theirs]:
            seeds = sorted(set(mine[sequence]) & set(theirs[sequence]) & set(args.seeds or mine[sequence]))
            if not seeds:
                continue
            print(f"{args.method} minus {args.baseline}, {sequence}, {len(seeds)} seeds ({folder})")
            for metric in METRICS:
                pairs = [(mine[sequence][seed][metric], theirs[sequence][seed][metric]) for seed in seeds]
                means = [sum(column) / len(column) for column in zip(*pairs, strict=True)]
                difference = estimate([[a - b for a, b in pairs]])
                print(f"  {metric.upper():<4} {means[0]:.2f} - {means[1]:.2f} = {difference}")


if __name__ == "__main__":
    main()
