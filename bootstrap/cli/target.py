"""Where commands publish a lineage and look at it in MLflow: a person's word, never that of a store.

    flag or recipe -> MLFLOW_TRACKING_URI -> this user's last run of the lineage -> the store's own database

    <state>/tracking/<SHA-256 of the lineage's real path>.json    the last run's settings, for this user alone
    <lineage>/tracking.json                                       the same, for whoever has the store

The store may be somebody else's, so its file decides nothing but for a database in that store: `unheeded` tells of an
address and an experiment that nobody here has named. In both files an address has no credentials, and that of a SQLite
database in the store is its name alone, so that it moves with the store.
"""

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from pydantic import Field

from bootstrap.canonical import canonical_json, sha256
from bootstrap.cli.command import command
from bootstrap.cli.stores import write_changed
from bootstrap.config.resources import Tracking
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.lineage import tracking
from bootstrap.lineage.places import lies_in
from bootstrap.lineage.text import one_line
from bootstrap.reading import MAX_JSON_BYTES, read_named
from bootstrap.records import Record
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.names import DATABASE
from bootstrap.store.user_folder import is_own_file, own_folder

FILE_NAME = "tracking.json"
_Kind = TypeVar("_Kind", bound="Target")
VARIABLE = "MLFLOW_TRACKING_URI"
MOST_SAMPLES = 100_000
"""Readable rollouts of a generation that a file may ask for; a person may ask for more."""
_OWN = "sqlite:///mlflow.db"
"""The store's own database, relative to the store."""
_SECRETS = ("password", "passwd", "pwd", "token", "secret", "user")


class Target(Record):
    """Where a run has published, as a file says it."""

    uri: str | None = None
    """Without credentials; None: the store's own database, wherever the store lies.

    In a file the address of another SQLite database in the store is relative to the store.
    """
    experiment: str | None = None
    """None names it after the lineage."""
    sample_rollouts: Annotated[int, Field(ge=0, le=MOST_SAMPLES)] = Tracking().sample_rollouts


class _Remembered(Target):
    """The same, as this user's state holds it."""

    identity: str | None = None
    """Digest of the lineage's identity: another lineage may come to lie in the same place."""


class Chosen(NamedTuple):
    """Where a command publishes to, and looks."""

    uri: str
    """Absolute, with the credentials that a person gave."""
    experiment: str | None
    sample_rollouts: int


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
        sample_rollouts=min(settings.sample_rollouts, MOST_SAMPLES),
    )
    write_changed(store, FILE_NAME, canonical_json(target.model_dump(mode="json")))
    _remember_here(store, target)


def agree(store: LineageStore, found: Chosen) -> None:
    """Remember for this user what was chosen, if the store names that address too. Raises StoreError."""
    theirs = recall(store)
    if theirs is not None and theirs.uri is not None and _is_at(theirs, found.uri, store):
        most = min(found.sample_rollouts, MOST_SAMPLES)
        target = Target(uri=without_credentials(found.uri), experiment=found.experiment, sample_rollouts=most)
        _remember_here(store, target)


def recall(store: LineageStore) -> Target | None:
    """Return what the store says of its last run; None if it says nothing. Raises StoreError, StoreCorrupt."""
    data = store.kept(FILE_NAME)
    return None if data is None else _parsed(data, store, path=store.root / FILE_NAME, kind=Target)


def chosen(store: LineageStore, asked: str | None = None) -> Chosen:
    """Return where a command publishes to, and looks. `asked`: the address on the command line.

    Raises RecipeError for an address without a store, StoreError.
    """
    mine, theirs = _recall_here(store), recall(store)
    wanted = asked or os.environ.get(VARIABLE) or (mine.uri if mine else None)
    uri = tracking.resolve_tracking_uri(wanted, store.root.parent)
    known = mine or Target()
    if not (mine and _is_at(mine, uri, store)) and theirs and _is_at(theirs, uri, store):
        known = theirs if lies_in(uri, store.root.absolute().parent) else known
    return Chosen(uri=uri, experiment=known.experiment, sample_rollouts=known.sample_rollouts)


def unchosen(store: LineageStore, asked: str | None = None) -> list[str]:
    """Return a line about each place that is named and not chosen, and how to choose it. Raises as `chosen`."""
    return list(filter(None, (unheeded(store, asked), _outranked(store, asked))))


