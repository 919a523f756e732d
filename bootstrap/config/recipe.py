"""The recipe: all settings of a lineage, in one YAML file.

Combinations of settings that cannot work are refused, all at once, each with its place and remedy.
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
        # Several parts may share one verifier, whose conflict is told once.
        conflicts = list(dict.fromkeys(conflict for rule in RULES for conflict in rule(self)))
        if conflicts:
            raise Conflicts(conflicts)
        return self
