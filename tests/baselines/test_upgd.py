"""UPGD against numbers that were computed by hand."""

import math

import pytest
import torch as th
from helpers import same, sequence_env
from stable_baselines3 import DQN, PPO, SAC
from test_baselines import STEPS, discrete_env, nbspsac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import UPGD
from sb3_nbsp.baselines.parameters import learned_parameters


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def stepped(optimizer: UPGD, parameters: list[th.nn.Parameter], gradients: list[list[float]]) -> None:
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = th.tensor(gradient, dtype=p.dtype)
    optimizer.step()


@pytest.mark.known_answer
def test_two_steps_by_hand():
    """Utility -g w; the largest is that of all parameters; both moments and the utility are corrected for their start."""
    one, two = th.nn.Parameter(th.tensor([1.0, -2.0])), th.nn.Parameter(th.tensor([0.5]))
    optimizer = UPGD([one, two], lr=0.1, betas=(0.5, 0.9), eps=0.0, weight_decay=0.2, beta_utility=0.8, sigma=0.0)
    stepped(optimizer, [one, two], [[-1.0, -1.0], [2.0]])
    # Utilities 1, -2, -1; at the first step m / sqrt(v) is the gradient's sign. lr weight_decay = 0.02, 2 lr = 0.2.
    first = [0.98 * w + 0.2 * (1 - sigmoid(u)) for w, u in ((1.0, 1.0), (-2.0, -2.0))]
    second = 0.98 * 0.5 - 0.2 * (1 - sigmoid(-1.0))
    assert one.tolist() == pytest.approx(first) and two.tolist() == pytest.approx([second])

    stepped(optimizer, [one, two], [[0.5, 0.0], [-1.0]])
    correction = 1 - 0.8**2
    utilities = [(0.2 * 0.8 * 1 + 0.2 * -0.5 * first[0]), 0.2 * 0.8 * -2, (0.2 * 0.8 * -1 + 0.2 * second)]
    largest = max(utilities) / correction
    means = [(0.5 * 0.5 * a + 0.5 * b) / (1 - 0.5**2) for a, b in ((-1, 0.5), (-1, 0), (2, -1))]
    squares = [(0.1 * 0.9 * a**2 + 0.1 * b**2) / (1 - 0.9**2) for a, b in ((-1, 0.5), (-1, 0), (2, -1))]
    expected = []
    for w, u, m, v in zip([*first, second], utilities, means, squares, strict=True):
        free = 1 - sigmoid(u / correction / largest)
        expected.append(0.98 * w - 0.2 * free * m / math.sqrt(v))
    assert [*one.tolist(), *two.tolist()] == pytest.approx(expected, rel=1e-5)


@pytest.mark.known_answer
def test_averages_are_corrected_by_the_steps_of_their_own_parameter():
    """The second parameter has no gradient in the first step. eps is added to the square root."""
    one, two = th.nn.Parameter(th.tensor([1.0])), th.nn.Parameter(th.tensor([1.0]))
    optimizer = UPGD([one, two], lr=0.1, betas=(0.0, 0.0), eps=0.5, weight_decay=0.0, beta_utility=0.75, sigma=0.0)
    one.grad = th.tensor([-1.0])
    optimizer.step()
    first = 1 + 0.2 * (1 - sigmoid(1.0)) * 1 / (1 + 0.5)
    assert one.item() == pytest.approx(first) and two.item() == 1.0
    stepped(optimizer, [one, two], [[-1.0], [-2.0]])
    # Utilities: of two steps, (0.75 * 0.25 * 1 + 0.25 first) / (1 - 0.75^2); of one step, 0.25 * 2 / 0.25 = 2, the largest.
    utility = (0.75 * 0.25 + 0.25 * first) / (1 - 0.75**2)
    assert one.item() == pytest.approx(first + 0.2 * (1 - sigmoid(utility / 2)) * 1 / (1 + 0.5))
    assert two.item() == pytest.approx(1 + 0.2 * (1 - sigmoid(1.0)) * 2 / (2 + 0.5))


@pytest.mark.known_answer
def test_a_useless_weight_learns_as_adam_has_it_and_a_useful_one_more_slowly():
    """Utility 0 leaves a half of the doubled rate; the most useful weight keeps 1 - sigmoid(1) = 0.27 of it."""
    useful, useless, harmful = (th.nn.Parameter(th.tensor([w])) for w in (1.0, 0.0, -1.0))
    optimizer = UPGD([useful, useless, harmful], lr=0.1, eps=0.0, weight_decay=0.0, sigma=0.0)
    stepped(optimizer, [useful, useless, harmful], [[-3.0], [-3.0], [-3.0]])
    assert useless.item() == pytest.approx(0.1)
    assert useful.item() - 1 == pytest.approx(0.2 * (1 - sigmoid(1.0)))
    assert harmful.item() + 1 == pytest.approx(0.2 * (1 - sigmoid(-1.0)))


