"""A lineage of adapters: asked over its base, served and exported merged, and its base stays while an adapter does."""

import json
from pathlib import Path

import pytest
from support import tiny
from support.pretrained import small_folder

from bootstrap.cli.export import model_files
from bootstrap.cli.main import main
from bootstrap.cli.remembered import remember_recipe
from bootstrap.lineage import samples
from bootstrap.records import Sampling
from bootstrap.store import gc
from bootstrap.store.fingerprint import ADAPTER_WEIGHTS, MODEL_WEIGHTS
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify
from bootstrap.training.chat import TEMPLATE
from bootstrap.training.served import served

pytestmark = [pytest.mark.torch, pytest.mark.training]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LineageStore:
    place = tmp_path_factory.mktemp("adapted")
    model = place / "model"
    model.mkdir()
    for name, data in small_folder(chat=True).items():
        (model / name).write_bytes(data)
    recipe = tiny.recipe(
        count=1,
        base={"model": {"type": "folder", "path": str(model)}, "steps": []},
        training={"adapter": {"type": "lora", "rank": 4, "alpha": 8}, "precision": "fp32"},
    )
    tiny.grow(recipe, place / "runs" / "tiny")
    found = LineageStore(place / "runs" / "tiny")
    remember_recipe(found, recipe, folder=place)
    return found


def test_an_adapter_answers_what_its_evaluation_answered(
    store: LineageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = samples.greedy(store, store.ledger.read()[1].generation)[:8]
    prompts = [word for row in rows for word in ("--prompt", row["prompt"])]
    arguments = ["chat", "1", "--against", "0", *prompts, "--json", "--store", str(store.root.parent)]
    assert main(arguments) == 0
    found = [json.loads(line)["answers"][0] for line in capsys.readouterr().out.splitlines()]
    assert [(one["text"], one["verdict"]) for one in found] == [(row["answer"], row["verdict"]) for row in rows]


def test_an_adapter_is_served_as_a_whole_model(store: LineageStore) -> None:
    name, files = model_files(store, "1")
    assert name == "gen-1" and MODEL_WEIGHTS in files and ADAPTER_WEIGHTS not in files
    assert TEMPLATE in served(files, sampling=Sampling(temperature=0.0, max_new_tokens=8))


def test_the_base_stays_under_what_stays(store: LineageStore, tmp_path: Path) -> None:
    entries = store.ledger.read()
    base = store.root / entries[0].generation.artifacts["base"].path
    assert main(["gc", "--keep", "", "--yes", "--store", str(store.root.parent)]) == 0
    assert (base / MODEL_WEIGHTS).is_file()
    held = gc.weights_of_lineage(store, entries, {})
    assert {one.artifact.path for one in held} >= {base}
    assert verify(store.root).is_clean
