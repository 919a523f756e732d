"""Guards that never act.

The default ones may: they are for every recipe, and where one has nothing to measure it says nothing.
"""

from collections.abc import Iterator

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.guards import DEFAULT_GUARDS, ON_FIXED_PROMPTS, SAMPLED, Guard
from bootstrap.config.models import roles
from bootstrap.config.unchecked import UncheckedRecipe
from bootstrap.ledger_records import DiagnosticMetric, GuardAction


def _own_guards(recipe: UncheckedRecipe) -> Iterator[tuple[Place, Guard]]:
    yield from ((("guards", index), guard) for index, guard in enumerate(recipe.guards) if guard not in DEFAULT_GUARDS)


def guard_without_samples(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """What is measured on sampled answers needs some."""
    for place, guard in _own_guards(recipe):
        if guard.metric in SAMPLED and recipe.evaluation.sampled is None:
            yield Conflict(
                place,
                f"{guard.metric} is measured on sampled held-out answers, and evaluation.sampled is null; give it, for "
                "example evaluation: {sampled: {prompts: 64}}, or remove this guard",
            )


def guard_without_fixed_prompts(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """What is measured on the fixed prompts needs some."""
    for place, guard in _own_guards(recipe):
        if guard.metric in ON_FIXED_PROMPTS and not recipe.diagnostics.prompts:
            yield Conflict(
                place,
                f"{guard.metric} is measured on the fixed prompts, and diagnostics.prompts is 0; raise it, for example "
                "to 32, or remove this guard",
            )


def disagreement_of_one_verifier(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Training's and held-out verifier disagree only where they are two."""
    if any(verifier != recipe.eval_verifier for verifier in recipe.verifiers().values()):
        return
    for place, guard in _own_guards(recipe):
        if guard.metric is DiagnosticMetric.DISAGREEMENT:
            yield Conflict(
                place,
                "training and held-out answers are judged by the same verifier, which never disagrees with itself; set "
                "evaluation.verifier to another one, or remove this guard",
            )


def roll_back_that_changes_nothing(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Returning the champion matters where a later generation starts from it or learns from it."""
    if _follows_champion(recipe):
        return
    for place, guard in _own_guards(recipe):
        if guard.action is GuardAction.ROLL_BACK:
            yield Conflict(
                place,
                "no later generation starts from the champion or learns from it, so what is grown stays the same "
                "wherever the champion returns to; set init: champion, or action: reject",
            )


def _follows_champion(recipe: UncheckedRecipe) -> bool:
    """Whether the champion decides what is grown after the first generations: weights, teachers, samplers, judges."""
    for index, (_, stage) in enumerate(recipe.generations.parts()):
        if not index and recipe.generations.stages and stage.generations == stage.branches:
            # These have generation 0 as their champion, whatever becomes of them.
            continue
        asked = () if stage.verifier else roles(recipe.verifier)
        if "champion" in (name for _, name in (*stage.named(), *asked)):
            return True
    return False


RULES = (
    guard_without_samples,
    guard_without_fixed_prompts,
    disagreement_of_one_verifier,
    roll_back_that_changes_nothing,
)
