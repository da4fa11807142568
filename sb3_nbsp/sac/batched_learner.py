"""The learner of many SAC agents: their batches, their update, and what keeps both in step with the models."""

from collections.abc import Sequence
from typing import Any

from sb3_nbsp.base.random_states import RandomStreams
from sb3_nbsp.sac.agent_batches import AgentBatches
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.batched_update import BatchedUpdate
from sb3_nbsp.sac.buffer_reader import BufferReader


class BatchedLearner:
    """
    Gradient steps of P agents at once, each what the agent computes alone.

    :param models: NBSPSAC models that fit into one :class:`~sb3_nbsp.sac.agent_stack.AgentStack` and agree in
        ``target_update_interval``
    :param streams: their random numbers
    """

    def __init__(self, models: Sequence[Any], streams: Sequence[RandomStreams]):
        self.models = list(models)
        self.stack = AgentStack(models)
        self.update = BatchedUpdate(self.stack)
        self._readers = [BufferReader(model, of_it) for model, of_it in zip(models, streams, strict=True)]
        self._batch: AgentBatches | None = None

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """
        :param gradient_steps: how many
        :param batch_size: B, transitions per agent and step
        """
        self.stack.take_over_changes()
        for model in self.models:
            model.update_learning_rates()
        self.update.refresh()
        if self._batch is None or self._batch.size != batch_size:
            self._batch = AgentBatches(batch_size, self.stack)
        for i in range(gradient_steps):
            for agent, reader in enumerate(self._readers):
                reader.read(self._batch, agent)
            self.update.step(self._batch, update_target=i % self.models[0].target_update_interval == 0)
            self.update.stepped(1)
        for model in self.models:
            model._n_updates += gradient_steps

    def log_losses(self) -> None:
        """Have every model record its mean losses since the last call, if there was a step. Waits for the device."""
        if self.update.n_summed:
            for model, losses in zip(self.models, self.update.losses(), strict=True):
                model._log_losses([losses])

    def give_back(self) -> None:
        """Give every model memory of its own again."""
        for agent in range(len(self.models)):
            self.stack.give_back(agent)
