"""
Do two folders' runs of a method differ in distribution? Two-sample Kolmogorov-Smirnov test on success over all tasks (ASR).

    python docs/results/pack-agreement/ks.py NBSP docs/results/pack-agreement docs/results/quick
"""

import sys
from pathlib import Path

from scipy.stats import ks_2samp

from sb3_nbsp.benchmark.comparison import group
from sb3_nbsp.benchmark.find_runs import collect


def success(folder: Path, method: str) -> list[float]:
    """Of each run on four tasks, judged as in the report of its folder."""
    found = collect(folder)
    runs = [run for run in found.runs if run.method == method and run.sequence == "four tasks"]
    return list(group(runs)[0].methods[0].values("asr"))


samples = [success(Path(folder), sys.argv[1]) for folder in sys.argv[2:]]
for folder, sample in zip(sys.argv[2:], samples, strict=True):
    print(f"{folder}: {', '.join(f'{value:.3f}' for value in sorted(sample))}")
print(f"p = {ks_2samp(*samples, method='exact').pvalue:.2f}")
