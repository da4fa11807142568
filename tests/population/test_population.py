"""Agents that learn in lock-step: each is what it is alone, and an ordinary model all the while."""

import random

import numpy as np
import pytest
import torch as th
from helpers import NBSP_SETTINGS, VECTOR, ToyEnv, copied, same, sequence_env
from helpers.sac_models import saved_and_loaded
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecNormalize

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.population import Population, member, population

STEPS = 140  # of a sequence of three tasks with 60 steps each: over two switches


def made(seed: int = 0, env=None, steps: int = 60, n_envs: int = 1, **kwargs) -> NBSPSAC:
    env = env or sequence_env(n_envs, steps)
    return NBSPSAC("MlpPolicy", env, **{**NBSP_SETTINGS, "scoring_steps": 30, **kwargs, "seed": seed})


def weights(model) -> dict:
    return copied(model.policy.state_dict())


def everything(model) -> tuple:
    """What training leaves behind, bit for bit."""
    optimizers = [copied(o.state_dict()) for o in (model.actor.optimizer, model.critic.optimizer, model.ent_coef_optimizer)]
    buffer = model.replay_buffer
    rows = [buffer.observations, buffer.actions, buffer.rewards, buffer.dones]
    memory = copied(model.memory.state_dict())
    counters = [model.num_timesteps, model._n_updates, model._episode_num, model.learned_tasks, model.position_record]
    return weights(model), optimizers, rows, memory, counters, model.skill_neuron_records


def apart(one, other) -> float:
    a, b = weights(one), weights(other)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


ONE = {
    "sequence": {},
    "four envs": {"n_envs": 4, "train_freq": 2, "gradient_steps": -1},
    "normalized": {"env": lambda: VecNormalize(sequence_env())},
    "noise": {"action_noise": NormalActionNoise(np.zeros(2), np.full(2, 0.1))},
    "single task": {"env": lambda: Monitor(ToyEnv(VECTOR))},
    "gates": {"task_gates": True, "select_among": "active"},
}


@pytest.mark.parametrize("case", ONE)
def test_a_population_of_one_does_what_learn_does_bit_for_bit(case):
    settings = dict(ONE[case])
    make = settings.pop("env", None)
    models = []
    for together in (False, True):
        model = made(3, env=None if make is None else make(), **settings)
        np.random.seed(99), th.manual_seed(99) if together else None  # what others draw in between is nothing to it
        if not together:
            np.random.set_state(model.random_states.numpy), th.set_rng_state(model.random_states.torch)
        models.append(model)
        Population([model]).learn(STEPS) if together else model.learn(STEPS)
    assert models[0]._n_updates > 20 and same(everything(models[0]), everything(models[1]))


@pytest.mark.parametrize("together", [True, False], ids=["batched", "one after another"])
def test_a_member_among_others_does_what_it_does_alone(together, monkeypatch):
    if not together:
        monkeypatch.setattr(population, "WIDEST_ON_CPU", 0)
    settings = [
        {},
        {"mask_target": "gradient", "learning_rate": 1e-3},
        {"memory_size": 0, "gamma": 0.9},
        {"skill_fraction": 0},
    ]
    alone = [made(seed, **own) for seed, own in enumerate(settings)]
    for model in alone:
        model.random_states.restore()
        model.learn(STEPS)
    members = [made(seed, **own) for seed, own in enumerate(settings)]
    paths = set()

    class Note(BaseCallback):
        def _on_step(self) -> bool:
            paths.add(self.model.in_stack is not None)
            return True

    Population(members).learn(STEPS, callbacks=[Note() for _ in members])
    assert paths == ({True, False} if together else {False})
    for one, other in zip(alone, members, strict=True):
        assert one._n_updates == other._n_updates > 60 and one.learned_tasks == other.learned_tasks == ["east", "west"]
        if together:
            assert apart(one, other) < 1e-3
            assert np.abs(one.replay_buffer.observations - other.replay_buffer.observations).max() < 1e-3
        else:
            assert same(everything(one), everything(other))
        assert other.in_stack is None
    assert apart(members[0], made(0)) > 1e-2  # they learned
    assert min(apart(members[0], other) for other in members[1:]) > 1e-2  # each something of its own


