"""The probe before a commit: do the verifiers that judged a generation still tell right answers from wrong ones?

    held-out prompts drawn for this generation --> right, wrong, hostile answers --> the verifiers at work --> verdicts

A verifier is proven when it is opened (`verifiers.py`), and its state may turn afterwards: a server that answers
another way, a plug-in's counter, a process that ran out of something. So the same objects, with the processes behind
them, are asked once more before what they judged is committed. A verifier that computes may misjudge no right and no
hostile answer; of a task's wrong ones up to `TOLERATED_WRONG`, since what a task calls wrong may be right enough to it,
as a number within its tolerance. One that asks a model, or is a plug-in, may misjudge up to `TOLERATED` of all answers,
since other prompts come each time. An answer that it cannot judge is not misjudged.

Verdicts that a killed run left were never vouched for by its verifiers, so a share of them is judged again
(`judged_again.py`).

Where one fails, all verdicts of the generation are worth nothing, and the stages that hold them are thrown away with
the replies that judges have kept, so that a later run does not take them over.

Left out: answers that are right under lax settings, as the right one inside other text (`scoring/conformance.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bootstrap.config.answers import VerifierSettings
from bootstrap.config.models import roles
from bootstrap.errors import VerifierDrift
from bootstrap.evaluation.intervals import wilson
from bootstrap.prompts.task import Task
from bootstrap.records import Status
from bootstrap.scoring.conformance import hostile
from bootstrap.scoring.judge import CACHE_FOLDER as REPLIES
from bootstrap.scoring.sanity import NUM_VOTES, Case
from bootstrap.scoring.verifier import PATIENCE, Answer, Judgement, Verifier, printable
from bootstrap.seeds import derive_seed, generator
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.judged_again import changed_verdicts
from bootstrap.stages.readable import part_of
from bootstrap.store.artifacts import Artifact

CASES = 8
"""Prompts of each part of a task, each with its right and wrong answers."""
JUMP_CASES = 64
"""Prompts of each part whose answers are to explain a jump: of few answers an interval reaches far without an error."""
HOSTILE_CASES = 3
"""Of them, those with hostile answers too: a hostile text is a right answer by chance to one of them, not to all."""
SUITE = 64
"""Held-out prompts of a level that they are drawn from."""
LONGEST = 2000
"""Characters of a hostile answer; longer ones try a verifier's limits, not its judgement."""
COSTLY = "a power tower"
"""The hostile answer that does so by the time that it takes."""
TOLERATED = 0.1
"""Share of answers that a verifier which is not a function of the answer may misjudge."""
TOLERATED_WRONG = 0.25
"""Share of a task's wrong answers that one which is may take for right; a verifier that has turned takes them all."""
CHANGED = 0.02
"""Share of stored verdicts that may be others: of a program at its limit of time, as few as these."""
LEAST_CHANGED = 3
"""Stored verdicts that are others, below which nothing is concluded from them."""
MEND = "Mend what the verifier depends on (its server, its code, its machine), then run the same command again"
JUDGED = ("step", "evaluate", "diagnostics")
"""Kinds of artifacts that hold verdicts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """One answer whose verdict is known."""

    case: Case
    text: str
    kind: str
    """right, wrong, or the name of a hostile answer."""


def probe_again(context: Context, plan: Plan, judged: Iterable[Artifact], *, meter: Meter) -> None:
    """Probe every verifier that has judged in this generation, with answers drawn for it.

    `judged`: the artifacts that hold its verdicts. Raises VerifierDrift for a verifier that misjudges the answers, or
    judges what an earlier process left otherwise, after throwing away what the generation's stages have stored.
    """
    recipe, judges = context.recipe, list[tuple[VerifierSettings, Verifier, Task]]()
    judges.append((recipe.verifier_of(plan.number), context.verifier, context.task))
    if context.eval_verifier is not context.verifier:
        judges.append((recipe.eval_verifier, context.eval_verifier, context.task))
    judges += [(w.settings.verifier, w.verifier, w.task) for w in context.panel.values()]
    for settings, verifier, task in judges:
        if roles(settings) and not plan.asked:
            # It asks generations of the lineage, and none is bound: it has judged nothing.
            continue
        seed = derive_seed(recipe.seed, "commit probe", plan.number)
        if fault := _fault(context, settings, verifier, task, seed=seed, meter=meter):
            raise _drift(context, plan, settings, verifier, f"fails the probe before its commit: {fault}")
    for artifact in judged:
        for settings, verifier, changed, judged_again in changed_verdicts(context, plan, artifact):
            if changed >= LEAST_CHANGED and changed > max(tolerated(settings), CHANGED) * judged_again:
                raise _drift(
                    context,
                    plan,
                    settings,
                    verifier,
                    f"judges {changed} of {judged_again} verdicts that an earlier run left otherwise than that run did",
                )


def probe_finally(context: Context, *, meter: Meter) -> None:
    """Probe the verifier that has judged the final comparison. Raises VerifierDrift, after forgetting its replies."""
    settings, verifier = context.recipe.eval_verifier, context.eval_verifier
    seed = derive_seed(context.recipe.seed, "final probe")
    if fault := _fault(context, settings, verifier, context.task, seed=seed, meter=meter):
        if tolerated(settings):
            context.store.forget(REPLIES)
        raise VerifierDrift(
            f"verifier {verifier.name} {verifier.version} has judged the final comparison and fails the probe after "
            f"it: {fault}. The comparison is not kept; every generation is. {MEND}: it compares anew"
        )


def _fault(
    context: Context, settings: VerifierSettings, verifier: Verifier, task: Task, *, seed: int, meter: Meter
) -> str:
    """Probe one verifier, and return what it misjudged, empty for nothing or what is tolerated."""
    with meter.clock("score"):
        fault, probed = _probe(settings, verifier, task, seed=seed)
    meter.note("num_probed", probed)
    _note_flops(context, meter)
    return fault


def _drift(context: Context, plan: Plan, settings: VerifierSettings, verifier: Verifier, finding: str) -> VerifierDrift:
    """Throw away the verdicts of the generation in progress, with a judge's replies, and return the error."""
    store = context.store
    store.clear_work()
    store.discard_uncommitted(JUDGED)
    if tolerated(settings):
        store.forget(REPLIES)
    return VerifierDrift(
        f"verifier {verifier.name} {verifier.version} has judged generation {plan.number} and {finding}. The "
        f"generation is not committed, and its verdicts are thrown away. {MEND}: it grows generation {plan.number} anew"
    )


