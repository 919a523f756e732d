"""Where in a completion the answer stands. Completions are hostile: what is not there exactly once is not there.

Left out: what the answer means (each verifier's).
"""

import re
from dataclasses import dataclass

from bootstrap.config.answers import Boxed, LastLine, Place, Tagged, Whole
from bootstrap.scoring.verifier import Answer

BOX = "\\boxed{"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer, or why there is none."""

    text: str | None = None
    reason: str = ""


def answer_of(answer: Answer, place: Place) -> Found:
    """Return the answer that stands at `place`; a completion that the length limit cut holds none."""
    return Found(reason="truncated") if answer.truncated else extract(answer.text, place)


def extract(completion: str, place: Place) -> Found:
    """Return the answer that stands at `place`."""
    match place:
        case Whole():
            return Found(text=completion.strip() if place.strip else completion)
        case Tagged():
            return _tagged(completion, place.tag)
        case Boxed():
            return _boxed(completion)
        case LastLine():
            lines = [line.strip() for line in completion.splitlines() if line.strip()]
            return Found(text=lines[-1]) if lines else Found(reason="no answer: nothing but white space")


def _tagged(completion: str, tag: str) -> Found:
    opened, closed = completion.count(f"<{tag}>"), completion.count(f"</{tag}>")
    if (opened, closed) != (1, 1):
        return Found(reason=f"no answer: {opened} <{tag}> and {closed} </{tag}> instead of one each")
    start, end = completion.index(f"<{tag}>") + len(tag) + 2, completion.index(f"</{tag}>")
    if start > end:
        return Found(reason=f"no answer: </{tag}> stands before <{tag}>")
    return Found(text=completion[start:end].strip())


def _boxed(completion: str) -> Found:
    boxes = [_balanced(completion, match.end()) for match in re.finditer(re.escape(BOX), completion)]
    if not boxes or boxes[-1] is None:
        return Found(reason="no answer: no complete \\boxed{}")
    if len({box for box in boxes if box is not None}) > 1:
        return Found(reason="no one answer: boxes with different contents")
    return Found(text=boxes[-1])


def _balanced(text: str, start: int) -> str | None:
    """Return what stands from `start` to the brace that closes it, or None when none does."""
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start : match.start()].strip()
    return None
