"""The update of many agents at once against each agent's own, in float64."""

import numpy as np
import pytest
import torch as th
from helpers import same
from helpers.fast_updates import NET, ROUNDING, difference, held, held_entries, keep_clones, made
from torch import nn

from sb3_nbsp.base.random_states import RandomStates, RandomStreams
from sb3_nbsp.baselines import CReLU
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.batched_learner import BatchedLearner

pytestmark = pytest.mark.usefixtures("double_observations")


class Alone:
    """Models that learn one after another, each with random numbers of its own."""

    def __init__(self, models):
        self.models = models
        self.streams = own_streams(len(models))

    def train(self, n: int) -> None:
        for model, streams in zip(self.models, self.streams, strict=True):
            with streams.in_use():
                model.train(n, 64)
            assert model.update_path == "fast"


class Together:
    """The same models in one stack."""

    def __init__(self, models):
        self.models = models
        self.streams = own_streams(len(models))
        self.learner = BatchedLearner(models, self.streams)

    def train(self, n: int) -> None:
        self.learner.train(n, 64)


def own_streams(n: int) -> list[RandomStreams]:
    np.random.seed(3), th.manual_seed(3)
    return [RandomStreams(RandomStates()) for _ in range(n)]


def both(settings, **common):
    """A hundred updates of models with these settings, alone and together."""
    pairs = [[made(seed=seed, **common, **own) for seed, own in enumerate(settings)] for _ in range(2)]
    return Alone(pairs[0]), Together(pairs[1])


def apart(alone, together) -> float:
    return max(difference(*pair) for pair in zip(alone.models, together.models, strict=True))


DIFFERENT = [
    {"learning_rate": 1e-3, "mask_target": "gradient", "replay_interval": 3, "rehearsal": "both", "clone_coef": 3.0},
    {"gamma": 0.9, "tau": 0.02, "target_entropy": -1.0, "rehearsal": "clone"},
    {"replay_interval": 5},
    {"learning_rate": 2e-4, "memory_size": 0},
]


@pytest.mark.parametrize(
    "common",
    [
        {},
        {"policy_kwargs": {"activation_fn": nn.LeakyReLU, "net_arch": {"pi": [24], "qf": [24, 24]}}},
        {"policy_kwargs": {"activation_fn": CReLU, "net_arch": {"pi": [24], "qf": [24, 24]}}},
        {"policy_kwargs": {"n_critics": 3, **NET}, "target_update_interval": 2},
        {"policy_kwargs": {"n_critics": 1, **NET}},
        {"policy_kwargs": {"optimizer_kwargs": {"betas": (0.8, 0.99), "eps": 1e-5}, **NET}},
    ],
    ids=["relu", "leaky", "crelu", "three critics", "one critic", "adam"],
)
def test_agents_of_different_settings_learn_what_they_learn_alone(common):
    """Over a task switch: masks that hold some neurons wholly and others in part, memories, the entropy coefficient reset."""
    alone, together = both(DIFFERENT, **common)
    for learners in (alone, together):
        learners.train(40)
    assert apart(alone, together) < ROUNDING
    for learners in (alone, together):
        for agent, model in enumerate(learners.models):
            if model.memory_size:
                with learners.streams[agent].in_use():
                    keep_clones(model, 100)
                    model.replay_buffer.remember(0)
                held(model, [0.0, 0.0, 0.3, 0.7])
            model.log_ent_coef.data.fill_(0.0)
            model.ent_coef_optimizer.state.clear()
    before = [held_entries(model) for model in together.models]
    for learners in (alone, together):
        learners.train(60)
    assert apart(alone, together) < ROUNDING
    assert [same(held_entries(m), b) for m, b in zip(together.models, before, strict=True)] == [True] * 4
    assert sum(len(entries) for entries in before[0]) > 0


def test_agents_of_equal_settings():
    alone, together = both([{}, {}])
    for learners in (alone, together):
        learners.train(100)
    assert apart(alone, together) < ROUNDING
    assert difference(*together.models) > 1e6 * ROUNDING  # other weights


def test_betas_and_eps_of_one_agent_only():
    """From the beginning, and changed later."""
    alone, together = both([{}, {"policy_kwargs": {**NET, "optimizer_kwargs": {"betas": (0.8, 0.99), "eps": 1e-5}}}])
    for learners in (alone, together):
        learners.train(20)
        learners.models[0].actor.optimizer.param_groups[0].update(betas=(0.5, 0.9), eps=1e-3)
        learners.train(20)
    assert apart(alone, together) < ROUNDING


def test_a_model_of_another_kind_does_not_fit_and_stays_what_it_is():
    models = [made(seed=seed) for seed in range(2)]
    stack = AgentStack(models)
    assert stack.take_over_changes() and stack.fits(1)
    models[1].policy.float()
    assert not stack.take_over_changes() and not stack.fits(1) and stack.fits(0)
    assert {p.dtype for p in models[1].policy.parameters()} == {th.float32}


def test_a_fixed_entropy_coefficient():
    alone, together = both([{"ent_coef": 0.2}, {"ent_coef": 0.05}])
    for learners in (alone, together):
        for model in learners.models:
            model.ent_coef_tensor = model.ent_coef_tensor.double()
        learners.train(50)
    assert apart(alone, together) < 1e-9 and together.learner.update.losses()[1][0].ent_coef == pytest.approx(0.05)


def test_losses_are_the_mean_ones():
    alone, together = both([{}, {"gamma": 0.5}])
    for learners in (alone, together):
        learners.train(7)
    for model, (losses, _) in zip(alone.models, together.learner.update.losses(), strict=True):
        logged = model.logger.name_to_value
        for name, value in losses._asdict().items():
            assert value == pytest.approx(logged[f"train/{name}"], rel=1e-10)


@pytest.mark.parametrize("steps", [1, 30])
def test_moments_that_are_reset_for_one_agent_only(steps):
    """Adam's step counts differ from then on."""
    alone, together = both([{}, {}, {}])
    for learners in (alone, together):
        learners.train(10)
        learners.models[1].actor.optimizer.reset_state()
        learners.models[1].critic.optimizer.reset_state()
        learners.train(steps)
    assert apart(alone, together) < ROUNDING


def test_the_comparison_sees_an_agent_of_another_setting():
    alone, together = both([{}, {}])
    together.models[1].gamma *= 0.999
    for learners in (alone, together):
        learners.train(20)
    assert difference(alone.models[0], together.models[0]) < ROUNDING
    assert difference(alone.models[1], together.models[1]) > 1e6 * ROUNDING
