"""Folders that this user alone may write, outside every store: what is there is no word of a store.

~/.cache/bootstrap/...          or under $XDG_CACHE_HOME: what can be made again (`index_file.py`)
~/.local/state/bootstrap/...    or under $XDG_STATE_HOME: what this user has said (`cli/target.py`)
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from bootstrap.errors import StoreError
from bootstrap.store import durable

_HOMES = {"XDG_CACHE_HOME": ".cache", "XDG_STATE_HOME": ".local/state"}


def own_folder(variable: str, name: str) -> Path | None:
    """Return the folder `name` below that of `variable`, made if missing.

    None where there is none that only this user may write.
    """
    named = os.environ.get(variable, "")
    try:
        above = Path(named) if os.path.isabs(named) else Path.home() / _HOMES[variable]
        folder = above / "bootstrap" / name
        if not folder.is_dir():
            durable.make_folder(folder)
            folder.chmod(stat.S_IRWXU)
        found = folder.stat()
        is_own = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return folder if is_own else None
    except (RuntimeError, OSError, StoreError):
        # No home, or none that can be written.
        return None


def is_own_file(path: Path) -> bool:
    """Whether the file is this user's own, or missing."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    return True
