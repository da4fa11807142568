"""Tables and reports for a terminal, a pipe or a log: columns that are aligned, and nothing of Markdown."""

import html
import re
from collections.abc import Sequence

GAP = "  "
TABLE_ROW = re.compile(r"^\|(.*)\|\s*$")
RULE = re.compile(r"^\|[\s|:-]+\|\s*$")


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    :param header: titles of the columns
    :param rows: cells, as many as titles in each row
    :return: lines with a rule below the titles; numbers stand at the right of their columns
    """
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    numbers = [all(_is_number(row[column]) for row in rows) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        GAP.join(
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in lines
    )


def from_markdown(text: str) -> str:
    """
    :param text: Markdown of ours: headings, paragraphs, lists, tables
    :return: the same to be read as it is: tables with aligned columns, headings underlined, no marks
    """
    shown: list[str] = []
    table: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if found := TABLE_ROW.match(line):
            if not RULE.match(line):
                table.append([_plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", found[1])])
            continue
        if table:
            shown.append(aligned(table[0], table[1:]))
            table = []
        if heading := re.match(r"^(#+) (.*)", line):
            title = _plain(heading[2])
            shown += [title, ("=" if len(heading[1]) == 1 else "-") * len(title)]
        else:
            shown.append(_plain(line))
    return "\n".join(shown).strip("\n") + "\n"


def _plain(text: str) -> str:
    """Without escapes, code marks and targets of links."""
    text = re.sub(r"(?<!\\)\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?<!\\)`+ ?(.*?) ?`+", r"\1", text)
    return html.unescape(re.sub(r"\\([\W_])", r"\1", text))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.,]+%?|-|", cell) is not None


def two_decimals(value: float) -> str:
    """The number with two decimals; what rounds to 0 has no sign."""
    return f"{round(float(value), 2) + 0.0:.2f}"
