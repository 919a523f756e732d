"""The batches of all steps: own samples and replayed sequences, in one sum.

    own samples (rl, kl) ---+
                            +--> Batch, each stream over its own count
    replayed (ce, kl) ------+

Left out: the weights of own samples (`training/algorithms/`), and draws from the pool (`selection/replay.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bootstrap.config.distillation import Distillation, Taught
from bootstrap.config.sources import Replay
from bootstrap.records import Batch, Example, Normalizers
from bootstrap.selection.replay import ReplayPool, draw_replay
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.encoding import Encoder, completion_tokens

IMITATED = Distillation()
"""Cross-entropy of weight 1."""


def assemble(own: Sequence[Example], replayed: Sequence[Example], *, rl: float = 1.0, **form: Any) -> Batch:
    """Return a batch of own samples and replayed sequences.

    `rl`: normalizer of the policy's stream; `form`: the other fields of the batch.
    """
    examples, kl = _in_one_sum(own, replayed)
    return Batch(
        examples=examples,
        normalizers=Normalizers(
            rl=rl,
            ce=float(max(completion_tokens([e for e in examples if e.ce_weight]), 1)),
            kl=kl,
            value=float(max(sum(len(example.returns) for example in own), 1)),
        ),
        **form,
    )


def divergence_form(*sources: Taught | None) -> dict[str, Any]:
    """Return a batch's fields for the divergence that all sources of its `kl` stream share; empty without any."""
    for settings in sources:
        if settings is not None and settings.loss not in ("ce", "token_reward"):
            return {"kl_beta": settings.kl_beta, "kl_top_k": settings.top_k}
    return {}


def teacher_of(plan: Plan, settings: Taught, level: int, task: str) -> str:
    """Return the fingerprint of the teacher for examples of a task at a level."""
    return plan.teachers[settings.teacher_at(level, task=task)][1].fingerprint


def distilled(
    context: Context, plan: Plan, settings: Distillation | None, encoder: Encoder, *, seed: int
) -> list[Example]:
    """Return the replayed sequences of one batch; none without distillation."""
    if settings is None:
        return []
    return replay_examples(context, plan, settings, encoder, count=settings.batch_size, seed=seed, taught=settings)


def replay_examples(
    context: Context,
    plan: Plan,
    settings: Replay,
    encoder: Encoder,
    *,
    count: int,
    seed: int,
    taught: Distillation = IMITATED,
) -> list[Example]:
    """Return `count` replayed sequences of the levels below the target; `taught`: weight, loss and teacher.

    There are none where levels replay the lineage's answers alone and it has none yet.
    """
    pool = plan.pool
    if settings.data == "latest":
        pool = pool.latest(*plan.parents)
    elif settings.data == "references":
        pool = ReplayPool()
    assert settings.answers is not None, "a recipe writes out what the kind of task decides"
    pool = pool.keeping(settings.answers)
    task, shown = context.task, dict[str, tuple[int, str]]()

    def demonstrate(levels: Sequence[int], number: int, at: int) -> list[tuple[str, str, str]]:
        pairs = task.demonstrate(levels, number, seed=at)
        shown.update({prompt.id: (prompt.level, prompt.task) for prompt, _ in pairs})
        return [(prompt.id, prompt.text, answer) for prompt, answer in pairs]

    by_teacher = taught.loss != "ce"
    examples = draw_replay(
        pool,
        levels=plan.replay_levels,
        count=count,
        base_level=context.recipe.task.base_level,
        demonstrate=demonstrate,
        seed=seed,
        ce_weight=0.0 if by_teacher else taught.weight,
        kl_weight=taught.weight if by_teacher else 0.0,
        decay=settings.decay,
        min_reference_share=settings.min_reference_share,
        from_pool=settings.from_pool,
    )
    if by_teacher:
        kinds = {entry.rollout_id: (entry.level, entry.task) for entry in plan.pool.given} | shown
        examples = [replace(e, teacher=teacher_of(plan, taught, *kinds[e.source])) for e in examples]
    return encoder.encode(examples)


def _in_one_sum(own: Sequence[Example], replayed: Sequence[Example]) -> tuple[list[Example], float]:
    """Return own samples and replayed sequences together, and the normalizer of the `kl` stream that they share.

    The stream then is the mean over own tokens plus the mean over replayed tokens, each times its examples' weight.
    """
    own_count, count = (completion_tokens([e for e in part if e.kl_weight]) for part in (own, replayed))
    normalizer = float(count or own_count or 1)
    if count and own_count:
        own = [replace(e, kl_weight=e.kl_weight * normalizer / own_count) for e in own]
    return [*own, *replayed], normalizer
