"""What a stored recipe may do on a person's word alone: run plug-ins, and ask servers.

plug-ins    `--trust-plugins`, each told with its file and hash, and with those of its neighbours that it loads
servers     a recipe file of the person's own, since an address and a key's variable are settings of it
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bootstrap import plugins
from bootstrap.canonical import sha256
from bootstrap.cli import render
from bootstrap.config.recipe import Recipe
from bootstrap.config.source import lies_in_store
from bootstrap.errors import RecipeError
from bootstrap.plugin_files import files_of
from bootstrap.reading import MAX_DOCUMENT_BYTES, read_named


def trust(names: Sequence[str] | None, *, elsewhere: bool = False) -> tuple[str, ...]:
    """Let these plug-ins be imported, and tell on standard error which files they are, and which others they load.

    `elsewhere`: they run on another machine, which may have the files that this one lacks. Raises RecipeError for a
    name of another form and for a module that is not there, StoreError for a file that cannot be read.
    """
    for name in names or ():
        if not re.fullmatch(plugins.USES, name):
            raise RecipeError(
                f"{plugins.TRUST} {name!r} names no plug-in; write it as the recipe does: module:function"
            )
        files = files_of(name)
        for path in files:
            render.warn(f"trusted: {name} of {_hashed(path)}")
        if files:
            continue
        if elsewhere:
            render.warn(f"trusted: {name}, which is not on this machine; the job's log names its file")
        else:
            raise RecipeError(
                f"{plugins.TRUST} {name}: there is no such module here; install it, or start where it lies"
            )
    plugins.trust(names or (), tell=_tell_of_others)
    return tuple(names or ())


def _tell_of_others(name: str, files: Sequence[Path]) -> None:
    for path in files:
        render.warn(f"loaded with {name}: {_hashed(path)}")


def _hashed(path: Path) -> str:
    return f"{path}, SHA-256 {sha256(read_named(path, most=MAX_DOCUMENT_BYTES))}"


def require_own_servers(recipe: Recipe, *, named: Recipe, path: Path | None) -> None:
    """Refuse servers that only stored recipes name: answers would go there, with the key that they choose.

    `recipe`: whose verifiers are about to judge. `named`: the recipe in the file `path`, None for one that a lineage
    remembers. Raises RecipeError.
    """
    is_own = path is not None and not lies_in_store(path)
    agreed = set(_servers_of(named.model_dump(mode="json"))) if is_own else set[str]()
    judging = {"verifier": recipe.verifier, "evaluation": recipe.evaluation}
    asked = {server for one in judging.values() for server in _servers_of(one.model_dump(mode="json"))}
    if refused := sorted(asked - agreed):
        raise RecipeError(
            f"a stored recipe would have answers sent to {', '.join(refused)}. Read it first; if you agree, copy it to "
            "a folder outside the store, and name the copy with --recipe"
        )


def _servers_of(settings: Any) -> Iterator[str]:
    match settings:
        case dict():
            if isinstance(url := settings.get("url"), str):
                key = settings.get("key_variable")
                yield f"{url} with the key in {key}" if key else url
            for inner in settings.values():
                yield from _servers_of(inner)
        case list():
            for inner in settings:
                yield from _servers_of(inner)
