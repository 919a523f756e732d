"""For all tests: servers that a person's environment names are hidden, what this program keeps for the
user goes to folders of the tests, and `--fast` and `--slow` split the suite.

`--fast` leaves out every test with one of the marks `SLOW`, and does not import files that carry one as a whole. There,
a test fails that loads a heavy package or starts a sandbox without its mark, so that marks stay true. `--slow` is the
rest.
"""

import ast
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bootstrap import plugins
from bootstrap.pool import Pool
from bootstrap.sandbox.pool import Sandbox
from bootstrap.store import durable

SLOW = ("torch", "mlflow", "sandbox", "training", "slow", "ray", "browser", "services", "vllm", "hosts")
PACKAGES = {"torch": "torch", "mlflow": "mlflow", "playwright": "browser"}
"""Package -> the mark of a test that loads it."""
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
    texts = [file.read_text() for file in files if any(map(file.match, config.getini("python_files")))]
    needless = map(is_slow, texts) if config.getoption("fast") else map(names_no_mark, texts)
    return True if texts and all(needless) else None


def names_no_mark(text: str) -> bool:
    """Whether `--slow` leaves out the file with this text."""
    return "mark" not in text


def is_slow(text: str) -> bool:
    """Whether a file gives all its tests a mark of `SLOW`, as far as that is known before it is imported.

    Known are lists and single marks, written as pytest.mark.NAME or mark.NAME, of the last `pytestmark` of a file that
    sets it at its top level alone.
    """
    if "pytestmark" not in text:
        return False
    try:
        module = ast.parse(text)
    except SyntaxError:
        # Pytest reports it with its line.
        return False
    found: ast.expr | None = None
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                found = value
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                # Their own `pytestmark` is another one.
                pass
            case _ if any(isinstance(node, ast.Name) and node.id == "pytestmark" for node in ast.walk(statement)):
                return False
    marks = found.elts if isinstance(found, ast.List | ast.Tuple) else [found]
    slow = {f"{prefix}.{name}" for prefix in ("pytest.mark", "mark") for name in SLOW}
    return any(mark is not None and ast.unparse(mark) in slow for mark in marks)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("fast") or config.getoption("slow"):
        split: dict[bool, list[pytest.Item]] = {True: [], False: []}
        for item in items:
            split[any(item.get_closest_marker(name) for name in SLOW)].append(item)
        unseen = sorted(str(path) for path in {item.path for item in split[True]} if names_no_mark(path.read_text()))
        if unseen:
            raise pytest.UsageError(
                f"--slow opens no file without the word `mark`, and these have slow tests: {', '.join(unseen)}; "
                "write the marks there as pytest.mark.NAME"
            )
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
            text = f"{collector.nodeid} lacks the mark {lacking}"
            if any(collector.get_closest_marker(name) for name in SLOW):
                text = (
                    f"{collector.nodeid} loads what needs the mark {lacking}, and --fast cannot tell before importing "
                    "it that the file is marked; write `pytestmark = pytest.mark.NAME`, or a list of such marks"
                )
            report.outcome, report.longrepr = "failed", text
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


@pytest.fixture(scope="session", autouse=True)
def no_folders_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Let stores and MLflow's databases in this process not wait for the disk.

    That each sync of a store is asked for, doubles show (`tests/crash`).
    """
    if "mlflow" in sys.modules:
        from sqlalchemy import Engine, event

        event.listen(Engine, "connect", _without_waits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable.OS, "fsync", lambda descriptor: None)
        yield


def _without_waits(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


@pytest.fixture(scope="session", autouse=True)
def one_benchmark_a_process() -> Iterator[None]:
    """Let runs in this process take over the rates that its first pool has measured, which costs a run a second."""
    measure, rates = Pool.benchmark, dict[str, float]()

    def benchmark(pool: Pool, seconds: float) -> dict[str, float]:
        if not rates:
            rates.update(measure(pool, min(seconds, 0.02)))
        return dict(rates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "benchmark", benchmark)
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


@pytest.fixture(autouse=True)
def _width_of_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tables be as wide as they are in a file, however wide the terminal is that the tests run on."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust every plug-in, as a recipe file of a person's own does."""
    monkeypatch.setattr(plugins, "require_trust", lambda names, **_: None)
