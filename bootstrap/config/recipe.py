"""The recipe: one YAML file that says everything about a lineage.

Combinations of settings that cannot work are refused here, all of them at once (`Conflicts`), each with its place and
its remedy. What needs the file system (folders that must exist, vocabularies that must agree) is `load.py`'s to check.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bootstrap.canonical import digest_of
from bootstrap.config.answers import ExactVerifier, LengthVerifier
from bootstrap.config.base import Operational, Place, Settings, identity_of
from bootstrap.config.base_model import BaseModelSource, GenerationModel, PretrainedModel, ScratchModel
from bootstrap.config.conflicts import Conflict, Conflicts
from bootstrap.config.evaluation import Evaluation, Gate
from bootstrap.config.generations import Accelerated, Fixed, Generations, Given, Solved, Stage
from bootstrap.config.guards import DEFAULT_GUARDS, ON_FIXED_PROMPTS, SAMPLED, Guard, HealthSettings
from bootstrap.config.levels import asked_conflicts, level_conflicts
from bootstrap.config.models import JudgeVerifier, Model, StageEnd, roles
from bootstrap.config.resources import Resources, Tracking
from bootstrap.config.splits import split_conflicts
from bootstrap.config.steps import MergeStep, References, Rejection, RlStep, SelfPlayStep, SftStep, Step
from bootstrap.config.task import OpenTask
from bootstrap.config.tasks import AdditionTask, MixtureTask, SingleTask, Task, tasks_of
from bootstrap.config.training import Training
from bootstrap.config.verifiers import ByTaskVerifier, PluginVerifier, RubricVerifier, SingleVerifier, Verifier
from bootstrap.config.working import WorkingTask
from bootstrap.ledger_records import GuardAction, HealthMetric


class Base(Settings):
    """Generation 0."""

    model: BaseModelSource = ScratchModel()
    steps: tuple[Step, ...] = ()
    """Training before the lineage begins; its references come from levels up to the task's `base_level`."""


