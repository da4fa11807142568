"""ANCL against its equation, and in its two phases."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import SETTINGS, copied, same, sequence_env
from stable_baselines3 import DQN, PPO, SAC
from test_baselines import STEPS, discrete_env, nbspsac, sac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import ANCL, EWC
from sb3_nbsp.baselines.ancl import AUXILIARY_SEED, merge
from sb3_nbsp.baselines.parameters import learned_parameters, optimizers


@pytest.mark.known_answer
def test_fisher_information_is_merged():
    first = merge({}, {"w": th.tensor([4.0])}, 0.25)
    assert first["w"].tolist() == [3.0]
    assert merge(first, {"w": th.tensor([1.0])}, 0.25)["w"].tolist() == [0.25 * 3 + 0.75]


def of_ewc(callback: ANCL, task: str | None) -> dict[str, th.Tensor]:
    """The Fisher information as EWC computes it, from ten samples."""
    ewc = EWC(networks=callback.networks, n_samples=10)
    ewc.model, ewc.state = callback.model, callback.state
    return ewc.importances(task or "")


class Watched(ANCL):
    """Notes the policy at task ends and where the network begins again."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"n_samples": 10, "fusion": 0.25, **kwargs})
        self.seen: list[tuple[str, int, dict[str, th.Tensor]]] = []

        self.held: list[tuple[str, int]] = []

    def _note(self, what: str) -> None:
        self.seen.append((what, self.model.num_timesteps, copied(self.model.policy.state_dict())))

    def on_task_end(self, task: str) -> None:
        with self.own_rng():
            expected = merge(copied(self.state["importances"]), of_ewc(self, task), 0.25)
        weights = copied(dict(learned_parameters(self.model, self.networks)))
        super().on_task_end(task)
        assert same(self.state["importances"], expected) and same(self.state["anchors"], weights)
        self._note("end")

    def _begin_again(self) -> None:
        self._note("auxiliary")
        with self.own_rng(AUXILIARY_SEED):
            fisher = of_ewc(self, self.state["learned"])
        weights = copied(dict(learned_parameters(self.model, self.networks)))
        super()._begin_again()
        assert same(self.state["auxiliary"], {"importances": fisher, "anchors": weights})
        assert not any(optimizer.state for optimizer in optimizers(self.model))
        self._note("again")

    def _on_step(self) -> bool:
        p = next(iter(learned_parameters(self.model, self.networks).values()))
        self.held.append((self.state["learned"] or "", len(p._post_accumulate_grad_hooks or ())))
        return super()._on_step()


Watched.__name__ = "ANCL"


def two_envs() -> SAC:
    return SAC("MlpPolicy", sequence_env(2, STEPS), **SETTINGS)


