"""Trust before reward: a verifier must accept right answers and reject wrong ones before it may judge rollouts.

Left out: where right and wrong answers come from (a task's `reference` and `wrong_answers`).
"""

from collections.abc import Sequence

from bootstrap.errors import VerifierError
from bootstrap.records import Status
from bootstrap.scoring.verifier import Verifier, judge

Case = tuple[str, str, Sequence[str]]
"""Reference, a right answer, wrong answers."""


def probe(verifier: Verifier, cases: Sequence[Case]) -> int:
    """Return the number of answers probed, all judged as they should be.

    Raises VerifierError when a right answer does not PASS, a wrong one does not FAIL, or a wrong one's reward is not
    below the right one's.
    """
    probes = 0
    for reference, right, wrongs in cases:
        accepted = judge(verifier, right, reference=reference, truncated=False)
        if accepted.status is not Status.PASS:
            raise _refusal(verifier, f"the right answer {right!r} got {accepted.status} ({accepted.reason})")
        for wrong in wrongs:
            rejected = judge(verifier, wrong, reference=reference, truncated=False)
            told = f"the wrong answer {wrong!r} (right: {right!r})"
            if rejected.status is not Status.FAIL:
                raise _refusal(verifier, f"{told} got {rejected.status} ({rejected.reason})")
            if not rejected.reward < accepted.reward:
                raise _refusal(verifier, f"{told} got reward {rejected.reward}, the right one {accepted.reward}")
        probes += 1 + len(wrongs)
    assert probes, "a verifier must be probed with at least one answer"
    return probes


def _refusal(verifier: Verifier, finding: str) -> VerifierError:
    return VerifierError(
        f"verifier {verifier.name} {verifier.version} failed its probe: {finding}; it gives no reward until its "
        "code or settings are right"
    )
