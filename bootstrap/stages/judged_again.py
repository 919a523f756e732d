"""Stored answers judged again by the verifiers at work: a verdict is a function of the answer, so it stays as it was.

    the parent's held-out answers     how far its accuracy moves: no training explains that (`accuracy_jump`)
    what a killed run has left        the share of verdicts that differ (`changed_verdicts`)

A share of the answers, drawn by the generation's number. A judge's kept replies answer for it. Left out: verifiers that
ask generations of the lineage, whose work would be done again, and those of groups, which judge no single answer.
"""

from collections.abc import Iterator, Sequence

from bootstrap.config.answers import VerifierSettings
from bootstrap.config.models import roles
from bootstrap.ids import HeldoutId
from bootstrap.prompts.task import Task
from bootstrap.records import Prompt, Role, Rollout, Split, Status, Verdict
from bootstrap.scoring.verifier import Verifier, score
from bootstrap.seeds import derive_seed, generator
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.heldout import judge_again, known_answers
from bootstrap.stages.shown import shown_by
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.tables import from_parquet

AT_MOST = 128
"""Answers of one generation, or of one artifact, that are judged again."""
_Judge = tuple[VerifierSettings, Verifier, Task]


def accuracy_jump(context: Context, entries: Sequence[Entry], plan: Plan) -> float | None:
    """Return the parent's accuracy on a share of its held-out answers as judged now, less that as recorded.

    None without a parent, and for an eval verifier that is left out here.
    """
    recipe, verifier = context.recipe, context.eval_verifier
    if plan.init is None or not _judges_alone(recipe.eval_verifier, verifier):
        return None
    rows = [row for row in known_answers(context, entries, plan.init).rows if row.correct is not None]
    rows = generator(derive_seed(recipe.seed, "judged again", plan.number)).sample(rows, min(AT_MOST, len(rows)))
    again = judge_again(
        rows,
        task=context.task,
        count=recipe.evaluation.most_prompts,
        eval_verifier=verifier,
        max_unverifiable=1.0,
        shown=shown_by(context.store, entries[plan.init].generation),
    )
    recorded = {(row.level, row.prompt_id): row.correct for row in rows}
    pairs = [(recorded[row.level, row.prompt_id], row.correct) for row in again if row.correct is not None]
    return sum(bool(now) - bool(then) for then, now in pairs) / len(pairs) if pairs else None


def changed_verdicts(
    context: Context, plan: Plan, artifact: Artifact
) -> Iterator[tuple[VerifierSettings, Verifier, int, int]]:
    """Yield each verifier that judged in an artifact, with its verdicts there that are others now, and those compared.

    Nothing for an artifact that this process has made from beginning to end.
    """
    if artifact.id in context.made:
        return
    answers, of_step = ("samples.parquet", False) if "samples.parquet" in artifact.files else ("rollouts.parquet", True)
    if answers not in artifact.files:
        return
    recipe = context.recipe
    judges: dict[str, _Judge] = {"": (recipe.eval_verifier, context.eval_verifier, context.task)}
    if of_step:
        judges = {"": (recipe.verifier_of(plan.number), context.verifier, context.task)}
    judges |= {name: (w.settings.verifier, w.verifier, w.task) for name, w in context.panel.items()}
    rollouts = from_parquet(artifact.read(answers), Rollout)
    verdicts = from_parquet(artifact.read("verdicts.parquet"), Verdict)
    pairs: dict[str, list[tuple[Rollout, Verdict]]] = {}
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        heldout = HeldoutId.of_answer(rollout.id)
        # A proposal's verdict follows from its solutions.
        if heldout is not None or rollout.role is Role.SOLVE:
            pairs.setdefault("" if heldout is None else heldout.task, []).append((rollout, verdict))
    rng = generator(derive_seed(recipe.seed, "judged again", plan.number))
    for name, own in sorted(pairs.items()):
        settings, verifier, task = judges[name]
        if _judges_alone(settings, verifier):
            drawn = rng.sample(own, min(AT_MOST, len(own)))
            yield settings, verifier, *_changed(drawn, verifier, task)


def _changed(pairs: Sequence[tuple[Rollout, Verdict]], verifier: Verifier, task: Task) -> tuple[int, int]:
    references = {rollout.prompt_id: task.reference(_prompt(rollout)) for rollout, _ in pairs}
    again = score([rollout for rollout, _ in pairs], references, verifier=verifier, max_unverifiable=1.0)
    both = [(then.status, now.status) for (_, then), now in zip(pairs, again, strict=True)]
    both = [pair for pair in both if Status.UNVERIFIABLE not in pair]
    return sum(then is not now for then, now in both), len(both)


def _judges_alone(settings: VerifierSettings, verifier: Verifier) -> bool:
    return verifier.judges == "answer" and not roles(settings)


def _prompt(rollout: Rollout) -> Prompt:
    return Prompt(
        id=rollout.prompt_id,
        task=rollout.task,
        level=rollout.level,
        text=rollout.prompt_text,
        split=Split.TRAIN,
        key=rollout.prompt_key,
    )
