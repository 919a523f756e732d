"""Watch over a step's updates: numbers that no honest update has, against the running medians of the updates before.

    finite                   losses
    gradient norm            at most `grad_norm` times its median
    rl, ce, kl, value loss   at most `loss` times its median
    log-probabilities        sampling and training differ by at most `logprobs` nats a token in any rollout

Medians below 1 count as 1: a model that has mastered its task has gradients of 1e-4 between ordinary ones. The first
`FEWEST` values have no median and are compared with 1. Left out: a gradient that is not finite, which no worker applies
(`learner.py`), and what follows from a breach (`stages/step.py`).
"""

from bisect import insort
from collections.abc import Iterable, Mapping
from math import inf, isfinite, isnan
from typing import Protocol

from bootstrap.config.training import UpdateBounds
from bootstrap.errors import UpdateFault
from bootstrap.learner_records import TokenScores
from bootstrap.records import Rollout

FEWEST = 3
"""Values before a median counts; one of three that is wild does not move it."""
SAME_WEIGHTS = {"fp32": 1e-3, "bf16": 0.05}
"""Mean difference, in nats a token, up to which a sampler answers with the learner's weights, by precision.

Measured with vLLM: 6e-7 in fp32, 6e-3 in bf16; with the old output matrix of tied embeddings 0.1. In bf16 the effect of
one small update is below rounding.
"""
LOSSES = ("rl_loss", "ce_loss", "kl_loss", "value_loss")


class Numbers(Protocol):
    """An update's norm and losses, as the learner tells or a table keeps them."""

    @property
    def grad_norm(self) -> float: ...
    @property
    def rl_loss(self) -> float: ...
    @property
    def ce_loss(self) -> float: ...
    @property
    def kl_loss(self) -> float: ...
    @property
    def value_loss(self) -> float: ...


class UpdateWatch:
    """The bounds of one step, fed with its updates in order."""

    def __init__(self, bounds: UpdateBounds) -> None:
        self.bounds = bounds
        self.peaks: dict[str, float] = {}
        """Largest ratio to a running median, `grad_norm_ratio` and `loss_ratio`, and largest `logprob_difference`."""
        self._values: dict[str, list[float]] = {}
        """The magnitudes so far, ascending."""

    def resume(self, rows: Iterable[Numbers]) -> None:
        """Take up the values of earlier updates, which were within bounds."""
        for row in rows:
            for name in ("grad_norm", *LOSSES):
                insort(self._values.setdefault(name, []), abs(getattr(row, name)))

    def check(self, update: int, metrics: Numbers, *, difference: float | None) -> None:
        """Raise UpdateFault for numbers beyond their bounds.

        `difference`: as in `compare`, None where no rollout was compared.
        """
        for name in LOSSES:
            if not isfinite(getattr(metrics, name)):
                raise UpdateFault(f"update {update} has a {name} that is not finite")
        if difference is not None:
            self.compare(update, difference)
        self._compare("grad_norm", update, metrics.grad_norm, bound=self.bounds.grad_norm, setting="grad_norm")
        for name in LOSSES:
            self._compare(name, update, abs(getattr(metrics, name)), bound=self.bounds.loss, setting="loss")

    def compare(self, update: int, difference: float) -> None:
        """Raise UpdateFault where sampling and training differ too much in rollouts before an update.

        `difference`: the largest mean over a rollout's tokens of |log-probability in training - at sampling|.
        """
        self._note("logprob_difference", difference)
        if self.bounds.logprobs is not None and not difference <= self.bounds.logprobs:
            raise UpdateFault(
                f"before update {update} sampling and training differ by {difference:.3g} nats a token in the "
                f"log-probabilities of a rollout; at most {self.bounds.logprobs:g} is believed "
                "(training.bounds.logprobs)"
            )

    def _compare(self, name: str, update: int, value: float, *, bound: float | None, setting: str) -> None:
        """Compare a value with the median before it, at least 1, and add it."""
        values = self._values.setdefault(name, [])
        # A part may be stored after the first update already, so that one is not left for later ones to judge.
        median = max(_middle(values), 1.0) if len(values) >= FEWEST else 1.0
        ratio = value / median
        self._note(f"{setting}_ratio", ratio)
        if bound is not None and ratio > bound:
            raise UpdateFault(
                f"update {update} has a {name} of {value:.3g}, {ratio:.3g} times the median of {median:.3g} "
                f"in its step; at most {bound:g} times is believed (training.bounds.{setting})"
            )
        insort(values, value)

    def _note(self, name: str, value: float) -> None:
        self.peaks[name] = max(self.peaks.get(name, 0.0), value)


def largest_difference(rollouts: Iterable[Rollout], token_scores: Mapping[str, TokenScores]) -> float:
    """Return the largest mean over a rollout's tokens of |log-probability in training - at sampling|.

    Infinite for one that is no number. Rollouts without token scores, or without tokens, count nothing.
    """
    found = 0.0
    for rollout in rollouts:
        if rollout.tokens and rollout.id in token_scores:
            pairs = zip(rollout.logprobs, token_scores[rollout.id].logprobs, strict=True)
            mean = sum(abs(theirs - mine) for theirs, mine in pairs) / len(rollout.tokens)
            found = inf if isnan(mean) else max(found, mean)
    return found


def mean_difference(rollouts: Iterable[Rollout], token_scores: Mapping[str, TokenScores]) -> float | None:
    """Return the mean over all tokens of |log-probability by a second reader - at sampling|; None without a token.

    Infinite for one that is no number. Rollouts without token scores count nothing.
    """
    gaps = [
        abs(theirs - mine)
        for rollout in rollouts
        if rollout.id in token_scores
        for mine, theirs in zip(rollout.logprobs, token_scores[rollout.id].logprobs, strict=True)
    ]
    if not gaps:
        return None
    found = sum(gaps) / len(gaps)
    return inf if isnan(found) else found


def require_same_weights(
    rollouts: Iterable[Rollout], token_scores: Mapping[str, TokenScores], *, policy: str, bound: float
) -> float | None:
    """Return `mean_difference` of a sampler's first answers after it took the weights `policy`.

    `token_scores`: by the learner, which holds these weights. Raises UpdateFault for more than `bound`, in nats a
    token: whatever the sampler says that it holds, it answers with others.
    """
    found = mean_difference(rollouts, token_scores)
    if found is not None and found > bound:
        raise UpdateFault(
            f"a sampler that took the weights {policy[:16]} answers with others: the learner, which holds them, finds "
            f"log-probabilities that differ by {found:.3g} nats a token in the mean, and {bound:g} is believed. Its "
            "answers are not kept. If it comes back, sample with samplers.engine: transformers"
        )
    return found


def _middle(ascending: list[float]) -> float:
    return ascending[len(ascending) // 2]
