"""Who was trained on a sample: what the index answers is what all tables of uses say together."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bootstrap.bench.lineage import opened_files
from bootstrap.bench.long_lineage import LongLineage
from bootstrap.errors import StoreCorrupt
from bootstrap.stages.tables import Tables, UsageRow
from bootstrap.store import index, uses
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet
from bootstrap.store.uses import SourceUse
from bootstrap.store.verify import verify

GENERATIONS = 12


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of this test's indexes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bootstrap" / "index"


@pytest.fixture
def grown(tmp_path: Path, cache: Path) -> LongLineage:
    found = LongLineage(tmp_path / "bench", rollouts=64, givers=3)
    assert list(found.grow_to(GENERATIONS)) == list(range(GENERATIONS))
    return found


def everything(store: LineageStore) -> dict[str, list[SourceUse]]:
    """Return the uses of each source, from all tables, in the ledger's order."""
    found = dict[str, list[SourceUse]]()
    for entry in store.ledger.read():
        for role, ref in entry.generation.steps.items():
            for row in Tables.read(store.artifact(ref)).usage:
                one = SourceUse(generation=entry.generation.number, step=role.index, stream=row.stream, count=row.count)
                found.setdefault(row.source, []).append(one)
    return found


def asked(store: LineageStore, samples: Iterator[str] | list[str]) -> dict[str, list[SourceUse]]:
    entries = index.read(store)
    return {sample: uses.uses(store, entries, sample) for sample in samples}


def usage_file(grown: LongLineage, number: int) -> Path:
    return grown.store.root / grown.store.ledger.read()[number].generation.artifacts["step-0"].path / uses.FILE


def with_uses(grown: LongLineage, table: pa.Table, folder: Path) -> int:
    """Commit a generation whose one step has this table of uses; return its number."""
    pq.write_table(table, folder / "uses.parquet")
    head = grown.store.ledger.read()[-1]
    number = head.generation.number + 1
    step = grown.store.put("step", {"of": number}, {uses.FILE: (folder / "uses.parquet").read_bytes()})
    artifacts = {**head.generation.artifacts, "step-0": step.ref(grown.store.root)}
    changes = {"number": number, "artifacts": artifacts}
    grown.store.ledger.append(head.generation.model_copy(update=changes), head.annotations)
    return number


def test_a_lineage_that_is_made_for_a_benchmark_is_sound(grown: LongLineage):
    assert verify(grown.store.root).problems == ()


def test_every_use_of_every_sample_is_found(grown: LongLineage):
    expected = everything(grown.store)
    assert asked(grown.store, list(expected)) == expected
    assert any(len({use.generation for use in found}) > 2 for found in expected.values())


def test_a_sample_that_nobody_was_trained_on_has_no_uses(grown: LongLineage):
    assert asked(grown.store, ["g3.s0.u0.p9999.k0", "g900.s0.u0.p0.k0"]) == {
        "g3.s0.u0.p9999.k0": [],
        "g900.s0.u0.p0.k0": [],
    }
    with pytest.raises(StoreCorrupt, match="no id of a rollout"):
        asked(grown.store, ["greedy.l5.p0.k0"])


def test_a_generation_that_is_added_is_found_too(grown: LongLineage):
    asked(grown.store, ["g1.s0.u0.p0.k0"])
    grown.grow()
    expected = everything(grown.store)
    assert asked(grown.store, list(expected)) == expected


def test_the_tables_of_later_steps_are_opened_once_for_all_questions(grown: LongLineage):
    sample = grown.sample()
    told = list[tuple[int, int]]()
    uses.remember(grown.store, index.read(grown.store), told=lambda done, total: told.append((done, total)))
    assert told[-1] == (GENERATIONS, GENERATIONS)
    opened_at = dict[int, int]()
    for length in (GENERATIONS, 2 * GENERATIONS):
        list(grown.grow_to(length))
        entries = index.read(grown.store)
        uses.remember(grown.store, entries)
        with opened_files(grown.store.root) as opened:
            assert len(uses.uses(grown.store, entries, sample)) > 1
        opened_at[length] = len(opened)
    assert opened_at[GENERATIONS] == opened_at[2 * GENERATIONS] <= 3


