"""Files of plug-ins: which of them a name stands for, and importing them from the working folder.

    name -> modules -> files       without importing anything, in the order in which the import looks
    from_here()                    the working folder is a place of modules, the last one, while a plug-in is imported

What lies there is imported from the text that a person can read: neither from the bytecode beside it, which may be of
another text, nor once the import is over, when a library asks for a module that is not installed.
"""

import importlib.machinery
import os
import sys
import sysconfig
import types
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.abc import PathEntryFinder
from importlib.metadata import entry_points
from pathlib import Path

from bootstrap.meaning import spec_of

GROUPS = "bootstrap."
"""Beginning of the entry points' groups, one a kind of plug-in."""
LIBRARIES = {Path(place).resolve() for place in sysconfig.get_paths().values()}
_OWN = Path(__file__).resolve().parent
_ready: set[str] = set()
"""Folders whose modules are imported from their texts."""


def targets_of(uses: str, *, group: str | None = None) -> list[str]:
    """Return `module:name` of each plug-in that a recipe's name stands for; `group`: in this group alone.

    A name without a colon is an entry point: in each group the first of that name, which is the one that runs.
    """
    if ":" in uses:
        return [uses]
    groups = [group] if group else sorted({one.group for one in entry_points(name=uses)})
    found = [next(iter(entry_points(group=one, name=uses)), None) for one in groups if one.startswith(GROUPS)]
    return list(dict.fromkeys(one.value for one in found if one is not None))


def files_of(uses: str, *, group: str | None = None) -> list[Path]:
    """Return the files of the modules that `targets_of` names, and of the packages above them, which run first.

    Imports nothing. Empty where no module is found.
    """
    named = [target.partition(":")[0] for target in targets_of(uses, group=group)]
    return list(dict.fromkeys(path for module in named for path in _files_of(module)))


def _files_of(module: str) -> list[Path]:
    parts, places, files = module.split("."), [*sys.path, str(Path.cwd())], list[Path]()
    for length in range(1, len(parts) + 1):
        # Of each package in turn, since `importlib.util.find_spec` imports the packages above a module.
        found = importlib.machinery.PathFinder.find_spec(".".join(parts[:length]), places)
        if found is None:
            return []
        places = list(found.submodule_search_locations or ())
        if found.origin and found.has_location:
            files.append(Path(found.origin))
    return files


@contextmanager
def from_here() -> Iterator[None]:
    """Within the block, look for modules in the working folder too, after all others."""
    here = str(Path.cwd())
    _import_texts(here)
    is_added = here not in sys.path
    if is_added:
        sys.path.append(here)
    try:
        yield
    finally:
        if is_added and here in sys.path:
            sys.path.remove(here)


def are_neighbours(module: str, other: str) -> bool:
    """Whether two modules are of one package or, where they are not installed, of one folder; none is this program."""
    package, top = module.partition(".")[0], other.partition(".")[0]
    if top == package:
        return True
    folder = _folder_of(package)
    return folder is not None and folder not in LIBRARIES and top != "bootstrap" and _folder_of(top) == folder


def loaded_beside(module: str, *, before: Collection[str]) -> list[Path]:
    """Return the files of a module's neighbours that have been imported since `before`, sorted.

    Its own is left out, and those of the packages above it, which `files_of` tells.
    """
    parts = module.split(".")
    own = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    new = sorted(set(sys.modules).difference(before, own))
    beside = {top for top in {name.partition(".")[0] for name in new} if are_neighbours(module, top)}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in new if name.partition(".")[0] in beside]
    return sorted({Path(file) for file in files if file})


def _folder_of(top: str) -> Path | None:
    """Return the folder in which a top package or module lies; None for a module without one."""
    spec = spec_of(top)
    if spec is None:
        return None
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.has_location and spec.origin else ())]
    return Path(places[0]).resolve().parent if places else None


class _Text(importlib.machinery.SourceFileLoader):
    """Loads a module from its text, also where there is bytecode of it."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_texts(folder: str) -> None:
    """Let modules below a folder, libraries and this program apart, be imported from their texts from now on."""
    if folder in _ready:
        return
    look = importlib.machinery.FileFinder.path_hook(
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
        (_Text, importlib.machinery.SOURCE_SUFFIXES),
    )

    def hook(path: str) -> PathEntryFinder:
        if not _is_below(path, folder):
            raise ImportError(f"{path} is not below {folder}")
        return look(path)

    sys.path_hooks.insert(0, hook)
    for path in [path for path in sys.path_importer_cache if _is_below(path, folder)]:
        del sys.path_importer_cache[path]
    _ready.add(folder)


def _is_below(path: str, folder: str) -> bool:
    real = Path(os.path.realpath(path))
    return Path(path).is_relative_to(folder) and not any(real.is_relative_to(one) for one in (*LIBRARIES, _OWN))
