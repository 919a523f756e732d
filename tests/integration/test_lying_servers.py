"""MLflow servers and files that fail: the refusal names what they did, and the next publication repairs it."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import lineage_factory
from support.lying_servers import lying, saying

from bootstrap.cli.main import main
from bootstrap.config.recipe import Recipe
from bootstrap.errors import TrackingError
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.lineage import publisher
from bootstrap.store.lineage_store import LineageStore
from bootstrap.telemetry import Telemetry

pytestmark = pytest.mark.mlflow


@pytest.fixture
def lineage(tmp_path: Path, empty_database: Path) -> tuple[Path, str]:
    """A lineage of two generations and the address of its empty database."""
    lineage_factory.build(tmp_path / "addition", plan=(GenerationOutcome.PROMOTED,))
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db"


def put(root: Path, uri: str) -> list[int]:
    recipe = {"name": root.name, **LineageStore(root).header().identity}
    return publisher.publish(root, tracking_uri=uri, experiment=None, recipe=recipe, sample_rollouts=1)


@pytest.mark.parametrize(
    ("content", "body", "told"),
    [
        ("application/json", "{}", "answers with an empty object where an experiment is asked for"),
        ("text/html", "<html>sign in</html>", "not in a valid JSON format. Response body: '<html>sign in</html>'"),
    ],
)
def test_a_server_that_answers_with_something_else_is_refused_by_it(
    lineage: tuple[Path, str], content: str, body: str, told: str
) -> None:
    with lying(saying("200 OK", content, body)) as server, pytest.raises(TrackingError, match=told):
        put(lineage[0], server.url)
    assert put(*lineage) == [0, 1]


def test_an_artifact_folder_that_cannot_be_written_is_named_and_published_into_later(lineage: tuple[Path, str]) -> None:
    root, uri = lineage
    artifacts = root.parent / "mlflow-artifacts"
    artifacts.write_text("in the way")
    with pytest.raises(TrackingError, match=rf"MLflow's files cannot be written: {artifacts}"):
        put(root, uri)
    artifacts.unlink()
    assert put(root, uri) == [0, 1]


def test_a_run_beside_a_locked_database_ends_with_0_and_one_warning_and_the_next_publication_repairs(
    tmp_path: Path, empty_database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def grown(recipe: Recipe, *, store: LineageStore, publish: Callable[[], None], **_: Any) -> None:
        for outcome in (GenerationOutcome.BASE, GenerationOutcome.PROMOTED):
            lineage_factory.grow(store, outcome=outcome)
            publish()

    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    recipe = {key: value for key, value in lineage_factory.RECIPE.items() if key != "tracking"}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    roles = SimpleNamespace(learners=SimpleNamespace(telemetry=Telemetry()), release=lambda: None)
    monkeypatch.setattr("bootstrap.cli.run.make_roles", lambda *_, **__: nullcontext(roles))
    monkeypatch.setattr("bootstrap.loop.run", grown)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as database:
        database.execute("begin exclusive")
        words = ["run", str(tmp_path / "recipe.yaml"), "--store", str(tmp_path), "--local", "--workers", "1"]
        assert main(words) == 0
        told = capsys.readouterr()
        assert (told.out + told.err).count("warning: MLflow") == 1
        assert "mlflow.db is locked by another program and was not free within 1 s" in "".join(told.out.split("\n"))
        database.execute("rollback")
    assert put(tmp_path / "addition", f"sqlite:///{tmp_path}/mlflow.db") == [0, 1]
