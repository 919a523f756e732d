"""A generation made again from its record is the same to the last bit, and the store asked about stays as it is."""

import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.pretrained import small_folder

from bootstrap import Lineage
from bootstrap.canonical import sha256
from bootstrap.cli.main import main
from bootstrap.cli.remembered import remember_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError, WeightsFreed
from bootstrap.plugins import plugins_of
from bootstrap.store import gc
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training]

STORED = Path(__file__).parents[1] / "golden" / "stored" / "schema-3.tar.gz"
DECIDED = {"outcome", "decision", "accounting", "verifiers", "edges"}
"""What a generation comes to, whatever machine grows it; its report names the weights, which rounding decides."""


def grown(folder: Path, settings: Recipe, *, workers: int = 1) -> Lineage:
    """Grow a lineage as `bootstrap run` does, its recipe remembered."""
    root = folder / settings.name
    tiny.grow(settings, root, workers=workers)
    remember_recipe(LineageStore(root), settings, folder=folder)
    return Lineage(folder, settings.name)


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    settings = tiny.recipe(steps=(tiny.RL, tiny.REJECTION, tiny.DISTILL), count=2)
    return grown(tmp_path_factory.mktemp("store"), settings)


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("generation", [0, 1, 2])
def test_every_generation_comes_out_the_same_and_nothing_is_written(lineage: Lineage, generation: int) -> None:
    before = files_of(lineage.path)
    found = lineage.reproduce(generation)
    assert [check.name for check in found.checks if not check.same] == []
    assert found.is_same and found.sentence.startswith(f"gen-{generation} is reproduced")
    names = {check.name for check in found.checks}
    assert {"weights", "evaluation outcomes", "decision", "ledger record"} <= names
    assert ("step-0 rollouts" in names) is (generation > 0)
    assert files_of(lineage.path) == before and found.store == ""


def test_the_scratch_store_stays_where_it_is_asked_for(lineage: Lineage, tmp_path: Path) -> None:
    found = lineage.reproduce("gen-1", into=tmp_path / "again")
    again = Lineage(tmp_path / "again")
    assert found.store == str(tmp_path / "again")
    assert [entry.hash for entry in again.entries] == [entry.hash for entry in lineage.entries[:2]]
    assert again.why("gen-1").chain == lineage.why("gen-1").chain
    # What the generation before made is read where it was, so that the scratch store is small; its own is all there.
    own = again.generation(1).artifacts.values()
    assert all((again.path / ref.path).is_dir() for ref in own)
    with pytest.raises(RecipeError, match="is not an empty folder"):
        lineage.reproduce("gen-1", into=tmp_path / "again")


def test_a_lineage_of_two_workers_is_made_again_by_two(tmp_path: Path) -> None:
    lineage = grown(tmp_path, tiny.recipe(steps=(tiny.RL,), count=1), workers=2)
    # The last run's recipe may have been given another number since.
    remembered = tiny.recipe(steps=(tiny.RL,), count=1, resources={"batch_rows": 7})
    remember_recipe(LineageStore(lineage.path), remembered, folder=tmp_path)
    found = lineage.reproduce("last")
    assert found.is_same and found.workers == 2


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_are_made_again_over_their_base(tmp_path: Path, dora: bool) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name, data in small_folder().items():
        (model / name).write_bytes(data)
    adapter = {"type": "lora", "rank": 4, "alpha": 8, "dora": dora}
    settings = tiny.recipe(
        count=1,
        base={"model": {"type": "folder", "path": str(model)}, "steps": []},
        training={"adapter": adapter, "precision": "fp32"},
    )
    found = grown(tmp_path / "runs", settings).reproduce("last")
    assert [check.name for check in found.checks if not check.same] == [] and found.is_same


def refused(lineage: Lineage, folder: Path) -> str:
    """Return why a lineage's last generation is not made again, once nothing has been made."""
    with pytest.raises((RecipeError, WeightsFreed)) as error:
        lineage.reproduce("last", into=folder / "again", make_roles=lambda *_: pytest.fail("workers were started"))
    assert not (folder / "again").exists()
    return str(error.value)


SERVER = {"type": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "tutor-7b"}
ASKING: list[dict[str, Any]] = [
    {"generations": {"count": 2, "steps": [{**tiny.REJECTION, "source": {"type": "rejection", "sampler": SERVER}}]}},
    {"verifier": {"type": "judge", "model": SERVER, "rubric": "the same letters"}},
]


@pytest.mark.parametrize("changed", ASKING, ids=["sampler", "judge"])
def test_what_servers_answered_is_refused_before_anything_is_made(
    lineage: Lineage, tmp_path: Path, changed: dict[str, Any]
) -> None:
    settings = json.loads((lineage.path / "recipe.json").read_text())["recipe"]
    asking = of_recipe(lineage, tmp_path, changed)
    remember_recipe(LineageStore(asking.path), Recipe.model_validate({**settings, **changed}), folder=tmp_path)
    told = refused(asking, tmp_path)
    assert told.startswith("gen-2 cannot be made again: it takes answers or judgements of tutor-7b on a server")


