"""
How long a gradient step takes, roughly, from the algorithm and its settings.

What each algorithm took at one size of network and batch stands in docs/performance.md; what more weights and larger batches
add is scaled from there. One core, one thread, NBSP's own parts left out: they add a few percent, cloning up to a quarter.
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sb3_nbsp.common.faster_updates import KNOWN_OPTIMIZERS
from sb3_nbsp.zoo.algorithms import ALGORITHMS, PARENTS

INPUTS = 43  # observation and action of Meta-World; of little weight
OUTPUTS = 4
AUTOGRAD_FACTOR = 2.0  # where SAC's update without autograd cannot compute it; UPGD's own step costs about as much
WITHOUT_AUTOGRAD = ("ReLU", "LeakyReLU", "CReLU")  # activation functions
OF_TORCH = {kind.__name__ for kind in KNOWN_OPTIMIZERS if kind.__module__.startswith("torch.")}  # their own steps are quick
# What baselines add, in steps without them (speed/baselines.py). Injection: 1.1 for each task that ended; the mean over four.
OF_BASELINES = {"ContinualBackprop": 0.6, "NPC": 0.4, "PlasticityInjection": 1.6}


@dataclass(frozen=True)
class Measured:
    """
    What an algorithm's gradient step takes.

    :param fixed: milliseconds, whatever the size
    :param per_million: milliseconds per million of weights times batch
    :param networks: networks of the given layers whose weights count
    :param width: of the two layers where none are given
    :param per_picture: milliseconds per picture of a batch, through NatureCNN; ``None``: not measured
    """

    fixed: float
    per_million: float
    networks: int
    width: int
    per_picture: float | None = None


# SAC: 6.34 ms with two layers of 256 and 13.22 ms with two of 400, batches of 256, lie on this line. Two layers of 256: TQC
# 22 ms with batches of 256, QRDQN 25 ms with 32 (the loss over pairs of quantiles takes most of both), DQN 1.62 ms with 32 and
# 43 ms with 32 pictures. PPO: 2.0 ms with two layers of 64 and batches of 64, 59 ms with 64 pictures (4 x 84 x 84).
TIMES = {
    "nbspsac": Measured(1.1, 0.088, 3, 256),
    "nbsptqc": Measured(1.1, 0.35, 3, 256),
    "nbspdqn": Measured(1.45, 0.066, 1, 64, 1.35),
    "nbspqrdqn": Measured(1.45, 9.6, 1, 64),
    "nbspppo": Measured(1.95, 0.05, 2, 64, 0.92),
}


def known_settings(algo: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    :param algo: key of an algorithm, ours or SB3's
    :param settings: the hyperparameters that are named
    :return: all hyperparameters, the defaults of the class among them; ``None`` for an algorithm whose time is not known
    """
    ours = PARENTS.get(algo, algo)
    if ours not in TIMES:
        return None
    defaults = inspect.signature(ALGORITHMS[ours].sb3_class).parameters.items()
    return {**{name: argument.default for name, argument in defaults}, **settings}


def update_ms(algo: str, known: Mapping[str, Any]) -> float:
    """
    :param algo: key of one of our algorithms, or of its parent
    :param known: all its hyperparameters, see :func:`known_settings`
    :return: estimated duration of a gradient step in milliseconds
    :raises KeyError: if the algorithm's time is not known
    """
    ours = PARENTS.get(algo, algo)
    times = TIMES[ours]
    if known["policy"] == "CnnPolicy" and times.per_picture is not None:
        return times.fixed + times.per_picture * known["batch_size"]
    sizes = _net_arch(known.get("policy_kwargs") or {}, [times.width] * 2)
    weights = times.networks * sum(a * b for a, b in zip([INPUTS, *sizes], [*sizes, OUTPUTS], strict=True))
    fast = times.fixed + times.per_million * weights * known["batch_size"] / 1e6
    return fast * _slowdown(known) if ours == "nbspsac" else fast


def n_updates(known: Mapping[str, Any], steps: int) -> int:
    """
    :param known: all hyperparameters of an algorithm, see :func:`known_settings`
    :param steps: environment steps, over all sub-envs
    :return: gradient steps, the warm-up's pause left out
    """
    n_envs = known.get("n_envs", 1)
    if "n_epochs" in known:
        return round(steps * known["n_epochs"] / known["batch_size"])
    frequency = known["train_freq"] if isinstance(known["train_freq"], int) else 1
    each = known["gradient_steps"]
    return round(steps / (frequency * n_envs) * (each if each >= 0 else frequency * n_envs))


def _slowdown(settings: Mapping[str, Any]) -> float:
    """What some baselines, activation functions and optimizers cost."""
    named = re.findall(r"baselines\.(\w+)", str(settings.get("callback", "")))
    given = str(settings.get("policy_kwargs", ""))
    activation, optimizer = (_class_name(given, argument) for argument in ("activation_fn", "optimizer_class"))
    needs_autograd = activation is not None and activation.split(".")[-1] not in WITHOUT_AUTOGRAD
    needs_autograd |= optimizer is not None and not ("optim." in optimizer and optimizer.split(".")[-1] in OF_TORCH)
    return (AUTOGRAD_FACTOR if needs_autograd else 1.0) + sum(OF_BASELINES.get(name, 0.0) for name in named)


def _class_name(given: str, argument: str) -> str | None:
    found = re.search(argument + r"\W+(?:class ')?([\w.]+)", given)
    return None if found is None else found[1]


def _net_arch(policy_kwargs: Mapping[str, Any] | str, default: list[int]) -> list[int]:
    """The sizes, out of a mapping, ``dict(net_arch=[128, 128], ...)`` or ``dict(net_arch=[256] * 4)``."""
    if isinstance(policy_kwargs, Mapping):
        given = policy_kwargs.get("net_arch", default)
        return list(next(iter(given.values())) if isinstance(given, Mapping) else given)
    found = re.search(r"net_arch=\[([\d, ]*)\](?: \* (\d+))?", policy_kwargs)
    return default if found is None else [int(size) for size in re.findall(r"\d+", found[1])] * int(found[2] or 1)
