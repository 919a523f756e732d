"""Assert-style tests converted into calls with expected values from their syntax tree; nothing is executed.

HumanEval (arXiv:2107.03374) has a function `check(candidate)` of asserts, MBPP (arXiv:2108.07732) a list of asserts.
Run beside the answer they are easily fooled, by an object that equals everything or by an exit. Calls with expected
values are judged from outside. These asserts about the function `f` convert:

    assert f(args) == literal        assert literal == f(args)
    assert f(args) is None           or True or False: the result must be that object
    assert f(args)                   the result must equal True
    assert not f(args)               the result must equal False
    assert abs(f(args) - literal) < tolerance                  or <=
    assert math.isclose(f(args), literal, rel_tol=..., abs_tol=...)

`==` is Python's, of built-in values: 2 equals 2.0, 1 equals True, no list equals a tuple (`bootstrap.python_values`).
With `exact`, for lineages that were grown so, types must agree too: values are JSON, an expected or returned tuple is a
list, and an argument that holds a tuple does not convert, since the function could tell the difference.

A literal is a number, text, bytes, a truth value, None, or a tuple, list, set or dict of literals; without `exact` also
an expression of literals (`bootstrap.prompts.literals`), such as `set([1, 2])`. Every other statement is refused with a
reason: a test left out silently would be a hole.
"""

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.prompts.literals import CONSTRUCTORS, NotLiteral, literal
from bootstrap.python_values import NotANumber, NoValue, canonical, write_value
from bootstrap.references import Call, json_value

SHOWN = 60
"""Characters of a test that a refusal quotes."""


class NotConvertible(ValueError):
    """A test that no call with an expected value expresses."""


def calls_of_check(test: str, *, exact: bool = False) -> tuple[Call, ...]:
    """Return the calls of HumanEval's `check(candidate)`, with Python's values unless `exact`.

    Raises NotConvertible.
    """
    checks, others = [], []
    for node in _parse(test).body:
        match node:
            case ast.FunctionDef():
                checks.append(node)
            case _ if not _is_idle(node) and not _is_metadata(node):
                others.append(node)
    if [check.name for check in checks] != ["check"]:
        raise NotConvertible("there is no one function check(candidate)")
    arguments = checks[0].args
    further = (*arguments.posonlyargs, *arguments.kwonlyargs, *arguments.defaults, arguments.vararg, arguments.kwarg)
    if len(arguments.args) != 1 or any(further):
        raise NotConvertible("check does not take the candidate alone")
    for node in others:
        raise _refusal(node)
    return _AssertReader(function=arguments.args[0].arg, exact=exact).calls(checks[0].body)


def calls_of_asserts(tests: Sequence[str], *, exact: bool = False) -> tuple[str, tuple[Call, ...]]:
    """Return the name of the one function that MBPP's `test_list` calls, and the calls, with Python's values unless
    `exact`. Raises NotConvertible.
    """
    body = [node for test in tests for node in _parse(test).body]
    names = {_called(inner) for node in body for inner in ast.walk(node)}
    names -= {"", "abs", "isclose", *(() if exact else CONSTRUCTORS)}
    if len(names) != 1:
        raise NotConvertible(f"{len(names)} functions are called instead of one: {', '.join(sorted(names))}"[:200])
    (function,) = names
    return function, _AssertReader(function=function, exact=exact).calls(body)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    # The parser's errors for text that is no Python, holds NUL, or nests too deeply.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotConvertible(f"the test is no Python: {type(error).__name__}") from None


def _is_idle(node: ast.stmt) -> bool:
    """Whether a statement tests nothing: `pass`, a bare constant, an import of `math`."""
    match node:
        case ast.Import(names=names):
            return all(alias.name == "math" and alias.asname is None for alias in names)
        case ast.ImportFrom(module="math", names=names):
            return all(alias.asname is None for alias in names)
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
    return False


def _is_bare_name(node: ast.stmt) -> bool:
    """Whether a statement is a bare name, and so tests nothing: HumanEval/129 ends its asserts with `print`."""
    match node:
        case ast.Expr(value=ast.Name()):
            return True
    return False


def _is_metadata(node: ast.stmt) -> bool:
    match node:
        case ast.Assign(targets=targets):
            return all(ast.unparse(target) == "METADATA" for target in targets)
    return False


