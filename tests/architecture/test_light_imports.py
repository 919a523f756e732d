"""What must answer at once, or run without an accelerator's libraries, loads none of the heavy packages."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import lineage_factory

from bootstrap.ledger_records import GenerationOutcome

pytestmark = pytest.mark.slow

HEAVY = ("torch", "ray", "mlflow", "transformers", "peft")
PROBE = """
import runpy, sys
sys.argv = {argv!r}
try:
    {statement}
except SystemExit as end:
    assert not end.code, end.code
print(*[name for name in {heavy!r} if name in sys.modules])
"""
AS_PROGRAM = 'runpy.run_module("bootstrap", run_name="__main__")'


def loaded(statement: str, *, argv: tuple[str, ...] = (), heavy: tuple[str, ...] = HEAVY) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after the statement."""
    program = PROBE.format(statement=statement, heavy=heavy, argv=["bootstrap", *argv])
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "modules",
    [
        "bootstrap.config.load",
        "bootstrap.planning.plan",
        "bootstrap.lineage.queries, bootstrap.lineage.metrics, bootstrap.lineage.tags",
    ],
)
def test_reading_recipes_plans_and_lineages_loads_nothing_heavy(modules: str) -> None:
    assert loaded(f"import {modules}") == set()


@pytest.mark.parametrize("argv", [("--help",), ("run", "--help"), ("jobs", "--help")])
def test_help_loads_no_work_of_any_command(argv: tuple[str, ...]) -> None:
    assert (
        loaded(AS_PROGRAM, argv=argv, heavy=(*HEAVY, "numpy", "rich", "bootstrap.config", "bootstrap.records")) == set()
    )


def test_the_schema_of_recipes_needs_no_heavy_package() -> None:
    assert loaded(AS_PROGRAM, argv=("schema",)) == set()


def test_questions_about_a_lineage_load_neither_recipes_nor_statistics(tmp_path: Path) -> None:
    lineage_factory.build(tmp_path / "addition", plan=[GenerationOutcome.PROMOTED])
    asked = [("why", "last"), ("samples", "last"), ("trace", "g1.s0.u0.p0.k0"), ("taint", "base"), ("contamination",)]
    asked += [("lineage",), ("lineage", "--json"), ("show", "base")]
    words = [[*one, "--store", str(tmp_path)] for one in asked]
    statement = f"from bootstrap.cli.main import main; sys.exit(sum(map(main, {words!r})))"
    assert loaded(statement, heavy=(*HEAVY, "scipy", "bootstrap.config.recipe")) == set()


def test_the_package_loads_nothing_until_lineage_is_asked_for() -> None:
    heavy = (*HEAVY, "pydantic", "pyarrow", "bootstrap.api")
    assert loaded("import bootstrap", heavy=heavy) == set()
    assert loaded("from bootstrap import Lineage", heavy=(*HEAVY, "scipy", "bootstrap.config.recipe", "rich")) == set()


def test_the_driver_stays_free_of_torch() -> None:
    assert "torch" not in loaded("import bootstrap.loop, bootstrap.cluster.pool")


def test_the_probe_sees_what_is_loaded() -> None:
    assert "ray" in loaded("import bootstrap.cluster.pool")
