"""What a generation starts from, learns from and aims at: a function of the recipe and the lineage alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bootstrap.config import verifiers
from bootstrap.config.base_model import ModelSettings, PretrainedModel
from bootstrap.config.generations import Generations, Position
from bootstrap.config.models import LineageModel, Model, means_best, outside_model, roles, server_model
from bootstrap.config.recipe import Recipe
from bootstrap.config.training import Training
from bootstrap.errors import RecipeError
from bootstrap.evaluation.protection import Protected
from bootstrap.evaluation.report import accuracies
from bootstrap.ledger_records import Edge, Generation
from bootstrap.prompts.task import own_level
from bootstrap.records import Checkpoint
from bootstrap.seeds import derive_seed
from bootstrap.selection.curriculum import aims_by, replay_levels, target_levels, trained_level
from bootstrap.selection.replay import PoolEntry, ReplayPool
from bootstrap.selection.retirement import PassRates
from bootstrap.stages.answers import answers_of, contributors, rates_of
from bootstrap.stages.bar import reached
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.heldout import known_report
from bootstrap.stages.origin import find_origin
from bootstrap.stages.samplers import policy_of
from bootstrap.stages.siblings import before, stands_for
from bootstrap.store.ancestry import ancestors
from bootstrap.store.artifacts import Artifact
from bootstrap.store.fingerprint import base_fingerprint, fingerprint_model
from bootstrap.store.ledger import Entry
from bootstrap.store.pretrained import IMPORT, other_weights, taken_over
from bootstrap.training.chat import framed

MODEL_SUFFIXES = {".json", ".safetensors", ".jinja"}


def training_of(recipe: Recipe, entries: Sequence[Entry]) -> Training:
    """Return the recipe's settings, with what precision `auto` has come to where the lineage has grown already.

    The gate compares stored answers with new ones, and these are to differ by their weights alone.
    """
    known = entries[-1].annotations.environment.get("precision") if entries else None
    if known is None or recipe.training.precision != "auto":
        return recipe.training
    return Training.model_validate({**recipe.training.model_dump(), "precision": known})


def resolve(context: Context, entries: Sequence[Entry], number: int) -> Plan:
    """Return the plan of the next generation."""
    recipe = context.recipe
    provide_base(context, entries)
    if number == 0:
        start = _model_weights(context, recipe.base.model, number=0)
        # What a fork comes with may go by levels that its task has no more.
        levels = tuple(range(1, own_level(context.task, recipe.start_level) + 1))
        return Plan(
            number=0,
            init=None,
            start=start,
            shape=context.pool.shape(),
            target_levels=levels,
            replay_levels=(),
            protected=Protected(),
            pool=ReplayPool(),
            teachers={},
        )
    position, committed = recipe.generations.position(number), [entry.generation for entry in entries]
    stage, champion = position.stage, before(committed, position)
    named = Names(number=number, champion=champion, generations=recipe.generations, committed=committed)
    merged = {
        name: _generation(context, entries, named.number_of(name))
        for step in stage.steps
        if (merge := step.as_merge) is not None
        # Differences of adapters are counted from the base that they share.
        for name in (*merge.models, *(("base",) if merge.method == "ties" and recipe.training.adapter is None else ()))
    }
    start, init = _start(context, entries, position, named=named, merged=merged)
    named = replace(named, parent=init)
    parents = tuple(sorted({one for one, _ in merged.values()})) if init is None else (init,)
    decides = aims_by(stage, champion=champion, init=init)
    aimed = target_levels(
        stage.curriculum,
        accuracies(committed[decides].report),
        base_level=recipe.task.base_level,
        rise=recipe.rise(number),
        trained=max(trained_level(recipe, one, committed[one].target_levels) for one in ancestors(entries, (decides,))),
        highest=context.task.highest_level,
    )
    context.pool.hold(start)
    teachers = {
        teacher: _model(context, entries, teacher, named=named)
        for step in stage.steps
        for _, teacher in step.teachers()
    }
    samplers = {
        sampler: _model(context, entries, sampler, named=named)
        for step in stage.steps
        for _, sampler in step.samplers()
        if server_model(sampler) is None
    }
    references = {
        model: _model(context, entries, model, named=named) for step in stage.steps for _, model in step.references()
    }
    asked = {name: _generation(context, entries, named.number_of(name)) for _, name in roles(_verifier(recipe, number))}
    able = contributors(entries, parents, siblings=position.siblings)
    own = ancestors(entries, parents)
    pool = ReplayPool(answer for earlier in able for answer in _answers(context, earlier))
    plan = Plan(
        number=number,
        init=init,
        parents=parents,
        start=start,
        shape=context.pool.shape(),
        target_levels=aimed,
        replay_levels=replay_levels(aimed, held=pool.levels),
        protected=Protected()
        if stage.gate == "never"
        else reached(
            recipe,
            committed,
            champion=champion,
            highest=context.task.highest_level,
            report_of=partial(known_report, context, entries),
        ),
        pool=pool,
        teachers=teachers,
        samplers=samplers,
        merged=merged,
        references=references,
        # What others have solved, these weights have yet to learn.
        rates=_rates(context, [entry for entry in able if entry.generation.number in own])
        if any(step.retires for step in stage.steps)
        else PassRates(),
        asked=asked,
    )
    context.pool.broadcast("drop_teachers")
    for _, checkpoint in teachers.values():
        context.pool.broadcast("load_teacher", dict(checkpoint.files), checkpoint.fingerprint)
    return plan


def provide_base(context: Context, entries: Sequence[Entry]) -> None:
    """Give the workers the whole model under a lineage's adapters, unless they have it or weights are whole."""
    if context.recipe.training.adapter is not None and context.pool.provided is None:
        context.pool.provide(_base(context, entries))


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the names of models in a recipe mean when a generation is planned."""

    number: int
    parent: int | None = None
    """None for a generation that starts from another model or from a merge."""
    champion: int
    """Before the generation's siblings."""
    generations: Generations
    committed: Sequence[Generation]

    def number_of(self, name: LineageModel) -> int:
        """Return the number of the generation that a recipe names."""
        if name in ("champion", "parent"):
            found = self.champion if name == "champion" else self.parent
        else:
            found = self.generations.youngest(name, number=self.number)
        assert found is not None and found < self.number, f"generation {self.number} has no {name}"
        if means_best(name):
            return stands_for(self.generations, self.committed, found)
        return found


