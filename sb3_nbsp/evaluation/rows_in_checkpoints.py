"""What a checkpoint keeps of an evaluation callback: a run that goes on has the very rows of one that never stopped."""

import time
from dataclasses import asdict
from typing import Any

from sb3_nbsp.evaluation.carried_over import is_still_finished
from sb3_nbsp.evaluation.json_csv import json_safe
from sb3_nbsp.evaluation.results import Evaluation
from sb3_nbsp.evaluation.told_success import telling_tasks


def checkpoint_state(self: Any) -> dict[str, Any]:
    """The rows so far, and the settings as the run was started with."""
    rows = [asdict(evaluation) for evaluation in self.results.evaluations]
    settings = json_safe(self.results.settings)
    wall_time_s = time.perf_counter() - self._started
    return {"evaluations": rows, "settings": settings, "wall_time_s": wall_time_s, "telling": sorted(self._telling)}


def restore_checkpoint_state(self: Any, state: dict[str, Any]) -> None:
    """Go on after the rows of a checkpoint."""
    self.results.evaluations = [Evaluation(**entry) for entry in state["evaluations"]]
    self._telling |= telling_tasks(self.results.evaluations) | set(state.get("telling", ()))  # earlier versions have none
    self.results.finished = is_still_finished(self.results)
    self.results.settings = state["settings"]
    self._started = time.perf_counter() - state["wall_time_s"]
    self._write()
