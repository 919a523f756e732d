"""Rows of a file that do not serve: counted by reason, with the first line numbers of each."""

from collections import Counter

REASONS_SHOWN = 5
LINES_SHOWN = 3


class LeftOut(Counter[str]):
    """Reason -> number of rows."""

    def __init__(self, unit: str = "line") -> None:
        """`unit`: what the numbers count."""
        super().__init__()
        self.unit = unit
        self.lines: dict[str, list[int | str]] = {}
        """Reason -> numbers of its first rows, with their file's name where there are several."""

    def add(self, reason: str, line: int | str) -> None:
        """Count one row."""
        self[reason] += 1
        lines = self.lines.setdefault(reason, [])
        if len(lines) < LINES_SHOWN:
            lines.append(line)

    def retitle(self, reason: str, name: str) -> None:
        """Rename a reason."""
        self[name], self.lines[name] = self.pop(reason), self.lines.pop(reason)

    def told(self) -> str:
        """Return the most frequent reasons in words, with their numbers of rows and first lines."""
        shown = self.most_common(REASONS_SHOWN)
        told = []
        for reason, count in shown:
            lines, further = self.lines[reason], count - len(self.lines[reason])
            more = f" and {further} more" if further else ""
            told.append(f"{count} {reason} ({self.unit}{'s' if count > 1 else ''} {', '.join(map(str, lines))}{more})")
        if others := len(self) - len(shown):
            rest = self.total() - sum(count for _, count in shown)
            told.append(f"{rest} for {others} other reason{'s' if others > 1 else ''}")
        return ", ".join(told)
