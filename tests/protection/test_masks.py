"""The masks on a tiny hand-made policy."""

import pytest
import torch as th
from helpers import CHANNEL_FIRST_IMAGE, SETTINGS, ToyEnv
from stable_baselines3 import SAC
from torch import nn

from sb3_nbsp.neurons import NeuronLayer, find_networks
from sb3_nbsp.neurons.networks import Network, Reader
from sb3_nbsp.protection import NeuronMasks

HIDDEN, OUTPUT, LOG_STD = nn.Linear(3, 2), nn.Linear(2, 2), nn.Parameter(th.zeros(2, 4))
CONV, FLAT = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)


def tiny_networks() -> list[Network]:
    """
    actor: 3 -> hidden (2) -> output (2) and gSDE's log_std; critic: conv (2 channels of 2 x 2 pixels) -> flat (3).

    The reader of flat is a stretch of the output's columns, to have an offset.
    """
    hidden = NeuronLayer("hidden", nn.ReLU(), 2, [HIDDEN.weight, HIDDEN.bias])
    hidden.readers = [Reader(OUTPUT.weight, 1, 0, 1), Reader(LOG_STD, 0, 0, 1)]
    conv = NeuronLayer("critic.conv", nn.ReLU(), 2, [CONV.weight, CONV.bias], [Reader(FLAT.weight, 1, 0, 4)])
    return [Network("actor", "actor", [hidden], [OUTPUT.bias]), Network("critic", "critic", [conv], [FLAT.bias])]


def masks_with(factors: dict[str, list[float]], **kwargs) -> NeuronMasks:
    masks = NeuronMasks(tiny_networks(), **kwargs)
    masks.hold(0, {name: th.tensor(values) for name, values in factors.items()})
    return masks


def layer(masks: NeuronMasks, name: str) -> NeuronLayer:
    return next(layer for network in masks.networks for layer in network.layers if layer.name == name)


def factors_of(masks: NeuronMasks, name: str = "hidden") -> list[float]:
    return masks.factors(layer(masks, name)).tolist()


def spread(masks: NeuronMasks) -> dict[str, list]:
    names = {
        id(HIDDEN.weight): "hidden.weight",
        id(HIDDEN.bias): "hidden.bias",
        id(OUTPUT.weight): "output.weight",
        id(OUTPUT.bias): "output.bias",
        id(LOG_STD): "log_std",
        id(CONV.weight): "conv.weight",
        id(CONV.bias): "conv.bias",
        id(FLAT.weight): "flat.weight",
        id(FLAT.bias): "flat.bias",
    }
    return {names[id(p)]: values.tolist() for p, values in masks.parameter_factors().items()}


INCOMING = {"hidden.weight": [[0, 0, 0], [1, 1, 1]], "hidden.bias": [0, 1]}
OUTGOING = {"output.weight": [[0, 1], [0, 1]], "log_std": [[0] * 4, [1] * 4]}


@pytest.mark.known_answer
@pytest.mark.parametrize("sides, expected", [("incoming", INCOMING), ("outgoing", OUTGOING), ("both", INCOMING | OUTGOING)])
def test_sides(sides, expected):
    assert spread(masks_with({"hidden": [0.0, 1.0]}, sides=sides)) == expected


@pytest.mark.known_answer
@pytest.mark.parametrize("sides, expected", [("incoming", INCOMING), ("outgoing", OUTGOING)])
def test_output_biases_are_held_as_the_most_held_neuron(sides, expected):
    spreaded = spread(masks_with({"hidden": [0.0, 1.0]}, sides=sides, output_biases=True))
    assert spreaded == {**expected, "output.bias": [0, 0]}
    assert spread(masks_with({"hidden": [0.5, 0.25]}, output_biases=True))["output.bias"] == [0.25, 0.25]


