"""Accounting: every prompt drawn is rolled out, judged, and selected or dropped with a reason, exactly once.

A generation whose accounting does not reconcile is not committed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from bootstrap.errors import AccountingMismatch
from bootstrap.ledger_records import Accounting
from bootstrap.records import Rollout, Selection, Status, Use, Verdict

IDS_SHOWN = 3


def reconcile(
    rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], selections: Sequence[Selection], *, num_prompts: int
) -> Accounting:
    """Reconcile a stage that drew `num_prompts` prompts, one group of rollouts each; return its counts.

    Raises AccountingMismatch if a prompt has no rollout, if a rollout has not exactly one verdict and one selection, if
    a verdict or selection belongs to no rollout, or if an unverifiable rollout carries a policy gradient.
    """
    ids = [rollout.id for rollout in rollouts]
    _match(ids, ids, kind="rollout")
    _match(ids, [verdict.rollout_id for verdict in verdicts], kind="verdict")
    _match(ids, [selection.rollout_id for selection in selections], kind="selection")
    num_groups = len({rollout.group for rollout in rollouts})
    if num_groups != num_prompts:
        raise _not_reconciled(f"{num_prompts} prompts were drawn, {num_groups} have rollouts")
    unjudged = {verdict.rollout_id for verdict in verdicts if verdict.status is Status.UNVERIFIABLE}
    if graded := [s.rollout_id for s in selections if s.use is Use.RL and s.rollout_id in unjudged]:
        raise _not_reconciled(f"unverifiable rollouts carry a policy gradient: {_shown(graded)}")
    statuses = Counter(verdict.status for verdict in verdicts)
    dropped = Counter(selection.reason for selection in selections if selection.use is Use.NONE)
    return Accounting(
        prompts_drawn=num_prompts,
        rollouts=len(ids),
        verdicts=len(verdicts),
        passed=statuses[Status.PASS],
        failed=statuses[Status.FAIL],
        unverifiable=statuses[Status.UNVERIFIABLE],
        trained=len(ids) - dropped.total(),
        replayed=sum(selection.replay for selection in selections),
        dropped=dict(sorted(dropped.items())),
    )


def combine(accounting: Iterable[Accounting]) -> Accounting:
    """Return the sum of several stages' counts; of none, zeros."""
    totals: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    ended: dict[str, str] = {}
    for one in accounting:
        totals.update(one.model_dump(exclude={"dropped", "ended"}))
        dropped.update(one.dropped)
        ended |= one.ended
    return Accounting(**totals, dropped=dict(sorted(dropped.items())), ended=ended)


def _match(rollouts: Sequence[str], records: Sequence[str], *, kind: str) -> None:
    """Raise AccountingMismatch unless `records` name each rollout exactly once."""
    counts = Counter(records)
    known = set(rollouts)
    faults = (
        (f"rollouts without a {kind}", [identifier for identifier in rollouts if identifier not in counts]),
        (f"rollouts with more than one {kind}", [identifier for identifier, n in counts.items() if n > 1]),
        (f"{kind}s of no rollout", [identifier for identifier in counts if identifier not in known]),
    )
    for fault, identifiers in faults:
        if identifiers:
            raise _not_reconciled(f"{fault}: {_shown(identifiers)}")


def _shown(identifiers: Sequence[str]) -> str:
    more = f" and {len(identifiers) - IDS_SHOWN} more" if len(identifiers) > IDS_SHOWN else ""
    return ", ".join(identifiers[:IDS_SHOWN]) + more


def _not_reconciled(fault: str) -> AccountingMismatch:
    return AccountingMismatch(
        f"the accounting does not reconcile: {fault}. Nothing was committed; start the run again to repeat the stage"
    )
