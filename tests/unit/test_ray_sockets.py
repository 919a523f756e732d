"""A folder for temporary files that Ray's sockets do not fit into is named with the cause, before Ray starts."""

import pytest

from bootstrap.cluster.sockets import MAX_PATH_BYTES, require_usable_folder
from bootstrap.errors import ClusterError

PID = 4194304
SOCKET = "/ray/session_2026-11-30_07-59-41_922867_4194304/sockets/plasma_store"
"""As Ray names it."""
ROOM = MAX_PATH_BYTES - len(SOCKET)


@pytest.mark.parametrize("environment", [{}, {"TMPDIR": "/var/tmp"}, {"RAY_TMPDIR": "/" + "d" * (ROOM - 1)}])
def test_a_short_folder_in_ascii_will_do(environment: dict[str, str]) -> None:
    require_usable_folder(environment, pid=PID)


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
@pytest.mark.parametrize(
    ("folder", "cause"),
    [("/" + "d" * ROOM, f"a path of {ROOM + 1} bytes"), ("/tmp/\u00fc", "letters beyond ASCII")],
)
def test_a_long_folder_and_letters_beyond_ascii_are_named_as_the_cause(variable: str, folder: str, cause: str) -> None:
    with pytest.raises(ClusterError) as refusal:
        require_usable_folder({variable: folder}, pid=PID)
    assert cause in str(refusal.value) and f"({variable})" in str(refusal.value)
    assert "RAY_TMPDIR=/tmp" in str(refusal.value) and "space" not in str(refusal.value)


def test_ray_s_own_variable_comes_first() -> None:
    require_usable_folder({"RAY_TMPDIR": "/tmp", "TMPDIR": "/tmp/\u00fc"}, pid=PID)
