"""Identity of the running code: the checkout's commit and a digest of the source.

For finished work both are annotations outside its identity; unfinished work resumes only with the same source.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from bootstrap.canonical import sha256, sha256_of

ROOT = Path(__file__).parent
COMMIT_VARIABLE = "BOOTSTRAP_GIT_COMMIT"
"""Carries the commit to places without a checkout, such as a Ray job's working folder."""
GIT_SECONDS = 10.0
"""Longest wait for git, in seconds."""


def git_commit() -> str | None:
    """Return the commit that `COMMIT_VARIABLE` or the checkout names.

    None for an installed package, and when git fails or does not answer within `GIT_SECONDS`.
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
    """Return the SHA-256 of every Python file of this package, by name, read once per process."""
    return sha256_of(
        f"{path.relative_to(ROOT).as_posix()}\n{sha256(path.read_bytes())}\n".encode()
        for path in sorted(ROOT.rglob("*.py"))
    )
