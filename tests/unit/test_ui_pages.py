"""`bootstrap ui` serves the lineages' own pages, and says where first of all."""

import re
import signal
import urllib.request
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, build

from bootstrap.cli import ui


def test_the_pages_address_comes_first_and_answers_while_mlflow_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "addition", plan=(PROMOTED,))
    build(tmp_path / "second", plan=(), name="second")
    seen: dict[str, str] = {}

    def stopped(uri: str, **_: object) -> None:
        told = re.findall(r"^(\w+): (http://127\.0\.0\.1:\d+/\S+)$", capsys.readouterr().out, re.MULTILINE)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for name, address in told:
            with opener.open(address, timeout=30) as answer:
                seen[name] = answer.read().decode()
        raise KeyboardInterrupt

    # A real server takes seconds to start; that it shows the pages is tests/browser's to prove.
    monkeypatch.setattr(ui, "serve", stopped)
    handler = signal.getsignal(signal.SIGTERM)
    ui.serve_until_stopped(tmp_path, port=0)
    signal.signal(signal.SIGTERM, handler)
    assert list(seen) == ["addition", "second"]
    assert '"lineage":"addition"' in seen["addition"] and '"lineage":"second"' in seen["second"]
