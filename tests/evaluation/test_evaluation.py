"""The evaluation callback on the embedded sequence with plain SB3 algorithms."""

import os
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers.evaluated import STEPS, seen, sequence_env, small_sac
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import HumanOutputFormat, KVWriter, Logger
from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

from sb3_nbsp.evaluation import Evaluation, SequenceEvalCallback, SequenceResults, TaskEvaluator
from sb3_nbsp.tasks import Task


def same_parameters(one: BaseAlgorithm, other: BaseAlgorithm) -> bool:
    theirs = other.policy.state_dict()
    return all(th.equal(value, theirs[name]) for name, value in one.policy.state_dict().items())


class RecordedLogger(KVWriter):
    def __init__(self) -> None:
        self.dumps: list[tuple[int, dict]] = []

    def write(self, key_values, key_excluded, step=0):
        self.dumps.append((step, dict(key_values)))

    def close(self):
        pass


@pytest.mark.parametrize("n_envs", [1, 2])
def test_evaluates_at_start_intervals_and_switches(n_envs):
    callback = SequenceEvalCallback(eval_freq=40, n_eval_episodes=2)
    small_sac(sequence_env(n_envs)).learn(4 * STEPS, callback=callback)
    assert seen(callback) == [
        (0, 0, "start"),
        (40, 0, "interval"),
        (60, 0, "switch"),
        (80, 1, "interval"),
        (120, 1, "switch"),  # an interval too, evaluated once
        (160, 2, "interval"),
        (180, 2, "switch"),
        (200, 3, "interval"),
        (240, 3, "switch"),
    ]
    assert callback.results.finished
    assert not np.isnan(callback.results.matrix()).any()
    assert set(callback.results.evaluations[0].success) == {"east", "west"}


def test_steps_that_n_envs_does_not_divide():
    callback = SequenceEvalCallback(eval_freq=50, n_eval_episodes=1)
    small_sac(sequence_env(4, steps_per_task=58)).learn(120, callback=callback)
    assert seen(callback) == [
        (0, 0, "start"),
        (52, 0, "interval"),
        (60, 0, "switch"),
        (100, 1, "interval"),
        (116, 1, "switch"),
        (120, 2, "end"),
    ]


def test_zero_frequency_leaves_the_switches():
    callback = SequenceEvalCallback(eval_freq=0, n_eval_episodes=1)
    small_sac(sequence_env()).learn(4 * STEPS, callback=callback)
    assert [kind for _, _, kind in seen(callback)] == ["start"] + 4 * ["switch"]


def test_ppo_is_evaluated_after_its_last_rollout():
    callback = SequenceEvalCallback(eval_freq=0, n_eval_episodes=1)
    PPO("MlpPolicy", sequence_env(2), n_steps=16, batch_size=16, policy_kwargs={"net_arch": [8]}).learn(240, callback=callback)
    assert seen(callback)[-2:] == [(240, 3, "switch"), (256, 3, "end")]
    assert callback.results.finished


def trained(callback: SequenceEvalCallback | None, normalize: bool) -> SAC:
    env = sequence_env(2, n_envs=2)
    model = small_sac(VecNormalize(env) if normalize else env)
    return model.learn(4 * STEPS, callback=callback)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("deterministic", [True, False])
def test_training_is_the_same_with_and_without_evaluation(deterministic, normalize):
    plain = trained(None, normalize)
    callback = SequenceEvalCallback(25, 2, deterministic=deterministic)
    watched = trained(callback, normalize)
    assert len(callback.results.evaluations) > 8
    assert same_parameters(plain, watched)
    np.testing.assert_array_equal(plain.replay_buffer.observations, watched.replay_buffer.observations)
    np.testing.assert_array_equal(plain._last_obs, watched._last_obs)


def test_making_evaluation_envs_draws_nothing_from_training():
    env = sequence_env()
    sequence = env.get_attr("task_sequence")[0]
    drawing = Task("drawing", lambda render_mode: (np.random.random(), th.rand(1), gym.make("Pendulum-v1"))[-1])
    before = np.random.get_state()[2], th.get_rng_state()
    TaskEvaluator(env, replace(sequence, tasks=(drawing,))).close()
    assert np.random.get_state()[2] == before[0] and th.equal(th.get_rng_state(), before[1])


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_agent_that_does_not_learn_gets_the_same_result_every_time(deterministic):
    callback = SequenceEvalCallback(30, 3, deterministic=deterministic)
    small_sac(sequence_env(), learning_starts=10_000).learn(2 * STEPS, callback=callback)
    evaluations = callback.results.evaluations
    assert len(evaluations) == 5
    assert all(e.mean_return == evaluations[0].mean_return for e in evaluations)


def test_the_policys_mode_is_restored():
    model = small_sac(sequence_env())
    callback = SequenceEvalCallback(0, 1)
    model.learn(10, callback=callback)
    for mode in (True, False):
        model.policy.set_training_mode(mode)
        callback.on_training_start({}, {})
        callback.results.evaluations.clear()
        callback.on_training_end()
        assert len(callback.results.evaluations) == 1 and model.policy.training is mode


