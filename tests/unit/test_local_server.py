"""A server that this program starts ends with all its processes, and its wait has the bound that was asked for."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bootstrap import local_server
from bootstrap.errors import WaitTimeout, WorkerError
from bootstrap.local_server import LocalServer

PATIENCE = 60
STUBBORN = """
import pathlib, signal, subprocess, sys, time
if len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(600)
child = subprocess.Popen([sys.executable, __file__, sys.argv[1], "child"])
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
print(child.pid, flush=True)
"""


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only its entry that nobody has taken note of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("ends", ["by itself", "when told"])
def test_no_process_of_a_server_outlives_it(tmp_path: Path, ends: str) -> None:
    program = tmp_path / "server.py"
    program.write_text(STUBBORN + ("" if ends == "by itself" else "time.sleep(600)\n"))
    log = tempfile.TemporaryFile()  # noqa: SIM115 -- the server closes it
    command = [sys.executable, str(program), str(tmp_path / "ready")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    server = LocalServer(url="http://127.0.0.1:1", process=process, log=log)
    assert process.stdout is not None
    try:
        child = int(process.stdout.readline())
        if ends == "by itself":
            server.wait()
        assert is_running(child)
        server.stop()
        deadline = time.monotonic() + PATIENCE
        while is_running(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_running(child) and process.poll() is not None
        server.stop()
    finally:
        process.stdout.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def silent(*, seconds: float, remedy: str) -> LocalServer:
    return local_server.start(
        [sys.executable, "-c", "import time; print('loading', flush=True); time.sleep(600)"],
        port=1,
        name="server",
        error=WorkerError,
        environment=os.environ,
        seconds=seconds,
        remedy=remedy,
    )


def test_a_server_that_does_not_answer_in_time_is_ended_with_the_remedy() -> None:
    with pytest.raises(WaitTimeout, match=r"the server http://127\.0\.0\.1:1 .* for 1 s; wait longer: ") as raised:
        silent(seconds=1.0, remedy="wait longer")
    pid = int(str(raised.value).split("(process ")[1].split(")")[0])
    assert not is_running(pid)


def test_a_taken_port_is_told_as_the_caller_s_error() -> None:
    port = local_server.free_port(0, error=WorkerError)
    assert local_server.free_port(port, error=WorkerError) == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(WorkerError, match=f"port {port} on 127.0.0.1 is taken"):
            local_server.free_port(port, error=WorkerError)
