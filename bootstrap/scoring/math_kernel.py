r"""Compares expressions by computer algebra. Runs in the confined process alone: sympy and its LaTeX reader are large
programs fed with a model's text, at a cost that cannot be foreseen. No clock is used; the sandbox bounds the CPU time.

1. mpmath evaluates both at fixed points with `DIGITS` digits and a bound on the error. Values further apart than the
   bounds prove them different. Math-Verify's LaTeX reader must find the same values of the reference; else the
   reference's meaning is in doubt, which is a disagreement.
2. Otherwise exact algebra (`math_algebra.py`) may prove equality, or, for algebraic numbers, a difference below their
   separation bound (`math_separation.py`). Both are cheap, and keep reordered sums and nested roots away from the
   simplification, which does not end on them.
3. The rest needs two ways that share nothing but the tree: the values, and Math-Verify's reader with its
   `sympy_symbolic_eq` (simplification of the difference). Its `verify` is not used: it rounds, so that $2^{-99}\pi$ and
   $2^{-98}\pi$ are equal to it. Close values prove nothing alone: unless the algebra agrees, they are a disagreement
   for the caller to report.

Variables are real unless the imaginary unit occurs; powers, roots and logarithms are principal values; two expressions
are equal when they are equal wherever both are defined.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from hashlib import sha256
from math import factorial
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify.grader import sympy_symbolic_eq
from mpmath import MPContext

from bootstrap.scoring import math_algebra, math_separation
from bootstrap.scoring.math_nodes import Flat, Node, flattened, rebuilt
from bootstrap.scoring.math_text import scalar

DIGITS = 200
FURTHER_DIGITS = 2_000
"""Digits of a second try, for values that are not apart at `DIGITS`."""
SYMPY_DIGITS = 50
LETTERS = "xyzabcmnpqrstuvwkXYZABCMNPQRSTUVWK"
"""Variables' names for sympy: letters that its reader takes for nothing else. Twice `MAX_VARIABLES`."""
MAX_FORM = 200
"""Characters of a form in a disagreement."""

_SIGNS: tuple[Callable[[int], int], ...] = (lambda k: 1, lambda k: -1, lambda k: (-1) ** k)
"""Sign of the k-th variable at each point, since equality for positive numbers alone is none."""

mp = MPContext()
mp.dps = DIGITS
Real = Any
"""mpmath's types are made at run time."""
Ball = tuple[Any, Any]
"""A value and a bound on its error."""


class Undefined(ValueError):
    """An expression has no value at a point."""


def compare(pairs: Sequence[Sequence[Flat]]) -> list[dict[str, str]]:
    """Return the finding on each pair (reference, answer) of scalars or equations, as trees in postfix order.

    `finding` is `equal`, `different`, `undefined` (the answer has no value), `reference` (the reference has none) or
    `disagreement`; `told` explains the last three.
    """
    trees = ([rebuilt(reference), rebuilt(answer)] for reference, answer in pairs)
    return [_compare_equations(*two) if two[0].op == "equation" else _compare(two) for two in trees]


def examine(nodes: Sequence[Flat]) -> list[str]:
    """Return why each tree of a reference cannot be compared with; "" where it can."""
    return [_examined(rebuilt(flat)) for flat in nodes]


def _examined(node: Node) -> str:
    scene = _Scene([node])
    try:
        scene.form(node, scene.values(node))
    except (Undefined, _ReadersDiffer) as error:
        return str(error)
    return ""


def _compare_equations(reference: Node, answer: Node) -> dict[str, str]:
    """Return the finding on two equations: equal as multiples of each other, or side by side."""
    if math_algebra.proportional(_sides(reference), _sides(answer)):
        return {"finding": "equal"}
    found: list[dict[str, str]] = []
    for sides in (answer.args, answer.args[::-1]):
        pairs = zip(reference.args, sides, strict=True)
        results = [{"finding": "equal"} if a == b else _compare([a, b]) for a, b in pairs]
        if all(result["finding"] == "equal" for result in results):
            return {"finding": "equal"}
        found += results
    # Findings that prevent a verdict come first, as among the expressions of one answer.
    for finding in ("reference", "disagreement", "undefined"):
        if told := next((result for result in found if result["finding"] == finding), None):
            return told
    return {"finding": "different"}


def _sides(equation: Node) -> tuple[Node, Node]:
    left, right = equation.args
    return left, right


