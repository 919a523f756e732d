"""The file of an index: what has been read from one lineage's ledger and tables, in SQLite, in the user's cache folder.

    ~/.cache/bootstrap/index/<SHA-256 of the first record's file>-<version>.db        or under $XDG_CACHE_HOME

    records    SHA-256 of a record's file -> that it was proven sound, its links, its outline (`store/ledger.py`)
    steps      digest of a step's artifact -> the givers of what it was trained on (`uses.py`)
    uses       giver, step -> the step's uses of what that one gave, packed

Everything is found by the hash of what it was read from, so nothing in it can be out of date: a moved or copied lineage
finds it again, and a changed file is a file that is not known. It never lies in a store, which somebody else may have
made: what a stranger put there would have to be distrusted. A folder that another user owns or may write is not used.
Each row is sealed by a checksum.

Several processes may read and write at once; SQLite's transactions keep a killed writer from leaving half a row. A file
that is damaged is replaced by an empty one. Where no file can be used, the index lives in memory and ends with the
process. So no trouble here is ever an error: at worst, everything is read again.

Left out: what is put in (`index.py`, `uses.py`).
"""

import sqlite3
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self, TypeVar

from bootstrap.errors import StoreError
from bootstrap.schema import SCHEMA_VERSION
from bootstrap.store import durable
from bootstrap.store.user_folder import is_own_file, own_folder

VERSION = 1000 * SCHEMA_VERSION + 2
"""Of the tables and of what is packed in them, with the version of the names in outlines."""
WAIT_SECONDS = 5.0
"""Longest wait for another process that writes."""
_TABLES = """
CREATE TABLE records (
    file BLOB PRIMARY KEY, number INTEGER NOT NULL, hash TEXT NOT NULL, previous TEXT NOT NULL,
    fingerprint TEXT NOT NULL, parents BLOB NOT NULL, seal BLOB NOT NULL, outline BLOB NOT NULL,
    outline_seal BLOB NOT NULL
);
CREATE TABLE steps (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, givers BLOB NOT NULL, seal BLOB NOT NULL);
CREATE TABLE uses (
    giver INTEGER NOT NULL, step INTEGER NOT NULL, packed BLOB NOT NULL, seal BLOB NOT NULL,
    PRIMARY KEY (giver, step)
) WITHOUT ROWID;
"""
_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)
"""Errors that say nothing against the file's content."""
_LINKS = "file, number, hash, previous, fingerprint, parents, seal"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A record's place in its lineage."""

    number: int
    hash: str
    previous: str
    fingerprint: str
    parents: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRow(Link):
    """A record that has been proven sound."""

    file: bytes
    """SHA-256 of its file."""
    outline: bytes | None
    """None where it was not asked for."""


