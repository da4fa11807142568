"""Baselines that hang hooks on parameters and optimizers learn by the update without autograd, and learn the same."""

from copy import deepcopy
from typing import Any

import pytest
from helpers import NBSP_SETTINGS, sequence_env

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import (
    AGEM,
    ANCL,
    EWC,
    L2,
    MAS,
    NPC,
    BehaviouralCloning,
    ContinualBackprop,
    PackNet,
    PlasticityInjection,
)

STEPS = 40
REMEMBERS = {"memory_size": 50, "replay_mode": "share", "old_task_fraction": 0.0}
BASELINES: dict[str, Any] = {
    "a-gem": lambda: AGEM(batch_size=16),
    "ancl": lambda: ANCL(coef=100.0, aux_coef=10.0, networks="all", n_samples=20),
    "continual backprop": lambda: ContinualBackprop(replacement_rate=0.01, maturity=10),
    "ewc": lambda: EWC(coef=100.0, networks="all"),
    "l2": lambda: L2(coef=100.0, networks="all"),
    "mas": lambda: MAS(coef=100.0, networks="all"),
    "several": lambda: [PlasticityInjection(), NPC(decay=0.5), ContinualBackprop(replacement_rate=0.01, maturity=10)],
    "cloning": lambda: BehaviouralCloning(coef=10.0, memory_size=30, batch_size=16),
    "npc": lambda: NPC(decay=0.5),
    "packnet": lambda: PackNet(clip_norm=0.1),
    "plasticity injection": lambda: PlasticityInjection(),
}


def learned(name: str, how: Any, with_callback: bool = True) -> NBSPSAC:
    remembers = REMEMBERS if name == "a-gem" else {"memory_size": 0}
    settings = deepcopy({**NBSP_SETTINGS, "skill_fraction": 0, **remembers, "fast_update": how})
    model = NBSPSAC("MlpPolicy", sequence_env(steps=STEPS), **settings)
    callbacks = BASELINES[name]()
    # A task has ended, and the next one is being learned: at its end parameters may be drawn anew.
    model.learn(2 * STEPS - 5, callback=(callbacks if isinstance(callbacks, list) else [callbacks]) if with_callback else None)
    return model


def difference(one: NBSPSAC, other: NBSPSAC) -> float:
    pairs = zip(one.policy.parameters(), other.policy.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("name", BASELINES)
def test_it_learns_the_same_without_autograd(name: str) -> None:
    """In float32, where some 40 updates differ by rounding; another random number would show in everything."""
    theirs, ours = learned(name, how=False), learned(name, how=True)
    assert (ours.update_path, ours.update_obstacle) == ("fast", None)
    assert difference(theirs, ours) < 2e-5 < 1e-3 < difference(theirs, learned(name, how=True, with_callback=False))
