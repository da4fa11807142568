"""
What a checkpoint costs: seconds and bytes of the first one and of those after it, on Meta-World's shape.

    OMP_NUM_THREADS=1 python speed/checkpoints.py
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_nbsp import NBSPSAC
from sb3_nbsp.checkpoints.saving import save


class Noise(gym.Env):
    """Observations and actions of Meta-World's shape."""

    observation_space = spaces.Box(-np.inf, np.inf, (39,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (4,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.standard_normal(39).astype(np.float32), {}

    def step(self, action):
        return self.np_random.standard_normal(39).astype(np.float32), 0.0, False, False, {}


def add_rows(model: NBSPSAC, n: int) -> None:
    rows = np.random.default_rng(model.num_timesteps)
    for _ in range(n):
        seen, after = rows.standard_normal((2, 1, 39)).astype(np.float32)
        model.replay_buffer.add(seen, after, rows.uniform(-1, 1, (1, 4)), rows.standard_normal(1), np.zeros(1), [{}])
    model.num_timesteps += n


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 10_000, 10_000, 10_000])
    args = parser.parse_args()
    env = Noise()
    model = NBSPSAC("MlpPolicy", env, policy_kwargs={"net_arch": [256, 256]}, buffer_size=100_000, seed=0)
    model.learn(300)
    folder = Path(tempfile.mkdtemp())
    known: set[Path] = set()
    print(f"{'rows in the ring':>16} {'new rows':>9} {'CPU s':>6} {'wall s':>7} {'MB written':>11} {'MB in the folder':>17}")
    for n in args.rows:
        add_rows(model, n)
        cpu, wall = time.process_time(), time.perf_counter()
        path = save(model, folder)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        blobs = set((folder / "store").iterdir())
        written = size(path) + sum(blob.stat().st_size for blob in blobs - known)
        known = blobs
        print(
            f"{model.replay_buffer.size():>16,} {n:>9,} {cpu:>6.2f} {wall:>7.2f} {written / 1e6:>11.1f} "
            f"{size(folder) / 1e6:>17.1f}"
        )
    pickled = folder / "buffer.pkl"
    cpu = time.process_time()
    model.save_replay_buffer(pickled)
    print(f"SB3's save_replay_buffer: {time.process_time() - cpu:.2f} CPU s, {pickled.stat().st_size / 1e6:.1f} MB")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
