"""Every command over a store that a stranger made: what is wrong with a file is told in one line, and nothing else.

    each command ---sound store---> the kinds of files that it opens
    each of them --each fault-----> exit code, one line, no control character, few bytes read

A command's kinds and the faults take turns, so that each kind and each fault is there for each command; `FULL` crosses
all with all, which takes minutes. What the readers refuse, one by one: test_hostile_stores.py.
"""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support import lineage_factory, spoiled
from support.commands import CALLS, ELSEWHERE, SERVERS, WITHOUT_A_STORE, called, names
from support.hostile import FORGED
from support.spoiled import FAULTS, LINEAGE, place_of

from bootstrap import local_server, reading
from bootstrap.bench.lineage import opened_files
from bootstrap.cli import reproduce, run, ui
from bootstrap.errors import WorkerError

# `chat` loads it with what it imports.
pytestmark = pytest.mark.torch

FULL = False
EXCEPTED = {
    **dict.fromkeys(ELSEWHERE, "asks a server"),
    **dict.fromkeys(WITHOUT_A_STORE, "reads no store"),
    "import": "reads a copy: test_hostile_copies.py",
}
WALKED = {name: calls for name, calls in (CALLS | SERVERS).items() if name not in EXCEPTED}
MODEL_FILES = re.compile(r".*/weights-\*/(?!manifest)[^/]+")
CONTENT = {"nested", "text", "values"}
"""Faults that hashes agree with."""
HASHING = {"verify", "export"}
"""Commands that say of an artifact's files, weights apart, that their hashes agree."""
TOLD_BESIDES: Mapping[str, Mapping[str, set[str]]] = {
    # What a record says is shown without its artifacts, which a warning names.
    "show": {"artifacts/.*": set(FAULTS)},
    # A table of uses is left out until a sample is asked for that it may hold.
    "trace": {"artifacts/.*/usage.parquet": set(FAULTS)},
    # Without a sound recipe, the texts and verifiers that it alone tells are left out.
    "diff": {"recipe.json": CONTENT},
    "taint": {"recipe.json": CONTENT},
    # They only ask whether the recipe is this one, or nothing of it.
    "plan": {"lineage.json": {"values"}},
    "compare": {"lineage.json": {"values"}},
    "export": {"lineage.json": {"values"}, "recipe.json": CONTENT},
    # It looks whether there is a file of that name.
    "gc": {"artifacts/.*/result.json": CONTENT},
    # A page shows records without the answers that cannot be read.
    "ui": {"artifacts/.*": set(FAULTS), "outbox/.*": CONTENT},
}
"""Command -> kinds of files -> faults with which it may end as over a sound store."""
ALWAYS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "plan": (("recipe.json", "link"), ("recipe.json", "pipe")),
    "fork": (("recipe.json", "pipe"),),
    "run": (("recipe.json", "link"),),
    "show": (("artifacts/weights-*/manifest.json", "link"),),
    "samples": (("artifacts/step-*/verdicts.parquet", "values"),),
    "compare": (("artifacts/evaluate-*/outcomes.parquet", "values"),),
    "contamination": (("artifacts/step-*/usage.parquet", "values"),),
    "export": (("lineage.json", "values"),),
}
"""Pairs that a mend of its own stands behind, whosever turn it is."""
SECONDS = 120


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("sound")
    spoiled.lineage(store)
    lineage_factory.build(store / "addition", plan=())
    return store


