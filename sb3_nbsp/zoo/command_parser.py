"""The parser of every command: what goes wrong is one line, with the name that was meant."""

import argparse
from typing import Any, ClassVar, NoReturn

from sb3_nbsp.base.names import did_you_mean, unknown_name_message
from sb3_nbsp.zoo.pairs import merging, pair


class CommandParser(argparse.ArgumentParser):
    """argparse's, whose errors name what comes close to a wrong option or choice, and leave the long usage to ``--help``."""

    # Options that others add and that mean something else here: what is exchanged of ``add_argument``'s arguments.
    changed: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """See argparse."""
        for name in args:
            kwargs |= self.changed.get(name, {})
        if getattr(kwargs.get("action"), "__name__", "") == "StoreDict":  # rl-zoo3's, which is not imported for this
            kwargs |= {"action": merging(kwargs["action"]), "type": pair}
        return super().add_argument(*args, **kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """
        See argparse.

        :raises SystemExit: with status 2 for an option that is not known
        """
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            hints = (did_you_mean(name.partition("=")[0], self._option_string_actions) for name in unknown)
            self.error(" ".join([f"unknown argument: {' '.join(unknown)}.", *filter(None, hints)]))
        return parsed

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """argparse takes -par for -params whatever ``allow_abbrev`` says; -n100 for -n 100 stays."""
        return [found for found in super()._get_option_tuples(option_string) if found[1] == option_string[:2]]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, unknown_name_message("name", value, map(str, action.choices)))

    def error(self, message: str) -> NoReturn:
        """
        :param message: what went wrong
        :raises SystemExit: with status 2
        """
        self.exit(2, f"{self.prog}: {message}\n`{self.prog} --help` shows all arguments.\n")
