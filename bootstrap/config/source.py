"""A recipe as data: its YAML with line numbers, and overrides.

The YAML is the 1.2 core schema: `yes` and `1:30` are words, `1e-3` and `0x1F` are numbers, and a key is given once.
Aliases can make much of little, so what they expand to is counted before it is built. Left out: the meaning of the
data, which the settings' classes define.
"""

import difflib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bootstrap.config.base import Place, dotted
from bootstrap.config.faults import listed
from bootstrap.errors import RecipeError, StoreError
from bootstrap.reading import named_folder

HEADER = "lineage.json"
"""File at the top of every lineage's folder (`store/lineage_store.py`)."""
MAX_NUMBER = 1000
"""Characters of one number."""
MAX_BYTES = 2**20
"""Bytes of a recipe."""
MAX_NODES = 20_000
"""Keys and values of a recipe, what its aliases expand to included."""
MAX_DEPTH = 100
"""Sections and lists within each other, aliases included."""


@dataclass
class RecipeSource:
    """A recipe's data, and the line or override that each part comes from."""

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)
    """Line of each key and list entry, counted from 1."""
    overrides: dict[Place, str] = field(default_factory=dict)
    """Text of the override that set each place."""
    begun: set[Place] = field(default_factory=set)
    """Sections that exist only because an override sets something inside; they have their default's type."""
    folder: Path = Path()
    """Folder that relative paths start at."""
    is_remembered: bool = False
    """Whether it is the recipe that a lineage remembers, which names every setting."""

    def origin(self, place: Place) -> str:
        """Return `file:line` or the override that a place comes from; a missing key has its section's origin."""
        for length in range(len(place), 0, -1):
            for overridden, text in self.overrides.items():
                # A section that is not in the file was written by an override inside it.
                if overridden[:length] == place[:length] and (
                    len(overridden) == length or place[:length] not in self.lines
                ):
                    return f"override {text}"
            if place[:length] in self.lines:
                return f"{self.path}:{self.lines[place[:length]]}"
        return str(self.path)

    def lay_over(self, override: str) -> None:
        """Set `key.sub=value` in the data. Raises RecipeError for text or a place that makes no sense."""
        key, equals, text = override.partition("=")
        place = tuple(
            int(part) if _INDEX.fullmatch(part) else part
            for part in re.sub(r"\[([0-9]+)\]", r".\1", key.strip()).split(".")
        )
        if not equals or not all(part != "" for part in place) or type(place[0]) is int:
            raise RecipeError(f"override {override!r} is not of the form key=value, for example generations.count=3")
        if len(place) > MAX_DEPTH:
            raise RecipeError(f"override {override:.60}...: more than {MAX_DEPTH} settings within each other")
        value = parse(text, label=f"override {override}")
        # The lines of everything that stood there before go with it.
        self.begun = {begun for begun in self.begun if begun[: len(place)] != place}
        holder: Any
        target: Any = self.data
        for depth, part in enumerate(place):
            here, last = place[:depth], depth == len(place) - 1
            holder = target
            match target:
                case list() if not holds(target, part):
                    entries = "1 entry" if len(target) == 1 else f"{len(target)} entries"
                    wrong = f"index {part} is out of range" if type(part) is int else f"{part!r} is not an index"
                    raise RecipeError(f"override {override}: {dotted(here)} has {entries}, counted from 0; {wrong}")
                case list():
                    pass
                case dict():
                    part = str(part)
                    if not last and target.get(part) is None:
                        target[part] = {}
                        self.begun.add(place[: depth + 1])
                case _:
                    raise RecipeError(
                        f"override {override}: {dotted(here)} is {target!r} and holds no settings of its own"
                    )
            if last:
                holder[part] = value
            else:
                target = holder[part]
        self.lines = {known: line for known, line in self.lines.items() if known[: len(place)] != place}
        self.overrides[place] = override

    def complete(self, place: Place, default: str | None) -> bool:
        """Give a section of `begun` its default's type; return whether that changed it."""
        if default is None or place not in self.begun:
            return False
        self.begun.remove(place)
        value_at(place, self.data)["type"] = default
        return True


