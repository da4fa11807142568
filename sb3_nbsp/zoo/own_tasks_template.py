"""
Tasks of your own, learned one after another by one agent that shall keep them all.

It runs as it is, in less than a minute, and ends with a table. Change the parts 1 to 3; part 4 can stay.
"""

import gymnasium as gym
import torch as th

from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import SequenceEvalCallback, results_text
from sb3_nbsp.tasks import PointGoalEnv, Task, TaskSequence, TaskSequenceEnv

# 1. How to make the env of each task. All need the same observation and action spaces, and a time limit.
#    Your own env: return gym.make("MyRobot-v0", payload=2.0, render_mode=render_mode)
#    Wrappers belong here, around the env of a task, not around the sequence.
#    An env may tell success in info["success"] or info["is_success"]; without it the results are returns.


def make_east(render_mode: str | None = None) -> gym.Env:
    """A point is to go east. It sees where it is, not where the goal is."""
    return PointGoalEnv("east", render_mode)


def make_west(render_mode: str | None = None) -> gym.Env:
    """The same point is to go west."""
    return PointGoalEnv("west", render_mode)


# 2. The sequence: which tasks, how many env steps for each, how often the list is gone through.
#    task_id=True writes the task into the observation. Without it the agent cannot tell tasks apart that look alike.
SEQUENCE = TaskSequence(
    tasks=(Task("east", make_east), Task("west", make_west)),
    steps_per_task=2_000,
    cycles=2,
    task_id=True,
)

FOLDER = "logs/own_tasks"  # for tables and figures


# 3. The agent: SAC's arguments, and NBSP's. Other actions than continuous ones: NBSPDQN or NBSPPPO.
def make_agent() -> NBSPSAC:
    """An agent that has learned nothing."""
    return NBSPSAC(
        "MlpPolicy",
        TaskSequenceEnv(SEQUENCE),
        learning_rate=1e-3,
        batch_size=64,
        gamma=0.95,
        tau=0.02,
        policy_kwargs={"net_arch": [64, 64]},
        scoring_steps=1_000,  # env steps at each task's end, beside those above, on which neurons are scored
        memory_size=10_000,  # observations of each old task that are kept at most, and rehearsed
        seed=0,
    )


# 4. Training. At each task's end the agent's neurons are scored, some are held, and some observations are kept.
def main() -> None:
    """Train, and show what was learned and kept."""
    th.set_num_threads(1)  # small networks learn fastest on one core
    model = make_agent()
    evaluation = SequenceEvalCallback(eval_freq=1_000, n_eval_episodes=5, log_path=FOLDER, verbose=1)
    model.learn(SEQUENCE.total_steps, evaluation)
    model.save(f"{FOLDER}/agent")
    print(f"\n{results_text(evaluation.results)}\n\nThe agent, tables and figures are in {FOLDER}.")
    # To see what is lost without NBSP: skill_fraction=0 and memory_size=0 hold and rehearse nothing.


if __name__ == "__main__":
    main()