class Recipe(Settings):
    name: Annotated[str, Operational()] = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Names the lineage and its folder: lower-case letters, digits, `-` and `_`."""
    description: Annotated[str, Operational()] = ""
    """What the recipe shows, for readers and for the lineage's pages."""
    seed: int = Field(default=0, ge=0)
    """Root of all randomness."""
    task: Task
    verifier: Verifier = ExactVerifier()
    base: Base = Base()
    training: Training = Training()
    generations: Generations
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    health: HealthSettings = HealthSettings()
    guards: tuple[Guard, ...] = DEFAULT_GUARDS
    """Bounds that a generation's health has to keep. A list given here takes the place of the default warnings, and may
    name a metric several times, for example to warn early and to roll back late; [] is none."""
    max_unverifiable: Annotated[float, Operational()] = Field(default=0.02, ge=0, le=1)
    """Largest share of UNVERIFIABLE verdicts, in a round of sampling or a level's evaluation, before the run stops."""
    resources: Annotated[Resources, Operational()] = Resources()
    tracking: Annotated[Tracking, Operational()] = Tracking()

    @model_validator(mode="after")
    def _combinations_that_work(self) -> "Recipe":
        conflicts = [
            *_verifier_conflicts(self),
            *_base_conflicts(self),
            *_generation_conflicts(self),
            *self.level_conflicts(self.task.highest_level),
            *split_conflicts(self.task, self.task, ("task",), who="another part holds out"),
            *_evaluation_conflicts(self),
            *_panel_conflicts(self),
            *_guard_conflicts(self),
        ]
        if conflicts:
            # What speaks against one verifier of several parts is said once.
            raise Conflicts(list(dict.fromkeys(conflicts)))
        return self

    @property
    def examiner(self) -> Verifier:
        """What judges held-out answers."""
        return self.evaluation.verifier or self.verifier

    @property
    def start_level(self) -> int:
        """Highest level that generation 0 is trained for: that of the references, or what a fork comes with."""
        model = self.base.model
        return max(self.task.base_level, model.level if isinstance(model, GenerationModel) else 0)

    @property
    def has_fixed_data(self) -> bool:
        """Whether some of its questions are a given set, such as a file's."""
        return any(task.is_fixed for task in tasks_of(self.task).values())

    @property
    def spends_over_lineage(self) -> bool:
        """Whether all generations that are compared share the gate's alpha."""
        spending = self.gate.spending
        return spending == "lineage" or (spending == "auto" and self.has_fixed_data)

    @property
    def num_compared(self) -> int:
        """How often the gate compares a candidate with the champion, siblings counted as one."""
        generations, first, total = self.generations, 1, 0
        while first <= generations.count:
            stage = generations.position(first).stage
            total += stage.gate == "compare"
            first += stage.branches
        return total

    def highest_level(self) -> int:
        """Highest level looked at when every generation raises the aim as its curriculum plans."""
        reaches = [step.reach for _, step in self.generation_steps() if isinstance(step, SelfPlayStep)]
        return self.highest_aim() + max([self.evaluation.lookahead, *reaches])

    def highest_aim(self) -> int:
        """Highest level aimed at then; a task may end below it."""
        generations, done = self.generations, 0
        reached = self.start_level
        for _, stage in generations.parts():
            if done == generations.count:
                break
            before, done = done, min(done + stage.generations, generations.count)
            curriculum = stage.curriculum
            if isinstance(curriculum, Given):
                reached = max(reached, *curriculum.levels)
            elif isinstance(curriculum, Fixed):
                reached = max(reached, self.task.base_level + self.rise(done))
            else:
                each = curriculum.max_levels if isinstance(curriculum, Accelerated | Solved) else 1
                reached += (generations.num_sets(done) - generations.num_sets(before)) * each
        return reached

    def rise(self, number: int) -> int:
        """Return how many levels above the task's base level the curriculum `fixed` aims in a generation.

        One for each set of siblings up to it, whatever their stage; the levels that a fork comes with count as grown.
        """
        return self.generations.num_sets(number) + self.start_level - self.task.base_level

    def steps_of(self, number: int) -> tuple[Step, ...]:
        """Return the training steps of a generation."""
        return self.generations.position(number).stage.steps if number else self.base.steps

    def stage_name(self, number: int) -> str:
        """Return the name of a generation's stage; empty for generation 0 and where all generations do the same."""
        return self.generations.position(number).stage.name if number and self.generations.stages else ""

    def gate_of(self, number: int) -> Literal["compare", "always", "never"]:
        """Return what the gate does with a generation."""
        return self.generations.position(number).stage.gate if number else "always"

    def verifier_place(self, number: int) -> Place:
        """Return where the verifier stands that judges what a generation trains on."""
        if number:
            position = self.generations.position(number)
            if position.stage.verifier is not None:
                return ("generations", *position.place, "verifier")
        return ("verifier",)

    def verifiers(self) -> dict[Place, Verifier]:
        """Return place -> verifier of everything that judges answers trained on."""
        parts = ((("generations", *place), stage.verifier) for place, stage in self.generations.parts())
        own = {(*place, "verifier"): verifier for place, verifier in parts if verifier is not None}
        return {("verifier",): self.verifier, **own}

    def generation_steps(self) -> Iterator[tuple[Place, Step]]:
        """Yield (place, step) of all steps but generation 0's."""
        for place, stage in self.generations.parts():
            for index, step in enumerate(stage.steps):
                yield ("generations", *place, "steps", index), step

    def level_conflicts(self, last: int | None) -> Iterator[Conflict]:
        """Yield where levels are named that the task has not, by its `last` one; None where levels go on."""
        yield from level_conflicts(self.generations, last, base_level=self.task.base_level, rise=self.rise)
        for place, step in self.generation_steps():
            if last == 1 and (below := _levels_below_aim(step)):
                yield Conflict(
                    (*place, *below), "no level lies below level 1, the task's only one; set levels: targets or all"
                )

    def identity(self) -> dict[str, Any]:
        """What a lineage's results depend on: not names, length, places, nor when a run saves or stops."""
        return identity_of(self)

    def digest(self) -> str:
        """SHA-256 of `identity` as canonical JSON."""
        return digest_of(self.identity())


READERS = {"code": "code", "reasoning_gym": "reasoning_gym"}
"""References that are more than text -> the verifier that reads them."""


