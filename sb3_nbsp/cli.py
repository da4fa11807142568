"""The command ``sb3-nbsp``: rl-zoo3's commands, knowing our algorithms, task sequences and settings."""

import os
import platform
import sys
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from sb3_nbsp import __version__
from sb3_nbsp.base.names import did_you_mean
from sb3_nbsp.zoo.mistakes import take_verbose, told

USAGE = """\
usage: sb3-nbsp COMMAND [ARGUMENTS]

commands:
  train         train an agent: rl-zoo3's train, all its arguments included
  enjoy         watch or test a trained agent: rl-zoo3's enjoy
  record-video  film a trained agent on every task of its sequence
  envs          list the registered task sequences
  new           write a script with a task sequence of your own, to be edited
  demo          see forgetting and its cure, in minutes
  benchmark     train methods x sequences x seeds of a suite, here or on a cluster
  report        tables with intervals, and figures, of a benchmark or of any runs
  probe         silence the skill neurons of a trained agent and see what it still can
  push          upload a trained agent, with its skill neurons, to the Hugging Face Hub
  pull          download one

examples:
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/PointGoal-v0
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/CoffeeButtonWindowClose-v0 --seed 1
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/PointGoal-v0 --seeds 0-9
  sb3-nbsp new my_tasks.py
  sb3-nbsp enjoy --algo nbspsac --env sb3_nbsp/PointGoal-v0 --no-render
  sb3-nbsp record-video --algo nbspsac --env sb3_nbsp/PointGoal-v0
  sb3-nbsp benchmark quick.yml -f runs/quick --n-jobs 2
  sb3-nbsp report runs/quick
  sb3-nbsp probe logs/nbspsac/sb3_nbsp-PointGoal-v0_1
  sb3-nbsp push --algo nbspsac --env sb3_nbsp/PointGoal-v0 -f logs -orga YOU

`sb3-nbsp train --help` shows the arguments of a command, `sb3-nbsp --version` the versions.
"""

# Command: where it is. Nothing of it is imported before it is asked for: rl-zoo3 changes Gymnasium on import.
COMMANDS = {
    "train": "sb3_nbsp.zoo.commands:train",
    "enjoy": "sb3_nbsp.zoo.commands:enjoy",
    "record-video": "sb3_nbsp.zoo.video:main",
    "envs": "sb3_nbsp.zoo.envs_command:main",
    "new": "sb3_nbsp.zoo.new_command:main",
    "demo": "sb3_nbsp.zoo.demo_command:main",
    "benchmark": "sb3_nbsp.zoo.benchmark_command:main",
    "report": "sb3_nbsp.zoo.report_command:main",
    "probe": "sb3_nbsp.zoo.probe_command:main",
    "push": "sb3_nbsp.zoo.hub:push",
    "pull": "sb3_nbsp.zoo.hub:pull",
}
LIBRARIES = ("stable-baselines3", "sb3-contrib", "rl-zoo3", "gymnasium", "torch", "numpy")


def main() -> int:
    """
    Run a command given on the command line.

    :return: exit status
    """
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if command in ("-h", "--help"):
        print(USAGE)
        return 0
    if command == "--version":
        print(versions())
        return 0
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS) or f"Commands: {', '.join(COMMANDS)}."
        print(f"sb3-nbsp: unknown command {command!r}. {hint}\n`sb3-nbsp --help` says what they do.", file=sys.stderr)
        return 2
    warnings.formatwarning = _as_a_line
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())  # last: a user's own modules are found, and hide none
    verbose, arguments = take_verbose(command, arguments)
    module, _, function = COMMANDS[command].partition(":")
    try:
        getattr(import_module(module), function)(arguments)
        sys.stdout.flush()
    except Exception as error:
        words = told(command, error, verbose)
        if words is None:
            raise
        if isinstance(error, BrokenPipeError):  # whoever reads has read enough, as `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print(words, file=sys.stderr)
        return 1
    return 0


def versions() -> str:
    """
    :return: a line for this package and for each library that matters to a run
    """
    lines = [f"sb3-nbsp {__version__}"]
    for name in LIBRARIES:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} (not installed)")
    return "\n".join([*lines, f"Python {platform.python_version()}"])


def _as_a_line(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning as a user reads it: without the line of our code that gave it. Others' warnings say where they come from."""
    where = "" if issubclass(category, UserWarning) else f" ({category.__name__} at {filename}:{lineno})"
    return f"Warning: {message}{where}\n"


if __name__ == "__main__":
    sys.exit(main())
