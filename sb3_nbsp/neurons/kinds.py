"""The kinds of policy: which passes acting and scoring run, and into which network a layer belongs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from sb3_nbsp.neurons import dummy_pass
from sb3_nbsp.neurons.layers import Network
from sb3_nbsp.neurons.units import Unit

# (policy, which rows of the made-up observations) -> passes, by the part whose outputs they give
Passes = Callable[[Any, Sequence[int]], dict[str, Callable[[], Any]]]
Place = Callable[[Unit], int]
SCORING = "scoring"  # the part whose pass runs where neurons are scored


class Kind(NamedTuple):
    """
    A kind of policy.

    :param passes: its forward passes; observations are made when one is called
    :param networks: its networks, still empty, and which of them a layer belongs to; of the policy, the indices of the layers
        that its actions come from, and of those that its values come from
    """

    passes: Passes
    networks: Callable[[Any, set[int], set[int]], tuple[list[Network], Place]]


def kind_of(policy: Any) -> Kind:
    """
    :param policy: an SB3 policy, or one of your own
    :raises TypeError: for a policy of another structure
    """
    if hasattr(policy, "get_distribution") and hasattr(policy, "predict_values"):
        return Kind(_on_policy_passes, _on_policy_networks)
    if hasattr(policy, "actor") and hasattr(policy, "critic"):
        return Kind(_actor_critic_passes, _actor_critic_networks)
    for name in ("q_net", "quantile_net"):
        if hasattr(policy, name):
            return Kind(partial(_q_passes, name), partial(_q_networks, name))
    raise TypeError(
        "Expected a policy with get_distribution() and predict_values() (PPO, A2C), with actor and critic (SAC, TD3, TQC), or "
        f"with a q_net or quantile_net (DQN, QRDQN), got {type(policy).__name__}: its neurons cannot be found."
    )


def _on_policy_passes(policy: Any, rows: Sequence[int]) -> dict[str, Callable[[], Any]]:
    seen = partial(dummy_pass.observations, policy, rows)
    return {
        "actor": lambda: policy.get_distribution(seen()),
        "critic": lambda: policy.predict_values(seen()),
        SCORING: lambda: policy.evaluate_actions(seen(), dummy_pass.actions(policy, len(rows))),
    }


def _on_policy_networks(policy: Any, acts: set[int], judges: set[int]) -> tuple[list[Network], Place]:
    networks = [
        Network("features_extractor", "shared"),
        Network("mlp_extractor", "shared"),
        Network("policy", "actor"),
        Network("value", "critic"),
    ]

    def place(unit: Unit) -> int:
        if unit.index in acts and unit.index in judges:
            return 0 if _has(policy.features_extractor, unit) else 1
        return 3 if unit.index in judges else 2

    return networks, place


def _actor_critic_passes(policy: Any, rows: Sequence[int]) -> dict[str, Callable[[], Any]]:
    seen = partial(dummy_pass.observations, policy, rows)
    passes = {
        "actor": lambda: policy.actor(seen()),
        "critic": lambda: policy.critic(seen(), dummy_pass.actions(policy, len(rows))),
    }
    if hasattr(policy.actor, "action_log_prob"):
        passes[SCORING] = lambda: policy.actor.action_log_prob(seen())
    return passes


def _actor_critic_networks(policy: Any, acts: set[int], judges: set[int]) -> tuple[list[Network], Place]:
    q_networks = list(getattr(policy.critic, "q_networks", []))
    critics = [getattr(policy.critic, "features_extractor", None), *q_networks]
    networks = [
        Network("actor", "actor"),
        Network("critic.features_extractor", "critic"),
        *(Network(f"critic.qf{i}", "critic") for i in range(len(q_networks))),
        Network("critic", "critic"),
    ]

    def place(unit: Unit) -> int:
        if unit.index in acts or _has(policy.actor, unit):  # also what both share: the actor's optimizer has it
            return 0
        holds = [i for i, part in enumerate(critics) if part is not None and _has(part, unit)]
        return 1 + (holds[0] if holds else len(critics))

    return networks, place


def _q_passes(name: str, policy: Any, rows: Sequence[int]) -> dict[str, Callable[[], Any]]:
    return {"critic": lambda: getattr(policy, name)(dummy_pass.observations(policy, rows))}


def _q_networks(name: str, policy: Any, acts: set[int], judges: set[int]) -> tuple[list[Network], Place]:
    return [Network(name, "critic")], lambda unit: 0


def _has(module: nn.Module, unit: Unit) -> bool:
    return any(parameter is unit.weight for parameter in module.parameters())
