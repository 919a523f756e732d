"""Metrics of verdicts: pass@k, majority@k, frontier, generalization margin. Pure functions."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import comb


def pass_at_k(num_right: int, *, num_samples: int, k: int) -> float:
    """Return the unbiased estimate that any of k answers is right: `1 - C(n-c, k) / C(n, k)` (arXiv:2107.03374)."""
    assert 0 <= num_right <= num_samples and 1 <= k <= num_samples, f"pass@{k} of {num_right}/{num_samples}"
    return 1 - comb(num_samples - num_right, k) / comb(num_samples, k)


def majority_at_k(answers: Sequence[Hashable], right: Sequence[bool], *, k: int) -> bool:
    """Whether the most common of the first k answers is right; among equals, the first to reach that count.

    An answer is right if any of its samples was judged right.
    """
    votes: Counter[Hashable] = Counter()
    winner, most = None, 0
    judged_right: set[Hashable] = set()
    for answer, is_right in list(zip(answers, right, strict=True))[:k]:
        votes[answer] += 1
        if is_right:
            judged_right.add(answer)
        if votes[answer] > most:
            winner, most = answer, votes[answer]
    assert most, "a majority needs at least one answer"
    return winner in judged_right


def pool_small(counts: Mapping[int, int], *, min_prompts: int) -> list[tuple[int, ...]]:
    """Group levels in ascending order so that each group has at least `min_prompts` prompts, if there are that many.

    `counts`: level -> number of prompts. One wrong answer of 17 says little about a level, so small levels are judged
    together with the next; a small rest at the end joins the last group.
    """
    groups: list[tuple[int, ...]] = []
    waiting: tuple[int, ...] = ()
    for level in sorted(counts):
        waiting += (level,)
        if sum(counts[member] for member in waiting) >= min_prompts:
            groups.append(waiting)
            waiting = ()
    if waiting and groups:
        groups[-1] += waiting
    elif waiting:
        groups.append(waiting)
    return groups


def frontier(accuracies: Mapping[int, float], *, mastered: float) -> int:
    """Return the highest level such that all levels from 1 up to it are at `mastered` or better; 0 without one."""
    level = 0
    while accuracies.get(level + 1, -1.0) >= mastered:
        level += 1
    return level


def generalization_margin(accuracies: Mapping[int, float], *, trained_level: int, bound: float = 0.5) -> int:
    """Return the generalization margin: consecutive levels beyond `trained_level` with accuracy `bound` or better."""
    level = trained_level
    while accuracies.get(level + 1, -1.0) >= bound:
        level += 1
    return level - trained_level


def mean(values: Iterable[float]) -> float | None:
    """Return the mean; None without values."""
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None