def holds(data: Any, part: str | int) -> bool:
    """Whether data is a section with that key, or a list with an entry of that number."""
    match data:
        case dict():
            return part in data
        case list():
            return type(part) is int and part < len(data)
    return False


def value_at(place: Place, data: Any) -> Any:
    """Return the data at a place; None where there is nothing."""
    for part in place:
        if not holds(data, part):
            return None
        data = data[part]
    return data


_TASK = re.compile("(['\"]?)task\\1[ \t]*:")
"""The beginning of the line that gives a recipe its task."""
_INDEX = re.compile("[0-9]{1,9}")
"""An index of a list. `str.isdigit` also holds for signs that `int` refuses, and for any number of digits."""


def lies_in_store(path: Path | str) -> bool:
    """Whether a file lies beside lineages, or in the folder of one, however deep; links are followed too."""
    return any(map(_is_in_store, (Path(path).absolute(), Path(path).resolve())))


def _is_in_store(place: Path) -> bool:
    # A header that is no regular file is a stranger's, too.
    return (
        any(os.path.lexists(folder / HEADER) for folder in place.parents)
        or next(place.parent.glob(f"*/{HEADER}"), None) is not None
    )


def read(path: Path) -> RecipeSource:
    """Parse the file.

    Raises RecipeError where it is missing, unreadable, not YAML, or not a mapping; StoreError, StoreCorrupt for one in
    a store.
    """
    try:
        text = _content(path).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise RecipeError(_missing_message(path)) from None
    except StoreError:
        raise
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}; make the file readable") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    source = RecipeSource(path=path, data={}, folder=path.parent)
    data = parse(text, label=str(path), source=source)
    if type(data) is not dict:
        what = "is empty" if data is None else "is no mapping of settings"
        raise RecipeError(f"the recipe {path} {what}; it starts with name:, task: and generations: at the left margin")
    source.data = data
    return source


def _content(path: Path) -> bytes:
    """Return a file's bytes, no more than a byte too many; one in a store is opened as all that is stored."""
    if path.is_dir() or not path.exists() or not lies_in_store(path):
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    # A link of the person's own may lead into a store, and none in the store leads further.
    place = path.absolute() if _is_in_store(path.absolute()) else path.resolve()
    with named_folder(place.parent) as folder:
        return folder.read(place.name, most=MAX_BYTES)


def _missing_message(path: Path) -> str:
    if path.is_dir():
        folder, message = path, f"{path} is a folder, not a recipe"
    else:
        folder, message = path.parent, f"there is no recipe {path}"
    folders = {place.resolve(): place for place in (Path("pipelines"), folder)}.values()
    near = [file for place in folders for file in place.glob("*.y*ml") if _is_recipe(file)]
    if not near:
        return f"{message}, and none near by; name a recipe file"
    close = difflib.get_close_matches(path.name, [recipe.name for recipe in near], n=1)
    near.sort(key=lambda recipe: (recipe.name not in close, recipe.parent != folder, recipe.name))
    return f"{message}; recipes near by: {listed(map(str, near))}"


def _is_recipe(file: Path) -> bool:
    """Whether a YAML file has a `task` at its top level; it may be no YAML at all."""
    try:
        if file.name.startswith(".") or not file.is_file():
            return False
        with file.open(encoding="utf-8", errors="replace") as lines:
            return any(_TASK.match(line) for line in lines.read(MAX_BYTES).splitlines())
    except OSError:
        return False


# --- YAML --------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.2 core schema: `on` is a word, `1e-3` a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose as the base class does, as deep as `MAX_DEPTH`."""
        if self.depth > MAX_DEPTH:
            raise _too_deep(self.peek_event().start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_INT = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
"""Tags of values. Others (`!!binary`, `!!timestamp`) make values that JSON cannot hold."""
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _bool(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node)
    if text.lower() not in ("true", "false"):
        raise ValueError(f"line {node.start_mark.line + 1}: !!bool {text} is neither true nor false")
    return text.lower() == "true"


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """Return a number of the core schema, which has octal (`0o17`), hexadecimal (`0x1F`), `.inf` and `.nan` too."""
    text, name = loader.construct_scalar(node), node.tag.rpartition(":")[2]
    # Python limits the digits of decimal integers that it converts to text.
    if not re.fullmatch(_INT if name == "int" else _FLOAT, text) or len(text) > MAX_NUMBER:
        raise ValueError(f"line {node.start_mark.line + 1}: !!{name} {text[:40]} is no number of that kind")
    if name == "float":
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text if base == 10 else text[2:], base)


