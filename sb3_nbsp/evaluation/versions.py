"""Versions of what a run's numbers depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    *("sb3-nbsp", "stable-baselines3", "sb3-contrib", "rl-zoo3", "torch", "numpy", "gymnasium"),
    *("metaworld", "mujoco", "ale-py"),
)


def library_versions() -> dict[str, str]:
    """
    :return: versions of the installed packages that a run's numbers depend on
    """
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # an extra
            continue
    return versions
