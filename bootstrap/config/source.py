"""A recipe as data: YAML text with the line of everything in it, and overrides laid over it.

The YAML is the 1.2 core schema: `yes` is a word, `1e-3` and `0x1F` are numbers, `1:30` is a word, a key stands once.
Left out: what the data mean, which the settings' classes say.
"""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bootstrap.config.base import Place, dotted
from bootstrap.config.faults import listed
from bootstrap.errors import RecipeError

MAX_NUMBER = 1000
"""Characters of one number."""


@dataclass
class RecipeSource:
    """A recipe's data with the place of origin of everything in it."""

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)
    """Line of each key and list entry, counted from 1."""
    overrides: dict[Place, str] = field(default_factory=dict)
    """Text of the override that set a place."""
    begun: set[Place] = field(default_factory=set)
    """Sections that are there for an override inside them alone, so that their type is that of their default."""
    folder: Path = Path()
    """Where relative paths start."""

    def origin(self, place: Place) -> str:
        """Return `file:line` or the override that a place comes from; for missing keys, that of what holds them."""
        for length in range(len(place), 0, -1):
            for overridden, text in self.overrides.items():
                # An override of something inside an unknown section is what wrote that section.
                if overridden[:length] == place[:length] and (
                    len(overridden) == length or place[:length] not in self.lines
                ):
                    return f"override {text}"
            if place[:length] in self.lines:
                return f"{self.path}:{self.lines[place[:length]]}"
        return str(self.path)

    def lay_over(self, override: str) -> None:
        """Lay `key.sub=value` over the data. Raises RecipeError where the text or its place makes no sense."""
        key, equals, text = override.partition("=")
        place = tuple(
            int(part) if _INDEX.fullmatch(part) else part
            for part in re.sub(r"\[([0-9]+)\]", r".\1", key.strip()).split(".")
        )
        if not equals or not all(part != "" for part in place) or not isinstance(place[0], str):
            raise RecipeError(f"override {override!r} is not of the form key=value, for example generations.count=3")
        value = _parse(text, label=f"override {override}")
        # What stood there before is gone, with the lines of everything inside it.
        self.begun = {begun for begun in self.begun if begun[: len(place)] != place}
        target: Any = self.data
        for depth, part in enumerate(place):
            here, last = place[:depth], depth == len(place) - 1
            if isinstance(target, list):
                if not isinstance(part, int) or part >= len(target):
                    entries = "no entries" if not target else f"entries 0 to {len(target) - 1}"
                    raise RecipeError(
                        f"override {override}: {dotted(here)} has {entries}, and {part!r} names none of them"
                    )
            elif isinstance(target, dict):
                part = str(part)
            else:
                raise RecipeError(f"override {override}: {dotted(here)} is {target!r} and holds no settings of its own")
            if last:
                target[part] = value
            else:
                if isinstance(target, dict) and target.get(part) is None:
                    target[part] = {}
                    self.begun.add(place[: depth + 1])
                target = target[part]
        self.lines = {known: line for known, line in self.lines.items() if known[: len(place)] != place}
        self.overrides[place] = override

    def complete(self, place: Place, default: str | None) -> bool:
        """Give a section that overrides have begun the type of its default; return whether that changed it."""
        if default is None or place not in self.begun:
            return False
        self.begun.remove(place)
        value_at(place, self.data)["type"] = default
        return True


def value_at(place: Place, data: Any) -> Any:
    """Return what stands at a place; None where nothing does."""
    for part in place:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


_INDEX = re.compile("[0-9]{1,9}")
"""Places in lists. Not `str.isdigit`: it holds for signs that `int` refuses, and for digits of any number."""