def fly_west(observation, state=None, episode_start=None, deterministic=False):
    """Takes the place of ``model.predict``: solves west and moves away from east."""
    return np.tile(np.float32([-1.0, 0.0]), (len(observation), 1)), state


@pytest.mark.parametrize("wrapper", [lambda env: env, VecNormalize])
def test_performance_is_the_tasks_own(monkeypatch, wrapper):
    model = small_sac(wrapper(sequence_env(horizon=20)), learning_starts=10_000)
    monkeypatch.setattr(model, "predict", fly_west)
    callback = SequenceEvalCallback(0, 4)
    model.learn(2 * STEPS, callback=callback)
    alone = sequence_env(horizon=20).get_attr("task_sequence")[0].make_task_env("west")
    alone.reset(seed=5)
    raw_return = sum(alone.step(np.float32([-1.0, 0.0]))[1] for _ in range(20))
    for evaluation in callback.results.evaluations:
        assert evaluation.success == {"east": 0.0, "west": 1.0}
        # Starts differ a little from seed to seed; a normalised reward would be elsewhere.
        assert evaluation.mean_return["west"] == pytest.approx(raw_return, rel=0.15)
        assert evaluation.mean_return["east"] < 1.5 * raw_return
    metrics = callback.results.metrics()
    assert (metrics.asr, metrics.fm, metrics.fwt) == (0.5, 0.0, 0.5)


def test_evaluation_sees_observations_as_in_training(monkeypatch):
    env = VecNormalize(sequence_env(2))
    model = small_sac(env, learning_starts=10_000)
    predict, observations = model.predict, []

    def recording_predict(observation, *args, **kwargs):
        observations.append(observation)
        return predict(observation, *args, **kwargs)

    monkeypatch.setattr(model, "predict", recording_predict)
    callback = SequenceEvalCallback(0, 2)
    model.learn(STEPS, callback=callback)
    first, last = observations[0], observations[2 * 2 * 10]  # 2 tasks, 2 episodes of 10 steps
    # The same raw observation, seen with the statistics of before and after.
    assert not np.allclose(first, last)
    np.testing.assert_allclose(env.unnormalize_obs(last)[0, 4:], [1.0, 0.0], atol=1e-5)


def test_ending_twice_changes_nothing(tmp_path):
    callback = SequenceEvalCallback(0, 1, tmp_path)
    small_sac(sequence_env()).learn(70, callback=callback)
    assert seen(callback) == [(0, 0, "start"), (60, 0, "switch"), (70, 1, "end")]
    written = (tmp_path / "results.json").read_text()
    callback.on_training_end()
    assert len(callback.results.evaluations) == 3 and (tmp_path / "results.json").read_text() == written
    assert not callback.results.finished
    assert sorted(os.listdir(tmp_path)) == ["evaluations.csv", "matrix.csv", "matrix.png", "results.json", "sequence.png"]


def test_learning_on_with_the_same_callback():
    callback = SequenceEvalCallback(0, 1)
    model = small_sac(sequence_env())
    model.learn(STEPS, callback=callback)
    model.learn(STEPS, callback=callback, reset_num_timesteps=False)
    assert seen(callback) == [(0, 0, "start"), (60, 0, "switch"), (120, 1, "switch")]


def test_resuming_drops_what_lies_ahead(tmp_path):
    before = SequenceEvalCallback(20, 1, tmp_path)
    small_sac(sequence_env()).learn(100, callback=before)
    before.results.wall_time_s = 1000.0
    before.results.write(tmp_path)
    assert seen(before)[-3:] == [(60, 0, "switch"), (80, 1, "interval"), (100, 1, "interval")]
    env = sequence_env()
    env.env_method("fast_forward", 80)
    after = SequenceEvalCallback(20, 1, tmp_path, resume_from=tmp_path / "results.json")
    small_sac(env).learn(4 * STEPS - 80, callback=after)
    assert [step for step, _, _ in seen(after)] == [0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220, 240]
    assert after.results.evaluations[:5] == before.results.evaluations[:5]
    assert after.results.wall_time_s > 1000.0
    assert SequenceResults.read(tmp_path).finished and not np.isnan(after.results.matrix()).any()


def test_results_of_another_sequence_are_not_gone_on_with(tmp_path):
    small_sac(sequence_env()).learn(10, callback=SequenceEvalCallback(0, 1, tmp_path))
    before = SequenceResults.read(tmp_path).evaluations
    callback = SequenceEvalCallback(0, 1, resume_from=tmp_path)
    with pytest.warns(UserWarning, match=r"are of another sequence, .* of \(30, 30, 30, 30\)\. Results begin anew here"):
        small_sac(sequence_env(steps_per_task=30)).learn(10, callback=callback)
    assert callback.results.segment_steps == (30,) * 4 and callback.results.evaluations[0].kind == "start" and before
    assert SequenceResults.read(tmp_path).segment_steps == (60,) * 4  # the file stays


