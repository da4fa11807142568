"""
What SB3's own arguments may be: SB3 checks few of them, and what is wrong comes to light in the middle of training, or never.
SB3's documentation tells what they mean.
"""

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Annotated, Any, Literal

import torch as th
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import TrainFreq

from sb3_nbsp.base.arguments import AtLeast, Interval, Is, Share, Whole, check_values, naming
from sb3_nbsp.base.names import unknown_name_message

MAX_SEED = 2**32 - 1  # NumPy's
HANDING_ON = ("sb3_nbsp", "stable_baselines3", "sb3_contrib")  # whose classes give all of **kwargs to their parents


def _is_schedule(value: Any) -> bool:
    """Whether a function of the remaining progress gives a number, 0 or more."""
    try:
        return callable(value) and AtLeast(0).allows(float(value(1.0)))
    except Exception:
        return False


def _is_device(value: Any) -> bool:
    if isinstance(value, th.device) or value == "auto":
        return True
    try:
        return isinstance(value, str) and th.device(value) is not None
    except RuntimeError:
        return False


def _is_train_freq(value: Any) -> bool:
    if isinstance(value, TrainFreq):
        return True
    times, unit = value if isinstance(value, tuple) and len(value) == 2 else (value, "step")
    return Whole(1, "").allows(times) and unit in ("step", "episode")


def _is_number_as_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and AtLeast(-inf).allows(float(value))
    except ValueError:
        return False


def _is_ent_coef(value: Any) -> bool:
    """SB3's "auto", "auto_0.1" and "0.1"."""
    return value == "auto" or (isinstance(value, str) and _is_number_as_text(value.removeprefix("auto_")))


def _is_buffer(value: Any) -> bool:
    return isinstance(value, type) and all(hasattr(value, name) for name in ("add", "sample", "reset"))


def _makes_module(value: Any) -> bool:
    """A class, or what gives a module if it is called, as SB3 does: not a function of tensors such as ``torch.tanh``."""
    try:
        return isinstance(value, type) or (not isinstance(value, th.nn.Module) and isinstance(value(), th.nn.Module))
    except Exception:
        return False


def _makes_extractor(value: Any) -> bool:
    return callable(value) and not isinstance(value, th.nn.Module)


def _is_net_arch(value: Any) -> bool:
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]  # as SB3 1 had it
    if isinstance(value, dict):
        return set(value) <= {"pi", "qf", "vf"} and all(
            isinstance(part, list | tuple) and _is_net_arch(part) for part in value.values()
        )
    return isinstance(value, list | tuple) and all(Whole(1, "").allows(width) for width in value)


def _are_callbacks(value: Any) -> bool:
    given = value if isinstance(value, list) else [value]
    return all(not isinstance(one, type) and callable(getattr(one, "on_step", one)) for one in given)


