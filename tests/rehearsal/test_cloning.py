"""Cloning: its mathematics against SB3's and by hand, and what it does to a policy."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import AnyActionEnv, copied, same, sequence_env, task_env
from helpers.cases import PPO_CASE
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
    StateDependentNoiseDistribution,
    kl_divergence,
)

from sb3_nbsp import NBSPPPO
from sb3_nbsp.base.arrays import to_tensors
from sb3_nbsp.rehearsal.cloning import cloning_loss, distribution_parameters, kl_to_stored

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


# The mathematics


def gaussian(mean: th.Tensor, log_std: th.Tensor) -> Distribution:
    return DiagGaussianDistribution(mean.shape[1]).proba_distribution(mean, log_std)


def logits_of(cls, *args):
    return lambda logits: cls(*args).proba_distribution(logits)


def gsde(squash: bool):
    def make(parameters: th.Tensor) -> Distribution:
        latent = parameters.tanh()
        distribution = StateDependentNoiseDistribution(2, squash_output=squash)
        distribution.latent_sde_dim = parameters.shape[1]
        log_std = th.linspace(-1, 0, 2 * parameters.shape[1]).reshape(-1, 2) + parameters.detach().mean()
        distribution.sample_weights(log_std)
        return distribution.proba_distribution(parameters[:, :2], log_std, latent)

    return make


DISTRIBUTIONS = {  # how to make one from numbers [batch, n]; n; P
    "gaussian": (lambda p: gaussian(p[:, :2], p[0, 2:]), 4, 4),
    "gsde": (gsde(False), 3, 4),
    "gsde-squashed": (gsde(True), 3, 4),
    "categorical": (logits_of(CategoricalDistribution, 3), 3, 3),
    "multi-categorical": (logits_of(MultiCategoricalDistribution, [2, 3]), 5, 5),
    "bernoulli": (logits_of(BernoulliDistribution, 3), 3, 3),
}


def summed(divergence: th.Tensor) -> th.Tensor:
    """SB3's divergence of distributions with independent dimensions is one number per dimension."""
    return divergence.sum(dim=1) if divergence.dim() == 2 else divergence


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_divergence_is_sb3s(kind):
    make, n, n_parameters = DISTRIBUTIONS[kind]
    th.manual_seed(0)
    old, new = make(th.randn(6, n)), make(th.randn(6, n))
    stored = distribution_parameters(old)
    assert stored.shape == (6, n_parameters)
    expected = summed(kl_divergence(old, new))
    for hold_spread in (True, False):
        th.testing.assert_close(kl_to_stored(stored, new, hold_spread), expected)
    assert expected.min() > 0
    th.testing.assert_close(kl_to_stored(stored, old), th.zeros(6), atol=1e-6, rtol=0)
    # The direction counts: it is KL(old || new).
    assert not th.allclose(kl_to_stored(distribution_parameters(new), old), expected)


@pytest.mark.parametrize("kind", ["categorical", "multi-categorical", "bernoulli"])
def test_a_policy_that_has_grown_sure_has_a_finite_divergence(kind):
    """A probability that float32 rounds to 0 or 1: torch's own divergence is infinite there, and has no gradient."""
    make, n, _ = DISTRIBUTIONS[kind]
    logits = 200 * th.tensor([[1.0, -1.0, 1.0, -1.0, -1.0]])[:, :n]
    sure = logits.clone().requires_grad_()
    old = make(-logits)
    assert summed(kl_divergence(old, make(sure))).isinf()
    divergence = kl_to_stored(distribution_parameters(old), make(sure))
    divergence.sum().backward()
    assert 200 <= float(divergence) < 2000 and sure.grad.isfinite().all() and sure.grad.abs().max() > 0.1


@pytest.mark.parametrize("kind", [kind for kind in DISTRIBUTIONS if "gsde" not in kind])
def test_divergence_is_the_expected_difference_of_log_probabilities(kind):
    make, n, _ = DISTRIBUTIONS[kind]
    th.manual_seed(0)
    one, other = th.randn(1, n), th.randn(1, n)
    old, new = make(one.expand(40_000, n)), make(other.expand(40_000, n))
    actions = old.sample()
    estimate = (old.log_prob(actions) - new.log_prob(actions)).mean()
    assert float(estimate) == pytest.approx(float(kl_to_stored(distribution_parameters(old), new)[0]), rel=0.05)


