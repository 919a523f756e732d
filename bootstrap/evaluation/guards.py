"""Guards: the bounds that a generation's diagnostics break, and the effect on the gate's decision.

Left out: measuring (`diagnostics.py`), and ending a run (`loop.py`).
"""

from collections.abc import Sequence
from functools import partial

from bootstrap.config.guards import Guard
from bootstrap.ledger_records import (
    Decision,
    DiagnosticMetric,
    Diagnostics,
    Generation,
    GenerationOutcome,
    GuardAction,
    GuardBreach,
)

REJECTED = "rejected: "


def findings(
    diagnostics: Diagnostics, guards: Sequence[Guard], *, accuracy_jump: float | None = None
) -> tuple[GuardBreach, ...]:
    """Return the broken bounds, in the guards' order; a metric that was not measured breaks none."""
    found = []
    for guard in guards:
        jump = guard.metric is DiagnosticMetric.ACCURACY_JUMP
        value = accuracy_jump if jump else diagnostics.value(guard.metric)
        if value is not None:
            broken = partial(GuardBreach, metric=guard.metric, value=value, action=guard.action)
            if guard.min is not None and value < guard.min:
                found.append(broken(side="min", bound=guard.min))
            if guard.max is not None and value > guard.max:
                found.append(broken(side="max", bound=guard.max))
    return tuple(found)


def apply_guards(
    decision: Decision, diagnostics: Diagnostics, *, earlier: Sequence[Generation], ungated: bool = False
) -> tuple[Decision, int]:
    """Apply the guards to the gate's decision; return the resulting decision and the champion after it.

    `earlier`: all earlier generations. `ungated`: whether this generation is ungated, so that its diagnostics say
    nothing about the champion. A guard that rejects overrules the gate, never the other way round. Generation 0 always
    stays, since there is nothing to return to.
    """
    number = len(earlier)
    if not earlier:
        return decision, number
    champion = earlier[-1].champion
    broken = [finding for finding in diagnostics.findings if finding.action.rejects]
    if not broken:
        return decision, number if decision.promoted else champion
    told = "; ".join(f"guard {finding}" for finding in broken)
    if not ungated and any(finding.action is GuardAction.ROLL_BACK for finding in broken):
        back = last_within_bounds(earlier)
        told += f"; the champion {'stays' if back == champion else 'returns to'} gen-{back}"
        champion = back
    reason = (
        f"{REJECTED}{told}; the gate would have promoted it ({decision.reason})"
        if decision.promoted
        else f"{decision.reason}; {told}"
    )
    return decision.model_copy(update={"promoted": False, "reason": reason}), champion


def distrusted(generations: Sequence[Generation]) -> set[int]:
    """Return the generations that guards distrust: each that a guard rejected, and those that a roll-back abandoned.

    A roll-back abandons all champions after the one that it returns to, and all earlier generations whose weights
    derive from theirs. `generations`: those of a lineage from generation 0 on, in order.
    """
    found: set[int] = set()
    for generation in generations[1:]:
        actions = {finding.action for finding in generation.diagnostics.findings}
        if any(action.rejects for action in actions):
            found.add(generation.number)
        if GuardAction.ROLL_BACK in actions and generation.outcome is not GenerationOutcome.UNGATED:
            earlier = generations[: generation.number]
            left = {one.champion for one in earlier[generation.champion :]} - {generation.champion}
            for one in earlier:
                if left.intersection(one.parents):
                    left.add(one.number)
            found |= left
    return found


def last_within_bounds(earlier: Sequence[Generation]) -> int:
    """Return the latest champion that broke no guard, warnings included; generation 0 without one."""
    for generation in reversed(earlier):
        if not earlier[generation.champion].diagnostics.findings:
            return generation.champion
    return 0
