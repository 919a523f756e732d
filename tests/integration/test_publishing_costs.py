"""Publishing one more generation asks, reads and uploads as much after many generations as after few."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, build, grow

from bootstrap.bench.lineage import opened_files
from bootstrap.lineage import notes, shown, whole_page
from bootstrap.lineage.bar import SIBLINGS
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.whole_page import SHARE, is_due
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.mlflow

LOOKED_AT = 2
"""Newest and older generations that are looked at here, fewer than usual."""
MOST_FOUND = 2 * LOOKED_AT + 3
MANY = 16
"""Items in the answer to one search: those looked at, and a few more."""


@pytest.fixture(autouse=True)
def fewer_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEWEST", "ROTATING"):
        monkeypatch.setattr(shown, name, LOOKED_AT)
    monkeypatch.setattr(notes, "LISTED", LOOKED_AT)
    # What is drawn whole is not drawn at every publication.
    monkeypatch.setattr(whole_page, "is_due", lambda generations, drawn: False)


def put(root: Path, *, is_growing: bool = True) -> list[int]:
    return publish(
        root,
        tracking_uri=f"sqlite:///{root.parent}/mlflow.db",
        experiment=None,
        recipe=RECIPE,
        sample_rollouts=2,
        is_growing=is_growing,
    )


class Asked:
    """The requests made while it is active: how often each was made, and the most items that one found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: Counter[str] = Counter()
        self.most_found = self.uploaded = 0
        """Items, and characters of texts."""
        self.opened: Counter[str] = Counter()
        """Files of the lineage's folder: how often one of each part of it was opened."""
        for name in dir(MlflowClient):
            real = getattr(MlflowClient, name)
            if callable(real) and not name.startswith("_"):
                monkeypatch.setattr(MlflowClient, name, self._counting(name, real))

    def _counting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.requests[name] += 1
            self.uploaded += len(args[2]) if name == "log_text" else 0
            result = real(*args, **kwargs)
            if name.startswith("search_") and isinstance(result, Sequence):
                self.most_found = max(self.most_found, len(result))
            return result

        return counted


@pytest.fixture
def long(tmp_path: Path, empty_database: Path) -> Path:
    """A published lineage, whose generations soon are more than are looked at each time."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    build(tmp_path / "addition", plan=(PROMOTED, REJECTED, PROMOTED))
    put(tmp_path / "addition")
    return tmp_path / "addition"


def one_more(root: Path) -> Asked:
    """Publish one more generation; return what was asked."""
    grow(LineageStore(root), outcome=REJECTED)
    with pytest.MonkeyPatch.context() as patch:
        asked = Asked(patch)
        with opened_files(root) as opened:
            assert len(put(root)) == 1
    asked.opened.update(Path(path).relative_to(root).parts[0] for path in opened)
    return asked


def test_what_is_drawn_whole_costs_the_same_a_generation_however_many_there_are() -> None:
    drawn, costs = 0, list[int]()
    for generations in range(1, 2001):
        costs.append(generations if is_due(generations, drawn=drawn) else 0)
        drawn = costs[-1] or drawn
        assert generations - drawn <= generations / SHARE
    first, last = sum(costs[:1000]) / 1000, sum(costs[1000:]) / 1000
    assert first == pytest.approx(last, rel=0.1) and last < SHARE + 2


def test_one_more_generation_costs_as_many_requests_after_many_as_after_few(long: Path) -> None:
    for _ in range(SIBLINGS):
        # Their bars show each other: as many are written anew as have room in one.
        one_more(long)
    few = one_more(long)
    while len(LineageStore(long).ledger.paths()) < MANY:
        grow(LineageStore(long), outcome=REJECTED)
    put(long)
    many = one_more(long)
    assert many.requests == few.requests
    for part in ("ledger", "outbox", "artifacts"):
        # Each generation read once more would be more than that.
        assert abs(many.opened[part] - few.opened[part]) < (MANY - MOST_FOUND) // 2 + 2, part
    assert abs(many.uploaded - few.uploaded) < 100, "only numbers get longer"
    assert max(few.most_found, many.most_found) <= MOST_FOUND
    gap = 1
    tidied(long, number=gap)
    with pytest.MonkeyPatch.context() as patch:
        # At the end of a run all are looked at, and the gap is found at once.
        asked = Asked(patch)
        put(long, is_growing=False)
    assert asked.requests["create_model_version"] == 1
    tidied(long, number=gap)
    rounds = 0
    while not whole(long, number=gap):
        grow(LineageStore(long), outcome=REJECTED)
        put(long)
        rounds += 1
        assert rounds < MANY, "while the lineage grows, each generation's turn comes"


def tidied(root: Path, *, number: int) -> None:
    client = client_of(root)
    client.delete_model_version("addition", client.get_model_version_by_alias("addition", f"gen-{number}").version)


def whole(root: Path, *, number: int) -> bool:
    return f"gen-{number}" in client_of(root).get_registered_model("addition").aliases


def client_of(root: Path) -> MlflowClient:
    uri = f"sqlite:///{root.parent}/mlflow.db"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)