def _probe(settings: VerifierSettings, verifier: Verifier, task: Task, *, seed: int) -> tuple[str, int]:
    """Return what a verifier misjudged, empty for nothing or what is tolerated, and the number of answers."""
    misjudged, wrong, probed, num_wrong = list[str](), list[str](), 0, 0
    for part, one in _parts(verifier, task):
        trials = list(_trials(_cases(task, part, seed=seed)))
        found = list(zip(trials, _judged(one, trials), strict=True))
        probed += len(trials)
        misjudged += _misjudged([pair for pair in found if pair[0].kind != "wrong"])
        num_wrong += sum(trial.kind == "wrong" for trial in trials)
        wrong += _taken(found)
    if tolerated(settings) or len(wrong) > TOLERATED_WRONG * num_wrong:
        misjudged = [*wrong, *misjudged]
    if len(misjudged) > tolerated(settings) * probed:
        return f"{misjudged[0]} ({len(misjudged)} of {probed} answers are misjudged)", probed
    return "", probed


def explains_jump(context: Context, jump: float, number: int, *, meter: Meter) -> bool:
    """Whether the eval verifier errs about as often as the accuracy of stored answers has moved by `jump`.

    Asked is one that may err, on answers drawn for generation `number`: how many wrong ones pass for a rise, right ones
    fail for a fall. The score interval of that share has to reach the jump.
    """
    settings, verifier = context.recipe.eval_verifier, context.eval_verifier
    if not tolerated(settings):
        return False
    kind, error = ("wrong", Status.PASS) if jump > 0 else ("right", Status.FAIL)
    seed, erred, asked = derive_seed(context.recipe.seed, "accuracy jump", number), 0, 0
    with meter.clock("score"):
        for part, one in _parts(verifier, context.task):
            cases = _cases(context.task, part, seed=seed, count=JUMP_CASES)
            trials = [trial for trial in _trials(cases) if trial.kind == kind]
            erred += sum(judgement.status is error for judgement in _judged(one, trials))
            asked += len(trials)
    _note_flops(context, meter)
    return asked > 0 and abs(jump) <= wilson(erred, total=asked).high


