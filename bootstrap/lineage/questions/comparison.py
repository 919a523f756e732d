"""Several lineages side by side: what their recipes differ in, how far each came, what it cost, what champions answer.

Costs are FLOPs since generation 0 of the champion and of all that competed for its place (`lineage/curves.py`). Left
out: quality over compute, which `bootstrap report` draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.errors import RecipeError
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.locate import outcomes
from bootstrap.lineage.questions.records import Records
from bootstrap.lineage.questions.settings import differences
from bootstrap.paired import mcnemar_exact
from bootstrap.store.ancestry import compute_cost


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One lineage."""

    lineage: str
    forked_from: str
    """`addition@gen-3`; empty for no fork."""
    generations: int
    """After generation 0."""
    promoted: int
    rejected: int
    ungated: int
    champion: str
    frontier: int
    """The champion's."""
    flops: float
    """FLOPs of every generation, a fork's origin included."""
    seed: int
    recipe: str
    """Digest of its recipe's identity."""
    code_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A setting in which recipes differ, as JSON text by lineage; empty where a recipe has none."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelAccuracies:
    """The champions' greedy accuracy on one level, by lineage; None where it was not asked."""

    task: str
    """A task of the panel; empty for the run's own."""
    level: int
    accuracies: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChampionPair:
    """The champions of two lineages on the held-out prompts that both were asked."""

    a: str
    b: str
    prompts: int
    only_a: int
    only_b: int
    p_value: float
    """Exact McNemar, two-sided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The answer; `values` and `accuracies` are in the order of `lineages`."""

    lineages: Records[Compared]
    settings: Records[Setting]
    levels: Records[LevelAccuracies]
    paired: Records[ChampionPair]
    """Each later lineage against the first; none where they share no prompt."""


def compare(grown: Sequence[Grown]) -> Comparison:
    """Return several lineages side by side.

    Raises RecipeError for fewer than two, for one named twice and for one without generations; StoreCorrupt.
    """
    names = [one.name for one in grown]
    if len(grown) < 2:
        raise RecipeError("a comparison needs two lineages or more; name them, as `bootstrap compare first second`")
    if len({one.store.root.absolute() for one in grown}) < len(grown):
        raise RecipeError(f"a lineage is named twice among {', '.join(names)}; name each once")
    return Comparison(
        lineages=Records(map(_compared, grown), kind=Compared),
        settings=Records(_settings(grown), kind=Setting),
        levels=Records(_levels(grown), kind=LevelAccuracies),
        paired=Records(
            (pair for other in grown[1:] if (pair := _paired(grown[0], other)) is not None),
            kind=ChampionPair,
        ),
    )


def _compared(one: Grown) -> Compared:
    champion = one.find("champion")
    generations = [entry.generation for entry in one.outlines]
    outcomes_of = [node.outcome for node in generations]
    cost = compute_cost(one.entries, range(len(generations)))
    edge = one.fork_edge
    return Compared(
        lineage=one.name,
        forked_from="" if edge is None else edge.external or "",
        generations=len(generations) - 1,
        promoted=outcomes_of.count(GenerationOutcome.PROMOTED),
        rejected=outcomes_of.count(GenerationOutcome.REJECTED),
        ungated=outcomes_of.count(GenerationOutcome.UNGATED),
        champion=champion.name,
        frontier=champion.report.frontier,
        flops=sum(cost.start.values()) + sum(cost.since.values()),
        seed=champion.seed,
        recipe=champion.recipe_digest,
        code_version=champion.code_version,
    )


def _settings(grown: Sequence[Grown]) -> list[Setting]:
    """Return the settings in which the recipes differ, by name."""
    recipes = (one.header.identity for one in grown)
    return [Setting(name=name, values=values) for name, values in differences(*recipes)]


def _levels(grown: Sequence[Grown]) -> list[LevelAccuracies]:
    found: dict[tuple[str, int], list[float | None]] = {}
    for place, one in enumerate(grown):
        report = one.find("champion").report
        for task, rows in {"": report.levels, **report.panel}.items():
            for row in rows:
                found.setdefault((task, row.level), [None] * len(grown))[place] = row.accuracy
    return [
        LevelAccuracies(task=task, level=level, accuracies=tuple(values))
        for (task, level), values in sorted(found.items())
    ]


def _paired(first: Grown, other: Grown) -> ChampionPair | None:
    ours, theirs = outcomes(first, first.find("champion")), outcomes(other, other.find("champion"))
    pairs = [
        (ours[key]["correct"], theirs[key]["correct"])
        for key in ours.keys() & theirs.keys()
        if None not in (ours[key]["correct"], theirs[key]["correct"])
    ]
    if not pairs:
        return None
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    return ChampionPair(
        a=f"{first.name}@{first.find('champion').name}",
        b=f"{other.name}@{other.find('champion').name}",
        prompts=len(pairs),
        only_a=only_a,
        only_b=only_b,
        p_value=mcnemar_exact(only_a, lost=only_b),
    )
