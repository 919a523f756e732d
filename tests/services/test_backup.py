"""Backup and restore, by the commands that a person runs on the containers: the store, the database, the bucket."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import compose, native, readme
from support.stack import INFRA, LINEAGE, Grown, Stack, model_file

from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.services


def runs(url: str) -> dict[str, object]:
    """Return what a server knows of the lineage's runs, by run id."""
    client = MlflowClient(url)
    experiment = client.get_experiment_by_name(f"bootstrap/{LINEAGE}")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    # The whole of each, since a search leaves out the models that went in.
    return {run.info.run_id: in_order(client.get_run(run.info.run_id).to_dictionary()) for run in found}


def in_order(value: object) -> object:
    """Return nested mappings and lists with every list sorted: a database promises no order."""
    if isinstance(value, dict):
        return {key: in_order(part) for key, part in value.items()}
    return sorted(map(in_order, value), key=repr) if isinstance(value, list) else value


@contextmanager
def empty(stack: Stack, name: str) -> Iterator[native.Running]:
    """Make an empty database of this name; leave the block with the MLflow that has it and a bucket of its own."""
    settings = stack.services["mlflow"].service
    database = settings.environment["MLFLOW_BACKEND_STORE_URI"].removesuffix("/mlflow") + f"/{name}"
    service = replace(
        settings,
        name=name,
        argv=tuple(word.replace("s3://lineage/", f"s3://{name}/") for word in settings.argv),
        environment={**settings.environment, "MLFLOW_BACKEND_STORE_URI": database},
    )
    stack.ground.admit(service)
    server = native.Running(service=service, ground=stack.ground, log=stack.ground.root / f"{name}.log")
    stack.services["postgres"].execute(["createdb", "--username=mlflow", name])
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def another(stack: Stack) -> Iterator[dict[str, native.Running]]:
    """Start MLflow and what it needs on data of their own, as on another host; a head that runs commands alone."""
    services = compose.services(compose.load(INFRA / "compose.yaml", stack.variables))
    needed = {"mlflow", "postgres", "s3"}
    without = {service.name for service in services} - needed
    with native.running(services, home=INFRA, without=without) as started:
        ground = started["mlflow"].ground
        (head,) = [service for service in services if service.name == "head"]
        yield started | {"head": native.Running(service=head, ground=ground, log=ground.root / "head.log")}


def test_a_backup_restored_on_another_host_by_the_commands_of_the_readme_is_the_same_lineage(
    grown: Grown, stack: Stack, tmp_path: Path
) -> None:
    stack.sync()
    for line in readme.commands("Backup"):
        readme.run(line, stack.services, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bucket.tar", "mlflow.dump", "store.tar"]

    with another(stack) as services:
        for line in readme.commands("Restore"):
            readme.run(line.replace("NAME", LINEAGE), services, tmp_path)
        ground = services["mlflow"].ground
        url = ground.url("mlflow", 5000)
        assert runs(url) == runs(stack.mlflow)
        for receipt in grown.receipts(stack).values():
            name = "model.safetensors"
            assert model_file(url, receipt, name) == model_file(stack.mlflow, receipt, name)
        copied = LineageStore(ground.folder(services["head"].service, "/store") / "runs" / LINEAGE)
        assert copied.ledger.read() == grown.store.ledger.read()


def test_an_upgrade_by_the_commands_of_the_readme_leaves_a_database_of_this_version_as_it_is(
    grown: Grown, stack: Stack
) -> None:
    stack.sync()
    before = runs(stack.mlflow)
    (line,) = readme.commands("Upgrade", containing="mlflow db upgrade")
    *_, command = shlex.split(line)
    stack.services["mlflow"].execute(["sh", "-c", command])
    assert runs(stack.mlflow) == before


def test_a_copy_of_the_store_is_a_whole_lineage_and_fills_an_empty_mlflow(
    grown: Grown, stack: Stack, tmp_path: Path
) -> None:
    stack.sync()
    copied = tmp_path / "store"
    shutil.copytree(stack.store, copied)
    stack.run("verify", store=copied)
    with empty(stack, "anew") as server:
        server.start()
        url = stack.ground.url("anew", 5000)
        stack.run("lineage", "--sync", store=copied, MLFLOW_TRACKING_URI=url)
        numbers = [f"gen-{entry.generation.number}" for entry in grown.store.ledger.read()]
        names = [run["info"]["run_name"] for run in runs(url).values()]
        assert sorted(names) == [*numbers, LINEAGE]
