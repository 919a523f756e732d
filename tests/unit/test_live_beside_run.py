"""The child that shows a run in MLflow: fed by a thread, its failure told once, its end bounded."""

import io
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import lineage_factory

from bootstrap.cli import live
from bootstrap.cli.live import Live
from bootstrap.cli.live_child import Newest
from bootstrap.lineage import live_state
from bootstrap.lineage.live_state import Shown, Snapshot
from bootstrap.records import Event

BOUND = 30.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "START_SECONDS", 0.0)
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.05)


def start(root: Path, program: str, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> Live:
    """Begin to show a run, with a Python program in the place of the child."""
    command = [sys.executable, "-S", "-c", program]
    monkeypatch.setattr(live, "child_command", lambda root, experiment: command)
    return Live(root, last=3, committed=1, experiment=None, warn=warnings.append, environment={})


def told(path: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def await_lines(path: Path, count: int) -> Sequence[dict[str, Any]]:
    deadline = time.monotonic() + BOUND
    while len(told(path)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return told(path)


def test_the_child_gets_the_newest_state_and_at_last_why_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, warnings = tmp_path / "told", list[str]()
    program = f"import sys\nfor line in sys.stdin: open({str(path)!r}, 'a').write(line)"
    shown = start(tmp_path / "addition", program, monkeypatch, warnings)
    [first] = await_lines(path, 1)
    assert (first["lineage"], first["generation"], first["last"], first["stage"]) == ("addition", 1, 3, "start")
    figures = {"reward": 0.5, "tokens_per_second": 900.0, "grad_norm": 3.0}
    for done in range(1, 61):
        shown.event(Event(generation=1, stage="train", done=done, total=60, metrics=figures))
    last = await_lines(path, 2)[-1]
    assert (last["stage"], last["done"], last["total"]) == ("train", 60, 60)
    assert last["metrics"] == {"reward": 0.5, "tokens_per_second": 900.0}
    shown.finish("the lineage has all its generations")
    end = told(path)[-1]
    assert end["ended"] == "the lineage has all its generations" and end["beat"] > last["beat"] > first["beat"]
    assert warnings == []


def test_figures_stay_within_a_stage_and_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "told"
    program = f"import sys\nfor line in sys.stdin: open({str(path)!r}, 'a').write(line)"
    shown = start(tmp_path / "addition", program, monkeypatch, [])
    shown.event(Event(generation=1, stage="train", done=1, total=2, metrics={"reward": 0.5}))
    shown.event(Event(generation=1, stage="train", done=2, total=2))
    assert shown._stamped(0.0).metrics == {"reward": 0.5}
    shown.event(Event(generation=1, stage="evaluate", done=1, total=2))
    assert shown._stamped(0.0).metrics == {}
    shown.finish("done")


def test_a_run_that_is_over_at_once_starts_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "START_SECONDS", 60.0)
    path = tmp_path / "told"
    began = time.monotonic()
    shown = start(tmp_path / "addition", f"open({str(path)!r}, 'w')", monkeypatch, [])
    shown.finish("done")
    assert time.monotonic() - began < BOUND and not path.exists()


def test_a_failure_is_told_once_in_the_childs_words_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    program = "import sys; sys.exit('noise\\nerror: MLflow at http://me:secret@host:1 cannot be reached')"
    shown = start(tmp_path / "addition", program, monkeypatch, warnings)
    deadline = time.monotonic() + BOUND
    while not warnings and time.monotonic() < deadline:
        shown.event(Event(generation=1, stage="train"))
        time.sleep(0.02)
    shown.finish("done")
    assert warnings == [
        "MLflow does not show the generation in progress: MLflow at http://host:1 cannot be reached. The run goes on"
    ]


def test_a_child_that_gave_up_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RESTART_SECONDS", 0.05)
    path, warnings = tmp_path / "told", list[str]()
    program = (
        f"import sys, pathlib\npath = pathlib.Path({str(path)!r})\n"
        "if not path.exists(): path.touch(); sys.exit('error: MLflow is away')\n"
        "for line in sys.stdin: path.open('a').write(line)"
    )
    shown = start(tmp_path / "addition", program, monkeypatch, warnings)
    deadline = time.monotonic() + BOUND
    while not told(path) and time.monotonic() < deadline:
        shown.event(Event(generation=1, stage="train", done=1, total=2))
        time.sleep(0.02)
    shown.finish("done")
    assert told(path)[-1]["ended"] == "done"
    assert warnings == ["MLflow does not show the generation in progress: MLflow is away. The run goes on"]


def test_a_child_that_hangs_is_ended_when_the_bound_is_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    shown = start(tmp_path / "addition", "import time; time.sleep(600)", monkeypatch, [])
    deadline = time.monotonic() + BOUND
    while shown._child is None and time.monotonic() < deadline:
        time.sleep(0.02)
    shown.finish("done", seconds=0.2)
    assert shown._child is not None and shown._child.wait(BOUND) != 0
    assert time.monotonic() - began < 2 * BOUND


def test_a_slow_reader_gets_the_newest_line_alone() -> None:
    newest = Newest(io.StringIO("one\ntwo\nthree\n"))
    deadline = time.monotonic() + BOUND
    while not newest._ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert newest.take() == "three\n"
    assert newest.take() is None


def test_a_silent_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.cli.live_child.SILENT_SECONDS", 0.1)
    held = threading.Event()

    class Silent(io.StringIO):
        def __next__(self) -> str:
            held.wait(BOUND)
            raise StopIteration

    assert Newest(Silent()).take() is None
    held.set()


def test_which_run_shows_a_generation_is_remembered_until_forgotten(tmp_path: Path) -> None:
    shown = [Shown(generation=n, experiment_id="1", run_id=f"{n}" * 32) for n in (2, 3)]
    assert live_state.recall_all(tmp_path / "outbox") == []
    for one in shown:
        live_state.remember(tmp_path / "outbox", one)
    assert live_state.recall(tmp_path / "outbox", 3) == shown[1] and live_state.recall_all(tmp_path / "outbox") == shown
    live_state.forget(tmp_path / "outbox", 2)
    live_state.forget(tmp_path / "outbox", 2)
    (tmp_path / "outbox" / "live-000004.json").write_text("torn")
    assert live_state.recall_all(tmp_path / "outbox") == shown[1:]


def test_a_snapshot_says_what_the_run_is_at() -> None:
    at = Snapshot(lineage="a", generation=1, last=3, stage="train", done=12, total=60, metrics={"reward": 0.83})
    assert at.sentence == "train 12/60, reward 0.830"
    assert at.model_copy(update={"metrics": {"tokens_per_second": 5230.0}}).sentence == "train 12/60, 5.23k tokens/s"
    assert at.model_copy(update={"ended": "stopped"}).sentence == "stopped"
    assert live_state.snapshot_of({live_state.TAG: at.model_dump_json()}) == at
    assert live_state.snapshot_of({live_state.TAG: "{torn"}) is live_state.snapshot_of({}) is None


def test_the_outbox_counts_no_live_run_as_published(tmp_path: Path) -> None:
    from bootstrap.lineage.outbox import Outbox

    entries = lineage_factory.build(tmp_path / "addition", plan=())
    outbox = Outbox(tmp_path / "addition", tracking_uri="sqlite:///x", experiment="e")
    live_state.remember(outbox.folder, Shown(generation=0, experiment_id="1", run_id="0" * 32))
    assert outbox.length(1) == 1 and outbox.receipts(entries) == {}