@pytest.mark.known_answer
def test_channels_and_their_pixels():
    spreaded = spread(masks_with({"critic.conv": [1.0, 0.5]}, sides="both"))
    assert spreaded["flat.weight"] == [[1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]] * 3
    assert spreaded["conv.bias"] == [1, 0.5] and spreaded["conv.weight"][1] == [[[0.5] * 3] * 3]
    assert set(spreaded) == {"conv.weight", "conv.bias", "flat.weight"}


@pytest.mark.known_answer
def test_smallest_factor_counts_where_neurons_meet_in_a_weight():
    before, middle, after = nn.Linear(1, 2), nn.Linear(2, 2), nn.Linear(2, 1)
    first = NeuronLayer("first", nn.ReLU(), 2, [before.weight], [Reader(middle.weight, 1, 0, 1)])
    second = NeuronLayer("second", nn.ReLU(), 2, [middle.weight], [Reader(after.weight, 1, 0, 1)])
    masks = NeuronMasks([Network("net", "actor", [first, second])], sides="both")
    masks.hold(0, {"first": th.tensor([0.5, 1.0]), "second": th.tensor([0.75, 0.25])})
    assert masks.parameter_factors()[middle.weight].tolist() == [[0.5, 0.75], [0.25, 0.25]]


@pytest.mark.known_answer
def test_readers_of_two_sources_with_offsets():
    """Columns of the inputs that are no neuron's stay free."""
    weight = nn.Parameter(th.zeros(1, 7))
    one = NeuronLayer("one", nn.ReLU(), 2, [], [Reader(weight, 1, 1, 1)])
    two = NeuronLayer("two", nn.ReLU(), 2, [], [Reader(weight, 1, 4, 1)])
    masks = NeuronMasks([Network("net", "actor", [one, two])], sides="outgoing")
    masks.hold(0, {"one": th.tensor([0.0, 0.1]), "two": th.tensor([0.2, 0.3])})
    th.testing.assert_close(masks.parameter_factors()[weight], th.tensor([[1.0, 0.0, 0.1, 1.0, 0.2, 0.3, 1.0]]))


def test_nothing_held_no_factors():
    assert NeuronMasks(tiny_networks(), output_biases=True).parameter_factors() == {}
    assert masks_with({}, output_biases=True).parameter_factors() == {}


def test_only_networks_with_held_neurons_have_their_output_biases_held():
    assert set(spread(masks_with({"hidden": [1.0, 0.0]}, output_biases=True))) == {
        "hidden.weight",
        "hidden.bias",
        "output.bias",
    }


# Accumulation


@pytest.mark.known_answer
def test_tasks_accumulate_as_the_minimum():
    masks = masks_with({"hidden": [0.1, 0.9]})
    masks.hold(1, {"hidden": th.tensor([0.5, 0.2])})
    assert factors_of(masks) == pytest.approx([0.1, 0.2]) and masks.n_tasks == 2
    masks.hold(2, {})
    assert factors_of(masks) == pytest.approx([0.1, 0.2]) and masks.n_tasks == 3


@pytest.mark.known_answer
def test_held_again_replaces():
    masks = masks_with({"hidden": [0.0, 1.0], "critic.conv": [0.0, 1.0]})
    masks.hold(1, {"hidden": th.tensor([0.5, 1.0])})
    masks.hold(0, {"hidden": th.tensor([1.0, 0.3])})
    assert factors_of(masks) == pytest.approx([0.5, 0.3]) and masks.n_tasks == 2
    assert factors_of(masks, "critic.conv") == [1.0, 1.0]  # left out: free


def test_later_changes_of_the_callers_tensor_do_not_reach_in():
    mine = th.tensor([0.0, 1.0])
    masks = NeuronMasks(tiny_networks())
    masks.hold(0, {"hidden": mine})
    mine.fill_(1.0)
    assert factors_of(masks) == [0.0, 1.0]


