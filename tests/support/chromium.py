"""A headless Chromium, and pages of someone who is not visiting MLflow for the first time."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

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


@contextmanager
def opened() -> Iterator[Browser]:
    """Run the browser that is installed; fails the test when there is none."""
    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        if executable is None and not Path(playwright.chromium.executable_path).exists():
            pytest.fail("no Chromium is installed: `apt-get install chromium` or `playwright install chromium`")
        running = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield running
        running.close()


@contextmanager
def new_page(browser: Browser, *, strict: bool = True) -> Iterator[Page]:
    """Open a page; if `strict`, a script error on it fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    for key, value in FIRST_VISIT.items():
        context.add_init_script(f"try {{ localStorage.setItem('{key}', '{value}') }} catch (error) {{ }}")
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    context.close()
    assert not (strict and failures), f"scripts failed on the page: {failures}"


def shot(page: Page, name: str) -> None:
    """Keep a picture in the folder that the variable SCREENSHOTS names; without it, spare the time."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")
