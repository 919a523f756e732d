"""Which weights of a lineage can be freed, and freeing them. Records, answers, reports and tokenizers always stay.

    artifacts/weights-*    of unfinished work     kept, named by a record or not
                           named by a record      freed unless one of its generations is kept
                           left between steps     freed once their generation is committed

A mark is written before the file goes (`freed.py`), so a kill in between loses nothing and frees nothing unnoticed.
Left out: which generations are needed by what is to come (`stages/needed.py`), and by other lineages (`cli/gc.py`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bootstrap.canonical import sha256
from bootstrap.errors import StoreError
from bootstrap.reading import MAX_BYTES, MAX_JSON_BYTES, named_folder, parsed
from bootstrap.store import durable
from bootstrap.store.artifacts import MANIFEST_NAME, Artifact, load_artifact, put_back
from bootstrap.store.freed import FILE_NAME, WEIGHTS, Freed, can_be_freed
from bootstrap.store.index import outlines
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

ROLES = ("weights", "base")
"""Roles of weights among a generation's artifacts."""
KIND = "weights"
PUBLISHED = "mlflow-artifacts/models/*/artifacts/model"
"""Where publishing copies small weights to, with their manifest, relative to a store."""
PLACES = ("*", "artifacts/*/*", "*/artifacts/*/*", f"{PUBLISHED}/*")
"""Of weights in a model's folder, in a lineage, in a store, and in MLflow's copies there."""
STEP, RESULT = "step", "result.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One artifact of weights."""

    artifact: Artifact
    generations: tuple[int, ...]
    """Numbers of the generations that have these weights, ascending; empty for a base and between two steps."""
    is_base: bool
    """Whether they are the base under adapters, and no generation's own."""
    size: int
    """Bytes of its weights on disk; 0 once they are freed."""
    kept: str
    """Why it stays; empty where it can be freed."""

    @property
    def name(self) -> str:
        """The generations in words."""
        own = "base of adapters" if self.is_base else "between steps"
        return ", ".join(f"gen-{number}" for number in self.generations) or own

    @property
    def is_freed(self) -> bool:
        return self.artifact.freed is not None


def weights_of_lineage(store: LineageStore, entries: Sequence[Entry], kept: Mapping[int, str]) -> list[Held]:
    """Return all weights of a lineage, by their first generation, those between steps last.

    `kept`: generation -> why its weights stay. Raises StoreCorrupt if an artifact is broken.
    """
    named: dict[str, list[int]] = {}
    why: dict[str, list[str]] = {}
    for entry in entries:
        node = entry.generation
        for role in ROLES:
            if role not in node.artifacts:
                continue
            path = node.artifacts[role].path
            if role == ROLES[0]:
                named.setdefault(path, []).append(node.number)
            if node.number in kept:
                # Of a base, the adapter that stays is the reason.
                reason = kept[node.number] if role == ROLES[0] else f"under the adapter of {node.name}"
                why.setdefault(path, []).append(reason)
            else:
                why.setdefault(path, [])
    finished, under_way = _left_by_steps(store, len(entries))
    found = []
    for folder in store.artifact_folders(KIND):
        path, artifact = folder.relative_to(store.root).as_posix(), load_artifact(folder)
        reasons = why.get(path, [])
        # A step of a generation to come may have the weights of a committed one, as a merge of the same models has.
        if folder.name in under_way or (path not in why and folder.name not in finished):
            reasons = [*reasons, "unfinished work"]
        size = sum(artifact.files[name][1] for name in _there(artifact))
        numbers = tuple(named.get(path, ()))
        kept_for, is_base = "; ".join(dict.fromkeys(reasons)), path in why and not numbers
        found.append(Held(artifact=artifact, generations=numbers, is_base=is_base, size=size, kept=kept_for))
    return sorted(found, key=lambda held: (held.generations or (len(entries),), held.artifact.path.name))


