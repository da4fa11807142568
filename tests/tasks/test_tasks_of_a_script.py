"""Tasks of a script, functions or lambdas, in other processes; wrappers that change nothing an agent sees."""

import gymnasium as gym
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics
from helpers import HORIZON, run_python, sequence_env
from helpers.cases import SAC_CASE
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecVideoRecorder

THRIFTY = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
SCRIPT = """
import gymnasium as gym, sys
from stable_baselines3.common.vec_env import SubprocVecEnv
from sb3_nbsp import NBSPSAC
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

def light(render_mode):
    return gym.make("Pendulum-v1", g=5.0, render_mode=render_mode)

def make():
    heavy = 12.0
    tasks = (Task("light", light), Task("heavy", lambda render_mode: gym.make("Pendulum-v1", g=heavy)))
    return TaskSequenceEnv(TaskSequence(tasks, 40))

if __name__ == "__main__":
    env = SubprocVecEnv([make, make], start_method=sys.argv[1])
    model = NBSPSAC("MlpPolicy", env, scoring_steps=20, learning_starts=10, policy_kwargs={"net_arch": [8]}, device="cpu")
    model.learn(80)
    print(model.learned_tasks)
    env.close()
"""


FORKSERVER = pytest.param("forkserver", marks=pytest.mark.expensive)  # as spawn, from a process of its own


@pytest.mark.parametrize("start_method", ["fork", FORKSERVER, "spawn"])
def test_in_other_processes(start_method, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    assert "['light', 'heavy']" in run_python("script.py", start_method, folder=tmp_path)


HOLDS_A_LOCK = SCRIPT.replace("import gymnasium as gym, sys", "import gymnasium as gym, sys, threading").replace(
    "lambda render_mode: gym.make", "lambda render_mode, lock=threading.Lock(): gym.make"
)


@pytest.mark.parametrize("start_method", ["fork", FORKSERVER])
def test_a_task_that_cannot_be_sent_is_named(start_method, tmp_path):
    """By fork nothing is sent at first, and it comes to light when the model asks for the sequence."""
    (tmp_path / "script.py").write_text(HOLDS_A_LOCK)
    output = run_python("script.py", start_method, folder=tmp_path, expect=1)
    last = output.strip().splitlines()[-1]
    if start_method == "fork":  # else SB3's own makers of envs hold the lock
        assert last.startswith("TypeError: Task 'heavy' cannot be sent to another process")
    assert "lock" in last and "EOFError" not in output


def test_wrappers_that_only_look_on_are_allowed(tmp_path):
    made = gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=60, horizon=HORIZON, cycles=1, render_mode="rgb_array")
    env = DummyVecEnv([lambda: Monitor(RecordEpisodeStatistics(made))])
    assert SAC_CASE.made(env).learn(120).learned_tasks == ["east", "west"]
    pytest.importorskip("moviepy")
    filmed = VecVideoRecorder(env, str(tmp_path), lambda step: step == 0, video_length=5)
    assert SAC_CASE.made(filmed).learn(120).learned_tasks == ["east", "west"]


def test_what_cannot_be_consolidated_is_said_before_training(caplog, recwarn):
    """However quiet the model is. SB3's own tests hold that such models learn without a warning."""
    model = SAC_CASE.made(SAC_CASE.point_goal(), **THRIFTY).learn(20)
    (said,) = caplog.messages
    assert said.startswith("consolidate() will not be possible with this model. optimize_memory_usage=True")
    model.learn(20, reset_num_timesteps=False)
    flips = BitFlippingEnv(n_bits=3, continuous=True, max_steps=5)
    SAC_CASE.made(flips, "MultiInputPolicy", replay_buffer_class=HerReplayBuffer).learn(20)
    assert not len(recwarn) and len(caplog.messages) == 2 and "HerReplayBuffer relabels goals" in caplog.messages[1]
    without = SAC_CASE.made(SAC_CASE.point_goal(), **THRIFTY, memory_size=0).learn(40)
    without.consolidate(SAC_CASE.point_goal(), "A")
    assert without.learned_tasks == ["A"] and without.neuron_masks.n_held == 1
    with pytest.raises(ValueError, match="optimize_memory_usage=True stores no next observations"):
        SAC_CASE.made(sequence_env(), **THRIFTY).learn(10)
