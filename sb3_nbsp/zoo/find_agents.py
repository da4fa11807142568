"""Where trained agents are: runs of ``sb3-nbsp train``, and those that ``make agents`` trains to be looked at."""

import argparse
from pathlib import Path
from typing import Any, ClassVar

from sb3_nbsp.zoo.command_parser import CommandParser
from sb3_nbsp.zoo.run_folders import latest_run_id

LOGS, AGENTS = "logs", "agents"  # where a training writes by default; where `make agents` writes
FOLDER_HELP = f"where the runs are (default: {LOGS}; {AGENTS}, which `make agents` fills, where {LOGS} has none of them)"
NO_RUN = "Expected a run of `sb3-nbsp train`; -f and --exp-id say which. One that was stopped goes on with train --resume."
USE = """\
sb3-nbsp {command} --algo ALGO --env ENV [ARGUMENTS]

examples:
  sb3-nbsp {command} --algo nbspsac --env sb3_nbsp/PointGoal-v0{option}          the newest run in logs/ (or agents/)
  sb3-nbsp {command} --algo nbspsac --env sb3_nbsp/PointGoal-v0{option} --exp-id 2 -f other_logs

`sb3-nbsp train` trains an agent, `make agents` some small ones.
`sb3-nbsp {command} --help` shows all arguments."""


def folder_of(algo: str, env_name: str) -> str:
    """
    :param algo: key of an algorithm
    :param env_name: the env's id with ``-`` for ``/``
    :return: the default folder that has a run of both
    """
    return next((folder for folder in (LOGS, AGENTS) if latest_run_id(Path(folder, algo), env_name)), LOGS)


class AgentParser(CommandParser):
    """The parser of a command that shows an agent: rl-zoo3's options, with our folders."""

    changed: ClassVar[dict[str, dict[str, Any]]] = {
        "--folder": {"default": None, "help": FOLDER_HELP},
        "--algo": {"default": None, "metavar": "ALGO", "help": "the agent's algorithm, e.g. nbspsac"},
        "--env": {"default": None, "help": "the env that it was trained on, e.g. sb3_nbsp/PointGoal-v0"},
    }
    use = USE.format(command="enjoy", option=" --no-render")

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.usage = self.use.partition("\n")[0]

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """
        See argparse.

        :raises SystemExit: with a word on how the command is used, where no agent is named
        """
        given: argparse.Namespace = super().parse_args(args, namespace)
        if given.algo is None or given.env is None:
            self.exit(2, f"usage: {self.use}\n")
        if given.folder is None:
            given.folder = folder_of(given.algo, given.env)
        return given