def test_results_say_how_they_came_about(tmp_path):
    callback = SequenceEvalCallback(30, 1, tmp_path, settings={"method": "plain"}, verbose=1)
    small_sac(sequence_env(), seed=7).learn(30, callback=callback)
    results = SequenceResults.read(tmp_path)
    assert results.settings["method"] == "plain" and results.settings["algorithm"] == "SAC"
    assert results.settings["n_eval_episodes"] == 1 and results.seed == 7
    assert set(results.versions) >= {"python", "torch", "numpy", "gymnasium", "stable-baselines3", "sb3-nbsp"}
    assert results.sequence == (("east", "west"), ("east", "west", "east", "west"), (60, 60, 60, 60))
    assert results.wall_time_s > sum(evaluation.wall_s for evaluation in results.evaluations) > 0


def test_logged_keys():
    model, recorded = small_sac(sequence_env()), RecordedLogger()
    model.set_logger(Logger(None, [recorded]))
    model.learn(2 * STEPS, callback=SequenceEvalCallback(0, 1))
    dumps = {step: values for step, values in recorded.dumps if "continual/task" in values}
    assert list(dumps) == [0, 60, 120]
    always = {"continual/task", *(f"continual/{name}_{what}" for name in ("east", "west") for what in ("success", "return"))}
    assert {key for key in dumps[0] if key.startswith("continual/")} == always
    assert {key for key in dumps[60] if key.startswith("continual/")} == {*always, "continual/asr", "continual/fwt"}
    assert {key for key in dumps[120] if key.startswith("continual/")} == {
        *always,
        *(f"continual/{m}" for m in ("asr", "fm", "fwt")),
    }
    assert [values["continual/task"] for values in dumps.values()] == [0, 0, 1]


@pytest.mark.parametrize("length, key", [(25, "x" * 24 + "1_success"), (26, "task1_success")])
def test_long_task_names_do_not_collide_in_the_text_log(tmp_path, length, key):
    names = ["x" * (length - 1) + str(index) for index in range(2)]
    model = small_sac(sequence_env())
    callback = SequenceEvalCallback(0, 1)
    model.learn(10, callback=callback)
    callback.results = SequenceResults(tuple(names), tuple(names), (60, 60))
    text = HumanOutputFormat(str(tmp_path / "log.txt"))
    model.set_logger(Logger(None, [text]))
    callback._log(Evaluation(60, 0, "interval", dict.fromkeys(names, 0.5), dict.fromkeys(names, 1.0), 0.1))
    text.close()
    assert f" {key} " in (tmp_path / "log.txt").read_text()


def test_best_model_has_seen_most_tasks(tmp_path, monkeypatch):
    model = small_sac(sequence_env())
    saved = []
    monkeypatch.setattr(model, "save", lambda path: saved.append((model.num_timesteps, os.path.basename(path))))
    scripted = iter([(0.0, 1.0), (1.0, 1.0), (0.5, 9.0), (0.5, 2.0), (0.5, 2.5), (0.5, 2.5)])

    def scripted_evaluation(self, model, tasks):
        success, mean_return = next(scripted)
        return dict.fromkeys(self.envs, success), dict.fromkeys(self.envs, mean_return)

    monkeypatch.setattr("sb3_nbsp.evaluation.callback.TaskEvaluator.evaluate", scripted_evaluation)
    model.learn(100, callback=SequenceEvalCallback(20, 1, best_model_save_path=tmp_path))
    # 0: first, 20: better, 40: worse, 60: still one task seen and worse, 80: two tasks, 100: no better
    assert saved == [(0, "best_model"), (20, "best_model"), (80, "best_model")]


def test_best_model_loads(tmp_path):
    small_sac(sequence_env()).learn(10, callback=SequenceEvalCallback(0, 1, best_model_save_path=tmp_path / "new"))
    assert SAC.load(tmp_path / "new" / "best_model").observation_space.shape == (6,)


def test_works_with_subprocesses():
    env = sequence_env(2, vec_env_cls=SubprocVecEnv)
    callback = SequenceEvalCallback(0, 1)
    small_sac(env).learn(STEPS, callback=callback)
    env.close()
    assert seen(callback) == [(0, 0, "start"), (60, 0, "switch")]


def test_evaluation_envs_are_closed():
    callback = SequenceEvalCallback(0, 1)
    closed = []
    model = small_sac(sequence_env())
    model.learn(10, callback=callback)
    callback.on_training_start({}, {})
    for name, env in callback._evaluator.envs.items():
        env.close = lambda name=name: closed.append(name)
    callback.on_training_end()
    callback.on_training_end()
    assert closed == ["east", "west"]


def test_an_env_without_sequence_is_refused():
    model = SAC("MlpPolicy", gym.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="EvalCallback"):
        model.learn(1, callback=SequenceEvalCallback())


@pytest.mark.parametrize("kwargs", [{"eval_freq": -1}, {"n_eval_episodes": 0}, {"eval_freq": 1.5}, {"deterministic": "False"}])
def test_senseless_arguments_are_refused(kwargs):
    with pytest.raises(ValueError, match=f"{next(iter(kwargs))} must be .*; got "):
        SequenceEvalCallback(**kwargs)
