"""Which code runs: the commit of the checkout and a digest of this program's source.

Both are annotations of what is finished and never its identity; unfinished work goes on with the same source alone."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from bootstrap.canonical import sha256, sha256_of

ROOT = Path(__file__).parent
COMMIT_VARIABLE = "BOOTSTRAP_GIT_COMMIT"
"""Carries the commit to where the checkout is not: a Ray job's working folder has no `.git`."""
GIT_SECONDS = 10.0
"""Longest wait for git; a note on where the code comes from is not worth more."""


def git_commit() -> str | None:
    """Return the commit that `COMMIT_VARIABLE` or the checkout names.

    None for an installed package, and where git does not run or does not answer within `GIT_SECONDS`.
    """
    if named := os.environ.get(COMMIT_VARIABLE):
        return named
    checkout = ROOT.parent
    if not (checkout / ".git").exists() or (git := shutil.which("git")) is None:
        return None
    command = [git, "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (subprocess.TimeoutExpired, OSError):
        return None
    return answer.stdout.strip() or None


@cache
def source_digest() -> str:
    """Return SHA-256 over every Python file of this package, by name, as they were when a run first asked."""
    return sha256_of(
        f"{path.relative_to(ROOT).as_posix()}\n{sha256(path.read_bytes())}\n".encode()
        for path in sorted(ROOT.rglob("*.py"))
    )