def _compare(nodes: Sequence[Node]) -> dict[str, str]:
    scene = _Scene(nodes)
    values: list[list[Ball]] = []
    for node, finding in zip(nodes, ("reference", "undefined"), strict=True):
        try:
            values.append(scene.values(node))
        except Undefined as error:
            return {"finding": finding, "told": str(error)}
    apart = _are_apart(*values)
    if not apart and (math_algebra.equal(*nodes) or _is_separated(nodes)):
        return {"finding": "equal"}
    apart = apart or _are_apart_further(nodes, scene.points)
    try:
        reference = scene.form(nodes[0], values[0])
        # The reference is read for certain, and no other reading could make the answer equal. Asking for one would let
        # an answer that the other reader misreads escape its verdict.
        if apart:
            return {"finding": "different"}
        answer = scene.form(nodes[1], values[1])
    except _ReadersDiffer as error:
        return {"finding": "disagreement", "told": str(error)}
    if reference == answer or sympy_symbolic_eq(reference, answer):
        return {"finding": "equal"}
    # Some differences are below any number of digits, as in x + 10^{-99999}.
    if (reference - answer).is_zero is False:
        return {"finding": "different"}
    return {"finding": "disagreement", "told": _both("equal in numbers and not by algebra", reference, answer)}


class _ReadersDiffer(ValueError):
    """The two readers disagree on the meaning of an expression."""


class _Scene:
    """The points at which expressions are evaluated, and their variables' names for sympy."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        variables = sorted(set().union(*(node.variables() for node in nodes)))
        self.letters = dict(zip(variables, LETTERS, strict=False))
        points = [{name: _coordinate(k, sign) for k, name in enumerate(variables)} for sign in _SIGNS]
        # Without variables, all points are the same.
        self.points = points if variables else points[:1]
        self._is_real = None if any(node.uses("i") for node in nodes) else True
        self._symbols = {name: sympy.Symbol(self.letters[name], real=self._is_real) for name in variables}

    def values(self, node: Node) -> list[Ball]:
        """Return an expression's values at the points. Raises Undefined."""
        return [evaluate(node, point) for point in self.points]

    def form(self, node: Node, values: Sequence[Ball]) -> sympy.Expr:
        """Return the other reader's form of an expression with these values. Raises _ReadersDiffer."""
        text = latex(node, self.letters)
        try:
            form = _read(text, is_real=self._is_real)
        # The reader raises bare exceptions.
        except Exception as error:
            raise _ReadersDiffer(_both("read by one reader alone", text, f"{type(error).__name__}: {error}")) from error
        for point, ball in zip(self.points, values, strict=True):
            place = {symbol: sympy.Rational(point[name]) for name, symbol in self._symbols.items()}
            if not _agrees(form, place, ball):
                raise _ReadersDiffer(_both("read differently by two readers", text, form))
        return form


def _are_apart(reference: Sequence[Ball], answer: Sequence[Ball]) -> bool:
    """Whether the values differ by more than their errors at any point."""
    return any(
        abs(left - right) > 10 * (left_error + right_error)
        for (left, left_error), (right, right_error) in zip(reference, answer, strict=True)
    )


def _are_apart_further(nodes: Sequence[Node], points: Sequence[Mapping[str, Fraction]]) -> bool:
    """Whether the values differ at `FURTHER_DIGITS` digits."""
    with mp.workdps(FURTHER_DIGITS):
        try:
            return _are_apart(*([evaluate(node, point) for point in points] for node in nodes))
        except Undefined:
            return False


def _is_separated(nodes: Sequence[Node]) -> bool:
    """Whether two algebraic numbers are proven equal by a difference below its separation bound."""
    difference = Node("add", (nodes[0], Node("negative", (nodes[1],))))
    bits = math_separation.bits(difference)
    if bits is None:
        return False
    with mp.workprec(bits + 64):
        try:
            value, error = evaluate(difference, {})
        except Undefined:
            return False
        return bool(abs(value) + error < mp.mpf(2) ** -bits)


def _both(what: str, left: object, right: object) -> str:
    return f"{what}: {str(left)[:MAX_FORM]} and {str(right)[:MAX_FORM]}"


def _coordinate(place: int, sign: Callable[[int], int]) -> Fraction:
    """Return a variable's value at a point: pseudo-random, of magnitude 1/2 to 5/2."""
    digest = int.from_bytes(sha256(f"variable {place}".encode()).digest()[:4], "big")
    return Fraction(sign(place) * (997 + digest % 3989), 1994)


# --- for sympy ---------------------------------------------------------------------------------------------------

SUM, PRODUCT, POWER, ATOM = range(4)
"""How tightly a LaTeX text binds, loosest first."""


