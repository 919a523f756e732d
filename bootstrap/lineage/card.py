"""The model card of a generation: its origin and results, for people who have only the model.

It is rendered from the ledger and the files beside the weights; nothing comes from MLflow. A lineage may be a
stranger's, so every text of it passes `text.plain`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bootstrap.ledger_records import Edge, Generation, LevelReport
from bootstrap.lineage import queries
from bootstrap.lineage.text import plain, table
from bootstrap.lineage.usage import Usage, markdown
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import described
from bootstrap.store.pretrained import Pretrained

_NO_LICENCE = "not named by its source"
_HEAD = ("level", "prompts", "accuracy", "95 % interval")
_SPDX = re.compile(r"[a-z][a-z0-9]*([.+-][a-z0-9]+)*[+]?")
"""The hub's form of licences that it knows: `apache-2.0`."""


def model_card(
    entry: Entry,
    *,
    identity: Mapping[str, Any],
    pretrained: Pretrained | None = None,
    final: str = "",
    use: Usage | None = None,
) -> str:
    """Return a Hugging Face README.md for a committed generation.

    `identity`: the recipe's identity from the lineage's header; `pretrained`: the pretrained model of the weights;
    `final`: the lineage's final comparison as a sentence; `use`: how the model is asked. Raises StoreCorrupt for an
    identity that is none of a recipe.
    """
    generation = entry.generation
    model, task = described(identity)
    match model["type"]:
        case "scratch":
            base = "random weights (from scratch)"
        case "generation":
            place = plain(f"generation {model.get('number')} of lineage {model.get('lineage')}")
            base = f"{place}, ledger record {_code(str(model.get('record')))}"
        case _:
            base = _code(str(model.get("path")))
    origin = []
    if pretrained is not None:
        origin = [f"- pretrained: {plain(f'{pretrained.source}, licence {pretrained.licence or _NO_LICENCE}')}"]
    edges = [
        f"- {plain(edge.role)}: {_source(edge)}, {'digest' if edge.role == 'data' else 'fingerprint'} "
        f"{_code(edge.fingerprint)}"
        for edge in generation.edges
    ]
    artifacts = [f"- {plain(role)}: {_code(ref.digest)}" for role, ref in sorted(generation.artifacts.items())]
    verifiers = [f"- {plain(name)}, version {_code(version)}" for name, version in sorted(generation.verifiers.items())]
    return "\n".join(
        [
            "---",
            *_front_matter(entry, identity=identity, pretrained=pretrained),
            "---",
            "",
            f"# {plain(generation.lineage)}, generation {generation.number}",
            "",
            f"Outcome: **{generation.outcome}**. {plain(generation.decision.reason)}",
            "",
            f"- base: {base}",
            *([f"- {final}"] if final else []),
            *origin,
            f"- task: {plain(task['type'])}; references were shown up to level {plain(str(task.get('base_level')))}",
            f"- weights' fingerprint: {_code(generation.fingerprint)}",
            f"- ledger record: `{entry.hash}`",
            f"- recipe digest: {_code(generation.recipe_digest)}, seed {generation.seed}, "
            f"code {plain(generation.code_version)}",
            "",
            *(markdown(use) if use is not None else ()),
            "## Made from",
            "",
            *(edges or ["- nothing earlier: this is generation 0"]),
            "",
            "Digests of the data and results behind it:",
            "",
            *artifacts,
            "",
            "## Judged by",
            "",
            *verifiers,
            "",
            f"Held-out prompts: suite {_code(generation.report.suite)}. Frontier: level {generation.report.frontier}.",
            "",
            table(_HEAD, [_cells(row) for row in generation.report.levels]),
            *_by_task("By task:", generation.report.parts),
            *_by_task("Other tasks, not trained on:", generation.report.panel),
            "",
        ]
    )


def _front_matter(entry: Entry, *, identity: Mapping[str, Any], pretrained: Pretrained | None) -> list[str]:
    """Return what the hub reads, as lines of YAML; foreign text is quoted."""
    generation = entry.generation
    tags = ", ".join(json.dumps(tag) for tag in ("bootstrap", generation.lineage, generation.name))
    return [
        *_licence(pretrained),
        *_base_model(generation, identity=identity, pretrained=pretrained),
        "library_name: transformers",
        "pipeline_tag: text-generation",
        f"tags: [{tags}]",
    ]


def _licence(pretrained: Pretrained | None) -> list[str]:
    if pretrained is None or pretrained.licence is None:
        return []
    if _SPDX.fullmatch(pretrained.licence):
        return [f"license: {pretrained.licence}"]
    # The hub's form of a licence that is not on its list.
    return ["license: other", f"license_name: {json.dumps(pretrained.licence)}"]


def _base_model(generation: Generation, *, identity: Mapping[str, Any], pretrained: Pretrained | None) -> list[str]:
    """Return the hub's `base_model` and `base_model_relation`.

    Only a model of the hub can be one: the hub refuses a card that names a file or folder there. The relation is
    `finetune` for trained weights, `merge` for merged ones that no training followed, and left out for a copy of the
    base itself. An `adapter` is exported merged with its base, as whole weights, and nothing is exported `quantized`.
    """
    if pretrained is None or pretrained.hub_id is None:
        return []
    if any(edge.role == "merged" for edge in generation.edges) and not generation.compute.tokens.get("train"):
        relation = "merge"
    elif generation.number or identity["base"].get("steps") or any(edge.record for edge in generation.edges):
        relation = "finetune"
    else:
        relation = None
    return [
        f"base_model: {json.dumps(pretrained.hub_id)}",
        *([f"base_model_relation: {relation}"] if relation else ()),
    ]


def _by_task(title: str, tasks: Mapping[str, Sequence[LevelReport]]) -> list[str]:
    """Return a table of several tasks' accuracy under a title; empty without tasks."""
    rows = [(plain(task), *_cells(row)) for task, levels in tasks.items() for row in levels]
    return ["", title, "", table(("task", *_HEAD), rows)] if rows else []


def _code(text: str) -> str:
    """Return foreign text as code, which no backtick in it can end."""
    return f"`{plain(text)}`"


def _cells(row: LevelReport) -> tuple[str, ...]:
    interval = f"{row.interval.low:.3f} - {row.interval.high:.3f}"
    return str(row.level), str(row.num_prompts), f"{row.accuracy:.3f}", interval


def _source(edge: Edge) -> str:
    if edge.generation is None:
        return f"{plain(queries.source(edge))} (outside the lineage)"
    return f"generation {edge.generation}"
