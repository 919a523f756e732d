"""The links on MLflow's pages of a lineage, and where each leads: for tests of any server that shows one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from playwright.sync_api import Page, expect
from support.chromium import PATIENCE, shot

from bootstrap.lineage import tracking
from bootstrap.lineage.outbox import Receipt

KINDS = ("run", "model", "version")
"""The pages of one generation, by the link that leads to each."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """The bar of links on every page of one generation."""

    number: int
    registered: str
    """Name of the registered model, which is the lineage's."""
    says: str
    """How each page of the generation begins."""
    relatives: Mapping[str, str]
    """Link -> how the page that it leads to begins."""
    verifier: str
    results: str = "results"
    samples: re.Pattern[str]
    """What the page of samples says of their number."""

    @property
    def sheets(self) -> dict[str, str]:
        """Link -> the title of the page that it leads to."""
        titles = {"gate": "Gate decision", self.results: "Results", "data": "Data sets", self.verifier: "Verifiers"}
        return {link: f"{title} of gen-{self.number}" for link, title in (titles | {"cost": "Cost"}).items()}

    @property
    def labels(self) -> list[str]:
        """All links."""
        return [*self.relatives, *self.sheets, "samples", "lineage", *KINDS]


def address(kind: str, url: str, own: Receipt, *, registered: str) -> str:
    """Return the address of one of a generation's pages."""
    if kind == "version":
        return tracking.version_url(url, registered, own.version)
    page = tracking.run_url if kind == "run" else tracking.model_url
    return page(url, own.experiment_id, own.run_id if kind == "run" else own.model_id)


def follow(page: Page, label: str) -> Page:
    """Click a link of a note, which opens a page of its own, and return that page."""
    with page.context.expect_page(timeout=PATIENCE) as opened:
        page.get_by_role("link", name=label, exact=True).first.click()
    return opened.value


def click_from_every_page(page: Page, bar: Bar, own: Receipt, url: str) -> None:
    """See the same links on each page of the generation on the server `url`, and click each of them on the last."""
    links: dict[str, list[tuple[str, str]]] = {}
    for kind in reversed(KINDS):
        page.goto(address(kind, url, own, registered=bar.registered))
        expect(page.get_by_text(bar.says).first).to_be_visible()
        shot(page, kind)
        found = [page.get_by_role("link", name=label, exact=True).first for label in bar.labels]
        links[kind] = [(link.evaluate("link => link.href"), link.get_attribute("target") or "") for link in found]
    assert links["version"] == links["model"] == links["run"]
    click_every_link(page, bar, own)


def click_every_link(page: Page, bar: Bar, own: Receipt) -> None:
    """Click each link of the bar on an opened page of the generation with the receipt `own`; expect what it says."""
    for label, begins in bar.relatives.items():
        opened = follow(page, label)
        expect(opened.get_by_text(begins).first).to_be_visible()
        expect(opened.get_by_role("heading", name=label, exact=True)).to_be_visible()
        opened.close()
    click_every_sheet(page, bar)
    opened = follow(page, "samples")
    expect(opened.get_by_text(bar.samples)).to_be_visible()
    shot(opened, "samples")
    opened.close()
    opened = follow(page, "lineage")
    expect(opened.frame_locator("iframe").locator(f".node[data-number='{bar.number}']")).to_be_visible()
    shot(opened, "lineage")
    opened.close()
    headings = (f"gen-{bar.number}", f"{bar.registered}-gen-{bar.number}", f"Version {own.version}")
    for label, heading in zip(KINDS, headings, strict=True):
        opened = follow(page, label)
        expect(opened.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        expect(opened.get_by_text(bar.says).first).to_be_visible()
        opened.close()


def click_every_sheet(page: Page, bar: Bar) -> None:
    """Click each link of the bar that leads to an explanation, on an opened page of the generation or of those."""
    for label, title in bar.sheets.items():
        opened = follow(page, label)
        expect(opened.get_by_role("heading", name=title)).to_be_visible()
        shot(opened, title.partition(" ")[0].lower())
        opened.close()
