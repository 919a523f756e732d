"""Where a pretrained model comes from and on what terms: known of every descendant, whoever wrote it down."""

import json
from pathlib import Path

import pytest
import yaml
from support import lineage_factory
from support.pretrained import small_folder, write

from bootstrap.cli.main import main
from bootstrap.config.training import LoraAdapter, Training
from bootstrap.errors import RecipeError
from bootstrap.lineage.card import model_card
from bootstrap.stages.weights import read_model_folder
from bootstrap.store.artifacts import Artifact, put_artifact
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.pretrained import IMPORT, MAX_CHARACTERS, Pretrained, exported, pretrained_of, to_file
from bootstrap.training import lora
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

HUB = {"type": "hub", "name": "someone/small", "revision": "0123abc"}
EVIL = 'mit"\n---\n# Buy\x1b[31m this\nlicense: apache-2.0 <img src=x>' + 500 * "x"


def written(*, licence: object = "apache-2.0", source: object = HUB) -> dict[str, bytes]:
    facts = {"fingerprint": 64 * "0", "licence": licence, "num_parameters": 1, "source": source}
    return {IMPORT: to_file(facts)}


def stored(folder: Path, files: dict[str, bytes]) -> Artifact:
    folder.mkdir()
    return put_artifact(folder, "weights", {"n": 0}, files)


@pytest.fixture
def lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what writes a small lineage whose weights go back to an imported model."""
    plain = lineage_factory._model_files

    def build(**facts: object) -> LineageStore:
        more = written(**facts)
        monkeypatch.setattr(lineage_factory, "_model_files", lambda weights, **named: plain(weights, **named) | more)
        lineage_factory.build(tmp_path / "store" / "addition", plan=(lineage_factory.PROMOTED,))
        return LineageStore(tmp_path / "store" / "addition")

    return build


def front_matter(card: str) -> dict[str, object]:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


@pytest.mark.parametrize("adapter", [None, LoraAdapter(rank=2, alpha=4)], ids=["whole", "adapter"])
def test_descendants_and_merged_adapters_keep_what_they_go_back_to(adapter: LoraAdapter | None, tmp_path: Path) -> None:
    files = {**small_folder(), **written()}
    for _ in range(2):
        worker = Worker(batch_rows=4, device="cpu")
        worker.configure(Training(adapter=adapter))
        if adapter is None:
            worker.load(files, None)
        else:
            worker.provide(files, fingerprint_model(files))
            worker.adapt(fingerprint_model(files), 1)
        made = dict(worker.export().files)
        assert made[IMPORT] == files[IMPORT]
        files = made if adapter is None else dict(lora.merge(files, made).files)
    assert files[IMPORT] == written()[IMPORT]
    folder = write(exported(files, fingerprint=fingerprint_model(files)), tmp_path / "exported")
    assert json.loads((folder / IMPORT).read_text())["exported"] == fingerprint_model(files)
    assert read_model_folder(folder)[IMPORT] == written()[IMPORT], "an export is a start like any other"


def test_a_source_is_told_in_words(tmp_path: Path) -> None:
    expected = Pretrained(name="someone/small", source="hub someone/small@0123abc", licence="apache-2.0")
    assert pretrained_of(stored(tmp_path / "hub", written())) == expected
    gguf = {"type": "gguf", "name": "s.gguf", "sha256": "ab"}
    found = pretrained_of(stored(tmp_path / "gguf", written(source=gguf, licence=None)))
    assert found == Pretrained(name="s.gguf", source="gguf s.gguf, sha256 ab", licence=None)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"source": 3, "licence": null}', b"[" * 100_000])
def test_a_file_of_another_kind_says_nothing(tmp_path: Path, data: bytes) -> None:
    assert pretrained_of(stored(tmp_path / "odd", {IMPORT: data})) is None
    assert pretrained_of(stored(tmp_path / "none", {"config.json": b"{}"})) is None


def test_foreign_text_is_one_bounded_line_and_adds_nothing_to_the_card(lineage) -> None:
    store = lineage(licence=EVIL, source={"type": "folder", "name": EVIL})
    entry = store.ledger.read()[1]
    found = pretrained_of(store.artifact(entry.generation.artifacts["weights"]))
    assert found is not None and found.licence is not None
    for text in (found.name, found.source, found.licence):
        assert len(text) <= MAX_CHARACTERS and text.isprintable()
    card = model_card(entry, identity=store.header().identity, pretrained=found)
    front = front_matter(card)
    assert front["license"] == "other" and front["license_name"] == found.licence
    assert "base_model" not in front, "a folder is no model of the hub"
    assert "\n# Buy" not in card and "<img" not in card.split("---\n", 2)[2]


@pytest.mark.parametrize("licence", ["apache-2.0", "cc-by-nc-4.0", "mit", None])
def test_export_names_licence_and_base_model_in_the_card_of_a_descendant(lineage, tmp_path: Path, licence) -> None:
    store = lineage(licence=licence)
    asked = ["--store", str(store.root.parent), "--lineage", "addition"]
    assert main(["export", "gen-1", str(tmp_path / "out"), *asked]) == 0
    front = front_matter((tmp_path / "out" / "README.md").read_text())
    assert (front["base_model"], front["base_model_relation"]) == ("someone/small", "finetune")
    assert front.get("license") == licence
    facts = json.loads((tmp_path / "out" / IMPORT).read_text())
    assert facts == {
        **json.loads(written(licence=licence)[IMPORT]),
        "exported": store.ledger.read()[1].generation.fingerprint,
    }


def test_an_exported_folder_is_a_start_until_its_weights_are_others(lineage, tmp_path: Path) -> None:
    store = lineage()
    asked = ["--store", str(store.root.parent), "--lineage", "addition"]
    for generation in ("gen-0", "gen-1"):
        assert main(["export", generation, str(tmp_path / generation), *asked]) == 0
        assert read_model_folder(tmp_path / generation)[IMPORT] == written()[IMPORT]
    other = (tmp_path / "gen-0" / "model.safetensors").read_bytes()
    (tmp_path / "gen-1" / "model.safetensors").write_bytes(other)
    with pytest.raises(RecipeError, match=r"import\.json is about another model"):
        read_model_folder(tmp_path / "gen-1")


def test_show_tells_what_a_generation_goes_back_to(lineage, capsys: pytest.CaptureFixture[str]) -> None:
    store = lineage()
    asked = ["--store", str(store.root.parent), "--lineage", "addition"]
    for name in ("gen-0", "gen-1"):
        assert main(["show", name, *asked]) == 0
        assert "hub someone/small@0123abc, licence apache-2.0" in " ".join(capsys.readouterr().out.split())
    assert main(["show", "gen-0", "--json", *asked]) == 0
    assert json.loads(capsys.readouterr().out)["pretrained"]["licence"] == "apache-2.0"
