"""Stores, copies and recipes that are damaged or hostile: refused by one error, within a bound, and not followed."""

import json
import os
import shutil
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.faults.scene import LINEAGE, Outcome, Scene
from bootstrap.canonical import canonical_json, digest_of

NESTED = b"[" * 200_000
BESIDE, ABSOLUTE = "edge to a lineage at ../elsewhere", "edge to a lineage at an absolute place"


def faults() -> Iterator[tuple[str, Callable[[Scene], Outcome]]]:
    """Yield each fault's name with what brings it about."""
    for name, change in CHANGES.items():
        yield name, lambda scene, change=change: _verified(scene, change)
    yield "bit flipped in the weights that a run goes on from", _goes_on_from_flipped
    yield "copy in a tar file that unpacks to a tebibyte", _bomb
    yield "recipe whose aliases expand without bound", lambda scene: _planned(scene, _aliases())
    yield "recipe nested 100,000 deep", lambda scene: _planned(scene, "seed: " + "[" * 100_000)
    yield "recipe with a number of 5,000,000 digits", lambda scene: _planned(scene, "seed: " + "9" * 5_000_000)
    yield "plug-in of a downloaded store, its module beside it", _plug_in
    yield "control characters in a stored reason", _control_characters
    yield "MLflow's database removed", _rebuilt


def _record(root: Path) -> Path:
    return max((root / "ledger").iterdir())


def _weights(root: Path) -> Path:
    return max(root.glob("artifacts/weights-*/**/*.safetensors"))


