"""A generation made again from its ledger record, in a scratch store, and compared with the record.

    store asked about          read only: records and artifacts of the generations before
          |
    scratch store              their records; what the generation needs of them; the generation, made anew
          |
    checks                     weights, tables, held-out answers, decision: recorded and again

The recipe, the seed and the number of workers are those of the record; the weights that it starts from, the answers
that it replays and the models that it asks are the recorded ones, proven by their hashes. Left out: answers of servers,
which can differ from call to call, and the generations before, each of which is a question of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.canonical import canonical_json
from bootstrap.config.recipe import Recipe
from bootstrap.config.resources import SamplerProcesses
from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.ledger_records import SAMPLERS, SHARD, ArtifactRef, Generation
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.records import Records
from bootstrap.lineage.questions.settings import changes, sections
from bootstrap.lineage.text import one_line
from bootstrap.loop import run
from bootstrap.records import Observer
from bootstrap.roles import Roles
from bootstrap.schema import SCHEMA_VERSION, hashed_kind
from bootstrap.stages.limits import FILE_NAME as LIMITS
from bootstrap.store import durable
from bootstrap.store.artifacts import MANIFEST_NAME, Artifact, folder_name, stage_id
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import HEADER_NAME, LineageStore

RECORDED = ("outcome", "decision", "report", "diagnostics", "accounting", "verifiers", "compute", "edges")
"""Fields of the ledger record that are compared one by one."""
WEIGHTS = ("weights", "base")
"""Roles of weights among a generation's artifacts."""
RENAMED_TABLES = frozenset({"updates.parquet"})
"""Tables whose columns have other names under an earlier schema, so that their bytes cannot be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing compared."""

    name: str
    recorded: str
    again: str
    same: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """A generation and the same one made again."""

    lineage: str
    generation: str
    is_same: bool
    """Whether all checks agree."""
    checks: Records[Check]
    """Weights, tables and held-out answers by their hashes, and the fields of the ledger record."""
    surroundings: Records[Check]
    """What may explain a difference: host, versions of packages and of the program, precision, limits of memory."""
    workers: int
    seconds: float
    """Measured by the stages of the generation made again."""
    store: str
    """The scratch store; empty where it has been removed."""
    sentence: str


def as_recorded(recipe: Recipe, entry: Entry) -> Recipe:
    """Return a lineage's recipe with the processes that a generation had, since they decide the order of sums.

    Raises StoreCorrupt for a record that says nothing sensible of them.
    """
    resources, environment = recipe.resources, entry.annotations.environment
    told, shard = environment.get(SAMPLERS), environment.get(SHARD, "1")
    if not shard.isdecimal() or not 0 < int(shard) <= entry.generation.num_workers:
        raise StoreCorrupt(
            f"the record of {entry.generation.name} says that {one_line(shard)} of its {entry.generation.num_workers} "
            "workers held a model together; restore it from a copy"
        )
    samplers = None
    if told is not None:
        count, _, engine = told.partition(" with ")
        like = (resources.samplers or SamplerProcesses()).model_dump()
        try:
            samplers = SamplerProcesses.model_validate({**like, "processes": int(count), "engine": engine})
        except ValueError as error:
            raise StoreCorrupt(
                f"the record of {entry.generation.name} names {one_line(told)} as its samplers; restore it from a copy"
            ) from error
    changes = {"batch_rows": entry.generation.batch_rows, "samplers": samplers, "shard": int(shard)}
    return recipe.model_copy(update={"resources": resources.model_copy(update=changes)})


def check_possible(grown: Grown, node: Generation, recipe: Recipe) -> None:
    """Raise RecipeError for a generation that servers answer for, or without a fork's origin beside it.

    Raises WeightsFreed where weights that it starts from, learns from or asks are gone; StoreError, StoreCorrupt.
    """
    verifiers = (recipe.eval_verifier, *([recipe.verifier_of(node.number)] if node.number else ()))
    parts = (recipe.evaluation, *verifiers, *recipe.steps_of(node.number))
    named = {one["model"] for part in parts for one in sections(part.model_dump(mode="json"), "endpoint")}
    if named:
        raise RecipeError(
            f"{node.name} cannot be made again: it takes answers or judgements of {', '.join(sorted(named))} on a "
            "server, and these can differ from call to call; name a generation that asks no server"
        )
    if any(edge.record is not None for edge in node.edges):
        origin, number = _origin(grown, node)
        origin.store.artifact(origin.entries[number].generation.artifacts["weights"])
    numbers = {0, *(edge.generation for edge in node.edges if edge.generation is not None and edge.role != "data")}
    for number in sorted(numbers - {node.number}):
        refs = grown.entries[number].generation.artifacts
        for role in WEIGHTS:
            if role in refs:
                grown.store.artifact(refs[role])


