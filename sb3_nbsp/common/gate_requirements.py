"""What task gates need of the env: observations that end in the task's one-hot id, the same for a task as before."""

from collections.abc import Sequence

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_nbsp.common.env_util import task_sequence_of
from sb3_nbsp.common.position import id_width_of
from sb3_nbsp.protection.gates import TaskGates


def check_policy(policy: BasePolicy) -> None:
    """
    :param policy: of an agent that shall have task gates
    :raises ValueError: where its networks do not read the observation itself
    """
    extractor = policy.features_extractor_class
    if extractor is not FlattenExtractor:
        raise ValueError(
            "task_gates=True needs an MlpPolicy, whose networks read the task's id in the observation; this policy "
            f"has a features extractor, {getattr(extractor, '__name__', extractor)}."
        )


def check_env(gates: TaskGates, env: VecEnv | None, observation_space: spaces.Space, learned_tasks: Sequence[str]) -> None:
    """
    :param gates: the agent's
    :param env: the training env
    :param observation_space: as the agent sees it
    :param learned_tasks: names of the tasks that were consolidated, in their order
    :raises ValueError: where observations do not hold the task's id, or other ids than before
    """
    sequence = task_sequence_of(env)
    if env is None or sequence is None:
        raise ValueError(
            "task_gates=True needs the env of a task sequence: its observations tell which task it is. Make one of your "
            "envs with TaskSequenceEnv(TaskSequence((Task(...), Task(...)), steps_per_task=..., task_id=True)), see "
            "docs/guide/tasks.md."
        )
    if not sequence.task_id:
        raise ValueError(
            "task_gates=True needs a task sequence with task_id=True: observations must end in the task's one-hot id. "
            "For registered sequences: gymnasium.make(id, task_id=True), or --env-kwargs task_id:True."
        )
    if observation_space.shape != env.get_attr("observation_space", 0)[0].shape:
        raise ValueError("task_gates=True needs observations as the task sequence gives them, not stacked ones.")
    normalised = unwrap_vec_normalize(env)
    if normalised is not None and normalised.norm_obs:
        raise ValueError(
            "task_gates=True needs the task's id as 0 and 1, but VecNormalize changes it. Use norm_obs=False, "
            "or normalise in the tasks' own envs."
        )
    columns = id_columns(env, observation_space)
    for index, task in enumerate(learned_tasks):
        if gates.owns(index) and columns.get(task) != gates.id_column(index):
            raise ValueError(
                f"{task} was learned with another id than it has in this env, whose tasks are {', '.join(columns)}. Use a "
                "sequence of the same tasks in the same order (model.learned_tasks names those that were learned)."
            )


def id_columns(env: VecEnv, observation_space: spaces.Space) -> dict[str, int]:
    """
    :param env: the env of a task sequence with ids
    :param observation_space: as the agent sees it
    :return: index of each task's own entry in the observation, by the task's name
    """
    sequence = task_sequence_of(env)
    assert sequence is not None and observation_space.shape is not None
    first = observation_space.shape[0] - id_width_of(sequence)
    return {name: first + i for i, name in enumerate(sequence.task_names)}


def every_id_column(env: VecEnv, observation_space: spaces.Space) -> list[int]:
    """
    :param env: the env of a task sequence with ids
    :param observation_space: as the agent sees it
    :return: indices of the whole id in the observation, also of ids that are reserved for later tasks
    """
    sequence = task_sequence_of(env)
    assert sequence is not None and observation_space.shape is not None
    return list(range(observation_space.shape[0] - id_width_of(sequence), observation_space.shape[0]))


def column_of(task: str, columns: dict[str, int]) -> int:
    """
    :param task: a task's name
    :param columns: see :func:`id_columns`
    :raises ValueError: if it is no task of the sequence
    """
    if task not in columns:
        raise ValueError(f"task_gates=True needs a task of the env's sequence ({', '.join(columns)}); got {task!r}.")
    return columns[task]
