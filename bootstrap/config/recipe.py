"""The recipe: one YAML file that says everything about a lineage.

Combinations of settings that cannot work are refused, all of them at once, each with its place and its remedy.
"""

from pydantic import model_validator

from bootstrap.config.conflicts import (
    Conflicts,
    base,
    evaluation,
    generations,
    guards,
    levels,
    merges,
    models,
    panel,
    splits,
    steps,
    verifiers,
)
from bootstrap.config.unchecked import UncheckedRecipe

RULES = (
    *verifiers.RULES,
    *base.RULES,
    *models.RULES,
    *generations.RULES,
    *merges.RULES,
    *steps.RULES,
    *levels.RULES,
    *splits.RULES,
    *evaluation.RULES,
    *panel.RULES,
    *guards.RULES,
)


class Recipe(UncheckedRecipe):
    @model_validator(mode="after")
    def _settings_work_together(self) -> "Recipe":
        # Several parts may have one and the same verifier: what speaks against it is said once.
        conflicts = list(dict.fromkeys(conflict for rule in RULES for conflict in rule(self)))
        if conflicts:
            raise Conflicts(conflicts)
        return self
