"""Cloning inside the off-policy classes: what is kept, what is drawn, what it holds, and files. PPO's: tests/rehearsal."""

import copy
import pickle
import zipfile

import numpy as np
import pytest
import torch as th
from helpers import CHANNEL_FIRST_IMAGE, VECTORS, same, task_env
from helpers.cases import DQN_CASE, QRDQN_CASE, SAC_CASE, TQC_CASE, greedy_cases, off_policy_cases, on_cases
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecNormalize

from sb3_nbsp.rehearsal.cloning import softmax_kl

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:.*success")

EAST, WEST = 4, 5  # places of the one-hot task id in the observation
PLAIN = {"skill_fraction": 0.0, "rehearsal": "clone", "clone_batch_size": 16}


def divergence(model, task: int = 0) -> float:
    """Mean over all that is kept of a task."""
    samples = model.cloning.memory.tasks[task]
    with th.no_grad():
        seen = model.cloning._seen(samples.observations)
        return float(model.cloned_outputs.divergence(model, seen, th.as_tensor(samples.outputs)).mean())


def watched(case, **kwargs):
    """A model that keeps its networks as they are at each task's end, and notes which tasks' observations are drawn."""

    class Watched(case.cls):
        def _remember_task(self, index):
            self.__dict__.setdefault("ends", []).append(copy.deepcopy(self.policy.state_dict()))
            super()._remember_task(index)

    model = Watched("MlpPolicy", case.sequence_env(**kwargs.pop("env", {})), **case.settings(**{**PLAIN, **kwargs}))
    model.drawn = []
    sample = model.cloning.memory.sample

    def spying(size):
        samples = sample(size)
        model.drawn.append(((model.num_timesteps - 1) // 60, *samples.observations[:, [EAST, WEST]].mean(axis=0)))
        return samples

    model.cloning.memory.sample = spying
    return model


@off_policy_cases
def test_outputs_are_those_of_the_tasks_end_and_only_old_tasks_are_drawn(case):
    model = watched(case, env={"cycles": 2}, memory_size=25, task_warmup=5, tau=1.0).learn(240)
    assert {visit: ids for visit, *ids in model.drawn} == {1: [1.0, 0.0], 2: [0.0, 1.0], 3: [1.0, 0.0]}
    for task, place in enumerate((EAST, WEST)):
        samples = model.cloning.memory.tasks[task]
        assert len(samples) == 25 and (samples.observations[:, place] == 1).all()
        assert len(np.unique(samples.outputs, axis=0)) > 5
        model.policy.load_state_dict(model.ends[2 + task])  # of its second visit
        with th.no_grad():
            expected = model.cloned_outputs.outputs(model, th.as_tensor(samples.observations))
        np.testing.assert_allclose(samples.outputs, expected, atol=1e-6)


@off_policy_cases
@pytest.mark.parametrize("rehearsal", ["replay", "clone", "both"])
def test_what_is_kept(case, rehearsal):
    model = case.made(rehearsal=rehearsal, memory_size=30).learn(120)
    assert len(model.memory) == (0 if rehearsal == "clone" else 60)
    assert len(model.cloning.memory) == (0 if rehearsal == "replay" else 60)
    assert ("nbsp/cloning_loss" in model.logger.name_to_value) == (rehearsal != "replay")


@off_policy_cases
def test_it_holds_back_what_training_would_change(case):
    ends = {}
    for coef in (0.0, 100.0):
        model = case.made(**PLAIN, clone_coef=coef, memory_size=60, learning_rate=3e-3, scoring_steps=10).learn(120)
        ends[coef] = divergence(model)
    assert ends[100.0] < 0.3 * ends[0.0]


@pytest.mark.known_answer
@on_cases(TQC_CASE, DQN_CASE, QRDQN_CASE)
@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_the_gradient_of_the_loss_is_added_and_masked_like_the_losss_own(case, mask_target):
    """Two equal models take one step of SGD, one of them with cloning: they differ by factor * lr * coef * d loss."""
    lr, coef, changes = 1e-2, 5.0, []
    for strength in (0.0, coef):
        settings = {"policy_kwargs": {"optimizer_class": th.optim.SGD}, "learning_rate": lr, "mask_target": mask_target}
        model = case.made(rehearsal="clone", clone_coef=strength, clone_batch_size=8, mask_coef=0.5, **settings).learn(60)
        optimizer = recursive_getattr(model, model.cloned_outputs.optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        th.manual_seed(1)
        for p in parameters:
            p.data += 0.05 * th.randn_like(p)
        before, drawn, draw = [p.detach().clone() for p in parameters], [], model.cloning.draw
        model.cloning.draw = lambda draw=draw, drawn=drawn: (drawn.append(draw()), drawn[-1])[1]
        model.replay_buffer.pos = 20  # it was emptied
        model._warmup_until = 0
        state = copy.deepcopy(model.policy.state_dict())
        th.manual_seed(0), np.random.seed(0)
        model.train(1, batch_size=16)
        changes.append([p.detach() - b for p, b in zip(parameters, before, strict=True)])
        model.policy.load_state_dict(state)
    loss = model.cloned_outputs.divergence(model, *drawn[0]).mean()
    factors, gradients = model.protection.parameter_factors(), th.autograd.grad(loss, parameters, allow_unused=True)
    sizes, held = [0.0], 0
    for free, cloned, p, gradient in zip(*changes, parameters, gradients, strict=True):
        if gradient is not None:
            factor = factors.get(p, th.ones_like(p))
            held += int((factor < 1).sum())
            th.testing.assert_close(free - cloned, factor * lr * coef * gradient, rtol=1e-3, atol=2e-6)
            sizes.append(float((factor * lr * coef * gradient).abs().max()))
    assert max(sizes) > 1e-4 and held > 0


@pytest.mark.known_answer
def test_distillation_by_hand():
    """tau = 2: softmax((0, 2 log 3) / 2) = (1/4, 3/4) against equal chances, whatever is added to all Q-values."""
    old, new = th.tensor([[0.0, 2 * np.log(3.0)]]), th.tensor([[7.0, 7.0]])
    expected = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert softmax_kl(old, new, 2.0).item() == pytest.approx(expected, rel=1e-6)
    assert softmax_kl(old, old + 3, 0.01).item() == pytest.approx(0, abs=1e-6)


@greedy_cases
def test_a_value_learner_keeps_the_q_values_it_acts_by(case):
    model = case.made(**PLAIN, memory_size=20).learn(60)
    samples = model.cloning.memory.tasks[0]
    actions = model.predict(samples.observations, deterministic=True)[0]
    assert samples.outputs.shape == (20, model.action_space.n) and same(samples.outputs.argmax(axis=1), actions)


# A task that is met again, or brings nothing


@off_policy_cases
def test_older_observations_fill_up_and_get_the_outputs_of_now(case):
    model = case.made(**PLAIN, memory_size=200, env=case.sequence_env(cycles=2)).learn(180)
    samples = model.cloning.memory.tasks[0]
    assert len(samples) == 120 and divergence(model) == pytest.approx(0, abs=1e-5)


@off_policy_cases
@pytest.mark.parametrize("rehearsal", ["clone", "both"])
def test_a_task_that_is_met_again_is_cloned_until_its_values_are_known_again(case, rehearsal):
    """Ten time constants of the target critics; not where the values were held or rehearsed."""
    settings = {**PLAIN, "rehearsal": rehearsal, "memory_size": 20, "tau": 0.5}
    model = case.made(**settings, env=case.sequence_env(cycles=2)).learn(120)
    draw, not_cloned = model.cloning.draw, []
    model.cloning.draw = lambda: (not_cloned.append(model.cloning.memory.current_task), draw())[1]
    model.learn(60, reset_num_timesteps=False)
    n_held = not_cloned.count(None)
    assert not_cloned == [None] * n_held + [0] * (len(not_cloned) - n_held) and 0 in not_cloned
    n_per_train = max(model.gradient_steps, 1)
    assert n_held == 0 if case.discrete or rehearsal == "both" else 20 <= n_held < 20 + n_per_train


def test_a_task_without_observations_or_updates_keeps_what_was_known():
    case = SAC_CASE
    model = case.made(task_env("east"), **PLAIN, memory_size=20).learn(60)
    model.consolidate(task_env("east"), "east")
    before = copy.deepcopy(model.cloning.memory.state_dict())
    with pytest.warns(UserWarning, match="No transition of the task that ends is at hand"):
        model.consolidate(task_env("east"), "east")
    assert same(model.cloning.memory.state_dict(), before)
    lazy = case.made(**PLAIN, memory_size=20, learning_starts=1000)
    with pytest.warns(UserWarning, match="without a single update"):
        lazy.learn(60)
    assert len(lazy.cloning.memory) == 0


# Every kind of env


@off_policy_cases
@pytest.mark.parametrize("kind", ["dict", "image", "four-envs"])
def test_observations_of_every_kind(case, kind):
    policy, env = {
        "dict": ("MultiInputPolicy", lambda: case.toy_env(VECTORS)),
        "image": ("CnnPolicy", lambda: case.toy_env(CHANNEL_FIRST_IMAGE)),
        "four-envs": ("MlpPolicy", lambda: case.sequence_env(n_envs=4)),
    }[kind]
    model = case.made(env(), policy, **PLAIN, memory_size=12, task_warmup=4).learn(60)
    if kind != "four-envs":
        model.consolidate(env(), "A")
    model.learn(40, reset_num_timesteps=False)
    samples = model.cloning.memory.tasks[0]
    arrays = samples.observations if kind == "dict" else {"": samples.observations}
    assert all(len(array) == 12 for array in arrays.values()) and len(samples) == 12
    assert kind != "image" or samples.observations.dtype == np.uint8
    assert model.logger.name_to_value["nbsp/cloning_loss"] >= 0


@off_policy_cases
def test_observations_are_kept_raw_and_normalised_when_they_are_drawn(case):
    model = case.made(VecNormalize(case.sequence_env()), **PLAIN, memory_size=15).learn(60)
    samples = model.cloning.memory.tasks[0]
    assert set(samples.observations[:, EAST]) == {1.0}  # the id as the env gives it
    with th.no_grad():
        seen = th.as_tensor(model.get_vec_normalize_env().normalize_obs(samples.observations))
        expected = model.cloned_outputs.outputs(model, seen)
    np.testing.assert_allclose(samples.outputs, expected, atol=1e-6)
    model.memory.current_task = None
    with model.cloning.in_force():
        drawn = model.cloning.draw()[0]
    assert float(drawn[:, EAST].max()) < 1  # by what the task has shown, an id that is always 1 says nothing


@on_cases(SAC_CASE, TQC_CASE)
def test_gsde_is_cloned(case):
    """Its spread depends on the observation; what is kept is the action's distribution, as without it."""
    model = case.made(**PLAIN, use_sde=True, memory_size=20, task_warmup=4).learn(60)
    assert model.cloning.memory.tasks[0].outputs.shape == (20, 4) and divergence(model) == pytest.approx(0, abs=1e-5)
    model.learn(20, reset_num_timesteps=False)
    assert model.logger.name_to_value["nbsp/cloning_loss"] > 0


def test_without_stored_next_observations_cloning_is_possible():
    model = SAC_CASE.made(
        **PLAIN, memory_size=10, optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False}
    )
    assert len(model.learn(60).cloning.memory) == 10
    with pytest.raises(ValueError, match="optimize_memory_usage=True stores no next observations"):
        case = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
        SAC_CASE.made(rehearsal="both", **case).learn(60)


@on_cases(SAC_CASE, TQC_CASE, DQN_CASE)
def test_gated_neurons_stay_exactly_while_others_are_cloned(case):
    env = case.sequence_env
    model = case.made(env(), task_gates=True, rehearsal="clone", memory_size=20, clone_coef=100.0).learn(60)
    observations = model.cloning.memory.tasks[0].observations
    before = model.predict(observations, deterministic=True)[0]
    model.learn(60, reset_num_timesteps=False)
    assert model.logger.name_to_value["nbsp/cloning_loss"] == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(model.predict(observations, deterministic=True)[0], before, atol=1e-5)


# Files and other models


@off_policy_cases
def test_files(case, tmp_path):
    model = case.made(**PLAIN, memory_size=20)
    fresh = copy.deepcopy(model.get_parameters())
    model.save(tmp_path / "fresh")
    model.learn(60).save(tmp_path / "model")
    names = [zipfile.ZipFile(tmp_path / f"{name}.zip").namelist() for name in ("fresh", "model")]
    assert "cloning.memory.pth" not in names[0] and "cloning.memory.pth" in names[1]
    loaded = case.cls.load(tmp_path / "model", env=case.sequence_env())
    assert same(loaded.cloning.memory.state_dict(), model.cloning.memory.state_dict())
    assert loaded.rehearsal == "clone" and loaded.cloning.model is loaded
    loaded.learn(60, reset_num_timesteps=False)
    assert loaded.logger.name_to_value["nbsp/cloning_loss"] > 0 and len(loaded.cloning.memory) == 40
    loaded.set_parameters(fresh)
    assert len(loaded.cloning.memory) == 0
    assert not hasattr(loaded.to_sb3(), "cloning")


@off_policy_cases
def test_from_sb3(case):
    model = case.cls.from_sb3(case.made_parent().learn(48), rehearsal="clone", memory_size=7, clone_coef=2.0)
    model.learn(12, reset_num_timesteps=False)
    assert model.learned_tasks == ["east"] and len(model.cloning.memory.tasks[0]) == 7 and len(model.memory) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rehearsal": "clip"}, "rehearsal must be one of replay, clone, both; got 'clip'"),
        ({"clone_coef": -1.0}, "clone_coef must be a number, 0 or more; got -1.0"),
        ({"clone_coef": float("nan")}, "clone_coef must be a number, 0 or more; got nan"),
        ({"clone_batch_size": 0}, "clone_batch_size must be a whole number of observations, 1 or more; got 0"),
    ],
)
def test_what_is_not_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        SAC_CASE.made(**arguments)
    if "rehearsal" not in arguments:
        return
    with pytest.raises(ValueError, match="clone_temperature must be a number above 0; got 0"):
        DQN_CASE.made(clone_temperature=0)


@off_policy_cases
def test_a_copy_goes_on_by_itself(case):
    model = case.made(**PLAIN, memory_size=20).learn(70)
    kept = copy.deepcopy(model.cloning.memory.state_dict())
    twin = pickle.loads(pickle.dumps(model))
    twin.learn(50, reset_num_timesteps=False)
    assert twin.cloning.model is twin and twin.logger.name_to_value["nbsp/cloning_loss"] > 0
    assert len(twin.cloning.memory) == 40 and same(model.cloning.memory.state_dict(), kept)
