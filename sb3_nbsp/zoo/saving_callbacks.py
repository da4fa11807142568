"""What rl-zoo3 saves during a training, for runs that are stopped and go on."""

from pathlib import Path

from rl_zoo3.callbacks import SaveVecNormalizeCallback
from stable_baselines3.common.callbacks import CheckpointCallback

from sb3_nbsp.base.spare_files import may_fail


class StatisticsMayFail(SaveVecNormalizeCallback):
    """rl-zoo3's, which goes on where the file cannot be written; the next time tries again."""

    def _on_step(self) -> bool:
        with may_fail(self.save_path, "Training goes on; it is tried again."):
            super()._on_step()
        return True


class ResumableCheckpoint(CheckpointCallback):
    """
    Checkpoints with what training needs to go on: statistics and, if wanted, the replay buffer, of which only the newest
    is kept (each is as large as ``buffer_size`` transitions).

    :param save_freq: steps of each sub-env between checkpoints
    :param save_path: folder
    :param save_replay_buffer: whether to save the replay buffer
    """

    def __init__(self, save_freq: int, save_path: str, save_replay_buffer: bool):
        super().__init__(save_freq, save_path, save_replay_buffer=save_replay_buffer, save_vecnormalize=True, verbose=1)

    def _on_step(self) -> bool:
        keep_going = super()._on_step()
        if self.n_calls % self.save_freq == 0:
            newest = self._checkpoint_path("replay_buffer_", extension="pkl")
            for older in Path(self.save_path).glob(f"{self.name_prefix}_replay_buffer_*_steps.pkl"):
                if older != Path(newest):
                    older.unlink()
        return keep_going
