"""Pieces of an answer: tokens split at separators, names of values, units and currency, numbers in other bases.

Left out: the whole that they make (`math_text.py`).
"""

import re
from collections.abc import Iterable, Sequence

from bootstrap.scoring.math_nodes import Block, Item, Node, Unreadable, exact
from bootstrap.scoring.math_scalar import CLOSING, FUNCTIONS, OPENING, is_letter
from bootstrap.scoring.math_source import Token, is_word, may_be_unit
from bootstrap.scoring.math_units import LETTERS, MULTIPLES, SIGNS, is_known, unit_of

MAX_LETTERS = 3
"""Longest run of letters that is read as a product; longer runs are words."""
MISSPELT = {*FUNCTIONS, "pi", "log", "or", "and", "min", "max", "gcd", "lcm", "mod", "deg", "inf", "oo", "nan", "NaN"}
MISSPELT |= {"sqrt", "frac", "infinity", "Infinity"}
"""Names of LaTeX commands without the backslash: neither products of their letters nor words."""
RELATIONS = {"<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!="}
MIRRORED = {">": "<", ">=": "<="}
REALS = ([r"\mathbb", "{", "R", "}"], [r"\mathbb", "R"], [r"\Bbb", "{", "R", "}"], [r"\R"], [r"\Reals"])
_BASE_WORDS = "two three four five six seven eight nine ten eleven twelve"
_BASES = {word: base for base, word in enumerate(_BASE_WORDS.split(), start=2)} | {"sixteen": 16}
_NUMERALS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_BASE = 36
_INFINITE = [Node("infinity", value=sign) for sign in "-+"]


def with_multiple(words: list[str]) -> list[str]:
    """Return tokens in which a word such as `million` after a number is a power of ten."""
    for place, word in enumerate(words[1:], start=1):
        if (zeros := MULTIPLES.get(word.removeprefix("'"))) and words[place - 1][-1].isdigit():
            return [*words[:place], "*", "10", "^", str(zeros), *words[place + 1 :]]
    return words


def is_unit_word(words: Sequence[str]) -> bool:
    return bool(words) and (words[0] in LETTERS or is_word(words[0]) or may_be_unit(words[0]) or words[0] == "min")


def unit_phrase(words: Sequence[str]) -> str:
    """Return tokens of units as the text that `unit_of` reads; "" where they are none."""
    parts = []
    for word in words:
        if word in SIGNS:
            parts.append(f" {SIGNS[word]}")
        elif is_word(word) or word.isalpha():
            parts.append(f" {word.removeprefix(chr(39))}")
        elif word in ("^", "{", "}", "/", "-", "*") or (word.isdigit() and len(word) == 1):
            parts.append(word)
        elif word in ("(", ")"):
            return ""
        else:
            return ""
    return "".join(parts).strip()


def without_currency(words: list[str]) -> tuple[list[str], str]:
    """Return an amount of money and its unit. Raises Unreadable unless one currency sign stands beside it."""
    signs = [place for place, word in enumerate(words) if word in (r"\dollar", r"\euro", r"\pound")]
    [place, *more] = signs
    rest = words[:place] + words[place + 1 :]
    is_first = place == 0 or words[:place] in (["-"], ["+"])
    if more or not rest or not (is_first or place == len(words) - 1) or r"\percent" in rest:
        raise Unreadable("a sign of currency that is not beside one amount")
    unit = SIGNS[words[place]]
    for start in range(1, len(rest)):
        if rest[start].removeprefix("'") in ("per", "/") and (priced := unit_of(f"{unit} {unit_phrase(rest[start:])}")):
            return rest[:start], priced
    if unit == "dollar" and rest[-1].removeprefix("'").casefold() in ("dollars", "dollar", "usd") and len(rest) > 1:
        rest = rest[:-1]
    return rest, unit


def split_letters(words: Sequence[str]) -> list[str]:
    """Return tokens with runs of letters split into single ones. Raises Unreadable at a word."""
    found: list[str] = []
    for word in words:
        if is_word(word):
            if len(word) != 2:
                raise Unreadable(f"a word: {word[1:21]}")
            found.append(word[1:])
        elif len(word) > 1 and word.isalpha():
            if len(word) > MAX_LETTERS or word in MISSPELT:
                raise Unreadable(f"a word: {word[:20]}")
            found += word
        else:
            found.append(word)
    return found


def name_of(tokens: Sequence[Token]) -> str:
    """Return the name on the left of an `=`; "" where the left side is no name."""
    words = [token.removeprefix("'") for token, _ in tokens]
    text = "".join(words)
    if len(words) == 1 and (is_letter(text) or (text.isalpha() and text.isupper() and len(text) <= MAX_LETTERS)):
        return text if text not in ("e", "i") else ""
    if re.fullmatch(r"(?:[A-Za-z]|\\[a-z]+)_(?:\{?[A-Za-z0-9]{1,2}\}?)", text):
        return re.sub(r"_\{?([A-Za-z0-9]+)\}?", r"_{\1}", text)
    if re.fullmatch(
        # One character a turn, since runs that can be cut in many ways make the match exponential.
        r"[A-Za-z](?:\^\{-1\})?\((?:-?[A-Za-z0-9],?)+\)|\([a-zA-Z](?:,[a-zA-Z])+\)|m?\\angle[A-Z]{1,3}",
        text,
    ):
        return text
    return text.casefold() if len(words) == 1 and text.isalpha() and len(text) > MAX_LETTERS else ""


