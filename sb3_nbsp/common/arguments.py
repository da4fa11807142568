"""
The arguments that NBSP adds to its parents', each described once: type, allowed values, meaning.

The signatures of the five algorithms use these types and hold the defaults. :func:`~sb3_nbsp.base.arguments.check_arguments`
reads what is allowed, :func:`~sb3_nbsp.base.arguments.documented` writes the docstrings.
The memory's are in :mod:`sb3_nbsp.rehearsal.arguments`.
"""

from typing import Annotated, Literal

from sb3_nbsp.base.arguments import Doc, OneOf, Share, Whole
from sb3_nbsp.neurons import scoring
from sb3_nbsp.neurons.scores import SCORES
from sb3_nbsp.protection import masks, optimizer
from sb3_nbsp.rehearsal.arguments import (
    CloneBatchSize,
    CloneCoef,
    CloneTarget,
    CloneTemperature,
    MemoryRetention,
    MemorySize,
    OffPolicyRehearsal,
    OldTaskFraction,
    ReplayInterval,
    ReplayMode,
)

# Masks

SkillFraction = Annotated[Share, Doc("m, share of each network's neurons that are held per task, in [0, 1]; 0: no masks")]
MaskCoef = Annotated[Share, Doc("alpha, in [0, 1]: a skill neuron's factor is alpha * (1 - score)", "0 holds it completely")]
MaskTarget = Annotated[
    optimizer.MaskTarget,
    Doc(
        "what the factor scales: the optimizer's ``update``, or the ``gradient``",
        "``gradient`` is as published; Adam undoes a constant factor, see docs/design.md",
    ),
]
MaskNetworks = Annotated[
    Literal["all", "actor", "critic"], Doc("whose neurons are held: ``all``, or those of the ``actor`` or the ``critic`` only")
]
MaskSides = Annotated[
    masks.MaskSides,
    Doc(
        "which weights of a skill neuron are held: ``incoming``, ``outgoing`` or ``both``",
        "``incoming``: the weights and bias that feed it (as published); ``outgoing``: the weights that read it, also in the "
        "output layers",
    ),
]
MaskOutputBiases = Annotated[bool, Doc("hold the output layers' biases too")]
TaskGates = Annotated[
    bool,
    Doc(
        "let skill neurons answer to their own task only, so that it cannot be lost",
        "See :mod:`sb3_nbsp.protection.gates`. Needs a task sequence with ``task_id=True`` and an MLP with ReLU. Neurons are "
        "chosen layer by layer, and held completely on both sides: ``mask_coef``, ``mask_sides`` and ``mask_output_biases`` "
        "do not count. No memory is needed.",
    ),
]

# Scoring

Score = Annotated[
    str,
    OneOf(SCORES, 'a function of your own gets a name with sb3_nbsp.neurons.SCORES["my_score"] = function'),
    Doc(
        "``published``, ``corrected``, or a control: ``random``, ``activity``, ``dormant``, ``taylor``",
        "``corrected`` is the balanced accuracy, for tasks where nearly all steps are good",
    ),
]
SelectAmong = Annotated[
    scoring.SelectAmong,
    Doc(
        "choose skill neurons among ``all``, or only among the ``active`` ones",
        "An active neuron is not 0 on at least one scored step",
    ),
]
GoalMetric = Annotated[
    scoring.GoalMetric,
    Doc(
        "q(t), how good a step was: ``success``, ``reward``, ``return``, or ``auto``",
        "``success`` and ``reward`` of the step, ``return`` of the episode; ``auto``: success where the env tells it, else "
        "the return; the reward where that is constant",
    ),
]
ScoringSteps = Annotated[
    int,
    Whole(1, "env steps"),
    Doc("T, env steps for which the policy is run at a task's end to score its neurons"),
]

# Rehearsal

