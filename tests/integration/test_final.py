"""The final set: prompts that nothing else asks, on which the delivered champion is compared with generation 0 once."""

import json
import shutil

import pytest
from support import tiny
from typer.testing import CliRunner

from bootstrap.cli.export import export_generation
from bootstrap.cli.main import app
from bootstrap.errors import VerifierDrift
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.lineage.queries import final_line
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.scoring.exact import ExactMatch
from bootstrap.scoring.verifier import passed
from bootstrap.stages.tables import Tables
from bootstrap.store.finals import KIND, final_of
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet
from bootstrap.store.verify import verify

pytestmark = pytest.mark.training

TASK = {"type": "copy", "alphabet": "abcdefgh", "base_level": 3, "heldout_fraction": 0.3, "final_fraction": 0.3}
STAGES = [{"name": "all", "generations": 2, "gate": "always", "steps": [tiny.RL]}]
RECIPE = tiny.recipe(task=TASK, generations={"stages": STAGES}, evaluation=tiny.EVALUATION | {"final_prompts": 30})


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    root = tmp_path_factory.mktemp("final") / "tiny"
    return LineageStore(root), tiny.grow(RECIPE, root)


def test_the_champion_is_compared_with_generation_0_on_prompts_of_the_final_set_alone(grown):
    store, entries = grown
    final, task = final_of(store, entries), build_task(RECIPE.task)
    assert final.record == entries[-1].hash
    assert final.champion == entries[-1].generation.champion
    (folder,) = (path for path in store.artifact_folders() if path.name.startswith(f"{KIND}-"))
    rows = from_parquet((folder / f"outcomes-{final.champion}.parquet").read_bytes(), OutcomeRow)
    asked = {prompt.id for level in final.levels for prompt in task.final(level, 30)}
    assert {row.prompt_id for row in rows} == asked
    assert (final.num_prompts, final.accuracy) == (len(asked), sum(row.correct for row in rows) / len(asked))
    gated = {prompt.id for level in range(1, 9) for prompt in task.heldout(level, 200)}
    trained = {
        rollout.prompt_id
        for entry in entries[1:]
        for rollout in Tables.read(store.artifact(entry.generation.artifacts["step-0"])).rollouts
    }
    assert trained and not asked & (gated | trained)


def test_base_and_champion_are_paired(grown):
    store, entries = grown
    final = final_of(store, entries)
    assert final.champion == 2
    assert final.gained + final.lost > 0 and final.compute.total_tokens > 0
    assert final.gained - final.lost == round((final.accuracy - final.base_accuracy) * final.num_prompts)
    assert final.difference.low <= final.accuracy - final.base_accuracy <= final.difference.high


def test_a_finished_comparison_is_not_made_again(grown):
    store, entries = grown
    asked = []

    class Counting(LocalPool):
        def generate(self, requests, how, *, by=None):
            asked.extend(requests)
            return super().generate(requests, how, by=by)

    assert tiny.grow(RECIPE, store.root, pool=Counting(1, batch_rows=64)) == entries
    assert not asked


def test_it_is_verified_and_quoted(grown, tmp_path):
    store, entries = grown
    report = verify(store.root)
    assert report.is_clean and not report.unreferenced
    line = final_line(final_of(store, entries), entries)
    assert "prompts of levels 1-" in line and "that no gate has seen: gen-" in line and "95 % interval" in line
    export_generation(store, "champion", tmp_path / "champion")
    assert line in (tmp_path / "champion" / "README.md").read_text()
    shown = CliRunner().invoke(app, ["lineage", "--store", str(store.root.parent)])
    assert " ".join(line.split()) in " ".join(shown.output.split())


def test_a_lineage_that_goes_on_is_compared_again_at_its_new_end(tmp_path):
    def recipe(count):
        generations = RECIPE.generations.model_copy(update={"count": count})
        return RECIPE.model_copy(update={"generations": generations})

    store = LineageStore(tmp_path / "tiny")
    first = tiny.grow(recipe(1), store.root)
    early = final_of(store, first)
    assert (early.generation, early.record) == (1, first[-1].hash)
    assert "as of" not in final_line(early, first)
    more = tiny.grow(recipe(2), store.root)
    assert final_of(store, more).record == more[-1].hash
    assert final_line(early, more).endswith(", as of gen-1")
    assert verify(store.root).is_clean


def test_a_run_that_was_killed_before_the_comparison_makes_it_once_its_verifier_passes_the_probe(
    grown, tmp_path, monkeypatch
):
    store, entries = grown
    root = tmp_path / "tiny"
    shutil.copytree(store.root, root)
    for folder in root.glob(f"artifacts/{KIND}-*"):
        shutil.rmtree(folder)
    judge, turned = ExactMatch.judge, False

    def turn(event):
        nonlocal turned
        turned = event.stage == "final"

    def turning(verifier, answers):
        return [passed(verifier.name) for _ in answers] if turned else judge(verifier, answers)

    monkeypatch.setattr(ExactMatch, "judge", turning)
    with pytest.raises(VerifierDrift, match=r"final comparison and fails the probe .* the same command again") as told:
        tiny.grow(RECIPE, root, observe=turn)
    assert told.value.exit_code == 4
    assert LineageStore(root).ledger.read() == entries and final_of(LineageStore(root), entries) is None
    turned = False
    assert tiny.grow(RECIPE, root, pool=LocalPool(1, batch_rows=64)) == entries
    assert final_of(LineageStore(root), entries) == final_of(store, entries)


def test_a_comparison_that_was_tampered_with_is_a_problem(grown, tmp_path):
    store, _ = grown
    root = tmp_path / "tiny"
    shutil.copytree(store.root, root)
    (path,) = root.glob(f"artifacts/{KIND}-*/final.json")
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "accuracy": 1.0}))
    assert any("final" in problem.path for problem in verify(root).problems)


def test_without_a_final_share_there_is_no_comparison(tmp_path):
    entries = tiny.grow(tiny.recipe(count=1), tmp_path / "tiny")
    assert final_of(LineageStore(tmp_path / "tiny"), entries) is None
