"""The verifiers of a run: opened once, proven on answers with known verdicts, closed at the end.

A verifier that asks generations of the lineage is proven anew for each generation, since its verdicts are theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bootstrap.config import verifiers as settings_of
from bootstrap.config.base import Place
from bootstrap.config.models import reward_models, roles
from bootstrap.config.recipe import Recipe
from bootstrap.errors import VerifierError
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import Task
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Tools, Verifier, build_verifier
from bootstrap.stages.context import Context, Meter, Plan, Watched
from bootstrap.stages.fitting import TextModel, leave_out_unfit
from bootstrap.stages.generate import count_asked
from bootstrap.stages.readable import leave_out_by_settings, leave_out_unreadable, part_of

SANITY_CHECK_PROMPTS = 8
"""Held-out prompts of each base level on which a verifier must tell right from wrong answers."""


@contextmanager
def open_verifiers(
    recipe: Recipe, task: Task, tools: Tools, *, models: Sequence[TextModel] = ()
) -> Iterator[tuple[Mapping[Place, Verifier], Verifier, Mapping[str, Watched]]]:
    """Yield training's verifiers by place, the eval verifier, which may be one of them, and the panel.

    Verifiers of stages beyond `generations.count` stay closed: what they need may be made by the stages before. All are
    proven, but for those that ask the lineage's generations (`bind_models`). Rows that `models` cannot read are left
    out of the tasks first. Raises VerifierError when a verifier cannot be built or fails its sanity check.
    """
    leave_out_unfit(task, models, tools=tools)
    opened: list[tuple[settings_of.Verifier, Verifier, Task]] = []
    with ExitStack() as stack:

        def open_one(settings: settings_of.Verifier, task: Task = task) -> Verifier:
            verifier = build_verifier(settings, tools=tools)
            stack.callback(verifier.close)
            leave_out_unreadable(task, verifier, tools=tools)
            opened.append((settings, verifier, task))
            return verifier

        reached = {recipe.verifier_place(number) for number in range(1, recipe.generations.count + 1)}
        verifiers = {}
        for place, settings in recipe.verifiers().items():
            if place == ("verifier",) or place in reached:
                try:
                    verifiers[place] = open_one(settings)
                except VerifierError as error:
                    # On a cluster the folder may lie where the verifier is hosted, so it is looked for only now.
                    if (advice := awaited(recipe, place)) is None:
                        raise
                    raise VerifierError(f"{error}. {advice}") from error
            else:
                # The rows of a file are those of the recipe, however many generations are asked for now.
                leave_out_by_settings(task, settings, tools=tools)
        eval_verifier = verifiers[("verifier",)]
        if recipe.evaluation.verifier is not None:
            eval_verifier = open_one(recipe.evaluation.verifier)
        panel = {}
        for name, settings in sorted(recipe.evaluation.panel.items()):
            watched = build_task(settings.task)
            leave_out_unfit(watched, models, tools=tools)
            verifier = open_one(settings.verifier, watched)
            panel[name] = Watched(settings=settings, task=watched, verifier=verifier)
        for settings, verifier, judged in opened:
            if not roles(settings):
                prove(verifier, judged)
        yield verifiers, eval_verifier, panel


def awaited(recipe: Recipe, place: Place) -> str | None:
    """Return in words which reward model of a stage's verifier is missing, and how a lineage makes one.

    None where this machine has all of them, and for a verifier that judges from the start.
    """
    missing = [m.path for m in reward_models(recipe.verifiers()[place]) if not (Path(m.path) / "config.json").is_file()]
    judged = (n for n in range(1, recipe.generations.count + 1) if recipe.verifier_place(n) == place)
    if place == ("verifier",) or not missing or (first := next(judged, None)) is None:
        return None
    return (
        f"generation {first} is judged by a reward model that is not there yet ({missing[0]}): run with "
        f"generations.count={first - 1}, then make it with `bootstrap pairs` and `bootstrap reward-model`, "
        "and run again"
    )


def bind_models(context: Context, plan: Plan, meter: Meter) -> None:
    """Let the verifier ask the generations that the plan names. Raises VerifierError when it then fails its sanity
    check.

    Every process that grows the generation proves it, even where its stages are read from disk, so the sanity check's
    work counts as the generation's and as no stage's.
    """
    context.models.bind(plan.asked)
    if plan.asked:
        prove(context.verifier, context.task)
        count_asked(context, meter)


def prove(verifier: Verifier, task: Task) -> None:
    """Raise VerifierError when a verifier fails its sanity check on some part of a task.

    Rows that it cannot use are left out of the task first.
    """
    leave_out_unreadable(task, verifier)
    for _, one, cases in proofs(verifier, task, prompts_per_level=SANITY_CHECK_PROMPTS):
        sanity_check(one, cases)


def proofs(verifier: Verifier, task: Task, *, prompts_per_level: int) -> Iterator[tuple[str, Verifier, Sequence[Case]]]:
    """Yield (part, verifier, cases) for the parts on which a verifier can be proven; no mixture: part "".

    A part of a mixture that is judged by form alone is left out: nothing tells whether such a verdict is right.
    """
    for part in task.parts if task.settings.part_names is not None else ("",):
        one = part_of(verifier, part)
        if one is verifier or one.judges != "form":
            yield part, one, sanity_cases(task, part=part, prompts_per_level=prompts_per_level)


def sanity_cases(task: Task, *, part: str = "", prompts_per_level: int = SANITY_CHECK_PROMPTS) -> list[Case]:
    """Return cases from the held-out prompts of one part, at the levels whose references are known."""
    heldout = partial(task.heldout_of, part)
    return [
        Case(
            prompt=prompt.text,
            reference=task.reference(prompt),
            right=task.solution(prompt),
            wrong=task.wrong_answers(prompt),
        )
        for level in range(1, task.settings.base_level + 1)
        for prompt in heldout(level, prompts_per_level)
    ]
