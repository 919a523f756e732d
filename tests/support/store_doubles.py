"""A toy run of the store, and file operations that fail, die or forget, to run it on.

`toy_run` does what a driver does: find or put artifacts and work, commit, clear. The doubles stand in for
`durable.Files`: `FailingFiles` fails at the n-th operation, `KilledFiles` stops the process there, `RecordingFiles`
keeps a journal from which `Disk` works out what a power loss could leave.
"""

import itertools
import json
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootstrap.canonical import digest_of
from bootstrap.ledger_records import (
    Accounting,
    Annotations,
    ArtifactRef,
    Compute,
    Decision,
    Edge,
    Generation,
    GenerationOutcome,
    Interval,
    LevelReport,
    Report,
)
from bootstrap.schema import hashed
from bootstrap.store.durable import Files
from bootstrap.store.fingerprint import fingerprint_safetensors
from bootstrap.store.lineage_store import LineageStore

LINEAGE = "toy"
IDENTITY = {"seed": 7, "task": {"type": "addition", "base_level": 4}, "steps": [{"type": "rl", "rounds": 60}]}
NUM_GENERATIONS = 2
ROLES = ("step-0", "weights")
ANNOTATIONS = Annotations(
    started="2030-01-01T00:00:00+00:00", finished="2030-01-01T00:01:00+00:00", host="toy", seconds={}, versions={}
)
OPERATIONS = ("open", "write", "fsync", "close", "rename", "link", "unlink", "mkdir", "rmdir")


