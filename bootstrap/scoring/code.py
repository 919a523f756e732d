"""Python programs: reward for the expected results on inputs that the program has never seen.

    reference -> inputs -> sandbox (program + inputs -> values) -> compare here with the expected values

Expected values and verdicts never enter the sandbox, an exit status is never evidence, and only bounded plain data
comes back: a program can do nothing but compute. An answer may cut off, redefine or skip a reference's `prefix` and
`suffix`, which form one program with it, and gains nothing by that.

The reference says how values compare:

    json     by exact type and value: `True` is not `1`, and `2.0` is `2` only where a float is expected and the case
             declares a tolerance; `-0.0` equals `0.0`; a tuple counts as a list, since JSON has no tuples
    python   as `==` compares built-in values (`bootstrap.python_values`), which is what an assert asks; an object of a
             derived class counts as its built-in value, so no program decides on its own comparison

A program may return or print `ROOM` times the expected bytes, and always as much as the sandbox's own limit. A
reference that expects more than `references` allows is UNVERIFIABLE, and nothing runs.

Left out: confinement and limits (`bootstrap.sandbox`), and programs that know the hidden results by heart, against
which only the task's hidden, varied inputs help.
"""

import builtins
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import Any

from bootstrap import python_values, references
from bootstrap.config.code import CodeVerifier
from bootstrap.records import Status
from bootstrap.references import Call, CallCases, ScriptCases
from bootstrap.sandbox.job import CallJob, Ending, Job, Level, Limits, Outcome, ScriptJob
from bootstrap.sandbox.pool import DECIDING_MODULES, Sandbox
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, unverifiable, version_of

ROOM = 2
"""Bytes that a value or output may take, as a multiple of the expected ones."""
SLACK = 2**10
"""Bytes beyond that."""
SLACK_LEVELS = 8
"""Levels of nesting beyond the expected ones."""
FENCE = "```"
EXCEPTIONS = frozenset(name for name, kind in vars(builtins).items() if isinstance(kind, type))
OPENING = re.compile(r"```[ \t]*(?:python3?|py)?[ \t]*", re.IGNORECASE)