def _verifier_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    examiner = recipe.examiner
    at = ("evaluation", "verifier") if recipe.evaluation.verifier else ("verifier",)
    for place, verifier in {**recipe.verifiers(), at: examiner}.items():
        yield from _part_conflicts(recipe.task, verifier, place)
        for spot, task, one in _by_part(recipe.task, verifier, place):
            # A part may be trained on by its form alone, as R1's general prompts are, where the gate looks at answers.
            if one.judges == "form" and (spot == place or place == at):
                other = "" if spot == place else ", or judge held-out answers otherwise (evaluation.verifier)"
                yield Conflict(
                    spot,
                    f"{one.type} looks at the form of answers and cannot tell right from wrong; put it into a rubric "
                    f"beside a verifier that decides, for example exact{other}",
                )
            yield from _unreadable(task, one, spot)
            yield from _idle_lengths(recipe, one, spot)
        if isinstance(recipe.base.model, ScratchModel) and any(role == "judge" for role, _ in roles(verifier)):
            yield Conflict(
                place,
                "generations of this lineage know the task's characters alone and can say no verdict; start from a "
                "language model (base.model: {type: folder, path: ...}), or let an endpoint judge",
            )
    for spot, _, one in _by_part(recipe.task, examiner, at):
        yield from _examiner_conflicts(one, spot)
    if roles(examiner):
        yield Conflict(
            at,
            f"{examiner.type} asks generations of the lineage, so its verdicts on them would drift with them; set "
            "evaluation.verifier to one that asks none, for example {type: exact}",
        )


def _examiner_conflicts(examiner: SingleVerifier, place: Place) -> Iterator[Conflict]:
    if examiner.judges == "group":
        yield Conflict(
            place,
            f"{examiner.type} compares the answers of a group, and held-out prompts are answered once; set "
            "evaluation.verifier to one with references, for example {type: exact}",
        )
    if examiner.judges == "nothing":
        yield Conflict(
            place,
            f"{examiner.type} tells nothing about held-out answers, so the gate would toss coins too; set "
            "evaluation.verifier to one with references, for example {type: exact}",
        )


def _part_conflicts(task: Task, verifier: Verifier, place: Place) -> Iterator[Conflict]:
    """Yield where a verifier by task does not name the parts of the mixture."""
    if not isinstance(verifier, ByTaskVerifier):
        return
    if not isinstance(task, MixtureTask):
        yield Conflict(
            place, f"task {task.type} is one task; name its verifier alone, or use task: {{type: mixture, ...}}"
        )
        return
    if missing := sorted(task.parts.keys() - verifier.tasks.keys()):
        yield Conflict((*place, "tasks"), f"nothing judges part {', '.join(missing)}; name a verifier for it")
    if strange := sorted(verifier.tasks.keys() - task.parts.keys()):
        yield Conflict(
            (*place, "tasks"),
            f"the mixture has no part {', '.join(strange)}; its parts are {', '.join(sorted(task.parts))}",
        )


def _by_part(task: Task, verifier: Verifier, place: Place) -> Iterator[tuple[Place, SingleTask, SingleVerifier]]:
    """Yield (place, task, verifier) of each task that prompts come from and what judges its answers."""
    for name, one in tasks_of(task).items():
        if not isinstance(verifier, ByTaskVerifier):
            yield place, one, verifier
        elif name in verifier.tasks:
            yield (*place, "tasks", name), one, verifier.tasks[name]


def _unreadable(task: SingleTask, verifier: SingleVerifier, place: Place) -> Iterator[Conflict]:
    """Yield what stands in the way of reading the task's references."""
    if isinstance(verifier, RubricVerifier):
        for index, component in enumerate(verifier.components):
            yield from _unreadable(task, component.verifier, (*place, "components", index, "verifier"))
        return
    references = task.references
    reads = verifier.type if verifier.type in READERS.values() else "text"
    wanted = READERS.get(references, "text")
    if verifier.judges == "answer" and not isinstance(verifier, PluginVerifier | JudgeVerifier) and reads != wanted:
        instead = f"type: {wanted}" if wanted != "text" else "exact, numeric or another that compares text"
        yield Conflict(
            place,
            f"{verifier.type} cannot read the references of task {task.type}, which are {references}; use {instead}",
        )


def _idle_lengths(recipe: Recipe, verifier: SingleVerifier, place: Place) -> Iterator[Conflict]:
    """Yield penalties of length that begin where no answer ends."""
    if isinstance(verifier, RubricVerifier):
        for index, component in enumerate(verifier.components):
            yield from _idle_lengths(recipe, component.verifier, (*place, "components", index, "verifier"))
    if not isinstance(verifier, LengthVerifier):
        return
    level, tasks = recipe.highest_level(), tasks_of(recipe.task).values()
    limit = max(t.answer_room if isinstance(t, OpenTask) else t.longest_sequence(level) for t in tasks)
    if (free := verifier.max_tokens - verifier.soft_tokens) >= limit:
        raised = ", or raise the task's max_answer_tokens" if any(isinstance(t, OpenTask) for t in tasks) else ""
        yield Conflict(
            (*place, "max_tokens"),
            f"the penalty begins after {free} tokens (max_tokens less soft_tokens), and no answer may have more than "
            f"{limit}, so it never acts; lower max_tokens to {limit} or less{raised}",
        )


