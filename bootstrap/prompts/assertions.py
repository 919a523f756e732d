"""Assert-style tests turned into calls with expected values, by reading their syntax tree; nothing is executed.

HumanEval (arXiv:2107.03374) has a function `check(candidate)` full of asserts, MBPP (arXiv:2108.07732) a list of
asserts. Run as they stand, next to the answer, they are easily fooled: by an object that equals everything, or by an
exit. As calls with expected values they can be judged from outside. What converts, `f` being the function:

    assert f(args) == literal        assert literal == f(args)
    assert f(args) is None           or True or False
    assert f(args)                   must be True
    assert not f(args)               must be False
    assert abs(f(args) - literal) < tolerance                  or <=
    assert math.isclose(f(args), literal, rel_tol=..., abs_tol=...)

Arguments and expected values must be literals that JSON can hold. An expected tuple becomes a list, since a returned
one does too; a tuple as argument does not convert, since the function could tell the difference. Everything else is
refused with a reason: a test that is left out silently is a hole.
"""

import ast
import math
from collections.abc import Iterator, Sequence
from typing import Any

from bootstrap.references import Call, json_value

SHOWN = 60
"""Characters of a test that a refusal quotes."""


class NotConvertible(ValueError):
    """A test says something that no call with an expected value can say."""


def calls_of_check(test: str) -> tuple[Call, ...]:
    """Return the calls of HumanEval's `check(candidate)`. Raises NotConvertible."""
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
    return _calls(checks[0].body, function=arguments.args[0].arg)


def calls_of_asserts(tests: Sequence[str]) -> tuple[str, tuple[Call, ...]]:
    """Return the name of the one function that MBPP's `test_list` calls, and the calls. Raises NotConvertible."""
    body = [node for test in tests for node in _parse(test).body]
    names = {node.func.id for node in _walk(body) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    names -= {"abs", "isclose"}
    if len(names) != 1:
        raise NotConvertible(f"{len(names)} functions are called instead of one: {', '.join(sorted(names))}"[:200])
    (function,) = names
    return function, _calls(body, function=function)


def _walk(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        yield from ast.walk(node)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    # The parser's own words for text that is no Python, holds NUL, or nests too deeply.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotConvertible(f"the test is no Python: {type(error).__name__}") from None


def _calls(body: Sequence[ast.stmt], *, function: str) -> tuple[Call, ...]:
    calls = []
    for node in body:
        if isinstance(node, ast.Assert):
            if not (isinstance(node.test, ast.Constant) and node.test.value is True):
                calls.append(_call(node.test, function))
        elif not _is_idle(node):
            raise _refusal(node)
    if not calls:
        raise NotConvertible("there is no assert to convert")
    return tuple(calls)


def _is_idle(node: ast.stmt) -> bool:
    """Whether a statement tests nothing: `pass`, a bare constant, an import of `math`."""
    if isinstance(node, ast.Import):
        return all(alias.name == "math" and alias.asname is None for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module == "math" and all(alias.asname is None for alias in node.names)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_metadata(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and all(
        isinstance(target, ast.Name) and target.id == "METADATA" for target in node.targets
    )


def _call(test: ast.expr, function: str) -> Call:
    """Return what one asserted expression says."""
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            if _is_call(left, function):
                return _made(left, _literal(right), test)
            if _is_call(right, function):
                return _made(right, _literal(left), test)
        case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None | True | False) as right]):
            if _is_call(left, function):
                return _made(left, right.value, test)
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(left=one, op=ast.Sub(), right=other)], keywords=[]),
            ops=[ast.Lt() | ast.LtE() as op],
            comparators=[bound],
        ):
            tolerance = _number(bound)
            if isinstance(op, ast.Lt):
                # A case allows differences up to its tolerance, that value included.
                tolerance = math.nextafter(tolerance, 0.0)
            return _near(one, other, function, tolerance=tolerance, test=test)
        case ast.Call(
            func=ast.Name(id="isclose") | ast.Attribute(value=ast.Name(id="math"), attr="isclose"),
            args=[one, other],
            keywords=keywords,
        ):
            options = {"rel_tol": 1e-9, "abs_tol": 0.0}
            for keyword in keywords:
                if keyword.arg not in options:
                    raise _refusal(test)
                options[keyword.arg] = _number(keyword.value)
            number = _number(other if _is_call(one, function) else one)
            # `isclose` takes the larger of both magnitudes; the expected one makes a tolerance that is not wider.
            return _near(
                one, other, function, tolerance=max(options["abs_tol"], options["rel_tol"] * abs(number)), test=test
            )
        case ast.UnaryOp(op=ast.Not(), operand=operand) if _is_call(operand, function):
            return _made(operand, False, test)
        case ast.Call() if _is_call(test, function):
            return _made(test, True, test)
    raise _refusal(test)


def _near(one: ast.expr, other: ast.expr, function: str, *, tolerance: float, test: ast.expr) -> Call:
    called, number = (one, other) if _is_call(one, function) else (other, one)
    if not _is_call(called, function):
        raise _refusal(test)
    if not tolerance > 0:
        raise NotConvertible(f"a tolerance of {tolerance:g}: {_quoted(test)}")
    return _made(called, _number(number), test, tolerance=tolerance)


def _is_call(node: ast.expr, function: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function


def _made(called: ast.expr, expected: Any, test: ast.expr, *, tolerance: float = 0.0) -> Call:
    assert isinstance(called, ast.Call)
    args = [_literal(argument) for argument in called.args]
    kwargs = {}
    for keyword in called.keywords:
        if keyword.arg is None:
            raise _refusal(test)
        kwargs[keyword.arg] = _literal(keyword.value)
    if _holds_tuple([args, kwargs]):
        raise NotConvertible(f"an argument is a tuple, which JSON cannot hold: {_quoted(test)}")
    try:
        return Call(
            args=tuple(json_value(args)), kwargs=json_value(kwargs), expected=json_value(expected), tolerance=tolerance
        )
    except ValueError:
        raise NotConvertible(f"a value that JSON cannot hold: {_quoted(test)}") from None


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise NotConvertible(f"no literal: {_quoted(node)}") from None


def _number(node: ast.expr) -> float:
    value = _literal(node)
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
