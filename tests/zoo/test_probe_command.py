"""What ``sb3-nbsp probe`` knows before the first run takes its minutes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.reported_runs import run_of

from sb3_nbsp.probe.probes_file import load_probes
from sb3_nbsp.probe.study import Probe
from sb3_nbsp.zoo import probe_command

PROBE = Probe(
    performance={("", "none"): {"a": 1.0, "b": 0.0}},
    measure="success rate",
    lesions={},
    task_overlap={},
    seed_overlap={"a": 0.5, "b": 0.5},
    chance_overlap=0.1,
    diagnostics={},
    n_eval_episodes=20,
)


def run_with(folder: Path, told: set[str]) -> str:
    """A run in which these tasks told success."""
    run = run_of(settings={"algo": "nbspsac", "env": "E"})
    evaluations = [
        replace(e, success={task: rate if task in told else None for task, rate in e.success.items()}) for e in run.evaluations
    ]
    replace(run, evaluations=evaluations).write(folder)
    return str(folder)


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """What each run is probed with; nothing is probed."""
    given: list[set[str]] = []

    def probed(*args: Any) -> Probe:
        given.append(args[-1])
        return PROBE

    monkeypatch.setattr(probe_command, "_settings", lambda *_: {})
    monkeypatch.setattr(probe_command, "_probe", probed)
    monkeypatch.setattr(probe_command, "plot_probe", lambda *_, **__: None)
    return given


def test_a_run_in_which_nothing_succeeded_is_read_as_the_others(tmp_path: Path, telling: list[set[str]]) -> None:
    runs = [run_with(tmp_path / "one", set()), run_with(tmp_path / "two", {"a"}), run_with(tmp_path / "three", {"b"})]
    probe_command.main([*runs, "-o", str(tmp_path / "out")])
    assert telling == [{"a", "b"}] * 3
    PROBE.save(tmp_path / "probe.json")
    probe_command.main([runs[0], str(tmp_path / "probe.json"), "-o", str(tmp_path / "out")])
    assert telling[3:] == [{"a", "b"}] and load_probes(tmp_path / "out" / "probes.json") == [PROBE, PROBE]


@pytest.mark.parametrize(
    ("earlier", "typed", "words"),
    [
        ([PROBE], ["--episodes", "5"], "--episodes: 20 there, 5 here"),
        ([PROBE], ["--no-rescore"], "--no-rescore: False there, True here"),
        ([replace(PROBE, measure="mean return")], [], "measure: mean return there, success rate here"),
        ([PROBE, replace(PROBE, n_eval_episodes=5)], [], "n_eval_episodes is 20 in one and 5 in another"),
    ],
)
def test_earlier_probes_of_another_kind_are_refused_before_anything_is_probed(
    earlier: list[Probe],
    typed: list[str],
    words: str,
    tmp_path: Path,
    telling: list[set[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(tmp_path / f"{i}.json") for i in range(len(earlier))]
    for probe, file in zip(earlier, files, strict=True):
        probe.save(file)
    with pytest.raises(SystemExit):
        probe_command.main([run_with(tmp_path / "run", {"a", "b"}), *files, "-o", str(tmp_path / "out"), *typed])
    assert words in capsys.readouterr().err and not telling and not (tmp_path / "out").exists()
