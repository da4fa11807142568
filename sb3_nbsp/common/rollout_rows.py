"""How long a rollout is, where it must not reach into the next task."""


def rollout_rows(left: int | None, asked: int, n_steps: int, n_envs: int, shortest: int) -> int:
    """
    To the task's end at the most. What would be left of it after a whole rollout, and is shorter than that, joins the
    rollout: advantages of a few steps are noise, and the last thing that the policy would learn of the task.

    :param left: env steps to the task's end, over all sub-envs; ``None``: a rollout may go over it
    :param asked: env steps to the end of this ``learn()``: one that ends before the task takes no more
    :param n_steps: rows of a whole rollout
    :param n_envs: env steps of a row
    :param shortest: env steps of the shortest rollout, e.g. a minibatch
    :return: rows of the next rollout
    """
    if left is None:
        return n_steps
    rows_left = -(-left // n_envs)
    rest = (rows_left - n_steps) * n_envs
    joins = rest < min(shortest, n_steps * n_envs) and n_steps * n_envs < asked
    return rows_left if rest <= 0 or joins else n_steps
