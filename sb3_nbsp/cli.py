"""The command ``sb3-nbsp``: rl-zoo3's commands, knowing our algorithms, task sequences and settings."""

import argparse
import sys
from collections.abc import Callable

from sb3_nbsp.tasks import named_sequences

USAGE = """\
usage: sb3-nbsp COMMAND [ARGUMENTS]

commands:
  train      train an agent: rl-zoo3's train, all its arguments included
  enjoy      watch or test a trained agent: rl-zoo3's enjoy
  envs       list the registered task sequences
  demo       see forgetting and its cure, in minutes
  benchmark  train methods x sequences x seeds of a suite, here or on a cluster
  report     tables with intervals, and figures, of a benchmark or of any runs
  probe      silence the skill neurons of a trained agent and see what it still can
  push       upload a trained agent, with its skill neurons, to the Hugging Face Hub
  pull       download one

examples:
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/PointGoal-v0 -P
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/WindowOpenClose-v0 --env-kwargs steps_per_task:100_000 --seed 1
  sb3-nbsp enjoy --algo nbspsac --env sb3_nbsp/PointGoal-v0 -f logs --no-render
  sb3-nbsp benchmark quick.yml -f runs/quick --n-jobs 2
  sb3-nbsp report runs/quick
  sb3-nbsp probe logs/nbspsac/sb3_nbsp-PointGoal-v0_1
  sb3-nbsp push --algo nbspsac --env sb3_nbsp/PointGoal-v0 -f logs -orga YOU

`sb3-nbsp train --help` shows the arguments of a command.
"""


def main() -> int:
    """
    Run a command given on the command line.

    :return: exit status
    """
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    commands: dict[str, Callable[[list[str]], None]] = {
        "train": _train,
        "enjoy": _enjoy,
        "envs": _envs,
        "demo": _demo,
        "benchmark": _benchmark,
        "report": _report,
        "probe": _probe,
        "push": _push,
        "pull": _pull,
    }
    if command in ("-h", "--help"):
        print(USAGE)
        return 0
    if command not in commands:
        print(f"sb3-nbsp: unknown command {command!r}\n\n{USAGE}", file=sys.stderr)
        return 2
    try:
        commands[command](arguments)
    except ImportError as error:  # an extra is missing: the message names it
        print(f"sb3-nbsp: {error}", file=sys.stderr)
        return 1
    return 0


def _train(arguments: list[str]) -> None:
    from sb3_nbsp.zoo import commands

    commands.train(arguments)


def _enjoy(arguments: list[str]) -> None:
    from sb3_nbsp.zoo import commands

    commands.enjoy(arguments)


def _envs(arguments: list[str]) -> None:
    argparse.ArgumentParser(prog="sb3-nbsp envs", description="List the registered task sequences.").parse_args(arguments)
    for env_id, description in named_sequences().items():
        print(f"{env_id:<42}{description}")


def _demo(arguments: list[str]) -> None:
    from sb3_nbsp.benchmark import demo

    demo.main(arguments)


def _benchmark(arguments: list[str]) -> None:
    from sb3_nbsp.zoo import benchmark_command

    benchmark_command.main(arguments)


def _report(arguments: list[str]) -> None:
    from sb3_nbsp.benchmark import report

    report.main(arguments)


def _probe(arguments: list[str]) -> None:
    from sb3_nbsp.zoo import probe_command

    probe_command.main(arguments)


def _push(arguments: list[str]) -> None:
    from sb3_nbsp.zoo import hub

    hub.push(arguments)


def _pull(arguments: list[str]) -> None:
    from sb3_nbsp.zoo import hub

    hub.pull(arguments)


if __name__ == "__main__":
    sys.exit(main())