def unheeded(store: LineageStore, asked: str | None = None) -> str | None:
    """Return one line about a place that the store names and no person, and how to agree to it; None without one.

    Raises as `chosen`.
    """
    theirs, found, mine = recall(store), chosen(store, asked), _recall_here(store)
    if theirs is None:
        return None
    if unagreed(store, asked):
        what, instead = "address", without_credentials(found.uri)
        how = f"set {VARIABLE}, or name it once"
    elif (
        _is_at(theirs, found.uri, store)
        and theirs.experiment not in (None, found.experiment)
        and not (mine and _is_at(mine, found.uri, store))
    ):
        what, instead = "experiment", tracking.experiment_name(store.root.name, found.experiment)
        how = "name it once"
    else:
        return None
    return (
        f"{store.root.name}: the store says that its last run published to {_shown(theirs)}. What a store says decides "
        f"no {what}, so this is about {instead}. If you know and want the other one, {how}: {sync_to(store, theirs)}"
    )


def _outranked(store: LineageStore, asked: str | None) -> str | None:
    """Return one line about the place of this user's last run, where the environment names another."""
    mine, uri = _recall_here(store), chosen(store, asked).uri
    if asked or mine is None or _is_at(mine, uri, store):
        return None
    return (
        f"{store.root.name}: your last run published to {_shown(mine)}. {VARIABLE} goes first, so this is about "
        f"{without_credentials(uri)}. For the other one: {sync_to(store, mine)}"
    )


def unagreed(store: LineageStore, asked: str | None = None) -> bool:
    """Whether the store names an address, nobody here one, and theirs is not the one chosen. Raises as `chosen`."""
    theirs = recall(store)
    if asked or os.environ.get(VARIABLE) or theirs is None or theirs.uri is None:
        return False
    return not _is_at(theirs, chosen(store).uri, store)


def sync_to(store: LineageStore, target: Target) -> str:
    """Return the command that publishes a lineage there."""
    uri = one_line(tracking.public(target.uri or own_database(store.root.absolute().parent)))
    sync = command("lineage", "--sync", "--store", store.root.parent, "--lineage", store.root.name)
    named = f" --experiment {shlex.quote(one_line(target.experiment))}" if target.experiment else ""
    return f"{sync}{named} --tracking-uri {shlex.quote(uri)}"


def _shown(target: Target) -> str:
    """Return a place as a line says it."""
    uri = one_line(tracking.public(target.uri or "the database in the store"))
    return f"{uri}, experiment {one_line(target.experiment)}" if target.experiment else uri


def as_last_run(store: LineageStore, settings: Tracking) -> Tracking:
    """Return a run's tracking settings, completed by what is chosen without them. Raises as `chosen`."""
    last = chosen(store, settings.uri)._asdict()
    return settings.model_copy(update={name: last[name] for name in last.keys() - settings.model_fields_set})


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


def _is_at(target: Target, uri: str, store: LineageStore) -> bool:
    """Whether a target is at this address, credentials apart."""
    return without_credentials(target.uri or own_database(store.root.parent)) == without_credentials(uri)


def _parsed(data: bytes, store: LineageStore, *, path: Path, kind: type[_Kind]) -> _Kind:
    """Return the settings in a file, a database in the store by its place. Raises StoreCorrupt."""
    try:
        found = kind.model_validate_json(data)
    except ValueError as error:
        raise StoreCorrupt(f"{path} is corrupt: {error}; remove it, and the next run writes it again") from error
    database = None if found.uri is None else tracking.database_path(found.uri)
    if found.uri is None or database is None or database.is_absolute():
        return found
    scheme, slashes, place = found.uri.partition(":///")
    name, mark, options = place.partition("?")
    folder = own_database(store.root.absolute().parent).partition(slashes)[2].rpartition("/")[0]
    return found.model_copy(update={"uri": f"{scheme}{slashes}{folder}/{name.rpartition('/')[2]}{mark}{options}"})


def _path_here(store: LineageStore) -> Path | None:
    """Return the file of what this user's last run said; None where this user has no folder of their own."""
    folder = own_folder("XDG_STATE_HOME", "tracking")
    return None if folder is None else folder / f"{sha256(os.fsencode(os.path.realpath(store.root)))}.json"


def _remember_here(store: LineageStore, target: Target) -> None:
    """Write what this user's later commands go by; without a folder for it, they ask again."""
    path = _path_here(store)
    if path is not None:
        kept = _Remembered(**target.model_dump(), identity=_identity(store))
        with suppress(StoreError):
            durable.write_file(path, canonical_json(kept.model_dump(mode="json")))


def _recall_here(store: LineageStore) -> Target | None:
    path = _path_here(store)
    if path is None or not path.is_file() or not is_own_file(path):
        return None
    found = _parsed(read_named(path, most=MAX_JSON_BYTES), store, path=path, kind=_Remembered)
    return found if found.identity in (None, _identity(store)) else None


def _identity(store: LineageStore) -> str | None:
    """Return the digest of the lineage's identity; None without one that can be read."""
    with suppress(StoreError):
        return store.header().digest
    return None
