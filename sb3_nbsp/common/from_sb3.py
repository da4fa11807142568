"""Taking over a model of the SB3 parent, and giving one back: networks, optimizer state, counters, env."""

import inspect
import pathlib
from copy import deepcopy
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common.env_util import is_task_sequence
from sb3_nbsp.common.file_checks import check_sb3_file, naming_damage, naming_other_networks
from sb3_nbsp.common.task_end import try_score


def own_arguments(cls: Any) -> list[str]:
    """Names of the arguments that an NBSP algorithm adds to its parent's."""
    parents = inspect.signature(cls.sb3_class).parameters
    return [name for name in inspect.signature(cls).parameters if name not in parents]


def take_over(cls: Any, model: BaseAlgorithm | str | pathlib.Path, env: Any, arguments: dict[str, Any]) -> Any:
    """
    :param cls: an NBSP algorithm
    :param model: a model of its parent, or the path of its zip file
    :param env: env to train on; default: the model's own (a file holds none)
    :param arguments: NBSP's arguments
    :return: a new model of ``cls``
    :raises TypeError: for a model of another class, or an argument that is not NBSP's
    """
    known = own_arguments(cls)
    if not set(arguments) <= set(known):
        raise TypeError(
            f"{cls.__name__}.from_sb3 takes NBSP's arguments ({', '.join(sorted(known))}); got "
            f"{', '.join(sorted(set(arguments) - set(known)))}. Set {cls.sb3_class.__name__}'s own before, e.g. in its load()."
        )
    if isinstance(model, str | pathlib.Path):
        path = model
        with naming_damage(path, f"a file of {cls.sb3_class.__name__}"), naming_other_networks(path):
            check_sb3_file(path, cls.sb3_class)
            model = cls.sb3_class.load(path, env=env)
    if not isinstance(model, cls.sb3_class) or isinstance(model, cls):
        raise TypeError(f"{cls.__name__}.from_sb3 takes a {cls.sb3_class.__name__} model; got {type(model).__name__}.")
    new = _with_settings_of(model, cls, arguments)
    new.set_parameters(deepcopy(model.get_parameters()))
    _copy_variables(model, new)
    if env is not None:
        new.env = None  # no task is left, of which set_env() would remind
        new.set_env(env)
    if new.env is not None and is_task_sequence(new.env):
        new.position.follow(new.env.get_attr("task_sequence", 0)[0])  # it goes on at the env's place
        new.position.moved_to(new.env.get_attr("sequence_steps", 0)[0])
    return new


def give_back(model: Any) -> Any:
    """
    The inverse of :func:`take_over`: what learning added to the networks stays, masks, memory and arguments of ours go.

    :param model: an NBSP model
    :return: a new model of its SB3 parent
    """
    settings = _settings_of(model)
    settings["policy_class"] = _parents_policy(model)
    name = f"{model.buffer_name}_class"
    if settings[name] in model.mixed_buffers.values():
        settings[name] = None  # SB3 chooses its own, as ours was chosen
    with isolated_rng():
        new = model.sb3_class(settings["policy_class"], model.env, device=model.device, _init_setup_model=False)
        new.__dict__.update({name: value for name, value in settings.items() if name in vars(new)}, seed=None)
        new._setup_model()  # with a seed it would seed the env anew
    new.seed = model.seed
    names = new._get_torch_save_params()[0]
    new.set_parameters({name: deepcopy(state) for name, state in model.get_parameters().items() if name in names})
    _copy_variables(model, new)
    return new


def _copy_variables(model: BaseAlgorithm, new: BaseAlgorithm) -> None:
    for name in model._get_torch_save_params()[1]:
        if recursive_getattr(model, name) is not None:
            recursive_setattr(new, f"{name}.data", recursive_getattr(model, name).data.clone())


def _settings_of(model: BaseAlgorithm) -> dict[str, Any]:
    """A model's attributes without networks, envs and buffers."""
    states, variables = model._get_torch_save_params()
    left_out = {name.split(".")[0] for name in [*model._excluded_save_params(), *states, *variables]}
    return deepcopy({name: value for name, value in model.__dict__.items() if name not in left_out})


def _with_settings_of(model: BaseAlgorithm, cls: Any, arguments: dict[str, Any]) -> Any:
    """A new model with another's settings and counters, made as SB3 makes one when it loads."""
    settings = _settings_of(model)
    settings["policy_class"] = _own_policy(cls, model.policy_class)
    buffer_class = settings[f"{cls.buffer_name}_class"]
    settings[f"{cls.buffer_name}_class"] = cls.mixed_buffers.get(buffer_class, buffer_class)
    with isolated_rng():
        new = cls(settings["policy_class"], model.env, device=model.device, _init_setup_model=False)
        new.__dict__.update(settings | arguments, seed=None)
        new._setup_model()  # with a seed it would begin all random numbers anew
    new.seed = model.seed
    new.protection.check_wanted(new.skill_fraction)
    try_score(new)
    return new


def _own_policy(cls: Any, policy_class: type[BasePolicy]) -> type[BasePolicy]:
    """Our policy in place of SB3's; a user's own stays."""
    for alias, standard in cls.sb3_class.policy_aliases.items():
        if policy_class is standard:
            return cls.policy_aliases[alias]
    return policy_class


def _parents_policy(model: Any) -> type[BasePolicy]:
    """SB3's policy in place of ours; a user's own stays."""
    for alias, own in model.policy_aliases.items():
        if model.policy_class is own:
            return model.sb3_class.policy_aliases[alias]
    return model.policy_class
