"""How long a rollout is, where it must not reach into the next task."""


def rollout_rows(left: int | None, n_steps: int, n_envs: int, batch_size: int) -> int:
    """
    To the task's end at the most. Where a whole rollout would leave less than a minibatch of the task, what is left is halved:
    advantages of a few steps are noise, and would be the last thing that the policy learns of the task.

    :param left: env steps to the task's end, over all sub-envs; ``None``: a rollout may go over it
    :param n_steps: rows of a whole rollout
    :param n_envs: env steps of a row
    :param batch_size: env steps of a minibatch
    :return: rows of the next rollout
    """
    if left is None:
        return n_steps
    rows_left = -(-left // n_envs)
    rest = (rows_left - n_steps) * n_envs  # after a whole rollout
    if 0 < rest < min(batch_size, n_steps * n_envs):
        return -(-rows_left // 2)
    return min(rows_left, n_steps)
