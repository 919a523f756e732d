"""A lineage on a file with rows that its verifier cannot use: no prompt of any kind is one of them, first and later."""

import json
from pathlib import Path

import pytest
from support import tiny

from bootstrap.evaluation.report import OutcomeRow
from bootstrap.prompts.build import build_task
from bootstrap.records import Event
from bootstrap.scoring.verifier import Tools
from bootstrap.stages import findings, readable
from bootstrap.stages.rescore import Rescorer
from bootstrap.stages.tables import Tables
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet

pytestmark = pytest.mark.training

ODD = set(range(5, 200, 20))


def test_a_run_goes_through_a_file_with_unreadable_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": f"{n}=", "answer": f"={n}" if n in ODD else f"{n}"} for n in range(200)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    root, events = tmp_path / "store", list[Event]()
    settings = tiny.recipe(
        task={
            "type": "file",
            "path": str(tmp_path / "rows.jsonl"),
            "alphabet": "0123456789=",
            "max_answer_length": 4,
            "max_prompt_length": 4,
            "heldout_fraction": 0.5,
        },
        base={"model": tiny.MODEL, "steps": [{"type": "sft", "updates": 1, "batch_size": 8}]},
        verifier={"type": "numeric"},
        max_unverifiable=0.0,
        steps=[tiny.RL | {"distillation": None}],
        count=1,
        evaluation={**tiny.EVALUATION, "prompts_per_level": 200, "lookahead": 0},
    )
    monkeypatch.setattr(findings, "_found", {})
    (_, entry) = tiny.grow(settings, root, observe=events.append)
    store, odd = LineageStore(root), {f"{n}=" for n in ODD}
    sampled = {
        rollout.prompt_text for rollout in Tables.read(store.artifact(entry.generation.artifacts["step-0"])).rollouts
    }
    evaluated = from_parquet(
        store.artifact(entry.generation.artifacts["evaluation"]).read("outcomes.parquet"), OutcomeRow
    )
    assert sampled and not sampled & odd
    assert evaluated and all(row.correct is not None for row in evaluated)
    assert [(e.done, e.total) for e in events if e.stage == "read"] == [(190, 190)]
    # Another process finds what the first one found.
    monkeypatch.setattr(findings, "_found", {})
    monkeypatch.setattr(readable, "_judged", None)
    assert tiny.grow(settings, root, observe=events.append)[1].hash == entry.hash
    task = build_task(settings.task)
    with open_verifiers(settings, task, Tools(cache=store.cache_folder)) as (verifiers, eval_verifier, panel):
        rescorer = Rescorer(
            settings, store=store, task=task, verifiers=verifiers, eval_verifier=eval_verifier, panel=panel
        )
        for row in rescorer.rescore(store.ledger.read()):
            assert (row.num_heldout, row.heldout, row.training) == (len(evaluated), {}, {})
