"""The panel: tasks that a promotion must not cost, and whether they can be asked and judged."""

from collections.abc import Iterator

from bootstrap.config.conflicts import Conflict
from bootstrap.config.conflicts.verifiers import judged
from bootstrap.config.models import roles
from bootstrap.config.unchecked import UncheckedRecipe


def panel_without_answers(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A panel's verifier compares answers with references."""
    for name, watched in recipe.evaluation.panel.items():
        for spot, _, one in judged(watched.task, watched.verifier, ("evaluation", "panel", name, "verifier")):
            if one.judges != "answer":
                yield Conflict(
                    spot,
                    f"{one.type_name} compares no answer with a reference; use one that does, for example "
                    "{type: exact}",
                )


def panel_judge_that_drifts(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A panel's answers are judged alike in all generations."""
    for name, watched in recipe.evaluation.panel.items():
        if roles(watched.verifier):
            yield Conflict(
                ("evaluation", "panel", name, "verifier"),
                f"{watched.verifier.type} asks generations of the lineage, so its verdicts on them would drift with "
                "them; use one that asks none, for example {type: exact}",
            )


def panel_of_unknown_characters(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A model from scratch is asked in the characters that it knows."""
    if not recipe.base.model.is_scratch:
        return
    for name, watched in recipe.evaluation.panel.items():
        if strange := [c for c in watched.task.characters if c not in set(recipe.task.characters)]:
            yield Conflict(
                ("evaluation", "panel", name, "task"),
                f"a model from scratch knows the characters of task {recipe.task.type} alone, not "
                f"{' '.join(map(repr, strange))}; watch a task over its characters, or start from a pretrained folder",
            )


def panel_too_long(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """The base holds the panel's longest sequence."""
    if (length := recipe.base.model.declared_length) is None:
        return
    for name, watched in recipe.evaluation.panel.items():
        highest = max(watched.asked)
        needed = watched.task.longest_sequence(highest)
        if length < needed:
            yield Conflict(
                ("evaluation", "panel", name, "levels"),
                f"level {highest} needs {needed} tokens, base.model.max_length is {length}; ask lower levels, or "
                "raise it",
            )


RULES = (panel_without_answers, panel_judge_that_drifts, panel_of_unknown_characters, panel_too_long)
