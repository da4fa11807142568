"""Many agents that learn together: ten seeds for the price of fewer."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_nbsp.base.finite import NotFiniteError
from sb3_nbsp.base.interruption import Stopped
from sb3_nbsp.common.parents_arguments import check_learn
from sb3_nbsp.population.agreement import check_agreement, check_callbacks
from sb3_nbsp.population.member import Member
from sb3_nbsp.population.own_log import own_log
from sb3_nbsp.population.own_random import give_own_action_spaces, own_streams
from sb3_nbsp.population.rollouts import play_ahead
from sb3_nbsp.sac.batched_learner import BatchedLearner
from sb3_nbsp.sac.stack_kind import find_stack_obstacle, kind_of

Self = TypeVar("Self", bound="Population")

# Widest hidden layer, in neurons, up to which one thread of a CPU computes many agents' updates faster together than one after
# another (docs/performance.md): 2.0 times as fast at 64 and a batch of 64, 1.2 to 1.4 times at 128, as fast at 256.
WIDEST_ON_CPU = 128

CHECK_INTERVAL = 50  # trainings after which every model is looked at, whatever its callbacks are


class Population:
    """
    Train several NBSPSAC models in lock-step, with one batched program for acting and for the gradient steps.

    Each member is what it would be alone: it has its own env, random numbers (continued from where its constructor's seed
    left them), settings, memory, masks, callbacks and logger, and it can be used in between as ever. What is computed
    together is the same up to rounding. A population of one does on the CPU what its ``learn()`` does, bit for bit. (Several
    that draw an odd number of normal numbers at a time with ``np.random``, as action noise for a single action does, draw
    others than each would alone.)

    :param models: NBSPSAC models that agree in what shapes their training: networks, spaces, number of sub-envs, batch size,
        ``train_freq``, gradient steps, warm-ups, target update interval, task lengths. Learning rate, discount, tau, entropy
        target, masks, memory and scoring may differ.
    :raises TypeError: for no list of models, for models that are no NBSPSAC, or have a training loop of their own
    :raises ValueError: for models that differ in what they must agree in; it is named
    """

    def __init__(self, models: Sequence[Any]):
        check_agreement(models)
        self.models = list(models)
        self.failed: dict[int, Exception] = {}  # by number: who left the last learn() by an error; the others came to its end
        self._learner: BatchedLearner | None = None
        self._members: list[Member] = []  # those that are computed together
        self._n_rounds = 0  # of gradient steps, of all that are in the stack

    def learn(
        self: Self,
        total_timesteps: int,
        callbacks: Sequence[MaybeCallback] | None = None,
        log_interval: int | None = 4,
        tb_log_name: str = "SAC",
        reset_num_timesteps: bool = True,
    ) -> Self:
        """
        Train all members.

        :param total_timesteps: env steps of each member
        :param callbacks: by member what SB3's ``learn()`` takes; a callback belongs to one member. Where it stops the
            training, its member leaves and the others go on; so does one that diverges, or whose callback or env fails.
        :param log_interval: episodes between two lines of a member's log
        :param tb_log_name: see SB3
        :param reset_num_timesteps: see SB3; each member's curves go on in a folder of their own
        :raises TypeError: see the class; and for callbacks that are no list
        :raises ValueError: see the class; and for another number of callbacks than of members, or one that two members share
        :raises NotFiniteError: at the end, where a member has diverged, or before the first step, where one is diverged; it is
            named
        :raises Exception: at the end, or before the first step: what a member's callback or env has raised
        """
        setup = {"reset_num_timesteps": reset_num_timesteps, "tb_log_name": tb_log_name}
        check_learn((total_timesteps,), {"log_interval": log_interval, **setup})
        check_agreement(self.models)
        callbacks = [None] * len(self.models) if callbacks is None else callbacks
        check_callbacks(callbacks, len(self.models))
        self.failed = {}
        give_own_action_spaces(self.models)
        with own_streams(self.models) as streams:
            running = [Member(model, own) for model, own in zip(self.models, streams, strict=True)]
            try:
                for member, callback in zip(running, callbacks, strict=True):
                    with own_log(member.model, self.models, tb_log_name, reset_num_timesteps):
                        member.set_up(total_timesteps, callback, log_interval, **setup)
                self._raise_first_error(running)
                self._play_ahead([member for member in running if member.coming_evaluation is not None])
                for member in running:
                    member.begin()
                self._raise_first_error(running)
                self._run(running)
            finally:
                self._dissolve()
                for model in self.models:
                    model.is_learning, model.taken_steps = False, None  # what an interruption left is for no other training
        self._raise_first_error(running)
        return self

    def _raise_first_error(self, members: Sequence[Member]) -> None:
        """
        :raises Exception: that of the first member that has one; all of them are named
        """
        errors = {f"member {n} (seed {m.model.seed})": m.error for n, m in enumerate(members) if m.error is not None}
        if not errors:
            return
        (name, error), *more = errors.items()
        others = "".join(f" So did {other}, with {found!r}." for other, found in more)
        if isinstance(error, NotFiniteError):
            raise NotFiniteError(f"In a population {name} left with this error: {error}{others}") from error
        # A note is printed with the error; Python 3.10 has none.
        getattr(error, "add_note", print)(f"In a population {name} left with this error.{others}")
        raise error

    def _run(self, members: list[Member]) -> None:
        running = self._without_leavers(members)
        while running:
            self._collect(running)
            staying = [member for member in running if not member.has_stopped]
            if staying:
                self._train(staying)
            running = self._without_leavers(running)
        self.failed = {number: member.error for number, member in enumerate(members) if member.error is not None}

    def _without_leavers(self, running: list[Member]) -> list[Member]:
        """End the members that are done."""
        done = [member for member in running if member.is_done]
        self._play_ahead([member for member in done if member.error is None and member.awaits_rollout])
        if done and self._learner is not None:
            self._dissolve()
        for member in done:
            member.end()
        return [member for member in running if member not in done]

    # Acting

    def _collect(self, running: list[Member]) -> None:
        """``collect_rollouts`` of all: ``train_freq`` env steps."""
        self._begin_rollouts(running)
        n_steps = running[0].model.train_freq.frequency
        for step in range(n_steps):
            playing = [member for member in running if not member.has_stopped]
            if not playing:
                break
            actions = self._act(playing)
            for member, action in zip(playing, actions, strict=True):
                member.send_action(action)
            is_last = step == n_steps - 1
            # One after another: workers go on with the envs of those who come later.
            awaiting = [member for member in playing if not (member.has_stopped or member.end_step(is_last))]
            self._play_ahead(awaiting)
            for member in awaiting:
                member.finish_step(is_last)

    def _play_ahead(self, members: list[Member]) -> None:
        """Score and evaluate at once what is about to be scored and evaluated member by member."""
        if len(members) < 2:
            return
        learner = self._acting_learner()
        agents = {id(member): agent for agent, member in enumerate(self._members)}
        play_ahead(members, agents, None if learner is None else learner.actor)

    def _acting_learner(self) -> BatchedLearner | None:
        """The learner, with the actors as they are now; where one of them does not fit any more, there is none."""
        if self._learner is not None and not self._learner.stack.take_over_changes(actors_only=True):
            self._dissolve()
        return self._learner

    def _begin_rollouts(self, running: list[Member]) -> None:
        """Where someone asks for a stop, all members come to it at the same step, each with its checkpoint."""
        waiting, stopped = list(running), None
        awaiting = []  # whose tasks have ended
        for member in running:
            try:
                if not member.begin_rollout():
                    awaiting.append(member)
            except Stopped as error:
                stopped = error
                waiting.remove(member)
        if stopped is not None:
            for member in waiting:
                with suppress(Stopped):
                    member.stop_here()
            raise stopped
        self._play_ahead(awaiting)
        for member in awaiting:
            member.start_rollout()

    def _act(self, playing: list[Member]) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """By member what its policy does next; ``None`` where the model is to choose by itself."""
        # One that has stopped is in the stack to the rollout's end, but draws no more.
        acting = [member in playing and not member.explores_at_random for member in self._members]
        learner = self._acting_learner() if any(acting) else None
        if learner is None:
            return [None] * len(playing)
        actions, scaled = learner.actor(playing[0].model.n_envs).act([member.model for member in self._members], acting)
        drawn = zip(actions, scaled, strict=True)
        by_member = {id(m): pair for m, pair, acts in zip(self._members, drawn, acting, strict=True) if acts}
        return [by_member.get(id(member)) for member in playing]

    # Learning

    def _train(self, staying: list[Member]) -> None:
        ready = [member for member in staying if member.is_ready_to_train and member.gradient_steps > 0]
        together = self._together(ready)
        if together:
            assert self._learner is not None
            self._learner.train(together[0].gradient_steps, together[0].model.batch_size, unchanged=True)
        for member in ready:
            if member not in together:
                member.train_alone()

    def _together(self, ready: list[Member]) -> list[Member]:
        """The members whose gradient steps are computed at once; they come into a stack of theirs."""
        if self._learner is not None and self._members == [member for member in ready if member in self._members]:
            self._n_rounds += 1
            # No generator: each notes how its model is now.
            if all([self._fits(agent, member) for agent, member in enumerate(self._members)]):
                return self._members
        self._dissolve()
        if len(ready) > 1 and pays(ready[0].model):
            able = _of_one_kind([member for member in ready if _is_able(member.model)])
            if len(able) > 1:
                self._stack(able)
        return self._members

    def _fits(self, agent: int, member: Member) -> bool:
        """Whether a member of the stack can stay; where parts of its model are others now, they are taken over."""
        assert self._learner is not None
        stack = self._learner.stack
        if member.model.fast_update is False:
            return False
        is_due = member.may_have_changed() or self._n_rounds % CHECK_INTERVAL == 0
        if not is_due or stack.is_current(agent):
            return True
        if not stack.fits(agent):
            return False
        stack.put(agent)
        return True

    def _stack(self, members: list[Member]) -> None:
        models = [member.model for member in members]
        streams = [member.streams for member in members]
        self._members = members
        by_model = {id(member.model): member for member in members}
        self._learner = BatchedLearner(models, streams, check=lambda model: by_model[id(model)].check_losses())
        for member in members:
            member.before_log = self._learner.log_losses
            member.model.tell_path("fast", None)

    def _dissolve(self) -> None:
        """Give all members memory of their own again."""
        if self._learner is not None:
            self._learner.give_back()
            self._learner.log_losses()
        self._learner = None
        for member in self._members:
            member.before_log = None
        self._members = []


def _is_able(model: Any) -> bool:
    """Whether the batched update may compute a model's gradient steps."""
    return model.fast_update is not False and find_stack_obstacle(model) is None


def _of_one_kind(members: Sequence[Member]) -> list[Member]:
    """As many members as can be in one stack: callbacks may have changed the models of some."""
    kinds = [kind_of(member.model) for member in members]
    most = max(kinds, key=kinds.count, default=None)
    return [member for member, kind in zip(members, kinds, strict=True) if kind == most]


def pays(model: Any) -> bool:
    """
    :param model: a member
    :return: whether many such models learn faster together than one after another, on the device where they are
    """
    widest = max(len(p) for p in model.policy.parameters() if p.dim() > 1)
    return bool(model.device.type == "cuda" or widest <= WIDEST_ON_CPU)
