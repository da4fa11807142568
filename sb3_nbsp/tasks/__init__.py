"""Tasks, their order, and the environments that go through them."""

from sb3_nbsp.tasks.atari import atari_sequence
from sb3_nbsp.tasks.atari_game import make_atari_game
from sb3_nbsp.tasks.dmc import DMControlEnv, dmc_sequence
from sb3_nbsp.tasks.metaworld import MetaWorldEnv, metaworld_sequence
from sb3_nbsp.tasks.point_goal import PointGoalEnv, point_goal_sequence
from sb3_nbsp.tasks.point_goal_image import PointGoalImageEnv, point_image_sequence
from sb3_nbsp.tasks.registration import named_sequences, register_envs
from sb3_nbsp.tasks.sequence import TaskSequence, gymnasium_sequence
from sb3_nbsp.tasks.sequence_env import TaskSequenceEnv
from sb3_nbsp.tasks.sequence_vector_env import TaskSequenceVectorEnv
from sb3_nbsp.tasks.task import Task
from sb3_nbsp.tasks.task_env import TaskEnv
from sb3_nbsp.tasks.vector import GymnasiumVecEnv

__all__ = [
    "DMControlEnv",
    "GymnasiumVecEnv",
    "MetaWorldEnv",
    "PointGoalEnv",
    "PointGoalImageEnv",
    "Task",
    "TaskEnv",
    "TaskSequence",
    "TaskSequenceEnv",
    "TaskSequenceVectorEnv",
    "atari_sequence",
    "dmc_sequence",
    "gymnasium_sequence",
    "make_atari_game",
    "metaworld_sequence",
    "named_sequences",
    "point_goal_sequence",
    "point_image_sequence",
    "register_envs",
]

register_envs()