MemorySteps = Annotated[
    int, Whole(0, "steps per old task"), Doc("steps kept per old task, its last ones; 0 switches the memory off")
]
Rehearsal = Annotated[
    Literal["clone", "clip"],
    Doc(
        "how old tasks are rehearsed: ``clone`` or ``clip``",
        "``clone``: hold the action distribution (KL divergence) and the values on old observations to what they were at the "
        "old task's end, in gradient steps of their own after each update; ``clip``: mix the old samples into the "
        "minibatches, with PPO's clipped objective against their stored log-probabilities and their stored returns as the "
        "critic's target. With ``target_kl`` they count too. Why ``clone`` is the default: docs/experiments.md",
    ),
]
MinibatchReplayMode = Annotated[
    Literal["interval", "share"],
    Doc(
        "how old samples come in: whole minibatches at an ``interval``, or a ``share`` of each",
        "``interval``: a minibatch of old samples comes for every ``replay_interval`` of the rollout's; ``share``: a share "
        "``old_task_fraction`` of every minibatch (as many samples, with ``clone``) is old",
    ),
]

# What is set back at a switch, and the learner

ResetReplayBuffer = Annotated[
    bool,
    Doc(
        "empty the current task's replay buffer at a switch",
        "NBSP keeps two buffers, the current task's and the memory; the parent goes on filling one.",
    ),
]
ResetOptimizer = Annotated[bool, Doc("forget the optimizers' moments at a switch")]
ResetEntCoef = Annotated[
    Literal["new_tasks", True, False],
    Doc(
        "set a learned entropy coefficient back at a switch: for ``new_tasks``, True or False",
        "``new_tasks``: a new task begins with the initial value, since a small one left over from a mastered task stops "
        "exploration; a task that is met again (``begin_task()``) goes on with what its last visit ended with. ``True``: "
        "each visit begins with the initial value, by which a task that is met again is unlearned (docs/experiments.md). "
        "``False``: nothing is set back",
    ),
]
ResetLogStd = Annotated[
    bool,
    Doc(
        "set a standard deviation that is a parameter of its own back at a switch",
        "One that does not depend on the observation: a small one left over from a mastered task stops exploration in the "
        "next",
    ),
]
TaskWarmup = Annotated[
    Annotated[int, Whole(0, "env steps")] | None,
    Doc(
        "env steps of random actions without training after a switch (None: ``learning_starts``)",
        "Where the replay buffer was emptied",
    ),
]
SchedulesPerTask = Annotated[
    bool,
    Doc("let schedules (learning rate, epsilon, clip range) follow each task's own progress", "Instead of the whole run's"),
]
SACFastUpdate = Annotated[
    Literal["auto", True, False],
    Doc(
        "compute gradient steps without autograd: ``auto`` (where that is the same), True, False",
        "``auto``: where that is the same up to rounding (an MLP with ReLU, LeakyReLU or CReLU; on CUDA under Adam), else "
        "with autograd and less waste; ``True``: without autograd, or an error that says why not; ``False``: by SB3's own "
        "``train()``, bit for bit. ``update_path`` tells what is used.",
    ),
]
FastUpdate = Annotated[
    bool,
    Doc(
        "fused Adam, no denormal numbers, channels last: faster, the same up to rounding",
        "On CPUs and CUDA devices; without it the same bit for bit",
    ),
]

__all__ = [
    "CloneBatchSize",
    "CloneCoef",
    "CloneTarget",
    "CloneTemperature",
    "FastUpdate",
    "GoalMetric",
    "MaskCoef",
    "MaskNetworks",
    "MaskOutputBiases",
    "MaskSides",
    "MaskTarget",
    "MemoryRetention",
    "MemorySize",
    "MemorySteps",
    "MinibatchReplayMode",
    "OffPolicyRehearsal",
    "OldTaskFraction",
    "Rehearsal",
    "ReplayInterval",
    "ReplayMode",
    "ResetEntCoef",
    "ResetLogStd",
    "ResetOptimizer",
    "ResetReplayBuffer",
    "SACFastUpdate",
    "SchedulesPerTask",
    "Score",
    "ScoringSteps",
    "SelectAmong",
    "SkillFraction",
    "TaskGates",
    "TaskWarmup",
]
