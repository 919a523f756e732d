"""The memory that one process needs, and what it takes at its fullest, as `bootstrap/memory.py` predicts both; and what
the processes send one another.

Each sequence is planned with a prompt of its own and as long as the longest; a worker shares the cache of a prompt's
samples and decodes more of shorter ones. Left out: Python and torch themselves, teachers, references, and verifiers'
models.
"""

from dataclasses import dataclass, replace

from bootstrap.compute import MAX_LOGITS
from bootstrap.config.recipe import Recipe
from bootstrap.memory import MOMENTS, Work, sizes_of
from bootstrap.planning.lengths import Lengths
from bootstrap.planning.rates import precision_of
from bootstrap.planning.shapes import PlannedModel
from bootstrap.prompts.task import own_level


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What a worker takes at its fullest, and what it does then."""

    needed: int
    """Bytes at its fullest; 0 where the model's sizes do not tell."""
    least: int
    """Bytes with one sequence at a time; 0 as above."""
    rollout_rows: int
    """Sequences of the longest kind decoded together, at most."""
    train_tokens: int
    """Tokens of a training pass, at most; 0 is no limit."""
    sampler_needed: int = 0
    """As `needed`, of a process that only answers; 0 where the workers answer too."""
    sampler_least: int = 0
    """As `least`, of the same."""
    trained: int = 0
    """Numbers that are trained."""
    shard: int = 1
    """Workers that hold one copy of the model together."""
    gathered: int = 0
    """Bytes of the weights that such workers gather for a pass forward, and again for the pass backward."""

    @property
    def least_of_all(self) -> int:
        """Bytes that the process in need of most takes with one sequence at a time."""
        return max(self.least, self.sampler_least)

    def bytes_per_update(self, workers: int) -> int:
        """Return the bytes that each of several workers sends the others in an update, in the mean.

        Gradients go to their owners and new weights come back, both in float32 (`training/update.py`). Workers that
        share a model gather its weights instead, in a single pass, add up gradients, and add these to other copies'.
        """
        if self.shard == 1:
            return 8 * self.trained * (workers - 1) // workers
        copies = workers // self.shard
        among = (2 * self.gathered + 4 * self.trained) * (self.shard - 1) // self.shard
        return among + 8 * self.trained * (copies - 1) // (copies * self.shard)

    @property
    def bytes_per_sync(self) -> int:
        """Bytes of the weights that a process which only answers gets; an adapter comes without its base."""
        return 4 * self.trained


def plan_memory(recipe: Recipe, model: PlannedModel, lengths: Lengths, *, memory: int | None) -> MemoryPlan:
    """Return the plan for sequences of the longest kind in `memory` bytes of a worker; None sets no bound.

    The largest counts of: the model's files being opened, sampling, a training pass, the optimizer's step.
    """
    sizes = sizes_of(model.config)
    if sizes is None:
        own = recipe.resources.own_limits
        rows = own.get("rollout_rows", recipe.resources.batch_rows)
        trained = 0 if recipe.training.adapter else model.shape.num_parameters
        return MemoryPlan(
            needed=0, least=0, rollout_rows=rows, train_tokens=own.get("train_tokens", 0), trained=trained
        )
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
        shard=resources.shard,
    )

    def sampling(rows: int) -> int:
        return work.sampling(rows=rows, prompts=rows, prompt_length=length - answer, new_tokens=answer)

    # A worker leaves room for the moments of any optimizer.
    own, room = resources.own_limits, None if memory is None else memory - replace(work, moments=MOMENTS).state
    rows = min(resources.batch_rows, own.get("rollout_rows", resources.batch_rows))
    if room is not None and "rollout_rows" not in own:
        # One sequence is always decoded; the bytes of others grow evenly.
        rows = max(min(rows, room // max(sampling(1), 1)), 1)
    together = min(resources.batch_rows, max(MAX_LOGITS[work.device] // sizes.vocabulary // answer, 1))
    most = own.get("train_tokens", together * length if room is None else work.tokens_within(room))
    together = max(min(together, most // length), 1)
    # A model from scratch is made, not opened.
    opened = 0 if model.encoder is None else work.opening(stored_bytes=2)

    samplers, whole = resources.samplers, replace(work, shard=1)

    def taken(rows: int, sequences: int) -> int:
        """Bytes of a worker with so many sequences decoded together, and so many in a training pass."""
        trained = work.training(tokens=sequences * length, targets=sequences * answer)
        sampled = 0 if samplers else sampling(rows)
        return max(opened, work.state + max(sampled, trained, work.hashing), work.step)

    def answering(rows: int) -> int:
        """Bytes of a process that only answers; vLLM on a CPU keeps a cache of its own size."""
        if samplers is None:
            return 0
        cache = samplers.cache_gib * 2**30 if samplers.engine == "vllm" else sampling(rows)
        return max(0 if model.encoder is None else whole.opening(stored_bytes=2), whole.weights + cache)

    return MemoryPlan(
        needed=taken(rows, together),
        least=taken(1, 1),
        rollout_rows=rows,
        train_tokens=together * length,
        sampler_needed=answering(rows),
        sampler_least=answering(1),
        trained=work.trained,
        shard=work.shard,
        gathered=work.gathered if work.shard > 1 else 0,
    )
