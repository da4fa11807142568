"""
The end of a task, step by step.

    consolidate(env, task):
        T steps of the policy on the task           scoring_env.steps_on_task
        activations on these steps, and scores      neurons.scoring.score_networks
        the skill neurons: the highest scores       neurons.skill_neurons.select_top
        with task gates: they answer to it only     protection.gates.TaskGates.claim
        a factor for each skill neuron              protection.protection.Protection.hold
        names and scores are noted
        spread over the parameters                  protection.masks.NeuronMasks.parameter_factors
        obeyed from now on                          protection.optimizer.MaskedOptimizer.set_factors
        some of its samples are remembered          rehearsal.memory.TaskMemory.store
        and what the networks put out there         common.cloning_term.CloningTerm.remember
        what must not leak into the next is reset   the algorithms' _prepare_next_task
        the place is noted

``model`` is a :class:`~sb3_nbsp.common.continual_algorithm.ContinualAlgorithm` throughout.
"""

import logging
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.acting import Rollout
from sb3_nbsp.base.arguments import Whole, check_values
from sb3_nbsp.base.interruption import droppable
from sb3_nbsp.base.random_states import RandomStates, isolated_rng
from sb3_nbsp.common import beginnings, gate_requirements
from sb3_nbsp.common.env_util import task_sequence_of
from sb3_nbsp.common.finite_checks import check_parameters
from sb3_nbsp.common.position import check_task_name
from sb3_nbsp.common.scoring_env import rollout_on_task, steps_on_task
from sb3_nbsp.neurons.dummy_pass import evaluating
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scores import try_own_score
from sb3_nbsp.neurons.scoring import LossFunction, run_networks, score_networks, warn_of_silent
from sb3_nbsp.neurons.skill_neurons import SkillNeurons

LOGGER = logging.getLogger(__name__)
SCORING_SEED = 20_000  # far from the seeds that users give training envs


def check_scored(task: Any, seed: Any) -> None:
    """
    :raises ValueError: if what neurons shall be scored on has no name, or the seed is none
    """
    check_task_name(task)
    check_values({"seed": Annotated[int, Whole(0, "a seed")]}, {"seed": seed})


def try_score(model: Any) -> None:
    """
    Before training: a score of one's own is tried on made-up activations.

    :param model: an NBSP algorithm with its networks
    :raises ValueError: if it gives anything but a number in [0.5, 1] per neuron
    """
    if model.skill_fraction > 0:
        sizes = [layer.n_neurons for network in model.protection.networks for layer in network.layers]
        try_own_score(model.score, sizes, int(model.scoring_steps))


def consolidate(model: Any, env: gym.Env | VecEnv | None, task: str | None) -> SkillNeurons | None:
    """See :meth:`~sb3_nbsp.common.continual_algorithm.ContinualAlgorithm.consolidate`."""
    if task is not None:
        check_task_name(task)
    check_parameters(model)
    model._optimizers()  # all of them obey the masks
    task = task or model.position.pending or model.position.task or _unused_name(model)
    index, seed = _index_and_seed(model, task)
    with isolated_rng(seed, model.action_space):
        trained = not model.position.is_untrained(model._n_updates)
        is_new = index == len(model.learned_tasks)
        skill = _find_skill_neurons(model, env, task, index, seed) if model.skill_fraction > 0 and trained else None
        still_held = _still_held(model, task, skill, trained)
        skill = skill if still_held is None else still_held
        model.protection.hold(index, skill, float(model.mask_coef))  # before the name: what fails here can be repeated
        if is_new:
            model.learned_tasks.append(task)
        if skill is not None:
            model.skill_neuron_records[task] = skill.to_dict()
        model._apply_masks()
        model._remember_task(index)
        model._prepare_next_task()
    beginnings.task_ended(model, task)
    if not trained:
        held = "none of its neurons is held" if still_held is None else "what was held of it before stays held"
        warnings.warn(
            f"{task} ended without a single update of the networks: {held}. Lower learning_starts (and task_warmup), or give "
            "the tasks more steps.",
            stacklevel=3,
        )
    elif still_held is not None:
        warnings.warn(f"No neuron of {task} was chosen this time: what was held of it before stays held.", stacklevel=3)
    elif skill is not None and is_new and model.position.is_unlearned(model.num_timesteps, model._n_updates):
        warnings.warn(  # by hand it is done all the same: a policy may have been given what others learned
            f"{task} was consolidated without a single update of the networks before: skill neurons are held that learned "
            "nothing of it here. Call learn() on the task first, for longer than learning_starts (and task_warmup).",
            stacklevel=3,
        )
    model.position.consolidated(model.num_timesteps, model._n_updates)
    _log(model, skill)
    return skill


def _still_held(model: Any, task: str, skill: SkillNeurons | None, trained: bool) -> SkillNeurons | None:
    """The earlier choice of a task that ends once more and says nothing of its neurons. (Gates keep what a task owns.)"""
    says_nothing = not trained or (skill is not None and not skill.has_chosen and model.gates is None)
    before = model.skill_neurons.get(task) if model.skill_fraction > 0 and says_nothing else None
    return before if before is not None and before.has_chosen else None


def _index_and_seed(model: Any, task: str) -> tuple[int, int]:
    index = model.learned_tasks.index(task) if task in model.learned_tasks else len(model.learned_tasks)
    return index, SCORING_SEED + (model.seed or 0) + index


