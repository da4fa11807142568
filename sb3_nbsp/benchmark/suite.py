"""
A suite: named methods on named task sequences with several seeds, read from a YAML file.

.. code-block:: yaml

    seeds: [0, 1, 2]
    common:                     # what all cells share
      algo: nbspsac
      eval_freq: 250
    sequences:
      there and back:
        env: sb3_nbsp/PointGoal-v0
        env_kwargs: {steps_per_task: 1000}
    methods:
      fine-tuning: {algo: sac}
      NBSP:
        params: {mask_coef: 0.1}
        axis: {memory_size: [0, 1000]}  # "NBSP, memory size 0" and "NBSP, memory size 1,000"
        sequences: [there and back]     # default: all
      saved copy: {copies_of: fine-tuning} # nothing is trained: each task as fine-tuning had it at the task's end
    baselines: [fine-tuning]    # what a report compares with
    references: single task     # the method that trains each task alone, for forward transfer
    last_evaluations: 1         # of which a report takes the mean
    aliases: {SAC: fine-tuning} # earlier names of methods: runs of that name count as the method's

Settings may stand under ``common``, a sequence or a method; the latter count more: ``algo``, ``params`` (hyperparameters),
``env_kwargs``, ``eval_freq``, ``eval_episodes``, ``eval_tasks`` (how many tasks each evaluation plays, ``all`` by default),
``save_freq`` (env steps between checkpoints), ``callbacks`` (as in rl-zoo3's files) and ``arguments`` (anything else
that ``sb3-nbsp train`` takes, as a list). An axis that is a mapping names its methods:
``axis: {memory_size: {0: masks only, 1000: NBSP}}``.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from sb3_nbsp.base.names import did_you_mean
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.file_names import RUNS, SUITE
from sb3_nbsp.benchmark.manifest import write_json
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.runs_file import read_runs_file
from sb3_nbsp.benchmark.suite_file import Settings, SuiteError, check_suite, listed, merge, naming_suite, read_yaml
from sb3_nbsp.benchmark.suite_methods import Method, read_methods, train_arguments

FORMAT = "sb3_nbsp.suite/1"


@dataclass(frozen=True)
class Suite:
    """
    A benchmark.

    :param name: of the file
    :param methods: in the order of the tables
    :param sequences: settings by name
    :param seeds: one training each
    :param baselines: names of the methods that others are compared with
    :param last_evaluations: number of evaluations that a report takes the mean of
    :param aliases: names of methods, or of their families, by the names that they had before
    :param references: the method that trains each task alone, which a report takes forward transfer from
    """

    name: str
    methods: tuple[Method, ...]
    sequences: Mapping[str, Settings]
    seeds: tuple[int, ...]
    baselines: tuple[str, ...] = ()
    last_evaluations: int = 1
    aliases: Mapping[str, str] = field(default_factory=dict)
    references: str | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Suite":
        """
        :param path: a YAML file, or the name of one that comes with the package, e.g. ``quick.yml``
        :raises SuiteError: if it is missing or says something that no suite can say
        """
        content = read_yaml(path if Path(path).is_file() else _shipped(path))
        with naming_suite(path):
            check_suite(content)
        common = content.get("common", {})
        sequences = {name: merge(common, settings or {}) for name, settings in content["sequences"].items()}
        methods = read_methods(content["methods"], list(sequences))
        for what, names in (("methods", [method.name for method in methods]), ("sequences", sequences)):
            _check_distinct(what, names)
        baselines, references = tuple(content.get("baselines", ())), content.get("references")
        known = [method.name for method in methods]
        if unknown := sorted(set(baselines) - set(known)):
            raise SuiteError(f"Expected baselines among the methods {listed(known)}, got {unknown}.")
        if references not in (None, *known):
            raise SuiteError(f"Expected as references one of the methods {listed(known)}, got {references!r}.")
        aliases = content.get("aliases", {})
        _check_aliases(aliases, methods)
        seeds, last = tuple(content["seeds"]), content.get("last_evaluations", 1)
        return cls(Path(path).stem, tuple(methods), sequences, seeds, baselines, last, aliases, references)

    def cells(
        self, folder: Path, only: Sequence[str] = (), seeds: Sequence[int] = (), sequences: Sequence[str] = ()
    ) -> list[Cell]:
        """
        All trainings, seed by seed, so that a benchmark that was stopped has as many of every method.

        :param folder: parent of all cells' folders; a file of published runs in it tells of cells that have no folder
        :param only: methods, by their own or their family's name, or an earlier one; ``*`` stands for anything; default: all
        :param seeds: instead of the suite's
        :param sequences: task sequences by name; ``*`` stands for anything; default: all
        :raises SuiteError: if no method or sequence has such a name, or no method is trained on such a sequence
        :raises ValueError: if the file of published runs is damaged
        """
        chosen = [method for method in self.methods if not only or any(self._is_meant(method, name) for name in only)]
        if unknown := [name for name in only if not any(self._is_meant(method, name) for method in self.methods)]:
            raise SuiteError(_not_among("methods", [method.name for method in self.methods], unknown))
        if unknown := [name for name in sequences if not any(fnmatchcase(known, name) for known in self.sequences)]:
            raise SuiteError(_not_among("sequences", self.sequences, unknown))
        if chosen and all(method.copies_of for method in chosen):
            bases = listed(dict.fromkeys(method.copies_of for method in chosen if method.copies_of))
            raise SuiteError(f"{chosen[0].name!r} is not trained: a report reads it from the runs of {bases}. Name these.")
        records = read_runs_file(folder / RUNS)[1] if (folder / RUNS).is_file() else []
        published: dict[str, list[Record]] = {}  # by their methods' folders
        for record in records:
            published.setdefault(record.folder.rpartition("/")[0], []).append(record)
        cells = [
            self._cell(folder, method, sequence, seed, published)
            for seed in seeds or self.seeds
            for sequence in self.sequences
            if not sequences or any(fnmatchcase(sequence, name) for name in sequences)
            for method in chosen
            if sequence in method.sequences
        ]
        if not cells:
            on = listed(dict.fromkeys(name for method in chosen for name in method.sequences))
            raise SuiteError(
                f"Expected one of the sequences that the chosen methods are trained on, {on}; got {list(sequences)}."
            )
        return cells

    def _cell(self, folder: Path, method: Method, sequence: str, seed: int, published: Mapping[str, Sequence[Record]]) -> Cell:
        settings = merge(self.sequences[sequence], method.settings)
        for name in ("algo", "env"):
            if name not in settings:
                raise SuiteError(f"Expected {name!r} for {method.name!r} on {sequence!r}, got none. Add it to the suite.")
        names = [method.name, *self._earlier_names(method)]
        places = [f"{slug(sequence)}/{slug(name)}/seed{seed}" for name in names]
        own = next((place for place in places if (folder / place).is_dir()), places[0])
        trained = settings["algo"], settings["env"], seed, folder / own, train_arguments(settings)
        known = [record for place in places for record in published.get(place.rpartition("/")[0], ())]
        record = next((record for place in places for record in known if record.folder == place), None)
        beside = tuple((one.origin, one.manifest) for one in known if one is not record and one.state != "failed")
        return Cell(method.name, *trained, sequence, method.family, method.axis, record, beside)

    def _earlier_names(self, method: Method) -> list[str]:
        return [old for old, name in self.aliases.items() if name == method.name]

    def _is_meant(self, method: Method, name: str) -> bool:
        named = (method.name, *self._earlier_names(method))
        return self.aliases.get(name, name) in (method.name, method.family) or any(fnmatchcase(one, name) for one in named)

    def write(self, folder: Path) -> None:
        """
        Leave what a report wants to know.

        :param folder: parent of all cells' folders
        """
        write_json(folder / SUITE, self.content(folder))

    def content(self, folder: Path) -> dict[str, Any]:
        """
        :param folder: parent of all cells' folders
        :return: what a report wants to know: names, their order, the baselines, and which cells there are to be
        """
        cells = [{"sequence": c.sequence, "method": c.method, "seed": c.seed} for c in self.cells(folder)]
        return {
            "format": FORMAT,
            "name": self.name,
            "methods": [method.name for method in self.methods],
            "sequences": list(self.sequences),
            "baselines": list(self.baselines),
            "last_evaluations": self.last_evaluations,
            "aliases": dict(self.aliases),
            "references": self.references,
            "copies": {method.name: method.copies_of for method in self.methods if method.copies_of},
            "cells": cells,
        }


def slug(name: str) -> str:
    """
    :param name: anything
    :return: the same as a folder's name
    """
    without_thousands = re.sub(r",(?=\d)", "", name.lower())
    return re.sub(r"[^a-z0-9.]+", "-", without_thousands).strip("-.")


def shipped_suites() -> list[str]:
    """Names of the suites that come with the package."""
    return sorted(file.name for file in files("sb3_nbsp.suites").iterdir() if file.name.endswith(".yml"))


def _shipped(path: str | os.PathLike[str]) -> Path:
    if str(path) not in shipped_suites():
        known = listed(shipped_suites())
        raise SuiteError(f"Expected a YAML file, or one of the package's suites {known}, got {str(path)!r}: no such file.")
    with as_file(files("sb3_nbsp.suites") / str(path)) as file:
        return file


def _check_aliases(aliases: Mapping[str, str], methods: Sequence[Method]) -> None:
    """An earlier name leads to a method or a family, and is the name of none now."""
    now = {name for method in methods for name in (method.name, method.family)}
    if unknown := sorted(set(aliases.values()) - now):
        raise SuiteError(f"Expected aliases of methods among {listed(sorted(now))}, got {unknown}.")
    if taken := sorted(set(aliases) & now):
        raise SuiteError(f"Expected as aliases names that no method has, got {taken}. Leave them out.")


def _check_distinct(what: str, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if slug(name) in seen or not slug(name):
            raise SuiteError(f"Expected {what} whose folders differ, got {seen.get(slug(name))!r} and {name!r}. Rename one.")
        seen[slug(name)] = name


def _not_among(kind: str, known: Collection[str], unknown: Sequence[str]) -> str:
    return f"Expected {kind} among {listed(known)}, got {unknown}. {did_you_mean(unknown[0], known)}".rstrip()
