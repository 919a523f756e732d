"""Several children of one parent: which of them is kept, and who stands for them."""

from typing import Any

import pytest
from support import lineage_factory, tiny
from support.lineage_factory import PROMOTED, REJECTED, UNGATED

from bootstrap.config.generations import Generations
from bootstrap.config.guards import Guard
from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.guards import apply_guards, findings
from bootstrap.ledger_records import Decision, Diagnostics, Generation, GenerationOutcome
from bootstrap.stages.siblings import aimed_accuracy, among_siblings, before, best_so_far, stands_for

TRIOS = Generations.model_validate({"count": 6, "branches": 3, "steps": [tiny.RL]})
"""Generations 1 to 3 have one parent, 4 to 6 the next."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    root = tmp_path_factory.mktemp("store") / "addition"
    return lineage_factory.build(root, plan=(PROMOTED,))[1].generation


def decision(template: Generation, *, share: float, promoted: bool = True) -> Decision:
    assert template.decision.improvement is not None
    improvement = template.decision.improvement.model_copy(update={"candidate": share})
    return Decision(promoted=promoted, reason=f"level 5: {share}", champion=0, improvement=improvement)


def grown(template: Generation, *shares: float | None, **changes: Any) -> list[Generation]:
    """Return generation 0 and siblings with these shares of right answers, None where the gate lets one not pass."""
    base = template.model_copy(update={"number": 0, "outcome": GenerationOutcome.BASE, "champion": 0})
    committed = [base]
    for number, share in enumerate(shares, start=1):
        position = TRIOS.position(number)
        gated = decision(template, share=share or 0.2, promoted=share is not None)
        found, champion = apply_guards(
            among_siblings(gated, best=best_so_far(committed, position)), Diagnostics(), earlier=committed
        )
        outcome = PROMOTED if found.promoted else REJECTED
        made = {"number": number, "outcome": outcome, "champion": champion, "decision": found, "edges": ()}
        committed.append(template.model_copy(update={**made, **changes}))
    return committed


@pytest.mark.parametrize(
    ("shares", "champions"),
    [
        ([0.9, 0.8, 0.7], [1, 1, 1]),
        ([0.7, 0.8, 0.9], [1, 2, 3]),
        ([0.7, 0.9, 0.8], [1, 2, 2]),
        ([0.8, 0.8, 0.8], [1, 1, 1]),
        ([None, 0.8, None], [0, 2, 2]),
        ([None, None, None], [0, 0, 0]),
    ],
)
def test_of_siblings_that_pass_the_best_is_champion_and_of_equals_the_earliest(
    template: Generation, shares: list[float | None], champions: list[int]
) -> None:
    found = grown(template, *shares)
    assert [one.champion for one in found[1:]] == champions
    assert [one.outcome is PROMOTED for one in found[1:]] == [one.champion == one.number for one in found[1:]]


def test_sets_of_siblings_are_counted_over_all_stages() -> None:
    assert [TRIOS.num_sets(number) for number in range(9)] == [0, 1, 1, 1, 2, 2, 2, 3, 3]
    alone = {"name": "alone", "generations": 2, "steps": [tiny.RL]}
    twins = {"name": "twins", "generations": 4, "branches": 2, "steps": [tiny.RL]}
    staged = Generations.model_validate({"stages": [alone, twins]})
    assert [staged.num_sets(number) for number in range(7)] == [0, 1, 2, 3, 3, 4, 4]


def test_an_evaluation_too_small_to_tell_branches_apart_from_chance_is_refused() -> None:
    def settings(branches: int, prompts: int) -> Recipe:
        generations = {"count": 2, "branches": branches, "steps": [tiny.RL]}
        evaluation = tiny.EVALUATION | {"prompts_per_level": prompts}
        return tiny.recipe(generations=generations, evaluation=evaluation, gate={"min_prompts": 5})

    settings(1, 6)
    with pytest.raises(ValueError, match=r"gate\.alpha 0\.05 / 2 branches, so .*use 7 or more"):
        settings(2, 6)
    settings(2, 7)


def test_every_sibling_is_compared_with_the_champion_from_before_them(template: Generation) -> None:
    found = grown(template, 0.7, 0.8, 0.9)
    assert [before(found, TRIOS.position(number)) for number in (1, 2, 3)] == [0, 0, 0]
    assert before(found, TRIOS.position(4)) == 3


def test_after_a_roll_back_among_siblings_the_next_one_is_compared_with_whom_it_returned_to(
    template: Generation,
) -> None:
    found = [*grown(template, None, None, None, 0.9), template.model_copy(update={"number": 5, "champion": 0})]
    found[3] = found[3].model_copy(update={"champion": 2})
    assert before(found[:5], TRIOS.position(5)) == 2
    assert before(found, TRIOS.position(6)) == 0


def test_a_sibling_that_passes_and_is_not_kept_is_told_why(template: Generation) -> None:
    found = grown(template, 0.9, 0.8, 0.95)
    assert found[2].decision.reason == "rejected: no better than its sibling gen-1 (0.900), though level 5: 0.8"
    assert found[3].decision.reason == "level 5: 0.95; better than its sibling gen-1 (0.900)"


def test_the_next_ones_name_the_best_sibling(template: Generation) -> None:
    assert stands_for(TRIOS, grown(template, 0.7, 0.9, 0.8), 3) == 2
    assert stands_for(TRIOS, grown(template, 0.7), 0) == 0
    none_passed = grown(template, None, None, None)
    better = none_passed[2].model_copy(update={"decision": decision(template, share=0.4, promoted=False)})
    assert stands_for(TRIOS, [*none_passed[:2], better, none_passed[3]], 3) == 2
    assert stands_for(TRIOS, none_passed, 3) == 1, "the earliest of equals"


def test_of_siblings_left_ungated_the_best_by_its_own_report_stands_for_them(template: Generation) -> None:
    kept = Decision(promoted=False, reason="left ungated", champion=0)
    found = grown(template, None, None, None, outcome=UNGATED, decision=kept)
    rows = tuple(row.model_copy(update={"num_correct": row.num_prompts}) for row in template.report.levels)
    found[3] = found[3].model_copy(update={"report": template.report.model_copy(update={"levels": rows})})
    assert aimed_accuracy(found[3]) == 1.0 > aimed_accuracy(found[1])
    assert stands_for(TRIOS, found, 3) == 3


def test_a_sibling_that_a_guard_rejected_stands_for_none_but_where_all_are(template: Generation) -> None:
    guard = Guard.model_validate({"metric": "truncated", "max": 0.1, "action": "reject"})
    ill = {"diagnostics": Diagnostics(truncated=0.9, findings=findings(Diagnostics(truncated=0.9), [guard]))}
    found = grown(template, None, None, None)
    best = found[1].model_copy(update={"decision": decision(template, share=0.9, promoted=False), **ill})
    assert stands_for(TRIOS, [found[0], best, *found[2:]], 3) == 2
    assert stands_for(TRIOS, [found[0], best, *(one.model_copy(update=ill) for one in found[2:])], 3) == 1
