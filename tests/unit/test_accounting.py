"""Books balance, or say what is missing."""

import dataclasses

import pytest
from support.rollouts import rollout, verdict

from bootstrap.errors import AccountingMismatch
from bootstrap.ledger_records import Accounting
from bootstrap.records import Selection, Status, Use
from bootstrap.selection.accounting import combine, reconcile


def stage():
    """Two prompts with two rollouts each: one compared pair, one dropped."""
    rollouts, verdicts, selections = [], [], []
    rows = [
        ("a", Status.PASS, Use.RL, True, "compared"),
        ("a", Status.FAIL, Use.RL, False, "compared"),
        ("b", Status.FAIL, Use.NONE, False, "zero variance (all wrong)"),
        ("b", Status.UNVERIFIABLE, Use.NONE, False, "unverifiable: no tool"),
    ]
    for number, (group, status, use, replay, reason) in enumerate(rows):
        identifier = f"{group}.k{number}"
        rollouts.append(rollout(identifier))
        verdicts.append(verdict(identifier, status))
        selections.append(Selection(rollout_id=identifier, use=use, replay=replay, reason=reason))
    return rollouts, verdicts, selections


def test_reconciled_accounting_accounts_for_every_rollout():
    accounting = reconcile(*stage(), num_prompts=2)
    assert accounting == Accounting(
        prompts_drawn=2,
        rollouts=4,
        verdicts=4,
        passed=1,
        failed=2,
        unverifiable=1,
        trained=2,
        replayed=1,
        dropped={"unverifiable: no tool": 1, "zero variance (all wrong)": 1},
    )
    assert accounting.trained + sum(accounting.dropped.values()) == accounting.rollouts


def test_the_order_of_records_does_not_matter():
    rollouts, verdicts, selections = stage()
    assert reconcile(rollouts[::-1], verdicts, selections[::-1], num_prompts=2) == reconcile(*stage(), num_prompts=2)


@pytest.mark.parametrize(("place", "kind"), [(1, "verdict"), (2, "selection")])
def test_a_rollout_without_its_record_is_found(place, kind):
    records = list(stage())
    records[place] = records[place][1:]
    with pytest.raises(AccountingMismatch, match=rf"rollouts without a {kind}: a\.k0"):
        reconcile(*records, num_prompts=2)


@pytest.mark.parametrize(("place", "kind"), [(0, "rollout"), (1, "verdict"), (2, "selection")])
def test_a_rollout_with_two_records_is_found(place, kind):
    records = list(stage())
    records[place] = [*records[place], records[place][3]]
    with pytest.raises(AccountingMismatch, match=rf"rollouts with more than one {kind}: b\.k3"):
        reconcile(*records, num_prompts=2)


@pytest.mark.parametrize(("place", "kind"), [(1, "verdict"), (2, "selection")])
def test_a_record_of_no_rollout_is_found(place, kind):
    records = list(stage())
    records[place] = [*records[place], dataclasses.replace(records[place][0], rollout_id="stranger")]
    with pytest.raises(AccountingMismatch, match=f"{kind}s of no rollout: stranger"):
        reconcile(*records, num_prompts=2)


def test_a_prompt_that_was_never_rolled_out_is_found():
    with pytest.raises(AccountingMismatch, match="3 prompts were drawn, 2 have rollouts"):
        reconcile(*stage(), num_prompts=3)


def test_an_unjudged_rollout_with_a_policy_gradient_is_found():
    rollouts, verdicts, selections = stage()
    selections[3] = dataclasses.replace(selections[3], use=Use.RL)
    with pytest.raises(AccountingMismatch, match=r"unverifiable rollouts carry a policy gradient: b\.k3"):
        reconcile(rollouts, verdicts, selections, num_prompts=2)


def test_a_long_list_of_faults_is_cut_and_counted():
    rollouts, _, selections = stage()
    with pytest.raises(AccountingMismatch, match=r"a\.k0, a\.k1, b\.k2 and 1 more"):
        reconcile(rollouts, [], selections, num_prompts=2)


def test_accounting_of_several_stages_adds_up():
    one = reconcile(*stage(), num_prompts=2)
    other = Accounting(prompts_drawn=1, rollouts=1, verdicts=1, failed=1, dropped={"over the cap": 1})
    both = combine([one, other])
    assert (both.prompts_drawn, both.rollouts, both.passed, both.failed) == (3, 5, 1, 3)
    assert both.dropped == {"over the cap": 1, "unverifiable: no tool": 1, "zero variance (all wrong)": 1}
    assert combine([]) == Accounting()
