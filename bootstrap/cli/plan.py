"""`bootstrap plan`: print a plan."""

from bootstrap.cli import render
from bootstrap.levels import level_range
from bootstrap.lineage import text
from bootstrap.planning.plan import GenerationPlan, LineagePlan


def print_plan(plan: LineagePlan) -> None:
    """Print one row per generation, then the steps, tokens, FLOPs and seconds that remain."""
    render.print_rows(f"plan of lineage {plan.lineage}", [_plan_row(generation) for generation in plan.generations])
    lines = [
        f"{generation.name}: {step.summary}; {step.data}"
        + (f"; teacher: {', '.join(step.teachers)}" if step.teachers else "")
        for generation in plan.planned
        for step in generation.steps
    ]
    for line in dict.fromkeys(lines):
        render.say(line)
    left = plan.to_json()["remaining"]
    basis = "paced by the committed generations" if plan.calibrated else "at assumed rates of one CPU core a worker"
    render.say(
        f"{len(plan.planned)} generations to go on {plan.workers} workers: {text.si(left['tokens'])} tokens, "
        f"{text.si(left['flops'])} FLOPs, about {text.duration(left['seconds'])} ({basis})"
    )
    memory = text.si(plan.memory_bytes_per_worker, unit="B")
    limit = "" if plan.memory_limit is None else f" of {text.si(plan.memory_limit, unit='B')}"
    render.say(
        f"model: {text.si(plan.num_parameters)} parameters; memory: up to {memory}{limit} a worker, with at most "
        f"{plan.rollout_rows} sequences decoded together and {plan.train_tokens} tokens in a training pass"
    )
    for warning in plan.warnings:
        render.say(f"warning: {warning}")
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
