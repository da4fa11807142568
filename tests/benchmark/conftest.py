"""What tests of reports share."""

import pytest

from sb3_nbsp.benchmark import report


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of a report's time."""
    monkeypatch.setattr(report, "draw", lambda *_: None)
