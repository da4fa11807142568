"""Atari sequences on the real emulator: spaces, rewards and episodes in training and evaluation, and a short run."""

import builtins
import json
import os
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from sb3_nbsp import NBSPDQN
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.evaluation.watch_table import TaskReport
from sb3_nbsp.tasks import TaskSequenceEnv, atari_sequence, make_atari_game, named_sequences
from sb3_nbsp.tasks.atari_scores import SCORES

ale_py = pytest.importorskip("ale_py")
NOOP, FIRE = 0, 1
SPACE = gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)


def play(env: gym.Env, actions, seed: int = 0):
    """Observations, rewards and infos of an episode, up to its end or that of the actions, and whether it was truncated."""
    observations, rewards, infos, truncated = [env.reset(seed=seed)[0]], [], [], False
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        observations.append(obs)
        rewards.append(reward)
        infos.append(info)
        if terminated or truncated:
            break
    return np.array(observations), rewards, infos, truncated


def always(action: int, at_most: int = 2000) -> list[int]:
    return [action] * at_most


def test_all_games_share_their_spaces():
    # Of the 18 actions 6, 4 and 18 do something in these games.
    env = gym.make("sb3_nbsp/Atari-v0", tasks=["Pong", "Breakout", "Seaquest"], steps_per_task=10)
    assert env.observation_space == SPACE and env.action_space == gym.spaces.Discrete(18)
    assert env.metadata["render_fps"] == 15  # of 60 frames per second every fourth
    obs, info = env.reset(seed=0)
    assert SPACE.contains(obs) and info["task_name"] == "Pong"
    env.close()


def test_observations_and_rewards_are_those_of_sb3s_own_pipeline():
    def theirs() -> gym.Env:
        return Monitor(AtariWrapper(gym.make("BreakoutNoFrameskip-v4", full_action_space=True)))

    make_ours = atari_sequence(["Breakout"]).tasks[0].make
    their_env = VecFrameStack(DummyVecEnv([theirs]), 4, channels_order="last")
    our_env = DummyVecEnv([lambda: Monitor(make_ours(None))])
    assert our_env.observation_space == their_env.observation_space
    for env in (their_env, our_env):
        env.seed(3)
    np.testing.assert_array_equal(our_env.reset(), their_env.reset())
    random, n_episodes = np.random.default_rng(0), 0
    for _ in range(400):
        action = random.integers(18, size=1)
        their_obs, their_rewards, their_dones, their_infos = their_env.step(action)
        our_obs, our_rewards, our_dones, our_infos = our_env.step(action)
        np.testing.assert_array_equal(our_obs, their_obs)
        assert (our_rewards, our_dones) == (their_rewards, their_dones)
        if our_dones[0]:
            n_episodes += 1
            ends = [infos[0]["terminal_observation"] for infos in (our_infos, their_infos)]
            np.testing.assert_array_equal(*ends)
    assert n_episodes >= 5  # lives and at least one whole game


def test_frames_are_stacked_newest_last_and_not_overwritten():
    env = make_atari_game("Pong", frame_stack=3)
    observations, *_ = play(env, always(2, 40))
    assert observations.shape == (41, 84, 84, 3)
    assert not observations[0, ..., :2].any() and observations[0, ..., 2].any()  # black before the first
    np.testing.assert_array_equal(observations[1:, ..., :2], observations[:-1, ..., 1:])
    assert (observations[1:, ..., 2] != observations[:-1, ..., 2]).any()


def test_rewards_are_clipped_in_training_only():
    training, judged = (make_atari_game("SpaceInvaders", evaluation=evaluation) for evaluation in (False, True))
    clipped, raw = play(training, always(FIRE, 150))[1], play(judged, always(FIRE, 150))[1]
    n = len(clipped)  # to the first lost life
    assert set(clipped) == {0.0, 1.0} and max(raw) >= 5.0
    np.testing.assert_array_equal(np.sign(raw[:n]), clipped)


def test_a_lost_life_ends_episodes_in_training_only():
    infos, truncated = play(make_atari_game("Breakout"), always(NOOP))[2:]
    assert infos[-1]["lives"] == 4 and not truncated
    infos, truncated = play(make_atari_game("Breakout", evaluation=True), always(NOOP))[2:]
    assert infos[-1]["lives"] == 0 and not truncated


def test_evaluation_serves_after_a_lost_life():
    """An agent that never presses FIRE would wait for 27,000 steps."""
    env = make_atari_game("Breakout", evaluation=True)
    _, _, infos, _ = play(env, always(NOOP))
    lives = [info["lives"] for info in infos]
    assert len(infos) < 400 and sorted(set(lives)) == [0, 1, 2, 3, 4, 5]


