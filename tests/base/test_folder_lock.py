"""One process at a time in a folder."""

import pytest

from sb3_nbsp.base import folder_lock
from sb3_nbsp.base.folder_lock import lock_folder, lock_holder, unlock_folder, write_holder

pytest.importorskip("fcntl")


def test_one_has_it_and_gives_it_back(tmp_path):
    lock = lock_folder(tmp_path)
    write_holder(lock, 7)
    assert lock_folder(tmp_path) is None and lock_holder(tmp_path) == 7
    unlock_folder(lock)
    assert not list(tmp_path.iterdir()) and lock_holder(tmp_path) is None
    unlock_folder(lock_folder(tmp_path))


def test_a_lock_that_is_given_back_while_it_is_opened_is_none(tmp_path, monkeypatch):
    """Between opening the file and locking it, its holder deletes it: who comes next would lock another file."""
    holder, flock = lock_folder(tmp_path), folder_lock.fcntl.flock

    def late(file, operation):
        if not holder.closed:
            unlock_folder(holder)
        flock(file, operation)

    monkeypatch.setattr(folder_lock.fcntl, "flock", late)
    lock = lock_folder(tmp_path)
    assert lock is not None and lock_folder(tmp_path) is None
    lock.close()