def test_reset_frees_everything():
    masks = masks_with({"hidden": [0.0, 0.0]})
    masks.reset()
    assert masks.n_tasks == 0 and factors_of(masks) == [1.0, 1.0] and masks.parameter_factors() == {}
    masks.hold(0, {"hidden": th.tensor([0.5, 1.0])})
    assert factors_of(masks) == [0.5, 1.0]


@pytest.mark.known_answer
def test_free_share():
    masks = NeuronMasks(tiny_networks())
    assert masks.free_share() == 1.0
    masks.hold(0, {"hidden": th.tensor([0.5, 1.0])})
    assert (masks.free_share(), masks.free_share("actor"), masks.free_share("critic")) == (0.75, 0.5, 1.0)
    masks.hold(1, {"hidden": th.tensor([1.0, 0.0]), "critic.conv": th.tensor([0.99, 1.0])})
    assert (masks.free_share(), masks.free_share("actor"), masks.free_share("critic")) == (0.25, 0.0, 0.5)


@pytest.mark.known_answer
def test_free_share_of_independent_tasks_falls_geometrically():
    generator = th.Generator().manual_seed(0)
    big = NeuronLayer("big", nn.ReLU(), 10_000, [])
    masks = NeuronMasks([Network("net", "actor", [big])])
    for task in range(5):
        masks.hold(task, {"big": (th.rand(10_000, generator=generator) >= 0.2).float()})
    assert masks.free_share() == pytest.approx(0.8**5, abs=0.01)


@pytest.mark.parametrize("task", [-1, 1, 2])
def test_gaps_are_refused(task):
    with pytest.raises(ValueError, match=rf"task must lie in \[0, 0\].*got {task}"):
        NeuronMasks(tiny_networks()).hold(task, {})


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_factors_out_of_range_are_refused(value):
    masks = NeuronMasks(tiny_networks())
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]; those of hidden"):
        masks.hold(0, {"hidden": th.tensor([0.5, value])})
    assert masks.n_tasks == 0


def test_nan_is_refused():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        NeuronMasks(tiny_networks()).hold(0, {"hidden": th.tensor([0.5, th.nan])})


@pytest.mark.parametrize("factors", [th.tensor([0.5]), th.tensor([0.5, 0.5, 0.5]), th.tensor(0.5), th.zeros(1, 2)])
def test_factors_of_another_layer_size_are_refused(factors):
    masks = NeuronMasks(tiny_networks())
    with pytest.raises(ValueError, match=r"factors of hidden must be one per neuron, of shape \(2,\); got"):
        masks.hold(0, {"hidden": factors})
    assert masks.n_tasks == 0


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"hiden": th.zeros(2)}, "Unknown layer 'hiden'. Did you mean 'hidden'"),
        ({"hidden": th.ones(2), "critic/conv": th.zeros(2)}, "Unknown layer 'critic/conv'"),
        ({"actor": th.zeros(2)}, "Unknown layer 'actor'"),
        ({HIDDEN.weight: th.zeros(2)}, "by layer name .*; got Parameter as a key"),
        ({"hidden": [0.0, 1.0]}, "factors of hidden must be a tensor; got list"),
        ([th.zeros(2)], "dict of tensors by layer name; got list"),
    ],
)
def test_what_would_hold_nothing_is_refused(factors, words):
    masks = NeuronMasks(tiny_networks())
    with pytest.raises((ValueError, TypeError), match=words):
        masks.hold(0, factors)
    assert masks.n_tasks == 0


def test_a_layer_is_no_name_and_the_error_prints_no_weights():
    masks = NeuronMasks(tiny_networks())
    with pytest.raises(TypeError, match=r"layer\.name.*got NeuronLayer as a key") as error:
        masks.hold(0, {layer(masks, "hidden"): th.zeros(2)})
    assert len(str(error.value)) < 120


def test_a_linear_policy_has_no_layer_to_hold():
    with pytest.raises(ValueError, match="Unknown layer 'hidden'"):
        NeuronMasks([Network("actor", "actor", [], [OUTPUT.bias])]).hold(0, {"hidden": th.zeros(2)})


