"""The readers of what somebody else may have made, each as a function of bytes, with sound bytes to start from.

Each returns, or raises what `ALLOWED` names: the errors that commands tell in one line. Anything else is a find.
"""

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pyarrow as pa
from safetensors.numpy import save
from support.copies import contents, lineage
from support.lineage_factory import PROMOTED

from bootstrap import reading
from bootstrap.canonical import canonical_json, digest_of
from bootstrap.cli.main import main
from bootstrap.config.model_texts import TEXTS
from bootstrap.errors import BootstrapError
from bootstrap.lineage.outbox import Receipt
from bootstrap.records import Rollout
from bootstrap.schema import hashed
from bootstrap.store import archive, copies, ledger
from bootstrap.store.artifacts import MANIFEST_NAME, load_artifact, stage_id
from bootstrap.store.fingerprint import fingerprint_file, fingerprint_safetensors
from bootstrap.store.lineage_store import HEADER_NAME, LineageStore
from bootstrap.store.model_folder import check_folder
from bootstrap.store.parquet import read_table
from bootstrap.store.pretrained import licence_named
from bootstrap.store.tables import from_parquet
from bootstrap.store.verify import verify
from bootstrap.training import gguf_header

ALLOWED = (BootstrapError, ValueError)


@dataclass(frozen=True)
class Reader:
    """One reader."""

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    needs_torch: bool = False


@cache
def sound() -> Path:
    """The folder of a sound lineage."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    return lineage(root, plan=(PROMOTED,)).root


@cache
def scratch() -> Path:
    """A folder for files that a reader opens by their path."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def _written(name: str, data: bytes) -> Path:
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _json(data: bytes) -> None:
    for strict in (True, False):
        try:
            found = reading.parsed(data, strict=strict)
        except ValueError:
            continue
        # What passes can be written again, whatever recurses over it.
        json.dumps(found)
        hashed(found)


def _record(data: bytes) -> None:
    """A record as it is, and as a forger would hash it, in a lineage of its own."""
    path = _written("store/a/ledger/000000.json", data)
    try:
        record = json.loads(data, parse_int=lambda text: int(text[:30]))
        record["hash"] = digest_of({"payload": record["payload"], "previous": record["previous"]})
        path.write_bytes(canonical_json(record))
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    _written("store/a/lineage.json", (sound() / HEADER_NAME).read_bytes())
    for folder in ("artifacts", "work"):
        (scratch() / "store/a" / folder).mkdir(exist_ok=True)
    verify(scratch() / "store/a")
    ledger.prove(path, path.read_bytes(), previous=None)


CLAIMS: list[Any] = [
    *(None, True, -1, 0, 10**30, -(10**30), 2**63, 1e308, -1e308, 5e-324, "", "x", "\x1b[2J", "\ud800", "../../x"),
    *([], {}, [[]], {"a": {}}, "g1.s0.u0.p0.k0", "NaN", "9" * 50, [1, 2], ["x"], {"x": 1}, {"x": "y"}),
]
"""Values that a forger puts where others stand."""


def claimed(value: Any, data: bytes) -> Any:
    """Return a JSON value with some of its parts replaced, as the bytes say: which part, by which of `CLAIMS`."""
    found = json.loads(json.dumps(value))
    for at in range(0, len(data) - 2, 3):
        places = list(_places(found))
        holder, key = places[int.from_bytes(data[at : at + 2]) % len(places)]
        holder[key] = json.loads(json.dumps(CLAIMS[data[at + 2] % len(CLAIMS)]))
    return found


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


@cache
def _claiming() -> LineageStore:
    """A store to be forged."""
    return lineage(Path(tempfile.mkdtemp(prefix="fuzz-")), plan=(PROMOTED,))


def _claims(data: bytes) -> None:
    """A record's payload and measurements with other values, under a right hash, as commands show it."""
    store = _claiming()
    path = store.ledger.path(1)
    record = json.loads((sound() / "ledger" / path.name).read_bytes())
    made = claimed({"payload": record["payload"], "annotations": record["annotations"]}, data[:30])
    record |= made
    record["hash"] = digest_of({"payload": record["payload"], "previous": record["previous"]})
    path.unlink()
    path.write_bytes(canonical_json(record))
    for words in (
        ["verify"],
        ["lineage"],
        ["show", "gen-1"],
        ["why", "gen-1"],
        ["samples", "gen-1"],
        ["trace", "g1.s0.u0.p0.k0"],
    ):
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            code = main([*words, "--store", str(store.root.parent)])
        assert code != 1, f"{words}: {said.getvalue()[-3000:]}"


def _header(data: bytes) -> None:
    try:
        header = json.loads(data, parse_int=lambda text: int(text[:30]))
        header["digest"] = digest_of(hashed(header["identity"]))
        data = canonical_json(header)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass
    _written("headers/a/lineage.json", data)
    header = LineageStore(scratch() / "headers/a").header()
    header.steps(1)
    header.siblings(1)


def _manifest(data: bytes) -> None:
    try:
        manifest = json.loads(data, parse_int=lambda text: int(text[:30]))
        manifest["id"] = stage_id(manifest["kind"], manifest["inputs"])
        data = canonical_json(manifest)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass
    path = _written(f"manifests/artifacts/a/{MANIFEST_NAME}", data)
    artifact = load_artifact(path.parent)
    for name in artifact.files:
        artifact.check(name)


