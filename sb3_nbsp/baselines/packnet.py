"""PackNet: every task gets weights of its own, and sees those of the tasks before it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.base.arguments import AtLeast, Whole, check_values
from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import Networks, check_networks, learned_parameters, optimizers
from sb3_nbsp.common.env_util import is_task_sequence
from sb3_nbsp.evaluation.contexts import register_context

RETRAIN_SHARE = 0.1  # 100,000 gradient steps after 1,000,000 (Continual World)

ARGUMENTS: dict[str, Any] = {
    "n_tasks": Annotated[int, Whole(1, "tasks")] | None,
    "retrain_steps": Annotated[int, Whole(0, "gradient steps")] | None,
    "clip_norm": Annotated[float, AtLeast(0, excluded=True)] | None,
}


class PackNet(TaskBoundaryCallback):
    """
    At the end of the i-th of N tasks (i = 0, 1, ...), of the weights of each layer that are free, the share 1 / (N - i) with
    the largest magnitudes becomes the task's own and is held for good; the others are set to 0. The network that is left is
    trained for a while on the task's replay buffer; then the zeros are free for the next tasks. So all tasks get equal
    shares. Biases and normalisation are held from the end of the first task on; the last task is not pruned.

    Held entries do not move at all: their gradients are zero before they are clipped, and what the optimizer does to them
    nevertheless (momentum, weight decay) is undone.

    An old task must be played with its own subnetwork, in which all later weights are 0: see :func:`subnetwork`, which our
    evaluations enter by themselves. A task that is met again counts as a new one, as in Continual World's CW20.

    Where a rollout goes on over a switch (PPO with ``n_steps`` that do not divide a task), what is learned from next was
    collected in part by the network before this change.

    Weights that feed or are read by a neuron that is always silent get no gradient: they stay 0 and are handed from task to
    task. With SB3's ReLU the third and fourth task may find hardly any others (in a small test 35 of the 1,024 weights of a
    layer's share). Continual World uses LeakyReLU: ``policy_kwargs={"activation_fn": torch.nn.LeakyReLU}``.

    Source: Mallya & Lazebnik 2018 (arXiv 1711.05769, section 3); for SAC Continual World (Wolczyk et al. 2021,
    ``continualworld/methods/packnet.py`` and ``examples/paper_cl_experiments.sh``): actor only, equal shares, 100,000 steps
    of retraining after 1,000,000, optimizers reset before and after it, gradients clipped to a norm of 2e-5 (found for an
    Adam with epsilon 1e-7).

    :param n_tasks: N; default: the number of the sequence's segments
    :param retrain_steps: gradient steps of retraining; default: a tenth of those that the task had (off-policy
        algorithms), or none (on-policy ones, which have no data left)
    :param networks: ``actor``, ``critic`` or ``all``. PPO's and gSDE's ``log_std`` is left alone: it explores.
    :param clip_norm: largest norm of the gradient of all that one optimizer trains: SAC's actor, critics and learned entropy
        coefficient each by itself, PPO's actor and critic together. ``None`` clips nothing.
    :param verbose: 1 prints each task end
    """

    acts_in_evaluation = True

    def __init__(
        self,
        n_tasks: int | None = None,
        retrain_steps: int | None = None,
        networks: Networks = "actor",
        clip_norm: float | None = 2e-5,
        verbose: int = 0,
    ):
        super().__init__(verbose)
        check_values(ARGUMENTS, locals())
        self.n_tasks = n_tasks
        self.retrain_steps = retrain_steps
        self.networks = check_networks(networks)
        self.clip_norm = clip_norm

    def initial_state(self) -> dict[str, Any]:
        """
        ``owners``: for each weight the index of the task that it belongs to; what the current task may change has its index.
        ``indices``: each ended task's index, the last where a task was met several times. ``current``: the current index.
        ``biases_free``: whether biases may still change.
        """
        weights = {name: p for name, p in self._parameters().items() if p.dim() > 1}
        owners = {name: th.zeros(p.shape, dtype=th.int16) for name, p in weights.items()}
        return {"owners": owners, "indices": {}, "current": 0, "biases_free": True}

    def _parameters(self) -> dict[str, th.nn.Parameter]:
        return {name: p for name, p in learned_parameters(self.model, self.networks).items() if name != "log_std"}

    def _on_training_start(self) -> None:
        if self.n_tasks is None:
            if not is_task_sequence(self.training_env):
                raise ValueError("PackNet shares the weights out between the tasks: without a task sequence, give n_tasks.")
            self.n_tasks = len(self.training_env.get_attr("task_sequence", 0)[0].segments)
        if self.retrain_steps and not isinstance(self.model, OffPolicyAlgorithm):
            raise ValueError(f"{type(self.model).__name__} has no data left to retrain on. Use retrain_steps=0.")
        super()._on_training_start()

    def on_task_end(self, task: str) -> None:
        """Prune, retrain, and hand what is free to the next task."""
        assert self.n_tasks is not None
        index = self.state["current"]
        self.state["indices"][task] = index
        n_left = self.n_tasks - index
        if n_left <= 1:  # the last task keeps what it has, and so does whatever comes after it
            return
        parameters = self._parameters()
        for name, owner in self.state["owners"].items():
            prune(parameters[name], owner, index, 1 / n_left)
        self.state["biases_free"] = False
        self._retrain()
        self.state["current"] = index + 1

    def _retrain(self) -> None:
        updates = self.model._n_updates - self.state["updates_before"]
        n_steps = round(RETRAIN_SHARE * updates) if self.retrain_steps is None else self.retrain_steps
        self._put_in_force()
        self._reset_optimizers()
        if n_steps == 0 or not isinstance(self.model, OffPolicyAlgorithm):
            return
        if self.model.replay_buffer is None or self.model.replay_buffer.size() == 0:
            warnings.warn("The replay buffer is empty: PackNet does not retrain what it pruned.", stacklevel=2)
            return
        self.model.train(gradient_steps=n_steps, batch_size=self.model.batch_size)
        self._reset_optimizers()

    def _reset_optimizers(self) -> None:
        for optimizer in optimizers(self.model):
            optimizer.state.clear()

    def hook(self) -> Iterator[RemovableHandle]:
        """Hold what is not the current task's: no gradient, and put back after each step of an optimizer."""
        free = {p: mask.to(p.device) for p, mask in self._free()}
        for p, mask in free.items():
            yield p.register_post_accumulate_grad_hook(partial(_keep_free_gradients, mask))
        for optimizer in optimizers(self.model):
            own = [p for group in optimizer.param_groups for p in group["params"]]
            if self.clip_norm is not None:
                yield optimizer.register_step_pre_hook(partial(_clip, own, self.clip_norm))
            held = _Held({p: free[p] for p in own if p in free})
            if held.free:
                yield optimizer.register_step_pre_hook(held.note)
                yield optimizer.register_step_post_hook(held.put_back)

    def _free(self) -> Iterator[tuple[th.nn.Parameter, th.Tensor]]:
        """What the current task may change, of parameters that it may not change all of."""
        for name, p in self._parameters().items():
            owner = self.state["owners"].get(name)
            mask = th.full(p.shape, self.state["biases_free"]) if owner is None else owner == self.state["current"]
            if not bool(mask.all()):
                yield p, mask


