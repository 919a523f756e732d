"""Retirement of solved prompts: what a model and its ancestors answer right almost always is not drawn again (ScaleRL).

ScaleRL (arXiv:2510.13786, section 3.2) keeps each prompt's pass rate over all its samples and draws those of 0.9 and
more no longer: they give groups without a gradient. Prompts come from tasks that draw without repeats until a level is
used up, so this acts where prompts come back, on files and small levels; a large procedural level has none to retire.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from bootstrap.canonical import digest_of
from bootstrap.records import Prompt, Rollout, Status, Verdict


@dataclass(kw_only=True)
class PassRates:
    """Right and judged answers by prompt."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Prompt id -> (right, judged)."""

    def add(self, rollouts: Iterable[Rollout], verdicts: Iterable[Verdict]) -> None:
        """Count some more answers; what could not be judged counts nothing."""
        for rollout, verdict in zip(rollouts, verdicts, strict=True):
            assert rollout.id == verdict.rollout_id, f"verdict of {verdict.rollout_id} stands beside {rollout.id}"
            if verdict.status is not Status.UNVERIFIABLE:
                right, judged = self.counts.get(rollout.prompt_id, (0, 0))
                self.counts[rollout.prompt_id] = right + (verdict.status is Status.PASS), judged + 1

    def merge(self, other: "PassRates") -> None:
        """Count what another one has counted."""
        for name, (right, judged) in other.counts.items():
            mine = self.counts.get(name, (0, 0))
            self.counts[name] = mine[0] + right, mine[1] + judged

    def copy(self) -> "PassRates":
        return PassRates(counts=dict(self.counts))

    def solved(self, share: float) -> frozenset[str]:
        """Return the prompts of which at least `share` of the judged answers are right."""
        return frozenset(name for name, (right, judged) in self.counts.items() if right >= share * judged)

    def digest(self) -> str:
        """Return SHA-256 over all counts."""
        return digest_of(sorted(self.counts.items()))


def draw_unsolved(draw: Callable[[int], list[Prompt]], count: int, *, solved: Collection[str]) -> list[Prompt]:
    """Return `count` prompts that are not solved, by a draw of as many as it is asked for.

    A draw that doubles and finds no other prompt has given all there are. When these hold fewer unsolved ones than
    `count`, they are repeated in turn; when they hold none, nothing is returned.
    """
    asked, known = count, 0
    while True:
        drawn = draw(asked)
        left = [prompt for prompt in drawn if prompt.id not in solved]
        if len(left) >= count:
            return left[:count]
        distinct = {prompt.id: prompt for prompt in drawn}
        if len(distinct) == known:
            unsolved = [prompt for name, prompt in distinct.items() if name not in solved]
            return [unsolved[place % len(unsolved)] for place in range(count)] if unsolved else []
        asked, known = 2 * asked, len(distinct)