def _base_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    model = recipe.base.model
    for index, step in enumerate(recipe.base.steps):
        yield from _form_conflicts(recipe, step, ("base", "steps", index))
        if not (isinstance(step, SftStep) and step.source.type == "references"):
            yield Conflict(
                ("base", "steps", index),
                "generation 0 has no ancestors to sample or to learn from; use an sft step with source references, "
                "and move this step to generations.steps",
            )
        yield from _proposal_conflicts(recipe, step, ("base", "steps", index))
    if not isinstance(model, ScratchModel):
        return
    if recipe.training.adapter is not None:
        yield Conflict(
            ("training", "adapter"),
            "a model from scratch has nothing to adapt; remove training.adapter, or start from a pretrained folder "
            "(base.model of type folder)",
        )
    if not recipe.base.steps:
        yield Conflict(
            ("base", "steps"),
            "base.model is scratch and base.steps is empty: random weights give no right answer to learn from; "
            "add an sft step on references, for example base: {steps: [{type: sft, updates: 1200}]}",
        )
    mixed = isinstance(recipe.task, MixtureTask)
    for name, task in tasks_of(recipe.task).items():
        if isinstance(task, OpenTask) and task.max_answer_tokens and task.max_answer_tokens <= task.max_answer_length:
            yield Conflict(
                ("task", *(("parts", name, "task") if mixed else ()), "max_answer_tokens"),
                f"{task.max_answer_tokens} tokens cut the longest references (max_answer_length "
                f"{task.max_answer_length}), since a model from scratch has one token per character; remove it, raise "
                "it, or lower max_answer_length",
            )
    needed = recipe.task.longest_sequence(recipe.highest_level())
    if model.max_length < needed:
        yield Conflict(
            ("base", "model", "max_length"),
            f"{model.max_length} tokens are too few for level {recipe.highest_level()}, which "
            f"{recipe.generations.count} generations can reach; set max_length: {needed} or more, "
            "or lower generations.count",
        )


def _form_conflicts(recipe: Recipe, step: Step, place: Place) -> Iterator[Conflict]:
    """Yield what is wrong with how a step wants its references written."""
    shown = step.source.forms if isinstance(step, SftStep) and isinstance(step.source, References) else None
    if shown is not None and not isinstance(recipe.task, WorkingTask):
        yield Conflict(
            (*place, "source", "forms"),
            f"task {recipe.task.type} has one form of answer; remove forms, or use task: {{type: working}}",
        )


def _hint_conflicts(recipe: Recipe, source: Rejection, place: Place) -> Iterator[Conflict]:
    """Yield what keeps a step from asking again with a hint."""
    if source.hints == "never":
        return
    if not isinstance(recipe.task, WorkingTask):
        yield Conflict(
            (*place, "hints"),
            f"task {recipe.task.type} has no prompts with hints; remove hints, or use task: {{type: working}}",
        )
        return
    sources = [step.source for step in recipe.base.steps if isinstance(step, SftStep)]
    forms = [s.forms or recipe.task.forms for s in sources if isinstance(s, References)]
    if isinstance(recipe.base.model, ScratchModel) and not any(form.hinted for form in forms):
        yield Conflict(
            (*place, "hints"),
            "no reference of generation 0 is shown with a hint, so a model from scratch cannot use one; set "
            "task.forms.hinted, for example 0.2, or remove hints",
        )


def _generation_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    for _, name in roles(recipe.verifier):
        yield from _name_conflicts(name, ("verifier",), first=1, ended=())
    first, ended = 1, list[str]()
    for below, stage in recipe.generations.parts():
        place = ("generations", *below)
        for spot, name in stage.named():
            yield from _name_conflicts(name, (*place, *spot), first=first, ended=ended)
        if isinstance(stage.begin, ScratchModel | PretrainedModel):
            yield from _parentless_conflicts(recipe, stage, place, starts_from=f"another model ({stage.begin.type})")
        elif isinstance(stage.begin, MergeStep):
            yield from _parentless_conflicts(recipe, stage, place, starts_from="a merge")
        if isinstance(stage.init, ScratchModel | PretrainedModel):
            yield from _other_model_conflicts(recipe, stage, place)
        yield from _stage_conflicts(recipe, stage, place=place)
        first += stage.generations
        ended.append(stage.name)


