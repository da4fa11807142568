"""A disk that gets full at any moment: training goes on, and the newest whole checkpoint is gone on from."""

from pathlib import Path
from typing import Any

import pytest
from full_disk import full_disk
from helpers import same
from helpers.cases import PPO_CASE, SAC_CASE, Case
from helpers.outcomes import everything

from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.checkpoints.manifest import newest_whole
from sb3_nbsp.evaluation import SequenceEvalCallback

STEPS, ENOUGH = 80, 10**9

pytestmark = pytest.mark.filterwarnings("ignore:.*No space left on device", "ignore:.*is damaged")


def learned(case: Case, folder: Path) -> Any:
    evaluation = SequenceEvalCallback(eval_freq=40, n_eval_episodes=1, log_path=folder, draw=False)
    return case.made().learn(STEPS, callback=[evaluation, RunCheckpoints(folder / "checkpoints", freq=30)])


def goes_on(case: Case, folder: Path) -> Any:
    """With room again, from the newest whole checkpoint; ``None`` where there is none."""
    if newest_whole(folder / "checkpoints")[0] is None:
        return None
    evaluation = SequenceEvalCallback(eval_freq=40, n_eval_episodes=1, log_path=folder, draw=False)
    model = case.cls.load_checkpoint(folder, case.sequence_env())
    callbacks = [evaluation, RunCheckpoints(folder / "checkpoints", freq=30)]
    return model.learn(model.steps_left, callback=callbacks, reset_num_timesteps=False)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fill_up(case: Case, folder: Path, shares: Any) -> None:
    """Fill the disk when a share of all writes is done."""
    with full_disk(folder, ENOUGH) as disk:
        whole = everything(learned(case, folder / "whole"))
    expected = {name for name in files(folder / "whole") if "store" not in name}
    rooms = sorted({int(share * disk.n_written) for share in shares})
    gone_on = 0
    for room in rooms:
        run = folder / str(room)
        with full_disk(run, room):
            assert same(everything(learned(case, run)), whole), room
        assert not [name for name in files(run) if name.split("/")[-1].startswith(".")], room
        model = goes_on(case, run)
        if model is not None:
            gone_on += 1
            assert same(everything(model), whole), room
            assert expected <= set(files(run)), room
    assert gone_on > len(rooms) / 2


def test_a_disk_that_gets_full_costs_no_checkpoint(tmp_path):
    fill_up(SAC_CASE, tmp_path, (0.5, 0.95))


@pytest.mark.expensive
@pytest.mark.parametrize("case", [SAC_CASE, PPO_CASE], ids=lambda case: case.id)
def test_at_every_write(case, tmp_path):
    fill_up(case, tmp_path, [i / 1000 for i in range(1000)])