def with_commas(tokens: Iterable[Token]) -> list[Token]:
    """Return tokens in which `and`, `or` and semicolons between members are commas."""
    found: list[Token] = []
    for token, spaced in tokens:
        if token in ("'and", "'or", "and", "or", ";"):
            if found and found[-1][0] == ",":
                continue
            token, spaced = ",", True
        elif found and found[-1] == (",", True):
            spaced = True
        elif found and token.isdigit() and is_known(found[-1][0].removeprefix("'")) and len(found) > 1:
            # `6 feet 2 inches`
            found.append((",", True))
        found.append((token, spaced))
    return found


def relation_of(tokens: list[Token]) -> tuple[list[str], list[list[Token]]] | None:
    """Return the operators and sides of a chain of inequalities; None without one. Raises Unreadable for mixed ones."""
    operators = [RELATIONS[token] for token, _ in tokens if token in RELATIONS]
    if not operators:
        return None
    directions = {operator[0] for operator in operators}
    if len(operators) > 2 or len(directions) != 1 or (len(operators) == 2 and "!=" in operators):
        raise Unreadable("no chain of inequalities in one direction")
    parts = split_at([("<", s) if t in RELATIONS else (t, s) for t, s in tokens], "<")
    if len(parts) != len(operators) + 1 or any("=" in (t for t, _ in part) for part in parts):
        raise Unreadable("an inequality in brackets")
    return operators, parts


def mirrored(operators: Sequence[str]) -> list[str]:
    swapped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    return [swapped.get(operator, operator) for operator in reversed(operators)]


def bracket_of(operator: str, brackets: str) -> str:
    return brackets[len(operator) - 1]


def infinite(sign: str) -> Item:
    return Item(rf"{sign}\infty", _INFINITE[sign == "+"], None)


def scaled(item: Item, factor: Node, text: str) -> Item:
    node = Node("multiply", (factor, item.node))
    return Item(f"( {text} ) * ( {item.text} )", node, exact(node), item.unit)


def in_base(words: Sequence[str]) -> Block | None:
    """Return a number in another base, as `4210_{5}`, or None."""
    words = [word.removeprefix("'") for word in words if word not in ("{", "}", "(", ")")]
    if "base" in words:
        place = words.index("base")
        words = [*words[: place - (words[place - 1] == "_")], "_", *words[place + 1 :]]
    if "_" not in words or len(words) - words.index("_") != 2:
        return None
    sign, digits = (words[0], words[1 : words.index("_")]) if words[0] == "-" else ("", words[: words.index("_")])
    text, written = "".join(digits), words[-1]
    base = _BASES.get(written) or (int(written) if written.isdigit() and len(written) <= 2 else 0)
    if not text.isalnum() or (text[0].isalpha() and (len(text) == 1 or not text.isupper() or base < 16)):
        return None
    if not 2 <= base <= MAX_BASE or any(digit not in _NUMERALS[:base] for digit in text.upper()):
        raise Unreadable("digits that the base does not have")
    node = Node("number", value=str(int(text, base)))
    node = Node("negative", (node,)) if sign else node
    return Block("" if base == 10 else f"base {base}", (Item(f"{sign}{text}_{{{base}}}", node, exact(node)),))


def looks_like_interval(tokens: list[Token]) -> bool:
    words = [token for token, _ in tokens]
    bracketed = words[0] in "([" and words[-1] in ")]" and len(split_at(tokens[1:-1], ",")) == 2
    return bracketed and (words[0] == "[" or words[-1] == "]" or r"\infty" in words)


def is_like_thousands(left: list[Token], right: list[Token]) -> bool:
    """Whether a comma between the two may be a thousands separator, as in `1,234`."""
    (before, _), (after, spaced) = left[-1], right[0]
    return before.isdigit() and bool(re.fullmatch(r"[0-9]{3}(\.[0-9]+)?", after)) and not spaced


def is_enclosed(tokens: Sequence[Token], opening: str) -> bool:
    """Whether the first token is `opening` and the last one closes it."""
    if not tokens or tokens[0][0] != opening:
        return False
    depth = 0
    for place, (token, _) in enumerate(tokens):
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0:
            return place == len(tokens) - 1 and token == OPENING[opening]
    return False


def split_at(tokens: Iterable[Token], separator: str) -> list[list[Token]]:
    """Return the parts between separators outside brackets. Raises Unreadable when one is empty."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token, spaced in tokens:
        depth += (token in OPENING) - (token in CLOSING)
        if token == separator and depth == 0:
            parts.append([])
        else:
            parts[-1].append((token, spaced))
    if not all(parts):
        raise Unreadable(f"nothing beside a {separator}")
    return parts
