"""The ledger: append-only, contiguous, chained by hashes; nothing changed or missing goes unnoticed."""

import json
from pathlib import Path

import pytest
from support.store_doubles import ANNOTATIONS, toy_generation

from bootstrap.canonical import canonical_json, digest_of
from bootstrap.errors import AccountingMismatch, StoreCorrupt, StoreError
from bootstrap.ledger_records import Accounting
from bootstrap.store.ledger import Entry, Ledger, check_accounting


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "ledger").mkdir()
    ledger = Ledger(tmp_path)
    for number in range(3):
        ledger.append(toy_generation(number, {}), ANNOTATIONS)
    return ledger


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_what_was_appended_is_read_back_in_order(ledger: Ledger):
    entries = ledger.read()
    assert [entry.generation for entry in entries] == [toy_generation(number, {}) for number in range(3)]
    assert all(entry.annotations == ANNOTATIONS for entry in entries)


def test_each_record_holds_the_hash_of_the_one_before(ledger: Ledger):
    entries = ledger.read()
    assert entries[0].previous == "0" * 64
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]


def test_the_hash_depends_on_the_generation_and_not_on_annotations(tmp_path: Path):
    hashes = []
    for place, seed, host in [("a", 1, "x"), ("b", 1, "y"), ("c", 2, "x")]:
        (tmp_path / place / "ledger").mkdir(parents=True)
        annotations = ANNOTATIONS.model_copy(update={"host": host, "seconds": {"train": float(seed)}})
        hashes.append(Ledger(tmp_path / place).append(toy_generation(0, {}, seed=seed), annotations).hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_number_that_is_taken_is_refused_and_nothing_is_lost(ledger: Ledger):
    before = ledger.read()
    with pytest.raises(StoreError, match="another driver has committed generation 2"):
        ledger.append(toy_generation(2, {}, seed=99), ANNOTATIONS)
    assert ledger.read() == before


def test_a_number_taken_between_look_and_creation_is_refused(ledger: Ledger, tmp_path: Path):
    class Late(Ledger):
        def head(self) -> Entry | None:
            found = super().head()
            ledger.append(toy_generation(3, {}), ANNOTATIONS)
            return found

    with pytest.raises(StoreError, match="another driver has committed generation 3"):
        Late(tmp_path).append(toy_generation(3, {}, seed=99), ANNOTATIONS)
    assert ledger.read()[3].generation.seed == 7


def test_a_number_is_not_skipped(ledger: Ledger):
    with pytest.raises(StoreError, match="the next one is 3"):
        ledger.append(toy_generation(4, {}), ANNOTATIONS)


def test_a_flipped_bit_in_any_byte_of_a_record_is_refused_or_only_touches_annotations(ledger: Ledger):
    path = ledger.path(0)
    intact = path.read_bytes()
    end_of_annotations = intact.index(b'"hash"')
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << position % 8
        rewrite(path, bytes(damaged))
        faults: list[StoreCorrupt] = []
        try:
            found = next(ledger.scan(faults.append))
        except StoreError as error:
            version = intact.index(b'"schema_version":') + len(b'"schema_version":')
            assert position == version and str(path) in str(error)
            continue
        if faults:
            assert str(path) in str(faults[0])
        else:
            assert position < end_of_annotations
            assert found.generation == toy_generation(0, {})


def test_a_record_of_a_later_version_is_not_called_corrupt(ledger: Ledger):
    path = ledger.path(2)
    record = json.loads(path.read_bytes())
    record["payload"] |= {"schema_version": 5, "new": 1}
    rewrite(path, canonical_json(record | {"link": "renamed"}))
    with pytest.raises(
        StoreError, match=r"000002\.json was written with schema version 5, .* writes 4: use the"
    ) as caught:
        ledger.read()
    assert not isinstance(caught.value, StoreCorrupt) and "restore" not in str(caught.value)


def test_of_hundreds_of_problems_of_a_record_the_first_are_told_and_the_others_counted(ledger: Ledger):
    path = ledger.path(2)
    record = json.loads(path.read_bytes())
    record["payload"] |= {f"key {number} {'x' * 100}": number for number in range(300)}
    record["hash"] = digest_of({"payload": record["payload"], "previous": record["previous"]})
    rewrite(path, canonical_json(record))
    with pytest.raises(
        StoreCorrupt, match=r"000002\.json is corrupt: .*key 0 .*; and 297 more problems; restore"
    ) as told:
        ledger.read()
    assert len(str(told.value)) < 1000 and "\n" not in str(told.value)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_torn_record_is_refused(ledger: Ledger, length: int):
    path = ledger.path(2)
    rewrite(path, path.read_bytes()[:length])
    with pytest.raises(StoreCorrupt, match=r"000002\.json"):
        ledger.read()


def test_a_record_rewritten_with_a_fitting_hash_breaks_the_chain(ledger: Ledger, tmp_path: Path):
    (tmp_path / "forged" / "ledger").mkdir(parents=True)
    forger = Ledger(tmp_path / "forged")
    for number in range(2):
        forger.append(toy_generation(number, {}, seed=99), ANNOTATIONS)
    rewrite(ledger.path(0), forger.path(0).read_bytes())
    with pytest.raises(StoreCorrupt, match=r"000001\.json is corrupt: expected the previous record's hash"):
        ledger.read()


def test_a_missing_record_in_the_middle_is_named(ledger: Ledger):
    ledger.path(1).unlink()
    with pytest.raises(StoreCorrupt, match=r"000001\.json is missing"):
        ledger.read()


def test_a_foreign_file_in_the_ledger_is_refused(ledger: Ledger):
    (ledger.folder / "notes.txt").write_text("hello")
    with pytest.raises(StoreCorrupt, match=r"notes\.txt"):
        ledger.read()


def test_a_record_under_another_number_is_refused(ledger: Ledger):
    data = ledger.path(2).read_bytes()
    ledger.path(2).unlink()
    rewrite_new(ledger.path(2), data.replace(b'"number":2', b'"number":3'))
    with pytest.raises(StoreCorrupt):
        ledger.read()
    ledger.path(2).unlink()
    rewrite_new(ledger.path(3), data)
    with pytest.raises(StoreCorrupt):
        ledger.read()


def rewrite_new(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def test_a_record_with_an_unknown_field_is_refused(ledger: Ledger):
    record = json.loads(ledger.path(2).read_bytes())
    rewrite(ledger.path(2), canonical_json(record | {"extra": 1}))
    with pytest.raises(StoreCorrupt, match="keys"):
        ledger.read()


def test_a_scan_goes_on_after_a_broken_record(ledger: Ledger):
    rewrite(ledger.path(1), b"{}")
    faults: list[StoreCorrupt] = []
    order = [(entry.generation.number, len(faults)) for entry in ledger.scan(faults.append)]
    assert order == [(0, 0), (2, 1)] and "000001.json" in str(faults[0])


def test_reconciled_accounting_passes():
    check_accounting(toy_generation(0, {}))
    check_accounting(toy_generation(0, {}, accounting=Accounting()))


@pytest.mark.parametrize(
    "change",
    [
        {"rollouts": 9},
        {"verdicts": 7},
        {"passed": 4},
        {"failed": 3},
        {"unverifiable": 0},
        {"trained": 5},
        {"dropped": {"equal rewards": 2, "unverifiable": 1}},
    ],
)
def test_accounting_that_does_not_reconcile_blocks_the_commit_and_the_message_holds_the_numbers(
    ledger: Ledger, change: dict
):
    good = toy_generation(3, {})
    bad = good.model_copy(update={"accounting": good.accounting.model_copy(update=change)})
    with pytest.raises(AccountingMismatch, match=r"generation 3 .*\d+ rollouts; \d+ verdicts; \d passed") as caught:
        ledger.append(bad, ANNOTATIONS)
    assert not isinstance(next(iter(change.values())), int) or str(next(iter(change.values()))) in str(caught.value)
    assert len(ledger.read()) == 3
