"""Mathematics after reading: trees of operations with their exact values, members of answers, whole answers.

Standard library only, since driver and confined process share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial
from typing import Any, Literal, get_args

MAX_BITS = 8_192
"""Largest numerator or denominator of an exact value, in bits."""

Kind = Literal["number", "tuple", "set", "interval", "expression", "equation", "inequality", "matrix", "ratio", "word"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Unreadable(ValueError):
    """A text is outside the grammar, or has no value; the message says why."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    op        arguments           value
    number                        its digits, or a fraction as `13/99`
    variable                      its name, as `x` or `x_{1}`
    constant                      pi, e or i
    infinity                      + or -
    factorial                     its argument's digits
    function  argument            a name of `math_scalar.FUNCTIONS`, or `abs`
    log       base, argument
    root      radicand, index
    negative  argument
    add, multiply, divide, power  two
    equation  its sides
    """

    op: str
    args: tuple["Node", ...] = ()
    value: str = ""

    def variables(self) -> set[str]:
        """Return the names of its variables."""
        names = {self.value} if self.op == "variable" else set()
        return names.union(*(argument.variables() for argument in self.args))

    def uses(self, constant: str) -> bool:
        """Whether a constant occurs in it."""
        return (self.op == "constant" and self.value == constant) or any(a.uses(constant) for a in self.args)


Flat = list[list[Any]]
"""A tree in postfix order: name, number of arguments and value of each operation. Flat JSON, however deep the tree."""


def flattened(node: Node) -> Flat:
    """Return a tree as JSON."""
    return [*(step for argument in node.args for step in flattened(argument)), [node.op, len(node.args), node.value]]


def rebuilt(flat: Flat) -> Node:
    """Return the tree that `flattened` wrote."""
    stack: list[Node] = []
    for op, count, value in flat:
        arguments = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(Node(op, arguments, value))
    [node] = stack
    return node


@dataclass(frozen=True, slots=True)
class Item:
    """A scalar, or an end of an interval."""

    text: str
    """Its tokens, joined by spaces."""
    node: Node
    exact: Fraction | None
    """Its value by exact arithmetic within `MAX_BITS`, if it has one."""
    unit: str = ""
    """The unit beside it in the form of `math_units.unit_of`, as `cm^2`, `percent` or `apple`."""


@dataclass(frozen=True, slots=True)
class Block:
    """One member of an answer.

    shape                  items
    none                   a scalar
    `base 5`               a number written in that base; its items hold the value
    `()`, `(]`, `{}`, ...  a tuple or an interval by its brackets; a member of a set among intervals
    `row`                  a matrix's row
    `=`, `<`, `<=<`, ...   the sides of a relation
    `:`, `time`            a ratio's parts; hours and minutes
    `word east`            none
    """

    shape: str
    items: tuple[Item, ...]
    name: str = ""
    """The name of its value, as the x of `x = 5`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The meaning of a text."""

    kind: Kind
    blocks: tuple[Block, ...]
    ordered: bool
    r"""Whether order and repetitions of blocks count: in a tuple, not in a set, united intervals or values of one
    `\pm`."""
    bare: bool = False
    """Whether it is a list without brackets."""

    @property
    def text(self) -> str:
        """The mathematics that it was read from."""
        return ", ".join(item.text for block in self.blocks for item in block.items)

    @property
    def unit_letters(self) -> frozenset[str]:
        """One-letter units beside its numbers; an answer to it may write them without `\\text`."""
        units = (item.unit for block in self.blocks for item in block.items)
        return frozenset(part[0] for unit in units for part in unit.split() if len(part.split("^")[0]) == 1)


def exact(node: Node) -> Fraction | None:
    """Return a tree's value by exact arithmetic within `MAX_BITS`, or None.

    Raises Unreadable where the value is undefined, as in a division by zero.
    """
    values = [exact(argument) for argument in node.args]
    match node.op, *values:
        case "number", *_:
            result = Fraction(node.value)
        case "factorial", *_:
            result = Fraction(factorial(int(node.value)))
        case "divide", _, Fraction(numerator=0):
            raise Unreadable("division by zero")
        case "power", Fraction(numerator=0), Fraction() as exponent if exponent <= 0:
            raise Unreadable("no value: a power of zero")
        case "negative", Fraction() as argument:
            result = -argument
        case "function", Fraction() as argument if node.value == "abs":
            result = abs(argument)
        case "add", Fraction() as left, Fraction() as right:
            result = left + right
        case "multiply", Fraction() as left, Fraction() as right:
            result = left * right
        case "divide", Fraction() as left, Fraction() as right:
            result = left / right
        case "power", Fraction() as base, Fraction(denominator=1) as exponent:
            if max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(exponent.numerator) > MAX_BITS:
                return None
            result = base**exponent.numerator
        case _:
            return None
    return result if max(result.numerator.bit_length(), result.denominator.bit_length()) <= MAX_BITS else None


def joined(words: Sequence[str]) -> str:
    """Return tokens as one text."""
    return " ".join(words)
