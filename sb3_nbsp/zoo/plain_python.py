"""Python text that a run left, judged before it is evaluated: a run may have come from somebody else."""

import ast
import re
from typing import Any

from sb3_nbsp.zoo.run_settings import not_read

# Classes as settings name them, e.g. nn.Tanh, th.optim.Adam, HerReplayBuffer.
CLASS = re.compile(r"((th\.|torch\.)?nn\.|(th|torch)\.optim\.|sb3_nbsp\.([a-z]\w*\.)*)?[A-Z]\w*")
MAKERS = ("dict", "list", "tuple", "set", "float", "int", "bool")
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
# Settings whose text rl-zoo3 evaluates as Python.
EVALUATED = ("policy_kwargs", "replay_buffer_class", "replay_buffer_kwargs", "monitor_kwargs", "normalize")


def is_plain(text: str) -> bool:
    """
    :param text: of Python
    :return: whether it is made of constants, containers, sums and products, and names of classes: evaluating it calls nothing
        of anybody's
    """
    try:
        return _is_plain(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False


def _is_plain(node: ast.AST | None) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.List() | ast.Tuple() | ast.Set():
            return all(map(_is_plain, node.elts))
        case ast.Dict():
            return all(map(_is_plain, (*node.keys, *node.values)))
        case ast.UnaryOp():
            return _is_plain(node.operand)
        case ast.BinOp():
            makes_text = any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(node))
            known = isinstance(node.op, ARITHMETIC) and not makes_text
            return known and _is_plain(node.left) and _is_plain(node.right)
        case ast.Call(func=ast.Name(id=name)):
            return name in MAKERS and all(map(_is_plain, (*node.args, *(keyword.value for keyword in node.keywords))))
        case ast.Name() | ast.Attribute():
            return CLASS.fullmatch(ast.unparse(node)) is not None
    return False


def is_plain_setting(name: str, text: str) -> bool:
    """
    :param name: of a setting
    :param text: of its value, as it is typed
    :return: whether :func:`is_plain` holds for it, and for the text that it is, where that is evaluated once more
    """
    if not is_plain(text):
        return False
    node = ast.parse(text.strip(), mode="eval").body
    return not isinstance(node, ast.Constant) or is_read(name, node.value)


def is_read(name: str, value: Any) -> bool:
    """
    :param name: of a setting
    :param value: as :func:`~sb3_nbsp.zoo.run_settings.read_run_yaml` read it
    :return: whether it is what the run had: no Python object in it, and no text that is code
    """
    return not not_read(value) and not (isinstance(value, str) and name in EVALUATED and not is_plain(value))
