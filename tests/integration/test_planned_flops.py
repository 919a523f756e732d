"""What a plan says of FLOPs is what the ledger counts, phase by phase, where the run is as the plan assumes."""

from pathlib import Path
from statistics import fmean

import pytest
from support import tiny

from bootstrap.planning.plan import make_plan
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.training


def test_planned_flops_are_those_that_the_ledger_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tiny.REJECTION | {"source": tiny.REJECTION["source"] | {"filter": "none"}}
    taught = tiny.RL | {"algorithm": {"type": "reinforce_pp", "kl": {"weight": 0.1}}}
    taught |= {"teaching": {"loss": "reverse_kl", "teacher": "champion"}}
    given = {"curriculum": {"type": "given", "levels": [5]}}
    small, shown = tiny.MODEL | {"hidden_size": 16}, tiny.recipe().base.steps[0].model_dump(mode="json")
    stages = [
        given | {"name": "rl", "gate": "always", "steps": [tiny.RL]},
        given | {"name": "own", "gate": "always", "steps": [own, tiny.DISTILL]},
        given | {"name": "student", "gate": "never", "init": small, "steps": [shown, taught]},
    ]
    # No more prompts than small levels have.
    evaluation = tiny.EVALUATION | {"prompts_per_level": 10}
    settings = tiny.recipe(generations={"stages": stages}, evaluation=evaluation)
    entries = tiny.grow(settings, tmp_path)
    updates = Tables.read(LineageStore(tmp_path).artifact(entries[1].generation.artifacts["step-0"])).updates
    monkeypatch.setattr(
        "bootstrap.planning.estimate.INFORMATIVE_SHARE", fmean(row.informative_groups for row in updates)
    )
    plan = make_plan(settings, lineage="tiny", workers=1)
    for entry, planned in zip(entries, plan.generations, strict=True):
        counted = entry.generation.compute.flops
        for phase, flops in planned.flops.items():
            assert flops == pytest.approx(counted.get(phase, 0.0), rel=0.25), f"{planned.name} {phase}"