def toy_weights(number: int) -> bytes:
    """Return a safetensors file with one tensor of eight bytes per generation."""
    body = bytes(range(1 + number, 9 + number))
    header = json.dumps({"embed": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + body


def toy_contents(role: str, number: int) -> dict[str, bytes]:
    """Return the files of the artifact that generation `number` makes for `role`."""
    if role == "weights":
        return {"model/config.json": b'{"layers": 1}', "model/model.safetensors": toy_weights(number)}
    return {"rollouts.parquet": f"rollouts of generation {number}".encode() * 3}


def toy_inputs(role: str, number: int) -> dict[str, Any]:
    return {"generation": number, "role": role}


def toy_generation(number: int, artifacts: dict[str, ArtifactRef], **changes: Any) -> Generation:
    """Return a record whose accounting reconciles; `changes` replace fields."""
    level = LevelReport(
        level=1,
        num_prompts=10,
        num_correct=9,
        accuracy=0.9,
        interval=Interval(low=0.6, high=0.98),
        mean_length=2.5,
        truncated=0.0,
    )
    fingerprint = fingerprint_safetensors(toy_weights(number))
    parent = fingerprint_safetensors(toy_weights(number - 1)) if number else ""
    values = {
        "number": number,
        "lineage": LINEAGE,
        "outcome": GenerationOutcome.PROMOTED if number else GenerationOutcome.BASE,
        "edges": (Edge(role="init", generation=number - 1, fingerprint=parent),) if number else (),
        "target_levels": (1,),
        "fingerprint": fingerprint,
        "recipe_digest": digest_of(hashed(IDENTITY)),
        "code_version": "toy",
        "seed": 7,
        "num_workers": 1,
        "batch_rows": 64,
        "verifiers": {"exact": "1"},
        "artifacts": artifacts,
        "report": Report(
            fingerprint=fingerprint, suite="s", levels=(level,), frontier=0, generalization_margin=0, mastered=0.95
        ),
        "decision": Decision(promoted=True, reason="toy", champion=number - 1 if number else None),
        "compute": Compute(flops={"train": 1.5e9}, tokens={"train": 12}),
        "accounting": Accounting(
            prompts_drawn=2,
            rollouts=8,
            verdicts=8,
            passed=5,
            failed=2,
            unverifiable=1,
            trained=4,
            dropped={"equal rewards": 3, "unverifiable": 1},
        ),
        "champion": number,
    }
    return Generation(**(values | changes))


def toy_run(store: LineageStore, acknowledge: Callable[[tuple[str, ...]], None] = lambda _: None) -> list[str]:
    """Grow the toy lineage to its end from wherever it stands; return the ledger's hashes.

    `acknowledge` is called with each promise at the moment it has been given: ("artifact", role, number) or
    ("record", number).
    """
    store.open(LINEAGE, identity=IDENTITY)
    for number in range(NUM_GENERATIONS):
        if number < len(store.ledger.read()):
            acknowledge(("record", str(number)))
            continue
        refs = {}
        for role in ROLES:
            inputs = toy_inputs(role, number)
            if store.find(role, inputs) is None:
                store.put_work("checkpoint", inputs, {"state.json": b'{"update": 10}'})
                store.put(role, inputs, toy_contents(role, number))
            artifact = store.find(role, inputs)
            acknowledge(("artifact", role, str(number)))
            refs[role] = artifact.ref(store.root)
        store.ledger.append(toy_generation(number, refs), ANNOTATIONS)
        acknowledge(("record", str(number)))
        store.clear_work()
    return [entry.hash for entry in store.ledger.read()]


class UnsyncedFiles(Files):
    """The real operations without waiting for the disk: for what is thrown away when the test ends."""

    def fsync(self, descriptor: int) -> None:
        pass


class Interposed(UnsyncedFiles, ABC):
    """Every operation passes through `interpose`, which decides whether and how it is performed."""

    @abstractmethod
    def interpose(self, operation: str, arguments: tuple[Any, ...], perform: Callable[[], Any]) -> Any:
        """Perform the operation, or do to it what the double is for."""


def _interposed(operation: str) -> Callable[..., Any]:
    def method(self: Interposed, *arguments: Any) -> Any:
        perform = getattr(super(Interposed, self), operation)
        return self.interpose(operation, arguments, lambda: perform(*arguments))

    return method


for _operation in OPERATIONS:
    setattr(Interposed, _operation, _interposed(_operation))


class FailingFiles(Interposed):
    """Operation number `at` (from 0) fails with `code`, a write after half its bytes; later ones too if asked."""

    def __init__(self, *, at: int, code: int, persistent: bool = False) -> None:
        self.at, self.code, self.persistent = at, code, persistent
        self.count = 0

    @property
    def has_failed(self) -> bool:
        return self.count > self.at

    def interpose(self, operation: str, arguments: tuple[Any, ...], perform: Callable[[], Any]) -> Any:
        number, self.count = self.count, self.count + 1
        if number != self.at and not (self.persistent and number > self.at):
            return perform()
        if operation == "close":
            perform()
        if operation == "write":
            descriptor, data = arguments
            os.write(descriptor, data[: len(data) // 2])
        raise OSError(self.code, os.strerror(self.code))


class Killed(BaseException):
    """The process is gone: nothing that it would still do happens."""


class KilledFiles(Interposed):
    """The process dies instead of operation number `at` (from 0); a write leaves half of its bytes."""

    def __init__(self, *, at: int | None = None, journal: "RecordingFiles | None" = None) -> None:
        self.at, self.journal = at, journal
        self.count = 0

    def interpose(self, operation: str, arguments: tuple[Any, ...], perform: Callable[[], Any]) -> Any:
        number, self.count = self.count, self.count + 1
        if self.at is None or number < self.at:
            return perform() if self.journal is None else getattr(self.journal, operation)(*arguments)
        if operation == "write" and number == self.at:
            descriptor, data = arguments
            half = data[: len(data) // 2]
            os.write(descriptor, half) if self.journal is None else self.journal.write(descriptor, half)
        if operation == "close":
            os.close(arguments[0])
        raise Killed


class RecordingFiles(Interposed):
    """Performs every operation below `base` and keeps them in a journal, acknowledgements included.

    `forget` names what the writer under test leaves out: "file" or "folder" syncs.
    """

    def __init__(self, base: Path, *, forget: str = "") -> None:
        self.base, self.forget = base, forget
        self.journal: list[tuple[Any, ...]] = []
        self._is_folder: dict[int, bool] = {}

    def acknowledge(self, promise: tuple[str, ...]) -> None:
        self.journal.append(("acknowledge", promise))

    def interpose(self, operation: str, arguments: tuple[Any, ...], perform: Callable[[], Any]) -> Any:
        result = perform()
        parts = [a.relative_to(self.base).parts if isinstance(a, Path) else a for a in arguments]
        if operation == "open":
            self._is_folder[result] = bool(parts[1] & os.O_DIRECTORY)
            self.journal.append(("open", parts[0], bool(parts[1] & os.O_CREAT), result))
        elif operation == "write":
            self.journal.append(("write", parts[0], bytes(parts[1][:result])))
        elif operation != "fsync" or self.forget != ("folder" if self._is_folder[parts[0]] else "file"):
            self.journal.append((operation, *parts))
        return result


@dataclass
class _File:
    content: bytes = b""
    is_synced: bool = False


@dataclass
class _Folder:
    """`synced` is what is on the disk for sure; each pending change may or may not be there as well."""

    synced: dict[str, Any] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)
    """Name -> file, folder or None (removed), one dict per operation."""

    @property
    def names(self) -> dict[str, Any]:
        return self.after(self.pending)

    def after(self, changes: list[dict[str, Any]]) -> dict[str, Any]:
        names = dict(self.synced)
        for change in changes:
            names |= change
        return {name: node for name, node in names.items() if node is not None}


DAMAGES: tuple[Callable[[bytes], bytes], ...] = (
    lambda content: content,
    lambda content: content[: len(content) // 2],
    lambda content: bytes(len(content)),
    lambda content: b"",
)
"""What may become of a file that was not synced: full, torn, zeroed, gone."""


class Disk:
    """What is on the disk while a journal is replayed, and what a power loss at that moment could leave of it."""

    def __init__(self) -> None:
        self.root = _Folder()
        self._open: dict[int, _File | _Folder] = {}

    def apply(self, entry: tuple[Any, ...]) -> None:
        operation, *arguments = entry
        match operation:
            case "open":
                path, creates, descriptor = arguments
                if creates:
                    self._folder(path).pending.append({path[-1]: _File()})
                self._open[descriptor] = self._node(path)
            case "write":
                file = self._open[arguments[0]]
                file.content += arguments[1]
                file.is_synced = False
            case "fsync":
                node = self._open[arguments[0]]
                if isinstance(node, _File):
                    node.is_synced = True
                else:
                    node.synced, node.pending = node.names, []
            case "close":
                del self._open[arguments[0]]
            case "mkdir":
                self._folder(arguments[0]).pending.append({arguments[0][-1]: _Folder()})
            case "unlink" | "rmdir":
                self._folder(arguments[0]).pending.append({arguments[0][-1]: None})
            case "link":
                source, target = arguments
                self._folder(target).pending.append({target[-1]: self._node(source)})
            case "rename":
                source, target = arguments
                assert source[:-1] == target[:-1], "the model knows renames within one folder"
                self._folder(target).pending.append({target[-1]: self._node(source), source[-1]: None})

    def states(self, *, limit: int) -> Iterator[dict[str, Any]]:
        """Yield what a power loss now could leave: name -> bytes or the same again for a folder.

        All of them, or, beyond `limit`, the two extremes and a fixed random choice.
        """
        files, folders = self._uncertain(self.root)
        choices = [range(len(DAMAGES)) for _ in files] + [range(2)] * sum(len(folder.pending) for folder in folders)
        total = 1
        for choice in choices:
            total *= len(choice)
        if total <= limit:
            picks = itertools.product(*choices)
        else:
            rng = random.Random(total)
            extremes = [[0 for _ in choices], [len(choice) - 1 for choice in choices]]
            picks = itertools.chain(extremes, ([rng.choice(c) for c in choices] for _ in range(limit - 2)))
        for pick in picks:
            chosen = iter(pick)
            contents = {id(file): DAMAGES[next(chosen)](file.content) for file in files}
            # A pending change is kept at 0, so that the first extreme is the disk as it was meant.
            kept = {id(folder): [change for change in folder.pending if next(chosen) == 0] for folder in folders}
            yield self._picture(self.root, contents, kept)

    def _picture(self, folder: _Folder, contents: dict[int, bytes], kept: dict[int, Any]) -> dict[str, Any]:
        picture = {}
        for name, node in folder.after(kept.get(id(folder), folder.pending)).items():
            if isinstance(node, _File):
                picture[name] = contents.get(id(node), node.content)
            else:
                picture[name] = self._picture(node, contents, kept)
        return picture

    def _uncertain(self, root: _Folder) -> tuple[list[_File], list[_Folder]]:
        """Return files and folders not synced, each once, removed ones included: their removal may be lost."""
        files: dict[int, _File] = {}
        folders: dict[int, _Folder] = {}
        seen: set[int] = set()
        todo: list[Any] = [root]
        while todo:
            node = todo.pop()
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, _File):
                if not node.is_synced:
                    files[id(node)] = node
                continue
            if node.pending:
                folders[id(node)] = node
            todo.extend(node.synced.values())
            for change in node.pending:
                todo.extend(change.values())
        return list(files.values()), list(folders.values())

    def _folder(self, path: tuple[str, ...]) -> _Folder:
        return self._node(path[:-1])

    def _node(self, path: tuple[str, ...]) -> Any:
        node = self.root
        for part in path:
            node = node.names[part]
        return node


def write_picture(folder: Path, picture: dict[str, Any]) -> None:
    """Put a disk state below the new folder `folder`."""
    folder.mkdir()
    for name, node in picture.items():
        if isinstance(node, bytes):
            (folder / name).write_bytes(node)
        else:
            write_picture(folder / name, node)
