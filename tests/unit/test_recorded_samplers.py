"""A generation is made again by as many samplers, of the engine, as its record says, whatever the recipe says today."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, SETTINGS, build

from bootstrap.config.resources import Resources, SamplerProcesses
from bootstrap.errors import StoreCorrupt
from bootstrap.reproduction import as_recorded


def test_samplers_are_those_of_the_record(tmp_path: Path) -> None:
    entry = build(tmp_path / "addition", plan=(PROMOTED,))[-1]
    own = SamplerProcesses(processes=5, cache_gib=3)
    recipe = SETTINGS.model_copy(update={"resources": Resources(samplers=own, batch_rows=7)})

    def recorded(**environment: str) -> Resources:
        annotations = entry.annotations.model_copy(update={"environment": environment})
        return as_recorded(recipe, replace(entry, annotations=annotations)).resources

    assert recorded() == Resources(batch_rows=entry.generation.batch_rows)
    assert recorded(samplers="2 with vllm").samplers == SamplerProcesses(processes=2, engine="vllm", cache_gib=3)
    with pytest.raises(StoreCorrupt, match=r"names x\\x1b as its samplers"):
        recorded(samplers="x\x1b")
