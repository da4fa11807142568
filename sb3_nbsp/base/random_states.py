"""Randomness that leaves training untouched."""

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces


@contextmanager
def isolated_rng(seed: int | None = None, action_space: spaces.Space | None = None) -> Iterator[None]:
    """
    Save the global random states of Python, NumPy and torch and restore them on leaving.

    Scoring and evaluating draw random numbers. Inside this block they do so without changing what
    training draws next, so that a run is the same however often it was evaluated.

    :param seed: seed the generators inside the block; ``None`` leaves them as they stand
    :param action_space: a model's, if it acts inside the block: epsilon-greedy exploration and SB3's warm-up draw from the
        space, which has a generator of its own
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    space_state = None if action_space is None else deepcopy(action_space._np_random)
    with th.random.fork_rng():
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed % 2**32)
                th.manual_seed(seed)
                if action_space is not None:
                    action_space.seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            if action_space is not None:
                action_space._np_random = space_state  # type: ignore[assignment]


@contextmanager
def global_random_kept() -> Iterator[None]:
    """
    Inside the block, the random numbers that :class:`RandomStreams` does not exchange may be drawn and seeded at will:
    Python's own, and torch's on CUDA devices. Rollouts that take turns leave their :func:`isolated_rng` in any order.
    """
    state = random.getstate()
    on_devices = th.cuda.get_rng_state_all() if th.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(state)
        if on_devices:
            th.cuda.set_rng_state_all(on_devices)


@dataclass(frozen=True)
class RandomStates:
    """The states of the process's random streams at the time when it is made: Python's, NumPy's, torch's on the CPU."""

    python: Any = field(default_factory=random.getstate)
    numpy: Any = field(default_factory=np.random.get_state)
    torch: th.Tensor = field(default_factory=th.get_rng_state)
    seed: int = field(default_factory=th.initial_seed)  # that torch's began with
    device: th.Tensor | None = None  # of an agent's own generator on a CUDA device

    def restore(self) -> None:
        """Put the process's streams back there."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        th.set_rng_state(self.torch)


def fresh_states() -> RandomStates:
    """States that nobody has seen before, for what has no seed."""
    with isolated_rng(secrets.randbits(32)):
        return RandomStates()


class ProcessStreams:
    """The process's random streams, in the form of :class:`RandomStreams`."""

    numpy: Any = np.random
    torch: Any = None  # a th.Generator; None is torch's word for its own

    def in_use(self) -> AbstractContextManager[None]:
        """They are."""
        return nullcontext()

    def on(self, device: th.device) -> th.Generator | None:
        """torch's own generator on a device."""
        return None

    def on_device_state(self) -> th.Tensor | None:
        """Where the agent's own generator on a CUDA device stands; ``None`` where it has none."""
        return None

    def restore_on_device(self, state: th.Tensor) -> None:
        """Let it stand there."""

    # Noise is drawn ahead on a device. What is drawn and not used belongs to the place in the stream.

    drawn_ahead: Callable[[], th.Tensor | None] = staticmethod(lambda: None)  # of whoever draws it now, [steps, ...]
    left_over: th.Tensor | None = None  # of a run that goes on, to be used first

    def ahead(self) -> th.Tensor | None:
        """
        :return: noise of the coming gradient steps that is drawn already, [steps, ...]
        """
        return self.drawn_ahead() if self.left_over is None else self.left_over

    def take_left_over(self) -> th.Tensor | None:
        """
        :return: what a run that goes on had drawn and not used; the next call gives ``None``
        """
        taken, self.left_over = self.left_over, None
        return taken


class RandomStreams(ProcessStreams, AbstractContextManager[None]):
    """
    Random streams of one agent's own, beside the process's: NumPy's and torch's.

    :param start: where they begin
    """

    def __init__(self, start: RandomStates):
        self._bits = np.random.MT19937()
        self.numpy = np.random.RandomState(self._bits)
        self.numpy.set_state(start.numpy)
        self.torch = th.Generator()
        self.torch.set_state(start.torch)
        self._start = start
        self._on_device: th.Generator | None = None

    def in_use(self) -> AbstractContextManager[None]:
        """
        Inside the block they are the process's streams, for code that knows no others. It takes a few microseconds, since
        NumPy's stream is exchanged as a whole. (The second of a pair of normal numbers, which ``np.random.normal`` keeps for
        its next call, is dropped between two blocks.)
        """
        return self

    def __enter__(self) -> None:
        self._outside = np.random.get_bit_generator(), th.default_generator.get_state()  # type: ignore[attr-defined]
        np.random.set_bit_generator(self._bits)  # type: ignore[attr-defined]
        th.default_generator.set_state(self.torch.get_state())

    def __exit__(self, *_: object) -> None:
        self.torch.set_state(th.default_generator.get_state())
        th.default_generator.set_state(self._outside[1])
        np.random.set_bit_generator(self._outside[0])  # type: ignore[attr-defined]

    def on(self, device: th.device) -> th.Generator:
        """The agent's generator on a CUDA device; it begins with the seed of the one on the CPU."""
        if self._on_device is None:
            self._on_device = th.Generator(device)
            self._on_device.manual_seed(self._start.seed)
            if self._start.device is not None:
                self._on_device.set_state(self._start.device)
        return self._on_device

    def on_device_state(self) -> th.Tensor | None:
        """See :class:`ProcessStreams`."""
        return self._start.device if self._on_device is None else self._on_device.get_state()

    def restore_on_device(self, state: th.Tensor) -> None:
        """See :class:`ProcessStreams`."""
        self._start = replace(self._start, device=state)
        if self._on_device is not None:
            self._on_device.set_state(state)

    def states(self) -> RandomStates:
        """Where they stand."""
        on_device = self.on_device_state()
        start = self._start
        return RandomStates(start.python, self.numpy.get_state(), self.torch.get_state(), start.seed, on_device)
