"""A run that is stopped, and goes on from its checkpoint in a new env, is the run that was never stopped, bit for bit."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import HORIZON, copied, same
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, TQC_CASE, Case, every_case, on_cases
from helpers.outcomes import everything
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecFrameStack, VecNormalize

from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.evaluation import SequenceEvalCallback

STEPS = 230  # of 4 x 60: both tasks twice, the last visit not to its end
PLACES = (0, 60, 100, 120)  # before it begins, at switches and within a task


class KeptLogger(Logger):
    """Keeps what it has logged."""

    def dump(self, step: int = 0) -> None:
        pass


class StopAt(BaseCallback):
    """Ends like a killed process: at the first safe point from a step on, in the midst of everything."""

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def _on_step(self) -> bool:
        return True

    def on_safe_point(self, callback: BaseCallback) -> None:
        if self.num_timesteps >= self.step:
            raise KeyboardInterrupt


def outcome(model: Any, evaluation: SequenceEvalCallback | None = None) -> dict[str, Any]:
    memory = None if model.memory is None else copied(model.memory.state_dict())
    env = model.env
    result = {
        **everything(model),
        "memory": memory,
        "skill": model.skill_neuron_records,
        "learned": model.learned_tasks,
        "position": model.position_record,
        "protection": copied({name: part.state_dict() for name, part in model.protection.states().items()}),
        "episodes": env.get_attr("episode_returns"),
    }
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        result["statistics"] = [normalize.obs_rms.mean, normalize.obs_rms.var, normalize.ret_rms.var, normalize.returns]
    if evaluation is not None:
        rows = evaluation.results.evaluations
        result["rows"] = [(row.step, row.segment, row.kind, row.success, row.mean_return) for row in rows]
    return result


def run_through(made: Callable[[], Any], evaluate: bool = False) -> dict[str, Any]:
    evaluation = SequenceEvalCallback(eval_freq=25, n_eval_episodes=1) if evaluate else None
    return outcome(made().learn(STEPS, callback=evaluation), evaluation)


def stop_and_go_on(made: Callable[[], Any], env: Callable[[], VecEnv], step: int, folder: Path, evaluate: bool = False) -> Any:
    """Twice: the checkpoint of a run that has gone on is gone on from, too."""
    model, n_steps = made(), STEPS
    for at in (step, step + 12):
        callbacks: list[BaseCallback] = [RunCheckpoints(folder, freq=25), StopAt(at)]
        if evaluate:
            callbacks.insert(0, SequenceEvalCallback(eval_freq=25, n_eval_episodes=1))
        with pytest.raises(KeyboardInterrupt):
            model.learn(n_steps, callback=callbacks, reset_num_timesteps=at == step)
        model.env.close()
        random.seed(99), np.random.seed(99), th.manual_seed(99)
        model = type(model).load_checkpoint(folder, env())
        n_steps = model.steps_left
    evaluation = SequenceEvalCallback(eval_freq=25, n_eval_episodes=1) if evaluate else None
    model.learn(n_steps, callback=evaluation, reset_num_timesteps=False)
    return outcome(model, evaluation)


def assert_goes_on(
    made: Callable[[], Any], env: Callable[[], VecEnv], folder: Path, places: Any, evaluate: bool = False
) -> None:
    whole = run_through(made, evaluate)
    assert whole["counters"][1] > 10 and len(whole["learned"]) == 2  # it learned, and switched
    for place in places:
        stopped = stop_and_go_on(made, env, place, folder / str(place), evaluate)
        assert stopped.keys() == whole.keys()
        for name in whole:
            assert same(stopped[name], whole[name]), f"{name}, stopped at {place}"


@pytest.mark.parametrize("n_envs", [1, 2])
@every_case
def test_every_class_goes_on(case: Case, n_envs, tmp_path):
    assert_goes_on(lambda: case.made(case.sequence_env(n_envs)), lambda: case.sequence_env(n_envs), tmp_path, PLACES)


@on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
def test_evaluations_go_on(case: Case, tmp_path):
    assert_goes_on(lambda: case.made(case.sequence_env(2)), lambda: case.sequence_env(2), tmp_path, (60, 100), True)


@pytest.mark.parametrize(
    "case", [pytest.param(SAC_CASE, id="sac"), pytest.param(PPO_CASE, id="ppo", marks=pytest.mark.expensive)]
)
def test_sub_envs_in_other_processes_go_on(case: Case, tmp_path):
    def env() -> VecEnv:
        kwargs = {"steps_per_task": 60, "horizon": HORIZON, "n_envs": 2}
        name = "sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0"
        return make_vec_env(name, 2, env_kwargs=kwargs, vec_env_cls=SubprocVecEnv)

    assert_goes_on(lambda: case.made(env()), env, tmp_path, (130,))


@on_cases(SAC_CASE, PPO_CASE)
def test_wrappers_go_on(case: Case, tmp_path):
    def env() -> VecEnv:
        return VecNormalize(VecFrameStack(case.sequence_env(2), 3))

    assert_goes_on(lambda: case.made(env()), env, tmp_path, (33, 120))


VARIANTS = {
    "n-step": (SAC_CASE, {"n_steps": 3}),
    "gSDE": (SAC_CASE, {"use_sde": True, "train_freq": 8, "sde_sample_freq": 3}),
    "gSDE on-policy": (PPO_CASE, {"use_sde": True, "sde_sample_freq": 5}),
    "gates": (SAC_CASE, {"task_gates": True, "skill_fraction": 0.2}),
    "gates on-policy": (PPO_CASE, {"task_gates": True, "skill_fraction": 0.2, "policy_kwargs": {"activation_fn": th.nn.ReLU}}),
    "masked gradients": (SAC_CASE, {"mask_target": "gradient", "mask_coef": 0.5}),
    "SB3's own update": (SAC_CASE, {"fast_update": False}),
    "small ring": (SAC_CASE, {"buffer_size": 23}),
    "ring kept at switches": (TQC_CASE, {"reset_replay_buffer": False, "buffer_size": 47}),
    "rollouts over a switch": (SAC_CASE, {"train_freq": 7, "gradient_steps": 2}),
    "one episode per rollout": (TQC_CASE, {"train_freq": (1, "episode"), "gradient_steps": 3}),
    "cloning": (DQN_CASE, {"rehearsal": "both"}),
    "cloning on the actor": (SAC_CASE, {"rehearsal": "clone"}),
    "share": (DQN_CASE, {"replay_mode": "share"}),
    "clip": (PPO_CASE, {"rehearsal": "clip"}),
    "nothing kept": (PPO_CASE, {"skill_fraction": 0.0, "memory_size": 0, "n_steps": 14}),
    "noise": (SAC_CASE, {"action_noise": OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2))}),
    "optimizer": (SAC_CASE, {"policy_kwargs": {"optimizer_class": th.optim.RMSprop}}),
}


@pytest.mark.parametrize("case, settings", VARIANTS.values(), ids=VARIANTS)
def test_settings_go_on(case: Case, settings, tmp_path):
    assert_goes_on(lambda: case.made(**settings), case.sequence_env, tmp_path, (75, 120))


def test_a_task_by_hand_goes_on(tmp_path):
    whole = everything(SAC_CASE.made(SAC_CASE.task_env()).learn(60))
    model = SAC_CASE.made(SAC_CASE.task_env())
    with pytest.raises(KeyboardInterrupt):
        model.learn(60, callback=[RunCheckpoints(tmp_path, freq=5), StopAt(35)])
    model = SAC_CASE.cls.load_checkpoint(tmp_path, SAC_CASE.task_env())
    stopped = everything(model.learn(model.steps_left, reset_num_timesteps=False))
    for name in whole:
        assert same(stopped[name], whole[name]), name


@every_case
def test_a_checkpoint_leaves_no_trace_in_training(case: Case, tmp_path):
    written = case.made().learn(STEPS, callback=RunCheckpoints(tmp_path, freq=10))
    assert same(outcome(written), run_through(case.made))


def test_iterations_are_counted_on(tmp_path):
    """SB3 counts PPO's from 1 in every learn()."""

    def logged(model: Any, **kwargs: Any) -> list[int]:
        seen: list[int] = []
        model.dump_logs = lambda iteration=0: (
            type(model).dump_logs(model, iteration), seen.append(model.logger.name_to_value["time/iterations"])
        )  # fmt: skip
        model.set_logger(KeptLogger(None, []))
        with suppress(KeyboardInterrupt):
            model.learn(**kwargs)
        return seen

    whole = logged(PPO_CASE.made(), total_timesteps=100)
    stopped = logged(PPO_CASE.made(), total_timesteps=100, callback=[RunCheckpoints(tmp_path, freq=25), StopAt(60)])
    model = PPO_CASE.cls.load_checkpoint(tmp_path, PPO_CASE.sequence_env())
    gone_on = logged(model, total_timesteps=model.steps_left, reset_num_timesteps=False)
    assert whole == list(range(1, len(whole) + 1)) and stopped == whole[: len(stopped)]
    assert gone_on == whole[-len(gone_on) :] and 0 < len(gone_on) < len(whole)
    assert logged(model, total_timesteps=16, reset_num_timesteps=False)[0] == 1  # as SB3 counts
