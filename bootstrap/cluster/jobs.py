"""This program's jobs on one job server: list them, submit, follow and stop one.

    who waits         for whom                    bound, and what happens when it is hit
    `submit`          a node that takes jobs      _START_SECONDS -> ClusterError with port and log of Ray's job agent
    `follow`          the job's end               none: the job's. _ATTEMPTS_TO_REACH failures in a row -> ClusterError
    `stop`            the job's end               STOP_SECONDS and _STOP_MARGIN -> ClusterError

A job's metadata, which `submit.py` writes, hold what Ray itself does not record. A job without them belongs to somebody
else: it is counted, and never followed or stopped. Left out: a job's contents (`submit.py`), the client and its bounds
(`job_client.py`).
"""

import shlex
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ray.job_submission import JobDetails, JobStatus

from bootstrap.cluster.job_client import head_agent, job_server_url, open_client, plain_errors, short
from bootstrap.errors import INTERRUPTED, ClusterError, GuardStop, RecipeError
from bootstrap.lineage.tracking import redact

LINEAGE, STORE, RECIPE = "bootstrap.lineage", "bootstrap.store", "bootstrap.recipe"
"""Names in a job's metadata; a job of this program has the first."""
DEFAULT_STORE = "~/bootstrap-runs"
"""Where a job's lineages go without `--store`; `~` is the home folder of whoever runs the cluster's head node."""
STOP_SECONDS = 60
"""Time that a stopped job has to save its last checkpoint before Ray ends it."""

_START_SECONDS = 60.0
_STOP_MARGIN = 30.0
_ATTEMPTS_TO_REACH = 5
_OWN_EXIT_CODES = range(1, 8)


class JobServer:
    """The job server of one cluster. Making this proves that it answers.

    `address`: the dashboard's, `http://HOST:8265`. Raises ClusterError, within seconds, for an address of another kind
    and when no job server answers.
    """

    def __init__(self, address: str) -> None:
        self.address = job_server_url(address)
        self._client = open_client(self.address)

    def submitted(self) -> dict[str, JobDetails]:
        """Return every job that was submitted to this server, by its submission id. Raises ClusterError."""
        with plain_errors(self.address):
            return {job.submission_id: job for job in self._client.list_jobs() if job.submission_id}

    def listed(self) -> tuple[list[dict[str, Any]], int]:
        """Return this program's jobs as JSON data, the newest last, and the number of other jobs. Raises ClusterError.

        The keys: id, lineage, recipe, store, status, exit_code, started and ended (UTC, ISO 8601), seconds, message.
        """
        with plain_errors(self.address):
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

        A cluster that is still starting is asked again, for at most `_START_SECONDS`. Raises ClusterError, which names
        port and log of a job agent that did not start.
        """
        start, told = time.monotonic(), False
        while True:
            try:
                with plain_errors(self.address, but="No available agent"):
                    self._client.submit_job(**job)
                return
            except RuntimeError as error:
                waited = time.monotonic() - start
                agent = head_agent(self._client)
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
        """Ask a job of this program to stop, and wait until it has ended. A job that has ended already is left alone.

        Raises RecipeError for an unknown id and for a job of others, ClusterError when the server cannot be reached or
        the job does not end.
        """
        job = self.find(submission_id)
        if job.status.is_terminal():
            echo(f"job {submission_id} has ended already: {_status(job)}")
            return
        with plain_errors(self.address):
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
                # Ray drops the request while the job's supervisor has not started.
                asked = asked or self._client.stop_job(submission_id)
                job, failures = self._client.get_job_info(submission_id), 0
            except (OSError, RuntimeError) as error:
                failures = self._count(failures, error, submission_id)
        echo(f"job {submission_id} {_ending(job, self.address)}")

    def _follow(self, submission_id: str, *, echo: Callable[[str], None]) -> int:
        shown, failures = 0, 0
        while True:
            try:
                # Status first, so that the log of an ended job is complete.
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
            # Each answer holds the whole log, so a longer one is asked for less often.
            time.sleep(1 + len(log) / 200_000)

    def _count(self, failures: int, error: Exception, submission_id: str) -> int:
        """Return `failures` plus one. Raises ClusterError when that is too many in a row."""
        if failures + 1 == _ATTEMPTS_TO_REACH:
            raise ClusterError(
                f"lost sight of job {submission_id} at {self.address} ({short(error)}); it may well go on. "
                + how_to_return(submission_id, self.address).replace("\n", "; ")
            ) from error
        return failures + 1


def is_own(job: JobDetails) -> bool:
    """Whether a job is one of this program's."""
    return bool(job.submission_id) and LINEAGE in (job.metadata or {})


def how_to_return(submission_id: str, address: str) -> str:
    """Return the commands that follow and stop a job, one a line."""
    ray = shlex.join([submission_id, "--address", address])
    return (
        f"  follow it:  {_command('attach', submission_id, address)}\n"
        f"    stop it:  {_command('stop', submission_id, address)}\n"
        f"   with Ray:  ray job logs {ray} --follow, ray job stop {ray}"
    )


def _command(name: str, *words: str) -> str:
    """Return a command of this program; the last of `words` is the job server's address."""
    return shlex.join(["bootstrap", name, *words[:-1], "--address", words[-1]])


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
        "message": redact(short(job.message or "no reason given")) if failed else "",
    }


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _status(job: JobDetails) -> str:
    """Return pending, running, succeeded, failed or stopped. A driver that ended itself on a signal was stopped."""
    if job.status == JobStatus.FAILED and job.driver_exit_code == INTERRUPTED:
        return JobStatus.STOPPED.lower()
    return job.status.lower()


def _ending(job: JobDetails, address: str) -> str:
    """Return how a job that was asked to stop has ended, and how to continue it."""
    if _status(job) != "stopped":
        return f"ended before it could be stopped: {_status(job)}"
    known = job.metadata or {}
    store = known.get(STORE, DEFAULT_STORE)
    place = () if store == DEFAULT_STORE else ("--store", store)
    again = _command("submit", "RECIPE", "--lineage", known[LINEAGE], *place, address)
    return (
        f"is stopped; what it finished is kept in {store}. To continue from its last checkpoint, submit the same "
        f"recipe and settings again: `{again}`"
    )


def _exit_code(job: JobDetails, submission_id: str, echo: Callable[[str], None]) -> int:
    """Echo how the job ended; return its exit code if it is one of this program's."""
    if job.status == JobStatus.SUCCEEDED:
        echo(f"job {submission_id} succeeded")
        return 0
    if _status(job) == "stopped":
        echo(f"job {submission_id} was stopped; submit the recipe again to continue from the last checkpoint")
        return INTERRUPTED
    reason = (job.message or "no reason given").strip().partition("\n")[0]
    # A job that ends from outside (memory, a lost node) has no such code, and counts as the cluster's failure.
    code = job.driver_exit_code
    if code is None or code not in _OWN_EXIT_CODES:
        code = ClusterError.exit_code
    if code == GuardStop.exit_code:
        remedy = "A guard ended the run; submit the recipe again with --past-guards to continue all the same"
    elif code == ClusterError.exit_code:
        remedy = "Submit the recipe again to continue from the last checkpoint"
    else:
        remedy = "The error is above; it comes again until its cause is removed"
    echo(f"job {submission_id} failed: {reason} {remedy}")
    return code
