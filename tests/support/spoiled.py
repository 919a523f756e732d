"""A lineage that a real run left, and what a stranger may make of each of its files, every hash agreeing again.

a place      a kind of file, as `ledger/*.json` or `artifacts/step-*/usage.parquet`
a fault      what stands there instead
"""

import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from support.hostile import EVIL

from bootstrap.canonical import canonical_json, digest_of, sha256
from bootstrap.cli.target import own_database
from bootstrap.lineage.outbox import Outbox
from bootstrap.schema import hashed
from bootstrap.store.ledger import NO_PREVIOUS, _hash

STORED = Path(__file__).parents[1] / "golden" / "stored" / "schema-3.tar.gz"
LINEAGE = "stored"
TERABYTE = 1 << 40
DEEP = b"[\n" * 5_000 + b"]" * 5_000
"""One a line, since a YAML parser looks along a line for where a key may end."""


def lineage(store: Path) -> Path:
    """Unpack the lineage into a store, with all that commands keep beside one, and return its folder."""
    root = store / LINEAGE
    with tarfile.open(STORED) as archive:
        archive.extractall(store, filter="data")
    (store / "lineage").rename(root)
    (root / "limits.json").write_bytes(b'{"workers":2}')
    (root / "tracking.json").write_bytes(b'{"experiment":null,"sample_rollouts":8,"uri":null}')
    head = json.loads(max((root / "ledger").iterdir()).read_bytes())
    ids = ("experiment_id", "lineage_run_id", "run_id", "model_id", "version")
    outbox = Outbox(root, tracking_uri=own_database(store), experiment=LINEAGE).folder
    outbox.mkdir(parents=True)
    (outbox / f"{head['payload']['number']:06d}.json").write_bytes(
        canonical_json({"hash": head["hash"], **dict.fromkeys(ids, "1")})
    )
    return root


def place_of(path: Path, root: Path) -> str:
    """Return the kind of a file below the lineage's folder `root`."""
    return re.sub(r"\d{6}(?=\.json)|(?<=-)[0-9a-f]{16}(?=/)|(?<=outbox/)[^/]+", "*", path.relative_to(root).as_posix())


def written(path: Path, data: bytes) -> None:
    """Put a new file in another's place, whose bytes other stores may share."""
    path.unlink()
    path.write_bytes(data)


def a_link(path: Path, root: Path) -> None:
    """Put a link to a sound copy outside the store there."""
    outside = root.parent.with_name(f"outside-{path.name}")
    path.rename(outside)
    path.symlink_to(outside)


def a_pipe(path: Path, root: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_terabyte(path: Path, root: Path) -> None:
    """Put a file of nothing but zeros there, which takes no room on the disk."""
    written(path, b"")
    os.truncate(path, TERABYTE)


def nested(path: Path, root: Path) -> None:
    """Put JSON there that is nested too deeply, as a file's whole content or as the header of weights or a table."""
    match path.suffix:
        case ".safetensors":
            forge(path, root, len(DEEP).to_bytes(8, "little") + DEEP)
        case ".parquet":
            forge(path, root, _table({b"ARROW:schema": DEEP, b"pandas": DEEP}))
        case _:
            forge(path, root, DEEP)


def a_text(path: Path, root: Path) -> None:
    """Put a text there, which acts on terminals, where JSON of another type, weights or a table are expected."""
    forge(path, root, json.dumps(EVIL).encode())


def other_values(path: Path, root: Path) -> None:
    """Put a text, which acts on terminals, in the place of each value, column or tensor."""
    match path.suffix:
        case ".json" if path.parent.name == "ledger":
            record = json.loads(path.read_bytes())
            payload = _replaced(record["payload"], keep=("number", "schema_version", "artifacts"))
            written(path, canonical_json({**record, "payload": payload}))
            _chain(root)
        case ".json" if path.parent == root and path.name == "lineage.json":
            header = json.loads(path.read_bytes())
            identity = _replaced(header["identity"])
            written(path, canonical_json({**header, "identity": identity, "digest": digest_of(hashed(identity))}))
        case ".json" if path.name == "manifest.json":
            manifest = json.loads(path.read_bytes())
            forge(path, root, canonical_json({**manifest, "files": _replaced(manifest["files"])}))
        case ".json":
            forge(path, root, canonical_json(_replaced(json.loads(path.read_bytes()))))
        case ".parquet":
            found = pq.read_table(pa.BufferReader(path.read_bytes()))
            forge(path, root, _bytes(pa.table({name: [EVIL] * found.num_rows for name in found.column_names})))
        case _:
            header = json.dumps({"__metadata__": {}, EVIL: {"dtype": EVIL, "shape": [EVIL], "data_offsets": [0, EVIL]}})
            forge(path, root, len(header).to_bytes(8, "little") + header.encode())


FAULTS: dict[str, Callable[[Path, Path], None]] = {
    "link": a_link,
    "pipe": a_pipe,
    "terabyte": a_terabyte,
    "nested": nested,
    "text": a_text,
    "values": other_values,
}


def forge(path: Path, root: Path, data: bytes) -> None:
    """Change a file, and let all hashes agree with it."""
    written(path, data)
    if path.parent.parent.name == "artifacts" and path.name != "manifest.json":
        manifest = path.with_name("manifest.json")
        found = json.loads(manifest.read_bytes())
        found["files"][path.name] = {"sha256": sha256(data), "size": len(data)}
        written(manifest, canonical_json(found))
    if root / "artifacts" in path.parents:
        _chain(root)


def _chain(root: Path) -> None:
    """Let the ledger's records name the artifacts as they are, and each the record before it."""
    previous = NO_PREVIOUS
    for path in sorted((root / "ledger").iterdir()):
        record = json.loads(path.read_bytes())
        for ref in record["payload"]["artifacts"].values():
            ref["digest"] = sha256((root / ref["path"] / "manifest.json").read_bytes())
        changed = {**record, "previous": previous, "hash": _hash(record["payload"], previous)}
        written(path, canonical_json(changed))
        previous = changed["hash"]


def _replaced(value: Any, *, keep: Iterable[str] = ()) -> Any:
    if isinstance(value, dict):
        return {key: inner if key in keep else EVIL for key, inner in value.items()}
    return [EVIL] * len(value) if isinstance(value, list) else EVIL


def _table(metadata: dict[bytes, bytes]) -> bytes:
    return _bytes(pa.table({"x": [1]}).replace_schema_metadata(metadata))


def _bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, store_schema=False)
    return sink.getvalue().to_pybytes()
