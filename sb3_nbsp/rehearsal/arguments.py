"""The arguments of a memory, each described once: type, allowed values, meaning."""

from typing import Annotated, Literal

from sb3_nbsp.base.arguments import AtLeast, Doc, Share, Whole

MemorySize = Annotated[
    int,
    Whole(0, "transitions per old task"),
    Doc("transitions, or observations to clone on, kept per old task; 0 switches the memory off"),
]
MemoryRetention = Annotated[
    Literal["uniform", "recent"],
    Doc(
        "which of a task's transitions are kept: a ``uniform`` sample, or the most ``recent`` ones",
        "``uniform``: without replacement, of what the buffer holds",
    ),
]
ReplayMode = Annotated[
    Literal["interval", "share"],
    Doc(
        "how replay brings old ones: whole batches at an ``interval``, or a ``share`` of each batch",
        "``interval``: every ``replay_interval``-th batch comes from the memory as a whole (as published); ``share``: a "
        "share ``old_task_fraction`` of every batch does",
    ),
]
ReplayInterval = Annotated[int, Whole(1, "batches"), Doc("k, in batches, which for off-policy algorithms are gradient steps")]
OldTaskFraction = Annotated[Share, Doc("share of a batch that is old, in [0, 1]")]
OffPolicyRehearsal = Annotated[
    Literal["replay", "clone", "both"],
    Doc(
        "how old tasks are rehearsed: ``replay``, ``clone`` or ``both``",
        "``replay``: old transitions are learned from (as published); ``clone``: in old observations the policy (of value "
        "learners, the Q-values) is held to what it was at the old task's end, by a term of the loss",
    ),
]
CloneCoef = Annotated[float, AtLeast(0), Doc("strength of the cloning term, 0 or more")]
CloneBatchSize = Annotated[int, Whole(1, "observations"), Doc("old observations per gradient step that are cloned on")]
CloneTemperature = Annotated[
    float,
    AtLeast(0, excluded=True),
    Doc("tau: the softmax of the Q-values / tau is held", "Differences of the size of tau count"),
]
CloneTarget = Annotated[
    Literal["outputs", "skill_neurons"],
    Doc(
        "what cloning holds of the acting network: its ``outputs`` or its ``skill_neurons``",
        "Skill neurons' activations are held by the mean square; NBSPSAC then learns with autograd",
    ),
]
