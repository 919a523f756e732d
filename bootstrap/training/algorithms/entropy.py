"""Entropy controls: the tokens that a control chooses leave the policy loss, or are held where they were sampled.

Left out: which tokens it chooses (`covariance.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pkgutil import resolve_name

from bootstrap.config.policy_terms import ClipCov, EntropyControl, KlCov
from bootstrap.records import Example
from bootstrap.seeds import generator
from bootstrap.training.algorithms import covariance

Change = Callable[[Example, Sequence[bool]], Example]
"""An example, and by token whether it was chosen -> the example as the learner gets it."""


def controlled(examples: Sequence[Example], control: EntropyControl, *, seed: int) -> list[Example]:
    """Return the examples as the control changes them; `seed`: of what it draws."""
    covariances = covariance.covariances(
        [advantage / example.loss_scale for example in examples for advantage in example.advantages],
        [logprob for example in examples for logprob in example.logprobs],
    )
    chosen, change = resolve_name(control.applied_by)(covariances, control, seed)
    found, start = [], 0
    for example in examples:
        places = range(start, start + len(example.advantages))
        start = places.stop
        found.append(change(example, [place in chosen for place in places]))
    return found


def clip_cov(covariances_N: Sequence[float], control: ClipCov, seed: int) -> tuple[set[int], Change]:
    """Return the places that lose their gradient, and how."""
    rng = generator(seed, "clip_cov")
    chosen = covariance.clip_cov(covariances_N, share=control.share, low=control.low, high=control.high, rng=rng)
    return chosen, _without


def _without(example: Example, chosen: Sequence[bool]) -> Example:
    """Return an example whose chosen tokens have no gradient."""
    if not any(chosen):
        return example
    kept = [float(not each) for each in chosen]
    # The learner adds what KL targets take from the reward to the advantages; weight 0 takes that along.
    given = example.importance or (1.0,) * len(kept)
    return replace(
        example,
        advantages=tuple(k * a for k, a in zip(kept, example.advantages, strict=True)),
        importance=tuple(k * w for k, w in zip(kept, given, strict=True)),
    )


def kl_cov(covariances_N: Sequence[float], control: KlCov, seed: int) -> tuple[set[int], Change]:
    """Return the places that are held to their sampling log-probability, and how."""

    def held(example: Example, chosen: Sequence[bool]) -> Example:
        weight = control.weight * example.loss_scale
        return replace(example, anchor_penalty_weights=tuple(weight if each else 0.0 for each in chosen))

    return covariance.kl_cov(covariances_N, share=control.share), held
