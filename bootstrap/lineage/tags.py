"""Ledger -> the short texts that MLflow shows and searches: tags of runs and versions, params of runs and models.

Pure functions; texts are cut to MLflow's limits. Left out: numbers (`metrics.py`), notes (`notes.py`) and logging
(`publisher.py`). Imports no MLflow.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.levels import level_range
from bootstrap.lineage import queries
from bootstrap.lineage.text import mlflow_key, mlflow_value, points
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.pretrained import Pretrained

RUN_KEY = "bootstrap.run_key"
"""Tag of runs and registered models: the identity that they are found by."""
EXPERIMENT = "bootstrap.experiment_id"
"""Tag of registered models: the experiment whose lineage owns them."""
LEDGER_HASH = "bootstrap.ledger_hash"
"""Tag of a generation's run and model: hash of its record; of a lineage's run: of the newest record that it shows."""
SHOWN = ("gate", "target", "accuracy", "gain", "frontier", "parent")
"""Tags that people read, as columns of the generations' list and above the tags that machines need."""
ORDER = "generation"
"""Metric by which the generations' list is sorted."""
_KEY_CHARACTERS, _PARAM_CHARACTERS, _TAG_CHARACTERS = 250, 6000, 5000


def of_lineage(first: Generation, *, base: Pretrained | None) -> dict[str, str]:
    """Return the tags of the lineage's run that never change. `base`: the pretrained model of its weights."""
    tags = {
        "bootstrap.kind": "lineage",
        "bootstrap.seed": str(first.seed),
        "bootstrap.recipe_digest": first.recipe_digest,
        **_origin(first),
        **_pretrained(base),
    }
    return _filled(tags, limit=_TAG_CHARACTERS)


