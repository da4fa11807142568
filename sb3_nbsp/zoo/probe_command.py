"""``sb3-nbsp probe``: the causal test on trained agents, as a table, pictures and JSON."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.plain_text import from_markdown
from sb3_nbsp.base.spare_files import may_fail
from sb3_nbsp.evaluation import SequenceResults, plot_score_histograms
from sb3_nbsp.evaluation.told_success import telling_tasks
from sb3_nbsp.probe.probe_report import check_comparable, plot_probe, probe_table
from sb3_nbsp.probe.probes_file import SEVERAL, load_probes, save_probes
from sb3_nbsp.probe.study import Probe, probe_model
from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.argument_types import seed, whole
from sb3_nbsp.zoo.command_parser import CommandParser
from sb3_nbsp.zoo.opened_runs import check_run_env, import_packages, open_env
from sb3_nbsp.zoo.resume import env_name

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
    parser.add_argument("--gym-packages", nargs="+", default=[], help="modules to import that register environments")
    args = parser.parse_args(arguments)
    if len(args.runs) > 1 and args.output is None:
        parser.error("expected a folder for what several runs have in common, got none. Name it: -o FOLDER")
    try:
        # Of all before the first one takes its minutes.
        earlier = {run: load_probes(run) for run in args.runs if run.suffix == ".json"}
        settings = {run: _settings(run, args.gym_packages) for run in args.runs if run.suffix != ".json"}
        telling = _told_by_any([probe for probes in earlier.values() for probe in probes], list(settings), args)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    output = args.output or _folder(args.runs[0])
    probes: list[Probe] = []
    for i, run in enumerate(args.runs):
        number = i if len(args.runs) > 1 else ""
        probes += [_probe(run, settings[run], args, output, number, telling)] if run in settings else earlier[run]
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


def _told_by_any(earlier: Sequence[Probe], runs: Sequence[Path], args: argparse.Namespace) -> set[str]:
    """
    The tasks that told success in any run: what one seed never reached is no other measure.

    :raises ValueError: where earlier probes and those of now would have no common mean
    """
    told = [telling_tasks(SequenceResults.read(_folder(run)).evaluations) for run in runs]
    if not earlier:
        return set().union(*told)
    first = check_comparable(earlier)
    tasks = set(first.performance["", "none"])
    if not runs:
        return tasks
    known = set().union(*told)
    wanted = {
        "--episodes": (first.n_eval_episodes, args.episodes),
        "--no-rescore": (not first.seed_overlap, args.no_rescore),
        "measure": (first.measure, "success rate" if tasks <= known else first.measure),
    }
    if differ := [f"{name}: {there} there, {here} here" for name, (there, here) in wanted.items() if there != here]:
        raise ValueError(
            f"Expected earlier probes that can be averaged with those of now, got other ones ({'; '.join(differ)}). Probe "
            "with the same arguments; runs in another measure by themselves."
        )
    return known | (tasks if first.measure == "success rate" else set())


def _folder(run: Path) -> Path:
    return run.parent if run.suffix in (".zip", ".json") else run


def _probe(
    run: Path, settings: dict[str, Any], args: argparse.Namespace, output: Path, number: int | str, telling: set[str]
) -> Probe:
    """Probe one run, and write what is its own."""
    folder = _folder(run)
    env = _make_env(settings, _saved(folder, settings), args)
    model = ALGORITHMS[settings["algo"]].load(_model(run, settings), env=env)
    probe = probe_model(model, env, args.episodes, args.seed, not args.no_rescore, telling)
    env.close()
    output.mkdir(parents=True, exist_ok=True)
    probe.save(output / f"probe{number}.json")
    plot_score_histograms([model.skill_neurons], output / f"scores{number}.png")
    return probe


def _saved(folder: Path, settings: dict[str, Any]) -> Path:
    return folder / env_name(str(settings["env"]))


def _model(run: Path, settings: dict[str, Any]) -> Path:
    return run if run.suffix == ".zip" else run / f"{_saved(run, settings).name}.zip"


def _settings(run: Path, packages: list[str]) -> dict[str, Any]:
    """What a run tells of itself. Its model is there, and its env is registered."""
    folder = _folder(run)
    file = folder / "results.json"
    settings = SequenceResults.read(file).settings if file.is_file() else {}
    if settings.get("algo") not in ALGORITHMS:
        raise ValueError(
            f"Expected the folder of a run with one of {', '.join(ALGORITHMS)} on a task sequence, with its results.json; got "
            f"{folder} ({settings.get('algo', 'no results.json')})."
        )
    model = _model(run, settings)
    if not model.is_file():
        there = ", ".join(sorted(path.name for path in folder.glob("*.zip"))) or "none"
        raise ValueError(
            f"Expected a model at {model}; models in {folder}: {there}. Name one of them, or go on with a run that was "
            f"stopped: sb3-nbsp train --resume {shlex.quote(str(folder))}"
        )
    import_packages(packages, _saved(folder, settings))
    check_run_env(settings["env"], _saved(folder, settings))
    return settings


def _make_env(settings: dict[str, Any], saved: Path, args: argparse.Namespace) -> VecEnv:
    from sb3_nbsp.zoo import commands  # registers, and changes Gymnasium by importing rl-zoo3

    commands.register()
    kwargs = dict(settings.get("env_kwargs", {}))
    if "n_envs" in kwargs:  # ours take it; a foreign env need not
        kwargs["n_envs"] = 1
    return open_env(settings["env"], saved, kwargs, args.seed, args.gym_packages)
