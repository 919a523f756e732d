"""The class `Lineage`, answers as tables and JSON, several lineages side by side, and the questions' commands."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import NASTY, PROMOTED, RECIPE, SETTINGS, build
from support.questioned import Answered, rewritten, used
from support.rollouts import rollout, verdict

from bootstrap import Lineage
from bootstrap.canonical import sha256
from bootstrap.cli.main import main
from bootstrap.config import data
from bootstrap.config.recipe import Recipe
from bootstrap.errors import BootstrapError, RecipeError, StoreCorrupt, StoreError
from bootstrap.lineage.questions.records import Records, to_dict
from bootstrap.lineage.questions.why import Rival
from bootstrap.records import Rollout, Status, Verdict
from bootstrap.stages.heldout_texts import heldout_texts
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet

# --- a generation of another lineage --------------------------------------------------------------------------------


def test_every_question_takes_a_generation_of_another_lineage(rich_store: Path, rich: Lineage) -> None:
    other = Lineage(rich_store, "addition")
    assert other.generation("rich@gen-5") == rich.generation("gen-5")
    assert other.why("rich@champion") == rich.why() != other.why()
    assert other.samples("rich@gen-3") == rich.samples("gen-3")
    assert other.contamination("rich@gen-3") == rich.contamination("gen-3")
    assert other.taint("rich@gen-5") == rich.taint("gen-5") == rich.taint("rich@gen-5")
    held_out = rich.samples("gen-3", origin="heldout", count=1)[0].id
    assert other.trace(held_out, generation="rich@gen-3") == rich.trace(held_out, generation=3)
    with pytest.raises(StoreError, match="did you mean rich"):
        other.why("ritch@gen-3")
    with pytest.raises(RecipeError, match="use gen-0 to gen-8"):
        other.reproduce("rich@gen-77")


def test_an_at_sign_separates_a_lineage_only_where_there_is_one(tmp_path: Path) -> None:
    build(tmp_path / "made", plan=[PROMOTED], outside="org/model@v2", forked="gone@gen-1")
    made = Lineage(tmp_path)
    assert made.taint("org/model@v2").kind == "model" and made.taint("gone@gen-1").kind == "model"
    assert main(["taint", "org/model@v2", "--store", str(tmp_path)]) == 0


# --- compare -------------------------------------------------------------------------------------------------------


def test_compare_sets_lineages_side_by_side(rich_store: Path) -> None:
    found = Lineage(rich_store, "addition").compare(Lineage(rich_store, "rich"))
    one, two = found.lineages
    assert (one.lineage, one.champion, one.promoted, one.rejected, one.ungated) == ("addition", "gen-3", 2, 1, 0)
    assert (two.champion, two.promoted, two.rejected, two.ungated, two.generations) == ("gen-8", 4, 3, 1, 8)
    assert two.forked_from == "addition@gen-3" and one.forked_from == ""
    settings = {row.name: row.values for row in found.settings}
    assert settings["task.type"] == ('"addition"', '"mixture"')
    accuracy = {(row.task, row.level): row.accuracies for row in found.levels}
    last = Lineage(rich_store, "rich").champion.report.level(10)
    assert last and accuracy["", 10] == (None, last.accuracy)
    [pair] = found.paired
    assert (pair.a, pair.b, pair.prompts, pair.only_a, pair.only_b) == ("addition@gen-3", "rich@gen-8", 30, 0, 0)


def test_compare_gives_each_lineage_its_own_settings_alone(tmp_path: Path) -> None:
    identity = SETTINGS.identity()
    bases = {"none": [], "one": identity["base"]["steps"], "two": [*identity["base"]["steps"]] * 2}
    for name, steps in bases.items():
        build(tmp_path / "plain", plan=[PROMOTED], teacher=False)
        plain, made = LineageStore(tmp_path / "plain"), LineageStore(tmp_path / name)
        made.open(name, identity={**identity, "base": {**identity["base"], "steps": steps}})
        shutil.copytree(plain.artifacts_folder, made.artifacts_folder, dirs_exist_ok=True)
        for entry in plain.ledger.read():
            made.ledger.append(entry.generation, entry.annotations)
        shutil.rmtree(plain.root)
    first, *others = [Lineage(tmp_path, name) for name in bases]
    settings = {row.name: row.values for row in first.compare(*others).settings}
    step = json.dumps(identity["base"]["steps"][0], sort_keys=True)
    assert settings == {"base.steps[0]": ("", step, step), "base.steps[1]": ("", "", step)}


def test_a_comparison_needs_several_lineages(rich: Lineage, rich_store: Path) -> None:
    with pytest.raises(RecipeError, match="two lineages or more"):
        rich.compare()
    with pytest.raises(RecipeError, match="named twice"):
        rich.compare(Lineage(rich_store, "rich"))


# --- the class, and tables on request --------------------------------------------------------------------------------


def test_a_store_of_several_lineages_asks_which(rich_store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"several lineages.*addition, rich"):
        Lineage(rich_store)
    with pytest.raises(StoreError, match="did you mean rich"):
        Lineage(rich_store, "ritch")
    with pytest.raises(StoreError, match="there is no store"):
        Lineage(tmp_path / "none")
    assert [one.name for one in Lineage.all(rich_store)] == ["addition", "rich"]


WRONG: Any = 5


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda one: one.samples("gen-3", order="middle"), "order 'middle' is unknown; use 'best' or 'worst'"),
        (lambda one: one.samples("gen-3", origin="both"), "origin 'both' is unknown; use 'training' or 'heldout'"),
        (lambda one: one.samples("gen-3", count="ten"), "count 'ten' asks for no samples; ask for 1 or more"),
        (lambda one: one.samples("gen-3", dropped=5), "dropped 5 is no text"),
        (lambda one: one.samples("gen-3", dropped="", origin="heldout"), "held-out answers train nothing"),
        (lambda one: one.taint("gen-3", kind="weights"), "kind 'weights' is unknown; use 'generation' or 'verifier'"),
        (lambda one: one.trace(5), "holds no sample '5'; ids look like"),
        (lambda one: one.why(None), "no generation is called 'None'; use gen-0 to gen-8"),
        (lambda one: one.compare("ritch"), "did you mean rich"),
        (lambda one: one.reproduce(1, into=5), "5 names no folder; give its path"),
        (lambda one: Lineage(WRONG), "5 names no folder; give its path"),
        (lambda one: Lineage(one.path.parent, WRONG), "holds no lineage '5'; there is addition, rich"),
        (lambda one: Lineage.asked(one.path.parent, None, "rich"), "rich is a lineage; name a generation of it"),
    ],
)
def test_a_wrong_argument_in_python_is_one_error_with_a_remedy(
    rich: Lineage, ask: Callable[[Lineage], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The recipe and the way to make it again are `reproduce`'s own; what it writes to is looked at first.
    monkeypatch.setattr("bootstrap.api._recalled", lambda grown: pytest.fail("the recipe was read"))
    with pytest.raises(BootstrapError, match=re.escape(message)):
        ask(rich)


def test_without_pandas_the_error_names_the_extra(rich: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RecipeError, match=re.escape("pip install 'bootstrap-lm[pandas]'")):
        rich.samples("gen-3").to_pandas()
    assert rich.samples("gen-3", count=2).to_arrow().num_rows == 2


def test_compare_takes_the_name_of_a_lineage_of_the_same_store(rich: Lineage, rich_store: Path) -> None:
    assert rich.compare("addition") == rich.compare(Lineage(rich_store, "addition"))


def test_a_lineage_tells_its_generations(rich: Lineage) -> None:
    assert (len(rich), rich.champion.name, rich.generation(3).name) == (9, "gen-8", "gen-3")
    assert [one.number for one in rich.generations] == list(range(9))
    assert repr(rich).endswith("'rich'): 9 generations")


def test_rows_become_tables(rich: Lineage) -> None:
    found = rich.samples("gen-3", count=3)
    table, frame = found.to_arrow(), found.to_pandas()
    assert table.num_rows == len(frame) == 3
    assert table.column_names == list(frame.columns) == list(found.to_dicts()[0])
    assert frame["reward"].tolist() == [1.0, 1.0, 1.0]
    empty = rich.taint("gen-2").downstream
    assert empty.to_arrow().column_names == list(empty.to_pandas().columns) != []


def test_an_answer_is_plain_data(rich: Lineage) -> None:
    data = json.loads(json.dumps(to_dict(rich.why())))
    assert data["chain"][2]["rivals"][0]["name"] == "gen-2"
    assert Records(kind=Rival).to_dicts() == []


def test_a_lost_artifact_is_named(tmp_path: Path) -> None:
    lineage = rewritten(tmp_path, step_0=used)
    folder = lineage.path / lineage.generation(1).steps[min(lineage.generation(1).steps)].path
    shutil.rmtree(folder)
    with pytest.raises(StoreCorrupt, match=folder.name):
        lineage.samples("gen-1", origin="training")


def test_texts_of_held_out_prompts_are_made_again_from_the_recipe(tmp_path: Path) -> None:
    known = [prompt for prompt, text in heldout_texts(SETTINGS, [5]).items() if len(text) == len("12345+12345=")]
    assert len(known) > 100

    def outcomes(number: int) -> dict[str, bytes]:
        rows = [Answered(prompt_id=known[0], level=5, correct=number == 2, text="x", task="")]
        return {"outcomes.parquet": to_parquet(rows, Answered)}

    lineage = rewritten(tmp_path, evaluation=outcomes)
    [without] = lineage.diff("gen-1", "gen-2", prompts=False).answers
    [found] = lineage.diff("gen-1", "gen-2").answers
    assert without.prompt == "" and found.prompt == heldout_texts(SETTINGS, [5])[known[0]]
    assert sha256(f"addition\n{found.prompt}".encode())[:16] == found.prompt_id == known[0]


def test_a_task_whose_file_is_gone_gives_no_texts(tmp_path: Path) -> None:
    task = {"type": "file", "path": str(tmp_path / "gone.jsonl"), "max_prompt_length": 32}
    recipe = Recipe.model_validate({**RECIPE, "task": task, "tracking": {}})
    assert heldout_texts(recipe, [1]) == {}


HUB = {"hub": "a/b", "split": "train", "revision": "0" * 40}


@pytest.mark.parametrize(
    ("path", "content", "texts"),
    [("mine.jsonl", None, 0), ("mine.jsonl", "it", 1), ("mine.jsonl", "other", 0), (HUB, "it", 0)],
)
@pytest.mark.parametrize("place", ["task", "panel"])
def test_a_stored_recipe_opens_no_file_of_its_choice_and_asks_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, path: object, content: str | None, texts: int
) -> None:
    rows = b"".join(b'{"prompt": "=%d", "answer": "1"}\n' % number for number in range(40))
    (tmp_path / "mine.jsonl").write_bytes(rows)
    pin = {"it": sha256(rows), "other": "0" * 64}.get(content or "")
    at = str(tmp_path / path) if isinstance(path, str) else path
    task = {"type": "file", "path": at, "content": pin, "alphabet": "0123456789+=", "max_prompt_length": 32}
    changed = {"task": task} if place == "task" else {"evaluation": {"panel": {"x": {"task": task}}}}
    recipe = Recipe.model_validate({**RECIPE, **changed, "tracking": {}})
    opened = list[object]()
    monkeypatch.setattr(
        "bootstrap.config.data._read", lambda place, read=data._read: opened.append(place) or read(place)
    )
    found = heldout_texts(recipe, [1]).values()
    assert any(text.startswith("=") for text in found) == bool(texts)
    assert bool(opened) == (isinstance(path, str) and content is not None)


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("why", "rich@champion"), "the line of champions is gen-0 -> gen-1 -> gen-3 -> gen-6 -> gen-8"),
        (("why", "gen-2", "--lineage", "rich"), "level 2 fell 0.996 -> 0.877"),
        (("diff", "rich@gen-3", "gen-6"), "steps[0].type"),
        (("samples", "rich@gen-3", "--worst", "--count", "2"), "FAIL, reward 0"),
        (("samples", "rich@gen-3", "--dropped", "variance"), "dropped: group without variance"),
        (("trace", "g3.s0.u1.p0.k0", "--lineage", "rich"), "answer of rich, gen-3, step 0"),
        (("taint", "rich@gen-5"), "is merged from gen-5"),
        (("contamination", "rich@gen-3"), "not known: what /models/tutor had seen before"),
        (("compare", "addition", "rich"), "accuracy of the champions"),
    ],
)
def test_the_terminal_answers_in_words_and_in_json(
    rich_store: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], told: str
) -> None:
    assert main([*words, "--store", str(rich_store)]) == 0
    assert told in capsys.readouterr().out
    assert main([*words, "--store", str(rich_store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("why", "gen-1"), "several lineages: addition, rich; name one (--lineage NAME, or", 3),
        (("why", "rich@gen-77"), "no generation is called 'gen-77'", 2),
        (("samples", "rich@gen-1", "--best", "--worst"), "--best and --worst are opposites", 2),
        (("trace", "nothing", "--lineage", "rich"), "ids look like", 2),
        (("taint", "rich@nothing"), "knows no subject 'nothing'", 2),
        (("compare", "rich"), "two lineages or more", 2),
        (("compare", "rich", "ritch"), "did you mean rich", 3),
    ],
)
def test_bad_input_gets_one_message(
    rich_store: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], message: str, code: int
) -> None:
    assert main([*words, "--store", str(rich_store)]) == code
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_texts_of_models_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    escape = "\x1b]0;owned\x07\x1b[2J"

    def steps(number: int) -> dict[str, bytes]:
        rows = [rollout(f"g{number}.s0.u0.p0.k0", text=f"{escape}{NASTY}\u202e", prompt_text=escape)]
        judged = [verdict(rows[0].id, Status.FAIL, reason=escape)]
        return {"rollouts.parquet": to_parquet(rows, Rollout), "verdicts.parquet": to_parquet(judged, Verdict)}

    rewritten(tmp_path, step_0=steps)
    for words in (("samples", "gen-1"), ("trace", "g1.s0.u0.p0.k0")):
        assert main([*words, "--store", str(tmp_path)]) == 0
        told = capsys.readouterr().out
        assert "\x1b" not in told and "\u202e" not in told and "\\x1b]0;owned" in told
