"""A reason that all answers share is told, where it says more than that they are wrong."""

import pytest
from support.rollouts import verdict

from bootstrap.records import Status, Verdict
from bootstrap.stages.generate import TELLING, common_fault


def verdicts(*reasons: str, status: Status = Status.FAIL) -> list[Verdict]:
    return [verdict(str(number), status, reason=reason) for number, reason in enumerate(reasons)]


@pytest.mark.parametrize("reason", ["no <answer>", "truncated", "format: no <think>; answer: wrong"])
def test_one_reason_of_all_is_named(reason: str) -> None:
    assert common_fault(verdicts(*TELLING * [reason])) == f"all {TELLING} answers failed for one reason: {reason}"


@pytest.mark.parametrize(
    "found",
    [
        [],
        verdicts(*(TELLING - 1) * ["no <answer>"]),
        verdicts(*TELLING * ["no <answer>"], "wrong"),
        verdicts(*TELLING * ["wrong"]),
        verdicts(*TELLING * ["answer: wrong; units: wrong"]),
        verdicts(*TELLING * ["right"], status=Status.PASS),
        verdicts(*TELLING * ["out of order"], status=Status.UNVERIFIABLE),
        [*verdicts(*TELLING * ["tag"]), *verdicts("tag", status=Status.PASS)],
    ],
)
def test_everything_else_is_not(found: list[Verdict]) -> None:
    assert common_fault(found) == ""
