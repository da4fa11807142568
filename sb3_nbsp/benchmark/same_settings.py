"""Whether two trainings were made with the same settings: a method on a sequence is one thing, with every seed."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sb3_nbsp.benchmark.resolved_arguments import deciding, dropped_arguments, in_order, recorded_arguments, without
from sb3_nbsp.benchmark.run_record import Record

Differences = dict[str, tuple[Any, Any]]  # by name: the value there, and the value here


def in_words(differences: Differences, second: str = "here") -> str:
    """
    :param differences: any
    :param second: where the second values are
    :return: the same for an error
    """
    return "; ".join(f"{name}: {there!r} there, {here!r} {second}" for name, (there, here) in differences.items())


def settings_differ(there: Mapping[str, Any], here: Mapping[str, Any]) -> Differences:
    """
    Arguments of NBSP are compared by their values, whether they were given or are defaults, all else as written, in whatever
    order. An argument that one side does not know is no difference, nor is a seed, nor what no method depends on, see
    :func:`~sb3_nbsp.benchmark.resolved_arguments.deciding`.

    :param there: a cell's manifest
    :param here: another one's, or what a manifest would say
    :return: what differs
    """
    known, wanted = recorded_arguments(dict(there)), recorded_arguments(dict(here))
    both = [name for name in wanted if name in known]
    given = [list(manifest.get("arguments", ())) for manifest in (there, here)]
    compared = [*both, *dropped_arguments(here.get("algo", ""))]
    first, second = ([shlex.join(group) for group in in_order(without(compared, deciding(words)))] for words in given)
    values = {name: (there.get(name), here.get(name)) for name in ("algo", "env")}
    if first != second:
        # In another order something is given twice, of which the last one counts.
        alone = [word for word in first if word not in second], [word for word in second if word not in first]
        values["arguments"] = alone if any(alone) else (first, second)
    values |= {name: (known[name], wanted[name]) for name in both}
    return _unequal(values)


def records_differ(there: Record, here: Record) -> Differences:
    """
    :param there: a run
    :param here: another one
    :return: what says that they are two trainings, not one: seed, settings, and of a run outside a benchmark its sequence
    """
    if there.manifest and here.manifest:
        seeds = {"seed": (there.manifest.get("seed"), here.manifest.get("seed"))}
        return _unequal(seeds) | settings_differ(there.manifest, here.manifest)
    return _unequal({name: (_told(there)[name], _told(here)[name]) for name in ("a cell", "seed", "sequence", "settings")})


def _told(record: Record) -> dict[str, Any]:
    results = record.results()
    told = {} if results is None else {"seed": results.seed, "sequence": results.sequence, "settings": results.settings}
    return {"a cell": bool(record.manifest), **dict.fromkeys(("seed", "sequence", "settings")), **told}


def _unequal(values: Differences) -> Differences:
    return {name: (there, here) for name, (there, here) in values.items() if there != here}


def alike(cells: Mapping[str, Mapping[str, Record]]) -> list[list[str]]:
    """
    :param cells: on one sequence: by the folder of their suite, one of each method
    :return: the folders in groups; in each a method has the same settings in all folders
    """
    groups: list[list[str]] = []
    for folder, methods in cells.items():
        fitting = (group for group in groups if not any(_differ(cells[other], methods) for other in group))
        group = next(fitting, None)
        if group is None:
            groups.append([folder])
        else:
            group.append(folder)
    return groups


def _differ(there: Mapping[str, Record], here: Mapping[str, Record]) -> bool:
    both = [name for name in here if name in there]
    return any(settings_differ(there[name].manifest, here[name].manifest) for name in both)


def check_one_setting(name: str, records: Sequence[Record]) -> None:
    """
    :param name: of a method on a sequence
    :param records: its cells
    :raises ValueError: if they were trained with different settings: their mean would be that of no method
    """
    kinds: list[list[Record]] = []
    for record in records:
        kind = next((kind for kind in kinds if not settings_differ(kind[0].manifest, record.manifest)), None)
        if kind is None:
            kinds.append([record])
        else:
            kind.append(record)
    if len(kinds) < 2:
        return
    one, other = kinds[:2]
    values = in_words(settings_differ(one[0].manifest, other[0].manifest))
    raise ValueError(
        f"Expected one training with several seeds for {name}, got {_seeds(one)} ({one[0].folder}) and {_seeds(other)} "
        f"({other[0].folder}) with other settings ({values}). Report on their folders one by one, or train one of them under "
        "another name in a folder of its own."
    )


def _seeds(records: Iterable[Record]) -> str:
    return f"seed {', '.join(str(record.manifest['seed']) for record in records)}"