@pytest.mark.parametrize("make", [sac, two_envs, partial(nbspsac, task_warmup=5)], ids=["sac", "two-envs", "nbspsac"])
def test_each_later_task_is_learned_twice(make):
    model, callback = make(), Watched()
    model.learn(2 * STEPS + 10, callback=callback)
    assert [(what, at) for what, at, _ in callback.seen] == [
        ("end", STEPS),
        ("auxiliary", STEPS + STEPS // 2),
        ("again", STEPS + STEPS // 2),
        ("end", 2 * STEPS),
    ]
    end, auxiliary, again, _ = (state for _, _, state in callback.seen)
    assert same(again, end) and not same(auxiliary, end)  # with target networks
    assert callback.state["start"] is not None  # the third task's auxiliary network learns
    if make is sac:  # both penalties are in force in the second part of the second task, in the same training
        assert [n for _, n in callback.held] == [0] * (STEPS + STEPS // 2) + [2] * (STEPS // 2) + [0] * 10


def test_the_auxiliary_network_gets_half_of_its_own_tasks_steps():
    """Of the second task's 20, not of the first one's 40."""
    model, callback = SAC("MlpPolicy", sequence_env(steps_per_task=(STEPS, STEPS // 2)), **SETTINGS), Watched()
    model.learn(STEPS + STEPS // 2, callback=callback)
    half = STEPS + STEPS // 4
    assert [(what, at) for what, at, _ in callback.seen][1:3] == [("auxiliary", half), ("again", half)]


@pytest.mark.known_answer
def test_the_gradient_is_that_of_both_penalties():
    model = sac(policy_kwargs={"net_arch": [8], "optimizer_class": th.optim.SGD}, learning_rate=0.0)
    callback = ANCL(coef=3.0, aux_coef=0.5, n_samples=10)
    model.learn(STEPS + STEPS // 2 + 5, callback=callback)
    started = model._setup_learn(10, callback, reset_num_timesteps=False)[1]
    started.on_training_start({}, {})
    weight, name = model.actor.mu.weight, "actor.mu.weight"
    callback.state["anchors"][name][:] = 1.0
    callback.state["importances"][name][:] = 2.0
    auxiliary = callback.state["auxiliary"]
    auxiliary["anchors"][name][:] = -1.0
    auxiliary["importances"][name][:] = 4.0
    callback._put_in_force()
    weight.data.fill_(3.0)
    model.actor.optimizer.zero_grad()
    (0 * weight.sum()).backward()
    # coef F (theta - theta_old) + aux_coef F_aux (theta - theta_aux) = 3 * 2 * 2 + 0.5 * 4 * 4
    assert th.allclose(weight.grad, th.full_like(weight, 20.0))
    started.on_training_end()


def test_the_auxiliary_network_is_held_by_nothing():
    model, callback = sac(), ANCL(n_samples=10)
    model.learn(STEPS + 5, callback=callback)
    started = model._setup_learn(10, callback, reset_num_timesteps=False)[1]
    started.on_training_start({}, {})
    assert not any(p._post_accumulate_grad_hooks for p in model.actor.parameters())
    started.on_training_end()


@pytest.mark.parametrize("cls", [PPO, DQN])
def test_other_algorithms_learn_with_it(cls):
    env = discrete_env() if cls is DQN else sequence_env(steps=STEPS)
    small = {"n_steps": 10, "batch_size": 10} if cls is PPO else {"learning_starts": 10, "train_freq": 1}
    model, callback = cls("MlpPolicy", env, seed=1, policy_kwargs={"net_arch": [8]}, **small), Watched()
    model.learn(2 * STEPS, callback=callback)
    assert [what for what, _, _ in callback.seen] == ["end", "auxiliary", "again", "end"]


def test_tasks_that_are_ended_by_hand_are_learned_twice_too():
    model, callback = SAC("MlpPolicy", "Pendulum-v1", **SETTINGS), Watched(aux_steps=20)
    model.learn(STEPS, callback=callback)
    callback.end_task("A")
    model.learn(2 * STEPS, callback=callback, reset_num_timesteps=False)
    assert [(what, at) for what, at, _ in callback.seen] == [("end", STEPS), ("auxiliary", STEPS + 20), ("again", STEPS + 20)]
    callback.end_task("B")
    model.learn(10, callback=callback, reset_num_timesteps=False)
    with pytest.warns(UserWarning, match="'C' has ended after 10 steps"):
        callback.end_task("C")


@pytest.mark.parametrize(
    ("cls", "kwargs", "aux_steps"),
    [
        (PPO, {"n_steps": 50, "batch_size": 50}, None),
        (SAC, {}, STEPS),
        (SAC, {"train_freq": 30}, None),
        (SAC, {"train_freq": (1, "episode")}, STEPS),
    ],
)
def test_where_no_rollout_may_start_in_a_tasks_second_part_it_is_refused(cls, kwargs, aux_steps):
    model = cls("MlpPolicy", sequence_env(steps=STEPS), **kwargs)
    with pytest.raises(ValueError, match="begins again where a rollout starts"):
        model.learn(2 * STEPS, callback=ANCL(aux_steps=aux_steps))
    assert model.num_timesteps == 0


def test_a_checkpoint_within_a_phase_goes_on(tmp_path):
    model, callback = nbspsac(), ANCL(n_samples=10)
    model.learn(STEPS + 5, callback=callback)
    model.save(tmp_path / "model")
    loaded, again = NBSPSAC.load(tmp_path / "model", env=sequence_env(steps=STEPS)), Watched()
    assert same(loaded.baseline_states["ANCL"]["start"], callback.state["start"])
    with pytest.warns(UserWarning, match="transitions so far are not at hand"):
        loaded.learn(STEPS - 5, callback=again, reset_num_timesteps=False)
    assert [what for what, _, _ in again.seen] == ["auxiliary", "again", "end"]
    assert set(again.state["anchors"]) == set(learned_parameters(loaded, "actor"))
    assert np.isfinite([float(value.sum()) for value in again.state["importances"].values()]).all()


def test_without_a_sequence_the_steps_must_be_said():
    model = NBSPSAC("MlpPolicy", "Pendulum-v1")
    with pytest.raises(ValueError, match="give aux_steps"):
        model.learn(10, callback=ANCL())
    with pytest.raises(ValueError, match="fusion"):
        ANCL(fusion=2.0)
