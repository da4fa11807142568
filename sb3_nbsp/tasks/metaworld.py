"""Meta-World v3 tasks with what a sequence needs: seeds that work, one time limit, action repeat, no upstream traps."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from types import ModuleType
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_nbsp.base.arguments import Whole, check_values
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.tasks.sequence import TaskSequence, sequence_of_names
from sb3_nbsp.tasks.task import Task

RewardVersion = Literal["v1", "v2"]  # Continual World's, and Meta-World's default: results of the two do not compare
SIMULATOR_STEPS = 500  # the simulator raises beyond
FIXED_GOAL_SEED = 0
OBSERVATION_SIZE = 39
ARGUMENTS = {
    "action_repeat": Annotated[int, Whole(1, "simulator steps", SIMULATOR_STEPS)],
    "horizon": Annotated[int, Whole(1, "env steps")] | None,
    "random_goals": bool,
    "reward_function_version": RewardVersion,
}


class MetaWorldEnv(gym.Env):
    """
    One Meta-World v3 task as in the MT1 benchmark: the goal is shown in the observation (39,), success ends no episode.

    Meta-World ignores ``reset(seed=)``; here everything follows from it. ``reset(seed=s)`` makes the benchmark's 50
    goals from ``s`` (about half a second, once for each ``s`` in a process), and each episode draws one of them. So
    sub-environments and an evaluation environment, which have other seeds, meet other goals. With ``random_goals=False`` there
    is one goal, the same in all environments whatever their seed.

    The ``info`` of ``reset()`` records ``reward_function_version``.

    :param task: a v3 name, with or without ``-v3``
    :param render_mode: ``"rgb_array"``, ``"human"``, ``"depth_array"`` or ``None``
    :param action_repeat: simulator steps per step: the reward is their mean, and any success among them counts
    :param horizon: steps per episode (not simulator steps); by default as many as the simulator's 500 allow
    :param random_goals: draw one of 50 goals in each episode, instead of always the same goal
    :param reward_function_version: ``v2``, 0 to 10 per simulator step, or ``v1``, that of Continual World, whose scale differs
        from task to task (up to thousands). Upstream's ``v1`` of stick-pull reads the object's position where an earlier
        observation had it; here it reads where it is.
    :raises ImportError: if Meta-World is not installed
    :raises ValueError: if the task or the version is unknown, or ``horizon * action_repeat`` exceeds 500
    """

    def __init__(
        self,
        task: str,
        render_mode: str | None = None,
        action_repeat: int = 1,
        horizon: int | None = None,
        random_goals: bool = True,
        reward_function_version: RewardVersion = "v2",
    ) -> None:
        self._metaworld = _import_metaworld()
        self._name = f"{_short_name(task, self._metaworld)}-v3"
        self.horizon = _checked_horizon(horizon, action_repeat, random_goals, reward_function_version)
        self.action_repeat = action_repeat
        self.random_goals = random_goals
        self.render_mode = render_mode
        self.reward_function_version = reward_function_version
        self._simulator = self._metaworld.ALL_V3_ENVIRONMENTS[self._name](
            render_mode=render_mode, camera_name="corner2", reward_function_version=reward_function_version
        )
        if (self._name, reward_function_version) == ("stick-pull-v3", "v1"):
            self._simulator.compute_reward = partial(_reward_of_stick_pull, self._simulator.compute_reward)
        # The declared bounds are wrong upstream: they hold the goal at 0 (Metaworld #599).
        self.observation_space = spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZE,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (4,))
        fps = max(1, self._simulator.metadata["render_fps"] // action_repeat)
        self.metadata = {**self._simulator.metadata, "render_fps": fps}
        self._goals: tuple[Any, ...] = ()
        self._elapsed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        Draw a goal and begin an episode.

        :param seed: makes the goals and the order they are drawn in
        :param options: not used
        :return: observation (39,) and info
        """
        super().reset(seed=seed)
        if seed is not None or not self._goals:
            self._goals = self._make_goals()
        self._simulator.set_task(self._goals[int(self.np_random.integers(len(self._goals)))])
        obs, info = self._simulator.reset()
        self._elapsed = 0
        return obs, {**info, "reward_function_version": self.reward_function_version}

    def _make_goals(self) -> tuple[Any, ...]:
        seed = int(self.np_random.integers(2**31)) if self.random_goals else FIXED_GOAL_SEED
        goals = _goals(self._name, seed)
        return goals if self.random_goals else goals[:1]

    def step(self, action: npt.NDArray[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """
        Take ``action_repeat`` steps of the simulator.

        :param action: movement of the hand and the gripper (4,), each in [-1, 1]
        :return: observation, mean reward, ``False``, whether the time is up, info of the last simulator step
        """
        rewards, success = [], 0.0
        for _ in range(self.action_repeat):
            obs, reward, _, _, info = self._simulator.step(action)
            rewards.append(float(reward))
            success = max(success, float(info["success"]))
        self._elapsed += 1
        return obs, float(np.mean(rewards)), False, self._elapsed >= self.horizon, {**info, "success": success}

    def render(self) -> Any:
        """
        Show the scene from the camera ``corner2``.

        :return: the picture in the modes that give one
        """
        frame = self._simulator.render()
        # Meta-World mounts this camera upside down.
        return np.rot90(frame, 2).copy() if isinstance(frame, np.ndarray) else frame

    def close(self) -> None:
        """Free the simulator."""
        self._simulator.close()


def metaworld_sequence(
    tasks: str | Iterable[str] = ("window-open", "window-close"),
    steps_per_task: int | tuple[int, ...] = 500_000,
    cycles: int = 1,
    action_repeat: int = 1,
    horizon: int | None = None,
    random_goals: bool = True,
    task_id: bool | int = False,
    order: Iterable[str] | None = None,
    reward_function_version: RewardVersion = "v2",
) -> TaskSequence:
    """
    Meta-World tasks, one after another. See :class:`MetaWorldEnv` for what an episode is.

    :param tasks: v3 names, with or without ``-v3``; the sequence calls them without
    :param steps_per_task: environment steps (not simulator steps) for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param action_repeat: simulator steps per environment step
    :param horizon: environment steps per episode, ``500 // action_repeat`` by default
    :param random_goals: draw one of 50 goals in each episode, instead of always the same goal
    :param task_id: append the one-hot task id to the observation; a number is its length, with room for later tasks
    :param order: names of the tasks in the order in which they are visited in a cycle; default: each once
    :param reward_function_version: ``v2`` or ``v1``, see :class:`MetaWorldEnv`
    :return: the sequence
    :raises ImportError: if Meta-World is not installed
    :raises ValueError: if a task or the version is unknown, or ``horizon * action_repeat`` exceeds 500
    """
    horizon = _checked_horizon(horizon, action_repeat, random_goals, reward_function_version)
    kept: dict[str, Any] = {"action_repeat": action_repeat, "horizon": horizon, "random_goals": random_goals}
    make = partial(MetaWorldEnv, reward_function_version=reward_function_version, **kept)
    name_of = partial(_short_name, module=_import_metaworld())
    return sequence_of_names(
        lambda name: Task(name, partial(make, name)), tasks, steps_per_task, cycles, task_id, order, name_of
    )


@lru_cache(maxsize=1000)  # some 10 kB each
def _goals(name: str, seed: int) -> tuple[Any, ...]:
    """
    The 50 goals of MT1. Evaluations begin with the same seed each time, and making goals takes as long as 500 env steps.

    :param name: of the task, as Meta-World calls it
    :param seed: what they follow from
    """
    return tuple(_import_metaworld().MT1(name, seed=seed).train_tasks)


def _import_metaworld() -> ModuleType:
    try:
        import metaworld
    except ImportError as error:
        raise ImportError(f'Meta-World tasks need metaworld ({error}): pip install "sb3-nbsp[metaworld]"') from error
    return metaworld


def _short_name(name: str, module: ModuleType) -> str:
    known = [full.removesuffix("-v3") for full in module.ALL_V3_ENVIRONMENTS]
    short = name.removesuffix("-v3")
    if short not in known:
        raise ValueError(unknown_name_message("Meta-World v3 task", short, known))
    return short


class _StickPullObservation(np.ndarray):
    """
    An observation of stick-pull whose entries 6 to 8 are those 11 to 13: the object's position, where version 1 of the reward
    looks for it. An observation once was hand (0 to 2), stick (3 to 5), object (6 to 8); now it is hand, gripper, stick (4 to
    6), its rotation, object (11 to 13), and upstream moved the stick's indices only (metaworld 3.1.1).
    """

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[slice(11, 14) if key == slice(6, 9) else key]


def _reward_of_stick_pull(compute_reward: Callable[..., Any], action: npt.NDArray[Any], obs: npt.NDArray[Any]) -> Any:
    return compute_reward(action, obs.view(_StickPullObservation))


def _checked_horizon(horizon: int | None, action_repeat: int, random_goals: bool, version: RewardVersion) -> int:
    """Env steps per episode, of arguments that were checked."""
    check_values(
        ARGUMENTS,
        {
            "action_repeat": action_repeat,
            "horizon": horizon,
            "random_goals": random_goals,
            "reward_function_version": version,
        },
    )
    longest = SIMULATOR_STEPS // action_repeat
    if horizon is not None and horizon > longest:
        raise ValueError(
            f"horizon must be at most {longest} with action_repeat={action_repeat}, got {horizon}: "
            f"Meta-World's simulator stops after {SIMULATOR_STEPS} of its own steps."
        )
    return longest if horizon is None else horizon