def _called(node: ast.AST) -> str:
    """Return the name of the function that a call calls by name; "" for any other node."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AssertReader:
    """Reads asserts about one function."""

    function: str
    exact: bool

    def calls(self, body: Sequence[ast.stmt]) -> tuple[Call, ...]:
        calls = []
        for node in body:
            match node:
                case ast.Assert(test=ast.Constant(value=True)):
                    pass
                case ast.Assert(test=test):
                    calls.append(self._call(test))
                case _ if not _is_idle(node) and (self.exact or not _is_bare_name(node)):
                    raise _refusal(node)
        if not calls:
            raise NotConvertible("there is no assert to convert")
        return tuple(calls)

    def _call(self, test: ast.expr) -> Call:
        """Return the call and its expected value that one asserted expression states."""
        match test:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                if self._is_call(left):
                    return self._made(left, self._literal(right), test)
                if self._is_call(right):
                    return self._made(right, self._literal(left), test)
            case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None | True | False) as right]):
                if self._is_call(left):
                    return self._made(left, right.value, test, identical=not self.exact)
            case ast.Compare(
                left=ast.Call(
                    func=ast.Name(id="abs"), args=[ast.BinOp(left=one, op=ast.Sub(), right=other)], keywords=[]
                ),
                ops=[ast.Lt() | ast.LtE() as op],
                comparators=[bound],
            ):
                tolerance = self._number(bound)
                if type(op) is ast.Lt:
                    # A case also allows a difference equal to its tolerance.
                    tolerance = math.nextafter(tolerance, 0.0)
                return self._near(one, other, tolerance=tolerance, test=test)
            case ast.Call(
                func=ast.Name(id="isclose") | ast.Attribute(value=ast.Name(id="math"), attr="isclose"),
                args=[one, other],
                keywords=keywords,
            ):
                options = {"rel_tol": 1e-9, "abs_tol": 0.0}
                for keyword in keywords:
                    if keyword.arg not in options:
                        raise _refusal(test)
                    options[keyword.arg] = self._number(keyword.value)
                number = self._number(other if self._is_call(one) else one)
                # `isclose` uses the larger of both magnitudes; the expected one gives a tolerance no wider.
                tolerance = max(options["abs_tol"], options["rel_tol"] * abs(number))
                return self._near(one, other, tolerance=tolerance, test=test)
            case ast.UnaryOp(op=ast.Not(), operand=operand) if self._is_call(operand):
                return self._made(operand, False, test)
            case ast.Call() if self._is_call(test):
                return self._made(test, True, test)
        raise _refusal(test)

    def _near(self, one: ast.expr, other: ast.expr, *, tolerance: float, test: ast.expr) -> Call:
        called, number = (one, other) if self._is_call(one) else (other, one)
        if not self._is_call(called):
            raise _refusal(test)
        if not tolerance > 0:
            raise NotConvertible(f"a tolerance of {tolerance:g}: {_quoted(test)}")
        return self._made(called, self._number(number), test, tolerance=tolerance)

    def _is_call(self, node: ast.expr) -> bool:
        return _called(node) == self.function

    def _made(
        self, called: ast.expr, expected: Any, test: ast.expr, *, tolerance: float = 0.0, identical: bool = False
    ) -> Call:
        assert type(called) is ast.Call
        args = [self._literal(argument) for argument in called.args]
        kwargs = {}
        for keyword in called.keywords:
            if keyword.arg is None:
                raise _refusal(test)
            kwargs[keyword.arg] = self._literal(keyword.value)
        if self.exact and _holds_tuple([args, kwargs]):
            raise NotConvertible(f"an argument is a tuple, which JSON cannot hold: {_quoted(test)}")
        written = json_value if self.exact else write_value
        try:
            call = Call(
                args=tuple(written(argument) for argument in args),
                kwargs={name: written(argument) for name, argument in kwargs.items()},
                expected=written(expected),
                tolerance=tolerance,
                identical=identical,
            )
            if not self.exact:
                canonical(call.expected)
        except NotANumber:
            raise NotConvertible(f"a NaN, which equals nothing: {_quoted(test)}") from None
        except NoValue as error:
            raise NotConvertible(f"{error}: {_quoted(test)}") from None
        except ValueError:
            raise NotConvertible(f"a value that JSON cannot hold: {_quoted(test)}") from None
        return call

    def _literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node) if self.exact else literal(node)
        except NotLiteral as reason:
            raise NotConvertible(f"{reason}: {_quoted(node)}") from None
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            raise NotConvertible(f"no literal: {_quoted(node)}") from None

    def _number(self, node: ast.expr) -> float:
        value = self._literal(node)
        if type(value) not in (int, float):
            raise NotConvertible(f"no number: {_quoted(node)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise NotConvertible(f"no finite number: {_quoted(node)}")
        return number


def _holds_tuple(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_holds_tuple, value.values()))
        case list():
            return any(map(_holds_tuple, value))
        case tuple():
            return True
    return False


def _refusal(node: ast.AST) -> NotConvertible:
    return NotConvertible(f"no call with a literal: {_quoted(node)}")


def _quoted(node: ast.AST) -> str:
    try:
        text = " ".join(ast.unparse(node).split())
    except (ValueError, RecursionError):
        text = type(node).__name__
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
