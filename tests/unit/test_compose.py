"""infra/compose.yaml: secrets are refused when empty, ports stay on loopback, and who reaches whom is as drawn."""

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.server import security_utils as security
from support import compose
from support.health_checks import BY_PYTHON, BY_WGET, check_asks_the_server_itself

pytestmark = pytest.mark.mlflow

INFRA = Path(__file__).parents[2] / "infra"
SECRETS = compose.read_variables(INFRA / ".env.example")
FILLED = {name: f"secret-{name}" for name in SECRETS}
DEFAULTS = dict(re.findall(r"^#([A-Z0-9_]+)=(\S+)$", (INFRA / ".env.example").read_text(), re.MULTILINE))
PUBLISHED = {"head": 8265, "mlflow": 5000, "prometheus": 9090, "grafana": 3000}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return compose.load(INFRA / "compose.yaml", FILLED)


@pytest.fixture(scope="module")
def services(document: dict[str, Any]) -> dict[str, compose.Service]:
    return {service.name: service for service in compose.services(document)}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$A ${A}-${A}", "a a-a"),
        ("${A:-other}", "a"),
        ("${EMPTY:-x:1,y}", "x:1,y"),
        ("${NONE:-}", ""),
        ("${A:?say so}", "a"),
        ("a$$b $${A}", "a$b ${A}"),
    ],
)
def test_variables_are_filled_in(text: str, filled: str) -> None:
    assert compose.interpolate(text, {"A": "a", "EMPTY": ""}) == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE:?say so}", "NONE is missing a value: say so"),
        ("${EMPTY:?say so}", "EMPTY is missing a value: say so"),
        ("$NONE", "NONE is not set"),
        ("${A:+x}", "not understood"),
        ("${A-x}", "not understood"),
        ("100 $", "not understood"),
    ],
)
def test_what_cannot_be_filled_in_is_refused(text: str, message: str) -> None:
    with pytest.raises(compose.ComposeError, match=message):
        compose.interpolate(text, {"A": "a", "EMPTY": ""})


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [None, ""])
def test_a_secret_that_is_missing_or_empty_is_refused(name: str, value: str | None) -> None:
    variables = {key: text for key, text in FILLED.items() if key != name}
    if value is not None:
        variables[name] = value
    with pytest.raises(compose.ComposeError, match=f"{name} is missing a value: write an? .* of your own into"):
        compose.load(INFRA / "compose.yaml", variables)


def test_the_example_names_every_variable_and_has_no_secret() -> None:
    assert set(SECRETS.values()) == {""}
    text = (INFRA / "compose.yaml").read_text()
    used = {match[0].strip("${").partition(":")[0] for match in compose.VARIABLE.finditer(text)}
    assert used == {*SECRETS, *DEFAULTS}


def test_a_default_in_the_example_is_the_one_of_the_file(document: dict[str, Any]) -> None:
    lines = (INFRA / ".env.example").read_text().splitlines()
    defaults = dict(
        line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line and " " not in line
    )
    assert compose.load(INFRA / "compose.yaml", FILLED | defaults) == document


def test_ports_are_published_on_this_machine_alone_unless_said_otherwise(document: dict[str, Any]) -> None:
    def published(document: dict[str, Any]) -> dict[str, list[str]]:
        return {name: service["ports"] for name, service in document["services"].items() if "ports" in service}

    assert published(document) == {name: [f"127.0.0.1:{port}:{port}"] for name, port in PUBLISHED.items()}
    elsewhere = compose.load(INFRA / "compose.yaml", FILLED | {"BIND_ADDRESS": "10.0.0.5"})
    assert published(elsewhere) == {name: [f"10.0.0.5:{port}:{port}"] for name, port in PUBLISHED.items()}


def test_only_the_head_reaches_mlflow_and_only_mlflow_its_stores(document: dict[str, Any]) -> None:
    networks = {name: set(service["networks"]) for name, service in document["services"].items()}
    pairs = {(a, b) for a, b in permutations(networks, 2) if networks[a] & networks[b]}
    assert {a for a, b in pairs if b == "mlflow"} == {"head", "postgres", "s3"}
    for store in ("postgres", "s3"):
        assert {a for a, b in pairs if b == store} == {"mlflow"}
    internal = {name for name, settings in document["networks"].items() if settings.get("internal")}
    assert internal == {"tracking", "database", "objects"}
    # Ray takes the address that leads out for its own: a second one would be a guess.
    assert networks["head"] - internal == networks["worker"] == {"cluster"}


def test_every_address_in_the_settings_is_of_a_service_within_reach(document: dict[str, Any]) -> None:
    found = set()
    for name, service in document["services"].items():
        texts = " ".join((*service.get("command", ()), *service.get("environment", {}).values()))
        for other in re.findall(r"(?:://|@|=)([a-z][a-z0-9-]*):\d+", texts):
            if other == "localhost":
                # How a browser calls a page.
                continue
            assert set(service["networks"]) & set(document["services"][other]["networks"]), f"{name} -> {other}"
            found.add((name, other))
    assert found == {
        ("head", "mlflow"),
        ("head", "prometheus"),
        ("head", "grafana"),
        ("worker", "head"),
        ("worker-gpu", "head"),
        ("mlflow", "mlflow"),
        ("mlflow", "postgres"),
        ("mlflow", "s3"),
    }


