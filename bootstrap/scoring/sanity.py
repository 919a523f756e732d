"""Trust before reward: a verifier must accept right answers and reject wrong ones before it may judge rollouts.

Left out: the source of right and wrong answers (a task's `reference`, `solution` and `wrong_answers`), and hostile
answers (`conformance.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.errors import VerifierError
from bootstrap.records import Status
from bootstrap.scoring.verifier import PATIENCE, Answer, Judgement, Verifier

NUM_VOTES = 3
"""Right answers beside each checked one, in the group that a verifier of groups sees."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One prompt with answers whose verdicts are known."""

    prompt: str
    reference: str
    right: str
    wrong: Sequence[str]


def sanity_check(verifier: Verifier, cases: Sequence[Case]) -> int:
    """Return the number of answers checked, all judged as they should be.

    A verifier of groups sees each answer among right ones. A verifier of nothing is a control without a claim to prove:
    0 answers. Raises VerifierError when the verifier judges form alone, a right answer does not PASS, a wrong one does
    not FAIL, or a wrong one's reward is not below the right one's.
    """
    if verifier.judges == "form":
        raise VerifierError(
            f"verifier {verifier.name} looks at the form of answers and cannot tell right from wrong; put it into a "
            "rubric beside a verifier that can, for example exact"
        )
    if verifier.judges == "nothing":
        return 0
    votes = NUM_VOTES if verifier.judges == "group" else 0
    answers = []
    for place, case in enumerate(cases):
        for number, text in enumerate((case.right, *case.wrong)):
            for filled in (text, *[case.right] * votes):
                answers.append(
                    Answer(
                        prompt=case.prompt,
                        text=filled,
                        reference=case.reference,
                        num_tokens=len(filled) + 1,
                        group=f"sanity.{place}.{number}",
                        patience=PATIENCE,
                    )
                )
    judgements = iter(verifier.judge(answers)[:: votes + 1])
    checked = 0
    for case in cases:
        accepted = next(judgements)
        if accepted.status is not Status.PASS:
            raise _refusal(verifier, f"the right answer {case.right!r} got {_told(accepted)}")
        assert accepted.reward is not None
        for wrong in case.wrong:
            rejected = next(judgements)
            told = f"the wrong answer {wrong!r} (right: {case.right!r})"
            if rejected.status is not Status.FAIL:
                raise _refusal(verifier, f"{told} got {_told(rejected)}")
            assert rejected.reward is not None
            if not rejected.reward < accepted.reward:
                raise _refusal(verifier, f"{told} got reward {rejected.reward}, the right one {accepted.reward}")
        checked += 1 + len(case.wrong)
    assert checked, "a verifier must be checked with at least one answer"
    return checked


def _told(judgement: Judgement) -> str:
    return f"{judgement.status} ({judgement.reason})"


def _refusal(verifier: Verifier, finding: str) -> VerifierError:
    return VerifierError(
        f"verifier {verifier.name} {verifier.version} failed its sanity check: {finding}; it gives no reward until its "
        "code or settings are right"
    )
