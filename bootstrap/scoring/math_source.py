r"""Splits the contents of a box into tokens. Wrappers of the whole are dropped (`$...$`, `\boxed{}`, `\text{}`, a full
stop), spacing too; synonyms share a token (`\dfrac` and `\frac`, `\leq` and `\le`); thousands become one number.

A marked comma (`1{,}152`, `10,\!080`, `10\,080`) is always a thousands separator. A plain one (`1,152`) is one only
outside brackets, without another comma, and where no list is asked for. So `10,\!080` is never 10 and 80, and `(1,152)`
is never 1152.

Left out: the meaning of tokens (`math_text.py`).
"""

# This module reads signs that look like others.
# ruff: noqa: RUF001

import re
from fractions import Fraction

from bootstrap.scoring.math_nodes import Unreadable
from bootstrap.scoring.math_units import PLAIN

MAX_CHARACTERS = 256
MAX_WRAPPERS = 8

Token = tuple[str, bool]
"""Its text, and whether a space stands before it. Upright words begin with `'`."""

_SPACING = r"\s|~|\\[,;:! ]|\\(?:quad|qquad|displaystyle|textstyle|limits|nolimits|allowbreak|phantom\{\})(?![A-Za-z])"
_UPRIGHT = "text|textrm|textnormal|textbf|textit|textsf|texttt|mbox|hbox|mathrm|mathbf|mathsf|mathit|operatorname|rm|bf"
_NAMED = re.compile(
    r"\\(?:mathbf|vec|hat|overline|overrightarrow|bm|boldsymbol)\s*\{\s*([A-Za-z]{1,3})\s*\}"
    r"|\\(?:angle|triangle)\s*[A-Z]{1,3}(?![A-Za-z])"
)
_TOKEN = re.compile(
    rf"(?P<space>(?:{_SPACING})+)"
    rf"|\\(?:{_UPRIGHT})\s*\{{(?P<text>[^{{}}]*)\}}"
    r"|(?P<begin>\\(?:begin|end)\s*\{[A-Za-z]+\*?\}(?:\{[lcr| ]+\})?)"
    r"|(?P<row>\\\\(?:\s*\[[0-9.]+[a-z]{2}\])?)"
    r"|(?P<token>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|\\[A-Za-z]+|\\[{}|]|[A-Za-z]+|[()\[\]{}+\-*/^_!,=<>|:&])",
    re.ASCII,
)
_SAME = {
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\cfrac": r"\frac",
    r"\dbinom": r"\binom",
    r"\tbinom": r"\binom",
    r"\cdot": "*",
    r"\times": "*",
    r"\ast": "*",
    r"\div": "/",
    r"\colon": ":",
    r"\varnothing": r"\emptyset",
    r"\leq": r"\le",
    r"\leqslant": r"\le",
    r"\geq": r"\ge",
    r"\geqslant": r"\ge",
    r"\lt": "<",
    r"\gt": ">",
    r"\neq": r"\ne",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\lbrack": "[",
    r"\rbrack": "]",
    r"\lparen": "(",
    r"\rparen": ")",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\vert": "|",
}
_SIZES = re.compile(r"\\(?:left|right|big|Big|bigg|Bigg|bigl|bigr|Bigl|Bigr|biggl|biggr|Biggl|Biggr|middle)\Z")
_SIZED = {*"()[]|.", r"\{", r"\}", r"\lbrace", r"\rbrace", r"\lvert", r"\rvert", r"\vert", r"\lbrack", r"\rbrack"}
_SIGNS = str.maketrans(
    {"−": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne "}
    | {"∞": r"\infty ", "∪": r"\cup ", "∈": r"\in ", "±": r"\pm ", "∓": r"\mp ", "°": r"\degree ", "∅": r"\emptyset "}
    | {"€": r"\euro ", "£": r"\pound ", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "’": "'"}
)
_DEGREE = re.compile(r"(?:\{\s*\})?\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\(?:degree|textdegree)(?![A-Za-z])")
_CURRENCY = re.compile(r"\\?\$|\\textdollar(?![A-Za-z])")
_CLOCK = re.compile(r"(:[0-9]{2})(?:\s|~|\\[ ,])*(?:\\text\s*\{\s*)?([ap])\.?\s?m\.?(?![A-Za-z])\s*\}?", re.IGNORECASE)
_PERCENT = re.compile(r"\\?%")
_REPEATING = re.compile(r"(?<![0-9.])([0-9]*)\.([0-9]*)\\(?:overline|bar|dot)\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))")
MAX_REPEATING = 24
"""Digits that repeat, and digits before them."""
_MARK = r"(?:\s*(?:\{,\}|,\s*\\!|\\!\s*,)\s*)"
_MARKED = re.compile(rf"(?<![0-9.,])([1-9][0-9]{{0,2}}(?:{_MARK}[0-9]{{3}})+)(?![0-9])")
_THIN = re.compile(r"(?<![0-9.,])([1-9][0-9]{0,2}(?:\\,[0-9]{3})+)(?![0-9])")
_PLAIN = re.compile(r"(?<![0-9.,])([1-9][0-9]{0,2}(?:,[0-9]{3})+)(?![0-9,])")
_NOT_DIGITS = re.compile(r"[^0-9]")
_UPRIGHT_PIECE = re.compile(
    r"(?:\s|\\[ ,;:!])+|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[A-Za-z](?:[A-Za-z']|\.(?=[A-Za-z]))*\.?|.", re.ASCII | re.DOTALL
)


def unwrapped(text: str) -> tuple[str, bool]:
    """Return a text without the wrappers around the whole of it, and whether one made it upright.

    Raises Unreadable when the text is longer than `MAX_CHARACTERS`, or empty.
    """
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"more than {MAX_CHARACTERS} characters")
    upright = False
    for _ in range(MAX_WRAPPERS):
        inner, made_upright = _unwrapped_once(text.strip())
        if inner == text:
            break
        text, upright = inner, upright or made_upright
    if not text:
        raise Unreadable("nothing there")
    return text, upright


def _unwrapped_once(text: str) -> tuple[str, bool]:
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**")):
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening) + len(closing):
            plain = opening.strip("$") or not re.search(r"(?<!\\)\$", inner)
            if plain and not text.endswith(rf"\{closing}") and (opening == "$" or opening not in inner):
                return inner.strip(), False
    match = re.match(rf"\\(boxed|fbox|{_UPRIGHT})\s*\{{", text)
    if match and _closing(text, match.end()) == len(text) - 1:
        return text[match.end() : -1].strip(), match[1] not in ("boxed", "fbox")
    if text.startswith("{") and _closing(text, 1) == len(text) - 1:
        return text[1:-1].strip(), False
    if text.endswith(".") and not text.endswith("..") and not re.search(r"\.[A-Za-z]\.\Z", text):
        return text[:-1].rstrip(), False
    return text, False


