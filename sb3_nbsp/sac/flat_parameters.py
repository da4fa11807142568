"""
The parameters of a network in one flat buffer, and Adam over that buffer in one call.

The parameters stay SB3's own: each becomes a view of its stretch of the buffer (``p.data`` is pointed there), and so do
its gradient and its entries in ``optimizer.state``. Whoever looks sees the current values; whoever writes into them
writes into the buffer. What puts *other* tensors in their place (``load_state_dict`` of an optimizer, ``policy.double()``)
is noticed by :class:`~sb3_nbsp.sac.snapshot.Snapshot`, and the buffers are made anew.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch as th

from sb3_nbsp.common.faster_updates import flush_denormals
from sb3_nbsp.protection.optimizer import MaskedOptimizer, base_of
from sb3_nbsp.sac.adam_step import best_adam
from sb3_nbsp.sac.step_hooks import StepHooks, hooks_of

BLOCK = 64  # entries that are masked together
MOST_GATHERED = 0.5  # share of the blocks with a held entry, up to which only these are masked


class FlatParameters:
    """
    Parameters, one behind the other, in one buffer.

    :param groups: parameters of equal shape that stand side by side, e.g. the same layer of every critic
    """

    def __init__(self, groups: Sequence[Sequence[th.Tensor]]):
        self.groups = groups
        self.parameters = [p for group in groups for p in group]
        ends = list(accumulate(p.numel() for p in self.parameters))
        self._places = [slice(end - p.numel(), end) for p, end in zip(self.parameters, ends, strict=True)]
        # Whole blocks: their entries beyond the last parameter's are zero, and nobody's.
        filled_up = self.parameters[0].new_zeros((-(-ends[-1] // BLOCK), BLOCK))
        self.values = filled_up.view(-1)[: ends[-1]]
        th.cat([p.detach().reshape(-1) for p in self.parameters], out=self.values)
        self.blocks = filled_up
        for p, view in zip(self.parameters, self.views(self.values), strict=True):
            p.data = view

    def views(self, buffer: th.Tensor) -> list[th.Tensor]:
        """
        :param buffer: one entry per parameter entry, [n_entries]
        :return: each parameter's stretch of it, in the parameter's shape
        """
        return [buffer[place].view(p.shape) for p, place in zip(self.parameters, self._places, strict=True)]

    def layers(self, buffer: th.Tensor, n: int) -> tuple[list[th.Tensor], list[th.Tensor]]:
        """
        Look at a buffer as the layers of n networks side by side; the groups are all weights, then all biases.

        :param buffer: one entry per parameter entry, [n_entries]
        :param n: number of networks
        :return: weights [n, out, in] and biases [n, out, 1], by layer
        """
        parts = buffer.split([sum(p.numel() for p in group) for group in self.groups])
        n_layers = len(parts) // 2
        weights = [part.view(n, -1, group[0].shape[1]) for part, group in zip(parts, self.groups[:n_layers], strict=False)]
        return weights, [part.view(n, -1, 1) for part in parts[n_layers:]]

    def release(self) -> None:
        """Give every parameter memory of its own again."""
        for p in self.parameters:
            p.data = p.data.clone()


class FlatAdam:
    """
    ``torch.optim.Adam`` over a flat buffer, masked as :class:`~sb3_nbsp.protection.MaskedOptimizer` masks.

    The optimizer's state is taken over and then *is* this object's state, seen through views; ``lr``, ``betas`` and ``eps``
    are read from its parameter group at each step.

    :param flat: the parameters
    :param optimizer: their Adam, or a ``MaskedOptimizer`` around it
    """

    def __init__(self, flat: FlatParameters, optimizer: th.optim.Optimizer):
        self.flat = flat
        self.optimizer = optimizer
        self.base = base_of(optimizer)
        self.values = flat.values
        self.gradients, self.first_moments, self.second_moments = (th.zeros_like(self.values) for _ in range(3))
        # One count per parameter, as Adam has it: with autograd, each counts its own steps.
        self.steps = th.zeros(len(flat.parameters), dtype=th.promote_types(th.get_default_dtype(), th.float32))
        self._step = self.steps[0]
        self._one = th.ones_like(self._step)  # a number of Python's would be made a tensor at each step
        self._take_over_state()
        gradients = flat.views(self.gradients)
        for p, gradient in zip(flat.parameters, gradients, strict=True):
            p.grad = gradient
        # None where nobody has any: whoever registers one has this object made anew.
        self.is_hooked = any(hooks_of(optimizer, flat.parameters))
        self.hooks = StepHooks(flat.parameters, flat.views(self.values), gradients, optimizer) if self.is_hooked else None
        self.is_even = True  # all parameters have made as many steps
        self._factors: list[th.Tensor] | None = None
        self._mask: th.Tensor | None = None
        self._scales_gradient = self._scales_change = False
        self._kept = self.values[:0]  # by what changes are scaled; nothing, where nothing is held
        self._held: HeldBlocks | None = None

    def _take_over_state(self) -> None:
        views = (self.flat.views(self.first_moments), self.flat.views(self.second_moments), self.steps.unbind())
        for p, first, second, step in zip(self.flat.parameters, *views, strict=True):
            state = self.base.state[p]
            if state:
                first.copy_(state["exp_avg"])
                second.copy_(state["exp_avg_sq"])
                step.copy_(state["step"])
            state.update(step=step, exp_avg=first, exp_avg_sq=second)

    def release(self) -> None:
        """Give every parameter and every entry of the optimizer's state memory of its own again."""
        self.flat.release()
        for p in self.flat.parameters:
            p.grad = None
            state = self.base.state.get(p, {})
            state.update({name: tensor.clone() for name, tensor in state.items()})

    def step(self) -> None:
        """One step of Adam from ``gradients``; entries that are held completely stay exactly as they are."""
        if self.hooks is None:
            self._masked(self._adam)
        else:
            self.hooks.before_masks()
            self._masked(self._hooked_adam)
            self.hooks.after_masks()

    def _masked(self, adam: Callable[[], None]) -> None:
        mask = self._current_mask()
        held = self._held if mask is not None and self._scales_change else None
        if mask is not None and self._scales_gradient:
            self.gradients.mul_(mask)
        if held is not None:
            held.note()
        adam()
        if held is not None:
            held.hold()

    def _adam(self) -> None:
        self.steps += self._one
        options = self.base.param_groups[0]
        best_adam()(self.values, self.gradients, self.first_moments, self.second_moments, self._step, options)

    def _hooked_adam(self) -> None:
        """With the hooks on Adam itself; as with torch's, what they leave without a gradient makes no step."""
        assert self.hooks is not None
        resting = self.hooks.before_step()
        kept = [(tensor, tensor.clone()) for p in resting for tensor in (p.data, *self.base.state[p].values())]
        self._adam()
        for tensor, before in kept:
            tensor.copy_(before)
        self.is_even &= not resting
        self.hooks.after_step()

    def _current_mask(self) -> th.Tensor | None:
        """The factors of the ``MaskedOptimizer`` in the flat layout, [n_entries]; ``None`` where nothing is held."""
        if not isinstance(self.optimizer, MaskedOptimizer):
            return None
        if self._factors is not self.optimizer._factors:  # a new list whenever masks change
            self._factors = self.optimizer._factors
            self._mask = self._spread_mask(self.optimizer) if self.optimizer.is_masking else None
        return self._mask

    def _spread_mask(self, optimizer: MaskedOptimizer) -> th.Tensor:
        mask = th.ones_like(self.values)
        factors = dict(zip(optimizer._held, optimizer._factors, strict=True))
        for p, view in zip(self.flat.parameters, self.flat.views(mask), strict=True):
            if p in factors:
                view.copy_(factors[p])
        self._scales_gradient = optimizer.mask_target == "gradient"
        # In gradient mode Adam's change counts in full, but where f = 0 left-over momentum must not move anything.
        self._kept = (mask > 0).to(mask) if self._scales_gradient else mask
        self._held = HeldBlocks(self.flat, self._kept)
        self._scales_change = self._moves_held()
        return mask

    def _moves_held(self) -> bool:
        """Whether something would change what is held: Adam, where its change is masked; left-over momentum; a hook."""
        if not self._scales_gradient or self.hooks is not None:
            return True
        return bool(self.first_moments[self._kept == 0].any())

    def flush(self) -> None:
        """Set denormal numbers in the moments to 0."""
        flush_denormals((self.first_moments, self.second_moments), self.base.param_groups[0]["eps"])
        if self._mask is not None and self._scales_gradient:  # without momentum, what gets no gradient does not move
            self._scales_change = self._moves_held()