_Loader.add_constructor("tag:yaml.org,2002:bool", _bool)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def parse(text: str, *, label: str, source: RecipeSource | None = None) -> Any:
    """Build plain data from YAML text, and fill `source.lines`.

    Raises RecipeError with `label` and the line, also for what is larger than `MAX_BYTES`, `MAX_NODES` or `MAX_DEPTH`.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        lines = text.encode(errors="surrogatepass")[:MAX_BYTES].count(b"\n") + 1
        raise RecipeError(f"{label}:{lines}: longer than {MAX_BYTES} bytes; leave the rest out, or name it as a file")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        _measure(node, {})
        return None if node is None else _build(loader, node, (), source or RecipeSource(path=Path(label), data={}))
    except RecipeError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}" if mark and source else label
        raise RecipeError(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        # Characters that YAML forbids, or integers with too many digits.
        raise RecipeError(f"{label}: not valid YAML: {str(error).splitlines()[0]}") from None


def _too_deep(mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} sections within each other", problem_mark=mark)


def _measure(node: yaml.Node | None, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the values and the depth of what a node expands to; `known`: those of nodes by their `id`.

    A hundred characters count as a value, since aliases may repeat a long text.
    Raises MarkedYAMLError beyond `MAX_NODES` and `MAX_DEPTH`. A node that contains itself counts as empty there.
    """
    if node is None or id(node) in known:
        return (0, 0) if node is None else known[id(node)]
    known[id(node)] = (0, 0)
    size, depth = 1, 1
    if isinstance(node, yaml.ScalarNode):
        size += len(node.value) // 100
    if isinstance(node, yaml.CollectionNode):
        for entry in node.value:
            for part in entry if isinstance(entry, tuple) else (entry,):
                inner_size, inner_depth = _measure(part, known)
                size, depth = size + inner_size, max(depth, inner_depth + 1)
    if size > MAX_NODES:
        problem = f"more than {MAX_NODES} values, those that aliases repeat included"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    if depth > MAX_DEPTH:
        raise _too_deep(node.start_mark)
    known[id(node)] = size, depth
    return size, depth


def _build(
    loader: _Loader, node: yaml.Node, place: Place, source: RecipeSource, above: frozenset[int] = frozenset()
) -> Any:
    if id(node) in above:
        raise RecipeError(f"{source.path}:{node.start_mark.line + 1}: {dotted(place)} contains itself; write it out")
    above |= {id(node)}
    match node:
        case yaml.MappingNode():
            _refuse_keys_given_twice(node, place, source)
            loader.flatten_mapping(node)
            result = {}
            for key_node, value_node in node.value:
                inner = (*place, key_node.value)
                source.lines[inner] = key_node.start_mark.line + 1
                result[key_node.value] = _build(loader, value_node, inner, source, above)
            return result
        case yaml.SequenceNode():
            for index, item in enumerate(node.value):
                source.lines[(*place, index)] = item.start_mark.line + 1
            return [_build(loader, item, (*place, index), source, above) for index, item in enumerate(node.value)]
    if node.tag not in _SCALARS:
        raise RecipeError(
            f"{source.path}:{node.start_mark.line + 1}: not valid YAML for a recipe: {dotted(place)} has the tag "
            f"{node.tag}; write plain text, a number, true, false or null"
        )
    return loader.construct_object(node)


def _refuse_keys_given_twice(node: yaml.MappingNode, place: Place, source: RecipeSource) -> None:
    """Raise RecipeError for a key that is given twice or is not a word."""
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
