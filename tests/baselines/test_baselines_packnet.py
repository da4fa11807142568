"""PackNet: shares, freezing, and subnetworks."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import NBSP_SETTINGS, SETTINGS, sequence_env
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from test_baselines import ALL_ENDS, STEPS, discrete_env, nbspsac, sac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import PackNet, subnetwork
from sb3_nbsp.baselines.packnet import prune
from sb3_nbsp.baselines.parameters import learned_parameters, optimizers
from sb3_nbsp.common import SkillNeuronCallback

# LeakyReLU: what reads or feeds a dead neuron learns nothing, and much is dead in such small networks.
ADAMW = {
    "net_arch": [8, 8],
    "activation_fn": th.nn.LeakyReLU,
    "optimizer_class": th.optim.AdamW,
    "optimizer_kwargs": {"weight_decay": 0.1},
}


class Recorded(PackNet):
    """Notes what the actor's parameters are in each task's subnetwork at the task's end."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at_end: list[dict[str, th.Tensor]] = []
        self.updates: list[int] = []

    def on_task_end(self, task: str) -> None:
        before = self.model._n_updates
        super().on_task_end(task)
        self.updates.append(self.model._n_updates - before)
        with subnetwork(self.model, task):
            self.at_end.append(managed(self.model, self.networks))


Recorded.__name__ = "PackNet"


def managed(model: Any, networks: str = "actor") -> dict[str, th.Tensor]:
    return {name: p.detach().clone() for name, p in learned_parameters(model, networks).items()}


def equal(one: dict[str, th.Tensor], other: dict[str, th.Tensor]) -> bool:
    return all(th.equal(one[name], other[name]) for name in one)


def run(make: Any, steps: int = 4 * STEPS, packnet: PackNet | None = None, **kwargs: Any) -> tuple[Any, Recorded]:
    model, callback = make(**kwargs), packnet or Recorded()
    model.learn(steps, callback=[callback, SkillNeuronCallback()] if make is nbspsac else callback)
    return model, callback


@pytest.mark.known_answer
def test_the_largest_weights_stay():
    weights = th.tensor([[5.0, -4.0, 3.0, 8.0], [-2.0, 1.0, 9.0, 7.0]])
    owner = th.tensor([[1, 1, 1, 0], [1, 1, 0, 0]], dtype=th.int16)
    prune(weights, owner, 1, 0.35)  # of the five weights that task 1 has: 1.75 of them, so two
    assert weights.tolist() == [[5, -4, 0, 8], [0, 0, 9, 7]]
    assert owner.tolist() == [[1, 1, 2, 0], [2, 2, 0, 0]]


@pytest.mark.parametrize("make", [sac, nbspsac], ids=["sac", "nbspsac"])
def test_all_tasks_get_equal_shares_of_each_layer(make):
    model, callback = run(make)
    for name, owner in callback.state["owners"].items():
        counts = np.bincount(owner.flatten().numpy(), minlength=4)
        assert counts.sum() == owner.numel() == learned_parameters(model)[name].numel()
        assert counts.max() - counts.min() <= 2, name  # rounded to whole weights
    assert set(callback.state["owners"]) == {name for name, p in managed(model).items() if p.dim() > 1}
    assert callback.state["indices"] == {"east": 2, "west": 3}  # each task's last visit


@pytest.mark.parametrize("make", [sac, nbspsac], ids=["sac", "nbspsac"])
def test_what_a_task_has_learned_never_changes(make):
    """Bit for bit, under momentum, weight decay and a strong learning rate."""
    model, callback = run(make, policy_kwargs=deepcopy(ADAMW), learning_rate=0.01)
    owners, now = callback.state["owners"], managed(model)
    for index, then in enumerate(callback.at_end[:3]):
        seen = {name: now[name].masked_fill(owners[name] > index, 0.0) if name in owners else now[name] for name in now}
        assert equal(seen, then)
    assert not equal(callback.at_end[0], callback.at_end[1])  # there is something to hold
    for name, owner in owners.items():
        for index in range(4):
            assert bool((now[name][owner == index] != 0).any()), "each task has learned something"


def test_held_weights_do_not_change_over_saving_and_loading(tmp_path):
    at = STEPS + 30
    model, callback = nbspsac(policy_kwargs=deepcopy(ADAMW)), Recorded()
    checkpoint = CheckpointCallback(at, str(tmp_path), save_replay_buffer=True)
    model.learn(at, callback=[callback, SkillNeuronCallback(), checkpoint])
    loaded = NBSPSAC.load(tmp_path / f"rl_model_{at}_steps", env=sequence_env(steps=STEPS))
    loaded.load_replay_buffer(tmp_path / f"rl_model_replay_buffer_{at}_steps")
    before = managed(loaded)
    loaded.learn(10, callback=[PackNet(), SkillNeuronCallback()], reset_num_timesteps=False)  # to the end of "west"
    assert not equal(before, managed(loaded))
    with subnetwork(loaded, "east"):
        assert equal(managed(loaded), callback.at_end[0])


@pytest.mark.parametrize("retrain_steps", [None, 0, 13])
def test_what_is_left_is_retrained(retrain_steps):
    _, callback = run(sac, 2 * STEPS, Recorded(retrain_steps=retrain_steps))
    own = [STEPS - SETTINGS["learning_starts"], STEPS]
    assert callback.updates == [round(0.1 * n) if retrain_steps is None else retrain_steps for n in own]


def test_the_last_task_is_neither_pruned_nor_retrained():
    _, callback = run(sac, 4 * STEPS, Recorded(retrain_steps=5))
    assert callback.updates == [5, 5, 5, 0] and callback.state["current"] == 3