class HeldBlocks:
    """
    Where a step of Adam is scaled: the entries of a flat buffer whose factor is not 1, in whole blocks of it.

    :param flat: the parameters
    :param factors: f in [0, 1], [n_entries]
    """

    def __init__(self, flat: FlatParameters, factors: th.Tensor):
        self._blocks = flat.blocks
        by_block = th.ones_like(self._blocks)
        by_block.view(-1)[: len(factors)] = factors
        rows = (by_block != 1).any(dim=1).nonzero()[:, 0]
        # One pass over all of the memory is cheaper than three over most of it.
        self._rows = rows if len(rows) < MOST_GATHERED * len(self._blocks) else None
        self._factors = by_block if self._rows is None else by_block[rows]
        self._before, self._after = th.empty_like(self._factors), th.empty_like(self._factors)

    def note(self) -> None:
        """Keep what is there before the step."""
        if self._rows is None:
            self._before.copy_(self._blocks)
        else:
            th.index_select(self._blocks, 0, self._rows, out=self._before)

    def hold(self) -> None:
        """Scale the step: exactly what was before where f = 0, and what Adam made of it where f = 1."""
        if self._rows is None:
            th.lerp(self._before, self._blocks, self._factors, out=self._blocks)
        else:
            th.index_select(self._blocks, 0, self._rows, out=self._after)
            self._blocks.index_copy_(0, self._rows, self._before.lerp_(self._after, self._factors))