def test_a_broken_table_disturbs_only_questions_that_it_may_answer(grown: LongLineage):
    broken = 10
    path = usage_file(grown, broken)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    entries = grown.store.ledger.read()
    givers = {edge.generation for edge in entries[broken].generation.edges if edge.role == "data"}
    for number in range(1, broken):
        if number in givers:
            with pytest.raises(StoreCorrupt, match=uses.FILE):
                asked(grown.store, [f"g{number}.s0.u0.p0.k0"])
        else:
            assert asked(grown.store, [f"g{number}.s0.u0.p0.k0"])
    assert givers and len(givers) < broken - 1


@pytest.mark.parametrize(
    "table",
    [
        {"source": pa.array([1, 2]), "stream": pa.array(["rl", "rl"]), "count": pa.array([1, 1])},
        {"source": pa.array(["g1.s0.u0.p0.k0"]), "stream": pa.array(["rl"])},
        {"source": pa.array(["g1.s0.u0.p0.k0"]), "stream": pa.array(["rl"]), "count": pa.array([-1])},
        {"source": pa.array(["g1.s0.u0.p0.k0"]), "stream": pa.array(["rl"]), "count": pa.array([2**40])},
        {"source": pa.array([None], pa.string()), "stream": pa.array(["rl"]), "count": pa.array([1])},
    ],
)
def test_a_strange_table_is_refused_and_not_half_read(grown: LongLineage, tmp_path: Path, table: dict[str, pa.Array]):
    number = with_uses(grown, pa.table(table), tmp_path)
    with pytest.raises(StoreCorrupt, match=uses.FILE):
        asked(grown.store, [f"g{number}.s0.u0.p0.k0"])


def test_references_that_were_shown_are_found_too(grown: LongLineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prompts = [f"{number:016x}" for number in range(600)]
    rows = [UsageRow(source=prompt, stream="ce", count=number) for number, prompt in enumerate(prompts)]
    table = pq.read_table(pa.BufferReader(to_parquet(rows, UsageRow)))
    first, second = (with_uses(grown, part, tmp_path) for part in (table, table.slice(0, 300)))
    expected = everything(grown.store)
    for _ in range(2):
        assert asked(grown.store, [*prompts[::50], "f" * 16]) == {
            **{prompt: expected[prompt] for prompt in prompts[::50]},
            "f" * 16: [],
        }
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert [use.generation for use in expected[prompts[7]]] == [first, second]


def test_streams_of_other_programs_are_called_other(grown: LongLineage, tmp_path: Path):
    table = pa.table({"source": ["g1.s0.u0.p0.k0"], "stream": ["strange"], "count": [3]})
    number = with_uses(grown, table, tmp_path)
    found = asked(grown.store, ["g1.s0.u0.p0.k0"])["g1.s0.u0.p0.k0"]
    assert found[-1] == SourceUse(generation=number, step=0, stream="other", count=3)


def test_a_flipped_byte_anywhere_in_the_index_changes_no_answer(grown: LongLineage, cache: Path):
    expected = everything(grown.store)
    sample = max(expected, key=lambda source: len(expected[source]))
    asked(grown.store, [sample])
    [path] = cache.iterdir()
    intact = path.read_bytes()
    for position in range(0, len(intact), 2003):
        damaged = bytearray(intact)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        assert asked(grown.store, [sample]) == {sample: expected[sample]}, position


def test_without_a_place_to_write_the_answers_are_the_same(grown: LongLineage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    expected = everything(grown.store)
    chosen = list(expected)[::25]
    assert asked(grown.store, chosen) == {sample: expected[sample] for sample in chosen}