def _name_conflicts(name: Model, place: Place, *, first: int, ended: Sequence[str]) -> Iterator[Conflict]:
    """Yield where a name means no generation yet when generation `first`, which follows the stages `ended`, grows."""
    if isinstance(name, int) and name >= first:
        yield Conflict(
            place,
            f"generation {name} does not exist when generation {first} needs it; name an earlier one, champion, "
            "previous or base",
        )
    if isinstance(name, StageEnd) and name.stage not in ended:
        instead = f"one of: {', '.join(ended)}" if ended else "champion, previous or base"
        later = ", or give a later stage this verifier" if place == ("verifier",) else ""
        yield Conflict(
            place,
            f"stage {name.stage} has not ended when generation {first} needs its best model; name {instead}{later}",
        )
    if name == "parent" and place[-1] == "init":
        yield Conflict(place, "init says who the parent is; name champion, previous, base, a number or a stage's end")


def _other_model_conflicts(recipe: Recipe, stage: Stage, place: Place) -> Iterator[Conflict]:
    """Yield what speaks against a stage that starts from another model than the lineage's."""
    if recipe.training.adapter is not None:
        yield Conflict(
            (*place, "init"),
            "generations of a lineage with training.adapter are adapters of one base, which another model cannot be; "
            "grow the student in a lineage of its own, with this one as an exported folder for sampler or teacher",
        )
    needed = recipe.task.longest_sequence(recipe.highest_level())
    if isinstance(stage.init, ScratchModel) and stage.init.max_length < needed:
        yield Conflict(
            (*place, "init", "max_length"),
            f"{stage.init.max_length} tokens are too few for level {recipe.highest_level()}; set max_length: {needed} "
            "or more",
        )


def _parentless_conflicts(recipe: Recipe, stage: Stage, place: Place, *, starts_from: str) -> Iterator[Conflict]:
    """Yield where a stage whose generations have no one parent names it."""
    message = f"a generation that starts from {starts_from} has no parent"
    for spot, name in stage.named():
        if name == "parent":
            yield Conflict((*place, *spot), f"{message}; name champion, previous, base, a number or a stage's end")
    if stage.verifier is None and any(name == "parent" for _, name in roles(recipe.verifier)):
        yield Conflict(
            (*place, "init"),
            f"{message}, and the recipe's verifier asks it; give the stage a verifier that asks champion, previous, "
            "base, a number or a stage's end",
        )


def _stage_conflicts(recipe: Recipe, stage: Stage, *, place: Place) -> Iterator[Conflict]:
    goes_on = stage.init == "previous" or (stage.init == "champion" and stage.gate == "always")
    if isinstance(stage.curriculum, Solved) and stage.generations > stage.branches and not goes_on:
        yield Conflict(
            (*place, "curriculum"),
            "solved aims beyond what the weights were trained on that a generation starts from; where these stay the "
            "same, or wait for the gate to find better what is solved already, so do the aims; set init: previous (or "
            "gate: always in a stage)",
        )
    for index, step in enumerate(stage.steps):
        place_of_step = (*place, "steps", index)
        below_aim = _levels_below_aim(step)
        if below_aim and isinstance(stage.curriculum, Given) and stage.curriculum.levels[0] == 1:
            yield Conflict(
                (*place_of_step, *below_aim),
                "no level lies below level 1, which the curriculum aims at; set levels: targets or all, or a higher "
                "first level",
            )
        if isinstance(step, MergeStep):
            yield from _merge_conflicts(recipe, stage, step, place=place_of_step)
        yield from _step_conflicts(recipe, step, place=place_of_step)


def _levels_below_aim(step: Step) -> Place:
    """Return where a step says that it draws prompts from the levels below the aim alone; nothing where it does not."""
    if isinstance(step, RlStep) and step.levels == "reached":
        return ("levels",)
    if isinstance(step, SftStep) and isinstance(step.source, Rejection) and step.source.levels == "reached":
        return ("source", "levels")
    return ()


