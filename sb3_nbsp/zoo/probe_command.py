"""``sb3-nbsp probe``: the causal test on trained agents, as a table, pictures and JSON."""

import argparse
from pathlib import Path
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

try:
    from rl_zoo3.utils import get_saved_hyperparams
except ImportError as error:
    raise ImportError(f'The probe needs rl-zoo3 ({error}): pip install "sb3-nbsp[zoo]"') from error

from sb3_nbsp.base.plain_text import from_markdown
from sb3_nbsp.base.spare_files import may_fail
from sb3_nbsp.evaluation import SequenceResults, plot_score_histograms
from sb3_nbsp.probe.probe_report import plot_probe, probe_table
from sb3_nbsp.probe.probes_file import SEVERAL, load_probes, save_probes
from sb3_nbsp.probe.study import Probe, probe_model
from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.argument_types import seed, whole
from sb3_nbsp.zoo.command_parser import CommandParser

TEXT = """\
Silence the skill neurons of trained agents, as many random ones, and those with the lowest scores, and see what each task
loses. Writes a table (probe.md), pictures and JSON files."""


def main(arguments: list[str]) -> None:
    """
    Probe the agents of training runs.

    :param arguments: command line arguments
    :raises SystemExit: if a folder holds no run of an NBSP algorithm on a task sequence
    """
    parser = CommandParser(prog="sb3-nbsp probe", description=TEXT)
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="folder of a run of `sb3-nbsp train` (it holds results.json), a model in it, or an earlier probe's probe*.json; "
        "of several, on the same sequence, a table of the means is made, and probes.json with all in one file",
    )
    parser.add_argument(
        "--episodes", type=whole(1, "episodes"), default=20, help="evaluation episodes per task and lesion (default: 20)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="seed of evaluation and random draws")
    parser.add_argument("--no-rescore", action="store_true", help="do not score the tasks again with other seeds")
    parser.add_argument("-o", "--output", type=Path, help="folder for probe.json, probe.md and pictures (default: the run's)")
    args = parser.parse_args(arguments)
    if len(args.runs) > 1 and args.output is None:
        parser.error("expected a folder for what several runs have in common, got none. Name it: -o FOLDER")
    try:
        # Of all before the first one takes its minutes.
        settings = {run: _settings(_folder(run)) for run in args.runs if run.suffix != ".json"}
    except ValueError as error:
        parser.error(str(error))
    output = args.output or _folder(args.runs[0])
    probes: list[Probe] = []
    for i, run in enumerate(args.runs):
        number = i if len(args.runs) > 1 else ""
        probes += [_probe(run, settings[run], args, output, number)] if run in settings else load_probes(run)
        print(f"{i + 1} of {len(args.runs)}: {run}", flush=True)
    table = probe_table(*probes)
    output.mkdir(parents=True, exist_ok=True)
    (output / "probe.md").write_text(table)
    if len(probes) > 1:
        save_probes(probes, output / SEVERAL)
    print(from_markdown(table))
    with may_fail(output / "probe.png", "The table does not need it."):
        plot_probe(*probes, path=output / "probe.png")
    print(f"Written to {output}: probe.md, probe.png; of every run that was probed now its probe*.json and scores*.png")


def _folder(run: Path) -> Path:
    return run.parent if run.suffix in (".zip", ".json") else run


def _probe(run: Path, settings: dict[str, Any], args: argparse.Namespace, output: Path, number: int | str) -> Probe:
    """Probe one run, and write what is its own."""
    folder = _folder(run)
    name = str(settings["env"]).replace("/", "-")
    path = run if run.suffix == ".zip" else folder / f"{name}.zip"
    env = _make_env(settings, folder / name, args.seed)
    model = ALGORITHMS[settings["algo"]].load(path, env=env)
    probe = probe_model(model, env, args.episodes, args.seed, not args.no_rescore)
    env.close()
    output.mkdir(parents=True, exist_ok=True)
    probe.save(output / f"probe{number}.json")
    plot_score_histograms([model.skill_neurons], output / f"scores{number}.png")
    return probe


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / "results.json"
    settings = SequenceResults.read(file).settings if file.is_file() else {}
    if settings.get("algo") not in ALGORITHMS:
        raise ValueError(
            f"Expected the folder of a run with one of {', '.join(ALGORITHMS)} on a task sequence, with its results.json; got "
            f"{folder} ({settings.get('algo', 'no results.json')})."
        )
    return settings


def _make_env(settings: dict[str, Any], saved: Path, seed: int) -> VecEnv:
    from sb3_nbsp.zoo import commands  # registers, and changes Gymnasium by importing rl-zoo3

    commands.register()
    hyperparams, statistics = get_saved_hyperparams(str(saved), norm_reward=False, test_mode=True)
    kwargs = {**settings.get("env_kwargs", {}), "n_envs": 1}
    return commands.rl_zoo3.create_test_env(
        settings["env"], 1, statistics, seed, log_dir=None, should_render=False, hyperparams=hyperparams, env_kwargs=kwargs
    )
