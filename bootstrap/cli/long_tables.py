"""Tables of many rows, laid out like the short ones, in a hundredth of the time that Rich takes for each cell.

Where the terminal is too narrow, the widest column is folded; where that does not suffice, each row is a list of its
cells. Left out: which columns a narrow terminal does without (`render.py`).
"""

from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.control import strip_control_codes
from rich.text import Text

FOLDED_WIDTH = 16
"""Least width of the folded column."""
_GAP = "   "


def print_rows(console: Console, title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a title. `names`: of the columns."""
    cells = [[strip_control_codes(cell).replace("\t", " ") for cell in row] for row in rows]
    widths = [
        max(max(map(cell_len, cell.split("\n"))) for cell in column) for column in zip(names, *cells, strict=True)
    ]
    excess = sum(widths) + len(_GAP) * len(widths) - console.width
    folded = widths.index(max(widths))
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print()
    if excess > 0 and widths[folded] - excess < FOLDED_WIDTH:
        console.file.writelines(f"{line}\n" for row in cells for line in _listed(names, row, width=console.width))
        return
    widths[folded] -= max(excess, 0)
    for line in _lines(names, widths):
        console.print(Text(line, style="bold"), soft_wrap=True)
    console.print(Text(f" {'─' * (sum(widths) + len(_GAP) * len(widths) - 1)}"), soft_wrap=True)
    console.file.writelines(f"{line}\n" for row in cells for line in _lines(row, widths))
    console.print()


def _listed(names: Sequence[str], row: Sequence[str], *, width: int) -> list[str]:
    """Return a row as lines of name and cell, without empty cells, and an empty line."""
    label = max(map(cell_len, names))
    widths = (label, max(width - label - len(_GAP) - 2, FOLDED_WIDTH))
    lines = [line for pair in zip(names, row, strict=True) if pair[1] for line in _lines(pair, widths)]
    return [*(line.rstrip() for line in lines), ""]


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return a row's lines: one, or several where a cell is folded or has several."""
    cells = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [
        "  " + _GAP.join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        for line in zip_longest(*cells, fillvalue="")
    ]


def _folded(cell: str, width: int) -> list[str]:
    """Return a cell's lines, each at most `width` columns wide, cut between words where that is possible."""
    if cell_len(cell) <= width and "\n" not in cell:
        return [cell]
    lines = list[str]()
    for paragraph in cell.split("\n"):
        lines.append("")
        for word in paragraph.split():
            while cell_len(word) > width:
                head = _head(word, width)
                lines.append(head)
                word = word[len(head) :]
            joined = f"{lines[-1]} {word}".strip()
            if cell_len(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(word)
    return [line for line in lines if line] or [""]


def _head(word: str, width: int) -> str:
    """Return the longest beginning of a word that is at most `width` columns wide, at least one character."""
    end = 1
    while end < len(word) and cell_len(word[: end + 1]) <= width:
        end += 1
    return word[:end]
