"""A moved store and a copy of it, both looked at: pictures load, links work, and the original keeps every byte."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.chromium import shot
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, build, grow
from support.site import Site

from bootstrap.cli.target import own_database
from bootstrap.lineage import tracking
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.server import serve
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.browser


def put(store: Path) -> None:
    publish(store / "addition", tracking_uri=own_database(store), experiment=None, recipe=RECIPE, sample_rollouts=8)


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a store's lineages and of MLflow's artifacts."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store that was published at another place and moved; and a copy of it that went on by one generation."""
    folder = tmp_path_factory.mktemp("stores")
    build(folder / "first" / "addition", plan=(PROMOTED, REJECTED))
    put(folder / "first")
    moved, copied = folder / "moved here", folder / "copied"
    (folder / "first").rename(moved)
    shutil.copytree(moved, copied)
    return moved, copied


@contextmanager
def served(store: Path) -> Iterator[Site]:
    """Serve a store as `bootstrap ui` does."""
    uri = own_database(store)
    with serve(uri, port=0, store=store) as server:
        entries = LineageStore(store / "addition").ledger.read()
        receipts = Outbox(store / "addition", tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)
        yield Site(url=server.url, receipts=receipts, root=store / "addition")


def look(page: Page, site: Site, store: Path, *, name: str) -> None:
    """Click through the pages that show files, and keep pictures of them."""
    newest = site.receipts[max(site.receipts)]
    page.goto(tracking.lineage_url(site.url, newest.experiment_id, newest.lineage_run_id))
    frame = page.frame_locator("iframe")
    for number in site.receipts:
        expect(frame.locator(f".node[data-number='{number}']")).to_be_visible()
    expect(frame.locator(".node")).to_have_count(len(site.receipts))
    shot(page, f"{name}-lineage")
    page.goto(tracking.run_url(site.url, newest.experiment_id, newest.run_id))
    row = page.get_by_role("row").filter(has_text="Output")
    row.get_by_role("link", name=f"addition-gen-{max(site.receipts)}").first.click()
    expect(page.get_by_text(newest.model_id).first).to_be_visible()
    page.get_by_role("link", name="Artifacts").click()
    page.get_by_text("model", exact=True).first.click()
    expect(page.get_by_text("model.safetensors").first).to_be_visible()
    expect(page.get_by_text(f"{store.as_uri()}/mlflow-artifacts/models/{newest.model_id}").first).to_be_visible()
    shot(page, f"{name}-model")


def test_a_moved_store_and_its_copy_show_their_own_files(page: Page, stores: tuple[Path, Path]) -> None:
    original, copied = stores
    with served(original) as site:
        assert set(site.receipts) == {0, 1, 2}
        look(page, site, original, name="moved")
    before = contents(original)
    grow(LineageStore(copied / "addition"), outcome=PROMOTED)
    put(copied)
    with served(copied) as site:
        assert set(site.receipts) == {0, 1, 2, 3}
        look(page, site, copied, name="copied")
    # Database and artifacts included, so that it shows what it has shown.
    assert contents(original) == before