def _seed_of_draws(model: Any, index: int) -> int:
    """Of a score that draws neurons: not the seed of the steps, which a task shares with the next one of the seed before."""
    return int(np.random.SeedSequence([SCORING_SEED, model.seed or 0, index]).generate_state(1)[0])


class TakenSteps:
    """
    Steps of a model's policy on the task that has ended, for its :func:`consolidate`, from whoever runs the policies of many.

    :param model: of a task sequence, with a task that is not consolidated yet
    """

    def __init__(self, model: Any):
        self.task: str = model.position.pending
        self.seed = _index_and_seed(model, self.task)[1]
        self.n_steps = int(model.scoring_steps)
        self._taken: tuple[ScoringSteps, RandomStates] | None = None

    @staticmethod
    def is_due(model: Any) -> bool:
        """
        :param model: an NBSP algorithm
        :return: whether its next consolidation takes steps, on an env that it makes from its sequence
        """
        trains = model.position.pending is not None and not model.position.is_untrained(model._n_updates)
        return trains and model.skill_fraction > 0 and task_sequence_of(model.env) is not None

    def rollout(self, model: Any) -> Rollout[None]:
        """What takes the steps, with the random numbers that consolidation takes them with."""
        check_parameters(model)
        with isolated_rng(self.seed, model.action_space):
            steps = yield from rollout_on_task(model, None, self.task, self.n_steps, self.seed)
            self._taken = steps, RandomStates()

    def __call__(self, model: Any, env: gym.Env | VecEnv | None, task: str, n_steps: int, seed: int) -> ScoringSteps:
        """In the place of :func:`~sb3_nbsp.common.scoring_env.steps_on_task`."""
        if self._taken is None or env is not None or (task, n_steps, seed) != (self.task, self.n_steps, self.seed):
            return steps_on_task(model, env, task, n_steps, seed)
        steps, after = self._taken
        after.restore()
        return steps


def _unused_name(model: Any) -> str:
    return next(name for i in count(1) if (name := f"task {i}") not in model.learned_tasks)


def _find_skill_neurons(model: Any, env: gym.Env | VecEnv | None, task: str, index: int, seed: int) -> SkillNeurons:
    started, n_steps = time.perf_counter(), int(model.scoring_steps)
    LOGGER.debug("scoring the neurons of %s: the policy plays %s env steps more, and nothing is learned", task, f"{n_steps:,}")
    with droppable():
        steps = (model.taken_steps or steps_on_task)(model, env, task, n_steps, seed)
        skill = score(model, steps, task, _seed_of_draws(model, index))
    duration = time.perf_counter() - started
    LOGGER.info("The neurons of %s were scored on %s env steps, in %.1f s", task, f"{n_steps:,}", duration)
    if model.gates is not None:
        columns = gate_requirements.id_columns(model.env, model.observation_space)
        own = gate_requirements.column_of(task, columns)
        activations = run_networks(model.neuron_masks.networks, steps, losses_of(model))[0]
        fraction = float(model.skill_fraction)
        every = gate_requirements.every_id_column(model.env, model.observation_space)
        skill = model.protection.claim(index, skill, fraction, activations, every, own)
    warn_of_silent(skill)
    return skill


def score(model: Any, steps: ScoringSteps, task: str, seed: int) -> SkillNeurons:
    """
    :param model: whose neurons
    :param steps: T steps of its policy on the task
    :param task: the task's name
    :param seed: of a score that draws random numbers
    """
    return score_networks(
        model.protection.networks,
        steps,
        losses_of(model),
        task=task,
        score=model.score,
        goal_metric=model.goal_metric,
        fraction=model.skill_fraction,
        select_among=model.select_among,
        seed=seed,
    )


def losses_of(model: Any) -> dict[str, LossFunction]:
    """How to run each part of a model for scoring, by the part's name."""

    def evaluated(loss: Callable[..., th.Tensor], *args: Any) -> th.Tensor:
        with evaluating(model.policy):  # no statistics of normalisations move, nothing drops out
            return loss(model, *args)

    return {part: partial(evaluated, loss) for part, loss in model.scoring_losses.items()}


def _log(model: Any, skill: SkillNeurons | None) -> None:
    if not hasattr(model, "_logger"):  # consolidate() was called before the first learn()
        return
    values = {"tasks_held": model.neuron_masks.n_held, "free_share": model.neuron_masks.free_share()}
    if model.memory is not None:
        values["memory"] = len(model.memory)
    cloning = getattr(model, "cloning", None)  # off-policy algorithms have it
    if cloning is not None and cloning.is_wanted:
        values["cloned"] = len(cloning.memory)
    if skill is not None:
        values["good_share"] = skill.good_share
        values["silent_share"] = skill.share("silent", "neurons")
        values["chosen_silent_share"] = skill.share("chosen_silent", "chosen")
        if model.verbose > 0:
            print(skill.table())
    # A logger beside the model's, on the same files: what SB3 has recorded so far waits for its own dump. Ours cannot wait: by
    # hand, and at the end of training, there is none before the next learn() opens new files.
    logger = Logger(model.logger.dir, model.logger.output_formats)
    logger.set_level(model.logger.level)
    for name, value in values.items():
        logger.record(f"nbsp/{name}", value)
    logger.record("time/total_timesteps", model.num_timesteps, exclude="tensorboard")
    logger.dump(model.num_timesteps)
