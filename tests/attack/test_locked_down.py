"""In a locked-down container (ordinary user, no namespaces, no mounts) the seal holds; without Landlock none does."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bootstrap

pytestmark = pytest.mark.sandbox

TESTS = Path(__file__).resolve().parents[1]
NOBODY = 65534
CHECK = "import ctypes, json, sys; assert sys.version_info >= (3, 11)"


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder that any user may pass, with a copy of the sandbox and of the attacks."""
    folder = Path(tempfile.mkdtemp(prefix="locked-down-"))
    folder.chmod(0o755)
    package, source = folder / "bootstrap", Path(bootstrap.__file__).parent
    package.mkdir()
    for name in ("__init__.py", "errors.py"):
        shutil.copy(source / name, package / name)
    shutil.copytree(source / "sandbox", package / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "support").mkdir()
    for path in (TESTS / "support").glob("attack_*.py"):
        shutil.copy(path, folder / "support" / path.name)
    yield folder
    shutil.rmtree(folder)


def ordinary_user() -> tuple[str, dict[str, Any]]:
    """Return an interpreter and how to start it as an ordinary user.

    Root without capabilities is the last resort, where no other user can reach an interpreter.
    """
    if os.geteuid() != 0:
        return sys.executable, {}
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    for interpreter in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run([interpreter, "-I", "-c", CHECK], cwd="/", capture_output=True, check=False, **user)
        except OSError:
            continue
        if done.returncode == 0:
            return interpreter, user
    return sys.executable, {}


def locked_down(ground: Path, kind: str) -> dict[str, Any]:
    interpreter, user = ordinary_user()
    scene = ground / kind
    scene.mkdir()
    if user:
        os.chown(scene, NOBODY, NOBODY)
    done = subprocess.run(
        [interpreter, "-s", "-S", "-B", "-m", "support.attack_lockdown", str(scene), kind],
        cwd=ground,
        env={"PATH": os.environ["PATH"], "HOME": str(scene), "PYTHONPATH": str(ground)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        **user,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["user"] == (NOBODY if user else os.geteuid())
    return said


def test_the_seal_withstands_the_attacks_where_namespaces_are_forbidden(ground: Path) -> None:
    said = locked_down(ground, "all")
    assert said["level"] == "seal"
    assert said["levels"]["seal"] == ""
    assert said["levels"]["seal+ns"] != ""
    assert said["levels"]["bwrap"] != ""
    assert said["attacks"] > 100
    assert said["escaped"] == {}


def test_nothing_runs_where_landlock_is_forbidden_too(ground: Path) -> None:
    said = locked_down(ground, "without-landlock")
    assert "refused" in said
    assert "Landlock" in said["refused"]
    assert all(reason for level, reason in said["levels"].items() if level != "refuse")
