"""A published lineage, an MLflow server over it, and a headless browser to look at it with."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from support import chromium
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, build
from support.site import Site

from bootstrap.lineage import tracking
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.server import serve


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    store = tmp_path_factory.mktemp("store")
    root = store / "addition"
    entries = build(root, plan=(PROMOTED, REJECTED, PROMOTED))
    uri = tracking.resolve_tracking_uri(None, store)
    publish(root, tracking_uri=uri, experiment=None, recipe=RECIPE, sample_rollouts=8)
    receipts = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)
    with serve(uri, port=0, store=store) as server:
        yield Site(url=server.url, receipts=receipts)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.opened() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with chromium.new_page(browser) as page:
        yield page
