"""Members whose models are changed by callbacks: what does not fit into the stack any more leaves it."""

import io

import pytest
from helpers import NBSP_SETTINGS, same, sequence_env
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.population import Population


def made(seed: int = 0, **kwargs) -> NBSPSAC:
    leaky = {"net_arch": [8, 8], "activation_fn": nn.LeakyReLU}
    settings = {"scoring_steps": 30, "policy_kwargs": leaky, **kwargs, "seed": seed}
    return NBSPSAC("MlpPolicy", sequence_env(steps=100), **{**NBSP_SETTINGS, **settings})


class At(BaseCallback):
    def __init__(self, step: int, do):
        super().__init__()
        self.step, self.do = step, do

    def _on_step(self) -> bool:
        if self.num_timesteps == self.step:
            self.do(self.model)
        return True


def apart(one, other) -> float:
    pairs = zip(one.policy.parameters(), other.policy.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def change_slopes(model) -> None:
    for module in model.policy.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.5


def change_betas(model) -> None:
    for optimizer in (model.actor.optimizer, model.critic.optimizer):
        optimizer.param_groups[0]["betas"] = (0.5, 0.9)


def relabel(model) -> None:
    model.replay_buffer.rewards[:] = 0
    model.replay_buffer.rows_changed()


def leave_alone(model) -> None:
    model.fast_update = False


@pytest.mark.parametrize("members", [(0, 1, 2), (1,)], ids=["all", "one"])
@pytest.mark.parametrize("change", [change_slopes, change_betas, relabel, leave_alone])
def test_what_is_changed_counts_as_it_does_alone(change, members):
    alone, together = ([made(seed) for seed in range(3)] for _ in range(2))
    callbacks = [[At(45, change) if number in members else None for number in range(3)] for _ in range(2)]
    for model, callback in zip(alone, callbacks[0], strict=True):
        Population([model]).learn(60, callbacks=[callback])
    Population(together).learn(60, callbacks=callbacks[1])
    assert max(apart(*pair) for pair in zip(alone, together, strict=True)) < 1e-4
    unchanged = made(1)
    Population([unchanged]).learn(60)
    assert change is leave_alone or apart(unchanged, together[1]) > 1e-3


def test_members_with_sb3s_update_have_it():
    model, members = made(0, fast_update=False), [made(0, fast_update=False), made(1), made(2)]
    Population([model]).learn(60)
    Population(members).learn(60)
    assert same(dict(model.policy.state_dict()), dict(members[0].policy.state_dict()))
    assert [member.update_path for member in members] == ["sb3", "fast", "fast"]


def test_a_file_of_a_members_policy_holds_its_own_parameters_only():
    sizes = []

    def save(model) -> None:
        file = io.BytesIO()
        model.policy.save(file)
        sizes.append(len(file.getvalue()))

    save(made())
    Population([made(seed) for seed in range(6)]).learn(60, callbacks=[At(50, save), *[None] * 5])
    assert sizes[1] < 1.05 * sizes[0]
