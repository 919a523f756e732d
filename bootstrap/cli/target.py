"""Where a lineage's pages are: the tracking settings of its last run, remembered beside it.

    <lineage>/tracking.json     tracking URI without credentials, experiment, readable rollouts per generation

A convenience for later commands, and for runs by the recipe that is remembered beside it (`remembered.py`); no part of
the lineage: without the file they fall back to the environment and the store's own database. Secrets are not kept: a
password comes back only by the environment or the command line.
"""

import os
import re
from pathlib import Path

from bootstrap.canonical import canonical_json
from bootstrap.config.resources import Tracking
from bootstrap.errors import StoreCorrupt
from bootstrap.lineage import tracking
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore

FILE_NAME = "tracking.json"
VARIABLE = "MLFLOW_TRACKING_URI"
_SECRETS = ("password", "passwd", "pwd", "token", "secret", "user")


class Target(Record):
    """Where the last run published."""

    uri: str | None = None
    """Absolute and without credentials; None: the store's own database, wherever the store lies."""
    experiment: str | None = None
    """None names it after the lineage."""
    sample_rollouts: int = Tracking().sample_rollouts


def remember(store: LineageStore, settings: Tracking, *, tracking_uri: str) -> None:
    """Keep the settings of a run that publishes to `tracking_uri`. For the lineage's one driver. Raises StoreError."""
    target = Target(
        uri=None if tracking_uri == own_database(store.root.parent) else without_credentials(tracking_uri),
        experiment=settings.experiment,
        sample_rollouts=settings.sample_rollouts,
    )
    data = canonical_json(target.model_dump(mode="json"))
    path = store.root / FILE_NAME
    with durable.store_errors(path, doing="read"):
        if path.is_file() and path.read_bytes() == data:
            return
    durable.write_file(path, data)


def recall(store: LineageStore) -> Target | None:
    """Return what the last run kept, None where none did. Raises StoreError, StoreCorrupt."""
    path = store.root / FILE_NAME
    with durable.store_errors(path, doing="read"):
        if not path.is_file():
            return None
        data = path.read_bytes()
    try:
        return Target.model_validate_json(data)
    except ValueError as error:
        raise StoreCorrupt(f"{path} is corrupt: {error}; remove it, and the next run writes it again") from error


def as_last_run(store: LineageStore, settings: Tracking) -> Tracking:
    """Return a run's tracking settings, with what they leave out as the last run had it; its URI gives way to the
    environment's. Raises StoreError, StoreCorrupt."""
    last = (recall(store) or Target()).model_dump(exclude={"uri"} if os.environ.get(VARIABLE) else None)
    return settings.model_copy(update={name: last[name] for name in last.keys() - settings.model_fields_set})


def uri_to_publish(store: LineageStore, asked: str | None) -> str:
    """Return where to publish: as asked, as the environment says, as the last run did, else the own database.

    Raises RecipeError for an address without a store, StoreError.
    """
    found = recall(store)
    wanted = asked or os.environ.get(VARIABLE) or (found.uri if found else None)
    return tracking.resolve_tracking_uri(wanted, store.root.parent)


def uri_to_show(store: LineageStore, asked: str | None) -> str:
    """Return where to look: as asked, as the last run did, else as the environment says, else the own database.

    The environment's address stands for the remembered one that differs from it in credentials alone. Raises
    RecipeError for an address without a store, StoreError.
    """
    found, given = recall(store), os.environ.get(VARIABLE)
    if asked or found is None or (given and without_credentials(given) == found.uri):
        return tracking.resolve_tracking_uri(asked or given, store.root.parent)
    return found.uri or own_database(store.root.parent)


def own_database(store: Path) -> str:
    """Return the URI of the database inside the store."""
    return tracking.database_uri(store / "mlflow.db")


def without_credentials(uri: str) -> str:
    """Return a URI without user, password and the parameters that can hold them."""
    scheme, separator, rest = uri.partition("://")
    if scheme.startswith("sqlite"):
        return uri
    # Greedy up to the last `@` before the path, since a password may hold `@`, `?` and `#`.
    bare = tracking.redact(f"{scheme}{separator}{re.sub(r'^[^/]*@', '', rest)}")
    address, mark, query = bare.partition("?")
    kept = [part for part in query.split("&") if not any(word in part.partition("=")[0].lower() for word in _SECRETS)]
    return f"{address}{mark if kept else ''}{'&'.join(kept)}"
