"""Finding runs: a benchmark's cells, and whatever else ``sb3-nbsp train`` has written."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sb3_nbsp.benchmark.cells import DONE, FAILED, MANIFEST, RESULTS, RUN
from sb3_nbsp.benchmark.manifest import read_json
from sb3_nbsp.benchmark.suite import SUITE
from sb3_nbsp.evaluation import SequenceResults

# What rl-zoo3 and the evaluation note of a run beside what decides over its numbers.
NOT_SETTINGS = {"algorithm", "algo", "env", "n_timesteps"}


@dataclass(frozen=True)
class Run:
    """
    A finished run.

    :param sequence: name of its task sequence
    :param method: name of its method
    :param seed: its seed
    :param results: what it wrote
    :param path: its folder
    :param family: name that methods along an axis share
    :param axis: the argument that tells the method from its family, and its value
    :param manifest: a cell's manifest, empty for other runs
    """

    sequence: str
    method: str
    seed: int | None
    results: SequenceResults = field(repr=False)
    path: Path
    family: str
    axis: tuple[str, Any] | None = None
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class NotCounted:
    """
    Runs that cannot stand in a table.

    :param method: name of their method
    :param sequence: name of their task sequence
    :param seeds: their seeds
    :param reason: in words
    :param path: a run's folder, relative to what was searched; empty where there is none
    """

    method: str
    sequence: str
    seeds: tuple[int | None, ...]
    reason: str
    path: str = ""


@dataclass(frozen=True)
class Found:
    """
    All runs below a folder.

    :param runs: the finished ones, sequences and methods in the order of their suites
    :param not_counted: the others
    :param suites: what each benchmark left of its suite
    """

    runs: list[Run]
    not_counted: list[NotCounted]
    suites: list[dict[str, Any]]


def collect(root: Path) -> Found:
    """
    :param root: a benchmark's folder, or any folder with runs of ``sb3-nbsp train`` below it
    :raises FileNotFoundError: if there is nothing
    """
    folders = {file: _folders_with(root, file) for file in (SUITE, MANIFEST, RESULTS)}
    suites = [content for folder in folders[SUITE] if (content := read_json(folder / SUITE))]
    cells = [(folder, content) for folder in folders[MANIFEST] if (content := read_json(folder / MANIFEST))]
    inside = {folder for folder, _ in cells}
    plain = [folder for folder in folders[RESULTS] if not inside.intersection((folder, *folder.parents))]
    if not cells and not plain:
        raise FileNotFoundError(f"Expected runs in {root}, found no {MANIFEST} and no {RESULTS}.")

    runs: list[Run] = []
    not_counted: list[NotCounted] = []
    for folder, manifest in cells:
        found = _cell_run(folder, manifest, root)
        (runs if isinstance(found, Run) else not_counted).append(found)  # type: ignore[arg-type]
    for found in _plain_runs(plain, root):
        (runs if isinstance(found, Run) else not_counted).append(found)  # type: ignore[arg-type]
    runs, repeated = _one_per_seed(_distinct_sequences(runs), root)
    not_started = _not_started(suites, {_identity(manifest) for _, manifest in cells})
    methods, sequences = (_order(name for suite in suites for name in suite[kind]) for kind in ("methods", "sequences"))
    # The sort is stable: what stands in no suite comes last, as found.
    runs.sort(key=lambda run: (sequences.get(run.sequence, len(sequences)), methods.get(run.method, len(methods))))
    return Found(runs, [*not_counted, *repeated, *not_started], suites)


def _folders_with(root: Path, name: str) -> list[Path]:
    return sorted((path.parent for path in root.rglob(name)), key=_natural)


def _order(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def _natural(path: Path) -> list[Any]:
    """Sorts seed2 before seed10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(path))]


def _identity(manifest: dict[str, Any]) -> tuple[str, str, int]:
    return manifest["sequence"], manifest["method"], manifest["seed"]


