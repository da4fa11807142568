"""Reading a checkpoint."""

import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3 import HerReplayBuffer

from sb3_nbsp.checkpoints.env_state import check_alike, restore_env
from sb3_nbsp.checkpoints.files import put_back
from sb3_nbsp.checkpoints.manifest import MANIFEST, Checkpoint, damage_of, folder_of, newest_whole, read_manifest
from sb3_nbsp.checkpoints.memories import Written
from sb3_nbsp.checkpoints.model_state import GoingOn, is_mixed, restore_buffers
from sb3_nbsp.checkpoints.saving import BUFFER, MODEL, STATE, device_name, versions
from sb3_nbsp.checkpoints.store import Store
from sb3_nbsp.checkpoints.trees import read_tree


def load(cls: Any, folder: Path, env: Any, **kwargs: Any) -> Any:
    """
    Load the newest whole checkpoint of a run.

    :param cls: the class that it was written by
    :param folder: the run's folder, its folder of checkpoints, or one of these
    :param env: made as the one that it was trained on
    :param kwargs: further arguments of SB3's ``load``
    :return: the model; its ``learn()`` goes on to the bit
    :raises ValueError: if there is none, if another class wrote it, or if the env does not fit
    """
    checkpoint = newest(folder)
    there = checkpoint.manifest["class"]
    if there != cls.__name__:
        raise ValueError(f"{checkpoint.path} was written by {there}. Use {there}.load_checkpoint(), not {cls.__name__}'s.")
    if (checkpoint.path / BUFFER).is_file() and not kwargs.get("trust", True):
        raise ValueError(
            f"{checkpoint.path} cannot be loaded with trust=False: its replay buffer is of an own class, which only a pickle "
            f"holds ({BUFFER}), and a pickle can run code when it is read. If you trust where it comes from, load it without "
            "trust=False."
        )
    if kwargs.get("device", "auto") == "auto":
        kwargs["device"] = _device_of(checkpoint)
    model = cls.load(checkpoint.path / MODEL, env=env, force_reset=False, **kwargs)
    _say_other_versions(checkpoint, model.device)
    state = read_tree(checkpoint.path / STATE)
    if model.env is not None and state["env"] is not None:
        check_alike(model.env, state["env"])
    run = checkpoint.manifest.get("run") or uuid.uuid4().hex  # earlier versions gave none
    model._written = Written(Store(checkpoint.path.parent.resolve()), run)
    restore_buffers(model, state, model._written)
    if (checkpoint.path / BUFFER).is_file():
        model.load_replay_buffer(checkpoint.path / BUFFER, truncate_last_traj=False)
    if model._last_obs is not None and model.env is not None:  # else learn() resets the env by itself
        _place(model, state)
        model._going_on = GoingOn(model, state)
    return model


def newest(folder: Path) -> Checkpoint:
    """
    :param folder: a run's folder, its folder of checkpoints, or one of these
    :return: the newest whole one, or the one that was given; what was skipped is told in a warning
    :raises ValueError: if there is none, or the one that was given is damaged
    """
    if (folder / MANIFEST).is_file():  # one that was chosen
        damage = damage_of(folder)
        if damage is not None:
            raise ValueError(f"{folder} is damaged: {damage}. Give the run's folder: its newest whole checkpoint is taken.")
        return Checkpoint(folder, read_manifest(folder))
    put_back(folder_of(folder))
    found, damages = newest_whole(folder_of(folder))
    if found is None:
        told = f": {'; '.join(damages)}" if damages else ""
        raise ValueError(f"There is no whole checkpoint in {folder}{told}. Give a run's folder, or its folder of checkpoints.")
    if damages:
        warnings.warn(f"{'; '.join(damages)}. The newest whole checkpoint is {found.path.name}.", stacklevel=4)
    return found


def _device_of(checkpoint: Checkpoint) -> str:
    """The device that it was written on, where that is there; earlier versions did not write it down."""
    written = checkpoint.manifest["versions"].get("device", "auto")
    there = not written.startswith("cuda") or int(written.removeprefix("cuda:")) < th.cuda.device_count()
    return written if there else "auto"


def _say_other_versions(checkpoint: Checkpoint, device: th.device) -> None:
    then = checkpoint.manifest["versions"]
    now = {**versions(then), "device": device_name(device)}
    differ = {name: (then[name], now.get(name)) for name in then if then[name] != now.get(name)}
    if differ:
        told = ", ".join(f"{name} {before} then, {after} now" for name, (before, after) in differ.items())
        warnings.warn(f"{checkpoint.path} goes on, but not to the bit: {told}.", stacklevel=4)


def _place(model: Any, state: dict[str, Any]) -> None:
    """Let the env stand where it stood."""
    if restore_env(model.env, state["env"], (model.seed or 0) + model.num_timesteps):
        return
    warnings.warn(
        "The running episodes could not be played again to where they were: they begin anew, the same way whenever this "
        "checkpoint is gone on from. From here on the run differs from one that was never stopped.",
        stacklevel=4,
    )
    model._last_obs = model.env.reset()
    model._last_episode_starts = np.ones((model.env.num_envs,), dtype=bool)
    if model._vec_normalize_env is not None:
        model._last_original_obs = model._vec_normalize_env.get_original_obs()
    buffer: Any = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        buffer.truncate_last_trajectory()
    if is_mixed(buffer) and buffer.size() > 0:  # n-step returns must not reach over the gap
        buffer.timeouts[buffer.pos - 1] = np.maximum(buffer.timeouts[buffer.pos - 1], 1 - buffer.dones[buffer.pos - 1])


def rows_of_monitors(checkpoint: Checkpoint) -> list[int]:
    """
    :param checkpoint: of a run
    :return: how many episodes each sub-env's monitor had seen end
    """
    env = read_tree(checkpoint.path / STATE)["env"]
    return [len(monitor["episode_returns"]) for monitor in env["monitors"] if monitor]
