"""The command line of ``sb3-nbsp train``, read once, by the parser that rl-zoo3 makes within its train()."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn

import rl_zoo3.train

from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.train_parser import TrainParser

PAIRS = ("hyperparams", "env_kwargs", "eval_env_kwargs")  # given as KEY:VALUE with a value in Python


@dataclass(frozen=True)
class Given:
    """
    What somebody gave.

    :param values: by name, without what has its default
    :param groups: what was typed, by name: for each time that an option was given, the option and its words
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, list[list[str]]] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """
        :param name: of an argument, as rl-zoo3 knows it
        :param default: where it is not given
        """
        return self.values.get(name, default)

    def words(self, name: str) -> list[str]:
        """
        :param name: of an argument
        :return: what was typed of it; nothing where it is not given
        """
        return [word for group in self.groups.get(name, []) for word in group]

    def without(self, *names: str) -> list[str]:
        """
        :param names: of arguments
        :return: what was typed of all others
        """
        return [word for name in self.groups if name not in names for word in self.words(name)]

    @property
    def pairs(self) -> dict[str, list[str]]:
        """The text of ``-params``, ``--env-kwargs`` and ``--eval-env-kwargs``, where they are given."""
        given = [name for name in PAIRS if name in self.groups]
        return {name: [word for group in self.groups[name] for word in _values(group)] for name in given}


def read_arguments(words: Sequence[str]) -> Given:
    """
    :param words: of the command line of ``train``
    :return: what they give
    :raises SystemExit: by argparse: with ``--help``, and for what cannot be
    """
    rl_zoo3.ALGOS.update(ALGORITHMS)
    reader = type("Reader", (_Reader,), {"words": list(words)})
    before = rl_zoo3.train.argparse
    rl_zoo3.train.argparse = SimpleNamespace(**{**vars(argparse), "ArgumentParser": reader})  # type: ignore[assignment]
    try:
        rl_zoo3.train.train()
    except _Read as read:
        return read.given
    finally:
        rl_zoo3.train.argparse = before
    raise AssertionError("rl-zoo3's train reads its arguments")


class _Read(Exception):
    """Ends rl-zoo3's train where it would read its arguments."""

    def __init__(self, given: Given):
        self.given = given


class _Reader(TrainParser):
    """The parser of ``train``, for what is given, without defaults."""

    words: ClassVar[list[str]] = []

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"prog": "sb3-nbsp train", **kwargs})

    def parse_args(self, args: Any = None, namespace: Any = None) -> NoReturn:
        for action in self._actions:
            action.default = argparse.SUPPRESS
        values = vars(super().parse_args(self.words))
        groups: dict[str, list[list[str]]] = {}
        starts = [i for i, word in enumerate(self.words) if word.startswith("-") and self._parse_optional(word) is not None]
        for start, after in zip(starts, [*starts, len(self.words)][1:], strict=True):
            group = self.words[start:after]
            (name,) = vars(super().parse_args(group))
            groups.setdefault(name, []).append(group)
        raise _Read(Given(values, groups))


def _values(group: Sequence[str]) -> list[str]:
    """The words behind an option, also behind its ``=``."""
    _, is_joined, first = group[0].partition("=")
    return [*([first] if is_joined else []), *group[1:]]
