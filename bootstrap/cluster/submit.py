"""A recipe as a Ray job: checks what only fails far away, uploads, submits, follows the log.

    this machine                                    cluster
    recipe, package ---- upload (no weights) ----> working folder of the job, thrown away with it
    `python -m bootstrap run ...` ---- submit ---> driver on the head ---> workers
    viewer <------------- log, status ------------ driver                  (viewer may leave and come back)

The cluster needs this package's dependencies, not the package. A job's `python` is the first on the path of the head's
processes, so the head is started from the environment that holds the dependencies, for example
`source .venv/bin/activate; ray start --head`. Everything worth keeping goes to `--store`, which must be an absolute
path as the cluster's head sees it. The job's environment can be read by everyone who reaches the dashboard, so it holds
a fixed list of variables and never a secret: tokens and passwords belong into the cluster's own environment. Left out:
what a run does, and restarting it (submit again: it continues from the last checkpoint).
"""

import asyncio
import json
import logging
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

import bootstrap
from bootstrap import lookups
from bootstrap.config.base import Place, dotted
from bootstrap.config.base_model import FolderModel
from bootstrap.config.files import FileTask
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.errors import BootstrapError, ClusterError, GuardStop, LineageLocked, RecipeError, system_reason
from bootstrap.lineage.tracking import redact, resolve_tracking_uri
from bootstrap.provenance import COMMIT_VARIABLE, git_commit

DEFAULT_STORE = "~/bootstrap-runs"
"""Where a job's lineages go without `--store`; `~` is the home folder of whoever runs the cluster's head node."""
STOP_SECONDS = 60
"""Time that a stopped job has to save its last checkpoint before Ray ends it."""
INTERRUPTED = 130

_REACH_SECONDS = 10.0
_MAX_VERSION_BYTES = 2**16
_START_SECONDS = 60.0
_ATTEMPTS_TO_REACH = 5
_OWN_EXIT_CODES = range(1, 8)
_NETLOC = re.compile(r"(?:[^@]*@)?(?:\[[^\[\]\s]+\]|[^:\[\]\s]+)(?::\d+)?", re.ASCII)
"""Host and port of an address; one host has colons in it alone where brackets say where it ends."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def submit_recipe(
    recipe_path: Path,
    *,
    address: str,
    overrides: list[str],
    store: str | None,
    lineage: str | None,
    workers: int | None,
    submission_id: str | None,
    follow: bool,
    past_guards: bool = False,
    echo: Callable[[str], None],
) -> int:
    """Submit a recipe to the job server at `address` and return the exit code of the command.

    `store`: absolute path on the cluster, None for `DEFAULT_STORE`. `submission_id` is the job's key: a job that has it
    already is followed rather than submitted again; None takes `<lineage>-a<attempt>`, the first that is free. With
    `follow`, lines of the job's log go to `echo` until it ends; its exit code is returned (130 if it was stopped).
    `past_guards`: the job goes on where a guard ended the last run. Ctrl-C leaves the job running and returns 0. Raises
    RecipeError for what cannot work on a cluster, ClusterError when the job server cannot be reached or refuses,
    LineageLocked when a job that still runs writes the same lineage.
    """
    recipe = load_recipe(recipe_path, overrides, check_folders=False)
    name = lineage or recipe.name
    _require_cluster_paths(recipe)
    if store is not None and not PurePosixPath(store).is_absolute():
        raise RecipeError(
            f"--store {store} is relative, and a job's current folder is thrown away with the job; give the absolute "
            "path that the cluster's head node sees, on a disk that outlives it"
        )
    environment = _environment(recipe, address=address, echo=echo)
    address = _job_server(address)
    for talkative in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    client = _connect(address)
    entrypoint = _entrypoint(
        recipe_path, overrides, store=store, lineage=name, workers=workers, past_guards=past_guards
    )
    metadata = {"bootstrap.lineage": name, "bootstrap.store": store or DEFAULT_STORE, "bootstrap.recipe": recipe.name}
    with _cluster_errors(address):
        jobs = {job.submission_id: job for job in client.list_jobs() if job.submission_id}
        if submission_id in jobs:
            echo(f"job {submission_id} exists already on {address}")
        else:
            submission_id = submission_id or _free_id(jobs, metadata, address=address)
            with _working_dir(recipe_path) as folder:
                job = {
                    "entrypoint": entrypoint,
                    "submission_id": submission_id,
                    "runtime_env": {"working_dir": str(folder), "env_vars": dict(environment)},
                    "metadata": metadata,
                }
                _submit_once_up(client, job, address=address, echo=echo)
            echo(f"submitted job {submission_id} to {address}: lineage {name} in {metadata['bootstrap.store']}")
    if not follow:
        echo(_how_to_return(submission_id, address))
        return 0
    try:
        return _follow(client, submission_id, address=address, echo=echo)
    except KeyboardInterrupt:
        echo(f"job {submission_id} goes on without this viewer\n{_how_to_return(submission_id, address)}")
        return 0


def _submit_once_up(
    client: JobSubmissionClient, job: Mapping[str, Any], *, address: str, echo: Callable[[str], None]
) -> None:
    """Submit a job; a cluster that answers before it can take jobs is asked again, for at most `_START_SECONDS`."""
    start = time.monotonic()
    while True:
        try:
            client.submit_job(**job)
            return
        except RuntimeError as error:
            waited = time.monotonic() - start
            if "No available agent" not in str(error):
                raise
            if waited > _START_SECONDS:
                raise ClusterError(
                    f"Ray at {address} has had no node that takes jobs for {waited:.0f} s; check its head node"
                ) from error
            if waited < 1:
                echo(f"{address} is still starting; waiting up to {_START_SECONDS:.0f} s")
            time.sleep(1)


def _require_cluster_paths(recipe: Recipe) -> None:
    """Refuse files and folders that are relative to the recipe: only the recipe itself travels."""
    written = [(place, settings.model_dump()["path"]) for place, settings in _with_paths(recipe, ())]
    relative = [f"{dotted(place)}.path {path}" for place, path in written if not PurePosixPath(path).is_absolute()]
    if relative:
        one = len(relative) == 1
        raise RecipeError(
            f"{', '.join(relative)} {'is' if one else 'are'} relative to the recipe, and files and folders are not "
            f"uploaded; put {'it' if one else 'them'} on a disk that the cluster shares and give absolute paths"
        )


def _with_paths(value: Any, place: Place) -> Iterator[tuple[Place, FolderModel | FileTask]]:
    """Yield (place, settings) of every model folder and every task's file, reward models' and the panel's included."""
    if isinstance(value, FolderModel | FileTask):
        yield place, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _with_paths(getattr(value, name), (*place, name))
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _with_paths(part, (*place, name))
    elif isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from _with_paths(part, (*place, index))


