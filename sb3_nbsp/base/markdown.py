"""Names of others in Markdown: shown as they are, whatever they consist of."""

import re

# A name can hold a table's bar, a link, a picture, emphasis, code or HTML.
SPECIAL = re.compile(r"[\\`*\[\]|]|(?<!\w)_|_(?!\w)")
ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def one_line(text: str) -> str:
    """
    :param text: any
    :return: the same without what ends a line or does not show
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)


def escaped(text: object) -> str:
    """
    :param text: a name of a method, sequence or task, or anything else that came with a run
    :return: Markdown that shows it, in a paragraph, heading or table
    """
    return SPECIAL.sub(lambda found: f"\\{found.group()}", one_line(str(text)).translate(ENTITIES))


def code(text: object) -> str:
    """
    :param text: a setting or a path
    :return: a code span that shows it, also in a table
    """
    inner = one_line(str(text))
    longest = max((len(run) for run in re.findall("`+", inner)), default=0)
    marks, room = "`" * (longest + 1), " " if longest else ""
    return f"{marks}{room}{inner}{room}{marks}".replace("|", "\\|")