def read(path: Path) -> RecipeSource:
    """Parse the file. Raises RecipeError where it is missing, unreadable, no YAML, or no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise RecipeError(_missing_message(path)) from None
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}; make the file readable") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    source = RecipeSource(path=path, data={}, folder=path.parent)
    data = _parse(text, label=str(path), source=source)
    if not isinstance(data, dict):
        what = "is empty" if data is None else "is no mapping of settings"
        raise RecipeError(f"the recipe {path} {what}; it starts with name:, task: and generations: at the left margin")
    source.data = data
    return source


def _missing_message(path: Path) -> str:
    if path.is_dir():
        folder, message = path, f"{path} is a folder, not a recipe"
    else:
        folder, message = path.parent, f"there is no recipe {path}"
    near = sorted(folder.glob("*.y*ml")) or sorted(Path("pipelines").glob("*.y*ml"))
    if not near:
        return f"{message}, and no YAML file near by; name a recipe file"
    close = difflib.get_close_matches(path.name, [recipe.name for recipe in near], n=1)
    near.sort(key=lambda recipe: (recipe.name not in close, recipe.name))
    return f"{message}; recipes near by: {listed(map(str, near))}"


# --- YAML --------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.2 core schema, so that `on` stays a word and `1e-3` is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


_INT = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
"""What a value may be: other tags (`!!binary`, `!!timestamp`) make what JSON cannot hold."""
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _bool(loader: _Loader, node: yaml.Node) -> bool:
    text = loader.construct_scalar(node)
    if text.lower() not in ("true", "false"):
        raise ValueError(f"line {node.start_mark.line + 1}: !!bool {text} is neither true nor false")
    return text.lower() == "true"


def _number(loader: _Loader, node: yaml.Node) -> int | float:
    """Return a number as the core schema writes it: also in octal (`0o17`), in hexadecimal (`0x1F`), `.inf`, `.nan`."""
    text, name = loader.construct_scalar(node), node.tag.rpartition(":")[2]
    # Python bounds the digits of decimal numbers alone, and cannot write down what is longer.
    if not re.fullmatch(_INT if name == "int" else _FLOAT, text) or len(text) > MAX_NUMBER:
        raise ValueError(f"line {node.start_mark.line + 1}: !!{name} {text[:40]} is no number of that kind")
    if name == "float":
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text if base == 10 else text[2:], base)


_Loader.add_constructor("tag:yaml.org,2002:bool", _bool)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def _parse(text: str, *, label: str, source: RecipeSource | None = None) -> Any:
    """Build plain data from YAML text, and fill `source.lines`. Raises RecipeError naming `label`, and the line."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _build(loader, node, (), source or RecipeSource(path=Path(label), data={}))
    except RecipeError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}" if mark and source else label
        raise RecipeError(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Characters that YAML forbids, integers with more digits than Python converts, nesting without end.
        raise RecipeError(f"{label}: not valid YAML: {str(error).splitlines()[0]}") from None


def _build(
    loader: _Loader, node: yaml.Node, place: Place, source: RecipeSource, above: frozenset[int] = frozenset()
) -> Any:
    if id(node) in above:
        raise RecipeError(f"{source.path}:{node.start_mark.line + 1}: {dotted(place)} contains itself; write it out")
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            line, key = key_node.start_mark.line + 1, key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise RecipeError(f"{source.path}:{line}: a key must be a word, not a list or a mapping")
            if key in seen:
                full = dotted((*place, key))
                raise RecipeError(
                    f"{source.path}:{line}: {full}: given twice, first in line {seen[key]}; keep one of the two"
                )
            seen[key] = line
        loader.flatten_mapping(node)
        result = {}
        for key_node, value_node in node.value:
            inner = (*place, key_node.value)
            source.lines[inner] = key_node.start_mark.line + 1
            result[key_node.value] = _build(loader, value_node, inner, source, above)
        return result
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            source.lines[(*place, index)] = item.start_mark.line + 1
        return [_build(loader, item, (*place, index), source, above) for index, item in enumerate(node.value)]
    if node.tag not in _SCALARS:
        raise RecipeError(
            f"{source.path}:{node.start_mark.line + 1}: not valid YAML for a recipe: {dotted(place)} has the tag "
            f"{node.tag}; write plain text, a number, true, false or null"
        )
    return loader.construct_object(node)
