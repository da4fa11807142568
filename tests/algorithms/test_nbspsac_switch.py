"""What happens at a task switch: what must not leak into the next task, and the callback."""

import re
import warnings
from dataclasses import replace

import pytest
import torch as th
from helpers import (
    HORIZON,
    same,
    sequence_env,
    task_env,
)
from helpers.sac_models import EAST, STEPS, Counting, after_east, go_on_with_west, made, ways, weights
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_nbsp.baselines import L2
from sb3_nbsp.common import SkillNeuronCallback, task_end
from sb3_nbsp.common.callbacks import with_skill_callback

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


# What must not leak into the next task


@pytest.mark.parametrize("task_warmup, expected", [(None, 20), (35, 35), (0, 0)])
@ways
def test_warm_up_after_the_switch(way, task_warmup, expected):
    model = after_east(way, task_warmup=task_warmup)
    before = weights(model)
    predict, n_predicted = model.predict, []
    model.predict = lambda *args, **kwargs: (n_predicted.append(model.num_timesteps), predict(*args, **kwargs))[1]
    if expected:
        go_on_with_west(model, way, expected)
        assert same(weights(model), before) and n_predicted == []
        actions = model.replay_buffer.actions[:expected, 0, 0]
        assert actions.std() > 0.4  # uniform in [-1, 1]: 0.58
    go_on_with_west(model, way, 2)
    assert not same(weights(model), before)
    assert len(n_predicted) == 2


def test_warm_up_when_the_counter_starts_again():
    model = after_east("by hand", task_warmup=30)
    before = weights(model)
    model.set_env(task_env("west"))
    model.learn(30)
    assert same(weights(model), before)
    model.learn(2, reset_num_timesteps=False)
    assert not same(weights(model), before)


def test_no_warm_up_where_the_buffer_is_kept():
    model = after_east("sequence", reset_replay_buffer=False)
    before = weights(model)
    model.learn(1, reset_num_timesteps=False)
    assert model.replay_buffer.size() == STEPS + 1 and not same(weights(model), before)


@pytest.mark.parametrize("reset", ["new_tasks", True, False])
def test_entropy_coefficient(reset):
    model = made(task_env(), ent_coef="auto_0.5", reset_ent_coef=reset, learning_rate=0.01).learn(STEPS)
    learned = float(model.log_ent_coef.detach().exp())
    model.consolidate(task_env(), "east")
    assert learned != pytest.approx(0.5, abs=0.01)
    assert float(model.log_ent_coef.detach().exp()) == pytest.approx(0.5 if reset else learned)
    assert bool(model.ent_coef_optimizer.state) != bool(reset)
    model.set_env(task_env("west"))
    model.learn(30, reset_num_timesteps=False)
    assert float(model.log_ent_coef.detach().exp()) not in (0.5, learned)  # it goes on learning


@pytest.mark.parametrize("ent_coef", ["auto", "auto_0.1", 0.2, "0.2"])
def test_every_form_of_the_entropy_coefficient(ent_coef):
    made(ent_coef=ent_coef).learn(2 * STEPS)


@pytest.mark.parametrize("reset", [True, False])
def test_reset_optimizer(reset):
    model = made(task_env(), reset_optimizer=reset).learn(STEPS)
    assert model.critic.optimizer.state
    model.consolidate(task_env(), "east")
    assert bool(model.critic.optimizer.state) != reset and bool(model.actor.optimizer.state) != reset
    model.learn(30, reset_num_timesteps=False)
    assert model.critic.optimizer.state


def test_n_step_returns_do_not_reach_over_a_switch_by_hand():
    model = made(task_env("east"), n_steps=3, reset_replay_buffer=False, learning_starts=100).learn(14)  # in mid-episode
    model.consolidate(task_env("east"), "east")
    model.set_env(task_env("west"))
    model.learn(15, reset_num_timesteps=False)
    model.replay_buffer.memory._tasks.clear()
    for _ in range(20):
        batch = model.replay_buffer.sample(32)
        assert th.equal(batch.observations[:, EAST:], batch.next_observations[:, EAST:])


def test_statistics_of_episodes_begin_anew():
    model = made(sequence_env(), learning_starts=1000).learn(STEPS + HORIZON)
    assert len(model.ep_info_buffer) == 1 and len(model.ep_success_buffer) == 1


# The callback


class OwnList(CallbackList):
    pass


