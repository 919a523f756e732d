"""Diagnostics: signs of collapse as numbers, by pure functions of a generation's evaluation and training data.

`config/guards.py` explains and bounds them. Left out: the divergence between two models, which needs their weights
(`training/drift.py`), and the choice of prompts (`stages/diagnostics.py`).
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

import numpy as np

from bootstrap.evaluation.metrics import mean, pass_at_k
from bootstrap.evaluation.report import AnswerOf, OutcomeRow
from bootstrap.ids import is_rollout
from bootstrap.ledger_records import LevelReport, Report
from bootstrap.records import Rollout, Status

Tokens = Sequence[int]
AT_ONCE = 4096
"""Number of trained prompts whose n-grams are in memory at once."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def mean_entropy(rollouts: Sequence[Rollout]) -> float | None:
    """Return the mean entropy per sampled token, in nats; None without a token."""
    return mean([entropy for rollout in rollouts for entropy in rollout.entropies])


def distinct_answers(rollouts: Sequence[Rollout], *, answer_of: AnswerOf) -> float | None:
    """Return the mean number of distinct answers to a prompt; None without rollouts."""
    found: dict[str, set[Hashable]] = {}
    for rollout in rollouts:
        found.setdefault(rollout.prompt_id, set()).add(answer_of(rollout))
    return mean([len(answers) for answers in found.values()])


def pass_at_k_change(rows: Sequence[OutcomeRow], base: Sequence[OutcomeRow], *, k: int) -> float | None:
    """Return the mean over prompts of pass@k minus that of `base`; one row per sample.

    A prompt counts if both sides have at least k judged samples of it; None without such a prompt. pass@k is the
    unbiased estimate of arXiv:2107.03374.
    """
    ours, theirs = _judged(rows), _judged(base)
    return mean(
        [
            pass_at_k(sum(ours[prompt]), num_samples=len(ours[prompt]), k=k)
            - pass_at_k(sum(theirs[prompt]), num_samples=len(theirs[prompt]), k=k)
            for prompt in ours
            if len(ours[prompt]) >= k and len(theirs.get(prompt, ())) >= k
        ]
    )


def length_ratio(report: Report, parent: Report, *, up_to: int) -> float | None:
    """Return the mean tokens of greedy answers divided by the parent's, on levels up to `up_to` that both answered.

    None without a common level, or if the parent's answers are empty.
    """
    pairs = [(row, other) for row in _rows(report, up_to) if (other := parent.level(row.level)) is not None]
    theirs = sum(other.num_prompts * other.mean_length for _, other in pairs)
    return sum(row.num_prompts * row.mean_length for row, _ in pairs) / theirs if theirs else None


def truncated_share(report: Report, *, up_to: int) -> float | None:
    """Return the share of greedy answers cut by the length limit, on levels up to `up_to`; None without an answer."""
    rows = _rows(report, up_to)
    total = sum(row.num_prompts for row in rows)
    return sum(row.num_prompts * row.truncated for row in rows) / total if total else None


def disagreement(one: Sequence[Status], other: Sequence[Status]) -> float | None:
    """Return the share of answers on which two verifiers differ, among those that both could judge; None without."""
    judged = [pair for pair in zip(one, other, strict=True) if Status.UNVERIFIABLE not in pair]
    return mean([mine is not theirs for mine, theirs in judged])


def model_made(uses: Mapping[str, int]) -> float | None:
    """Return the share of model-made sequences in training. `uses`: source id -> how often it was trained on."""
    total = sum(uses.values())
    return sum(count for source, count in uses.items() if is_rollout(source)) / total if total else None


def overlap(trained: Iterable[Tokens], heldout: Iterable[Tokens], *, n: int) -> float | None:
    """Return the share of trained prompts with an n-gram that exactly one held-out prompt has; None without trained
    prompts.

    An n-gram of several held-out prompts is the task's wording and does not count. A prompt shorter than n is compared
    as a whole.

    N-grams are compared by 64-bit hashes, and `trained` is read once, `AT_ONCE` prompts at a time. So memory is 8 bytes
    for each n-gram of the held-out prompts, however many prompts were trained on.
    """
    owned = [_distinct(*_ngrams(prompts, n)) for prompts in _portions(heldout)]
    grams, owners = np.unique(np.concatenate(owned or [np.empty(0, np.uint64)]), return_counts=True)
    telling = grams[owners == 1]
    if not len(telling):
        return 0.0 if any(True for _ in trained) else None
    found = total = 0
    for prompts in _portions(trained):
        hashes, places = _ngrams(prompts, n)
        nearest = np.searchsorted(telling[:-1], hashes)
        found += len(np.unique(places[telling[nearest] == hashes]))
        total += len(prompts)
    return found / total if total else None


def _portions(prompts: Iterable[Tokens]) -> Iterator[list[Tokens]]:
    rest = iter(prompts)
    while portion := list(islice(rest, AT_ONCE)):
        yield portion


def _distinct(hashes_N: np.ndarray, places_N: np.ndarray) -> np.ndarray:
    """Return the hashes of each prompt, those that it repeats once."""
    order = np.lexsort((hashes_N, places_N))
    hashes_N, places_N = hashes_N[order], places_N[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (hashes_N[1:] != hashes_N[:-1]) | (places_N[1:] != places_N[:-1])
    return hashes_N[is_new]


def _ngrams(prompts: Sequence[Tokens], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hash of every n-gram of the prompts, and the index of its prompt (both N).

    A hash is a polynomial of the scrambled tokens modulo 2**64. It includes the length, so that a prompt shorter than n
    equals only itself.
    """
    lengths = np.array([len(prompt) for prompt in prompts])
    tokens = _scrambled(np.fromiter(chain.from_iterable(prompts), np.uint64, count=lengths.sum()))
    counts = np.maximum(lengths - n, 0) + 1
    places_N = np.repeat(np.arange(len(prompts)), counts)
    sizes_N = np.minimum(lengths, n)[places_N]
    within_N = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts_N = np.repeat(np.cumsum(lengths) - lengths, counts) + within_N
    hashes_N = _scrambled(sizes_N.astype(np.uint64))
    for offset in range(min(n, int(lengths.max(initial=0)))):
        inside = offset < sizes_N
        hashes_N[inside] = hashes_N[inside] * MULTIPLIER + tokens[starts_N[inside] + offset]
    return hashes_N, places_N


def _scrambled(values: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each value: the finaliser of SplitMix64 (doi:10.1145/2660193.2660195)."""
    mixed = (values + np.uint64(1)) * MULTIPLIER
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _judged(rows: Sequence[OutcomeRow]) -> dict[str, list[bool]]:
    """Return prompt id -> whether each judged sample is right."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        if row.correct is not None:
            found.setdefault(row.prompt_id, []).append(row.correct)
    return found


def _rows(report: Report, up_to: int) -> list[LevelReport]:
    return [row for row in report.levels if row.level <= up_to]
