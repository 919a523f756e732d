"""Backup and restore, with the commands that `infra/README.md` gives: the store, the database and the bucket."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import native
from support.stack import INFRA, LINEAGE, Grown, Stack, model_file

pytestmark = pytest.mark.services
BUCKET = (INFRA / "bucket.py").read_text()


def runs(url: str) -> dict[str, dict[str, object]]:
    """Return what a server knows of the lineage's runs, by run id."""
    client = MlflowClient(url)
    experiment = client.get_experiment_by_name(f"bootstrap/{LINEAGE}")
    assert experiment is not None
    return {run.info.run_id: run.to_dictionary() for run in client.search_runs([experiment.experiment_id])}


@pytest.fixture
def restored(grown: Grown, stack: Stack, tmp_path: Path) -> Iterator[native.Running]:
    """Save database and bucket, load them into new ones, and serve these by an MLflow that has nothing else."""
    stack.run("lineage", "--sync")
    postgres, server = stack.services["postgres"], stack.services["mlflow"]
    dump, archive = tmp_path / "mlflow.dump", tmp_path / "bucket.tar"
    with dump.open("wb") as out:
        postgres.execute(["pg_dump", "--username=mlflow", "--format=custom", "mlflow"], stdout=out)
    with archive.open("wb") as out:
        server.execute(["python", "-c", BUCKET, "save"], stdout=out)
    assert dump.stat().st_size and archive.stat().st_size

    postgres.execute(["createdb", "--username=mlflow", "restored"])
    with dump.open("rb") as source:
        postgres.execute(["pg_restore", "--username=mlflow", "--dbname=restored", "--exit-on-error"], stdin=source)
    make = stack.services["bucket"].service.argv[-1].replace("lineage", "restored")
    stack.services["bucket"].execute(["/bin/sh", "-c", make])
    with archive.open("rb") as source:
        server.execute(["python", "-c", BUCKET, "load", "restored"], stdin=source)

    settings = server.service
    database = settings.environment["MLFLOW_BACKEND_STORE_URI"].removesuffix("/mlflow") + "/restored"
    service = replace(
        settings,
        name="restored",
        argv=tuple(word.replace("s3://lineage/", "s3://restored/") for word in settings.argv),
        environment={**settings.environment, "MLFLOW_BACKEND_STORE_URI": database},
    )
    stack.ground.admit(service)
    other = native.Running(service=service, ground=stack.ground, log=tmp_path / "mlflow.log")
    try:
        other.start()
        yield other
    finally:
        other.stop()


def test_a_database_and_a_bucket_restored_elsewhere_show_the_same_lineage(
    restored: native.Running, grown: Grown, stack: Stack
) -> None:
    url = stack.ground.url("restored", 5000)
    assert runs(url) == runs(stack.mlflow)
    for receipt in grown.receipts(stack).values():
        name = "model.safetensors"
        assert model_file(url, receipt, name) == model_file(stack.mlflow, receipt, name)


def test_a_copy_of_the_store_is_a_whole_lineage(grown: Grown, stack: Stack, tmp_path: Path) -> None:
    copied = tmp_path / "store"
    archive = tmp_path / "store.tar"
    with archive.open("wb") as out:
        stack.services["head"].execute(["tar", "--create", "--directory=/store", "."], stdout=out)
    copied.mkdir()
    shutil.unpack_archive(archive, copied, filter="data")
    done = subprocess.run(
        stack.bootstrap("verify", "--store", str(copied), "--lineage", LINEAGE),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
