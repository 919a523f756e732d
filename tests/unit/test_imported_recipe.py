"""A stranger's recipe says nothing unseen: an import tells what it names, and refuses where it would publish."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.copies import is_untouched, lineage, relist, rewrite
from support.lineage_factory import SETTINGS, grow

from bootstrap.canonical import canonical_json
from bootstrap.cli.import_lineage import _OUTSIDE
from bootstrap.cli.main import main
from bootstrap.cli.remembered import remember_recipe
from bootstrap.config.base import Operational, Settings
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.store.lineage_store import LineageStore

HARMLESS = {"name", "description", "length_field"}
"""Operational texts that lead nowhere."""
HUB = {"hub": "stranger/rows", "split": "train", "revision": "a" * 40}


def copy_of(folder: Path, **settings: Any) -> Path:
    """Return a copy of a lineage whose remembered recipe has these settings too."""
    assert main(["export", "--lineage", "addition", str(folder / "copy"), "--store", str(folder / "here")]) == 0
    stored = json.loads((folder / "copy" / "recipe.json").read_bytes())
    stored["recipe"] |= settings
    rewrite(folder / "copy" / "recipe.json", canonical_json(stored))
    relist(folder / "copy")
    return folder / "copy"


@pytest.mark.parametrize(
    "settings",
    [
        {"tracking": {"uri": "https://evil.example"}},
        {"tracking": {"experiment": "theirs"}},
        {"notify": {"url": "https://evil.example"}},
        {"notify": {"url_variable": "SECRET_ADDRESS"}},
    ],
)
def test_a_recipe_that_would_publish_or_notify_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> None:
    lineage(tmp_path / "here")
    copy = copy_of(tmp_path, **settings)
    assert main(["import", str(copy), "--store", str(tmp_path / "there")]) == 3
    assert "recipe.json names where a run would publish" in capsys.readouterr().err
    assert is_untouched(tmp_path / "there")


def test_everything_that_a_recipe_names_outside_itself_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = {"type": "endpoint", "model": "m", "url": "https://first.example/v1"}
    judge = {"type": "judge", "model": server, "rubric": "It is right."}
    task = {"type": "file", "path": "rows.jsonl", "heldout": "test.jsonl"}
    base = {"model": {"type": "scratch", "max_length": 512}, "steps": [{"type": "sft", "updates": 6}]}
    data = SETTINGS.model_dump(mode="json") | {"task": task, "verifier": judge, "base": base}
    settings, store = Recipe.model_validate(data), LineageStore(tmp_path / "here" / "addition")
    store.open("addition", identity=settings.identity())
    grow(store, outcome=GenerationOutcome.BASE, settings=settings)
    remember_recipe(store, settings, folder=tmp_path)
    stored = json.loads((tmp_path / "here" / "addition" / "recipe.json").read_bytes())["recipe"]
    copy = copy_of(
        tmp_path,
        task={**stored["task"], "path": ["/etc/passwd", HUB], "heldout": "/home/secret.jsonl"},
        verifier={
            **stored["verifier"],
            "model": {**server, "url": "https://evil.example/v1", "key_variable": "AWS_SECRET_ACCESS_KEY"},
        },
    )
    capsys.readouterr()
    assert main(["import", str(copy), "--store", str(tmp_path / "there")]) == 0
    told = capsys.readouterr().out
    for what in (
        "the files in /etc/passwd",
        "the hub's data set stranger/rows",
        "the files in /home/secret.jsonl",
        "the server https://evil.example/v1",
        "the secret in the environment variable AWS_SECRET_ACCESS_KEY",
    ):
        assert f"a run of its recipe would use {what}\n" in told


def test_no_setting_that_the_hashes_leave_out_can_lead_somewhere_untold() -> None:
    def kinds(one: type[Settings]) -> Iterator[type[Settings]]:
        yield one
        for kind in one.__subclasses__():
            yield from kinds(kind)

    texts = {
        name
        for kind in kinds(Settings)
        for name, field in kind.model_fields.items()
        if any(isinstance(mark, Operational) for mark in field.metadata)
        and re.search(r"\bstr\b", repr(field.annotation))
    }
    assert {"path", "url"} <= texts - HARMLESS <= set(_OUTSIDE)