def latex(node: Node, letters: Mapping[str, str]) -> str:
    """Return a scalar as unambiguous LaTeX, with as few brackets as possible."""
    return _latex(node, letters)[0]


def _latex(node: Node, letters: Mapping[str, str]) -> tuple[str, int]:
    parts = [_latex(argument, letters) for argument in node.args]

    def part(place: int, tightness: int) -> str:
        text, tight = parts[place]
        return text if tight >= tightness else f"({text})"

    match node.op:
        case "number":
            value = Fraction(node.value)
            if value.denominator == 1:
                return str(value.numerator), ATOM
            return rf"\frac{{{value.numerator}}}{{{value.denominator}}}", POWER
        case "variable":
            return letters[node.value], ATOM
        case "constant":
            # The reader drops the power of a bare `I`, so brackets go around it.
            return {"pi": (r"\pi", ATOM), "e": ("e", ATOM), "i": ("I", POWER)}[node.value]
        case "factorial":
            return str(factorial(int(node.value))), ATOM
        case "negative":
            return f"-{part(0, PRODUCT)}", SUM
        case "add" if node.args[1].op == "negative":
            # The negative term brings its own sign.
            return f"{part(0, SUM)}{parts[1][0]}", SUM
        case "add":
            return f"{part(0, SUM)}+{part(1, PRODUCT)}", SUM
        case "multiply":
            return rf"{part(0, PRODUCT)}\cdot {part(1, POWER)}", PRODUCT
        case "divide":
            return rf"\frac{{{part(0, SUM)}}}{{{part(1, SUM)}}}", POWER
        case "power":
            return f"{part(0, ATOM)}^{{{part(1, SUM)}}}", POWER
        case "root" if node.args[1].value == "2":
            return rf"\sqrt{{{part(0, SUM)}}}", POWER
        case "root":
            return rf"\sqrt[{part(1, SUM)}]{{{part(0, SUM)}}}", POWER
        case "log":
            return rf"\log_{{{part(0, SUM)}}}({part(1, SUM)})", POWER
        case "function" if node.value == "exp":
            return f"e^{{{part(0, SUM)}}}", POWER
        case "function" if node.value == "abs":
            return rf"\lvert{{{part(0, SUM)}}}\rvert", POWER
        case "function":
            return rf"\{node.value}({part(0, SUM)})", POWER
    raise AssertionError(f"{node.op} is no scalar")


@cache
def _read(text: str, *, is_real: bool | None) -> Any:
    config = ConversionConfig(lowercase_symbols=False)
    return latex2sympy(text, is_real=is_real, normalization_config=None, conversion_config=config)


def _agrees(form: Any, point: dict[Any, Any], ball: Ball) -> bool:
    """Whether sympy's form has our value at a point (sympy's symbols -> sympy's rationals)."""
    if not isinstance(form, sympy.Expr):
        return False
    value = form.evalf(SYMPY_DIGITS, subs=point)
    if not (value.is_number and value.is_finite):
        return False
    parts = [part.evalf(SYMPY_DIGITS) for part in value.as_real_imag()]
    if not all(part.is_Float or part.is_Rational for part in parts):
        return False
    other = mp.mpc(*(part._to_mpmath(mp.prec) for part in parts))
    tolerance = mp.mpf(10) ** -30 * abs(ball[0]) + mp.mpf(10) ** -45 + 10 * ball[1]
    return bool(abs(other - ball[0]) <= tolerance)


# --- by ourselves ------------------------------------------------------------------------------------------------


def _epsilon() -> Real:
    """Return a bound on the relative error of one operation."""
    return mp.mpf(10) ** (5 - mp.dps)


def evaluate(node: Node, point: Mapping[str, Fraction]) -> Ball:
    """Return a scalar's value at a point, and a bound on the error.

    Raises Undefined where it has no value, or where the error does not rule that out.
    """
    balls = [evaluate(argument, point) for argument in node.args]
    try:
        value, error = _operation(node, balls, point)
    except OverflowError:
        raise Undefined("no value: too large") from None
    if not (mp.isfinite(value) and mp.isfinite(error)):
        raise Undefined("no value: infinite")
    return value, error + abs(value) * _epsilon()