def _merge_conflicts(recipe: Recipe, stage: Stage, step: MergeStep, *, place: Place) -> Iterator[Conflict]:
    if place[-1] != 0:
        yield Conflict(
            place,
            "what the steps before it have trained would be lost, since it takes the weights of models it names; "
            "let it be the first step, or merge in a stage of its own",
        )
    if stage.branches > 1 and len(stage.steps) == 1:
        yield Conflict(
            place,
            f"nothing is random in a merge, so all {stage.branches} branches would be the same model; remove branches, "
            "or let a step train what is merged",
        )
    if stage.init != "champion":
        yield Conflict(place, "nothing would be left of the model that this stage starts from; remove its init")
    adapter = recipe.training.adapter
    if adapter is not None and adapter.dora:
        yield Conflict(
            place,
            "adapters with dora: true cannot be merged, since they change lengths and directions apart; set "
            "training.adapter.dora: false",
        )


def _step_conflicts(recipe: Recipe, step: Step, *, place: Place) -> Iterator[Conflict]:
    yield from _form_conflicts(recipe, step, place)
    yield from _proposal_conflicts(recipe, step, place)
    if isinstance(step, SelfPlayStep):
        yield from _self_play_conflicts(recipe, place)
    for name, taught in ((name, getattr(step, name, None)) for name in ("distillation", "teaching")):
        for index, route in enumerate(taught.routes if taught is not None else ()):
            if route.task is not None and route.task not in tasks_of(recipe.task):
                yield Conflict(
                    (*place, name, "routes", index, "task"),
                    f"no prompt is of task {route.task}; there is {', '.join(tasks_of(recipe.task))}",
                )
    if isinstance(step, SftStep) and isinstance(step.source, Rejection):
        yield from _hint_conflicts(recipe, step.source, (*place, "source"))
        yield from _stepping_stone_conflicts(recipe, step.source.stepping_stones, (*place, "source"))
    if isinstance(step, RlStep):
        yield from _stepping_stone_conflicts(recipe, step.stepping_stones, place)


def _proposal_conflicts(recipe: Recipe, step: Step, place: Place) -> Iterator[Conflict]:
    if _shown_proposals(step) and not recipe.task.executes:
        yield Conflict(
            (*place, "source", "proposals"),
            f"task {recipe.task.type} has no executor that could read a model's problems; remove proposals, "
            "or use task: {type: programs}",
        )


def _self_play_conflicts(recipe: Recipe, place: Place) -> Iterator[Conflict]:
    if not recipe.task.executes:
        yield Conflict(
            place,
            f"task {recipe.task.type} has no executor that could read a model's problems; use a step of type rl, "
            "or task: {type: programs}",
        )
    elif isinstance(recipe.base.model, ScratchModel) and not any(map(_shown_proposals, recipe.base.steps)):
        yield Conflict(
            place,
            "nobody has shown the base how a problem is put, so it would propose none; give an sft step of base.steps "
            "source: {type: references, proposals: 0.1}",
        )


def _shown_proposals(step: Step) -> float:
    """Return the share of proposals among a step's references."""
    return step.source.proposals if isinstance(step, SftStep) and isinstance(step.source, References) else 0.0


def _stepping_stone_conflicts(recipe: Recipe, share: float, place: Place) -> Iterator[Conflict]:
    if share and not any(isinstance(task, AdditionTask | WorkingTask) for task in tasks_of(recipe.task).values()):
        yield Conflict(
            (*place, "stepping_stones"),
            f"stepping stones need a task with two operands; task {recipe.task.type} has one: remove the key",
        )


def _panel_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    model = recipe.base.model
    for name, watched in recipe.evaluation.panel.items():
        place = ("evaluation", "panel", name)
        at = (*place, "verifier")
        yield from split_conflicts(recipe.task, watched.task, (*place, "task"), who="the panel would ask")
        yield from asked_conflicts(watched.asked, watched.task.highest_level, place)
        yield from _part_conflicts(watched.task, watched.verifier, at)
        for spot, task, one in _by_part(watched.task, watched.verifier, at):
            if one.judges != "answer":
                yield Conflict(
                    spot,
                    f"{one.type} compares no answer with a reference; use one that does, for example {{type: exact}}",
                )
            yield from _unreadable(task, one, spot)
        if roles(watched.verifier):
            yield Conflict(
                at,
                f"{watched.verifier.type} asks generations of the lineage, so its verdicts on them would drift with "
                "them; use one that asks none, for example {type: exact}",
            )
        if not isinstance(model, ScratchModel):
            continue
        if strange := [c for c in watched.task.characters if c not in set(recipe.task.characters)]:
            yield Conflict(
                (*place, "task"),
                f"a model from scratch knows the characters of task {recipe.task.type} alone, not "
                f"{' '.join(map(repr, strange))}; watch a task over its characters, or start from a pretrained folder",
            )
        needed = watched.task.longest_sequence(max(watched.asked))
        if model.max_length < needed:
            yield Conflict(
                (*place, "levels"),
                f"level {max(watched.asked)} needs {needed} tokens, base.model.max_length is {model.max_length}; ask "
                "lower levels, or raise it",
            )


