"""What is said of a GPU's memory before a run is what the run takes, within 10 %. Nothing else may use the GPU meanwhile."""

import gc
import re

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp import NBSPSAC
from sb3_nbsp.population import Population

pytestmark = pytest.mark.gpu


class FreeEnv(gym.Env):
    """An env that costs nothing, in Meta-World's shape."""

    observation_space = spaces.Box(-1.0, 1.0, (39,))
    action_space = spaces.Box(-1.0, 1.0, (4,))

    def reset(self, **_):
        return np.zeros(39, np.float32), {}

    def step(self, action):
        return np.zeros(39, np.float32), 0.0, False, False, {}


class MostTaken(BaseCallback):
    """What the device lacks while the agent learns, at most."""

    taken = 0

    def _on_step(self) -> bool:
        if self.n_calls % 50 == 0:
            th.cuda.synchronize()
            free, total = th.cuda.mem_get_info()
            self.taken = max(self.taken, total - free)
        return True


CASES = {
    "one agent": (1, [256, 256], 256, 100_000),
    "ten agents": (10, [256, 256], 256, 100_000),
    "64 agents": (64, [128, 128], 128, 100_000),
    "one agent, much to remember": (1, [256, 256], 256, 5_000_000),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_is_what_is_taken(name, device, capsys):
    if device == "cpu":
        pytest.skip("there is no memory of a GPU")
    n_agents, net, batch_size, buffer_size = CASES[name]
    th.cuda.synchronize()
    gc.collect()  # the agents of the case before
    th.cuda.empty_cache()
    models = [
        NBSPSAC(
            "MlpPolicy",
            FreeEnv(),
            seed=seed,
            device=device,
            verbose=1,
            buffer_size=buffer_size,
            batch_size=batch_size,
            learning_starts=batch_size,
            policy_kwargs={"net_arch": net},
        )
        for seed in range(n_agents)
    ]
    watch = MostTaken()
    steps = batch_size + 200
    if n_agents == 1:
        models[0].learn(steps, callback=watch, log_interval=None)
    else:
        Population(models).learn(steps, callbacks=[watch, *[None] * (n_agents - 1)], log_interval=None)
    said = re.findall(r"Memory of cuda\S*: ([\d.]+) GB while they learn \((.*)\)", capsys.readouterr().out)
    stated = float(said[-1][0]) * 1e9
    with capsys.disabled():  # for whoever looks after the figures
        print(f"\n{name}: said {stated / 1e9:.3f} GB ({said[-1][1]}), taken {watch.taken / 1e9:.3f} GB")
    assert abs(stated - watch.taken) < 0.1 * watch.taken
