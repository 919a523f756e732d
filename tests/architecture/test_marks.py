"""`--fast` leaves out what is marked as slow, and fails what lacks its mark."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SANDBOX = "from bootstrap.sandbox.pool import Sandbox\ndef test_runs_code():\n    Sandbox(processes=1).close()\n"
FILES = {
    # Stands in for the real one, which takes seconds.
    "torch.py": "",
    "test_file_without_mark.py": "import torch\ndef test_after_all():\n    pass\n",
    "test_test_without_mark.py": "def test_before():\n    pass\ndef test_loads():\n    import torch\n",
    "test_sandbox_without_mark.py": SANDBOX,
    "test_marked_file.py": "import pytest, torch\npytestmark = pytest.mark.torch\ndef test_no():\n    assert False\n",
    "test_mark_by_name.py": "from pytest import mark\n@mark.slow\ndef test_no():\n    assert False\n",
    "test_mark_from_elsewhere.py": "from marks import mark_of_it\n@mark_of_it\ndef test_no():\n    assert False\n",
    "test_unseen.py": "from kinds import costly\n@costly\ndef test_no():\n    assert False\n",
    "marks.py": "import pytest\nmark_of_it = pytest.mark.slow\npytestmark = pytest.mark.torch\n",
    "kinds.py": "import pytest\ncostly = pytest.mark.slow\n",
    "test_lines.py": (
        "import pytest, torch\npytestmark = [\n    pytest.mark.skipif(False, reason='no'),\n    pytest.mark.torch,\n]\n"
        "def test_no():\n    assert False\n"
    ),
    "test_file_mark_by_name.py": (
        "from pytest import mark\nimport torch\npytestmark = mark.torch\ndef test_no():\n    assert False\n"
    ),
    "test_file_mark_from_elsewhere.py": (
        "import torch\nfrom marks import pytestmark\ndef test_no():\n    assert False\n"
    ),
    "test_quoted.py": (
        "import pytest\nTEXT = '''\npytestmark = pytest.mark.slow\n'''\ndef test_yes():\n    assert TEXT\n"
    ),
    "test_replaced.py": (
        "import pytest\npytestmark = pytest.mark.slow\nif pytest:\n    pytestmark = []\ndef test_yes():\n    pass\n"
    ),
    "test_marked_test.py": f"import pytest\n{SANDBOX}    assert False\n".replace("def", "@pytest.mark.sandbox\ndef"),
}


def outcomes(folder: Path, *options: str, files: tuple[str, ...]) -> tuple[int, str]:
    """Return exit code and output of pytest with this suite's conftest on some of `FILES`."""
    for name in ("torch.py", *files):
        (folder / name).write_text(FILES[name])
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-rfp", *options]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    answer = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    return answer.returncode, answer.stdout + answer.stderr


def test_what_is_marked_is_left_out_and_not_even_imported_however_its_mark_is_written(tmp_path: Path) -> None:
    # Whoever imported one of these would be told that it loads torch.
    marked = ("test_marked_file.py", "test_lines.py", "test_file_mark_by_name.py")
    deselected = ("test_marked_test.py", "test_mark_by_name.py", "test_mark_from_elsewhere.py", "marks.py")
    looks_marked = ("test_quoted.py", "test_replaced.py")
    code, told = outcomes(tmp_path, "--fast", files=(*marked, *deselected, *looks_marked))
    assert code == 0 and "2 passed, 3 deselected" in told
    assert all(f"PASSED {name}::test_yes" in told for name in looks_marked)


def test_a_file_that_loads_torch_without_the_mark_fails(tmp_path: Path) -> None:
    code, told = outcomes(tmp_path, "--fast", files=("test_file_without_mark.py",))
    assert code != 0 and "test_file_without_mark.py lacks the mark torch" in told


def test_a_test_that_loads_torch_or_starts_a_sandbox_without_the_mark_fails(tmp_path: Path) -> None:
    code, told = outcomes(tmp_path, "--fast", files=("test_test_without_mark.py", "test_sandbox_without_mark.py"))
    assert code == 1
    assert "test_test_without_mark.py::test_loads lacks the mark torch" in told
    assert "test_sandbox_without_mark.py::test_runs_code lacks the mark sandbox" in told
    assert "test_before lacks" not in told


def test_the_slow_half_is_the_rest_however_its_marks_are_written(tmp_path: Path) -> None:
    slow = tuple(name for name, text in FILES.items() if "assert False" in text and name != "test_unseen.py")
    code, told = outcomes(tmp_path, "--slow", files=(*slow, "marks.py", "test_test_without_mark.py", "test_quoted.py"))
    assert code == 1 and f"{len(slow)} failed" in told and "passed" not in told
    assert all(f"FAILED {name}::test_" in told for name in slow)


def test_a_file_whose_mark_shows_on_import_alone_is_told_so(tmp_path: Path) -> None:
    code, told = outcomes(tmp_path, "--fast", files=("test_file_mark_from_elsewhere.py", "marks.py"))
    assert code != 0 and "lacks the mark" not in told
    assert "loads what needs the mark torch, and --fast cannot tell before importing it that the file is" in told


def test_a_slow_test_in_a_file_that_the_slow_half_would_not_open_is_refused(tmp_path: Path) -> None:
    code, told = outcomes(tmp_path, "--fast", files=("test_unseen.py", "kinds.py"))
    assert code == pytest.ExitCode.USAGE_ERROR and "test_unseen.py; write the marks there" in told
