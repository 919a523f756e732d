"""What a person sees of a lineage in MLflow's pages, and the ways between them, clicked one by one.

The lineage is a fork, has a rejected candidate between two promotions, a merge, a teacher outside and a panel task. The
server shows it without the panels of a first visit, to a visitor who has never been there.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support import ways
from support.chromium import PATIENCE, shot
from support.lineage_factory import NASTY, PROMOTED, RECIPE, REJECTED, build
from support.site import Site
from support.ways import follow

from bootstrap.lineage import first_visit, tracking
from bootstrap.lineage.outbox import Outbox
from bootstrap.lineage.page_server import Page as ServedPage
from bootstrap.lineage.page_server import serve_pages
from bootstrap.lineage.publisher import publish
from bootstrap.lineage.server import serve
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.browser

PLAN = (PROMOTED, REJECTED, PROMOTED, REJECTED, PROMOTED)
SEEN = 3
"""The generation whose pages are clicked: gen-1's child, gen-2's sibling, gen-0's pupil, merged into gen-5."""
BAR = ways.Bar(
    number=SEEN,
    registered="addition",
    says="Promoted: 6-digit addition 0.337 → 0.989 (+0.652, 95 % CI 0.620 to 0.682), nothing lost",
    relatives={
        "gen-0": "Base: ",
        "gen-1": "Promoted: 5-digit",
        "gen-2": "Rejected: 6-digit",
        "gen-4": "Rejected: 7-digit",
        "gen-5": "Promoted: 7-digit",
    },
    verifier="exact(answer=whole(strip=false))",
    samples=re.compile("^16 of 16$"),
)


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
            yield Site(url=server.url, receipts=receipts, root=root)


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


def test_the_printed_link_opens_the_generations_with_their_columns(visitor: Page, family: Site) -> None:
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
    shot(visitor, "list")
    opened = follow(visitor, "picture")
    expect(opened.frame_locator("iframe").locator(".node[data-number='5']")).to_be_visible()
    opened.close()
    names.nth(2).click()
    expect(visitor.get_by_role("heading", name="gen-3", exact=True)).to_be_visible()
    expect(visitor.get_by_text(BAR.says)).to_be_visible()


def test_the_experiment_without_a_view_lists_the_generations_below_their_lineage(page: Page, family: Site) -> None:
    page.goto(tracking.experiment_url(family.url, family.receipts[0].experiment_id))
    expect(page.get_by_text(f"{len(family.receipts) + 1} matching runs")).to_be_visible()
    # MLflow shows nested runs folded; the sign beside the outer run's name unfolds them.
    lineage = page.get_by_role("gridcell").filter(has=page.get_by_role("link", name="addition", exact=True))
    lineage.get_by_role("button").first.click()
    for number in family.receipts:
        expect(page.get_by_role("link", name=f"gen-{number}", exact=True)).to_be_visible()
    shot(page, "experiment")


