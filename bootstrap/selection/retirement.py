"""Retirement of solved prompts: those that a model and its ancestors almost always answer right are not drawn again.

ScaleRL (arXiv:2510.13786, section 3.2) tracks each prompt's pass rate over all its samples and retires those at 0.9 or
more, since their groups have zero variance. Tasks draw without repeats until a level is used up, so this matters for
files and small levels, where prompts come back; a large procedural level has none to retire.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from bootstrap.canonical import digest_of
from bootstrap.records import Prompt, Rollout, Status, Verdict
from bootstrap.selection.filters import pairs


@dataclass(kw_only=True)
class PassRates:
    """Right and judged answers by prompt."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Prompt id -> (right, judged)."""

    def add(self, rollouts: Iterable[Rollout], verdicts: Iterable[Verdict]) -> None:
        """Count further answers; unverifiable ones do not count."""
        for rollout, verdict in pairs(rollouts, verdicts):
            if verdict.status is not Status.UNVERIFIABLE:
                self._count(rollout.prompt_id, right=verdict.status is Status.PASS, judged=1)

    def merge(self, other: "PassRates") -> None:
        """Add the counts of `other`."""
        for prompt, (right, judged) in other.counts.items():
            self._count(prompt, right=right, judged=judged)

    def _count(self, prompt: str, *, right: int, judged: int) -> None:
        before = self.counts.get(prompt, (0, 0))
        self.counts[prompt] = before[0] + right, before[1] + judged

    def copy(self) -> "PassRates":
        return PassRates(counts=dict(self.counts))

    def solved(self, share: float) -> frozenset[str]:
        """Return the ids of the prompts with at least `share` of the judged answers right."""
        return frozenset(prompt for prompt, (right, judged) in self.counts.items() if right >= share * judged)

    def digest(self) -> str:
        """Return SHA-256 over all counts."""
        return digest_of(sorted(self.counts.items()))


def draw_unsolved(draw: Callable[[int], list[Prompt]], count: int, *, solved: Collection[str]) -> list[Prompt]:
    """Return `count` prompts that are not `solved` (ids). `draw`: returns as many prompts as it is asked for.

    The draw is doubled until enough prompts are unsolved or it finds no new one. Then the unsolved prompts are repeated
    in turn; without any, nothing is returned.
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