def test_learning_twice_goes_on():
    once, twice = ([made(seed) for seed in (0, 1)] for _ in range(2))
    Population(once).learn(STEPS)
    Population(twice).learn(80)
    Population(twice).learn(STEPS - 80, reset_num_timesteps=False)
    assert [apart(*pair) < 1e-3 for pair in zip(once, twice, strict=True)] == [True, True]


class StopAt(BaseCallback):
    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def _on_step(self) -> bool:
        return self.num_timesteps < self.step


def test_a_member_that_stops_leaves_and_the_others_go_on():
    members = [made(seed) for seed in range(3)]
    Population(members).learn(STEPS, callbacks=[None, StopAt(50), None])
    assert [model.num_timesteps for model in members] == [STEPS, 50, STEPS]
    alone = made(1)
    alone.random_states.restore()
    alone.learn(STEPS, callback=StopAt(50))
    assert apart(alone, members[1]) < 1e-4 and alone._n_updates == members[1]._n_updates
    undisturbed = [made(seed) for seed in range(3)]
    Population(undisturbed).learn(STEPS)
    assert apart(undisturbed[0], members[0]) < 1e-3


class SaveAt(BaseCallback):
    def __init__(self, step: int):
        super().__init__()
        self.step = step
        self.loaded = self.seen = None

    def _on_step(self) -> bool:
        if self.num_timesteps == self.step:
            assert self.model.in_stack is not None
            self.seen = weights(self.model)
            with isolated_rng():  # loading seeds
                self.loaded = saved_and_loaded(self.model)
        return True


