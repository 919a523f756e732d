"""The lineage page as a person uses it: what is drawn, where links lead, and that it stays readable and small."""

import re
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Frame, Page, expect
from support.chromium import shot
from support.lineage_factory import NASTY, PROMOTED, REJECTED, build, restarted
from support.long_lineage import build_long
from support.rich_lineage import build_rich
from support.styles import declarations, selectors

from bootstrap.lineage import graph
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.lineage.page import inline
from bootstrap.lineage.page_server import Page as ServedPage
from bootstrap.lineage.page_server import serve_pages
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.browser

Draw = Callable[..., None]
SAMPLE = {"rollout": "g1", "prompt": "21+43=", "answer": NASTY, "verdict": "FAIL", "reward": 0.0, "reason": ""}


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The graph of the lineage with everything in it."""
    root = tmp_path_factory.mktemp("store") / "rich"
    entries = build_rich(root)
    return graph.lineage(entries, header=LineageStore(root).header(), samples={1: [SAMPLE]})


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a thousand generations."""
    made = build_long(tmp_path_factory.mktemp("store") / "addition", count=1000)
    return graph.to_html(graph.lineage(made.entries, samples=made.samples))


@pytest.fixture
def draw(page: Page, tmp_path: Path) -> Draw:
    """Open a graph, or a page, at a place of it."""

    def opened(shown: Mapping[str, Any] | str, place: str = "") -> None:
        file = tmp_path / "page.html"
        file.write_text(shown if isinstance(shown, str) else graph.to_html(shown))
        page.goto("about:blank")
        page.goto(file.as_uri() + place)
        expect(page.locator("body")).to_have_attribute("data-ready", "true")

    return opened


def chosen(page: Page | Frame) -> str:
    """Return the title of the panel."""
    return page.locator("#panel h2").inner_text()


def covered(boxes: list[dict[str, float]]) -> list[tuple[int, int]]:
    """Return the pairs of boxes that overlap."""
    return [
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(boxes), 2)
        if a["left"] < b["right"] and b["left"] < a["right"] and a["top"] < b["bottom"] and b["top"] < a["bottom"]
    ]


def test_why_this_champion_lists_decisions_not_weights(page: Page, draw: Draw, tmp_path: Path) -> None:
    draw(graph.lineage(restarted(tmp_path / "addition")))
    assert page.locator("#why li b").all_inner_texts() == ["gen-0", "gen-1", "gen-3", "gen-5"]


@pytest.mark.parametrize(
    ("num_generations", "num_cards", "density"), [(4, 4, "roomy"), (14, 14, "roomy"), (52, 32, "compact")]
)
def test_no_generation_covers_another_and_none_sticks_out(
    page: Page, draw: Draw, tmp_path: Path, num_generations: int, num_cards: int, density: str
) -> None:
    # Two in a row are rejected; of the six promoted between them five have nothing of their own to show.
    plan = [REJECTED if number % 8 in (3, 4) else PROMOTED for number in range(1, num_generations)]
    draw(graph.lineage(build(tmp_path / "lineage", plan=plan)))
    for width in (390, 700, 1000, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => document.querySelector('#graph svg').clientWidth < width", arg=width)
        boxes = page.locator(".node").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect())")
        assert len(boxes) == num_cards
        assert covered(boxes) == []
        assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        expect(page.locator("#graph")).to_have_class(density)
        shot(page, f"page-{width}")
    if num_cards < num_generations:
        expect(page.locator(".node.fold")).not_to_have_count(0)
        expect(page.locator(".node.rejected")).to_have_count(sum(outcome is REJECTED for outcome in plan))
        page.get_by_label("fold runs of promotions").uncheck()
        expect(page.locator(".node")).to_have_count(num_generations)


def test_a_run_of_promotions_opens_at_a_click_and_nothing_else_does(page: Page, draw: Draw, tmp_path: Path) -> None:
    draw(graph.lineage(build(tmp_path / "lineage", plan=[PROMOTED] * 30 + [REJECTED] + [PROMOTED] * 30)))
    expect(page.locator(".node.fold")).to_contain_text(["28 promotions", "25 promotions"])
    expect(page.locator(".node.rejected")).to_contain_text("gen-31")
    page.locator(".node.fold").first.click()
    expect(page.locator(".node.fold")).to_contain_text(["25 promotions"])
    expect(page.locator(".node[data-number='17']")).to_be_visible()


