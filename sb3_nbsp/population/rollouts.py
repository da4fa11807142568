"""Scoring and evaluating of many members at once: their rollouts go in lock-step, with one batched pass of their policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sb3_nbsp.base.acting import Rollout
from sb3_nbsp.base.interruption import droppable
from sb3_nbsp.base.random_states import RandomStates, RandomStreams, python_random_kept
from sb3_nbsp.common.task_end import TakenSteps
from sb3_nbsp.population.member import Member
from sb3_nbsp.sac.batched_actor import BatchedActor

N_ENVS = 1  # of the envs for scoring and evaluating, which are made for it


@dataclass
class Job:
    """
    A member's rollout.

    :param agent: the member's number in the stack
    :param rollout: not begun
    :param deterministic: whether the policy takes its most likely actions
    :param done: is given the result
    """

    agent: int
    rollout: Rollout[Any]
    deterministic: bool
    done: Callable[[Any], None]


def play_ahead(members: Sequence[Member], agents: Mapping[int, int], actor: Callable[[int], BatchedActor]) -> None:
    """
    Take the steps, and play the episodes, that members' callbacks are about to: each has its own ready then.

    :param members: between two pieces of their ``learn()``
    :param agents: numbers in the stack, by ``id`` of the member; what is not in it plays by itself
    :param actor: of a number of envs
    """
    jobs = [job for member in members if id(member) in agents for job in _jobs(member, agents[id(member)])]
    if len(jobs) > 1:
        with droppable(), python_random_kept():
            _play(jobs, actor(N_ENVS))


def _jobs(member: Member, agent: int) -> list[Job]:
    model = member.model
    if member.is_watched:  # someone else's callback may act before ours
        return []
    if TakenSteps.is_due(model):
        model.taken_steps = TakenSteps(model)
        return [Job(agent, model.taken_steps.rollout(model), False, lambda _: None)]
    if member.coming_evaluation is None:
        return []
    callback, rollout = member.coming_evaluation
    return [Job(agent, rollout, callback.deterministic, callback.take_played)]


def _play(jobs: Sequence[Job], actor: BatchedActor) -> None:
    streams = [RandomStreams(RandomStates()) for _ in jobs]  # rollouts seed them
    playing = list(range(len(jobs)))
    actions: np.ndarray[Any, Any] | None = None
    unscale = actor.stack.models[0].policy.unscale_action
    try:
        while playing:
            for number in list(playing):
                job, own = jobs[number], streams[number]
                try:
                    with own.in_use():
                        # The first time, None is what a generator must be sent.
                        observations, _ = job.rollout.send(None if actions is None else actions[job.agent])  # type: ignore[arg-type]
                except StopIteration as end:
                    playing.remove(number)
                    job.done(end.value)
                    continue
                actor.show(job.agent, observations, None if job.deterministic else own)
            if playing:
                actions = unscale(actor.answers())
    finally:
        for job, own in zip(jobs, streams, strict=True):
            with own.in_use():  # what is left of a rollout puts random states back
                job.rollout.close()
