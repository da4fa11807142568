"""What all Atari tasks share of the emulator: its ids, its buttons, and how long a game may last."""

import gymnasium as gym

EPISODE_FRAMES = 108_000  # 30 minutes: where published scores end a game, and ale-py's own limit
FRAMES_PER_SECOND = 60
FRAME_SKIP = 4
ID = "{}NoFrameskip-v4"
NOOP_FRAMES = 30  # at most, before an episode begins
NOOP, FIRE, UP = 0, 1, 2  # of the 18 actions


def import_emulator() -> None:
    """Let Gymnasium know the games. The emulator reports errors, and no longer its version with each process."""
    try:
        import ale_py
        import cv2  # noqa: F401 (SB3's wrapper resizes frames with it, and would miss it at the first reset only)
    except ImportError as error:
        raise ImportError(f'Atari games need ale-py and OpenCV ({error}): pip install "sb3-nbsp[atari]"') from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    gym.register_envs(ale_py)
