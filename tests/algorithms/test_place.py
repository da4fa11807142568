"""The model knows where it stands: other sequences, envs that someone else has stepped, envs by hand, steps beyond the end."""

import gymnasium as gym
import pytest
from helpers import HORIZON
from helpers.cases import PPO_CASE, SAC_CASE, every_case
from helpers.outcomes import optimizers
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_nbsp.tasks import point_goal_sequence

pytestmark = pytest.mark.filterwarnings(
    r"ignore:The goal metric q\(t\)",
    "ignore:You have specified a mini-batch size",
    "ignore:The current task's transitions so far",
    "ignore:.*of the neurons chosen",
)
TASKS, OTHERS = ("east", "west"), ("north", "south")


def env(case, tasks=TASKS, steps=64, n_envs=1, **kwargs):
    return case.sequence_env(n_envs, steps=steps, tasks=tasks, cycles=1, task_id=False, **kwargs)


def task_env(case, name):
    return point_goal_sequence((*TASKS, *OTHERS), horizon=HORIZON, task_id=False, discrete=case.discrete).make_task_env(name)


def made(case, **kwargs):
    return case.made(env(case, **kwargs))


def memories(model) -> dict[str, int]:
    """Samples kept by the task's name."""
    return {model.learned_tasks[index]: len(samples) for index, samples in model.memory._tasks.items()}