@pytest.mark.known_answer
def test_divergences_by_hand():
    one, two = th.tensor([[0.0, 1.0]]), th.tensor([[1.0, 3.0]])
    # ln(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2 with s1 = 1, s2 = 2
    new = gaussian(two, th.full((2,), math.log(2.0)))
    expected = 2 * (math.log(2) - 0.5) + (1 + 1) / 8 + (1 + 4) / 8
    assert kl_to_stored(th.cat([one, th.ones(1, 2)], dim=1), new).item() == pytest.approx(expected)
    coin = BernoulliDistribution(1).proba_distribution(th.tensor([[math.log(1 / 3)]]))  # p = 1/4
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert kl_to_stored(th.zeros(1, 1), coin).item() == pytest.approx(expected)
    die = CategoricalDistribution(2).proba_distribution(th.log(th.tensor([[0.25, 0.75]])))
    assert kl_to_stored(th.zeros(1, 2), die).item() == pytest.approx(expected)


def test_certain_actions_have_a_finite_divergence():
    certain = CategoricalDistribution(2).proba_distribution(th.tensor([[200.0, -200.0]]))
    stored = distribution_parameters(certain)
    assert kl_to_stored(stored, certain).item() == 0
    assert th.isfinite(kl_to_stored(stored, CategoricalDistribution(2).proba_distribution(th.zeros(1, 2)))).all()


@pytest.mark.known_answer
def test_gradients_of_the_spread():
    mean, log_std = th.zeros(5, 2, requires_grad=True), th.zeros(2, requires_grad=True)
    stored = th.cat([th.ones(5, 2), th.full((5, 2), 0.5)], dim=1)
    kl_to_stored(stored, gaussian(mean, log_std), hold_spread=False).mean().backward()
    assert log_std.grad is None
    th.testing.assert_close(mean.grad, th.full((5, 2), -0.2))  # (m - 1) / s^2, averaged over the batch
    mean.grad = None
    kl_to_stored(stored, gaussian(mean, log_std), hold_spread=True).mean().backward()
    th.testing.assert_close(log_std.grad, th.full((2,), 1 - 1.25))  # d/d ln(s2): 1 - (s1^2 + 1) / s2^2


@pytest.mark.known_answer
def test_cloning_loss_by_hand():
    stored, values = th.tensor([[0.0, 1.0], [0.0, 1.0]]), th.tensor([1.0, 2.0])
    now = gaussian(th.tensor([[1.0], [3.0]]), th.zeros(1))
    loss = cloning_loss(stored, now, values, th.tensor([[2.0], [5.0]]), vf_coef=0.1)
    assert loss.item() == pytest.approx((0.5 + 4.5) / 2 + 0.1 * (1 + 9) / 2)  # [batch, 1] values must not broadcast


def test_other_distributions_are_refused():
    class Other:
        distribution = th.distributions.Beta(th.ones(1), th.ones(1))

    with pytest.raises(TypeError, match="Expected a Gaussian, categorical or Bernoulli action distribution; got Beta"):
        distribution_parameters(Other())  # type: ignore[arg-type]


# PPO with cloning

SETTINGS = PPO_CASE.settings(
    (16,), n_steps=32, batch_size=16, n_epochs=4, scoring_steps=40, memory_size=40, skill_fraction=0.0, replay_interval=1
)
ACTIONS = {
    "box": spaces.Box(-1.0, 1.0, (2,)),
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
}


def memory_loss(model) -> tuple[float, float]:
    """Divergence and squared error of the values over the whole memory of the first task."""
    old, buffer = model.rollout_buffer.memory._tasks[0], model.rollout_buffer
    observations = to_tensors(old.observations, buffer.device)
    with th.no_grad():
        divergence = kl_to_stored(th.tensor(old.distributions), model.policy.get_distribution(observations)).mean()
        error = (model.policy.predict_values(observations).flatten() - th.tensor(old.values)).square().mean()
    return float(divergence), float(error)


class Watched(NBSPPPO):
    """Keeps the policy as it is at each task's end."""

    def _remember_task(self, index):
        self.__dict__.setdefault("ends", {})[index] = copy.deepcopy(self.policy)
        super()._remember_task(index)