def reproduce(
    grown: Grown, name: str, *, recipe: Recipe, roles: Roles, scratch: Path, is_kept: bool, observe: Observer
) -> Reproduction:
    """Make a generation again in the folder `scratch`, which becomes a store, and compare it with its record.

    `recipe`: the lineage's, `as_recorded`. `roles`: as many workers as the record says. `is_kept`: whether the folder
    stays. Raises RecipeError for an unknown generation, a scratch folder within the lineage's store, and what the
    recipe names and this machine lacks; StoreError; StoreCorrupt.
    """
    node = grown.find(name)
    size = roles.learners.size
    assert size == node.num_workers, f"the record says {node.num_workers} workers, there are {size}"
    check_scratch(grown, scratch)
    store = _prepared(grown, node, scratch)
    entries = run(
        recipe,
        lineage=node.lineage,
        store=store,
        roles=roles,
        publish=_nothing,
        observe=observe,
        environment={"reproduces": grown.entries[node.number].hash},
        past_guards=True,
        until=node.number,
    )
    return _compared(grown, node, entries[node.number], store, is_kept=is_kept)


def check_scratch(grown: Grown, scratch: Path) -> None:
    """Raise RecipeError where a folder is in use or lies in the store asked about, StoreError if it is unreadable."""
    mine, theirs = scratch.absolute().resolve(), grown.store.root.absolute().resolve().parent
    if mine == theirs or theirs in mine.parents:
        raise RecipeError(f"{scratch} lies in the store asked about, which is only read; name a folder elsewhere")
    with durable.store_errors(scratch, doing="read"):
        if scratch.is_file() or (scratch.is_dir() and any(scratch.iterdir())):
            raise RecipeError(f"{scratch} exists and is not an empty folder; name a new folder, or empty this one")


class ScratchStore(LineageStore):
    """A lineage's folder in which a generation is made again, with the artifacts of the generations before at hand.

    An artifact that a stage looks for and the record before knows is copied here. All others are read where they are,
    and everything is written here alone.
    """

    def __init__(self, root: Path, *, below: LineageStore, known: frozenset[str]) -> None:
        """`below`: the store asked about; `known`: folders of the artifacts that the generations before name."""
        super().__init__(root)
        self._below, self._known = below, known

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """Return the artifact as `LineageStore.find` does, copied here where only the store below has it."""
        found = super().find(kind, inputs)
        if found is not None:
            return found
        identity = stage_id(kind, inputs)
        names = (f"{self.artifacts_folder.name}/{folder_name(one, identity)}" for one in (kind, hashed_kind(kind)))
        # What is to be made anew is not even opened below: it may be damaged.
        if self._known.isdisjoint(names) or (there := self._below.find(kind, inputs)) is None:
            return None
        copy(there, self.artifacts_folder / there.path.name)
        return super().find(kind, inputs)

    def artifact(self, ref: ArtifactRef) -> Artifact:
        """Return the artifact that the ledger names, from where it lies. Raises StoreCorrupt."""
        is_here = (self.root / durable.check_name(ref.path, depth=2)).is_dir()
        return super().artifact(ref) if is_here else self._below.artifact(ref)


def copy(artifact: Artifact, path: Path) -> None:
    """Copy an artifact into the folder `path`, each file proven by its hash. Raises StoreError, StoreCorrupt."""
    files = artifact.read_all()
    durable.write_folder(path, {**files, MANIFEST_NAME: artifact.manifest()}, mode=durable.READ_ONLY)


def _prepared(grown: Grown, node: Generation, scratch: Path) -> ScratchStore:
    """Return the scratch store with the records of the generations before, and a fork's origin beside it."""
    before = grown.entries[: node.number]
    known = frozenset(ref.path for entry in before for ref in entry.generation.artifacts.values())
    store = ScratchStore(scratch / grown.name, below=grown.store, known=known)
    _begin(grown.store, store, before)
    for folder in (store.artifacts_folder, store.work_folder):
        durable.make_folder(folder)
    if any(edge.record is not None for edge in node.edges):
        _with_origin(grown, node, scratch)
    return store


def _begin(source: LineageStore, store: LineageStore, entries: Sequence[Entry]) -> None:
    """Write the header, the limits of memory and some records of a lineage into another folder."""
    durable.make_folder(store.ledger.folder)
    durable.write_file(store.root / HEADER_NAME, source.stored.read(HEADER_NAME))
    if (limits := source.kept(LIMITS)) is not None:
        store.keep(LIMITS, limits)
    for entry in entries:
        path = source.ledger.path(entry.generation.number)
        durable.write_file(store.ledger.path(entry.generation.number), source.ledger.content(path))


