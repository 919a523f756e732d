"""The meaning of code, a verifier's or a plug-in's, as a hash over the syntax of its modules and of what they use.

    roots (whole modules) --names they use--> definitions in other modules --names those use--> ...

A definition of a shared module counts only where it is used, so that an edit elsewhere in that module changes nothing.
Every constant, name and message counts; comments, docstrings, formatting, the order of definitions and annotations of
functions do not. The hashed text is written here, since that of `ast.dump` differs between versions of Python.

Uses are followed into modules below `FOLLOWED`, and into the constants of the configuration; the values of settings
are part of a version beside this hash. A module that is named in a string is not followed and has to be a root. Left
out: versions of libraries, which verifiers name where they matter.
"""

import ast
import hashlib
import importlib.machinery
import importlib.util
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

FOLLOWED = (
    *("bootstrap.scoring", "bootstrap.references", "bootstrap.python_values"),
    *("bootstrap.gym_items", "bootstrap.seeds"),
)
CONSTANTS_OF = "bootstrap.config"
MACHINERY = frozenset(
    {
        ("bootstrap.scoring.verifier", "build_verifier"),
        ("bootstrap.scoring.verifier", "version_of"),
    }
)
"""Code that builds verifiers and names their versions, and decides on no answer."""

_CONSTANT = re.compile(r"_*[A-Z][A-Z0-9_]*")
_UNSAID = frozenset({"ctx", "kind", "type_comment", "type_ignores", "returns", "type_params"})
"""Fields of syntax nodes without meaning at run time."""
_CACHED = 512


