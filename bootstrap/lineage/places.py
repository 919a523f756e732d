"""The places in a SQLite database of MLflow's, which follow the database when its store is moved or copied.

MLflow keeps where files lie as absolute addresses: of experiments, runs, models and data sets. After `mv` its pages
would look for files that are gone; after `cp -r` the copy's pages would show the original's files, and a publication
would overwrite them. So whoever opens the database calls `follow` first:

    experiment bootstrap/quickstart   file:///old/runs/mlflow-artifacts -> file:///new/runs/mlflow-artifacts
    runs, models, versions, data sets, traces below                      -> the same, one transaction for all
    outbox markers of the old address                                    -> those of the new one

The former folder is read from the database itself: this program's experiments keep their files in `mlflow-artifacts`
beside it. Addresses stay absolute, because MLflow resolves `mlflow-artifacts:` through a server alone, and a store is
also published to, and read by programs, without one. Imports no MLflow.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from bootstrap.errors import TrackingError
from bootstrap.lineage import tracking
from bootstrap.lineage.outbox import rename_outboxes
from bootstrap.lineage.text import one_line
from bootstrap.reading import parsed

WAIT_SECONDS = 30.0
"""Longest wait for another process that writes to the database."""
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("experiment_tags", "value"),
    ("runs", "artifact_uri"),
    ("tags", "value"),
    ("logged_models", "artifact_location"),
    ("logged_model_params", "param_value"),
    ("logged_model_tags", "tag_value"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("model_version_tags", "value"),
    ("datasets", "dataset_source"),
    ("input_tags", "value"),
    ("trace_tags", "value"),
)
"""Columns that hold places. A recipe's params are left out: they say what its author wrote."""
_BESIDE = ("-journal", "-wal", "-shm")
"""Endings of the files that SQLite keeps beside a database."""
_OWN_TRIGGER = ("trigger", "prevent_secrets_aad_mutation", "secrets")
"""Of MLflow's tables, on one that holds no places."""
_OWN = """
    select experiments.experiment_id, experiments.name, experiments.artifact_location from experiments
    join experiment_tags on experiment_tags.experiment_id = experiments.experiment_id
    where experiment_tags.key = 'bootstrap.schema'
"""


def follow(tracking_uri: str) -> None:
    """Let the places in a SQLite database, and the outboxes of the lineages beside it, follow its folder.

    Does nothing for other addresses, for a database without this program's experiments, where nothing has moved, and
    where the files did not come along. Raises TrackingError as `check_files` and `check_schema`, and if the database
    cannot be changed within `WAIT_SECONDS`; StoreError if an outbox cannot be renamed.
    """
    path = tracking.database_path(tracking_uri)
    if path is None:
        return
    check_files(path)
    if not path.exists():
        return
    path = path.absolute()
    try:
        with closing(opened(path)) as database:
            check_schema(database, path)
            if not _former(database, path.parent):
                return
            # The lock on the database is the lock of this change: whoever comes second finds nothing to do.
            database.execute("begin immediate")
            former = _former(database, path.parent)
            moved = mover(former, path.parent)
            database.create_function("moved", 1, moved, deterministic=True)
            names = [name for _, name, _ in database.execute(_OWN)]
            for table, column in _existing(database):
                changed = f'"{column}" is not null and moved("{column}") is not "{column}"'
                database.execute(f'update "{table}" set "{column}" = moved("{column}") where {changed}')
            for before in former:
                old = tracking.database_uri(before / path.name)
                rename_outboxes(path.parent, before=old, now=tracking_uri, experiments=names)
            database.execute("commit")
    except sqlite3.Error as error:
        raise TrackingError(
            f"the store has moved, and the places in its MLflow database {path} cannot follow ({error}); end other "
            "programs that use it and check its permissions, or remove it: it is made again from the ledger"
        ) from error


def check_files(path: Path) -> None:
    """Raise TrackingError unless a database and what SQLite keeps beside it are regular files, or absent.

    SQLite reads a journal before anything else, and waits for ever for one that is a pipe.
    """
    if path.is_symlink():
        # A copy of a store has its links too: whoever follows one writes where nobody has named a database.
        raise TrackingError(
            f"{path} is a link to {os.path.realpath(path)}, and a database is not opened through one; name that "
            "database itself, by MLFLOW_TRACKING_URI for example"
        )
    for one in (path, *(path.with_name(f"{path.name}{ending}") for ending in _BESIDE)):
        if os.path.lexists(one) and (one.is_symlink() or not one.is_file()):
            raise TrackingError(f"{one} is no regular file but a link, a pipe, a device or a folder; remove it")


def check_schema(database: sqlite3.Connection, path: Path) -> None:
    """Raise TrackingError for views and triggers in a database that are not MLflow's own.

    They are programs: a change of one row may set off changes without end.
    """
    for kind, name, table in database.execute("select type, name, tbl_name from sqlite_master"):
        if kind in ("view", "trigger") and (kind, name, table) != _OWN_TRIGGER:
            raise TrackingError(
                f"{path} has a {kind} that MLflow does not make ({one_line(str(name))}); remove the database if "
                "somebody sent it to you: it is made again from the ledger"
            )


