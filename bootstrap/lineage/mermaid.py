"""Ledger -> the lineage as Mermaid text, which GitHub, GitLab and many editors draw in a README.

The text stays within the limits of GitHub (50,000 characters, 500 edges): of a long lineage, rejected candidates of
one parent and the middle of the champion's path are each one box. Edges `data` are left out, since every earlier
champion has one to every later generation. Foreign text is made harmless. Left out: the lineage page (`graph.py`).
"""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from bootstrap.ledger_records import Edge, Generation
from bootstrap.lineage import queries
from bootstrap.lineage.text import count, percent, plain
from bootstrap.store.ledger import Entry

MOST_BOXES = 100
"""Generations that are drawn one by one."""
MOST_ARROWS = 200
"""Edges that are drawn with those of teachers, references and judges; beyond them weights' alone."""
MOST_OUTSIDE = 20
"""Boxes of models outside the lineage."""
_ENDS = MOST_BOXES // 4
"""Generations of the champion's path at either end of a folded one."""
_NAME_CHARACTERS = 60
_WEIGHTS = ("init", "merged")
"""Roles of the edges along which weights go."""
_CLASSES = """\
  classDef base fill:#dbeafe,stroke:#1d4ed8,color:#111
  classDef promoted fill:#dcfce7,stroke:#15803d,color:#111
  classDef rejected fill:#f3f4f6,stroke:#6b7280,color:#111,stroke-dasharray:4 3
  classDef ungated fill:#fef9c3,stroke:#a16207,color:#111
  classDef outside fill:#fff,stroke:#6b7280,color:#111
  classDef folded fill:#fff,stroke:#6b7280,color:#111,stroke-dasharray:1 3
"""


class _Arrow(NamedTuple):
    role: str
    start: str
    line: str
    end: str


def to_mermaid(entries: Sequence[Entry]) -> str:
    """Return the graph as Mermaid text that ends with a newline; the same ledger gives the same text.

    `entries`: at least one.
    """
    generations = [entry.generation for entry in entries]
    path = queries.champion_path(entries)
    boxes = {one.number: f"g{one.number}" for one in generations}
    lines = [f"%% lineage {_label(generations[-1].lineage)}, {count(len(entries), 'generation')}", "flowchart LR"]
    if len(entries) > MOST_BOXES:
        boxes, folded = _folded(generations, path)
        lines += [f'  {name}["{label}"]:::folded' for name, label in folded.items()]
    champion = generations[-1].champion
    lines += [_box(one, champion=champion) for one in generations if boxes[one.number] == f"g{one.number}"]
    outside: dict[str, str] = {}
    arrows = dict.fromkeys(
        _arrow(edge, one, boxes=boxes, outside=outside, path=set(path))
        for one in generations
        for edge in one.edges
        if edge.role != "data"
    )
    arrows = [arrow for arrow in arrows if arrow.start != arrow.end]
    if len(arrows) > MOST_ARROWS:
        arrows = [arrow for arrow in arrows if arrow.role in _WEIGHTS]
        lines.insert(1, "%% so many edges that those of weights alone are drawn")
    starts = {arrow.start for arrow in arrows}
    lines += [f'  {name}(["{label}"]):::outside' for label, name in outside.items() if name in starts]
    return "\n".join([*lines, *(f"  {arrow.start} {arrow.line} {arrow.end}" for arrow in arrows), _CLASSES])


def _folded(generations: Sequence[Generation], path: Sequence[int]) -> tuple[dict[int, str], dict[str, str]]:
    """Return number -> box of a long lineage, and box -> label of the boxes that stand for several generations."""
    ends = {*path[:_ENDS], *path[-_ENDS:]}
    middle = [number for number in path if number not in ends]
    boxes = {number: f"g{number}" for number in ends} | dict.fromkeys(middle, "middle")
    held = count(len(middle), "generation")
    labels = {"middle": f"gen-{middle[0]} … gen-{middle[-1]}<br/>{held}"} if middle else {}
    counts: dict[str, int] = {}
    for one in generations:
        if one.number not in boxes:
            # A candidate that branches off another one that is off the path stands with that one.
            start = next(iter(one.parents), None)
            below = "elsewhere" if start is None else boxes[start]
            name = below if below.startswith("off_") or below == "elsewhere" else f"off_{below}"
            boxes[one.number] = name
            counts[name] = counts.get(name, 0) + 1
    labels |= {name: f"{count} off the champion's path" for name, count in counts.items()}
    return boxes, labels


def _box(one: Generation, *, champion: int) -> str:
    best = queries.headline(one)
    measured = "" if best is None else f"<br/>level {best.level}: {percent(best.accuracy)}"
    stage = f", {_label(one.stage)}" if one.stage else ""
    mark = " ★" if one.number == champion else ""
    return f'  g{one.number}["{one.name}{mark}<br/>{one.outcome.value}{stage}{measured}"]:::{one.outcome.value}'


def _arrow(edge: Edge, to: Generation, *, boxes: Mapping[int, str], outside: dict[str, str], path: Set[int]) -> _Arrow:
    """Return the arrow of an edge; `outside`, label -> box, gets the box of a model outside the lineage."""
    if edge.generation is not None:
        start = boxes[edge.generation]
    else:
        label = _label(queries.source(edge))
        if label not in outside and len(outside) >= MOST_OUTSIDE:
            label = "further models outside the lineage"
        start = outside.setdefault(label, f"out{len(outside)}")
    thick = edge.generation in path and to.number in path
    line = ("==>" if thick else "-->") if edge.role in _WEIGHTS else "-.->"
    said = "" if edge.role == "init" else f"|{_label(edge.role)}|"
    return _Arrow(edge.role, start, f"{line}{said}", boxes[to.number])


def _label(text: str) -> str:
    """Return foreign text that Mermaid takes for nothing but text."""
    shown = plain(text, limit=_NAME_CHARACTERS).replace('"', "'")
    # Braces begin a directive after two percent signs, wherever they stand.
    return shown.translate({ord("{"): " ", ord("}"): " "})
