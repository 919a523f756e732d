"""`bootstrap verifier check`: a verifier's verdicts on right, wrong and hostile answers, as a table or JSON."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bootstrap.cli import render
from bootstrap.cli.progress import RowsProgress
from bootstrap.cli.trust import require_own_servers
from bootstrap.config.answers import (
    SCRIPTS,
    AnswerPlace,
    Boxed,
    FormatVerifier,
    LanguageVerifier,
    LastLine,
    LengthVerifier,
    Tagged,
    Whole,
)
from bootstrap.config.load import load_recipe, load_verifier
from bootstrap.config.models import roles
from bootstrap.config.verifiers import Verifier
from bootstrap.errors import RecipeError, VerifierError
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import Task
from bootstrap.references import Call, CallCases, write
from bootstrap.scoring.conformance import ConformanceResult, check
from bootstrap.scoring.sanity import Case
from bootstrap.scoring.verifier import Tools, build_verifier
from bootstrap.scoring.verifier import Verifier as VerifierInUse
from bootstrap.stages.readable import leave_out_unreadable
from bootstrap.stages.verifiers import proofs

PROMPTS_PER_LEVEL = 2
MAX_BUILT_LENGTH = 100_000
"""Characters of the longest answer that a check makes up."""
LATIN_WORDS = "we add the two numbers"
CYRILLIC_WORDS = "\u0441\u043a\u043b\u0430\u0434\u044b\u0432\u0430\u0435\u043c \u0447\u0438\u0441\u043b\u0430"
"""An answer in another script: Russian for `we add numbers`."""
SQUARE = write(CallCases(function="square", cases=tuple(Call(args=(n,), expected=n * n) for n in (3, -4, 11, 0))))


def check_verifier(
    name: str | None,
    overrides: Sequence[str],
    *,
    recipe_path: Path | None,
    reference: str | None,
    right: str | None,
    wrong: Sequence[str],
    as_json: bool,
) -> None:
    """Print every finding about the verifier `name`, or about a recipe's verifier.

    Raises RecipeError for a verifier that cannot be checked here, VerifierError when it cannot be built or fails.
    """
    if recipe_path is not None:
        if name is not None or reference is not None:
            raise RecipeError("--recipe brings its verifier and its task's answers; leave out NAME and --reference")
        recipe = load_recipe(recipe_path, overrides)
        settings = recipe.verifier
        require_own_servers(recipe, named=recipe, path=recipe_path)
        answers = build_task(recipe.task)
    elif name is None:
        raise RecipeError("name a verifier, for example exact or my_module:my_function, or give a recipe with --recipe")
    else:
        settings = load_verifier(name, overrides)
        if settings.judged_parts is not None:
            raise RecipeError("by_task is checked with the answers of a mixture's parts: give a recipe with --recipe")
        answers = _case(settings, reference=reference, right=right, wrong=wrong)
    if roles(settings):
        raise RecipeError(f"{settings.type} asks generations of a lineage; it is checked in each run, before it judges")
    if settings.judges == "nothing":
        raise RecipeError(f"{settings.type} is a control that looks at no answer, so there is nothing to check")
    tools = Tools(processes=len(os.sched_getaffinity(0)), progress=RowsProgress())
    verifier = build_verifier(settings, tools=tools)
    try:
        match answers:
            case Case():
                findings = check(verifier, [answers], settings=settings)
            case task:
                leave_out_unreadable(task, verifier, tools=tools)
                findings = list(_by_part(verifier, task, settings))
    finally:
        verifier.close()
    if as_json:
        rows = [asdict(finding) for finding in findings]
        render.print_json({"verifier": verifier.name, "version": verifier.version, "findings": rows})
    else:
        _print(f"{verifier.name} {verifier.version}", findings)
    if failures := sum(not finding.ok for finding in findings):
        raise VerifierError(
            f"verifier {verifier.name} failed {failures} of {len(findings)} checks; it must not give reward before "
            "those marked `no` are fixed"
        )


def _by_part(verifier: VerifierInUse, task: Task, settings: Verifier) -> Iterator[ConformanceResult]:
    """Yield the findings about a recipe's verifier, prefixed by the part of a mixture that they are about."""
    for part, one, cases in proofs(verifier, task, prompts_per_level=PROMPTS_PER_LEVEL):
        _, own = settings.of_task(part) or ((), settings)
        for finding in check(one, cases, settings=own):
            yield replace(finding, case=f"{part}: {finding.case}") if part else finding


