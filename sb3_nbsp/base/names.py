"""Names that are not known, and which come close."""

import difflib
from collections.abc import Iterable, Mapping

MANY = 60  # more than all Meta-World tasks


def did_you_mean(name: str, known: Iterable[str], written: Mapping[str, str] | None = None) -> str:
    """
    :param name: the name that was given
    :param known: the names that exist
    :param written: what is shown for a name that exists; default: the name
    :return: a question, e.g. ``"Did you mean 'reward'?"``; empty where none comes close
    """
    by_lower = {other.lower(): (written or {}).get(other, other) for other in known}
    close = [by_lower[lower] for lower in difflib.get_close_matches(name.lower(), list(by_lower))]
    return f"Did you mean {', '.join(map(repr, close))}?" if close else ""


def unknown_name_message(kind: str, name: str, known: Iterable[str]) -> str:
    """
    Say that a name is unknown, and which names come close.

    :param kind: what was named, e.g. ``"task"``
    :param name: the name that was given
    :param known: the names that exist
    :return: the message; where none comes close and there are very many, it names a few
    """
    known = list(known)
    listed = ", ".join(known) if len(known) <= MANY else f"{', '.join(known[:5])} and {len(known) - 5} others"
    hint = did_you_mean(name, known) or f"Known: {listed}."
    return f"Unknown {kind} {name!r}. {hint}"
