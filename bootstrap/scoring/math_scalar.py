r"""Reads one scalar by recursive descent: words of LaTeX -> a tree.

    scalar     = [sign] product {sign product}
    product    = power {("*" | "/" | nothing) power}
    power      = atom ["^" exponent] | integer "!"
    number     = digits ["." digits] ["e" ["-"] digits]                `1.5e3`, without a blank, is 1500
    atom       = number | mixed | letter ["_" index] | "\pi" | "e" | "i" | group | "|" scalar "|" | "\frac" ...
                 | "\sqrt" ... | "\binom" ... | function ...
    mixed      = integer "\frac" "{" integer "}" "{" integer "}" | integer integer "/" integer     the fraction proper

Ambiguous notation is refused rather than guessed: `1/2x`, `\sin x/2`, `\log` without a base, `f(x)`, `2\frac{5}{3}`.
Length, depth, exponents and factorials are bounded before anything is computed.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import comb

from bootstrap.scoring.math_nodes import Node, Unreadable

MAX_DEPTH = 16
MAX_EXPONENT_DIGITS = 6
MAX_DECIMAL_EXPONENT = 999
MAX_FACTORIAL = 100
MAX_BINOMIAL = 200
MAX_INDEX = 99
MAX_VARIABLES = 16

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell"
)
_GREEK = {f"\\{name}" for name in _GREEK_NAMES.split()}
_MARKS = ("mathbf{", "vec{", "hat{", "overline{", "overrightarrow{", "bm{", "boldsymbol{", "angle", "triangle")
_NAMED = tuple(f"\\{mark}" for mark in _MARKS)
FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "ln", "exp")
CALLS = {f"\\{name}" for name in FUNCTIONS}
OPENING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
CLOSING = set(OPENING.values())
_DEGREE = Node("divide", (Node("constant", value="pi"), Node("number", value="180")))


def is_letter(word: str) -> bool:
    """Whether a word is one symbol: a letter, a Greek one, or a named vector or segment."""
    return (len(word) == 1 and word.isalpha()) or word in _GREEK or word.startswith(_NAMED)


def scalar(words: Sequence[str]) -> Node:
    """Return the tree of one scalar from tokens with runs of letters split. Raises Unreadable."""
    return _Parser(words).whole()


def _without_exponent(word: str) -> str:
    """Return a number such as `1.5e3` without its exponent: as digits or a fraction."""
    _, mark, exponent = word.lower().partition("e")
    if not mark:
        return word
    if abs(int(exponent)) > MAX_DECIMAL_EXPONENT:
        raise Unreadable(f"a power of ten beyond {MAX_DECIMAL_EXPONENT}")
    return str(Fraction(word))


class _Parser:
    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._place = 0
        self._depth = 0
        self._exponents = 0
        """Number of exponents around the current place."""
        self._in_bars = False

    def whole(self) -> Node:
        node = self._sum()
        if self._next():
            raise Unreadable(f"not understood at {self._next()!r}")
        if len(node.variables()) > MAX_VARIABLES:
            raise Unreadable(f"more than {MAX_VARIABLES} variables")
        return node

    def _next(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._words[place] if place < len(self._words) else ""

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
                if word == r"\frac" and self._words[self._place - 1][-1] in "0123456789" and self._is_integers():
                    raise Unreadable("a fraction right after a number: a mixed number or a product")
                node = Node("multiply", (node, self._power()))
            else:
                return node

    def _begins_atom(self, word: str) -> bool:
        return bool(word) and (
            word[0] in "0123456789."
            or word in ("(", "{", r"\pi", r"\frac", r"\sqrt", r"\log", r"\binom")
            or is_letter(word)
            or word in CALLS
            or (word == "|" and not self._in_bars)
        )

    def _is_integers(self) -> bool:
        r"""Whether a `\frac` of two integers stands here."""
        return self._fraction_here() is not None or self._next(1).isdigit()

    def _fraction_here(self) -> tuple[str, str, int] | None:
        r"""Return numerator, denominator and number of words of a `\frac` of integers here, or None."""
        parts: list[str] = []
        ahead = 1
        while len(parts) < 2:
            word = self._next(ahead)
            if word == "{" and self._next(ahead + 1).isdigit() and self._next(ahead + 2) == "}":
                parts.append(self._next(ahead + 1))
                ahead += 3
            elif word.isdigit() and (len(parts) + len(word) <= 2 or len(word) == 1):
                # LaTeX takes one digit: `\frac12` is one half.
                parts += word
                ahead += 1
            else:
                return None
        return (parts[0], parts[1], ahead) if len(parts) == 2 else None

    def _mixed(self, whole: str) -> Node | None:
        """Take the fraction after the integer of a mixed number; return the number, or None without a fraction."""
        if self._exponents or not whole.isdigit():
            return None
        if self._next() == r"\frac" and (found := self._fraction_here()):
            above, below, count = found
        elif self._next().isdigit() and self._next(1) == "/" and self._next(2).isdigit():
            above, below, count = self._next(), self._next(2), 3
        else:
            return None
        if not 0 < int(above) < int(below):
            raise Unreadable("a number and a fraction that is no proper one: a mixed number or a product")
        self._place += count
        if self._next() in ("^", "!", "/"):
            raise Unreadable(f"{self._next()!r} after a mixed number; brackets would tell of what")
        if count == 3 and self._words[self._place - 2] == "/" and self._begins_atom(self._next()):
            raise Unreadable("a product right after a slash; brackets would tell what is divided")
        fraction = Node("divide", (Node("number", value=above), Node("number", value=below)))
        return Node("add", (Node("number", value=whole), fraction))

    def _power(self) -> Node:
        word = self._next()
        is_call = word == r"\log" or word in CALLS
        node = self._atom()
        if self._next() == "!":
            self._take()
            if node.op != "number" or not node.value.isdigit() or int(node.value) > MAX_FACTORIAL:
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
        if self._next() == r"\degree":
            self._take()
            node = Node("multiply", (node, _DEGREE))
        return node

    def _exponent(self) -> Node:
        self._exponents += 1
        word = self._next()
        if word in ("{", "("):
            node = self._group(word)
        elif word.isdigit():
            node = self._number(self._take())
        elif is_letter(word) or word == r"\pi" or word == r"\frac":
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
        if word == "|" and not self._in_bars:
            return self._absolute()
        if word and word[0] in "0123456789.":
            return self._mixed(word) or self._number(word)
        if word == r"\pi" or word in ("e", "i"):
            return Node("constant", value=word.removeprefix("\\"))
        if is_letter(word):
            return self._variable(word)
        if word == r"\frac":
            above = self._argument()
            return Node("divide", (above, self._argument()))
        if word == r"\binom":
            return self._binomial()
        if word == r"\sqrt":
            index = Node("number", value="2")
            if self._next() == "[":
                self._take()
                index = Node("number", value=self._take())
                if not index.value.isdigit() or not 2 <= int(index.value) <= MAX_INDEX:
                    raise Unreadable(f"a root whose index is no integer from 2 to {MAX_INDEX}")
                self._expect("]")
            return Node("root", (self._argument(), index))
        if word == r"\log":
            if self._take() != "_":
                raise Unreadable(r"\log without a base: 10 or e")
            base = self._argument()
            return Node("log", (base, self._called()))
        if word in CALLS:
            exponent = self._take_function_exponent()
            node = Node("function", (self._called(),), value=word[1:])
            return Node("power", (node, exponent)) if exponent else node
        raise Unreadable(f"not understood at {word!r}" if word else "it ends too early")

    def _absolute(self) -> Node:
        self._in_bars = True
        self._deeper()
        node = self._sum()
        self._expect("|")
        self._in_bars = False
        self._depth -= 1
        return Node("function", (node,), value="abs")

    def _binomial(self) -> Node:
        above, below = self._argument(), self._argument()
        if not all(node.op == "number" and node.value.isdigit() for node in (above, below)):
            raise Unreadable("a binomial coefficient of something else than integers")
        if int(above.value) > MAX_BINOMIAL:
            raise Unreadable(f"a binomial coefficient of more than {MAX_BINOMIAL}")
        return Node("number", value=str(comb(int(above.value), int(below.value))))

    def _number(self, word: str) -> Node:
        if self._next() in ("e", "E") and self._next(1) and self._next(1)[0] in "0123456789+-":
            raise Unreadable("`e` between numbers: an exponent or Euler's number")
        value = _without_exponent(word)
        if self._exponents and max(len(word), len(value)) > MAX_EXPONENT_DIGITS:
            raise Unreadable(f"an exponent of more than {MAX_EXPONENT_DIGITS} digits")
        return Node("number", value=value)

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

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH}")

    def _group(self, opening: str) -> Node:
        self._deeper()
        in_bars, self._in_bars = self._in_bars, False
        self._expect(opening)
        node = self._sum()
        self._expect(OPENING[opening])
        self._in_bars = in_bars
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
        if is_letter(word) or word == r"\pi":
            self._place += 1
            constant = word in ("e", "i", r"\pi")
            return Node("constant" if constant else "variable", value=word.removeprefix("\\") if constant else word)
        if word in (r"\sqrt", r"\frac"):
            return self._atom()
        raise Unreadable("a command without its argument")

    def _take_function_exponent(self) -> Node | None:
        r"""Return the exponent in `\sin^{2}(x)`, or None. Raises Unreadable where it may mean an inverse."""
        if self._next() != "^":
            return None
        self._take()
        exponent = self._exponent()
        if exponent.op != "number" or not exponent.value.isdigit() or int(exponent.value) < 2:
            raise Unreadable("a function with an exponent other than an integer from 2 up")
        return exponent

    def _called(self) -> Node:
        """Return the argument of a function: a group, an atom, or a number and a letter.

        Raises Unreadable when more follows that could belong to it.
        """
        if self._next() in ("(", "{"):
            return self._group(self._next())
        node = self._atom()
        if node.op == "number" and (is_letter(self._next()) or self._next() == r"\pi"):
            # `\sin 2x` can only be the sine of 2x.
            node = Node("multiply", (node, self._atom()))
        if self._next() == r"\degree":
            self._take()
            node = Node("multiply", (node, _DEGREE))
        following = self._next()
        if following not in ("", "+", "-", ")", "}", "]", ",", "|") and following not in CALLS:
            raise Unreadable("a function's argument without brackets; they would tell where it ends")
        return node
