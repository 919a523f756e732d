"""`bootstrap plan`: print a plan."""

from bootstrap.cli import render
from bootstrap.levels import level_range
from bootstrap.lineage import text
from bootstrap.planning.plan import GenerationPlan, LineagePlan

SPARE = ("steps", "FLOPs", "tokens", "starts from")
"""Columns that a narrow terminal does without; the lines below the table tell the steps again."""


def print_plan(plan: LineagePlan) -> None:
    """Print one row per generation, then the steps, tokens, FLOPs and seconds that remain."""
    rows = [_plan_row(generation) for generation in plan.generations]
    render.print_rows(f"plan of lineage {plan.lineage}", rows, spare=SPARE)
    if any(generation.target_levels != plan.planned[0].target_levels for generation in plan.planned[2:]):
        render.say(
            "targets are those of generations that are promoted and master what they train on; a rejection leaves the "
            "aim where it is"
        )
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
    num, beside = len(plan.planned), plan.start_up_seconds + plan.publishing_seconds
    included = f"start-up and publishing included, {text.duration(beside)}; {basis}"
    render.say(
        f"{text.count(num, 'generation')} to go on {plan.workers} workers: {text.si(left['tokens'])} tokens, "
        f"{text.si(left['flops'])} FLOPs, about {text.duration(left['seconds'])} ({included})"
        if num
        else "no generation to go: the lineage has all that the recipe asks for"
    )
    render.say(f"model: {text.si(plan.num_parameters)} parameters; {_memory(plan)}")
    if exchange := _exchange(plan):
        render.say(exchange)
    for warning in plan.warnings:
        render.say(f"warning: {warning}")
    for note in plan.notes:
        render.say(f"note: {note}")


def _memory(plan: LineagePlan) -> str:
    """Return in words what a worker needs; how much it takes is told where its memory is known."""
    if not plan.least_memory_bytes_per_worker:
        return (
            "memory: not known for a model of these sizes (a mixture of experts), which has no automatic limits; set "
            "resources.rollout_rows and resources.train_tokens"
        )
    least = f"memory: at least {text.si(plan.least_memory_bytes_per_worker, unit='B')} a worker, one sequence at a time"
    if plan.memory_limit is None:
        return f"{least}; how many it takes together is set when it starts, by its device's memory"
    most, limit = (text.si(size, unit="B") for size in (plan.memory_bytes_per_worker, plan.memory_limit))
    return (
        f"{least}; up to {most} of {limit}, with at most {plan.rollout_rows} sequences decoded together and "
        f"{plan.train_tokens} tokens in a training pass"
    )


def _exchange(plan: LineagePlan) -> str:
    """Return in words what processes of the run send one another; empty for a single one."""
    parts = list[str]()
    if plan.bytes_per_update:
        sent = text.si(plan.bytes_per_update, unit="B")
        what = "an update, gradients and new weights"
        if plan.shard > 1:
            what = "an update of one pass, weights of the shared model and gradients"
        parts.append(f"each worker sends the others {sent} {what}")
    if plan.bytes_per_sync:
        taken = text.si(plan.least_memory_bytes_per_sampler, unit="B")
        sent = text.si(plan.bytes_per_sync, unit="B")
        parts.append(f"each sampler gets {sent} of weights before a round that samples, and takes at least {taken}")
    return "; ".join(parts)


def _aims(generation: GenerationPlan) -> str:
    """Return the levels that a generation aims at; `at most` where earlier results decide how many."""
    most = level_range(generation.most_levels)
    return most if generation.most_levels == generation.target_levels else f"{most} at most"


def _plan_row(generation: GenerationPlan) -> dict[str, str]:
    return {
        "generation": generation.name,
        "status": generation.status,
        "starts from": generation.start,
        "target": _aims(generation),
        "steps": ", ".join(step.summary for step in generation.steps) or "none",
        "tokens": text.si(sum(generation.tokens.values())),
        "FLOPs": text.si(sum(generation.flops.values())),
        "seconds": f"{generation.seconds:.1f}",
    }
