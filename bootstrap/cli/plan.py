"""`bootstrap plan`: a plan as a table, then what is left to do."""

from bootstrap.cli import render
from bootstrap.levels import level_range
from bootstrap.lineage import text
from bootstrap.planning.plan import GenerationPlan, LineagePlan


def print_plan(plan: LineagePlan) -> None:
    """Print a plan: one row per generation, then what is left to do."""
    render.print_rows(f"plan of lineage {plan.lineage}", [_plan_row(generation) for generation in plan.generations])
    seen: list[str] = []
    for generation in plan.generations:
        for step in generation.steps:
            teachers = f"; teacher: {', '.join(step.teachers)}" if step.teachers else ""
            line = f"{generation.name}: {step.summary}; {step.data}{teachers}"
            if generation.status == "planned" and line not in seen:
                seen.append(line)
    for line in seen:
        render.say(line)
    left = plan.to_json()["remaining"]
    basis = "paced by the committed generations" if plan.calibrated else "at assumed rates of one CPU core a worker"
    render.say(
        f"{len(plan.planned)} generations to go on {plan.workers} workers: {text.si(left['tokens'])} tokens, "
        f"{text.si(left['flops'])} FLOPs, about {text.duration(left['seconds'])} ({basis})"
    )
    memory = text.si(plan.memory_bytes_per_worker, unit="B")
    render.say(f"model: {text.si(plan.num_parameters)} parameters; memory: up to {memory} a worker")
    for note in plan.notes:
        render.say(f"note: {note}")


def _plan_row(generation: GenerationPlan) -> dict[str, str]:
    return {
        "generation": generation.name,
        "status": generation.status,
        "starts from": generation.start,
        "target": level_range(generation.target_levels),
        "steps": ", ".join(step.summary for step in generation.steps) or "none",
        "tokens": text.si(sum(generation.tokens.values())),
        "FLOPs": text.si(sum(generation.flops.values())),
        "seconds": f"{generation.seconds:.1f}",
    }
