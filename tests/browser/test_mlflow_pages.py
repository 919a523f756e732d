"""What a person sees of a lineage in MLflow's own pages, and the lineage page inside them."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.site import Site
from support.styles import declarations, selectors

from bootstrap.lineage import tracking
from bootstrap.lineage.page import inline

pytestmark = pytest.mark.browser


def shot(page: Page, folder: Path, name: str) -> None:
    """Keep a picture for whoever wants to look at what the test saw."""
    page.screenshot(path=folder / f"{name}.png")


def test_the_experiment_lists_the_generations_below_their_lineage(page: Page, site: Site, tmp_path: Path) -> None:
    page.goto(tracking.experiment_url(site.url, site.receipts[0].experiment_id))
    expect(page.get_by_text("5 matching runs")).to_be_visible()
    # MLflow shows nested runs folded; the sign beside the outer run's name unfolds them.
    lineage = page.get_by_role("gridcell").filter(has=page.get_by_role("link", name="addition", exact=True))
    lineage.get_by_role("button").first.click()
    for number in range(4):
        expect(page.get_by_role("link", name=f"gen-{number}", exact=True)).to_be_visible()
    shot(page, tmp_path, "experiment")


def test_a_generations_run_shows_the_parents_model_going_in_and_its_own_coming_out(
    page: Page, site: Site, tmp_path: Path
) -> None:
    own = site.receipts[3]
    page.goto(tracking.run_url(site.url, own.experiment_id, own.run_id))
    expect(page.get_by_text("Promoted: 6-digit addition 0.337 → 0.989")).to_be_visible()
    expect(page.get_by_text("Logged models (3)")).to_be_visible()
    for kind, model in (("Input", "addition-gen-1"), ("Input", "addition-gen-0"), ("Output", "addition-gen-3")):
        row = page.get_by_role("row").filter(has_text=kind).filter(has=page.get_by_role("link", name=model))
        expect(row).to_have_count(1)
    row.scroll_into_view_if_needed()
    shot(page, tmp_path, "run")


def test_the_lineage_page_draws_every_generation_inside_mlflow(page: Page, site: Site, tmp_path: Path) -> None:
    own = site.receipts[0]
    page.goto(tracking.lineage_url(site.url, own.experiment_id, own.lineage_run_id))
    frame = page.frame_locator("iframe")
    for number in range(4):
        expect(frame.locator(f".node[data-number='{number}']")).to_be_visible()
    expect(frame.locator(".node.champion")).to_contain_text("gen-3")
    expect(frame.locator(".node.rejected")).to_contain_text("gen-2")
    expect(frame.locator("path[data-edge='init 1 3']")).to_have_count(1)
    frame.locator(".node[data-number='3']").click()
    expect(frame.locator("#panel")).to_contain_text("level 6: 0.337 -> 0.989")
    made_from = frame.locator("#panel tr").filter(has_text="initial weights")
    expect(made_from).to_contain_text("gen-1")
    expect(frame.locator("#panel")).not_to_contain_text("undefined")
    expect(frame.get_by_label("MLflow model", exact=True)).to_have_value(site.receipts[3].model_id)
    frame.locator("#panel").get_by_role("link", name="gen-1").first.click()
    expect(frame.locator("#panel h2")).to_have_text("gen-1")
    shot(page, tmp_path, "lineage")


def test_the_browser_knows_every_selector_property_and_value_of_the_style_sheet(page: Page) -> None:
    sheet = Path(inline.__file__).with_name("page.css").read_text(encoding="utf-8")
    found = declarations(sheet)
    variables = {name: value for _, name, value in found}
    resolved = [
        (rule, name, re.sub(r"var\((--[\w-]+)\)", lambda match: variables[match[1]], value))
        for rule, name, value in found
    ]
    known = "([rule, name, value]) => !CSS.supports(name, value)"
    assert page.evaluate(f"all => all.filter({known})", resolved) == []
    assert page.evaluate("all => all.filter(one => !CSS.supports(`selector(${one})`))", single(selectors(sheet))) == []
    wrong = [("", "colr", "red"), ("", "color", "reed")]
    assert page.evaluate(f"all => all.filter({known}).length", wrong) == 2
    assert page.evaluate("CSS.supports('selector(a::befor)')") is False


def single(lists: list[str]) -> list[str]:
    """Return the selectors of lists of selectors, one by one; none of ours has a comma inside brackets."""
    return [selector.strip() for one in lists for selector in one.split(",")]