Key = tuple[str, str, bool, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """One answer, ready to run: one job for all calls or one per script input, and the expected results."""

    cases: CallCases | ScriptCases
    jobs: tuple[Job, ...]


class Code:
    """Runs answers in the sandbox, which opens with the first one."""

    name, judges = "code", CodeVerifier.judges

    def __init__(self, settings: CodeVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, *DECIDING_MODULES, settings=settings, also=platform.python_version())
        self._settings = settings
        self._processes = tools.processes
        self._limits = Limits(cpu_seconds=settings.cpu_seconds, address_space=settings.memory_mb * 2**20)
        self._sandbox: Sandbox | None = None

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement per answer, in order. Raises SandboxUnavailable when nothing can run.

        All programs enter the sandbox together; an answer that occurs twice with one reference runs once.
        """
        ready: dict[Key, Program | Judgement] = {}
        for answer in answers:
            if (key := _key(answer)) not in ready:
                ready[key] = self._prepare(answer)
        jobs = [each for found in ready.values() if isinstance(found, Program) for each in found.jobs]
        outcomes = iter(self._run(jobs) if jobs else ())
        judged: dict[Key, Judgement] = {}
        for key, found in ready.items():
            if isinstance(found, Program):
                own = [next(outcomes) for _ in found.jobs]
                found = judgement_of(found.cases, own, reward=self._settings.reward)
            judged[key] = found
        judgements = []
        for answer in answers:
            judgements.append(judged[_key(answer)])
            # The time of one run counts once.
            judged[_key(answer)] = replace(judgements[-1], cpu_seconds=0.0)
        return judgements

    def reads(self, references: Sequence[str]) -> list[str]:
        return [_unread(reference) for reference in references]

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _run(self, jobs: Sequence[Job]) -> list[Outcome]:
        if self._sandbox is None:
            self._sandbox = Sandbox(
                processes=self._processes, min_level=Level(self._settings.min_level), limits=self._limits
            )
        outcomes = self._sandbox.run(jobs)
        assert len(outcomes) == len(jobs), f"{len(outcomes)} outcomes of {len(jobs)} jobs"
        return outcomes

    def _prepare(self, answer: Answer) -> Program | Judgement:
        """Return the program to run, or the judgement of an answer that need not run."""
        if answer.truncated:
            return failed(self.name, "truncated")
        code, trouble = program_of(answer.text, self._settings.code, max_bytes=self._limits.code_bytes)
        if trouble:
            return failed(self.name, f"{Ending.FORMAT}: {trouble}")
        try:
            cases = references.read_code(answer.reference)
        except ValueError:
            return unverifiable(
                "the reference holds no cases to run; a code verifier needs a task whose answers are code"
            )
        if trouble := references.oversize(cases):
            return unverifiable(f"no answer could be judged: {trouble}")
        if isinstance(cases, ScriptCases):
            return Program(
                cases=cases,
                jobs=tuple(
                    ScriptJob(
                        code=code,
                        stdin=case.stdin,
                        output_bytes=ROOM * len(case.stdout.encode(errors="surrogatepass")) + SLACK,
                        patience=answer.patience,
                    )
                    for case in cases.cases
                ),
            )
        sizes, depths = zip(*(references.extent(case.expected) for case in cases.cases), strict=True)
        job = CallJob(
            code=cases.prefix + code + cases.suffix,
            function=cases.function,
            inputs=[(case.args, case.kwargs) for case in cases.cases],
            python=cases.values == "python",
            value_bytes=ROOM * max(sizes) + SLACK,
            depth=max(depths) + SLACK_LEVELS,
            patience=answer.patience,
        )
        return Program(cases=cases, jobs=(job,))


def _unread(reference: str) -> str:
    """Return why a reference's cases cannot be run, or ""."""
    try:
        cases = references.read_code(reference)
    except ValueError:
        return "no cases to run"
    return references.oversize(cases)


def _key(answer: Answer) -> Key:
    """Return everything that decides the judgement of an answer."""
    return answer.text, answer.reference, answer.truncated, answer.patience


def judgement_of(cases: CallCases | ScriptCases, outcomes: Sequence[Outcome], *, reward: str) -> Judgement:
    """Return the judgement of one answer from its jobs' outcomes: one for `CallCases`, one per case for scripts.

    `reward`: `all` or `share`, as in the settings. PASS needs every case to be right. An outcome that is no fault of
    the program makes the answer UNVERIFIABLE.
    """
    cost = {"sandbox": outcomes[0].level.value, "cpu_seconds": sum(outcome.cpu_seconds for outcome in outcomes)}
    if trouble := next((outcome for outcome in outcomes if not outcome.ending.is_verdict), None):
        return replace(unverifiable(_reason(trouble)), **cost)
    ended = next((outcome for outcome in outcomes if outcome.ending is not Ending.DONE), None)
    if isinstance(cases, ScriptCases):
        right = [
            outcome.ending is Ending.DONE and lines_of(outcome.stdout) == lines_of(case.stdout)
            for case, outcome in zip(cases.cases, outcomes, strict=True)
        ]
    else:
        (outcome,) = outcomes
        right = [False] * len(cases.cases)
        if ended is None and len(outcome.values) != len(cases.cases):
            detail = f"{len(outcome.values)} values for {len(cases.cases)} calls"
            ended = replace(outcome, ending=Ending.PROTOCOL, values=(), detail=detail)
        if ended is None:
            right = [
                _is_right(case, value, values=cases.values)
                for case, value in zip(cases.cases, outcome.values, strict=True)
            ]
    share = sum(right) / len(right)
    if share == 1:
        status, reason = Status.PASS, "right"
    else:
        status, reason = Status.FAIL, _reason(ended) if ended else f"wrong: {sum(right)} of {len(right)} cases right"
    given = share if reward == "share" else float(status is Status.PASS)
    return Judgement(status=status, reward=given, breakdown={Code.name: given}, reason=reason, **cost)


def _is_right(case: Call, found: Any, *, values: str) -> bool:
    if case.identical:
        return found is case.expected
    if values == "python":
        return python_values.equal(case.expected, found, tolerance=case.tolerance)
    return same(case.expected, found, tolerance=case.tolerance)


def _reason(outcome: Outcome) -> str:
    """Return how a program ended, in words that do not change from run to run.

    The program's own messages are left out: they may hold addresses or the time of day.
    """
    detail = outcome.detail
    if outcome.ending is Ending.ERROR:
        name = detail.partition(":")[0]
        detail = name if name in EXCEPTIONS else ""
    elif outcome.ending is Ending.TYPE:
        detail = ""
    return f"{outcome.ending}: {detail}" if detail else outcome.ending.value


def same(expected: Any, found: Any, *, tolerance: float = 0.0) -> bool:
    """Whether `found` is the expected JSON value, by exact type and value (see the module's docstring).

    `tolerance`: absolute difference allowed where a float is expected; above 0, an integer may stand there too.
    """
    if type(expected) is float and tolerance > 0:
        if type(found) not in (int, float) or not isfinite(found if type(found) is float else 0):
            return False
        # As fractions, since an integer may be larger than any float.
        return abs(Fraction(found) - Fraction(expected)) <= Fraction(tolerance)
    if type(expected) is not type(found):
        return False
    if type(expected) is list:
        return len(expected) == len(found) and all(
            same(one, other, tolerance=tolerance) for one, other in zip(expected, found, strict=True)
        )
    if type(expected) is dict:
        return expected.keys() == found.keys() and all(
            same(value, found[key], tolerance=tolerance) for key, value in expected.items()
        )
    return expected == found


def lines_of(output: str) -> list[str]:
    """Return the lines of an output, without trailing white space and trailing empty lines."""
    lines = [line.rstrip() for line in output.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def program_of(completion: str, place: str, *, max_bytes: int) -> tuple[str, str]:
    """Return a completion's code and "", or "" and why it holds none.

    `place`: `whole`, or `fenced`: one block between two lines of three backticks, the first of which may name Python.
    Ambiguous completions hold none: another fence, even inside a string, or a fence inside `<think>`. `max_bytes`
    bounds the completion, in UTF-8.
    """
    if len(completion) > max_bytes or len(completion.encode(errors="surrogatepass")) > max_bytes:
        return "", f"more than {max_bytes} bytes"
    if not completion.isascii() and any("\ud800" <= character <= "\udfff" for character in completion):
        return "", "characters that UTF-8 cannot hold"
    code = completion
    if place == "fenced":
        code, trouble = _fenced(completion)
        if trouble:
            return "", trouble
    if all(line.strip() == "" or line.lstrip().startswith("#") for line in code.splitlines()):
        return "", "no code"
    return code, ""


def _fenced(completion: str) -> tuple[str, str]:
    opened, closed = completion.count("<think>"), completion.count("</think>")
    if opened or closed:
        if opened > 1 or closed != 1:
            return "", f"{opened} <think> and {closed} </think> instead of one each"
        thought, _, completion = completion.partition("</think>")
        if "<think>" in completion or FENCE in thought:
            return "", "a code fence inside <think>, or <think> after </think>"
    lines = completion.split("\n")
    marks = [number for number, line in enumerate(lines) if FENCE in line]
    if len(marks) != 2:
        return "", f"{len(marks)} lines with code fences instead of the two of one block"
    first, last = marks
    if not OPENING.fullmatch(lines[first].rstrip()) or lines[last].rstrip() != FENCE:
        return "", "code fences that do not stand on lines of their own"
    return "\n".join(lines[first + 1 : last]) + "\n", ""