def _is_keywords(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _as_float(low: int) -> Any:
    """A whole number of which SB3 takes ``1e4`` as well."""
    return Annotated[float, Is("such a number", lambda value: type(value) is float and value >= low and value.is_integer())]


Schedule = Annotated[
    Callable, Is("a schedule (a function of the remaining progress that gives a number, 0 or more)", _is_schedule)
]
Rate = Annotated[float, AtLeast(0)] | Schedule
Factor = Annotated[float, AtLeast(0)]
# Infinity is how one says that nothing is clipped.
Norm = Annotated[float, Is("a number above 0", lambda value: Interval(0, float("inf")).allows(value) and value > 0)]
Keywords = Annotated[dict, Is("a dict of keyword arguments", _is_keywords)] | None
BufferClass = Annotated[type, Is("a class of buffers", _is_buffer)] | None
Path = Annotated[str, Is("a path", lambda value: isinstance(value, str | os.PathLike))] | None

SHARED: dict[str, Any] = {
    "env": Annotated[
        Any,
        Is(
            "an id that is registered, a Gymnasium env or a VecEnv (None only where load() sets one later)",
            lambda value: value is None or isinstance(value, str) or (hasattr(value, "step") and hasattr(value, "reset")),
        ),
    ],
    "policy": Annotated[Any, Is("a name such as 'MlpPolicy', or a class", lambda value: isinstance(value, str | type))],
    "learning_rate": Rate,
    "gamma": Share,
    "stats_window_size": Annotated[int, Whole(1, "episodes")],
    "tensorboard_log": Path,
    "policy_kwargs": Keywords,
    "verbose": bool | Annotated[int, Whole(0, "a level of messages")],
    "seed": Annotated[int, Whole(0, "a seed", MAX_SEED)] | None,
    "device": Annotated[Any, Is("'auto', or a device of torch, e.g. 'cpu' or 'cuda:0'", _is_device)],
}
OFF_POLICY: dict[str, Any] = {
    **SHARED,
    "buffer_size": Annotated[int, Whole(1, "transitions")],
    "learning_starts": Annotated[int, Whole(0, "env steps")] | _as_float(0),
    "batch_size": Annotated[int, Whole(1, "transitions")],
    "tau": Share,
    "train_freq": Annotated[
        Any, Is("a whole number of steps, 1 or more, or a tuple of a number and 'step' or 'episode'", _is_train_freq)
    ],
    "gradient_steps": Annotated[int, Whole(-1, "gradient steps (-1: as many as env steps)")],
    "action_noise": Annotated[Any, Is("an object of SB3's ActionNoise", lambda value: isinstance(value, ActionNoise))] | None,
    "replay_buffer_class": BufferClass,
    "replay_buffer_kwargs": Keywords,
    "optimize_memory_usage": bool,
    "n_steps": Annotated[int, Whole(1, "steps of an n-step return")],
    "target_update_interval": Annotated[int, Whole(1, "steps")] | _as_float(1),
}
MAX_ENTROPY: dict[str, Any] = {
    **OFF_POLICY,
    "ent_coef": Factor | Annotated[str, Is("'auto', or 'auto_' and the number that it starts with", _is_ent_coef)],
    "target_entropy": Literal["auto"]
    | Annotated[float, AtLeast(-inf)]
    | Annotated[str, Is("such a number", _is_number_as_text)],
    "use_sde": bool,
    "sde_sample_freq": Annotated[int, Whole(-1, "steps (-1: at a rollout's beginning only)")],
    "use_sde_at_warmup": bool,
    "top_quantiles_to_drop_per_net": Annotated[int, Whole(0, "quantiles")],
}
GREEDY: dict[str, Any] = {
    **OFF_POLICY,
    "exploration_fraction": Share,
    "exploration_initial_eps": Share,
    "exploration_final_eps": Share,
    "max_grad_norm": Norm,
}
OF_QRDQN: dict[str, Any] = {**GREEDY, "max_grad_norm": Norm | None}
ON_POLICY: dict[str, Any] = {
    **SHARED,
    "n_steps": Annotated[int, Whole(1, "steps of each sub-env in a rollout")],
    "batch_size": Annotated[int, Whole(1, "steps in a minibatch")],
    "n_epochs": Annotated[int, Whole(1, "passes over a rollout")],
    "gae_lambda": Share,
    "clip_range": Annotated[float, AtLeast(0, excluded=True)] | Schedule,
    # SB3 itself refuses one that is not above 0.
    "clip_range_vf": Annotated[float, AtLeast(-inf)] | Schedule | None,
    "normalize_advantage": bool,
    "ent_coef": Annotated[float, AtLeast(-inf)],
    "vf_coef": Factor,
    "max_grad_norm": Norm,
    "use_sde": bool,
    "sde_sample_freq": Annotated[int, Whole(-1, "steps (-1: at a rollout's beginning only)")],
    "rollout_buffer_class": BufferClass,
    "rollout_buffer_kwargs": Keywords,
    "target_kl": Annotated[float, AtLeast(0, excluded=True)] | None,
}
LEARN: dict[str, Any] = {
    "total_timesteps": Annotated[float, AtLeast(0)],
    "callback": Annotated[Any, Is("a callback object, a function, or a list of these", _are_callbacks)] | None,
    "log_interval": Annotated[int, Whole(1, "episodes or rollouts")] | None,
    "tb_log_name": Annotated[str, Is("a name", lambda value: isinstance(value, str))],
    "reset_num_timesteps": bool,
    "progress_bar": bool,
}
# Of a policy, for SB3's policies: what torch or SB3 would stumble over.
POLICY: dict[str, Any] = {
    "activation_fn": Annotated[Callable, Is("a class of torch.nn, e.g. torch.nn.ReLU, or what makes a module", _makes_module)],
    "n_critics": Annotated[int, Whole(1, "critics")],
    "n_quantiles": Annotated[int, Whole(1, "quantiles")],
    "log_std_init": Annotated[float, AtLeast(-inf)],
    "net_arch": Annotated[
        Any, Is("a list of layer widths, 1 or more each, or a dict of such lists for 'pi' and 'qf' or 'vf'", _is_net_arch)
    ],
    "optimizer_kwargs": Keywords,
    "features_extractor_class": Annotated[Callable, Is("a class of features extractors, or what makes one", _makes_extractor)],
    "features_extractor_kwargs": Keywords,
}


def check_keywords(where: str, kwargs: Mapping[str, Any], cls: type, of_model: Collection[str] = ()) -> None:
    """
    :param where: the argument that holds them
    :param kwargs: what a constructor shall get
    :param cls: whose constructor; a class of buffers takes what its parents take
    :param of_model: names of what the model gives it by itself
    :raises ValueError: for an argument that it does not have, or that the model gives
    """
    for name in kwargs:
        if name in of_model:
            raise ValueError(f"{where} must leave out {name}, which the model gives its buffer. Give it to the model.")
    known: set[str] = set()
    for made in cls.__mro__:
        parameters = inspect.signature(made).parameters if "__init__" in vars(made) else {}
        known |= set(parameters)
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        if takes_any and made.__module__.partition(".")[0] not in HANDING_ON:
            return  # it may keep some for itself
        if parameters and not takes_any:
            break
    for name in kwargs:
        if name not in known:
            raise ValueError(f"{where}: {unknown_name_message(f'argument of {cls.__name__}', name, sorted(known))}")


def check_policy_kwargs(policy: type, kwargs: Mapping[str, Any], known: bool) -> None:
    """
    :param policy: a policy's class
    :param kwargs: what its constructor gets
    :param known: whether it is one of SB3's or ours, whose arguments mean what they mean there
    :raises ValueError: for an argument that it does not have, or a value that it cannot have
    """
    check_keywords("policy_kwargs", kwargs, policy)
    if not known:
        return
    parameters = inspect.signature(policy).parameters
    with naming("policy_kwargs"):
        flags = {name: bool for name, parameter in parameters.items() if isinstance(parameter.default, bool)}
        check_values({**flags, **POLICY}, {name: value for name, value in kwargs.items() if value is not None})
        made = {name: kwargs.get(name, parameters[name].default) for name in ("optimizer_class", "optimizer_kwargs")}
        try:
            optimizer = made["optimizer_class"]([th.nn.Parameter(th.zeros(1))], lr=1e-3, **(made["optimizer_kwargs"] or {}))
        except Exception as error:
            raise ValueError(f"optimizer_kwargs do not fit optimizer_class, {made['optimizer_class']}: {error}") from error
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            raise ValueError(f"optimizer_class {type(optimizer).__name__} needs a closure, which SB3 gives to none. Use Adam.")


def check_learn(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """
    :param args: what ``learn()`` got by place
    :param kwargs: what it got by name
    :raises ValueError: names the first value that is not allowed
    """
    check_values(LEARN, dict(zip(LEARN, args, strict=False)) | dict(kwargs))
