"""Envs of members in worker processes: the same trainings, to the bit, as with envs in the process."""

import os
import signal
from functools import partial
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers import HORIZON, NBSP_SETTINGS, ToyEnv, same
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from test_population import everything

from sb3_nbsp import NBSPSAC
from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.population import MemberEnvs, Population, workers_for
from sb3_nbsp.population.member_envs import SLOW_STEP
from sb3_nbsp.population.worker_process import WorkerProcess

STEPS = 75  # over a switch
MAKERS = [partial(gym.make, "sb3_nbsp/PointGoal-v0", steps_per_task=60, horizon=HORIZON)] * 3


def monitored(maker):
    return lambda: Monitor(maker())


def learned(envs, folder):
    models = [NBSPSAC("MlpPolicy", env, **{**NBSP_SETTINGS, "scoring_steps": 30, "seed": s}) for s, env in enumerate(envs)]
    evaluations = [SequenceEvalCallback(40, 2) for _ in models]
    callbacks = [[one, RunCheckpoints(folder / str(seed), freq=50)] for seed, one in enumerate(evaluations)]
    Population(models).learn(STEPS, callbacks=callbacks)
    return models, [[(e.step, e.kind, e.mean_return, e.success) for e in one.results.evaluations] for one in evaluations]


def test_members_learn_what_they_learn_with_envs_in_the_process(made_envs, tmp_path):
    """Over a switch, with scoring, evaluations and checkpoints; then they go on from the checkpoints."""
    workers = made_envs([monitored(maker) for maker in MAKERS], workers=2)
    assert len({env._worker for env in workers}) == 2
    own = [DummyVecEnv([monitored(maker)]) for maker in MAKERS]
    models, evaluations = learned(workers, tmp_path / "workers")
    expected, expected_evaluations = learned(own, tmp_path / "own")
    assert evaluations == expected_evaluations and len(evaluations[0]) >= 3
    for one, other in zip(models, expected, strict=True):
        assert one.learned_tasks == ["east"] and one._n_updates >= 40
        assert same(everything(one), everything(other))
    ends = []
    for name, envs in (("workers", made_envs([monitored(maker) for maker in MAKERS], workers=2)), ("own", own)):
        again = [NBSPSAC.load_checkpoint(tmp_path / name / str(seed), env) for seed, env in enumerate(envs)]
        assert [model.num_timesteps for model in again] == [60] * 3
        Population(again).learn(30, reset_num_timesteps=False)
        ends.append([everything(model) for model in again])
    assert same(*ends)


def test_envs_for_scoring_and_evaluating_are_in_the_workers_and_work_at_once(made_envs, monkeypatch):
    """While one member's env plays its step, so do the others': all are told to before anyone waits."""
    log = []  # command, worker
    ask, answer = WorkerProcess.ask, WorkerProcess.answer

    def noted_ask(worker, number, command, *arguments):
        log.append((command, worker))
        return ask(worker, number, command, *arguments)

    def noted_answer(worker, question):
        log.append(("wait", worker))
        return answer(worker, question)

    monkeypatch.setattr(WorkerProcess, "ask", noted_ask)
    monkeypatch.setattr(WorkerProcess, "answer", noted_answer)
    envs = made_envs([monitored(maker) for maker in MAKERS[:2]], workers=2)
    models = [NBSPSAC("MlpPolicy", env, **{**NBSP_SETTINGS, "scoring_steps": 30, "seed": s}) for s, env in enumerate(envs)]
    Population(models).learn(120, callbacks=[[SequenceEvalCallback(0, 2)] for _ in models])
    assert [model.learned_tasks for model in models] == [["east", "west"]] * 2
    commands = [command for command, _ in log]
    assert commands.count("make") == 2 * (1 + 2 + 2)  # for training, for evaluating and for scoring on two tasks
    assert commands.count("reset") == 2 * (1 + 3 * 2 + 2)  # evaluated at the start, at two task ends
    assert commands.count("step") > 2 * (120 + 2 * 30 + 3 * 2 * 2)
    for command, alone in (("step", 0), ("reset", 2)):  # learn() resets the training env of one after the other
        asked = [place for place, name in enumerate(commands) if name == command]
        pairs = sum(log[a][1] is not log[b][1] and ("wait", log[a][1]) not in log[a:b] for a, b in pairwise(asked))
        assert pairs == (len(asked) - alone) / 2, command


class Told(ToyEnv):
    """Tells everything that an env may tell."""

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], {"began": float(self.np_random.random())}


SPACES = {
    "vector": spaces.Box(-1.0, 1.0, (3,)),
    "image": spaces.Box(0, 255, (4, 5, 3), np.uint8),
    "dict": spaces.Dict(a=spaces.Box(-1.0, 1.0, (3,)), b=spaces.Box(0, 255, (2, 2), np.uint8)),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_member_has_what_dummy_vec_env_gives(name, made_envs):
    makers = [[lambda: Told(SPACES[name])] * 2] * 3
    envs = made_envs(makers, workers=2)
    others = [DummyVecEnv(list(member)) for member in makers]
    random = np.random.default_rng(0)
    for seed, (env, other) in enumerate(zip(envs, others, strict=True)):
        env.seed(seed), other.seed(seed)
        assert same(env.reset(), other.reset()) and env.reset_infos == other.reset_infos
        assert (env.num_envs, env.observation_space, env.action_space) == (2, other.observation_space, other.action_space)
    for _ in range(2 * HORIZON):
        actions = [random.uniform(-2, 2, (2, 2)).astype(np.float32) for _ in envs]
        for env, action in zip(envs, actions, strict=True):
            env.step_async(action)
        steps = [env.step_wait() for env in reversed(envs)][::-1]  # answers wait for whoever asks
        for env, other, action, step in zip(envs, others, actions, steps, strict=True):
            expected = other.step(action)
            assert same(list(step), list(expected)) and [part.dtype for part in step[1:3]] == [np.float32, bool]
            assert same(env.reset_infos, other.reset_infos)


def test_what_an_env_says_comes_through(made_envs):
    envs = made_envs(workers=1)
    env = envs.add([MAKERS[0]])
    assert len(envs) == 1 and env.has_attr("task_sequence") and not env.has_attr("nothing")
    assert env.get_attr("sequence_steps") == [0] and not env.env_is_wrapped(Monitor)[0]
    env.env_method("fast_forward", 30)
    assert env.get_attr("sequence_steps") == [30]
    with pytest.raises(ValueError, match="got -1") as caught:
        env.env_method("fast_forward", -1)
    assert "in a worker process" in str(caught.value.__cause__)
    with pytest.raises(ZeroDivisionError):
        made_envs([lambda: 1 / 0], workers=1)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        MemberEnvs(workers=0)


def test_a_worker_ends_with_its_envs_and_its_death_is_told(made_envs):
    envs = made_envs([MAKERS[0]] * 3, workers=2)
    first, second = envs[0]._worker._process, envs[1]._worker._process
    envs[1].reset(), envs[1].step_async(np.zeros((1, 2), np.float32)), envs[1].close()
    assert second.exitcode == 0 and first.is_alive()
    envs[0].close()
    assert first.is_alive()
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(EOFError, match="has ended"):
        envs[2].reset()
    envs.close()


def test_the_rule_for_workers():
    slow, quick = 2 * SLOW_STEP, SLOW_STEP / 2
    assert [workers_for(64, cores, slow) for cores in (1, 2, 3, 16)] == [0, 0, 2, 15]
    assert workers_for(4, 16, slow) == 4 and workers_for(64, 16, quick) == workers_for(1, 16, slow) == 0
