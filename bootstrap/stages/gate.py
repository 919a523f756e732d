"""The gate as a stage: the candidate's answers against the champion's, and what the recipe lets follow from them.

The statistics are `evaluation/gate.py`'s.
"""

from collections.abc import Sequence
from typing import Literal

from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.gate import Answers, decide
from bootstrap.records import Decision, Outcome
from bootstrap.stages.bar import test_of
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.evaluate import Evaluation, outcomes_of, panel_of, slices_of
from bootstrap.stages.siblings import among_siblings, before, best_so_far
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry


def gate(
    context: Context, entries: Sequence[Entry], plan: Plan, candidate: Evaluation, *, meter: Meter
) -> tuple[Decision, Artifact | None]:
    """Compare the candidate with the champion from before its siblings and with the best of the line, on the same
    prompts; if it passes, with the best sibling so far. Also return what was evaluated for the comparison alone."""
    if not entries:
        # Generation 0 has nobody to compare with.
        reason = f"generation 0: frontier {candidate.report.frontier}"
        return Decision(promoted=True, reason=reason, champion=None), None
    position, committed = context.recipe.generations.position(plan.number), [entry.generation for entry in entries]
    champion, rule = before(committed, position), position.stage.gate
    if rule == "never":
        return Decision(promoted=False, reason="kept aside, as the recipe says (gate: never)", champion=champion), None
    kept, count = plan.protected, context.recipe.evaluation.prompts_per_level
    # What slices are compared on: the levels that both sides were evaluated at for their own sake.
    both = {row.level for row in candidate.report.levels} & {row.level for row in committed[champion].report.levels}
    asked = sorted(both) if kept.slices else []
    wanted = {champion: {*plan.target_levels}}
    for level, number in (*kept.levels.items(), *kept.below.items()):
        wanted.setdefault(number, set()).add(level)
    for number in kept.slices.values():
        wanted.setdefault(number, set()).update(asked)
    line, further = dict[int, Answers](), None
    for number in sorted({*wanted, *kept.panel.values()}):
        levels = wanted.get(number, ())
        rows, evaluated = outcomes_of(context, entries, number, levels=levels, meter=meter) if levels else ((), None)
        panel = panel_of(context, entries, number) if number in kept.panel.values() else ()
        line[number] = Answers(rows=rows, panel=panel)
        # Only the champion is asked anew: the others are named for what they have answered.
        further = further or evaluated
    decision = decide(
        candidate=Answers(rows=candidate.rows, panel=candidate.panel),
        line=line,
        champion=champion,
        target_levels=plan.target_levels,
        protected=kept,
        settings=context.recipe.gate,
        test=test_of(context.recipe, committed, position),
        slices=slices_of(prompt for level in asked for prompt in context.task.heldout(level, count)),
    )
    return among_siblings(by_rule(decision, rule), best=best_so_far(committed, position)), further


def by_rule(decision: Decision, rule: Literal["compare", "always", "never"]) -> Decision:
    """Return the decision as the stage's rule has it."""
    if rule != "always" or decision.promoted:
        return decision
    reason = f"promoted by the recipe's word (gate: always), though {decision.reason.removeprefix('rejected: ')}"
    return decision.model_copy(update={"promoted": True, "reason": reason})


def outcome_of(recipe: Recipe, number: int, decision: Decision) -> Outcome:
    """Return what becomes of a generation."""
    if number == 0:
        return Outcome.BASE
    if recipe.gate_of(number) == "never":
        return Outcome.ASIDE
    return Outcome.PROMOTED if decision.promoted else Outcome.REJECTED
