"""What the members of a population must agree in: whatever decides which operations are computed, and when."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback, TrainFreq, TrainFrequencyUnit

from sb3_nbsp.checkpoints.callback_state import every_callback
from sb3_nbsp.common.env_util import task_sequence_of
from sb3_nbsp.common.parents_arguments import check_learn
from sb3_nbsp.sac import NBSPSAC
from sb3_nbsp.sac.stack_kind import KIND

# What a population does in the members' place: a class with one of its own is trained alone. Whatever else SB3's loop calls
# is called on the member too.
LOOP = ("learn", "collect_rollouts", "_sample_action", "predict", "train")


def _segments(model: Any) -> Any:
    sequence = task_sequence_of(model.env)
    return None if sequence is None else list(sequence.segment_steps)


FIELDS: dict[str, Callable[[Any], Any]] = {
    "class": type,
    **KIND,
    "observation_space": lambda model: model.observation_space,
    "action_space": lambda model: model.action_space,
    "number of sub-envs": lambda model: model.n_envs,
    "batch_size": lambda model: model.batch_size,
    "clone_batch_size": lambda model: model.clone_batch_size,
    "train_freq": lambda model: model.train_freq,
    "gradient_steps": lambda model: model.gradient_steps,
    "learning_starts": lambda model: model.learning_starts,
    "task_warmup": lambda model: model.task_warmup,
    "reset_replay_buffer": lambda model: model.reset_replay_buffer,
    "target_update_interval": lambda model: model.target_update_interval,
    "lengths of the tasks in env steps": _segments,
    "env steps so far (num_timesteps)": lambda model: model.num_timesteps,
}


def packs(models: Sequence[Any]) -> list[list[int]]:
    """
    :param models: any models
    :return: their numbers, in groups that can be one population each; what can be in none is a group of one
    """
    groups: list[list[int]] = []
    for number, model in enumerate(models):
        for group in groups:
            try:
                check_agreement([models[group[0]], model])
            except (TypeError, ValueError):
                continue
            group.append(number)
            break
        else:
            groups.append([number])
    return groups


def check_agreement(models: Sequence[Any]) -> None:
    """
    :param models: the members
    :raises TypeError: for no list, for a member that is no NBSPSAC, or whose class has a training loop of its own
    :raises ValueError: for a setting that a population cannot train, or in which members differ; it is named
    """
    if not isinstance(models, Sequence):
        raise TypeError(f"A population is made of a list of models; got {_kind_of_thing(models)}.")
    if not models:
        raise ValueError("A population needs at least one model, got none.")
    if len({id(model) for model in models}) < len(models):
        raise ValueError("A population needs different models, got one of them twice.")
    for number, model in enumerate(models):
        _check_member(number, model)
    _check_envs(models)
    for name, of in FIELDS.items():
        for number, model in enumerate(models):
            if of(model) != of(models[0]):
                raise ValueError(
                    f"The members of a population agree in what shapes their training, and {name} differs: "
                    f"{of(models[0])} in member 0, {of(model)} in member {number}. Train them in populations of their own."
                )


def _check_member(number: int, model: Any) -> None:
    if not isinstance(model, NBSPSAC):
        raise TypeError(f"A population trains NBSPSAC models; member {number} is a {type(model).__name__}.")
    for name in LOOP:
        if getattr(type(model), name) is not getattr(NBSPSAC, name) or name in vars(model):
            raise TypeError(f"Member {number} has a {name}() of its own, which a population would pass over. Train it alone.")
    if model.env is None:
        raise ValueError(f"Member {number} has no env. Give it one with set_env().")
    if model.use_sde:
        raise ValueError(f"Member {number} uses gSDE (use_sde=True), which a population does not compute. Train it alone.")
    if model.n_steps != 1:
        raise ValueError(f"A population needs n_steps=1; member {number} has {model.n_steps}.")
    assert isinstance(model.train_freq, TrainFreq)  # what SB3 makes of it
    if model.train_freq.unit is not TrainFrequencyUnit.STEP:
        raise ValueError(
            f"The members of a population step together, so train_freq counts env steps; member {number} has "
            f"{model.train_freq}. Use a whole number."
        )


def _check_envs(models: Sequence[Any]) -> None:
    """SB3 puts a plain env into a vectorised one, another for each model: what is inside must be others too."""
    owners: dict[int, int] = {}
    for number, model in enumerate(models):
        outer = model.env.unwrapped
        for env in (outer, *(getattr(inner, "unwrapped", inner) for inner in getattr(outer, "envs", ()))):
            owner = owners.setdefault(id(env), number)
            if owner != number:
                raise ValueError(
                    f"Each member of a population needs an env of its own; members {owner} and {number} share one, a "
                    f"{type(env).__name__}. Make one for each."
                )


def _kind_of_thing(thing: Any) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"


def check_callbacks(callbacks: Sequence[MaybeCallback], n_members: int) -> None:
    """
    :param callbacks: by member what SB3's ``learn()`` takes
    :param n_members: how many members there are
    :raises TypeError: for no list
    :raises ValueError: for another number of callbacks, and for a callback that two members were given; it is named
    """
    if not isinstance(callbacks, Sequence):
        raise TypeError(
            f"callbacks expects a list with one callback (or None) per member, {n_members}; got {_kind_of_thing(callbacks)}. "
            "A callback keeps what happens to one model: make one for each member."
        )
    if len(callbacks) != n_members:
        raise ValueError(f"Expected one callback (or None) per member, {n_members}; got {len(callbacks)}.")
    owners: dict[int, int] = {}
    for number, given in enumerate(callbacks):
        check_learn((), {"callback": given})
        for part in _parts(given):
            owner = owners.setdefault(id(part), number)
            if owner != number:
                raise ValueError(
                    f"One {type(part).__name__} was given to members {owner} and {number}. A callback keeps what happens to "
                    "one model: make one for each member."
                )


def _parts(given: MaybeCallback) -> Iterator[BaseCallback]:
    for callback in given if isinstance(given, list) else [given]:
        if isinstance(callback, BaseCallback):  # else it is a function, which keeps nothing
            yield from every_callback(callback)
