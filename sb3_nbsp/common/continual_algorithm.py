"""What every NBSP algorithm adds to its SB3 parent: skill neurons are found and held at the end of a task."""

import inspect
from itertools import count
from numbers import Integral, Real
from typing import Any, ClassVar

import gymnasium as gym
import torch as th
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common.gate_requirements import GatesTasks
from sb3_nbsp.common.position import FollowsSequence
from sb3_nbsp.common.save_util import SavedWithMasks
from sb3_nbsp.neurons.networks import find_networks
from sb3_nbsp.neurons.scores import SCORES
from sb3_nbsp.neurons.scoring import GOAL_METRICS, warn_of_silent
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.protection.masks import MASK_SIDES, NeuronMasks
from sb3_nbsp.protection.optimizer import MASK_TARGETS, MaskedOptimizer
from sb3_nbsp.rehearsal.memory import TaskMemory

MASK_NETWORKS = ("all", "actor", "critic")
SELECT_AMONG = ("all", "active")
SCORING_SEED = 20_000  # far from the seeds that users give training envs


class ContinualAlgorithm(GatesTasks, SavedWithMasks, FollowsSequence):
    """
    Base of the NBSP algorithms, to be mixed in before the SB3 parent.

    Subclasses set ``sb3_class`` and ``optimizer_names`` (see :class:`SavedWithMasks`), implement
    :meth:`_scoring_losses`, and list all arguments in their constructor, which calls :meth:`_construct`. The arguments
    below are stored under their own names, as SB3's loading demands. See :class:`~sb3_nbsp.NBSPSAC` for what they mean.
    """

    mask_coef: float
    mask_target: str
    mask_sides: str
    mask_output_biases: bool
    reset_optimizer: bool

    clips_gradients: ClassVar[bool] = False  # whether train() clips gradients before the optimizers' step

    # State that is saved with the model, in plain types.
    learned_tasks: list[str]
    skill_neuron_records: dict[str, dict[str, Any]]
    current_task: str | None

    def _construct(self, arguments: dict[str, Any]) -> None:
        """
        Do what a constructor does, for constructors that list the parent's arguments and NBSP's.

        :param arguments: the constructor's ``locals()``
        """
        parents = {name: arguments[name] for name in inspect.signature(self.sb3_class).parameters}
        own = {name: value for name, value in arguments.items() if name not in (*parents, "self", "__class__")}
        self.sb3_class.__init__(self, **{**parents, "_init_setup_model": False})
        self._init_continual(**own)
        if arguments["_init_setup_model"]:
            self._setup_model()

    def _init_continual(self, **arguments: Any) -> None:
        """Store the NBSP arguments and start with no task learned."""
        self.__dict__.update(arguments)
        self.learned_tasks = []
        self.skill_neuron_records = {}
        self.current_task = None
        self.task_to_consolidate = None
        self.consolidated_at = 0
        self.sequence_steps = 0
        self.segment_steps = None

    def _setup_model(self) -> None:
        self._check_arguments()
        super()._setup_model()  # type: ignore[safe-super]
        # What answers to one task only is held as a whole.
        sides, biases = ("both", True) if self.task_gates else (self.mask_sides, self.mask_output_biases)
        self.neuron_masks = NeuronMasks(find_networks(self.policy), sides, biases).to(self.device)
        self._make_gates()
        for name in self.optimizer_names:
            base = recursive_getattr(self, name)
            recursive_setattr(self, name, MaskedOptimizer(base, self.mask_target, self.clips_gradients))

    def _check_arguments(self) -> None:
        for name in ("skill_fraction", "mask_coef"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) <= 1:
                raise ValueError(f"{name} must be a number in [0, 1]; got {value!r}.")
        if not isinstance(self.scoring_steps, Integral) or self.scoring_steps < 1:
            raise ValueError(f"scoring_steps must be a whole number of env steps, 1 or more; got {self.scoring_steps!r}.")
        choices: dict[str, Any] = {
            "mask_target": MASK_TARGETS,
            "mask_networks": MASK_NETWORKS,
            "mask_sides": MASK_SIDES,
            "score": tuple(SCORES),
            "select_among": SELECT_AMONG,
            "goal_metric": GOAL_METRICS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}.")

    def _check_supported(self) -> None:
        super()._check_supported()
        self._check_gateable()

    # Learning

    def begin_task(self, task: str) -> None:
        """
        Say which task is learned from now on. Optional: with it, a task that is met again is not rehearsed
        while it brings its own transitions. The callback does it for a task sequence.

        :param task: name of the task
        """
        unfinished = self.current_task not in (None, task)
        self.current_task = task
        if self.memory is not None:
            if unfinished:
                self._drop_unfinished_task()
            self.memory.current_task = self.learned_tasks.index(task) if task in self.learned_tasks else None
        self._hold_owned(relearned=task)

    @property
    def memory(self) -> TaskMemory[Any] | None:
        """What is kept of old tasks; ``None`` where the model's buffer cannot keep any."""
        memory = getattr(self._buffer(), "memory", None)
        return memory if isinstance(memory, TaskMemory) else None

    @property
    def has_memory(self) -> bool:
        """Whether the model's buffer can keep samples of old tasks."""
        return self.memory is not None

    def _buffer(self) -> Any:
        """The parent's buffer, ``None`` before there is one."""
        raise NotImplementedError

    def _drop_unfinished_task(self) -> None:
        """Forget which of the buffer's samples belong to a task that was not brought to its end."""
        raise NotImplementedError

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto") -> None:
        """See SB3. The masks are put in force."""
        super().set_parameters(load_path_or_dict, exact_match, device)
        if self.current_task is not None:
            self.begin_task(self.current_task)  # the memory is told

    def consolidate(self, env: gym.Env | VecEnv | None = None, task: str | None = None) -> SkillNeurons | None:
        """
        End a task: score the neurons on it, hold its skill neurons from now on, and get ready for the next task.

        A task that was consolidated before gets its new skill neurons in place of the old ones. The random state of
        training is the same after the call as before it.

        :param env: the task to score on: a Gymnasium env, or a ``VecEnv`` with one sub-env that is wrapped like the
            training env; default: the training env. Not closed.
        :param task: its name; default: "task 1", "task 2", ...
        :return: the skill neurons; ``None`` with ``skill_fraction=0``
        :raises ValueError: where the model's replay buffer cannot be carried over a task switch, where ``env`` has several
            sub-envs, or for ``goal_metric="success"`` on an env that does not tell success
        """
        self._check_supported()
        task = task or self.current_task or self._unused_name()
        index = self.learned_tasks.index(task) if task in self.learned_tasks else len(self.learned_tasks)
        seed = SCORING_SEED + (self.seed or 0) + index
        with isolated_rng(seed):
            result = None
            if self.skill_fraction > 0:
                rollout = self._scoring_rollout(env, task, seed)
                result = self._score(rollout, task, seed)
                if self.gates is not None:
                    result = self._claim_neurons(index, result, rollout)
                warn_of_silent(result)
            self.neuron_masks.hold(index, {} if result is None else self._factors(index, result))
            self._apply_masks()
            self._prepare_next_task(index)
        if index == len(self.learned_tasks):
            self.learned_tasks.append(task)
        if result is not None:
            self.skill_neuron_records[task] = result.to_dict()
        self.task_to_consolidate = self.current_task = None
        self.consolidated_at = self.num_timesteps
        self._log_consolidation(result)
        return result

    def _unused_name(self) -> str:
        return next(name for i in count(1) if (name := f"task {i}") not in self.learned_tasks)

    def _factors(self, index: int, skill: SkillNeurons) -> dict[str, th.Tensor]:
        """factor(N) = alpha * (1 - score(N)) for a skill neuron, else 1 (NBSP's adaptive mask); 0 and 1 with task gates."""
        if self.gates is not None:
            return self.gates.factors(index)
        return {
            name: th.where(skill.chosen(name), self.mask_coef * (1 - th.tensor(layer.scores)), 1.0)
            for name, layer in skill.layers.items()
        }

    def _prepare_next_task(self, index: int) -> None:
        """
        Undo what must not leak from one task into the next. Extended by subclasses.

        :param index: index of the task that ended
        """
        if self.memory is not None:
            self.memory.current_task = None
        if self.reset_optimizer or self.task_gates:  # moments of weights that were drawn anew belong to others
            for name in self.optimizer_names:
                recursive_getattr(self, name).reset_state()
        if self.ep_info_buffer is not None and self.ep_success_buffer is not None:
            self.ep_info_buffer.clear()
            self.ep_success_buffer.clear()

    def _log_consolidation(self, result: SkillNeurons | None) -> None:
        if not hasattr(self, "_logger"):  # consolidate() was called before the first learn()
            return
        self.logger.record("nbsp/tasks_held", self.neuron_masks.n_held)
        self.logger.record("nbsp/free_share", self.neuron_masks.free_share())
        if self.memory is not None:
            self.logger.record("nbsp/memory", len(self.memory))
        if result is not None:
            self.logger.record("nbsp/good_share", result.good_share)
            self.logger.record("nbsp/silent_share", result.share("silent", "neurons"))
            self.logger.record("nbsp/chosen_silent_share", result.share("chosen_silent", "chosen"))
            if self.verbose > 0:
                print(result.table())

    @property
    def skill_neurons(self) -> dict[str, SkillNeurons]:
        """The skill neurons of every task consolidated so far, by name."""
        return {task: SkillNeurons.from_dict(record) for task, record in self.skill_neuron_records.items()}
