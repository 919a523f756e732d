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
from bootstrap.training.bounds import UpdateWatch, largest_difference

SHARE = 0.125
"""Of the rollouts that nothing else compares."""


def compare_samplers(
    trainer: Trainer[Any], number: int, rollouts: Sequence[Rollout], drawn: Round, meter: Meter, *, watch: UpdateWatch
) -> None:
    """Compare the log-probabilities of a round's rollouts. Raises UpdateFault by `watch`."""
    update = number * trainer.updates_per_round
    known = drawn.recomputed | {example.source for example in drawn.batches[0].examples if example.advantages}
    others = [rollout for rollout in rollouts if rollout.tokens and rollout.id not in known]
    read = generator(trainer.seed("compared", number)).sample(others, ceil(SHARE * len(others)))
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
            found = trainer.context.learners.recompute_logprobs(examples, temperature=trainer.step.temperature)
        meter.note("num_compared_flops", sum(scores.flops for scores in found))
        difference = max(difference, largest_difference(read, {scores.source: scores for scores in found}))
    watch.compare(update, difference)
