"""reasoning-gym's own scorers as a verifier: PASS from a score of `pass_score` on, otherwise FAIL.

Lower scores make poor rewards: the common scorer gives `len(oracle) / len(answer)` to any text that holds the right
answer, others pay for a wrong answer in the right form. `partial_credit` passes them on, for shaping. The scorers of
one release were reviewed for hostile text (`gym_items.REVIEWED`), and three tables hold the result:

- `FORMS`: the form that an answer must have before the scorer sees it. Without it the scorer would evaluate the answer
  as Python or as a symbolic expression, accept NaN, ignore other text, or build something as large as the answer says.
- `CONDITIONS`: a further condition on right answers, where the scorer accepts wrong ones too.
- `EVALUATING`: scorers that evaluate the answer; they run in the sandbox, under a CPU limit. The others compare texts
  and numbers in bounded time and run here.

An answer whose scorer raises an exception or uses up its CPU time is wrong, provided that the scorer accepts the item's
own right answer; if it does not, the item cannot be judged.

Left out: items and right answers (`gym_items.py`), and `cascade_score` of later releases, whose tolerance of 1 %
accepts wrong integers.
"""

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from bootstrap import gym_items
from bootstrap.config.gym import ReasoningGymVerifier
from bootstrap.errors import VerifierError
from bootstrap.sandbox.job import Ending, Level, Limits, Outcome, TrustedJob
from bootstrap.sandbox.pool import DECIDING_MODULES, Sandbox
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, passed, unverifiable, version_of

SANDBOXED = "bootstrap.scoring.gym_sandboxed"
ADDRESS_SPACE = 2 * 2**30

_ARITHMETIC = r"(?:[-+()\d\s]|\*(?!\s*\*)|/(?!\s*/))*"
_EXPRESSION = (
    r"(?:[-+*/()\d\s]|(?<=\d)\.|"
    r"(?<![\w.])(?:a?(?:sin|cos|tan)h?|sec|csc|cot|exp|log|ln|sqrt|[xXyzcCE])(?![\w.]))*"
)
FORMS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(form, re.ASCII)
    for name, form in {
        # Parsed by sympy's parse_expr, which evaluates Python.
        "countdown": _ARITHMETIC,
        "puzzle24": _ARITHMETIC,
        "simple_integration": _EXPRESSION,
        "intermediate_integration": _EXPRESSION,
        "polynomial_multiplication": _EXPRESSION,
        # Evaluated as Python where they differ from the right answer.
        "string_insertion": r"[A-Z]*",
        "spiral_matrix": r"[-\d\s]*",
        "binary_matrix": r"[-\d\s]*",
        "n_queens": r"[Q_\s]*",
        # NaN would compare as right.
        "number_sorting": r"[-\[\]'\",.\d\s]*",
        "complex_arithmetic": r"[-+.ijIJ()\d\s]*",
        # Text beside numbers, cells or the fraction would be ignored.
        "fraction_simplification": (r"\s*\$?\s*(?:\d+\s*/\s*\d+|\\d?frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\})\s*\$?\s*"),
        "kakurasu": r"[01\s]*",
        "survo": r"[\d\s]*",
        "polynomial_equations": r"[-+.,\d\s]*",
        # An exponent, or the count of a move, would set the size of the result.
        "coin_flip": r"(?:[-+./,\d\s]|e-?\d{1,2}(?!\d))*",
        "rubiks_cube": r"(?:[A-Za-z'\s]|\d(?!\d))*",
    }.items()
}
"""Data set -> form of its answers."""

