"""Drawing by epochs in a lineage: its history of visits, the draws of one step, and what the books say of them.

    committed generations ---visits---> Plan.visits --+
    earlier steps of this generation -----------------+--> EpochDraws: prompts of each round, results after it
    earlier rounds of this step (its tables) ---------+

| generation | its draws | its results |
|---|---|---|
| one that the weights come from | count | count |
| one that set out from such a one, as a rejected candidate (`answers.contributors`) | count | count |
| another one whose answers may be replayed | count | do not count |
| any other: a sibling, an ungated one, one that guards speak against | do not count | do not count |

So a retry goes on with other prompts than the rejected candidate had. What that one measured holds for weights close to
those that the retry starts from, and a prompt only sits out for a while; `retire`, which is for good, counts the first
row alone. Siblings set out from the same state, each with an order of its own.

Left out: the order itself (`selection/epochs.py`).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from bootstrap.ids import RolloutId, StepRole
from bootstrap.ledger_records import Drawing, Generation
from bootstrap.records import Prompt, Rollout, Split, Status, Verdict
from bootstrap.seeds import derive_seed
from bootstrap.selection import epochs
from bootstrap.selection.epochs import Epochs, Uninformative, Visit
from bootstrap.selection.filters import pairs
from bootstrap.stages.answers import INHERITED
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.step import StepResult
from bootstrap.stages.tables import Tables
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet

VISITS = "visits.parquet"
"""File of the visits that a fork inherited."""


def visits_of(rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], *, measured: bool) -> list[Visit]:
    """Return one visit per group of answers, in the order of drawing; `measured`: whether results count."""
    found: dict[str, Visit] = {}
    for rollout, verdict in pairs(rollouts, verdicts):
        known = found.get(rollout.group)
        judged = measured and verdict.status is not Status.UNVERIFIABLE
        found[rollout.group] = Visit(
            round=str(RolloutId.parse(rollout.id).round),
            prompt_id=rollout.prompt_id,
            level=rollout.level,
            right=(known.right if known else 0) + (judged and verdict.status is Status.PASS),
            judged=(known.judged if known else 0) + judged,
        )
    return list(found.values())


def visits_of_generation(
    store: LineageStore, generation: Generation, *, measured: Sequence[bool | None]
) -> Iterator[Visit]:
    """Yield a committed generation's visits, and first those that a fork's generation 0 inherited.

    Raises StoreCorrupt.

    `measured`: for each step, whether its results count; None for one that draws no prompts.
    """
    if INHERITED in generation.artifacts:
        handed_on = store.artifact(generation.artifacts[INHERITED])
        # A fork of generated tasks, or of an earlier version's, inherits none.
        yield from from_parquet(handed_on.read(VISITS), Visit) if VISITS in handed_on.files else ()
    for index, counts in enumerate(measured):
        if counts is not None:
            tables = Tables.read(store.artifact(generation.steps[StepRole(index)]))
            yield from visits_of(tables.rollouts, tables.verdicts, measured=counts)


def history(context: Context, earlier: Sequence[Entry], *, own: Collection[int]) -> tuple[Visit, ...]:
    """Return the visits of earlier generations in the ledger's order; `own`: those that the weights come from."""
    found: list[Visit] = []
    for entry in earlier:
        number = entry.generation.number
        if number not in context.visits:
            steps = context.recipe.steps_of(number)
            measured = [step.measures if step.draws() else None for step in steps]
            context.visits[number] = list(visits_of_generation(context.store, entry.generation, measured=measured))
        found += counted(context.visits[number], entry.generation, own=own)
    return tuple(found)


def counted(visits: Iterable[Visit], generation: Generation, *, own: Collection[int]) -> list[Visit]:
    """Return a generation's visits as a child counts them; `own`: the generations that its weights come from."""
    near = generation.number in own or (generation.parents and set(generation.parents) <= set(own))
    return [visit if near else visit.unmeasured() for visit in visits]


