"""Resets: networks, or their last layers, are initialised anew from time to time."""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import torch as th

from sb3_nbsp.base.arguments import Whole, check_values
from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import (
    Networks,
    check_networks,
    fresh_parameters,
    learned_parameters,
    reset_moments,
    set_with_targets,
)
from sb3_nbsp.neurons.networks import find_networks

DUE_SEED = 50_000  # what the random numbers of a reset are drawn for that the end of a training left

ARGUMENTS: dict[str, Any] = {
    "period": Annotated[int, Whole(1, "env steps")] | None,
    "at_task_end": bool,
    "n_layers": Annotated[int, Whole(1, "layers")] | None,
}


class Resets(TaskBoundaryCallback):
    """
    Every ``period`` env steps, or at the end of each task, networks are initialised anew; the replay buffer stays. Target
    networks follow at once, the optimizers forget what they knew of these parameters, and a reset of everything sets a
    learned entropy coefficient back too.

    Where a rollout goes on over a switch (PPO with ``n_steps`` that do not divide a task), what is learned from next was
    collected in part by the network before this change.

    Source: Nikishin et al. 2022 (arXiv 2205.07802; ``train_dense.py`` of ``rl_with_resets``): SAC is reset as a whole every
    200,000 env steps, SPR in its last layer.

    :param period: env steps over all sub-envs between two resets, ``None`` for none in between
    :param at_task_end: whether to reset at the end of each task; after the last one only when a training goes on: what was
        learned is there to be saved and played
    :param n_layers: how many layers of each network are reset, counted from the output layer; ``None`` for all
    :param networks: ``actor``, ``critic`` or ``all``
    :param verbose: 1 prints each task end and each reset
    """

    def __init__(
        self,
        period: int | None = 200_000,
        at_task_end: bool = False,
        n_layers: int | None = None,
        networks: Networks = "all",
        verbose: int = 0,
    ):
        super().__init__(verbose)
        check_values(ARGUMENTS, locals())
        self.period = period
        self.at_task_end = at_task_end
        self.n_layers = n_layers
        self.networks = check_networks(networks)

    def initial_state(self) -> dict[str, Any]:
        """``due``: whether the next training begins with a reset."""
        return {"due": False}

    def on_task_end(self, task: str) -> None:
        """Reset, if that is wanted."""
        if self.at_task_end and self._is_training:
            self.reset()
        elif self.at_task_end:
            self.state["due"] = True

    def _on_training_start(self) -> None:
        super()._on_training_start()
        if self.state.get("due"):
            self.state["due"] = False
            with self.own_rng(DUE_SEED):
                self.reset()

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        if self.period_is_over(self.model.num_timesteps, self.period):
            self.reset()

    @th.no_grad()
    def reset(self) -> None:
        """Reset now."""
        kept = set() if self.n_layers is None else set(self._early_parameters(self.n_layers))
        fresh = fresh_parameters(self.model)
        reset = {name: p for name, p in learned_parameters(self.model, self.networks).items() if p not in kept}
        set_with_targets(self.model.policy, {name: fresh[name] for name in reset})
        for p in reset.values():
            reset_moments(self.model, p)
        if self.n_layers is None and self.networks == "all":
            self._reset_ent_coef()
        if self.verbose:
            print(f"Resets: networks were reset after {self.model.num_timesteps} env steps")

    def _early_parameters(self, n_layers: int) -> Iterator[th.Tensor]:
        """Parameters of the hidden layers before each network's last ``n_layers`` layers, of which one is its output."""
        for network in find_networks(self.model.policy):
            # A shared features extractor has no output layer of its own: it comes before all that is counted.
            n_last = 0 if network.part == "shared" else n_layers - 1
            for layer in network.layers[: max(len(network.layers) - n_last, 0)]:
                yield from layer.own

    def _reset_ent_coef(self) -> None:
        optimizer = getattr(self.model, "ent_coef_optimizer", None)
        if optimizer is not None:
            initial = float(str(self.model.ent_coef).partition("_")[2] or 1.0)  # "auto" or "auto_<initial value>"
            self.model.log_ent_coef.data.fill_(np.log(initial))
            optimizer.state.clear()
