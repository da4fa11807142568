"""Seeds as people write them."""

from collections.abc import Iterable


def seed_ranges(seeds: Iterable[int]) -> str:
    """
    :param seeds: in any order
    :return: ``0 to 3, 5``
    """
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
