"""The pages that docs/ does not hold as files.

    reference/settings.md     every key of a recipe, from its JSON Schema
    reference/cli.md          every command and option
    services.md and others    files of the repository that stand elsewhere, such as CONTRIBUTING.md

Markdown out: `hooks.py` gives it to MkDocs, and tests/unit/test_docs.py reads it. Leaves out the Python API, which
mkdocstrings renders from docstrings.
"""

import json
import posixpath
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from bootstrap.cli.main import app
from bootstrap.config.base import Settings
from bootstrap.config.load import json_schema

Schema = Mapping[str, Any]
ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "services.md": "infra/README.md",
    "examples.md": "examples/README.md",
}
"""Page -> file of the repository that it shows."""
SECTIONS = {
    "task": "Where prompts and right answers come from.",
    "init": "Models that a recipe names: where weights start, who answers, who teaches.",
    "verifier": "How an answer becomes PASS, FAIL or UNVERIFIABLE.",
    "algorithm": "How rewards become advantages, in steps of type `rl` and `self_play`.",
    "steps": "What a generation does, in order.",
    "base": "Generation 0.",
    "generations": "How generations follow one another.",
    "training": "How weights are trained, whatever the step.",
    "evaluation": "What is measured on held-out prompts.",
    "gate": "When a candidate is promoted.",
    "diagnostics": "How a generation's diagnostics are measured.",
    "guards": "Bounds on a generation's diagnostics, each with an action.",
    "resources": "Where a run happens. No part of a lineage's identity.",
    "tracking": "Where MLflow is. No part of a lineage's identity.",
    "notify": "Who is told what a run does. No part of a lineage's identity.",
}
"""Key -> what its part of the page is about. A class of settings stands under the first key that leads to it."""
WORDS = {
    "answer": "Where the answer stands in the completion.",
    "curriculum": "Which levels a generation aims at.",
    "lr": "Learning rate.",
    "muon_lr": "Learning rate of the blocks' matrices.",
    "adamw_lr": "Learning rate of all other parameters.",
    "targets": "`targets`: the levels aimed at. `reached`: all below the first of them. `all`: both.",
    "model": "Which model it is.",
    "optimizer": "How gradients change the weights.",
    "source": "What is imitated.",
    "temperature": "Of sampling; 1 leaves the model's distribution as it is.",
    "weight_decay": "Share of each weight that an update takes off, times the learning rate.",
}
"""Key, or first of the words that it takes -> what it means, where nothing stands under its field."""
LONG = 40
"""Characters beyond which a default stands below its table."""


def pages() -> dict[str, str]:
    """Return path below docs/ -> Markdown of every such page."""
    elsewhere = {page: shown(source) for page, source in ELSEWHERE.items()}
    return {"reference/settings.md": settings_page(), "reference/cli.md": cli_page(), **elsewhere}


def shown(source: str) -> str:
    """Return a file of the repository with its relative links as the pages have them.

    A link to a file that no page shows becomes the file's name.
    """
    page_of = {file: page for page, file in ELSEWHERE.items()}

    def led(match: re.Match[str]) -> str:
        words, place, anchor = match[1], match[2], match[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
        if target.startswith("docs/"):
            return f"[{words}]({target.removeprefix('docs/')}{anchor})"
        return f"[{words}]({page_of[target]}{anchor})" if target in page_of else f"`{target}`"

    text = (ROOT / source).read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]*)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)", led, text)


# --- settings ------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return the page of all keys of a recipe. Raises AssertionError when a class of settings has no place on it."""
    schema = json_schema()
    lines = [
        "# Recipe settings",
        "",
        "Every key of a recipe. `bootstrap schema` prints the JSON Schema that this page is made from; an editor that",
        "knows it checks and completes recipes while you type. A key without a default is **required**.",
        "",
        "## Recipe {#recipe}",
        "",
        *_table(schema),
    ]
    told: set[str] = set()
    for key, about in SECTIONS.items():
        found = {name: where for name, where in _below(schema, key).items() if name not in told}
        told |= found.keys()
        own = next((name for name, where in found.items() if where == key and not _kind(schema["$defs"][name])), None)
        # A key that leads to one class alone needs no heading below its own.
        lines += [f"## `{key}` {{#{anchor(own) if own else f'kinds-of-{key}'}}}", "", about, ""]
        for name, where in found.items():
            part = schema["$defs"][name]
            lines += [] if name == own else [_title(name, where, part), ""]
            described = _described(part.get("description", ""))
            lines += [] if name == own and described[:1] == [about] else described
            lines += _table(part)
    missing = schema["$defs"].keys() - told - _without_keys(schema)
    assert not missing, f"no key of SECTIONS leads to {sorted(missing)}"
    return "\n".join(lines)


