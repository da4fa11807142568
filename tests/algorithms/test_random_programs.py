"""
Random programs of learn, set_env, consolidate, save and load, evaluate, callbacks, over two sequences and two single envs.

Whatever is done in whatever order, refusals included: every finished task is known exactly once, its memory holds its own
transitions only, and no parameter is NaN.
"""

import io
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, on_cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

MARKS = {name: float(number) for number, name in enumerate("ABCDEF", start=1)}
REFUSALS = ("is learned since", "has ended and is not consolidated", "and not consolidated", "Within learn()", "Unknown task")
STEPS = 24


class Marked(gym.Env):
    """Observes its task's mark, and noise; episodes of six steps."""

    def __init__(self, name, discrete):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = spaces.Discrete(2) if discrete else spaces.Box(-1.0, 1.0, (1,))
        self.mark, self.steps = MARKS[name], 0

    def _observe(self):
        return np.array([self.mark, self.np_random.normal()], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        return self._observe(), float(self.np_random.normal()), False, self.steps >= 6, {}


def make_env(case, names):
    if len(names) == 1:
        return DummyVecEnv([lambda: Monitor(Marked(names, case.discrete))])
    tasks = tuple(Task(name, lambda render_mode, name=name: Marked(name, case.discrete)) for name in names)
    return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(TaskSequence(tasks, STEPS)))])


class Once(BaseCallback):
    def __init__(self, what):
        super().__init__()
        self.what, self.done = what, False

    def _on_step(self):
        if not self.done and self.n_calls == 5:
            self.done = True
            self.what(self.model)
        return True


class Program:
    """A model, and what a careful observer knows of it."""

    def __init__(self, case):
        self.case, self.envs = case, {names: make_env(case, names) for names in ("AB", "CD", "E", "F")}
        self.at = "AB"
        rehearsal = {} if case.on_policy else {"rehearsal": "both", "clone_batch_size": 8}
        self.model = case.made(self.envs["AB"], scoring_steps=12, memory_size=20, **rehearsal)
        self.by_hand = None  # the single env that was learned on since the last consolidation

    def run(self, operation, argument):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                getattr(self, operation)(argument)
        except ValueError as error:
            assert any(words in str(error) for words in REFUSALS), error
        self.check()

    def learn(self, argument):
        steps, reset = argument
        single = self.at if len(self.at) == 1 else None
        assume_one_task = self.by_hand in (None, single)  # by hand nobody tells the model: set_env() warns
        if single and not assume_one_task:
            self.model.consolidate(self.envs[self.by_hand], self.by_hand)
        self.model.learn(steps, reset_num_timesteps=reset)  # raises before it learns anything
        self.by_hand = single

    def set_env(self, names):
        if self.by_hand is not None and names != self.by_hand:
            self.consolidate(None)
        self.model.set_env(self.envs[names])
        self.at = names

    def consolidate(self, _):
        name = self.by_hand or self.model.position.pending or self.model.position.task
        if name is not None:
            self.model.consolidate(make_env(self.case, name), name)
            self.by_hand = None

    def abandon(self, _):
        self.model.abandon_task()
        self.by_hand = None

    def save_and_load(self, _):
        file = io.BytesIO()
        self.model.save(file)
        file.seek(0)
        self.envs[self.at] = make_env(self.case, self.at)
        self.model = self.case.cls.load(file, env=self.envs[self.at])

    def evaluate(self, _):
        evaluate_policy(self.model, self.model.get_env(), n_eval_episodes=2, warn=False)

    def within_learn(self, own_env):
        name = self.at if len(self.at) == 1 else None

        def consolidate(model):
            task = name or model.position.task
            model.consolidate(make_env(self.case, task) if own_env else None, task)

        if self.by_hand in (None, name):
            before = self.model.num_timesteps
            try:
                self.model.learn(16, callback=Once(consolidate), reset_num_timesteps=False)
            finally:
                self.by_hand = name if self.model.num_timesteps > before else self.by_hand

    def check(self):
        model, position = self.model, self.model.position
        assert len(set(model.learned_tasks)) == len(model.learned_tasks)
        finished = [task for task, _ in position.visits[: position.n_completed]]
        assert set(finished) <= {*model.learned_tasks, position.pending} | self.abandoned(finished)
        cloned = {} if self.case.on_policy else model.cloning.memory.tasks
        for index, samples in [*model.memory.tasks.items(), *cloned.items()]:
            assert set(np.unique(samples.observations[:, 0])) == {MARKS[model.learned_tasks[index]]}, model.learned_tasks
        assert all(bool(p.isfinite().all()) for p in model.policy.parameters())

    def abandoned(self, finished):
        """A pending task may be abandoned; nothing else leaves a finished task unknown."""
        return set(finished[-1:]) if self.model.position.is_fresh else set()


OPERATIONS = st.one_of(
    st.tuples(st.just("learn"), st.tuples(st.sampled_from([7, 16, 24, 40, 60]), st.booleans())),
    st.tuples(st.just("set_env"), st.sampled_from(["AB", "CD", "E", "F"])),
    st.tuples(st.sampled_from(["consolidate", "abandon", "save_and_load", "evaluate"]), st.none()),
    st.tuples(st.just("within_learn"), st.booleans()),
)


def walk(case, n_programs, longest):
    """Run random programs, the same ones each time."""

    @settings(max_examples=n_programs, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(OPERATIONS, min_size=4, max_size=longest))
    def programs(operations):
        program = Program(case)
        for operation in operations:
            program.run(*operation)

    programs()


@on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
def test_whatever_is_done_in_whatever_order(case):
    walk(case, n_programs=12, longest=9)


@pytest.mark.expensive
@on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
def test_many_programs(case):
    walk(case, n_programs=150, longest=12)
