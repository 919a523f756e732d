"""Commands that a person can copy and run from the current folder.

Left out: running anything. What this program starts itself, it starts by `sys.executable`.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "bootstrap"


def program() -> str:
    """Return what to type for this program: its name if it is on PATH, else the shortest path to it."""
    script = Path(sys.executable).with_name(NAME)
    if not script.is_file():
        return f"{shlex.quote(sys.executable)} -m {NAME}"
    found = shutil.which(NAME)
    if found is not None and os.path.samefile(found, script):
        return NAME
    below = script.is_relative_to(Path.cwd())
    return shlex.quote(str(script.relative_to(Path.cwd()) if below else script))


def command(*words: object) -> str:
    """Return the shell command that calls this program with `words`, each quoted where a shell needs it."""
    return f"{program()} {shlex.join(map(str, words))}"
