"""Sampling and training compared while they have the same weights: before the first update of a round, and of an
evaluation by samplers apart.

The learner compares the rollouts that the update trains on, and the algorithm those that it recomputes, which costs
nothing. Of the others, those of groups without a difference for the most part, training's model reads a share; its work
is beside the generation's own counts.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

from bootstrap.config.optimizers import AdamW
from bootstrap.learner_records import TokenScores
from bootstrap.records import Checkpoint, Example, Rollout
from bootstrap.seeds import generator
from bootstrap.stages.context import Context, Meter
from bootstrap.stages.generate import requests, sampling
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
    difference = drawn.logprob_difference
    if read:
        with meter.clock("train"):
            token_scores = _read_again(context, read, temperature=trainer.step.temperature, meter=meter)
        _require_same(context, first, token_scores)
        difference = max(difference, largest_difference(read, token_scores))
    watch.compare(update, difference)


def compare_held(context: Context, checkpoint: Checkpoint, level: int, meter: Meter) -> None:
    """Compare a few answers of samplers apart that have been given stored weights, which the learners take as well.

    `level`: of the held-out prompts that they answer.

    Raises UpdateFault where the answers are not these weights'.
    """
    if not context.roles.are_apart:
        return
    asked = requests(context.heldout(level)[:FIRST], prefix="compared", samples=1, seed=context.recipe.seed)
    how = sampling(context, levels=[level], temperature=1.0)
    with meter.clock("evaluate"):
        rollouts = [rollout for rollout in context.samplers.generate(asked, how) if rollout.tokens]
        context.learners.hold(checkpoint)
        # Only what a step has begun with reads; nothing is updated.
        context.learners.begin(AdamW(), None)
        _require_same(context, rollouts, _read_again(context, rollouts, temperature=1.0, meter=meter))


def _read_again(
    context: Context, rollouts: Sequence[Rollout], *, temperature: float, meter: Meter
) -> dict[str, TokenScores]:
    """Return the learners' token scores of rollouts, by rollout."""
    examples = [
        Example(
            source=rollout.id,
            tokens=rollout.prompt_tokens + rollout.tokens,
            num_prompt_tokens=len(rollout.prompt_tokens),
            advantages=(0.0,) * len(rollout.tokens),
            logprobs=rollout.logprobs,
        )
        for rollout in rollouts
    ]
    found = context.learners.recompute_logprobs(examples, temperature=temperature)
    meter.note("num_compared_flops", sum(scores.flops for scores in found))
    return {scores.source: scores for scores in found}


def _require_same(context: Context, first: Sequence[Rollout], token_scores: dict[str, TokenScores]) -> None:
    """Raise UpdateFault where the first answers of samplers are not of the weights that the learners hold."""
    if first:
        bound = SAME_WEIGHTS["bf16" if context.training.precision == "bf16" else "fp32"]
        require_same_weights(first, token_scores, policy=first[0].policy, bound=bound)
