"""
The task's id where the env does not give it: inferred from an episode's first observation.

.. code-block:: python

    model = NBSPSAC("MlpPolicy", sequence_env, task_gates=True, memory_size=0)  # in training a task sequence gives the id
    model.learn(24_000, callback=FirstObservations())
    model.save("arm")

    model = NBSPSAC.load("arm")
    env = InferredTaskId(plain_env, model)  # one of the tasks, whose observations hold no id
    evaluate_policy(model, env)

Why the first observation alone: what comes after it depends on how the agent acts, and that on the task it believes in. An
agent that goes east because it took the task for "go east" sees, from then on, what it always saw in that task.
"""

from sb3_nbsp.task_ids.first_observations import FirstObservations
from sb3_nbsp.task_ids.inferred_task_id import InferredTaskId
from sb3_nbsp.task_ids.recogniser import TaskRecogniser, doubts, told_as

__all__ = ["FirstObservations", "InferredTaskId", "TaskRecogniser", "doubts", "told_as"]
