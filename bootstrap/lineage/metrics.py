"""Ledger -> the numbers that MLflow draws: of one generation, of its training as curves, of the lineage as a whole.

    accuracy gain frontier  what people look at first, and `generation`, by which lists are sorted
    gate/                   the gate's tests
    eval/ part/ panel/      held-out accuracy by level, with its interval
    diagnostics/ drawing/   diagnostics that guards watch; epochs of fixed data, prompts that sit out and come back
    train/ self_play/       one point per update
    cost/                   FLOPs, tokens, seconds; last, because MLflow lists metrics as they were logged
    gen/ final/             on the lineage's run, with step = generation

Pure functions; a value that was not measured is no point. Left out: reading tables from disk (`samples.py`), texts
(`tags.py`) and logging (`publisher.py`). Imports no MLflow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bootstrap.ledger_records import Decision, DiagnosticMetric, FinalComparison, Generation, LevelReport, LevelTest
from bootstrap.levels import level_range
from bootstrap.lineage import datasets, queries, tags
from bootstrap.lineage.text import mlflow_key
from bootstrap.store.ledger import Entry

_SAMPLED = ("pass_at_1", "pass_at_k", "majority_at_k", "entropy", "distinct_answers")
"""Sampled fields of a `LevelReport` that become metrics of the same name."""
_POSITION = "update"
"""The column of a step's table that numbers its rows; it is no curve."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoint:
    """One value of one metric."""

    key: str
    value: float
    at: int
    """Milliseconds since 1970."""
    step: int = 0
    model_id: str | None = None
    """The MLflow model whose page shows the value too."""
    dataset: tuple[str, str] | None = None
    """Name and digest of the MLflow dataset of the measurement."""


def of_generation(entry: Entry, *, at: int, models: Mapping[int, str]) -> list[MetricPoint]:
    """Return the points of a generation's run, except for its curves and costs.

    `at`: when the generation was finished, in milliseconds since 1970. `models`: MLflow's model ids by generation
    number, including this generation's own.
    """
    node, own = entry.generation, models[entry.generation.number]
    champion = node.decision.champion
    suite = (datasets.suite_name(node), datasets.mlflow_digest(node.report.suite))
    return [
        *_points(_headline(node), at=at, model_id=own),
        *_points({tags.ORDER: node.number}, at=at),
        *_points(_gate(node), at=at),
        *_points(_evaluated(node), at=at, model_id=own, dataset=suite),
        *_points(_by_task(node), at=at, model_id=own),
        *_points(_drawing(node), at=at),
        *_points(_compared(node), at=at, model_id=None if champion is None else models.get(champion)),
    ]


def of_costs(entry: Entry, *, at: int) -> list[MetricPoint]:
    """Return the points of what a generation cost and what was watched. `at`: as of `of_generation`."""
    return _points(_costs(entry), at=at)