@pytest.mark.parametrize(
    "callback",
    [
        lambda: None,
        lambda: SkillNeuronCallback(),
        lambda: [SkillNeuronCallback(), CallbackList([])],
        lambda: CallbackList([CallbackList([SkillNeuronCallback()])]),
        lambda: OwnList([SkillNeuronCallback()]),
        lambda: [CallbackList([OwnList([SkillNeuronCallback()])])],
        lambda: [CallbackList([])],
        lambda: lambda local_variables, global_variables: True,
    ],
)
def test_every_switch_is_consolidated_once(callback, calls):
    model = made(sequence_env(cycles=2), Counting, train_freq=5)
    callback = callback()
    for steps in (50, 30, 100, 60):  # the same callback over several learn() calls
        model.learn(steps, callback=callback, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120), ("east", 180), ("west", 240)]


def test_learning_beyond_the_end(calls):
    with pytest.warns(UserWarning, match="The sequence has 120 env steps, 0 are taken, and 200 are to come"):
        model = made(sequence_env(cycles=1), Counting, train_freq=5).learn(200)
    assert calls == [("east", 60), ("west", 120), ("west", 200)] and model.learned_tasks == ["east", "west"]


def test_a_list_that_the_user_passes_is_left_alone():
    mine: list[BaseCallback] = [CallbackList([])]
    made().learn(5, callback=mine)
    assert len(mine) == 1


def test_a_callback_list_is_initialised_and_called():
    inner = CallbackList([])
    mine = CallbackList([inner])
    model = made().learn(5, callback=mine)
    assert mine.model is inner.model is model and mine.n_calls == inner.n_calls == 5


def test_a_callback_list_is_opened_for_what_comes_before_consolidation():
    l2, kept = L2(), CallbackList([])
    first, second, third = with_skill_callback(CallbackList([kept, CallbackList([l2])]))
    assert first is l2 and type(second) is SkillNeuronCallback and third is kept


def test_callback_on_an_env_without_tasks():
    with pytest.raises(ValueError, match=r"SkillNeuronCallback needs the env of a task sequence.*consolidate"):
        made(task_env()).learn(5, callback=SkillNeuronCallback())


def test_another_callback_that_stops_at_the_switch(calls):
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps != STEPS

    model = made(sequence_env(), Counting).learn(2 * STEPS, callback=Stop())
    assert calls == [("east", 60)]
    model.learn(STEPS, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120)]


def test_logged_and_printed(capsys):
    model = made(sequence_env(), verbose=1).learn(STEPS)
    printed = capsys.readouterr().out
    assert "Skill neurons of east" in printed
    logged = dict(re.findall(r"\| +(\w+) +\| (\S+) +\|", printed[printed.index("nbsp/") :]))
    assert logged["tasks_held"] == "1" and float(logged["free_share"]) == pytest.approx(1 - 9 / 48, abs=0.001)
    assert {"good_share", "silent_share", "chosen_silent_share", "total_timesteps"} <= set(logged)
    assert not model.logger.name_to_value.get("nbsp/tasks_held")  # nothing is left for a dump that does not come


def test_a_task_that_was_not_consolidated_is_told_when_the_env_is_exchanged():
    model = made(task_env("east")).learn(STEPS)
    with pytest.warns(UserWarning, match=f"last {STEPS} env steps were not consolidated.*call consolidate"):
        model.set_env(task_env("west"))
    model.consolidate(task_env("east"), "east")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_env(task_env("west"))
        made(task_env("east"), skill_fraction=0, memory_size=0).learn(20).set_env(task_env("west"))
        made(sequence_env()).learn(20).set_env(sequence_env())  # a sequence consolidates by itself
    model.learn(20)  # the counter starts again
    with pytest.warns(UserWarning, match="last 20 env steps"):
        model.set_env(task_env("east"))


def test_the_choice_that_is_held_is_judged_not_the_first_one(monkeypatch):
    """Task gates choose anew among the active neurons: what the score had chosen before is of no account."""
    score = task_end.score

    def silent(*args):
        skill = replace(score(*args), score="published")
        layers = {
            name: replace(layer, active_share=[0.0] * 4 + layer.active_share[4:]) for name, layer in skill.layers.items()
        }
        return replace(skill, layers=layers).with_chosen({name: th.arange(8) < 2 for name in layers})

    monkeypatch.setattr(task_end, "score", silent)
    with pytest.warns(UserWarning, match="100% of the neurons chosen for east put out 0"):
        made().consolidate(task="east")
    gated = made(task_gates=True, policy_kwargs={"net_arch": [8, 8], "activation_fn": th.nn.ReLU})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="The goal metric|No transition of the task|.* without a single update")
        gated.consolidate(task="east")
