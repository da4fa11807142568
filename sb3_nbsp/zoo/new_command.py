"""``sb3-nbsp new``: a script with tasks of one's own, to begin with."""

import shlex
from importlib.resources import files
from pathlib import Path

from sb3_nbsp.zoo.command_parser import CommandParser

TEMPLATE = "own_tasks_template.py"


def main(arguments: list[str]) -> None:
    """
    Write the script.

    :param arguments: command line arguments
    :raises SystemExit: with status 2 if the file exists, or cannot be written
    """
    text = "Write a script with a task sequence of your own. It runs as it is, in less than a minute; then edit it."
    parser = CommandParser("sb3-nbsp new", description=text)
    parser.add_argument("file", type=Path, metavar="FILE", help="where it is written, e.g. my_tasks.py; must not exist yet")
    path: Path = parser.parse_args(arguments).file
    if not path.name:
        parser.error("expected the name of a Python file, got none. Write my_tasks.py, for example.")
    if path.suffix != ".py":
        parser.error(f"expected the name of a Python file, got {path}. Write {path.with_suffix('.py')}.")
    script = files(__package__).joinpath(TEMPLATE).read_text()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(script)
    except FileExistsError:
        parser.error(f"{path} exists already and stays as it is. Choose another name.")
    except OSError as error:
        parser.error(f"{path} cannot be written: {error}")
    print(f"Written: {path}. Run it with: python {shlex.quote(str(path))}")