def of_training(tables: Mapping[str, Sequence[Mapping[str, float]]], *, start: int, end: int) -> list[MetricPoint]:
    """Return a generation's curves: one point per row and column, spread over the time from `start` to `end`.

    `tables`: prefix of the metrics' names -> the rows of all steps in order. `start`, `end`: in milliseconds since
    1970. Infinite values and NaN are left out.
    """
    return [
        MetricPoint(key=f"{prefix}/{key}", value=value, at=start + (end - start) * (step + 1) // len(rows), step=step)
        for prefix, rows in tables.items()
        for step, row in enumerate(rows)
        for key, value in row.items()
        if key != _POSITION and math.isfinite(value)
    ]


def over_generations(entry: Entry, *, at: int) -> list[MetricPoint]:
    """Return this generation's points on the curves over generations, which the lineage's run shows."""
    node, best = entry.generation, queries.headline(entry.generation)
    values = {
        "gen/frontier": node.report.frontier,
        "gen/generalization_margin": node.report.generalization_margin,
        "gen/target_accuracy": None if best is None else best.accuracy,
        "gen/promoted": node.decision.promoted,
        "gen/champion": node.champion,
        "gen/tokens": node.compute.total_tokens,
        "gen/flops": node.compute.total_flops,
        "gen/seconds": sum(entry.annotations.seconds.values()),
        "gen/useful_share": queries.useful_share(node),
        "gen/epochs": None if node.drawing is None else min(node.drawing.epochs.values()),
        **{f"gen/panel/{task}/accuracy": queries.overall(rows) for task, rows in node.report.panel.items()},
        **{f"gen/{key}": value for key, value in _diagnostics(node).items()},
    }
    return _points(values, at=at, step=node.number)


def of_final(final: FinalComparison, *, at: int) -> list[MetricPoint]:
    """Return the points of the final comparison, with the generation that it was made at as the step."""
    judged, bounds = final.num_prompts > 0, final.difference
    values = {
        "final/accuracy": final.accuracy if judged else None,
        "final/base_accuracy": final.base_accuracy if judged else None,
        "final/difference": final.accuracy - final.base_accuracy if judged else None,
        "final/low": None if bounds is None else bounds.low,
        "final/high": None if bounds is None else bounds.high,
        "final/prompts": final.num_prompts,
    }
    return _points(values, at=at, step=final.generation)


def levels_key(levels: Sequence[int]) -> str:
    """Return levels as part of a metric's name: `level_5`, `levels_1_to_4`, `levels_1_3_5_to_8`."""
    return level_range(levels).replace(", ", "_").replace(" ", "_").replace("-", "_to_")


def _points(
    values: Mapping[str, float | None],
    *,
    at: int,
    step: int = 0,
    model_id: str | None = None,
    dataset: tuple[str, str] | None = None,
) -> list[MetricPoint]:
    return [
        MetricPoint(key=key, value=float(value), at=at, step=step, model_id=model_id, dataset=dataset)
        for key, value in values.items()
        if value is not None
    ]


def _headline(node: Generation) -> dict[str, float | None]:
    best, test = queries.headline(node), node.decision.improvement
    return {
        "accuracy": None if best is None else best.accuracy,
        # Without the rounding error of a difference, which lists would show.
        "gain": None if test is None else round(test.candidate - test.champion, 9),
        "frontier": node.report.frontier,
    }


def _evaluated(node: Generation) -> dict[str, float | None]:
    """Return the generation's results on the suite of held-out prompts, and its diagnostics."""
    values: dict[str, float | None] = {}
    for row in node.report.levels:
        prefix = f"eval/level_{row.level}"
        values |= _accuracy(prefix, row) | {f"{prefix}/{name}": getattr(row, name) for name in _SAMPLED}
    return (
        values
        | {"eval/frontier": node.report.frontier, "eval/generalization_margin": node.report.generalization_margin}
        | _diagnostics(node)
    )


def _diagnostics(node: Generation) -> dict[str, float | None]:
    values = {f"diagnostics/{metric}": node.diagnostics.value(metric) for metric in DiagnosticMetric}
    return values | {"diagnostics/findings": len(node.diagnostics.findings)}


def _by_task(node: Generation) -> dict[str, float | None]:
    """Return accuracies by task: those of a mixture (`part`), and those only watched (`panel`)."""
    report = node.report
    values: dict[str, float | None] = {
        f"panel/{task}/accuracy": queries.overall(rows) for task, rows in report.panel.items()
    }
    for kind, reports in {"part": report.parts, "panel": report.panel}.items():
        for task, rows in reports.items():
            for row in rows:
                values |= _accuracy(f"{kind}/{task}/level_{row.level}", row)
    return values


def _accuracy(prefix: str, row: LevelReport) -> dict[str, float | None]:
    return {
        f"{prefix}/accuracy": row.accuracy,
        f"{prefix}/low": row.interval.low,
        f"{prefix}/high": row.interval.high,
    }


def _costs(entry: Entry) -> dict[str, float | None]:
    compute, measured = entry.generation.compute, entry.annotations
    return {
        **{f"check/{name}": value for name, value in measured.checks.items() if math.isfinite(value)},
        **{f"cost/flops/{mlflow_key(phase)}": value for phase, value in compute.flops.items()},
        **{f"cost/tokens/{mlflow_key(phase)}": value for phase, value in compute.tokens.items()},
        **{f"cost/seconds/{mlflow_key(stage)}": value for stage, value in measured.seconds.items()},
        **{f"cost/cpu_seconds/{mlflow_key(stage)}": value for stage, value in measured.cpu_seconds.items()},
        **{f"cost/bound_fraction/{mlflow_key(phase)}": value for phase, value in measured.bound_fraction.items()},
        "cost/flops/total": compute.total_flops,
        "cost/tokens/total": compute.total_tokens,
        "cost/tokens/useful": compute.useful_tokens,
        "cost/seconds/total": sum(measured.seconds.values()),
    }


def _drawing(node: Generation) -> dict[str, float | None]:
    """Return how prompts were drawn by epochs; empty where they were not."""
    drawn = node.drawing
    if drawn is None:
        return {}
    counts = drawn.model_dump(exclude={"epochs"})
    values: dict[str, float | None] = {f"drawing/{name}": value for name, value in counts.items()}
    if len(drawn.epochs) == 1:
        (values["drawing/epochs"],) = drawn.epochs.values()
    else:
        values |= {f"drawing/level_{level}/epochs": at for level, at in drawn.epochs.items()}
    return values


def _gate(node: Generation) -> dict[str, float | None]:
    """Return the gate's tests, except for the champion's side of them."""
    decision, test = node.decision, node.decision.improvement
    values: dict[str, float | None] = {"gate/promoted": decision.promoted}
    if test is not None:
        values |= {"gate/delta": test.candidate - test.champion, "gate/p_value": test.p_value}
        values |= {"gate/gained": test.gained, "gate/lost": test.lost}
    for task, row in decision.panel.items():
        values[f"gate/panel/{task}/delta"] = row.candidate - row.champion
        values[f"gate/panel/{task}/low"] = row.difference_low
    for row in _level_tests(decision):
        if not _is_against_champion(row, decision):
            values[f"gate/best/{levels_key(row.levels)}/accuracy"] = row.champion
    if decision.slices:
        values["gate/slices/worst"] = min(row.candidate - row.champion for row in decision.slices.values())
    if decision.pooled is not None:
        values["gate/retention/low"] = decision.pooled.difference_low
    return values


def _compared(node: Generation) -> dict[str, float | None]:
    """Return the champion's side of the gate's tests, logged on the champion's model so that its page links here."""
    decision = node.decision
    side = "parent" if decision.champion == node.parent else "champion"
    return {
        f"gate/{side}/{levels_key(row.levels)}/accuracy": row.champion
        for row in _level_tests(decision)
        if _is_against_champion(row, decision)
    }


def _level_tests(decision: Decision) -> list[LevelTest]:
    return [*([decision.improvement] if decision.improvement else ()), *decision.retention]


def _is_against_champion(test: LevelTest, decision: Decision) -> bool:
    """Whether a test compares with the champion, not with an earlier best of its line."""
    return set(test.reference) <= {decision.champion}