def test_freed_weights_are_told_before_anything_is_made(lineage: Lineage, tmp_path: Path) -> None:
    store = LineageStore(tmp_path / "tiny")
    shutil.copytree(lineage.path, store.root)
    gc.free(store, gc.weights_of_lineage(store, store.ledger.read(), {}))
    assert "freed" in refused(Lineage(tmp_path, "tiny"), tmp_path)


@pytest.fixture
def published_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing takes longer than these runs."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


@pytest.mark.usefixtures("published_nowhere")
def test_a_fork_s_generation_0_is_made_again_from_its_origin(
    lineage: Lineage, capsys: pytest.CaptureFixture[str]
) -> None:
    store = lineage.path.parent
    assert main(["fork", "tiny@gen-1", "forked", "--store", str(store), "generations.count=0"]) == 0
    assert main(["run", str(store / "forked" / "recipe.json"), "--store", str(store), "--lineage", "forked",
                 "--local", "--workers", "1"]) == 0  # fmt: skip
    capsys.readouterr()
    found = Lineage(store, "forked").reproduce("base")
    assert [check.name for check in found.checks if not check.same] == [] and found.is_same
    assert Lineage(store, "forked").contamination("base").trained[0].generation == "tiny@gen-0"
    shutil.rmtree(store / "forked")


@pytest.mark.usefixtures("published_nowhere")
def test_a_fork_is_made_again_after_the_weights_before_its_origin_were_freed(lineage: Lineage, tmp_path: Path) -> None:
    store = LineageStore(tmp_path / "tiny")
    shutil.copytree(lineage.path, store.root)
    held = gc.weights_of_lineage(store, store.ledger.read(), {2: "the fork starts from it"})
    gc.free(store, [one for one in held if not one.kept])
    assert [size.is_freed for size in gc.sizes(store, store.ledger.read()).values()] == [True, True, False]
    assert main(["fork", "tiny@gen-2", "forked", "--store", str(tmp_path), "generations.count=0"]) == 0
    assert main(["run", str(tmp_path / "forked" / "recipe.json"), "--store", str(tmp_path), "--lineage", "forked",
                 "--local", "--workers", "1"]) == 0  # fmt: skip
    assert Lineage(tmp_path, "forked").reproduce("base").is_same


def test_a_generation_whose_artifacts_are_lost_is_made_again_all_the_same(lineage: Lineage, tmp_path: Path) -> None:
    shutil.copytree(lineage.path, tmp_path / "tiny")
    damaged = Lineage(tmp_path, "tiny")
    for ref in damaged.generation("last").artifacts.values():
        shutil.rmtree(damaged.path / ref.path)
    found = damaged.reproduce("last")
    assert found.is_same and {"step-0 manifest", "evaluation manifest"} <= {check.name for check in found.checks}


@pytest.fixture
def altered(lineage: Lineage, tmp_path: Path) -> Lineage:
    """Return a lineage whose last record claims other weights and another decision, with sound hashes."""
    shutil.copytree(lineage.path, tmp_path / "tiny")
    store = LineageStore(tmp_path / "tiny")
    [*_, last] = store.ledger.read()
    store.ledger.path(last.generation.number).unlink()
    claimed = {"fingerprint": "0" * 64, "decision": last.generation.decision.model_copy(update={"reason": "because"})}
    store.ledger.append(last.generation.model_copy(update=claimed), last.annotations)
    return Lineage(tmp_path, "tiny")


def test_a_record_that_says_something_else_is_found(altered: Lineage) -> None:
    found = altered.reproduce("last")
    different = {check.name: (check.recorded, check.again) for check in found.checks if not check.same}
    assert different.keys() == {"weights", "decision", "ledger record"}
    assert different["weights"][0] == "0" * 64
    assert different["decision"][0] == 'reason "because"'
    assert found.sentence == "gen-2 made again has other weights; different: weights, decision, ledger record"


def test_the_record_of_another_release_is_compared_field_by_field(lineage: Lineage, tmp_path: Path) -> None:
    shutil.copytree(lineage.path, tmp_path / "tiny")
    store = LineageStore(tmp_path / "tiny")
    [*_, last] = store.ledger.read()
    store.ledger.path(last.generation.number).unlink()
    store.ledger.append(last.generation.model_copy(update={"code_version": "0.0.1"}), last.annotations)
    found = Lineage(tmp_path, "tiny").reproduce("last")
    assert found.is_same and "ledger record" not in {check.name for check in found.checks}
    assert [(check.recorded, check.same) for check in found.surroundings if check.name == "program"] == [
        ("0.0.1", False)
    ]


