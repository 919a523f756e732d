"""The ways between MLflow's pages of a lineage, clicked one by one: from its list, from every page of a generation.

The lineage is a fork, has a rejected candidate between two promotions, a merge, a teacher outside and a panel task. The
server shows it without the panels of a first visit, to a visitor who has never been there.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.chromium import PATIENCE
from support.lineage_factory import NASTY, PROMOTED, RECIPE, REJECTED, build
from support.site import Site

from bootstrap.lineage import first_visit, tracking
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.server import serve

pytestmark = pytest.mark.browser

PLAN = (PROMOTED, REJECTED, PROMOTED, REJECTED, PROMOTED)
SEEN = 3
"""The generation whose pages are clicked: gen-1's child, gen-2's sibling, gen-0's pupil, merged into gen-5."""
RUNS = {"gen-0": "Base: ", "gen-1": "Promoted: 5-digit", "gen-2": "Rejected: 6-digit", "gen-4": "Rejected: 7-digit"}
"""A relative's link -> how its page begins."""
SHEETS = {
    "gate": "Gate decision of gen-3",
    "results": "Results of gen-3",
    "data": "Data sets of gen-3",
    "exact(answer=whole(strip=false))": "Verifiers of gen-3",
    "cost": "Cost of gen-3",
}
"""A link -> the title of the page that it leads to."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("family")
    root, store = folder / "store" / "addition", folder / "store"
    entries = build(root, plan=PLAN, outside="/models/tutor", forked="other@gen-3", merged=(3, 2))
    uri = tracking.resolve_tracking_uri(None, store)
    publish(root, tracking_uri=uri, experiment=None, recipe=RECIPE, sample_rollouts=16)
    receipts = Outbox(root, tracking_uri=uri, experiment="bootstrap/addition").receipts(entries)
    with pytest.MonkeyPatch.context() as patch:
        installed(folder / "installed", patch)
        with serve(uri, port=0, store=store) as server:
            assert first_visit.APP_NAME in server.process.args
            yield Site(url=server.url, receipts=receipts)


def installed(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the entry point known that an installation of this package brings, whatever was installed here."""
    facts = folder / "bootstrap_for_tests-0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: bootstrap-for-tests\nVersion: 0\n")
    (facts / "entry_points.txt").write_text(
        f"[{first_visit.GROUP}]\n{first_visit.APP_NAME} = bootstrap.lineage.first_visit:create\n"
    )
    patch.syspath_prepend(folder)
    patch.setenv("PYTHONPATH", str(folder), prepend=":")


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A page of someone whose browser knows nothing of MLflow."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context.new_page()
    context.close()


def follow(page: Page, label: str) -> Page:
    """Click a link of the bar, which opens a page of its own, and return that page."""
    with page.context.expect_page(timeout=PATIENCE) as opened:
        page.get_by_role("link", name=label, exact=True).first.click()
    return opened.value


def test_the_printed_link_opens_the_generations_with_their_columns(visitor: Page, family: Site, tmp_path: Path) -> None:
    own = family.receipts[0]
    visitor.goto(tracking.experiment_url(family.url, own.experiment_id, own.lineage_run_id))
    names = visitor.locator(".ag-row").get_by_role("link", name=re.compile(r"^gen-\d$"))
    expect(names).to_have_text([f"gen-{number}" for number in (5, 4, 3, 2, 1, 0)])
    # The grid keeps cells in the order in which it made them; their index says where they stand.
    cells = visitor.locator(".ag-header-cell:visible").all()
    heads = {int(cell.get_attribute("aria-colindex") or 0): cell.inner_text().strip() for cell in cells}
    shown = [heads[place] for place in sorted(heads) if heads[place]]
    assert shown[2:8] == ["gate", "target", "accuracy", "gain", "frontier", "parent"]
    row = visitor.locator(".ag-center-cols-container .ag-row").nth(2)
    for text in ("promoted", "level 6", "98.9 % (98.3-99.5)", "+65.2 pp", "gen-1"):
        expect(row).to_contain_text(text)
    visitor.screenshot(path=tmp_path / "list.png")
    frame = follow(visitor, "picture").frame_locator("iframe")
    expect(frame.locator(".node[data-number='5']")).to_be_visible()


def test_no_panel_of_a_first_visit_covers_the_page(visitor: Page, family: Site, tmp_path: Path) -> None:
    own = family.receipts[SEEN]
    visitor.goto(tracking.run_url(family.url, own.experiment_id, own.run_id))
    expect(visitor.get_by_text("Promoted: 6-digit addition")).to_be_visible()
    assert visitor.evaluate("JSON.parse(localStorage.getItem('mlflow.assistant.panelOpen_v1') ?? 'false')") is False
    assert visitor.evaluate("localStorage.getItem('mlflow.workflowType_v1')") == '"machine_learning"'
    expect(visitor.get_by_role("dialog")).to_have_count(0)
    visitor.screenshot(path=tmp_path / "first-visit.png")


