"""How an agent acts where it is judged or shown: one rule for evaluations, ``enjoy`` and films."""

from rl_zoo3.exp_manager import ExperimentManager

from sb3_nbsp.zoo.atari import judged_by_drawing


def deterministic_for(algo: str, env_id: str) -> bool:
    """
    :param algo: key of the algorithm
    :param env_id: a registered id
    :return: whether it takes its most likely actions, where nobody says so, instead of drawn ones
    """
    drawn = ExperimentManager.is_atari(env_id) or ExperimentManager.is_minigrid(env_id)
    return not (drawn or judged_by_drawing(algo, env_id))
