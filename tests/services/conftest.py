"""The services of `infra/compose.yaml` as processes of this machine, and a lineage that grew among them.

Collected only when asked for: `make test-services` installs what these tests start.
"""

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page
from support import chromium, compose, native
from support.stack import INFRA, LINEAGE, Grown, Stack, receipts

from bootstrap.store.lineage_store import LineageStore

MISSING = ("grafana",)
"""Services that no package of Debian or PyPI can stand for; what they are given is checked without them."""
SMALL = {"RAY_OBJECT_STORE_BYTES": str(200 * 2**20), "WORKER_CPUS": "2"}
RECIPE = """
name: services
task: {type: reversal, base_level: 3}
base:
  model: {type: scratch, hidden_size: 64, intermediate_size: 128, num_layers: 2, num_heads: 4, max_length: 64}
  steps:
    - {type: sft, updates: 250, batch_size: 64, optimizer: {type: muon_adamw, muon_lr: 0.02, adamw_lr: 0.003}}
generations:
  count: 3
  curriculum: {type: given, levels: [4]}
  steps:
    - {type: sft, updates: 80, batch_size: 96, source: {type: rejection, prompts: 400, temperature: 1.0}}
    - {type: rl, rounds: 10, prompts_per_update: 8, group_size: 4, distillation: {batch_size: 16}}
evaluation: {prompts_per_level: 200, lookahead: 2, sampled: null}
guards:
  - {metric: length_ratio, max: 0.001, action: warn}
resources: {workers: 1, samplers: {processes: 1}, batch_rows: 128, wait_seconds: 300}
"""
COMMIT_SECONDS = 600.0
"""Longest wait for one more generation, or for the job's end."""


@pytest.fixture(scope="session")
def http() -> requests.Session:
    """A client that goes round the proxies of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        yield


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    variables = {name: secrets.token_hex(24) for name in compose.read_variables(INFRA / ".env.example")} | SMALL
    services = compose.services(compose.load(INFRA / "compose.yaml", variables))
    with native.running(services, home=INFRA, without=MISSING) as running:
        made = Stack(services=running, variables=variables)
        assert native.leftovers(made.ground.root)
        yield made
    assert native.leftovers(made.ground.root) == [], "these processes outlived their services"


@pytest.fixture(scope="session")
def grown(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """Submit the recipe; when generation 0 is committed, take MLflow and PostgreSQL away until the next one is."""
    folder = tmp_path_factory.mktemp("submission")
    recipe, log = folder / "services.yaml", folder / "submit.log"
    recipe.write_text(RECIPE)
    store = LineageStore(stack.store / LINEAGE)
    began = time.time()
    with log.open("wb") as sink:
        submission = subprocess.Popen(
            stack.bootstrap("submit", str(recipe), "--address", stack.ray, "--store", str(stack.store)),
            stdout=sink,
            stderr=sink,
            env=stack.client_environment(),
        )
    try:
        _await(lambda: _committed(store) >= 1, submission, log)
        stack.services["mlflow"].stop()
        stack.services["postgres"].stop()
        _await(lambda: _committed(store) >= 2, submission, log)
        published = frozenset(receipts(store, stack))
        stack.services["postgres"].start()
        stack.services["mlflow"].start()
        code = submission.wait(COMMIT_SECONDS)
    finally:
        submission.kill()
        submission.wait()
    return Grown(
        store=store, code=code, log=log.read_text(), began=began, ended=time.time(), published_while_away=published
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium.opened() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with chromium.new_page(browser) as page:
        yield page


def _committed(store: LineageStore) -> int:
    return len(store.ledger.read()) if store.exists else 0


def _await(condition: Callable[[], bool], submission: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + COMMIT_SECONDS
    while not condition():
        assert submission.poll() is None, f"the job ended early:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"no generation was committed in {COMMIT_SECONDS:g} s:\n{log.read_text()}"
        time.sleep(0.1)
