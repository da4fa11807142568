"""Every suite of ours, shipped and published, passes the checks that `sb3-nbsp benchmark` makes before it trains."""

import json
from pathlib import Path

import pytest

pytest.importorskip("rl_zoo3")
pytest.importorskip("metaworld")
pytest.importorskip("ale_py")

from sb3_nbsp.benchmark.suite import Suite, shipped_suites
from sb3_nbsp.zoo.suite_checks import check_cells

PUBLISHED = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/*.yml"))
SUITES = [*shipped_suites(), *map(str, PUBLISHED)]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"algo": "nbspsac", "params": {"noise_type": "normal"}}, "noise_type needs noise_std"),
        ({"algo": "sac", "params": {"batch_size": 0}}, "batch_size must be"),
        ({"algo": "sac", "params": {"batchsize": 8}}, "Did you mean 'batch_size'"),
        ({"algo": "td3", "params": {"n_envs": 0}}, "n_envs must be"),
    ],
)
def test_settings_are_checked_as_train_checks_them(method: dict, words: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yml"
    path.write_text(json.dumps({"seeds": [0], "sequences": {"s": {"env": "sb3_nbsp/PointGoal-v0"}}, "methods": {"m": method}}))
    with pytest.raises(ValueError, match=words):
        check_cells(Suite.read(path).cells(tmp_path))


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path[-30:])
def test_every_cell_can_be_trained(suite: str, tmp_path: Path) -> None:
    cells = Suite.read(suite).cells(tmp_path)
    assert cells
    check_cells(cells)
