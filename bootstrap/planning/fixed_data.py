"""What a plan says of fixed data: epochs that steps make, held-out prompts that decide, and what can be replayed.

Of fixed data references are replayed only where a recipe asks for them, so a generation may have nothing to replay:
none before it gave verified answers. A step that trains on replayed answers alone is refused then, and so is
`data: latest` where no parent gives any; elsewhere nothing is replayed, and the plan says so. Who comes before whom is
the resolver's answer (`stages/resolver.py`), as in a run.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from bootstrap.config.base import dotted
from bootstrap.config.conflicts import Conflict
from bootstrap.config.conflicts.evaluation import least_to_promote
from bootstrap.config.recipe import Recipe
from bootstrap.config.sources import Replay
from bootstrap.config.steps import Step
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Generation
from bootstrap.prompts.splits import changed_share
from bootstrap.prompts.task import Task
from bootstrap.records import Split
from bootstrap.selection.curriculum import levels_of
from bootstrap.stages.answers import INHERITED
from bootstrap.stages.resolver import Resolver, candidates


class Contributions:
    """Which generations may give the answers that another one replays, as far as recipe and ledger tell."""

    def __init__(self, recipe: Recipe, committed: Sequence[Generation], resolvers: Sequence[Resolver]) -> None:
        """`resolvers`: of all generations, 0 first."""
        self._recipe, self._committed, self._resolvers = recipe, committed, resolvers

    def may_have(self, number: int, replay: Replay) -> bool:
        """Whether a generation may have a verified answer to replay."""
        if not replay.from_pool:
            return True
        return any(self._gives(one) for one in self._sources(number, replay))

    def _sources(self, number: int, replay: Replay) -> Iterator[int]:
        if replay.data == "latest":
            yield from self._parents(number)
            return
        own, siblings = self._ancestors[number], self._recipe.generations.position(number).siblings
        for one in range(number):
            if one not in siblings and (one in own or self._recipe.gate_of(one) != "never"):
                yield one

    def _gives(self, number: int) -> bool:
        if number < len(self._committed):
            generation = self._committed[number]
            return generation.accounting.replayed > 0 or INHERITED in generation.artifacts
        if number == 0:
            return self._recipe.base.model.as_generation is not None
        return any(step.num_prompts for step in self._recipe.steps_of(number))

    def _parents(self, number: int) -> set[int]:
        return {one for parent in self._resolvers[number].parents for one in candidates(parent)}

    @cached_property
    def _ancestors(self) -> list[set[int]]:
        """Of each generation, those that its weights may come from."""
        found: list[set[int]] = []
        for number in range(len(self._resolvers)):
            parents = self._parents(number) if number else set[int]()
            found.append(parents.union(*(found[parent] for parent in parents)))
        return found


def check_replay(recipe: Recipe, contributions: Contributions, numbers: Sequence[int]) -> None:
    """Raise RecipeError, with place and remedy, where a step of these generations can never replay what it asks for."""
    if problems := list(dict.fromkeys(_problems(recipe, contributions, numbers))):
        raise RecipeError("; ".join(f"{dotted(problem.place)}: {problem.message}" for problem in problems))


def _problems(recipe: Recipe, contributions: Contributions, numbers: Sequence[int]) -> Iterator[Conflict]:
    for below, stage in recipe.generations.parts():
        own = [number for number in numbers if number and recipe.generations.position(number).place == below]
        for index, step in enumerate(stage.steps):
            for inner, replay in step.replays():
                place = ("generations", *below, "steps", index, *inner)
                without = [number for number in own if not contributions.may_have(number, replay)]
                if not without or replay.min_reference_share:
                    continue
                who = "its parent" if replay.data == "latest" else "no generation before it"
                gives = "gives none" if replay.data == "latest" else "gives any"
                if step.practises == "replayed":
                    yield Conflict(
                        place,
                        f"generation {without[0]} would train on nothing: it replays verified answers alone, and {who} "
                        f"{gives}; set data: references, or let a stage without this step come first",
                    )
                elif replay.data == "latest" and without == own:
                    yield Conflict(
                        (*place, "data"),
                        "nothing can ever be replayed: the parents of these generations answer no prompts; set data: "
                        "accumulate or references, or replay nothing (distillation: null, newest_share: 1.0)",
                    )


def notes_on_fixed_data(
    recipe: Recipe, task: Task, contributions: Contributions, targets: Sequence[Sequence[int]], *, first: int
) -> Iterator[str]:
    """Yield the notes; nothing for tasks without fixed data, and of mixtures only what is bare or not replayed.

    `targets`: of each generation, 0 first. `first`: the first generation to come. Raises RecipeError where an `sft`
    step has no solution to show.
    """
    if not recipe.has_fixed_data or first >= len(targets):
        return
    yield from _on_bare_answers(recipe, first=first)
    if recipe.is_on_fixed_data:
        yield from dict.fromkeys(_on_epochs(recipe, task, targets, first=first))
    idle = [
        number
        for number in range(max(first, 1), len(targets))
        for step in recipe.steps_of(number)
        if any(not contributions.may_have(number, replay) for _, replay in step.replays())
    ]
    for number in dict.fromkeys(idle):
        yield nothing_yet(number)
    if not recipe.is_on_fixed_data:
        return
    levels = sorted({level for aimed in targets[first:] for level in aimed})
    total = sum(len(task.every_prompt(level, Split.HELDOUT) or ()) for level in levels)
    asked = sum(task.num_heldout(level, recipe.evaluation.most_prompts) or 0 for level in levels)
    most = recipe.evaluation.prompts_per_level
    of = f"all {total} held-out prompts" if asked == total else f"{asked} of {total} held-out prompts"
    yield f"improvement is tested on {of}" + ("" if asked == total else f" (evaluation.prompts_per_level {most})")
    compared = [stage for _, stage in recipe.generations.parts() if stage.gate == "compare"]
    least = min((least_to_promote(recipe, stage) for stage in compared), default=0)
    if asked < least:
        [settings] = tasks_of(recipe.task).values()
        share, change = changed_share(settings, Split.HELDOUT)
        yield (
            f"even a candidate that gains all {asked} of them is not significant, so nothing can be promoted: {least} "
            f"are needed; add rows, {change} {share}, or raise gate.alpha"
        )


def _on_bare_answers(recipe: Recipe, *, first: int) -> Iterator[str]:
    """Yield that a pretrained model would be taught to answer without reasoning."""
    steps = [step for number in range(first, recipe.generations.count + 1) for step in recipe.steps_of(number)]
    bare = [name for name, task in tasks_of(recipe.task).items() if task.has_bare_answers]
    if recipe.base.model.as_pretrained is not None and bare and any(step.shown() for step in steps):
        place = dotted(("task", *recipe.task.place_of(bare[0]), "columns", "solution"))
        yield (
            "sft shows a pretrained model the answers alone, which unlearns reasoning before them; name the column of "
            f"worked solutions in {place}, or train on its own verified answers (source: {{type: rejection}})"
        )


def nothing_yet(number: int) -> str:
    """Return in words that a generation replays nothing."""
    return f"gen-{number}: nothing to replay yet: the lineage has no verified answers before generation {number}"


def _on_epochs(recipe: Recipe, task: Task, targets: Sequence[Sequence[int]], *, first: int) -> Iterator[str]:
    to_show = [step for number in range(first, len(targets)) for step in recipe.steps_of(number)]
    for step in to_show:
        for _, source in step.shown():
            if source.draw == "epochs":
                shown = [task.every_shown(level) or () for level in range(1, recipe.task.base_level + 1)]
                size = sum(map(len, shown))
                batch = next(iter(step.portions(learned=0))).count / step.num_rounds
                share = step.num_rounds * batch / size
                yield f"{step.type} shows {step.num_rounds} x {batch:g} references: {share:.2f} epochs of {size}"
    for below, stage in recipe.generations.parts():
        numbers = [n for n in range(1, len(targets)) if recipe.generations.position(n).place == below]
        to_come = [number for number in numbers if number >= max(first, 1)]
        for step in stage.steps if to_come else ():
            if not step.draws_epochs:
                continue
            levels = {level for _, drawn in step.draws() for level in levels_of(drawn.levels, targets[to_come[0]])}
            size = _size(task, levels)
            share = step.num_prompts / size
            several = f", {share * len(numbers):.2f} in {len(numbers)} generations" if len(numbers) > 1 else ""
            again = step.policy_gradient is not None and step.policy_gradient.redraws > 0
            more = ", and more with redraws" if again else ""
            yield f"{step.type} draws {_counted(step)}: {share:.2f} epochs of {size}{several}{more}"


def _size(task: Task, levels: Iterable[int]) -> int:
    """Return the number of train prompts of these levels."""
    return sum(len(task.every_prompt(level, Split.TRAIN) or ()) for level in levels)


def _counted(step: Step) -> str:
    each = step.num_prompts // step.num_rounds
    return f"{step.num_prompts} prompts" if step.rejections() else f"{step.num_rounds} x {each} prompts"
