"""Finding runs: a benchmark's cells, and whatever else ``sb3-nbsp train`` has written."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sb3_nbsp.benchmark.earlier_names import suite_around, suite_folder
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.same_settings import alike, check_one_setting
from sb3_nbsp.benchmark.stored_runs import read_stored
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.performance_kind import NORMALISED, RETURN, SUCCESS, Measure

# What rl-zoo3 and the evaluation note of a run beside what decides over its numbers.
NOT_SETTINGS = {"algorithm", "algo", "env", "n_timesteps", "eval_freq"}
MEASURES = (SUCCESS, NORMALISED, RETURN)  # the first that a run on a sequence is known in counts


@dataclass(frozen=True)
class Run:
    """
    A finished run, or what is read from one.

    :param sequence: name of its task sequence
    :param method: name of its method
    :param seed: its seed
    :param results: what it wrote, or what the run wrote that it is read from
    :param record: what its files hold
    :param family: name that methods along an axis share
    :param axis: the argument that tells the method from its family, and its value
    :param copies_of: the method whose run it is read from, judged by copies; ``None``: it was trained
    :param last_evaluations: number of evaluations that its suite takes the mean of
    """

    sequence: str
    method: str
    seed: int | None
    results: SequenceResults = field(repr=False)
    record: Record = field(repr=False)
    family: str
    axis: tuple[str, Any] | None = None
    copies_of: str | None = None
    last_evaluations: int = 1

    @property
    def manifest(self) -> dict[str, Any]:
        """A cell's manifest, empty for other runs."""
        return self.record.manifest


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

    :param runs: the finished ones and what is read from them, sequences and methods in the order of their suites
    :param not_counted: the others
    :param suites: what each benchmark left of its suite
    """

    runs: list[Run]
    not_counted: list[NotCounted]
    suites: list[dict[str, Any]]

    @property
    def trained(self) -> list[Run]:
        """The finished runs without those that are read from another method's."""
        return [run for run in self.runs if run.copies_of is None]


def collect(root: Path) -> Found:
    """
    :param root: a benchmark's folder, any folder with runs of ``sb3-nbsp train`` below it, or a file of published runs
    :raises FileNotFoundError: if there is nothing
    :raises ValueError: if a file is damaged, or a method was trained with different settings on a sequence of a suite
    """
    stored, records = read_stored(root)
    suites = list(stored.values())
    cells = [record for record in records if record.manifest]
    built = [_cell_run(record) for record in cells] + _plain_runs([record for record in records if not record.manifest])
    runs = [run for run in built if isinstance(run, Run)]
    not_counted = [entry for entry in built if isinstance(entry, NotCounted)]
    runs = _distinct_sequences([_as_its_suite_says(run, stored) for run in runs])
    runs = _suites_apart(runs, stored)
    runs, repeated = _one_per_seed(runs)
    runs, otherwise_measured = _in_one_measure(runs)
    runs += _copies(suites, runs)
    not_started = _not_started(suites, {_identity(record.manifest) for record in cells})
    methods, sequences = (_order(name for suite in suites for name in suite[kind]) for kind in ("methods", "sequences"))
    # A sequence that was named apart stands where it stood.
    told = {run.sequence: run.manifest.get("sequence") for run in runs if run.manifest}
    sequences |= {name: sequences[own] for name, own in told.items() if own in sequences}
    # The sort is stable: what stands in no suite comes last, as found.
    runs.sort(key=lambda run: (sequences.get(run.sequence, len(sequences)), methods.get(run.method, len(methods))))
    return Found(runs, [*not_counted, *repeated, *otherwise_measured, *not_started], suites)