def _without_keys(schema: Schema) -> set[str]:
    return {name for name, part in schema["$defs"].items() if "properties" not in part}


def _below(schema: Schema, key: str) -> dict[str, str]:
    """Return the classes that a key leads to -> the key that they stand at, in order of distance."""
    parts = [schema, *schema["$defs"].values()]
    queue = [(name, key) for part in parts for name in _refs(part.get("properties", {}).get(key, {}))]
    assert queue, f"no section of a recipe stands at the key {key}"
    found: dict[str, str] = {}
    for name, where in queue:
        if name not in found and "properties" in schema["$defs"][name]:
            found[name] = where
            queue += [(n, at) for at, value in schema["$defs"][name]["properties"].items() for n in _refs(value)]
    return found


def _refs(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for key, value in node.items():
            if key not in ("default", "discriminator"):
                yield from _refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _refs(value)


def _title(name: str, where: str, part: Schema) -> str:
    kind = _kind(part)
    return f"### `{where}`{f', type `{kind}`' if kind else ''} {{#{anchor(name)}}}"


def _kind(part: Schema) -> str | None:
    """Return the `type` of a class of settings; None for one that has none."""
    return part["properties"].get("type", {}).get("const")


def anchor(name: str) -> str:
    """Return the anchor of a class of settings on the page: `reference-kl` of ReferenceKl."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def _table(part: Schema) -> list[str]:
    required = part.get("required", ())
    rows, below = [], []
    for key, value in part["properties"].items():
        if "const" in value:
            continue
        default = "**required**"
        if key not in required:
            default, long = _default(value["default"] if "default" in value else _made(part["title"], key))
            below += [f"Default of `{key}`:", "", "```yaml", long, "```", ""] if long else []
        meaning = value.get("description") or _inherited(part["title"], key) or _general(key, value)
        rows.append(f"| `{key}` | {_type(value)} | {default} | {_text(meaning)} |")
    if not rows:
        return ["No settings.", ""]
    return ["| key | value | default | meaning |", "|---|---|---|---|", *rows, "", *below]


def _general(key: str, value: Schema) -> str:
    """Return what is said of a key without words of its own: by the page, or by the one section that it holds."""
    known = {**WORDS, **SECTIONS}
    if found := known.get(value.get("enum", [key])[0]) or known.get(key):
        return found
    held = [*_refs(value)]
    text = _definitions()[held[0]].get("description", "") if len(held) == 1 else ""
    return re.split(r"(?<=\.)\s", text)[0]


def _inherited(title: str, key: str) -> str:
    """Return what a base class says of a key that a class gives another default; empty where none says anything."""
    found = [one for one in _subclasses(Settings) if one.__name__ == title]
    bases = [base for one in found for base in one.__mro__ if issubclass(base, Settings)]
    return next((d for base in bases if key in base.model_fields and (d := base.model_fields[key].description)), "")


def _made(title: str, key: str) -> Any:
    """Return the default of a key that JSON Schema leaves out: one that is made anew for each section."""
    found = next(one for one in _subclasses(Settings) if one.__name__ == title)
    return found.model_fields[key].get_default(call_default_factory=True)


def _subclasses(kind: type[Settings]) -> Iterator[type[Settings]]:
    for one in kind.__subclasses__():
        yield one
        yield from _subclasses(one)


def _default(value: Any) -> tuple[str, str]:
    """Return a default as it stands in its cell, and in full below the table where it is too long for one."""
    if value and isinstance(value, Mapping):
        return (f"type `{value['type']}`" if "type" in value else "its&nbsp;defaults"), ""
    told = json.dumps(value, ensure_ascii=False)
    if len(told) <= LONG:
        return f"`{told}`", ""
    if isinstance(value, str):
        return "below", json.dumps(value)
    kept = [{k: v for k, v in item.items() if v is not None} if isinstance(item, Mapping) else item for item in value]
    return "below", yaml.safe_dump(kept, sort_keys=False, default_flow_style=None, width=100).rstrip()


def _type(value: Schema) -> str:
    """Return in words which values a key takes."""
    if "$ref" in value:
        return _link(value["$ref"].rpartition("/")[2])
    if "enum" in value:
        return _either([f"`{one}`" for one in value["enum"]])
    if "const" in value:
        return f"`{value['const']}`"
    for several in ("anyOf", "oneOf"):
        if several in value:
            return _either(list(dict.fromkeys(_type(one) for one in value[several])))
    match value.get("type"):
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _bounds(value)
        case "boolean":
            return "true or false"
        case "array":
            return f"list of {_type(value['items'])}" if "items" in value else _fixed(value)
        case "object":
            inner = value.get("additionalProperties")
            return f"name: {_type(inner)}" if isinstance(inner, Mapping) and inner else "mapping"
        case "null":
            return "null"
        case "string":
            return "text"
    return "any value"


def _fixed(value: Schema) -> str:
    return f"list of {len(value['prefixItems'])} values"


def _bounds(value: Schema) -> str:
    signs = {"exclusiveMinimum": "> ", "minimum": "≥ ", "exclusiveMaximum": "< ", "maximum": "≤ "}
    found = [f"{sign}{value[key]:g}" for key, sign in signs.items() if key in value]
    return f" {', '.join(found)}" if found else ""


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


@cache
def _definitions() -> Schema:
    return json_schema()["$defs"]


def _link(name: str) -> str:
    part = _definitions()[name]
    if "properties" not in part:
        return _type(part)
    kind = _kind(part)
    return f"[`{kind}`](#{anchor(name)})" if kind else f"[section](#{anchor(name)})"


def _described(text: str) -> list[str]:
    """Return a docstring as lines of Markdown: each paragraph on one, tables as they are."""
    parts = [part.splitlines() if part.startswith("|") else [_text(part)] for part in text.split("\n\n") if part]
    return [line for part in parts for line in (*part, "")]


def _text(text: str) -> str:
    """Return a docstring as one line of Markdown that a table's cell can hold."""
    pieces = re.split(r"(`[^`]*`)", re.sub(r"\s*\n\s*", " ", text))
    pieces[::2] = [
        re.sub(r"[\\\[]", r"\\\g<0>", one).replace("<", "&lt;").replace("|", "&#124;") for one in pieces[::2]
    ]
    return "".join(pieces)


# --- the command line ----------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Return the page of all commands with their arguments, options and examples."""
    top = get_command(app)
    lines = [
        "# Command line",
        "",
        _paragraphs(top.help)[0],
        "",
        "| command | what it does |",
        "|---|---|",
        *(f"| [`{' '.join(name)}`](#{'-'.join(name)}) | {_first(one)} |" for name, one in commands().items()),
        "",
        "Every command takes `--help`, and `--debug` anywhere, which shows tracebacks. `bootstrap --version` prints",
        "the version.",
        "",
        "## Exit codes {#exit-codes}",
        "",
        *_fenced(_examples(top.epilog or "")),
    ]
    for name, one in commands().items():
        lines += [f"## `{' '.join(name)}` {{#{'-'.join(name)}}}", ""]
        for paragraph in _paragraphs(one.help):
            lines += [paragraph, ""]
        lines += _fenced(_examples(one.help), language="bash")
        rows = [f"| {_written(each)} | {_told(each)} |" for each in one.params if not each.hidden]
        lines += ["| argument or option | meaning |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


def commands() -> dict[tuple[str, ...], Any]:
    """Return (`bootstrap`, name, ...) -> typer's command, those of groups included and groups left out."""
    found: dict[tuple[str, ...], Any] = {}

    def visit(name: tuple[str, ...], one: Any) -> None:
        if hasattr(one, "commands"):
            for inner, command in one.commands.items():
                visit((*name, inner), command)
        else:
            found[name] = one

    visit(("bootstrap",), get_command(app))
    return found


def _paragraphs(text: str) -> list[str]:
    return [_text(part) for part in text.partition("\b")[0].strip().split("\n\n")]


def _first(one: Any) -> str:
    return _paragraphs(one.help)[0]


def _examples(text: str) -> list[str]:
    """Return the lines of the block under `Examples:` or the like, its heading left out."""
    return textwrap.dedent(text.partition("\b")[2].strip().partition("\n")[2]).splitlines()


def _fenced(lines: list[str], *, language: str = "text") -> list[str]:
    return [f"```{language}", *lines, "```", ""] if lines else []


def _written(each: Any) -> str:
    if not each.opts[0].startswith("-"):
        name = each.metavar or each.name.upper()
        return f"`{name if each.required else f'[{name}]'}{'' if each.nargs == 1 else '...'}`"
    names = [f"`{name}`" for name in (*each.opts, *each.secondary_opts)]
    value = "" if each.is_flag else f" `{each.metavar or 'VALUE'}`"
    return ", ".join(names) + value


def _told(each: Any) -> str:
    default = each.default
    shown = default is not None and default is not False and not (each.opts[0].startswith("-") and each.is_flag)
    extra = [f"default `{default}`"] if shown else []
    extra += [f"environment `{each.envvar}`"] if each.envvar else []
    return _text(each.help or "") + (f" ({'; '.join(extra)})" if extra else "")