def test_what_is_scored_while_serving_counts():
    class Scripted(gym.Wrapper):
        """Loses a life in its second step and pays 10 for every button."""

        n_steps, lives = 0, 3
        ale = property(lambda self: self)

        @property
        def unwrapped(self):
            class Lives:
                ale = type("ALE", (), {"lives": lambda _: self.lives})()

            return Lives()

        def step(self, action):
            self.n_steps += 1
            self.lives = 3 if self.n_steps < 2 else 2
            return np.zeros(1), 10.0, False, self.n_steps == 4, {}

    from sb3_nbsp.tasks.atari_wrappers import FireAfterLifeLoss

    env = FireAfterLifeLoss(Scripted(gym.make("CartPole-v1")))
    env.reset()
    assert [env.step(0)[1:4], env.step(0)[1:4]] == [(10.0, False, False), (30.0, False, True)]  # NOOP, FIRE, truncated


def test_evaluation_ends_where_it_is_told_to():
    sequence = atari_sequence(["Bowling"], max_evaluation_frames=600)  # waits for the player
    _, _, infos, truncated = play(sequence.make_task_env("Bowling", evaluation=True), always(NOOP))
    assert truncated and infos[-1]["episode_frame_number"] == 600
    _, _, infos, truncated = play(sequence.make_task_env("Bowling"), always(NOOP, 160))
    assert not truncated and infos[-1]["episode_frame_number"] > 600


def test_fire_is_among_the_actions_of_every_named_game():
    for game in ("Pong", "Breakout", "SpaceInvaders", "DemonAttack"):
        meanings = make_atari_game(game).unwrapped.get_action_meanings()
        assert meanings[:3] == ["NOOP", "FIRE", "UP"] and len(meanings) == 18


def test_breaking_an_episode_off_begins_a_new_game():
    env = make_atari_game("Breakout")
    play(env, always(NOOP))
    assert lives(env) == 4
    env.reset()  # after a lost life the game goes on, as SB3 has it
    assert lives(env) == 4
    env.step(NOOP)
    env.reset()
    assert lives(env) == 5


def test_a_seed_begins_the_same_new_game_whatever_came_before():
    env = make_atari_game("Breakout")
    first, *_ = play(env, always(NOOP), seed=5)
    again, *_ = play(env, always(NOOP), seed=5)
    np.testing.assert_array_equal(first, again)
    starts = {env.reset(seed=seed)[0].tobytes() for seed in range(6)}
    assert len(starts) > 1


def lives(env: gym.Env) -> int:
    return env.unwrapped.ale.lives()


def test_sticky_actions():
    actions = np.random.default_rng(0).integers(18, size=60)
    sticky = [make_atari_game("SpaceInvaders", repeat_action_probability=0.5) for _ in range(2)]
    runs = [play(env, actions)[0] for env in (*sticky, make_atari_game("SpaceInvaders"))]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert len(runs[0]) != len(runs[2]) or (runs[0] != runs[2]).any()
    judge = atari_sequence(["Pong"], repeat_action_probability=0.25).make_task_env("Pong", evaluation=True)
    assert "StickyActionEnv" in str(judge) and "StickyActionEnv" not in str(make_atari_game("Pong"))


@pytest.mark.parametrize("switch_on, judged", [("steps", False), ("episode", True)])
def test_watching_shows_whole_games(switch_on, judged):
    env = TaskSequenceEnv(atari_sequence(["Breakout", "Pong"], 1000), switch_on=switch_on)
    infos = play(env, always(NOOP))[2]
    assert (infos[-1]["lives"] == 0) is judged and infos[-1]["task_name"] == "Breakout"
    env.close()


def test_sequences_can_be_sent_to_subprocesses():
    sequence = pickle.loads(pickle.dumps(atari_sequence(["Pong", "Breakout"], 10)))
    assert sequence.reference_scores == {"Pong": (-20.7, 14.6), "Breakout": (1.7, 30.5)}
    assert sequence.make_task_env("Pong").observation_space == SPACE


def test_named_sequences():
    ids = {name for name, text in named_sequences().items() if "Atari" in text}
    lengths = {}
    for name in ids:
        env = gym.make(name, render_mode="rgb_array")
        sequence = env.unwrapped.task_sequence
        assert set(sequence.reference_scores) == set(sequence.task_names)
        lengths[name.removeprefix("sb3_nbsp/")] = len(sequence.tasks)
        env.close()
    pairs = ("PongBreakout", "SpaceInvadersDemonAttack", "PongSpaceInvaders", "BreakoutDemonAttack", "Atari", "AtariRam")
    pairs += ("BoxingKungFuMasterRam",)
    assert lengths == {**{f"{pair}-v0": 2 for pair in pairs}, "Atari4-v0": 4}


