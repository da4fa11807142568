"""What holds for all classes: exact freezing over a file, every score, channels, models and files of the parents."""

import pytest
from helpers import CHANNEL_FIRST_IMAGE, same
from helpers.cases import every_case
from helpers.outcomes import optimizers
from stable_baselines3.common.save_util import recursive_getattr

from sb3_nbsp.neurons.scores import SCORES

FROZEN = {"select_among": "all", "mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True, "skill_fraction": 1.0}

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


def learned_parameters(model):
    """All but what belongs to no neuron: PPO's standard deviation is held by no mask."""
    return {name: p for name, p in model.policy.named_parameters() if "target" not in name and name != "log_std"}


@every_case
@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_frozen_networks_stay_as_they_are_over_a_save(case, mask_target, tmp_path):
    model = case.made(mask_target=mask_target, **FROZEN).learn(80)
    before = {name: p.detach().clone() for name, p in learned_parameters(model).items()}
    updates = model._n_updates
    model.save(tmp_path / "model")
    model = case.cls.load(tmp_path / "model", env=case.sequence_env()).learn(80, reset_num_timesteps=False)
    assert model.learned_tasks == ["east", "west"] and model._n_updates >= updates + 10
    assert same({name: p.detach() for name, p in learned_parameters(model).items()}, before)


@every_case
@pytest.mark.parametrize("score", SCORES)
def test_every_score(case, score):
    model = case.made(score=score).learn(70)
    assert model.learned_tasks == ["east"] and model.neuron_masks.free_share() < 1


@every_case
def test_channels_are_scored_and_held(case):
    env = case.toy_env(CHANNEL_FIRST_IMAGE)
    model = case.made(env, "CnnPolicy", scoring_steps=20, score="activity").learn(40)
    skill = model.consolidate(case.toy_env(CHANNEL_FIRST_IMAGE), "A")
    convolution = next(name for name in skill.layers if "features_extractor" in name)
    assert len(skill.layers[convolution].scores) == 32
    model.learn(40, reset_num_timesteps=False)
    assert recursive_getattr(model, model.optimizer_names[-1]).is_masking


@every_case
def test_from_sb3_and_wrong_files(case, tmp_path):
    plain = case.made_parent().learn(48)
    replay = {} if case.on_policy else {"rehearsal": "replay"}
    new = case.cls.from_sb3(plain, memory_size=7, **replay)
    assert same(dict(plain.policy.state_dict()), dict(new.policy.state_dict())) and same(optimizers(plain), optimizers(new))
    if not case.on_policy:  # a rollout is used up when it was learned from
        assert new.replay_buffer.size() == 48 and same(new.replay_buffer.actions, plain.replay_buffer.actions)
    new.learn(32, reset_num_timesteps=False)
    assert new.learned_tasks == ["east"] and len(new.memory) == 7
    plain.save(tmp_path / "plain")
    with pytest.raises(ValueError, match="was not saved by"):
        case.cls.load(tmp_path / "plain")
