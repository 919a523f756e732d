"""The front matter of an exported card is what the Hugging Face hub reads: `base_model` and relation, or neither."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from support.lineage_factory import PROMOTED, SETTINGS, build

from bootstrap.ledger_records import Compute, Edge, Generation
from bootstrap.lineage.card import model_card
from bootstrap.store.ledger import Entry
from bootstrap.store.pretrained import Pretrained

HUB = Pretrained(name="owner/small-1.5", source="hub owner/small-1.5@0123abc", licence="apache-2.0")
UNTRAINED = {**SETTINGS.identity(), "base": {**SETTINGS.identity()["base"], "steps": []}}


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    return build(tmp_path / "addition", plan=(PROMOTED,))


def front(entry: Entry, pretrained: Pretrained | None, *, identity: Any = None, **changes: Any) -> dict[str, Any]:
    """Return the card's front matter as the hub's own package reads it."""
    changed = Entry(
        generation=Generation.model_validate({**entry.generation.model_dump(), **changes}),
        annotations=entry.annotations,
        hash=entry.hash,
        previous=entry.previous,
    )
    return ModelCard(
        model_card(changed, identity=identity or SETTINGS.identity(), pretrained=pretrained)
    ).data.to_dict()


def test_a_trained_descendant_of_a_model_of_the_hub_is_its_finetune(entries: list[Entry]) -> None:
    for entry in entries:
        found = front(entry, HUB)
        assert (found["base_model"], found["base_model_relation"]) == ("owner/small-1.5", "finetune")
        assert (found["library_name"], found["pipeline_tag"]) == ("transformers", "text-generation")
        assert found["license"] == "apache-2.0"


def test_a_copy_of_the_base_itself_claims_no_relation(entries: list[Entry]) -> None:
    found = front(entries[0], HUB, identity=UNTRAINED)
    assert found["base_model"] == "owner/small-1.5" and "base_model_relation" not in found
    start = Edge(role="init", generation=None, external="other@gen-3", record="a" * 64, fingerprint="f")
    fork = front(entries[0], HUB, identity=UNTRAINED, edges=[start])
    assert fork["base_model_relation"] == "finetune", "a fork starts from trained weights"


@pytest.mark.parametrize(("tokens", "relation"), [({"generate": 9}, "merge"), ({"train": 9}, "finetune")])
def test_a_merge_is_one_until_it_is_trained(entries: list[Entry], tokens: dict[str, int], relation: str) -> None:
    merged = [Edge(role="merged", generation=0, fingerprint="f")]
    assert front(entries[1], HUB, edges=merged, compute=Compute(tokens=tokens))["base_model_relation"] == relation


@pytest.mark.parametrize(
    "pretrained",
    [
        None,
        Pretrained(name="s.gguf", source="gguf s.gguf, sha256 ab", licence=None),
        Pretrained(name="models/small", source="folder models/small", licence="mit"),
        Pretrained(name="no-owner", source="hub no-owner", licence=None),
        Pretrained(name="a/b/c", source="hub a/b/c", licence=None),
        Pretrained(name='a/b"\nlicense: mit', source="hub a/b", licence=None),
    ],
)
def test_what_is_no_model_of_the_hub_is_not_named_as_one(entries: list[Entry], pretrained: Pretrained | None) -> None:
    found = front(entries[1], pretrained)
    assert "base_model" not in found and "base_model_relation" not in found


@pytest.mark.parametrize("name", ["yes", "a: b", "]", '"', "- x\n---\n# y", "null"])
def test_a_lineages_name_is_a_tag_whatever_it_holds(entries: list[Entry], name: str) -> None:
    found = front(entries[1], HUB, lineage=name)
    assert found["tags"] == ["bootstrap", name, "gen-1"] and found["base_model"] == "owner/small-1.5"
