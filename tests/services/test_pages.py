"""What a person sees in MLflow, Ray and Prometheus, and what Grafana's dashboards would show."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
import yaml
from playwright.sync_api import Browser, Page, expect
from support import chromium, dashboards, ways
from support.chromium import shot
from support.stack import INFRA, LINEAGE, Grown, Stack

from bootstrap.ledger_records import Generation
from bootstrap.lineage import tracking
from bootstrap.lineage.outbox import Receipt

pytestmark = pytest.mark.services
SETTLE_SECONDS = 40.0
"""How long after the lineage its last numbers are in Prometheus: two scrapes, and Ray gathers every 10 s."""
DASHBOARDS = INFRA / "grafana" / "dashboards"


@pytest.fixture(scope="module")
def settled(grown: Grown) -> float:
    """Wait until the series of the lineage are in Prometheus; returns when the lineage began."""
    time.sleep(max(0.0, grown.ended + SETTLE_SECONDS - time.time()))
    return grown.began


@pytest.fixture(scope="module")
def published(grown: Grown, stack: Stack) -> dict[int, Receipt]:
    """Publish what MLflow has missed; returns what it calls the generations."""
    stack.sync()
    return grown.receipts(stack)


def test_every_query_of_the_dashboards_has_an_answer(settled: float, stack: Stack) -> None:
    asked = dashboards.queries(DASHBOARDS)
    assert asked
    assert dashboards.unanswered(asked, prometheus=stack.prometheus, start=settled, end=time.time()) == []


def test_a_query_without_an_answer_is_named(settled: float, stack: Stack, tmp_path: Path) -> None:
    panels = [
        {"title": "there", "targets": [{"expr": 'up{job=~"$job"}'}]},
        {"title": "missing", "targets": [{"expr": "ray_no_such_series"}]},
        {"title": "row", "panels": [{"title": "wrong", "targets": [{"expr": "sum(up"}]}]},
    ]
    variables = {"list": [{"name": "job", "type": "query", "query": "label_values(up, job)"}]}
    (tmp_path / "made.json").write_text(json.dumps({"panels": panels, "templating": variables}))
    asked = dashboards.queries(tmp_path)
    assert [query.text for query in asked] == ["up", 'up{job=~".*"}', "ray_no_such_series", "sum(up"]
    missing, wrong = dashboards.unanswered(asked, prometheus=stack.prometheus, start=settled, end=time.time())
    assert missing == "made.json, panel 'missing': ray_no_such_series (no data)"
    assert wrong.startswith("made.json, panel 'wrong': sum(up (") and "parse error" in wrong


def test_prometheus_reaches_the_head_the_worker_and_itself(
    settled: float, stack: Stack, http: requests.Session
) -> None:
    targets = http.get(f"{stack.prometheus}/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
    found = {(target["labels"]["job"], target["labels"]["instance"], target["health"]) for target in targets}
    ports = {("ray", "head", 8080), ("ray", "worker", 8080), ("prometheus", "prometheus", 9090)}
    assert found == {(job, f"127.0.0.1:{stack.ground.port(name, port)}", "up") for job, name, port in ports}


def test_ray_finds_prometheus_where_it_is_told(stack: Stack, http: requests.Session) -> None:
    token = {"Authorization": f"Bearer {stack.variables['RAY_AUTH_TOKEN']}"}
    answer = http.get(f"{stack.ray}/api/prometheus_health", headers=token, timeout=10)
    assert answer.json()["msg"] == "prometheus running"


def test_grafana_finds_prometheus_and_both_folders_of_dashboards(stack: Stack) -> None:
    """Grafana itself is in no package here: what it is told is compared with what the others do."""
    settings = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]["grafana"]
    mounts = {text.split(":")[1]: text.split(":")[0] for text in settings["volumes"]}
    provisioning = INFRA / mounts["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["uid"] == "prometheus"
    providers = yaml.safe_load((provisioning / "dashboards" / "dashboards.yaml").read_text())["providers"]
    folders = [mounts[provider["options"]["path"]] for provider in providers]
    assert (INFRA / folders[0]).resolve() == DASHBOARDS
    assert folders[1] == "ray-dashboards"
    for path in DASHBOARDS.glob("*.json"):
        variables = {v["name"]: v for v in json.loads(path.read_text())["templating"]["list"]}
        assert variables["datasource"]["query"] == source["type"], path.name
    written = stack.ground.folder(stack.services["head"].service, "/ray-dashboards")
    uids = {json.loads(path.read_text())["uid"] for path in written.glob("*.json")}
    assert "rayDefaultDashboard" in uids, "Ray did not write its dashboards where Grafana reads them"


def test_mlflow_shows_a_generations_run(grown: Grown, published: dict[int, Receipt], stack: Stack, page: Page) -> None:
    own = published[1]
    outcome = grown.store.ledger.read()[1].generation.outcome
    page.goto(tracking.run_url(stack.mlflow, own.experiment_id, own.run_id))
    expect(page.get_by_text(f"{outcome.capitalize()}: ").first).to_be_visible()
    for kind, model in (("Input", f"{LINEAGE}-gen-0"), ("Output", f"{LINEAGE}-gen-1")):
        row = page.get_by_role("row").filter(has_text=kind).filter(has=page.get_by_role("link", name=model))
        expect(row).to_have_count(1)
    shot(page, "mlflow-run")


def test_from_every_page_of_a_generation_each_link_of_the_bar_leads_where_it_says(
    grown: Grown, published: dict[int, Receipt], stack: Stack, page: Page
) -> None:
    bar = _bar([entry.generation for entry in grown.store.ledger.read()], number=1)
    ways.click_from_every_page(page, bar, published[1], stack.mlflow)


def _bar(nodes: Sequence[Generation], *, number: int) -> ways.Bar:
    """Return what the bar of a generation has to lead to, whatever the gate decided of it and of the others."""
    parents = nodes[number].parents
    relatives = {*parents, *(one.number for one in nodes if number in one.parents or one.parents == parents)}
    return ways.Bar(
        number=number,
        registered=LINEAGE,
        says=f"{nodes[number].outcome.capitalize()}: ",
        relatives={f"gen-{one}": f"{nodes[one].outcome.capitalize()}: " for one in sorted(relatives - {number})},
        verifier="exact(answer=whole(strip=false))",
        results="results (guard broken)",
        samples=re.compile(r"^[1-9]\d* of [1-9]\d*$"),
    )


def test_mlflow_shows_the_lineages_picture_from_the_bucket(
    published: dict[int, Receipt], stack: Stack, page: Page
) -> None:
    own = published[0]
    page.goto(tracking.lineage_url(stack.mlflow, own.experiment_id, own.lineage_run_id))
    frame = page.frame_locator("iframe")
    for number in range(4):
        expect(frame.locator(f".node[data-number='{number}']")).to_be_visible()
    shot(page, "mlflow-lineage")


def test_ray_shows_job_and_worker_to_someone_with_the_token(grown: Grown, stack: Stack, page: Page) -> None:
    page.goto(f"{stack.ray}/#/jobs")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Authentication Token Required")
    dialog.get_by_placeholder("Enter your authentication token").fill(stack.variables["RAY_AUTH_TOKEN"])
    dialog.get_by_role("button", name="Submit").click()
    row = page.get_by_role("row").filter(has_text=f"{LINEAGE}-a1")
    expect(row).to_contain_text("SUCCEEDED")
    expect(row).to_contain_text("python -m bootstrap run")
    shot(page, "ray-jobs")
    page.goto(f"{stack.ray}/#/cluster")
    expect(page.get_by_role("row").filter(has_text="ALIVE")).to_have_count(2)
    shot(page, "ray-cluster")
    page.goto(f"{stack.ray}/#/actors")
    expect(page.get_by_role("row").filter(has_text=f"{LINEAGE} worker 0")).not_to_have_count(0)
    shot(page, "ray-actors")


def test_prometheus_draws_a_query_of_the_dashboards(settled: float, stack: Stack, browser: Browser) -> None:
    query = next(query.text for query in dashboards.queries(DASHBOARDS) if "bootstrap_tokens" in query.text)
    # One script of the page as Debian builds it is of a kind that browsers refuse.
    with chromium.new_page(browser, strict=False) as page:
        page.goto(f"{stack.prometheus}/graph?g0.expr={quote(query)}&g0.tab=0&g0.range_input=10m")
        expect(page.get_by_text(re.compile(r"Total time series: [1-9]"))).to_be_visible()
        shot(page, "prometheus")
