"""Whether a Ray of our own can make its sockets: their paths lie below its folder for temporary files.

Ray names that folder by RAY_TMPDIR, else TMPDIR, else `/tmp`. The kernel takes 107 bytes of a socket's path
(unix(7)), and Ray takes ASCII alone; it notices either only when its processes have started.
"""

import os
from collections.abc import Mapping

from bootstrap.errors import ClusterError

MAX_PATH_BYTES = 107
_LONGEST = "/ray/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""What Ray appends."""


def require_usable_folder(environment: Mapping[str, str], *, pid: int) -> None:
    """Raise ClusterError, naming the cause, when sockets below Ray's folder for temporary files cannot be made.

    `pid`: the driver's, which is part of their names.
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
