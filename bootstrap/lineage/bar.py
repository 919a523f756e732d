"""The bar of links on every page of a generation in MLflow: to its relatives, and to what explains it.

    lineage · gate · samples · results · parent gen-3 · children gen-5, gen-6 · sibling gen-7 · teacher gen-1 · data ·
    verifier exact(answer=whole) · cost · run · model · version

Children that were promoted are bold. MLflow shows about four lines of a run's description; of a longer one it hides the
rest and covers the lower half of what it shows, so that no link there can be clicked. The bar is therefore short, and
so is the number of relatives in it; what people ask first stands first, and last what MLflow's own pages link too. One
more generation thus changes the bars of a bounded number of others (`Kin.touched`). Left out: the sentence above it
(`outcome.py`) and the pages that it leads to (`sheets.py`). Imports no MLflow.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.lineage import queries, sheets, text, tracking
from bootstrap.lineage.judges import NamedVerifier
from bootstrap.lineage.outbox import Receipt
from bootstrap.store.index import links
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
        self._entries = entries
        self._parents = [link.parents for link in links(entries)]
        self._children: dict[int, list[int]] = {}
        for number, parents in enumerate(self._parents):
            for parent in parents:
                self._children.setdefault(parent, []).append(number)

    def children(self, number: int) -> list[int]:
        """Return the generations whose initial weights come from this one, ascending."""
        return self._children.get(number, [])

    def is_promoted(self, number: int) -> bool:
        return self._entries[number].generation.outcome is GenerationOutcome.PROMOTED

    def siblings(self, number: int) -> list[int]:
        """Return the nearest other generations with the same parents, ascending; none without a parent."""
        parents = self._parents[number]
        same = [n for n in self._children.get(parents[0], []) if self._parents[n] == parents] if parents else []
        if number not in same:
            return []
        place = same.index(number)
        return same[max(place - SIBLINGS, 0) : place] + same[place + 1 : place + 1 + SIBLINGS]

    def touched(self, newer: Iterable[int]) -> set[int]:
        """Return the generations whose bars show one of `newer`, `newer` included."""
        found = set(newer)
        for number in sorted(found):
            found |= {*self._parents[number], *self.siblings(number)}
        return found


def of_generation(
    node: Generation, *, kin: Kin, receipts: Mapping[int, Receipt], registered: str, judges: Sequence[NamedVerifier]
) -> str:
    """Return the bar as Markdown. `receipts`: of all published generations; `registered`: the registered model."""
    own = receipts[node.number]
    return " · ".join(
        [*_decided(own, node), *_relatives(node, kin, receipts), *_made(own, judges), *_records(own, registered)]
    )


def of_sheet(
    node: Generation, *, receipts: Mapping[int, Receipt], registered: str, judges: Sequence[NamedVerifier]
) -> str:
    """Return the part of the bar that never changes, for the pages that it leads to."""
    own, origins = receipts[node.number], _outward(node, receipts, roles=_ORIGINS)
    decided, made = _decided(own, node, within_sheets=True), _made(own, judges, within_sheets=True)
    return " · ".join([*decided, *origins, *made, *_records(own, registered)])


def link(label: str, url: str) -> str:
    """Return a Markdown link to a page of the same server."""
    return f"[{label}]({url.removeprefix('/')})"


def _relatives(node: Generation, kin: Kin, receipts: Mapping[int, Receipt]) -> list[str]:
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
    return [
        *_outward(node, receipts, roles=_ORIGINS),
        f"{'child' if len(children) == 1 else 'children'} {', '.join(shown)}" if shown else "no children yet",
        *_listed("sibling", [_run(number, receipts) for number in kin.siblings(node.number)]),
        *_outward(node, receipts, without=(*_ORIGINS, "data")),
    ]


def _outward(
    node: Generation, receipts: Mapping[int, Receipt], *, roles: Sequence[str] = (), without: Sequence[str] = ()
) -> list[str]:
    """Return the generation's edges by role, each with the generations or the outside models at its other end."""
    found: dict[str, list[str]] = {}
    for edge in node.edges:
        if edge.role in without or (roles and edge.role not in roles):
            continue
        if edge.generation is None:
            name = f"{text.plain(_short(queries.source(edge)), limit=_OUTSIDE)} (outside)"
        else:
            name = _run(edge.generation, receipts)
        found.setdefault({"init": "parent"}.get(edge.role, edge.role), []).append(name)
    return [part for role, names in found.items() for part in _listed(role, list(dict.fromkeys(names)))]


def _short(source: str) -> str:
    """Return a path's last part; other names, as `organisation/model`, whole."""
    return PurePosixPath(source).name if source.count("/") > 1 else source


def _listed(what: str, names: Sequence[str]) -> list[str]:
    plural = what if len(names) == 1 or what == "merged" else f"{what}s"
    return [f"{plural} {', '.join(names)}"] if names else []


def _run(number: int, receipts: Mapping[int, Receipt]) -> str:
    found = receipts.get(number)
    if found is None:
        return f"gen-{number}"
    return link(f"gen-{number}", tracking.run_url("", found.experiment_id, found.run_id))


def _decided(own: Receipt, node: Generation, *, within_sheets: bool = False) -> list[str]:
    results = "results (guard broken)" if node.diagnostics.findings else "results"
    return [
        link("lineage", tracking.lineage_url("", own.experiment_id, own.lineage_run_id)),
        _sheet("gate", own, sheets.GATE, within_sheets=within_sheets),
        link("samples", tracking.traces_url("", own.experiment_id, own.run_id)),
        _sheet(results, own, sheets.RESULTS, within_sheets=within_sheets),
    ]


def _made(own: Receipt, judges: Sequence[NamedVerifier], *, within_sheets: bool = False) -> list[str]:
    return [
        _sheet("data", own, sheets.DATA, within_sheets=within_sheets),
        *_listed("verifier", [_sheet(one.short, own, sheets.VERIFIERS, within_sheets=within_sheets) for one in judges]),
        _sheet("cost", own, sheets.COST, within_sheets=within_sheets),
    ]


def _records(own: Receipt, registered: str) -> list[str]:
    return [
        link("run", tracking.run_url("", own.experiment_id, own.run_id)),
        link("model", tracking.model_url("", own.experiment_id, own.model_id)),
        *([link("version", tracking.version_url("", registered, own.version))] if own.version else []),
    ]


def _sheet(label: str, own: Receipt, path: str, *, within_sheets: bool) -> str:
    url = tracking.artifact_url("", own.experiment_id, own.run_id, path)
    # MLflow does not turn from one artifact to another by a link, unless the link makes it load anew.
    return link(label, f"?{PurePosixPath(path).stem}{url.removeprefix('/')}" if within_sheets else url)