def _closing(text: str, start: int) -> int:
    """Return the place of the brace that closes the one before `start`, or -1."""
    depth = 1
    for match in re.finditer(r"\\.|[{}]", text[start:], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return start + match.start()
    return -1


def tokens_of(text: str, *, lists: bool = False) -> list[Token]:
    """Return the tokens of an unwrapped text. `lists`: whether a list is asked for, so that commas separate members.

    Raises Unreadable at text that is no mathematics.
    """
    text = _with_thousands(_with_signs(text), lists=lists)
    tokens: list[Token] = []
    place, spaced = 0, False
    while place < len(text):
        match = _NAMED.match(text, place)
        # Bold letters are vectors, bold words are words.
        if match and (len(match[1] or "") == 1 or not match[0].startswith(r"\mathbf")):
            tokens.append((match[0].replace(" ", ""), spaced))
            place, spaced = match.end(), False
            continue
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unreadable(f"no mathematics known here: {text[place : place + 20]!r}")
        place = match.end()
        if match["space"]:
            spaced = True
            continue
        if match["text"] is not None:
            tokens += _upright(match["text"])
        elif match["begin"]:
            tokens.append((re.sub(r"\s|\{[lcr| ]+\}\Z", "", match["begin"]), spaced))
        elif match["row"]:
            tokens.append((r"\\", spaced))
        elif _SIZES.match(match["token"]):
            after = re.compile(r"\s*(\\[{}|]|\\[A-Za-z]+|.)", re.DOTALL).match(text, place)
            if after is None or after[1] not in _SIZED:
                raise Unreadable(f"{match['token']} without a bracket")
            # `\left.` stands for no bracket.
            place = after.end() if after[1] == "." else place
        else:
            tokens.append((_SAME.get(match["token"], match["token"]), spaced))
        spaced = False
    return tokens


def _with_signs(text: str) -> str:
    text = _DEGREE.sub(r" \\degree ", text.translate(_SIGNS))
    text = _CLOCK.sub(lambda match: rf"{match[1]} \text{{{match[2].lower()}m}}", text)
    text = _PERCENT.sub(r" \\percent ", text)
    # Inside upright text, dollar signs enclose mathematics.
    text = re.sub(r"(\{[^{}$]*)\$([^{}$]*)\$([^{}$]*\})", r"\1\2\3", text)
    return _REPEATING.sub(_repeating, _CURRENCY.sub(r" \\dollar ", text))


def _repeating(match: re.Match[str]) -> str:
    """Return a repeating decimal as a fraction."""
    whole, part, again = match[1] or "0", match[2], match[3] or match[4]
    if len(whole) > MAX_REPEATING or len(part) > MAX_REPEATING or len(again) > MAX_REPEATING:
        raise Unreadable(f"a repeating decimal of more than {MAX_REPEATING} digits")
    start = Fraction(int(whole + part), 10 ** len(part))
    value = start + Fraction(int(again), 10 ** len(part) * (10 ** len(again) - 1))
    return rf" (\frac{{{value.numerator}}}{{{value.denominator}}}) "


def _with_thousands(text: str, *, lists: bool) -> str:
    for marked in (_MARKED, _THIN):
        text = marked.sub(lambda match: _NOT_DIGITS.sub("", match[0]), text)
    if lists:
        return text
    matches, others = [], False
    depth, place = 0, 0
    # A list's comma stands outside brackets, or in brackets that can hold a list.
    for match in re.finditer(r"\\[{}]|[()\[\],]", text):
        if match.start() < place:
            continue
        mark = match[0]
        depth += (mark in ("(", "[", r"\{")) - (mark in (")", "]", r"\}"))
        if mark != "," or depth:
            continue
        found = next((m for m in _PLAIN.finditer(text) if m.start() < match.start() < m.end()), None)
        if found is None:
            others = True
        else:
            matches.append(found)
            place = found.end()
    if not matches or others:
        return text
    for found in reversed(matches):
        text = text[: found.start()] + found[0].replace(",", "") + text[found.end() :]
    return text


def _upright(content: str) -> list[Token]:
    r"""Return the tokens of the content of `\text{}`: numbers and signs as outside, words as words."""
    found: list[Token] = []
    for match in _UPRIGHT_PIECE.finditer(content):
        piece = match.group()
        if piece[0].isspace() or (piece[0] == "\\" and len(piece) > 1):
            continue
        if piece[0].isalpha() and piece[0].isascii():
            found.append((f"'{piece}" if piece.count(".") > 1 else f"'{piece.rstrip('.')}", True))
            continue
        rest = content[match.start() :]
        if (piece[-1] in "0123456789" and piece.isascii()) or piece in "()[]{}+-*/^_!,=<>:":
            found.append((piece, True))
        elif piece == "\\":
            return [*found, *tokens_of(rest)]
        else:
            raise Unreadable(f"no mathematics known here: {rest[:20]!r}")
    return found


def is_word(token: str) -> bool:
    """Whether a token is upright text."""
    return token.startswith("'")


def may_be_unit(token: str) -> bool:
    """Whether a plain run of letters is a unit or a word rather than a product of letters."""
    return token in PLAIN or token == "sq" or (token.isalpha() and len(token) > 3)
