"""Ray's job client with bounds and plain errors: reach a job server, ask it, and say what its job agent lacks.

    who waits         for whom                    bound, and what happens when it is hit
    `open_client`     the first whole answer      _REACH_SECONDS, name look-up included -> ClusterError
    every request     the server's next bytes     _REQUEST_SECONDS -> requests.Timeout, a ClusterError in `plain_errors`

Left out: what is asked about jobs (`jobs.py`).
"""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from bootstrap import lookups
from bootstrap.cluster.connection import last_line
from bootstrap.errors import BootstrapError, ClusterError, system_reason
from bootstrap.lineage.tracking import redact

_REACH_SECONDS = 10.0
_MAX_VERSION_BYTES = 2**16
_REQUEST_SECONDS = 60.0
_NETLOC = re.compile(r"(?:[^@]*@)?(?:\[[^\[\]\s]+\]|[^:\[\]\s]+)(?::\d+)?", re.ASCII)
"""Host and port of an address; only a host in brackets may contain colons."""
_AGENT_PORT = 52365
"""Where Ray's job agent listens unless `ray start --dashboard-agent-listen-port` says otherwise."""
_AGENT_LOG = "dashboard_agent.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Ray's job agent on the head node, as far as the dashboard describes it."""

    failed: bool = False
    """Whether it failed to take its port, which it does not try again."""
    port: int = _AGENT_PORT
    host: str | None = None
    log: str = f"/tmp/ray/session_latest/logs/{_AGENT_LOG}"

    def complaint(self, address: str, *, waited: float) -> str:
        """Return what is wrong and the remedy; `waited`: seconds."""
        state = (
            f"did not start on port {self.port}"
            if self.failed
            else f"has not been there for {waited:.0f} s (it listens on port {self.port})"
        )
        return (
            f"Ray at {address} takes no jobs: the job agent of its head node{f' {self.host}' if self.host else ''} "
            f"{state}. {self.log} on that node says why. Most often another Ray has taken the port: start the head "
            "with --dashboard-agent-listen-port=PORT, a free one"
        )


class Client(JobSubmissionClient):
    """Ray's client with a bound for every request."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=_REQUEST_SECONDS, **options)

    def nodes(self) -> list[dict[str, Any]]:
        """Return the dashboard's description of each node, in a form that Ray may change."""
        return self._do_request("GET", "/nodes?view=summary").json()["data"]["summary"]


def head_agent(client: Client) -> Agent:
    """Return the head node's job agent; with default values where the dashboard's answer has another form."""
    try:
        nodes = client.nodes()
        [head] = [node for node in nodes if node["raylet"]["isHeadNode"] and node["raylet"]["state"] == "ALIVE"]
        # From the command that starts the agent; port 0 stands for any free one.
        port = re.search(r"--listen-port=([1-9]\d*)\b", " ".join(head.get("cmdline") or ()))
        return Agent(
            failed=head["raylet"].get("dashboardAgentListenPort") == -1,
            port=_AGENT_PORT if port is None else int(port[1]),
            host=str(head["ip"]),
            log=f"{head['raylet']['sessionDir']}/logs/{_AGENT_LOG}",
        )
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        return Agent()


def job_server_url(address: str) -> str:
    """Return the URL of the job server. Raises ClusterError for an address of another kind."""
    if "://" not in address:
        address = f"http://{address}"
    wrong = ClusterError(
        f"{redact(address)} is not a job server's address; give the dashboard's, http://HOST:8265 (an IPv6 address "
        "stands in brackets)"
    )
    if not address.startswith(("http://", "https://")):
        raise wrong
    try:
        parts = urlsplit(address)
        _ = parts.port  # Reading it is what proves it.
    except ValueError:
        raise wrong from None
    if not _NETLOC.fullmatch(parts.netloc):
        raise wrong
    return address.rstrip("/")


def open_client(address: str) -> Client:
    """Return a client of the job server at a URL. Raises ClusterError within seconds when none answers there."""
    remedy = (
        "check that the cluster runs and that this is its dashboard's address (http://HOST:8265; from outside, a port "
        "forward or tunnel)"
    )
    try:
        # Ray's client has no bound for the look-up of the host's name.
        status, body = lookups.run(_version_at(address))
        # Ray with a token refuses this request; its client says what is missing.
        is_ray = status in (401, 403) or (status == 200 and "ray_version" in json.loads(body))
    except TimeoutError:
        reason = f"no whole answer within {_REACH_SECONDS:g} s"
        raise ClusterError(f"no Ray job server answers at {address} ({reason}); {remedy}") from None
    except httpx2.NetworkError as error:
        raise ClusterError(f"no Ray job server answers at {address} ({system_reason(error)}); {remedy}") from None
    except (ValueError, TypeError, httpx2.HTTPError, httpx2.InvalidURL):
        is_ray = False
    if not is_ray:
        raise ClusterError(f"what answers at {address} is no Ray job server; {remedy}")
    with plain_errors(address), _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        return Client(address)


async def _version_at(address: str) -> tuple[int, bytes]:
    """Return status and body of a job server's answer about its version, within `_REACH_SECONDS`."""
    async with (
        asyncio.timeout(_REACH_SECONDS),
        httpx2.AsyncClient(timeout=None, follow_redirects=True) as client,
        client.stream("GET", f"{address}/api/version") as answer,
    ):
        body = b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _MAX_VERSION_BYTES:
                break
        return answer.status_code, body


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Hide environment variables that Ray's client would prefer to the address that it is given."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def plain_errors(address: str, *, but: str | None = None) -> Iterator[None]:
    """Turn errors of Ray's client into a ClusterError of one line, except a RuntimeError whose text contains `but`."""
    try:
        yield
    except AuthenticationError:
        raise ClusterError(
            f"Ray at {address} asks for a token or refuses the one given; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN "
            "to the cluster's token"
        ) from None
    except BootstrapError:
        raise
    except requests.Timeout as error:
        raise ClusterError(f"Ray at {address} was silent for {_REQUEST_SECONDS:g} s; try again later") from error
    except (OSError, RuntimeError, ValueError) as error:
        if but is not None and isinstance(error, RuntimeError) and but in str(error):
            raise
        raise ClusterError(f"Ray at {address} refused: {short(error)}") from error


def short(error: object) -> str:
    """Return an error in one line: the operating system's reason, else the last line."""
    return getattr(error, "strerror", None) or last_line(error)
