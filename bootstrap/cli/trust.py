"""`--trust-plugins`: the plug-ins of a stored recipe that a person lets run, each told with its file and hash."""

import re
from collections.abc import Sequence

from bootstrap import plugins
from bootstrap.canonical import sha256
from bootstrap.cli import render
from bootstrap.errors import RecipeError
from bootstrap.reading import MAX_DOCUMENT_BYTES, read_named


def trust(names: Sequence[str] | None, *, elsewhere: bool = False) -> tuple[str, ...]:
    """Let these plug-ins be imported, and tell on standard error which files they are.

    `elsewhere`: they run on another machine, which may have the files that this one lacks. Raises RecipeError for a
    name of another form and for a module that is not there, StoreError for a file that cannot be read.
    """
    for name in names or ():
        if not re.fullmatch(plugins.USES, name):
            raise RecipeError(
                f"{plugins.TRUST} {name!r} names no plug-in; write it as the recipe does: module:function"
            )
        path = plugins.file_of(name)
        if path is not None:
            render.warn(f"trusted: {name} of {path}, SHA-256 {sha256(read_named(path, most=MAX_DOCUMENT_BYTES))}")
        elif elsewhere:
            render.warn(f"trusted: {name}, which is not on this machine; the job's log names its file")
        else:
            raise RecipeError(
                f"{plugins.TRUST} {name}: there is no such module here; install it, or start where it lies"
            )
    plugins.trust(names or ())
    return tuple(names or ())