@pytest.fixture(autouse=True)
def _no_workers_and_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands end where they would start workers or a server."""

    def refuse(*_: object, **__: object) -> Any:
        raise WorkerError("none is started here")

    def ask(databases: object, pages: Mapping[str, Any], *_: object, **__: object) -> None:
        for page in pages.values():
            page.html()

    monkeypatch.setattr(run, "make_roles", refuse)
    monkeypatch.setattr(reproduce, "make_roles", refuse)
    monkeypatch.setattr(local_server, "start", refuse)
    monkeypatch.setattr(ui, "_serve_mlflow", ask)


@pytest.fixture
def fresh(sound: Path, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that makes a store for a command, whose files others share until they are replaced."""
    made = 0

    def make(command: str) -> Path:
        nonlocal made
        made += 1
        store = tmp_path / str(made) / "store"
        shutil.copytree(sound, store, copy_function=os.link)
        if command == "run":
            # So that there is something left to do.
            max((store / LINEAGE / "ledger").iterdir()).unlink()
        return store

    def expire(*_: object) -> None:
        raise AssertionError(f"it waits, or works, for more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, expire)
    yield make
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def opened_kinds(command: str, fresh: Callable[[str], Path]) -> dict[str, tuple[tuple[str, ...], Path, int]]:
    """Return each kind of file that a command opens -> the call that does, the file, the exit code of the call."""
    found: dict[str, tuple[tuple[str, ...], Path, int]] = {}
    for words in WALKED[command]:
        store = fresh(command)
        before = set((store / LINEAGE).rglob("*"))
        with opened_files(store / LINEAGE) as opened:
            code, told = called(command, words, store=store, lineage=LINEAGE, out=store.parent / "out")
        assert code != 1, told
        for path in filter(before.__contains__, map(Path, opened)):
            found.setdefault(place_of(path, store / LINEAGE), (words, path.relative_to(store), code))
    return found


def bytes_read() -> int:
    """Return the bytes that this process has read so far."""
    return int(re.findall(r"rchar: (\d+)", Path("/proc/self/io").read_text())[0])


def codes(command: str, place: str, fault: str, *, sound: int) -> set[int]:
    """Return the exit codes that a command may have over a store with that fault."""
    if place == "recipe.json" and fault in CONTENT:
        found = {2}
    elif place == "limits.json" and fault in CONTENT:
        # What it says wrong is measured again.
        found = {sound}
    elif place.endswith("/rollouts.parquet") and fault == "values":
        # Texts are what it has; there is none of the sample's name among them.
        found = {2, 3}
    elif MODEL_FILES.fullmatch(place) and fault in CONTENT:
        found = {2, 3, sound}
    else:
        found = {3}
    told = TOLD_BESIDES.get(command, {})
    return found | {sound for kind, faults in told.items() if re.fullmatch(kind, place) and fault in faults}


def test_every_command_is_walked_or_excepted_by_name() -> None:
    assert names() == WALKED.keys() | EXCEPTED.keys() and not WALKED.keys() & EXCEPTED.keys()


@pytest.mark.parametrize("command", WALKED)
def test_a_spoiled_file_is_one_problem(command: str, fresh: Callable[[str], Path]) -> None:
    kinds = opened_kinds(command, fresh)
    assert kinds, "it opens no file of the lineage, so it needs an exception"
    turn = list(WALKED).index(command)
    pairs = [
        (list(kinds)[at % len(kinds)], list(FAULTS)[(at + turn) % len(FAULTS)])
        for at in range(max(len(kinds), len(FAULTS)))
    ]
    for place, fault in product(kinds, FAULTS) if FULL else dict.fromkeys([*pairs, *ALWAYS.get(command, ())]):
        is_hashed = command in HASHING and place.startswith("artifacts/") and not place.endswith("/manifest.json")
        if fault in CONTENT and is_hashed:
            continue
        words, file, code = kinds[place]
        store = fresh(command)
        FAULTS[fault](store / file, store / LINEAGE)
        before = bytes_read()
        signal.alarm(SECONDS)
        found, told = called(command, words, store=store, lineage=LINEAGE, out=store.parent / "out")
        signal.alarm(0)
        case = f"{command} {place} {fault}: {found} {told}"
        assert bytes_read() - before < reading.MAX_JSON_BYTES, case
        assert not {character for character in told if not character.isprintable() and character != "\n"}, case
        assert not re.search(rf"^{FORGED}|Traceback", told, re.MULTILINE), case
        assert found in codes(command, place, fault, sound=code), case
        lines = [line for line in told.split("\n") if line.startswith(("error: ", "warning: "))]
        named = [line for line in lines if file.name in line]
        if command == "verify" and found == 3:
            assert told.count(str(file)) >= 1, case
        elif command == "show" and found != 3:
            assert len(named) == 1 or fault in CONTENT, case
        elif found in {2, 3} and found != code:
            assert len(lines) == 1, case
        shutil.rmtree(store.parent)