def _environment(recipe: Recipe, *, address: str, echo: Callable[[str], None]) -> Mapping[str, str]:
    """Return the job's variables. Raises RecipeError for a tracking URI that loses the lineage or tells a secret."""
    variables = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONUNBUFFERED": "1",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
    }
    if commit := git_commit():
        variables[COMMIT_VARIABLE] = commit
    given, place = recipe.tracking.uri, "tracking.uri"
    if given is None and (given := os.environ.get("MLFLOW_TRACKING_URI")):
        place = "MLFLOW_TRACKING_URI"
        variables[place] = given
    if given:
        resolved = resolve_tracking_uri(given, Path("/"))
        parts = urlsplit(given)
        if redact(given) != given:
            raise RecipeError(
                f"{place} holds a user name, password or token, and a job's settings are shown in Ray's dashboard; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the cluster's own environment instead"
            )
        if resolved != given:
            raise RecipeError(
                f"{place} {given} is relative, and a job's current folder is thrown away with the job; write "
                "sqlite:////ABSOLUTE/PATH/mlflow.db, or leave it out for a database inside the store"
            )
        if parts.hostname in _LOOPBACK and urlsplit(address).hostname not in _LOOPBACK:
            echo(f"note: {place} {given} is the cluster's own loopback there, not this machine's")
    return variables


def _job_server(address: str) -> str:
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


