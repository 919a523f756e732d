"""What is wrong with a generation though nothing failed: no right answer, nothing that passes, nothing learnt.

    generation's record, recipe -> sentences, each with what was seen and which setting to change

Left out: the gate (`gate.py`), and signs of collapse (`diagnostics.py`).
"""

from collections.abc import Iterator

from bootstrap.config.base import dotted
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import Generation


def concerns(generation: Generation, recipe: Recipe) -> Iterator[str]:
    """Yield one sentence for each concern about a generation that the recipe has grown."""
    if generation.number == 0:
        yield from _base_reaches_nothing(generation, recipe)
        return
    counts = generation.accounting
    sampler = _sampling_step(generation, recipe)
    if counts.verdicts and not counts.passed:
        kind = recipe.verifier_of(generation.number).type
        yield (
            f"none of its {counts.verdicts} answers passed the verifier {kind}, so no reward tells a better one; "
            f"{_easier(sampler, recipe)}, and look at some with `bootstrap samples {generation.name} --worst`"
        )
    elif counts.rollouts and not counts.trained:
        reason, count = max(counts.dropped.items(), key=lambda item: item[1], default=("no reason is recorded", 0))
        yield f"none of its {counts.rollouts} own answers was trained on ({reason}: {count}); " + (
            f"aim higher ({_curriculum(generation, recipe)})" if "all right" in reason else _easier(sampler, recipe)
        )
    elif any(edge.role == "init" and edge.fingerprint == generation.fingerprint for edge in generation.edges):
        yield (
            "its weights are those that it started from, so nothing was learnt; raise the learning rate or the "
            f"number of updates of {_stage(generation, recipe)}.steps"
        )


def _base_reaches_nothing(generation: Generation, recipe: Recipe) -> Iterator[str]:
    rows = generation.report.levels
    asked, best = sum(row.num_prompts for row in rows), max(rows, key=lambda row: row.accuracy, default=None)
    if best is None or not asked:
        return
    if not best.num_correct:
        yield (
            f"it answers none of the {asked} held-out prompts right, and RL has nothing to reward in a model that "
            f"never succeeds; {_better_base(recipe)}"
        )
    elif recipe.base.steps and not generation.report.frontier and not recipe.has_fixed_data:
        yield (
            f"it masters no level, not even those it was shown (best: level {best.level} at {best.accuracy:.1%}), and "
            f"later generations aim beyond level {recipe.task.base_level}; {_better_base(recipe)}"
        )


def _better_base(recipe: Recipe) -> str:
    """Return which setting makes a better generation 0."""
    for index, step in enumerate(recipe.base.steps):
        place = dotted(("base", "steps", index, "updates"))
        return f"train it longer ({place}, now {step.num_rounds}) or start from a model that knows more (base.model)"
    return "first show it references (base.steps: [{type: sft}]) or start from a model that knows more (base.model)"


def _easier(sampler: str | None, recipe: Recipe) -> str:
    """Return which settings give right answers something to be found in."""
    more = f"ask each prompt more often ({sampler}), or " if sampler else ""
    return f"{more}begin with a better generation 0: {_better_base(recipe)}"


def _sampling_step(generation: Generation, recipe: Recipe) -> str | None:
    """Return the place of the setting that says how often a generation asks each prompt; None if it asks none."""
    for index, step in enumerate(recipe.steps_of(generation.number)):
        place = f"{_stage(generation, recipe)}.steps[{index}]"
        if "group_size" in type(step).model_fields:
            return f"{place}.group_size"
        if step.rejections():
            return f"{place}.source.samples_per_prompt"
    return None


def _curriculum(generation: Generation, recipe: Recipe) -> str:
    return f"{_stage(generation, recipe)}.curriculum"


def _stage(generation: Generation, recipe: Recipe) -> str:
    """Return the place of the settings of a generation's stage."""
    return dotted(("generations", *recipe.generations.position(generation.number).place))