def _order(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def _identity(manifest: dict[str, Any]) -> tuple[str, str, int]:
    return manifest["sequence"], manifest["method"], manifest["seed"]


def _cell_run(record: Record) -> Run | NotCounted:
    manifest = record.manifest
    sequence, method, seed = _identity(manifest)
    results = record.results()
    if record.state == "done" and results is not None:
        axis = next(iter((manifest["axis"] or {}).items()), None)
        return Run(sequence, method, seed, results, record, manifest["family"], axis)
    if record.state == "failed":
        reason = f"failed: {record.failure['reason']}"
    else:
        reason = "started, not finished" + ("" if results is None else f" ({_share(results):.0%})")
    return NotCounted(method, sequence, (seed,), reason, record.folder)


def _share(results: SequenceResults) -> float:
    return results.evaluations[-1].step / sum(results.segment_steps) if results.evaluations else 0.0


def _plain_runs(records: Iterable[Record]) -> list[Run | NotCounted]:
    """Runs outside any benchmark, called by their algorithm and by those of their settings that differ."""
    read = [(record, results) for record in records if (results := record.results()) is not None]
    by_algo: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _, results in read:
        by_algo.setdefault(_algo_and_env(results), []).append(results.settings)
    differing = {key: _differing(settings) for key, settings in by_algo.items()}
    found: list[Run | NotCounted] = []
    for record, results in read:
        algo, sequence = key = _algo_and_env(results)
        own = ", ".join(f"{name} {results.settings[name]}" for name in differing[key] if name in results.settings)
        method = results.settings.get("method") or (f"{algo} ({own})" if own else algo)
        if results.finished:
            found.append(Run(sequence, method, results.seed, results, record, method))
        else:
            reason = f"not finished ({_share(results):.0%})"
            found.append(NotCounted(method, sequence, (results.seed,), reason, record.folder))
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


def _as_its_suite_says(run: Run, suites: Mapping[str, dict[str, Any]]) -> Run:
    return replace(run, last_evaluations=suite_around(run.record.folder, suites).get("last_evaluations", 1))


def _suites_apart(runs: Sequence[Run], suites: Container[str]) -> list[Run]:
    """
    Tell a sequence of two suites, in which one method has two settings, by the suites' folders; within one suite that is an
    error. Of cells only: other runs are called by their settings.
    """
    cells: dict[str, dict[str, dict[str, list[Record]]]] = {}
    for run in runs:
        if run.manifest:
            methods = cells.setdefault(run.sequence, {}).setdefault(suite_folder(run.record.folder, suites), {})
            methods.setdefault(run.method, []).append(run.record)
    names: dict[tuple[str, str], str] = {}
    for sequence, folders in cells.items():
        for methods in folders.values():
            for method, records in methods.items():
                check_one_setting(f"{method!r} on {sequence!r}", records)
        firsts = {folder: {method: first for method, (first, *_) in methods.items()} for folder, methods in folders.items()}
        groups = alike(firsts)
        if len(groups) > 1:
            names |= {(sequence, folder): f"{sequence} ({', '.join(group)})" for group in groups for folder in group}
    return [_renamed(run, names.get((run.sequence, suite_folder(run.record.folder, suites)))) for run in runs]


def _renamed(run: Run, sequence: str | None) -> Run:
    return replace(run, sequence=sequence) if sequence and run.manifest else run


def _one_per_seed(runs: Sequence[Run]) -> tuple[list[Run], list[NotCounted]]:
    """A run with the same seed again tells nothing new: the last one counts. Runs without a seed all count."""
    counted = {_draw(run): run for run in runs}
    repeated = [run for run in runs if counted[_draw(run)] is not run]
    reason = "another run of this seed is counted"
    left_out = [NotCounted(run.method, run.sequence, (run.seed,), reason, run.record.folder) for run in repeated]
    return list(counted.values()), left_out


def _in_one_measure(runs: Sequence[Run]) -> tuple[list[Run], list[NotCounted]]:
    """Success rates and returns have no common mean: where some runs on a sequence tell success, the others do not count."""
    known: dict[str, set[Measure]] = {}
    for run in runs:
        if run.results.evaluations:  # else it tells no measure
            known.setdefault(run.sequence, set()).add(run.results.measure)
    wanted = {sequence: min(measures, key=MEASURES.index) for sequence, measures in known.items()}
    counted, left_out = [], []
    for run in runs:
        if not run.results.evaluations or run.results.measure == (measure := wanted[run.sequence]):
            counted.append(run)
        else:
            left_out.append(NotCounted(run.method, run.sequence, (run.seed,), _why(run.results, measure), run.record.folder))
    return counted, left_out


def _why(results: SequenceResults, wanted: Measure) -> str:
    if wanted != SUCCESS:
        return f"known in {results.measure.title} only, where other runs tell {wanted.title}"
    silent = dict.fromkeys(name for one in results.evaluations for name, rate in one.success.items() if rate is None)
    told = f"told no success on {', '.join(silent)}, where other runs do"
    return f"{told} (means are too high if its env tells success only where there is some, and this run had none)"


def _draw(run: Run) -> tuple[str, str, int | str]:
    return run.sequence, run.method, run.record.folder if run.seed is None else run.seed


def _copies(suites: Sequence[dict[str, Any]], runs: Sequence[Run]) -> list[Run]:
    """What is read from other methods' runs. A training of that name and seed counts before it."""
    trained = {(run.sequence, run.method, run.seed) for run in runs}
    copied = {name: base for suite in suites for name, base in suite.get("copies", {}).items()}
    return [
        replace(run, method=name, record=Record(run.record.folder, {}), family=name, axis=None, copies_of=base)
        for name, base in copied.items()
        for run in runs
        if run.method == base and (run.sequence, name, run.seed) not in trained
    ]


def _not_started(suites: Sequence[dict[str, Any]], started: set[tuple[str, str, int]]) -> list[NotCounted]:
    """One entry for each method of which seeds are missing."""
    missing: dict[tuple[str, str], list[int]] = {}
    for suite in suites:
        for cell in suite["cells"]:
            if _identity(cell) not in started:
                missing.setdefault((cell["method"], cell["sequence"]), []).append(cell["seed"])
    return [NotCounted(*key, tuple(seeds), "not started") for key, seeds in missing.items()]
