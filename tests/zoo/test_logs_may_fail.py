"""A disk that is full costs lines of logs, not the training: /dev/full is one."""

import os

import pytest
from helpers import sequence_env
from stable_baselines3 import SAC
from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_nbsp.tasks import PointGoalEnv

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
pytest.importorskip("rl_zoo3")


def test_logs_of_sb3(tmp_path):
    from sb3_nbsp.zoo.logs_may_fail import LogsMayFail

    model = SAC("MlpPolicy", sequence_env(), learning_starts=10**6, buffer_size=100, policy_kwargs={"net_arch": [4]})
    log = HumanOutputFormat(str(tmp_path / "progress.csv"))
    log.file = open("/dev/full", "w+")
    model.set_logger(Logger(str(tmp_path), [log]))
    with pytest.warns(UserWarning, match=rf"{tmp_path.name} could not be written \(OSError: .*No space left"):
        model.learn(200, callback=LogsMayFail(), log_interval=1)
    assert model.num_timesteps == 200


def test_a_monitors_file(tmp_path):
    from sb3_nbsp.zoo.logs_may_fail import MonitorMayFail

    env = MonitorMayFail(PointGoalEnv("east", horizon=5), str(tmp_path / "0"))
    assert (tmp_path / "0.monitor.csv").is_file() and isinstance(env, Monitor)
    env.results_writer.file_handler = open("/dev/full", "w")
    env.results_writer.logger.writer = __import__("csv").writer(env.results_writer.file_handler)
    env.reset()
    with pytest.warns(UserWarning, match=r"0\.monitor\.csv could not be written \(OSError: .*No space left"):
        for _ in range(5):
            *_, truncated, info = env.step(env.action_space.sample())
    assert truncated and "episode" in info
    with pytest.warns(UserWarning, match="could not be written"):
        env.close()


@pytest.mark.parametrize("vec_env", [DummyVecEnv, SubprocVecEnv])
def test_it_is_called_as_sb3s(vec_env, tmp_path):
    """What wrappers are around an env is told by their names, from other processes too."""
    from sb3_nbsp.zoo.logs_may_fail import MonitorMayFail

    env = vec_env([lambda: MonitorMayFail(PointGoalEnv("east", horizon=5), str(tmp_path / "0"))])
    assert env.env_is_wrapped(Monitor) == [True] and str(MonitorMayFail(PointGoalEnv("east"))).startswith("<Monitor<")
    env.close()
