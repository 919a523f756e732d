r"""Reads the mathematics that people write in a box: a strict subset of LaTeX, plain `2^10/3` included.

The whole text is read or none of it, and ambiguous notation is refused rather than guessed (`math_scalar.py`).

    answer     = word | value | name "=" value | name "\in" intervals | equation | inequality | list
    name       = letters | letter "(" letter ")" | "(" letter "," letter ... ")"
    value      = quantity | tuple | set | intervals | matrix | ratio
    quantity   = ["\$"] scalar [unit] | digits "_" base                `\pm` stands for two of them
    equation   = scalar "=" scalar
    inequality = scalar relation scalar [relation scalar]              an interval, where it bounds one variable
    list       = member ("," | "and" | "or") member ...                a tuple, or a set where a set is asked for
    tuple      = "(" list ")"
    set        = "\{" [list] "\}" | "\emptyset"
    intervals  = interval {"\cup" (interval | set)} | "\mathbb{R}"     interval = "(" | "[" end "," end ")" | "]"
    matrix     = [scalar] "\begin{pmatrix}" row {"\\" row} "\end{pmatrix}"
    ratio      = scalar ":" scalar [":" scalar]                        `3:2`, `12:30`
    word       = text that is upright or made of words: `\text{Evelyn}`, `June 20`, `(C)` in `\text{}`

Neither a word nor a unit is a product of letters: `5 kg` is no `5 gk`. Letters alone (`ab`) are a word; in mathematics
(`2ab`), up to three in a row are a product.

Standard library only, since the driver reads every answer with it.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

from bootstrap.scoring import math_scalar
from bootstrap.scoring.math_nodes import Block, Item, Kind, Node, Reading, Unreadable, exact, joined
from bootstrap.scoring.math_parts import (
    MAX_LETTERS,
    MIRRORED,
    MISSPELT,
    REALS,
    RELATIONS,
    bracket_of,
    in_base,
    infinite,
    is_enclosed,
    is_like_thousands,
    is_unit_word,
    looks_like_interval,
    mirrored,
    name_of,
    relation_of,
    scaled,
    split_at,
    split_letters,
    unit_phrase,
    with_commas,
    with_multiple,
    without_currency,
)
from bootstrap.scoring.math_scalar import CALLS, is_letter
from bootstrap.scoring.math_source import Token, is_word, may_be_unit, tokens_of, unwrapped
from bootstrap.scoring.math_units import LETTERS, SIGNS, unit_of

_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 .,'&:-]*|\(\s*[A-Za-z]\s*\)", re.ASCII)
_RUN = re.compile(r"[A-Za-z]+", re.ASCII)
_SHORT_WORDS = {"yes", "no", "odd", "all", "one", "two", "six", "ten", "red", "none", "east", "west"}
_ENVIRONMENT = re.compile(r"\\begin\{(p|b|B|small)?matrix\}|\\begin\{array\}")


def read(text: str, *, kind: Kind | None = None, unit_letters: frozenset[str] = frozenset()) -> Reading:
    """Return the meaning of a text, as an object of `kind` (None: of any kind).

    `unit_letters`: letters that are units beside a number, taken from the reference. Raises Unreadable when the text is
    no such object, exceeds a bound, or divides by zero.
    """
    text, upright = unwrapped(text)
    if kind in (None, "word") and (word := _word(text, upright=upright or kind == "word")):
        return Reading("word", (Block(f"word {word}", ()),), ordered=True)
    if kind == "word":
        raise Unreadable("no word")
    reading = _Reader(kind, unit_letters).read(tokens_of(text, lists=kind in ("tuple", "set")))
    fits = kind is None or reading.kind == kind or (kind == "expression" and reading.kind == "number")
    if not fits:
        raise Unreadable(f"of kind {reading.kind}, not {kind}")
    return reading


def scalar(text: str) -> Node:
    """Return the tree of one scalar. Raises Unreadable as `read` does."""
    return math_scalar.scalar(split_letters([token for token, _ in tokens_of(text)]))


def _word(text: str, *, upright: bool) -> str | None:
    """Return the normal form of a text of words, or None for any other text."""
    plain = re.sub(r"\\(?:text|mbox|textbf|mathrm|mathbf)\s*\{([^{}\\$]*)\}", r" \1 ", text)
    marked = upright or plain != text
    plain = " ".join(plain.replace("~", " ").replace("\\ ", " ").split()).rstrip(".")
    if not _WORDS.fullmatch(plain):
        return None
    runs = _RUN.findall(plain)
    if not marked and (any(run in MISSPELT for run in runs) or max(map(len, runs)) < 2 or _is_list(plain)):
        return None
    if max(map(len, runs)) == 1 and len(runs) == 1:
        # Multiple choice: a small letter is another choice.
        return re.sub(r"[(). ]", "", plain)
    if len(plain) <= MAX_LETTERS and plain.casefold() not in _SHORT_WORDS and not plain.istitle():
        # It may be a product, and then case counts: `ab` is not `AB`.
        return plain
    return re.sub(r"\s*([,:-])\s*", r"\1", plain.casefold())


def _is_list(plain: str) -> bool:
    """Whether a plain text is a list of symbols, as `A, B` or `x and y`."""
    parts = re.split(r",| and | or ", plain)
    return len(parts) > 1 and all(len(part.strip()) == 1 for part in parts)


class _Reader:
    """Reads the tokens of one answer."""

    def __init__(self, kind: Kind | None, unit_letters: frozenset[str]) -> None:
        self._kind = kind
        self._unit_letters = unit_letters

    def read(self, tokens: list[Token]) -> Reading:
        if not tokens:
            raise Unreadable("nothing there")
        words = [token for token, _ in tokens]
        related = self._kind == "interval" or any(word in RELATIONS or word == r"\in" for word in words)
        if related and (found := self._intervals_or_relation(tokens)) is not None:
            return found
        sides = split_at(tokens, "=")
        if self._kind == "equation" and len(sides) != 2:
            raise Unreadable("no equation")
        if len(sides) == 2 and (found := self._of_sides(tokens, sides)) is not None:
            return found
        if len(sides) > 2 and len(split_at(with_commas(tokens), ",")) == 1:
            raise Unreadable("more than one `=`")
        return self._value(tokens)

    # --- equations and inequalities ------------------------------------------------------------------------------

    def _of_sides(self, tokens: list[Token], sides: list[list[Token]]) -> Reading | None:
        """Return the meaning of `a = b`: a named value or an equation; None where members of a list have an `=`."""
        if len(split_at(with_commas(tokens), ",")) > 1:
            return None
        if self._kind != "equation":
            for left, right in (sides, sides[::-1]):
                name = name_of(left)
                if name and (found := self._named(name, left, right)) is not None:
                    return found
        blocks = [
            Block("=", (left, right)) for left, right in self._both_signs(sides[0], sides[1])
        ]  # `y = \pm x` is two equations.
        return Reading("equation", tuple(blocks), ordered=False)

    def _both_signs(self, left: list[Token], right: list[Token]) -> list[tuple[Item, Item]]:
        lefts, rights = self._items(left), self._items(right)
        if len(lefts) > 1 and len(rights) > 1:
            raise Unreadable(r"a \pm on either side")
        return [(a, b) for a in lefts for b in rights]

    def _named(self, name: str, left: list[Token], right: list[Token]) -> Reading | None:
        """Return the value of `name = value`, or None where that is an equation."""
        value = self._value(right)
        nodes = [item.node for block in value.blocks for item in block.items]
        # Unless an expression is asked for, `y = 2x` is the equation of a line.
        if value.kind == "expression" and "(" not in name and self._kind != "expression":
            return None
        symbols = {name, *(word for word, _ in left if is_letter(word))}
        if value.kind == "expression" and name.isupper():
            # `AB` may be a product as well.
            symbols |= set(name)
        if "(" not in name and any(symbols & node.variables() for node in nodes):
            return None
        blocks = tuple(Block(block.shape, block.items, block.name or name) for block in value.blocks)
        return Reading(value.kind, blocks, value.ordered, value.bare)

    def _intervals_or_relation(self, tokens: list[Token]) -> Reading | None:
        if self._kind != "inequality":
            pieces = split_at([("|or", s) if t in ("'or", "or") else (t, s) for t, s in tokens], "|or")
            found: list[Block] = []
            for piece in pieces:
                blocks = self._bounds(piece)
                if blocks is None:
                    break
                found += blocks
            else:
                return Reading("interval", tuple(found), ordered=False)
            if len(pieces) > 1 or self._kind == "interval":
                raise Unreadable("no interval")
        relation = relation_of(tokens)
        if relation is None:
            return None
        operators, parts = relation
        items = [self._item(part) for part in parts]
        if all(operator in (">", ">=", "!=") for operator in operators):
            operators = [MIRRORED.get(operator, operator) for operator in operators]
            items.reverse()
        return Reading("inequality", (Block("|".join(operators), tuple(items)),), ordered=True)

    def _bounds(self, tokens: list[Token]) -> list[Block] | None:
        """Return the intervals of one piece of an answer, or None where it is none."""
        words = [token for token, _ in tokens]
        if r"\in" in words:
            place = words.index(r"\in")
            name = name_of(tokens[:place])
            if not name:
                return None
            inner = self._value(tokens[place + 1 :])
            if inner.kind == "tuple" and len(inner.blocks) == 2 and not inner.bare:
                inner = Reading("interval", tuple(self._interval_pieces(tokens[place + 1 :])), ordered=False)
            if inner.kind != "interval":
                return None
            return [Block(block.shape, block.items, name) for block in inner.blocks]
        if (relation := relation_of(tokens)) is None:
            return self._interval_pieces(tokens) if self._kind == "interval" else None
        operators, parts = relation
        if len(parts) == 2 and not name_of(parts[0]) and name_of(parts[1]):
            operators, parts = mirrored(operators), parts[::-1]
        if len(parts) == 3 and operators[0][0] == ">":
            operators, parts = mirrored(operators), parts[::-1]
        name = name_of(parts[0] if len(parts) == 2 else parts[1])
        ends = [self._end(part) for part in (parts[1:] if len(parts) == 2 else parts[::2])]
        if not name or any(end.node.variables() for end in ends):
            return None
        match operators:
            case ["<" | "<=" as below]:
                return [Block("(" + bracket_of(below, ")]"), (infinite("-"), ends[0]), name)]
            case [">" | ">=" as above]:
                return [Block(bracket_of(above, "([") + ")", (ends[0], infinite("+")), name)]
            case ["<" | "<=" as low, "<" | "<=" as high]:
                return [Block(bracket_of(low, "([") + bracket_of(high, ")]"), tuple(ends), name)]
        return None

    # --- values --------------------------------------------------------------------------------------------------

    def _value(self, tokens: list[Token]) -> Reading:
        if not tokens:
            raise Unreadable("nothing there")
        words = [token for token, _ in tokens]
        if words == [r"\emptyset"]:
            return Reading("set", (), ordered=False)
        if words in REALS:
            return Reading("interval", tuple(self._interval_pieces(tokens)), ordered=False)
        if any(word.startswith(r"\begin") for word in words):
            return self._matrix(tokens)
        if is_enclosed(tokens, r"\{"):
            inner = with_commas(tokens[1:-1])
            return Reading("set", tuple(self._members(split_at(inner, ",")) if inner else ()), ordered=False)
        if r"\cup" in words or self._kind == "interval" or looks_like_interval(tokens):
            return Reading("interval", tuple(self._interval_pieces(tokens)), ordered=False)
        listed = split_at(with_commas(tokens), ",")
        if len(listed) > 1:
            return self._list(listed)
        if is_enclosed(tokens, "(") and len(members := split_at(tokens[1:-1], ",")) > 1:
            return Reading("tuple", tuple(self._members(members)), ordered=True)
        parts = split_at(tokens, ":")
        if 2 <= len(parts) <= 3:
            shape = "time" if re.fullmatch(r"[0-9]{1,2}(:[0-9]{2})+", "".join(words[: 2 * len(parts) - 1])) else ":"
            return Reading("ratio", (Block(shape, tuple(self._item(part) for part in parts)),), ordered=True)
        blocks = self._scalars(tokens)
        if len(blocks) > 1:
            return Reading("set" if self._kind == "set" else "tuple", tuple(blocks), ordered=False, bare=True)
        [block] = blocks
        return Reading("expression" if block.items[0].node.variables() else "number", (block,), ordered=True)

    def _list(self, listed: list[list[Token]]) -> Reading:
        asked = self._kind in ("tuple", "set")
        if not asked and any(is_like_thousands(left, right) for left, right in pairwise(listed)):
            raise Unreadable("a comma that may be a thousands separator; a space after it would tell")
        kind: Kind = "set" if self._kind == "set" else "tuple"
        signs = any(token in (r"\pm", r"\mp") for member in listed for token, _ in member)
        ordered = kind != "set" and not signs
        return Reading(kind, tuple(self._members(listed)), ordered=ordered, bare=True)

    def _members(self, members: Iterable[list[Token]]) -> Iterable[Block]:
        r"""Yield the members of a set or a tuple: scalars and tuples of them, named or not; two for a `\pm`."""
        for tokens in members:
            if is_enclosed(tokens, "(") and len(inner := split_at(tokens[1:-1], ",")) > 1:
                yield Block("()", tuple(self._item(part, listed=True) for part in inner))
                continue
            sides = split_at(tokens, "=")
            name = name_of(sides[0]) if len(sides) == 2 else ""
            if len(sides) > 1 and not name:
                raise Unreadable("an equation inside a list")
            if name and is_enclosed(sides[1], "(") and len(inner := split_at(sides[1][1:-1], ",")) > 1:
                yield Block("()", tuple(self._item(part, listed=True) for part in inner), name)
                continue
            yield from (Block(block.shape, block.items, name) for block in self._scalars(sides[-1], listed=True))

    def _matrix(self, tokens: list[Token]) -> Reading:
        words = [token for token, _ in tokens]
        start, end = words.index(next(w for w in words if w.startswith(r"\begin"))), len(words) - 1
        before, inner = tokens[:start], tokens[start + 1 : -1]
        if words[start] == r"\begin{array}" and before and (before[-1][0], words[-1]) in (("(", ")"), ("[", "]")):
            before, inner, end = before[:-1], inner[:-1], end - 1
        if not _ENVIRONMENT.fullmatch(words[start]) or words[end] != words[start].replace("begin", "end"):
            raise Unreadable("no matrix of a known kind")
        if any(token.startswith((r"\begin", r"\end")) for token, _ in inner):
            raise Unreadable("a matrix in another")
        factor = [token for token, _ in before if token != "*"]
        rows = split_at(inner[:-1] if inner and inner[-1][0] == r"\\" else inner, r"\\")
        blocks = []
        for row in rows:
            items = [self._item(cell, listed=True) for cell in split_at(row, "&")]
            if factor:
                scale = math_scalar.scalar(split_letters(factor))
                items = [scaled(item, scale, joined(split_letters(factor))) for item in items]
            blocks.append(Block("row", tuple(items)))
        if len({len(block.items) for block in blocks}) != 1:
            raise Unreadable("rows of different length")
        return Reading("matrix", tuple(blocks), ordered=True)

    def _interval_pieces(self, tokens: list[Token]) -> list[Block]:
        blocks: list[Block] = []
        for piece in split_at(tokens, r"\cup"):
            if is_enclosed(piece, r"\{"):
                members = self._members(split_at(piece[1:-1], ","))
                blocks += [Block("{}", block.items) for block in members if block.shape == ""]
                continue
            if [token for token, _ in piece] in REALS:
                blocks.append(Block("()", (infinite("-"), infinite("+"))))
                continue
            ends = split_at(piece[1:-1], ",") if len(piece) > 4 and piece[0][0] in "([" and piece[-1][0] in ")]" else []
            if len(ends) != 2:
                raise Unreadable("no interval")
            blocks.append(Block(piece[0][0] + piece[-1][0], tuple(self._end(end) for end in ends)))
        if all(block.shape == "{}" for block in blocks):
            raise Unreadable("no interval")
        return blocks

    def _end(self, tokens: list[Token]) -> Item:
        words = [token for token, _ in tokens]
        if words and words[-1] == r"\infty" and words[:-1] in ([], ["+"], ["-"]):
            return infinite("-" if words[0] == "-" else "+")
        return self._item(tokens)

    def _scalars(self, tokens: list[Token], *, listed: bool = False) -> list[Block]:
        r"""Return a scalar as one block; two for a `\pm`."""
        words = [token for token, _ in tokens]
        if words and words[-1] == r"\infty":
            return [Block("", (self._end(tokens),))]
        if (based := in_base(words)) is not None:
            return [based]
        return [Block("", (item,)) for item in self._items(tokens, listed=listed)]

    def _items(self, tokens: list[Token], *, listed: bool = False) -> list[Item]:
        words = [token for token, _ in tokens]
        signs = words.count(r"\pm"), words.count(r"\mp")
        if signs == (0, 0):
            return [self._item(tokens, listed=listed)]
        if max(signs) > 1:
            raise Unreadable(r"more than one \pm: whether the signs belong together cannot be told")
        either = ({r"\pm": "+", r"\mp": "-"}, {r"\pm": "-", r"\mp": "+"})
        return [self._item([(signed.get(t, t), s) for t, s in tokens], listed=listed) for signed in either]

    def _item(self, tokens: list[Token], *, listed: bool = False) -> Item:
        value, unit = self._without_unit(with_multiple([token for token, _ in tokens]))
        words = split_letters(value)
        if listed and any(len(word) > 1 and word[0] == "0" and word.isdigit() for word in words):
            raise Unreadable("a number that begins with 0 in a list: perhaps thousands")
        node = math_scalar.scalar(words)
        return Item(joined(words), node, exact(node), unit)

    def _without_unit(self, words: list[str]) -> tuple[list[str], str]:
        """Return the tokens before a unit, and the unit in its normal form."""
        if r"\dollar" in words or r"\euro" in words or r"\pound" in words:
            return without_currency(words)
        for start in range(1, len(words)):
            if not self._begins_unit(words, start):
                continue
            phrase = unit_phrase(words[start:])
            unit = unit_of(phrase) if phrase else None
            if unit is None or r"\degree" in words[:start]:
                continue
            if unit in ("degree", "radian") and not CALLS.isdisjoint(words[:start]):
                # It is the unit of the function's argument, not of its value.
                if words[start] == r"\degree":
                    continue
                raise Unreadable("a function of an angle whose unit is a word; a sign of degrees would tell")
            return words[:start], unit
        return words, ""

    def _begins_unit(self, words: list[str], start: int) -> bool:
        word, before = words[start], words[start - 1]
        if before[-1:] in ("^", "_", "+", "-", "*", "/") or before in (r"\frac", r"\sqrt", "(", "{", "["):
            return False
        if word in SIGNS:
            # A degree sign is a unit after one term, and a factor inside a sum.
            return word != r"\degree" or not any(w in ("+", "-") for w in words[1:start])
        if is_word(word):
            return True
        # Plain letters are a unit only after a number without variables: in `4ms`, not in `x + 4ms`.
        if (before[-1] not in "0123456789)}" and before != r"\pi") or any(w.isalpha() for w in words[:start]):
            return False
        if may_be_unit(word) and word not in MISSPELT:
            return True
        if word == "min":
            return True
        is_speed = word in LETTERS and words[start + 1 : start + 2] == ["/"] and is_unit_word(words[start + 2 :][:1])
        return word in self._unit_letters or is_speed
