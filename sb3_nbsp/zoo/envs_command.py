"""``sb3-nbsp envs``: what there is to learn."""

import argparse

from sb3_nbsp.tasks import named_sequences


def main(arguments: list[str]) -> None:
    """
    List the registered task sequences.

    :param arguments: command line arguments
    """
    argparse.ArgumentParser(prog="sb3-nbsp envs", description="List the registered task sequences.").parse_args(arguments)
    for env_id, description in named_sequences().items():
        print(f"{env_id:<42}{description}")