def _cell_run(folder: Path, manifest: dict[str, Any], root: Path) -> Run | NotCounted:
    sequence, method, seed = _identity(manifest)
    if (folder / DONE).is_file():
        axis = next(iter((manifest["axis"] or {}).items()), None)
        results = SequenceResults.read(folder / RESULTS)
        return Run(sequence, method, seed, results, folder, manifest["family"], axis, manifest)
    failed = read_json(folder / FAILED)
    reason = _how_far(folder) if failed is None else f"failed: {failed['reason']}"
    return NotCounted(method, sequence, (seed,), reason, os.path.relpath(folder, root))


def newest_results(cell: Path) -> Path | None:
    """
    :param cell: a cell's folder
    :return: what its last training has written so far; ``None`` before the first evaluation
    """
    return max((cell / RUN).glob(f"*/*/{RESULTS}"), key=_natural, default=None)


def _how_far(folder: Path) -> str:
    newest = newest_results(folder)
    return "started, not finished" + ("" if newest is None else f" ({_share(SequenceResults.read(newest)):.0%})")


def _share(results: SequenceResults) -> float:
    return results.evaluations[-1].step / sum(results.segment_steps) if results.evaluations else 0.0


def _plain_runs(folders: Iterable[Path], root: Path) -> list[Run | NotCounted]:
    """Runs outside any benchmark, called by their algorithm and by those of their settings that differ."""
    read = [(folder, SequenceResults.read(folder)) for folder in folders]
    by_algo: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _, results in read:
        by_algo.setdefault(_algo_and_env(results), []).append(results.settings)
    differing = {key: _differing(settings) for key, settings in by_algo.items()}
    found: list[Run | NotCounted] = []
    for folder, results in read:
        algo, sequence = key = _algo_and_env(results)
        own = ", ".join(f"{name} {results.settings[name]}" for name in differing[key] if name in results.settings)
        method = results.settings.get("method") or (f"{algo} ({own})" if own else algo)
        if results.finished:
            found.append(Run(sequence, method, results.seed, results, folder, method))
        else:
            reason = f"not finished ({_share(results):.0%})"
            found.append(NotCounted(method, sequence, (results.seed,), reason, os.path.relpath(folder, root)))
    return found


def _algo_and_env(results: SequenceResults) -> tuple[str, str]:
    settings = results.settings
    return settings.get("algo") or settings.get("algorithm", "?"), settings.get("env") or " ".join(results.task_names)


def _differing(settings: Sequence[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for entry in settings for name in entry if name not in NOT_SETTINGS)
    return [name for name in names if len({repr(entry.get(name)) for entry in settings}) > 1]


def _distinct_sequences(runs: Sequence[Run]) -> list[Run]:
    """Tell sequences of one name by their lengths: they cannot stand in one table."""
    kinds: dict[str, set[Any]] = {}
    for run in runs:
        kinds.setdefault(run.sequence, set()).add(run.results.sequence)
    return [run if len(kinds[run.sequence]) == 1 else replace(run, sequence=_with_length(run)) for run in runs]


def _with_length(run: Run) -> str:
    parts = zip(run.results.segments, run.results.segment_steps, strict=True)
    return f"{run.sequence}: {', '.join(f'{name} {steps:,}' for name, steps in parts)}"


def _one_per_seed(runs: Sequence[Run], root: Path) -> tuple[list[Run], list[NotCounted]]:
    """A run with the same seed again tells nothing new: the last one counts."""
    counted = {(run.sequence, run.method, run.seed): run for run in runs}
    repeated = [run for run in runs if counted[run.sequence, run.method, run.seed] is not run]
    reason = "another run of this seed is counted"
    left_out = [NotCounted(run.method, run.sequence, (run.seed,), reason, os.path.relpath(run.path, root)) for run in repeated]
    return list(counted.values()), left_out


def _not_started(suites: Sequence[dict[str, Any]], started: set[tuple[str, str, int]]) -> list[NotCounted]:
    """One entry for each method of which seeds are missing."""
    missing: dict[tuple[str, str], list[int]] = {}
    for suite in suites:
        for cell in suite["cells"]:
            if _identity(cell) not in started:
                missing.setdefault((cell["method"], cell["sequence"]), []).append(cell["seed"])
    return [NotCounted(*key, tuple(seeds), "not started") for key, seeds in missing.items()]
