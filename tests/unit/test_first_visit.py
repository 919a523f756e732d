"""MLflow's first page with a script before its own, and nothing else changed."""

import re

from bootstrap.lineage import first_visit


def test_the_script_stands_before_mlflows_own_and_the_page_is_otherwise_the_same() -> None:
    page = '<!doctype html><head><title>MLflow</title><script defer src="main.js"></script></head><body></body>'
    found = first_visit.with_script(page)
    own = re.search(r"<script>.*?</script>", found, re.DOTALL)
    assert own is not None and found.replace(own[0], "") == page
    assert found.index("localStorage") < found.index("main.js")


def test_a_page_without_a_script_is_left_alone() -> None:
    assert first_visit.with_script("<html></html>") == "<html></html>"


def test_what_a_visitor_chose_is_never_overwritten() -> None:
    assert "getItem(key) === null" in first_visit.with_script("<script>")
    assert "mlflow.assistant.panelOpen_v1" not in first_visit.SEEN, "an open panel is the visitor's own"
