"""Submit a recipe as a Ray job: check it here, describe it in the job's metadata, upload it.

    this machine                                    cluster
    recipe, package ---- upload (no weights) ----> working folder of the job, thrown away with it
    `python -m bootstrap run ...` ---- submit ---> driver on the head ---> workers
    viewer <------------- log, status ------------ driver                  (viewer may leave and come back)

The cluster needs this package's dependencies, not the package. A job's `python` is the first on the PATH of the head's
processes, so start the head from the environment that holds the dependencies, for example
`source .venv/bin/activate; ray start --head`. Results go to `--store`, an absolute path as the cluster's head sees it.
Everyone who reaches the dashboard can read a job's environment, so it holds a fixed list of variables and no secret:
tokens and passwords belong into the cluster's own environment. Left out: the job server (`jobs.py`), the run itself,
and restarting it (submit again: it continues from the last checkpoint).
"""

import json
import logging
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ray.job_submission import JobDetails

import bootstrap
from bootstrap.canonical import json_file, sha256
from bootstrap.cluster.job_client import job_server_url
from bootstrap.cluster.jobs import (
    DEFAULT_STORE,
    LINEAGE,
    RECIPE,
    STOP_SECONDS,
    STORE,
    JobServer,
    how_to_return,
    is_own,
)
from bootstrap.config.base import Place, Settings, dotted
from bootstrap.config.load import load_recipe, require_own_addresses
from bootstrap.config.recipe import Recipe
from bootstrap.errors import LineageLocked, RecipeError
from bootstrap.lineage.tracking import database_path, redact, resolve_tracking_uri
from bootstrap.plugins import TRUST, plugins_of, require_trust
from bootstrap.provenance import COMMIT_VARIABLE, git_commit

DIGEST, SECTIONS = "bootstrap.digest", "bootstrap.sections"
"""Names in a job's metadata: the recipe's digest as ledgers record it; a JSON map of section -> digest of settings."""

_COMPARED = {
    RECIPE: "the recipe",
    LINEAGE: "the lineage",
    STORE: "the store",
    "bootstrap.workers": "--workers",
    "bootstrap.past_guards": "--past-guards",
}
"""Metadata that are compared as words -> their names in messages."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NUM_DIGITS = 16
"""Digits of a section's digest, short enough for the dashboard."""


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

    `store`: absolute path on the cluster; None for `DEFAULT_STORE`. `submission_id`: the job's key; a job that has it
    already and is the same one is followed, not submitted again; None takes the first free `<lineage>-a<attempt>`.
    `follow`: lines of the job's log go to `echo` until it ends, and its exit code is returned (130 if it was stopped);
    Ctrl-C leaves the job running and returns 0. `past_guards`: the job continues although a guard ended the last run.
    Raises RecipeError for what cannot work on a cluster, for plug-ins that are not trusted and for the id of another
    job, ClusterError when the job server cannot be reached or refuses, LineageLocked while another job writes the same
    lineage.
    """
    recipe = load_recipe(recipe_path, overrides, check_folders=False)
    # The job has a copy of the recipe, which does not tell whether it came with a store.
    require_own_addresses(recipe, overrides, path=recipe_path)
    named = sorted(set(plugins_of(recipe.model_dump(mode="json"))))
    require_trust(named)
    name = lineage or recipe.name
    _require_cluster_paths(recipe)
    if store is not None and not PurePosixPath(store).is_absolute():
        raise RecipeError(
            f"--store {store} is relative, and a job's current folder is thrown away with the job; give the absolute "
            "path that the cluster's head node sees, on a disk that outlives it"
        )
    address = job_server_url(address)
    environment = _environment(recipe, address=address, echo=echo)
    for talkative in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    server = JobServer(address)
    entrypoint = _entrypoint(
        recipe_path, overrides, store=store, lineage=name, workers=workers, past_guards=past_guards, named=named
    )
    metadata = describe(recipe, lineage=name, store=store or DEFAULT_STORE, workers=workers, past_guards=past_guards)
    jobs = server.submitted()
    if submission_id in jobs:
        _require_the_same(jobs[submission_id], metadata, address=server.address)
        echo(f"job {submission_id} exists already on {server.address}")
    else:
        submission_id = submission_id or _free_id(jobs, metadata, address=server.address)
        with _working_dir(recipe_path) as folder:
            job = {
                "entrypoint": entrypoint,
                "submission_id": submission_id,
                "runtime_env": {"working_dir": str(folder), "env_vars": dict(environment)},
                "metadata": dict(metadata),
            }
            server.submit(job, echo=echo)
        echo(f"submitted job {submission_id} to {server.address}: lineage {name} in {metadata[STORE]}")
    if not follow:
        echo(how_to_return(submission_id, server.address))
        return 0
    return server.follow(submission_id, echo=echo)


def describe(recipe: Recipe, *, lineage: str, store: str, workers: int | None, past_guards: bool) -> Mapping[str, str]:
    """Return a job's metadata, which tell it from another job of the same id."""
    settings = recipe.model_dump(mode="json", exclude={"name", "description"})
    return {
        # The job's name in Ray's dashboard.
        "job_name": lineage,
        LINEAGE: lineage,
        STORE: store,
        RECIPE: recipe.name,
        "bootstrap.workers": "as the recipe says" if workers is None else str(workers),
        "bootstrap.past_guards": "yes" if past_guards else "no",
        DIGEST: recipe.digest(),
        SECTIONS: json.dumps({name: _digest(section) for name, section in settings.items()}),
    }