def test_only_the_task_that_is_pruned_is_retrained():
    model, callback = run(sac, STEPS, Recorded(retrain_steps=20), learning_rate=0.01)
    for name, owner in callback.state["owners"].items():
        assert bool((managed(model)[name][owner == 1] == 0).all())
    assert len(model.actor.optimizer.state) == 0  # reset after retraining


def test_retraining_begins_with_new_optimizers():
    model, known = sac(), []

    class Noted(PackNet):
        def _retrain(self) -> None:
            def train(gradient_steps: int, batch_size: int) -> None:
                known.append([len(o.state) for o in optimizers(model)])

            known.append([len(o.state) for o in optimizers(model)])
            model.train, kept = train, model.train
            super()._retrain()
            model.train = kept

    Noted.__name__ = "PackNet"
    model.learn(STEPS + 5, callback=Noted(retrain_steps=13))
    before, during = known
    assert len(before) == 3 and all(before) and not any(during)


def test_an_old_task_is_played_with_its_own_subnetwork():
    model, _ = run(sac, 2 * STEPS + 30)
    observations = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    whole = managed(model)
    with subnetwork(model, "west"):
        in_west = managed(model)
        played = model.predict(observations, deterministic=True)[0]
    assert equal(whole, managed(model)) and not equal(whole, in_west)
    assert not np.array_equal(played, model.predict(observations, deterministic=True)[0])
    with pytest.raises(KeyboardInterrupt), subnetwork(model, "west"):
        raise KeyboardInterrupt
    assert equal(whole, managed(model))


def test_models_and_tasks_without_a_subnetwork_are_left_alone():
    model, _ = run(sac, STEPS - 1)  # no task has ended
    before = managed(model)
    for some in (model, sac()):
        with subnetwork(some, "east"):
            assert equal(managed(model), before)


def test_biases_are_held_from_the_end_of_the_first_task_on():
    model, callback = run(sac, 2 * STEPS)
    biases = [name for name, p in managed(model).items() if p.dim() == 1]
    assert len(biases) == 4
    assert all(th.equal(callback.at_end[0][name], managed(model)[name]) for name in biases)


@pytest.mark.parametrize("networks", ["critic", "all"])
def test_critics_are_shared_out_too(networks):
    model, callback = run(sac, 3 * STEPS, Recorded(networks=networks))
    then, now, owners = callback.at_end[0], managed(model, networks), callback.state["owners"]
    assert any(name.startswith("critic.qf1") for name in owners)
    for name, owner in owners.items():
        assert th.equal(now[name][owner == 0], then[name][owner == 0])


@pytest.mark.parametrize("cls", [PPO, DQN])
def test_other_algorithms(cls):
    if cls is PPO:
        model = PPO("MlpPolicy", sequence_env(steps=STEPS), n_steps=STEPS, batch_size=20, seed=1)
        with pytest.raises(ValueError, match="no data left"):
            model.learn(10, callback=PackNet(retrain_steps=5))
    else:
        model = DQN("MlpPolicy", discrete_env(), learning_starts=20, seed=1)
    callback = Recorded()
    model.learn(3 * STEPS, callback=callback)
    assert callback.state["ended"] == ALL_ENDS[:3]
    for name, owner in callback.state["owners"].items():
        assert th.equal(managed(model)[name][owner == 0], callback.at_end[0][name][owner == 0])
    if cls is PPO:
        assert not th.equal(managed(model)["log_std"], callback.at_end[0]["log_std"])  # it explores


def test_by_hand_the_number_of_tasks_is_needed():
    model = SAC("MlpPolicy", "Pendulum-v1", **deepcopy(SETTINGS))
    with pytest.raises(ValueError, match="give n_tasks"):
        model.learn(10, callback=PackNet())
    callback = PackNet(n_tasks=2)
    model.learn(40, callback=callback)
    callback.end_task("A")
    assert callback.state["indices"] == {"A": 0} and callback.state["current"] == 1


def test_only_free_gradients_count_when_they_are_clipped():
    """To the published norm."""
    norms = []
    model, callback = sac(), PackNet()

    def note(*_: Any) -> None:
        gradients = {name: p.grad for name, p in learned_parameters(model, "actor").items()}
        free = {name: owner == callback.state["current"] for name, owner in callback.state["owners"].items()}
        squares = [
            (g[free.get(name, ...)] ** 2).sum()
            for name, g in gradients.items()
            if callback.state["ended"] == [] or g.dim() > 1
        ]
        norms.append(float(sum(squares) ** 0.5))

    model.actor.optimizer.register_step_post_hook(note)
    model.learn(2 * STEPS, callback=callback)
    assert len(norms) > STEPS and norms == pytest.approx([2e-5] * len(norms), rel=1e-2)


def test_baselines_come_before_consolidation_by_themselves() -> None:
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS)
    callbacks = model._init_callback([EvalLike(), PackNet()]).callbacks  # type: ignore[attr-defined]
    assert [type(callback).__name__ for callback in callbacks] == [
        "FiniteGuard",
        "PackNet",
        "SkillNeuronCallback",
        "EvalLike",
    ]


class EvalLike(BaseCallback):
    """Any other callback."""

    def _on_step(self) -> bool:
        return True


def test_a_task_that_is_met_again_is_played_with_what_it_learns():
    """At the end of its second visit, too, where an evaluation plays it before the task ends."""
    model, callback = sac(), Recorded()
    model.learn(2 * STEPS + 30, callback=callback)  # in the second visit to "east"
    now = managed(model)
    with subnetwork(model, "east"):
        assert equal(managed(model), now)
    with subnetwork(model, "west"):
        assert not equal(managed(model), now)
    model.learn(10, callback=callback, reset_num_timesteps=False)  # to its end
    with subnetwork(model, "east"):
        assert equal(managed(model), callback.at_end[-1])