def test_the_lineages_run_leads_to_its_picture_its_generations_and_its_champion(page: Page, family: Site) -> None:
    own = family.receipts[5]
    page.goto(tracking.run_url(family.url, own.experiment_id, own.lineage_run_id))
    expect(page.get_by_text("gen-5 is the champion of addition among 6 generations")).to_be_visible()
    shot(page, "lineage-run")
    opened = follow(page, "lineage page")
    expect(opened.frame_locator("iframe").locator(".node.champion")).to_contain_text("gen-5")
    opened.close()
    opened = follow(page, "all generations")
    expect(opened.locator(".ag-row").get_by_role("link", name="gen-0", exact=True)).to_be_visible()
    opened.close()
    for label, heading in {"champion": "gen-5", "champion's model": "addition-gen-5"}.items():
        opened = follow(page, label)
        expect(opened.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        opened.close()
    opened = follow(page, "champion's release")
    expect(opened.get_by_role("heading", name=f"Version {own.version}", exact=True)).to_be_visible()
    opened.close()


def test_the_lineage_page_draws_every_generation_inside_mlflow(page: Page, family: Site) -> None:
    own = family.receipts[0]
    page.goto(tracking.lineage_url(family.url, own.experiment_id, own.lineage_run_id))
    frame = page.frame_locator("iframe")
    for number in family.receipts:
        expect(frame.locator(f".node[data-number='{number}']")).to_be_visible()
    expect(frame.locator(".node.champion")).to_contain_text("gen-5")
    expect(frame.locator(".node.rejected").first).to_contain_text("gen-2")
    expect(frame.locator("path[data-edge='init 1 3']")).to_have_count(1)
    frame.locator(".node[data-number='3']").click()
    expect(frame.locator("#panel")).to_contain_text("level 6: 0.337 -> 0.989")
    made_from = frame.locator("#panel tr").filter(has_text="initial weights")
    expect(made_from).to_contain_text("gen-1")
    expect(frame.locator("#panel")).not_to_contain_text("undefined")
    expect(frame.get_by_label("MLflow model", exact=True)).to_have_value(family.receipts[3].model_id)
    frame.locator("#panel").get_by_role("link", name="gen-1").first.click()
    expect(frame.locator("#panel h2")).to_have_text("gen-1")
    shot(page, "lineage")


def test_the_served_lineage_page_leads_to_a_generations_run_and_model(page: Page, family: Site) -> None:
    own, store = family.receipts[SEEN], LineageStore(family.root)
    outbox = Outbox(
        family.root,
        tracking_uri=tracking.resolve_tracking_uri(None, family.root.parent),
        experiment="bootstrap/addition",
    )
    with serve_pages({"addition": ServedPage(store=store, outbox=outbox, mlflow=family.url)}) as running:
        page.goto(running.address("addition") + f"#gen-{SEEN}")
        for label, heading in {"MLflow run": f"gen-{SEEN}", "MLflow model": f"addition-gen-{SEEN}"}.items():
            opened = follow(page, label)
            expect(opened.get_by_role("heading", name=heading, exact=True)).to_be_visible()
            expect(opened.get_by_text(BAR.says)).to_be_visible()
            opened.close()
    assert own.run_id in page.content()


def test_no_panel_of_a_first_visit_covers_the_page(visitor: Page, family: Site) -> None:
    own = family.receipts[SEEN]
    visitor.goto(tracking.run_url(family.url, own.experiment_id, own.run_id))
    expect(visitor.get_by_text("Promoted: 6-digit addition")).to_be_visible()
    assert visitor.evaluate("JSON.parse(localStorage.getItem('mlflow.assistant.panelOpen_v1') ?? 'false')") is False
    assert visitor.evaluate("localStorage.getItem('mlflow.workflowType_v1')") == '"machine_learning"'
    expect(visitor.get_by_role("dialog")).to_have_count(0)
    shot(visitor, "first-visit")


# The one with most relatives, and the newest, merged from two.
@pytest.mark.parametrize("number", [SEEN, 5])
def test_a_runs_description_is_shown_whole_so_that_every_link_can_be_clicked(
    page: Page, family: Site, number: int
) -> None:
    own = family.receipts[number]
    page.goto(tracking.run_url(family.url, own.experiment_id, own.run_id))
    expect(page.get_by_role("link", name="version", exact=True)).to_be_visible()
    expect(page.get_by_test_id("show-comment-toggle")).to_have_count(0)
    shot(page, f"run-{number}")


def test_a_generations_run_shows_the_parents_model_going_in_and_its_own_coming_out(page: Page, family: Site) -> None:
    own = family.receipts[SEEN]
    page.goto(tracking.run_url(family.url, own.experiment_id, own.run_id))
    expect(page.get_by_text("Logged models (3)")).to_be_visible()
    for kind, model in (("Input", "addition-gen-1"), ("Input", "addition-gen-0"), ("Output", "addition-gen-3")):
        row = page.get_by_role("row").filter(has_text=kind).filter(has=page.get_by_role("link", name=model))
        expect(row).to_have_count(1)
    row.scroll_into_view_if_needed()
    shot(page, "models")
    row.get_by_role("link", name="addition-gen-3").click()
    expect(page.get_by_role("heading", name="addition-gen-3", exact=True)).to_be_visible()


def test_from_every_page_of_a_generation_each_link_of_the_bar_leads_where_it_says(page: Page, family: Site) -> None:
    ways.click_from_every_page(page, BAR, family.receipts[SEEN], family.url)


def test_a_sheet_leads_on_to_the_others(page: Page, family: Site) -> None:
    own = family.receipts[SEEN]
    page.goto(tracking.artifact_url(family.url, own.experiment_id, own.run_id, "generation/gate.md"))
    expect(page.get_by_role("heading", name=BAR.sheets["gate"])).to_be_visible()
    ways.click_every_sheet(page, BAR)


def test_a_data_set_shows_schema_digest_rows_and_a_sample(page: Page, family: Site) -> None:
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
    shot(page, "data-set")


def test_a_sample_shows_prompt_completion_score_and_reason_and_obeys_nothing_in_them(page: Page, family: Site) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    own = family.receipts[SEEN]
    page.goto(tracking.model_url(family.url, own.experiment_id, family.receipts[1].model_id).replace("?", "/traces?"))
    expect(page.get_by_text("AVG").first).to_be_visible()
    shot(page, "model-traces")
    page.get_by_placeholder("Search traces").first.fill("onerror")
    page.keyboard.press("Enter")
    expect(page.locator("mark").first).to_be_visible()
    page.get_by_text("21+4").first.click()
    page.get_by_role("button", name=re.compile("Assess")).last.click()
    page.locator("[data-component-id='shared.model-trace-explorer.toggle-assessment-expanded']").first.click()
    expect(page.get_by_text("FAIL: differs from the reference").first).to_be_visible()
    expect(page.get_by_text("completion", exact=True)).to_be_visible()
    shot(page, "sample")
    assert not dialogs and page.locator("img[src='x']").count() == 0 and NASTY[:4] == "<img"