def _verifier(recipe: Recipe, number: int) -> verifiers.Verifier:
    return recipe.verifiers()[recipe.verifier_place(number)]


def _start(
    context: Context,
    entries: Sequence[Entry],
    position: Position,
    *,
    named: Names,
    merged: Mapping[LineageModel, tuple[int, Checkpoint]],
) -> tuple[Checkpoint, int | None]:
    """Return the weights that a generation starts from and whose they are, None for those of another model.

    A merge leaves nothing of what it starts from: one of its models stands in, which is no parent either.
    """
    init = position.stage.init
    if merged:
        return next(iter(merged.values()))[1], None
    if (outside := outside_model(init)) is not None:
        return _model_weights(context, outside, number=position.first), None
    number, start = _generation(context, entries, named.number_of(init))
    return start, number


def weights_of(context: Context, entries: Sequence[Entry], number: int) -> Checkpoint:
    """Return a committed generation's weights, every file proven by its hash."""
    generation = entries[number].generation
    files = context.store.artifact(generation.artifacts["weights"]).read_all()
    return Checkpoint(fingerprint=generation.fingerprint, files=files)


def edges(context: Context, plan: Plan, *, sources: Collection[int]) -> tuple[Edge, ...]:
    """Return where weights start or what is merged, who teaches, whom the verifier asks, whose answers are trained on.

    `sources`: the generations of those answers.
    """
    recipe, found = context.recipe, []
    model = outside_model(recipe.generations.position(plan.number).stage.init) if plan.number else recipe.base.model
    if plan.init is not None:
        found.append(Edge(role="init", generation=plan.init, fingerprint=plan.start.fingerprint))
    elif model is not None and model.written is not None:
        found.append(Edge(role="init", generation=None, external=model.written, fingerprint=plan.start.fingerprint))
    elif model is not None and (forked := model.as_generation) is not None:
        origin = find_origin(context.store.root.parent, forked)
        found.append(
            Edge(
                role="init",
                generation=None,
                external=forked.place,
                record=forked.record,
                compute_cost=origin.compute_cost(with_answers=origin.shares_task(recipe)),
                fingerprint=forked.fingerprint,
            )
        )
    for role, models in {"teacher": plan.teachers, "sampler": plan.samplers}.items():
        found += [_edge(role, *named) for named in models.items()]
    merged = {number: checkpoint.fingerprint for number, checkpoint in plan.merged.values()}
    found += [Edge(role="merged", generation=number, fingerprint=print_) for number, print_ in sorted(merged.items())]
    servers = (server_model(name) for step in recipe.steps_of(plan.number) for _, name in step.samplers())
    for server in dict.fromkeys(server for server in servers if server is not None):
        found.append(Edge(role="sampler", generation=None, external=policy_of(server), fingerprint=policy_of(server)))
    held = [_edge("reference", *named) for named in plan.references.items()]
    first = recipe.steps_of(plan.number)[:1]
    penalties = [step.policy_gradient.kl for step in first if step.policy_gradient is not None]
    if any(kl is not None and kl.model == "start" for kl in penalties):
        # Later steps that are held to their start are held to weights that this generation has made itself.
        held.append(Edge(role="reference", generation=plan.init, fingerprint=plan.start.fingerprint))
    # One generation may be named in several ways, as the parent and the champion mostly are.
    found += dict.fromkeys(held)
    for role, name in roles(_verifier(recipe, plan.number)) if plan.number else ():
        number, checkpoint = plan.asked[name]
        found.append(Edge(role=role, generation=number, fingerprint=checkpoint.fingerprint))
    for number in sorted(sources):
        found.append(Edge(role="data", generation=number, fingerprint=plan.pool.given_by(number).digest()))
    return tuple(found)


