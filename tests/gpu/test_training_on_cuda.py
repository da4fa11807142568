"""Training on a GPU: the parent's bits with protection off, switches, exact freezing, pictures and rehearsal."""

import pytest
from helpers import CHANNEL_FIRST_IMAGE, same
from helpers.cases import PPO_CASE, every_case
from helpers.outcomes import optimizers
from helpers.sac_models import held_positions, values_at, weights

FROZEN = {"mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True, "select_among": "active"}
SMALL_CNN = {"net_arch": (8,), "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 8}}}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings(
        r"ignore:The goal metric q\(t\)",
        "ignore:You have specified a mini-batch size",
        "ignore:You are trying to run PPO on the GPU",
        "ignore:.*of its neurons free",
    ),
]


def assert_on(model, device: str) -> None:
    """Every tensor that training uses is there."""
    parameters = [*model.policy.parameters(), *model.neuron_masks.buffers(), *model.neuron_masks.parameter_factors().values()]
    assert {p.device.type for p in parameters} == {device} == {model.device.type}


def assert_finite(model) -> None:
    assert all(bool(p.isfinite().all()) for p in model.policy.parameters())


def bits(model) -> tuple:
    return weights(model), optimizers(model), getattr(model, "log_ent_coef", None)


@every_case
def test_off_it_is_the_parent(case, device):
    plain = case.made_parent(case.point_goal(), device=device).learn(300)
    ours = case.cls("MlpPolicy", case.point_goal(), **case.settings(device=device, **case.off)).learn(300)
    assert plain._n_updates > 10 and plain._n_updates == ours._n_updates
    assert_on(ours, device)
    assert same(bits(plain), bits(ours))


@every_case
def test_off_it_is_the_parent_across_a_task_switch(case, device):
    plain = case.made_parent(device=device).learn(200)
    ours = case.cls("MlpPolicy", case.sequence_env(), **case.settings(device=device, **case.off)).learn(200)
    assert "west" in ours.learned_tasks and same(bits(plain), bits(ours))


@every_case
@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_a_sequence_is_learned_and_what_is_held_does_not_move(case, mask_target, device):
    model = case.made(device=device, mask_target=mask_target, learning_rate=0.01, **FROZEN).learn(80)
    assert model.learned_tasks == ["east"] and 0 < model.neuron_masks.free_share() < 1
    assert_on(model, device)
    positions = held_positions(model)
    before, all_before = values_at(model, positions), weights(model)
    model.learn(100, reset_num_timesteps=False)  # over the next switch
    assert model.learned_tasks[:2] == ["east", "west"] and len(model.memory) > 0
    assert positions and same(values_at(model, positions), before)
    assert not same(weights(model), all_before)
    assert_on(model, device)
    assert_finite(model)


@every_case
def test_channels_are_held(case, device):
    def env():
        return case.toy_env(CHANNEL_FIRST_IMAGE)

    model = case.made(
        env(), "CnnPolicy", device=device, scoring_steps=20, memory_size=20, score="activity", **FROZEN, **SMALL_CNN
    )
    model.learn(48).consolidate(env(), "A")
    positions = held_positions(model)
    assert any("features_extractor" in name for name in positions)
    before, all_before = values_at(model, positions), weights(model)
    model.learn(48, reset_num_timesteps=False)
    assert same(values_at(model, positions), before) and not same(weights(model), all_before)
    assert_on(model, device)
    assert_finite(model)


@pytest.mark.parametrize("rehearsal", ["clone", "clip"])
def test_ppo_rehearses(rehearsal, device):
    def learned(memory_size):
        settings = {"rehearsal": rehearsal, "replay_interval": 1, "memory_size": memory_size, "reset_log_std": False}
        return PPO_CASE.made(device=device, **settings).learn(128)

    model, without = learned(50), learned(0)
    assert model.learned_tasks == without.learned_tasks == ["east", "west"]
    assert len(model.memory) == 50 and len(without.memory) == 0  # of west: east is learned again
    assert not same(weights(model), weights(without))
    assert_on(model, device)
    assert_finite(model)
