"""The job server's client: reach it, list this program's jobs, submit, follow and stop one.

    who waits         for whom                    bound, and what happens when it is hit
    `JobServer`       the first whole answer      _REACH_SECONDS, name look-up included -> ClusterError
    every request     the server's next bytes     _REQUEST_SECONDS -> ClusterError
    `submit`          a node that takes jobs      _START_SECONDS -> ClusterError with port and log of Ray's job agent
    `follow`          the job's end               none: the job's. _ATTEMPTS_TO_REACH failures in a row -> ClusterError
    `stop`            the job's end               STOP_SECONDS and _STOP_MARGIN -> ClusterError

What is known of a job beyond Ray's own fields stands in its metadata, which `submit.py` writes. A job without it is
somebody else's: it is counted, and never followed or stopped. Left out: what a job consists of (`submit.py`).
"""

import asyncio
import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from bootstrap import lookups
from bootstrap.errors import BootstrapError, ClusterError, GuardStop, RecipeError, system_reason
from bootstrap.lineage.tracking import redact

LINEAGE, STORE, RECIPE = "bootstrap.lineage", "bootstrap.store", "bootstrap.recipe"
"""Names in a job's metadata; whoever has the first is a job of this program."""
DEFAULT_STORE = "~/bootstrap-runs"
"""Where a job's lineages go without `--store`; `~` is the home folder of whoever runs the cluster's head node."""
STOP_SECONDS = 60
"""Time that a stopped job has to save its last checkpoint before Ray ends it."""
INTERRUPTED = 130

_REACH_SECONDS = 10.0
_MAX_VERSION_BYTES = 2**16
_REQUEST_SECONDS = 60.0
_START_SECONDS = 60.0
_STOP_MARGIN = 30.0
_ATTEMPTS_TO_REACH = 5
_OWN_EXIT_CODES = range(1, 8)
_NETLOC = re.compile(r"(?:[^@]*@)?(?:\[[^\[\]\s]+\]|[^:\[\]\s]+)(?::\d+)?", re.ASCII)
"""Host and port of an address; one host has colons in it alone where brackets say where it ends."""
_AGENT_PORT = 52365
"""Where Ray's job agent listens unless `ray start --dashboard-agent-listen-port` says otherwise."""
_AGENT_LOG = "dashboard_agent.log"


