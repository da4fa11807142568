"""``sb3-nbsp envs``: what there is to learn."""

from sb3_nbsp.tasks import named_sequences
from sb3_nbsp.zoo.command_parser import CommandParser


def main(arguments: list[str]) -> None:
    """
    List the registered task sequences.

    :param arguments: command line arguments
    """
    CommandParser(prog="sb3-nbsp envs", description="List the registered task sequences.").parse_args(arguments)
    for env_id, description in named_sequences().items():
        print(f"{env_id:<42}{description}")
