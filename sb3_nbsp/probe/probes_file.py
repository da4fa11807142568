"""What several probes found, in one file."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.probe.study import Probe

SEVERAL = "probes.json"


def save_probes(probes: Sequence[Probe], path: str | os.PathLike[str]) -> None:
    """
    :param probes: what was found
    :param path: JSON file, replaced as a whole: a list of what :meth:`Probe.to_dict` gives, one per line
    """
    with replacing(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(json.dumps(probe.to_dict()) for probe in probes) + "\n]\n")


def load_probes(path: str | os.PathLike[str]) -> list[Probe]:
    """
    :param path: a file of one probe or of several
    :return: what was found
    :raises ValueError: if it is another file
    """
    try:
        content = json.loads(Path(path).read_text())
        return [Probe.from_dict(plain) for plain in (content if isinstance(content, list) else [content])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"Expected a file that `sb3-nbsp probe` wrote, got {path} ({error!r}).") from error
