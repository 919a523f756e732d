"""From YAML to a `Recipe`, or to one error that names the line, the key, what is wrong and the remedy.

The YAML read here is the 1.2 core schema: `yes` is a word, `1e-3` a number, `1:30` a word, a key stands once. Values
keep their types (`"8"` is no number). Overrides (`key.sub=value`) are laid over the file's data before it is judged.
Nothing heavy is imported; weights are not read.
"""

import difflib
import json
import math
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from bootstrap.config.base import Place
from bootstrap.config.base_model import FolderModel, ScratchModel, missing_files, scratch_vocabulary
from bootstrap.config.conflicts import Conflicts, dotted
from bootstrap.config.descent import Descent, Origin
from bootstrap.config.files import FileTask, pinned
from bootstrap.config.recipe import Recipe
from bootstrap.config.task import completed
from bootstrap.config.tasks import SPLIT_KINDS, Task
from bootstrap.config.verifiers import Verifier
from bootstrap.errors import RecipeError

_VERIFIER: TypeAdapter[Verifier] = TypeAdapter(Verifier)
REMEMBERED = {"folder", "recipe"}
"""Keys of the file in which a lineage remembers its recipe (`cli/remembered.py`)."""
MAX_PROBLEMS = 10
"""Problems listed in one message; the rest is counted."""


def load_recipe(path: Path | str, overrides: Sequence[str] = (), *, check_folders: bool = True) -> Recipe:
    """Return the recipe in the file `path` with `overrides` (`key.sub=value`, values in YAML) laid over it.

    The file may also be the `recipe.json` that a lineage remembers, which names the folder its relative paths start at.
    What a task's file holds becomes part of the recipe (`task.content`). `check_folders` False leaves out whether the
    folders and files it names exist and fit: for a recipe that will run on a machine with other disks. Raises
    RecipeError with every problem found, each with file and line (or the override), place and remedy.
    """
    path = Path(path)
    source = _read(path)
    for override in overrides:
        _apply_override(source, override)
    try:
        recipe = Recipe.model_validate_json(json.dumps(source.data), strict=True, context={"folder": source.folder})
    except ValidationError as error:
        raise RecipeError(_report(source, _validation_problems(source, error))) from None
    if not check_folders:
        return recipe
    problems = list(_folder_problems(recipe))
    recipe = _pinned(recipe, (), problems)
    if problems:
        raise RecipeError(_report(source, problems))
    return recipe


def recipe_folder(path: Path) -> Path:
    """Return where the relative paths of the recipe in the file `path` start. Raises RecipeError as `load_recipe`."""
    return _read(path).folder


def is_remembered(path: Path) -> bool:
    """Whether the file `path` is a recipe that a lineage remembers. Raises RecipeError as `load_recipe`."""
    return _read(path).remembered


