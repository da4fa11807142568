"""The skill neurons of a run, in a file beside its results."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.neurons.skill_neurons import SkillNeurons

SKILL_NEURONS = "skill_neurons.json"
FORMAT = "sb3_nbsp.skill_neurons/1"
DIGITS = 4  # what the file is for is histograms; a saved model has all digits


def write_skill_neurons(records: Mapping[str, Mapping[str, Any]], folder: str | os.PathLike[str]) -> None:
    """
    Write ``skill_neurons.json``, replaced as a whole.

    :param records: :meth:`SkillNeurons.to_dict` of each task, by its name
    :param folder: made if missing
    """
    content = {"format": FORMAT, "tasks": {task: _rounded(record) for task, record in records.items()}}
    with replacing(Path(folder, SKILL_NEURONS)) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def read_skill_neurons(folder: str | os.PathLike[str]) -> dict[str, SkillNeurons]:
    """
    :param folder: of a run
    :return: the skill neurons of each task, scores and shares rounded to four digits; empty for a run that has none, or
        that is older than this file
    :raises ValueError: if the file is broken or of another kind
    """
    path = Path(folder, SKILL_NEURONS)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise _something_else(path, error) from error
    return parse_skill_neurons(content, path)


def parse_skill_neurons(content: Any, where: str | os.PathLike[str]) -> dict[str, SkillNeurons]:
    """
    :param content: what stands in ``skill_neurons.json``
    :param where: its path, for the error's message
    :return: the skill neurons of each task
    :raises ValueError: if it is something else
    """
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        return {task: SkillNeurons.from_dict(record) for task, record in content["tasks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _something_else(where, error) from error


def _something_else(where: str | os.PathLike[str], error: Exception) -> ValueError:
    return ValueError(f"Expected skill neurons in {where}, got something else ({error!r}). Delete the file.")


def _rounded(record: Mapping[str, Any]) -> dict[str, Any]:
    layers = {
        name: {
            **layer,
            "scores": [round(score, DIGITS) for score in layer["scores"]],
            "active_share": [_rounded_share(share) for share in layer["active_share"]],
        }
        for name, layer in record["layers"].items()
    }
    return {**record, "layers": layers}


def _rounded_share(share: float) -> float:
    """0 is kept for neurons that are silent on every step."""
    return max(round(share, DIGITS), 10.0**-DIGITS) if share > 0 else 0.0