def _edge(role: str, name: Model, model: tuple[int | None, Checkpoint]) -> Edge:
    """Return the edge from a model that the recipe names."""
    number, checkpoint = model
    outside = outside_model(name)
    written = outside.written if outside is not None else None
    return Edge(role=role, generation=number, external=written, fingerprint=checkpoint.fingerprint)


def _model_weights(context: Context, model: ModelSettings, *, number: int) -> Checkpoint:
    """Return the weights of a model source; `number`: the first generation that starts from them."""
    seed, place = context.recipe.seed, (number,) if number else ()
    if (scratch := model.as_scratch) is not None:
        context.pool.build(scratch, context.task.characters, seed=derive_seed(seed, "initial weights", *place))
        return context.pool.export()
    if (forked := model.as_generation) is not None:
        weights = find_origin(context.store.root.parent, forked).weights()
        if context.recipe.training.adapter is None or base_fingerprint(weights.files) is not None:
            context.pool.hold(weights)
            return context.pool.export()
    if context.recipe.training.adapter is not None:
        context.pool.adapt(seed=derive_seed(seed, "initial adapter"))
    else:
        context.pool.load_unverified(_pretrained(model.as_pretrained))
    return context.pool.export()


def _pretrained(model: PretrainedModel | None) -> dict[str, bytes]:
    assert model is not None, "every other model has been dealt with"
    return framed(read_model_folder(Path(model.path)), chat=model.chat == "template", system=model.system)


def _base(context: Context, entries: Sequence[Entry]) -> Checkpoint:
    """Return the whole model under this lineage's adapters: at first from where the recipe says, then its own copy."""
    if entries:
        ref = entries[0].generation.artifacts["base"]
        files = context.store.artifact(ref).read_all()
    elif (forked := context.recipe.base.model.as_generation) is not None:
        files = find_origin(context.store.root.parent, forked).whole()
    else:
        files = _pretrained(context.recipe.base.model.as_pretrained)
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
    """Return the files of a local Hugging Face folder that make a model.

    Raises RecipeError when some are missing, and for weights that the folder's `import.json` is not about: licence and
    origin would be told of another model.
    """
    names = sorted(path.name for path in folder.glob("*") if path.suffix in MODEL_SUFFIXES)
    wanted = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    if missing := [name for name in wanted if name not in names]:
        raise RecipeError(
            f"{folder} lacks {', '.join(missing)}; save the model and its fast tokenizer with save_pretrained, "
            "weights in one safetensors file (max_shard_size)"
        )
    files = {name: (folder / name).read_bytes() for name in names}
    if (found := other_weights(files)) is not None:
        raise RecipeError(
            f"{folder / IMPORT} is about another model: {wanted[-1]} holds {found}; `bootstrap import` the model again "
            f"(or export the generation again), or remove {IMPORT} if the weights are your own"
        )
    return taken_over(files)


def _model(context: Context, entries: Sequence[Entry], name: Model, *, named: Names) -> tuple[int | None, Checkpoint]:
    """Return a teacher's or sampler's generation (None for a model outside the lineage) and weights."""
    outside = outside_model(name)
    if outside is not None and outside.folder is not None:
        files = read_model_folder(outside.folder)
        return None, Checkpoint(fingerprint=fingerprint_model(files), files=files)
    assert server_model(name) is None, "a server's weights are not to be had"
    return _generation(context, entries, named.number_of(name))


def _generation(context: Context, entries: Sequence[Entry], number: int) -> tuple[int, Checkpoint]:
    return number, weights_of(context, entries, number)


def _rates(context: Context, known: Sequence[Entry]) -> PassRates:
    """Return how often the `rl` steps of these generations had each prompt answered right."""
    total = PassRates()
    for entry in known:
        number = entry.generation.number
        if number not in context.rates:
            sampled = [step.tells_rates for step in context.recipe.steps_of(number)]
            context.rates[number] = rates_of(context.store, entry.generation, sampled=sampled)
        total.merge(context.rates[number])
    return total


def _answers(context: Context, entry: Entry) -> list[PoolEntry]:
    """Return what one generation gives to the replay pool, in the order it was sampled."""
    number = entry.generation.number
    if number not in context.answers:
        context.answers[number] = list(answers_of(context.store, entry.generation))
    return context.answers[number]
