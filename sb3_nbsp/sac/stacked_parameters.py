"""
The parameters of many agents in one flat buffer, and Adam over it in one call.

As for one agent (:mod:`sb3_nbsp.sac.flat_parameters`) parameters stay SB3's own and become views. Layer by layer the agents'
parameters stand side by side, so that a layer of all of them is one block [P * n, out, in].
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch as th

from sb3_nbsp.common.faster_updates import FLUSH_INTERVAL, flush_denormals
from sb3_nbsp.protection.optimizer import MaskedOptimizer, base_of
from sb3_nbsp.sac.adam_step import best_adam, plain_adam
from sb3_nbsp.sac.flat_parameters import FlatParameters

Groups = list[list[th.Tensor]]


class StackedParameters(FlatParameters):
    """
    The parameters of P agents in one buffer, each agent's likes side by side.

    :param agents: by agent, its parameters in groups, see :class:`~sb3_nbsp.sac.flat_parameters.FlatParameters`; all agents'
        groups have the same shapes
    """

    def __init__(self, agents: Sequence[Groups]):
        self.n_agents = len(agents)
        super().__init__([[p for groups in agents for p in groups[g]] for g in range(len(agents[0]))])
        sizes = [len(group) for group in agents[0]]
        starts = [sum(sizes[:g]) * self.n_agents for g in range(len(sizes))]
        self.places_of = [
            [start + agent * size + i for start, size in zip(starts, sizes, strict=True) for i in range(size)]
            for agent in range(self.n_agents)
        ]
        self.own_views = self.views(self.values)

    def put(self, agent: int, groups: Groups) -> None:
        """
        Take over an agent's parameters, with their values.

        :param agent: its number
        :param groups: its parameters now, which may be others than before
        """
        for place, p in zip(self.places_of[agent], [p for group in groups for p in group], strict=True):
            view = self.own_views[place]
            if p.data_ptr() != view.data_ptr():
                view.copy_(p.data)
                p.data = view
            self.parameters[place] = p

    def give_back(self, agent: int) -> None:
        """Give an agent's parameters memory of their own again."""
        for place in self.places_of[agent]:
            self.parameters[place].data = self.parameters[place].data.clone()


class _Part(NamedTuple):
    """Tensors that Adam steps with the same numbers, each with its step count."""

    values: list[th.Tensor]
    gradients: list[th.Tensor]
    first_moments: list[th.Tensor]
    second_moments: list[th.Tensor]
    steps: list[th.Tensor]
    rate: Any  # a number, or on a CUDA device a tensor
    constants: tuple[float, ...]  # both betas and eps


