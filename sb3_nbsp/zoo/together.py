"""
``sb3-nbsp train`` for many runs in one process: the runs are prepared by rl-zoo3 one after another, each with a folder of its
own, and learn together where they agree in what a population must agree in (:mod:`sb3_nbsp.population`).
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import rl_zoo3.train

from sb3_nbsp.population import Population, packs
from sb3_nbsp.zoo.experiments import SequenceExperimentManager

Prepared = tuple[SequenceExperimentManager, Any]  # what knows a run, and its model


class PreparingManager(SequenceExperimentManager):
    """Prepares a run and leaves the learning to others."""

    prepared: ClassVar[list[Prepared]] = []

    def learn(self, model: Any) -> None:
        """Note the run."""
        self.prepared.append((self, model))

    def save_trained_model(self, model: Any) -> None:
        """Nothing yet."""


def runs_of(arguments: Sequence[str]) -> list[list[str]] | None:
    """
    :param arguments: of ``sb3-nbsp train``
    :return: the arguments of every run, where they ask for several: with ``--seeds 0-9`` one for each seed, with
        ``--together FILE`` those that a JSON file lists
    :raises ValueError: for seeds that cannot be understood, or beside what makes a single run
    """
    own = list(arguments)
    for i, argument in enumerate(own):
        name, _, value = argument.partition("=")
        if name not in ("--seeds", "--together"):
            continue
        rest = own[:i] + own[i + (1 if value else 2) :]
        value = value or (own[i + 1] if i + 1 < len(own) else "")
        if name == "--together":
            return [[str(part) for part in run] for run in json.loads(Path(value).read_text())["runs"]]
        for single in ("--seed", "-i", "--trained-agent", "-optimize", "--optimize-hyperparameters"):
            if single in rest:
                raise ValueError(f"--seeds trains several agents, and {single} is for one. Leave one of them out.")
        return [[*rest, "--seed", str(seed)] for seed in seeds_of(value)]
    return None


def seeds_of(text: str) -> list[int]:
    """
    :param text: e.g. ``0-9`` or ``0,3,10-12``
    :return: the seeds
    :raises ValueError: for anything else
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"--seeds expects seeds like 0-9 or 0,3,10-12; got {text!r}.")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds names a seed twice: {text!r}.")
    return seeds


def train_together(runs: Sequence[Sequence[str]]) -> None:
    """
    :param runs: arguments of ``sb3-nbsp train``, for each run
    """
    PreparingManager.prepared.clear()
    rl_zoo3.train.ExperimentManager = PreparingManager  # type: ignore[misc]
    for run in runs:
        sys.argv = ["sb3-nbsp train", *run]
        rl_zoo3.train.train()
    prepared = list(PreparingManager.prepared)
    for pack in packs([model for _, model in prepared]):
        for part in _of_one_length([prepared[number] for number in pack]):
            _train(part)


def _of_one_length(runs: Sequence[Prepared]) -> list[list[Prepared]]:
    """Runs that take as many steps, and go on or begin, alike."""
    parts: dict[Any, list[Prepared]] = {}
    for manager, model in runs:
        parts.setdefault((manager.n_timesteps, manager.continue_training, manager.log_interval), []).append((manager, model))
    return list(parts.values())


def _train(runs: Sequence[Prepared]) -> None:
    if len(runs) == 1 or runs[0][0].sequence is None:
        for manager, model in runs:
            SequenceExperimentManager.learn(manager, model)
            SequenceExperimentManager.save_trained_model(manager, model)
        return
    managers, models = [manager for manager, _ in runs], [model for _, model in runs]
    kwargs = [manager.begin(model) for manager, model in runs]
    print(f"{len(runs)} agents learn together: {', '.join(str(manager.save_path) for manager in managers)}")
    try:
        Population(models).learn(
            managers[0].n_timesteps, callbacks=[manager.callbacks or None for manager in managers], **kwargs[0]
        )
    except KeyboardInterrupt:  # the models are saved
        pass
    finally:
        for manager, model in runs:
            manager.end(model)
    for manager, model in runs:
        SequenceExperimentManager.save_trained_model(manager, model)
