r"""Proves by exact algebra that two expressions are equal: no digits, no search, a bounded number of steps.

An expression becomes a quotient of two polynomials with rational coefficients, in *atoms*: variables, constants, and
roots, functions and powers of normal forms. Two expressions are equal when their cross products are the same
polynomial. These identities of atoms are used, each of which holds wherever both sides are defined:

    root(k, A)^k = A                         i^2 = -1                       sin(A)^2 = 1 - cos(A)^2
    root(k, c A) = root(k, c) root(k, A)     for a rational c > 0           tan = sin/cos, cot = cos/sin, ...
    root(k, p q) = root(k, p) root(k, q)     for positive integers          A^(p/q) = root(q, A)^p
    ln(p q) = ln p + ln q                    for positive integers          log_b A = ln A / ln b

So reordered sums, expanded products, rationalised denominators and cancelled factors are proven; denested roots and
sums of angles are not. A failed proof never means that two expressions differ.

Standard library only.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import factorial, gcd, lcm

from bootstrap.scoring.math_nodes import MAX_BITS, Node

MAX_STEPS = 30_000
"""Steps of one comparison: products of two terms, operations read, and `STEP_BITS` of coefficients kept."""
STEP_BITS = 1_024
MAX_TERMS = 600
MAX_POWER = 64
MAX_COEFFICIENT_BITS = min(MAX_BITS, 4_096)
LARGEST_PRIME = 2_000
"""Largest prime factor that is searched for; the rest of an integer counts as one factor."""

Monomial = tuple[tuple[str, int], ...]
"""Atoms with their exponents, sorted."""
Polynomial = dict[Monomial, Fraction]
Ratio = tuple[Polynomial, Polynomial]
_Form = tuple[tuple[tuple[Monomial, Fraction], ...], ...]
"""A quotient in one form: the sorted terms of its scaled numerator and denominator."""

_ONE: Monomial = ()
_SPLIT = {"tan": ("sin", "cos"), "cot": ("cos", "sin"), "sec": ("", "cos"), "csc": ("", "sin")}


class Beyond(Exception):
    """A proof exceeds a bound of this module, or its rules."""


def equal(left: Node, right: Node) -> bool:
    """Whether two expressions are proven equal."""
    work = _Work()
    try:
        (a, b), (c, d) = work.ratio(left), work.ratio(right)
        return work.product(a, d) == work.product(c, b)
    except Beyond:
        return False


def proportional(left: tuple[Node, Node], right: tuple[Node, Node]) -> bool:
    """Whether two equations, of two sides each, are proven equivalent: their differences have a constant ratio.

    False for equations with denominators, which would exclude points.
    """
    work = _Work()
    try:
        differences = []
        for above, below in (work.ratio(Node("add", (a, Node("negative", (b,))))) for a, b in (left, right)):
            if not above or set(below) != {_ONE} or set(above) == {_ONE}:
                return False
            differences.append(above)
    except Beyond:
        return False
    first, second = differences
    if first.keys() != second.keys():
        return False
    return len({first[monomial] / second[monomial] for monomial in first}) == 1


class _Work:
    """One comparison: its atoms and its remaining steps."""

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._numbers: dict[_Form | int, int] = {}
        """Normal forms and integers inside atoms -> number; atoms named by the forms would grow with each nesting."""
        self._reduced: dict[str, tuple[int, Polynomial]] = {}
        """Atom -> the power of it that equals a polynomial in other atoms, and that polynomial."""

    # --- polynomials ---------------------------------------------------------------------------------------------

    def product(self, left: Polynomial, right: Polynomial) -> Polynomial:
        self._spend(len(left) * len(right) * (1 + (_bits(left) + _bits(right)) // STEP_BITS))
        found: Polynomial = {}
        todo: list[tuple[Monomial, Fraction]] = []
        for a, x in left.items():
            for b, y in right.items():
                todo.append((_times(a, b), x * y))
        while todo:
            monomial, coefficient = todo.pop()
            reduced = self._reduce(monomial)
            if reduced is None:
                _add(found, monomial, coefficient)
                continue
            rest, polynomial = reduced
            self._spend(len(polynomial) * (1 + coefficient.numerator.bit_length() // STEP_BITS))
            todo += [(_times(rest, other), coefficient * factor) for other, factor in polynomial.items()]
        return self._bounded(found)

    def sum(self, left: Polynomial, right: Polynomial) -> Polynomial:
        self._spend(len(left) + len(right))
        found = dict(left)
        for monomial, coefficient in right.items():
            _add(found, monomial, coefficient)
        return self._bounded(found)

    def _reduce(self, monomial: Monomial) -> tuple[Monomial, Polynomial] | None:
        """Return a monomial without its first reducible atom, and that atom's polynomial; None without such an atom."""
        for place, (atom, power) in enumerate(monomial):
            if atom in self._reduced and power >= self._reduced[atom][0]:
                step, polynomial = self._reduced[atom]
                kept = ((atom, power - step),) if power > step else ()
                return monomial[:place] + kept + monomial[place + 1 :], polynomial
        return None

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise Beyond

    def _bounded(self, polynomial: Polynomial) -> Polynomial:
        if len(polynomial) > MAX_TERMS or _bits(polynomial) > MAX_COEFFICIENT_BITS:
            raise Beyond
        self._spend(len(polynomial) * _bits(polynomial) // STEP_BITS)
        return polynomial

    def _number(self, inner: "_Form | int") -> str:
        """Return a short name for the inside of an atom; equal insides share one."""
        return f"#{self._numbers.setdefault(inner, len(self._numbers))}"

    def _form(self, ratio: Ratio) -> str:
        """Return a short name; quotients that differ by scaling alone share one."""
        above, below = ratio
        self._spend(len(above) + len(below))
        leading = below[min(below)]
        first, second = (tuple(sorted((m, c / leading) for m, c in part.items())) for part in (above, below))
        return self._number((first, second))

    # --- quotients -----------------------------------------------------------------------------------------------

    def ratio(self, node: Node) -> Ratio:
        """Return an expression as a quotient. Raises Beyond."""
        self._spend(1)
        match node.op:
            case "number":
                return _constant(Fraction(node.value))
            case "factorial":
                return _constant(Fraction(factorial(int(node.value))))
            case "variable":
                return _atom(f"variable {node.value}")
            case "constant" if node.value == "i":
                self._reduced["i"] = (2, {_ONE: Fraction(-1)})
                return _atom("i")
            case "constant":
                return _atom(node.value)
            case "negative":
                above, below = self.ratio(node.args[0])
                return {monomial: -c for monomial, c in above.items()}, below
            case "add":
                return self._sum_of(self.ratio(node.args[0]), self.ratio(node.args[1]))
            case "multiply":
                return self._product_of(self.ratio(node.args[0]), self.ratio(node.args[1]))
            case "divide":
                return self._product_of(self.ratio(node.args[0]), _inverse(self.ratio(node.args[1])))
            case "power":
                return self._power(node.args[0], node.args[1])
            case "root":
                return self._root(self.ratio(node.args[0]), int(node.args[1].value))
            case "log":
                base, argument = (self._logarithm(self.ratio(argument)) for argument in node.args)
                return self._product_of(argument, _inverse(base))
            case "function":
                return self._function(node.value, node.args[0])
        raise Beyond

    def _sum_of(self, left: Ratio, right: Ratio) -> Ratio:
        if left[1] == right[1]:
            return self.sum(left[0], right[0]), left[1]
        above = self.sum(self.product(left[0], right[1]), self.product(right[0], left[1]))
        return _simplified(above, self.product(left[1], right[1]))

    def _product_of(self, left: Ratio, right: Ratio) -> Ratio:
        return _simplified(self.product(left[0], right[0]), self.product(left[1], right[1]))

    def _integer_power(self, base: Ratio, exponent: int) -> Ratio:
        if abs(exponent) > MAX_POWER:
            raise Beyond
        if exponent < 0:
            base = _inverse(base)
        result = _constant(Fraction(1))
        for _ in range(abs(exponent)):
            result = self._product_of(result, base)
        return result

    def _power(self, base: Node, exponent: Node) -> Ratio:
        above = self.ratio(exponent)
        power = _value(above)
        if power is not None and power.denominator == 1:
            return self._integer_power(self.ratio(base), power.numerator)
        if power is not None and power.denominator <= MAX_POWER:
            return self._integer_power(self._root(self.ratio(base), power.denominator), power.numerator)
        return _atom(f"power({self._form(self.ratio(base))}; {self._form(above)})")

    def _root(self, radicand: Ratio, index: int) -> Ratio:
        above, below = radicand
        if not above:
            return radicand
        if set(below) != {_ONE}:
            return _atom(f"root({index}; {self._form(radicand)})")
        # One integer denominator is taken out of the root: root(k, P/q) = root(k, P q^(k-1)) / q.
        scale = below[_ONE]
        polynomial = {monomial: c / scale for monomial, c in above.items()}
        denominator = 1
        for c in polynomial.values():
            denominator = lcm(denominator, c.denominator)
            if denominator.bit_length() * index > MAX_COEFFICIENT_BITS:
                raise Beyond
        integers = {monomial: int(c * denominator) for monomial, c in polynomial.items()}
        content = gcd(*integers.values())
        inner = {monomial: c // content for monomial, c in integers.items()}
        result = self._product_of(
            self._integer_root(content * denominator ** (index - 1), index), _constant(Fraction(1, denominator))
        )
        if inner == {_ONE: 1}:
            return result
        if inner == {_ONE: -1} and index == 2:
            self._reduced["i"] = (2, {_ONE: Fraction(-1)})
            return self._product_of(result, _atom("i"))
        radicand_left: Polynomial = {monomial: Fraction(c) for monomial, c in inner.items()}
        atom = f"root({index}; {self._form((radicand_left, {_ONE: Fraction(1)}))})"
        self._reduced[atom] = (index, radicand_left)
        return self._product_of(result, _atom(atom))

    def _integer_root(self, number: int, index: int) -> Ratio:
        """Return the root of a positive integer: a product of roots of primes."""
        if number.bit_length() > MAX_COEFFICIENT_BITS:
            raise Beyond
        outside, atoms = 1, {}
        for prime, power in self._factors(number).items():
            outside *= prime ** (power // index)
            if power % index:
                atom = f"root({index}; {self._number(prime)})"
                self._reduced[atom] = (index, {_ONE: Fraction(prime)})
                atoms[atom] = power % index
        return {tuple(sorted(atoms.items())): Fraction(outside)}, {_ONE: Fraction(1)}

    def _factors(self, number: int) -> dict[int, int]:
        found: dict[int, int] = {}
        divisor = 2
        while divisor <= LARGEST_PRIME and divisor * divisor <= number:
            while number % divisor == 0:
                found[divisor] = found.get(divisor, 0) + 1
                number //= divisor
            divisor += 1
        self._spend(divisor // 10)
        if number > 1:
            found[number] = found.get(number, 0) + 1
        return found

    def _logarithm(self, argument: Ratio) -> Ratio:
        value = _value(argument)
        if value is None or value <= 0:
            return _atom(f"ln({self._form(argument)})")
        found: Polynomial = {}
        for sign, number in ((1, value.numerator), (-1, value.denominator)):
            for prime, power in self._factors(number).items():
                _add(found, ((f"ln({self._number(prime)})", 1),), Fraction(sign * power))
        return found, {_ONE: Fraction(1)}

    def _function(self, name: str, argument: Node) -> Ratio:
        if name == "exp":
            return self._power(Node("constant", value="e"), argument)
        inner = self.ratio(argument)
        if name == "ln":
            return self._logarithm(inner)
        key = self._form(inner)
        if name in ("sin", "cos", *_SPLIT):
            sine, cosine = f"sin({key})", f"cos({key})"
            self._reduced[sine] = (2, {_ONE: Fraction(1), ((cosine, 2),): Fraction(-1)})
            atoms = {"sin": _atom(sine), "cos": _atom(cosine), "": _constant(Fraction(1))}
            if name not in _SPLIT:
                return atoms[name]
            above, below = _SPLIT[name]
            return self._product_of(atoms[above], _inverse(atoms[below]))
        return _atom(f"{name}({key})")


def _times(left: Monomial, right: Monomial) -> Monomial:
    if not left or not right:
        return left or right
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items()))


def _add(polynomial: Polynomial, monomial: Monomial, coefficient: Fraction) -> None:
    value = polynomial.get(monomial, Fraction(0)) + coefficient
    if value:
        polynomial[monomial] = value
    else:
        polynomial.pop(monomial, None)


def _constant(value: Fraction) -> Ratio:
    return ({_ONE: value} if value else {}), {_ONE: Fraction(1)}


def _atom(name: str) -> Ratio:
    return {((name, 1),): Fraction(1)}, {_ONE: Fraction(1)}


def _inverse(ratio: Ratio) -> Ratio:
    if not ratio[0]:
        raise Beyond
    return ratio[1], ratio[0]


def _value(ratio: Ratio) -> Fraction | None:
    """Return the value of a quotient of constants, or None."""
    above, below = ratio
    if not set(above) <= {_ONE} or set(below) != {_ONE}:
        return None
    return above.get(_ONE, Fraction(0)) / below[_ONE]


def _simplified(above: Polynomial, below: Polynomial) -> Ratio:
    """Return a quotient without a constant factor in its denominator and without common factors that are atoms."""
    if not below:
        raise Beyond
    if len(below) == 1:
        [(monomial, coefficient)] = below.items()
        shared = _shared({*above, monomial})
        if coefficient != 1 or shared:
            above = {_without(m, shared): c / coefficient for m, c in above.items()}
            below = {_without(monomial, shared): Fraction(1)}
    return above, below


def _shared(monomials: set[Monomial]) -> Mapping[str, int]:
    first, *others = monomials
    powers = dict(first)
    for monomial in others:
        here = dict(monomial)
        powers = {atom: min(power, here[atom]) for atom, power in powers.items() if atom in here}
        if not powers:
            break
    return powers


def _without(monomial: Monomial, powers: Mapping[str, int]) -> Monomial:
    return tuple((atom, power - powers.get(atom, 0)) for atom, power in monomial if power != powers.get(atom, 0))


def _bits(polynomial: Polynomial) -> int:
    """Return the size of the largest numerator or denominator, in bits."""
    sizes = (max(c.numerator.bit_length(), c.denominator.bit_length()) for c in polynomial.values())
    return max(sizes, default=0)
