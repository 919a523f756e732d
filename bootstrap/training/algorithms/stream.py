"""From scored groups of rollouts to the learner's `rl` stream: advantages, aggregation, entropy control, KL targets.

The estimators are other modules of this folder, found by what the settings name (`scored.py`). What the loss does with
a token's advantage is said by the batch (`policy_form`); the learner knows no algorithm.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bootstrap.config.algorithms import ClipCov, EntropyControl, OffPolicyCorrection, PolicyGradient
from bootstrap.learner_records import TokenScores
from bootstrap.records import Example, KlTarget, Rollout
from bootstrap.seeds import generator
from bootstrap.training.algorithms import covariance
from bootstrap.training.algorithms.correction import weights
from bootstrap.training.algorithms.scored import Advantage, Scored, estimate

Stream = tuple[list[Example], float]
"""Examples of the `rl` stream, and its normalizer."""


def rl_stream(
    groups: Sequence[Sequence[Rollout]],
    rewards: Mapping[str, float],
    settings: PolicyGradient,
    **more: Any,
) -> Stream:
    """Return the one stream of a round that is not split (`rl_streams`)."""
    assert settings.mini_batches == 1, "a round in mini-batches has a stream for each"
    return rl_streams(groups, rewards, settings, **more)[0]


def rl_streams(
    groups: Sequence[Sequence[Rollout]],
    rewards: Mapping[str, float],
    settings: PolicyGradient,
    *,
    max_new_tokens: int,
    zero_variance: Sequence[Rollout] = (),
    masked: Collection[str] = (),
    others: Sequence[Rollout] = (),
    kl_targets: tuple[KlTarget, ...] = (),
    taught: Mapping[str, KlTarget] | None = None,
    token_scores: Mapping[str, TokenScores] | None = None,
    seed: int = 0,
) -> list[Stream]:
    """Return for each mini-batch the examples of informative groups, those of `others` after them, and the normalizer.

    Every mini-batch has each n-th group, so that levels, which stand together, are spread over all.

    `groups`: rollouts of each informative group; `rewards`: by rollout id, of all that was judged; `zero_variance`:
    rollouts of no informative group that count in the mean of the advantages; `masked`: rollouts that count in their
    group's baseline and in nothing else, zero-variance or not, as do those without tokens; `others`: rollouts of no
    informative group that take part with advantage 0, for what else bears on them; `kl_targets`: of every example;
    `taught`: by rollout id, a KL target of its own;
    `token_scores`: by rollout id, for settings that recompute log-probabilities.

    Guides and advantages keep their weights beside one another: a KL target's mean is over all that take part, and
    where
    `others` with a KL target make the normalizer greater than the count of informative groups and `zero_variance`,
    advantages grow by as much.
    """
    kept = {r.id for group in groups for r in group if r.tokens and r.id not in masked}
    found = estimate(_scored(groups, rewards, kept, settings, token_scores), settings)
    compared = [
        (rollout, advantage)
        for group, values in zip(groups, found.advantages, strict=True)
        for rollout, advantage in zip(group, values, strict=True)
        if rollout.id in kept
    ]
    returns = dict(_by_rollout(groups, found.returns)) if found.returns else {}
    zero_variance, others = ([r for r in part if r.tokens and r.id not in masked] for part in (zero_variance, others))
    if settings.critic is not None:
        # What they take from the reward is in the advantages.
        kl_targets = tuple(kl_target for kl_target in kl_targets if kl_target.form.in_loss)
    own_kl_targets = {name: (*kl_targets, kl_target) for name, kl_target in (taught or {}).items()}

    def example(rollout: Rollout, advantage: Advantage) -> Example:
        length = len(rollout.tokens)
        scale = 1.0 / length if settings.aggregation == "sequence" else 1.0
        each = (advantage,) * length if isinstance(advantage, float) else advantage
        return Example(
            source=rollout.id,
            tokens=rollout.prompt_tokens + rollout.tokens,
            num_prompt_tokens=len(rollout.prompt_tokens),
            advantages=tuple(value * scale for value in each),
            values=token_scores[rollout.id].values if rollout.id in returns and token_scores else (),
            returns=tuple(returns.get(rollout.id, ())),
            loss_scale=scale,
            kl_targets=own_kl_targets.get(rollout.id, kl_targets),
            **_ratio(rollout, token_scores, settings.correction),
        )

    examples = [example(*pair) for pair in compared]
    if settings.entropy is not None:
        examples = _controlled(examples, settings.entropy, seed=seed)
    joined = [example(rollout, 0.0) for rollout in others]
    counted = {r.id: len(r.tokens) for r in (*(r for r, _ in compared), *zero_variance)}
    with_kl_target = {r.id: len(r.tokens) for r in others if own_kl_targets.get(r.id, kl_targets)}
    count, everyone = settings.mini_batches, [*groups, *_by_group([*zero_variance, *others])]
    homes = {rollout.id: place % count for place, group in enumerate(everyone) for rollout in group}
    streams = []
    for number in range(count):
        own = [one for one in examples if homes[one.source] == number]
        mean, normalizer = (
            _normalizer([n for name, n in lengths.items() if homes[name] == number], settings, max_new_tokens)
            for lengths in (counted, counted | with_kl_target)
        )
        if normalizer > mean:
            own = [_weighed(one, normalizer / mean) for one in own]
        streams.append(([*own, *(one for one in joined if homes[one.source] == number)], normalizer))
    return streams


def _by_group(rollouts: Sequence[Rollout]) -> list[list[Rollout]]:
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.group, []).append(rollout)
    return list(groups.values())


def _normalizer(lengths: Sequence[int], settings: PolicyGradient, max_new_tokens: int) -> float:
    """Return by what a sum over completions is divided to aggregate it; `lengths`: their tokens."""
    count = {
        "token": sum(lengths),
        "sequence": len(lengths),
        "constant": len(lengths) * max_new_tokens,
    }[settings.aggregation]
    return float(max(count, 1))


def _weighed(example: Example, factor: float) -> Example:
    """Return an example whose advantages, and what holds its tokens in place, weigh `factor` times as much."""
    return replace(
        example,
        advantages=tuple(factor * value for value in example.advantages),
        anchor_penalty_weights=tuple(factor * value for value in example.anchor_penalty_weights),
    )


def _scored(
    groups: Sequence[Sequence[Rollout]],
    rewards: Mapping[str, float],
    kept: Collection[str],
    settings: PolicyGradient,
    token_scores: Mapping[str, TokenScores] | None,
) -> Scored:
    """Return what an estimator looks at; `kept`: the rollouts that take part in the loss."""
    told: dict[str, Any] = {}
    if settings.critic is not None:
        assert token_scores is not None, "a critic has read what it judges"
        told["values"] = [[token_scores[r.id].values if r.id in kept else () for r in group] for group in groups]
        told["token_rewards"] = [
            [token_scores[r.id].rewards if r.id in kept else () for r in group] for group in groups
        ]
    return Scored(
        rewards=[[rewards[r.id] for r in group] for group in groups],
        lengths=[[len(r.tokens) for r in group] for group in groups],
        counts=[[r.id in kept for r in group] for group in groups],
        judged=list(rewards.values()),
        **told,
    )


def _by_rollout(
    groups: Sequence[Sequence[Rollout]], values: Sequence[Sequence[Sequence[float]]]
) -> Iterator[tuple[str, Sequence[float]]]:
    """Yield the id of each rollout with the values that stand in its place."""
    for group, own in zip(groups, values, strict=True):
        yield from zip((rollout.id for rollout in group), own, strict=True)


def _ratio(
    rollout: Rollout, token_scores: Mapping[str, TokenScores] | None, correction: OffPolicyCorrection | None
) -> dict[str, Any]:
    """Return the fields of an example that say what its importance ratio is to: the sampler, or the trainer itself."""
    if correction is None:
        return {"logprobs": rollout.logprobs}
    assert token_scores is not None, "a correction compares with what the trainer reads"
    proximal = token_scores[rollout.id].logprobs
    return {"logprobs": proximal, "importance": weights(proximal, rollout.logprobs, correction)}


def _controlled(examples: Sequence[Example], control: EntropyControl, *, seed: int) -> list[Example]:
    """Return the examples with the tokens that the control chose out of the loss, or held where they were sampled."""
    covariances = covariance.covariances(
        [advantage / example.loss_scale for example in examples for advantage in example.advantages],
        [logprob for example in examples for logprob in example.logprobs],
    )
    if isinstance(control, ClipCov):
        rng = generator(seed, "clip_cov")
        chosen = covariance.clip_cov(covariances, share=control.share, low=control.low, high=control.high, rng=rng)
    else:
        chosen = covariance.kl_cov(covariances, share=control.share)
    found, start = [], 0
    for example in examples:
        places = range(start, start + len(example.advantages))
        start = places.stop
        change: dict[str, Any]
        if isinstance(control, ClipCov):
            if chosen.isdisjoint(places):
                found.append(example)
                continue
            kept = [float(place not in chosen) for place in places]
            # The learner adds what KL targets take from the reward to the advantages; weight 0 takes that along.
            given = example.importance or (1.0,) * len(kept)
            change = {
                "advantages": tuple(k * a for k, a in zip(kept, example.advantages, strict=True)),
                "importance": tuple(k * w for k, w in zip(kept, given, strict=True)),
            }
        else:
            held = control.weight * example.loss_scale
            change = {"anchor_penalty_weights": tuple(held if place in chosen else 0.0 for place in places)}
        found.append(replace(example, **change))
    return found


def policy_form(settings: PolicyGradient) -> dict[str, Any]:
    """Return the fields of a `Batch` that say what the policy loss is."""
    return {
        "clip_low": settings.clip_low,
        "clip_high": settings.clip_high,
        "surrogate": settings.surrogate,
        "ratio_level": settings.ratio,
        "dual_clip": settings.dual_clip,
        "value_clip": settings.critic.clip if settings.critic is not None else None,
    }