def meaning_of(*modules: str, follow: Callable[[str], bool] = lambda module: False) -> str:
    """Return the SHA-256 of the meaning of modules and of what they use of followed modules.

    `follow`: whether a module outside this program is followed, by its name. Raises OSError for a module without a
    readable source, SyntaxError for one that is not Python.
    """
    parts: dict[tuple[str, str], str] = {}
    queue: list[tuple[str, str | None]] = [(module, None) for module in reversed(modules)]
    seen = set[tuple[str, str | None]]()

    def reach(module: str, name: str | None) -> None:
        known = _is_below(module, FOLLOWED) or (not _is_below(module, ("bootstrap",)) and follow(module))
        constant = name is not None and _CONSTANT.fullmatch(name) and _is_below(module, (CONSTANTS_OF,))
        if (known or constant) and (module, name) not in MACHINERY and _source(module) is not None:
            queue.append((module, name))

    while queue:
        module, name = key = queue.pop()
        if key in seen:
            continue
        seen.add(key)
        text = _source(module)
        if text is None:
            raise OSError(f"the source of {module} cannot be read")
        parsed = _parsed(text, module, _is_package(module))
        if (module, "") not in parts:
            parts[module, ""] = parsed.rest.text
            used = [parsed.rest]
        else:
            used = []
        for wanted in parsed.names if name is None else [name]:
            if wanted in parsed.names:
                parts[module, wanted] = parsed.names[wanted].text
                used.append(parsed.names[wanted])
            elif wanted in parsed.imports:
                used.append(_Part(uses=frozenset({(wanted, None)})))
            elif name is not None and parsed.starred:
                for other in parsed.starred:
                    reach(other, None)
            elif name is not None:
                queue.append((module, None))
        for local, attribute in (use for part in used for use in part.uses):
            if local in parsed.names:
                queue.append((module, local))
            for source, imported in parsed.imports.get(local, ()):
                parts[module, local] = f"{source}:{imported or ''}"
                inner = f"{source}.{imported}"
                if imported is None:
                    reach(source, attribute)
                elif _is_package(source) and _source(inner) is not None:
                    reach(inner, attribute)
                else:
                    reach(source, imported)
        if name is None:
            for other in parsed.starred:
                reach(other, None)
    digest = hashlib.sha256()
    for (module, name), text in sorted(parts.items()):
        digest.update(f"{module}:{name}\x1f{text}\x1e".encode())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Statements of a module: their text, and the names that they use, each with the attribute that is read of it."""

    text: str = ""
    uses: frozenset[tuple[str, str | None]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class _Module:
    names: Mapping[str, _Part]
    """By name, the statements that define it."""
    rest: _Part
    """The other statements at the top."""
    imports: Mapping[str, tuple[tuple[str, str | None], ...]]
    """Local name -> (module, name there; None where the local name is the module)."""
    starred: tuple[str, ...]
    """Modules imported by `*`."""


@lru_cache(maxsize=_CACHED)
def _parsed(source: str, module: str, is_package: bool) -> _Module:
    tree = ast.parse(source)
    statements: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        if not _is_silent(statement):
            for name in _defined(statement) or [""]:
                statements.setdefault(name, []).append(statement)
    rest = statements.pop("", [])
    statements.pop("__all__", None)
    imports: dict[str, list[tuple[str, str | None]]] = {}
    starred = []
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    local = alias.asname or alias.name.partition(".")[0]
                    imports.setdefault(local, []).append((alias.name, None))
            case ast.ImportFrom():
                origin = _absolute(node, module, is_package)
                for alias in node.names:
                    if alias.name == "*":
                        starred.append(origin)
                    else:
                        imports.setdefault(alias.asname or alias.name, []).append((origin, alias.name))
    return _Module(
        names={name: _part(found) for name, found in statements.items()},
        rest=_part(rest),
        imports={name: tuple(found) for name, found in imports.items()},
        starred=tuple(starred),
    )


def _part(statements: list[ast.stmt]) -> _Part:
    writer = _Writer()
    writer.write(statements)
    return _Part(text="".join(writer.pieces), uses=frozenset(writer.uses))


@dataclass
class _Writer:
    """Writes syntax as text that does not depend on the version of Python."""

    pieces: list[str] = field(default_factory=list)
    uses: set[tuple[str, str | None]] = field(default_factory=set)

    def write(self, value: object) -> None:
        match value:
            case ast.Constant():
                # `ascii`, since the characters that `repr` escapes depend on Python's version of Unicode.
                self.pieces.append(f"{type(value.value).__name__}:{value.value!a}")
            case ast.JoinedStr():
                self.pieces.append("JoinedStr")
                self.write(list(_merged(value.values)))
            case ast.AST():
                self._write_node(value)
            case list():
                self.pieces.append("[")
                for item in value:
                    if not _is_silent(item):
                        self.write(item)
                        self.pieces.append(",")
                self.pieces.append("]")
            case _:
                self.pieces.append(ascii(value))

    def _write_node(self, node: ast.AST) -> None:
        unsaid, noted = _UNSAID, None
        match node:
            case ast.Attribute(value=ast.Name() as noted, attr=attribute):
                self.uses.add((noted.id, attribute))
            case ast.Name(id=name):
                self.uses.add((name, None))
            case ast.arg():
                unsaid = _UNSAID | {"annotation"}
        self.pieces.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name in unsaid or value is None or value == []:
                continue
            self.pieces.append(f"{name}=")
            # The name before an attribute is noted with it; alone it would mean the whole module.
            if noted is not None and value is noted:
                self.pieces.append(f"Name(id={noted.id!a})")
            else:
                self.write(value)
            self.pieces.append(";")
        self.pieces.append(")")


def _merged(values: list[ast.expr]) -> Iterator[ast.expr]:
    """Yield the parts of an f-string, with neighbouring plain text joined."""
    plain = ""
    for value in values:
        match value:
            case ast.Constant(value=str(text)):
                plain += text
            case _:
                if plain:
                    yield ast.Constant(plain)
                plain = ""
                yield value
    if plain:
        yield ast.Constant(plain)


def _is_silent(statement: object) -> bool:
    """Whether a statement does nothing (a docstring, `pass`) or imports, which counts where the name is used."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Pass() | ast.Import() | ast.ImportFrom():
            return True
    return False


def _defined(statement: ast.stmt) -> list[str]:
    """Return the names that a top-level statement defines; empty for other statements."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            found = targets
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            found = [target]
        case _:
            return []
    names = [node for target in found for node in ast.walk(target) if isinstance(node, ast.expr)]
    if not all(isinstance(node, ast.Name | ast.Tuple | ast.List | ast.Starred) for node in names):
        return []
    return [node.id for node in names if isinstance(node, ast.Name)]


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """Return the absolute name of the module that a `from` in `module` names."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _is_below(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _is_package(module: str) -> bool:
    spec = spec_of(module)
    return spec is not None and spec.submodule_search_locations is not None


def spec_of(module: str) -> importlib.machinery.ModuleSpec | None:
    """Return a module's spec; None for a module that is not there."""
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def _source(module: str) -> str | None:
    """Return a module's text; None for a module that is not a Python file."""
    spec = spec_of(module)
    if spec is None or spec.origin is None or Path(spec.origin).suffix != ".py":
        return None
    try:
        with tokenize.open(spec.origin) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeError):
        return None