class IndexFile:
    """An open index; a context manager. None of its methods raises for trouble with the file."""

    def __init__(self, path: Path | None) -> None:
        """Open the file `path`, made if missing; None keeps the index in memory."""
        self.path = path
        self._connection = self._open()

    @classmethod
    def of(cls, key: str) -> Self:
        """Return the index of the lineage whose first record's file has the SHA-256 `key`."""
        folder = own_folder("XDG_CACHE_HOME", "index")
        return cls(None if folder is None else folder / f"{key}-{VERSION}.db")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def record(self, file: bytes) -> IndexRow | None:
        """Return the record whose file has this SHA-256; None for one that is not known."""

        def find(connection: sqlite3.Connection) -> IndexRow | None:
            found = connection.execute(
                f"SELECT {_LINKS}, outline, outline_seal FROM records WHERE file = ?", (file,)
            ).fetchone()
            if found is None:
                return None
            *link, outline, seal = found
            return None if seal != _seal(file, outline) else _row(link, outline=outline)

        return self._do(find, otherwise=None)

    def links(self) -> dict[str, IndexRow]:
        """Return hash of a record -> the record, without its outline, for all that are known."""

        def find(connection: sqlite3.Connection) -> dict[str, IndexRow]:
            rows = map(_row, connection.execute(f"SELECT {_LINKS} FROM records"))
            return {row.hash: row for row in rows if row is not None}

        return self._do(find, otherwise={})

    def add_records(self, rows: Iterable[IndexRow]) -> None:
        """Keep these records, which have outlines."""
        values = [_values(row) for row in rows]

        def add(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            connection.execute("COMMIT")

        if values:
            self._do(add, otherwise=None)

    def steps(self) -> dict[str, frozenset[int]]:
        """Return digest of a step whose uses are known -> the givers of what it was trained on."""

        def find(connection: sqlite3.Connection) -> dict[str, frozenset[int]]:
            rows = connection.execute("SELECT digest, givers, seal FROM steps")
            return {digest: _unpacked(givers, seal, digest) for digest, givers, seal in rows}

        return self._do(find, otherwise={})

    def add_steps(self, steps: Sequence[tuple[str, Mapping[int, bytes]]]) -> None:
        """Keep the uses of some steps, all or none: (digest, giver -> packed uses)."""

        def add(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            for digest, uses in steps:
                if connection.execute("SELECT 1 FROM steps WHERE digest = ?", (digest,)).fetchone():
                    continue  # Another process was quicker.
                givers = array("Q", sorted(uses)).tobytes()
                step = connection.execute(
                    "INSERT INTO steps (digest, givers, seal) VALUES (?, ?, ?)", (digest, givers, _seal(digest, givers))
                ).lastrowid
                connection.executemany(
                    "INSERT INTO uses VALUES (?, ?, ?, ?)",
                    [(giver, step, packed, _seal(digest, giver, packed)) for giver, packed in uses.items()],
                )
            connection.execute("COMMIT")

        if steps:
            self._do(add, otherwise=None)

    def uses(self, giver: int) -> dict[str, bytes]:
        """Return digest of a step -> its packed uses of what `giver` gave."""

        def find(connection: sqlite3.Connection) -> dict[str, bytes]:
            rows = connection.execute(
                "SELECT digest, packed, uses.seal FROM uses JOIN steps ON steps.id = uses.step WHERE giver = ?",
                (giver,),
            )
            return {digest: packed for digest, packed, seal in rows if seal == _seal(digest, giver, packed)}

        return self._do(find, otherwise={})

    def _do(self, work: Callable[[sqlite3.Connection], T], *, otherwise: T) -> T:
        """Return what `work` does; `otherwise`, with an empty index from then on, where the file cannot be used."""
        try:
            try:
                return work(self._connection)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._connection.close()
            if _is_unusable(error):
                self.path = None
            self._connection = self._open(anew=True)
        return otherwise

    def _open(self, *, anew: bool = False) -> sqlite3.Connection:
        """Return a connection to tables of this version; `anew` replaces what is there."""
        if self.path is not None:
            try:
                if anew or not is_own_file(self.path):
                    self._remove()
                connection = _connect(self.path)
                if _is_current(connection):
                    return connection
                connection.close()
                self._remove()
                return _connect(self.path, make=True)
            except (sqlite3.Error, StoreError):
                self.path = None
        return _connect(None, make=True)

    def _remove(self) -> None:
        """Remove the file. Raises StoreError."""
        assert self.path is not None
        # The journal first: a new file must never meet the journal of an old one.
        for suffix in ("-journal", "-wal", "-shm", ""):
            durable.remove_file(self.path.with_name(self.path.name + suffix))


def _connect(path: Path | None, *, make: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:" if path is None else path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        if make:
            connection.execute("BEGIN IMMEDIATE")
            # Another process may have made them since they were found missing.
            if not _is_current(connection):
                for statement in filter(str.strip, _TABLES.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_current(connection: sqlite3.Connection) -> bool:
    """Whether the file has tables of this version. A file that is no SQLite file has not."""
    try:
        return connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    except sqlite3.Error as error:
        if _is_unusable(error):
            raise
        return False


def _is_unusable(error: sqlite3.Error) -> bool:
    # An error's code has the details in its higher bytes.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNUSABLE


def _row(link: Sequence[Any], outline: bytes | None = None) -> IndexRow | None:
    """Return a row of the columns `_LINKS`; None where it is damaged."""
    *content, seal = link
    if seal != _seal(*content):
        return None
    file, number, hash_, previous, fingerprint, parents = content
    return IndexRow(
        file=file,
        number=number,
        hash=hash_,
        previous=previous,
        fingerprint=fingerprint,
        parents=tuple(array("Q", parents)),
        outline=outline,
    )


def _values(row: IndexRow) -> tuple[bytes | str | int, ...]:
    """Return a record's columns."""
    assert row.outline is not None, "a record is kept with its outline"
    parents = array("Q", row.parents).tobytes()
    link = (row.file, row.number, row.hash, row.previous, row.fingerprint, parents)
    return *link, _seal(*link), row.outline, _seal(row.file, row.outline)


def _seal(*parts: bytes | str | int) -> bytes:
    """Return a checksum of a row."""
    found = blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.digest()


def _unpacked(givers: bytes, seal: bytes, digest: str) -> frozenset[int]:
    """Return a step's givers. Raises DatabaseError if the row is damaged: the index has to be made anew."""
    if seal != _seal(digest, givers):
        raise sqlite3.DatabaseError("the seal of a step is broken")
    return frozenset(array("Q", givers))
