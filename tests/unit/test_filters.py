"""Every rollout gets one selection, with its reason."""

from dataclasses import replace

import pytest
from support.rollouts import rollout, verdict

from bootstrap.records import Status, Use
from bootstrap.selection.filters import accept, select_groups

PASS, FAIL, UNVERIFIABLE = Status.PASS, Status.FAIL, Status.UNVERIFIABLE


def judged(rows):
    """Rollouts and verdicts from (group, text, status) or (group, text, status, reward)."""
    rollouts, verdicts = [], []
    for number, (group, text, status, *reward) in enumerate(rows):
        rollouts.append(
            rollout(f"{group}.k{number}", prompt_id=f"prompt of {group}", prompt_text=f"{group}=", text=text)
        )
        verdicts.append(
            verdict(
                f"{group}.k{number}",
                status,
                reason={PASS: "right", FAIL: "wrong", UNVERIFIABLE: "no tool"}[status],
                **({"reward": reward[0]} if reward else {}),
            )
        )
    return rollouts, verdicts


def told(selections):
    return [(selection.use, selection.replay, selection.reason) for selection in selections]


def test_only_verified_answers_are_imitated_and_each_other_one_says_why():
    rollouts, verdicts = judged([("a", "x", PASS), ("a", "y", FAIL), ("b", "z", UNVERIFIABLE)])
    selections = accept(rollouts, verdicts, filter="verified", max_per_prompt=4)
    assert [s.rollout_id for s in selections] == [r.id for r in rollouts]
    assert told(selections) == [
        (Use.CE, True, "verified"),
        (Use.NONE, False, "not verified: wrong"),
        (Use.NONE, False, "not verified: no tool"),
    ]


def test_equal_answers_of_one_prompt_are_imitated_once():
    rollouts, verdicts = judged([("a", "x", PASS), ("a", "x", PASS), ("b", "x", PASS)])
    assert told(accept(rollouts, verdicts, filter="verified", max_per_prompt=4)) == [
        (Use.CE, True, "verified"),
        (Use.NONE, False, "duplicate answer of the same prompt"),
        (Use.CE, True, "verified"),
    ]


def test_a_prompt_asked_again_with_a_hint_is_the_same_prompt():
    rollouts, verdicts = judged([("a", "x", PASS), ("b", "y", PASS)])
    rollouts[1] = replace(rollouts[1], prompt_text="a= (it is y)", unhinted="a=")
    assert [s.use for s in accept(rollouts, verdicts, filter="verified", max_per_prompt=1)] == [Use.CE, Use.NONE]


def test_no_prompt_gives_more_than_the_cap():
    rollouts, verdicts = judged([("a", text, PASS) for text in "uvwxy"] + [("b", "u", PASS)])
    selections = accept(rollouts, verdicts, filter="verified", max_per_prompt=2)
    assert [s.use for s in selections] == [Use.CE, Use.CE, Use.NONE, Use.NONE, Use.NONE, Use.CE]
    assert {s.reason for s in selections if s.use is Use.NONE} == {"over the cap of 2 per prompt"}


def test_without_a_filter_right_and_wrong_are_imitated_alike_under_the_same_cap():
    rollouts, verdicts = judged([("a", "x", FAIL), ("a", "x", FAIL), ("a", "y", PASS), ("b", "z", UNVERIFIABLE)])
    assert told(accept(rollouts, verdicts, filter="none", max_per_prompt=1)) == [
        (Use.CE, True, "unfiltered"),
        (Use.NONE, False, "duplicate answer of the same prompt"),
        (Use.NONE, False, "over the cap of 1 per prompt"),
        (Use.CE, True, "unfiltered"),
    ]


def test_groups_with_different_rewards_are_informative_and_right_answers_are_kept():
    rollouts, verdicts = judged([("a", "x", PASS), ("a", "y", FAIL)])
    selections, informative = select_groups(rollouts, verdicts, zero_variance="drop")
    assert told(selections) == [(Use.RL, True, "compared"), (Use.RL, False, "compared")]
    assert informative == ("a",)


@pytest.mark.parametrize(("status", "kind"), [(PASS, "all right"), (FAIL, "all wrong")])
def test_groups_with_equal_rewards_give_no_gradient(status, kind):
    rollouts, verdicts = judged([("a", "x", status), ("a", "y", status)])
    selections, informative = select_groups(rollouts, verdicts, zero_variance="drop")
    reason = f"zero variance ({kind})"
    assert told(selections) == [(Use.NONE, status is PASS, reason), (Use.NONE, False, reason)]
    assert informative == ()


def test_kept_groups_with_equal_rewards_say_that_they_count():
    rollouts, verdicts = judged([("a", "x", PASS), ("a", "y", PASS)])
    selections, informative = select_groups(rollouts, verdicts, zero_variance="keep")
    reason = "zero variance (all right), counted in the mean"
    assert told(selections) == [(Use.NONE, True, reason), (Use.NONE, False, reason)]
    assert informative == ()


def test_an_unverifiable_member_leaves_its_group_and_the_rest_are_compared():
    rollouts, verdicts = judged([("a", "x", PASS), ("a", "?", UNVERIFIABLE), ("a", "y", FAIL)])
    selections, informative = select_groups(rollouts, verdicts, zero_variance="drop")
    assert told(selections) == [
        (Use.RL, True, "compared"),
        (Use.NONE, False, "unverifiable: no tool"),
        (Use.RL, False, "compared"),
    ]
    assert informative == ("a",)


def test_one_judged_member_cannot_be_compared_but_a_right_one_is_kept():
    rollouts, verdicts = judged([("a", "x", PASS), ("a", "?", UNVERIFIABLE)])
    selections, informative = select_groups(rollouts, verdicts, zero_variance="drop")
    assert told(selections)[0] == (Use.NONE, True, "fewer than two judged answers to compare")
    assert informative == ()


def test_shaped_rewards_are_compared_by_value_and_not_by_status():
    rows = [("a", "x", FAIL, 0.1), ("a", "y", FAIL, 0.2), ("b", "x", PASS, 1.0), ("b", "y", FAIL, 1.0)]
    rollouts, verdicts = judged(rows)
    selections, informative = select_groups(rollouts, verdicts, zero_variance="drop")
    assert informative == ("a",)
    assert [s.reason for s in selections[2:]] == ["zero variance (equal rewards)"] * 2


def test_interleaved_groups_stay_apart():
    rollouts, verdicts = judged([("b", "x", PASS), ("a", "x", FAIL), ("b", "y", FAIL), ("a", "y", FAIL)])
    selections, informative = select_groups(rollouts, verdicts, zero_variance="drop")
    assert [s.use for s in selections] == [Use.RL, Use.NONE, Use.RL, Use.NONE]
    assert informative == ("b",)


def test_a_verdict_beside_another_rollout_is_a_broken_promise():
    rollouts, verdicts = judged([("a", "x", PASS), ("a", "y", FAIL)])
    with pytest.raises(AssertionError, match="stands beside"):
        accept(rollouts, verdicts[::-1], filter="verified", max_per_prompt=1)
    with pytest.raises(AssertionError, match="stands beside"):
        select_groups(rollouts, verdicts[::-1], zero_variance="drop")
