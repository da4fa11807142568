"""A small agent on the embedded sequence, and what its evaluations were."""

from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_nbsp.evaluation import SequenceEvalCallback

STEPS = 60  # per task; the sequence is east, west, east, west


def sequence_env(num_envs: int = 1, vec_env_cls: type[VecEnv] = DummyVecEnv, **kwargs) -> VecEnv:
    env_kwargs = {"steps_per_task": STEPS, "horizon": 10, **kwargs}
    return make_vec_env("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0", num_envs, env_kwargs=env_kwargs, vec_env_cls=vec_env_cls)


def small_sac(env: VecEnv, **kwargs) -> SAC:
    settings = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500, "seed": 1, "policy_kwargs": {"net_arch": [16]}}
    return SAC("MlpPolicy", env, **{**settings, **kwargs})


def seen(callback: SequenceEvalCallback) -> list[tuple[int, int, str]]:
    return [(e.step, e.segment, e.kind) for e in callback.results.evaluations]
