"""A store with a lineage that has everything: a fork, a merge, rejected candidates, an outside teacher, two tasks."""

from pathlib import Path

import pytest
from support.rich_lineage import build_rich

from bootstrap import Lineage


@pytest.fixture(scope="module")
def rich_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    build_rich(folder / "rich")
    return folder


@pytest.fixture
def rich(rich_store: Path) -> Lineage:
    return Lineage(rich_store, "rich")
