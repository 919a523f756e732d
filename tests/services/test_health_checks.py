"""Health checks by wget, which `make test-services` installs; tests/unit/test_compose.py tries those by Python."""

import pytest
from support import compose
from support.health_checks import BY_WGET, check_asks_the_server_itself
from support.stack import INFRA

pytestmark = pytest.mark.services


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
@pytest.mark.parametrize("name", BY_WGET)
def test_a_health_check_asks_the_server_itself_and_no_proxy(name: str, status: int, healthy: bool) -> None:
    filled = dict.fromkeys(compose.read_variables(INFRA / ".env.example"), "secret")
    services = {found.name: found for found in compose.services(compose.load(INFRA / "compose.yaml", filled))}
    check_asks_the_server_itself(services[name], status=status, healthy=healthy)
