"""Group Relative Policy Optimization (arXiv:2402.03300), with the switches of DAPO and Dr. GRPO.

Estimator: the advantage of sample i in a group is `A_i = r_i - mean(r)`, divided by the group's standard deviation when
`normalize_std` is set; every completion token carries its sample's advantage. Degenerate case: a group with equal
rewards has advantage 0 throughout; it gives no gradient, and `zero_variance` says whether its tokens count in the mean.
"""

import math
from collections.abc import Mapping, Sequence

from bootstrap.config.steps import Grpo
from bootstrap.records import Example, Rollout

STD_EPSILON = 1e-4
"""Added to the standard deviation, as in the reference implementations, so that near-equal rewards do not explode."""


def advantages(rewards_G: Sequence[float], *, normalize_std: bool) -> list[float]:
    """Return the group-relative advantage of each of the group's G samples (population standard deviation)."""
    mean = math.fsum(rewards_G) / len(rewards_G)
    centred = [reward - mean for reward in rewards_G]
    if not normalize_std:
        return centred
    std = math.sqrt(math.fsum(c * c for c in centred) / len(centred))
    return [c / (std + STD_EPSILON) for c in centred]


def rl_stream(
    groups: Sequence[Sequence[Rollout]],
    rewards: Mapping[str, float],
    settings: Grpo,
    *,
    num_dead_tokens: int,
    num_dead_sequences: int,
    max_new_tokens: int,
) -> tuple[list[Example], float]:
    """Return the examples of live groups and the stream's normalizer.

    `groups`: rollouts of each group with unequal rewards; `rewards`: by rollout id. The dead counts describe groups
    with equal rewards; they enter the normalizer only under `zero_variance: keep`.
    """
    examples = []
    num_tokens = num_sequences = 0
    for group in groups:
        relative = advantages([rewards[r.id] for r in group], normalize_std=settings.normalize_std)
        for rollout, advantage in zip(group, relative, strict=True):
            length = len(rollout.tokens)
            scale = 1.0 / length if settings.aggregation == "sequence" else 1.0
            num_tokens += length
            num_sequences += 1
            examples.append(
                Example(
                    source=rollout.id,
                    tokens=rollout.prompt_tokens + rollout.tokens,
                    num_prompt_tokens=len(rollout.prompt_tokens),
                    advantages=(advantage * scale,) * length,
                    logprobs=rollout.logprobs,
                )
            )
    if settings.zero_variance == "keep":
        num_tokens += num_dead_tokens
        num_sequences += num_dead_sequences
    normalizer = {
        "token": num_tokens,
        "sequence": num_sequences,
        "constant": num_sequences * max_new_tokens,
    }[settings.aggregation]
    return examples, float(max(normalizer, 1))
