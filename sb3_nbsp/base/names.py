"""Names that are not known, and which come close."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    :param name: the name that was given
    :param known: the names that exist
    :return: a question, e.g. ``"Did you mean 'reward'?"``; empty where none comes close
    """
    close = difflib.get_close_matches(name, list(known))
    return f"Did you mean {', '.join(map(repr, close))}?" if close else ""


def unknown_name_message(kind: str, name: str, known: Iterable[str]) -> str:
    """
    Say that a name is unknown, and which names come close.

    :param kind: what was named, e.g. ``"task"``
    :param name: the name that was given
    :param known: the names that exist
    :return: the message
    """
    known = list(known)
    hint = did_you_mean(name, known) or f"Known: {', '.join(known)}."
    return f"Unknown {kind} {name!r}. {hint}"
