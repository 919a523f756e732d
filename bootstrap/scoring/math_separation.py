"""Proves that an algebraic number is zero by its size, since any other one is at least a separation bound.

The bound is that of Burnikel, Funke, Mehlhorn, Schirra and Schmitt (A separation bound for real algebraic expressions,
ESA 2001). An expression E of integers, roots and the four operations is U/L, both algebraic integers. With u and l
bounds on the magnitudes of all conjugates of U and L, and D the product of the indices of the distinct roots in it,

    E = 0    or    |E| >= 1 / (u^(D-1) l)

                u                      l                                      u                        l
    integer n   |n|                    1               A / B     u_A l_B                  l_A u_B
    A + B       u_A l_B + l_A u_B      l_A l_B         root k    (u_A l_A^(k-1))^(1/k)    l_A
    A * B       u_A u_B                l_A l_B         i         1                        1

The imaginary unit is a root of index 2. The argument needs no real numbers: a conjugate of a sum, product or root of
algebraic integers is one of conjugates, and the product of all conjugates of U is an integer.
"""

import math
from fractions import Fraction
from math import factorial

from bootstrap.scoring.math_nodes import Node

MAX_DEGREE = 4_096
MAX_BITS = 30_000
SLACK = 1e-9
"""Generous bound on the relative error of a logarithm here."""

_Bounds = tuple[float, float]
"""Base-2 logarithms of u and l."""


def bits(node: Node) -> int | None:
    """Return an n such that an expression's value is zero or of magnitude at least 2^-n.

    None where the expression is not algebraic, or n would exceed `MAX_BITS`.
    """
    radicals: dict[Node, int] = {}
    try:
        upper, lower = _bounds(node, radicals)
    except _NotAlgebraic:
        return None
    degree = math.prod(radicals.values())
    if degree > MAX_DEGREE:
        return None
    needed = ((degree - 1) * upper + lower) * (1 + SLACK) + 1
    return math.ceil(needed) if needed <= MAX_BITS else None


class _NotAlgebraic(Exception):
    """An expression is not made of integers, roots and the four operations."""


def _bounds(node: Node, radicals: dict[Node, int]) -> _Bounds:
    match node.op:
        case "number":
            return _rational(Fraction(node.value))
        case "factorial":
            return _rational(Fraction(factorial(int(node.value))))
        case "constant" if node.value == "i":
            radicals[node] = 2
            return 0.0, 0.0
        case "negative":
            return _bounds(node.args[0], radicals)
        case "add":
            (u, k), (v, m) = (_bounds(argument, radicals) for argument in node.args)
            return _log_sum(u + m, k + v), k + m
        case "multiply":
            (u, k), (v, m) = (_bounds(argument, radicals) for argument in node.args)
            return u + v, k + m
        case "divide":
            (u, k), (v, m) = (_bounds(argument, radicals) for argument in node.args)
            return u + m, k + v
        case "root":
            radicals[node] = index = int(node.args[1].value)
            return _root(_bounds(node.args[0], radicals), index)
        case "power":
            return _power(node, radicals)
    raise _NotAlgebraic


def _power(node: Node, radicals: dict[Node, int]) -> _Bounds:
    exponent = _fraction(node.args[1])
    if exponent is None or exponent.denominator > MAX_DEGREE:
        raise _NotAlgebraic
    found = _bounds(node.args[0], radicals)
    if exponent.denominator > 1:
        radicals[Node("root", (node.args[0], Node("number", value=str(exponent.denominator))))] = exponent.denominator
        found = _root(found, exponent.denominator)
    upper, lower = found if exponent > 0 else found[::-1]
    return upper * abs(exponent.numerator), lower * abs(exponent.numerator)


def _root(bounds: _Bounds, index: int) -> _Bounds:
    upper, lower = bounds
    return (upper + (index - 1) * lower) / index, lower


def _rational(value: Fraction) -> _Bounds:
    return _log(abs(value.numerator)), _log(value.denominator)


def _log(number: int) -> float:
    return math.log2(number) if number > 1 else 0.0


def _log_sum(left: float, right: float) -> float:
    high, low = max(left, right), min(left, right)
    return high + math.log2(1 + 2.0 ** max(low - high, -1000.0))


def _fraction(node: Node) -> Fraction | None:
    """Return the value of an exponent written as a rational number, or None."""
    match node.op:
        case "number":
            return Fraction(node.value)
        case "negative":
            value = _fraction(node.args[0])
            return None if value is None else -value
        case "divide":
            above, below = (_fraction(argument) for argument in node.args)
            return above / below if above is not None and below else None
    return None
