"""What is kept of a run: the content of its JSON files, wherever they stand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from sb3_nbsp.benchmark.file_names import DONE, FAILED, MANIFEST, RESULTS, RUN, natural
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.skill_file import SKILL_NEURONS, parse_skill_neurons
from sb3_nbsp.neurons.skill_neurons import SkillNeurons

OF_A_RUN = (MANIFEST, RESULTS, DONE, FAILED, SKILL_NEURONS)

State = Literal["interrupted", "failed", "done"]
Identity = tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """
    A run: a benchmark's cell, or whatever else ``sb3-nbsp train`` has written.

    :param folder: its folder, relative to what was read, with slashes; ``.`` for that folder itself
    :param files: content of its JSON files, by path relative to ``folder``
    :param origin: where they stand, for error messages
    """

    folder: str
    files: Mapping[str, dict[str, Any]] = field(repr=False)
    origin: str = ""

    @property
    def manifest(self) -> dict[str, Any]:
        """What a cell's training is; empty for other runs."""
        return self.files.get(MANIFEST, {})

    @property
    def failure(self) -> dict[str, Any]:
        """What is known of a failed training."""
        return self.files.get(FAILED, {})

    @property
    def state(self) -> State:
        """Of a cell."""
        if DONE in self.files:
            return "done"
        return "failed" if FAILED in self.files else "interrupted"

    @property
    def is_finished(self) -> bool:
        """Whether the whole sequence was trained."""
        return self.state == "done" if self.manifest else bool((self.files.get(RESULTS) or {}).get("finished"))

    @property
    def identity(self) -> Identity:
        """What two records of the same training share: a cell's names and seed, another run's folder."""
        manifest = self.manifest
        if not manifest:
            return (self.folder,)
        parents = PurePosixPath(self.folder).parents  # a benchmark's cells lie in SEQUENCE/METHOD/seedN
        root = str(parents[2]) if len(parents) > 2 else "."
        return root, manifest["sequence"], manifest["method"], str(manifest["seed"])

    def results(self) -> SequenceResults | None:
        """
        :return: what the run has written, or an unfinished cell's newest training; ``None`` before the first evaluation
        :raises ValueError: if it is something else
        """
        inside = max((name for name in self.files if name.startswith(f"{RUN}/")), key=natural, default=RESULTS)
        content = self.files.get(RESULTS) or self.files.get(inside)
        if content is None:
            return None
        try:
            return SequenceResults.from_json(json.dumps(content))
        except ValueError as error:
            raise ValueError(f"{self.origin or self.folder}: {error} Delete or rename the run to go on without it.") from error

    def skill_neurons(self) -> dict[str, SkillNeurons]:
        """
        :return: the skill neurons of each task; empty for a run that kept none
        :raises ValueError: if they are something else
        """
        content = self.files.get(SKILL_NEURONS)
        return {} if content is None else parse_skill_neurons(content, f"{self.origin or self.folder}/{SKILL_NEURONS}")
