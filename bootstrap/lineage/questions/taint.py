"""Everything downstream of a generation, a verifier, a data set or a model: what to distrust if that one is bad.

| subject | touched at once |
|---|---|
| generation | what starts from it, learns from its answers, is merged from, taught, sampled, held to or judged by it |
| verifier | generations whose training answers, held-out answers or panel it judged |
| data set | generations trained or evaluated on it (`data_sets.py`) |
| model | generations with an edge from a model outside the lineage |

From there it follows every edge, and forks into other lineages of the store. Left out: promotions that would have gone
otherwise, which `bootstrap rescore` finds.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap.errors import RecipeError
from bootstrap.ids import RolloutId
from bootstrap.ledger_records import Generation
from bootstrap.lineage import queries
from bootstrap.lineage.questions.data_sets import LEAST_DIGITS, evaluated_on, files_of, is_hash, tasks_of, trained_on
from bootstrap.lineage.questions.grown import EDGES, Grown, forks_of
from bootstrap.lineage.questions.locate import inherited_answers
from bootstrap.lineage.questions.rows import Rows

Kind = Literal["generation", "verifier", "dataset", "model"]
KINDS: tuple[Kind, ...] = ("generation", "verifier", "dataset", "model")
_OF_STEP = re.compile(r"(?:rollouts|training)-gen-(\d+)-step-\d+|replay-gen-(\d+)")
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
    downstream: Rows[Tainted]
    """Nearest first, within a distance in the ledgers' order; without the subject itself."""
    clean: tuple[str, ...]
    """The lineage's generations that it does not reach."""
    champion_is_tainted: bool
    unread: tuple[str, ...]
    """Lineages of the store that could not be searched."""
    sentence: str


def taint(grown: Grown, subject: str, *, kind: Kind | None = None) -> Taint:
    """Return everything downstream of a subject; `kind`: what it names, needed where a name has several meanings.

    Raises RecipeError for a subject that the lineage does not know or that has several meanings; StoreCorrupt.
    """
    entries = grown.entries
    grown.find("last")
    meanings: dict[Kind, Callable[[Grown, str], tuple[int | None, dict[int, list[str]]] | None]] = {
        "generation": _generation,
        "verifier": _verifier,
        "dataset": _dataset,
        "model": _model,
    }
    found: dict[Kind, tuple[int | None, dict[int, list[str]]]] = {
        one: touched
        for one, meaning in meanings.items()
        if kind in (None, one) and (touched := meaning(grown, subject)) is not None
    }
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
        sentence=_sentence(grown, subject, downstream, crown=_crown(champion, own, reached)),
    )


def _downstream(grown: Grown, own: int | None, touched: dict[int, list[str]]) -> tuple[Rows[Tainted], tuple[str, ...]]:
    """Return what is reached from the generations touched at once, fork by fork, and lineages that cannot be read."""
    found, unread = list[Tainted](), set[str]()
    waiting = [(grown, {} if own is None else {own: 0}, dict.fromkeys(touched, 1), touched)]
    while waiting:
        lineage, start, direct, ways = waiting.pop(0)
        distances = _spread(lineage, {**direct, **start})
        for number, (distance, via) in distances.items():
            node = lineage.entries[number].generation
            if number not in start:
                found.append(_tainted(lineage, node, distance, ways.get(number, via)))
        forks = forks_of(lineage)
        unread |= set(forks.unread)
        for fork, number in forks.found:
            given = _given_to(fork, lineage)
            if reached := sorted(one for one in distances if one == number or one in given):
                nearest = min(distances[one][0] for one in reached)
                place = f"{lineage.name}@gen-"
                via = [f"starts from {place}{number}"] if number in reached else []
                via += [f"inherited answers of {place}{one}" for one in reached if one in given]
                waiting.append((fork, {}, {0: nearest + 1}, {0: via}))
    found.sort(key=lambda row: (row.distance, row.lineage != grown.name, row.lineage, row.number))
    return Rows(found, kind=Tainted), tuple(sorted(unread))


def _spread(grown: Grown, start: dict[int, int]) -> dict[int, tuple[int, list[str]]]:
    """Return number -> (distance, ways) of the generations reached along edges, those of `start` included."""
    found: dict[int, tuple[int, list[str]]] = {number: (distance, []) for number, distance in start.items()}
    for entry in grown.entries:
        node = entry.generation
        sources = [edge for edge in node.edges if edge.generation in found and edge.generation != node.number]
        if not sources or node.number in start:
            continue
        nearest = min(found[edge.generation][0] for edge in sources if edge.generation is not None)
        ways = [
            f"{EDGES.get(edge.role, edge.role)} {queries.source(edge)}"
            for edge in sources
            if edge.generation is not None and found[edge.generation][0] == nearest
        ]
        found[node.number] = nearest + 1, list(dict.fromkeys(ways))
    return found


def _given_to(fork: Grown, origin: Grown) -> set[int]:
    """Return the generations of an origin whose answers a fork inherited. Raises StoreCorrupt."""
    rows = inherited_answers(fork)
    mark = origin.inherited_id("")
    return {RolloutId.parse(row["rollout_id"].removeprefix(mark)).contributor for row in rows}


def _tainted(grown: Grown, node: Generation, distance: int, via: Sequence[str]) -> Tainted:
    return Tainted(
        lineage=grown.name,
        generation=node.name,
        number=node.number,
        outcome=node.outcome.value,
        is_champion=grown.entries[-1].generation.champion == node.number,
        distance=distance,
        via=tuple(via),
    )


# --- what a subject touches at once: its own number if it is a generation, and number -> ways -------------------------


def _generation(grown: Grown, subject: str) -> tuple[int | None, dict[int, list[str]]] | None:
    try:
        return grown.find(subject).number, {}
    except RecipeError:
        fingerprints = [entry.generation for entry in grown.outlines if is_hash(entry.generation.fingerprint, subject)]
        return (fingerprints[0].number, {}) if fingerprints else None


def _verifier(grown: Grown, subject: str) -> tuple[None, dict[int, list[str]]] | None:
    touched: dict[int, list[str]] = {}
    for entry in grown.outlines:
        node = entry.generation
        for name, version in node.verifiers.items():
            prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
            if subject in (name, name.removeprefix(prefix), f"{name} {version}") or is_hash(version, subject):
                touched.setdefault(node.number, []).append(_PREFIXES.get(prefix, "judged its answers"))
    return (None, touched) if touched else None


def _dataset(grown: Grown, subject: str) -> tuple[None, dict[int, list[str]]] | None:
    if (named := _OF_STEP.fullmatch(subject)) is not None:
        number = int(named[1] or named[2])
        return (None, {number: ["drew it, and was trained on it"]}) if number < len(grown.entries) else None
    touched: dict[int, list[str]] = {}
    for entry in grown.entries:
        node = entry.generation
        ways = [*evaluated_on(grown, node, subject), *trained_on(grown, node, subject)]
        if ways:
            touched[node.number] = ways
    return (None, touched) if touched else None


def _model(grown: Grown, subject: str) -> tuple[None, dict[int, list[str]]] | None:
    touched: dict[int, list[str]] = {}
    for entry in grown.outlines:
        for edge in entry.generation.edges:
            if edge.generation is None and (edge.external == subject or is_hash(edge.fingerprint, subject)):
                way = f"{EDGES.get(edge.role, edge.role)} {queries.source(edge)}"
                touched.setdefault(entry.generation.number, []).append(way)
    return (None, touched) if touched else None


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