def recipe_of(identity: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a lineage grows from, by the identity it stores; what is operational has its default.

    Raises RecipeError when another version of this program wrote it.
    """
    data = completed({**identity, "name": "stored"}, kinds=SPLIT_KINDS)
    try:
        return Recipe.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise RecipeError(f"the lineage's stored recipe is not one of this version: {error}") from None


def load_verifier(kind: str, overrides: Sequence[str] = ()) -> Verifier:
    """Return the settings of a verifier by its `type`, or of a plug-in by `module:function` or entry point.

    `overrides`: `key=value`, values in YAML, as in a recipe's `verifier` section. Raises RecipeError.
    """
    kinds = sorted(_members(Recipe.model_fields["verifier"].annotation))
    data = {"type": kind} if kind in kinds else {"type": "plugin", "uses": kind}
    source = _Source(path=Path(kind), data=data)
    for override in overrides:
        _apply_override(source, override)
    try:
        return _VERIFIER.validate_json(json.dumps(source.data), strict=True)
    except ValidationError as error:
        details = error.errors()
        # Pydantic's place begins with the union's member, which is named like a setting for some.
        places = [dotted(detail["loc"][1:]) for detail in details]
        messages = ["missing; add it" if detail["type"] == "missing" else detail["msg"] for detail in details]
        told = "; ".join(
            f"{place}: {message}" if place else message for place, message in zip(places, messages, strict=True)
        )
        raise RecipeError(
            f"verifier {kind}: {told}; settings are given as key=value, types are {', '.join(kinds)}"
        ) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe file, for editors; descriptions are the settings' own."""
    schema = Recipe.model_json_schema()
    _require_type(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "bootstrap recipe"}


def _require_type(node: Any) -> None:
    """Where the members of a union are told apart by `type`, make it required, as it is in a recipe."""
    if isinstance(node, dict):
        if "discriminator" in node:
            node["required"] = [node["discriminator"]["propertyName"]]
        for value in list(node.values()):
            _require_type(value)
    elif isinstance(node, list):
        for value in node:
            _require_type(value)


# --- reading -----------------------------------------------------------------------------------------------------


@dataclass
class _Source:
    """A recipe's data with the place of origin of everything in it."""

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)
    """Line of each key and list entry, counted from 1."""
    overrides: dict[Place, str] = field(default_factory=dict)
    """Text of the override that set a place."""
    folder: Path = Path()
    """Where relative paths start."""
    remembered: bool = False
    """Whether a lineage remembers it, so that its settings lie one level below the file's."""

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


@dataclass(frozen=True)
class _Problem:
    place: Place
    message: str


class _Loader(yaml.SafeLoader):
    """YAML 1.2 core schema, so that `on` stays a word and `1e-3` is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
"""What a value may be: other tags (`!!binary`, `!!timestamp`) make what JSON cannot hold."""
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _bool(loader: _Loader, node: yaml.Node) -> bool:
    text = loader.construct_scalar(node)
    if text.lower() not in ("true", "false"):
        raise ValueError(f"line {node.start_mark.line + 1}: !!bool {text} is neither true nor false")
    return text.lower() == "true"


_Loader.add_constructor("tag:yaml.org,2002:bool", _bool)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Loader.add_constructor(
    "tag:yaml.org,2002:float",
    lambda loader, node: float(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan")),
)


def _read(path: Path) -> _Source:
    """Parse the file. Raises RecipeError where it is missing, unreadable, no YAML, or no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise RecipeError(_missing_message(path)) from None
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}; make the file readable") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    source = _Source(path=path, data={})
    data = _parse(text, label=str(path), source=source)
    if not isinstance(data, dict):
        what = "is empty" if data is None else "is no mapping of settings"
        raise RecipeError(f"the recipe {path} {what}; it starts with name:, task: and generations: at the left margin")
    source.data, source.folder = data, path.parent
    if data.keys() == REMEMBERED and isinstance(data["folder"], str) and isinstance(data["recipe"], dict):
        source.data = completed(data["recipe"], kinds=SPLIT_KINDS)
        source.folder, source.remembered = Path(data["folder"]), True
        source.lines = {place[1:]: line for place, line in source.lines.items()}
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
    return f"{message}; recipes near by: {_some(map(str, near))}"


