"""Signs of collapse as numbers: pure functions of what a generation's evaluation and training left behind.

What they are for and what bounds they have to keep stands in `config/guards.py`. Left out: the divergence between two
models, which needs their weights (`training/drift.py`), and what is measured on which prompts (`stages/health.py`).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from bootstrap.evaluation.metrics import pass_at_k
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.records import LevelReport, Report, Rollout, Status

Tokens = Sequence[int]


def mean_entropy(rollouts: Sequence[Rollout]) -> float | None:
    """Return the mean entropy per sampled token, in nats; None of no token."""
    return _mean([entropy for rollout in rollouts for entropy in rollout.entropies])


def distinct_answers(rollouts: Sequence[Rollout]) -> float | None:
    """Return the mean number of distinct answers to a prompt; None without rollouts."""
    texts: dict[str, set[str]] = {}
    for rollout in rollouts:
        texts.setdefault(rollout.prompt_id, set()).add(rollout.text)
    return _mean([len(answers) for answers in texts.values()])


def pass_at_k_change(rows: Sequence[OutcomeRow], base: Sequence[OutcomeRow], *, k: int) -> float | None:
    """Return the mean over prompts of pass@k less that of `base`; one row per sample.

    A prompt counts where both sides have at least k judged samples of it; None where there is no such prompt. pass@k is
    the unbiased estimate of arXiv:2107.03374.
    """
    ours, theirs = _judged(rows), _judged(base)
    return _mean(
        [
            pass_at_k(sum(ours[prompt]), num_samples=len(ours[prompt]), k=k)
            - pass_at_k(sum(theirs[prompt]), num_samples=len(theirs[prompt]), k=k)
            for prompt in ours
            if len(ours[prompt]) >= k and len(theirs.get(prompt, ())) >= k
        ]
    )


def length_ratio(report: Report, parent: Report, *, up_to: int) -> float | None:
    """Return the mean tokens of greedy answers over the parent's, on the levels up to `up_to` that both answered.

    None where they have no level in common, or the parent's answers are empty.
    """
    pairs = [(row, other) for row in _rows(report, up_to) if (other := parent.level(row.level)) is not None]
    theirs = sum(other.num_prompts * other.mean_length for _, other in pairs)
    return sum(row.num_prompts * row.mean_length for row, _ in pairs) / theirs if theirs else None


def truncated_share(report: Report, *, up_to: int) -> float | None:
    """Return the share of greedy answers on the levels up to `up_to` that the length limit cut."""
    rows = _rows(report, up_to)
    total = sum(row.num_prompts for row in rows)
    return sum(row.num_prompts * row.truncated for row in rows) / total if total else None


def disagreement(one: Sequence[Status], other: Sequence[Status]) -> float | None:
    """Return the share of answers on which two verifiers differ, among those that both could judge."""
    judged = [pair for pair in zip(one, other, strict=True) if Status.UNVERIFIABLE not in pair]
    return _mean([mine is not theirs for mine, theirs in judged])


def is_rollout(source: str) -> bool:
    """Return whether the source of a trained sequence is a rollout; ids of prompts are hexadecimal and have no dot."""
    return "." in source


def model_made(uses: Mapping[str, int]) -> float | None:
    """Return the share of uses of rollouts, made by a model, among all: source id -> how often it was trained on."""
    total = sum(uses.values())
    return sum(count for source, count in uses.items() if is_rollout(source)) / total if total else None


def overlap(
    trained: Collection[Tokens], heldout: Collection[Tokens], *, n: int, num_whole: int = 0, num_same: int = 0
) -> float | None:
    """Return the share of trained prompts that have an n-gram in common with one held-out prompt.

    An n-gram counts when exactly one of the held-out prompts has it: what several have is the task's wording, which
    tells nothing of any of them. A prompt shorter than n is compared as a whole. `num_whole`: further trained prompts,
    compared by identity, `num_same` of which equal a held-out one. None when nothing was trained on.
    """
    total = len(trained) + num_whole
    if not total:
        return None
    owners = Counter(gram for prompt in heldout for gram in set(_ngrams(prompt, n)))
    found = sum(any(owners[gram] == 1 for gram in _ngrams(prompt, n)) for prompt in trained)
    return (found + num_same) / total


def _ngrams(tokens: Tokens, n: int) -> Iterator[tuple[int, ...]]:
    sequence = tuple(tokens)
    for start in range(max(len(sequence) - n, 0) + 1):
        yield sequence[start : start + n]


def _judged(rows: Sequence[OutcomeRow]) -> dict[str, list[bool]]:
    """Return prompt id -> whether each judged sample is right."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        if row.correct is not None:
            found.setdefault(row.prompt_id, []).append(row.correct)
    return found


def _rows(report: Report, up_to: int) -> list[LevelReport]:
    return [row for row in report.levels if row.level <= up_to]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
