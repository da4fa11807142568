"""
The table of the five classes: each with its parent, its kind of actions and small settings with which both learn.

What holds for all classes is tested on every row; nothing else tells one class from another.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from helpers import HORIZON, SETTINGS, VECTOR, AnyActionEnv, sequence_env, task_env
from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC, plain_settings
from sb3_nbsp.tasks import PointGoalEnv, TaskEnv, point_goal_sequence

SEED = {"seed": 1}
OFF_POLICY = {name: SETTINGS[name] for name in ("learning_starts", "batch_size", "buffer_size")}
GREEDY = {**OFF_POLICY, "train_freq": 2, "target_update_interval": 20}
ON_POLICY = {"n_steps": 16, "batch_size": 8, "n_epochs": 2}


@dataclass(frozen=True)
class Case:
    """
    One class.

    :param cls: ours
    :param parent: SB3's
    :param small: arguments of both, with which a few steps are enough to learn
    :param discrete: whether its actions are
    :param on_policy: whether it learns from rollouts
    :param policy_kwargs: what its policies need beside ``net_arch``
    """

    cls: Any
    parent: Any
    small: dict[str, Any]
    discrete: bool = False
    on_policy: bool = False
    policy_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def off(self) -> dict[str, Any]:
        """Our arguments that make it the parent, bit for bit, also over a task switch."""
        return plain_settings(self.cls) | ({"fast_update": False} if self.cls is NBSPSAC else {})

    @property
    def id(self) -> str:
        return self.parent.__name__.lower()

    def settings(self, net_arch: Any = (8, 8), policy_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
        """Arguments of both, with changes."""
        net = {"net_arch": list(net_arch) if isinstance(net_arch, tuple) else net_arch}
        return {**self.small, **SEED, "policy_kwargs": {**net, **self.policy_kwargs, **(policy_kwargs or {})}, **kwargs}

    def made(self, env: Any = None, policy: str = "MlpPolicy", **kwargs: Any) -> Any:
        """A model of ours, on a sequence of two tasks of 60 steps if no env is given."""
        nbsp = {"scoring_steps": 60, "memory_size": 50, **({} if self.on_policy else {"rehearsal": "replay"})}
        return self.cls(policy, self.sequence_env() if env is None else env, **self.settings(**{**nbsp, **kwargs}))

    def made_parent(self, env: Any = None, policy: str = "MlpPolicy", **kwargs: Any) -> BaseAlgorithm:
        return self.parent(policy, self.sequence_env() if env is None else env, **self.settings(**kwargs))

    def sequence_env(self, n_envs: int = 1, **kwargs: Any) -> VecEnv:
        return sequence_env(n_envs, discrete=self.discrete, **kwargs)

    def task_env(self, name: str = "east") -> TaskEnv:
        """A single task with the very spaces that it has in :meth:`sequence_env`."""
        return task_env(name, point_goal_sequence(horizon=HORIZON, discrete=self.discrete))

    def point_goal(self, n_envs: int = 1) -> VecEnv:
        """A single task as it is without a sequence."""
        return make_vec_env(lambda: PointGoalEnv("east", horizon=HORIZON, discrete=self.discrete), n_envs)

    def toy_env(self, space: spaces.Space = VECTOR) -> AnyActionEnv:
        """Noise of any space."""
        return AnyActionEnv(spaces.Discrete(3) if self.discrete else spaces.Box(-2.0, 2.0, (2,)), space)


TABLE = (
    Case(NBSPSAC, SAC, OFF_POLICY),
    Case(NBSPTQC, TQC, OFF_POLICY, policy_kwargs={"n_quantiles": 5}),
    Case(NBSPDQN, DQN, GREEDY, discrete=True),
    Case(NBSPQRDQN, QRDQN, GREEDY, discrete=True, policy_kwargs={"n_quantiles": 5}),
    Case(NBSPPPO, PPO, ON_POLICY, on_policy=True),
)
SAC_CASE, TQC_CASE, DQN_CASE, QRDQN_CASE, PPO_CASE = TABLE


def case_of(cls: type) -> Case:
    """The row of a class: ours, its parent, or a subclass."""
    return next(case for case in TABLE if issubclass(cls, case.parent))


def on_cases(*cases: Case) -> pytest.MarkDecorator:
    """Run a test with each of some rows as its ``case``."""
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.id)


every_case = on_cases(*TABLE)
off_policy_cases = on_cases(*(case for case in TABLE if not case.on_policy))
greedy_cases = on_cases(DQN_CASE, QRDQN_CASE)
