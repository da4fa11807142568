"""How an algorithm gates its skill neurons by task: what it needs from the env, and when what happens."""

from typing import Any, ClassVar

import torch as th
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import unwrap_vec_normalize

from sb3_nbsp.common.env_util import is_task_sequence
from sb3_nbsp.common.scoring_env import ScoresNeurons
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.protection.gates import TaskGates


class GatesTasks(ScoresNeurons):
    """The part of an NBSP algorithm that has to do with task gates (``task_gates=True``)."""

    task_gates: bool

    target_networks: ClassVar[tuple[tuple[str, str], ...]] = ()  # (network, its target) by name

    gates: TaskGates | None

    learned_tasks: list[str]

    def _make_gates(self) -> None:
        self.gates = None
        if self.task_gates:
            extractor = self.policy.features_extractor_class
            if extractor is not FlattenExtractor:
                raise ValueError(
                    "task_gates=True needs an MlpPolicy, whose networks read the task's id in the observation; this policy "
                    f"has a features extractor, {extractor.__name__}."
                )
            self.gates = TaskGates(self._masked_networks()).to(self.device)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._check_gateable()  # not only at the end of the first task
        return super()._setup_learn(*args, **kwargs)

    def _check_gateable(self) -> None:
        """
        :raises ValueError: where observations do not hold the task's id, or other ids than before
        """
        if self.gates is None:
            return
        if self.env is None or not is_task_sequence(self.env):
            raise ValueError(
                "task_gates=True needs the env of a task sequence: its observations tell which task it is. Make one of your "
                "envs with TaskSequenceEnv(TaskSequence((Task(...), Task(...)), steps_per_task=..., task_id=True)), see "
                "examples/3_own_sequence.py."
            )
        sequence = self.env.get_attr("task_sequence", 0)[0]
        if not sequence.task_id:
            raise ValueError(
                "task_gates=True needs a task sequence with task_id=True: observations must end in the task's one-hot id. "
                "For registered sequences: gymnasium.make(id, task_id=True), or --env-kwargs task_id:True."
            )
        if self.observation_space.shape != self.env.get_attr("observation_space", 0)[0].shape:
            raise ValueError("task_gates=True needs observations as the task sequence gives them, not stacked ones.")
        normalised = unwrap_vec_normalize(self.env)
        if normalised is not None and normalised.norm_obs:
            raise ValueError(
                "task_gates=True needs the task's id as 0 and 1, but VecNormalize changes it. Use norm_obs=False, "
                "or normalise in the tasks' own envs."
            )
        columns = self._id_columns()
        for index, task in enumerate(self.learned_tasks):
            if self.gates.owns(index) and columns.get(task) != self.gates.id_column(index):
                raise ValueError(
                    f"{task} was learned with another id than it has in this env, whose tasks are {', '.join(columns)}. Use a "
                    "sequence of the same tasks in the same order (model.learned_tasks names those that were learned)."
                )

    def _id_columns(self) -> dict[str, int]:
        """Index of each task's own entry in the observation, by the task's name."""
        assert self.env is not None and self.observation_space.shape is not None
        names = self.env.get_attr("task_sequence", 0)[0].task_names
        first = self.observation_space.shape[0] - len(names)
        return {name: first + i for i, name in enumerate(names)}

    def _claim_neurons(self, index: int, result: SkillNeurons, rollout: ScoringSteps) -> SkillNeurons:
        """Let a task that ended own its skill neurons; see :mod:`sb3_nbsp.protection.gates`."""
        assert self.gates is not None
        columns = self._id_columns()
        if result.task not in columns:
            raise ValueError(
                f"task_gates=True needs a task of the env's sequence ({', '.join(columns)}); got {result.task!r}."
            )
        result = self.gates.choose(result, index, float(self.skill_fraction))
        if result.has_chosen:
            self.gates.claim(index, result, self.activations_on(rollout), list(columns.values()), columns[result.task])
        else:
            self.gates.close_free()
        self._copy_to_targets()
        return result

    def _copy_to_targets(self) -> None:
        for name, target in self.target_networks:
            recursive_getattr(self, target).load_state_dict(recursive_getattr(self, name).state_dict())

    def _hold_owned(self, relearned: str) -> None:
        """Hold all that tasks own, but for the task that is being learned again, which may use the free neurons too."""
        if self.gates is None:
            return
        for index, task in enumerate(self.learned_tasks):
            self.neuron_masks.hold(index, {} if task == relearned else self.gates.factors(index))
        self._apply_masks()  # type: ignore[attr-defined]
        known = self.learned_tasks.index(relearned) if relearned in self.learned_tasks else None
        changed = self.gates.close_free(but=known)
        if known is not None and self.gates.owns(known):
            changed = self.gates.open_free(known) or changed
        if changed:
            self._copy_to_targets()
            for name in self.optimizer_names:  # type: ignore[attr-defined]
                recursive_getattr(self, name).reset_state()

    def _parameter_factors(self) -> dict[th.Tensor, th.Tensor]:
        factors: dict[th.Tensor, th.Tensor] = super()._parameter_factors()  # type: ignore[misc]
        if self.gates is not None:
            self.gates.hold_closed(factors)
        return factors

    def _check_parameters(self, parameters: dict[str, Any]) -> None:
        if "neuron_masks" in parameters and ("gates" in parameters) != (self.gates is not None):
            kind = "with" if "gates" in parameters else "without"
            raise TypeError(f"these are parameters of a model {kind} task gates; the model has task_gates={self.task_gates}")

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = super()._get_torch_save_params()
        if "neuron_masks" not in state_dicts:  # before the first consolidation a file has the parent's form
            state_dicts = [name for name in state_dicts if name != "gates"]
        return state_dicts, variables

    def _optional_states(self) -> dict[str, Any]:
        states: dict[str, Any] = super()._optional_states()  # type: ignore[misc]
        return states if self.gates is None else {**states, "gates": self.gates}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "gates"]
