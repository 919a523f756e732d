"""Plug-ins, functions and classes of the user's own: how a recipe names one, how it is found, its source's meaning.

A recipe names it as `module:name` or by an entry point of an installed package. It runs in the driver's process with
all its rights, so `Kind.find`, which alone imports one, refuses what no person has named to this process:

    a recipe file of the person's own (config/load.py) ----\
    a verifier on the command line (config/load.py) --------> trust() ---> Kind.find() ---> import
    --trust-plugins (cli/trust.py), Lineage.reproduce ------/

Left out: the files that a name stands for (`plugin_files.py`), and the arguments and results of each kind
(`scoring/plugin.py`, `prompts/plugin.py`, `training/algorithms/plugin.py`, `stages/plugin.py`).
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

from bootstrap.errors import BootstrapError, RecipeError
from bootstrap.meaning import meaning_of
from bootstrap.plugin_files import GROUPS, are_neighbours, files_of, from_here, loaded_beside, targets_of

USES = r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$"
"""`module:name`, or the name of an entry point."""
TRUST = "--trust-plugins"
"""Option by which a command line names a plug-in that may be imported."""
Tell = Callable[[str, Sequence[Path]], None]
"""Called with a plug-in's name and the files that its import loads beside its own."""
_trusted: dict[str, Tell | None] = {}
"""Plug-ins that may be imported in this process, as recipes name them. Other processes begin with none."""


class UntrustedPlugin(RecipeError):
    """A plug-in that a stored recipe names, and no person has named to this process."""


def trust(names: Iterable[str], *, tell: Tell | None = None) -> None:
    """Let the plug-ins of these names be imported in this process."""
    _trusted.update({name: tell or _trusted.get(name) for name in names})


@contextmanager
def trusting_only(names: Iterable[str] = ()) -> Iterator[None]:
    """Within the block, let these plug-ins alone be imported, and those that `trust` adds there."""
    before = dict(_trusted)
    _trusted.clear()
    trust(names)
    try:
        yield
    finally:
        _trusted.clear()
        _trusted.update(before)


def plugins_of(settings: Any) -> Iterator[str]:
    """Yield what a recipe's settings, as JSON data, name of a user's own code: `module:name` or an entry point."""
    match settings:
        case dict():
            if settings.get("type") == "plugin" and isinstance(settings.get("uses"), str):
                yield settings["uses"]
            for inner in settings.values():
                yield from plugins_of(inner)
        case list():
            for inner in settings:
                yield from plugins_of(inner)


def require_trust(names: Iterable[str], *, group: str | None = None) -> None:
    """Raise UntrustedPlugin, with the remedy, unless all these plug-ins, of this group, may be imported."""
    refused = sorted(set(names) - _trusted.keys())
    if not refused:
        return
    found = {name: ", ".join(map(str, files_of(name, group=group))) for name in refused}
    files = [f"{name} ({places or 'not found from here'})" for name, places in found.items()]
    raise UntrustedPlugin(
        f"a stored recipe names code that would run with all your rights: {', '.join(files)}. Read it first; then "
        f"agree with {' '.join(f'{TRUST} {name}' for name in refused)}, or name a recipe file of your own that uses it"
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of plug-in."""

    name: str
    """The kind: `verifier`."""
    results: str
    """Its results: `verdicts`."""
    written: str
    """Its signature, or that of its methods."""
    error: type[BootstrapError]
    """Error for a plug-in that cannot serve."""
    arguments: tuple[str, ...] = ()
    """Positional arguments."""
    keywords: tuple[str, ...] = ()
    """Keyword arguments beside the recipe's settings for it."""

    @property
    def group(self) -> str:
        """Group of its entry points."""
        return f"{GROUPS}{self.name}s"

    def find(self, uses: str) -> Callable[..., Any]:
        """Return the function or class that a recipe names.

        Raises UntrustedPlugin for one that nobody has trusted (`trust`), the kind's error where there is none.
        """
        require_trust([uses], group=self.group)
        targets, tell = targets_of(uses, group=self.group), _trusted.get(uses)
        if not targets:
            known = ", ".join(sorted(entry.name for entry in entry_points(group=self.group))) or "none"
            raise self.error(
                f"no installed package offers the {self.name} {uses} (entry points {self.group}: {known}); install it, "
                "or name a function as module:function"
            )
        module, _, name = targets[0].partition(":")
        before = set(sys.modules)
        with from_here():
            try:
                imported = importlib.import_module(module)
            except (ImportError, SyntaxError) as error:
                raise self.error(
                    f"the module of the {self.name} {uses} cannot be imported: {error}; install it, or start where "
                    f"{module} lies"
                ) from error
            finally:
                if tell is not None and (files := loaded_beside(module, before=before)):
                    tell(uses, files)
        function = getattr(imported, name, None)
        if not callable(function):
            raise self.error(f"the module {module} has no function {name}; write it there as {self.written}")
        return function

    def check_signature(
        self, function: Any, which: str, settings: Mapping[str, Any], *given: Any, written: str = "", **named: Any
    ) -> None:
        """Raise the kind's error unless the function takes these arguments and the recipe's `settings` for it.

        `which`: its name in messages; `written`: its signature, if not the kind's.
        """
        written = written or self.written
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            raise self.error(f"{which} is no function that can be looked at; write it as {written}") from None
        try:
            signature.bind(*given, **named, **settings)
        except TypeError as error:
            raise self.error(
                f"the {self.name} {which} cannot be called with the recipe's settings: {error}; write it as "
                f"{written} with a parameter for each of its settings"
            ) from None

    def meaning(self, function: Callable[..., Any], uses: str) -> str:
        """Return the SHA-256 of the meaning of the function's module, with what it uses of its neighbours.

        Neighbours are the modules of its package and, for a module that is not installed, those of its folder. Raises
        the kind's error when the source cannot be read.
        """
        try:
            module = function.__module__
            with from_here():
                return meaning_of(module, follow=lambda other: are_neighbours(module, other))
        except (AttributeError, OSError, SyntaxError, TypeError):
            raise self.error(
                f"the source of the {self.name} {uses} cannot be read, so its {self.results} could not be told apart "
                "by version; define it as a function in a Python file"
            ) from None


def listed(value: Any, count: int, what: str) -> list[Any]:
    """Return a list or array of `count` entries as a list. Raises ValueError that says what was found instead."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple):
        raise ValueError(f"a {type(value).__name__} for the {what}")
    if len(value) != count:
        raise ValueError(f"{len(value)} entries for the {count} {what}")
    return list(value)


def number(value: Any, where: str) -> float:
    """Return a finite number; a bool is none. Raises ValueError that says what was found instead."""
    if type(value) is bool or not isinstance(value, Real):
        raise ValueError(f"a {type(value).__name__} for {where}")
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(found):
        raise ValueError(f"{found} for {where}")
    return found


def per_token(value: Any, length: int, where: str) -> float | list[float]:
    """Return the number of a sample, or that of each of its `length` tokens. Raises ValueError as `number`.

    An array without dimensions is the number that it holds.
    """
    if getattr(value, "ndim", None) == 0:
        value = value.tolist()
    if isinstance(value, Real):
        return number(value, where)
    return [number(one, where) for one in listed(value, length, f"tokens of {where}")]
