"""The bar of links on every page of a generation in MLflow: to its relatives, and to what explains it.

    parent gen-3 · children gen-5, gen-6 · sibling gen-7 · teacher gen-1 · gate · results · samples · data ·
    verifier exact(answer=whole) · cost · lineage · run · model · version

Children that were promoted are bold. MLflow shows about four lines of a run's description; of a longer one it hides the
rest and covers the lower half of what it shows, so that no link there can be clicked. The bar is therefore short, and
so is the number of relatives in it. One more generation thus changes the bars of a bounded number of others
(`Kin.touched`). Left out: the sentence above it (`outcome.py`) and the pages that it leads to (`sheets.py`). Imports no
MLflow.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.lineage import queries, sheets, text, tracking
from bootstrap.lineage.judges import NamedVerifier
from bootstrap.lineage.outbox import Receipt
from bootstrap.store.ledger import Entry

CHILDREN, SIBLINGS = 4, 2
"""Most children shown, the newest; most siblings shown on either side of the generation."""
BREAK = "  \n"
"""Markdown's line break inside a paragraph."""
_OUTSIDE = 30
"""Most characters of the name of a model outside the lineage."""
_ORIGINS = ("init", "merged")


class Kin:
    """Who descends from whom in a lineage."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._nodes = [entry.generation for entry in entries]
        self._children: dict[int, list[int]] = {}
        for node in self._nodes:
            for parent in node.parents:
                self._children.setdefault(parent, []).append(node.number)

    def children(self, number: int) -> list[int]:
        """Return the generations whose initial weights come from this one, ascending."""
        return self._children.get(number, [])

    def is_promoted(self, number: int) -> bool:
        return self._nodes[number].outcome is GenerationOutcome.PROMOTED

    def siblings(self, number: int) -> list[int]:
        """Return the nearest other generations with the same parents, ascending; none without a parent."""
        parents = self._nodes[number].parents
        same = [n for n in self._children.get(parents[0], []) if self._nodes[n].parents == parents] if parents else []
        if number not in same:
            return []
        place = same.index(number)
        return same[max(place - SIBLINGS, 0) : place] + same[place + 1 : place + 1 + SIBLINGS]

    def touched(self, newer: Iterable[int]) -> set[int]:
        """Return the generations whose bars show one of `newer`, `newer` included."""
        found = set(newer)
        for number in sorted(found):
            found |= {*self._nodes[number].parents, *self.siblings(number)}
        return found


def of_generation(
    node: Generation, *, kin: Kin, receipts: Mapping[int, Receipt], registered: str, judges: Sequence[NamedVerifier]
) -> str:
    """Return the bar as Markdown. `receipts`: of all published generations; `registered`: the registered model."""
    return f"{_relatives(node, kin, receipts)} · {_pages(receipts[node.number], node, registered, judges)}"


def of_sheet(
    node: Generation, *, receipts: Mapping[int, Receipt], registered: str, judges: Sequence[NamedVerifier]
) -> str:
    """Return the part of the bar that never changes, for the pages that it leads to."""
    origins = _outward(node, receipts, roles=_ORIGINS)
    return " · ".join([*origins, _pages(receipts[node.number], node, registered, judges, within_sheets=True)])


def link(label: str, url: str) -> str:
    """Return a Markdown link to a page of the same server."""
    return f"[{label}]({url.removeprefix('/')})"


def _relatives(node: Generation, kin: Kin, receipts: Mapping[int, Receipt]) -> str:
    children = kin.children(node.number)
    earlier = len(children) - CHILDREN
    shown = [
        f"**{_run(number, receipts)}**" if kin.is_promoted(number) else _run(number, receipts)
        for number in children[-CHILDREN:]
    ]
    own = receipts[node.number]
    if earlier > 0:
        url = tracking.lineage_url("", own.experiment_id, own.lineage_run_id)
        shown.insert(0, link(f"{earlier} earlier", url))
    parts = [
        *_outward(node, receipts, roles=_ORIGINS),
        f"{'child' if len(children) == 1 else 'children'} {', '.join(shown)}" if shown else "no children yet",
        *_listed("sibling", [_run(number, receipts) for number in kin.siblings(node.number)]),
        *_outward(node, receipts, without=(*_ORIGINS, "data")),
    ]
    return " · ".join(parts)


def _outward(
    node: Generation, receipts: Mapping[int, Receipt], *, roles: Sequence[str] = (), without: Sequence[str] = ()
) -> list[str]:
    """Return the generation's edges by role, each with the generations or the outside models at its other end."""
    found: dict[str, list[str]] = {}
    for edge in node.edges:
        if edge.role in without or (roles and edge.role not in roles):
            continue
        if edge.generation is None:
            name = f"{text.plain(queries.source(edge), limit=_OUTSIDE)} (outside)"
        else:
            name = _run(edge.generation, receipts)
        found.setdefault({"init": "parent"}.get(edge.role, edge.role), []).append(name)
    return [part for role, names in found.items() for part in _listed(role, list(dict.fromkeys(names)))]


def _listed(what: str, names: Sequence[str]) -> list[str]:
    plural = what if len(names) == 1 or what == "merged" else f"{what}s"
    return [f"{plural} {', '.join(names)}"] if names else []


def _run(number: int, receipts: Mapping[int, Receipt]) -> str:
    found = receipts.get(number)
    if found is None:
        return f"gen-{number}"
    return link(f"gen-{number}", tracking.run_url("", found.experiment_id, found.run_id))


def _pages(
    own: Receipt, node: Generation, registered: str, judges: Sequence[NamedVerifier], *, within_sheets: bool = False
) -> str:
    def sheet(label: str, path: str) -> str:
        url = tracking.artifact_url("", own.experiment_id, own.run_id, path)
        # MLflow does not turn from one artifact to another by a link, unless the link makes it load anew.
        return link(label, f"?{PurePosixPath(path).stem}{url.removeprefix('/')}" if within_sheets else url)

    named = ", ".join(sheet(judge.short, sheets.VERIFIERS) for judge in judges)
    return " · ".join(
        [
            sheet("gate", sheets.GATE),
            sheet("results (guard broken)" if node.diagnostics.findings else "results", sheets.RESULTS),
            link("samples", tracking.traces_url("", own.experiment_id, own.run_id)),
            sheet("data", sheets.DATA),
            *([f"{'verifier' if len(judges) == 1 else 'verifiers'} {named}"] if named else []),
            sheet("cost", sheets.COST),
            link("lineage", tracking.lineage_url("", own.experiment_id, own.lineage_run_id)),
            link("run", tracking.run_url("", own.experiment_id, own.run_id)),
            link("model", tracking.model_url("", own.experiment_id, own.model_id)),
            *([link("version", tracking.version_url("", registered, own.version))] if own.version else []),
        ]
    )
