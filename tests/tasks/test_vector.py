"""Gymnasium's vector environments as Stable-Baselines3's VecEnv: the same as the same sub-envs one by one."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from sb3_nbsp.tasks.vector import GymnasiumVecEnv
from sb3_nbsp.tasks.vector_util import split_infos

N_ENVS = 3


def pendulum() -> gym.Env:
    """Episodes of seven steps that are cut off."""
    return gym.make("Pendulum-v1", max_episode_steps=7)


def cartpole() -> gym.Env:
    """Episodes that terminate or, after twelve steps, are cut off."""
    return gym.make("CartPole-v1", max_episode_steps=12)


class Dictionary(gym.Env):
    """Observations in a dict; tells of some steps only."""

    observation_space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(50)})
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._obs(), {"begun": True}

    def _obs(self) -> Any:
        return {"a": self.np_random.uniform(-1, 1, 2).astype(np.float32), "b": np.int64(self.steps)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        info = {"even": self.steps, "nested": {"action": int(action)}} if self.steps % 2 == 0 else {}
        return self._obs(), float(action), self.steps == 5, False, info


@pytest.mark.parametrize("make", [pendulum, cartpole, Dictionary])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_it_equals_the_same_sub_envs_one_by_one(make: Any, mode: AutoresetMode) -> None:
    theirs = DummyVecEnv([make] * N_ENVS)
    ours = GymnasiumVecEnv(SyncVectorEnv([make] * N_ENVS, autoreset_mode=mode))
    theirs.seed(5)
    ours.seed(5)
    assert_equal(ours.reset(), theirs.reset())
    theirs.action_space.seed(0)
    ended = 0
    for _ in range(60):
        actions = np.array([theirs.action_space.sample() for _ in range(N_ENVS)])
        obs, rewards, dones, infos = ours.step(actions)
        wanted_obs, wanted_rewards, wanted_dones, wanted_infos = theirs.step(actions)
        assert_equal(obs, wanted_obs)
        np.testing.assert_allclose(rewards, wanted_rewards, rtol=1e-6)
        assert rewards.dtype == np.float32
        np.testing.assert_array_equal(dones, wanted_dones)
        for info, wanted in zip(infos, wanted_infos, strict=True):
            assert_equal(info, wanted)
        assert_equal(ours.reset_infos, theirs.reset_infos)
        ended += int(dones.sum())
    assert ended > N_ENVS


def assert_equal(got: Any, wanted: Any) -> None:
    """Compare arrays, dicts and lists of them."""
    if isinstance(wanted, dict):
        assert set(got) == set(wanted)
        for key, value in wanted.items():
            assert_equal(got[key], value)
    elif isinstance(wanted, list):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(got, wanted)


def test_a_model_learns_the_same_on_it() -> None:
    models = []
    for make in (
        lambda: DummyVecEnv([lambda: Monitor(pendulum())] * N_ENVS),
        lambda: VecMonitor(GymnasiumVecEnv(SyncVectorEnv([pendulum] * N_ENVS, autoreset_mode=AutoresetMode.SAME_STEP))),
    ):
        model = PPO("MlpPolicy", VecNormalize(make()), n_steps=16, batch_size=16, seed=3)
        models.append(model.learn(96))
    ours, theirs = (model.get_parameters()["policy"] for model in models)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6)
    assert models[0].ep_info_buffer and models[1].ep_info_buffer
    assert [info["l"] for info in models[0].ep_info_buffer] == [info["l"] for info in models[1].ep_info_buffer]


def test_attributes_and_methods_of_sub_envs() -> None:
    env = GymnasiumVecEnv(AsyncVectorEnv([Dictionary] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    try:
        env.reset()
        assert env.get_attr("steps") == [0, 0]
        env.step(np.array([0, 1]))
        assert env.get_attr("steps", 1) == [1]
        env.set_attr("steps", 4, indices=[0])
        assert env.get_attr("steps") == [4, 1]
        assert len(env.env_method("_obs")) == 2
        assert not env.has_attr("task_sequence")
        env.step(np.array([0, 1]))  # they still run
        with pytest.raises(ValueError, match="only be called on all 2"):
            env.env_method("_obs", indices=[0])
    finally:
        env.close()


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_they_are_found_through_vector_wrappers(cls: Any) -> None:
    """Gymnasium's hand neither attributes nor ``call`` on."""
    bare = cls([Dictionary] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    env = GymnasiumVecEnv(RecordEpisodeStatistics(RecordEpisodeStatistics(bare)))
    try:
        env.reset()
        env.step(np.array([0, 1]))
        assert env.get_attr("steps") == [1, 1] and env.has_attr("steps") and not env.has_attr("task_sequence")
        env.set_attr("steps", 3, indices=[1])
        assert env.get_attr("steps") == [1, 3] and len(env.env_method("_obs")) == 2
        assert env.calls_single is (cls is SyncVectorEnv)
        assert all(
            text.startswith("<RecordEpisodeStatistics<RecordEpisodeStatistics<Dict") for text in env.env_method("__str__")
        )
        assert env.get_attr("autoreset_mode") == [AutoresetMode.SAME_STEP] * 2
        env.set_attr("autoreset_mode", AutoresetMode.DISABLED)
        assert bare.autoreset_mode is AutoresetMode.DISABLED
    finally:
        env.close()


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_statistics_of_episodes_are_told_where_they_end(cls: Any) -> None:
    bare = cls([pendulum] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    env = GymnasiumVecEnv(RecordEpisodeStatistics(bare))
    env.reset()
    told = [env.step(np.zeros((2, 1), dtype=np.float32))[3] for _ in range(8)]
    assert [["episode" in info for info in infos] for infos in told] == [[False] * 2] * 6 + [[True] * 2] + [[False] * 2]
    assert [info["episode"]["l"] for info in told[6]] == [7, 7] and "episode" not in env.reset_infos[0]
    env.close()


def test_spaces_are_those_of_one_sub_env_and_new_attributes_theirs_as_in_sb3() -> None:
    ours = GymnasiumVecEnv(SyncVectorEnv([pendulum] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    theirs = DummyVecEnv([pendulum] * 2)
    for env in (ours, theirs):
        env.set_attr("colour", "red")
        with pytest.raises(AttributeError):
            env.get_attr("no_such_name")
    for name in ("observation_space", "action_space", "colour"):
        assert ours.get_attr(name) == theirs.get_attr(name)


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_observations_stay_as_they_are_without_copies_too(cls: Any, mode: AutoresetMode) -> None:
    made = [cls([pendulum] * 2, copy=copy, autoreset_mode=mode) for copy in (True, False)]
    rows: list[list[Any]] = []
    for env in map(GymnasiumVecEnv, made):
        env.seed(3)
        rows.append([env.reset()])
        for _ in range(9):
            obs, _, _, infos = env.step(np.zeros((2, 1), dtype=np.float32))
            rows[-1] += [obs, infos[0].get("terminal_observation", obs)]
        env.close()
    for with_copies, without in zip(*rows, strict=True):
        np.testing.assert_array_equal(without, with_copies)


def test_sub_envs_wrapped_in() -> None:
    env = GymnasiumVecEnv(SyncVectorEnv([pendulum, Dictionary][:1] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [True, True]
    assert env.env_is_wrapped(Monitor, indices=0) == [False]


def test_next_step_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"NEXT_STEP.*SAME_STEP"):
        GymnasiumVecEnv(SyncVectorEnv([pendulum]))
    with pytest.raises(TypeError, match="VectorEnv"):
        GymnasiumVecEnv(pendulum())  # type: ignore[arg-type]


def test_infos_are_split_by_their_masks() -> None:
    infos = {"lives": np.array([3, 0]), "_lives": np.array([True, False]), "score": {"r": np.array([1.5, 2.5])}, "all": "x"}
    assert split_infos(infos, 2) == [{"lives": 3, "score": {"r": 1.5}, "all": "x"}, {"score": {"r": 2.5}, "all": "x"}]
