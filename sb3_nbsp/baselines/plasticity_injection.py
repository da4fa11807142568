"""Plasticity injection: what the network has learned is frozen, and a new one learns what is to be added to it."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from sb3_nbsp.baselines.base import Removable, TaskBoundaryCallback, is_in_force
from sb3_nbsp.baselines.parameters import check_count, fresh_parameters, of_target, reset_moments, set_with_targets
from sb3_nbsp.common.added_networks import AddedNetworks, Part
from sb3_nbsp.evaluation.contexts import register_context

NAME = "PlasticityInjection"
Values = Mapping[str, th.Tensor]  # parameters by their names inside the policy


class PlasticityInjection(TaskBoundaryCallback):
    """
    At a task's end each network h, all that stands behind the features extractor, becomes

        h_theta(x) + h_theta1(x) - h_theta2(x),    theta1 = theta2 drawn anew,

    in which theta and theta2 are frozen and theta1 learns. What the networks put out is the same at first, while what learns
    is new. The features extractor goes on learning. With the next injection theta1 is frozen as well, and so on.

    The policy's own parameters are theta1, so that its shapes, optimizers and files are as always; theta and theta2 are kept
    with the model. While it is trained they are added by themselves. A model that is at rest, or was loaded, must play inside
    :func:`injected`, which our evaluations enter by themselves; without it only the newest network plays.

    Target networks get the same frozen parts as the networks that they follow. The optimizers forget what they knew of theta.

    Where a rollout goes on over a switch (PPO with ``n_steps`` that do not divide a task), what is learned from next was
    collected in part by the network before this change.

    Source: Nikishin et al. 2023 (arXiv 2305.15555, expression 1). The authors inject once into agents of one task; with
    ``n_injections=1`` so does this. At each task's end is our choice for sequences.

    :param n_injections: at how many task ends, from the first on; ``None`` for all
    :param verbose: 1 prints each task end
    :raises ValueError: with gSDE
    :raises TypeError: for TD3 and DDPG, and for a policy of another structure
    """

    acts_in_evaluation = True
    before_consolidation = False

    def __init__(self, n_injections: int | None = None, verbose: int = 0):
        super().__init__(verbose)
        self.n_injections = n_injections if n_injections is None else check_count("n_injections", n_injections)

    def initial_state(self) -> dict[str, Any]:
        """``injections``: for each ``old``, theta, and ``new``, theta2, by the parameters' names."""
        return {"injections": []}

    def _init_callback(self) -> None:
        if getattr(self.model, "use_sde", False):
            raise ValueError("Plasticity injection is not made for gSDE (use_sde=True), whose noise reads the hidden layers.")
        heads(self.model.policy)
        super()._init_callback()

    @th.no_grad()
    def on_task_end(self, task: str) -> None:
        """Freeze what has learned, and begin with new networks."""
        injections = self.state["injections"]
        if self.n_injections is not None and len(injections) >= self.n_injections:
            return
        policy = self.model.policy
        paths = {path for head in heads(policy) for path in head.paths}
        own = {name: p for name, p in policy.named_parameters() if any(name.startswith(f"{path}.") for path in paths)}
        fresh = fresh_parameters(self.model)
        injections.append(
            {
                "old": {name: p.detach().cpu().clone() for name, p in own.items()},
                "new": {name: fresh[name].cpu().clone() for name in own},
            }
        )
        set_with_targets(policy, {name: fresh[name] for name in own})
        for p in own.values():
            reset_moments(self.model, p)

    def hook(self) -> Iterator[Removable]:
        """Add what is frozen."""
        yield from frozen_parts(self.model.policy, self.state["injections"])


@dataclass(frozen=True)
class Head:
    """
    A network behind the features.

    :param body: path of what gets the features, inside the policy
    :param outputs: paths of what gives the outputs: what reads the body's, or the body itself
    """

    body: str
    outputs: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """All that belongs to it."""
        return tuple(dict.fromkeys((self.body, *self.outputs)))


