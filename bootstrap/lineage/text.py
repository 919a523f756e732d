"""Numbers, tables and names as people read them, and foreign text made harmless, for each place by one function.

terminal, plain files       `visible`, and `one_line` where a line feed would begin a line of its own
Markdown, HTML in it        `plain`
MLflow                      `mlflow_value` for tags and params, `mlflow_key` for their keys and metrics' names
our HTML page               no function: its script sets texts, never markup (`page/inline.py` embeds the data)
"""

import posixpath
import re
import unicodedata
from collections.abc import Sequence

_KEY_CHARACTERS = 250
"""Most that MLflow keeps of a key."""
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_LOOKALIKES = str.maketrans(
    {
        "<": "\u2039",
        ">": "\u203a",
        "`": "'",
        "*": "\u2217",
        "[": "(",
        "]": ")",
        "|": "¦",
        "\\": "\u2216",
        "#": "♯",
        "&": "+",
    }
)

_JOINERS = "\u200c\u200d"
"""Scripts of Asia and emoji are written with them."""
_MOST_SECONDS = 1e12
"""What is told of longer times: a record may be made up, and sums of its numbers be infinite."""


def si(value: float, *, unit: str = "") -> str:
    """Return `value` with three significant digits and a decimal prefix: 1234567 -> `1.23M`."""
    scaled, index = float(value), 0
    while abs(scaled) >= 999.5 and index < len(_PREFIXES) - 1:
        scaled, index = scaled / 1000, index + 1
    digits = f"{scaled:.0f}" if index == 0 and scaled == int(scaled) else f"{scaled:.3g}"
    return f"{digits}{' ' if unit else ''}{_PREFIXES[index]}{unit}"


def count(number: int, noun: str) -> str:
    """Return a number of things: `1 generation`, `2 generations`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time span: `4.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(min(seconds, _MOST_SECONDS)), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def percent(share: float) -> str:
    """Return a share with one decimal: 0.968 -> `96.8 %`."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points with its sign: 0.0213 -> `+2.1 pp`."""
    return f"{100 * difference:+.1f} pp"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def plain(text: str, *, limit: int = 2000) -> str:
    """Return `text` as one line without Markdown or HTML markup or control characters, at most `limit` characters.

    Characters with a meaning become look-alikes instead of entities, because MLflow also shows the text raw in tables.
    """
    printable = "".join(c if _is_harmless(c) else " " for c in text.replace("->", "→"))
    flat = " ".join(printable.split()).translate(_LOOKALIKES)
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _is_harmless(character: str) -> bool:
    """Whether a character acts on no terminal: Python calls all spaces but one, and what joins letters, unprintable."""
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def visible(text: str, *, keep: str = "\n") -> str:
    """Return foreign text for a terminal or a file: control characters but those in `keep` are escaped."""
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) or c in keep else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, *, limit: int = 300) -> str:
    """Return foreign text as one bounded line, control characters escaped."""
    shown = visible(text[: limit + 1], keep="")
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def mlflow_value(text: str, *, limit: int | None = None) -> str:
    """Return foreign text as MLflow's tags and params hold it: control characters escaped, at most `limit` characters.

    A database may refuse them, and clients print such values on terminals.
    """
    return visible(text[:limit], keep="")[:limit]


def mlflow_key(name: str) -> str:
    """Return `name` as MLflow allows the keys of params, metrics and tags: by its characters, and no path upwards."""
    key = re.sub(r"[^\w./ -]", "_", name)[:_KEY_CHARACTERS]
    is_plain = posixpath.normpath(key) == key and not key.startswith(("/", ".."))
    return key if is_plain and key != "." else re.sub(r"[./]", "_", key) or "_"
