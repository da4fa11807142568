"""The arguments that NBSP adds to an algorithm, a line each, from their one description (:mod:`sb3_nbsp.base.arguments`)."""

import inspect
from typing import Any

from sb3_nbsp.base.arguments import described, doc_of

NAME_WIDTH = 28


def argument_lines(algorithm: type[Any]) -> list[str]:
    """
    :param algorithm: one of our algorithms
    :return: for each argument that it has beside its parent's: ``name:default`` and what it means
    """
    defaults = inspect.signature(algorithm.__init__).parameters
    docs = {name: doc_of(hint) for name, hint in described(algorithm.__init__).items()}
    shown = {name: (f"{name}:{defaults[name].default!r}", doc.line.replace("`", "")) for name, doc in docs.items() if doc}
    return [f"{given:<{NAME_WIDTH}}{meaning}" for given, meaning in shown.values()]
