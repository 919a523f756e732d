"""From a generation's diagnostics to what becomes of it: the bounds that it broke, and a decision under them.

Left out: how diagnostics are measured (`diagnostics.py`) and the end of a run (`loop.py`).
"""

from collections.abc import Sequence

from bootstrap.config.guards import Guard
from bootstrap.ledger_records import Decision, Diagnostics, Generation, GenerationOutcome, GuardAction, GuardBreach

REJECTED = "rejected: "


def findings(diagnostics: Diagnostics, guards: Sequence[Guard]) -> tuple[GuardBreach, ...]:
    """Return the bounds that are broken, in the guards' order; what was not measured breaks none."""
    found = []
    for guard in guards:
        value = diagnostics.value(guard.metric)
        if value is None:
            continue
        for side, bound in (("min", guard.min), ("max", guard.max)):
            if bound is not None and (value < bound if side == "min" else value > bound):
                found.append(GuardBreach(metric=guard.metric, value=value, side=side, bound=bound, action=guard.action))
    return tuple(found)


def apply_guards(
    decision: Decision, diagnostics: Diagnostics, *, earlier: Sequence[Generation], ungated: bool = False
) -> tuple[Decision, int]:
    """Return the decision under the guards, and the champion after it.

    `decision`: the gate's; `earlier`: all generations before; `ungated`: whether this one is left ungated, so that its
    diagnostics say nothing of the champion. A guard that rejects overrules the gate, never the other way round;
    generation 0 stays, since there is nothing to fall back on.
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
    """Return the generations that guards speak against: each that a guard rejected, and those that a roll-back left.

    Left by a roll-back are the champions from after the one that it returned to, and all whose weights come from
    theirs until then. `generations`: all of a lineage, or its first ones, in order.
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
    """Return the latest champion that broke no guard at all; generation 0 when none is."""
    for generation in reversed(earlier):
        if not earlier[generation.champion].diagnostics.findings:
            return generation.champion
    return 0
