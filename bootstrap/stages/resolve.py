"""What a generation starts from, learns from and aims at: a function of the recipe and the ledger alone."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bootstrap.compute import ModelShape
from bootstrap.config.base_model import FolderModel, PretrainedModel, ScratchModel
from bootstrap.config.models import LineageModel, roles
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import RlStep, Step, Teacher
from bootstrap.errors import RecipeError
from bootstrap.evaluation.report import accuracies, judged_shares
from bootstrap.records import Checkpoint, Edge, Generation
from bootstrap.seeds import derive_seed
from bootstrap.selection.curriculum import replay_levels, retained_levels, target_levels
from bootstrap.selection.replay import PoolEntry, ReplayPool
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.step import Tables
from bootstrap.store.artifacts import Artifact
from bootstrap.store.fingerprint import base_fingerprint, fingerprint_model
from bootstrap.store.ledger import Entry
from bootstrap.training.chat import framed

MODEL_SUFFIXES = {".json", ".safetensors", ".jinja"}


def steps_of(recipe: Recipe, number: int) -> tuple[Step, ...]:
    """Return the training steps of a generation."""
    return recipe.base.steps if number == 0 else recipe.generations.steps


def resolve(context: Context, entries: Sequence[Entry], number: int) -> Plan:
    """Return the plan of the next generation."""
    recipe = context.recipe
    if recipe.training.adapter is not None and context.pool.provided is None:
        context.pool.provide(_base(context, entries))
    if number == 0:
        start = _base_weights(context)
        levels = tuple(range(1, recipe.task.base_level + 1))
        return Plan(
            number=0,
            init=None,
            start=start,
            shape=_shape(context),
            target_levels=levels,
            replay_levels=(),
            retained_levels=(),
            pool=ReplayPool(),
            teachers={},
        )
    champion = entries[-1].generation.champion
    init = {"champion": champion, "previous": number - 1, "base": 0}[recipe.generations.init]
    report = entries[champion].generation.report
    aimed = target_levels(
        recipe.generations.curriculum,
        accuracies(report),
        base_level=recipe.task.base_level,
        generation=number,
    )
    start = weights_of(context, entries, init)
    context.pool.hold(start)
    teachers = {
        teacher: _teacher(context, entries, teacher, init=init, champion=champion)
        for step in recipe.generations.steps
        for _, teacher in step.teachers()
    }
    asked = {
        name: (number, weights_of(context, entries, number))
        for _, name in roles(recipe.verifier)
        for number in [_generation(name, init=init, champion=champion)]
    }
    pool = ReplayPool(answer for earlier in entries for answer in _answers(context, earlier))
    plan = Plan(
        number=number,
        init=init,
        start=start,
        shape=_shape(context),
        target_levels=aimed,
        replay_levels=replay_levels(aimed, held=pool.levels),
        retained_levels=retained_levels(
            judged_shares(report.levels, min_prompts=recipe.gate.min_prompts),
            recipe.evaluation.mastered,
            targets=aimed,
        ),
        pool=pool,
        teachers=teachers,
        asked=asked,
    )
    context.pool.broadcast("drop_teachers")
    for _, checkpoint in teachers.values():
        context.pool.broadcast("load_teacher", dict(checkpoint.files), checkpoint.fingerprint)
    return plan


def weights_of(context: Context, entries: Sequence[Entry], number: int) -> Checkpoint:
    """Return a committed generation's weights, every file proven by its hash."""
    generation = entries[number].generation
    files = context.store.artifact(generation.artifacts["weights"]).read_all()
    return Checkpoint(fingerprint=generation.fingerprint, files=files)


def edges(recipe: Recipe, plan: Plan, *, sources: Collection[int]) -> tuple[Edge, ...]:
    """Return where the weights start, who teaches, whom the verifier asks, and whose answers were trained on.

    `sources`: the generations of those answers.
    """
    found = []
    model = recipe.base.model
    if plan.init is not None:
        found.append(Edge(role="init", generation=plan.init, fingerprint=plan.start.fingerprint))
    elif isinstance(model, FolderModel):
        path = model.model_dump(mode="json")["path"]
        found.append(Edge(role="init", generation=None, external=path, fingerprint=plan.start.fingerprint))
    for teacher, (number, checkpoint) in plan.teachers.items():
        outside = teacher.model_dump(mode="json")["path"] if isinstance(teacher, FolderModel) else None
        found.append(Edge(role="teacher", generation=number, external=outside, fingerprint=checkpoint.fingerprint))
    first = steps_of(recipe, plan.number)[:1]
    if any(isinstance(step, RlStep) and step.algorithm.kl is not None for step in first):
        # Later steps are held to weights that this generation has made itself.
        found.append(Edge(role="reference", generation=plan.init, fingerprint=plan.start.fingerprint))
    for role, name in roles(recipe.verifier) if plan.number else ():
        number, checkpoint = plan.asked[name]
        found.append(Edge(role=role, generation=number, fingerprint=checkpoint.fingerprint))
    for number in sorted(sources):
        found.append(Edge(role="data", generation=number, fingerprint=plan.pool.latest(number).digest()))
    return tuple(found)


