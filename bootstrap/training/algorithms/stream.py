"""From scored groups of rollouts to the learner's `rl` stream: advantages, aggregation, entropy control, KL targets.

The estimators are other modules of this folder, which the settings name (`scored.py`). The batch says how the loss uses
a token's advantage (`policy_form`); the learner knows no algorithm.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bootstrap.config.algorithms import PolicyGradient
from bootstrap.config.policy_terms import OffPolicyCorrection
from bootstrap.learner_records import TokenScores
from bootstrap.records import Example, KlTarget, Rollout
from bootstrap.training.algorithms.correction import weights
from bootstrap.training.algorithms.entropy import controlled
from bootstrap.training.algorithms.scored import Advantage, Scored, estimate

Stream = tuple[list[Example], float]
"""Examples of the `rl` stream, and its normalizer."""


def rl_stream(
    groups: Sequence[Sequence[Rollout]],
    rewards: Mapping[str, float],
    settings: PolicyGradient,
    **more: Any,
) -> Stream:
    """Return the stream of a round with one mini-batch (`rl_streams`)."""
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
    """Return for each mini-batch the examples of informative groups, then those of `others`, and the normalizer.

    A mini-batch has every n-th group, so that neighbouring levels are spread over all mini-batches.

    | argument | rollouts or values |
    |---|---|
    | `groups` | the rollouts of each informative group |
    | `rewards` | by rollout id, of everything judged |
    | `zero_variance` | of zero-variance groups, counted in the mean of the advantages |
    | `masked` | counted in their group's baseline alone, as are rollouts without tokens |
    | `others` | of zero-variance groups, with advantage 0, for KL targets and teachers |
    | `kl_targets` | KL targets of every example |
    | `taught` | by rollout id, a KL target of its own |
    | `token_scores` | token scores by rollout id, for settings that recompute them |

    A KL target's mean is over all examples that have one. Where `others` make the normalizer larger than the number of
    tokens in `groups` and `zero_variance`, advantages are scaled up by as much, so that their mean stays.
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
        # The advantages hold what these take from the reward.
        kl_targets = tuple(kl_target for kl_target in kl_targets if kl_target.form.in_loss)
    own_kl_targets = {name: (*kl_targets, kl_target) for name, kl_target in (taught or {}).items()}

    def example(rollout: Rollout, advantage: Advantage) -> Example:
        length = len(rollout.tokens)
        scale = 1.0 / length if settings.aggregation == "sequence" else 1.0
        each = advantage if isinstance(advantage, Sequence) else (advantage,) * length
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
        examples = controlled(examples, settings.entropy, seed=seed)
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
    """Return the divisor of a sum over completions with these numbers of tokens."""
    count = {
        "token": sum(lengths),
        "sequence": len(lengths),
        "constant": len(lengths) * max_new_tokens,
    }[settings.aggregation]
    return float(max(count, 1))


def _weighed(example: Example, factor: float) -> Example:
    """Return an example with its advantages and anchor penalties scaled by a factor."""
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
    """Return the input of an estimator; `kept`: rollouts that take part in the loss."""
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
    """Yield each rollout's id with its values."""
    for group, own in zip(groups, values, strict=True):
        yield from zip((rollout.id for rollout in group), own, strict=True)


def _ratio(
    rollout: Rollout, token_scores: Mapping[str, TokenScores] | None, correction: OffPolicyCorrection | None
) -> dict[str, Any]:
    """Return the fields of an example that define its importance ratio: to the sampler, or to the trainer itself."""
    if correction is None:
        return {"logprobs": rollout.logprobs}
    assert token_scores is not None, "a correction compares with what the trainer reads"
    proximal = token_scores[rollout.id].logprobs
    return {"logprobs": proximal, "importance": weights(proximal, rollout.logprobs, correction)}


def policy_form(settings: PolicyGradient) -> dict[str, Any]:
    """Return the fields of a `Batch` that define the policy loss."""
    return {
        "clip_low": settings.clip_low,
        "clip_high": settings.clip_high,
        "surrogate": settings.surrogate,
        "ratio_level": settings.ratio,
        "dual_clip": settings.dual_clip,
        "value_clip": settings.critic.clip if settings.critic is not None else None,
    }
