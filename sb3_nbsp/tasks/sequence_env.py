"""The environment that goes through a whole task sequence."""

from typing import Any, Literal, SupportsFloat, get_args

import gymnasium as gym
import numpy as np

from sb3_nbsp.tasks.evaluation_notice import EvaluationNotice
from sb3_nbsp.tasks.evaluation_spaces import check_agents_can_act, evaluation_spaces
from sb3_nbsp.tasks.place import Place
from sb3_nbsp.tasks.sequence import TaskSequence
from sb3_nbsp.tasks.task_env import Spaces, TaskEnv, check_same_spaces
from sb3_nbsp.tasks.worker_signals import leave_signals_to_the_trainer

SwitchOn = Literal["steps", "episode"]


class TaskSequenceEnv(gym.Env):
    """
    A Gymnasium environment that goes through a :class:`TaskSequence` by itself.

    The step that ends a segment is truncated (unless it terminated by itself) and has ``info["task_done"] = True``;
    the ``reset()`` after it begins the next segment's task. After the last segment the environment stays on the last
    task and reports no more ``task_done``. Beside what :class:`TaskEnv` gives, ``info`` holds ``segment`` (index of the
    segment that the step belongs to) and ``sequence_steps`` (steps taken so far, over all sub-environments).

    All tasks' environments are built at once, so that spaces that do not agree come to light here and not at the first
    switch. A seed given to ``reset()`` seeds each task anew; it does *not* take the sequence back to its beginning
    (SB3 seeds an environment again whenever a model is loaded).

    :param sequence: the tasks, in learning order
    :param n_envs: number of sub-environments that step together in one ``VecEnv``: each of them counts its own steps
        and multiplies, so that all switch at the same step
    :param switch_on: ``"steps"`` follows the sequence; ``"episode"`` (to evaluate or watch) takes the next of the
        distinct tasks at each ``reset()``, beginning with the first, reports no ``task_done``, gives the task's
        index as ``segment``, and uses the tasks' environments for evaluation
    :param render_mode: Gymnasium's render mode, for all tasks
    :raises TypeError: if ``sequence`` is something else
    :raises ValueError: if the spaces of the tasks differ, agents could not act where they are judged, the tasks cannot draw in
        this render mode, or a segment is shorter than one step of all sub-environments
    """

    def __init__(
        self, sequence: TaskSequence, n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None
    ) -> None:
        if switch_on not in get_args(SwitchOn):
            raise ValueError(f"switch_on must be 'steps' or 'episode', got {switch_on!r}.")
        leave_signals_to_the_trainer()
        self.task_sequence = sequence
        self.switch_on = switch_on
        self.render_mode = render_mode
        self._place = Place(sequence, n_envs)
        self._turn = -1  # with "episode": the index of the task whose turn it is
        self._notice = EvaluationNotice(self._place)
        self._seed: int | None = None
        self._seeded_tasks: set[int] = set()
        self._current: TaskEnv | None = None
        self._task_envs: list[TaskEnv] = []
        self._build()
        self.observation_space = self._task_envs[0].observation_space
        self.action_space = self._task_envs[0].action_space
        self.metadata = dict(self._task_envs[0].metadata)
        modes = self.metadata.get("render_modes") or []
        if render_mode is not None and render_mode not in modes:
            self.close()
            raise ValueError(f"render_mode must be one of {modes} for these tasks, or None, got {render_mode!r}.")

    def _build(self) -> None:
        judges = self.switch_on == "episode"
        # An agent is judged after training has cost its time.
        judged = {} if judges else evaluation_spaces(self.task_sequence)
        try:
            for task in self.task_sequence.tasks:
                self._task_envs.append(self.task_sequence.make_task_env(task.name, self.render_mode, evaluation=judges))
                first = self._task_envs[0]
                what, spaces = f"task {first.task_name!r}", _spaces_of(first)
                check_same_spaces(what, spaces, f"task {task.name!r}", _spaces_of(self._task_envs[-1]))
            check_agents_can_act(what, spaces, judged)
        except BaseException:
            self.close()
            raise

    def set_n_envs(self, n_envs: int) -> None:
        """
        Tell how many sub-environments step together. The position in the sequence is kept.

        :param n_envs: number of sub-environments
        :raises ValueError: if ``n_envs`` is below 1, or one step of all would overrun the shortest segment
        """
        self._place.set_n_envs(n_envs)

    @property
    def sequence_steps(self) -> int:
        """Steps taken so far, over all sub-environments."""
        return self._place.steps

    @property
    def _segment(self) -> int:
        return self._turn if self.switch_on == "episode" else self._place.segment

    def fast_forward(self, steps: int) -> None:
        """
        Go to a place in the sequence, e.g. to resume a run. The running episode is dropped: call ``reset()`` next.

        :param steps: environment steps already taken, over all sub-environments. From ``total_steps`` on, the sequence
            counts as finished: the last task, and no more ``task_done``.
        :raises ValueError: if ``steps`` is negative, or the environment switches by episode
        """
        if self.switch_on == "episode":
            raise ValueError("fast_forward() needs switch_on='steps': with 'episode' there is no place to go to.")
        self._place.go_to(steps)
        self._current = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        Begin an episode: of the next segment's task if the last step ended a segment.

        :param seed: from here on, each task's first episode is seeded with a number made from this seed and the task
        :param options: handed on to the task's environment
        :return: observation and info
        :raises gymnasium.error.ClosedEnvironmentError: after ``close()``
        """
        if not self._task_envs:
            raise gym.error.ClosedEnvironmentError("The env of this task sequence was closed. Make a new one.")
        super().reset(seed=seed)
        if seed is not None:
            self._seed, self._seeded_tasks = seed, set()
        self._enter_segment()
        if self.switch_on == "steps":
            self._notice.warn_if_evaluating()
        task = self._task_index()
        self._current = self._task_envs[task]
        obs, info = self._current.reset(seed=self._next_task_seed(task), options=options)
        return obs, self._with_position(info)

    def _task_index(self) -> int:
        return self._turn if self.switch_on == "episode" else self._place.task_index

    def evaluation_notice(self) -> str | None:
        """
        What SB3's ``evaluate_policy`` sees of this env. ``reset()`` warns with it where that is what steps the env.

        :return: a text the first time; ``None`` afterwards, and with ``switch_on="episode"``, where every task is seen
        """
        return self._notice.take() if self.switch_on == "steps" else None

    def _enter_segment(self) -> None:
        if self.switch_on == "episode":
            self._turn = (self._turn + 1) % len(self._task_envs)
        else:
            self._place.enter()

    def _next_task_seed(self, task: int) -> int | None:
        if self._seed is None or task in self._seeded_tasks:
            return None
        self._seeded_tasks.add(task)
        # Not seed + task: SB3 seeds sub-environments with neighbouring numbers, which would meet across tasks.
        return int(np.random.SeedSequence([self._seed, task]).generate_state(1)[0])

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """
        Take one step of the current task.

        :param action: the action
        :return: observation, reward, terminated, truncated, info
        """
        obs, reward, terminated, truncated, info = self._running().step(action)
        if self._place.step() and self.switch_on == "steps":
            truncated = truncated or not terminated
            info["task_done"] = True
        return obs, reward, terminated, truncated, self._with_position(info)

    def _with_position(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "segment": self._segment, "sequence_steps": self.sequence_steps}

    def episode_state(self) -> dict[str, Any]:
        """
        What a new env needs to stand where this one stands, in the sequence and in the running episode.

        :return: plain values and arrays
        """
        return {
            "place": self._place.state(),
            "turn": self._turn,
            "seed": self._seed,
            "seeded_tasks": sorted(self._seeded_tasks),
            "running": None if self._current is None else self._task_envs.index(self._current),
            "tasks": [env.episode_state() for env in self._task_envs],
        }

    def restore_episode(self, state: dict[str, Any]) -> bool:
        """
        Stand where another env stood; its episode is played again.

        :param state: its ``episode_state()``
        :return: whether this env stands there now, to the bit. If not, call ``reset()``: the place in the sequence is right.
        """
        self._place.restore(state["place"])
        self._turn, self._seed = state["turn"], state["seed"]
        self._seeded_tasks = set(state["seeded_tasks"])
        if state["running"] is None:
            self._current = None
            return False
        self._current = self._task_envs[state["running"]]
        others = [(env, saved) for env, saved in zip(self._task_envs, state["tasks"], strict=True) if env is not self._current]
        restored = [env.restore_episode(saved, plays=False) for env, saved in others if saved is not None]
        return all([*restored, self._current.restore_episode(state["tasks"][state["running"]])])

    def _running(self) -> TaskEnv:
        if self._current is None:
            raise gym.error.ResetNeeded("No episode is running. Call reset() first (after fast_forward() too).")
        return self._current

    def render(self) -> Any:
        """
        Render the current task.

        :return: what the task's environment gives in this render mode
        """
        return self._running().render()

    def __str__(self) -> str:
        # Where sub-envs are in other processes, this is all that tells where the wrappers around a sequence end.
        text, name = super().__str__(), TaskSequenceEnv.__name__
        return text if text.startswith(f"<{name}") else f"<{name}{text}>"

    def close(self) -> None:
        """Close every task's environment."""
        while self._task_envs:
            self._task_envs.pop().close()
        self._current = None


def _spaces_of(env: TaskEnv) -> Spaces:
    return env.observation_space, env.action_space
