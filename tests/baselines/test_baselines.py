"""What all baselines share: when a task ends, what survives a checkpoint, and how they are attached."""

import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import HORIZON, NBSP_SETTINGS, SETTINGS, same, sequence_env
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import CallbackList, CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import sb3_nbsp.baselines
from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import (
    ANCL,
    EWC,
    L2,
    MAS,
    NPC,
    BehaviouralCloning,
    ContinualBackprop,
    LowerLearningRate,
    PackNet,
    PlasticityInjection,
    ReDo,
    Resets,
    SavedCopies,
)
from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import learned_parameters, optimizers
from sb3_nbsp.baselines.task_samples import as_seen, visited
from sb3_nbsp.common import SkillNeuronCallback

FINE_TUNING = {**NBSP_SETTINGS, "skill_fraction": 0, "memory_size": 0}
STEPS = 40
ALL_ENDS = ["east", "west", "east", "west"]


def sac(**kwargs: Any) -> SAC:
    return SAC("MlpPolicy", sequence_env(steps=STEPS), **deepcopy({**SETTINGS, **kwargs}))


def nbspsac(**kwargs: Any) -> NBSPSAC:
    return NBSPSAC("MlpPolicy", sequence_env(steps=STEPS), **deepcopy({**FINE_TUNING, **kwargs}))


