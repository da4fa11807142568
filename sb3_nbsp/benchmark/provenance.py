"""What a report says of its runs: what was trained, with what, and what is missing."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sb3_nbsp.base.markdown import code, escaped
from sb3_nbsp.benchmark.find_runs import Found, NotCounted, Run
from sb3_nbsp.benchmark.seed_ranges import seed_ranges
from sb3_nbsp.evaluation.table import markdown_table

OPTION = re.compile(r"--?[a-zA-Z]")  # not a negative number
MANY = 8  # names, of which a line shows the number if they are all of a sequence's


def provenance_section(found: Found) -> list[str]:
    """
    :param found: all runs
    :return: paragraphs of Markdown
    """
    parts = ["## What was trained", *_arguments([run for run in found.trained if run.manifest])]
    hours = sum(run.results.wall_time_s for run in found.trained) / 3600
    parts.append(f"{hours:.1f} hours of training in all (wall time of single trainings, evaluations included).")
    facts = {
        "commit": _counted(run.manifest.get("commit") for run in found.trained),
        "machine": _counted(_machine(run.manifest) for run in found.trained),
        "versions": _counted(", ".join(f"{k} {v}" for k, v in run.results.versions.items()) for run in found.trained),
    }
    lines = [f"- {name}: {escaped(value)}" for name, values in facts.items() for value in values]
    parts.append("\n".join([*lines, *_stopped(found.trained)]))
    if found.not_counted:
        parts += ["## Not counted", "\n".join(f"- {line}" for line in _missing(found))]
    return parts


# Settings


def _arguments(cells: Sequence[Run]) -> list[str]:
    """The arguments of the training command: those of all cells, and what each sequence and method adds."""
    if not cells:
        return []
    algos = Counter(run.manifest["algo"] for run in cells)
    usual = algos.most_common(1)[0][0] if len(algos) > 1 else None
    common = _shared(cells, usual)
    of_sequence = {name: _shared(runs, usual) for name, runs in _by("sequence", cells).items()}
    of_method = {name: (_shared(runs, usual), set(_by("sequence", runs))) for name, runs in _by("method", cells).items()}
    by_sequence = [[escaped(name), _code(shared, common)] for name, shared in of_sequence.items()]
    by_method = [
        [
            escaped(name),
            _code(shared, [argument for argument in shared if all(argument in of_sequence[where] for where in on)]),
        ]
        for name, (shared, on) in of_method.items()
    ]
    tables = [(kind, rows) for kind, rows in (("sequence", by_sequence), ("method", by_method)) if len(rows) > 1]
    first = [f"All cells: {_code(common)}."] if common else []
    first += [f"Where a method names no other: {code(f'--algo {usual}')}."] if usual else []
    return [" ".join(first), *(markdown_table([kind, "adds"], rows) for kind, rows in tables)]


def _by(kind: str, cells: Sequence[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in cells:
        groups.setdefault(getattr(run, kind), []).append(run)
    return groups


def _shared(cells: Sequence[Run], usual: str | None) -> list[str]:
    """The settings that all of some cells have, in the order of the first one."""
    settings = [_settings(run.manifest, usual) for run in cells]
    return [setting for setting in settings[0] if all(setting in other for other in settings)]


def _settings(manifest: dict[str, Any], usual: str | None) -> list[str]:
    """Options with their values, hyperparameters one by one."""
    algo = [] if manifest["algo"] == usual else [f"--algo {manifest['algo']}"]
    settings = [*algo, f"--env {manifest['env']}"]
    option = ""
    for word in manifest["arguments"]:
        if OPTION.match(word):
            option = word
            settings.append(option)
        elif settings[-1] == option and option != "-params":
            settings[-1] = f"{option} {word}"
        else:  # name:value, of which an option may have several
            settings.append(word if option == "-params" else f"{option} {word}")
    return [setting for setting in settings if setting != "-params"]


def _code(settings: Sequence[str], but: Sequence[str] = ()) -> str:
    """Each in its own marks, so that lines can be broken between them."""
    return " ".join(code(setting) for setting in settings if setting not in but)


def _machine(manifest: dict[str, Any]) -> str | None:
    machine = manifest.get("machine")
    return machine and f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}"


def _counted(values: Iterable[str | None]) -> list[str]:
    """Distinct values; where there are several, each with the number of its runs."""
    counts = Counter(value for value in values if value)
    return [value if len(counts) == 1 else f"{value} ({number} runs)" for value, number in counts.items()]


def _stopped(runs: Iterable[Run]) -> list[str]:
    """A line for those that were started more than once: a simulator that cannot be saved begins anew there."""
    seeds: dict[str, list[int | None]] = {}
    for run in runs:
        if len(run.manifest.get("starts", [])) > 1:
            seeds.setdefault(escaped(f"{run.sequence}: {run.method}"), []).append(run.seed)
    found = [f"{name} ({_ranges(of)})" for name, of in seeds.items()]
    return ["- stopped, and gone on with later: " + "; ".join(found)] if found else []


# What is missing


def _missing(found: Found) -> list[str]:
    """A line for all methods of which the same seeds are missing for the same reason."""
    seeds: dict[tuple[str, str, str], list[NotCounted]] = {}
    for entry in found.not_counted:
        seeds.setdefault((entry.reason, entry.sequence, entry.method), []).append(entry)
    lines: dict[tuple[str, str, str], list[str]] = {}
    for (reason, sequence, method), entries in seeds.items():
        missing = _ranges(seed for entry in entries for seed in entry.seeds)
        where = f" ({code(entries[0].path)})" if len(entries) == 1 and entries[0].path else ""
        lines.setdefault((reason, sequence, missing), []).append(escaped(method) + where)
    methods: dict[str, set[str]] = {}
    for suite in found.suites:
        for cell in suite["cells"]:
            methods.setdefault(cell["sequence"], set()).add(escaped(cell["method"]))
    return [
        f"{escaped(reason)}: {escaped(sequence)}, {missing}: {_names(names, methods.get(sequence, set()))}"
        for (reason, sequence, missing), names in lines.items()
    ]


def _names(names: Sequence[str], all_names: set[str]) -> str:
    if len(names) >= MANY and set(names) == all_names:
        return f"all {len(names)} methods"
    if len(names) >= MANY and set(names) < all_names and len(all_names) - len(names) < MANY:
        others = "; ".join(sorted(all_names - set(names)))
        return f"all {len(all_names)} methods but {others}"
    return "; ".join(names)


def _ranges(seeds: Iterable[int | None]) -> str:
    """``seeds 0 to 3, 5``."""
    known = [seed for seed in seeds if seed is not None]
    if not known:
        return "seed unknown"
    return f"seed{'s' if len(known) > 1 else ''} {seed_ranges(known)}"