def test_scores_are_of_games_that_exist():
    gym.register_envs(ale_py)
    assert len(SCORES) == 57
    playable = {env_id.removesuffix("NoFrameskip-v4") for env_id in gym.registry}
    assert set(SCORES) - playable == {"Surround"}
    assert all(human > random for random, human in SCORES.values())
    # Sums against slips of the pen
    assert sum(random for random, _ in SCORES.values()) == pytest.approx(50_864.9)
    assert sum(human for _, human in SCORES.values()) == pytest.approx(606_494.2)


def test_senseless_arguments_are_refused():
    with pytest.raises(ValueError, match=r"Unknown Atari game 'SpaceInvader'. Did you mean 'SpaceInvaders'"):
        atari_sequence(["SpaceInvader"])
    for wrong in (1, "0.25", -0.1):
        with pytest.raises(ValueError, match="repeat_action_probability must be a chance, 0 or more and below 1; got"):
            atari_sequence(repeat_action_probability=wrong)
    with pytest.raises(ValueError, match="frame_stack must be a whole number of pictures, 1 or more; got 0"):
        atari_sequence(frame_stack=0)
    with pytest.raises(ValueError, match="max_evaluation_frames must be a whole number of frames, 1 or more; got 0"):
        atari_sequence(max_evaluation_frames=0)


@pytest.mark.parametrize("package", ["ale_py", "cv2"])
def test_a_missing_package_names_the_extra(monkeypatch, package):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == package:
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=rf"{package}.*sb3-nbsp\[atari\]"):
        atari_sequence()


SMALL_NET = {"features_extractor_kwargs": {"features_dim": 16}}


@pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")
def test_an_agent_is_trained_on_clipped_and_judged_on_raw_scores(tmp_path):
    env = gym.make("sb3_nbsp/SpaceInvadersDemonAttack-v0", steps_per_task=60, cycles=1, max_evaluation_frames=600)
    settings = {"learning_starts": 40, "buffer_size": 300, "scoring_steps": 20, "memory_size": 50, "batch_size": 8}
    model = NBSPDQN("CnnPolicy", env, **settings, exploration_final_eps=1.0, seed=1, policy_kwargs=SMALL_NET)
    callback = SequenceEvalCallback(0, 1, tmp_path, deterministic=False)  # at random
    model.learn(120, callback=callback)
    results = callback.results
    assert results.finished and results.measure.name == "normalised return"
    assert set(np.unique(model.replay_buffer.rewards)) <= {-1.0, 0.0, 1.0}
    returns = results.values("return")
    assert returns.max() >= 5.0 and (returns % 5 == 0).all()  # both games count in fives
    references = [SCORES[name] for name in results.task_names]
    expected = [(value - random) / (human - random) for value, (random, human) in zip(returns[-1], references, strict=True)]
    np.testing.assert_allclose(results.matrix()[-1], expected)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["metrics"]["asr"] == pytest.approx(np.mean(expected)) and written["evaluations"][-1]["mean_return"]
    assert len(model.replay_buffer.memory._tasks) == 2 and model.replay_buffer.memory.nbytes < 2 * 50 * (2 * 84 * 84 * 4 + 50)


def test_the_closing_table_of_enjoy_shows_both(capsys):
    make = TaskSequenceEnv(atari_sequence(["Breakout", "Pong"], 1000, max_evaluation_frames=400), switch_on="episode")
    env = TaskReport(DummyVecEnv([lambda: Monitor(make)]))
    env.reset()
    while len(env.returns) < 2:
        env.step(np.array([NOOP]))
    env.close()
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["task"] == ["task", "episodes", "success", "return", "normalised"]
    assert rows["Breakout"] == ["Breakout", "1", "-", "0.00", "-0.06"]  # (0 - 1.7) / (30.5 - 1.7)


def test_the_training_command(tmp_path):
    pytest.importorskip("rl_zoo3")
    env = ("--env", "sb3_nbsp/PongBreakout-v0", "--env-kwargs", "steps_per_task:60", "cycles:1", "max_evaluation_frames:300")
    params = ("learning_starts:40", "buffer_size:200", "scoring_steps:30", f"policy_kwargs:{SMALL_NET}")
    few = ("--eval-episodes", "1", "--eval-freq", "0", "-params", *params)
    process = subprocess.run(
        [sys.executable, "-m", "sb3_nbsp.cli", "train", "--algo", "nbspdqn", *env, *few],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert "Memory when full: replay buffer 11.3 MB, memory of 2 tasks 1.1 GB, scoring 3.4 MB" in process.stdout
    run = tmp_path / "logs" / "nbspdqn" / "sb3_nbsp-PongBreakout-v0_1"
    results = json.loads((run / "results.json").read_text())
    assert results["finished"] and results["measure"] == "normalised return"
    assert results["settings"]["exploration_fraction"] == 0.25  # from nbspdqn.yml
    for name in ("evaluations.csv", "matrix.csv", "sequence.png", "matrix.png", "best_model.zip"):
        assert (run / name).stat().st_size > 0
