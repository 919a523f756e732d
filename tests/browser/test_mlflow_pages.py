"""What a person sees of a lineage in MLflow's own pages, and the lineage page inside them."""

import re
from itertools import combinations
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.lineage_factory import NASTY, PROMOTED, REJECTED, build
from support.site import Site
from support.styles import declarations, selectors

from bootstrap.lineage import graph, tracking
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
    expect(page.get_by_text("Promoted: 6-digit addition 0.34 → 0.99")).to_be_visible()
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
    shot(page, tmp_path, "lineage")


@pytest.mark.parametrize(("num_generations", "num_cards"), [(4, 4), (14, 14), (52, 27)])
def test_no_generation_covers_another_and_none_sticks_out(
    browser: Browser, tmp_path: Path, num_generations: int, num_cards: int
) -> None:
    plan = [REJECTED if number % 5 == 3 else PROMOTED for number in range(1, num_generations)]
    entries = build(tmp_path / "lineage", plan=plan)
    (tmp_path / "page.html").write_text(graph.to_html(graph.lineage(entries)))
    page = browser.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    for width in (700, 1000, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => document.querySelector('#graph svg').clientWidth < width", arg=width)
        boxes = page.locator(".node:visible").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect())")
        assert len(boxes) == num_cards, "the middle of a lineage of more than 50 is folded into one card"
        assert covered(boxes) == []
        assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shot(page, tmp_path, f"page-{width}")
    if num_cards < num_generations:
        page.locator(".node.fold").click()
        expect(page.locator(".node:visible")).to_have_count(num_generations)
    assert not failures
    page.close()


def test_a_teacher_outside_the_lineage_hangs_as_a_label_on_the_card_it_taught(page: Page, tmp_path: Path) -> None:
    entries = build(tmp_path / "lineage", plan=(PROMOTED, REJECTED), outside="/models/tutor")
    (tmp_path / "page.html").write_text(graph.to_html(graph.lineage(entries)))
    page.goto((tmp_path / "page.html").as_uri())
    labels = page.locator(".outside:visible")
    expect(labels).to_have_text(["teacher: /models/tutor"] * 2)
    for number in (1, 2):
        card = page.locator(f".node[data-number='{number}']").bounding_box()
        label = page.locator(f".outside[data-number='{number}']").bounding_box()
        assert card and label
        assert card["x"] < label["x"] and label["x"] + label["width"] < card["x"] + card["width"]
        assert label["y"] < card["y"] + card["height"] < label["y"] + label["height"]
    shot(page, tmp_path, "outside")
    page.get_by_label("teacher").uncheck()
    expect(labels).to_have_count(0)
    page.locator(".node[data-number='1']").click()
    expect(labels).to_have_count(1)
    made_from = page.locator("#panel tr").filter(has_text="teacher")
    expect(made_from).to_contain_text("/models/tutor (outside the lineage)")
    expect(page.locator("#panel")).not_to_contain_text("gen-null")


def test_edges_of_every_kind_are_drawn_as_the_key_above_them_says(page: Page, tmp_path: Path) -> None:
    shown = graph.lineage(build(tmp_path / "lineage", plan=(PROMOTED, PROMOTED)))
    shown["edges"] = [e for e in shown["edges"] if e["role"] in ("init", "data")]
    colours = {}
    for role in ("merged", "sampler", "judge", "voter", "reference", "teacher"):
        edge = {"from": 0, "source": "gen-0", "to": 2, "role": role, "fingerprint": "f" * 64, "on_path": False}
        data = shown | {"edges": [*shown["edges"], edge]}
        (tmp_path / f"{role}.html").write_text(graph.to_html(data))
        page.goto((tmp_path / f"{role}.html").as_uri())
        key = {"voter": "judge"}.get(role, role)
        visible = page.locator("label:visible .key").evaluate_all("keys => keys.map(key => key.className)")
        assert set(visible) == {"key path", "key dead", "key data", f"key {key}"}
        drawn = page.locator(f"path[data-edge='{role} 0 2']")
        expect(drawn).to_have_count(1)
        colours[role] = drawn.evaluate("path => getComputedStyle(path).stroke")
        assert colours[role] == page.locator(f".key.{key}").evaluate("key => getComputedStyle(key).borderTopColor")
        if key != "merged":
            page.locator(f"#show-{key}").uncheck()
            expect(drawn).to_have_count(0)
    assert len(set(colours.values())) == 5, "judges and voters look alike, all others differ"


def test_the_gates_table_says_at_which_level_and_against_whom_it_tested(page: Page, tmp_path: Path) -> None:
    shown = graph.lineage(build(tmp_path / "lineage", plan=(PROMOTED,)))
    first, second, third, *_ = shown["nodes"][1]["gate_tests"]
    first |= {"alpha": 0.0125, "margin": None, "reference": []}
    second |= {"alpha": 0.025, "margin": 0.03, "reference": [0, 1]}
    # A record from before they were kept.
    third |= {"alpha": None, "margin": None, "reference": []}
    (tmp_path / "page.html").write_text(graph.to_html(shown))
    page.set_viewport_size({"width": 1000, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".node[data-number='1']").click()
    notes = page.locator("#panel tr.note")
    told = ["alpha 0.0125", "alpha 0.025 · margin 3.0 pp · compared with gen-0, gen-1"]
    expect(notes).to_have_text(told)
    expect(notes.first.locator("xpath=preceding-sibling::tr[1]")).to_contain_text("improvement")
    assert page.locator("#panel").evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    shot(page, tmp_path, "gate")


def test_a_card_with_a_stages_name_has_room_for_its_reason(page: Page, tmp_path: Path) -> None:
    shown = graph.lineage(build(tmp_path / "lineage", plan=(PROMOTED, REJECTED)))
    for node in shown["nodes"][1:]:
        node["stage"] = "reasoning"
    (tmp_path / "page.html").write_text(graph.to_html(shown))
    page.goto((tmp_path / "page.html").as_uri())
    for card in page.locator(".node:visible").all():
        inside = card.locator(".reason").bounding_box()
        outside = card.bounding_box()
        assert inside and outside and inside["y"] + inside["height"] <= outside["y"] + outside["height"]


def covered(boxes: list[dict[str, float]]) -> list[tuple[int, int]]:
    """Return the pairs of boxes that overlap."""
    return [
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(boxes), 2)
        if a["left"] < b["right"] and b["left"] < a["right"] and a["top"] < b["bottom"] and b["top"] < a["bottom"]
    ]


def test_the_keyboard_alone_opens_moves_and_closes(browser: Browser, tmp_path: Path) -> None:
    entries = build(tmp_path / "lineage", plan=(PROMOTED, REJECTED))
    sample = {"rollout": "g1", "prompt": "21+43=", "answer": NASTY, "verdict": "FAIL", "reward": 0.0, "reason": ""}
    (tmp_path / "page.html").write_text(graph.to_html(graph.lineage(entries, samples={1: [sample]})))
    page = browser.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".node[data-number='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_contain_text("gen-1")
    expect(page.locator("#panel .sample")).to_contain_text("<img src=x onerror=alert(1)>")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    assert page.evaluate("document.activeElement.dataset.number") == "1"
    assert not dialogs and page.locator("img").count() == 0, "what a model wrote is shown, not obeyed"
    page.close()


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
