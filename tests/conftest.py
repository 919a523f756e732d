"""For all tests: servers that a person's environment names are hidden, and `--fast` and `--slow` split the suite.

`--fast` leaves out every test with one of the marks `SLOW`, and does not import files that carry one as a whole. There,
a test fails that loads a heavy package or starts a sandbox without its mark, so that marks stay true. `--slow` is the
rest.
"""

import os
import re
import socket
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bootstrap.sandbox.pool import Sandbox

SLOW = ("torch", "mlflow", "sandbox", "training", "slow", "ray", "browser", "services")
PACKAGES = {"torch": "torch", "mlflow": "mlflow", "playwright": "browser"}
"""Package -> the mark of a test that loads it."""
SLOW_TEST = re.compile(rf"\bpytest\.mark\.({'|'.join(SLOW)})\b")
SLOW_FILE = re.compile(rf"^pytestmark = .*{SLOW_TEST.pattern}", re.MULTILINE)
SERVERS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
)

# No test may fail because the machine is busy.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Before anything imports torch, which would otherwise take all cores in each of these processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    marks = ", ".join(SLOW)
    parser.addoption("--fast", action="store_true", help=f"leave out tests with one of the marks {marks}")
    parser.addoption("--slow", action="store_true", help="run what --fast leaves out, and nothing else")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("fast"):
        config.pluginmanager.register(Fast())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare files without a test of the half that is asked for, and folders of such files, whose import takes time."""
    if not config.getoption("fast") and not config.getoption("slow"):
        return None
    files = collection_path.rglob("*") if collection_path.is_dir() else [collection_path]
    texts = [file.read_text() for file in files if file.match("test_*.py")]
    if config.getoption("fast"):
        needless = all(SLOW_FILE.search(text) for text in texts)
    else:
        needless = not any(SLOW_TEST.search(text) for text in texts)
    return True if texts and needless else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("fast") or config.getoption("slow"):
        split: dict[bool, list[pytest.Item]] = {True: [], False: []}
        for item in items:
            split[any(item.get_closest_marker(name) for name in SLOW)].append(item)
        items[:] = split[config.getoption("slow")]
        config.hook.pytest_deselected(items=split[not config.getoption("slow")])


class Fast:
    """Fails files and tests that lack a mark."""

    def __init__(self) -> None:
        self.sandboxes = 0
        self.blamed: set[str] = set()
        """Marks of packages that are loaded by now, which says nothing of later tests."""
        begin = Sandbox.__init__

        def counted(*args: Any, **settings: Any) -> None:
            self.sandboxes += 1
            begin(*args, **settings)

        Sandbox.__init__ = counted

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        report = yield
        if lacking := self.lacking():
            report.outcome, report.longrepr = "failed", f"{collector.nodeid} lacks the mark {lacking}"
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        yield
        if lacking := self.lacking():
            pytest.fail(f"{item.nodeid} lacks the mark {lacking}")

    def lacking(self) -> str:
        """Return the marks that the last file or test lacks, as far as no earlier one has been blamed for them."""
        found = {mark for package, mark in PACKAGES.items() if package in sys.modules} - self.blamed
        self.blamed |= found
        if self.sandboxes:
            found.add("sandbox")
            self.sandboxes = 0
        return ", ".join(sorted(found))


@pytest.fixture(scope="session", autouse=True)
def no_servers_of_the_user() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in SERVERS:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def stuck_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let names be resolved when the test is over: whether the resolver was asked, and whether it has come back."""
    told: list[str] = []
    over = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        told.append("asked")
        # Far longer than any deadline under test, so that a caller who waits for it fails and does not hang.
        over.wait(60)
        told.append("came back")
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("NO_PROXY", "*")
    yield told
    over.set()
