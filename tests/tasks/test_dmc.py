"""DeepMind Control tasks: their scale, seeds, success, and a short run. Skipped only where the extra is missing."""

import builtins
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.tasks import TaskSequenceEnv, dmc_sequence
from sb3_nbsp.tasks.dmc import DMControlEnv
from sb3_nbsp.tasks.registration import sequence_of_id

pytest.importorskip("dm_control")
pytest.importorskip("shimmy")
PUSH = np.ones(1, np.float32)
SMALL: dict[str, Any] = {"policy_kwargs": {"net_arch": [16]}}


def play(env: gym.Env, seed: int | None = 0) -> tuple[np.ndarray, list[float], dict[str, Any], int]:
    """The first observation, the rewards of an episode of pushing, the last info, and its steps."""
    first, _ = env.reset(seed=seed)
    rewards: list[float] = []
    while True:
        _, reward, terminated, truncated, info = env.step(PUSH)
        rewards.append(float(reward))
        if terminated or truncated:
            assert truncated and not terminated
            return first, rewards, info, len(rewards)


def test_returns_are_between_0_and_1_in_evaluation_whatever_is_repeated() -> None:
    for repeat in (10, 40):
        raw, judged = (DMControlEnv("cartpole-balance", None, evaluation, repeat) for evaluation in (False, True))
        _, rewards, _, steps = play(raw)
        assert steps == 1000 // repeat and 0 < max(rewards) <= 1
        np.testing.assert_allclose(sum(play(judged)[1]), np.mean(rewards))


def test_a_repeated_action_pays_the_mean() -> None:
    shimmy = gym.make("dm_control/cartpole-balance-v0", disable_env_checker=True)
    env = DMControlEnv("cartpole-balance", action_repeat=4)
    env.reset(seed=0)
    shimmy.reset(seed=int(np.random.default_rng(0).integers(2**31)))
    for _ in range(5):
        paid = [shimmy.step(PUSH)[1] for _ in range(4)]
        obs, reward, *_ = env.step(PUSH)
        assert reward == pytest.approx(np.mean(paid)) and env.observation_space.contains(obs)


def test_everything_follows_from_the_seed() -> None:
    env = DMControlEnv("cartpole-balance")
    beginnings = [env.reset(seed=s)[0] for s in (3, None, 4, 3, None)]
    np.testing.assert_array_equal(beginnings[0], beginnings[3])
    np.testing.assert_array_equal(beginnings[1], beginnings[4])
    assert len({obs.tobytes() for obs in beginnings}) == 3


def test_success_is_told_at_the_end_where_a_bound_is_given() -> None:
    for bound, told in ((None, {}), (0.01, {"success": True}), (0.99, {"success": False})):
        assert play(DMControlEnv("cartpole-balance", action_repeat=10, solved_at=bound))[2] == told


def test_an_episode_can_be_played_again() -> None:
    made = [TaskSequenceEnv(dmc_sequence(action_repeat=10, steps_per_task=500)) for _ in range(2)]
    made[0].reset(seed=5)
    for _ in range(130):  # into the second episode
        if any(made[0].step(PUSH)[2:4]):
            made[0].reset()
    assert made[1].restore_episode(made[0].episode_state())
    np.testing.assert_array_equal(made[0].step(PUSH)[0], made[1].step(PUSH)[0])


def test_names() -> None:
    sequence = dmc_sequence(["dm_control/walker-walk-v0", "walker_stand", "WalkerRun"])
    assert sequence.task_names == ("walker-walk", "walker-stand", "walker-run")
    ordered = dmc_sequence(("walker-walk", "walker-run"), 10, order=("walker_walk", "WalkerRun", "dm_control/walker-walk-v0"))
    assert ordered.segments == ("walker-walk", "walker-run", "walker-walk")
    registered = sequence_of_id("sb3_nbsp/CartpoleSwingupBalance-v0")
    assert registered is not None and registered.segments == ("cartpole-swingup", "cartpole-balance")
    assert registered.switch_steps == (10_000, 30_000)
    with pytest.raises(ValueError, match=r"Unknown DeepMind Control task 'walker-wal'. Did you mean 'walker-walk'"):
        dmc_sequence("walker-wal")


def test_bodies_that_do_not_share_their_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="All tasks of a sequence must share one observation space"):
        gym.make("sb3_nbsp/DMC-v0", tasks=["cartpole-balance", "walker-walk"])


def test_senseless_arguments_are_refused() -> None:
    for wrong in (900, 0, "0.5", float("nan")):
        with pytest.raises(ValueError, match="solved_at must be None or a return above 0, at most 1; got"):
            dmc_sequence(solved_at=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="action_repeat must be a whole number of control steps, 1 to 1000; got 2000"):
        dmc_sequence(action_repeat=2000)
    with pytest.raises(ValueError, match=r"action_repeat must be .* got '4'"):
        DMControlEnv("walker-walk", action_repeat="4")  # type: ignore[arg-type]


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("shimmy"):
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"shimmy.*sb3-nbsp\[dmc\]"):
        dmc_sequence()


@pytest.mark.filterwarnings("ignore")
def test_an_agent_goes_through_two_tasks() -> None:
    env = gym.make("sb3_nbsp/DMC-v0", steps_per_task=20, action_repeat=50, task_id=True)
    model = NBSPSAC("MlpPolicy", env, learning_starts=10, scoring_steps=10, memory_size=20, batch_size=8, seed=0, **SMALL)
    callback = SequenceEvalCallback(0, 1)
    model.learn(40, callback=callback)
    results = callback.results
    assert model.learned_tasks == ["cartpole-balance", "cartpole-swingup"]
    assert results.measure.name == "return"
    assert ((0 <= results.matrix()) & (results.matrix() <= 1)).all()
