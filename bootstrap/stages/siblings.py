"""Several children of one parent (`branches`), of which the best is kept.

Each sibling is compared with the champion from before them. Of those that pass, the one with the most right answers on
the levels aimed at is champion, the earliest of equals. A better sibling's record moves the champion on; no record is
changed.

Left out: the comparison itself (`gate.py`), and guards, which may reject a sibling or roll the champion back.
"""

from collections.abc import Sequence

from bootstrap.config.generations import Generations, Position
from bootstrap.evaluation.guards import distrusted
from bootstrap.ledger_records import Decision, Generation


def before(committed: Sequence[Generation], position: Position) -> int:
    """Return the champion from before a generation's siblings, or the target of a roll-back among them."""
    since = reversed(committed[position.eldest - 1 : position.siblings.stop])
    return next(one.champion for one in since if one.champion < position.eldest)


def best_so_far(committed: Sequence[Generation], position: Position) -> Generation | None:
    """Return the champion if it is one of a generation's siblings."""
    champion = committed[-1].champion
    return committed[champion] if champion in position.siblings else None


def among_siblings(decision: Decision, *, best: Generation | None) -> Decision:
    """Return the decision given `best`, the best sibling so far: only a better candidate passes."""
    if best is None or not decision.promoted:
        return decision
    assert decision.improvement is not None, "what may be champion is compared with one"
    own, theirs = decision.improvement.candidate, aimed_accuracy(best)
    if own > theirs:
        reason = f"{decision.reason}; better than its sibling {best.name} ({theirs:.3f})"
        return decision.model_copy(update={"reason": reason})
    reason = f"rejected: no better than its sibling {best.name} ({theirs:.3f}), though {decision.reason}"
    return decision.model_copy(update={"promoted": False, "reason": reason})


def stands_for(generations: Generations, committed: Sequence[Generation], number: int) -> int:
    """Return the best of generation `number` and its siblings, all committed, which its name means."""
    return best_of(committed, generations.position(number).siblings) if number else 0


def best_of(committed: Sequence[Generation], siblings: Sequence[int]) -> int:
    """Return the best of these siblings.

    That is the champion, if it is one of them. Else, where the gate let none pass or all are ungated, it is the best
    that no guard speaks against, or the best of all if guards speak against each.
    """
    if committed[siblings[-1]].champion in siblings:
        return committed[siblings[-1]].champion
    doubted = distrusted(committed)
    able = [one for one in siblings if one not in doubted] or siblings
    return max(able, key=lambda one: aimed_accuracy(committed[one]))


def aimed_accuracy(generation: Generation) -> float:
    """Return the share of right answers on all levels aimed at, 0 for none."""
    if generation.decision.improvement is not None:
        return generation.decision.improvement.candidate
    rows = [row for row in generation.report.levels if row.level in generation.target_levels]
    judged = sum(row.num_prompts - row.num_unverifiable for row in rows)
    return sum(row.num_correct for row in rows) / judged if judged else 0.0