def _operation(node: Node, balls: Sequence[Ball], point: Mapping[str, Fraction]) -> Ball:
    """Return the value of one operation on values with errors, and its error."""
    match node.op:
        case "number" | "factorial" | "variable":
            number = point[node.value] if node.op == "variable" else Fraction(node.value)
            number = Fraction(factorial(int(number))) if node.op == "factorial" else number
            return mp.mpf(number.numerator) / number.denominator, mp.mpf(0)
        case "constant":
            return {"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1)}[node.value], mp.mpf(0)
        case "negative":
            return -balls[0][0], balls[0][1]
        case "add":
            return balls[0][0] + balls[1][0], balls[0][1] + balls[1][1]
        case "multiply":
            (a, da), (b, db) = balls
            return a * b, abs(a) * db + abs(b) * da + da * db
        case "divide":
            return _quotient(*balls)
        case "power":
            return _power(*balls)
        case "root":
            return _power(balls[0], (1 / balls[1][0], _epsilon()))
        case "log":
            return _quotient(_logarithm(balls[1]), _logarithm(balls[0]))
        case "function":
            return _function(node.value, balls[0])
    raise AssertionError(f"{node.op} is no scalar")


def _quotient(above: Ball, below: Ball) -> Ball:
    (a, da), (b, db) = above, below
    if abs(b) <= 10 * db:
        raise Undefined("no value: division by zero")
    return a / b, (da + abs(a / b) * db) / (abs(b) - db)


def _power(base: Ball, exponent: Ball) -> Ball:
    (b, db), (x, dx) = base, exponent
    if abs(b) <= 10 * db or b == 0:
        if mp.re(x) <= dx:
            raise Undefined("no value: a power of zero")
        return mp.mpf(0), mp.power(11 * db, mp.re(x)) if db else mp.mpf(0)
    value = mp.power(b, x)
    return value, abs(value) * (abs(x) * db / (abs(b) - db) + abs(mp.log(b)) * dx + (1 + abs(x)) * _epsilon())


def _logarithm(argument: Ball) -> Ball:
    a, da = argument
    if abs(a) <= 10 * da:
        raise Undefined("no value: a logarithm of zero")
    return mp.log(a), da / (abs(a) - da) + _epsilon()


def _function(name: str, argument: Ball) -> Ball:
    a, da = argument
    # Neither sine nor cosine grows faster than this.
    slope = mp.cosh(mp.im(a))
    sine, cosine = (mp.sin(a), slope * (da + _epsilon())), (mp.cos(a), slope * (da + _epsilon()))
    one = (mp.mpf(1), mp.mpf(0))
    match name:
        case "sin":
            return sine
        case "cos":
            return cosine
        case "tan":
            return _quotient(sine, cosine)
        case "cot":
            return _quotient(cosine, sine)
        case "sec":
            return _quotient(one, cosine)
        case "csc":
            return _quotient(one, sine)
        case "arcsin":
            return mp.asin(a), da / mp.sqrt(max(abs(1 - a * a), da, _epsilon())) + _epsilon()
        case "arccos":
            return mp.acos(a), da / mp.sqrt(max(abs(1 - a * a), da, _epsilon())) + _epsilon()
        case "arctan":
            if abs(1 + a * a) <= 10 * (da + _epsilon()):
                raise Undefined("no value: an arc tangent of the imaginary unit")
            return mp.atan(a), 2 * da / abs(1 + a * a) + _epsilon()
        case "ln":
            return _logarithm(argument)
        case "exp":
            return mp.exp(a), abs(mp.exp(a)) * da
        case "abs":
            return abs(a), da
    raise AssertionError(f"{name} is no function")


def _warm() -> None:
    """Fill the caches of sympy and of its LaTeX reader's grammar before the fork of confined processes."""
    pairs = [
        (r"\frac{\sqrt{2}}{2}", r"1/\sqrt{2}"),
        (r"\pi + \sqrt{2}\pi", r"\pi(1 + \sqrt{2})"),
        ("x^2-y^2", "(x-y)(x+y)"),
        (r"\sin(x)\cos(y) + \cos(x)\sin(y)", r"\sin(x+y)"),
        (r"e^{2\pi} \ln(3) + \frac{1}{2}x^2y^3", r"e^{\pi}e^{\pi}\log_{2}(3) \ln(2) + \frac{1}{2}y^3x^2"),
        (r"\tan(x)", r"\frac{\sin(x)}{\cos(x)}"),
        (r"\sqrt{x^2+2x+1}\sqrt{x^2}", r"\sqrt{x^2}\sqrt{(x+1)(x+1)}"),
        (r"\arctan(x) + 4i", r"4i + \arctan(\frac{x+x}{2})"),
        (r"\pi + \sqrt{2}", r"\pi + \sqrt{3}"),
    ]
    compare([[flattened(scalar(text)) for text in pair] for pair in pairs])


_warm()
