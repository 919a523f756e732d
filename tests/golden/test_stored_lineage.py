"""A lineage stored under the names of schema 3 opens, verifies, shows, is judged again, and goes on.

`stored/schema-3.tar.gz` is what a run of `stored/schema-3.yaml` left: generation 0, one that no gate looked at, and one
of four steps of all kinds. A run that was killed is made of it by taking away what came last.
"""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest
from support import tiny

from bootstrap.cli.main import main
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Generation, GenerationOutcome
from bootstrap.lineage import queries, samples
from bootstrap.lineage.outbox import Outbox
from bootstrap.schema import RENAMED_SETTINGS, SCHEMA_VERSION
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training]

STORED = Path(__file__).parent / "stored"
RECIPE = STORED / "schema-3.yaml"
DECIDED = ("outcome", "edges", "target_levels", "recipe_digest", "verifiers", "report", "decision", "accounting")
"""What a generation comes to, whatever machine grows it."""


def decided(generation: Generation, name: str) -> object:
    """Return what a generation comes to; of its report what it counted, since weights and samples turn on rounding."""
    if name != "report":
        return getattr(generation, name)
    report = generation.report
    return report.suite, [(one.level, one.num_prompts, one.num_correct) for one in report.levels]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with tarfile.open(STORED / "schema-3.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return (tmp_path / "lineage").rename(tmp_path / "stored")


def rewritten(folder: Path) -> Path:
    """Return the recipe's file with the names of today."""
    text = RECIPE.read_text()
    for names in RENAMED_SETTINGS.values():
        for old, new in names.items():
            # An sft or distill step counts updates as ever.
            found = rf"(?<=type: rl, ){old}(?=:)" if old == "updates" else rf"\b{old}(?=:)"
            text = re.sub(found, new, text)
    path = folder / "rewritten.yaml"
    path.write_text(text)
    return path


def recipe_by(name: str, root: Path) -> Recipe:
    """Return the recipe that the lineage remembers, or that somebody rewrote."""
    return load_recipe(root / "recipe.json" if name == "remembered" else rewritten(root.parent))


def artifacts(root: Path) -> dict[str, float]:
    """Return each artifact's folder with the time of its manifest."""
    return {path.name: (path / "manifest.json").stat().st_mtime_ns for path in (root / "artifacts").iterdir()}


def test_every_hash_of_it_agrees(root: Path) -> None:
    report = verify(root)
    assert report.is_clean, report.problems
    assert report.num_records == 3
    assert {name.rpartition("-")[0] for name in report.unreferenced} == {"artifacts/weights"}, "those between steps"


def test_its_records_are_read_under_the_names_of_today(root: Path) -> None:
    entries = LineageStore(root).ledger.read()
    base, ungated, last = (entry.generation for entry in entries)
    assert [one.schema_version for one in (base, ungated, last)] == [3, 3, 3]
    assert ungated.outcome is GenerationOutcome.UNGATED
    assert ungated.accounting.rollouts == ungated.accounting.verdicts == 48 and ungated.accounting.passed == 1
    assert last.diagnostics.kl_parent is not None and last.compute.flops["diagnostics"] > 0
    assert last.report.generalization_margin == 0 and "diagnostics" in last.artifacts
    measured = entries[2].annotations
    assert measured.benchmark["matmul_flops"] > 0
    assert measured.seconds["diagnostics"] > 0 and measured.bound_fraction["diagnostics"] > 0
    shown = queries.show(entries, "gen-1")
    assert (shown["status"], shown["accounting"]["rollouts"]) == ("ungated", 48)


def test_its_tables_are_read_under_the_names_of_today(root: Path) -> None:
    store = LineageStore(root)
    last = store.ledger.read()[2].generation
    shares = [row.informative_groups for ref in last.steps.values() for row in Tables.read(store.artifact(ref)).updates]
    assert len(shares) == 7 and {share for share in shares if share is not None} <= {0.0, 1 / 6, 2 / 6}


@pytest.mark.mlflow
def test_it_is_published_under_the_names_of_today(root: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from bootstrap.lineage.publisher import publish

    store, uri = LineageStore(root), f"sqlite:///{tmp_path}/mlflow.db"
    entries = store.ledger.read()
    (step,) = entries[1].generation.steps.values()
    numbers = samples.numbers(store.artifact(step), "updates.parquet")
    assert any("informative_groups" in row for row in numbers) and all("live_groups" not in row for row in numbers)
    settings = recipe_by("remembered", root).model_dump(mode="json")
    assert publish(root, tracking_uri=uri, experiment=None, recipe=settings, sample_rollouts=2) == [0, 1, 2]
    client = MlflowClient(tracking_uri=uri)
    shown = client.get_run(Outbox(root, tracking_uri=uri, experiment="bootstrap/stored").receipts(entries)[1].run_id)
    assert "train/informative_groups" in shown.data.metrics and "train/live_groups" not in shown.data.metrics
    assert not any(name.startswith("health/") for name in shown.data.metrics)


@pytest.mark.torch
@pytest.mark.training
def test_a_fork_of_it_starts_from_its_weights(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = LineageStore(root).ledger.read()
    stages = "generations={count: 0, steps: [{type: distill, updates: 1}]}"
    words = ["fork", "stored@gen-2", "heir", stages, "--store", str(root.parent)]
    assert main(words) == 0, capsys.readouterr().err
    heir = root.parent / "heir"
    (base,) = tiny.grow(load_recipe(heir / "recipe.json"), heir)
    assert base.generation.fingerprint == origin[2].generation.fingerprint
    assert base.generation.schema_version == SCHEMA_VERSION and verify(heir).is_clean and verify(root).is_clean


@pytest.mark.parametrize("name", ["remembered", "rewritten"])
def test_its_recipe_has_the_digest_that_it_was_stored_under(root: Path, name: str) -> None:
    header, recipe = LineageStore(root).header(), recipe_by(name, root)
    assert recipe.digest() == header.digest == LineageStore(root).ledger.read()[2].generation.recipe_digest
    assert recipe.identity() == header.identity
    LineageStore(root).check("stored", identity=recipe.identity())


@pytest.mark.torch
@pytest.mark.training
@pytest.mark.parametrize("name", ["remembered", "rewritten"])
def test_what_was_finished_is_taken_over(root: Path, name: str) -> None:
    """Killed between the last stage and the commit, of either recipe: nothing is done again."""
    recorded = LineageStore(root).ledger.read()[2].generation
    earlier = [(root / "ledger" / f"00000{n}.json").read_bytes() for n in (0, 1)]
    (root / "ledger" / "000002.json").unlink()
    before = artifacts(root)
    found = tiny.grow(recipe_by(name, root), root, fresh=True)[2].generation
    assert artifacts(root) == before
    left_out = {"schema_version"}
    assert found.model_dump(exclude=left_out) == recorded.model_dump(exclude=left_out)
    assert [(root / "ledger" / f"00000{n}.json").read_bytes() for n in (0, 1)] == earlier
    written = json.loads((root / "ledger" / "000002.json").read_bytes())["payload"]
    assert written["schema_version"] == SCHEMA_VERSION and {"accounting", "diagnostics"} <= written.keys()
    assert verify(root).is_clean


@pytest.mark.torch
@pytest.mark.training
def test_half_a_generation_goes_on_after_its_last_finished_step(root: Path) -> None:
    store = LineageStore(root)
    committed = [entry.generation for entry in store.ledger.read()]
    recorded, kept = committed[2], {ref.path for one in committed[:2] for ref in one.artifacts.values()}
    first = store.artifact(recorded.artifacts["step-0"]).json("result.json")["fingerprint"]
    weights = store.find("weights", {"fingerprint": first})
    assert weights is not None
    kept |= {recorded.artifacts["step-0"].path, f"artifacts/{weights.path.name}"}
    (root / "ledger" / "000002.json").unlink()
    for path in (root / "artifacts").iterdir():
        if f"artifacts/{path.name}" not in kept:
            shutil.rmtree(path)
    before = artifacts(root)
    found = tiny.grow(recipe_by("rewritten", root), root, fresh=True)[2].generation
    assert {name: artifacts(root)[name] for name in before} == before
    for name in DECIDED:
        assert decided(found, name) == decided(recorded, name), name
    # What it starts from was stored, so its id is the same on any machine.
    assert found.artifacts["step-1"].id == recorded.artifacts["step-1"].id
    assert verify(root).is_clean


def test_a_lineage_that_goes_on_is_of_todays_schema(root: Path) -> None:
    store, recipe = LineageStore(root), recipe_by("remembered", root)
    assert store.header().schema_version == 3, "reading changes nothing"
    store.open("stored", identity=recipe.identity())
    stored = json.loads((root / "lineage.json").read_bytes())
    assert stored["schema_version"] == SCHEMA_VERSION and stored["identity"] == recipe.identity()
    assert verify(root).is_clean


def test_a_recipe_of_the_old_names_is_refused_with_the_new_ones(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match=r"steps\[0\]\.updates: no such setting; an rl step calls it rounds"):
        load_recipe(RECIPE)
    assert main(["run", str(RECIPE), "--local", "--store", str(root.parent)]) == 2
    told = capsys.readouterr().err
    assert told.count("an rl step calls it rounds") == 2 and "a recipe calls it diagnostics" in told
    assert "Traceback" not in told


def test_its_verdicts_and_decisions_are_those_of_the_verifiers_of_today(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rescore", "--store", str(root.parent), "--lineage", "stored", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["generations"]
    assert [(row["training_changes"], row["heldout_changes"], row["differs"]) for row in told] == [({}, {}, False)] * 3
    assert [row["num_training"] for row in told] == [0, 48, 88]