def prune(weights: th.Tensor, owner: th.Tensor, index: int, share: float) -> None:
    """
    Leave a task the largest of its weights; set the others to 0 and hand them to the next index.

    :param weights: a layer's weights
    :param owner: to which task's index each belongs, in their shape, on the CPU; changed in place
    :param index: the task's index
    :param share: share of its weights that it keeps, rounded to whole weights
    """
    mine = (owner == index).flatten().nonzero()[:, 0]
    magnitudes = weights.detach().abs().flatten().cpu()[mine]
    given_up = mine[magnitudes.argsort(descending=True, stable=True)[round(share * len(mine)) :]]
    owner.view(-1)[given_up] = index + 1
    weights.data.masked_fill_((owner > index).to(weights.device), 0.0)


@contextmanager
def subnetwork(model: BaseAlgorithm, task: str, method: str = "PackNet") -> Iterator[None]:
    """
    Inside the block a model plays a task that PackNet has ended with the weights that the task ended with: those of later
    tasks are 0. A model without PackNet, on a task that was not ended yet, or on the one that is being learned, also where it
    is met again, is left as it is.

    :param model: any model, also one that was loaded from a file
    :param task: the task's name
    :param method: name of the class, where it is a subclass of :class:`PackNet`
    """
    state = getattr(model, "baseline_states", {}).get(method, {})
    index = None if task == state.get("learned") else state.get("indices", {}).get(task)
    parameters = dict(model.policy.named_parameters())
    hidden = {} if index is None else {parameters[name]: owner > index for name, owner in state["owners"].items()}
    saved = [(p, p.detach().clone()) for p in hidden]
    try:
        for p, mask in hidden.items():
            p.data.masked_fill_(mask.to(p.device), 0.0)
        yield
    finally:
        for p, values in saved:
            p.data.copy_(values)


register_context("PackNet", subnetwork, module="sb3_nbsp.baselines")


class _Held:
    """Puts held entries back where they were before an optimizer's step."""

    def __init__(self, free: dict[th.nn.Parameter, th.Tensor]):
        self.free = free
        self.before: list[th.Tensor] = []

    def note(self, *_: Any) -> None:
        self.before = [p.detach().clone() for p in self.free]

    def put_back(self, *_: Any) -> None:
        for (p, mask), before in zip(self.free.items(), self.before, strict=True):
            p.data.copy_(th.where(mask, p.detach(), before))


def _keep_free_gradients(free: th.Tensor, parameter: th.Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.masked_fill_(~free, 0.0)


def _clip(parameters: list[th.Tensor], norm: float, *_: Any) -> None:
    th.nn.utils.clip_grad_norm_(parameters, norm)
