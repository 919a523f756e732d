"""`bootstrap verifier check`: what right, wrong and hostile answers get from a verifier, as a table or JSON."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from bootstrap.cli import render
from bootstrap.config.answers import Boxed, LastLine, Tagged, Whole
from bootstrap.config.load import load_recipe, load_verifier
from bootstrap.config.models import roles
from bootstrap.config.verifiers import RubricVerifier, Verifier
from bootstrap.errors import RecipeError, VerifierError
from bootstrap.prompts.build import build_task
from bootstrap.references import Call, CallCases, write
from bootstrap.scoring.conformance import Finding, check
from bootstrap.scoring.probe import Case
from bootstrap.scoring.verifier import Tools, build_verifier
from bootstrap.stages.verifiers import probe_cases

PROMPTS_PER_LEVEL = 2
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
    """Print every finding about the verifier `name`, or the one of a recipe.

    Raises RecipeError for what cannot be checked so, VerifierError when the verifier cannot be built or fails.
    """
    if recipe_path is not None:
        if name is not None or reference is not None:
            raise RecipeError("--recipe brings its verifier and its task's answers; leave out NAME and --reference")
        recipe = load_recipe(recipe_path, overrides)
        settings, cases = recipe.verifier, probe_cases(build_task(recipe.task), prompts_per_level=PROMPTS_PER_LEVEL)
    elif name is None:
        raise RecipeError("name a verifier, for example exact or my_module:my_function, or give a recipe with --recipe")
    else:
        settings = load_verifier(name, overrides)
        cases = [_case(settings, reference=reference, right=right, wrong=wrong)]
    if roles(settings):
        raise RecipeError(f"{settings.type} asks generations of a lineage; it is checked in each run, before it judges")
    verifier = build_verifier(settings, tools=Tools(processes=len(os.sched_getaffinity(0))))
    try:
        findings = check(verifier, cases, settings=settings)
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
            "those marked `no` are mended"
        )


def _case(settings: Verifier, *, reference: str | None, right: str | None, wrong: Sequence[str]) -> Case:
    """Return the case to check with: as asked, or one that fits the verifier."""
    if reference is not None:
        return Case(prompt="", reference=reference, right=reference if right is None else right, wrong=tuple(wrong))
    if right is not None or wrong:
        raise RecipeError("--right and --wrong need --reference: what the verifier compares with")
    if settings.type == "code":
        codes = ("def square(x):\n    return x * x", "def square(x):\n    return x + x", "def square(x): pass", "x")
        if settings.code == "fenced":
            codes = tuple(f"```python\n{code}\n```" for code in codes)
        return Case(prompt="Write square(x).", reference=SQUARE, right=codes[0], wrong=codes[1:])
    if settings.type in ("reasoning_gym", "json_schema", "regex", "judge", "reward_model") or (
        isinstance(settings, RubricVerifier)
    ):
        raise RecipeError(
            f"{settings.type} needs answers to be checked with: give --reference, --right and --wrong, or a recipe "
            "with --recipe"
        )
    texts = ("B", "A", "C", "D") if settings.type == "choice" else ("42", "41", "24", "420", "-42")
    right, *others = (_placed(settings, text) for text in texts)
    return Case(prompt="What is it?", reference=texts[0], right=right, wrong=tuple(others))


def _placed(settings: Verifier, text: str) -> str:
    """Return an answer where the verifier looks for it."""
    match getattr(settings, "answer", Whole()):
        case Tagged(tag=tag):
            return f"<{tag}>{text}</{tag}>"
        case Boxed():
            return f"\\boxed{{{text}}}"
        case LastLine():
            return f"so it is:\n{text}"
    return text


def _print(name: str, findings: Sequence[Finding]) -> None:
    render.say(f"verifier {name}")
    table = Table("answer", "verdict", "reward", "reason", "ok", "note", box=None)
    for finding in findings:
        cells = (
            finding.case,
            "" if finding.status is None else finding.status,
            "" if finding.reward is None else f"{finding.reward:g}",
            finding.reason,
            "yes" if finding.ok else "no",
            finding.note,
        )
        # Answers hold brackets, which rich would read as markup.
        table.add_row(*map(Text, cells))
    render.console().print(table)
    render.say(f"{sum(finding.ok for finding in findings)} of {len(findings)} as they should be")