@every_case
@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("by_load", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_a_second_sequence_begins_at_its_beginning(case, n_envs, by_load, reset, tmp_path):
    model = made(case, n_envs=n_envs).learn(128)
    assert model.learned_tasks == list(TASKS) and model.position.is_finished
    if by_load:
        model.save(tmp_path / "model")
        model = case.cls.load(tmp_path / "model", env=env(case, OTHERS, n_envs=n_envs))
    else:
        model.set_env(env(case, OTHERS, n_envs=n_envs))
    model.learn(128, reset_num_timesteps=reset)
    assert model.learned_tasks == [*TASKS, *OTHERS] and set(memories(model)) == {*TASKS, *OTHERS}


@every_case
@pytest.mark.parametrize("reset", [False, True])
def test_a_sequence_that_someone_else_has_stepped_goes_on_where_the_model_stands(case, reset):
    model = made(case).learn(32)
    evaluate_policy(model, model.get_env(), n_eval_episodes=15, warn=False)
    assert model.env.get_attr("sequence_steps")[0] >= 128  # used up
    model.learn(96, reset_num_timesteps=reset)
    assert model.learned_tasks == list(TASKS) and model.position.steps == 128


@every_case
def test_one_env_for_two_models(case):
    shared = env(case)
    made_first = case.made(shared).learn(80)
    second = case.made(shared).learn(128)
    assert made_first.learned_tasks == ["east"] and second.learned_tasks == list(TASKS)


@every_case
@pytest.mark.parametrize("other", ["sequence", "by hand"])
@pytest.mark.parametrize("way", ["consolidate", "abandon"])
def test_a_task_is_not_left_in_its_middle_in_silence(case, other, way):
    model = made(case).learn(80)  # 16 steps of west
    with pytest.warns(UserWarning, match="west is learned since 16 env steps"):
        model.set_env(env(case, OTHERS) if other == "sequence" else task_env(case, "north"))
    stepped = model.env.reset_infos[0].get("sequence_steps")
    with pytest.raises(ValueError, match=r"west is learned since 16 env steps .*abandon_task\(\)"):
        model.learn(64, reset_num_timesteps=False)
    assert model.env.reset_infos[0].get("sequence_steps") == stepped and model.num_timesteps == 80  # nothing was touched
    if way == "consolidate":
        model.consolidate(task_env(case, "west"), task="west")
    else:
        model.abandon_task()
    model.learn(64, reset_num_timesteps=False)
    if other == "by hand":
        model.consolidate(task_env(case, "north"), task="north")
    assert model.learned_tasks == ["east", *(["west"] if way == "consolidate" else []), "north"]
    kept = memories(model)
    assert kept["east"] == kept["north"] == 50 and kept.get("west", 16) == 16


@every_case
def test_a_task_by_hand_is_not_left_for_a_sequence_in_silence(case):
    model = case.made(task_env(case, "north")).learn(48)
    model.learn(16)  # SB3 counts anew, the model does not forget
    with pytest.warns(UserWarning, match="The last 64 env steps were not consolidated"):
        model.set_env(env(case))
    with pytest.raises(ValueError, match="the task given by hand was learned for 64 env steps and not consolidated"):
        model.learn(10)
    model.consolidate(task_env(case, "north"), task="north")
    model.learn(128)
    assert model.learned_tasks == ["north", *TASKS]


@every_case
def test_a_pending_task_is_consolidated_where_the_env_can(case):
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 64

    model = made(case).learn(128, callback=Stop())
    model.position.consolidated(0), model.position.task_ended("east")  # as a run that was killed right at the switch
    model.learned_tasks, model.position_record["fresh"] = [], False
    model.set_env(task_env(case, "north"))
    with pytest.raises(ValueError, match="east has ended and is not consolidated"):
        model.learn(10)
    model.set_env(env(case, ("south", "east")))
    model.learn(128, reset_num_timesteps=False)
    assert model.learned_tasks[:2] == ["east", "south"]


@every_case
def test_steps_beyond_the_end_are_said_and_consolidated(case):
    model = made(case).learn(128)
    before = model.skill_neuron_records["west"]
    with pytest.warns(UserWarning, match="128 are taken, and 64 are to come: .* its last task, west"):
        model.learn(64, reset_num_timesteps=False)
    assert model.learned_tasks == list(TASKS) and model.position.is_fresh
    assert model.skill_neuron_records["west"] != before or case is PPO_CASE
    model.set_env(env(case, ("east", "west", "north"), steps=(64, 64, 48)))
    model.learn(48, reset_num_timesteps=False)
    assert model.learned_tasks == [*TASKS, "north"]


def test_the_overshoot_of_the_last_rollout_does_not_count():
    model = made(PPO_CASE, steps=60).learn(120)
    assert model.learned_tasks == list(TASKS) and model.position.is_finished
    consolidated = dict(model.skill_neuron_records)
    assert not model.goes_beyond and consolidated.keys() == set(TASKS)


@every_case
def test_an_extension_goes_on(case):
    model = made(case).learn(80)
    model.set_env(env(case, ("east", "west", "south"), steps=(64, 96, 32)))
    model.learn(112, reset_num_timesteps=False)
    assert model.learned_tasks == ["east", "west", "south"] and model.position.steps == 192


@every_case
def test_consolidating_in_the_middle_of_a_segment(case):
    model = made(case).learn(80)
    model.consolidate()
    assert model.learned_tasks == list(TASKS) and memories(model)["west"] == 16 and model.position.task is None
    model.learn(48, reset_num_timesteps=False)
    assert model.learned_tasks == list(TASKS) and model.position.is_finished and memories(model)["west"] == 50


@every_case
def test_restarting_and_abandoning(case):
    model = made(case).learn(80)
    model.restart_sequence()
    assert model.position.steps == 0 and model.position.is_fresh and model.learned_tasks == ["east"]
    model.learn(128, reset_num_timesteps=False)
    assert model.learned_tasks == list(TASKS) and model.position.is_finished


def test_with_nothing_protected_nothing_is_refused():
    model = SAC_CASE.made(env(SAC_CASE), skill_fraction=0.0, memory_size=0).learn(80)
    model.set_env(env(SAC_CASE, OTHERS))
    model.learn(128, reset_num_timesteps=False)
    assert model.position.is_finished and [task for task, _ in model.position.visits] == list(OTHERS)


@every_case
def test_another_number_of_sub_envs_goes_on(case, tmp_path):
    model = made(case).learn(32)
    model.save(tmp_path / "model")
    model = case.cls.load(tmp_path / "model", env=env(case, n_envs=4)).learn(96, reset_num_timesteps=False)
    assert model.learned_tasks == list(TASKS)


def test_loading_and_predicting_never_refuse(tmp_path):
    model = made(SAC_CASE).learn(80)
    model.save(tmp_path / "model")
    loaded = SAC_CASE.cls.load(tmp_path / "model", env=gym.make("sb3_nbsp/PointGoal-v0", tasks=OTHERS, task_id=False))
    loaded.predict(loaded.observation_space.sample())
    assert len(optimizers(loaded)) > 0
