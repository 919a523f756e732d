"""The table of docs/reliability.md has a row for every fault that `make test-faults` brings about, and no other."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = ("processes", "numbers", "stores", "servers")


def test_every_fault_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| ({'|'.join(KINDS)}) \| (.+?) \| (?:survived|refused) \|", page, re.MULTILINE)
    faults = [
        (kind, name) for kind in KINDS for name, _ in importlib.import_module(f"benchmarks.faults.{kind}").faults()
    ]
    assert rows == faults