def _connect(address: str) -> JobSubmissionClient:
    """Return a client of the job server. Raises ClusterError within seconds when it does not answer as one."""
    remedy = (
        "check that the cluster runs and that this is its dashboard's address (http://HOST:8265; from outside, a port "
        "forward or tunnel)"
    )
    try:
        # Ray's client waits without a bound, so the first question is asked without it.
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
        return JobSubmissionClient(address)


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
def _cluster_errors(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into ClusterError with one line."""
    try:
        yield
    except AuthenticationError:
        raise ClusterError(
            f"Ray at {address} asks for a token or refuses the one given; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN "
            "to the cluster's token"
        ) from None
    except BootstrapError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Ray at {address} refused: {_short(error)}") from error


def _short(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().rpartition("\n")[2].rstrip(".") or type(error).__name__


def _free_id(jobs: Mapping[str, JobDetails], metadata: Mapping[str, str], *, address: str) -> str:
    """Return `<lineage>-a<attempt>`, the first free. Raises LineageLocked while a job of the same lineage runs."""
    same = {key: metadata[key] for key in ("bootstrap.lineage", "bootstrap.store")}
    for submission_id, job in jobs.items():
        if not job.status.is_terminal() and same.items() <= (job.metadata or {}).items():
            raise LineageLocked(
                f"job {submission_id} on {address} still writes the lineage {same['bootstrap.lineage']}; follow it "
                f"with --submission-id {submission_id}, stop it with `ray job stop {submission_id} --address "
                f"{address}`, or start a lineage of your own with --lineage NAME",
                owner=f"job {submission_id}",
            )
    attempt = 1
    while f"{same['bootstrap.lineage']}-a{attempt}" in jobs:
        attempt += 1
    return f"{same['bootstrap.lineage']}-a{attempt}"


@contextmanager
def _working_dir(recipe_path: Path) -> Iterator[Path]:
    """Make the folder that is uploaded: this package and the recipe, nothing else of the current folder."""
    with tempfile.TemporaryDirectory(prefix="bootstrap-submit-") as name:
        folder = Path(name)
        shutil.copytree(
            Path(bootstrap.__file__).parent,
            folder / "bootstrap",
            ignore=shutil.ignore_patterns("__pycache__", "*.py[co]", ".*"),
        )
        (folder / "recipe").mkdir()
        shutil.copyfile(recipe_path, folder / "recipe" / recipe_path.name)
        yield folder


def _entrypoint(
    recipe_path: Path,
    overrides: list[str],
    *,
    store: str | None,
    lineage: str,
    workers: int | None,
    past_guards: bool,
) -> str:
    """Return the shell command that Ray runs in the job's working folder."""
    words = ["python", "-m", "bootstrap", "run", f"recipe/{recipe_path.name}", *overrides, "--lineage", lineage]
    if workers is not None:
        words += ["--workers", str(workers)]
    if past_guards:
        words.append("--past-guards")
    if store is None:
        # Only the shell on the cluster can look up its home folder; without one it says so and the job fails.
        home = "${HOME:?is not set on the cluster: submit with --store PATH}"
        return f'{shlex.join(words)} --store "{DEFAULT_STORE.replace("~", home)}"'
    return shlex.join([*words, "--store", store])


def _follow(client: JobSubmissionClient, submission_id: str, *, address: str, echo: Callable[[str], None]) -> int:
    """Echo the log line by line until the job ends; return its exit code.

    Raises ClusterError when the server cannot be reached several times in a row; the job itself goes on.
    """
    shown, failures = 0, 0
    while True:
        try:
            # Status first: what a job wrote before it ended is then in the log that follows.
            job, log = client.get_job_info(submission_id), client.get_job_logs(submission_id)
        except (OSError, RuntimeError) as error:
            failures += 1
            if failures == _ATTEMPTS_TO_REACH:
                raise ClusterError(
                    f"lost sight of job {submission_id} at {address} ({_short(error)}); it may well go on. "
                    + _how_to_return(submission_id, address).replace("\n", "; ")
                ) from error
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


def _exit_code(job: JobDetails, submission_id: str, echo: Callable[[str], None]) -> int:
    """Say how the job ended; return its own exit code where it is one of ours."""
    if job.status == JobStatus.SUCCEEDED:
        echo(f"job {submission_id} succeeded")
        return 0
    if job.status == JobStatus.STOPPED or job.driver_exit_code == INTERRUPTED:
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


def _how_to_return(submission_id: str, address: str) -> str:
    """Return the commands that follow and stop a job, one a line."""
    return (
        f"  follow it:  bootstrap submit RECIPE --address {address} --submission-id {submission_id}\n"
        f"         or:  ray job logs {submission_id} --address {address} --follow\n"
        f"    stop it:  ray job stop {submission_id} --address {address}"
    )
