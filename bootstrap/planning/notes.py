"""What a reader of a plan should know: controls, settings that limit what can be learnt, and counts that are bounds."""

from collections.abc import Collection, Iterable, Iterator

from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import Step
from bootstrap.config.tasks import tasks_of
from bootstrap.learner_records import RatioLevel
from bootstrap.planning.estimate import CostEstimates
from bootstrap.planning.rates import precision_of
from bootstrap.prompts.files import Rows
from bootstrap.prompts.overlap import files_of
from bootstrap.prompts.task import own_level
from bootstrap.records import Split
from bootstrap.selection.curriculum import last_evaluated
from bootstrap.stages.checks import notes_on
from bootstrap.stages.verifiers import awaited

SPENT = (
    "the lineage's alpha is spent by rejections, so the gate will promote nothing more; `bootstrap fork` begins a "
    "lineage with an alpha of its own"
)


def notes(recipe: Recipe) -> Iterator[str]:
    """Yield warnings about settings that are allowed."""
    if recipe.spends_over_lineage and recipe.num_compared > 1:
        alpha, shares = recipe.gate.alpha, recipe.num_compared
        yield (
            f"gate.alpha {alpha:g} is shared by {shares} comparisons: the first is tested at {alpha / shares:.2g}, "
            "a rejection spends what it was tested at, and a promotion spends nothing"
        )
    if recipe.has_fixed_data and not any(task.final_fraction for task in tasks_of(recipe.task).values()):
        apart = not all(task.holds_out_by_hash for task in tasks_of(recipe.task).values())
        kept = "0.5 keeps half of the held-out rows" if apart else "0.05 keeps prompts"
        yield (
            "there is no final set: the gate's own prompts, used again and again, flatter what it promotes; "
            f"task.final_fraction: {kept} for one comparison at the end"
        )
    steps = [step for _, step in recipe.generation_steps()]
    if not any(step.num_prompts for step in steps):
        yield (
            f"no step samples the target levels: nothing beyond level {recipe.task.base_level} is shown to training, "
            "and the gate promotes only what generalises by itself (a control: continued training)"
        )
    if is_unfiltered(steps):
        yield "filter none trains on wrong answers too (a control: no verifier); expect the gate to reject"
    if any(verifier.judges == "nothing" for verifier in recipe.verifiers().values()):
        yield "verifier random rewards right and wrong answers alike (a control); expect the gate to reject"
    algorithms = [(step, step.policy_gradient) for step in steps if step.policy_gradient is not None]
    if any(step.anchor is None and step.own_teaching is None for step, _ in algorithms):
        yield "distillation: null replays nothing, so old levels may erode"
    for _, algorithm in algorithms:
        idle = [
            *([f"dual_clip {algorithm.dual_clip:g}"] if algorithm.dual_clip is not None else []),
            *([f"ratio {algorithm.ratio}"] if algorithm.ratio is RatioLevel.SEQUENCE else []),
        ]
        if idle and algorithm.updates_per_round == 1 and algorithm.correction is None:
            yield (
                f"{' and '.join(idle)} never acts: with one update a round importance ratios are 1; for more of them "
                "set algorithm.mini_batches or inner_epochs"
            )
    if any(step.pays_for_anything for step in steps):
        yield "the proposer is not paid for what can be learnt (a control: problems of any difficulty)"
    for function in dict.fromkeys(step.shown_by for step in steps if step.shown_by):
        yield f"references that {function} shows are not counted: how many it trains on is its own choice"
    yield from filter(None, (awaited(recipe, place) for place in recipe.verifiers()))
    if precision_of(recipe) == "emulated bf16":
        yield (
            "this machine's processor has no instructions for bf16: it is emulated, some five times slower than fp32 "
            "(training.precision: auto takes bf16 only where every worker has them)"
        )


def too_full(*, least: int, memory: int | None) -> Iterator[str]:
    """Yield a warning where a worker needs more than its memory; both in bytes."""
    if memory is not None and least > memory:
        yield (
            f"a worker needs at least {least / 2**30:.1f} GiB and may take {memory / 2**30:.1f}: lower "
            "resources.workers, train an adapter (training.adapter) or in bf16, or use a machine with more memory"
        )


def notes_on_data(estimates: CostEstimates, *, levels: Collection[int]) -> Iterator[str]:
    """Yield what the tasks' rows and prompts say of the plan; `levels`: all that are aimed at."""
    task, panel = estimates.task, estimates.panel
    yield from estimates.unread
    read = [rows for one in (task, *panel.values()) for rows in files_of(one).values()]
    yield from dict.fromkeys(_served(rows) for rows in read if _says_more(rows))
    yield from dict.fromkeys(
        f"rows of {rows.settings.all_told} that are left out: {rows.left_out.told()}" for rows in read if rows.left_out
    )
    yield from dict.fromkeys(f"rows have no levels: {rows.without_levels}" for rows in read if rows.without_levels)
    yield from dict.fromkeys(
        f"rows of {rows.settings.told} that are sampled, and whose solutions are not shown: {rows.not_shown.told()}"
        for rows in read
        if rows.not_shown
    )
    yield from notes_on(estimates.recipe, task, panel)
    evaluation = estimates.recipe.evaluation
    last = last_evaluated(sorted(levels), lookahead=evaluation.lookahead, highest=task.highest_level)
    own = sorted({own_level(task, level) for level in range(1, last + 1)})
    asked = [(task, level, evaluation.most_prompts) for level in own]
    for name, watched in evaluation.panel.items():
        asked += [(panel[name], level, watched.prompts_per_level) for level in watched.asked]
    if any(one.num_heldout(level, count) is None for one, level, count in asked):
        yield (
            "evaluation is planned with all the held-out prompts asked for (prompts_per_level), an upper bound: how "
            "many a level has is known once it is drawn"
        )


def _says_more(rows: Rows) -> bool:
    """Whether the model's context or a file of their own decides which rows serve."""
    return rows.settings.counts_tokens or not rows.settings.holds_out_by_hash


def _served(rows: Rows) -> str:
    """Return how many rows serve in each split, and the limits in tokens that hold."""
    settings = rows.settings
    counts = {"to train on": Split.TRAIN, "held out": Split.HELDOUT, "final": Split.FINAL}
    served = ", ".join(f"{len(rows.rows(split))} {told}" for told, split in counts.items() if rows.rows(split))
    limits = [(settings.max_prompt_tokens, "prompt"), (settings.max_answer_tokens, "answer")]
    told = " and ".join(f"{limit} tokens of {what} (max_{what}_tokens)" for limit, what in limits if limit is not None)
    return f"rows of {settings.all_told} that serve: {served}" + (f"; at most {told}" if told else "")


def is_unfiltered(steps: Iterable[Step]) -> bool:
    """Whether some step imitates wrong answers too."""
    return any(source.filter == "none" for step in steps for _, source in step.rejections())
