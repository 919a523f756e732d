"""Everything downstream of a generation, a verifier, a data set or a model: what to distrust if that one is bad.

| subject | touched at once |
|---|---|
| generation | what starts from it, learns from its answers, is merged from, taught, sampled, held to or judged by it |
| verifier | generations whose training answers, held-out answers or panel it judged |
| data set | generations trained or evaluated on it (`data_sets.py`) |
| model | generations with an edge from a model outside the lineage |

From there it follows every edge, also into other lineages of the store (`downstream.py`). Left out: promotions that
would have gone otherwise, which `bootstrap rescore` finds.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from bootstrap.errors import RecipeError, StoreError
from bootstrap.ids import StepRole
from bootstrap.ledger_records import Generation
from bootstrap.lineage import queries
from bootstrap.lineage.questions.data_sets import LEAST_DIGITS, evaluated_on, files_of, is_hash, tasks_of, trained_on
from bootstrap.lineage.questions.downstream import Node, Store, way
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.locate import INHERITED
from bootstrap.lineage.questions.records import Records, check_choice
from bootstrap.lineage.questions.words import Kind

_OF_STEP = re.compile(r"(?:rollouts|training)-gen-(\d{1,9})-step-(\d{1,9})|replay-gen-(\d{1,9})")
_PREFIXES = {"held-out ": "judged its held-out answers", "panel ": "judged its panel's task"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tainted:
    """One generation downstream."""

    lineage: str
    generation: str
    number: int
    outcome: str
    is_champion: bool
    """Whether it is its lineage's champion."""
    distance: int
    """Edges from the subject; 1 for what it touched at once."""
    via: tuple[str, ...]
    """How it was reached: `starts from gen-2`; the shortest ways."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taint:
    """The answer."""

    lineage: str
    subject: str
    kind: Kind
    downstream: Records[Tainted]
    """Nearest first, within a distance in the ledgers' order; without the subject itself."""
    clean: tuple[str, ...]
    """The lineage's generations that it does not reach."""
    champion_is_tainted: bool
    unread: tuple[str, ...]
    """Lineages of the store that cannot be read, so that they could not be searched."""
    unsearched: tuple[str, ...]
    """The generation of another lineage that a fork starts from, where that one lies elsewhere or cannot be read; what
    touched it is not known."""
    sentence: str


def taint(grown: Grown, subject: str, *, kind: Kind | None = None) -> Taint:
    """Return everything downstream of a subject; `kind`: what it names, needed where a name has several meanings.

    Raises RecipeError for an unknown kind, a subject that the lineage does not know or that has several meanings;
    StoreCorrupt.
    """
    entries = grown.entries
    grown.find("last")
    if kind is not None:
        check_choice(kind, "kind", get_args(Kind))
    # A fork's origin has data sets of steps under the same names, which are others.
    line, unsearched = ([grown], ()) if _OF_STEP.fullmatch(subject) else _line(grown)
    meanings: dict[Kind, Callable[[Grown, str], dict[int, list[str]]]] = {
        "verifier": _verifier,
        "dataset": _dataset,
        "model": _model,
    }
    found: dict[Kind, tuple[int | None, dict[Node, list[str]]]] = {}
    if kind in (None, "generation") and (number := _generation(grown, subject)) is not None:
        found["generation"] = number, {}
    for one, meaning in meanings.items():
        if kind not in (None, one):
            continue
        named = [(lineage, meaning(lineage, subject)) for lineage in line]
        touched = {(lineage.name, number): ways for lineage, direct in named for number, ways in direct.items()}
        if touched:
            found[one] = None, touched
    if not found:
        raise RecipeError(f"lineage {grown.name} knows no {kind or 'subject'} {subject!r}; {_known(grown)}")
    if len(found) > 1:
        raise RecipeError(f"{subject!r} names a {' and a '.join(found)}; say which with --kind {'|'.join(found)}")
    meant, (own, touched) = next(iter(found.items()))
    downstream, unread = _downstream(grown, own, touched)
    reached = {row.number for row in downstream if row.lineage == grown.name} | ({own} if own is not None else set())
    champion = entries[-1].generation.champion
    return Taint(
        lineage=grown.name,
        subject=subject if own is None else f"gen-{own}",
        kind=meant,
        downstream=downstream,
        clean=tuple(entry.generation.name for entry in grown.outlines if entry.generation.number not in reached),
        champion_is_tainted=champion in reached,
        unread=unread,
        unsearched=unsearched if own is None else (),
        sentence=_sentence(grown, subject, downstream, crown=_crown(champion, own, reached)),
    )


def _line(grown: Grown) -> tuple[list[Grown], tuple[str, ...]]:
    """Return a lineage and those that it was forked from, and what the first of them starts from if it is not there."""
    found = [grown]
    while (edge := found[-1].fork_edge) is not None:
        try:
            origin = found[-1].origin()
        except StoreError:
            origin = None
        if origin is None:
            return found, (queries.source(edge),)
        found.append(origin[0])
    return found, ()


