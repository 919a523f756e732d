"""Lineages to take elsewhere, their copies, and copies that somebody has changed."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from support import lineage_factory
from support.lineage_factory import PROMOTED, REJECTED, build, compare_finally

from bootstrap.canonical import canonical_json, digest_of, sha256
from bootstrap.cli.remembered import remember_recipe
from bootstrap.cli.stores import lineages
from bootstrap.ledger_records import Edge
from bootstrap.store.copies import LIST_NAME
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

FORK = "wider"


def lineage(store: Path, *, plan: tuple[Any, ...] = (PROMOTED, REJECTED)) -> LineageStore:
    """Make the lineage `addition` in `store`, with a remembered recipe, limits, and a final comparison."""
    found = LineageStore(store / "addition")
    build(found.root, plan=plan)
    remember_recipe(found, lineage_factory.SETTINGS, folder=store / "recipes")
    found.keep("limits.json", b'{"workers":2}')
    compare_finally(found)
    return found


def fork(store: Path, origin: Entry) -> LineageStore:
    """Make the lineage `wider` in `store`, whose generation 0 starts from a generation of another lineage."""
    scratch = store / "scratch" / FORK
    made = build(scratch, plan=(), name=FORK)[0]
    found = LineageStore(store / FORK)
    shutil.copytree(scratch, found.root)
    shutil.rmtree(store / "scratch")
    found.ledger.path(0).unlink()
    inherited = found.put("inherited", {"record": origin.hash}, {"answers.parquet": b"answers"})
    place = f"{origin.generation.lineage}@{origin.generation.name}"
    fingerprint = origin.generation.fingerprint
    start = Edge(role="init", generation=None, external=place, record=origin.hash, fingerprint=fingerprint)
    artifacts = {**made.generation.artifacts, "inherited": inherited.ref(found.root)}
    found.ledger.append(
        made.generation.model_copy(update={"edges": (start,), "artifacts": artifacts}), made.annotations
    )
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def relist(copy: Path, **changes: Any) -> None:
    """Let the list of a copy that is a folder say what is there, as a forger would."""
    files = {
        name: {"sha256": sha256(data), "size": len(data)} for name, data in contents(copy).items() if name != LIST_NAME
    }
    listed = json.loads((copy / LIST_NAME).read_bytes())
    rewrite(copy / LIST_NAME, canonical_json({**listed, "files": files, **changes}))


def forge(copy: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the payload of a copy's last record, and let hash and list agree with it.

    What was made of the record, the final comparison, goes.
    """
    for final in (copy / "artifacts").glob("final-*"):
        shutil.rmtree(final)
    path = max((copy / "ledger").iterdir())
    record = json.loads(path.read_bytes())
    change(record["payload"])
    record["hash"] = digest_of({"payload": record["payload"], "previous": record["previous"]})
    rewrite(path, canonical_json(record))
    relist(copy, head=record["hash"])


def tar_of(
    path: Path, members: Iterable[tuple[tarfile.TarInfo | str, bytes]], *, form: int = tarfile.GNU_FORMAT
) -> Path:
    """Write a tar file of members as they are given: a name or a whole header, and its content."""
    with tarfile.open(path, "w", format=form) as archive:
        for header, data in members:
            if isinstance(header, str):
                header = tarfile.TarInfo(header)
                header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def is_untouched(store: Path) -> bool:
    """Whether an import has left nothing in a store that was empty."""
    return not store.exists() or (list(store.iterdir()) == [] and lineages(store) == [])
