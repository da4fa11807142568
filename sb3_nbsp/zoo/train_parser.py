"""The arguments of ``sb3-nbsp train``: rl-zoo3's, ours, and those of the algorithms."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from sb3_nbsp.common.parents_arguments import MAX_SEED
from sb3_nbsp.evaluation.eval_tasks import EvalTasks, checked_eval_tasks
from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.argument_lines import argument_lines
from sb3_nbsp.zoo.argument_types import log_interval, steps, whole
from sb3_nbsp.zoo.command_parser import CommandParser

USE = """\
sb3-nbsp train --algo ALGO --env ENV [ARGUMENTS]

examples:
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/PointGoal-v0            a point that learns to go east and west, a minute
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/PointGoal-v0 --seeds 0-9             ten agents at once
  sb3-nbsp train --algo nbspsac --env sb3_nbsp/PointGoal-v0 -params rehearsal:"'replay'" memory_size:1000
  sb3-nbsp train --algo sac --env sb3_nbsp/PointGoal-v0                plain SAC on the same tasks, for comparison
  sb3-nbsp train --resume logs/nbspsac/sb3_nbsp-PointGoal-v0_1         a run that was stopped goes on

`sb3-nbsp envs` lists task sequences, `sb3-nbsp new my_tasks.py` writes a script with one of your own,
`sb3-nbsp train --help` shows all arguments."""
# rl-zoo3's arguments that mean something else here
CHANGED: dict[str, dict[str, Any]] = {
    "--verbose": {
        "default": 0,
        "help": "what is shown. Not given: a bar (in a pipe or a log file a line now and then) and what came of it; 0: "
        "neither; 1: SB3's tables and what came of it; 2: also where an error came up",
    },
    "--eval-freq": {
        "default": None,
        "type": whole(-1, "env steps (-1: no evaluation)"),
        "help": "Evaluate the agent every n steps (0: at the start and at task ends only; -1: never; default: four times in "
        "each visit to a task, at least every 25,000 steps)",
    },
    "--seed": {"type": whole(-1, "a seed (-1: a random one)", MAX_SEED)},
    "--n-timesteps": {"type": steps},
    "--save-freq": {"type": steps},
    "--num-threads": {"type": steps},
    "--log-interval": {"type": log_interval},
    "--eval-episodes": {"type": whole(1, "eval-episodes")},
    "--n-eval-envs": {"type": whole(1, "n-eval-envs")},
    "--progress": {"help": "with --verbose 1: rl-zoo3's progress bar beside SB3's tables"},
    "--algo": {"default": None, "metavar": "ALGO", "help": "the algorithm, e.g. nbspsac, or sac to compare"},
    "--env": {"default": None, "help": "id of a task sequence, e.g. sb3_nbsp/PointGoal-v0, or of any env"},
}


class TrainParser(CommandParser):
    """The parser that rl-zoo3's train makes, with our arguments. Where they are not given, ``args.yml`` is rl-zoo3's."""

    changed: ClassVar[dict[str, dict[str, Any]]] = CHANGED

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.usage = USE.partition("\n")[0]
        self.description = "Train an agent, on a task sequence or on any env."
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        self._algo = "nbspsac"
        ours = self.add_argument_group("task sequences, many seeds, going on")
        ours.add_argument(
            "--eval-tasks",
            type=_eval_tasks,
            default=argparse.SUPPRESS,
            metavar="K",
            help="On a task sequence: how many tasks each evaluation plays, the one being trained or just ended and others in "
            "turn, all at the end (default: all, at every evaluation)",
        )
        ours.add_argument(
            "--seeds",
            default=argparse.SUPPRESS,
            metavar="0-9",
            help="instead of --seed: one run for each of these seeds, with a folder of its own; NBSPSAC's learn together, in "
            "less time (like 0-9 or 0,3,10-12)",
        )
        ours.add_argument(
            "--env-workers",
            type=whole(0, "processes"),
            default=argparse.SUPPRESS,
            metavar="N",
            help="with --seeds: processes in which the runs' envs step, 0: in the one that trains (default: one for each core "
            "but one, where there are three cores or more and an env step takes 0.2 ms or more)",
        )
        # Read by given_arguments.py, and taken out before rl-zoo3 trains, see resume.py.
        ours.add_argument(
            "--resume",
            type=Path,
            default=argparse.SUPPRESS,
            metavar="RUN",
            help="Go on with the run in this folder, in it and with its own arguments. -i FOLDER means the same",
        )
        ours.add_argument(
            "--checkpoint-freq",
            type=whole(-1, "env steps (-1: no checkpoints)"),
            default=argparse.SUPPRESS,
            metavar="N",
            help="Env steps between checkpoints of our algorithms (default: 10,000; 0: at task switches only; -1: none)",
        )
        ours.add_argument("--together", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # benchmarks' runs

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """See argparse. What ``--help`` shows depends on ``--algo``."""
        finder = CommandParser(add_help=False)
        finder.add_argument("--algo", default="")
        given = finder.parse_known_args(sys.argv[1:] if args is None else args)[0].algo
        self._algo = given if given in ALGORITHMS else self._algo
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        """See argparse: the arguments of an NBSP algorithm stand at the end."""
        algorithm = ALGORITHMS[self._algo]
        parent = algorithm.sb3_class.__name__
        others = ", ".join(f"--algo {key}" for key in ALGORITHMS if key != self._algo)
        self.epilog = "\n".join(
            [
                f"what NBSP adds to {parent}, given as -params NAME:VALUE NAME:VALUE (values in Python, text as \"'text'\");",
                "shown with its defaults:",
                *(f"  {line}" for line in argument_lines(algorithm)),
                f"{parent}'s own arguments are given in the same way: -params learning_rate:1e-3 batch_size:64.",
                f"The other algorithms' lists: {others}, each with --help.",
            ]
        )
        return super().format_help()


# In place of the module argparse in rl_zoo3.train
ARGPARSE = SimpleNamespace(**{**vars(argparse), "ArgumentParser": TrainParser})


def _eval_tasks(text: str) -> EvalTasks:
    try:
        return checked_eval_tasks(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
