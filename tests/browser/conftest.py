"""A published lineage, an MLflow server over it, and a headless browser to look at it with."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.lineage_factory import PROMOTED, RECIPE, REJECTED, build
from support.site import Site

from bootstrap.lineage import tracking
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.server import serve

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
PATIENCE = 60_000
"""Milliseconds to wait for what should appear: on a busy machine MLflow's pages take their time."""
FIRST_VISIT = {
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.detectIssues.guidanceDismissed_v1": "true",
}
"""Local storage of someone who has closed MLflow's first-visit panels."""


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
    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        if executable is None and not Path(playwright.chromium.executable_path).exists():
            pytest.fail("no Chromium is installed: `apt-get install chromium` or `playwright install chromium`")
        running = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of someone who is not visiting MLflow for the first time; a script error on it fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    for key, value in FIRST_VISIT.items():
        context.add_init_script(f"try {{ localStorage.setItem('{key}', '{value}') }} catch (error) {{ }}")
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    opened = context.new_page()
    failures: list[str] = []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    yield opened
    context.close()
    assert not failures, "scripts failed on the page"
