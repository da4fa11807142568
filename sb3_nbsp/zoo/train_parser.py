"""The arguments that ``sb3-nbsp train`` takes beside rl-zoo3's."""

import argparse
from types import SimpleNamespace
from typing import Any

from sb3_nbsp.evaluation.eval_tasks import EvalTasks, checked_eval_tasks


class TrainParser(argparse.ArgumentParser):
    """The parser that rl-zoo3's train makes, with our arguments. Where they are not given, ``args.yml`` is rl-zoo3's."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_argument(
            "--eval-tasks",
            type=_eval_tasks,
            default=argparse.SUPPRESS,
            metavar="K",
            help="On a task sequence: how many tasks each evaluation plays, the one being trained or just ended and others in "
            "turn, all at the end (default: all, at every evaluation)",
        )
        self.add_argument(
            "--seeds",
            default=argparse.SUPPRESS,
            metavar="0-9",
            help="instead of --seed: one run for each of these seeds, with a folder of its own; NBSPSAC's learn together, in "
            "less time (like 0-9 or 0,3,10-12)",
        )
        self.add_argument(
            "--env-workers",
            default=argparse.SUPPRESS,
            metavar="N",
            help="with --seeds: processes in which the runs' envs step, 0: in the one that trains (default: one for each core "
            "but one, where there are three cores or more and an env step takes 0.2 ms or more)",
        )
        # Taken out before rl-zoo3 reads its arguments, see resume.py; they stand here for --help.
        self.add_argument(
            "--resume",
            default=argparse.SUPPRESS,
            metavar="RUN",
            help="Go on with the run in this folder, in it and with its own arguments. -i FOLDER means the same",
        )
        self.add_argument(
            "--checkpoint-freq",
            default=argparse.SUPPRESS,
            metavar="N",
            help="Env steps between checkpoints of our algorithms (default: 10,000; 0: at task switches only; -1: none)",
        )


# In place of the module argparse in rl_zoo3.train
ARGPARSE = SimpleNamespace(**{**vars(argparse), "ArgumentParser": TrainParser})


def _eval_tasks(text: str) -> EvalTasks:
    try:
        return checked_eval_tasks(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
