"""The value of an expression of literals, computed from its syntax tree.

| beyond `ast.literal_eval`            | example                                           |
|--------------------------------------|---------------------------------------------------|
| arithmetic, bits of whole numbers    | `2.0 / 3.0`, `10 ** 6`, `6 & 3`                   |
| sequences concatenated or repeated   | `'a' + 'b'`, `[0] * 5`                            |
| sets combined                        | `{1} | {2}`; `&`, `-`, `^`                        |
| calls of `CONSTRUCTORS`              | `set([1, 2])`, `list(range(5))`, `float('inf')`   |

No name is looked up and nothing else is called. A value beyond `MAX_DIGITS` or `MAX_ITEMS` is refused before it is
made.
"""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

CONSTRUCTORS = ("set", "frozenset", "tuple", "list", "dict", "range", "float", "complex")
"""Built-in types that may be called, with at most three positional arguments."""
MAX_DIGITS = 4000
"""Most decimal digits of a whole number."""
MAX_ITEMS = 100_000
"""Most characters and elements that the operations of one expression make together."""
_MAX_BITS = math.floor(MAX_DIGITS * math.log2(10))
_NUMBERS = (bool, int, float, complex)
_WHOLE = (bool, int)
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_BITS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_SETS = {ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}


class NotLiteral(ValueError):
    """An expression of more than literals, without a value, or with one too large."""


def literal(node: ast.expr) -> Any:
    """Return the value of an expression of literals. Raises NotLiteral."""
    try:
        return _Folder().value(node)
    except NotLiteral:
        raise
    except (ArithmeticError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise NotLiteral(f"no value ({type(error).__name__})") from None


class _Folder:
    """Computes one expression within `MAX_ITEMS`."""

    def __init__(self) -> None:
        self._room = MAX_ITEMS

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value) if value is not Ellipsis:
                return value
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                kind = {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)]
                return kind([self.value(item) for item in items])
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip(keys, values, strict=True)
                return {self.value(key): self.value(value) for key, value in pairs if key is not None}
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(type(op), self.value(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(type(op), self.value(left), self.value(right))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in CONSTRUCTORS and len(args) <= 3:
                return self._constructed(name, [self.value(argument) for argument in args])
        raise NotLiteral("no literal")

    def _unary(self, op: type[ast.unaryop], value: Any) -> Any:
        if type(value) not in (_WHOLE if op is ast.Invert else _NUMBERS):
            raise NotLiteral("no literal")
        return _UNARY[op](value)

    def _binary(self, op: type[ast.operator], left: Any, right: Any) -> Any:
        kinds = type(left), type(right)
        if all(kind in _NUMBERS for kind in kinds) and op in _ARITHMETIC:
            if all(kind in _WHOLE for kind in kinds):
                _require_room(op, int(left), int(right))
            return _ARITHMETIC[op](left, right)
        if all(kind in _WHOLE for kind in kinds) and op in _BITS:
            _require_room(op, int(left), int(right))
            return _BITS[op](left, right)
        if all(kind in (set, frozenset) for kind in kinds) and op in _SETS:
            self._take(len(left) + len(right))
            return _ARITHMETIC[op](left, right) if op is ast.Sub else _BITS[op](left, right)
        if kinds[0] is kinds[1] and kinds[0] in (str, bytes, list, tuple) and op is ast.Add:
            self._take(_size(left) + _size(right))
            return left + right
        if op is ast.Mult and kinds[0] in _WHOLE:
            left, right, kinds = right, left, (kinds[1], kinds[0])
        if op is ast.Mult and kinds[0] in (str, bytes, list, tuple) and kinds[1] in _WHOLE:
            self._take(_size(left) * max(int(right), 0))
            return left * right
        raise NotLiteral("no literal")

    def _constructed(self, name: str, values: list[Any]) -> Any:
        if name == "range":
            made = range(*values)
            # `len` raises OverflowError for a long range.
            self._take(max(0, (made.stop - made.start) // made.step + 1))
            return made
        if name in ("float", "complex"):
            if all(type(value) in (*_NUMBERS, str) for value in values):
                return {"float": float, "complex": complex}[name](*values)
        elif len(values) <= 1 and all(
            type(value) in (str, bytes, list, tuple, set, frozenset, dict, range) for value in values
        ):
            self._take(sum(_size(value) for value in values))
            return {"set": set, "frozenset": frozenset, "tuple": tuple, "list": list, "dict": dict}[name](*values)
        raise NotLiteral("no literal")

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise NotLiteral(f"more than {MAX_ITEMS} characters and elements")


def _size(value: Any) -> int:
    """Return the number of characters and elements in a value, at least 1, nested ones included."""
    match value:
        case str() | bytes() | range():
            return max(1, len(value))
        case dict():
            return 1 + sum(_size(key) + _size(item) for key, item in value.items())
        case list() | tuple() | set() | frozenset():
            return 1 + sum(map(_size, value))
    return 1


def _require_room(op: type[ast.operator], left: int, right: int) -> None:
    """Raise NotLiteral for an operation on whole numbers that could exceed `MAX_DIGITS` digits."""
    bits = max(left.bit_length(), right.bit_length()) + 1
    if op is ast.Mult:
        bits = left.bit_length() + right.bit_length()
    elif op is ast.Pow and right > 0 and abs(left) > 1:
        bits = left.bit_length() * right
    elif op is ast.LShift:
        bits = left.bit_length() + max(right, 0)
    if bits > _MAX_BITS:
        raise NotLiteral(f"a whole number of more than {MAX_DIGITS} digits")
