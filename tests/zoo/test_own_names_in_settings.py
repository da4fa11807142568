"""Settings may name what is ours: rl-zoo3 evaluates policy_kwargs, and knows torch's names only."""

import pytest
from helpers import run_python

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import UPGD, CReLU

pytest.importorskip("rl_zoo3")


def test_an_activation_and_an_optimizer_of_ours_are_found(tmp_path):
    kwargs = "dict(net_arch=[8, 8], activation_fn=sb3_nbsp.baselines.CReLU, optimizer_class=sb3_nbsp.baselines.UPGD)"
    tasks = ["--env", "sb3_nbsp/PointGoal-v0", "--env-kwargs", "steps_per_task:30", "--eval-freq", "-1"]
    params = ["-params", f'policy_kwargs:"{kwargs}"', "skill_fraction:0", "memory_size:0", "learning_starts:5"]
    run_python("-m", "sb3_nbsp.cli", "train", "--algo", "nbspsac", *tasks, *params, "-f", str(tmp_path), folder=tmp_path)
    model = NBSPSAC.load(next(tmp_path.glob("nbspsac/*/sb3_nbsp-PointGoal-v0.zip")))
    assert type(model.actor.optimizer.base) is UPGD
    assert any(isinstance(module, CReLU) for module in model.actor.modules())