def test_the_command_tells_a_difference_by_its_exit_code(altered: Lineage, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(altered.path.parent)
    assert main(["reproduce", "gen-1", "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_same"] is True
    assert main(["reproduce", "gen-2", "--store", store]) == 8
    printed = capsys.readouterr()
    assert "000000000000" in printed.out and "error: gen-2 made again has other weights" in printed.err


def test_a_folder_of_the_store_asked_about_is_no_place_for_it(lineage: Lineage) -> None:
    for place in (lineage.path.parent, lineage.path / "again", lineage.path.parent / "new"):
        with pytest.raises(RecipeError, match="which is only read"):
            lineage.reproduce("gen-1", into=place)
    with pytest.raises(RecipeError, match="no generation is called '7'"):
        lineage.reproduce(7)


def of_recipe(lineage: Lineage, folder: Path, changed: dict[str, Any]) -> Lineage:
    """Return a copy of a lineage in a new folder, with a sound header of a changed recipe and none remembered."""
    shutil.copytree(lineage.path, folder / "tiny")
    store, foreign = LineageStore(folder / "tiny"), LineageStore(folder / "other" / "tiny")
    (folder / "other").mkdir()
    settings = json.loads((store.root / "recipe.json").read_text())["recipe"]
    foreign.open("tiny", identity=Recipe.model_validate({**settings, **changed}).identity())
    shutil.move(foreign.root / "lineage.json", store.root / "lineage.json")
    (store.root / "recipe.json").unlink()
    return Lineage(folder, "tiny")


def test_code_that_a_stored_recipe_names_waits_for_a_word(lineage: Lineage, tmp_path: Path) -> None:
    found = of_recipe(lineage, tmp_path, {"verifier": {"type": "plugin", "uses": "never_imported:verify"}})
    with pytest.raises(RecipeError, match=r"never_imported:verify.*--trust-plugins"):
        found.reproduce("gen-1")
    assert "never_imported" not in sys.modules


SHORT = {"alphabet": "abc=", "max_prompt_length": 8, "max_answer_length": 8}
EVIL = {"type": "plugin", "uses": "strangers_task:Task", "levels": 9, **SHORT}
ALTERED: list[dict[str, Any]] = [{"task": EVIL}, {"evaluation": {"panel": {"x": {"task": EVIL}}}}]


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a file that appears when the module `strangers_task` is imported."""
    (tmp_path / "code").mkdir()
    marker = tmp_path / "code" / "imported"
    (tmp_path / "code" / "strangers_task.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Task: ...\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield marker
    sys.modules.pop("strangers_task", None)


@pytest.mark.parametrize("changed", [*ALTERED, {"seed": 8}])
@pytest.mark.parametrize("trusted", [(), ("strangers_task:Task",)])
def test_a_remembered_recipe_that_is_not_the_header_s_is_not_run(
    lineage: Lineage, tmp_path: Path, imported: Path, changed: dict[str, Any], trusted: tuple[str, ...]
) -> None:
    shutil.copytree(lineage.path, tmp_path / "tiny")
    path = tmp_path / "tiny" / "recipe.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "recipe": {**stored["recipe"], **changed}}))
    found = Lineage(tmp_path, "tiny")
    with pytest.raises(RecipeError, match="another recipe than the one that the lineage grows from"):
        found.reproduce("gen-1", trust_plugins=trusted)
    assert found.diff("gen-1", "gen-2").paired
    assert not imported.exists()


@pytest.mark.parametrize("changed", ALTERED)
def test_a_look_at_a_difference_runs_no_code_of_a_stored_recipe(
    lineage: Lineage, tmp_path: Path, imported: Path, changed: dict[str, Any]
) -> None:
    assert of_recipe(lineage, tmp_path, changed).diff("gen-1", "gen-2").paired
    assert not imported.exists()


def test_plugins_are_found_wherever_a_recipe_names_one() -> None:
    recipe = {"steps": [{"type": "rl", "algorithm": {"type": "plugin", "uses": "a:b"}}], "task": {"type": "plugin"}}
    assert list(plugins_of({**recipe, "verifier": {"type": "plugin", "uses": "entry"}})) == ["a:b", "entry"]


@pytest.fixture
def former(tmp_path: Path) -> Iterator[Lineage]:
    """Yield a lineage that an earlier version stored."""
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "lineage").rename(tmp_path / "stored")
    yield Lineage(tmp_path, "stored")


def test_a_lineage_of_an_earlier_version_answers(former: Lineage) -> None:
    assert verify(former.path).is_clean
    assert former.why("gen-1").outcome == "ungated"
    sample = former.samples("gen-2", count=1)[0]
    assert former.trace(sample.id).prompt == sample.prompt
    assert former.taint("gen-0").downstream
    assert former.contamination("gen-2").is_clean
    assert former.diff("gen-1", "gen-2").paired
    found = former.reproduce("gen-2")
    assert {check.name for check in found.checks if check.same} >= DECIDED
    assert "ledger record" not in {check.name for check in found.checks}
