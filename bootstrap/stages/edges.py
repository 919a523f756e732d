"""The edges of a generation in the lineage's graph, as its ledger record keeps them."""

from collections.abc import Collection, Iterator

from bootstrap.config.base_model import ModelSettings
from bootstrap.config.models import Model, outside_model, roles, server_model
from bootstrap.ledger_records import Edge
from bootstrap.records import Checkpoint
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.origin import find_origin
from bootstrap.stages.samplers import policy_of
from bootstrap.store.exports import record_of
from bootstrap.store.fingerprint import base_fingerprint


def edges(context: Context, plan: Plan, *, sources: Collection[int]) -> tuple[Edge, ...]:
    """Return the edges of a generation: init, teachers, samplers, merged models, references, judges and voters, data.

    `sources`: the generations whose answers it was trained on.
    """
    recipe, steps = context.recipe, context.recipe.steps_of(plan.number)
    found = list(_init(context, plan))
    for role, models in {"teacher": plan.teachers, "sampler": plan.samplers}.items():
        found += [_edge(role, *named) for named in models.items()]
    merged = {number: checkpoint.fingerprint for number, checkpoint in plan.merged.values()}
    found += [Edge(role="merged", generation=number, fingerprint=print_) for number, print_ in sorted(merged.items())]
    servers = (server_model(name) for step in steps for _, name in step.samplers())
    for server in dict.fromkeys(server for server in servers if server is not None):
        found.append(Edge(role="sampler", generation=None, external=policy_of(server), fingerprint=policy_of(server)))
    held = [_edge("reference", *named) for named in plan.references.items()]
    penalties = [step.policy_gradient.kl for step in steps[:1] if step.policy_gradient is not None]
    if any(kl is not None and kl.model == "start" for kl in penalties):
        # Later steps that are held to their start are held to weights that this generation has made itself.
        held.append(Edge(role="reference", generation=plan.init, fingerprint=plan.start.fingerprint))
    # One generation may be named in several ways, as the parent and the champion mostly are.
    found += dict.fromkeys(held)
    for role, name in roles(recipe.verifier_of(plan.number)) if plan.number else ():
        number, checkpoint = plan.asked[name]
        found.append(Edge(role=role, generation=number, fingerprint=checkpoint.fingerprint))
    for number in sorted(sources):
        found.append(Edge(role="data", generation=number, fingerprint=plan.pool.given_by(number).digest()))
    return tuple(found)


def _init(context: Context, plan: Plan) -> Iterator[Edge]:
    """Yield the edge from where the weights start; none from random weights, nor beside those of a merge."""
    recipe, fingerprint = context.recipe, plan.start.fingerprint
    if plan.init is not None:
        yield Edge(role="init", generation=plan.init, fingerprint=fingerprint)
        return
    model = outside_model(recipe.generations.position(plan.number).stage.init) if plan.number else recipe.base.model
    if model is None:
        return
    if model.written is not None:
        # Under an adapter the folder's weights are its base.
        whole = base_fingerprint(plan.start.files) or fingerprint
        yield Edge(
            role="init",
            generation=None,
            external=model.written,
            exported=_exported(model, whole),
            fingerprint=fingerprint,
        )
    elif (forked := model.as_generation) is not None:
        origin = find_origin(context.store.root.parent, forked)
        yield Edge(
            role="init",
            generation=None,
            external=forked.place,
            record=forked.record,
            compute_cost=origin.compute_cost(with_answers=origin.shares_task(recipe)),
            fingerprint=forked.fingerprint,
        )


def _edge(role: str, name: Model, model: tuple[int | None, Checkpoint]) -> Edge:
    """Return the edge from a model that the recipe names."""
    number, checkpoint = model
    outside = outside_model(name)
    return Edge(
        role=role,
        generation=number,
        external=None if outside is None else outside.written,
        exported=_exported(outside, checkpoint.fingerprint),
        fingerprint=checkpoint.fingerprint,
    )


def _exported(model: ModelSettings | None, fingerprint: str) -> str | None:
    """Return the ledger record that a model in a folder is exported from; None for any other model."""
    return None if model is None or model.folder is None else record_of(model.folder, fingerprint=fingerprint)