def test_the_free_share_of_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="Unknown network 'actr'"):
        NeuronMasks(tiny_networks()).free_share("actr")


def test_unknown_side_is_refused():
    with pytest.raises(ValueError, match="mask_sides must be one of incoming, outgoing, both; got 'inside'"):
        NeuronMasks([], sides="inside")


def test_a_policy_without_neurons():
    masks = NeuronMasks([Network("actor", "actor", [], [OUTPUT.bias])], sides="both", output_biases=True)
    masks.hold(0, {})
    masks.hold(1, {})
    assert masks.free_share() == 1.0 and masks.parameter_factors() == {} and masks.state_dict() == {}


@pytest.mark.known_answer
def test_a_shared_extractor_is_masked_once():
    """The parameters of an extractor that is registered under several names have one factor tensor."""
    kwargs = {"net_arch": [4], "features_extractor_kwargs": {"features_dim": 3}, "share_features_extractor": True}
    policy = SAC("CnnPolicy", ToyEnv(CHANNEL_FIRST_IMAGE), **{**SETTINGS, "policy_kwargs": kwargs}).policy
    masks = NeuronMasks(find_networks(policy), sides="both")
    masks.hold(0, {"actor.features_extractor.1.0": th.tensor([0.5, 1.0, 0.0])})
    factors = masks.parameter_factors()
    extractor = policy.actor.features_extractor
    assert factors[extractor.linear[0].bias].tolist() == [0.5, 1.0, 0.0]
    held = [extractor.linear[0].weight, extractor.linear[0].bias, policy.actor.latent_pi[0].weight]
    held += [q[0].weight for q in policy.critic.q_networks]
    assert {id(p) for p, values in factors.items() if (values != 1).any()} == {id(p) for p in held}
    critic_columns = factors[policy.critic.q_networks[1][0].weight]
    assert critic_columns[0].tolist() == [0.5, 1.0, 0.0, 1.0, 1.0]  # the two actions stay free


# Saving


@pytest.mark.parametrize("n_tasks", [0, 1, 3])
def test_state_dict_round_trip_into_a_fresh_one(n_tasks):
    masks, fresh = NeuronMasks(tiny_networks()), NeuronMasks(tiny_networks())
    generator = th.Generator().manual_seed(0)
    for task in range(n_tasks):
        masks.hold(task, {"hidden": th.rand(2, generator=generator), "critic.conv": th.rand(2, generator=generator)})
    fresh.load_state_dict(masks.state_dict())
    assert fresh.n_tasks == n_tasks and factors_of(fresh) == factors_of(masks)
    assert factors_of(fresh, "critic.conv") == factors_of(masks, "critic.conv")
    fresh.hold(0, {"hidden": th.tensor([0.0, 0.0])})
    assert factors_of(fresh) == [0.0, 0.0]
    assert n_tasks == 0 or factors_of(masks) != [0.0, 0.0]  # nothing is shared


def test_fewer_tasks_load_over_more():
    masks = masks_with({"hidden": [0.0, 0.0]})
    masks.load_state_dict(NeuronMasks(tiny_networks()).state_dict())
    assert masks.n_tasks == 0 and factors_of(masks) == [1.0, 1.0]


@pytest.mark.known_answer
def test_state_dict_holds_one_row_per_task():
    masks = masks_with({"hidden": [0.5, 1.0]})
    masks.hold(1, {"critic.conv": th.tensor([1.0, 0.25])})
    state = {name: values.tolist() for name, values in masks.state_dict().items()}
    assert state == {"hidden": [[0.5, 1.0], [1.0, 1.0]], "critic/conv": [[1.0, 1.0], [1.0, 0.25]]}


def test_state_of_another_network_is_refused():
    other = NeuronMasks([Network("net", "actor", [NeuronLayer("hidden", nn.ReLU(), 5, [])])])
    other.hold(0, {})
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        NeuronMasks(tiny_networks()).load_state_dict(other.state_dict())
