"""
Scoring and evaluating of many members at once: their rollouts go in lock-step, with one batched pass of the policies that are
in a stack, and with their envs at work at the same time where these are in other processes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sb3_nbsp.base.acting import Rollout
from sb3_nbsp.base.interruption import droppable
from sb3_nbsp.base.random_states import RandomStates, RandomStreams, global_random_kept
from sb3_nbsp.common.task_end import TakenSteps
from sb3_nbsp.population.member import Member
from sb3_nbsp.population.own_random import OwnBlock
from sb3_nbsp.sac.batched_actor import BatchedActor

N_ENVS = 1  # of the envs for scoring and evaluating, which are made for it


@dataclass
class Job:
    """
    A member's rollout.

    :param member: whose it is
    :param agent: the member's number in the stack; ``None``: it is not there, and its own ``predict()`` is asked
    :param rollout: not begun
    :param deterministic: whether the policy takes its most likely actions
    :param done: is given the result
    """

    member: Member
    agent: int | None
    rollout: Rollout[Any]
    deterministic: bool
    done: Callable[[Any], None]


def play_ahead(members: Sequence[Member], agents: Mapping[int, int], actor: Callable[[int], BatchedActor] | None) -> None:
    """
    Take the steps, and play the episodes, that members' callbacks are about to: each has its own ready then.

    :param members: between two pieces of their ``learn()``
    :param agents: numbers in the stack, by ``id`` of the member
    :param actor: of a number of envs; ``None``: there is no stack
    """
    jobs = [job for member in members for job in _jobs(member, agents.get(id(member)))]
    if len(jobs) > 1:
        with droppable(), global_random_kept():
            _play(jobs, None if actor is None else actor(N_ENVS))


def _jobs(member: Member, agent: int | None) -> list[Job]:
    model = member.model
    if member.is_watched:  # someone else's callback may act before ours
        return []
    if TakenSteps.is_due(model):
        model.taken_steps = TakenSteps(model)
        return [Job(member, agent, model.taken_steps.rollout(model), False, lambda _: None)]
    if member.coming_evaluation is None:
        return []
    callback, rollout = member.coming_evaluation
    return [Job(member, agent, rollout, callback.deterministic, callback.take_played)]


def _play(jobs: Sequence[Job], actor: BatchedActor | None) -> None:
    players = [_Player(job, RandomStreams(RandomStates())) for job in jobs]  # rollouts seed the streams
    playing = list(players)
    with ExitStack() as at_the_end:
        for player in players:  # all of them, also where one of them fails
            at_the_end.callback(player.close)
        while playing:
            for player in playing:
                player.go_on()
            while waiting := [player for player in playing if player.waits]:  # for envs, which are at work all at once
                for player in waiting:
                    player.go_on()
            _answer([player for player in playing if not player.has_ended], actor)
            playing = [player for player in playing if not player.has_ended]


def _answer(players: Sequence["_Player"], actor: BatchedActor | None) -> None:
    together = []
    for player in players:
        if actor is None or player.job.agent is None:
            player.ask_model()
        else:
            player.show(actor)
            together.append(player)
    if together and actor is not None:
        actions = actor.stack.models[0].policy.unscale_action(actor.answers())
        for player in together:
            player.answer = actions[player.job.agent]


class _Player:
    """
    A job that is being done.

    :param job: its rollout has not begun
    :param streams: the rollout's random numbers
    """

    def __init__(self, job: Job, streams: RandomStreams):
        self.job, self._streams = job, streams
        self.has_ended = False
        self.answer: Any = None  # for the rollout when it goes on: actions, or what it is sent where it asked for none
        self._asked: Any = None

    @property
    def waits(self) -> bool:
        """Whether its env is at work."""
        return not self.has_ended and self._asked is None

    def go_on(self) -> None:
        """Take the rollout to where it asks for actions, or where its env is at work. A member whose rollout fails leaves."""
        answer, self.answer = self.answer, None
        with self._own():
            try:
                self._asked = self.job.rollout.send(answer)
            except StopIteration as end:
                self.has_ended = True
                self.job.done(end.value)

    def show(self, actor: BatchedActor) -> None:
        """
        :param actor: is shown what actions are asked for
        """
        assert self.job.agent is not None
        actor.show(self.job.agent, self._asked[0], None if self.job.deterministic else self._streams)

    def ask_model(self) -> None:
        """Have the model answer."""
        observations, starts = self._asked
        model = self.job.member.model
        with self._own():
            self.answer, _ = model.predict(observations, episode_start=starts, deterministic=self.job.deterministic)

    def _own(self) -> OwnBlock:
        """Inside random numbers are the rollout's, and an error ends it."""
        return OwnBlock(self.job.member.model, self._streams, self._fail)

    def _fail(self, error: Exception) -> None:
        self.has_ended = True
        self.job.member.leave_with(error)

    def close(self) -> None:
        """End the rollout, wherever it is: what is left of it puts random states back."""
        with self._streams.in_use():
            self.job.rollout.close()