def heads(policy: nn.Module) -> list[Head]:
    """
    :param policy: of SAC, TQC, DQN, QRDQN, PPO or A2C
    :return: its networks without target networks
    :raises TypeError: for TD3 and DDPG, whose actor squashes what a sum would be taken of, and for another structure
    """
    names = [name for name, _ in policy.named_modules()]
    two_parts = (
        Head("actor.latent_pi", ("actor.mu", "actor.log_std")),
        Head("mlp_extractor.policy_net", ("action_net",)),
        Head("mlp_extractor.value_net", ("value_net",)),
    )
    found = [head for head in two_parts if head.body in names]
    if "actor.mu" in names and "actor.latent_pi" not in names:
        raise TypeError(
            f"Plasticity injection adds networks' outputs up. {type(policy).__name__}'s actor puts out actions that are "
            "squashed already: their sum would leave the action space. Use SAC or TQC."
        )
    whole = ["q_net.q_net", "quantile_net.quantile_net"]
    whole += [name for name in names if name.startswith("critic.qf") and name.count(".") == 1]
    found += [Head(name, (name,)) for name in whole if name in names]
    if not found:
        raise TypeError(f"Expected a policy of SAC, TQC, DQN, QRDQN, PPO or A2C, got {type(policy).__name__}.")
    return found


def frozen_parts(policy: nn.Module, injections: list[dict[str, Values]]) -> Iterator[Removable]:
    """
    Add the frozen networks to a policy's, those of target networks too.

    :param policy: the policy
    :param injections: see :meth:`PlasticityInjection.initial_state`
    :return: what takes them off again
    """
    if not injections:
        return
    names = {name for name, _ in policy.named_modules() if name}
    for head in heads(policy):
        yield from _hang(policy, head, injections)
        if of_target(head.body) in names:
            yield from _hang(policy, head, injections, of_target)


def _hang(
    policy: nn.Module, head: Head, injections: list[dict[str, Values]], rename: Callable[[str], str] = str
) -> Iterator[Removable]:
    """Add h_old(x) - h_new(x) of each injection to a head's outputs, or, with another name, to its target's."""
    signs = {"old": 1.0, "new": -1.0}
    parts = [_part(policy, head, sign, injection[which]) for injection in injections for which, sign in signs.items()]
    body, *apart = (policy.get_submodule(rename(path)) for path in head.paths)
    yield from AddedNetworks(tuple(parts)).hang(body, apart)


def _part(policy: nn.Module, head: Head, sign: float, values: Values) -> Part:
    body, *apart = (_copy(policy, path, values) for path in head.paths)
    return Part(sign, body, apart)


def _copy(policy: nn.Module, path: str, values: Values) -> nn.Module:
    """A frozen copy of a part, with other parameters, and without the hooks that hang on it now."""
    module = policy.get_submodule(path)
    hung = [(part, part._forward_hooks, part._forward_pre_hooks) for part in module.modules()]
    try:
        for part, _, _ in hung:
            part._forward_hooks, part._forward_pre_hooks = OrderedDict(), OrderedDict()
        copy = deepcopy(module).requires_grad_(False)
    finally:
        for part, after, before in hung:
            part._forward_hooks, part._forward_pre_hooks = after, before
    for name, p in copy.named_parameters():
        p.data.copy_(values[f"{path}.{name}"])
    return copy


@contextmanager
def injected(model: BaseAlgorithm, task: str = "") -> Iterator[None]:
    """
    Inside the block a model plays with all that plasticity injection has frozen; it is the same for all tasks.

    :param model: any model, also one that was loaded from a file; while it is trained with the method nothing is left to do
    :param task: the task's name, not used
    """
    state = getattr(model, "baseline_states", {}).get(NAME, {})
    with ExitStack() as stack:
        if not is_in_force(model, NAME):
            for handle in frozen_parts(model.policy, state.get("injections", [])):
                stack.callback(handle.remove)
        yield


register_context(NAME, injected, module="sb3_nbsp.baselines")