EVALUATING = frozenset(
    {
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)

Condition = Callable[[str, Mapping[str, Any]], bool]


def _same(answer: str, entry: Mapping[str, Any]) -> bool:
    """Whether it is the item's own answer, case and white space aside."""
    return "".join(answer.lower().split()) == "".join(entry["answer"].lower().split())


def _same_numbers(answer: str, entry: Mapping[str, Any]) -> bool:
    return _numbers(answer) == _numbers(entry["answer"])


def _numbers(text: str) -> list[Fraction]:
    return [Fraction(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def _value(expression: str) -> Fraction | None:
    """Return the exact value of an expression of integers, `+`, `-`, `*`, `/` and parentheses, or None."""
    try:
        return _evaluate(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluate(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=operand):
            return _evaluate(operand) * (-1 if isinstance(sign, ast.USub) else 1)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in OPERATIONS:
            return OPERATIONS[type(operation)](_evaluate(left), _evaluate(right))
        case _:
            raise ValueError(f"{type(node).__name__} is no arithmetic")


OPERATIONS: Mapping[type, Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

CONDITIONS: Mapping[str, Condition] = {
    # The tolerance is relative: 1 day in 500, 14 minutes in a day.
    "calendar_arithmetic": _same,
    "time_intervals": _same,
    # A share of right characters or words suffices, or text after the right answer is ignored.
    "emoji_mystery": _same,
    "letter_jumble": _same,
    "spell_backward": _same,
    "word_sorting": _same,
    # On large boards, a share of right cells suffices.
    "game_of_life": _same_numbers,
    # A difference of 1 counts as "a small rounding difference".
    "number_sorting": _same_numbers,
    # A common prefix suffices, so 0 is right for every probability, and for small ones also by the tolerance.
    "coin_flip": lambda answer, entry: abs(Fraction(answer.replace(",", "")) / Fraction(entry["answer"]) - 1) <= 1e-3,
    # Any four numbers are accepted, not only those of the question, and 24.9 counts as 24.
    "puzzle24": lambda answer, entry: (
        sorted(_numbers(answer)) == sorted(entry["metadata"]["numbers"]) and _value(answer) == 24
    ),
    # The tolerance is a hundred-thousandth of the target.
    "countdown": lambda answer, entry: _value(answer) == entry["metadata"]["target"],
    # A text without a number means that there is no solution.
    "polynomial_equations": lambda answer, entry: bool(entry["answer"]) or _same(answer, entry),
    # Words that are neither names nor roles are ignored, and repeated statements too.
    "knights_knaves": _same,
}
"""Data set -> condition on right answers beside the score; the comment above each says why the score is not enough."""


class ReasoningGym:
    """Judges answers by the scorer of the data set that the reference names."""

    name, judges = "reasoning_gym", ReasoningGymVerifier.judges

    def __init__(self, settings: ReasoningGymVerifier, tools: Tools) -> None:
        """Raise VerifierError when the package is missing or of another release than the one reviewed."""
        gym_items.library(VerifierError)
        self.version = version_of(__name__, SANDBOXED, *DECIDING_MODULES, settings=settings, also=gym_items.REVIEWED)
        self._settings = settings
        self._processes = tools.processes
        self._sandbox: Sandbox | None = None
        self._trust = lru_cache(maxsize=gym_items.CACHED_ITEMS)(self._distrust)

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        judgements: list[Judgement | None] = []
        jobs: dict[int, tuple[TrustedJob, gym_items.Reference, Mapping[str, Any], str]] = {}
        for place, answer in enumerate(answers):
            prepared = self._prepare(answer)
            if isinstance(prepared, Judgement):
                judgements.append(prepared)
                continue
            reference, entry, text = prepared
            if reference.dataset in EVALUATING:
                arguments = {
                    "dataset": reference.dataset,
                    "config": reference.config,
                    "entry": json.loads(json.dumps(entry, default=str)),
                    "answer": text,
                }
                jobs[place] = (TrustedJob(function=f"{SANDBOXED}:score", arguments=arguments), reference, entry, text)
                judgements.append(None)
            else:
                judgements.append(self._judge_here(reference, entry, text))
        if jobs:
            outcomes = self._confined().run([job for job, *_ in jobs.values()])
            for (place, (_, reference, entry, text)), outcome in zip(jobs.items(), outcomes, strict=True):
                judgements[place] = self._told(outcome, reference, entry, text)
        return [judgement for judgement in judgements if judgement is not None]

    def reads(self, references: Sequence[str]) -> list[str]:
        return [self._unread(reference) for reference in references]

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _prepare(self, answer: Answer) -> Judgement | tuple[gym_items.Reference, Mapping[str, Any], str]:
        """Return the item and the text to score, or the judgement of an answer that needs no score."""
        found = extract.answer_of(answer, self._settings.answer)
        if found.text is None:
            return failed(self.name, found.reason)
        if len(found.text) > self._settings.max_characters:
            return failed(self.name, f"longer than {self._settings.max_characters} characters")
        if why := self._unread(answer.reference):
            return unverifiable(why)
        reference = gym_items.Reference.model_validate_json(answer.reference)
        if (form := FORMS.get(reference.dataset)) and not form.fullmatch(found.text):
            return failed(self.name, f"no answer of the form that {reference.dataset} asks for")
        return reference, gym_items.item(reference.dataset, reference.config, reference.seed), found.text

    def _unread(self, reference: str) -> str:
        """Return why a reference cannot be compared with; "" where it can."""
        try:
            gym_items.Reference.model_validate_json(reference)
        except ValueError as error:
            return f"the reference names no item of reasoning-gym: {error}"
        return self._trust(reference)

    def _distrust(self, text: str) -> str:
        """Return why a reference's item cannot be judged; "" where it can."""
        reference = gym_items.Reference.model_validate_json(text)
        if why := gym_items.refusal(reference.dataset):
            return f"data set {reference.dataset} cannot be used: {why}"
        entry = gym_items.item(reference.dataset, reference.config, reference.seed)
        if gym_items.digest(entry) != reference.digest:
            return f"data set {reference.dataset} makes another item here than where the prompt was drawn"
        try:
            right = gym_items.solution(reference.dataset, entry)
        except ValueError as error:
            return f"data set {reference.dataset}: {error}"
        form = FORMS.get(reference.dataset)
        score = self._score(reference, entry, right)
        if form is not None and not form.fullmatch(right):
            return f"the right answer {right!r} of data set {reference.dataset} has no form that the verifier knows"
        if isinstance(score, str) or not self._is_right(reference, entry, right, score):
            return f"the right answer {right!r} of data set {reference.dataset} gets {score} from its own scorer"
        return ""

    def _judge_here(self, reference: gym_items.Reference, entry: Mapping[str, Any], text: str) -> Judgement:
        score = self._score(reference, entry, text)
        return failed(self.name, score) if isinstance(score, str) else self._judgement(reference, entry, text, score)

    def _score(self, reference: gym_items.Reference, entry: Mapping[str, Any], text: str) -> float | str:
        """Return the scorer's score, or a text that names its exception."""
        try:
            return gym_items.score(reference.dataset, reference.config, entry, text)
        # Hostile text may make third-party code raise anything; the right answer did not.
        except Exception as error:
            return f"scorer raised {type(error).__name__}"

    def _told(self, outcome: Outcome, reference: gym_items.Reference, entry: Mapping[str, Any], text: str) -> Judgement:
        """Return the judgement of an answer that was scored in the sandbox."""
        if not outcome.ending.is_verdict:
            judgement = unverifiable(f"sandbox: {outcome.detail}")
        elif outcome.ending is not Ending.DONE:
            judgement = failed(self.name, f"scoring it ended with {outcome.ending}: {outcome.detail}")
        elif isinstance(outcome.values[0], str):
            judgement = failed(self.name, outcome.values[0])
        else:
            judgement = self._judgement(reference, entry, text, float(outcome.values[0]))
        return Judgement(
            status=judgement.status,
            reward=judgement.reward,
            breakdown=judgement.breakdown,
            reason=judgement.reason,
            sandbox=outcome.level,
            cpu_seconds=outcome.cpu_seconds,
        )

    def _judgement(
        self, reference: gym_items.Reference, entry: Mapping[str, Any], text: str, score: float
    ) -> Judgement:
        if self._is_right(reference, entry, text, score):
            return passed(self.name)
        if not score < self._settings.pass_score:
            return failed(self.name, f"the scorer of {reference.dataset} accepts it, but it is not right")
        return failed(self.name, f"score {score:.3g}", reward=max(score, 0.0) if self._settings.partial_credit else 0.0)

    def _is_right(self, reference: gym_items.Reference, entry: Mapping[str, Any], text: str, score: float) -> bool:
        condition = CONDITIONS.get(reference.dataset)
        if not (math.isfinite(score) and score >= self._settings.pass_score):
            return False
        return condition is None or condition(text, entry)

    def _confined(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = Sandbox(
                processes=self._processes,
                min_level=Level(self._settings.min_level),
                limits=Limits(cpu_seconds=self._settings.cpu_seconds, address_space=ADDRESS_SPACE),
                preload=(SANDBOXED,),
            )
        return self._sandbox
