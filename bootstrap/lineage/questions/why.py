"""Why a generation is where it is: the chain of gate decisions that made it champion, or the one that kept it from it.

The chain goes back from the generation to the champion that it was compared with, from that one to its own, and so on
to generation 0. It is made of decisions, not of weights: a generation may start from other weights than those it beat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bootstrap.ledger_records import Generation, GenerationOutcome, LevelTest
from bootstrap.levels import level_range
from bootstrap.lineage import queries, text
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.records import Records

ENDS = 4
"""Champions that a sentence names at either end of a long line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateTest:
    """One test of a decision. Shares are of right greedy answers to the same prompts."""

    test: str
    """improvement, retention, `panel: TASK` and the like."""
    levels: tuple[int, ...]
    against: tuple[str, ...]
    """The generations compared with."""
    before: float
    after: float
    gained: int
    """Prompts that only the candidate answers right."""
    lost: int
    low: float
    """Lower confidence bound of after - before."""
    p_value: float | None
    alpha: float | None
    margin: float | None
    """Largest allowed fall; None for improvement."""
    passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """A generation that was compared with the same champion and did not take its place."""

    name: str
    outcome: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """One decision of the chain."""

    name: str
    number: int
    stage: str
    outcome: str
    compared_with: str | None
    """None for generation 0, and where nothing was compared."""
    reason: str
    parents: tuple[str, ...]
    """Where its weights come from."""
    target_levels: tuple[int, ...]
    before: float | None
    """The champion's share of right answers on the target levels; None without a test of improvement."""
    after: float | None
    gained: int | None
    lost: int | None
    p_value: float | None
    frontier: int
    guards: tuple[str, ...]
    """The bounds that it broke."""
    tests: Records[GateTest]
    rivals: Records[Rival]


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """The answer."""

    lineage: str
    generation: str
    outcome: str
    is_champion: bool
    reigns: tuple[tuple[int, int], ...]
    """Runs of generations after which it was champion, as (first, last)."""
    sentence: str
    chain: Records[Decided]
    """Generation 0 first, the generation itself last."""
    challengers: Records[Rival]
    """Later generations that were compared with it and did not take its place."""


def why(grown: Grown, name: str = "champion") -> Why:
    """Return the decisions that made a generation champion or kept it from it.

    Raises RecipeError for an unknown generation.
    """
    node = grown.find(name)
    generations = [entry.generation for entry in grown.outlines]
    chain = [generations[number] for number in queries.decided_by(grown.outlines, node.number)]
    on_chain = {one.number for one in chain}
    is_champion = generations[-1].champion == node.number
    reigns = _reigns(generations, node.number)
    rivals: dict[int | None, list[Generation]] = {}
    for one in generations:
        if one.number not in on_chain and one.champion != one.number:
            rivals.setdefault(queries.compared_with(one), []).append(one)
    links = Records((_decided(one, rivals) for one in chain), kind=Decided)
    challengers = _rivals(rivals.get(node.number, ()))
    return Why(
        lineage=grown.name,
        generation=node.name,
        outcome=node.outcome.value,
        is_champion=is_champion,
        reigns=reigns,
        sentence=_sentence(node, links, reigns, is_champion=is_champion, challengers=len(challengers)),
        chain=links,
        challengers=challengers,
    )


def _reigns(generations: Sequence[Generation], number: int) -> tuple[tuple[int, int], ...]:
    runs: list[tuple[int, int]] = []
    for one in generations:
        if one.champion == number:
            start = runs.pop()[0] if runs and runs[-1][1] == one.number - 1 else one.number
            runs.append((start, one.number))
    return tuple(runs)


def _decided(node: Generation, rivals: Mapping[int | None, Sequence[Generation]]) -> Decided:
    """Return a decision of the chain. `rivals`: champion -> those compared with it that did not take its place."""
    decision, test = node.decision, node.decision.improvement
    before = queries.compared_with(node)
    return Decided(
        name=node.name,
        number=node.number,
        stage=node.stage,
        outcome=node.outcome.value,
        compared_with=None if before is None else f"gen-{before}",
        reason=decision.reason,
        parents=tuple(filter(None, [queries.origin(node)])),
        target_levels=node.target_levels,
        before=None if test is None else test.champion,
        after=None if test is None else test.candidate,
        gained=None if test is None else test.gained,
        lost=None if test is None else test.lost,
        p_value=None if test is None else test.p_value,
        frontier=node.report.frontier,
        guards=tuple(map(str, node.diagnostics.findings)),
        tests=Records((_test(node, kind, one) for kind, one in queries.gate_tests(decision)), kind=GateTest),
        rivals=_rivals(() if before is None else rivals.get(before, ()), until=node.number),
    )


def _test(node: Generation, kind: str, test: LevelTest) -> GateTest:
    champion = queries.compared_with(node)
    against = test.reference or (() if champion is None else (champion,))
    return GateTest(
        test=kind,
        levels=test.levels,
        against=tuple(f"gen-{number}" for number in against),
        before=test.champion,
        after=test.candidate,
        gained=test.gained,
        lost=test.lost,
        low=test.difference_low,
        p_value=test.p_value,
        alpha=test.alpha,
        margin=test.margin,
        passed=test.passed,
    )


def _rivals(compared: Sequence[Generation], *, until: int | None = None) -> Records[Rival]:
    """Return those of some generations that came before generation `until`; None takes all."""
    return Records(
        (
            Rival(name=one.name, outcome=one.outcome.value, reason=one.decision.reason)
            for one in compared
            if until is None or one.number < until
        ),
        kind=Rival,
    )


def _line(names: Sequence[str]) -> str:
    """Return the champions in order; of a long line its ends."""
    if len(names) <= 2 * ENDS:
        return " -> ".join(names)
    return " -> ".join([*names[:ENDS], f"{len(names) - 2 * ENDS} more", *names[-ENDS:]])


def _sentence(
    node: Generation,
    chain: Sequence[Decided],
    reigns: Sequence[tuple[int, int]],
    *,
    is_champion: bool,
    challengers: int,
) -> str:
    name, last = node.name, chain[-1]
    if is_champion:
        line = _line([one.name for one in chain])
        later = "a later one was" if challengers == 1 else f"{challengers} later ones were"
        held = f", and {later} not better" if challengers else ""
        start = "it is the base" if len(chain) == 1 else f"the gate promoted it over {last.compared_with}"
        return f"{name} is the champion: {start}; the line of champions is {line}{held}"
    if reigns:
        first, until = reigns[-1]
        after = f"after gen-{first}" if first == until else f"from gen-{first} to gen-{until}"
        return f"{name} was champion {after}; then another one took its place"
    if node.outcome is GenerationOutcome.UNGATED:
        return f"{name} is ungated: the recipe does not compare it with the champion"
    if node.decision.promoted:
        return f"{name} passed the gate and did not become champion: {last.reason}"
    test, reason = node.decision.improvement, last.reason.removeprefix("rejected: ")
    against = "" if last.compared_with is None else f" against {last.compared_with}"
    # A reason that speaks of the target levels gives their shares.
    if test is not None and test.passed:
        shares = f"{text.percent(test.champion)} -> {text.percent(test.candidate)}"
        against += f" ({level_range(test.levels)} {shares})"
    return f"{name} was rejected{against}: {reason}"