def _downstream(
    grown: Grown, own: int | None, direct: Mapping[Node, Sequence[str]]
) -> tuple[Records[Tainted], tuple[str, ...]]:
    """Return what is reached from the generations touched at once, and the lineages that cannot be read."""
    store = Store(grown)
    distances = store.distances(dict.fromkeys(direct, 1) if own is None else {(grown.name, own): 0})
    found = [
        _tainted(store, node, distance, direct[node] if node in direct else store.ways(node, distances))
        for node, distance in distances.items()
        if distance
    ]
    found.sort(key=lambda row: (row.distance, row.lineage != grown.name, row.lineage, row.number))
    return Records(found, kind=Tainted), tuple(sorted(store.unread))


def _tainted(store: Store, node: Node, distance: int, via: Sequence[str]) -> Tainted:
    lineage, generation = store.lineages[node[0]], store.node(node)
    return Tainted(
        lineage=lineage.name,
        generation=generation.name,
        number=generation.number,
        outcome=generation.outcome.value,
        is_champion=lineage.entries[-1].generation.champion == generation.number,
        distance=distance,
        via=tuple(via),
    )


# --- what a subject names: a generation, or what it touches at once: number -> ways -----------------------------------


def _generation(grown: Grown, subject: str) -> int | None:
    try:
        return grown.find(subject).number
    except RecipeError:
        fingerprints = [entry.generation for entry in grown.outlines if is_hash(entry.generation.fingerprint, subject)]
        return fingerprints[0].number if fingerprints else None


def _verifier(grown: Grown, subject: str) -> dict[int, list[str]]:
    touched: dict[int, list[str]] = {}
    for entry in grown.outlines:
        node = entry.generation
        for name, version in node.verifiers.items():
            prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
            if subject in (name, name.removeprefix(prefix), f"{name} {version}") or is_hash(version, subject):
                touched.setdefault(node.number, []).append(_PREFIXES.get(prefix, "judged its answers"))
    return touched


def _dataset(grown: Grown, subject: str) -> dict[int, list[str]]:
    if (named := _OF_STEP.fullmatch(subject)) is not None:
        number = int(named[1] or named[3])
        drawn = _drawn(grown.outlines[number].generation, named[2]) if number < len(grown.entries) else ""
        return {number: [drawn]} if drawn else {}
    touched: dict[int, list[str]] = {}
    for entry in grown.entries:
        node = entry.generation
        ways = [*evaluated_on(grown, node, subject), *trained_on(grown, node, subject)]
        if ways:
            touched[node.number] = ways
    return touched


def _drawn(node: Generation, step: str | None) -> str:
    """Return what a generation has to do with the answers of a step, or with those to replay (None); empty for none."""
    if step is not None:
        return "drew it, and was trained on it" if str(StepRole(int(step))) in node.artifacts else ""
    if node.accounting.replayed:
        return "drew it, and was trained on it"
    return "inherited it" if INHERITED in node.artifacts else ""


def _model(grown: Grown, subject: str) -> dict[int, list[str]]:
    touched: dict[int, list[str]] = {}
    for entry in grown.outlines:
        for edge in entry.generation.edges:
            if edge.generation is None and (edge.external == subject or is_hash(edge.fingerprint, subject)):
                touched.setdefault(entry.generation.number, []).append(way(edge))
    return touched


def _known(grown: Grown) -> str:
    """Return in words what can be asked about."""
    last = grown.entries[-1].generation.name
    verifiers = sorted({name for entry in grown.outlines for name in entry.generation.verifiers})
    panels = sorted({name for entry in grown.outlines for name in entry.generation.report.panel})
    models = sorted(
        {
            edge.external
            for entry in grown.outlines
            for edge in entry.generation.edges
            if edge.generation is None and edge.external
        }
    )
    known = {
        "generations": [f"gen-0 to {last}"],
        "verifiers": verifiers,
        "data sets": [*tasks_of(grown), *files_of(grown, "path"), *panels, "replay-gen-N"],
        "models": models,
    }
    told = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in known.items() if names)
    return f"it has {told}; a hash may be cut to {LEAST_DIGITS} digits"


def _crown(champion: int, own: int | None, reached: Collection[int]) -> str:
    if champion == own:
        return "it is the champion itself"
    return "the champion among them" if champion in reached else "not the champion"


def _sentence(grown: Grown, subject: str, downstream: Sequence[Tainted], *, crown: str) -> str:
    if not downstream:
        return f"nothing is downstream of {subject}; {crown}"
    own = sum(row.lineage == grown.name for row in downstream)
    others = sorted({row.lineage for row in downstream} - {grown.name})
    elsewhere = f", and {len(downstream) - own} in {', '.join(others)}" if others else ""
    return f"{own} of {len(grown.entries)} generations of {grown.name} are downstream of {subject}, {crown}{elsewhere}"
