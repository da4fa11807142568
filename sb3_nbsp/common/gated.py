"""How an algorithm gates its skill neurons by task: what it needs from the env, and when what happens."""

from typing import Any, ClassVar

from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import unwrap_vec_normalize

from sb3_nbsp.common.environments import is_task_sequence
from sb3_nbsp.common.gates import TaskGates
from sb3_nbsp.common.scored import ScoresNeurons
from sb3_nbsp.common.scoring import Rollout
from sb3_nbsp.common.skill_neurons import SkillNeurons


class GatesTasks(ScoresNeurons):
    """The part of an NBSP algorithm that has to do with task gates (``task_gates=True``)."""

    task_gates: bool

    target_networks: ClassVar[tuple[tuple[str, str], ...]] = ()  # (network, its target) by name

    gates: TaskGates | None

    def _make_gates(self) -> None:
        self.gates = TaskGates(self._masked_networks()).to(self.device) if self.task_gates else None

    def _check_gateable(self) -> None:
        """
        :raises ValueError: where observations do not hold the task's id
        """
        if not self.task_gates or self.env is None:
            return
        if not is_task_sequence(self.env):
            raise ValueError("task_gates=True needs the env of a task sequence: its observations tell which task it is.")
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

    def _claim_neurons(self, index: int, result: SkillNeurons, rollout: Rollout) -> SkillNeurons:
        """Let a task that ended own its skill neurons; see :mod:`sb3_nbsp.common.gates`."""
        assert self.gates is not None and self.env is not None
        known = self.gates.owns(index)
        result = self.gates.choose(result, index, float(self.skill_fraction))
        if not known and any(layer.chosen for layer in result.layers.values()):
            names = self.env.get_attr("task_sequence", 0)[0].task_names
            id_column = self.observation_space.shape[0] - len(names) + names.index(result.task)  # type: ignore[index]
            self.gates.claim(index, result, self.activations_on(rollout), id_column)
            for name, target in self.target_networks:
                recursive_getattr(self, target).load_state_dict(recursive_getattr(self, name).state_dict())
        return result

    def _optional_states(self) -> dict[str, Any]:
        states: dict[str, Any] = super()._optional_states()  # type: ignore[misc]
        return states if self.gates is None else {**states, "gates": self.gates}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "gates"]