def _with_origin(grown: Grown, node: Generation, scratch: Path) -> None:
    """Copy what a fork starts from: its origin's records up to that generation, its weights, and the answers of all.

    Weights of the generations before may be freed: the fork needs none of them.
    """
    origin, number = _origin(grown, node)
    store = LineageStore(scratch / origin.name)
    entries = origin.entries[: number + 1]
    _begin(origin.store, store, entries)
    durable.make_folder(store.artifacts_folder)
    needed = {
        ref.path: ref
        for entry in entries
        for role, ref in entry.generation.artifacts.items()
        if role not in WEIGHTS or entry.generation.number == number
    }
    for ref in needed.values():
        copy(origin.store.artifact(ref), store.root / ref.path)


def _origin(grown: Grown, node: Generation) -> tuple[Grown, int]:
    """Return what a fork starts from. Raises RecipeError where that does not lie in the same store."""
    found = grown.origin()
    if found is None:
        edge = next(edge for edge in node.edges if edge.record is not None)
        raise RecipeError(
            f"{node.name} starts from {edge.external}, which does not lie beside lineage {grown.name}; copy that "
            "lineage into the same store, or make a later generation again"
        )
    return found


def _compared(grown: Grown, node: Generation, again: Entry, store: LineageStore, *, is_kept: bool) -> Reproduction:
    entry = grown.entries[node.number]
    checks = [_check("weights", node.fingerprint, again.generation.fingerprint)]
    for role, ref in node.artifacts.items():
        if role not in WEIGHTS:
            checks += _artifact(grown, role, ref, again.generation.artifacts.get(role), store)
    for field in RECORDED:
        checks.append(_field(field, node, again.generation))
    # The hash covers the version of the program, and under the names of an earlier schema it is another one.
    if (node.schema_version, node.code_version) == (SCHEMA_VERSION, again.generation.code_version):
        checks.append(_check("ledger record", entry.hash, again.hash))
    is_same = all(check.same for check in checks)
    return Reproduction(
        lineage=grown.name,
        generation=node.name,
        is_same=is_same,
        checks=Records(checks, kind=Check),
        surroundings=Records(_surroundings(entry, again), kind=Check),
        workers=node.num_workers,
        seconds=sum(again.annotations.seconds.values()),
        store=str(store.root.parent) if is_kept else "",
        sentence=_sentence(node, checks),
    )


def _artifact(
    grown: Grown, role: str, ref: ArtifactRef, again: ArtifactRef | None, store: LineageStore
) -> Iterator[Check]:
    """Yield a check of each table of an artifact by its bytes; of one that is damaged, by its manifest's digest."""
    try:
        recorded = grown.store.artifact(ref)
    except StoreCorrupt:
        yield _check(f"{role} manifest", ref.digest, "none" if again is None else again.digest)
        return
    files = store.artifact(again).files if again is not None else {}
    for name, (digest, _) in sorted(recorded.files.items()):
        if name.endswith(".parquet") and name not in RENAMED_TABLES:
            yield _check(f"{role} {name.removesuffix('.parquet')}", digest, files.get(name, ("none", 0))[0])


def _field(name: str, node: Generation, again: Generation) -> Check:
    """Return the check of a field of the record; where it differs, the leaves that do."""
    one, other = (record.model_dump(mode="json")[name] for record in (node, again))
    if canonical_json(one) == canonical_json(other):
        told = one if isinstance(one, str) else "as recorded"
        return Check(name=name, recorded=told, again=told, same=True)
    found = list(changes(one, other))
    listed = [
        "; ".join(f"{change.name} {value}".strip() for change, value in zip(found, values, strict=True))
        for values in ([change.a for change in found], [change.b for change in found])
    ]
    return Check(name=name, recorded=listed[0], again=listed[1], same=False)


def _check(name: str, recorded: str, again: str) -> Check:
    return Check(name=name, recorded=recorded, again=again, same=recorded == again)


def _surroundings(entry: Entry, again: Entry) -> Iterator[Check]:
    """Yield what a result may depend on beside the recipe, recorded and now."""
    old, new = entry.annotations, again.annotations
    yield _check("host", old.host, new.host)
    yield _check("program", entry.generation.code_version, again.generation.code_version)
    for name in sorted(old.versions.keys() | new.versions.keys()):
        yield _check(name, old.versions.get(name, ""), new.versions.get(name, ""))
    for name in ("precision", "memory", "rollout_rows", "train_tokens"):
        recorded, now = old.environment.get(name, ""), new.environment.get(name, "")
        if recorded or now:
            yield _check(name, recorded, now)


def _sentence(node: Generation, checks: list[Check]) -> str:
    if all(check.same for check in checks):
        return f"{node.name} is reproduced: weights, answers and decision are the same to the last bit"
    different = [check.name for check in checks if not check.same]
    weights = "the same weights" if checks[0].same else "other weights"
    return f"{node.name} made again has {weights}; different: {', '.join(different)}"


def _nothing() -> None:
    """Publish nowhere."""