def test_perturbation_has_the_size_that_was_asked_for():
    """2 lr (1 - s) sigma, which is lr sigma for weights of utility 0."""
    p = th.nn.Parameter(th.zeros(100_000))
    th.manual_seed(0)
    stepped(UPGD([p], lr=0.1, weight_decay=0.0, sigma=3.0), [p], [[0.0] * 100_000])
    assert p.detach().std().item() == pytest.approx(0.1 * 3.0, rel=0.02) and abs(p.detach().mean().item()) < 0.005


@pytest.mark.known_answer
def test_a_useful_weight_is_perturbed_as_little_as_it_learns():
    """w = 1 and g = -1: of the step, 1, and of the noise, sigma, the same 2 lr (1 - sigmoid(1)) is left."""
    p = th.nn.Parameter(th.ones(100_000))
    th.manual_seed(0)
    stepped(UPGD([p], lr=0.1, eps=0.0, weight_decay=0.0, sigma=3.0), [p], [[-1.0] * 100_000])
    change, left = p.detach() - 1, 0.2 * (1 - sigmoid(1.0))
    assert change.mean().item() == pytest.approx(left, rel=0.05) and change.std().item() == pytest.approx(3 * left, rel=0.02)


def test_without_any_utility_no_weight_becomes_nan():
    p = th.nn.Parameter(th.tensor([0.0, 1.0]))
    stepped(UPGD([p], lr=0.1, eps=0.0, weight_decay=0.0, sigma=0.0), [p], [[1.0, 1.0]])  # utilities 0 and -1
    assert p.tolist() == pytest.approx([-0.1, 1 - 0.2])


def test_averages_of_a_dead_weight_end_at_zero():
    """They would decay into denormal numbers and stay there, where a step takes several times as long."""
    p = th.nn.Parameter(th.ones(1))
    optimizer = UPGD([p], betas=(0.9, 0.9), beta_utility=0.9, weight_decay=0.0, sigma=0.0)
    stepped(optimizer, [p], [[1e-3]])
    for _ in range(1000):  # 0.9^1000 = 1e-46, less than any number in float32
        stepped(optimizer, [p], [[0.0]])
    assert not any(optimizer.state[p][name].any() for name in ("exp_avg", "exp_avg_sq", "utility"))


def test_parameters_of_two_precisions_and_of_no_entries():
    """Without any utility above 0, with the smallest number of the larger precision a quotient would be 0 / 0."""
    parameters = [
        th.nn.Parameter(th.zeros(n, dtype=dtype)) for n, dtype in ((1, th.float32), (1, th.float64), (0, th.float32))
    ]
    stepped(UPGD(parameters, lr=0.1, eps=0.0, weight_decay=0.0, sigma=0.0), parameters, [[1.0], [1.0], []])
    assert [p.tolist() for p in parameters] == [pytest.approx([-0.1]), pytest.approx([-0.1]), []]


def test_a_small_utility_beside_a_parameter_of_half_precision():
    """Of 1e-6, which is below the smallest normal number of float16: it is the largest all the same, and s = sigmoid(1)."""
    one, half = th.nn.Parameter(th.ones(1)), th.nn.Parameter(th.zeros(1, dtype=th.float16))
    stepped(UPGD([one, half], lr=0.1, eps=0.0, weight_decay=0.0, sigma=0.0), [one, half], [[-1e-6], [1.0]])
    assert one.item() == pytest.approx(1 + 0.2 * (1 - sigmoid(1.0)))


@pytest.mark.parametrize("cls", [SAC, PPO, DQN])
def test_sb3_learns_with_it(cls):
    env = discrete_env() if cls is DQN else sequence_env(steps=STEPS)
    small = {"n_steps": 20, "batch_size": 20} if cls is PPO else {"learning_starts": 10}
    model = cls("MlpPolicy", env, policy_kwargs={"optimizer_class": UPGD, "net_arch": [8]}, seed=1, **small)
    before = {name: p.detach().clone() for name, p in learned_parameters(model).items()}
    model.learn(2 * STEPS)
    assert all(not th.equal(p, before[name]) for name, p in learned_parameters(model).items())


def test_its_state_goes_with_the_model(tmp_path):
    kwargs = {"optimizer_class": UPGD, "net_arch": [8, 8]}
    model = nbspsac(policy_kwargs=kwargs)
    model.learn(2 * STEPS)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model", env=sequence_env(steps=STEPS))
    assert type(loaded.actor.optimizer.base) is UPGD
    assert same(loaded.actor.optimizer.state_dict()["state"], model.actor.optimizer.state_dict()["state"])
    assert model.actor.optimizer.state_dict()["state"][0]["utility"].abs().sum() > 0


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"beta_utility": 1.0}, {"betas": (0.9, 1.5)}, {"sigma": -0.1}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        UPGD([th.nn.Parameter(th.zeros(1))], **wrong)
