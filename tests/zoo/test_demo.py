"""``sb3-nbsp demo --again``: what it deletes, and what it leaves."""

import pytest

pytest.importorskip("rl_zoo3")
from sb3_nbsp.zoo import demo_command as demo


class Begun(Exception):
    """Where training would begin."""


def test_only_what_is_trained_again_is_deleted(tmp_path, monkeypatch):
    def begins(cells, *_args, **_kwargs):
        raise Begun

    monkeypatch.setattr(demo, "train_with_progress", begins)
    again = [cell.folder for cell in demo.make_cells(tmp_path, "sac", [0], 60)]
    kept = [cell.folder for cell in demo.make_cells(tmp_path, "sac", [1], 60)]  # of another seed
    kept += [tmp_path / "nbspsac" / "sb3_nbsp-PointGoal-v0_1", tmp_path / "60" / "mine"]
    for folder in (*again, *kept):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    with pytest.raises(Begun):
        demo.main(["-f", str(tmp_path), "--seeds", "0", "--steps-per-task", "60", "--again"])
    assert all((folder / "file").is_file() for folder in kept)
    assert not any(folder.exists() for folder in again)
