"""YAML that people write, in which a name that stands twice is a mistake."""

from collections.abc import Iterator
from typing import Any

MERGE = "tag:yaml.org,2002:merge"  # "<<", which may stand more than once


def load_yaml(source: Any) -> Any:
    """
    YAML's safe load, which refuses a name that a mapping has twice: YAML's own keeps the last one in silence.

    :param source: text, or an open file
    :return: its values
    :raises ImportError: without PyYAML
    :raises yaml.YAMLError: if it is no YAML, or a mapping has a name twice
    """
    import yaml

    loader = yaml.SafeLoader(source)
    try:
        node = loader.get_single_node()
        for first, again in _names_twice(node, set()):
            line = first.start_mark.line + 1
            words = f"expected each name once, got {again.value!r} again, which stands in line {line} already"
            raise yaml.constructor.ConstructorError(None, None, words, again.start_mark)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _names_twice(node: Any, seen: set[int]) -> Iterator[tuple[Any, Any]]:
    """Keys of mappings as they are written, before anything is merged into these: the first one and the next of its name."""
    if node is None or id(node) in seen:  # an anchor is one node, wherever it is named
        return
    seen.add(id(node))
    if node.id == "sequence":
        for part in node.value:
            yield from _names_twice(part, seen)
    if node.id == "mapping":
        names: dict[tuple[str, str], Any] = {}
        for key, value in node.value:
            first = names.setdefault((key.tag, str(key.value)), key)
            if first is not key and key.tag != MERGE:
                yield first, key
            yield from _names_twice(value, seen)
