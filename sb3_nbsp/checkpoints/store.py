"""A store of blobs that never change: each is called by its checksum and lies there once, however many checkpoints need it."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.checkpoints.trees import npz_bytes, read_npz

STORE = "store"


class Store:
    """
    :param folder: a run's folder of checkpoints
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / STORE

    def path(self, name: str) -> Path:
        """Where a blob lies."""
        return self.folder / f"{name}.npz"

    def put(self, arrays: Mapping[str, np.ndarray]) -> str:
        """
        :param arrays: by name
        :return: the blob's name, its checksum
        """
        content = npz_bytes(arrays)
        name = hashlib.sha256(content).hexdigest()
        path = self.path(name)
        if not path.is_file() or path.stat().st_size != len(content):
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        return name

    def get(self, name: str) -> dict[str, np.ndarray]:
        """
        :param name: of a blob
        :return: its arrays
        """
        return read_npz(self.path(name))

    def keep_only(self, names: Collection[str]) -> None:
        """Delete all other blobs, and what a killed process left unfinished."""
        for path in self.folder.glob("*.npz"):  # temporary files too
            if path.stem not in names:
                path.unlink(missing_ok=True)
