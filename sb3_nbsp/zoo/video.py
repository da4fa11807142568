"""``sb3-nbsp record-video``: a film of a trained agent on every task of its sequence."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rl_zoo3
import torch as th
from huggingface_sb3 import EnvironmentName
from imageio_ffmpeg import write_frames
from rl_zoo3.utils import StoreDict, get_model_path
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.common.env_util import wrap_like
from sb3_nbsp.evaluation.contexts import playing
from sb3_nbsp.tasks import TaskSequence
from sb3_nbsp.zoo import commands
from sb3_nbsp.zoo.algorithms import sequence_of
from sb3_nbsp.zoo.argument_types import seed, whole
from sb3_nbsp.zoo.find_agents import NO_RUN, USE
from sb3_nbsp.zoo.opened_runs import RunParser, env_kwargs_of, open_env, read_hyperparams

LONGEST_EPISODE = 10_000  # steps; an env may have no time limit
# What stands in a file and concerns learning only, and may not be loadable elsewhere.
NOT_LOADED = {"learning_rate": 0.0, "lr_schedule": lambda _: 0.0, "clip_range": lambda _: 0.0}

MUJOCO = (
    "MuJoCo needs a graphics device: without a display set MUJOCO_GL=egl, or MUJOCO_GL=osmesa where there is no GPU either "
    "(libosmesa must be installed)."
)


class NoPictures(Exception):
    """An env cannot be drawn."""


class FilmParser(RunParser):
    """The same words as enjoy's."""

    use = USE.format(command="record-video", option="")


def main(arguments: list[str]) -> None:
    """
    Film a trained agent: each task of its sequence from the beginning of an episode, played as evaluations play it.

    :param arguments: command line arguments: those of rl-zoo3's enjoy, and where the films go
    :raises SystemExit: with a message if there is no such run, or a task cannot be drawn
    """
    commands.register()
    args = _parser().parse_args(arguments)
    if args.num_threads > 0:
        th.set_num_threads(args.num_threads)
    which = args.load_best, args.load_checkpoint, args.load_last_checkpoint
    try:
        prefix, model_path, run = get_model_path(args.exp_id, args.folder, args.algo, args.env, *which)
    except (AssertionError, ValueError) as error:
        sys.exit(f"sb3-nbsp record-video: {error}. {NO_RUN}")
    set_random_seed(args.seed)
    env, sequence = _env_of_run(args, Path(run))
    written: list[Path] = []
    with closing(env):
        try:
            model = _load(args, model_path, env)
        except ValueError as error:  # of another class, of other spaces
            sys.exit(f"sb3-nbsp record-video: {error}")
        for name, task_env in _filmed_envs(env, sequence, args.env):
            path = (args.output_folder or Path(run) / "videos") / f"{prefix}-{name.replace('/', '-')}.mp4"
            task_env.seed(args.seed)
            try:
                with playing(model, name):
                    film(model, task_env, path, args.n_timesteps, deterministic=not args.stochastic)
            except NoPictures as error:
                sys.exit(f"sb3-nbsp record-video: {name} cannot be drawn. {error}")
            except KeyboardInterrupt:  # what was filmed is kept
                break
            written.append(path)
    print("\n".join(["Films:", *map(str, written)]))


def _parser() -> argparse.ArgumentParser:
    parser = FilmParser(prog="sb3-nbsp record-video", description="Film a trained agent on every task of its sequence.")
    parser.add_argument("--env", type=EnvironmentName)
    parser.add_argument("-f", "--folder")
    parser.add_argument("-o", "--output-folder", type=Path, help="where the films go (default: videos in the run's folder)")
    parser.add_argument("--algo", choices=list(rl_zoo3.ALGOS))
    steps = f"steps of each film (default: one episode, {LONGEST_EPISODE:,} steps at most)"
    parser.add_argument("-n", "--n-timesteps", type=whole(1, "steps"), help=steps)
    parser.add_argument("--num-threads", type=int, default=-1, help="number of threads for PyTorch (-1 to use default)")
    parser.add_argument("--exp-id", type=int, default=0, help="experiment ID (default: 0: latest, -1: no exp folder)")
    parser.add_argument("--deterministic", action="store_true", help="use deterministic actions")
    parser.add_argument("--stochastic", action="store_true", help="use stochastic actions")
    parser.add_argument("--device", default="auto", help="PyTorch device to use (ex: cpu, cuda...)")
    parser.add_argument("--load-best", action="store_true", help="load the best model instead of the last one")
    parser.add_argument("--load-checkpoint", type=int, help="load the checkpoint of this number of timesteps instead")
    parser.add_argument("--load-last-checkpoint", action="store_true", help="load the last checkpoint instead")
    parser.add_argument("--seed", type=seed, default=0, help="random generator seed")
    parser.add_argument("--gym-packages", nargs="+", default=[], help="modules to import that register environments")
    parser.add_argument("--env-kwargs", nargs="+", action=StoreDict, help="arguments of the environment")
    for flag in ("--no-render", "--norm-reward", "--custom-objects", "--progress", "-P"):
        parser.add_argument(flag, action="store_true", help="understood for enjoy's sake, without effect")
    for option in ("--n-envs", "--verbose", "--reward-log"):
        parser.add_argument(option, help="understood for enjoy's sake, without effect")
    return parser


