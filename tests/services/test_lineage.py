"""A lineage among the services of the compose file: nothing is lost while MLflow and its database are away."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
import requests
from mlflow import MlflowClient
from support.stack import LINEAGE, Grown, Stack, model_file

pytestmark = pytest.mark.services


def objects(stack: Stack) -> dict[str, int]:
    """Return the keys of the bucket and the sizes behind them."""
    client = boto3.client(
        "s3",
        endpoint_url=stack.ground.url("s3", 8333),
        region_name="us-east-1",
        aws_access_key_id=stack.variables["S3_ACCESS_KEY"],
        aws_secret_access_key=stack.variables["S3_SECRET_KEY"],
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="lineage")
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}


def files(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[tuple[str, int]]:
    """Yield path and size of every file among a run's artifacts."""
    for artifact in client.list_artifacts(run_id, folder):
        if artifact.is_dir:
            yield from files(client, run_id, artifact.path)
        else:
            yield artifact.path, artifact.file_size


def test_the_job_grows_its_lineage_while_mlflow_and_postgres_are_away(grown: Grown, stack: Stack) -> None:
    assert grown.code == 0, grown.log
    assert f"job {LINEAGE}-a1 succeeded" in grown.log.splitlines()
    entries = grown.store.ledger.read()
    assert [entry.generation.number for entry in entries] == [0, 1, 2, 3]
    assert {entry.annotations.environment["ray_submission_id"] for entry in entries} == {f"{LINEAGE}-a1"}
    assert 1 not in grown.published_while_away, "MLflow was not away when generation 1 was committed"
    stack.run("verify")


def test_what_mlflow_missed_is_published_and_then_there_is_nothing_left_to_do(grown: Grown, stack: Stack) -> None:
    stack.sync()
    first = grown.receipts(stack)
    assert sorted(first) == [0, 1, 2, 3]
    stack.sync()
    assert grown.receipts(stack) == first
    client = MlflowClient(stack.mlflow)
    experiment = client.get_experiment_by_name(f"bootstrap/{LINEAGE}")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = sorted(run.info.run_name for run in runs)
    assert names == ["gen-0", "gen-1", "gen-2", "gen-3", LINEAGE], "one run for each generation and one for them all"
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_artifacts_are_read_through_mlflow_and_lie_in_the_bucket(grown: Grown, stack: Stack) -> None:
    stack.sync()
    client, stored = MlflowClient(stack.mlflow), objects(stack)
    found = grown.receipts(stack)
    experiment = found[0].experiment_id
    for run_id in (found[0].lineage_run_id, *(receipt.run_id for receipt in found.values())):
        listed = dict(files(client, run_id))
        assert listed
        for path, size in listed.items():
            assert stored[f"mlflow/{experiment}/{run_id}/artifacts/{path}"] == size
    for number, entry in enumerate(grown.store.ledger.read()):
        weights = grown.store.artifact(entry.generation.artifacts["weights"]).read("model.safetensors")
        assert model_file(stack.mlflow, found[number], "model.safetensors") == weights
    assert all(key.startswith("mlflow/") for key in stored)


def test_mlflow_outlives_a_restart_of_its_database_alone(grown: Grown, stack: Stack) -> None:
    client = MlflowClient(stack.mlflow)
    before = client.get_experiment_by_name(f"bootstrap/{LINEAGE}")
    stack.services["postgres"].stop()
    stack.services["postgres"].start()
    after = client.get_experiment_by_name(f"bootstrap/{LINEAGE}")
    assert before and after and before.experiment_id == after.experiment_id


def test_ray_takes_nothing_from_someone_without_its_token(stack: Stack, http: requests.Session) -> None:
    def status(**headers: str) -> int:
        job = {"entrypoint": "true"}
        return http.post(f"{stack.ray}/api/jobs/", json=job, headers=headers, timeout=10).status_code

    assert status() == 401
    assert status(Authorization="Bearer wrong") == 403
    listed = http.get(
        f"{stack.ray}/api/jobs/", headers={"Authorization": f"Bearer {stack.variables['RAY_AUTH_TOKEN']}"}, timeout=10
    )
    assert "true" not in [job["entrypoint"] for job in listed.json()]


def test_mlflow_answers_only_under_the_names_that_the_compose_file_gives_it(
    stack: Stack, http: requests.Session
) -> None:
    url = f"{stack.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    assert http.get(url, timeout=10).status_code == 200
    for host in ("evil.example", "192.168.1.1:5000", f"localhost.evil.example:{stack.ground.port('mlflow', 5000)}"):
        assert http.get(url, headers={"Host": host}, timeout=10).status_code == 403, host


def test_mlflow_takes_changes_from_its_own_page_and_from_no_other(stack: Stack, http: requests.Session) -> None:
    url = f"{stack.mlflow}/api/2.0/mlflow/experiments/search"

    def status(origin: str) -> int:
        return http.post(url, json={"max_results": 1}, headers={"Origin": origin}, timeout=10).status_code

    assert status(stack.mlflow) == 200
    assert status("https://mlflow.example.org") == 403


def test_a_run_without_a_store_is_refused(stack: Stack) -> None:
    """Its lineage would lie in the container and end with it."""
    recipe = Path(__file__).parents[2] / "pipelines" / "quickstart.yaml"
    done = subprocess.run(
        stack.bootstrap("submit", str(recipe), "--address", stack.ray),
        env=stack.client_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "choose another folder with --store" in done.stdout + done.stderr, done.stdout


def test_s3_and_postgres_ask_for_their_keys(stack: Stack, http: requests.Session) -> None:
    bucket = f"{stack.ground.url('s3', 8333)}/lineage"
    assert http.get(bucket, timeout=10).status_code == 403
    assert http.put(f"{bucket}/mine", data=b"x", timeout=10).status_code == 403
    import psycopg

    address = {"host": "127.0.0.1", "port": stack.ground.port("postgres", 5432), "user": "mlflow", "dbname": "mlflow"}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**address, password="wrong", connect_timeout=10)
    with psycopg.connect(**address, password=stack.variables["POSTGRES_PASSWORD"], connect_timeout=10) as connection:
        assert connection.execute("select count(*) from experiments").fetchone()


def test_no_secret_stands_in_a_process_list_or_a_log(grown: Grown, stack: Stack) -> None:
    secret = [stack.variables[name] for name in ("RAY_AUTH_TOKEN", "POSTGRES_PASSWORD", "S3_SECRET_KEY")]
    for name, one in stack.services.items():
        if one.process is None or one.process.poll() is not None:
            continue
        family = [psutil.Process(one.process.pid), *psutil.Process(one.process.pid).children(recursive=True)]
        words = " ".join(word for member in family for word in member.cmdline())
        assert not [value for value in secret if value in words], f"{name} shows a secret among its arguments"
        assert not [value for value in secret if value in one.log.read_text(errors="replace")], name
    shown = json.dumps(grown.log)
    assert not [value for value in secret if value in shown]


def test_all_services_but_ray_listen_on_loopback_alone(stack: Stack) -> None:
    """Ray takes the machine's own address, whatever it is told; in containers the networks keep it apart."""
    for name in ("postgres", "s3", "mlflow", "prometheus"):
        process = stack.services[name].process
        assert process
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        listening = [
            connection.laddr.ip
            for member in family
            for connection in member.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening and set(listening) == {"127.0.0.1"}, name
