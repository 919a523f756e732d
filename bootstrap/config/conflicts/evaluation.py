"""Evaluation and gate: too few held-out prompts to decide anything."""

import math
from collections.abc import Iterator

from bootstrap.config.conflicts import Conflict
from bootstrap.config.generations import Stage
from bootstrap.config.unchecked import UncheckedRecipe


def more_sampled_than_asked(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Sampled prompts are among a level's held-out ones."""
    sampled, prompts = recipe.evaluation.sampled, recipe.evaluation.most_prompts
    if sampled and sampled.prompts > prompts:
        yield Conflict(
            ("evaluation", "sampled", "prompts"),
            f"{sampled.prompts} prompts cannot be sampled where evaluation.prompts_per_level is {prompts}; "
            f"use {prompts} or fewer",
        )


def no_level_large_enough(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Some level has enough prompts to be tested on its own."""
    least, prompts = recipe.gate.min_prompts, recipe.evaluation.most_prompts
    if least > prompts:
        yield Conflict(
            ("gate", "min_prompts"),
            f"no level has {least} held-out prompts where evaluation.prompts_per_level is {prompts}, "
            f"so none could be judged on its own; use {prompts} or fewer",
        )


def too_few_to_promote(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Some compared generation would be promoted if it gained every prompt and lost none."""
    prompts, lacking = recipe.evaluation.most_prompts, []
    shares = recipe.num_compared if recipe.spends_over_lineage else 1
    for _, stage in recipe.generations.parts():
        if stage.gate != "compare" or not recipe.num_compared:
            continue
        least, asked = least_to_promote(recipe, stage), prompts * stage.curriculum.num_targets
        if asked >= least:
            return
        lacking.append((-(-least * prompts // asked), asked, stage.branches))
    if lacking:
        needed, asked, branches = min(lacking)
        shared = f" / {shares} comparisons" if shares > 1 else ""
        shared += f" / {branches} branches" if branches > 1 else ""
        yield Conflict(
            ("evaluation", "prompts_per_level"),
            f"even a candidate that gains all {asked} prompts is not significant at gate.alpha {recipe.gate.alpha:g}"
            f"{shared}, so nothing could be promoted; use {needed} or more",
        )


def least_to_promote(recipe: UncheckedRecipe, stage: Stage) -> int:
    """Return the held-out prompts on which a candidate of the stage is significant if it gains every one."""
    shares = recipe.num_compared if recipe.spends_over_lineage else 1
    alpha = recipe.gate.alpha / shares / stage.branches
    # Exact two-sided McNemar is most decisive when every prompt is gained: p = 2 * 0.5^n.
    return math.floor(1 - math.log2(alpha)) + 1


RULES = (more_sampled_than_asked, no_level_large_enough, too_few_to_promote)