def of_head(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the tags of the lineage's run that every generation updates."""
    head = entries[-1]
    champion = entries[head.generation.champion].generation
    return {
        "bootstrap.champion": champion.name,
        "bootstrap.frontier": str(champion.report.frontier),
        LEDGER_HASH: head.hash,
        "bootstrap.code_version": mlflow_value(head.generation.code_version, limit=_TAG_CHARACTERS),
    }


def shown(node: Generation) -> dict[str, str]:
    """Return the tags that people read; empty ones are left out. MLflow lists tags as they were made: make them first.

    `accuracy` is that of the hardest target level, with its 95 % interval.
    """
    best, test = queries.headline(node), node.decision.improvement
    return _filled(
        {
            "gate": queries.outcome_words(node),
            "target": level_range(node.target_levels) if node.target_levels else "",
            "accuracy": "" if best is None else queries.accuracy(best).partition(": ")[2],
            "gain": "" if test is None else points(test.candidate - test.champion),
            "frontier": str(node.report.frontier),
            "parent": queries.origin(node),
        },
        limit=_TAG_CHARACTERS,
    )


def of_run(entry: Entry) -> dict[str, str]:
    """Return the tags that a generation's run is created with."""
    return {
        **shown(entry.generation),
        "bootstrap.kind": "generation",
        "bootstrap.generation": str(entry.generation.number),
        LEDGER_HASH: entry.hash,
    }


def input_models(node: Generation, models: Mapping[int, str]) -> list[tuple[str, str]]:
    """Return (role, MLflow model id) of each edge from a published model. `models`: model ids by generation number."""
    return [
        (edge.role, models[edge.generation])
        for edge in node.edges
        if edge.role != "data" and edge.generation is not None and edge.generation in models
    ]


def of_generation(entry: Entry, *, models: Mapping[int, str], base: Pretrained | None) -> dict[str, str]:
    """Return the tags of a generation's run: decision, origin, settings; empty ones are left out.

    `models`: MLflow's model ids by generation number; `base`: the pretrained model of the weights.
    """
    node, environment = entry.generation, entry.annotations.environment
    inputs: dict[str, list[str]] = {}
    for role, model in input_models(node, models):
        inputs.setdefault(role, []).append(model)
    tags = {
        **shown(node),
        "bootstrap.outcome": node.outcome.value,
        "bootstrap.gate": gate(node),
        "bootstrap.gate.reason": node.decision.reason,
        "bootstrap.stage": node.stage,
        "bootstrap.guards": "; ".join(map(str, node.diagnostics.findings)),
        "bootstrap.parent": _names(node.parents),
        "bootstrap.teachers": ", ".join(queries.teachers(node)),
        **_origin(node),
        **_pretrained(base),
        "bootstrap.model_inputs": json.dumps(inputs, sort_keys=True),
        "bootstrap.target_levels": ", ".join(map(str, node.target_levels)),
        "bootstrap.fingerprint": node.fingerprint,
        "bootstrap.recipe_digest": node.recipe_digest,
        "bootstrap.code_version": node.code_version,
        "bootstrap.seed": str(node.seed),
        "bootstrap.workers": str(node.num_workers),
        "bootstrap.verifiers": json.dumps(node.verifiers, sort_keys=True),
        **{f"bootstrap.{mlflow_key(name)}": value for name, value in environment.items()},
        "mlflow.source.git.commit": environment.get("git_commit", ""),
    }
    return _filled(tags, limit=_TAG_CHARACTERS)


def of_version(node: Generation, *, base: Pretrained | None) -> dict[str, str]:
    """Return the tags of a generation's version of the registered model; empty ones are left out.

    `base`: the weights' pretrained model.
    """
    tags = {
        **shown(node),
        "bootstrap.generation": str(node.number),
        "bootstrap.gate": gate(node),
        "bootstrap.gate.reason": node.decision.reason,
        "bootstrap.outcome": node.outcome.value,
        "bootstrap.stage": node.stage,
        "bootstrap.fingerprint": node.fingerprint,
        **_pretrained(base),
    }
    return _filled(tags, limit=_TAG_CHARACTERS)


def model_params(
    entry: Entry, *, recipe: Mapping[str, Any], models: Mapping[int, str], weights: Artifact | None
) -> dict[str, str]:
    """Return the params of a generation's MLflow model; empty ones are left out.

    `recipe`: as plain JSON; `models`: MLflow's model ids by generation number; `weights`: None if none are stored.
    """
    node = entry.generation
    params = {
        "generation": str(node.number),
        "outcome": node.outcome.value,
        "parent": _names(node.parents),
        "parent_model_id": ", ".join(models[number] for number in node.parents if number in models),
        "teachers": ", ".join(queries.teachers(node)),
        "fingerprint": node.fingerprint,
        "base": _base_model(recipe),
        "method": _method(recipe, node),
        "ledger_hash": entry.hash,
    }
    if weights is not None:
        params["weights_path"] = str(weights.path.absolute())
        for file, label in (("model.safetensors", "weights_sha256"), ("tokenizer.json", "tokenizer_sha256")):
            if file in weights.files:
                params[label] = weights.files[file][0]
    return _filled(params, limit=_PARAM_CHARACTERS)


def recipe_params(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Return a nested recipe (plain JSON) as MLflow params: dotted keys of legal characters; empty values are left out.

    A list of plain values is one param; lists of settings are numbered: `generations.steps.0.rounds`.
    """
    params: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        match value:
            case {**settings}:
                for key, inner in settings.items():
                    walk(inner, f"{path}.{mlflow_key(key)}" if path else mlflow_key(key))
            case [*items] if any(hasattr(item, "keys") for item in items):
                for index, item in enumerate(items):
                    walk(item, f"{path}.{index}")
            case None | "" | []:
                pass
            case [*_] | True | False:
                params[path[:_KEY_CHARACTERS]] = mlflow_value(json.dumps(value), limit=_PARAM_CHARACTERS)
            case _:
                params[path[:_KEY_CHARACTERS]] = mlflow_value(str(value), limit=_PARAM_CHARACTERS)

    walk(recipe, "")
    return params


def gate(node: Generation) -> str:
    """Return the gate's verdict as one word to search for: accepted, rejected, ungated."""
    if node.outcome is GenerationOutcome.UNGATED:
        return "ungated"
    return "accepted" if node.decision.promoted else "rejected"


def _origin(node: Generation) -> dict[str, str]:
    """Return the tags of a fork: the generation of another lineage that it starts from, and the hash of its record."""
    edge = queries.fork_edge(node)
    if edge is None:
        return {}
    return {"bootstrap.forked_from": queries.source(edge), "bootstrap.forked_from_record": edge.record or ""}


def _pretrained(base: Pretrained | None) -> dict[str, str]:
    """Return the tags with the pretrained model's source and licence; none without one."""
    if base is None:
        return {}
    return _filled({"bootstrap.base.source": base.source, "bootstrap.base.license": base.licence or ""})


def _base_model(recipe: Mapping[str, Any]) -> str:
    model = recipe.get("base", {}).get("model", {})
    return " ".join(str(model[key]) for key in ("type", "path", "lineage", "number") if key in model)


def _method(recipe: Mapping[str, Any], node: Generation) -> str:
    """Return the training steps as words, for example `sft, rl+distillation`."""
    part = recipe.get("generations" if node.number else "base", {})
    for stage in part.get("stages") or ():
        part = stage if stage["name"] == node.stage else part
    steps = part.get("steps") or ()
    return ", ".join(step["type"] + ("+distillation" if step.get("distillation") else "") for step in steps)


def _names(numbers: Sequence[int]) -> str:
    return ", ".join(f"gen-{number}" for number in numbers)


def _filled(texts: Mapping[str, str], *, limit: int | None = None) -> dict[str, str]:
    """Return the texts that are not empty, each cut to `limit` characters."""
    return {key: mlflow_value(value, limit=limit) for key, value in texts.items() if value}