class JobServer:
    """The job server of one cluster, proven to answer when this is made.

    `address`: the dashboard's, `http://HOST:8265`. Raises ClusterError, within seconds, for an address of another kind
    and where no job server answers.
    """

    def __init__(self, address: str) -> None:
        self.address = job_server_url(address)
        self._client = _connect(self.address)

    def submitted(self) -> dict[str, JobDetails]:
        """Return every job that was submitted to this server, by its submission id. Raises ClusterError."""
        with self._errors():
            return {job.submission_id: job for job in self._client.list_jobs() if job.submission_id}

    def listed(self) -> tuple[list[dict[str, Any]], int]:
        """Return this program's jobs as JSON data, the newest last, and the number of other jobs. Raises ClusterError.

        The keys: id, lineage, recipe, store, status, exit_code, started and ended (UTC, ISO 8601), seconds, message.
        """
        with self._errors():
            jobs = self._client.list_jobs()
        own = [job for job in jobs if is_own(job)]
        own.sort(key=lambda job: (job.start_time is None, job.start_time))
        now = datetime.now(UTC)
        return [_row(job, now) for job in own], len(jobs) - len(own)

    def find(self, submission_id: str) -> JobDetails:
        """Return a job of this program. Raises RecipeError for an unknown id and for a job of others, ClusterError."""
        job = self.submitted().get(submission_id)
        if job is None:
            raise RecipeError(
                f"there is no job {submission_id} on {self.address}; `{_command('jobs', self.address)}` lists those "
                "there are"
            )
        if not is_own(job):
            raise RecipeError(
                f"job {submission_id} on {self.address} is not one of this program's, which "
                f"`{_command('jobs', self.address)}` lists; for others there is Ray's own `ray job`"
            )
        return job

    def submit(self, job: Mapping[str, Any], *, echo: Callable[[str], None]) -> None:
        """Submit a job, as `JobSubmissionClient.submit_job` takes it.

        A cluster that answers before it can take jobs is asked again, for at most `_START_SECONDS`. Raises
        ClusterError; one whose job agent did not start is told with the agent's port and log.
        """
        start, told = time.monotonic(), False
        while True:
            try:
                with self._errors(but="No available agent"):
                    self._client.submit_job(**job)
                return
            except RuntimeError as error:
                waited = time.monotonic() - start
                agent = self._agent()
                if agent.failed or waited > _START_SECONDS:
                    raise ClusterError(agent.complaint(self.address, waited=waited)) from error
                if not told:
                    echo(f"{self.address} is still starting; waiting up to {_START_SECONDS:.0f} s")
                    told = True
                time.sleep(1)

    def follow(self, submission_id: str, *, echo: Callable[[str], None]) -> int:
        """Echo a job's log line by line until the job ends; return its exit code (130 if it was stopped).

        Ctrl-C ends the view and not the job, and returns 0. Raises ClusterError when the server cannot be reached
        several times in a row; the job itself goes on.
        """
        try:
            return self._follow(submission_id, echo=echo)
        except KeyboardInterrupt:
            echo(f"job {submission_id} goes on without this viewer\n{how_to_return(submission_id, self.address)}")
            return 0

    def stop(self, submission_id: str, *, echo: Callable[[str], None]) -> None:
        """Ask a job of this program to stop, and wait until it has ended; a job that has ended already is told so.

        Raises RecipeError for an unknown id and for a job of others, ClusterError where the server cannot be reached
        and where the job runs on.
        """
        job = self.find(submission_id)
        if job.status.is_terminal():
            echo(f"job {submission_id} has ended already: {_status(job)}")
            return
        with self._errors():
            asked = self._client.stop_job(submission_id)
        echo(f"asked job {submission_id} to stop; it has {STOP_SECONDS} s to save its last checkpoint")
        start, failures = time.monotonic(), 0
        while not job.status.is_terminal():
            waited = time.monotonic() - start
            if waited > STOP_SECONDS + _STOP_MARGIN:
                raise ClusterError(
                    f"job {submission_id} on {self.address} runs on, {waited:.0f} s after it was asked to stop; see "
                    f"what it does with `{_command('attach', submission_id, self.address)}`, and ask again with "
                    f"`{_command('stop', submission_id, self.address)}`"
                )
            time.sleep(1)
            try:
                # Until Ray has started the job's supervisor, it has nobody to hand the request on to.
                asked = asked or self._client.stop_job(submission_id)
                job, failures = self._client.get_job_info(submission_id), 0
            except (OSError, RuntimeError) as error:
                failures = self._count(failures, error, submission_id)
        echo(f"job {submission_id} {_ending(job, self.address)}")

    def _follow(self, submission_id: str, *, echo: Callable[[str], None]) -> int:
        shown, failures = 0, 0
        while True:
            try:
                # Status first: what a job wrote before it ended is then in the log that follows.
                job, log = self._client.get_job_info(submission_id), self._client.get_job_logs(submission_id)
            except (OSError, RuntimeError) as error:
                failures = self._count(failures, error, submission_id)
                time.sleep(2 * failures)
                continue
            failures = 0
            # While the job runs, its last line may be half written.
            end = len(log) if job.status.is_terminal() else log.rfind("\n") + 1
            if end > shown:
                for line in log[shown:end].splitlines():
                    echo(line)
                shown = end
            if job.status.is_terminal():
                return _exit_code(job, submission_id, echo)
            # The server sends the whole log each time, so a longer one is asked for less often.
            time.sleep(1 + len(log) / 200_000)

    def _count(self, failures: int, error: Exception, submission_id: str) -> int:
        """Return one more failure to reach the server. Raises ClusterError when there were too many in a row."""
        if failures + 1 == _ATTEMPTS_TO_REACH:
            raise ClusterError(
                f"lost sight of job {submission_id} at {self.address} ({_short(error)}); it may well go on. "
                + how_to_return(submission_id, self.address).replace("\n", "; ")
            ) from error
        return failures + 1

    def _agent(self) -> "_Agent":
        """Return what Ray's dashboard tells of the head's job agent: nothing, where it tells it otherwise."""
        try:
            nodes = self._client.nodes()
            [head] = [node for node in nodes if node["raylet"]["isHeadNode"] and node["raylet"]["state"] == "ALIVE"]
            # The command that Ray starts the agent with; a port of 0 is any that is free.
            port = re.search(r"--listen-port=([1-9]\d*)\b", " ".join(head.get("cmdline") or ()))
            return _Agent(
                failed=head["raylet"].get("dashboardAgentListenPort") == -1,
                port=_AGENT_PORT if port is None else int(port[1]),
                host=str(head["ip"]),
                log=f"{head['raylet']['sessionDir']}/logs/{_AGENT_LOG}",
            )
        except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
            return _Agent()

    @contextmanager
    def _errors(self, *, but: str | None = None) -> Iterator[None]:
        """Turn what Ray's client raises into ClusterError with one line, but for a RuntimeError that says `but`."""
        with _cluster_errors(self.address, but=but):
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agent:
    """Ray's job agent on the head node, as far as the dashboard tells."""

    failed: bool = False
    """Whether it has given up its port, which it never takes again."""
    port: int = _AGENT_PORT
    host: str | None = None
    log: str = f"/tmp/ray/session_latest/logs/{_AGENT_LOG}"

    def complaint(self, address: str, *, waited: float) -> str:
        """Return what is wrong and what to do about it."""
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


class _Client(JobSubmissionClient):
    """Ray's client, which has no bound of its own, with one for every request."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=_REQUEST_SECONDS, **options)

    def nodes(self) -> list[dict[str, Any]]:
        """Return what the dashboard shows of each node; its form is Ray's own affair."""
        return self._do_request("GET", "/nodes?view=summary").json()["data"]["summary"]


