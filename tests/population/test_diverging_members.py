"""A member that diverges, or whose callback or env fails, leaves and is named; the others are what they are without it."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import NBSP_SETTINGS, VECTOR, ToyEnv, same, sequence_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.finite import NotFiniteError
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.population import Population, population
from sb3_nbsp.sac import batched_learner
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv


def made(seed: int, env=None) -> NBSPSAC:
    return NBSPSAC("MlpPolicy", env or sequence_env(), **{**NBSP_SETTINGS, "scoring_steps": 30, "seed": seed + 5})


class At(BaseCallback):
    """Does something to its model at a step."""

    def __init__(self, step: int, do):
        super().__init__()
        self.step, self.do, self.n_ends = step, do, 0

    def _on_step(self) -> bool:
        if self.num_timesteps == self.step:
            self.do(self.model)
        return True

    def _on_training_end(self) -> None:
        self.n_ends += 1


def break_losses(model) -> None:
    model.replay_buffer.rewards[:] = np.nan
    model.replay_buffer.rows_changed()


def break_actor(model) -> None:
    model.actor.mu.bias.data.fill_(np.nan)


def break_evaluation(model) -> None:
    """At the end of a task, which follows: scoring refuses such parameters."""
    model.log_ent_coef.data.fill_(np.inf)


@pytest.mark.parametrize("do", [break_losses, break_actor, break_evaluation])
@pytest.mark.parametrize("together", [True, False], ids=["batched", "one after another"])
def test_it_leaves_and_the_others_go_on(do, together, monkeypatch):
    monkeypatch.setattr(batched_learner, "LOSSES_INTERVAL", 5)
    if not together:
        monkeypatch.setattr(population, "WIDEST_ON_CPU", 0)
    members, callback = [made(seed) for seed in range(3)], At(50, do)
    with pytest.raises(NotFiniteError, match=r"member 1 \(seed 6\) left with this error: .* (is|are) ") as told:
        Population(members).learn(100, callbacks=[None, callback, None])
    assert "So did" not in str(told.value) and callback.n_ends == 0
    assert [model.num_timesteps for model in members[::2]] == [100, 100] and 50 <= members[1].num_timesteps < 80
    assert all(model.in_stack is None and not model.is_learning for model in members)
    others = [made(seed) for seed in (0, 2)]
    Population(others).learn(100)
    for model, other in zip(members[::2], others, strict=True):
        assert all(bool(p.isfinite().all()) for p in model.policy.parameters())
        assert same(model.random_states.torch, other.random_states.torch)
        pairs = zip(model.policy.parameters(), other.policy.parameters(), strict=True)
        assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-4


def test_all_that_did_are_named():
    members = [made(seed) for seed in range(3)]
    with pytest.raises(NotFiniteError, match=r"member 0 \(seed 5\).*So did member 2 \(seed 7\), with NotFiniteError\(.*\)\.$"):
        Population(members).learn(60, callbacks=[At(45, break_actor), None, At(30, break_actor)])
    assert members[1].num_timesteps == 60


def lose_server(model) -> None:
    raise RuntimeError("plot server gone")


def run_into_own_error(model) -> None:
    raise KeyError("task")


@pytest.mark.parametrize("do", [lose_server, run_into_own_error])
def test_one_whose_callback_fails_costs_the_others_nothing(do):
    members, others = [made(seed) for seed in range(3)], [made(seed) for seed in (0, 2)]
    callback, population = At(50, do), Population(members)
    with pytest.raises((RuntimeError, KeyError)) as told:
        population.learn(100, callbacks=[None, callback, None])
    assert told.value.__notes__ == ["In a population member 1 (seed 6) left with this error."]
    assert [model.num_timesteps for model in members] == [100, 50, 100]
    assert list(population.failed.items()) == [(1, told.value)]
    Population(others).learn(100)
    for model, other in zip(members[::2], others, strict=True):
        assert same(model.random_states.torch, other.random_states.torch)
        pairs = zip(model.policy.parameters(), other.policy.parameters(), strict=True)
        assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-4


class Fails(gym.Wrapper):
    n_steps = 0

    def step(self, action):
        Fails.n_steps += 1
        if Fails.n_steps == 30:
            raise ValueError("the simulator has no licence")
        return super().step(action)


def test_one_whose_env_fails_costs_the_others_nothing():
    members = [made(seed, Monitor(wrap(gym.make("Pendulum-v1")))) for seed, wrap in enumerate((lambda env: env, Fails))]
    with pytest.raises(ValueError, match="licence"):
        Population(members).learn(60)
    assert [model.num_timesteps for model in members] == [60, 29]


def test_each_error_is_told_when_it_comes_up_also_where_all_are_stopped_later():
    def stop(model) -> None:
        raise KeyboardInterrupt

    population = Population([made(seed) for seed in range(3)])
    with pytest.warns(UserWarning, match=r"Member with seed 6 leaves its population: RuntimeError\('plot"):
        with pytest.raises(KeyboardInterrupt):
            population.learn(100, callbacks=[At(70, stop), At(30, lose_server), None])
    assert population.failed == {}, "the others have not come to the end"


def test_an_error_that_is_nobodys_own_is_no_end_of_the_others(monkeypatch):
    """Else they would be saved as if they had learned."""
    together = Population([made(seed) for seed in range(3)])
    train = batched_learner.BatchedLearner.train

    def run_out_of_memory(learner, *args, **kwargs):
        if learner.models[0].num_timesteps >= 70:
            raise MemoryError("all of it is taken")
        return train(learner, *args, **kwargs)

    monkeypatch.setattr(batched_learner.BatchedLearner, "train", run_out_of_memory)
    with pytest.raises(MemoryError, match="all of it"):
        together.learn(100, callbacks=[None, At(30, lose_server), None])
    assert together.failed == {}


class NotThere(gym.ObservationWrapper):
    """After the evaluations at the start and the first of training."""

    n = 0

    def __init__(self, env, how):
        super().__init__(env)
        self.how = how

    def observation(self, observation):
        NotThere.n += 1
        if NotThere.n > 50 and self.how == "error":
            raise RuntimeError("the simulator has no licence")
        return np.full_like(observation, np.nan) if NotThere.n > 50 else observation


@pytest.mark.parametrize("how", ["error", "nan"])
def test_one_that_cannot_be_judged_costs_the_others_nothing(how, monkeypatch):
    monkeypatch.setattr(population, "WIDEST_ON_CPU", 0)  # each answers for itself

    def env(judge):
        tasks = [Task(name, lambda _: ToyEnv(VECTOR), make_evaluation=judge) for name in "ab"]
        return Monitor(TaskSequenceEnv(TaskSequence(tasks, steps_per_task=60)))

    judges = (None, lambda _: NotThere(ToyEnv(VECTOR), how), None)
    members = [made(seed, env(judge)) for seed, judge in enumerate(judges)]
    together, NotThere.n = Population(members), 0
    with pytest.raises((RuntimeError, NotFiniteError), match=r"licence|nan"):
        together.learn(100, callbacks=[SequenceEvalCallback(eval_freq=20, n_eval_episodes=1) for _ in members])
    assert [model.num_timesteps for model in members] == [100, members[1].num_timesteps, 100]
    assert 0 < members[1].num_timesteps < 100 and list(together.failed) == [1]


def test_a_process_that_is_gone_ends_all():
    """It may hold the envs of several members, and may have been told to stop."""

    def lose_process(model) -> None:
        raise EOFError

    members = [made(seed) for seed in range(2)]
    with pytest.raises(EOFError):
        Population(members).learn(100, callbacks=[At(50, lose_process), None])
    assert members[1].num_timesteps <= 50


class Broken(gym.ObservationWrapper):
    def observation(self, observation):
        return np.full_like(observation, np.nan)


def test_what_is_wrong_from_the_beginning_is_told_before_training():
    members = [made(seed, Monitor(wrap(gym.make("Pendulum-v1")))) for seed, wrap in enumerate((lambda env: env, Broken))]
    with pytest.raises(NotFiniteError, match=r"member 1 \(seed 6\)"):
        Population(members).learn(60)
    assert [model.num_timesteps for model in members] == [0, 0]


class DivergesAtOnce(BaseCallback):
    def _on_training_start(self) -> None:
        raise NotFiniteError("infinite")

    def _on_step(self) -> bool:
        return True


def test_who_diverges_before_the_first_step_is_named_too():
    alone = Population([made(0), made(1)])
    with pytest.raises(NotFiniteError, match=r"member 1 \(seed 6\)"):
        alone.learn(60, callbacks=[None, DivergesAtOnce()])
    assert alone.failed == {}, "nothing was learned"
