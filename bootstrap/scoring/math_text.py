r"""Reads mathematics as people write it in a box: a strict subset of LaTeX, plain `2^10/3` included, to a tree.

The whole text is read or none of it; what people read differently is refused rather than guessed: mixed numbers
(`2\frac{1}{2}`), `1/2x`, `\sin 2x`, `\log` without a base, `f(x)`, `1,234`, percent signs, units, words. Length, depth,
exponents and factorials are bounded before anything is computed.

    answer     = scalar | equation | list | tuple | set | intervals
    equation   = scalar "=" scalar
    list       = scalar "," scalar {"," scalar}                       a tuple, or a set where a set is asked for
    tuple      = "(" list ")"
    set        = "\{" [element {"," element}] "\}" | "\emptyset"      element = scalar | tuple
    intervals  = interval {"\cup" interval}                           interval = "(" | "[" end "," end ")" | "]"
    scalar     = [sign] product {sign product}
    product    = power {("*" | "\cdot" | "\times" | "/" | "\div" | nothing) power}
    power      = atom ["^" exponent] | integer "!"
    atom       = number | letter ["_" index] | "\pi" | "e" | "i" | group | "\frac" ... | "\sqrt" ... | function ...

Standard library only: the driver reads answers with it before it spends anything on them, and the confined process
(`math_kernel.py`) reads them again.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import factorial
from typing import Literal, get_args

MAX_CHARACTERS = 256
MAX_DEPTH = 16
MAX_EXPONENT_DIGITS = 6
MAX_FACTORIAL = 20
MAX_VARIABLES = 16
MAX_BITS = 8_192
"""Size of numerators and denominators up to which values are computed exactly."""

Kind = Literal["number", "tuple", "set", "interval", "expression", "equation"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TOKEN = re.compile(
    r"(?P<space>(?:\s|~|\\[,;:! ])+)"
    r"|(?P<token>[0-9]+(?:\.[0-9]+)?|\.[0-9]+|\\[A-Za-z]+|\\[{}]|[A-Za-z()\[\]{}+\-*/^_!,=])",
    re.ASCII,
)
_UPRIGHT = re.compile(r"\\mathrm\s*\{\s*([ei])\s*\}")
_SAME = {
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\cdot": "*",
    r"\times": "*",
    r"\div": "/",
    r"\varnothing": r"\emptyset",
}
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega"
)
_GREEK = {f"\\{name}" for name in _GREEK_NAMES.split()}
FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "ln", "exp")
_LETTERS = re.compile(r"\\[A-Za-z]+|[A-Za-z]+", re.ASCII)
_MISSPELT = {*FUNCTIONS, "pi", "log", "or", "and", "min", "max", "gcd", "lcm", "mod", "deg", "inf", "oo", "nan"}
"""Names and words that are no products of their letters, though they could be read so."""
MAX_LETTERS = 3
"""Letters in a row that are read as a product; longer runs are words."""
_OPENING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_CLOSING = set(_OPENING.values())


class Unreadable(ValueError):
    """A text is no mathematics of this grammar, or has no value; the message says why."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    op        arguments           value
    number                        its digits
    variable                      its name, as `x` or `x_{1}`
    constant                      pi, e or i
    infinity                      + or -
    factorial                     its argument's digits
    function  argument            a name of `FUNCTIONS`
    log       base, argument
    root      radicand, index
    negative  argument
    add, multiply, divide, power  two
    """

    op: str
    args: tuple["Node", ...] = ()
    value: str = ""

    def variables(self) -> set[str]:
        """Return the names of all variables in it."""
        names = {self.value} if self.op == "variable" else set()
        return names.union(*(argument.variables() for argument in self.args))

    def uses(self, constant: str) -> bool:
        """Whether a constant occurs in it."""
        return (self.op == "constant" and self.value == constant) or any(a.uses(constant) for a in self.args)


@dataclass(frozen=True, slots=True)
class Item:
    """A scalar, or an end of an interval."""

    text: str
    """The tokens it was read from, spaces between; it reads the same again."""
    node: Node
    exact: Fraction | None
    """Its value, where that follows by exact arithmetic within `MAX_BITS`."""


@dataclass(frozen=True, slots=True)
class Block:
    """One member of an answer: a scalar (no shape), a tuple or an interval (its brackets)."""

    shape: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text means."""

    kind: Kind
    blocks: tuple[Block, ...]
    ordered: bool
    """Whether the order of blocks counts and repetitions do: of a tuple, but not of a set, of united intervals, or of
    the sides of an equation."""
    bare: bool = False
    """Whether it is a list without brackets."""


