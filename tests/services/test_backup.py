"""Backup and restore, by the commands that a person runs on the containers: the store, the database, the bucket."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import native
from support.stack import INFRA, LINEAGE, Grown, Stack, model_file

pytestmark = pytest.mark.services
BUCKET = (INFRA / "bucket.py").read_text()
IN_PLACE = ("pg_restore", "--username=mlflow", "--dbname=mlflow", "--clean", "--if-exists", "--exit-on-error")


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
    """Make an empty database and an empty bucket of this name; leave the block with the MLflow that has these alone."""
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
    bucket = stack.services["bucket"]
    bucket.execute([*bucket.service.argv[:-1], bucket.service.argv[-1].replace("lineage", name)])
    try:
        yield server
    finally:
        server.stop()


def test_a_database_and_a_bucket_restored_elsewhere_show_the_same_lineage(
    grown: Grown, stack: Stack, tmp_path: Path
) -> None:
    stack.run("lineage", "--sync")
    dump, archive = tmp_path / "mlflow.dump", tmp_path / "bucket.tar"
    with dump.open("wb") as out:
        stack.services["postgres"].execute(["pg_dump", "--username=mlflow", "--format=custom", "mlflow"], stdout=out)
    with archive.open("wb") as out:
        stack.services["mlflow"].execute(["python", "-c", BUCKET, "save"], stdout=out)

    with empty(stack, "restored") as server:
        restore = ["pg_restore", "--username=mlflow", "--dbname=restored", "--exit-on-error"]
        with dump.open("rb") as source:
            stack.services["postgres"].execute(restore, stdin=source)
        server.start()
        with archive.open("rb") as source:
            server.execute(["python", "-c", BUCKET, "load", "restored"], stdin=source)
        url = stack.ground.url("restored", 5000)
        assert runs(url) == runs(stack.mlflow)
        for receipt in grown.receipts(stack).values():
            name = "model.safetensors"
            assert model_file(url, receipt, name) == model_file(stack.mlflow, receipt, name)

    # In place, with MLflow at work: what was done since the backup is gone.
    before, client = runs(stack.mlflow), MlflowClient(stack.mlflow)
    client.set_tag(next(iter(before)), "since", "the backup")
    assert runs(stack.mlflow) != before
    with dump.open("rb") as source:
        stack.services["postgres"].execute(IN_PLACE, stdin=source)
    assert runs(stack.mlflow) == before


def test_a_copy_of_the_store_is_a_whole_lineage_and_fills_an_empty_mlflow(
    grown: Grown, stack: Stack, tmp_path: Path
) -> None:
    stack.run("lineage", "--sync")
    archive, copied = tmp_path / "store.tar", tmp_path / "store"
    with archive.open("wb") as out:
        stack.services["head"].execute(["tar", "--create", "--directory=/store", "."], stdout=out)
    copied.mkdir()
    shutil.unpack_archive(archive, copied, filter="data")
    stack.run("verify", store=copied)
    with empty(stack, "anew") as server:
        server.start()
        url = stack.ground.url("anew", 5000)
        stack.run("lineage", "--sync", store=copied, MLFLOW_TRACKING_URI=url)
        numbers = [f"gen-{entry.generation.number}" for entry in grown.store.ledger.read()]
        names = [run["info"]["run_name"] for run in runs(url).values()]
        assert sorted(names) == [*numbers, LINEAGE]
