"""The tracking settings of a lineage's last run, remembered beside it: they say where its pages are in MLflow.

    <lineage>/tracking.json     tracking URI without credentials, experiment, readable rollouts per generation;
                                a SQLite database in the store by its name alone, so that it moves with the store

A convenience for later commands, and for runs by the recipe that is remembered beside it (`remembered.py`); no part of
the lineage. Without the file they use the environment or the store's own database. Secrets are not kept: a password
comes from the environment or the command line alone.
"""

import os
import re
from pathlib import Path

from bootstrap.canonical import canonical_json
from bootstrap.cli.stores import write_changed
from bootstrap.config.resources import Tracking
from bootstrap.errors import StoreCorrupt
from bootstrap.lineage import tracking
from bootstrap.lineage.places import lies_in
from bootstrap.records import Record
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.names import DATABASE

FILE_NAME = "tracking.json"
VARIABLE = "MLFLOW_TRACKING_URI"
_OWN = "sqlite:///mlflow.db"
"""The store's own database, relative to the store."""
_SECRETS = ("password", "passwd", "pwd", "token", "secret", "user")


class Target(Record):
    """Where the last run published."""

    uri: str | None = None
    """Absolute and without credentials; None: the store's own database, wherever the store lies.

    In the file, the address of another SQLite database in the store is relative to the store.
    """
    experiment: str | None = None
    """None names it after the lineage."""
    sample_rollouts: int = Tracking().sample_rollouts


def remember(store: LineageStore, settings: Tracking, *, tracking_uri: str) -> None:
    """Write the settings of a run that publishes to `tracking_uri`. For the lineage's driver. Raises StoreError."""
    folder = store.root.absolute().parent
    uri = without_credentials(tracking_uri)
    if lies_in(tracking_uri, folder):
        scheme, slashes, place = uri.partition(":///")
        path, mark, options = place.partition("?")
        uri = f"{scheme}{slashes}{path.rpartition('/')[2]}{mark}{options}"
    target = Target(
        uri=None if uri == _OWN else uri,
        experiment=settings.experiment,
        sample_rollouts=settings.sample_rollouts,
    )
    data = canonical_json(target.model_dump(mode="json"))
    write_changed(store, FILE_NAME, data)


def recall(store: LineageStore) -> Target | None:
    """Return the last run's settings; None if there are none. Raises StoreError, StoreCorrupt."""
    path, data = store.root / FILE_NAME, store.kept(FILE_NAME)
    if data is None:
        return None
    try:
        found = Target.model_validate_json(data)
    except ValueError as error:
        raise StoreCorrupt(f"{path} is corrupt: {error}; remove it, and the next run writes it again") from error
    path = None if found.uri is None else tracking.database_path(found.uri)
    if found.uri is None or path is None or path.is_absolute():
        return found
    scheme, slashes, place = found.uri.partition(":///")
    name, mark, options = place.partition("?")
    folder = own_database(store.root.absolute().parent).partition(slashes)[2].rpartition("/")[0]
    return found.model_copy(update={"uri": f"{scheme}{slashes}{folder}/{name.rpartition('/')[2]}{mark}{options}"})


def as_last_run(store: LineageStore, settings: Tracking) -> Tracking:
    """Return a run's tracking settings, completed by the last run's.

    The environment's URI goes before the last run's. Raises StoreError, StoreCorrupt.
    """
    last = (recall(store) or Target()).model_dump(exclude={"uri"} if os.environ.get(VARIABLE) else None)
    return settings.model_copy(update={name: last[name] for name in last.keys() - settings.model_fields_set})


def uri_to_publish(store: LineageStore, asked: str | None) -> str:
    """Return the URI to publish to: `asked`, else the environment's, the last run's, or the store's own database.

    Raises RecipeError for an address without a store, StoreError.
    """
    found = recall(store)
    wanted = asked or os.environ.get(VARIABLE) or (found.uri if found else None)
    return tracking.resolve_tracking_uri(wanted, store.root.parent)


def uri_to_show(store: LineageStore, asked: str | None) -> str:
    """Return the URI to look at: `asked`, else the last run's, the environment's, or the store's own database.

    The environment's URI replaces the last run's where they differ in credentials alone. Raises RecipeError for an
    address without a store, StoreError.
    """
    found, given = recall(store), os.environ.get(VARIABLE)
    if asked or found is None or (given and without_credentials(given) == found.uri):
        return tracking.resolve_tracking_uri(asked or given, store.root.parent)
    return found.uri or own_database(store.root.parent)


def own_database(store: Path) -> str:
    """Return the URI of the database inside the store."""
    return tracking.database_uri(store / DATABASE)


def without_credentials(uri: str) -> str:
    """Return a URI without user, password and query parameters that can hold them."""
    scheme, separator, rest = uri.partition("://")
    if scheme.startswith("sqlite"):
        return uri
    # Greedy up to the last `@` before the path, since a password may hold `@`, `?` and `#`.
    bare = tracking.redact(f"{scheme}{separator}{re.sub(r'^[^/]*@', '', rest)}")
    address, mark, query = bare.partition("?")
    kept = [part for part in query.split("&") if not any(word in part.partition("=")[0].lower() for word in _SECRETS)]
    return f"{address}{mark if kept else ''}{'&'.join(kept)}"