_Token = tuple[str, bool]
"""Its text, and whether a space stands before it."""


def read(text: str, *, kind: Kind | None = None) -> Reading:
    """Return what a text means, as an object of `kind` (None: of whatever kind it is).

    Raises Unreadable when it is none, is of another kind, exceeds a bound, or divides by zero.
    """
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"more than {MAX_CHARACTERS} characters")
    text = text.strip()
    if text.startswith("$") and text.endswith("$") and text.count("$") == 2:
        text = text[1:-1]
    tokens = _tokens(text)
    if not tokens:
        raise Unreadable("nothing there")
    reading = _read(tokens, kind)
    fits = kind is None or reading.kind == kind or (kind == "expression" and reading.kind == "number")
    if not fits:
        raise Unreadable(f"of kind {reading.kind}, not {kind}")
    return reading


def scalar(text: str) -> Node:
    """Return the tree of one scalar. Raises Unreadable as `read` does."""
    return _Parser(_tokens(text)).whole()


def exact(node: Node) -> Fraction | None:
    """Return a tree's value where it follows by exact arithmetic within `MAX_BITS`, otherwise None.

    Raises Unreadable where that arithmetic has no value.
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


def _tokens(text: str) -> list[_Token]:
    text = _UPRIGHT.sub(r" \1 ", text)
    for word in _LETTERS.findall(text):
        if not word.startswith("\\") and (len(word) > MAX_LETTERS or word in _MISSPELT):
            raise Unreadable(f"a word: {word[:20]}")
    tokens: list[_Token] = []
    place, spaced = 0, False
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unreadable(f"no mathematics known here: {text[place : place + 20]!r}")
        place = match.end()
        if match["space"]:
            spaced = True
        elif match["token"] in (r"\left", r"\right"):
            after = _TOKEN.match(text, place)
            if after is None or after["token"] not in {*_OPENING, *_CLOSING} - {"{", "}"}:
                raise Unreadable(f"{match['token']} without a bracket")
        else:
            tokens.append((_SAME.get(match["token"], match["token"]), spaced))
            spaced = False
    return tokens


def _read(tokens: list[_Token], kind: Kind | None) -> Reading:
    sides = _split(tokens, "=")
    if len(sides) > 2:
        raise Unreadable("more than one `=`")
    if len(sides) == 2:
        return Reading("equation", tuple(Block("", (_item(side),)) for side in sides), ordered=False)
    if [token for token, _ in tokens] == [r"\emptyset"]:
        return Reading("set", (), ordered=False)
    if _is_enclosed(tokens, r"\{"):
        members = _split(tokens[1:-1], ",") if len(tokens) > 2 else []
        return Reading("set", tuple(_member(member) for member in members), ordered=False)
    pieces = _split(tokens, r"\cup")
    if len(pieces) > 1 or kind == "interval" or _looks_like_interval(tokens):
        return Reading("interval", tuple(_interval(piece) for piece in pieces), ordered=False)
    listed = _split(tokens, ",")
    if len(listed) > 1:
        if any(_is_like_thousands(left, right) for left, right in pairwise(listed)):
            raise Unreadable("a comma that may be a thousands separator; a space after it would tell")
        return Reading(
            "set" if kind == "set" else "tuple", tuple(_member(m) for m in listed), ordered=kind != "set", bare=True
        )
    if _is_enclosed(tokens, "(") and len(members := _split(tokens[1:-1], ",")) > 1:
        return Reading("tuple", tuple(_member(member) for member in members), ordered=True)
    item = _item(tokens)
    return Reading("expression" if item.node.variables() else "number", (Block("", (item,)),), ordered=True)


def _member(tokens: list[_Token]) -> Block:
    """Return a member of a set or a tuple: a scalar, or a tuple of scalars."""
    if _is_enclosed(tokens, "(") and len(inner := _split(tokens[1:-1], ",")) > 1:
        return Block("()", tuple(_item(part) for part in inner))
    return Block("", (_item(tokens),))


def _interval(tokens: list[_Token]) -> Block:
    if len(tokens) > 4 and tokens[0][0] in "([" and tokens[-1][0] in ")]":
        ends = _split(tokens[1:-1], ",")
        if len(ends) == 2:
            return Block(tokens[0][0] + tokens[-1][0], tuple(_end(end) for end in ends))
    raise Unreadable("no interval")


def _end(tokens: list[_Token]) -> Item:
    words = [token for token, _ in tokens]
    if words and words[-1] == r"\infty" and words[:-1] in ([], ["+"], ["-"]):
        return Item(" ".join(words), Node("infinity", value="-" if words[0] == "-" else "+"), None)
    return _item(tokens)


def _item(tokens: list[_Token]) -> Item:
    node = _Parser(tokens).whole()
    return Item(" ".join(token for token, _ in tokens), node, exact(node))


def _looks_like_interval(tokens: list[_Token]) -> bool:
    words = [token for token, _ in tokens]
    bracketed = words[0] in "([" and words[-1] in ")]" and len(_split(tokens[1:-1], ",")) == 2
    return bracketed and (words[0] == "[" or words[-1] == "]" or r"\infty" in words)


def _is_like_thousands(left: list[_Token], right: list[_Token]) -> bool:
    """Whether a comma between the two may belong to one number, as in `1,234`."""
    (before, _), (after, spaced) = left[-1], right[0]
    return before.isdigit() and bool(re.fullmatch(r"[0-9]{3}(\.[0-9]+)?", after)) and not spaced


def _is_enclosed(tokens: Sequence[_Token], opening: str) -> bool:
    """Whether the first token is `opening` and the last one closes it."""
    if not tokens or tokens[0][0] != opening:
        return False
    depth = 0
    for place, (token, _) in enumerate(tokens):
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0:
            return place == len(tokens) - 1 and token == _OPENING[opening]
    return False


def _split(tokens: Iterable[_Token], separator: str) -> list[list[_Token]]:
    """Return the parts between separators that stand in no bracket. Raises Unreadable when one is empty."""
    parts: list[list[_Token]] = [[]]
    depth = 0
    for token, spaced in tokens:
        depth += (token in _OPENING) - (token in _CLOSING)
        if token == separator and depth == 0:
            parts.append([])
        else:
            parts[-1].append((token, spaced))
    if not all(parts):
        raise Unreadable(f"nothing beside a {separator}")
    return parts


class _Parser:
    """Reads one scalar by recursive descent."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._words = [token for token, _ in tokens]
        self._place = 0
        self._depth = 0
        self._exponents = 0
        """Exponents that the current place stands in."""

    def whole(self) -> Node:
        node = self._sum()
        if self._next():
            raise Unreadable(f"not understood at {self._next()!r}")
        if len(node.variables()) > MAX_VARIABLES:
            raise Unreadable(f"more than {MAX_VARIABLES} variables")
        return node

    def _next(self) -> str:
        return self._words[self._place] if self._place < len(self._words) else ""

    def _take(self) -> str:
        word = self._next()
        self._place += 1
        return word

    def _expect(self, word: str) -> None:
        if self._take() != word:
            raise Unreadable(f"a {word!r} is missing")

    def _sum(self) -> Node:
        sign = self._take() if self._next() in ("+", "-") else ""
        node = self._product()
        if sign == "-":
            node = Node("negative", (node,))
        while self._next() in ("+", "-"):
            sign = self._take()
            term = self._product()
            node = Node("add", (node, Node("negative", (term,)) if sign == "-" else term))
        return node

    def _product(self) -> Node:
        node = self._power()
        divided = False
        while True:
            word = self._next()
            if word in ("*", "/"):
                self._take()
                divided = word == "/"
                node = Node("divide" if divided else "multiply", (node, self._power()))
            elif self._begins_atom(word):
                if divided:
                    raise Unreadable("a product right after a slash; brackets would tell what is divided")
                if word[0] in "0123456789.":
                    raise Unreadable("a number right after something; a sign between would tell what is meant")
                if word == r"\frac" and self._words[self._place - 1][-1] in "0123456789":
                    raise Unreadable("a fraction right after a number: a mixed number or a product")
                node = Node("multiply", (node, self._power()))
            else:
                return node

    @staticmethod
    def _begins_atom(word: str) -> bool:
        return bool(word) and (
            word[0] in "0123456789."
            or word in ("(", "{", r"\pi", r"\frac", r"\sqrt", r"\log")
            or word.isalpha()
            or word in _GREEK
            or word[1:] in FUNCTIONS
        )

    def _power(self) -> Node:
        word = self._next()
        is_call = word == r"\log" or word[1:] in FUNCTIONS
        node = self._atom()
        if self._next() == "!":
            self._take()
            if node.op != "number" or not node.value.isdigit() or int(node.value[:9]) > MAX_FACTORIAL:
                raise Unreadable(f"a factorial of something else than an integer up to {MAX_FACTORIAL}")
            node = Node("factorial", value=node.value)
            if self._next() in ("!", "^"):
                raise Unreadable(f"{self._next()!r} after a factorial")
        if self._next() == "^":
            if is_call:
                raise Unreadable("a power after a function; brackets would tell of what")
            self._take()
            node = Node("power", (node, self._exponent()))
            if self._next() in ("^", "!"):
                raise Unreadable(f"{self._next()!r} after a power")
        return node

    def _exponent(self) -> Node:
        self._exponents += 1
        word = self._next()
        if word in ("{", "("):
            node = self._group(word)
        elif word.isdigit():
            node = self._number(self._take())
        elif word.isalpha() or word in _GREEK or word == r"\pi":
            node = self._atom()
        else:
            raise Unreadable("an exponent that is not in braces")
        self._exponents -= 1
        return node

    def _atom(self) -> Node:
        word = self._take()
        if word in ("(", "{"):
            self._place -= 1
            return self._group(word)
        if word and word[0] in "0123456789.":
            return self._number(word)
        if word == r"\pi" or word in ("e", "i"):
            return Node("constant", value=word.removeprefix("\\"))
        if word.isalpha() or word in _GREEK:
            return self._variable(word)
        if word == r"\frac":
            above = self._argument()
            return Node("divide", (above, self._argument()))
        if word == r"\sqrt":
            index = Node("number", value="2")
            if self._next() == "[":
                self._take()
                index = Node("number", value=self._take())
                if not index.value.isdigit() or not 2 <= int(index.value[:9]) <= 99:
                    raise Unreadable("a root whose index is no integer from 2 to 99")
                self._expect("]")
            return Node("root", (self._argument(), index))
        if word == r"\log":
            if self._take() != "_":
                raise Unreadable(r"\log without a base: 10 or e")
            base = self._argument()
            return Node("log", (base, self._called()))
        if word[1:] in FUNCTIONS and word[0] == "\\":
            exponent = self._take_function_exponent()
            node = Node("function", (self._called(),), value=word[1:])
            return Node("power", (node, exponent)) if exponent else node
        raise Unreadable(f"not understood at {word!r}" if word else "it ends too early")

    def _number(self, word: str) -> Node:
        if self._next() in ("e", "E") and self._place + 1 < len(self._words):
            after = self._words[self._place + 1]
            if after[0] in "0123456789+-":
                raise Unreadable("`e` between numbers: an exponent or Euler's number")
        if self._exponents and len(word) > MAX_EXPONENT_DIGITS:
            raise Unreadable(f"an exponent of more than {MAX_EXPONENT_DIGITS} digits")
        return Node("number", value=word)

    def _variable(self, word: str) -> Node:
        name = word
        if self._next() == "_":
            self._take()
            braced = self._next() == "{"
            if braced:
                self._take()
            index = self._take()
            if not (index.isdigit() if len(index) != 1 else index.isalnum()) or not index.isascii():
                raise Unreadable("an index that is no letter and no number")
            if braced:
                self._expect("}")
            name = f"{word}_{{{index}}}"
        if word in ("f", "g", "h") and self._next() == "(":
            raise Unreadable(f"{word}(...): a function or a product")
        return Node("variable", value=name)

    def _group(self, opening: str) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH}")
        self._expect(opening)
        node = self._sum()
        self._expect(_OPENING[opening])
        self._depth -= 1
        return node

    def _argument(self) -> Node:
        """Return the argument of a LaTeX command: a group in braces, or one digit or letter."""
        word = self._next()
        if word == "{":
            return self._group("{")
        if word.isdigit():
            # LaTeX takes one digit: `\frac12` is one half.
            if len(word) > 1:
                self._words[self._place] = word[1:]
            else:
                self._place += 1
            return Node("number", value=word[0])
        if word.isalpha() or word in _GREEK or word == r"\pi":
            self._place += 1
            return (
                Node("constant", value=word.removeprefix("\\"))
                if word in ("e", "i", r"\pi")
                else Node("variable", value=word)
            )
        raise Unreadable("a command without its argument")

    def _take_function_exponent(self) -> Node | None:
        r"""Return the exponent in `\sin^{2}(x)`, where it can mean nothing but a power."""
        if self._next() != "^":
            return None
        self._take()
        exponent = self._exponent()
        if exponent.op != "number" or not exponent.value.isdigit() or int(exponent.value) < 2:
            raise Unreadable("a function with an exponent other than an integer from 2 up")
        return exponent

    def _called(self) -> Node:
        """Return the argument of a function: a group, or one atom with nothing after it that may belong to it."""
        if self._next() in ("(", "{"):
            return self._group(self._next())
        node = self._atom()
        if self._next() not in ("", "+", "-", ")", "}", "]", ","):
            raise Unreadable("a function's argument without brackets; they would tell where it ends")
        return node
