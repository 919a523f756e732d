"""An `rl` step that ends before its last round, once its targets are answered rightly again and again.

It follows from the recorded verdicts of the rounds alone, so a run that was killed ends after the same round.
"""

from collections.abc import Sequence

from bootstrap.config.steps import Until
from bootstrap.records import Rollout, Status, Verdict


class EarlyEnd:
    """Counts the rounds in a row whose answers to the target levels pass often enough."""

    def __init__(self, until: Until | None, targets: Sequence[int], *, rounds: int) -> None:
        """`until`: None never ends; `rounds`: those of the step."""
        self.until, self.targets, self.rounds = until, frozenset(targets), rounds
        self.done = self.in_a_row = 0

    def end_round(self, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> None:
        """Take up one round's answers. A round without a verdict on a target level changes nothing."""
        self.done += 1
        judged = [
            verdict.status is Status.PASS
            for rollout, verdict in zip(rollouts, verdicts, strict=True)
            if rollout.level in self.targets and verdict.status is not Status.UNVERIFIABLE
        ]
        if self.until is not None and judged:
            enough = sum(judged) >= self.until.pass_rate * len(judged)
            self.in_a_row = self.in_a_row + 1 if enough else 0

    @property
    def reason(self) -> str:
        """Why the step is over before its last round; empty while it is not."""
        if self.until is None or self.in_a_row < self.until.rounds or self.done >= self.rounds:
            return ""
        return (
            f"ended after round {self.done} of {self.rounds}: for {self.until.rounds} rounds in a row, at least "
            f"{100 * self.until.pass_rate:g} % of the answers to its target levels passed"
        )