def _env_of_run(args: argparse.Namespace, run: Path) -> tuple[VecEnv, TaskSequence | None]:
    """The env as the run had it, with its statistics, and its sequence. Without a sequence it is the one that is filmed."""
    saved = run / args.env
    hyperparams = read_hyperparams(args.gym_packages, str(saved))[0]
    env_kwargs = {**env_kwargs_of(saved, hyperparams), **(args.env_kwargs or {})}
    sequence = sequence_of(args.env.gym_id, env_kwargs)
    if sequence is None:
        env_kwargs["render_mode"] = "rgb_array"
    return open_env(args.env.gym_id, saved, env_kwargs, args.seed, args.gym_packages), sequence


def _load(args: argparse.Namespace, path: str, env: VecEnv) -> BaseAlgorithm:
    algorithm = rl_zoo3.ALGOS[args.algo]
    print(f"Loading {path}")
    unused: dict[str, Any] = (
        {"buffer_size": 1, "optimize_memory_usage": False} if hasattr(algorithm, "load_replay_buffer") else {}
    )
    return algorithm.load(path, env=env, custom_objects=NOT_LOADED, device=args.device, seed=args.seed, **unused)


def _filmed_envs(env: VecEnv, sequence: TaskSequence | None, env_name: str) -> Iterator[tuple[str, VecEnv]]:
    if sequence is None:
        yield env_name, env
        return
    for name in sequence.task_names:
        try:
            drawn = sequence.make_task_env(name, render_mode="rgb_array", evaluation=True)
        except Exception as error:  # of any simulator
            raise NoPictures(_no_device(error)) from error
        with closing(wrap_like(env, drawn)) as task_env:
            yield name, task_env


def film(model: BaseAlgorithm, env: VecEnv, path: Path, n_steps: int | None, deterministic: bool) -> int:
    """
    Write a film of what the model does, a picture before each step, at the speed that the env names.

    :param model: the model
    :param env: with one sub-env, which renders as ``rgb_array``
    :param path: of the mp4 file; its folder is made if missing
    :param n_steps: how many steps; ``None``: one episode
    :param deterministic: whether to take the policy's most likely actions
    :return: how many steps were filmed
    :raises NoPictures: if the env cannot be drawn
    """
    observation, state, starts = env.reset(), None, np.ones(env.num_envs, dtype=bool)
    first = _picture(env)
    path.parent.mkdir(parents=True, exist_ok=True)
    fps = env.get_attr("metadata", 0)[0].get("render_fps", 30)
    writer = write_frames(str(path), (first.shape[1], first.shape[0]), fps=fps, macro_block_size=2)
    writer.send(None)
    n_filmed = 0
    with closing(writer):
        while n_filmed < (n_steps or LONGEST_EPISODE) and not (n_steps is None and n_filmed > 0 and starts[0]):
            writer.send(_picture(env) if n_filmed else first)
            action, state = model.predict(observation, state, starts, deterministic)  # type: ignore[arg-type]
            observation, _, starts, _ = env.step(action)
            n_filmed += 1
    return n_filmed


def _picture(env: VecEnv) -> np.ndarray:
    """What the env shows now, (height, width, 3) of uint8."""
    try:
        picture = env.unwrapped.get_images()[0]
    except Exception as error:  # of any simulator
        raise NoPictures(_no_device(error)) from error
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        modes = env.get_attr("metadata", 0)[0].get("render_modes", [])
        raise NoPictures(f"Expected an env that renders as 'rgb_array'; this one knows {', '.join(modes) or 'no pictures'}.")
    return np.ascontiguousarray(picture[..., :3], dtype=np.uint8)


def _no_device(error: Exception) -> str:
    said = ""
    with suppress(Exception):  # some errors of graphics libraries cannot be printed
        said = f": {error}"
    return f"Drawing it failed with {type(error).__name__}{said}. {MUJOCO if 'mujoco' in sys.modules else ''}".rstrip()
