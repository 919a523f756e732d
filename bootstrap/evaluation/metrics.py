"""Numbers from verdicts: pass@k, majority@k, frontier, generalization margin, and the exact McNemar test. Pure
functions.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from math import comb


def pass_at_k(num_right: int, *, num_samples: int, k: int) -> float:
    """Return the unbiased estimate of any of k answers being right: `1 - C(n-c, k) / C(n, k)` (arXiv:2107.03374)."""
    assert 0 <= num_right <= num_samples and 1 <= k <= num_samples, f"pass@{k} of {num_right}/{num_samples}"
    return 1 - comb(num_samples - num_right, k) / comb(num_samples, k)


def majority_at_k(answers: Sequence[Hashable], right: Sequence[bool], *, k: int) -> bool:
    """Return whether the most common of the first k answers is right; of several, the first to reach that count.

    An answer is right when any of its samples was judged right.
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
    """Return the levels in ascending groups of at least `min_prompts` prompts, as far as there are that many.

    `counts` maps levels to prompts. One wrong answer of 17 is no finding about a level, so small levels are judged
    together with the next; what is left over at the end joins the last group.
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
    """Return the highest level with all levels from 1 up to it at `mastered` or better; 0 when there is none."""
    level = 0
    while accuracies.get(level + 1, -1.0) >= mastered:
        level += 1
    return level


def generalization_margin(accuracies: Mapping[int, float], *, trained_level: int, bound: float = 0.5) -> int:
    """Return the number of consecutive levels beyond `trained_level` with at least `bound` of the answers right."""
    level = trained_level
    while accuracies.get(level + 1, -1.0) >= bound:
        level += 1
    return level - trained_level


def mcnemar_exact(gained: int, *, lost: int) -> float:
    """Return the two-sided exact p-value of McNemar's test (Psychometrika 12:153-157, 1947) on discordant pairs.

    Under no difference each of the n discordant pairs is a gain with probability 1/2: twice the smaller binomial tail,
    at most 1. Without discordant pairs it is 1. Integers throughout; only the final quotient is rounded.
    """
    assert gained >= 0 and lost >= 0, f"+{gained} -{lost}"
    num_pairs = gained + lost
    tail, ways = 0, 1
    for i in range(min(gained, lost) + 1):
        tail += ways
        ways = ways * (num_pairs - i) // (i + 1)
    return min(1.0, 2 * tail / 2**num_pairs)