def _parts(verifier: Verifier, task: Task) -> Iterator[tuple[str, Verifier]]:
    """Yield a task's parts that a verifier judges rightly or wrongly, each with its own verifier."""
    for part in task.parts if task.settings.part_names is not None else ("",):
        one = part_of(verifier, part)
        if one.judges not in ("form", "nothing"):
            yield part, one


def _note_flops(context: Context, meter: Meter) -> None:
    """Note the probe's work beside the generation's own, whose counts are those of its answers."""
    for flops in context.models.take_compute().flops.values():
        meter.note("num_probe_flops", flops)


def tolerated(settings: VerifierSettings) -> float:
    """Return the share of answers that a verifier may misjudge: none where a verdict is a function of the answer."""
    return 0.0 if settings.judges_alone and not any(tolerated(part) for _, part in settings.parts()) else TOLERATED


def _cases(task: Task, part: str, *, seed: int, count: int = CASES) -> list[Case]:
    """Return cases of `count` held-out prompts, or all there are, drawn by `seed` from one part's base levels."""
    levels = range(1, task.settings.base_level + 1)
    suites = [prompt for level in levels for prompt in task.heldout_of(part, level, SUITE)]
    drawn = generator(seed, part).sample(suites, min(count, len(suites)))
    return [
        Case(prompt=p.text, reference=task.reference(p), right=task.solution(p), wrong=task.wrong_answers(p))
        for p in drawn
    ]


def _trials(cases: Sequence[Case]) -> Iterator[_Trial]:
    for place, case in enumerate(cases):
        yield _Trial(case=case, text=case.right, kind="right")
        yield from (_Trial(case=case, text=text, kind="wrong") for text in case.wrong)
        if place < HOSTILE_CASES:
            yield from (
                _Trial(case=case, text=text, kind=name)
                for name, text in hostile(case)
                if name != COSTLY and len(text) <= LONGEST and case.right not in text and case.reference not in text
            )


def _judged(verifier: Verifier, trials: Sequence[_Trial]) -> list[Judgement]:
    """Return the judgement of each trial's answer; one of a group stands among right answers, as when it was opened."""
    votes = NUM_VOTES if verifier.judges == "group" else 0
    answers = [
        Answer(
            prompt=trial.case.prompt,
            text=text,
            reference=trial.case.reference,
            num_tokens=len(text) + 1,
            group=f"probe.{place}",
            patience=PATIENCE if trial.kind in ("right", "wrong") else 1,
        )
        for place, trial in enumerate(trials)
        for text in (trial.text, *[trial.case.right] * votes)
    ]
    return verifier.judge(answers)[:: votes + 1]


def _misjudged(found: Sequence[tuple[_Trial, Judgement]]) -> list[str]:
    """Return misjudged right answers in words, and a hostile one where all of its kind are taken for right."""
    rewards, told, hostile_ones = _rewards(found), list[str](), dict[str, list[str]]()
    for trial, judgement in found:
        if trial.kind == "right":
            if judgement.status is Status.FAIL:
                told.append(f"the right answer {printable(trial.text)!r} got {_verdict(judgement)}")
        elif trial.kind != "wrong":
            taken = judgement.status is Status.PASS or _is_paid(judgement, rewards[id(trial.case)])
            sentence = f"a hostile answer ({trial.kind}) got {_verdict(judgement)}, reward {judgement.reward}"
            hostile_ones.setdefault(trial.kind, []).append(sentence if taken else "")
    return [*told, *(kind[0] for kind in hostile_ones.values() if all(kind))]


def _taken(found: Sequence[tuple[_Trial, Judgement]]) -> list[str]:
    """Return the wrong answers that are taken for right, or paid as if they were, in words."""
    rewards = _rewards(found)
    return [
        f"the wrong answer {printable(trial.text)!r} got {_verdict(judgement)}, reward {judgement.reward}"
        for trial, judgement in found
        if trial.kind == "wrong" and (judgement.status is Status.PASS or _is_paid(judgement, rewards[id(trial.case)]))
    ]


def _rewards(found: Sequence[tuple[_Trial, Judgement]]) -> dict[int, float | None]:
    """Return the reward of each case's right answer, by the case's identity."""
    return {id(trial.case): judgement.reward for trial, judgement in found if trial.kind == "right"}


def _is_paid(judgement: Judgement, right: float | None) -> bool:
    return judgement.reward is not None and right is not None and judgement.reward >= right


def _verdict(judgement: Judgement) -> str:
    return f"{judgement.status} ({printable(judgement.reason)})"