@pytest.mark.parametrize("number", range(6))
def test_a_runs_description_is_shown_whole_so_that_every_link_can_be_clicked(
    page: Page, family: Site, tmp_path: Path, number: int
) -> None:
    own = family.receipts[number]
    page.goto(tracking.run_url(family.url, own.experiment_id, own.run_id))
    expect(page.get_by_role("link", name="version", exact=True)).to_be_visible()
    expect(page.get_by_test_id("show-comment-toggle")).to_have_count(0)
    page.screenshot(path=tmp_path / f"run-{number}.png")


@pytest.mark.parametrize("kind", ["run", "model", "version"])
def test_from_every_page_of_a_generation_each_link_of_the_bar_leads_where_it_says(
    page: Page, family: Site, tmp_path: Path, kind: str
) -> None:
    own = family.receipts[SEEN]
    start = {
        "run": tracking.run_url(family.url, own.experiment_id, own.run_id),
        "model": tracking.model_url(family.url, own.experiment_id, own.model_id),
        "version": tracking.version_url(family.url, "addition", own.version),
    }
    page.goto(start[kind])
    said = page.get_by_text("Promoted: 6-digit addition 0.337 → 0.989 (+0.652, 95 % CI 0.620 to 0.682), nothing lost")
    expect(said).to_be_visible()
    page.screenshot(path=tmp_path / f"{kind}.png")
    for label, begins in RUNS.items():
        opened = follow(page, label)
        expect(opened.get_by_text(begins).first).to_be_visible()
        expect(opened.get_by_role("heading", name=label)).to_be_visible()
        opened.close()
    for label, title in SHEETS.items():
        opened = follow(page, label)
        expect(opened.get_by_role("heading", name=title)).to_be_visible()
        opened.screenshot(path=tmp_path / f"{kind}-{title.partition(' ')[0]}.png")
        opened.close()
    opened = follow(page, "samples")
    expect(opened.get_by_text("16 of 16")).to_be_visible()
    opened.screenshot(path=tmp_path / f"{kind}-samples.png")
    opened.close()
    opened = follow(page, "lineage")
    expect(opened.frame_locator("iframe").locator(f".node[data-number='{SEEN}']")).to_be_visible()
    opened.close()
    for label, heading in {"run": "gen-3", "model": "addition-gen-3", "version": f"Version {own.version}"}.items():
        opened = follow(page, label)
        expect(opened.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        expect(opened.get_by_text("Promoted: 6-digit addition").first).to_be_visible()
        opened.close()


def test_a_sheet_leads_on_to_the_others(page: Page, family: Site) -> None:
    own = family.receipts[SEEN]
    page.goto(tracking.artifact_url(family.url, own.experiment_id, own.run_id, "generation/gate.md"))
    expect(page.get_by_role("heading", name="Gate decision of gen-3")).to_be_visible()
    for label, title in SHEETS.items():
        opened = follow(page, label)
        expect(opened.get_by_role("heading", name=title)).to_be_visible()
        opened.close()


def test_a_data_set_shows_schema_digest_rows_and_a_sample(page: Page, family: Site, tmp_path: Path) -> None:
    own = family.receipts[SEEN]
    page.goto(tracking.run_url(family.url, own.experiment_id, own.run_id))
    page.get_by_role("button", name=re.compile("rollouts-gen-3-step-0")).first.click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("Data details for")
    expect(drawer).to_contain_text("num rows: 48")
    expect(drawer).to_contain_text(re.compile(r"row 2: .*21\+4\d= \| 640"))
    expect(drawer).to_contain_text(re.compile(r"Digest: [0-9a-f]{32}"))
    expect(drawer.get_by_role("row").filter(has_text="prompt_text")).to_contain_text("string")
    expect(drawer).not_to_contain_text("No schema available")
    page.wait_for_timeout(500)
    page.screenshot(path=tmp_path / "data-set.png")


def test_a_sample_shows_prompt_completion_score_and_reason_and_obeys_nothing_in_them(
    page: Page, family: Site, tmp_path: Path
) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    own = family.receipts[SEEN]
    page.goto(tracking.model_url(family.url, own.experiment_id, family.receipts[1].model_id).replace("?", "/traces?"))
    expect(page.get_by_text("AVG").first).to_be_visible()
    page.screenshot(path=tmp_path / "model-traces.png")
    page.get_by_placeholder("Search traces").first.fill("onerror")
    page.keyboard.press("Enter")
    expect(page.locator("mark").first).to_be_visible()
    page.get_by_text("21+4").first.click()
    page.get_by_role("button", name=re.compile("Assess")).last.click()
    page.locator("[data-component-id='shared.model-trace-explorer.toggle-assessment-expanded']").first.click()
    expect(page.get_by_text("FAIL: differs from the reference").first).to_be_visible()
    expect(page.get_by_text("completion", exact=True)).to_be_visible()
    page.screenshot(path=tmp_path / "sample.png")
    assert not dialogs and page.locator("img[src='x']").count() == 0 and NASTY[:4] == "<img"
