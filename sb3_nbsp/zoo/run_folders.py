"""Folders of runs, ``LOGS/ALGO/ENV_1``, ``ENV_2``, ...: which is the latest, and one of its own for a new run."""

import glob
import os
import re
from pathlib import Path
from typing import IO

from sb3_nbsp.base.folder_lock import lock_folder, lock_holder, write_holder


def latest_run_id(log_path: str | Path, env_name: str) -> int:
    """
    rl-zoo3's ``get_latest_run_id``, which takes a path for a pattern: it finds nothing in a folder called ``logs [1]``.

    :param log_path: folder of an algorithm's runs
    :param env_name: the env's id with ``-`` for ``/``
    :return: the highest number of a run, 0 if there is none
    """
    folder = Path(log_path)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = (re.fullmatch(rf"{re.escape(env_name)}_([0-9]+)", name) for name in names)
    return max((int(match[1]) for match in found if match), default=0)


def files_like(path: str) -> list[str]:
    """
    In place of ``glob.glob``, which takes a folder called ``logs [1]`` for a pattern, too.

    :param path: a folder that exists and, behind it, a pattern of names, which may have folders of its own
    :return: the files there
    """
    folder = os.path.dirname(path)
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return glob.glob(glob.escape(folder) + path[len(folder) :])


def new_run(log_path: str | Path, env_name: str, ending: str = "") -> tuple[Path, IO[str]]:
    """
    Make a folder that no other run has, also where several begin at the same moment.

    :param log_path: folder of an algorithm's runs
    :param env_name: the env's id with ``-`` for ``/``
    :param ending: what stands behind the run's number
    :return: the run's folder, and its lock
    """
    number = latest_run_id(log_path, env_name) + 1
    while True:
        run = Path(log_path, f"{env_name}_{number}{ending}")
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return run, lock_run(run)


def lock_run(run: Path) -> IO[str]:
    """
    Keep other processes from training in a run's folder until this one ends or closes the lock.

    :param run: its folder
    :return: the lock, an open file
    :raises ValueError: if another process trains there
    """
    lock = lock_folder(run)
    if lock is None:
        raise ValueError(
            f"Process {lock_holder(run)} is training the run in {run}. Expected a run that has stopped: wait for its end, or "
            "stop that process first."
        )
    write_holder(lock, os.getpid())
    return lock