class Probe(TaskBoundaryCallback):
    """Notes what the model has at the end of each task."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def on_task_end(self, task: str) -> None:
        np.random.rand(7), th.rand(7)  # training must not notice
        steps = visited(self.model, task, self.state["steps"], 1000)
        buffer = getattr(self.model, "replay_buffer", None)
        newest = None if buffer is None else buffer.observations[: buffer.pos, 0].copy()
        updates, n_steps = self.model._n_updates, self.model.num_timesteps
        self.seen.append({"task": task, "steps": steps, "buffer": newest, "updates": updates, "n_steps": n_steps})


def rows(array: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in array}


@pytest.mark.parametrize("train_freq", [1, 7], ids=["rollouts-end-at-the-switch", "rollouts-go-over-the-switch"])
@pytest.mark.parametrize("make", [sac, nbspsac], ids=["sac", "nbspsac"])
def test_a_task_ends_when_its_transitions_and_no_others_are_stored(make, train_freq):
    model, probe = make(train_freq=train_freq), Probe()
    model.learn(4 * STEPS, callback=[probe, SkillNeuronCallback()] if make is nbspsac else [probe])
    assert [seen["task"] for seen in probe.seen] == ALL_ENDS
    for i, seen in enumerate(probe.seen):
        assert len(seen["steps"]) == len(rows(seen["steps"].observations)) == STEPS
        of_task = seen["buffer"] if make is nbspsac else seen["buffer"][i * STEPS : (i + 1) * STEPS]
        assert rows(seen["steps"].observations) == rows(of_task)
    if train_freq == 1:  # right after the last gradient step of the task
        assert [seen["n_steps"] for seen in probe.seen] == [STEPS, 2 * STEPS, 3 * STEPS, 4 * STEPS]
        assert probe.seen[0]["updates"] == STEPS - SETTINGS["learning_starts"]


def test_an_on_policy_algorithm_runs_its_policy_on_the_finished_task():
    model, probe = PPO("MlpPolicy", sequence_env(steps=STEPS), n_steps=20, batch_size=10, seed=1), Probe()
    model.learn(2 * STEPS, callback=probe)
    assert [seen["task"] for seen in probe.seen] == ALL_ENDS[:2]
    for seen, task_id in zip(probe.seen, ([1, 0], [0, 1]), strict=True):
        assert len(seen["steps"]) == 1000
        assert bool((seen["steps"].observations[:, -2:] == task_id).all())  # the observations tell the task


def test_training_is_the_same_with_a_callback_that_only_looks():
    states = [sac().learn(3 * STEPS, callback=callback).policy.state_dict() for callback in (None, Probe())]
    assert same(*states)


def test_samples_are_seen_as_training_sees_them():
    env = VecNormalize(sequence_env(steps=STEPS))
    model = SAC("MlpPolicy", env, **deepcopy(SETTINGS))
    model.learn(30)
    steps = visited(model, "east", 30, 1000)
    assert rows(steps.observations) == rows(model.replay_buffer.observations[:30, 0])  # raw
    expected = model.replay_buffer._normalize_obs(steps.observations, env)
    assert th.equal(as_seen(model, steps.observations), th.as_tensor(expected).float())


METHODS = [value for value in vars(sb3_nbsp.baselines).values() if isinstance(value, type)]
METHODS = [cls for cls in METHODS if issubclass(cls, TaskBoundaryCallback) and cls is not TaskBoundaryCallback]

# Checkpoints

BASELINES: dict[str, Any] = {
    "l2": lambda: L2(),
    "ewc": lambda: EWC(n_samples=20),
    "mas": lambda: MAS(n_samples=20),
    "packnet": lambda: PackNet(),
    "cloning": lambda: BehaviouralCloning(memory_size=20, batch_size=8),
    "resets": lambda: Resets(at_task_end=True),
    "learning-rate": lambda: LowerLearningRate(),
    "saved-copies": lambda: SavedCopies(),
    "redo": lambda: ReDo(period=15, tau=0.5),
    "npc": lambda: NPC(),
    "continual-backprop": lambda: ContinualBackprop(maturity=5, replacement_rate=0.01),
    "plasticity-injection": lambda: PlasticityInjection(),
    "ancl": lambda: ANCL(n_samples=20),
}
EVERY_UPDATE = ("npc", "continual-backprop")  # whose states follow each gradient step, also that after the checkpoint


@pytest.mark.parametrize("at", [STEPS, STEPS + 30], ids=["before-the-pending-end", "in-the-second-task"])
@pytest.mark.parametrize("name", BASELINES)
def test_a_run_that_was_killed_goes_on_where_its_checkpoint_stood(name, at, tmp_path):
    first = BASELINES[name]()
    model = nbspsac()
    checkpoint = CheckpointCallback(at, str(tmp_path), save_replay_buffer=True)
    model.learn(at, callback=[first, SkillNeuronCallback(), checkpoint])

    loaded = NBSPSAC.load(tmp_path / f"rl_model_{at}_steps", env=sequence_env(steps=STEPS))
    loaded.load_replay_buffer(tmp_path / f"rl_model_replay_buffer_{at}_steps")
    saved = loaded.baseline_states[type(first).__name__]
    assert saved["task_to_end"] == ("east" if at == STEPS else None)
    if at > STEPS and name not in EVERY_UPDATE:  # nothing has happened since
        assert same(saved, first.state)
    second = BASELINES[name]()
    loaded.learn(4 * STEPS - at, callback=[second, SkillNeuronCallback()], reset_num_timesteps=False)
    assert second.state["ended"] == ALL_ENDS


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "cloning"])  # which PPO has inside
def test_an_on_policy_run_that_was_killed_goes_on_with_a_new_callback(name, tmp_path):
    model = PPO("MlpPolicy", sequence_env(steps=STEPS), n_steps=20, batch_size=20, seed=1, policy_kwargs={"net_arch": [8]})
    model.learn(STEPS + 20, callback=BASELINES[name]())
    model.save(tmp_path / "model")
    loaded, callback = PPO.load(tmp_path / "model", env=sequence_env(steps=STEPS)), BASELINES[name]()
    loaded.learn(3 * STEPS - 20, callback=callback, reset_num_timesteps=False)
    assert callback.state["ended"] == ["east", "east", "west"]  # plain SB3's new env begins anew


def test_a_rollout_that_is_not_at_hand_is_waited_for(tmp_path):
    """PPO, gone on with by a new callback, also from a file; and with a state of before rollouts were kept in it."""
    settings = {"n_steps": 20, "batch_size": 10, "n_epochs": 10, "seed": 1}
    model, at = PPO("MlpPolicy", sequence_env(steps=STEPS), **settings), []

    class Noted(ReDo):
        def _recycle_dormant(self, observations: Any, actions: np.ndarray) -> None:
            at.append((self.model.num_timesteps, len(observations), len(actions)))

    Noted.__name__ = "ReDo"
    model.learn(20, callback=Noted(period=10))
    model.save(tmp_path / "model")
    model.learn(20, callback=Noted(period=10), reset_num_timesteps=False)
    loaded = PPO.load(tmp_path / "model", sequence_env(steps=STEPS))
    loaded.learn(20, callback=Noted(period=10), reset_num_timesteps=False)
    assert at == [(20, 20, 20)] * 2
    del loaded.baseline_states["ReDo"]["rollout"]
    loaded.learn(40, callback=Noted(period=10), reset_num_timesteps=False)
    assert at[2:] == [(60, 20, 20)]  # what was due at 40 is made up for


def test_an_interrupted_training_leaves_no_second_penalty_behind():
    model = sac(policy_kwargs={"net_arch": [8], "optimizer_class": th.optim.SGD}, learning_rate=0.0)
    model.learn(STEPS, callback=L2(coef=3.0))

    class Stop(L2):
        def _on_step(self) -> bool:
            raise KeyboardInterrupt

    Stop.__name__ = "L2"
    with pytest.raises(KeyboardInterrupt):
        model.learn(10, callback=Stop(coef=3.0), reset_num_timesteps=False)
    callback = L2(coef=3.0)
    model._setup_learn(10, callback, reset_num_timesteps=False)[1].on_training_start({}, {})
    weight = model.actor.mu.weight
    weight.data += 0.5
    model.actor.optimizer.zero_grad()
    (0 * weight.sum()).backward()
    assert th.allclose(weight.grad, th.full_like(weight, 2 * 3.0 * 0.5))


# Attaching


def test_the_zoo_makes_them_from_yaml():
    utils = pytest.importorskip("rl_zoo3.utils")
    listed = [{"sb3_nbsp.baselines.EWC": {"coef": 5.0, "networks": "all"}}, "sb3_nbsp.common.callbacks.SkillNeuronCallback"]
    ewc, skill = utils.get_callback_list({"callback": listed})
    assert type(ewc) is EWC and (ewc.coef, ewc.networks) == (5.0, "all")
    assert type(skill) is SkillNeuronCallback
    for name in (cls.__name__ for cls in METHODS):
        assert len(utils.get_callback_list({"callback": f"sb3_nbsp.baselines.{name}"})) == 1


def test_a_buffer_that_would_be_emptied_before_the_task_ends_is_refused():
    with pytest.raises(ValueError, match="L2 must come before SkillNeuronCallback"):
        nbspsac().learn(10, callback=[SkillNeuronCallback(), L2()])
    with pytest.raises(ValueError, match="twice"):
        sac().learn(10, callback=[L2(), L2()])
    nbspsac().learn(10, callback=[SkillNeuronCallback(), ReDo()])  # needs nothing of it


@pytest.mark.parametrize("nested", [lambda own: CallbackList([own]), lambda own: [CallbackList([CallbackList([own])])]])
def test_in_lists_of_callbacks(nested):
    """Ours comes after it there too, wherever it stands in them."""
    own = L2()
    nbspsac().learn(50, callback=nested(own))
    assert own.state["ended"] == ["east"]
    with pytest.raises(ValueError, match="L2 must come before SkillNeuronCallback"):
        nbspsac().learn(10, callback=nested(CallbackList([SkillNeuronCallback(), L2()])))


@pytest.mark.parametrize("make, begins_anew", [(sac, True), (nbspsac, False)])
def test_a_loaded_model_whose_env_begins_anew_is_told_of(make, begins_anew, tmp_path):
    model = make()
    model.learn(STEPS + 10, Probe())
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", sequence_env(steps=STEPS))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded.learn(10, Probe(), reset_num_timesteps=False)
    assert any("was learning 'west', and its env stands at the beginning" in str(one.message) for one in caught) is begins_anew
    placed = type(model).load(tmp_path / "model", sequence_env(steps=STEPS))
    placed.env.env_method("fast_forward", placed.num_timesteps)
    probe = Probe()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*its env stands at the beginning")
        placed.learn(STEPS - 10, probe, reset_num_timesteps=False)
    assert probe.state["ended"] == ["east", "west"]


def test_tasks_are_ended_by_hand_where_there_is_no_sequence():
    model = SAC("MlpPolicy", "Pendulum-v1", **deepcopy(SETTINGS))
    callback = EWC(n_samples=20)
    with pytest.raises(ValueError, match="there was none yet"):
        callback.end_task("A")
    model.learn(40, callback=callback)
    callback.end_task("A")
    anchors = {name: p.detach().clone() for name, p in learned_parameters(model, "actor").items()}
    model.learn(40, callback=callback, reset_num_timesteps=False)
    assert not any(p._post_accumulate_grad_hooks for p in model.actor.parameters())  # in force in trainings with it only
    assert callback.state["ended"] == ["A"] and same(callback.state["anchors"], anchors)
    assert callback.penalty() > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: L2(coef="1e5"),
        lambda: L2(coef=-1.0),
        lambda: EWC(networks="policy"),
        lambda: MAS(n_samples=0),
        lambda: PackNet(n_tasks=0),
        lambda: PackNet(retrain_steps=-1),
        lambda: ReDo(tau=-1.0),
        lambda: Resets(period=0),
        lambda: BehaviouralCloning(memory_size=0),
        lambda: LowerLearningRate(factor=2.0),
    ],
)
def test_arguments_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()


@pytest.mark.parametrize("cls", METHODS)
def test_every_method_is_one_class_in_one_file(cls):
    assert cls.__bases__ == (TaskBoundaryCallback,)
    assert cls.__module__.startswith("sb3_nbsp.baselines.")


def test_what_happens_at_a_tasks_end_must_be_said():
    class Silent(TaskBoundaryCallback):
        pass

    with pytest.raises(TypeError, match="on_task_end"):
        Silent()  # type: ignore[abstract]


# Parts of models


def discrete_env() -> Any:
    return make_vec_env("sb3_nbsp/PointGoalDiscrete-v0", 1, env_kwargs={"steps_per_task": STEPS, "horizon": HORIZON})


@pytest.mark.parametrize("cls", [SAC, TD3, PPO, DQN])
def test_every_parameter_that_learns_is_found(cls):
    env = discrete_env() if cls is DQN else sequence_env(steps=STEPS)
    model = cls("MlpPolicy", env)
    trained = {p for o in optimizers(model) for group in o.param_groups for p in group["params"]} - {
        getattr(model, "log_ent_coef", None)
    }
    parts = {part: set(learned_parameters(model, part).values()) for part in ("actor", "critic", "all")}
    assert parts["all"] == trained
    assert parts["actor"] | parts["critic"] == trained
    assert (parts["actor"] & parts["critic"] == set()) == (cls is not DQN)