def _evaluation_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    evaluation, gate = recipe.evaluation, recipe.gate
    prompts = evaluation.prompts_per_level
    if evaluation.sampled and evaluation.sampled.prompts > prompts:
        yield Conflict(
            ("evaluation", "sampled", "prompts"),
            f"{evaluation.sampled.prompts} prompts cannot be sampled where evaluation.prompts_per_level is {prompts}; "
            f"use {prompts} or fewer",
        )
    if gate.min_prompts > prompts:
        yield Conflict(
            ("gate", "min_prompts"),
            f"no level has {gate.min_prompts} held-out prompts where evaluation.prompts_per_level is {prompts}, "
            f"so none could be judged on its own; use {prompts} or fewer",
        )
    yield from _too_few_to_promote(recipe)


def _too_few_to_promote(recipe: Recipe) -> Iterator[Conflict]:
    """Yield where no generation that is compared could be promoted, even if it gained every prompt and lost none."""
    prompts = recipe.evaluation.prompts_per_level
    shares = recipe.num_compared if recipe.spends_over_lineage else 1
    lacking = []
    for _, stage in recipe.generations.parts():
        if stage.gate != "compare" or not recipe.num_compared:
            continue
        alpha = recipe.gate.alpha / shares / stage.branches
        # Exact two-sided McNemar is most decisive when every prompt is gained: p = 2 * 0.5^n.
        least, asked = math.floor(1 - math.log2(alpha)) + 1, prompts * _num_targets(stage)
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


def _num_targets(stage: Stage) -> int:
    """Return how many levels a generation aims at, at most: the gate tests them together."""
    curriculum = stage.curriculum
    if isinstance(curriculum, Given):
        return len(curriculum.levels)
    return curriculum.max_levels if isinstance(curriculum, Accelerated | Solved) else 1


def _guard_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Yield guards that never act. The default ones may: they are for every recipe, and where one has nothing to
    measure it says nothing."""
    for index, guard in enumerate(recipe.guards):
        place = ("guards", index)
        if guard in DEFAULT_GUARDS:
            continue
        if guard.metric in SAMPLED and recipe.evaluation.sampled is None:
            yield Conflict(
                place,
                f"{guard.metric} is measured on sampled held-out answers, and evaluation.sampled is null; give it, for "
                "example evaluation: {sampled: {prompts: 64}}, or remove this guard",
            )
        if guard.metric in ON_FIXED_PROMPTS and not recipe.health.prompts:
            yield Conflict(
                place,
                f"{guard.metric} is measured on the fixed prompts, and health.prompts is 0; raise it, for example "
                "to 32, or remove this guard",
            )
        alike = all(verifier == recipe.examiner for verifier in recipe.verifiers().values())
        if guard.metric is HealthMetric.DISAGREEMENT and alike:
            yield Conflict(
                place,
                "training and held-out answers are judged by the same verifier, which never disagrees with itself; set "
                "evaluation.verifier to another one, or remove this guard",
            )
        if guard.action is GuardAction.ROLL_BACK and not _follows_champion(recipe):
            yield Conflict(
                place,
                "no later generation starts from the champion or learns from it, so what is grown stays the same "
                "wherever the champion returns to; set init: champion, or action: reject",
            )


def _follows_champion(recipe: Recipe) -> bool:
    """Whether the champion decides what is grown after the first generations: weights, teachers, samplers, judges."""
    for index, (_, stage) in enumerate(recipe.generations.parts()):
        if not index and recipe.generations.stages and stage.generations == stage.branches:
            # These have generation 0 as their champion, whatever becomes of them.
            continue
        asked = () if stage.verifier else roles(recipe.verifier)
        if "champion" in (name for _, name in (*stage.named(), *asked)):
            return True
    return False
