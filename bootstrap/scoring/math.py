r"""The answer equals the reference as mathematics: reward 1, otherwise 0.

1. Both texts are read whole by a strict grammar (`math_text.py`), and must be objects of one kind: a tuple is no set,
   `x=4` is no number. An answer that cannot be read is wrong; a reference that cannot be read is UNVERIFIABLE.
2. Members whose values follow by exact arithmetic are compared as fractions, here and at once.
3. What is left is compared in the sandbox, on two ways that must agree (`math_kernel.py`): by digits and by computer
   algebra. Their disagreement is UNVERIFIABLE, with both forms in the reason.

An answer that exceeds the CPU or memory limit is wrong: it costs more than any reference does. Sets and united
intervals are equal when each member of one equals one of the other; `[0,1] \cup [1,2]` is not found equal to `[0,2]`.

Left out: proofs, units, percentages, complex roots other than the principal one, equations that are equivalent but not
equal side by side.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

from bootstrap.config.answers import MathVerifier
from bootstrap.errors import VerifierError
from bootstrap.sandbox.job import Ending, Level, Limits, Outcome, TrustedJob
from bootstrap.sandbox.pool import DECIDING_MODULES, Sandbox
from bootstrap.scoring import extract, math_text
from bootstrap.scoring.math_text import Block, Item, Kind, Reading, Unreadable
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, passed, unverifiable, version_of

KERNEL = "bootstrap.scoring.math_kernel"
PACKAGES = ("math-verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4-python3-runtime")
MAX_PAIRS = 64
"""Expressions of one answer compared in the sandbox, each with each that it could equal."""
MAX_TOLD = 240
"""Characters of both forms in the reason of a disagreement."""

Pair = tuple[str, str]
"""Texts of an expression of the reference and of one of the answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Open:
    """A comparison that needs the sandbox."""

    reference: Reading
    answer: Reading
    pairs: tuple[Pair, ...] = field(default=())


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
            TrustedJob(function=f"{KERNEL}:compare", arguments={"pairs": each.pairs})
            for each in found
            if isinstance(each, _Open)
        ]
        outcomes = iter(self._run(jobs) if jobs else [])
        return [self._settled(each, next(outcomes)) if isinstance(each, _Open) else each for each in found]

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _run(self, jobs: Sequence[TrustedJob]) -> list[Outcome]:
        assert self._sandbox is not None, "a verifier that is closed judges nothing more"
        return self._sandbox.run(jobs)

    def _guarded(self, answer: Answer) -> Judgement | _Open:
        try:
            reference = math_text.read(answer.reference, kind=self._declared)
        except Unreadable as error:
            return unverifiable(f"the reference {answer.reference[:40]!r} cannot be read: {error}")
        found = extract.answer_of(answer, self._settings.answer)
        if found.text is None:
            return failed(self.name, found.reason)
        try:
            given = math_text.read(found.text, kind=self._declared or reference.kind)
        except Unreadable as error:
            return failed(self.name, f"no answer: {error}")
        # Where the kind is not declared, a list is no tuple, for the reference may mean either.
        if self._declared is None and reference.bare != given.bare:
            return failed(self.name, "no answer: a list is no tuple")
        pairs = tuple(dict.fromkeys(_open_pairs(reference, given)))
        if len(pairs) > MAX_PAIRS:
            return failed(self.name, f"more than {MAX_PAIRS} comparisons")
        if pairs:
            return _Open(reference=reference, answer=given, pairs=pairs)
        return passed(self.name) if _are_equal(reference, given, {}) else failed(self.name)

    def _settled(self, case: _Open, outcome: Outcome) -> Judgement:
        return replace(self._judgement(case, outcome), sandbox=outcome.level.value, cpu_seconds=outcome.cpu_seconds)

    def _judgement(self, case: _Open, outcome: Outcome) -> Judgement:
        match outcome.ending:
            case Ending.DONE:
                [found] = outcome.values
            case Ending.CPU_LIMIT | Ending.MEMORY:
                return failed(self.name, f"comparing it exceeds the limit: {outcome.ending}")
            case _:
                # The comparison is our own program: however else it ends, the answer is not to blame.
                return unverifiable(f"the comparison ended with {outcome.ending}: {outcome.detail}")
        equal: dict[Pair, bool] = {}
        undefined = ""
        for pair, result in zip(case.pairs, found, strict=True):
            match result["finding"]:
                case "reference":
                    return unverifiable(f"the reference {pair[0][:40]!r} cannot be evaluated: {result['told']}")
                case "disagreement":
                    return unverifiable(f"two ways disagree: {result['told'][:MAX_TOLD]}")
                case "undefined":
                    undefined = result["told"]
            equal[pair] = result["finding"] == "equal"
        if undefined:
            return failed(self.name, f"no answer: {undefined}")
        return passed(self.name) if _are_equal(case.reference, case.answer, equal) else failed(self.name)


def _open_pairs(reference: Reading, answer: Reading) -> Iterator[Pair]:
    """Yield the pairs of expressions whose equality arithmetic cannot tell and the whole's depends on."""
    for left, right in _block_pairs(reference, answer):
        if left.shape == right.shape and len(left.items) == len(right.items):
            results = [(_exactly(a, b), (a.text, b.text)) for a, b in zip(left.items, right.items, strict=True)]
            if not any(result is False for result, _ in results):
                yield from (pair for result, pair in results if result is None)


def _block_pairs(reference: Reading, answer: Reading) -> Iterator[tuple[Block, Block]]:
    if not reference.ordered:
        yield from ((left, right) for left in reference.blocks for right in answer.blocks)
    elif len(reference.blocks) == len(answer.blocks):
        yield from zip(reference.blocks, answer.blocks, strict=True)


def _are_equal(reference: Reading, answer: Reading, equal: dict[Pair, bool]) -> bool:
    """Whether both mean the same, given the equality of the open pairs."""

    def same(left: Block, right: Block) -> bool:
        return (
            left.shape == right.shape
            and len(left.items) == len(right.items)
            and all(_decided(a, b, equal) for a, b in zip(left.items, right.items, strict=True))
        )

    if reference.ordered:
        pairs = list(_block_pairs(reference, answer))
        return bool(pairs) and all(same(left, right) for left, right in pairs)
    return all(any(same(left, right) for right in answer.blocks) for left in reference.blocks) and all(
        any(same(left, right) for left in reference.blocks) for right in answer.blocks
    )


def _decided(reference: Item, answer: Item, equal: dict[Pair, bool]) -> bool:
    exactly = _exactly(reference, answer)
    # A pair that was not compared belongs to blocks that differ elsewhere.
    return equal.get((reference.text, answer.text), False) if exactly is None else exactly


def _exactly(reference: Item, answer: Item) -> bool | None:
    """Whether both are equal, where exact arithmetic tells, or None."""
    if reference.exact is not None and answer.exact is not None:
        return reference.exact == answer.exact
    if "infinity" in (reference.node.op, answer.node.op):
        return reference.node == answer.node
    return True if reference.node == answer.node else None


def _kernel() -> str:
    """Return what decides on symbolic comparisons beside the kernel: versions of what it calls and of Python.

    Raises VerifierError when a package is missing.
    """
    try:
        versions = [f"{package} {version(package)}" for package in PACKAGES]
    except PackageNotFoundError as error:
        raise VerifierError(
            f"the verifier math needs {error.name}; run pip install 'math-verify[antlr4_13_2]'"
        ) from None
    return ", ".join([*versions, f"Python {sys.version_info.major}.{sys.version_info.minor}"])
