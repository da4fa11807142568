"""On a GPU: files that go to the CPU and back, and task gates."""

import numpy as np
import pytest
import torch as th
from helpers import same
from helpers.cases import every_case
from helpers.gated import STEPS, THREE, difference, gated_env, observations, on, outputs, quiet
from helpers.gated import made as made_gated
from helpers.sac_models import held_positions, values_at

from sb3_nbsp import NBSPPPO, NBSPSAC

pytestmark = [
    pytest.mark.gpu,
    quiet,
    pytest.mark.filterwarnings("ignore:You have specified a mini-batch size", "ignore:You are trying to run PPO on the GPU"),
]


def on_cpu(state):
    """A nested state dict with its tensors on the CPU."""
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return state.detach().cpu() if isinstance(state, th.Tensor) else state


def seen(case) -> np.ndarray:
    rng = np.random.default_rng(0)
    space = case.sequence_env().observation_space
    return rng.uniform(-1, 1, (64, *space.shape)).astype(np.float32)


@every_case
def test_a_file_goes_to_the_cpu_and_back(case, device, tmp_path):
    model = case.made(device=device, mask_coef=0.0, select_among="active").learn(80)
    actions = model.predict(seen(case), deterministic=True)[0]
    model.save(tmp_path / "there")
    there = case.cls.load(tmp_path / "there", env=case.sequence_env(), device="cpu")
    assert there.device.type == "cpu" and there.learned_tasks == ["east"]
    assert same(on_cpu(dict(there.policy.state_dict())), on_cpu(dict(model.policy.state_dict())))
    assert same(on_cpu(there.neuron_masks.state_dict()), on_cpu(model.neuron_masks.state_dict()))
    np.testing.assert_allclose(there.predict(seen(case), deterministic=True)[0], actions, atol=1e-5)
    there.save(tmp_path / "back")
    back = case.cls.load(tmp_path / "back", env=case.sequence_env(), device=device)
    assert {p.device.type for p in back.policy.parameters()} == {device}
    assert np.array_equal(back.predict(seen(case), deterministic=True)[0], actions)
    for loaded in (there, back):
        positions = held_positions(loaded)
        before = values_at(loaded, positions)
        loaded.learn(60, reset_num_timesteps=False)
        assert positions and same(values_at(loaded, positions), before)
        assert loaded.learned_tasks == ["east", "west"]


def answers(model, task: str) -> dict[str, th.Tensor]:
    """All that the networks say of a task's observations."""
    actions = np.random.default_rng(6).uniform(-1, 1, (64, 2))
    return outputs(model, observations(task).to(model.device), th.tensor(actions, dtype=th.float32, device=model.device))


@pytest.mark.parametrize("cls", [NBSPSAC, NBSPPPO])
@pytest.mark.parametrize("memory_size", [0, 40])
def test_with_gates_what_was_learned_stays_exactly(cls, memory_size, device, tmp_path):
    model = on(made_gated(cls, device=device, memory_size=memory_size), STEPS)
    assert model.learned_tasks == ["east"] and model.gates.owns(0)
    before = {task: answers(model, task) for task in THREE}
    on(model, STEPS)
    assert difference(before["east"], answers(model, "east")) == 0.0
    assert difference(before["west"], answers(model, "west")) > 1e-3
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", env=gated_env(cls), device=device)
    after_west = answers(loaded, "west")
    on(loaded, STEPS)
    assert loaded.learned_tasks == list(THREE)
    assert difference(before["east"], answers(loaded, "east")) == 0.0
    assert difference(after_west, answers(loaded, "west")) == 0.0
    assert difference(before["north"], answers(loaded, "north")) > 1e-3