def free(store: LineageStore, held: Sequence[Held], *, files: durable.Files = durable.OS) -> int:
    """Free these weights and return the bytes. Only the lineage's one driver may call it. Raises StoreError."""
    total, lineage = 0, store.root.name
    when = datetime.now(UTC).isoformat(timespec="seconds")
    for one in held:
        assert not one.kept, f"the weights of {one.name} stay: {one.kept}"
        folder, names = one.artifact.path, _there(one.artifact)
        durable.sweep(folder, files=files)
        # What a killed run has freed of them stays known too.
        files_freed = tuple(sorted({*names, *_gone(one.artifact)}))
        mark = Freed(lineage=lineage, generations=one.generations, files=files_freed, when=when)
        durable.write_file(folder / FILE_NAME, mark.to_file(), files=files)
        for name in names:
            durable.remove_file(folder / name, files=files)
        total += one.size
    return total


def restore(held: Sequence[Held], folder: Path, *, files: durable.Files = durable.OS) -> list[Held]:
    """Put back the freed weights that lie in a folder, a model's, a lineage's or a store's, and return them.

    Each file is proven by its SHA-256. Raises StoreError.
    """
    freed, back = [one for one in held if one.is_freed], []
    with named_folder(folder) as place:
        sized = {name: place.size(name) for name in _below(folder, PLACES) if Path(name).name in WEIGHTS}
        for one in freed:
            wanted = {name: one.artifact.files[name] for name in _gone(one.artifact)}
            sizes = {size for _, size in wanted.values()}
            for found in (found for found, size in sized.items() if size in sizes):
                same = [name for name in wanted if Path(name).name == Path(found).name]
                contents = {name: place.read(found, most=MAX_BYTES) for name in same}
                try:
                    put_back(one.artifact, contents, files=files)
                except StoreError:
                    # Other weights of the same size.
                    continue
                back.append(one)
                break
    return back


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """The weights of one generation on disk."""

    folder: str
    """Its artifact's, relative to the lineage's: generations may share it."""
    bytes: int
    is_freed: bool


def sizes(store: LineageStore, entries: Sequence[Entry]) -> dict[int, Size]:
    """Return the weights on disk by generation, from the folder alone: no manifest is read.

    Generations with the same weights each have their size. Raises StoreError.
    """
    found = {}
    with store.stored.open() as root:
        for entry in outlines(entries):
            node = entry.generation
            if (ref := node.artifacts.get(ROLES[0])) is None:
                continue
            size = sum(root.size(f"{ref.path}/{name}") or 0 for name in WEIGHTS)
            is_freed = not size and root.size(f"{ref.path}/{FILE_NAME}") is not None
            found[node.number] = Size(folder=ref.path, bytes=size, is_freed=is_freed)
    return found


def published(store: Path, held: Sequence[Held]) -> int:
    """Return the bytes of copies of these weights that publishing has made in the folder `store` of lineages.

    A copy is known by its manifest; the weights themselves are not read. Raises StoreError.
    """
    total, digests = 0, {one.artifact.digest for one in held}
    with named_folder(store) as place:
        for folder in _below(store, [PUBLISHED]):
            data = place.read_if_there(f"{folder}/{MANIFEST_NAME}", most=MAX_JSON_BYTES)
            if data is not None and sha256(data) in digests:
                total += sum(place.size(f"{folder}/{name}") or 0 for name in WEIGHTS)
    return total


def _below(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Return the names below a folder that the patterns lead to. Raises StoreError."""
    with durable.store_errors(folder, doing="read"):
        found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [path.relative_to(folder).as_posix() for path in found]


def _gone(artifact: Artifact) -> tuple[str, ...]:
    """Return the names of an artifact's freed files."""
    return () if artifact.freed is None else artifact.freed.files


def _there(artifact: Artifact) -> tuple[str, ...]:
    """Return the names of an artifact's weights on disk."""
    gone = _gone(artifact)
    return tuple(name for name in sorted(artifact.files) if can_be_freed(name) and name not in gone)


def _left_by_steps(store: LineageStore, committed: int) -> tuple[Collection[str], Collection[str]]:
    """Return the folders of weights that steps have left: those of committed generations, and of unfinished ones."""
    finished, under_way = set[str](), set[str]()
    for folder in store.artifact_folders(STEP):
        step = load_artifact(folder)
        match parsed(step.manifest()):
            case {"inputs": {"generation": int(number)}} if RESULT in step.files:
                made = step.json(RESULT)
            case _:
                continue
        match made:
            case {"fingerprint": str(fingerprint)}:
                if (weights := store.find(KIND, {"fingerprint": fingerprint})) is not None:
                    (finished if number < committed else under_way).add(weights.path.name)
    return finished, under_way
