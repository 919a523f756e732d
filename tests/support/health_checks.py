"""The health checks of `infra/compose.yaml`, run against a server of the test's own."""

import os
import re
import subprocess
import sys

from support.answering import PROXIED, answering
from support.compose import Service

BY_PYTHON = {"head": "/api/gcs_healthz", "worker": "/api/local_raylet_healthz", "mlflow": "/health"}
"""Service -> path that its check asks for, by the image's Python."""
BY_WGET = {"s3": "/healthz", "prometheus": "/-/healthy", "grafana": "/api/health"}
"""The same by wget, which `make test-services` installs."""


def check_asks_the_server_itself(service: Service, *, status: int, healthy: bool) -> None:
    """Assert that a service's check asks its server, past a proxy, and says `healthy` when that answers `status`."""
    assert service.health
    program, *words = service.health.argv
    with answering(status) as (port, paths):
        argv = [re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", word) for word in words]
        argv = [sys.executable if program == "python" else program, *argv]
        done = subprocess.run(argv, capture_output=True, timeout=60, env={**os.environ, **PROXIED})
    assert (done.returncode == 0) is healthy, done.stderr
    assert set(paths) == {(BY_PYTHON | BY_WGET)[service.name]}