class EpochDraws:
    """The draws of one step, level by level."""

    def __init__(self, context: Context, plan: Plan, *, measured: bool) -> None:
        """`measured`: whether the step's results count."""
        self._context, self._measured = context, measured
        self._history = list(plan.visits)
        self._seed = _seed(context, plan)
        self._levels: dict[int, tuple[Epochs, dict[str, Prompt]]] = {}

    def resume(self, tables: Tables) -> None:
        """Take up the rounds done so far; called before the first draw."""
        assert not self._levels, "what was drawn already is not drawn again"
        self._history += visits_of(tables.rollouts, tables.verdicts, measured=self._measured)

    def draw(self, level: int, count: int) -> list[Prompt]:
        """Return the next prompts of a level."""
        if level not in self._levels:
            prompts = prompts_of(self._context, level)
            visits = [visit for visit in self._history if visit.level == level]
            self._levels[level] = epochs.after([*prompts], visits, seed=derive_seed(self._seed, level)), prompts
        state, prompts = self._levels[level]
        return [prompts[name] for name in state.draw(count)]

    def end_round(self, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> None:
        """Take up the results of the round."""
        visits = visits_of(rollouts, verdicts, measured=self._measured)
        self._history += visits
        for level, (state, _) in self._levels.items():
            state.measured(visit for visit in visits if visit.level == level)


def prompts_of(context: Context, level: int) -> dict[str, Prompt]:
    """Map id to train prompt of a level, in the order of the file."""
    prompts = context.task.every_prompt(level, Split.TRAIN)
    assert prompts is not None, "epochs of other than fixed data are refused when the recipe is loaded"
    return {prompt.id: prompt for prompt in prompts}


def drawing(context: Context, plan: Plan, results: Sequence[StepResult]) -> Drawing | None:
    """Return what the books say of a generation's draws by epochs; None where no step draws so."""
    steps = context.recipe.steps_of(plan.number)
    if not any(step.draws_epochs for step in steps):
        return None
    drawn: list[Visit] = []
    for step, result in zip(steps, results, strict=True):
        if step.draws():
            tables = Tables.read(result.artifact)
            drawn += visits_of(tables.rollouts, tables.verdicts, measured=step.measures)
    states: dict[int, tuple[Epochs, Epochs]] = {}
    for level in sorted({visit.level for visit in drawn}):
        prompts, seed = [*prompts_of(context, level)], derive_seed(_seed(context, plan), level)
        before = [visit for visit in plan.visits if visit.level == level]
        own = [visit for visit in drawn if visit.level == level]
        begin, end = (epochs.after(prompts, visits, seed=seed) for visits in (before, [*before, *own]))
        states[level] = begin, end
    ends = [end for _, end in states.values()]

    def sat_out(kind: Uninformative) -> int:
        return sum(end.skipped[kind] - begin.skipped[kind] for begin, end in states.values())

    return Drawing(
        drawn=len(drawn),
        distinct=len({visit.prompt_id for visit in drawn}),
        prompts=sum(len(end.prompts) for end in ends),
        epochs={level: end.position for level, (_, end) in states.items()},
        skipped_right=sat_out(Uninformative.RIGHT),
        skipped_wrong=sat_out(Uninformative.WRONG),
        returned=sum(end.returned - begin.returned for begin, end in states.values()),
        all_right=sum(end.uninformative[Uninformative.RIGHT] for end in ends),
        all_wrong=sum(end.uninformative[Uninformative.WRONG] for end in ends),
        replayable=len(plan.pool),
    )


def _seed(context: Context, plan: Plan) -> int:
    """Return the seed of the order; of siblings each has its own, and the eldest that of a generation without any."""
    place = plan.number - context.recipe.generations.position(plan.number).eldest
    return derive_seed(context.recipe.seed, "epochs", *((place,) if place else ()))