@pytest.mark.parametrize("n_steps", [16, 20])  # the switch falls into a rollout, and at one's end
def test_values_and_distributions_are_those_of_the_tasks_end(n_steps):
    settings = {**SETTINGS, "n_steps": n_steps, "learning_rate": 0.01, "skill_fraction": 0.2}
    model = Watched("MlpPolicy", sequence_env(), **settings).learn(120)
    for task in range(2):
        old, policy = model.rollout_buffer.memory._tasks[task], model.ends[task]
        observations = th.tensor(old.observations)
        with th.no_grad():
            expected = distribution_parameters(policy.get_distribution(observations))
            np.testing.assert_allclose(old.values, policy.predict_values(observations).flatten(), atol=1e-6)
            np.testing.assert_allclose(old.distributions, expected, atol=1e-6)
            log_probs = policy.evaluate_actions(observations, th.tensor(old.actions))[1].numpy()
            assert np.abs(old.log_probs - log_probs).max() > 0.01  # those are of the policy that acted


SHARE = {"replay_mode": "share", "old_task_fraction": 0.5}


@pytest.mark.parametrize("kind, mode", [*((kind, {}) for kind in (*ACTIONS, "gsde")), ("box", SHARE)])
def test_cloning_pulls_a_drifted_policy_back(kind, mode):
    space = ACTIONS.get(kind, ACTIONS["box"])
    settings = {**SETTINGS, "use_sde": kind == "gsde", "reset_log_std": False, "learning_rate": 3e-3, **mode}
    model = NBSPPPO("MlpPolicy", AnyActionEnv(space), **settings).learn(64)
    model.consolidate(AnyActionEnv(space), "a")
    assert memory_loss(model) == pytest.approx((0, 0), abs=1e-6)  # right at the task's end
    th.manual_seed(5)
    with th.no_grad():
        for p in [*model.policy.action_net.parameters(), *model.policy.value_net.parameters()]:
            p += 0.5 * th.randn_like(p)
    divergence, error = memory_loss(model)
    assert divergence > 0.01 and error > 0.01
    for _ in range(20):
        model._clone_old_tasks(0, 40)
    after = memory_loss(model)
    assert after[0] < 0.3 * divergence and after[1] < 0.3 * error
    assert model.logger.name_to_value["nbsp/cloning_loss"] < 0.6 * (divergence + 0.5 * error)


def test_cloning_holds_back_what_training_would_change():
    """The sum over three seeds: how far one policy drifts hangs on its seed, and on how the machine rounds."""
    ends = {0: np.zeros(2), 40: np.zeros(2)}
    for seed, memory_size in itertools.product(range(3), ends):
        settings = {**SETTINGS, "memory_size": 40, "learning_rate": 3e-3, "reset_log_std": False, "seed": seed}
        model = NBSPPPO("MlpPolicy", task_env("east"), **settings).learn(64)
        model.consolidate(task_env("east"), "east")
        model.memory_size = memory_size
        model.set_env(task_env("west"))
        model.learn(320, reset_num_timesteps=False)
        ends[memory_size] += memory_loss(model)
    assert ends[40][0] < 0.8 * ends[0][0]  # the policy: 0.28
    assert ends[40][1] < 0.1 * ends[0][1]  # the values: 0.002


def test_cloning_leaves_the_standard_deviation_alone():
    model = NBSPPPO("MlpPolicy", task_env(), **SETTINGS).learn(64)
    model.consolidate(task_env(), "east")
    model.policy.log_std.data.fill_(-2.0)
    before = copied(model.policy.state_dict())
    model._clone_old_tasks(0, 40)
    after = copied(model.policy.state_dict())
    assert th.equal(after.pop("log_std"), before.pop("log_std")) and not same(after, before)


def test_gsde_is_cloned_with_its_spread():
    model = NBSPPPO("MlpPolicy", task_env(), use_sde=True, **SETTINGS).learn(64)
    model.consolidate(task_env(), "east")
    with th.no_grad():
        model.policy.log_std += 0.5
    before = model.policy.log_std.detach().clone()
    model._clone_old_tasks(0, 40)
    assert (model.policy.log_std < before).float().mean() > 0.8


def rehearsed(model) -> list[int]:
    """Sizes of the old batches that the model draws from now on."""
    sizes, sample = [], model.rollout_buffer.sample_memory
    model.rollout_buffer.sample_memory = lambda n: (sizes.append(n), sample(n))[1]
    return sizes


