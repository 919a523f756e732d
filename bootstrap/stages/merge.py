"""The `merge` step: weights of named generations become one model's, without training.

A worker does it, as a stage that is never run twice. Left out: the arithmetic (`training/merge.py`).
"""

from bootstrap.canonical import json_file
from bootstrap.config.step import MergeStep
from bootstrap.ledger_records import Accounting
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.step import StepResult


def run_merge(context: Context, plan: Plan, step: MergeStep, *, index: int, meter: Meter) -> StepResult:
    """Return the merged model as a finished step. Raises RecipeError when the models do not fit together."""
    models = [plan.merged[name] for name in step.models]
    # Differences of adapters are counted from the base that they share.
    counted = step.method == "ties" and context.recipe.training.adapter is None
    onto = plan.merged["base"][1] if counted else None
    if len({number for number, _ in models}) == 1:
        same = f"all models to merge are gen-{models[0][0]} now"
        context.observe(plan.event("train", 0, 1, message=same))
    inputs = {
        **context.identity(),
        "generation": plan.number,
        "step": index,
        "settings": step.model_dump(mode="json"),
        "models": [checkpoint.fingerprint for _, checkpoint in models],
        "onto": None if onto is None else onto.fingerprint,
    }
    artifact = context.store.find("step", inputs)
    if artifact is None:
        with meter.clock("other"):
            merged = context.learners.merge(
                [checkpoint for _, checkpoint in models],
                method=step.method,
                weights=step.shares(),
                density=step.kept,
                onto=onto,
            )
        context.store.put("weights", {"fingerprint": merged.fingerprint}, merged.files)
        result = {"fingerprint": merged.fingerprint, "models": [number for number, _ in models]}
        artifact = context.store.put("step", inputs, {"result.json": json_file(result)})
    fingerprint = artifact.json("result.json")["fingerprint"]
    weights = context.store.find("weights", {"fingerprint": fingerprint})
    assert weights is not None, "a step's weights are stored before the step"
    return StepResult(
        checkpoint=weights.checkpoint(fingerprint),
        artifact=artifact,
        weights=weights,
        accounting=Accounting(),
        sources=frozenset(),
    )