def _weights(data: bytes) -> None:
    path = _written("weights/a.safetensors", data)
    try:
        whole: object = fingerprint_safetensors(data)
    except BootstrapError as error:
        whole = type(error)
    with reading.named_folder(path.parent) as folder, folder.file(path.name) as file:
        try:
            streamed: object = fingerprint_file(file)
        except BootstrapError as error:
            streamed = type(error)
    assert whole == streamed, f"{whole} in memory, {streamed} from the file"


def _copy_list(data: bytes) -> None:
    copies.read_list(data, place="copy.json")


def _tar(data: bytes) -> None:
    with archive.opened(_written("copy.tar", data)) as copy:
        for _, parts in copy.contents():
            for _ in parts:
                pass


def _table(data: bytes) -> None:
    read_table(data).to_pylist()
    from_parquet(data, Rollout)


def _gguf(data: bytes) -> None:
    path = _written("a.gguf", data)
    with path.open("rb") as file:
        gguf_header.check(file, len(data))
    # As `training/sources.py` catches them.
    with suppress(LookupError, OverflowError, TypeError, OSError):
        gguf.GGUFReader(path)


@cache
def _folder() -> dict[str, bytes]:
    from support.pretrained import small_folder

    return small_folder(chat=True)


def _model(data: bytes) -> None:
    """A model's texts, with other values or cut, opened as commands open them."""
    from bootstrap.training import model as models
    from bootstrap.training.asked import how_asked

    sound = _folder()
    texts = {name: json.loads(sound[name]) for name in TEXTS}
    files = {**sound, **{name: json.dumps(value).encode() for name, value in claimed(texts, data[:12]).items()}}
    if len(data) > 12:
        name = TEXTS[data[12] % len(TEXTS)]
        files[name] = data[13:]
    check_folder(files)
    models.load(files)
    how_asked(files)


def _licence(data: bytes) -> None:
    licence_named(data)


def _receipt(data: bytes) -> None:
    Receipt.model_validate_json(data)


def _files(*endings: str) -> list[bytes]:
    return [data for name, data in sorted(contents(sound()).items()) if name.endswith(endings)]


def _some_weights() -> list[bytes]:
    one = {"a": np.zeros((2, 3), np.float32), "b": np.ones((1,), np.int64), "c": np.zeros((0, 4), np.float16)}
    return [save(one), save({}), *_files(".safetensors")[:1]]


def _some_tar() -> list[bytes]:
    found = {name: data for name, data in contents(sound()).items() if name.startswith(("ledger", "lineage"))}
    listed = copies.CopyList(
        lineage="addition", head="0" * 64, files={name: copies._listed(data) for name, data in found.items()}
    ).to_file()
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in ({"copy.json": listed} | found).items():
            header = tarfile.TarInfo(f"addition/{name}")
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return [sink.getvalue()]


def _some_list() -> list[bytes]:
    return [copies.CopyList(lineage="addition", head="0" * 64, files={"lineage.json": copies._listed(b"{}")}).to_file()]


def _some_gguf() -> list[bytes]:
    path = scratch() / "sound.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_license("apache-2.0")
    writer.add_token_list(["<a>", "b"])
    writer.add_token_types([3, 1])
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return [path.read_bytes()]


def _some_receipt() -> list[bytes]:
    receipt = Receipt(
        hash="0" * 64,
        experiment_id="1",
        lineage_run_id="a",
        run_id="b",
        model_id="c",
        version="1",
        samples=({"rollout": "g1.s0.u0.p0.k0", "level": 1},),
    )
    return [receipt.model_dump_json().encode()]


READERS = {
    "json": Reader(_json, lambda: [*_files(".json")[:3], b"[" * 50 + b"]" * 50, b'{"a": 1e308, "b": NaN}']),
    "record": Reader(_record, lambda: _files("00.json", "01.json")),
    "claims": Reader(_claims, lambda: [b"", bytes(3), bytes(range(30))]),
    "header": Reader(_header, lambda: _files(HEADER_NAME)),
    "manifest": Reader(_manifest, lambda: _files(MANIFEST_NAME)[:3]),
    "weights": Reader(_weights, _some_weights),
    "list": Reader(_copy_list, _some_list),
    "tar": Reader(_tar, _some_tar),
    "table": Reader(_table, lambda: _files(".parquet")),
    "gguf": Reader(_gguf, _some_gguf),
    "model": Reader(_model, lambda: [b"", bytes(3), bytes(range(12)), bytes(13) + _folder()["config.json"]], True),
    "licence": Reader(_licence, lambda: [b'{"source": {"type": "hub", "name": "a/b"}, "licence": "mit"}']),
    "receipt": Reader(_receipt, _some_receipt),
}


def tried(name: str, data: bytes) -> None:
    """Read the bytes; raise what is a find."""
    try:
        READERS[name].read(data)
    except ALLOWED:
        pass
    except pa.ArrowException as error:
        # Also a ValueError mostly; those that are not must not get out.
        raise AssertionError(f"{type(error).__name__}: {error}") from error