def _case(settings: Verifier, *, reference: str | None, right: str | None, wrong: Sequence[str]) -> Case:
    """Return the case to check with: the given answers, else answers made up for the verifier."""
    if reference is not None:
        return Case(prompt="", reference=reference, right=reference if right is None else right, wrong=tuple(wrong))
    if right is not None or wrong:
        raise RecipeError("--right and --wrong need --reference: what the verifier compares with")
    if settings.type == "code":
        codes = ("def square(x):\n    return x * x", "def square(x):\n    return x + x", "def square(x): pass", "x")
        if settings.code == "fenced":
            codes = tuple(f"```python\n{code}\n```" for code in codes)
        return Case(prompt="Write square(x).", reference=SQUARE, right=codes[0], wrong=codes[1:])
    if form := _form_case(settings):
        return form
    if settings.judges == "form" or settings.type in ("reasoning_gym", "json_schema", "judge", "rubric"):
        raise RecipeError(
            f"{settings.type} needs answers to be checked with: give --reference, --right and --wrong, or a recipe "
            "with --recipe"
        )
    texts = ("B", "A", "C", "D") if settings.type == "choice" else ("42", "41", "24", "420", "-42")
    place = getattr(settings, "answer", Whole())
    right, *others = (_placed(place, text) for text in texts)
    return Case(prompt="What is it?", reference=texts[0], right=right, wrong=tuple(others))


def _form_case(settings: Verifier) -> Case | None:
    """Return a case for a verifier of form whose settings say what the right form is."""
    match settings:
        case FormatVerifier(think_tag=think, answer_tag=answer):
            right = f"<{think}>6 * 7</{think}><{answer}>42</{answer}>"
            others = ("42", f"<{answer}>42</{answer}>", f"<{think}>6 * 7</{think}>42", f"{right}!")
        case LanguageVerifier(language=language, within=place) if "Latin" in SCRIPTS[language]:
            right, others = _placed(place, LATIN_WORDS), (_placed(place, CYRILLIC_WORDS),)
        case LanguageVerifier(language=language, within=place) if "Cyrillic" in SCRIPTS[language]:
            right, others = _placed(place, CYRILLIC_WORDS), (_placed(place, LATIN_WORDS),)
        case LengthVerifier(max_tokens=limit, soft_tokens=soft) if limit <= MAX_BUILT_LENGTH:
            # A check counts one token per character, and one for the end.
            right, others = "42"[: limit - soft - 1], ("4" * limit,)
        case _:
            return None
    return Case(prompt="What is it?", reference="42", right=right, wrong=others)


def _placed(place: AnswerPlace, text: str) -> str:
    """Return `text` where the verifier looks for the answer."""
    match place:
        case Tagged(tag=tag):
            return f"<{tag}>{text}</{tag}>"
        case Boxed():
            return f"\\boxed{{{text}}}"
        case LastLine():
            return f"so it is:\n{text}"
    return text


def _print(name: str, findings: Sequence[ConformanceResult]) -> None:
    render.say(f"verifier {name}")
    names = ("answer", "verdict", "reward", "reason", "ok", "note")
    rows = [
        (
            finding.case,
            finding.status or "",
            "" if finding.reward is None else f"{finding.reward:g}",
            finding.reason,
            "yes" if finding.ok else "no",
            finding.note,
        )
        for finding in findings
    ]
    render.print_table(names, rows)
    render.say(f"{sum(finding.ok for finding in findings)} of {len(findings)} as they should be")