def _parse(text: str, *, label: str, source: _Source | None = None) -> Any:
    """Build plain data from YAML text, and fill `source.lines`. Raises RecipeError naming `label`, and the line."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _build(loader, node, (), source or _Source(path=Path(label), data={}))
    except RecipeError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}" if mark and source else label
        raise RecipeError(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Characters that YAML forbids, integers with more digits than Python converts, nesting without end.
        raise RecipeError(f"{label}: not valid YAML: {str(error).splitlines()[0]}") from None


def _build(loader: _Loader, node: yaml.Node, place: Place, source: _Source, above: frozenset[int] = frozenset()) -> Any:
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


# --- overrides ---------------------------------------------------------------------------------------------------


_INDEX = re.compile("[0-9]{1,9}")
"""Places in lists. Not `str.isdigit`: it holds for signs that `int` refuses, and for digits of any number."""


def _apply_override(source: _Source, override: str) -> None:
    """Lay `key.sub=value` over the data. Raises RecipeError where the text or its place makes no sense."""
    key, equals, text = override.partition("=")
    place = tuple(
        int(part) if _INDEX.fullmatch(part) else part
        for part in re.sub(r"\[([0-9]+)\]", r".\1", key.strip()).split(".")
    )
    if not equals or not all(part != "" for part in place) or not isinstance(place[0], str):
        raise RecipeError(f"override {override!r} is not of the form key=value, for example generations.count=3")
    value = _parse(text, label=f"override {override}")
    target: Any = source.data
    for depth, part in enumerate(place):
        here, last = place[:depth], depth == len(place) - 1
        if isinstance(target, list):
            if not isinstance(part, int) or part >= len(target):
                entries = "no entries" if not target else f"entries 0 to {len(target) - 1}"
                raise RecipeError(f"override {override}: {dotted(here)} has {entries}, and {part!r} names none of them")
        elif isinstance(target, dict):
            part = str(part)
        else:
            raise RecipeError(f"override {override}: {dotted(here)} is {target!r} and holds no settings of its own")
        if last:
            target[part] = value
        else:
            if isinstance(target, dict) and target.get(part) is None:
                target[part] = _default_section(place[: depth + 1], source.data)
            target = target[part]
    # What stood there before is gone, with the lines of everything inside it.
    source.lines = {known: line for known, line in source.lines.items() if known[: len(place)] != place}
    source.overrides[place] = override


def _default_section(place: Place, data: Any) -> Any:
    """Return what an override inside a section that the file leaves out starts from: the type of its default."""
    holder = _model_at(place[:-1], data)
    known = holder.model_fields.get(str(place[-1])) if holder else None
    default = known.default if known else None
    if isinstance(default, tuple):
        return []
    return {"type": default.type} if hasattr(default, "type") else {}


# --- problems ----------------------------------------------------------------------------------------------------


def _report(source: _Source, problems: Sequence[_Problem]) -> str:
    lines = []
    for problem in problems:
        where = f"{dotted(problem.place)}: " if problem.place else ""
        line = f"{source.origin(problem.place)}: {where}{problem.message}"
        if line not in lines:
            lines.append(line)
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
    return "\n  ".join([f"{source.path} has {len(lines)} problems:", *lines[:MAX_PROBLEMS], *more])


def _validation_problems(source: _Source, error: ValidationError) -> Iterator[_Problem]:
    by_place: dict[Place, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        by_place.setdefault(_data_place(detail, source.data), []).append(detail)
    for place, details in by_place.items():
        value = _value_at(place, source.data)
        if isinstance(value, dict) and any(other[: len(place)] == place and other != place for other in by_place):
            # A plain union also reports that a section is none of its other members.
            continue
        if details[0]["type"] == "too_short" and len(value) >= details[0]["ctx"]["min_length"]:
            # A list with faulty entries counts as shorter than it is.
            continue
        if isinstance(conflicts := details[0].get("ctx", {}).get("error"), Conflicts):
            yield from (_Problem(conflict.place, conflict.message) for conflict in conflicts.conflicts)
        else:
            yield _Problem(place, _say(details, place, source.data))


def _data_place(detail: Mapping[str, Any], data: Any) -> Place:
    """Return where in the data an error stands: pydantic's location without the names of unions' members."""
    place: list[str | int] = []
    parts = detail["loc"]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        in_section = isinstance(data, dict) and part in data and (last or part != data.get("type"))
        if in_list or in_section:
            data = data[part]
        elif not (last and detail["type"] == "missing"):
            continue
        place.append(part)
    return tuple(place)


def _say(details: Sequence[Mapping[str, Any]], place: Place, data: Any) -> str:
    """Return what is wrong at one place and what to do, in the recipe's words."""
    value = _value_at(place, data)
    holder, owner = _model_at(place[:-1], data), _model_at(place, data)
    messages = []
    for detail in details:
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "extra_forbidden":
            names = list(holder.model_fields) if holder else []
            return f"no such setting{_did_you_mean(str(place[-1]), names)}"
        if kind == "missing":
            return f"missing; add it{_choices(holder, str(place[-1]))}"
        if kind == "union_tag_not_found":
            return f"missing type; add one of: {', '.join(_members_at(place, data))}"
        if kind == "union_tag_invalid":
            tags = list(_members_at(place, data))
            return f"no such type {context['tag']!r}{_did_you_mean(str(context['tag']), tags)}"
        if kind == "literal_error":
            expected = re.findall(r"'([^']*)'", context["expected"])
            several = f"one of {', '.join(expected)}{_close(value, expected)}"
            messages.append(several if len(expected) > 1 else expected[0])
        elif kind in ("value_error", "assertion_error"):
            return str(context["error"])
        elif kind in ("model_type", "model_attributes_type", "dict_type"):
            types = ", ".join(_members_at(place, data))
            keys = ", ".join(owner.model_fields) if owner else f"type is one of {types}" if types else "one per name"
            messages.append(f"a section of settings ({keys})")
        elif kind == "tuple_type":
            messages.append("a list")
        elif kind == "string_pattern_mismatch" and detail["loc"][-1] == "[key]":
            return f"this name must be of the form {context['pattern']}"
        elif kind == "string_pattern_mismatch":
            form = holder.model_fields[str(place[-1])].description if holder else None
            messages.append(f"of the form {context['pattern']} ({form})")
        elif kind == "too_short":
            what = "a section" if isinstance(value, dict) else "a list"
            messages.append(f"{what} of at least {context['min_length']} entries")
        elif kind == "finite_number":
            messages.append("a finite number")
        else:
            messages.append(_plain(detail["msg"]))
    return f"must be {' or '.join(dict.fromkeys(messages))}, not {_short(value)}"


