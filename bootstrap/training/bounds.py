"""Watch over a step's updates: numbers that no honest update has, against the running medians of the updates before.

    finite                   losses
    gradient norm            at most `grad_norm` times its median, policy and critic apart
    rl, ce, kl, value loss   at most `loss` times its median
    gradient gain            at most `grad_norm` times its median
    log-probabilities        sampling and training differ by at most `logprobs` nats a token in any rollout

Medians of norms and losses below 1 count as 1: a model that has mastered its task has gradients of 1e-4 between
ordinary ones. Their first `FEWEST` values have no median and are compared with 1. A norm of 0 says nothing and is left
out.

The gain is the norm of the parameters' gradient over that of the gradient which it is computed from, at the last hidden
states, or for the critic at its values. Both vanish together where a batch teaches nothing, so the gain is of the same
size at every scale; it is compared from `FEWEST` values on. Left out: a gradient that is not finite, which no worker
applies (`learner.py`), and what follows from a breach (`stages/step.py`).
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite, isnan

from bootstrap.config.training import UpdateBounds
from bootstrap.errors import UpdateFault
from bootstrap.learner_records import TokenScores, UpdateMetrics
from bootstrap.records import Rollout

FEWEST = 3
"""Values before a median counts; one of three that is wild does not move it."""
SAME_WEIGHTS = {"fp32": 1e-3, "bf16": 0.05}
"""Mean difference, in nats a token, up to which a sampler answers with the learner's weights, by precision.

Measured with vLLM: 6e-7 in fp32, 6e-3 in bf16; with the old output matrix of tied embeddings 0.1. In bf16 the effect of
one small update is below rounding.
"""
LOSSES = ("rl_loss", "ce_loss", "kl_loss", "value_loss")
NORMS = {"grad_norm": "hidden_grad_norm", "critic_grad_norm": "value_grad_norm"}
"""Norms of parameters' gradients, and of the gradients which they are computed from."""


class UpdateWatch:
    """The bounds of one step, fed with its updates in order."""

    def __init__(self, bounds: UpdateBounds) -> None:
        self.bounds = bounds
        self.peaks: dict[str, float] = {}
        """Largest ratio to a running median (`grad_norm_ratio`, `critic_grad_norm_ratio`, `grad_gain_ratio`,
        `critic_grad_gain_ratio`, `loss_ratio`), largest `critic_grad_norm` and `logprob_difference`."""
        self._values: dict[str, list[float]] = {}
        """The magnitudes so far, ascending."""
        self._added: dict[str, list[float]] = {}

    def resume(self, earlier: Mapping[str, Sequence[float]]) -> None:
        """Take up values of earlier updates, which were within bounds."""
        for name, values in earlier.items():
            self._values[name] = sorted([*self._values.get(name, ()), *values])

    def added(self) -> dict[str, list[float]]:
        """Return the values since the last call, for `resume`."""
        found, self._added = self._added, {}
        return found

    def check(self, update: int, metrics: UpdateMetrics, *, difference: float | None) -> None:
        """Raise UpdateFault for numbers beyond their bounds.

        `difference`: as in `compare`, None where no rollout was compared.
        """
        for name in LOSSES:
            if not isfinite(getattr(metrics, name)):
                raise UpdateFault(f"update {update} has a {name} that is not finite")
        if difference is not None:
            self.compare(update, difference)
        for name, source in NORMS.items():
            if norm := getattr(metrics, name):
                self._check_gradient(update, name, norm, source=getattr(metrics, source))
        if metrics.critic_grad_norm:
            self._note("critic_grad_norm", metrics.critic_grad_norm)
        for name in LOSSES:
            value = abs(getattr(metrics, name))
            # A part may be stored after the first update already, so that one is not left for later ones to judge.
            median = max(self._median(name) or 0.0, 1.0)
            self._judge(update, name, value, median=median, peak="loss_ratio", setting="loss")

    def _check_gradient(self, update: int, name: str, norm: float, *, source: float) -> None:
        """Check a norm above 0, and its gain over `source`, the norm of the gradient which it is computed from."""
        median = max(self._median(name) or 0.0, 1.0)
        self._judge(update, name, norm, median=median, peak=f"{name}_ratio", setting="grad_norm")
        if source > 0:
            gain = name.replace("norm", "gain")
            if median := self._median(gain):
                self._judge(update, gain, norm / source, median=median, peak=f"{gain}_ratio", setting="grad_norm")
            else:
                self._add(gain, norm / source)

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

    def _judge(self, update: int, name: str, value: float, *, median: float, peak: str, setting: str) -> None:
        """Compare a value with the median before it, and add it."""
        ratio, bound = value / median, getattr(self.bounds, setting)
        self._note(peak, ratio)
        if bound is not None and ratio > bound:
            raise UpdateFault(
                f"update {update} has a {name} of {value:.3g}, {ratio:.3g} times the median of {median:.3g} "
                f"in its step; at most {bound:g} times is believed (training.bounds.{setting})"
            )
        self._add(name, value)

    def _median(self, name: str) -> float | None:
        """Return the median of the values so far, None for fewer than `FEWEST`."""
        values = self._values.get(name, [])
        return values[len(values) // 2] if len(values) >= FEWEST else None

    def _add(self, name: str, value: float) -> None:
        insort(self._values.setdefault(name, []), value)
        self._added.setdefault(name, []).append(value)

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
