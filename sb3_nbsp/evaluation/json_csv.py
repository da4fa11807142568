"""Values that fit into JSON, and tables as CSV."""

import csv
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sb3_nbsp.base.atomic_write import replacing


def json_safe(value: Any) -> Any:
    """
    :param value: anything
    :return: containers and plain values as they are, numbers that are not finite as ``None``, all else as its ``repr``
    """
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else repr(value)


def write_csv(path: str | os.PathLike[str], rows: Iterable[Iterable[Any]]) -> None:
    """
    :param path: where to, replaced as a whole
    :param rows: header and rows; ``None`` and NaN leave a cell empty
    """
    blank_nan = ([None if isinstance(cell, float) and math.isnan(cell) else cell for cell in row] for row in rows)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(blank_nan)
