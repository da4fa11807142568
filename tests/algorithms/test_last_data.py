"""A task's last data are learned from before it is consolidated, and no task is held by an untrained policy."""

import warnings

import pytest
import torch as th
from helpers import SETTINGS, sequence_env
from helpers.cases import PPO_CASE, SAC_CASE, every_case, off_policy_cases
from stable_baselines3.common.save_util import recursive_getattr

from sb3_nbsp import NBSPPPO, NBSPSAC
from sb3_nbsp.common import task_end

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


class Ends:
    """Notes at each consolidation how often the networks were updated, and how many rows the last rollout had."""

    def __init__(self, model):
        self.seen, remember = [], model._remember_task
        model.train_, self.trained_on = model.train, []

        def noting(index):
            self.seen.append((model.learned_tasks[index:] or index, model._n_updates, model.num_timesteps))
            remember(index)

        def training(*args, **kwargs):
            self.trained_on.append(model.num_timesteps)
            model.train_(*args, **kwargs)

        model._remember_task, model.train = noting, training


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize(("n_steps", "steps"), [(2048, 200), (16, 60), (16, 64), (7, 60)])
def test_a_rollout_ends_with_its_task(n_envs, n_steps, steps):
    """By default a rollout is longer than a visit to the embedded tasks."""
    env = sequence_env(n_envs, steps=steps, cycles=1, task_id=True)
    model = NBSPPPO("MlpPolicy", env, **{**PPO_CASE.settings(), "n_steps": n_steps}, scoring_steps=20)
    ends = Ends(model)
    model.learn(2 * steps)
    assert [steps for *_, steps in ends.seen] == [steps, 2 * steps] == sorted({steps, 2 * steps} & set(ends.trained_on))
    first, second = (updates for _, updates, _ in ends.seen)
    assert 0 < first < second and model.learned_tasks == ["east", "west"]


def test_a_task_shorter_than_a_rollout_is_told():
    model = PPO_CASE.made(sequence_env(steps=60), n_steps=64)
    with pytest.warns(UserWarning, match="A task has 60 env steps and a rollout 64: the rollout ends with the task"):
        model.learn(10)


def test_with_nothing_to_keep_rollouts_are_sb3s():
    model = PPO_CASE.made(sequence_env(steps=60), n_steps=64, skill_fraction=0.0, memory_size=0)
    model.learn(100)
    assert model.num_timesteps == 128 and model.rollout_buffer.buffer_size == 64


@off_policy_cases
def test_what_was_not_learned_is_not_held(case):
    model = case.made(learning_starts=100)
    with (
        pytest.warns(UserWarning, match="100 are a warm-up without training"),
        pytest.warns(UserWarning, match="east ended without a single update of the networks: none of its neurons is held"),
    ):
        model.learn(80)
    assert model.learned_tasks == ["east"] and model.neuron_masks.n_held == 0 and not model.skill_neurons


@every_case
def test_what_was_learned_is(case):
    model = case.made().learn(80)
    assert model.learned_tasks == ["east"] and model.neuron_masks.n_held == 1 and set(model.skill_neurons) == {"east"}


def held(model):
    """How many neurons each task holds."""
    masks = model.neuron_masks
    return [sum(int((masks._of(layer)[task] < 1).sum()) for layer in masks._layers()) for task in range(masks.n_tasks)]


@off_policy_cases
def test_steps_beyond_the_end_that_teach_nothing_leave_what_is_held(case):
    model = case.made(case.sequence_env(steps=80, cycles=1), learning_starts=30)
    model.learn(160)
    before, record = held(model), model.skill_neuron_records["west"]
    assert min(before) > 0
    with (
        pytest.warns(UserWarning, match="beyond its end"),
        pytest.warns(UserWarning, match="west ended without a single update of the networks: what was held of it"),
    ):
        model.learn(20, reset_num_timesteps=False)
    assert held(model) == before and model.skill_neuron_records["west"] == record and len(model.learned_tasks) == 2


@every_case
def test_a_later_end_at_which_no_neuron_is_chosen_leaves_what_is_held(case, monkeypatch):
    model = case.made().learn(80)
    before, record, score = held(model), model.skill_neuron_records["east"], task_end.score
    monkeypatch.setattr(task_end, "score", lambda *args: score(*args).with_chosen({}))
    with pytest.warns(UserWarning, match="No neuron of east was chosen this time: what was held of it before stays held"):
        model.consolidate(task="east")
    assert min(before) > 0 and held(model) == before and model.skill_neuron_records["east"] == record
    model.skill_fraction = 0.0  # who says that nothing shall be held is obeyed
    model.consolidate(task="east")
    assert held(model) == [0]


@every_case
def test_an_optimizer_in_the_place_of_ours_is_refused_before_training(case):
    """No mask would reach it."""
    model = case.made().learn(70)
    name = case.cls.optimizer_names[-1]
    owner = recursive_getattr(model, name.rpartition(".")[0])
    ours, owner.optimizer = owner.optimizer, th.optim.SGD(owner.parameters(), 1e-2)
    words = f"{name} must be the optimizer that obeys the masks; SGD has taken its place.*optimizer_class"
    with pytest.raises(TypeError, match=words):
        model.learn(10, reset_num_timesteps=False)
    before = list(model.learned_tasks)
    with pytest.raises(TypeError, match=words):
        model.consolidate(case.task_env("west"), task="west")
    assert model.learned_tasks == before
    owner.optimizer = ours
    model.learn(10, reset_num_timesteps=False)


def test_with_gates_too():
    env = sequence_env(steps=80, cycles=1, task_id=True)
    model = NBSPSAC("MlpPolicy", env, **{**SETTINGS, "learning_starts": 30}, task_gates=True, memory_size=0, scoring_steps=60)
    model.learn(160)
    before = held(model)
    with pytest.warns(UserWarning, match="what was held of it before stays held"):
        model.learn(20, reset_num_timesteps=False)
    assert min(before) > 0 and held(model) == before


def test_nothing_stays_held_where_nothing_was():
    model = SAC_CASE.made(net_arch=[], mask_networks="actor", skill_fraction=0.2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "No neuron of")
        model.learn(200)
    assert model.learned_tasks == ["east", "west"]
