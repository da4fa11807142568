"""What members of a population must not share, and what one of them does once it has stopped."""

import pytest
from helpers import NBSP_SETTINGS, same, sequence_env
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp import NBSPSAC
from sb3_nbsp.population import Population


def made(seed: int = 0, env=None, **kwargs) -> NBSPSAC:
    return NBSPSAC(
        "MlpPolicy", env or sequence_env(steps=100), **{**NBSP_SETTINGS, "scoring_steps": 30, **kwargs, "seed": seed}
    )


def apart(one, other) -> float:
    a, b = one.policy.state_dict(), other.policy.state_dict()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


class StopAt(BaseCallback):
    def __init__(self, step: int):
        super().__init__()
        self.step, self.n_ends = step, 0

    def _on_step(self) -> bool:
        return self.num_timesteps < self.step

    def _on_training_end(self) -> None:
        self.n_ends += 1


@pytest.mark.parametrize("stops", [(50, 50), (50, 51), (50, 70)], ids=["at once", "one after another", "one of them"])
def test_members_that_stop_within_a_rollout_are_what_they_are_alone(stops):
    members, others = ([made(seed, train_freq=4, gradient_steps=4) for seed in (0, 1)] for _ in range(2))
    callbacks = [StopAt(step) for step in stops]
    Population(members).learn(80, callbacks=callbacks)
    assert [callback.n_ends for callback in callbacks] == [1, 1]
    for model, alone, step in zip(members, others, stops, strict=True):
        Population([alone]).learn(80, callbacks=[StopAt(step)])
        assert model.num_timesteps == alone.num_timesteps == step and apart(model, alone) < 1e-4
        assert same(model.random_states.torch, alone.random_states.torch)
        assert same(model.random_states.numpy, alone.random_states.numpy)