def _digest(section: Any) -> str:
    return sha256(json_file(section))[:_NUM_DIGITS]


def _require_the_same(job: JobDetails, metadata: Mapping[str, str], *, address: str) -> None:
    """Raise RecipeError, naming the differences, unless `job` is the one that `metadata` describe."""
    look = f"look at that job with `bootstrap attach {job.submission_id} --address {address}`"
    theirs = job.metadata or {}
    if not is_own(job):
        differing, look = (
            ["it is not one of this program's"],
            f"see what is there with `bootstrap jobs --address {address}`",
        )
    else:
        # A job of an earlier version may lack some metadata; only the present ones are compared.
        differing = [
            f"{called} is {theirs[key]} there and {metadata[key]} here"
            for key, called in _COMPARED.items()
            if theirs.get(key, metadata[key]) != metadata[key]
        ]
        if sections := _differing_sections(theirs, metadata):
            differing.append(f"the settings of {', '.join(sections)} differ")
    if differing:
        raise RecipeError(
            f"job {job.submission_id} on {address} is another one: {'; '.join(differing)}. Give another "
            f"--submission-id, or none and a free one is made; or {look}"
        )


def _differing_sections(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return the recipe's sections whose settings differ according to the metadata of both."""
    try:
        there, here = dict(json.loads(theirs.get(SECTIONS, ours[SECTIONS]))), json.loads(ours[SECTIONS])
    except (ValueError, TypeError):
        return ["a recipe that cannot be told"]
    return sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))


def _require_cluster_paths(recipe: Recipe) -> None:
    """Raise RecipeError for files and folders relative to the recipe, since only the recipe is uploaded."""
    written = [(dotted((*place, name)), path) for place, one in _sections(recipe, ()) for name, path in one.paths]
    relative = [f"{place} {path}" for place, path in written if not PurePosixPath(path).is_absolute()]
    if relative:
        one = len(relative) == 1
        raise RecipeError(
            f"{', '.join(relative)} {'is' if one else 'are'} relative to the recipe, and files and folders are not "
            f"uploaded; put {'it' if one else 'them'} on a disk that the cluster shares and give absolute paths"
        )


def _sections(value: Any, place: Place) -> Iterator[tuple[Place, Settings]]:
    """Yield (place, settings) of every section: models and tasks, reward models and the panel's tasks among them."""
    parts: Iterable[tuple[str | int, Any]] = ()
    match value:
        case Settings():
            yield place, value
            parts = ((name, getattr(value, name)) for name in type(value).model_fields)
        case dict():
            parts = value.items()
        case tuple() | list():
            parts = enumerate(value)
    for name, part in parts:
        yield from _sections(part, (*place, name))


def _environment(recipe: Recipe, *, address: str, echo: Callable[[str], None]) -> Mapping[str, str]:
    """Return the job's environment. Raises RecipeError for a tracking URI that is relative or holds a secret."""
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
        resolve_tracking_uri(given, Path("/"))
        database = database_path(given)
        parts = urlsplit(given)
        if redact(given) != given:
            raise RecipeError(
                f"{place} holds a user name, password or token, and a job's settings are shown in Ray's dashboard; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the cluster's own environment instead"
            )
        if database is not None and not database.is_absolute():
            raise RecipeError(
                f"{place} {given} is relative, and a job's current folder is thrown away with the job; write "
                "sqlite:////ABSOLUTE/PATH/mlflow.db, or leave it out for a database inside the store"
            )
        if parts.hostname in _LOOPBACK and urlsplit(address).hostname not in _LOOPBACK:
            echo(f"note: {place} {given} is the cluster's own loopback there, not this machine's")
    return variables


def _free_id(jobs: Mapping[str, JobDetails], metadata: Mapping[str, str], *, address: str) -> str:
    """Return the first free `<lineage>-a<attempt>`. Raises LineageLocked while a job of the same lineage runs."""
    same = {key: metadata[key] for key in (LINEAGE, STORE)}
    for submission_id, job in jobs.items():
        if not job.status.is_terminal() and same.items() <= (job.metadata or {}).items():
            raise LineageLocked(
                f"job {submission_id} on {address} still writes the lineage {same[LINEAGE]}; follow it with "
                f"`bootstrap attach {submission_id} --address {address}`, stop it with `bootstrap stop {submission_id} "
                f"--address {address}`, or start a lineage of your own with --lineage NAME",
                owner=f"job {submission_id}",
            )
    attempt = 1
    while f"{same[LINEAGE]}-a{attempt}" in jobs:
        attempt += 1
    return f"{same[LINEAGE]}-a{attempt}"


@contextmanager
def _working_dir(recipe_path: Path) -> Iterator[Path]:
    """Make the folder that is uploaded, with this package and the recipe."""
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
    named: Sequence[str],
) -> str:
    """Return the shell command that Ray runs in the job's working folder; `named`: plug-ins that it may import."""
    words = ["python", "-m", "bootstrap", "run", f"recipe/{recipe_path.name}", *overrides, "--lineage", lineage]
    if workers is not None:
        words += ["--workers", str(workers)]
    if past_guards:
        words.append("--past-guards")
    for name in named:
        words += [TRUST, name]
    if store is None:
        # Only the cluster's shell knows its home folder; without one, it says so and the job fails.
        home = "${HOME:?is not set on the cluster: submit with --store PATH}"
        return f'{shlex.join(words)} --store "{DEFAULT_STORE.replace("~", home)}"'
    return shlex.join([*words, "--store", store])
