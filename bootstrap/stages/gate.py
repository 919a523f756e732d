"""The gate as a stage: the candidate's answers against the champion's, and the recipe's rule for the result.

Left out: the statistics (`evaluation/gate.py`).
"""

from collections.abc import Sequence
from typing import Any, Literal

from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.gate import Answers, decide
from bootstrap.evaluation.protection import Protected
from bootstrap.ledger_records import Decision, GenerationOutcome
from bootstrap.prompts.task import Task, own_level
from bootstrap.stages.bar import improvement_test
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.evaluate import Evaluation, outcomes_of
from bootstrap.stages.heldout import known_answers, shared, slices_of
from bootstrap.stages.siblings import among_siblings, best_so_far
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry

CHAMPION_EVALUATION = "champion-evaluation"


def gate(
    context: Context, entries: Sequence[Entry], plan: Plan, candidate: Evaluation, *, meter: Meter
) -> tuple[Decision, dict[str, Artifact]]:
    """Return the decision on a candidate, and by role the evaluations made for it alone.

    The candidate is compared on the same prompts with the champion from before its siblings and with the best of the
    champion line; if it passes, with the best sibling so far.
    """
    champion = plan.champion
    if champion is None:
        # Generation 0 has nobody to compare with.
        reason = f"generation 0: frontier {candidate.report.frontier}"
        return Decision(promoted=True, reason=reason, champion=None), {}
    position, committed = context.recipe.generations.position(plan.number), [entry.generation for entry in entries]
    rule = position.stage.gate
    if rule == "never":
        return Decision(promoted=False, reason="left ungated, as the recipe says (gate: never)", champion=champion), {}
    kept = plan.protected
    levels = levels_of_bar(kept, champion, plan.target_levels)
    line, further = dict[int, Answers](), dict[str, Artifact]()
    for number in sorted(levels):
        rows, evaluated = outcomes_of(context, entries, number, levels=levels[number], meter=meter)
        line[number] = Answers(rows=rows, panel=known_answers(context, entries, number).panel)
        if evaluated is not None:
            further[further_role(number, champion)] = evaluated
    panels = shared([candidate.panel, *(line[number].panel for number in line)])
    line = {n: Answers(rows=line[n].rows, panel=panel) for n, panel in zip(line, panels[1:], strict=True)}
    decision = decide(
        candidate=Answers(rows=candidate.rows, panel=panels[0]),
        line=line,
        champion=champion,
        target_levels=plan.target_levels,
        protected=kept,
        settings=context.recipe.gate,
        test=improvement_test(context.recipe, committed, position),
        **suites(context.task, kept, plan.target_levels, count=context.recipe.evaluation.most_prompts),
    )
    return among_siblings(by_rule(decision, rule), best=best_so_far(committed, position)), further


def levels_of_bar(kept: Protected, champion: int, targets: Sequence[int]) -> dict[int, set[int]]:
    """Map each generation of the bar to the levels that its answers are compared on.

    The champion's are all up to the highest, since prompts of the targets may stand in lower levels too.
    """
    below = range(1, max((*targets, kept.highest_level)) + 1)
    found: dict[int, set[int]] = {champion: {*below}}
    for level, number in (*kept.levels.items(), *kept.below.items()):
        found.setdefault(number, set()).add(level)
    for name, number in kept.slices.items():
        found.setdefault(number, set()).update(kept.slice_levels[name])
    for number in kept.panel.values():
        found.setdefault(number, set())
    return found


def further_role(number: int, champion: int) -> str:
    """Return the role of a further evaluation, of prompts that a generation's own did not ask."""
    return CHAMPION_EVALUATION if number == champion else f"evaluation-of-{number}"


def suites(task: Task, kept: Protected, targets: Sequence[int], *, count: int) -> dict[str, Any]:
    """Return the prompts of the target levels and of the slices, `count` a level, as arguments of `decide`."""
    members = {level: [prompt.id for prompt in task.heldout(own_level(task, level), count)] for level in targets}
    slices = {
        name: {prompt for prompt, own in slices_of(task, levels, count=count).items() if own == name}
        for name, levels in kept.slice_levels.items()
    }
    return {"members": members, "slices": slices}


def by_rule(decision: Decision, rule: Literal["compare", "always", "never"]) -> Decision:
    """Return the decision under the stage's rule."""
    if rule != "always" or decision.promoted:
        return decision
    reason = f"promoted by the recipe's word (gate: always), though {decision.reason.removeprefix('rejected: ')}"
    return decision.model_copy(update={"promoted": True, "reason": reason})


def outcome_of(recipe: Recipe, number: int, decision: Decision) -> GenerationOutcome:
    """Return a generation's outcome."""
    if number == 0:
        return GenerationOutcome.BASE
    if recipe.gate_of(number) == "never":
        return GenerationOutcome.UNGATED
    return GenerationOutcome.PROMOTED if decision.promoted else GenerationOutcome.REJECTED
