"""`bootstrap rescore`: judge a lineage's stored answers again, by the verifiers' present versions."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bootstrap.cli import render
from bootstrap.cli.progress import RowsProgress
from bootstrap.cli.remembered import recall_recipe
from bootstrap.cli.trust import require_own_servers
from bootstrap.config.base import identity_of, named
from bootstrap.config.load import load_recipe
from bootstrap.config.models import roles
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.context import HELD_OUT
from bootstrap.stages.fitting import text_models
from bootstrap.stages.rescore import NoModels, Rescored, Rescorer
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.store.lineage_store import LineageStore


def rescore_lineage(store: LineageStore, *, recipe_path: Path | None, as_json: bool) -> None:
    """Print the verdicts of the verifiers of `recipe_path`, else of the lineage's own, beside the recorded ones.

    Raises RecipeError when that recipe has another task, VerifierError, StoreError.
    """
    grown = recall_recipe(store)
    recipe = named_recipe = grown if recipe_path is None else load_recipe(recipe_path)
    if identity_of(recipe.task) != identity_of(grown.task):
        ours, theirs = (named(identity_of(one.task), "split_by") for one in (recipe, grown))
        by_text = " (the lineage's prompts are split by their texts: set split_by: text)" if ours and not theirs else ""
        raise RecipeError(
            f"{recipe_path} has another task than lineage {store.root.name}, so its verifier cannot judge these "
            f"answers; name a recipe that differs in its verifiers alone{by_text}"
        )
    # Gate, suite and panel stay the lineage's own: only the verifiers of its task are replaced.
    evaluation = grown.evaluation.model_copy(update={"verifier": recipe.evaluation.verifier})
    taken = {name: getattr(recipe, name) for name in ("task", "verifier", "max_unverifiable")}
    recipe = grown.model_copy(update={**taken, "evaluation": evaluation})
    require_own_servers(recipe, named=named_recipe, path=recipe_path)
    task, entries = build_task(recipe.task), store.ledger.read()
    tools = Tools(
        processes=len(os.sched_getaffinity(0)), cache=store.cache_folder, models=NoModels(), progress=RowsProgress()
    )
    with open_verifiers(recipe, task, tools, models=text_models(recipe, store)) as (verifiers, eval_verifier, panel):
        opened = {place: settings for place, settings in recipe.verifiers().items() if place in verifiers}
        asking = [settings for settings in opened.values() if roles(settings)]
        judges = {place: verifiers[place] for place, settings in opened.items() if not roles(settings)}
        rescorer = Rescorer(recipe, store=store, task=task, verifiers=judges, eval_verifier=eval_verifier, panel=panel)
        found = rescorer.rescore(entries)
        versions = {verifier.name: verifier.version for verifier in verifiers.values()}
        if eval_verifier not in verifiers.values():
            versions[f"{HELD_OUT}{eval_verifier.name}"] = eval_verifier.version
    if as_json:
        render.print_json(
            {"lineage": store.root.name, "verifiers": versions, "generations": [_json(row) for row in found]}
        )
    else:
        _print(store.root.name, found, versions, asking=[verifier.type for verifier in asking])


def _json(row: Rescored) -> dict[str, Any]:
    return {
        "generation": row.number,
        "recorded_verifiers": dict(row.recorded),
        "training_changes": dict(row.training),
        "num_training": row.num_training,
        "heldout_changes": dict(row.heldout),
        "num_heldout": row.num_heldout,
        "outcome": row.outcome.value,
        "promoted": row.promoted,
        "would_be_promoted": row.promoted if row.decision is None else row.decision.promoted,
        "reason": None if row.decision is None else row.decision.reason,
        "differs": row.differs,
    }


def _print(name: str, found: Sequence[Rescored], versions: Mapping[str, str], *, asking: Sequence[str]) -> None:
    listed = ", ".join(f"{verifier} {version}" for verifier, version in versions.items())
    render.say(f"lineage {name}, judged again by {listed}")
    for verifier in dict.fromkeys(asking):
        render.say(f"training rollouts are left out: verifier {verifier} asks generations of the lineage")
    rows = [
        {
            "generation": f"gen-{row.number}",
            "recorded by": ", ".join(f"{verifier} {version[:8]}" for verifier, version in row.recorded.items()),
            "training": _told(row.training, row.num_training),
            "held out": _told(row.heldout, row.num_heldout),
            "gate": row.outcome.value,
            "now": "as recorded" if not row.differs else f"would be {_outcome(not row.promoted)}",
        }
        for row in found
    ]
    render.print_rows("verdicts and decisions", rows, spare=("recorded by", "gate"))
    others = [row for row in found if row.differs]
    for row in others:
        assert row.decision is not None
        render.say(
            f"gen-{row.number} was {_outcome(row.promoted)}, would be {_outcome(not row.promoted)}: "
            f"{row.decision.reason}"
        )
    if not others:
        render.say("every promotion and rejection stands")


def _told(changes: Mapping[str, int], total: int) -> str:
    if not total:
        return "none judged"
    told = ", ".join(f"{count} {change}" for change, count in changes.items())
    return f"{told} of {total}" if told else f"{total} as recorded"


def _outcome(promoted: bool) -> str:
    return "promoted" if promoted else "rejected"