class StackedAdam:
    """
    ``torch.optim.Adam`` of P agents over a stacked buffer, masked as their :class:`~sb3_nbsp.protection.MaskedOptimizer` mask.

    Each agent keeps its learning rate, ``betas``, ``eps``, step count and mask. Nothing in :meth:`step` is read by Python, so
    that a CUDA graph can hold it: what may change between two steps is looked at in :meth:`refresh`.

    :param flat: the parameters
    :param optimizers: their Adams or the ``MaskedOptimizer`` around them, by agent
    """

    def __init__(self, flat: StackedParameters, optimizers: Sequence[th.optim.Optimizer]):
        self.flat = flat
        self.optimizers = list(optimizers)
        self.values = flat.values
        self.gradients, self.first_moments, self.second_moments = (th.zeros_like(flat.values) for _ in range(3))
        # On a CUDA device the kernel wants counts in 32 bits.
        kind = th.float32 if flat.values.is_cuda else th.promote_types(th.get_default_dtype(), th.float32)
        self.steps = th.zeros(len(flat.parameters), device=flat.values.device, dtype=kind)
        self.rates = th.zeros(flat.n_agents, device=flat.values.device, dtype=kind)
        self._options: list[tuple[float, ...]] = []  # of Adam, by agent: learning rate, both betas, eps
        self._counts = [0.0] * flat.n_agents
        self._is_level = False  # whether all have made as many steps
        self._groups: tuple[tuple[int, ...], ...] = ()  # of agents that are stepped together
        self._constants: tuple[tuple[float, ...], ...] = ()  # the options without learning rates: a graph has them in it
        self._masks: th.Tensor | None = None  # what gradients are multiplied by, and what changes are: made when first needed
        self._mask_views: list[list[th.Tensor]] = []
        self._masked = [False] * flat.n_agents
        self._seen: list[Any] = [None] * flat.n_agents
        self._before: th.Tensor | None = None
        self.is_masking = self.masks_gradients = False
        self._since_flush = 0
        self._gradient_views, self._first_views, self._second_views = (
            flat.views(buffer) for buffer in (self.gradients, self.first_moments, self.second_moments)
        )
        self._step_views = self.steps.unbind()
        for agent in range(flat.n_agents):
            self.put(agent, self.optimizers[agent])

    def put(self, agent: int, optimizer: th.optim.Optimizer) -> None:
        """
        Take over an agent's optimizer with its state.

        :param agent: its number; its parameters are in the stack already
        :param optimizer: its optimizer now
        """
        self.optimizers[agent] = optimizer
        self._seen[agent] = None
        states = base_of(optimizer).state
        for place in self.flat.places_of[agent]:
            p = self.flat.parameters[place]
            p.grad = self._gradient_views[place]
            views = {
                "step": self._step_views[place], "exp_avg": self._first_views[place], "exp_avg_sq": self._second_views[place]
            }  # fmt: skip
            state = states[p]
            for name, view in views.items():
                if not state:
                    view.zero_()
                elif state[name] is not view:
                    view.copy_(state[name])
            state.update(views)
        self._counts[agent] = float(self._step_views[self.flat.places_of[agent][0]])

    def give_back(self, agent: int) -> None:
        """Give an agent's parameters and optimizer state memory of their own again."""
        self.flat.give_back(agent)
        for place in self.flat.places_of[agent]:
            p = self.flat.parameters[place]
            p.grad = None
            state = base_of(self.optimizers[agent]).state.get(p, {})
            state.update({name: tensor.clone() for name, tensor in state.items()})
            if state:  # where torch's Adam has it
                state["step"] = state["step"].cpu()

    def refresh(self) -> tuple[Any, ...]:
        """
        Look what has changed outside: options of Adam and masks.

        :return: what decides which operations :meth:`step` consists of: with another value a captured graph is out of date
        """
        groups = [optimizer.param_groups[0] for optimizer in self.optimizers]
        options = [(float(group["lr"]), *group["betas"], group["eps"]) for group in groups]
        is_level = len(set(self._counts)) == 1
        if (options, is_level) != (self._options, self._is_level):
            self._options, self._is_level = options, is_level
            self._groups = self._groups_of_agents()
            self._constants = tuple(option[1:] for option in options)
            self.rates.copy_(th.tensor([option[0] for option in options], dtype=self.rates.dtype))
        for agent, optimizer in enumerate(self.optimizers):
            if isinstance(optimizer, MaskedOptimizer) and self._seen[agent] is not optimizer._factors:
                self._seen[agent] = optimizer._factors
                self._spread_mask(agent, optimizer)
        self.is_masking = self._masks is not None and any(self._masked)
        self.masks_gradients = self.is_masking and any(
            isinstance(o, MaskedOptimizer) and o.mask_target == "gradient" and o.is_masking for o in self.optimizers
        )
        return self.is_masking, self.masks_gradients, self._groups, self._constants

    def _spread_mask(self, agent: int, optimizer: MaskedOptimizer) -> None:
        if self._masks is None:
            if not optimizer.is_masking:
                return
            self._masks = th.ones(2, len(self.values), device=self.values.device, dtype=self.values.dtype)
            self._mask_views = [self.flat.views(mask) for mask in self._masks]
            self._before = th.empty_like(self.values)
        self._masked[agent] = optimizer.is_masking
        of_gradients, of_changes = self._mask_views
        factors = dict(zip(optimizer._held, optimizer._factors, strict=True))
        for place in self.flat.places_of[agent]:
            gradient, change = of_gradients[place].fill_(1.0), of_changes[place].fill_(1.0)
            f = factors.get(self.flat.parameters[place])
            if f is None:
                continue
            if optimizer.mask_target == "update":
                change.copy_(f)
            else:  # Adam's change counts in full, but where f = 0 left-over momentum must not move anything
                gradient.copy_(f)
                change.copy_(f > 0)

    def _groups_of_agents(self) -> tuple[tuple[int, ...], ...]:
        """Agents with the same options of Adam, if all have made as many steps; else each agent by itself."""
        if not self._is_level:
            return tuple((agent,) for agent in range(self.flat.n_agents))
        options = self._options
        return tuple(tuple(agent for agent, other in enumerate(options) if other == one) for one in dict.fromkeys(options))

    def step(self) -> None:
        """One step of Adam from ``gradients``; entries that are held completely stay exactly as they are."""
        if self.masks_gradients:
            assert self._masks is not None
            self.gradients.mul_(self._masks[0])
        if self.is_masking:
            assert self._before is not None
            self._before.copy_(self.values)
        self.steps += 1
        for part in self._parts():
            _adam(part)
        if self.is_masking:  # exactly what was before where f = 0, and what Adam made of it where f = 1
            assert self._masks is not None and self._before is not None
            th.lerp(self._before, self.values, self._masks[1], out=self.values)

    def _parts(self) -> Iterator[_Part]:
        """What is to be stepped, by options of Adam."""
        buffers = (self.values, self.gradients, self.first_moments, self.second_moments)
        if len(self._groups) == 1:
            values, gradients, first, second = ([buffer] for buffer in buffers)
            yield _Part(values, gradients, first, second, [self.steps[0]], *self._options_for(0))
            return
        views = [self.flat.views(buffer) for buffer in buffers]
        for group in self._groups:
            places = [place for agent in group for place in self.flat.places_of[agent]]
            values, gradients, first, second = ([view[place] for place in places] for view in views)
            steps = [self.steps[place] for place in places]
            yield _Part(values, gradients, first, second, steps, *self._options_for(group[0]))

    def _options_for(self, agent: int) -> tuple[Any, tuple[float, ...]]:
        """Its learning rate, which on a CUDA device no graph has in it, and the other options."""
        rate, *_ = self._options[agent]
        return self.rates[agent] if self.values.is_cuda else rate, self._constants[agent]

    def stepped(self, n: int) -> None:
        """
        Note that :meth:`step` ran, in a graph or not. On the CPU moments are kept from decaying into denormal numbers.

        :param n: how often
        """
        self._counts = [count + n for count in self._counts]
        self._since_flush += n
        if self._since_flush >= FLUSH_INTERVAL:
            self._since_flush = 0
            flush_denormals((self.first_moments, self.second_moments), min(eps for *_, eps in self._constants))


def _adam(part: _Part) -> None:
    """One step of Adam, in one call where this torch has the kernel. The steps count this one already."""
    beta1, beta2, eps = part.constants
    if not part.values[0].is_cuda and best_adam() is plain_adam:
        for tensors in zip(*part[:5], strict=True):
            plain_adam(*tensors, {"lr": part.rate, "betas": (beta1, beta2), "eps": eps})
        return
    th._fused_adam_(
        *part[:4],
        [],
        part.steps,
        lr=part.rate,
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=eps,
        amsgrad=False,
        maximize=False,
    )
