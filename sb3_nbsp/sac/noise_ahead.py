"""Noise that is drawn on a device for many gradient steps at once, and goes on from a checkpoint where it stood."""

import warnings
import weakref
from collections.abc import Callable, Sequence

import torch as th

from sb3_nbsp.base.random_states import ProcessStreams

NOISE_STEPS = 50  # gradient steps for which it is drawn: a launch per agent and step would cost more than the step


class NoiseAhead:
    """
    Noise of P agents.

    :param streams: the agents' random numbers, which are told what is drawn and not used
    """

    def __init__(self, streams: Sequence[ProcessStreams]):
        self._streams = list(streams)
        self._noise = th.empty(0)  # [NOISE_STEPS, P, ...]
        self._n_used = NOISE_STEPS
        for agent, own in enumerate(self._streams):
            own.drawn_ahead = _asked_of(weakref.ref(self), agent)

    def take(self, drawn: th.Tensor) -> None:
        """
        :param drawn: where the noise of a gradient step goes, [P, ...]
        """
        if self._noise.shape[1:] != drawn.shape:
            self._noise = drawn.new_empty(NOISE_STEPS, *drawn.shape)
            self._n_used = NOISE_STEPS
        if self._n_used == NOISE_STEPS:
            self._draw()
        drawn.copy_(self._noise[self._n_used])
        self._n_used += 1

    def _draw(self) -> None:
        left = [streams.take_left_over() for streams in self._streams]
        if any(part is not None for part in left) and self._goes_on_with(left):
            return
        self._n_used = 0
        for agent, streams in enumerate(self._streams):
            self._noise[:, agent].normal_(generator=streams.on(self._noise.device))

    def _goes_on_with(self, left: Sequence[th.Tensor | None]) -> bool:
        """Whether what checkpoints have left over is of one place for all agents."""
        parts = [part for part in left if part is not None]
        shapes = {tuple(part.shape) for part in parts}
        if len(parts) < len(left) or shapes != {(len(parts[0]), *self._noise.shape[2:])}:
            warnings.warn(
                "These agents go on from checkpoints that stand at different gradient steps, or with another batch size: they "
                "go on, but not to the bit.",
                stacklevel=2,
            )
            return False
        self._n_used = NOISE_STEPS - len(parts[0])
        for agent, part in enumerate(parts):
            self._noise[self._n_used :, agent].copy_(part)
        return True

    def left_of(self, agent: int) -> th.Tensor | None:
        """
        :param agent: its number
        :return: what is drawn for it and not used, [steps, ...]
        """
        return None if self._n_used == NOISE_STEPS else self._noise[self._n_used :, agent].clone()


def _asked_of(noise: "weakref.ref[NoiseAhead]", agent: int) -> Callable[[], th.Tensor | None]:
    """The streams live longer than the noise, whose memory they must not hold."""

    def ahead() -> th.Tensor | None:
        there = noise()
        return None if there is None else there.left_of(agent)

    return ahead