def _replace(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    _replace(path, bytes(data))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def _moved_out(root: Path, path: Path) -> None:
    """Put a link to the same bytes, outside the store, in a file's place."""
    outside = root.parent.parent / "outside"
    outside.unlink(missing_ok=True)
    shutil.copy(path, outside)
    _link(path, outside)


def _header(path: Path, change: Callable[[dict[str, Any]], bytes]) -> None:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = change(json.loads(data[8 : 8 + size]))
    _replace(path, struct.pack("<Q", len(header)) + header + data[8 + size :])


def _huge(header: dict[str, Any]) -> bytes:
    tensor = next(value for name, value in header.items() if name != "__metadata__")
    tensor["shape"] = [2**40, 2**20]
    return json.dumps(header).encode()


def _forge(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the last record's content and let its hash agree."""
    record = json.loads(_record(root).read_bytes())
    change(record["payload"])
    record["hash"] = digest_of({"payload": record["payload"], "previous": record["previous"]})
    _replace(_record(root), canonical_json(record))


def _edge(origin: str) -> Callable[[Path], None]:
    """Return a change: the weights come from a lineage outside the store, which is there and has such a record."""

    def change(root: Path) -> None:
        elsewhere = root.parent.parent / "elsewhere"
        shutil.rmtree(elsewhere, ignore_errors=True)
        shutil.copytree(root, elsewhere)
        first = json.loads(min((root / "ledger").iterdir()).read_bytes())
        place = origin.format(elsewhere=elsewhere)
        known = {"record": first["hash"], "fingerprint": first["payload"]["fingerprint"]}
        edge = {"role": "init", "generation": None, "external": place, **known}
        _forge(root, lambda payload: payload.update(edges=[edge]))

    return change


CHANGES: dict[str, Callable[[Path], None]] = {
    "bit flipped in a record": lambda root: _flip(_record(root)),
    "bit flipped in weights": lambda root: _flip(_weights(root)),
    "record removed from the middle": lambda root: sorted((root / "ledger").iterdir())[1].unlink(),
    "record nested 200,000 deep": lambda root: _replace(_record(root), NESTED),
    "manifest nested 200,000 deep": lambda root: _replace(max(root.glob("artifacts/*/manifest.json")), NESTED),
    "safetensors header nested 200,000 deep": lambda root: _header(_weights(root), lambda _: NESTED),
    "safetensors header of an exbibyte": lambda root: _replace(_weights(root), struct.pack("<Q", 2**60) + b"{}"),
    "tensor far larger than its bytes": lambda root: _header(_weights(root), _huge),
    "pipe in a record's place": lambda root: _pipe(_record(root)),
    "pipe in the weights' place": lambda root: _pipe(_weights(root)),
    "device in the weights' place": lambda root: _link(_weights(root), Path("/dev/zero")),
    "link out of the store, to the same bytes": lambda root: _moved_out(root, _weights(root)),
    "record in a file of 8 GiB": lambda root: _sparse(_record(root)),
    BESIDE: _edge("../elsewhere@gen-0"),
    ABSOLUTE: _edge("{elsewhere}@gen-0"),
}


def _sparse(path: Path) -> None:
    _replace(path, b"")
    os.truncate(path, 8 << 30)


def _verified(scene: Scene, change: Callable[[Path], None]) -> Outcome:
    store = scene.copy("hostile")
    change(store / LINEAGE)
    is_edge = change in (CHANGES[BESIDE], CHANGES[ABSOLUTE])
    ending = scene.start("verify", "--store", str(store)).end()
    # A lineage that is not in the store proves nothing; it is not looked at, although it is there.
    outcome = scene.refused(ending, code=0 if is_edge else 3, names="is not in this store" if is_edge else "")
    for command in ("lineage", "show last"):
        ending = scene.start(*command.split(), "--store", str(store)).end()
        if not ending.is_clear or ending.code not in (0, 3):
            return Outcome(f"NOT REFUSED by `{command}`", ending)
    return outcome


def _goes_on_from_flipped(scene: Scene) -> Outcome:
    store = scene.copy("flipped")
    champion = json.loads(_record(store / LINEAGE).read_bytes())["payload"]["champion"]
    record = json.loads(sorted((store / LINEAGE / "ledger").iterdir())[champion].read_bytes())
    weights = store / LINEAGE / record["payload"]["artifacts"]["weights"]["path"]
    _flip(max(weights.rglob("*.safetensors")))
    arguments = ("--store", str(store), "--local", "--workers", "1")
    ending = scene.start("run", str(scene.recipe), "generations.count=3", *arguments).end()
    return scene.refused(ending, code=3, names=weights.name)


def _bomb(scene: Scene) -> Outcome:
    path = scene.folder / "bomb.tar"
    header = tarfile.TarInfo("copy.json")
    header.size = 2**40
    path.write_bytes(header.tobuf())
    os.truncate(path, 2**33)
    return scene.refused(scene.start("import", str(path), "--store", str(scene.store("bombed"))).end(), code=3)


def _aliases() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


def _planned(scene: Scene, text: str) -> Outcome:
    # Beside lineages it would be read, and refused, as all that is stored.
    path = scene.folder / "recipes" / "hostile.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return scene.refused(scene.start("plan", str(path)).end(), code=2, names=f"{path.name}:")


def _plug_in(scene: Scene) -> Outcome:
    store, mark = scene.copy("trapped"), scene.folder / "imported"
    path = store / LINEAGE / "recipe.json"
    remembered = json.loads(path.read_bytes())
    remembered["recipe"]["verifier"] = {"type": "plugin", "uses": "trap:Trap"}
    _replace(path, canonical_json(remembered))
    (store / "trap.py").write_text(f"open({str(mark)!r}, 'w')\nraise SystemExit('imported')\n")
    ending = scene.start("rescore", "--store", str(store), PYTHONPATH=f"{store}{os.pathsep}{os.getcwd()}").end()
    if mark.exists():
        return Outcome("IMPORTED", ending)
    return scene.refused(ending, code=ending.code or -1, names="--trust-plugins")


def _control_characters(scene: Scene) -> Outcome:
    store = scene.copy("control")

    def change(payload: dict[str, Any]) -> None:
        payload["decision"]["reason"] = "\x1b]0;owned\x07\x1b[2J\u202egood"

    _forge(store / LINEAGE, change)
    for command in ("lineage", "show last"):
        ending = scene.start(*command.split(), "--store", str(store)).end()
        if any(character in ending.text for character in "\x1b\x07\u202e") or not ending.is_clear:
            return Outcome(f"RAW in `{command}`", ending)
    return Outcome("refused", ending)


def _rebuilt(scene: Scene) -> Outcome:
    store = scene.copy("rebuilt")
    here = {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    scene.start("lineage", "--sync", "--store", str(store), **here).end()
    (store / "mlflow.db").unlink()
    ending = scene.start("lineage", "--sync", "--store", str(store), **here).end()
    equal = scene.is_equal(store)
    good = ending.code == 0 and (store / "mlflow.db").exists() and equal
    return Outcome("survived" if good else "NOT REBUILT", ending, is_equal=equal)
