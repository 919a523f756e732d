r"""Mathematical equality: reward 1 for an answer that means the same as the reference, otherwise 0.

1. Both texts are read whole by a strict grammar (`math_text.py`) and must be of one kind: a tuple is no set, a word no
   number. An unreadable answer is wrong; an unreadable reference is UNVERIFIABLE.
2. Words are compared as text, upper case and white space aside. Members with values in exact arithmetic are compared as
   fractions, here and at once.
3. Other members are compared in the sandbox (`math_kernel.py`). Values that differ by more than all error are
   different; expressions are equal where exact algebra proves it, or where two independent ways find it. Their
   disagreement is UNVERIFIABLE, with both forms in the reason.

One side may leave out the name in `x = 5` and in `y = 2x + 1`, and the unit beside a number. An answer may add a unit
to the reference only where the prompt names that unit and no other of its dimension. Different names or units are
different answers, and no unit is converted: `50\%` is neither 0.5 nor, unless the prompt asks for per cent, 50. Numbers
in a base other than ten equal only numbers in the same base.

An answer that exceeds the CPU or memory limit is wrong: it costs more than any reference does. Sets and united
intervals are equal when each member of one equals one of the other; `[0,1] \cup [1,2]` is not found equal to `[0,2]`.
Equations are equal side by side, or where the differences of their sides are multiples of each other.

Left out: proofs, complex roots other than the principal one, equations and inequalities that are equivalent for other
reasons.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

from bootstrap.config.answers import MathVerifier
from bootstrap.errors import VerifierError
from bootstrap.sandbox.job import Ending, Level, Limits, Outcome, TrustedJob
from bootstrap.sandbox.pool import DECIDING_MODULES, Sandbox
from bootstrap.scoring import extract, math_equal, math_nodes, math_text
from bootstrap.scoring.math_nodes import Kind, Reading, Unreadable, flattened
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, passed, unverifiable, version_of

KERNEL = "bootstrap.scoring.math_kernel"
PACKAGES = ("math-verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4-python3-runtime")
MAX_PAIRS = 64
"""Pairs of expressions or equations that the sandbox compares for one answer."""
MAX_TOLD = 240
"""Characters of a disagreement in a reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Open:
    """A comparison that needs the sandbox."""

    reference: Reading
    answer: Reading
    pairs: tuple[math_equal.Pair, ...] = field(default=())