@pytest.mark.parametrize("rehearsal", ["clone", "clip"])
@pytest.mark.parametrize(
    "mode, n_samples",
    [
        ({"replay_interval": 1}, 4 * 32),
        ({"replay_interval": 2}, 4 * 16),
        # More than a pass's two minibatches: as many in all, for the whole update has eight.
        ({"replay_interval": 4}, 2 * 16),
        ({"replay_interval": 8}, 16),
        ({"replay_mode": "share", "old_task_fraction": 0.0}, 0),
    ],
)
def test_how_much_is_rehearsed(rehearsal, mode, n_samples):
    model = NBSPPPO("MlpPolicy", task_env(), **{**SETTINGS, "rehearsal": rehearsal, **mode}).learn(32)
    model.consolidate(task_env(), "east")
    sizes = rehearsed(model)
    model.learn(32, reset_num_timesteps=False)
    assert sum(sizes) == n_samples


def test_rehearsal_does_not_stop_where_an_update_has_fewer_minibatches_than_the_interval():
    """Over several updates: one old minibatch for every replay_interval of the rollouts'."""
    drawn = {}
    for rehearsal in ("clone", "clip"):
        settings = {**SETTINGS, "rehearsal": rehearsal, "n_epochs": 1, "replay_interval": 4}
        model = NBSPPPO("MlpPolicy", task_env(), **settings).learn(32)
        model.consolidate(task_env(), "east")
        sizes = rehearsed(model)
        model.learn(8 * 32, reset_num_timesteps=False)  # 8 updates of 2 minibatches
        drawn[rehearsal] = len(sizes)
    assert drawn == {"clone": 4, "clip": 4}


@pytest.mark.parametrize("rehearsal", ["clone", "clip"])
def test_only_old_tasks_are_rehearsed(rehearsal):
    """Over two cycles; the task id tells the samples apart."""
    settings = {**SETTINGS, "n_steps": 10, "batch_size": 10, "rehearsal": rehearsal, "memory_size": 40}
    model = NBSPPPO("MlpPolicy", sequence_env(cycles=2), **settings)
    seen, sample = [], model.rollout_buffer.sample_memory

    def spying(n_samples):
        old = sample(n_samples)
        seen.append((model.num_timesteps, tuple(old.observations[:, 4:].mean(axis=0))))
        return old

    model.rollout_buffer.sample_memory = spying
    model.learn(240)
    east, west = (1.0, 0.0), (0.0, 1.0)
    rehearsed = {(step - 1) // 60: {ids for s, ids in seen if (s - 1) // 60 == (step - 1) // 60} for step, _ in seen}
    assert rehearsed == {1: {east}, 2: {west}, 3: {east}}


def test_clip_learns_from_old_samples():
    """Old actions that were better than expected become likelier, compared with those that were worse."""
    gains = {}
    for memory_size in (0, 40):
        settings = {**SETTINGS, "rehearsal": "clip", "learning_rate": 3e-3, "reset_log_std": False}
        model = NBSPPPO("MlpPolicy", task_env("east"), **settings).learn(64)
        model.consolidate(task_env("east"), "east")
        old = model.rollout_buffer.memory._tasks[0]

        def log_probabilities(model=model, old=old):
            with th.no_grad():
                return model.policy.evaluate_actions(th.tensor(old.observations), th.tensor(old.actions))[1].numpy()

        before = log_probabilities()
        model.memory_size = memory_size
        model.set_env(task_env("west"))
        model.learn(256, reset_num_timesteps=False)
        gains[memory_size] = (old.advantages * (log_probabilities() - before)).mean()
    assert gains[40] > gains[0] + 0.04


def test_old_advantages_are_put_on_the_rollouts_scale():
    model = NBSPPPO("MlpPolicy", task_env(), **{**SETTINGS, "rehearsal": "clip"}).learn(64)
    model.consolidate(task_env(), "east")
    model.learn(32, reset_num_timesteps=False)
    buffer = model.rollout_buffer
    old = buffer._old_batch(5000)
    mean, deviation = float(buffer.advantages.mean()), float(buffer.advantages.std())
    assert float(old.advantages.mean()) == pytest.approx(mean, abs=0.1 * deviation)
    assert float(old.advantages.std()) == pytest.approx(deviation, rel=0.1)