def check_inside(place: str, tracking_uri: str, *, store: Path, what: str) -> None:
    """Raise TrackingError if `what` keeps its files in `place`, outside the store that its database lies in.

    A link leads where it leads: a copy of a store has the same links as the original. Nothing is checked for servers
    and for databases elsewhere, which were named by whoever publishes there.
    """
    if not lies_in(tracking_uri, store):
        return
    path = local_path(place)
    real = None if path is None else os.path.realpath(path)
    if path is None or real is None or not Path(real).is_relative_to(os.path.realpath(store)):
        led = "" if path is None or real == os.path.normpath(path) else f", which leads to {real}"
        folder, database = tracking.ARTIFACTS_FOLDER, tracking.database_path(tracking_uri)
        if path is not None and path.is_relative_to(store.absolute()):
            remedy = f"Put the folder where the link is, or move the whole store and link to it, not to {folder}"
        else:
            remedy = f"Copy {folder} along with a database, or remove the database: it is made again from the ledger"
        raise TrackingError(
            f"{what} in {database} keeps its files in {tracking.public(place)}{led}, outside the store, where nothing "
            f"is written. {remedy}; or publish to another one with --tracking-uri"
        )


def lies_in(tracking_uri: str, store: Path) -> bool:
    """Whether the tracking store is a SQLite database in the folder `store`, however the two paths are written."""
    database = tracking.database_path(tracking_uri)
    return database is not None and os.path.realpath(database.parent) == os.path.realpath(store)


def local_path(place: str) -> Path | None:
    """Return the path of a file address or of an absolute path; None for another place."""
    if place.startswith("/"):
        return Path(place)
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.path.startswith("/") else None


def mover(former: Sequence[Path], folder: Path) -> Callable[[Any], Any]:
    """Return the function from a stored value to the same, with each place below a folder of `former` below `folder`.

    Values are addresses, paths, or JSON objects with some at their top; others stay as they are. So does a place whose
    first folder `folder` lacks: it did not come along.
    """
    forms = [
        (old, new)
        for before in sorted(former, key=lambda path: len(path.parts), reverse=True)
        for old, new in (
            (before.as_uri(), folder.as_uri()),
            (f"file://{before}", f"file://{folder}"),
            (str(before), str(folder)),
        )
    ]

    def place(value: str) -> str:
        for old, new in forms:
            rest = value.removeprefix(old)
            if len(rest) < len(value) and (not rest or rest.startswith("/")):
                return new + rest if _came_along(rest, folder, is_address=old.startswith("file:")) else value
        return value

    def moved(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not value.startswith("{"):
            return place(value)
        try:
            found = parsed(value.encode(), strict=False)
        except ValueError:
            return value
        changed = {key: place(inner) if isinstance(inner, str) else inner for key, inner in found.items()}
        return value if changed == found else json.dumps(changed)

    return moved


def _came_along(rest: str, folder: Path, *, is_address: bool) -> bool:
    first = rest.removeprefix("/").partition("/")[0]
    return first in ("", tracking.ARTIFACTS_FOLDER) or any(
        (folder / name).exists() for name in {first, unquote(first) if is_address else first}
    )


def opened(path: Path, *, seconds: float = WAIT_SECONDS) -> sqlite3.Connection:
    """Open an existing database; transactions begin and end where they are written.

    `seconds`: longest wait for another process that writes to it.
    """
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, timeout=seconds, isolation_level=None
    )


def _former(database: sqlite3.Connection, folder: Path) -> list[Path]:
    """Return the folders that this program's experiments still name, whose files lie in `folder` today."""
    if not {"experiments", "experiment_tags", "runs"} <= {
        name for (name,) in database.execute("select name from sqlite_master where type = 'table'")
    }:
        return []
    found: dict[Path, list[str]] = {}
    for identifier, _, location in database.execute(_OWN):
        artifacts = None if location is None else local_path(location)
        if artifacts is None or artifacts.name != tracking.ARTIFACTS_FOLDER or _is_same(artifacts.parent, folder):
            continue
        found.setdefault(artifacts.parent, []).append(identifier)
    return [before for before, own in found.items() if _files_came(database, own, before, folder)]


def _files_came(database: sqlite3.Connection, experiments: Iterable[str], before: Path, folder: Path) -> bool:
    """Whether files of a run of these experiments lie in `folder` where they lay in `before`, or no run has any."""
    artifacts, any_run = before / tracking.ARTIFACTS_FOLDER, False
    for experiment in experiments:
        for (address,) in database.execute("select artifact_uri from runs where experiment_id = ?", (experiment,)):
            path = None if address is None else local_path(address)
            if path is not None and path.is_relative_to(artifacts):
                any_run = True
                if (folder / path.relative_to(before)).exists():
                    return True
    return not any_run


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder, for example one of them through a link."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.normpath(one) == os.path.normpath(other)


def _existing(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the columns of `_COLUMNS` that this database has: MLflow's tables differ between its versions."""
    return [
        (table, column)
        for table, column in _COLUMNS
        if column in {row[1] for row in database.execute(f'pragma table_info("{table}")')}
    ]