class Math:
    """Compares mathematics."""

    name, judges = "math", MathVerifier.judges

    def __init__(self, settings: MathVerifier, tools: Tools) -> None:
        """Raise VerifierError when Math-Verify is missing, and SandboxUnavailable when nothing can be confined."""
        self._settings = settings
        self._declared: Kind | None = None if settings.kind == "auto" else settings.kind
        self.version = version_of(__name__, KERNEL, *DECIDING_MODULES, settings=settings, also=_kernel())
        self._sandbox: Sandbox | None = Sandbox(
            processes=tools.processes,
            min_level=Level(settings.min_level),
            limits=Limits(cpu_seconds=settings.cpu_seconds),
            preload=(KERNEL,),
        )

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        found = [self._guarded(answer) for answer in answers]
        jobs = [
            TrustedJob(function=f"{KERNEL}:compare", arguments={"pairs": _as_json(each.pairs)})
            for each in found
            if isinstance(each, _Open)
        ]
        outcomes = iter(self._run(jobs) if jobs else [])
        return [self._settled(each, next(outcomes)) if isinstance(each, _Open) else each for each in found]

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return why each reference cannot be compared with; "" where it can.

        Expressions beyond exact arithmetic are evaluated in the sandbox, where both readers must agree on them. Raises
        VerifierError when the sandbox fails.
        """
        found: list[str | Reading] = []
        for reference in references:
            try:
                found.append(self._read(reference))
            except Unreadable as error:
                found.append(str(error))
        opened = [_open_nodes(each) if isinstance(each, Reading) else [] for each in found]
        jobs = [TrustedJob(function=f"{KERNEL}:examine", arguments={"nodes": nodes}) for nodes in opened if nodes]
        outcomes = iter(self._run(jobs) if jobs else [])
        told = [_untold(next(outcomes)) if nodes else "" for nodes in opened]
        return [each if isinstance(each, str) else why for each, why in zip(found, told, strict=True)]

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _run(self, jobs: Sequence[TrustedJob]) -> list[Outcome]:
        assert self._sandbox is not None, "a verifier that is closed judges nothing more"
        return self._sandbox.run(jobs)

    def _read(self, reference: str) -> Reading:
        """Return the meaning of a reference. Raises Unreadable, which says why it has none."""
        return math_text.read(reference, kind=self._declared)

    def _guarded(self, answer: Answer) -> Judgement | _Open:
        try:
            reference = self._read(answer.reference)
        except Unreadable as error:
            return unverifiable(f"the reference {answer.reference[:40]!r} cannot be read: {error}")
        found = extract.answer_of(answer, self._settings.answer)
        if found.text is None:
            return failed(self.name, found.reason)
        try:
            reference, given = self._alike(reference, answer.reference, found.text)
        except Unreadable as error:
            return failed(self.name, f"no answer: {error}")
        # Without a declared kind a list is no tuple, since the reference may mean either.
        if self._declared is None and reference.bare != given.bare:
            return failed(self.name, "no answer: a list is no tuple")
        if problem := math_equal.differ_in_words(reference, given, prompt=answer.prompt):
            return failed(self.name, problem)
        pairs: dict[math_equal.Pair, None] = {}
        for pair in math_equal.open_pairs(reference, given):
            pairs[pair] = None
            if len(pairs) > MAX_PAIRS:
                return failed(self.name, f"more than {MAX_PAIRS} comparisons")
        if pairs:
            return _Open(reference=reference, answer=given, pairs=tuple(pairs))
        return passed(self.name) if math_equal.are_equal(reference, given, {}) else failed(self.name)

    def _alike(self, reference: Reading, written: str, text: str) -> tuple[Reading, Reading]:
        """Return the reference and an answer, read as objects of one kind. Raises Unreadable where the answer is none.

        The answer settles an ambiguous reference: a pair in brackets is an interval where the answer can only be one,
        and `y = 2x` names the expression `2x` where the answer is no equation.
        """
        letters = reference.unit_letters
        try:
            return reference, math_text.read(text, kind=self._declared or reference.kind, unit_letters=letters)
        except Unreadable:
            if self._declared is None and reference.kind == "equation":
                return self._named(written, text, letters)
            if self._declared is not None or reference.kind != "tuple" or reference.bare:
                raise
            given = math_text.read(text)
            if given.kind != "interval":
                raise
            return math_text.read(written, kind="interval"), given

    def _named(self, written: str, text: str, letters: frozenset[str]) -> tuple[Reading, Reading]:
        """Return an equation as the expression that it names, and the answer. Raises Unreadable."""
        given = math_text.read(text, kind="expression", unit_letters=letters)
        reference = math_text.read(written, kind="expression")
        if any(block.name for block in given.blocks):
            raise Unreadable("another equation")
        return reference, given

    def _settled(self, case: _Open, outcome: Outcome) -> Judgement:
        return replace(self._judgement(case, outcome), sandbox=outcome.level.value, cpu_seconds=outcome.cpu_seconds)

    def _judgement(self, case: _Open, outcome: Outcome) -> Judgement:
        match outcome.ending:
            case Ending.DONE:
                [found] = outcome.values
            case Ending.CPU_LIMIT | Ending.MEMORY:
                return failed(self.name, f"comparing it exceeds the limit: {outcome.ending}")
            case _:
                # The comparison is our own program, so any other ending is not the answer's fault.
                return unverifiable(f"the comparison ended with {outcome.ending}: {outcome.detail}")
        equal: dict[math_equal.Pair, bool] = {}
        undefined = ""
        for pair, result in zip(case.pairs, found, strict=True):
            match result["finding"]:
                case "reference":
                    text = case.reference.text[:40]
                    return unverifiable(f"the reference {text!r} cannot be evaluated: {result['told']}")
                case "disagreement":
                    return unverifiable(f"two ways disagree: {result['told'][:MAX_TOLD]}")
                case "undefined":
                    undefined = result["told"]
            equal[pair] = result["finding"] == "equal"
        if undefined:
            return failed(self.name, f"no answer: {undefined}")
        return passed(self.name) if math_equal.are_equal(case.reference, case.answer, equal) else failed(self.name)


def _open_nodes(reading: Reading) -> list[math_nodes.Flat]:
    """Return the expressions of a reference that the sandbox has to evaluate."""
    items = [item for block in reading.blocks for item in block.items]
    return [flattened(item.node) for item in items if item.exact is None and item.node.op != "infinity"]


def _untold(outcome: Outcome) -> str:
    """Return why a reference cannot be evaluated; "" where it can. Raises VerifierError when the sandbox fails."""
    match outcome.ending:
        case Ending.DONE:
            [found] = outcome.values
            return next((told[:MAX_TOLD] for told in found if told), "")
        case Ending.CPU_LIMIT | Ending.MEMORY:
            return f"evaluating it exceeds the limit: {outcome.ending}"
    raise VerifierError(
        f"the verifier math could not evaluate a reference: it ended with {outcome.ending}: {outcome.detail}; repair "
        "what the sandbox needs, and run again"
    )


def _as_json(pairs: Sequence[math_equal.Pair]) -> list[list[math_nodes.Flat]]:
    return [[flattened(node) for node in pair] for pair in pairs]


def _kernel() -> str:
    """Return the versions that decide on symbolic comparisons: those of the kernel's packages and of Python.

    Raises VerifierError when a package is missing.
    """
    try:
        versions = [f"{package} {version(package)}" for package in PACKAGES]
    except PackageNotFoundError as error:
        raise VerifierError(
            f"the verifier math needs {error.name}; run pip install 'math-verify[antlr4_13_2]'"
        ) from None
    return ", ".join([*versions, f"Python {sys.version_info.major}.{sys.version_info.minor}"])
