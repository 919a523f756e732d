"""A lineage that starts from another one's exported model knows which generation that is."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.pretrained import small_folder

from bootstrap import Lineage
from bootstrap.cli.export import export_generation
from bootstrap.store.exports import FILE
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.training]
ADAPTER = {"adapter": {"type": "lora", "rank": 4, "alpha": 8}, "precision": "fp32"}


@pytest.mark.parametrize("training", [{"precision": "fp32"}, ADAPTER], ids=["whole", "adapter"])
def test_the_edge_names_the_record_that_the_model_was_exported_from(tmp_path: Path, training: dict[str, Any]) -> None:
    model, export = tmp_path / "model", tmp_path / "export"
    model.mkdir()
    for name, data in small_folder(chat=True).items():
        (model / name).write_bytes(data)
    store = tmp_path / "runs"
    made = {
        name: tiny.recipe(
            name=name,
            count=0,
            seed=seed,
            base={"model": {"type": "folder", "path": str(place)}, "steps": []},
            training=training,
        )
        for name, place, seed in (("first", model, 0), ("second", export, 1))
    }
    [entry] = tiny.grow(made["first"], store / "first")
    export_generation(LineageStore(store / "first"), "base", export)
    told = json.loads((export / FILE).read_text())
    assert (told["lineage"], told["generation"], told["record"]) == ("first", 0, entry.hash)
    [again] = tiny.grow(made["second"], store / "second")
    assert [edge.exported for edge in again.generation.edges] == [entry.hash]
    assert [edge.exported for edge in entry.generation.edges] == [None]
    weights = again.generation.artifacts["base" if "adapter" in training else "weights"]
    assert not (store / "second" / weights.path / FILE).exists()
    found = Lineage(store, "first").taint("gen-0").downstream
    assert [(row.lineage, row.generation) for row in found] == [("second", "gen-0")]
    assert "exported from first@gen-0" in found[0].via[0]
    # What it says of other weights is not believed.
    (export / FILE).write_text(json.dumps({**told, "fingerprint": "0" * 64}))
    [other] = tiny.grow(made["second"], store / "third", fresh=True)
    assert [edge.exported for edge in other.generation.edges] == [None]
