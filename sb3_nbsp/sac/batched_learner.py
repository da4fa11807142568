"""The learner of many SAC agents: their batches, their update, and what keeps both in step with the models."""

from collections.abc import Callable, Sequence
from typing import Any

import torch as th

from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.common.finite_checks import check_losses
from sb3_nbsp.common.ram_estimate import machine_memory
from sb3_nbsp.sac.agent_batches import AgentBatches
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.batched_actor import BatchedActor
from sb3_nbsp.sac.batched_update import BatchedUpdate
from sb3_nbsp.sac.buffer_reader import BufferReader, is_plain
from sb3_nbsp.sac.cuda_graphs import CapturedFunction
from sb3_nbsp.sac.device_memory import parts_of, statement, taken_outside
from sb3_nbsp.sac.device_replay import DeviceReplay
from sb3_nbsp.sac.mirrored_rows import filled_bytes, mirror_bytes

LOSSES_INTERVAL = 100  # gradient steps after which losses are read, if no log asked for them before
MOST_OF_FREE = 0.8  # share of a device's free memory that replay buffers may take
MOST_ON_CPU = 500_000_000  # bytes of main memory that a mirror may fill: the replay buffers are there already


class BatchedLearner:
    """
    Gradient steps of P agents at once, each what the agent computes alone.

    On a CUDA device the replay buffers are mirrored beside the networks where they fit, and the step is captured in a graph.

    :param models: NBSPSAC models that fit into one :class:`~sb3_nbsp.sac.agent_stack.AgentStack` and agree in
        ``target_update_interval`` and ``clone_batch_size``
    :param streams: their random numbers
    :param check: is called with each model that has recorded losses; default: an error where one is NaN or infinite
    """

    def __init__(
        self,
        models: Sequence[Any],
        streams: Sequence[ProcessStreams],
        check: Callable[[Any], None] = check_losses,
    ):
        self.models, self._check = list(models), check
        self.stack = AgentStack(models)
        self.update = BatchedUpdate(self.stack)
        self.readers = [BufferReader(model, own) for model, own in zip(models, streams, strict=True)]
        self.replay: DeviceReplay | None = None
        self.graphs: CapturedFunction | None = None
        self._has_told = False
        self._batch: AgentBatches | None = None
        self._actors: dict[int, BatchedActor] = {}  # by number of environments
        like = self.stack.actor.first_weight
        if like.is_cuda:
            self.graphs = CapturedFunction(self.tell_failure)
        outside = taken_outside(like.device) if like.is_cuda else 0
        fits = self._mirror_fits(like)
        if like.is_cuda:
            self.say(statement(parts_of(models, fits, outside), like.device))
        if fits:
            self.replay = DeviceReplay(models, streams, like)

    def train(self, gradient_steps: int, batch_size: int, unchanged: bool = False) -> None:
        """
        :param gradient_steps: how many
        :param batch_size: B, transitions per agent and step
        :param unchanged: whether it is known that no one has exchanged parts of the models since the last call
        """
        if not unchanged:
            fit = self.stack.take_over_changes()
            assert fit, "a model that does not fit leaves the stack before"
        self._update_learning_rates()
        settings = self.update.refresh()
        n_old = self.models[0].clone_batch_size if self.update.clones else 0
        if self._batch is None or (self._batch.size, self._batch.n_old) != (batch_size, n_old):
            self._batch = AgentBatches(batch_size, n_old, self.stack)
            if self.graphs is not None:
                self.graphs.forget()
        if self.replay is not None:
            self.replay.prepare(gradient_steps, self._batch)
        interval = self.models[0].target_update_interval
        for step in range(gradient_steps):
            self._step(self._batch, step, step % interval == 0, settings)
        for model in self.models:
            model._n_updates += gradient_steps
        if self.update.n_summed >= LOSSES_INTERVAL:
            self.log_losses()

    def actor(self, n_envs: int) -> BatchedActor:
        """
        :param n_envs: environments per agent
        :return: what acts for the agents
        """
        if n_envs not in self._actors:
            streams = [reader.streams for reader in self.readers]
            self._actors[n_envs] = BatchedActor(self.stack, n_envs, streams, self.tell_failure)
        return self._actors[n_envs]

    def _update_learning_rates(self) -> None:
        """Have optimizers follow the schedules, where there is anything to follow."""
        for model in self.models:
            rate = model.lr_schedule(model._current_progress_remaining)
            if any(optimizer.param_groups[0]["lr"] != rate for optimizer in model.learning_optimizers()):
                model.update_learning_rates()

    def _step(self, batch: AgentBatches, step: int, update_target: bool, settings: tuple[Any, ...]) -> None:
        if self.replay is not None:
            self.replay.before_step(batch, step)
        else:
            for agent, reader in enumerate(self.readers):
                reader.read(batch, agent)

        def compute() -> None:
            if self.replay is not None:
                self.replay.load(batch, self.update.gamma)
            self.update.step(batch, update_target)

        if self.graphs is None:
            compute()
        else:
            self.graphs.run(compute, (settings, update_target, self._mirror()))
        self.update.stepped(1)

    def _mirror(self) -> tuple[int, ...]:
        """Where the mirror of the replay buffers is: it moves where it grows."""
        return () if self.replay is None else self.replay.addresses()

    def log_losses(self) -> None:
        """Have every model record its mean losses since the last call, if there was a step. Waits for the device."""
        if self.update.n_summed:
            for model, (losses, cloning_loss) in zip(self.models, self.update.losses(), strict=True):
                model.logger.record("train/learning_rate", model.actor.optimizer.param_groups[0]["lr"])
                model._log_losses([losses])
                if model.cloning.is_due():
                    model.logger.record("nbsp/cloning_loss", cloning_loss)
                self._check(model)

    def give_back(self) -> None:
        """Give every model memory of its own again."""
        for agent in range(len(self.models)):
            self.stack.give_back(agent)

    def is_current(self) -> bool:
        """Whether all models consist of the stack's tensors still."""
        return all(self.stack.is_current(agent) for agent in range(len(self.models)))

    def _mirror_fits(self, like: th.Tensor) -> bool:
        plain = all(map(is_plain, self.models))
        needed = mirror_bytes(self.models, like.element_size()) if plain else 0
        if not like.is_cuda:  # one reading of all batches instead of many small ones
            # Rows that are never filled take no main memory, only its addresses.
            filled = filled_bytes(self.models, like.element_size()) if plain else 0
            return plain and filled <= MOST_ON_CPU and needed <= (machine_memory() or 0)
        if not plain:
            self.say("Batches are sampled in main memory: a replay buffer is of another class, or VecNormalize is used.")
            return False
        free, _ = th.cuda.mem_get_info(like.device)
        fits = needed <= MOST_OF_FREE * free
        where = f"are kept on {like.device}" if fits else f"do not fit on {like.device}, so batches are sampled in main memory"
        what = "The replay buffer and memory" if len(self.models) == 1 else f"{len(self.models)} replay buffers and memories"
        self.say(f"{what} ({needed / 1e9:.2f} GB) {where} ({free / 1e9:.1f} GB free).")
        return fits

    def tell_failure(self, reason: str) -> None:
        """
        Say, once for acting and learning, that something is not captured.

        :param reason: why
        """
        if not self._has_told:
            self._has_told = True
            self.say(f"Not everything could be captured in a CUDA graph, so training is slower: {reason}")

    def say(self, line: str) -> None:
        """Print a line, where any model is to say something."""
        if any(model.verbose >= 1 for model in self.models):
            print(line)
