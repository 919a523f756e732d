"""Nodes that are started for a role are given processes of that role, one for each that they offer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bootstrap

pytestmark = [pytest.mark.ray, pytest.mark.torch]

PROGRAM = """
import ray
from bootstrap.cluster.connection import available_workers
from bootstrap.cluster.pool import RayPool
from bootstrap.config.resources import SamplerProcesses
from bootstrap.errors import WaitTimeout

options = {"num_cpus": 8, "include_dashboard": False, "log_to_driver": False, "object_store_memory": 2**27}
ray.init(address="local", resources={"learners": 2, "samplers": 1}, **options)
print("workers", available_workers(address=None, cpus_per_worker=1, gpus_per_worker=0))
learners = RayPool(2, batch_rows=8, wait_seconds=120)
samplers = RayPool(1, batch_rows=8, wait_seconds=120, beside=learners, samplers=SamplerProcesses())
left = ray.available_resources()
print("left", left["CPU"], left.get("learners", 0), left.get("samplers", 0))
try:
    RayPool(1, batch_rows=8, wait_seconds=1, beside=learners, samplers=SamplerProcesses())
except WaitTimeout as error:
    print(error)
samplers.close()
learners.close()
"""
"""In a process of its own, since one process is the driver of one Ray."""


def test_processes_take_the_places_of_their_role_and_no_others(ray_environment: None) -> None:
    paths = os.pathsep.join(filter(None, (str(Path(bootstrap.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    workers, left, told = done.stdout.splitlines()[-3:]
    assert workers == "workers 2", "there are eight cores"
    assert left == "left 5.0 0 0"
    assert "sampler(s) 0 of 1 are not placed" in told and "and 1 samplers (0 free of 1)" in told
