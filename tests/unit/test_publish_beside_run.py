"""The publishing child: one at a time, never waited for by the loop, its failure said once, its end bounded."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import lineage_factory

from bootstrap.cli.main import main
from bootstrap.cli.publish import DATABASE_SECONDS, GROWING, SERVER_SECONDS, Publisher, sync_command
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.store.finals import final_of
from bootstrap.store.lineage_store import LineageStore
from bootstrap.telemetry import Telemetry


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def counting(path: Path, *, until: Path | None = None) -> list[str]:
    """A child that leaves one line in `path`, and ends once the file `until` is there."""
    wait = "" if until is None else f"import os, time\nwhile not os.path.exists({str(until)!r}): time.sleep(0.01)"
    return python(f"open({str(path)!r}, 'a').write('x\\n')\n{wait}")


def count(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_commits_during_a_publication_are_caught_up_by_one_more(tmp_path: Path) -> None:
    path, end = tmp_path / "calls", tmp_path / "end"
    with Publisher(counting(path, until=end), warn=lambda text: None) as publish:
        for _ in range(5):
            publish()
        end.touch()
        assert publish.finish()
    assert count(path) == 2


def test_the_last_publication_is_whole_and_is_left_out_where_nothing_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    program = python(f"import sys; open({str(path)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))")
    for is_whole, calls in ((False, ["--growing", ""]), (True, ["--growing"])):
        path.unlink(missing_ok=True)
        with Publisher(
            program, warn=lambda text: None, growing=GROWING, is_whole=lambda whole=is_whole: whole
        ) as publish:
            publish()
            assert publish.finish()
        assert path.read_text().splitlines() == calls


def test_nothing_is_published_when_nothing_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    with Publisher(counting(path), warn=lambda text: None) as publish:
        assert publish.finish()
    assert count(path) == 0


def test_the_loop_does_not_wait(tmp_path: Path) -> None:
    with Publisher(counting(tmp_path / "calls", until=tmp_path / "end"), warn=lambda text: None) as publish:
        publish()
        publish()
        assert publish.process is not None and publish.process.poll() is None
        (tmp_path / "end").touch()
        assert publish.finish()


def test_a_failure_is_said_once_in_the_childs_own_words() -> None:
    warnings: list[str] = []
    program = "import sys; print('noise', file=sys.stderr); sys.exit('error: MLflow at host:1 cannot be reached')"
    with Publisher(python(program), warn=warnings.append) as publish:
        for _ in range(3):
            publish()
            assert publish.reader is not None
            publish.reader.join(10)
        assert not publish.finish()
    assert len(warnings) == 1
    assert "MLflow at host:1 cannot be reached. The run goes on and nothing is lost" in warnings[0]


def test_a_child_that_hangs_is_ended_when_the_bound_is_hit() -> None:
    warnings: list[str] = []
    with Publisher(python("import time; time.sleep(60)"), warn=warnings.append, wait_seconds=0.3) as publish:
        publish()
        child = publish.process
        assert not publish.finish()
    assert child is not None and child.poll() is not None
    assert len(warnings) == 1 and "the rest would take longer than 0.3 seconds" in warnings[0]


def test_a_child_that_hangs_is_not_replaced_by_another_when_the_bound_is_hit(tmp_path: Path) -> None:
    path, warnings = tmp_path / "calls", list[str]()
    with Publisher(counting(path, until=tmp_path / "never"), warn=warnings.append, wait_seconds=0.3) as publish:
        publish()
        publish()
        child = publish.process
        while not count(path):
            assert child is not None and child.poll() is None
        assert not publish.finish()
        assert publish.process is child
    assert child is not None and child.poll() is not None
    assert count(path) == 1 and len(warnings) == 1


def test_a_full_pipe_blocks_nobody() -> None:
    warnings: list[str] = []
    with Publisher(python("import sys; sys.stderr.write('x' * 10**6)"), warn=warnings.append) as publish:
        publish()
        assert publish.finish()
    assert warnings == []


def test_a_run_that_fails_takes_its_child_along() -> None:
    child = None
    try:
        with Publisher(python("import time; time.sleep(60)"), warn=lambda text: None) as publish:
            publish()
            child = publish.process
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert child is not None and child.poll() is not None


def test_the_child_is_this_programs_own_sync_command() -> None:
    command = sync_command(Path("/store/addition"), experiment="mine", sample_rollouts=8, python="py")
    assert " ".join(command).endswith(
        "py -m bootstrap lineage --sync --store /store --lineage addition --sample-rollouts 8 --experiment mine"
    )


def test_the_tracking_address_travels_in_the_environment_where_others_cannot_read_it(tmp_path: Path) -> None:
    warnings: list[str] = []
    program = "import os, sys; uri = os.environ['MLFLOW_TRACKING_URI']; sys.exit(f'error: {len(uri)} letters: {uri}')"
    address = {"MLFLOW_TRACKING_URI": "http://user:secret@host"}
    with Publisher(python(program), warn=warnings.append, environment=address) as publish:
        publish()
        assert not publish.finish()
    assert "23 letters: http://host" in warnings[0]
    assert not any("secret" in part for part in publish.command)


@pytest.mark.parametrize(
    ("uri", "seconds"), [(None, DATABASE_SECONDS), ("http://127.0.0.1:9", SERVER_SECONDS)], ids=["database", "server"]
)
def test_a_final_comparison_is_published_although_it_is_made_after_the_last_commit(
    uri: str | None, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[bool] = []
    waited: list[float] = []

    class Recording(Publisher):
        def __call__(self) -> None:
            store = LineageStore(tmp_path / "addition")
            published.append(final_of(store, store.ledger.read()) is not None)

        def finish(self) -> bool:
            waited.append(self.wait_seconds)
            # No call is cut shorter than `--sync` cuts it, so that a slow server is published to while it answers.
            assert set(self.environment) - set(os.environ) == {"MLFLOW_TRACKING_URI"}
            return True

    def grown(recipe: Recipe, *, store: LineageStore, publish: Callable[[], None], **_: Any) -> None:
        lineage_factory.grow(store, outcome=GenerationOutcome.BASE)
        publish()
        lineage_factory.compare_finally(store)

    recipe = {key: value for key, value in lineage_factory.RECIPE.items() if key != "tracking"}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe | ({"tracking": {"uri": uri}} if uri else {})))
    monkeypatch.setattr("bootstrap.cli.run.Publisher", Recording)
    roles = SimpleNamespace(learners=SimpleNamespace(telemetry=Telemetry()), release=lambda: None)
    monkeypatch.setattr("bootstrap.cli.run.make_roles", lambda *_, **__: nullcontext(roles))
    monkeypatch.setattr("bootstrap.loop.run", grown)
    assert main(["run", str(tmp_path / "recipe.yaml"), "--store", str(tmp_path), "--local", "--workers", "1"]) == 0
    assert published == [False, True]
    assert waited == [seconds]


def test_a_run_that_does_not_heed_the_store_s_address_leaves_it_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grown(recipe: Recipe, *, store: LineageStore, publish: Callable[[], None], **_: Any) -> None:
        lineage_factory.grow(store, outcome=GenerationOutcome.BASE)

    class Silent(Publisher):
        def __call__(self) -> None:
            pass

        def finish(self) -> bool:
            return True

    recipe = {key: value for key, value in lineage_factory.RECIPE.items() if key != "tracking"}
    (tmp_path / "mine.yaml").write_text(json.dumps(recipe))
    roles = SimpleNamespace(learners=SimpleNamespace(telemetry=Telemetry()), release=lambda: None)
    monkeypatch.setattr("bootstrap.cli.run.make_roles", lambda *_, **__: nullcontext(roles))
    monkeypatch.setattr("bootstrap.cli.run.Publisher", Silent)
    monkeypatch.setattr("bootstrap.loop.run", grown)
    store, words = tmp_path / "runs", ["--store", str(tmp_path / "runs"), "--local", "--workers", "1"]
    assert main(["run", str(tmp_path / "mine.yaml"), *words]) == 0
    shared = store / "addition" / "tracking.json"
    assert json.loads(shared.read_bytes())["uri"] is None
    shared.write_text(json.dumps({"uri": "http://shared:5000"}))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "colleague"))
    main(["run", str(store / "addition" / "recipe.json"), *words])
    assert json.loads(shared.read_bytes()) == {"uri": "http://shared:5000"}