def test_every_generation_has_an_address_and_the_way_back(page: Page, draw: Draw, rich: dict[str, Any]) -> None:
    draw(rich, "#gen-4")
    assert chosen(page) == "gen-4"
    expect(page.locator("#panel")).to_contain_text("truncated 0.25 is above 0.1 (reject)")
    expect(page.locator(".node.chosen")).to_have_attribute("data-number", "4")
    page.locator("#panel").get_by_role("link", name="gen-3").first.click()
    assert chosen(page) == "gen-3" and page.url.endswith("#gen-3")
    page.go_back()
    assert chosen(page) == "gen-4" and page.url.endswith("#gen-4")
    draw(rich, "#gen-99")
    expect(page.locator("#panel")).to_be_hidden()


def test_each_name_of_a_generation_a_teacher_and_a_data_set_is_a_link_that_opens_it(
    page: Page, draw: Draw, rich: dict[str, Any]
) -> None:
    draw(rich)
    places = set[str]()
    for number in range(9):
        page.evaluate(f"location.hash = 'gen-{number}'")
        expect(page.locator("#panel h2")).to_have_text(f"gen-{number}")
        links = page.locator("#panel a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        places |= set(links)
        # A name that is not a link is part of a sentence that the gate wrote.
        words = "(node => [...node.querySelectorAll('td')].filter(cell => /^gen-\\d+$/.test(cell.textContent)))"
        unlinked = page.locator("#panel").evaluate(f"panel => {words}(panel).filter(c => !c.querySelector('a')).length")
        assert unlinked == 0
    kinds = {place.partition("-")[0] for place in places}
    assert kinds == {"#gen", "#data", "#model", "#suite"}
    for place in sorted(places):
        page.evaluate("place => { location.hash = place; }", place)
        expect(page.locator("#panel h2")).not_to_have_text("")
        assert page.locator("#panel a[href^='#gen-']").count() or place.startswith("#gen")
    draw(rich)
    page.locator(".outside").filter(has_text="teacher: /models/tutor").first.click()
    assert chosen(page) == "/models/tutor"
    expect(page.locator("#panel")).to_contain_text("8 of 9 generations descend from it")
    shot(page, "teacher")


def test_what_descends_from_a_bad_data_set_stands_out_in_the_graph(
    page: Page, draw: Draw, rich: dict[str, Any]
) -> None:
    draw(rich, "#gen-4")
    page.locator("#panel").get_by_role("link", name="of gen-3").click()
    assert chosen(page) == "Replayed answers"
    page.get_by_role("button", name="mark them in the graph").click()
    bright = page.locator(".node:not(.dim)").evaluate_all("nodes => nodes.map(node => Number(node.dataset.number))")
    assert bright == [4, 5, 6, 7, 8]
    expect(page.locator("#found")).to_have_text("5 of 9 downstream")
    shot(page, "tainted")
    page.keyboard.press("Escape")
    expect(page.locator(".node.dim")).to_have_count(0)
    expect(page.locator("#panel")).to_be_visible()


def test_links_lead_on_in_a_frame_without_origin_as_mlflow_shows_the_page(page: Page, rich: dict[str, Any]) -> None:
    page.goto("about:blank")
    page.set_content("<iframe sandbox='allow-scripts' style='width:1300px;height:900px'></iframe>")
    put = """([frame, html]) => { frame.src = URL.createObjectURL(new Blob([html], {type: "text/html"})); }"""
    page.evaluate(f"([html]) => ({put})([document.querySelector('iframe'), html])", [graph.to_html(rich)])
    frame = page.frame_locator("iframe")
    frame.locator(".node[data-number='8']").click()
    expect(frame.locator("#panel h2")).to_have_text("gen-8")
    frame.locator("#panel").get_by_role("link", name="gen-6").first.click()
    expect(frame.locator("#panel h2")).to_have_text("gen-6")
    frame.locator("#panel").get_by_role("link", name="of gen-0").click()
    expect(frame.locator("#panel h2")).to_have_text("Replayed answers")
    shot(page, "framed")


@pytest.mark.parametrize("width", [1440, 1000, 800, 390])
def test_the_open_panel_covers_no_generation(page: Page, draw: Draw, rich: dict[str, Any], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    draw(rich, "#gen-8")
    panel = page.locator("#panel").bounding_box()
    card = page.locator(".node.chosen").bounding_box()
    assert panel and card
    if width < 760:
        assert card["y"] >= 0 and card["y"] + card["height"] <= panel["y"], "below the graph"
    else:
        boxes = page.locator(".node").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect())")
        assert all(box["right"] <= panel["x"] for box in boxes), "beside the graph"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shot(page, f"open-{width}")


def test_a_teacher_outside_the_lineage_hangs_as_a_label_on_the_card_it_taught(
    page: Page, draw: Draw, tmp_path: Path
) -> None:
    draw(graph.lineage(build(tmp_path / "lineage", plan=(PROMOTED, REJECTED), outside="/models/tutor")))
    labels = page.locator(".outside")
    expect(labels).to_have_text(["teacher: /models/tutor"] * 2)
    for number in (1, 2):
        card = page.locator(f".node[data-number='{number}']").bounding_box()
        label = page.locator(f".outside[data-of='{number}']").bounding_box()
        assert card and label
        assert card["x"] < label["x"] and label["x"] + label["width"] < card["x"] + card["width"]
        assert label["y"] < card["y"] + card["height"] < label["y"] + label["height"]
    shot(page, "outside")
    page.get_by_label("teacher", exact=True).uncheck()
    expect(labels).to_have_count(0)
    page.locator(".node[data-number='1']").click()
    expect(labels).to_have_count(1)
    made_from = page.locator("#panel tr").filter(has_text="teacher")
    expect(made_from).to_contain_text("/models/tutor (outside the lineage)")
    expect(page.locator("#panel")).not_to_contain_text("gen-null")


def test_edges_of_every_kind_are_drawn_as_the_key_above_them_says(page: Page, draw: Draw, tmp_path: Path) -> None:
    shown = graph.lineage(build(tmp_path / "lineage", plan=(PROMOTED, PROMOTED)))
    shown["edges"] = [e for e in shown["edges"] if e["role"] in ("init", "data")]
    colours = {}
    for role in ("merged", "sampler", "judge", "voter", "reference", "teacher"):
        edge = {"from": 0, "source": "gen-0", "to": 2, "role": role, "fingerprint": "f" * 64, "on_path": False}
        draw(shown | {"edges": [*shown["edges"], edge]})
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


def test_an_edge_tells_what_passed_along_it_and_leads_to_its_generation(
    page: Page, draw: Draw, rich: dict[str, Any]
) -> None:
    draw(rich)
    edge = page.locator("path[data-edge='init 1 3']")
    assert edge.locator("title").text_content() == "init: gen-1 → gen-3; 48 answers, 67 % pass, 24 trained"
    edge.dispatch_event("click")
    assert chosen(page) == "gen-3"


def test_the_gates_table_says_at_which_level_and_against_whom_it_tested(page: Page, draw: Draw, tmp_path: Path) -> None:
    shown = graph.lineage(build(tmp_path / "lineage", plan=(PROMOTED,)))
    first, second, third, *_ = shown["nodes"][1]["gate_tests"]
    first |= {"alpha": 0.0125, "margin": None, "reference": []}
    second |= {"alpha": 0.025, "margin": 0.03, "reference": [0, 1]}
    # A record from before they were kept.
    third |= {"alpha": None, "margin": None, "reference": []}
    page.set_viewport_size({"width": 1000, "height": 900})
    draw(shown, "#gen-1")
    notes = page.locator("#panel tr.note")
    told = ["alpha 0.0125", "alpha 0.025 · margin 3.0 pp · compared with gen-0, gen-1"]
    expect(notes).to_have_text(told)
    expect(notes.first.locator("xpath=preceding-sibling::tr[1]")).to_contain_text("improvement")
    assert page.locator("#panel").evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    shot(page, "gate")


def test_a_card_with_a_stages_name_has_room_for_its_reason(page: Page, draw: Draw, rich: dict[str, Any]) -> None:
    draw(rich)
    for card in page.locator(".node").all():
        inside = card.locator(".reason").bounding_box()
        outside = card.bounding_box()
        assert inside and outside and inside["y"] + inside["height"] <= outside["y"] + outside["height"]
        assert inside["height"] > 10


def test_the_keyboard_alone_opens_moves_searches_and_closes(page: Page, draw: Draw, tmp_path: Path) -> None:
    entries = build(tmp_path / "lineage", plan=(PROMOTED, REJECTED, PROMOTED, PROMOTED, PROMOTED))
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    draw(graph.lineage(entries, samples={1: [SAMPLE]}))
    focused = "document.activeElement.dataset.number || document.activeElement.id"
    page.locator(".node[data-number='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "2", "down goes to the first child"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert chosen(page) == "gen-1" and page.evaluate(focused) == "1"
    expect(page.locator("#panel .sample")).to_contain_text("<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "panel", "Enter again goes into the panel"
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    assert page.evaluate(focused) == "1"
    page.keyboard.press("/")
    page.keyboard.type("rejected")
    expect(page.locator("#found")).to_have_text("1 of 6 match")
    page.keyboard.press("Enter")
    assert chosen(page) == "gen-2" and page.evaluate(focused) == "search"
    assert not dialogs and page.locator("img").count() == 0, "what a model wrote is shown, not obeyed"


def test_a_thousand_generations_are_an_overview_and_the_newest_of_them_as_cards(
    page: Page, draw: Draw, thousand: str
) -> None:
    draw(thousand)
    told = page.locator("#stretch-told")
    expect(told).to_have_text("gen-960 to gen-999 of 1,000")
    expect(page.locator(".node.fold")).to_contain_text("960 earlier")
    expect(page.locator(".node:not(.fold)")).to_have_count(40)
    elements = page.evaluate("document.querySelectorAll('*').length")
    assert elements < 2000, "the work of drawing depends on what is in view"
    shot(page, "thousand")
    page.get_by_role("button", name="all", exact=True).click()
    expect(told).to_have_text("all 1,000 generations")
    expect(page.locator("#graph")).to_have_class("dots")
    expect(page.locator(".node.rejected")).to_have_count(250)
    boxes = page.locator(".node").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect())")
    assert covered(boxes) == []
    assert page.evaluate("document.querySelectorAll('*').length") < 6000
    shot(page, "thousand-all")


def test_the_overview_is_moved_by_keys_and_by_the_pointer(page: Page, draw: Draw, thousand: str) -> None:
    draw(thousand)
    told, strip = page.locator("#stretch-told"), page.locator("#strip")
    strip.focus()
    page.keyboard.press("Home")
    expect(told).to_have_text("gen-0 to gen-39 of 1,000")
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text("gen-10 to gen-49 of 1,000")
    page.keyboard.press("-")
    expect(told).to_have_text("gen-0 to gen-79 of 1,000")
    page.keyboard.press("+")
    expect(told).to_have_text("gen-20 to gen-59 of 1,000")
    box = strip.bounding_box()
    assert box
    strip.click(position={"x": box["width"] / 2, "y": 20})
    expect(told).to_have_text("gen-480 to gen-519 of 1,000")


def test_any_of_a_thousand_generations_opens_by_its_address_and_its_neighbourhood_shows(
    page: Page, draw: Draw, thousand: str
) -> None:
    draw(thousand, "#gen-4")
    assert chosen(page) == "gen-4"
    expect(page.locator(".node.chosen")).to_be_in_viewport()
    expect(page.locator("#panel")).to_contain_text("bootstrap show gen-4 prints the rest of this one")
    expect(page.locator("#panel")).to_contain_text("of which here the notable ones")
    page.locator("#hops").select_option("2")
    shown = page.locator(".node").evaluate_all("nodes => nodes.map(node => Number(node.dataset.number))")
    assert shown == [1, 2, 3, 4, 5, 6]
    shot(page, "near")
    page.locator("#search").fill("997")
    expect(page.locator("#found")).to_have_text("1 of 1000 match")
    page.keyboard.press("Enter")
    assert chosen(page) == "gen-997"
    expect(page.locator("#panel")).to_contain_text("Best answers")


def test_nothing_is_loaded_and_nothing_fails_while_the_page_is_used(page: Page, draw: Draw, thousand: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    draw(thousand, "#gen-900")
    page.keyboard.press("Escape")
    assert [url for url in asked if not url.startswith(("file:", "about:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1


def test_on_paper_the_chosen_generation_follows_the_graph(
    page: Page, draw: Draw, rich: dict[str, Any], tmp_path: Path
) -> None:
    draw(rich, "#gen-3")
    page.emulate_media(media="print")
    panel, last = page.locator("#panel").bounding_box(), page.locator("section").last.bounding_box()
    assert panel and last and panel["y"] >= last["y"] + last["height"]
    expect(page.locator("#search")).to_be_hidden()
    page.pdf(path=tmp_path / "paper.pdf")


def test_the_served_page_links_mlflow_and_breaks_no_rule_of_its_own_policy(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "addition"
    entries = build(root, plan=(PROMOTED, REJECTED))
    outbox = Outbox(root, tracking_uri="sqlite:////nowhere", experiment="bootstrap/addition")
    receipt = Receipt(
        hash=entries[1].hash,
        experiment_id="7",
        lineage_run_id="root",
        run_id="r1",
        model_id="m-1",
        version="2",
    )
    outbox.mark(1, receipt)
    page = browser.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    shown = ServedPage(store=LineageStore(root), outbox=outbox, mlflow="http://127.0.0.1:5999")
    with serve_pages({"addition": shown}) as running:
        page.goto(running.address("addition") + "#gen-1")
        link = page.locator("#panel").get_by_role("link", name="MLflow run").first
        run = "http://127.0.0.1:5999/#/experiments/7/runs/r1?workflowType=machine_learning"
        expect(link).to_have_attribute("href", run)
        page.locator("#panel .sample").first.wait_for()
        shot(page, "served")
    assert told == []
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
