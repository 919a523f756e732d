"""Training steps that need what the recipe's task, base or stage lacks."""

from collections.abc import Iterator

from bootstrap.config.base import Place
from bootstrap.config.conflicts import Conflict
from bootstrap.config.steps import Step
from bootstrap.config.tasks import tasks_of
from bootstrap.config.unchecked import UncheckedRecipe


def _all_steps(recipe: UncheckedRecipe) -> Iterator[tuple[Place, Step]]:
    yield from ((("base", "steps", index), step) for index, step in enumerate(recipe.base.steps))
    yield from recipe.generation_steps()


def forms_of_one_form(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """References have several forms in some tasks alone."""
    for place, step in _all_steps(recipe):
        for below, source in step.shown():
            if source.forms is not None and not recipe.task.has_forms:
                yield Conflict(
                    (*place, *below, "forms"),
                    f"task {recipe.task.type} has one form of answer; remove forms, or use task: {{type: working}}",
                )


def proposals_that_none_reads(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """References that show how to propose a problem need a task that reads any problem."""
    for place, step in _all_steps(recipe):
        for below, source in step.shown():
            if source.proposals and not recipe.task.executes:
                yield Conflict(
                    (*place, *below, "proposals"),
                    f"task {recipe.task.type} has no executor that could read a model's problems; remove proposals, "
                    "or use task: {type: programs}",
                )


def self_play_without_executor(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Self-play needs a task that reads and answers any problem."""
    for place, step in recipe.generation_steps():
        if step.proposal_reach is not None and not recipe.task.executes:
            yield Conflict(
                place,
                f"task {recipe.task.type} has no executor that could read a model's problems; use a step of type rl, "
                "or task: {type: programs}",
            )


def self_play_without_examples(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A model from scratch proposes no problem before it has been shown some."""
    shown = any(source.proposals for step in recipe.base.steps for _, source in step.shown())
    if shown or not recipe.base.model.is_scratch or not recipe.task.executes:
        return
    for place, step in recipe.generation_steps():
        if step.proposal_reach is not None:
            yield Conflict(
                place,
                "nobody has shown the base how a problem is put, so it would propose none; give an sft step of "
                "base.steps source: {type: references, proposals: 0.1}",
            )


def hints_that_the_task_lacks(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Retries with a hint need a task whose prompts can have one."""
    for place, step in recipe.generation_steps():
        for below, source in step.rejections():
            if source.hints != "never" and not recipe.task.has_forms:
                yield Conflict(
                    (*place, *below, "hints"),
                    f"task {recipe.task.type} has no prompts with hints; remove hints, or use task: {{type: working}}",
                )


def hints_never_shown(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A model from scratch uses no hint before it has been shown some."""
    if not recipe.task.has_forms or not recipe.base.model.is_scratch:
        return
    forms = [source.forms for step in recipe.base.steps for _, source in step.shown()]
    if any(recipe.task.shows_hints if own is None else own.hinted for own in forms):
        return
    for place, step in recipe.generation_steps():
        for below, source in step.rejections():
            if source.hints != "never":
                yield Conflict(
                    (*place, *below, "hints"),
                    "no reference of generation 0 is shown with a hint, so a model from scratch cannot use one; set "
                    "task.forms.hinted, for example 0.2, or remove hints",
                )


def easier_variants_of_one_operand(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Easier variants exist where one of two operands can be shorter."""
    if any(task.has_easier_variants for task in tasks_of(recipe.task).values()):
        return
    for place, step in recipe.generation_steps():
        for below, prompts in step.draws():
            if prompts.easier_variants:
                yield Conflict(
                    (*place, *below, "easier_variants"),
                    f"easier variants need a task with two operands; task {recipe.task.type} has one: remove the key",
                )


def epochs_of_generated_tasks(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """Prompts are drawn by epochs where they can be counted."""
    if recipe.is_on_fixed_data:
        return
    for place, step in _all_steps(recipe):
        for below, drawn in (*step.draws(), *step.shown()):
            if drawn.draw == "epochs":
                yield Conflict(
                    (*place, *below, "draw"),
                    f"epochs are of fixed data, and task {recipe.task.type} has no end of prompts, or several sources; "
                    "remove draw, or use task: {type: file}",
                )


def routes_to_no_task(recipe: UncheckedRecipe) -> Iterator[Conflict]:
    """A teacher's route names a task that prompts come from."""
    known = tasks_of(recipe.task)
    for place, step in recipe.generation_steps():
        for below, taught in step.taught():
            for index, route in enumerate(taught.routes):
                if route.task is not None and route.task not in known:
                    yield Conflict(
                        (*place, *below, "routes", index, "task"),
                        f"no prompt is of task {route.task}; there is {', '.join(known)}",
                    )


RULES = (
    forms_of_one_form,
    proposals_that_none_reads,
    self_play_without_executor,
    self_play_without_examples,
    hints_that_the_task_lacks,
    hints_never_shown,
    easier_variants_of_one_operand,
    epochs_of_generated_tasks,
    routes_to_no_task,
)
