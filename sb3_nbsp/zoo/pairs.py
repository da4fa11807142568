"""KEY:VALUE pairs on the command line, whose values rl-zoo3 reads as Python."""

import argparse
from typing import Any

EXPECTED = "KEY:VALUE with a value in Python, e.g. score:\"'taylor'\""


def pair(text: str) -> str:
    """A ``type`` for argparse: KEY:VALUE."""
    key, colon, _ = text.partition(":")
    if not colon or not key.isidentifier():
        hint = f". Write {text.replace('=', ':', 1)}" if "=" in text and not colon else ""
        raise argparse.ArgumentTypeError(f"must be {EXPECTED}; got {text!r}{hint}")
    return text


def merging(store: type[argparse.Action]) -> type[argparse.Action]:
    """
    :param store: rl-zoo3's action, which evaluates pairs and stores them as a dict
    :return: the same; where an option is given twice, its pairs are added to the earlier ones, and a later value counts
    """

    class Merging(store):  # type: ignore[valid-type, misc]
        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
            merged = dict(getattr(namespace, self.dest, None) or {})
            for text in values:
                try:
                    super().__call__(parser, namespace, [text], option_string)
                except Exception as error:  # whatever Python says of it
                    told = f"{type(error).__name__}: {error}"
                    raise ValueError(f"{option_string} {text} cannot be read ({told}). Expected {EXPECTED}") from error
                merged |= getattr(namespace, self.dest)
            setattr(namespace, self.dest, merged)

    return Merging