def _base_weights(context: Context) -> Checkpoint:
    model, seed = context.recipe.base.model, context.recipe.seed
    if isinstance(model, ScratchModel):
        context.pool.build(model, context.task.characters, seed=derive_seed(seed, "initial weights"))
    elif context.recipe.training.adapter is not None:
        context.pool.adapt(seed=derive_seed(seed, "initial adapter"))
    else:
        context.pool.load_unverified(_pretrained(model))
    return context.pool.export()


def _pretrained(model: PretrainedModel) -> dict[str, bytes]:
    return framed(read_model_folder(Path(model.path)), chat=model.chat == "template", system=model.system)


def _base(context: Context, entries: Sequence[Entry]) -> Checkpoint:
    """Return the whole model under this lineage's adapters: from the recipe's folder at first, then from the store."""
    if entries:
        ref = entries[0].generation.artifacts["base"]
        files = context.store.artifact(ref).read_all()
    else:
        assert isinstance(context.recipe.base.model, PretrainedModel), "an adapter needs a pretrained base"
        files = _pretrained(context.recipe.base.model)
    base = Checkpoint(fingerprint=fingerprint_model(files), files=files)
    context.store.put("weights", {"fingerprint": base.fingerprint}, base.files)
    return base


def base_artifacts(context: Context, checkpoint: Checkpoint) -> dict[str, Artifact]:
    """Return the whole model that an adapter's weights rest upon, under the role `base`; nothing for whole models."""
    fingerprint = base_fingerprint(checkpoint.files)
    if fingerprint is None:
        return {}
    found = context.store.find("weights", {"fingerprint": fingerprint})
    assert found is not None, "a base is stored before its adapters"
    return {"base": found}


def read_model_folder(folder: Path) -> dict[str, bytes]:
    """Return the files of a local Hugging Face folder that make a model. Raises RecipeError when some are missing."""
    names = sorted(path.name for path in folder.glob("*") if path.suffix in MODEL_SUFFIXES)
    wanted = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    if missing := [name for name in wanted if name not in names]:
        raise RecipeError(
            f"{folder} lacks {', '.join(missing)}; save the model and its fast tokenizer with save_pretrained, "
            "weights in one safetensors file (max_shard_size)"
        )
    return {name: (folder / name).read_bytes() for name in names}


def _shape(context: Context) -> ModelShape:
    return context.pool.wait([context.pool.start(0, "shape_of_model")], what="the model's shape")[0]


def _teacher(
    context: Context, entries: Sequence[Entry], teacher: Teacher, *, init: int, champion: int
) -> tuple[int | None, Checkpoint]:
    """Return the teacher's generation (None for an external model) and weights."""
    if isinstance(teacher, FolderModel):
        files = read_model_folder(Path(teacher.path))
        return None, Checkpoint(fingerprint=fingerprint_model(files), files=files)
    number = _generation(teacher, init=init, champion=champion)
    assert number < len(entries), f"teacher {teacher} is no earlier generation"
    return number, weights_of(context, entries, number)


def _generation(name: LineageModel, *, init: int, champion: int) -> int:
    """Return the number of the generation that a recipe names."""
    return name if isinstance(name, int) else {"parent": init, "champion": champion, "base": 0}[name]


def _answers(context: Context, entry: Entry) -> list[PoolEntry]:
    """Return what one generation gives to the replay pool, in the order it was sampled."""
    number = entry.generation.number
    if number not in context.answers:
        context.answers[number] = list(_read_answers(context, entry.generation))
    return context.answers[number]


def _read_answers(context: Context, generation: Generation) -> Iterator[PoolEntry]:
    for role, ref in sorted(generation.artifacts.items()):
        if not role.startswith("step-"):
            continue
        tables = Tables.read(context.store.artifact(ref))
        kept = {s.rollout_id for s in tables.selections if s.replay}
        for rollout in tables.rollouts:
            if rollout.id in kept:
                yield PoolEntry(
                    rollout_id=rollout.id,
                    generation=generation.number,
                    level=rollout.level,
                    prompt_text=rollout.prompt_text,
                    completion_text=rollout.text,
                )
