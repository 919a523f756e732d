"""Sampling and training compared on the rollouts of a round, before its first update, while they have the same weights.

The learner compares the rollouts that the update trains on, and the algorithm those that it recomputes, which costs
nothing. Of the others, those of groups without a difference for the most part, training's model reads a share; its work
is beside the generation's own counts.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

from bootstrap.records import Example, Rollout
from bootstrap.seeds import generator
from bootstrap.stages.context import Meter
from bootstrap.stages.trainer import Round, Trainer
from bootstrap.training.bounds import SAME_WEIGHTS, UpdateWatch, largest_difference, require_same_weights

SHARE = 0.125
"""Of the rollouts that nothing else compares."""
FIRST = 8
"""Answers of samplers apart that are read again after they have taken weights."""


def compare_samplers(
    trainer: Trainer[Any], number: int, rollouts: Sequence[Rollout], drawn: Round, meter: Meter, *, watch: UpdateWatch
) -> None:
    """Compare the log-probabilities of a round's rollouts.

    Raises UpdateFault by `watch`, and where the first answers of samplers apart are not the learners' weights'.
    """
    update, context = number * trainer.updates_per_round, trainer.context
    known = drawn.recomputed | {example.source for example in drawn.batches[0].examples if example.advantages}
    others = [rollout for rollout in rollouts if rollout.tokens and rollout.id not in known]
    read = generator(trainer.seed("compared", number)).sample(others, ceil(SHARE * len(others)))
    first = [rollout for rollout in rollouts if rollout.tokens][:FIRST] if context.roles.are_apart else []
    read = list({rollout.id: rollout for rollout in (*read, *first)}.values())
    examples = [
        Example(
            source=rollout.id,
            tokens=rollout.prompt_tokens + rollout.tokens,
            num_prompt_tokens=len(rollout.prompt_tokens),
            advantages=(0.0,) * len(rollout.tokens),
            logprobs=rollout.logprobs,
        )
        for rollout in read
    ]
    difference = drawn.logprob_difference
    if examples:
        with meter.clock("train"):
            found = context.learners.recompute_logprobs(examples, temperature=trainer.step.temperature)
        meter.note("num_compared_flops", sum(scores.flops for scores in found))
        token_scores = {scores.source: scores for scores in found}
        if first:
            bound = SAME_WEIGHTS["bf16" if context.training.precision == "bf16" else "fp32"]
            require_same_weights(first, token_scores, policy=first[0].policy, bound=bound)
        difference = max(difference, largest_difference(read, token_scores))
    watch.compare(update, difference)
