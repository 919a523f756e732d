"""Assert-style tests turned into calls with expected values, by reading their syntax tree; nothing is executed.

HumanEval (arXiv:2107.03374) has a function `check(candidate)` full of asserts, MBPP (arXiv:2108.07732) a list of
asserts. Run as they stand, next to the answer, they are easily fooled: by an object that equals everything, or by an
exit. As calls with expected values they can be judged from outside. What converts, `f` being the function:

    assert f(args) == literal        assert literal == f(args)
    assert f(args) is None           or True or False, which then must be returned themselves
    assert f(args)                   must equal True
    assert not f(args)               must equal False
    assert abs(f(args) - literal) < tolerance                  or <=
    assert math.isclose(f(args), literal, rel_tol=..., abs_tol=...)

`==` means what Python says of built-in values: 2 equals 2.0, 1 equals True, no list equals a tuple
(`bootstrap.python_values`). With `exact`, for lineages that were grown so, it asks for the same type as well: values
are JSON, an expected tuple is a list, since a returned one is, and an argument that is or holds a tuple does not
convert, since the function could tell the difference.

A literal is a number, text, bytes, a truth value, None, or a tuple, list, set or dict of literals. What is made of
literals alone is worked out here (`bootstrap.prompts.literals`; not with `exact`): arithmetic, text and lists put
together or repeated, `set([1, 2])`. Everything else is refused with a reason: a test that is left out silently is a
hole.
"""

import ast
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.prompts.literals import CONSTRUCTORS, NotLiteral, literal
from bootstrap.python_values import NotANumber, NoValue, canonical, write_value
from bootstrap.references import Call, json_value

SHOWN = 60
"""Characters of a test that a refusal quotes."""


class NotConvertible(ValueError):
    """A test says something that no call with an expected value can say."""


def calls_of_check(test: str, *, exact: bool = False) -> tuple[Call, ...]:
    """Return the calls of HumanEval's `check(candidate)`, their values Python's unless `exact`.

    Raises NotConvertible.
    """
    tree = _parse(test)
    checks = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if [check.name for check in checks] != ["check"]:
        raise NotConvertible("there is no one function check(candidate)")
    arguments = checks[0].args
    others = (*arguments.posonlyargs, *arguments.kwonlyargs, *arguments.defaults, arguments.vararg, arguments.kwarg)
    if len(arguments.args) != 1 or any(others):
        raise NotConvertible("check does not take the candidate alone")
    for node in tree.body:
        if node is not checks[0] and not _is_idle(node) and not _is_metadata(node):
            raise _refusal(node)
    return _AssertReader(function=arguments.args[0].arg, exact=exact).calls(checks[0].body)


def calls_of_asserts(tests: Sequence[str], *, exact: bool = False) -> tuple[str, tuple[Call, ...]]:
    """Return the name of the one function that MBPP's `test_list` calls, and the calls, their values Python's unless
    `exact`. Raises NotConvertible.
    """
    body = [node for test in tests for node in _parse(test).body]
    names = {node.func.id for node in _walk(body) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    names -= {"abs", "isclose", *(() if exact else CONSTRUCTORS)}
    if len(names) != 1:
        raise NotConvertible(f"{len(names)} functions are called instead of one: {', '.join(sorted(names))}"[:200])
    (function,) = names
    return function, _AssertReader(function=function, exact=exact).calls(body)


def _walk(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        yield from ast.walk(node)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    # The parser's own words for text that is no Python, holds NUL, or nests too deeply.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotConvertible(f"the test is no Python: {type(error).__name__}") from None


def _is_idle(node: ast.stmt) -> bool:
    """Whether a statement tests nothing: `pass`, a bare constant, an import of `math`."""
    if isinstance(node, ast.Import):
        return all(alias.name == "math" and alias.asname is None for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module == "math" and all(alias.asname is None for alias in node.names)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_bare_name(node: ast.stmt) -> bool:
    """Whether a statement only names something, and so tests nothing: HumanEval/129 ends its asserts with `print`."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Name)


def _is_metadata(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and all(
        isinstance(target, ast.Name) and target.id == "METADATA" for target in node.targets
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _AssertReader:
    """Reads asserts about one function."""

    function: str
    exact: bool

    def calls(self, body: Sequence[ast.stmt]) -> tuple[Call, ...]:
        calls = []
        for node in body:
            if isinstance(node, ast.Assert):
                if not (isinstance(node.test, ast.Constant) and node.test.value is True):
                    calls.append(self._call(node.test))
            elif not _is_idle(node) and (self.exact or not _is_bare_name(node)):
                raise _refusal(node)
        if not calls:
            raise NotConvertible("there is no assert to convert")
        return tuple(calls)

    def _call(self, test: ast.expr) -> Call:
        """Return what one asserted expression says."""
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
                if isinstance(op, ast.Lt):
                    # A case allows differences up to its tolerance, that value included.
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
                # `isclose` takes the larger of both magnitudes; the expected one makes a tolerance that is not wider.
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
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == self.function

    def _made(
        self, called: ast.expr, expected: Any, test: ast.expr, *, tolerance: float = 0.0, identical: bool = False
    ) -> Call:
        assert isinstance(called, ast.Call)
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
    if isinstance(value, dict):
        return any(_holds_tuple(item) for item in value.values())
    return isinstance(value, tuple) or (isinstance(value, list) and any(_holds_tuple(item) for item in value))


def _refusal(node: ast.AST) -> NotConvertible:
    return NotConvertible(f"no call with a literal: {_quoted(node)}")


def _quoted(node: ast.AST) -> str:
    try:
        text = " ".join(ast.unparse(node).split())
    except (ValueError, RecursionError):
        text = type(node).__name__
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
