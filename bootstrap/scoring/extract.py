"""Finds the answer in a completion. Completions are hostile: an answer must stand there exactly once.

The time is proportional to the completion's length, whatever it holds. Left out: the meaning of an answer, which is
each verifier's.
"""

import re
from dataclasses import dataclass

from bootstrap.config.answers import REASONING_TAGS, AnswerPlace, Boxed, LastLine, Tagged, Whole
from bootstrap.scoring.verifier import Answer

_BRACES = re.compile(r"\\boxed\{|\\.|[{}]", re.DOTALL)
"""The beginning of a box, another escaped character (a brace, a line break), or a brace."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer, or why there is none."""

    text: str | None = None
    reason: str = ""


def answer_of(answer: Answer, place: AnswerPlace) -> Found:
    """Return the answer at `place`; a truncated completion holds none."""
    if answer.truncated:
        return Found(reason="truncated")
    reasons = isinstance(place, Tagged) and place.tag in REASONING_TAGS
    return extract(
        opened(answer, place.tag) if reasons else answer.text,  # pyright: ignore[reportAttributeAccessIssue]  # Tagged
        place,
    )


def opened(answer: Answer, tag: str) -> str:
    """Return the text, with the opening tag put before it where the prompt may have ended with that tag.

    That is where the text closes the tag once without opening it, and the shown prompt is unknown.
    """
    if answer.whole or f"<{tag}>" in answer.text or answer.text.count(f"</{tag}>") != 1:
        return answer.text
    return f"<{tag}>{answer.text}"


def extract(completion: str, place: AnswerPlace) -> Found:
    """Return the answer at `place`."""
    match place:
        case Whole():
            return Found(text=completion.strip() if place.strip else completion)
        case Tagged():
            return _tagged(completion, place.tag)
        case Boxed():
            return _boxed(completion)
        case LastLine():
            lines = completion.rstrip().rsplit("\n", 1)
            return Found(text=lines[-1].strip()) if lines[-1] else Found(reason="no answer: nothing but white space")


def _tagged(completion: str, tag: str) -> Found:
    opened, closed = completion.count(f"<{tag}>"), completion.count(f"</{tag}>")
    if (opened, closed) != (1, 1):
        return Found(reason=f"no answer: {opened} <{tag}> and {closed} </{tag}> instead of one each")
    start, end = completion.index(f"<{tag}>") + len(tag) + 2, completion.index(f"</{tag}>")
    if start > end:
        return Found(reason=f"no answer: </{tag}> stands before <{tag}>")
    return Found(text=completion[start:end].strip())


def _boxed(completion: str) -> Found:
    """Return the contents of the box, or of several equal ones."""
    boxes: set[str] = set()
    open_braces: list[int | None] = []
    """For each open brace: the start of a box's contents, or None for a plain brace."""
    inside = False
    for match in _BRACES.finditer(completion):
        match match.group():
            case "{":
                open_braces.append(None)
            case "}" if open_braces:
                start = open_braces.pop()
                if start is not None:
                    boxes.add(completion[start : match.start()].strip())
                    inside = False
            case "\\boxed{":
                if inside:
                    return Found(reason="no one answer: a box in a box that is not closed before")
                open_braces.append(match.end())
                inside = True
    if inside or not boxes:
        return Found(reason="no answer: no complete \\boxed{}")
    if len(boxes) > 1:
        return Found(reason="no one answer: boxes with different contents")
    return Found(text=boxes.pop())