def test_a_member_saves_what_is_its_own(tmp_path):
    members, callbacks = [made(seed) for seed in range(4)], [SaveAt(45), None, SaveAt(46), None]
    Population(members).learn(60, callbacks=callbacks)
    for callback in (callbacks[0], callbacks[2]):
        assert same(weights(callback.loaded), callback.seen)
    undisturbed = [made(seed) for seed in range(4)]
    Population(undisturbed).learn(60)
    assert apart(undisturbed[0], members[0]) < 1e-4

    class SizeOf(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps == 50:
                self.model.save(tmp_path / "of_many")
            return True

    more = [made(seed) for seed in range(4)]
    Population(more).learn(55, callbacks=[SizeOf(), None, None, None])
    more[0].save(tmp_path / "alone")
    sizes = [(tmp_path / f"{name}.zip").stat().st_size for name in ("of_many", "alone")]
    assert sizes[0] < 1.05 * sizes[1]


def test_evaluations_are_those_of_a_run_of_its_own(tmp_path):
    results = {}
    for together in (False, True):
        members = [made(seed) for seed in range(2)]
        folders = [tmp_path / f"{together}" / str(seed) for seed in range(2)]
        callbacks = [SequenceEvalCallback(40, 2, log_path=folder) for folder in folders]
        if together:
            Population(members).learn(STEPS, callbacks=callbacks)
        else:
            for model, callback in zip(members, callbacks, strict=True):
                model.random_states.restore()
                model.learn(STEPS, callback=callback)
        results[together] = [callback.results for callback in callbacks]
        assert all((folder / "results.json").is_file() for folder in folders)
    for one, other in zip(results[False], results[True], strict=True):
        assert [(e.step, e.kind) for e in one.evaluations] == [(e.step, e.kind) for e in other.evaluations]
        for a, b in zip(one.evaluations, other.evaluations, strict=True):
            assert a.success == b.success and a.mean_return == pytest.approx(b.mean_return, abs=0.05)


def test_what_does_not_fit_into_the_batch_learns_by_itself():
    """A hook on a network: its gradient step is computed with autograd, beside the others'."""
    members = [made(seed) for seed in range(3)]
    alone = made(1)
    for model in (members[1], alone):
        model.actor.mu.register_forward_hook(lambda *args: None)
    Population(members).learn(60)
    alone.random_states.restore()
    alone.learn(60)
    assert members[1].update_path == alone.update_path == "autograd" and same(everything(alone), everything(members[1]))


def test_members_without_seeds_differ():
    members = [NBSPSAC("MlpPolicy", sequence_env(), **{**NBSP_SETTINGS, "seed": None}) for _ in range(2)]
    for model in members:
        model.policy.load_state_dict(members[0].policy.state_dict())
    Population(members).learn(40)
    assert apart(*members) > 1e-3


class NoteLog(BaseCallback):
    """What stood in the log whenever it was written."""

    def _on_training_start(self) -> None:
        self.rows: list[dict] = []
        write = self.logger.dump

        def dump(step=0):
            self.rows.append(dict(self.logger.name_to_value))
            write(step)

        self.logger.dump = dump

    def _on_step(self) -> bool:
        return True


def test_the_log_is_that_of_a_run_of_its_own():
    logged = {}
    for together in (False, True):
        members, note = [made(seed, steps=120) for seed in range(2)], NoteLog()
        if together:
            Population(members).learn(100, callbacks=[note, None])
        else:
            members[0].random_states.restore()
            members[0].learn(100, callback=note)
        logged[together] = note.rows
    assert len(logged[True]) == len(logged[False]) > 1
    assert logged[True][-1].keys() == logged[False][-1].keys() and "train/critic_loss" in logged[True][-1]
    assert logged[True][-1]["train/n_updates"] == logged[False][-1]["train/n_updates"]


@pytest.mark.parametrize("settings", [{}, {"n_envs": 4, "train_freq": 4, "gradient_steps": 4}], ids=["one env", "four envs"])
def test_scoring_and_evaluating_in_lock_step_is_that_of_each_alone(settings, monkeypatch):
    """The same steps and episodes with the same random numbers; a policy is asked by itself before learning only."""
    asked = []
    predict = NBSPSAC.predict

    def counted(model, *args, **kwargs):
        asked.append(model.num_timesteps)
        return predict(model, *args, **kwargs)

    runs = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(population, "play_ahead", lambda *_: None)
        members = [made(seed, **settings) for seed in range(3)]
        evaluations = [SequenceEvalCallback(50, 2) for _ in members]
        with monkeypatch.context() as patch:
            patch.setattr(NBSPSAC, "predict", counted)
            Population(members).learn(120, callbacks=[[one] for one in evaluations])
        rows = [[(e.step, e.kind, e.success, *e.mean_return.values()) for e in one.results.evaluations] for one in evaluations]
        runs.append((members, rows, list(asked)))
        asked.clear()
    (members, rows, seldom), (others, expected, often) = runs
    counts = [sum(0 < step < members[0].num_timesteps for step in steps) for steps in (seldom, often)]
    assert counts[0] <= 18 and counts[1] > 300  # by itself, a policy acts only before there is a batch of members
    assert [[row[:3] for row in member] for member in rows] == [[row[:3] for row in member] for member in expected]
    for one, other, own, alone in zip(members, others, rows, expected, strict=True):
        assert one.learned_tasks == other.learned_tasks == ["east", "west"] and apart(one, other) < 1e-3
        for a, b in zip(own, alone, strict=True):
            assert a[3:] == pytest.approx(b[3:], abs=0.02)
        assert same(one.random_states.numpy, other.random_states.numpy)  # memories were chosen with the same numbers
        records = [list(model.skill_neuron_records.values()) for model in (one, other)]
        assert len(records[0]) == 2 and one.taken_steps is None


def test_an_evaluation_that_fails_leaves_random_states_as_they_were(monkeypatch):
    members = [made(seed) for seed in range(2)]
    evaluations = [SequenceEvalCallback(40, 1) for _ in members]
    before, python_before = np.random.get_state()[1].copy(), random.getstate()

    def broken(*args):
        raise RuntimeError("a broken env")

    class Break(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps == 39:
                monkeypatch.setattr(evaluations[1]._evaluator.envs["west"], "step_wait", broken)
            return True

    monkeypatch.setattr(member, "KNOWN_CALLBACKS", (*member.KNOWN_CALLBACKS, __name__))
    with pytest.raises(RuntimeError, match="a broken env"):
        Population(members).learn(80, callbacks=[[evaluations[0]], [evaluations[1], Break()]])
    assert (np.random.get_state()[1] == before).all() and random.getstate() == python_before
