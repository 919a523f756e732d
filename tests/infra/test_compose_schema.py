"""Every compose file of infra/ obeys the Compose Specification and refers only to what it declares.

Left out: what Compose itself does on top, such as interpolation and merging.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.kubernetes import REPOSITORY, SCHEMAS

Compose = dict[str, Any]

EXAMPLE: Compose = {
    "name": "example",
    "x-shared": {"restart": "unless-stopped"},
    "services": {
        "db": {
            "image": "postgres:17",
            "environment": {"POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?fill .env}"},
            "healthcheck": {"test": ["CMD", "pg_isready"], "interval": "5s", "retries": 3},
            "volumes": ["db:/var/lib/postgresql/data", "./init:/init:ro"],
            "networks": ["inside"],
        },
        "web": {
            "build": {"context": "..", "dockerfile": "infra/Dockerfile", "target": "mlflow"},
            "depends_on": {"db": {"condition": "service_healthy"}},
            "ports": ["127.0.0.1:5000:5000"],
            "networks": {"inside": {"aliases": ["mlflow"]}},
            "volumes": [{"type": "volume", "source": "db", "target": "/db", "read_only": True}],
        },
    },
    "volumes": {"db": None},
    "networks": {"inside": {"internal": True}},
}
"""Small, and of every part that is changed below."""
FILES = sorted((REPOSITORY / "infra").glob("compose*.yaml"))


def errors(compose: Compose) -> list[str]:
    """Return what is wrong with a compose file, as `path: reason`."""
    validator = jsonschema.Draft7Validator(json.loads((SCHEMAS / "compose-spec.json").read_text()))
    found = [f"{'.'.join(map(str, one.absolute_path))}: {_reason(one)}" for one in validator.iter_errors(compose)]
    return found or list(dangling(compose))


def _reason(error: jsonschema.ValidationError) -> str:
    """Return what is wrong, from the alternative that came closest where a value has several forms."""
    return jsonschema.exceptions.best_match([error]).message


def dangling(compose: Compose) -> Iterator[str]:
    """Yield each name that a service refers to and nothing declares."""
    services = compose["services"]
    for name, service in services.items():
        for kind in ("networks", "configs", "secrets"):
            for used in service.get(kind, ()):
                used = used["source"] if isinstance(used, dict) else used
                if used not in compose.get(kind, {}) and used != "default":
                    yield f"services.{name}.{kind}: {used} is not declared"
        for volume in service.get("volumes", ()):
            source = volume.get("source", "") if isinstance(volume, dict) else volume.partition(":")[0]
            if source and source[0] not in "./~$" and source not in compose.get("volumes", {}):
                yield f"services.{name}.volumes: {source} is not declared"
        waits = service.get("depends_on", {})
        for other in waits:
            if other not in services:
                yield f"services.{name}.depends_on: {other} is not declared"
            elif isinstance(waits, dict) and waits[other].get("condition") == "service_healthy":
                built = "build" in services[other]
                if not built and "test" not in services[other].get("healthcheck", {}):
                    yield f"services.{name}.depends_on: {other} has no healthcheck to wait for"


@pytest.mark.parametrize("file", [None, *FILES], ids=lambda file: file.name if file else "example")
def test_a_compose_file_obeys_the_specification(file: Path | None):
    assert errors(yaml.safe_load(file.read_text()) if file else EXAMPLE) == []


WRONG = [
    (("servces",), {}, "servces"),
    (("services", "db", "imagee"), "postgres", "imagee"),
    (("services", "db", "image"), 17, "services.db.image: 17 is not of type 'string'"),
    (("services", "db", "healthcheck", "intervall"), "5s", "intervall"),
    (("services", "db", "healthcheck", "retries"), [3], "services.db.healthcheck.retries"),
    (("services", "web", "build", "taget"), "cpu", "taget"),
    (("services", "web", "depends_on", "db", "conditions"), "x", "conditions"),
    (("services", "web", "volumes", 0, "sorce"), "x", "sorce"),
    (("networks", "inside", "intern"), True, "intern"),
    (("volumes",), {}, "db is not declared"),
    (("services", "web", "networks"), ["outside"], "outside is not declared"),
    (("services", "web", "depends_on"), ["cache"], "cache is not declared"),
    (("services", "db", "healthcheck"), {"disable": True}, "db has no healthcheck to wait for"),
]


@pytest.mark.parametrize(("place", "value", "named"), WRONG, ids=[named for *_, named in WRONG])
def test_a_wrong_key_type_or_name_is_named(place: tuple[str | int, ...], value: Any, named: str):
    compose = copy.deepcopy(EXAMPLE)
    inner: Any = compose
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    found = errors(compose)
    print(found)
    assert any(named in reason for reason in found)
