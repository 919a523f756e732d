"""Make this process a driver of Ray: join a cluster, within a bound, or start a private Ray.

Every refusal is one ClusterError with its remedy. Left out: what runs there (`pool.py`), and job servers (`jobs.py`).
"""

import logging
import math
import os
import re
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray.exceptions import AuthenticationError
from ray.job_config import JobConfig

from bootstrap import lookups
from bootstrap.cluster.sockets import require_usable_folder
from bootstrap.errors import ClusterError, system_reason

_CONNECT_SECONDS = 5.0
_MAX_PORT = 65535
_MAX_OBJECT_STORE_BYTES = 2 * 2**30
_MAX_COUNTED_WORKERS = 64

_unclaimed = False
"""Whether `available_workers` joined a cluster that no pool uses yet; Ray leaves such a cluster at exit."""


NODES = {"worker": "learners", "sampler": "samplers"}
"""A pool's role -> Ray's name of what the nodes for it offer."""


def connect(address: str | None, *, cpus: float) -> tuple[bool, bool]:
    """Make this process a driver of Ray; return (whether that Ray is private, whether the caller must leave it).

    `address`: as in `RayPool`; `cpus`: least number of CPUs that a private Ray declares. A Ray that this process has
    joined already is used as it is. Raises ClusterError.
    """
    global _unclaimed
    if ray.is_initialized():
        ours, _unclaimed = _unclaimed, False
        return False, ours
    cluster = _existing_cluster(address)
    if cluster is not None:
        _join(cluster)
    else:
        use_a_token()
        cores = max(os.cpu_count() or 1, math.ceil(cpus))
        store_bytes = min(_MAX_OBJECT_STORE_BYTES, psutil.virtual_memory().total // 8)
        start("local", num_cpus=cores, include_dashboard=False, object_store_memory=store_bytes)
    return cluster is None, True


def place_of(role: str) -> dict[str, float]:
    """Return what a process of a pool's role asks for beside CPUs and GPUs, where the cluster has nodes for the role.

    Nodes are for a role if they were started with the resource `learners` or `samplers`, one for each process. The
    role's processes go to them alone; other processes may go there too, unless their role has nodes of its own.
    """
    name = NODES[role]
    return {name: 1.0} if ray.cluster_resources().get(name) else {}


def available_workers(
    *, address: str | None, cpus_per_worker: float, gpus_per_worker: float, beside: Mapping[str, float] | None = None
) -> int | None:
    """Return how many workers fit on the cluster that a pool would join, from 1 to 64; None if there is no cluster.

    `beside`: what others of the same run reserve, by Ray's names.

    The cluster is the one that this process has joined, else that of `address`, `RAY_ADDRESS` or the running Ray job.
    This function joins it; the next `RayPool` of this process uses and leaves it. Resources that other drivers hold
    count too, because a pool waits for them. Raises ClusterError when the cluster cannot be reached.
    """
    global _unclaimed
    if not ray.is_initialized():
        cluster = _existing_cluster(address)
        if cluster is None:
            return None
        _join(cluster)
        _unclaimed = True
    total = ray.cluster_resources()
    asked = {"CPU": cpus_per_worker, "GPU": gpus_per_worker}
    if not any(asked.values()):
        asked = {"CPU": 1}
    asked |= place_of("worker")
    # The tolerance is for rounding: ten workers of a tenth each fit on one GPU.
    left = {name: total.get(name, 0) - (beside or {}).get(name, 0) for name in asked}
    fits = min(int(left[name] / each + 1e-9) for name, each in asked.items() if each)
    return min(max(fits, 1), _MAX_COUNTED_WORKERS)


def _existing_cluster(address: str | None) -> str | None:
    """Return the address of the cluster to join; None for a private Ray."""
    found = address or os.environ.get("RAY_ADDRESS") or ("auto" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else "")
    return None if found in ("", "local") else found


def _join(address: str) -> None:
    require_reachable(address)
    start(address)


def start(address: str, **options: Any) -> None:
    """Make this process a driver of the Ray at `address`; `local` starts a private one. Raises ClusterError."""
    is_private = address == "local"
    if is_private:
        require_usable_folder(os.environ, pid=os.getpid())
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _on_loopback() if is_private else nullcontext(), _deaf_to_hang_up():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, job_config=_job(), **options)
    except Exception as error:
        # Ray raises the plain Exception where its processes do not start in time; any other type is a defect of ours.
        if type(error) is not Exception and not isinstance(error, _REFUSALS):
            raise
        where, remedy = f"Ray at {address} refuses this driver", _CONNECT_REMEDY
        if is_private:
            where, remedy = "Ray did not start on this machine", _START_REMEDY
        raise ClusterError(f"{where}: {first_line(error)}; {remedy}") from error
    # Ray installs a handler that exits at once; an earlier handler saves first.
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _job() -> JobConfig:
    """Return a job whose workers do not look for modules in this process's working folder, as Ray has them do.

    The command line says so to all that it starts (`cli/working_folder.py`). A job that was submitted works in a folder
    of its own, from which its workers have this program.
    """
    return JobConfig(_client_job="PYTHONSAFEPATH" in os.environ and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that starts inside the block listen on 127.0.0.1 alone.

    Ray refuses that address from its caller and takes it where it knows that there are no other machines, as on macOS:
    this variable says so to the processes that it starts, and the constant to this one, which read the variable when it
    imported Ray.
    """
    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    variable = os.environ.get(name)
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[name] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[name]
        if variable is not None:
            os.environ[name] = variable


@contextmanager
def _deaf_to_hang_up() -> Iterator[None]:
    """Let the processes that start inside the block inherit that SIGHUP is held back.

    A closed terminal then reaches the driver alone, which ends them in order.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_REFUSALS = (AuthenticationError, OSError, RuntimeError, ValueError)
"""What Ray raises when it cannot start or refuses a driver."""
_START_REMEDY = (
    "check that the folder for temporary files (RAY_TMPDIR, else TMPDIR or /tmp) can be written and has space; run "
    "again when the machine does less besides, or with --local"
)
_CONNECT_REMEDY = (
    "check the address, the token (RAY_AUTH_TOKEN) and that both sides run the same versions of Ray and Python, or run "
    "with --local"
)


def require_reachable(address: str) -> None:
    """Raise ClusterError, within seconds, when nobody listens at `address` or it is no address for drivers."""
    if "://" in address:
        raise ClusterError(
            f"{address} is no address for a driver, which must run inside the cluster; use `bootstrap submit --address "
            "http://HOST:8265`, give HOST:PORT of the cluster's head, or unset RAY_ADDRESS to use this machine alone"
        )
    place = _host_and_port(address)
    if place is None:
        return
    try:
        lookups.reach(*place, seconds=_CONNECT_SECONDS)
    except (OSError, UnicodeError) as error:
        raise ClusterError(f"no Ray answers at {address} ({system_reason(error)}); {_CONNECT_REMEDY}") from None


def _host_and_port(address: str) -> tuple[str, int] | None:
    """Split `HOST:PORT` or `[IPv6 ADDRESS]:PORT`; None for `auto` and other names that Ray resolves itself.

    Raises ClusterError for an IPv6 address without brackets and for an impossible port.
    """
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d+)", address, re.ASCII)
    if found is None:
        if address.count(":") > 1:
            raise ClusterError(f"{address} does not say where its host ends; write an IPv6 address as [ADDRESS]:PORT")
        return None
    host, port = found[1] or found[2], int(found[3])
    if port > _MAX_PORT:
        raise ClusterError(f"{address} has no port of a network; ports end at {_MAX_PORT}")
    return host, port


def use_a_token() -> None:
    """Protect a private Ray with a token that only this process and its children know.

    Without it, Ray writes a token to the home folder, which changes the next `ray start` of the same user. A token or
    mode from the environment or the home folder is kept.
    """
    if "RAY_AUTH_MODE" in os.environ or {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return
    home = os.environ.get("HOME")
    if home and (Path(home) / ".ray" / "auth_token").exists():
        return
    # Ray turns authentication on for a local cluster by itself, and uses this token instead of making one.
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def last_line(error: object) -> str:
    """Return the last line of an error's text, or its type."""
    return str(error).strip().rpartition("\n")[2].rstrip(".") or type(error).__name__
