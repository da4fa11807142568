"""Every suite of ours, shipped and published, passes the checks that `sb3-nbsp benchmark` makes before it trains."""

from pathlib import Path

import pytest

pytest.importorskip("rl_zoo3")
pytest.importorskip("metaworld")
pytest.importorskip("ale_py")

from sb3_nbsp.benchmark.suite import Suite, shipped_suites
from sb3_nbsp.zoo.suite_checks import check_cells

PUBLISHED = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/*.yml"))
SUITES = [*shipped_suites(), *map(str, PUBLISHED)]


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path[-30:])
def test_every_cell_can_be_trained(suite: str, tmp_path: Path) -> None:
    cells = Suite.read(suite).cells(tmp_path)
    assert cells
    check_cells(cells)
