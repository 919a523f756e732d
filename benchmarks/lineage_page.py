"""How large the lineage page is, and how soon it stands in a browser, at several lengths of a lineage.

    python benchmarks/lineage_page.py                    # 5, 100 and 1,000 generations
    python benchmarks/lineage_page.py --generations 200

A lineage is made without a model (`bootstrap/bench/long_lineage.py`), each generation replaying answers of all that
were promoted before it, and its page is served as `bootstrap ui` serves it. A headless Chromium opens the page three
times, each time without a cache. Columns: size; seconds to make the page from the ledger; milliseconds from the
beginning of the navigation to the end of the load event, and to the first frame with the graph in it (median, least
and most); cards that are drawn, of generations and of folded runs.

Left out: MLflow's frame around the page, a slow network, a phone's processor.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bootstrap.bench.long_lineage import NAME, LongLineage
from bootstrap.lineage.page_server import Page, serve_pages
from bootstrap.store.lineage_store import LineageStore

GENERATIONS = (5, 100, 1000)
ROLLOUTS = 64
"""Of each generation; the page shows a few of them."""
TIMES = 3
WINDOW = (1440, 1000)
PATIENCE = 60_000
"""Longest wait for the graph, in milliseconds."""
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
STOOD = """
addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => setTimeout(() => {
  window.graphStood = performance.now();
})));
"""
"""The page draws while it loads; the task after the next frame begins once that frame is painted."""
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each length."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--generations", type=int, nargs="+", default=GENERATIONS, metavar="N", help="lengths")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="program; by default Playwright's own")
    chosen = parser.parse_args(arguments)
    print(
        f"{'generations':>11} {'bytes':>9} {'made':>7} {'load event':>16} {'graph stands':>16} {'cards':>5}", flush=True
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chosen.chromium, args=list(FLAGS))
        for count in chosen.generations:
            with tempfile.TemporaryDirectory(prefix="lineage-page-") as folder:
                print(measured(browser, Path(folder) / NAME, generations=count), flush=True)
        browser.close()


def measured(browser: Browser, root: Path, *, generations: int) -> str:
    """Grow a lineage in `root`, open its page and return the row to print."""
    for _ in LongLineage(root, rollouts=ROLLOUTS, givers=generations).grow_to(generations):
        pass
    page = Page(store=LineageStore(root))
    began = time.perf_counter()
    size = len(page.html())
    made = time.perf_counter() - began
    with serve_pages({NAME: page}) as server:
        looks = [look(browser, server.address(NAME)) for _ in range(TIMES)]
    loaded, stood, cards = zip(*looks, strict=True)
    return f"{generations:>11,} {size:>9,} {made:>5.1f} s {told(loaded):>16} {told(stood):>16} {cards[0]:>5}"


def look(browser: Browser, address: str) -> tuple[float, float, int]:
    """Return milliseconds to the end of the load event and to the painted graph, and the number of cards in it."""
    context = browser.new_context(viewport={"width": WINDOW[0], "height": WINDOW[1]})
    context.add_init_script(STOOD)
    page = context.new_page()
    page.goto(address, wait_until="load", timeout=PATIENCE)
    page.wait_for_function("window.graphStood", timeout=PATIENCE)
    found = page.evaluate(f"[{LOADED}, window.graphStood, document.querySelectorAll('#graph .node').length]")
    context.close()
    return found[0], found[1], found[2]


def told(milliseconds: Sequence[float]) -> str:
    """Return the median, the least and the most."""
    return f"{statistics.median(milliseconds):.0f} ({min(milliseconds):.0f}-{max(milliseconds):.0f})"


if __name__ == "__main__":
    main()