def test_mlflow_answers_under_the_name_that_the_head_calls(services: dict[str, compose.Service]) -> None:
    called = services["head"].environment["MLFLOW_TRACKING_URI"].removeprefix("http://")
    (option,) = [word for word in services["mlflow"].argv if word.startswith("--allowed-hosts=")]
    assert called in option.removeprefix("--allowed-hosts=").split(",")


def test_prometheus_and_grafana_call_services_within_reach(document: dict[str, Any]) -> None:
    jobs = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = [
        target.partition(":")[0] for job in jobs for group in job["static_configs"] for target in group["targets"]
    ]
    names = [name for job in jobs for found in job.get("dns_sd_configs", ()) for name in found["names"]]
    folder = INFRA / "grafana" / "provisioning" / "datasources"
    (source,) = yaml.safe_load((folder / "prometheus.yaml").read_text())["datasources"]
    assert {*targets, *names} == {"head", "worker", "worker-gpu", "localhost"}
    assert source["url"] == "http://prometheus:9090"
    for name in ("head", "worker", "worker-gpu", "grafana"):
        assert set(document["services"]["prometheus"]["networks"]) & set(document["services"][name]["networks"])


def test_every_container_is_confined(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"] and service["pids_limit"], name
        assert not service.get("privileged") and "cap_add" not in service, name
        assert "docker.sock" not in str(service.get("volumes", ())), name


def test_every_image_is_built_here_or_pinned(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        tag = service["image"].partition(":")[2]
        assert "build" in service or any(mark.isdigit() for mark in tag), name


def test_services_start_after_what_they_need_and_are_asked_how_they_are(services: dict[str, compose.Service]) -> None:
    order = list(services)
    for before, after in (("s3", "mlflow"), ("postgres", "mlflow"), ("head", "worker"), ("prometheus", "grafana")):
        assert order.index(before) < order.index(after)
    # An MLflow that cannot be reached never holds up a run.
    assert not services["head"].depends_on
    assert "worker-gpu" not in services
    assert all(service.health for service in services.values())


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
@pytest.mark.parametrize("name", BY_PYTHON)
def test_a_health_check_asks_the_server_itself_and_no_proxy(
    name: str, status: int, healthy: bool, services: dict[str, compose.Service]
) -> None:
    check_asks_the_server_itself(services[name], status=status, healthy=healthy)


def test_every_health_check_by_http_is_tried_here_or_among_the_services(services: dict[str, compose.Service]) -> None:
    by_url = {name for name, service in services.items() if service.health and "http" in str(service.health.argv)}
    assert by_url == {*BY_PYTHON, *BY_WGET}


def test_services_that_talk_to_others_go_round_a_proxy(services: dict[str, compose.Service]) -> None:
    for name in ("head", "worker", "mlflow", "prometheus", "grafana"):
        environment = services[name].environment
        assert environment["NO_PROXY"] == environment["no_proxy"]
        assert {*services, "worker-gpu"} <= set(environment["NO_PROXY"].split(","))


def test_mlflow_lets_a_page_change_something_that_the_variables_name() -> None:
    def options(**variables: str) -> dict[str, str]:
        words = compose.load(INFRA / "compose.yaml", FILLED | variables)["services"]["mlflow"]["command"]
        return dict(word.split("=", 1) for word in words if "=" in word)

    published = options(MLFLOW_HOSTS="mlflow.example.org", MLFLOW_ORIGINS="https://mlflow.example.org")
    hosts = published["--allowed-hosts"].split(",")
    for name in ("mlflow:5000", "mlflow.example.org"):
        assert security.is_allowed_host_header(hosts, name)
    origins = published["--cors-allowed-origins"].split(",")
    assert not security.should_block_cors_request("https://mlflow.example.org", "POST", origins)
    usual = options()["--cors-allowed-origins"].split(",")
    for local in ("http://localhost:5000", "http://127.0.0.1:5000"):
        assert not security.should_block_cors_request(local, "POST", usual)
    assert security.should_block_cors_request("https://mlflow.example.org", "POST", usual)


def test_a_stopped_head_has_time_for_the_last_checkpoint(services: dict[str, compose.Service]) -> None:
    from bootstrap.cluster.submit import STOP_SECONDS

    assert services["head"].stop_seconds > STOP_SECONDS


def test_no_secret_is_an_argument(services: dict[str, compose.Service]) -> None:
    for service in services.values():
        words = " ".join((*service.argv, *(service.health.argv if service.health else ())))
        assert not [value for value in FILLED.values() if value in words], service.name
