"""The memory of one worker at its fullest, by the functions that its limits follow (`bootstrap/memory.py`).

Left out: Python and torch themselves, teachers, references, and verifiers' models.
"""

from dataclasses import dataclass

from bootstrap.compute import MAX_LOGITS
from bootstrap.config.recipe import Recipe
from bootstrap.memory import Work, sizes_of
from bootstrap.planning.lengths import Lengths
from bootstrap.planning.rates import precision_of
from bootstrap.planning.shapes import PlannedModel
from bootstrap.prompts.task import own_level


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What a worker takes at its fullest, and what it does then."""

    needed: int
    """Bytes."""
    rollout_rows: int
    """Sequences of the longest kind decoded together, at most."""
    train_tokens: int
    """Tokens of a training pass, at most."""


def plan_memory(recipe: Recipe, model: PlannedModel, lengths: Lengths, *, memory: int | None) -> MemoryPlan:
    """Return the plan for sequences of the longest kind in `memory` bytes of a worker; None sets no bound.

    The largest counts of: the model's files being opened, sampling, a training pass, the optimizer's step.
    """
    sizes = sizes_of(model.config)
    assert sizes is not None, "who plans a model has its shape"
    highest = own_level(lengths.task, recipe.highest_level())
    answer = round(lengths.answer(highest))
    length = recipe.task.longest_sequence(highest)
    if model.encoder is not None:
        length = max(lengths.prompts(highest)) + answer
    steps = (*recipe.base.steps, *(step for _, step in recipe.generation_steps()))
    optimizers = [step.trained_by for step in steps if step.trained_by is not None]
    training, resources = recipe.training, recipe.resources
    work = Work(
        sizes=sizes,
        device="cuda" if resources.gpus_per_worker else "cpu",
        bf16=precision_of(recipe) != "fp32",
        adapter_rank=training.adapter.rank if training.adapter is not None else None,
        recomputes=training.gradient_checkpointing,
        moments=max((optimizer.moments for optimizer in optimizers), default=1),
        copies_matrices=any(optimizer.copies_matrices for optimizer in optimizers),
    )

    def sampling(rows: int) -> int:
        return work.sampling(rows=rows, prompts=rows, prompt_length=length - answer, new_tokens=answer)

    own, room = resources.own_limits, None if memory is None else memory - work.state
    rows = min(resources.batch_rows, own.get("rollout_rows", resources.batch_rows))
    if room is not None and "rollout_rows" not in own:
        # One sequence is always decoded; the bytes of others grow evenly.
        rows = max(min(rows, room // max(sampling(1), 1)), 1)
    together = min(resources.batch_rows, max(MAX_LOGITS[work.device] // sizes.vocabulary // answer, 1))
    most = own.get("train_tokens", together * length if room is None else work.tokens_within(room))
    together = max(min(together, most // length), 1)
    trained = work.training(tokens=together * length, targets=together * answer)
    # A model from scratch is made, not opened.
    opened = 0 if model.encoder is None else work.opening(stored_bytes=2)
    return MemoryPlan(
        needed=max(opened, work.state + max(sampling(rows), trained, work.hashing), work.step),
        rollout_rows=rows,
        train_tokens=together * length,
    )