def is_own(job: JobDetails) -> bool:
    """Whether a job is one of this program's."""
    return bool(job.submission_id) and LINEAGE in (job.metadata or {})


def job_server_url(address: str) -> str:
    """Return the URL of the job server. Raises ClusterError for addresses of another kind."""
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


def how_to_return(submission_id: str, address: str) -> str:
    """Return the commands that follow and stop a job, one a line."""
    ray = shlex.join([submission_id, "--address", address])
    return (
        f"  follow it:  {_command('attach', submission_id, address)}\n"
        f"    stop it:  {_command('stop', submission_id, address)}\n"
        f"   with Ray:  ray job logs {ray} --follow, ray job stop {ray}"
    )


def _command(name: str, *words: str) -> str:
    """Return a command of this program about a job server, whose address is the last of `words`."""
    return shlex.join(["bootstrap", name, *words[:-1], "--address", words[-1]])


def _connect(address: str) -> _Client:
    """Return a client of the job server. Raises ClusterError within seconds when it does not answer as one."""
    remedy = (
        "check that the cluster runs and that this is its dashboard's address (http://HOST:8265; from outside, a port "
        "forward or tunnel)"
    )
    try:
        # What Ray's client asks first looks up the name, which it has no bound for.
        status, body = lookups.run(_version_at(address))
        # Ray with a token says no: its client tells what is missing.
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
    with _cluster_errors(address), _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        return _Client(address)


async def _version_at(address: str) -> tuple[int, bytes]:
    """Return status and body of what a job server says of its version; all of it within `_REACH_SECONDS`."""
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
    """Hide variables by which Ray's client would override the address that it is given."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _cluster_errors(address: str, *, but: str | None = None) -> Iterator[None]:
    """Turn what Ray's client raises into ClusterError with one line, but for a RuntimeError that says `but`."""
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
        raise ClusterError(f"Ray at {address} refused: {_short(error)}") from error


def _short(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().rpartition("\n")[2].rstrip(".") or type(error).__name__


def _row(job: JobDetails, now: datetime) -> dict[str, Any]:
    """Return one job as JSON data (`JobServer.listed`)."""
    known = job.metadata or {}
    started, ended = _moment(job.start_time), _moment(job.end_time)
    failed = _status(job) == "failed"
    return {
        "id": job.submission_id,
        "lineage": known.get(LINEAGE),
        "recipe": known.get(RECIPE),
        "store": known.get(STORE),
        "status": _status(job),
        "exit_code": job.driver_exit_code,
        "started": started and started.isoformat(timespec="seconds"),
        "ended": ended and ended.isoformat(timespec="seconds"),
        # The clocks of two machines may disagree.
        "seconds": started and max(((ended or now) - started).total_seconds(), 0.0),
        "message": redact(_short(job.message or "no reason given")) if failed else "",
    }


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _status(job: JobDetails) -> str:
    """Return pending, running, succeeded, failed or stopped; a driver that ended on a signal was stopped."""
    if job.status == JobStatus.FAILED and job.driver_exit_code == INTERRUPTED:
        return JobStatus.STOPPED.lower()
    return job.status.lower()


def _ending(job: JobDetails, address: str) -> str:
    """Return how a job ended that was asked to stop, and how to go on."""
    if _status(job) != "stopped":
        return f"ended before it could be stopped: {_status(job)}"
    known = job.metadata or {}
    store, place = known.get(STORE, DEFAULT_STORE), []
    if store != DEFAULT_STORE:
        place = ["--store", store]
    again = _command("submit", "RECIPE", "--lineage", known[LINEAGE], *place, address)
    return (
        f"is stopped; what it finished is kept in {store}. To go on from its last checkpoint, submit the same recipe "
        f"and settings again: `{again}`"
    )


def _exit_code(job: JobDetails, submission_id: str, echo: Callable[[str], None]) -> int:
    """Say how the job ended; return its own exit code where it is one of ours."""
    if job.status == JobStatus.SUCCEEDED:
        echo(f"job {submission_id} succeeded")
        return 0
    if _status(job) == "stopped":
        echo(f"job {submission_id} was stopped; submit the recipe again to continue from the last checkpoint")
        return INTERRUPTED
    reason = (job.message or "no reason given").strip().partition("\n")[0]
    # What ends a job from outside (memory, a lost node) leaves no code of ours, and counts as the cluster's failure.
    code = job.driver_exit_code if job.driver_exit_code in _OWN_EXIT_CODES else ClusterError.exit_code
    if code == GuardStop.exit_code:
        remedy = "A guard ended the run; submit the recipe again with --past-guards to go on all the same"
    elif code == ClusterError.exit_code:
        remedy = "Submit the recipe again to continue from the last checkpoint"
    else:
        remedy = "The error is above; it comes again until its cause is removed"
    echo(f"job {submission_id} failed: {reason} {remedy}")
    return code