def _plain(message: str) -> str:
    """Turn pydantic's sentence into what follows `must be`."""
    message = re.sub(r"^(Input|String|Value|Tuple) should (be|have) ", "", message)
    return {
        "a valid integer": "a whole number",
        "a valid number": "a number",
        "a valid string": "text",
        "a valid boolean": "true or false",
    }.get(message, message)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _close(value: Any, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(value), names, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there is {_some(names)}"


def _some(names: Iterator[str] | Sequence[str], *, limit: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _choices(holder: type[BaseModel] | None, name: str) -> str:
    known = holder.model_fields.get(name) if holder else None
    tags = list(_members(known)) if known else []
    if tags and tags[0]:
        return f" with one of the types {', '.join(tags)}"
    return f" ({' '.join(known.description.split())})" if known and known.description else ""


def _value_at(place: Place, data: Any) -> Any:
    for part in place:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


# --- which model stands where ------------------------------------------------------------------------------------


def _members(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the settings' classes that an annotation allows, by their `type` ('' for those without one)."""
    if hasattr(annotation, "annotation"):
        annotation = annotation.annotation
    origin = get_origin(annotation)
    if origin is Literal:
        return {}
    if origin in (Annotated, Union, types.UnionType, tuple):
        found: dict[str, type[BaseModel]] = {}
        for argument in get_args(annotation)[: 1 if origin is Annotated else None]:
            found |= _members(argument)
        return found
    if origin is dict:
        return _members(get_args(annotation)[1])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        tag = annotation.model_fields.get("type")
        return {tag.default if tag else "": annotation}
    return {}


def _members_at(place: Place, data: Any) -> dict[str, type[BaseModel]]:
    """Return the settings' classes that may stand at `place`, by their type."""
    members: dict[str, type[BaseModel]] = {"": Recipe}
    names_follow = False
    for part in place:
        model = _pick(members, data)
        data = _value_at((part,), data)
        if isinstance(part, int) or names_follow:
            names_follow = False
            continue
        field = model.model_fields.get(part) if model else None
        members = _members(field) if field else {}
        names_follow = field is not None and get_origin(field.annotation) is dict
    return {} if names_follow else members


def _model_at(place: Place, data: Any) -> type[BaseModel] | None:
    return _pick(_members_at(place, data), _value_at(place, data))


def _pick(members: Mapping[str, type[BaseModel]], data: Any) -> type[BaseModel] | None:
    """Return the member that `data` names by its type, or the only one there is."""
    if len(members) == 1:
        return next(iter(members.values()))
    tag = data.get("type") if isinstance(data, dict) else None
    return members.get(tag) if isinstance(tag, str) else None


# --- folders -----------------------------------------------------------------------------------------------------


def _folder_problems(recipe: Recipe) -> Iterator[_Problem]:
    """Check every Hugging Face folder that the recipe names: complete, with a vocabulary that fits."""
    base = recipe.base.model
    if isinstance(base, FolderModel):
        place = ("base", "model", "path")
        problem = _folder_problem(base)
        if problem:
            yield _Problem(place, problem)
        else:
            tokenizer, config = (
                json.loads((Path(base.path) / name).read_bytes()) for name in ("tokenizer.json", "config.json")
            )
            problems = fit_problems(recipe, tokenizer=tokenizer, config=config)
            yield from (_Problem(place, message) for message in problems)
    for place, stage in recipe.generations.parts():
        for below, model in stage.named():
            if isinstance(model, FolderModel) and (problem := _folder_problem(model)):
                yield _Problem(("generations", *place, *below, "path"), problem)
    yield from _comparison_problems(recipe)


def _comparison_problems(recipe: Recipe) -> Iterator[_Problem]:
    """Check that teachers and references can be compared with their students token by token, as far as is known."""
    last = sum(stage.generations for _, stage in recipe.generations.parts())
    descent, said = Descent(recipe, last=last), set[Place]()
    outputs = cache(partial(_outputs, task=recipe.task))
    for number in range(1, last + 1):
        student = outputs(descent.of(number))
        for index, step in enumerate(recipe.steps_of(number)):
            for below, model in (*step.teachers(), *step.references()):
                place = ("generations", *recipe.generations.position(number).place, "steps", index, *below)
                known = outputs(descent.named(model, number=number))
                if student is None or known is None or place in said:
                    continue
                is_teacher = (below, model) in step.teachers()
                who, instead = ("teacher", "loss: ce, or a teacher") if is_teacher else ("reference", "a reference")
                drawn = min(max(student.vocabulary.values()) + 1, student.count)
                if difference := _difference(known.vocabulary, student.vocabulary):
                    problem = f"the {who}'s vocabulary is not the student's ({difference})"
                elif known.count < drawn:
                    problem = f"the {who} has outputs for {known.count} of the {drawn} tokens that the student can draw"
                else:
                    continue
                said.add(place)
                yield _Problem(
                    place,
                    f"{problem}, and their distributions are compared token by token; use {instead} with the same "
                    "tokenizer",
                )


class _Outputs(NamedTuple):
    """What a model can say."""

    vocabulary: Mapping[str, int]
    count: float
    """Rows of its output matrix, which mostly are some more than the tokens; infinite where its folder does not say."""


def _outputs(model: Origin | None, *, task: Task) -> _Outputs | None:
    """Return what a model can say; None where that is not known, or its folder has problems of its own."""
    if isinstance(model, ScratchModel):
        vocabulary = scratch_vocabulary(task.characters)
        return _Outputs(vocabulary, len(vocabulary))
    if not isinstance(model, FolderModel) or _folder_problem(model) is not None:
        return None
    count = json.loads((Path(model.path) / "config.json").read_bytes()).get("vocab_size")
    return _Outputs(_vocabulary(model), count if isinstance(count, int) else math.inf)


def _pinned(value: Any, place: Place, problems: list[_Problem]) -> Any:
    """Return the settings with every task's file pinned to what it holds; what cannot be read joins `problems`."""
    if isinstance(value, FileTask):
        try:
            return pinned(value)
        except ValueError as error:
            problems.append(_Problem((*place, "path"), str(error)))
            return value
    if isinstance(value, BaseModel):
        parts = {name: getattr(value, name) for name in type(value).model_fields}
        found = {name: _pinned(part, (*place, name), problems) for name, part in parts.items()}
        changed = {name: part for name, part in found.items() if part is not parts[name]}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        found = {name: _pinned(part, (*place, name), problems) for name, part in value.items()}
        return found if any(found[name] is not part for name, part in value.items()) else value
    return value


def _folder_problem(model: FolderModel) -> str | None:
    try:
        return _content_problem(model)
    except OSError as error:
        return f"cannot read {error.filename or model.path}: {error.strerror}; make the folder and its files readable"


def _content_problem(model: FolderModel) -> str | None:
    folder = Path(model.path)
    if not folder.is_dir():
        return f"there is no folder {folder}; relative paths start at the recipe's folder"
    if missing := missing_files(folder):
        return missing
    for name in ("config.json", "tokenizer.json"):
        try:
            content = json.loads((folder / name).read_bytes())
        except ValueError:
            return f"{folder / name} is not valid JSON; fetch or export the model again"
        if not isinstance(content, dict):
            return f"{folder / name} is no JSON object; fetch or export the model again"
    try:
        _vocabulary(model)
    except (KeyError, TypeError, ValueError):
        return (
            f"{folder / 'tokenizer.json'} holds no vocabulary (model.vocab); save the model's fast tokenizer with "
            "save_pretrained"
        )
    return None


def _vocabulary(model: FolderModel) -> dict[str, int]:
    """Return token -> id of a tokenizer.json, added tokens included.

    Raises KeyError, TypeError or ValueError for a file of another form.
    """
    return _vocabulary_of(json.loads((Path(model.path) / "tokenizer.json").read_bytes()))


def _vocabulary_of(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, list):
        # Unigram models list (token, score) in the order of their ids.
        vocabulary = {token: index for index, (token, _) in enumerate(vocabulary)}
    return dict(vocabulary) | {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or ()}


def _difference(one: Mapping[str, int], other: Mapping[str, int]) -> str | None:
    if one == other:
        return None
    if len(one) != len(other):
        return f"{len(one)} tokens against {len(other)}"
    token = min(token for token in {**one, **other} if one.get(token) != other.get(token))
    return f"for example {token!r} is {one.get(token, 'absent')} against {other.get(token, 'absent')}"


def fit_problems(recipe: Recipe, *, tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Say where a model, by its tokenizer.json and config.json, cannot read a task or hold its longest sequence."""
    vocabulary, positions = _vocabulary_of(tokenizer), config.get("max_position_embeddings")
    asked = [(recipe.task, recipe.highest_level(), f"task {recipe.task.type}", "lower generations.count")]
    for name, watched in recipe.evaluation.panel.items():
        asked.append((watched.task, max(watched.asked), f"task {name} of the panel", "ask lower levels"))
    for task, level, name, remedy in asked:
        unknown = [character for character in task.characters if character not in vocabulary]
        if unknown and tokenizer["model"].get("type") == "WordLevel":
            yield (
                f"its tokenizer does not know {' '.join(unknown)} of {name}; "
                "start from a model grown on this task, or from scratch"
            )
        needed = task.longest_sequence(level)
        if isinstance(positions, int) and positions < needed:
            yield (
                f"the model holds {positions} tokens, level {level} of {name} needs {needed}; "
                f"{remedy}, or start from a model with a longer context"
            )
