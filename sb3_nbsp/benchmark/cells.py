"""Cells: trainings that are independent of each other, each in a process and a folder of its own."""

import re
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sb3_nbsp.benchmark.file_names import DONE, FAILED, MANIFEST, RESULTS, RUN, natural
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.checkpoints.manifest import FOLDER, newest_whole
from sb3_nbsp.evaluation import SequenceResults

State = Literal["waiting", "interrupted", "failed", "done"]


@dataclass(frozen=True)
class Cell:
    """
    One training: a method on a task sequence with a seed.

    :param method: the method's name, as tables show it
    :param algo: key of the algorithm, e.g. ``nbspsac``
    :param env: id of a task sequence
    :param seed: seed of the training
    :param folder: where everything of this cell goes
    :param arguments: further arguments of ``sb3-nbsp train``
    :param sequence: name of the sequence, as tables show it; default: the env's id
    :param family: name that methods along an axis share; default: the method's name
    :param axis: the argument that tells this method from its family, and its value, e.g. ``("memory_size", 100)``
    :param published: what a file beside the cells' folders holds of it; it counts until the cell has a folder
    :param beside: places and manifests of the method's other seeds in that file, without those that failed
    """

    method: str
    algo: str
    env: str
    seed: int
    folder: Path
    arguments: tuple[str, ...] = ()
    sequence: str = ""
    family: str = ""
    axis: tuple[str, Any] | None = None
    published: Record | None = None
    beside: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def name(self) -> str:
        """What people call this cell."""
        return f"{self.method}, {self.sequence or self.env}, seed {self.seed}"

    def train_arguments(self, checkpoint: Path | None = None) -> list[str]:
        """
        :param checkpoint: a run's folder, or a saved model, to go on from
        :return: the arguments of ``sb3-nbsp train``
        """
        own = ["--algo", self.algo, "--env", self.env, "--seed", str(self.seed), "-f", str(self.folder / RUN)]
        return [*own, *(["-i", str(checkpoint)] if checkpoint else []), *self.arguments]

    def command(self, checkpoint: Path | None = None) -> list[str]:
        """
        :param checkpoint: a run's folder, or a saved model, to go on from
        :return: the training command
        """
        return [sys.executable, "-m", "sb3_nbsp.cli", "train", *self.train_arguments(checkpoint)]

    @property
    def state(self) -> State:
        """``interrupted`` is a cell that was started and neither finished nor failed; it may be running."""
        if (self.folder / DONE).is_file():
            return "done"
        if (self.folder / FAILED).is_file():
            return "failed"
        if (self.folder / MANIFEST).is_file():
            return "interrupted"
        return "waiting" if self.published is None else self.published.state

    @property
    def is_done(self) -> bool:
        """Whether the whole sequence was trained."""
        return self.state == "done"

    @property
    def is_trained(self) -> bool:
        """Whether the training came to its end, even if no one was left to mark the cell as done."""
        run = self._newest_run()
        # rl-zoo3 saves the last model after the results, as <env>.zip in the folder <env>_<number>.
        return run is not None and _read(run).finished and zipfile.is_zipfile(run / f"{run.name.rpartition('_')[0]}.zip")

    def results(self) -> SequenceResults | None:
        """What the newest training has written so far."""
        run = self.folder if (self.folder / RESULTS).is_file() else self._newest_run()
        if run is None and self.published is not None and not (self.folder / MANIFEST).is_file():
            return self.published.results()
        return None if run is None else _read(run)

    def newest_results(self) -> Path | None:
        """The newest training's ``results.json``."""
        run = self._newest_run()
        return None if run is None else run / RESULTS

    def _newest_run(self) -> Path | None:
        # A continued training gets a folder of its own: <env>_1, <env>_2, ...
        found = [path.parent for path in (self.folder / RUN).glob(f"*/*/{RESULTS}")]
        return max(found, key=lambda run: int(run.name.rpartition("_")[2]), default=None)

    @property
    def progress(self) -> float:
        """Share of the sequence that was evaluated so far, in [0, 1]."""
        results = self.results()
        if results is None or not results.evaluations:
            return 0.0
        return min(results.evaluations[-1].step / sum(results.segment_steps), 1.0)

    def checkpoint(self) -> Path | None:
        """
        What the training goes on from: the folder of a run with a whole checkpoint; for plain SB3 algorithms, and runs of
        before there were such, the last model that was written in full, with its replay buffer where one is wanted.
        """
        runs = sorted((path.parent for path in (self.folder / RUN).glob(f"*/*/{FOLDER}")), key=natural, reverse=True)
        for run in runs:
            if newest_whole(run / FOLDER)[0] is not None:
                return run
        found = {path: _number(path) for path in (self.folder / RUN).glob("*/*/rl_model_*_steps.zip")}
        with_buffer = "--save-replay-buffer" in self.arguments
        for path in sorted(found, key=lambda path: found[path], reverse=True):
            buffer = path.with_name(f"rl_model_replay_buffer_{found[path]}_steps.pkl")
            if zipfile.is_zipfile(path) and (not with_buffer or _is_whole_pickle(buffer)):
                return path
        return None

    def delete_weights(self) -> None:
        """Delete models and replay buffers; results, figures and settings stay."""
        for path in (self.folder / RUN).glob(f"*/*/{FOLDER}"):
            shutil.rmtree(path)
        for pattern in ("*.zip", "*.pkl"):
            for path in (self.folder / RUN).rglob(pattern):
                path.unlink()


def _read(run: Path) -> SequenceResults:
    return SequenceResults.read(run / RESULTS)


def _number(checkpoint: Path) -> int:
    return int(re.findall(r"\d+", checkpoint.name)[-1])


def _is_whole_pickle(path: Path) -> bool:
    """Whether a pickle was written to its end: its last byte is its stop mark."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"."
