"""A random driver: put, commit, clear, be killed anywhere, start again; what the store promised always holds."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.store_doubles import ANNOTATIONS, IDENTITY, LINEAGE, Killed, KilledFiles, toy_generation, toy_weights

from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

keys = st.integers(0, 3)
kills = st.none() | st.integers(0, 30)


def contents(key: int) -> dict[str, bytes]:
    return {"rows": f"rows {key}".encode() * (key + 1), "sub/more": bytes([key])}


class StoreMachine(RuleBasedStateMachine):
    """The model: which puts and commits were acknowledged, and which were begun and may or may not have happened."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.acknowledged: set[int] = set()
        self.begun: set[int] = set()
        self.hashes: list[str] = []
        self.may_have_committed = False

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize()
    def start(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        self.files = KilledFiles()
        self.store = LineageStore(self.folder / "runs" / LINEAGE, files=self.files)
        self.store.open(LINEAGE, identity=IDENTITY)
        hashes = [entry.hash for entry in self.store.ledger.read()]
        if self.may_have_committed and len(hashes) == len(self.hashes) + 1:
            self.hashes.append(hashes[-1])
        self.may_have_committed = False

    def survives(self, action: Callable[[], object], kill: int | None) -> bool:
        """Do `action`, killed at its operation number `kill` if it gets so far; return whether it ended."""
        self.files.at = None if kill is None else self.files.count + kill
        try:
            action()
        except Killed:
            return False
        finally:
            self.files.at = None
        return True

    @rule(key=keys, kill=kills)
    def put(self, key: int, kill: int | None) -> None:
        self.begun.add(key)
        if self.survives(lambda: self.store.put("rows", {"key": key}, contents(key)), kill):
            self.acknowledged.add(key)
        else:
            self.reopen()

    @rule(key=keys, kill=kills)
    def put_and_clear_work(self, key: int, kill: int | None) -> None:
        def work() -> None:
            self.store.put_work("checkpoint", {"key": key}, contents(key))
            assert self.store.find_work("checkpoint", {"key": key}).read_all() == contents(key)
            self.store.clear_work()
            assert self.store.find_work("checkpoint", {"key": key}) is None

        if not self.survives(work, kill):
            self.reopen()
            found = self.store.find_work("checkpoint", {"key": key})
            assert found is None or found.read_all() == contents(key)

    @rule(kill=kills)
    def commit(self, kill: int | None) -> None:
        number = len(self.hashes)
        weights = {"model.safetensors": toy_weights(number)}
        ref = self.store.put("weights", {"number": number}, weights).ref(self.store.root)
        entries = []

        def append() -> None:
            entries.append(self.store.ledger.append(toy_generation(number, {"weights": ref}), ANNOTATIONS))

        if self.survives(append, kill):
            self.hashes.append(entries[0].hash)
        else:
            self.may_have_committed = True
            self.reopen()

    @rule(kill=kills)
    def start_again(self, kill: int | None) -> None:
        if not self.survives(self.store.sweep, kill):
            self.reopen()
        self.reopen()

    @invariant()
    def promises_hold(self) -> None:
        if not hasattr(self, "store"):
            return
        for key in range(4):
            artifact = self.store.find("rows", {"key": key})
            assert artifact is not None or key not in self.acknowledged
            assert artifact is None or key in self.begun
            assert artifact is None or artifact.read_all() == contents(key)
        entries = self.store.ledger.read()
        assert [entry.hash for entry in entries] == self.hashes
        assert [entry.generation.number for entry in entries] == list(range(len(entries)))

    @invariant()
    def the_store_is_clean(self) -> None:
        if not hasattr(self, "store"):
            return
        report = verify(self.store.root)
        assert report.is_clean
        assert report.num_records == len(self.hashes)
        assert list(self.store.root.rglob(".tmp-*")) == []


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=25, stateful_step_count=20)
