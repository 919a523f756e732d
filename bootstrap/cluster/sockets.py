"""Check that a private Ray can make its sockets, whose paths lie below its folder for temporary files.

That folder is RAY_TMPDIR, else TMPDIR, else `/tmp`. A socket's path has at most 107 bytes (unix(7)), and Ray requires
ASCII; Ray reports neither before its processes have started.
"""

import os
from collections.abc import Mapping

from bootstrap.errors import ClusterError

MAX_PATH_BYTES = 107
_LONGEST = "/ray/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""What Ray appends to the folder."""


def require_usable_folder(environment: Mapping[str, str], *, pid: int) -> None:
    """Raise ClusterError when Ray cannot make sockets below its folder for temporary files.

    `pid`: the driver's, which is part of the sockets' paths.
    """
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in environment), "")
    folder = environment[variable] if variable else "/tmp"
    size, room = len(os.fsencode(folder)), MAX_PATH_BYTES - len(_LONGEST.format(pid=pid))
    if not folder.isascii():
        trouble = "has letters beyond ASCII in its path, which Ray cannot use"
    elif size > room:
        trouble = f"has a path of {size} bytes, and a socket's leaves room for {room}"
    else:
        return
    raise ClusterError(
        f"Ray cannot start on this machine: its sockets lie below the folder for temporary files, {folder} "
        f"({variable}), which {trouble}; name a short one in ASCII in RAY_TMPDIR, as RAY_TMPDIR=/tmp, or run with "
        "--local"
    )
