"""A headless browser to look at a lineage with, and its pictures."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from support import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.opened() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with chromium.new_page(browser) as page:
        yield page
