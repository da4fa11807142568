"""What a command says of an error: a line where it came up before the work began, all of it for anything else."""

import argparse
import traceback
import zipfile
from collections.abc import Sequence

import gymnasium as gym

from sb3_nbsp.base.finite import NotFiniteError

# As rl-zoo3, Gymnasium, our constructors, files and Python itself tell users' mistakes.
IN_WORDS = (AssertionError, AttributeError, ImportError, OSError, TypeError, ValueError, gym.error.Error, zipfile.BadZipFile)
BY_NAME = (ArithmeticError, LookupError, NameError, SyntaxError)  # whose text alone says little, such as a missing key's
ALWAYS = (ImportError, NotFiniteError)  # an extra is missing, whose name the message tells; a training that diverged
# Functions in which a command works. What goes wrong there is no mistake on the command line.
WORK = frozenset(
    {
        *("learn", "hyperparameters_optimization", "save_trained_model", "finish"),  # train
        *("predict", "step", "film", "probe_model"),  # enjoy, record-video, probe
        *("train_with_progress", "submit"),  # benchmark, demo
    }
)
# Packages that do not come with ours: which extra brings them.
EXTRAS = {
    **dict.fromkeys(("rl_zoo3", "huggingface_hub", "huggingface_sb3", "imageio_ffmpeg", "rich", "tqdm", "yaml"), "zoo"),
    **dict.fromkeys(("pandas", "requests", "pygame"), "zoo"),
    **dict.fromkeys(("matplotlib", "scipy"), "plots"),
    **{"metaworld": "metaworld", "ale_py": "atari", "cv2": "atari", "shimmy": "dmc", "submitit": "slurm"},
}
WITH_VERBOSE = ("train", "enjoy", "record-video")  # that have such an option of their own


def told(command: str, error: Exception, verbose: int) -> str | None:
    """
    :param command: e.g. ``train``
    :param error: that ended it
    :param verbose: what ``--verbose`` asked for; from 2 on the error itself is shown
    :return: what a user reads; ``None`` where the traceback shall be seen
    """
    if not isinstance(error, (*IN_WORDS, *BY_NAME)):
        return None
    if not isinstance(error, ALWAYS) and (verbose > 1 or raised_in(error, *WORK)):
        return None
    text = str(error).strip()
    extra = EXTRAS.get((error.name or "").partition(".")[0]) if isinstance(error, ImportError) else None
    if extra is not None and "pip install" not in text:
        text += f': pip install "sb3-nbsp[{extra}]"'
    words = text if text and isinstance(error, IN_WORDS) else f"{type(error).__name__}: {text}".rstrip(": ")
    where = "" if isinstance(error, ALWAYS) else "\n(--verbose 2 shows where this came up.)"
    return f"sb3-nbsp {command}: {words}{where}"


def take_verbose(command: str, arguments: Sequence[str]) -> tuple[int, list[str]]:
    """
    :param command: e.g. ``probe``
    :param arguments: its command line arguments
    :return: what ``--verbose`` asks for, 0 without it; the arguments that the command takes
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--verbose", nargs="?", default="0")  # what is no number is refused by the command
    given, rest = parser.parse_known_args(list(arguments))
    verbose = int(given.verbose) if str(given.verbose).isdigit() else 0
    return verbose, list(arguments) if command in WITH_VERBOSE or verbose == 0 else rest


def raised_in(error: BaseException, *functions: str) -> bool:
    """
    :param error: that was raised
    :param functions: names
    :return: whether it came out of one of them
    """
    return any(frame.name in functions for frame in traceback.extract_tb(error.__traceback__))
