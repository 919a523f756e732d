"""Settings of how a pretrained model is asked: what identities hold of them, and which are refused."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from bootstrap.cli.remembered import recall_recipe, remember_recipe
from bootstrap.cli.reward_model import read_pairs
from bootstrap.config import data
from bootstrap.config.base import identity_of
from bootstrap.config.base_model import RESERVED_ARGUMENTS, PretrainedModel
from bootstrap.config.few_shot import MOST_EXAMPLES, ExampleFile, Shot
from bootstrap.config.load import json_schema, load_recipe
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.records import Split
from bootstrap.schema import hashed
from bootstrap.stages.checks import check_tasks, notes_on
from bootstrap.store.lineage_store import LineageStore

MODEL: TypeAdapter[PretrainedModel] = TypeAdapter(PretrainedModel)
RECIPE = """\
name: small
task: {type: addition, base_level: 2}
base:
  model:
    type: folder
    path: model
    examples: shots.jsonl
    stop: ["\\n\\n"]
    min_new_tokens: 2
    template_arguments: {enable_thinking: false, effort: low}
generations:
  count: 1
  steps:
    - type: rl
"""
LINE = '{"prompt": "1+1=", "answer": "2"}\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a recipe's path, its model and examples beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    vocabulary = {character: number for number, character in enumerate("<>0123456789+=")}
    tokenizer = {"model": {"type": "WordLevel", "vocab": vocabulary}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    (tmp_path / "shots.jsonl").write_text(LINE)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path / "small.yaml"


def model(data: str) -> PretrainedModel:
    return MODEL.validate_json(data, strict=True)


def test_a_model_without_new_settings_has_the_identity_that_it_had():
    expected = {"type": "folder", "path": "m", "chat": "template", "system": None}
    assert identity_of(PretrainedModel(path="m")) == expected
    written = model('{"type": "folder", "path": "m", "template_arguments": {}, "stop": [], "min_new_tokens": 0}')
    assert identity_of(written) == expected


def test_the_identity_holds_the_examples_content_and_not_their_place(place):
    recipe = load_recipe(place)
    found = identity_of(recipe.base.model)
    digest = hashlib.sha256(LINE.encode()).hexdigest()
    assert found["examples"] == {"content": digest}
    assert (found["stop"], found["min_new_tokens"]) == (["\n\n"], 2)
    assert found["template_arguments"] == {"enable_thinking": False, "effort": "low"}
    moved = place.parent / "elsewhere.jsonl"
    (place.parent / "shots.jsonl").rename(moved)
    place.write_text(RECIPE.replace("examples: shots.jsonl", f"examples: {{path: {moved}}}"))
    assert identity_of(load_recipe(place)) == identity_of(recipe)
    moved.write_text(LINE * 2)
    assert identity_of(load_recipe(place)) != identity_of(recipe)


def test_a_remembered_recipe_reads_the_same_examples(place):
    store = LineageStore(place.parent / "runs" / "small")
    store.root.mkdir(parents=True)
    recipe = load_recipe(place)
    remember_recipe(store, recipe, folder=place.parent)
    assert identity_of(recall_recipe(store)) == identity_of(recipe)
    again = load_recipe(store.root / "recipe.json")
    assert again.base.model.examples.read() == (Shot("1+1=", "2"),)
    (place.parent / "shots.jsonl").write_text(LINE * 2)
    with pytest.raises(RecipeError, match=r"base\.model\.examples: .* has changed"):
        load_recipe(store.root / "recipe.json")


def test_the_model_that_a_stage_starts_from_has_its_examples_pinned(place):
    stage = (
        "  stages:\n    - name: one\n      init: {type: folder, path: model, examples: shots.jsonl}\n"
        "      steps: [{type: rl}]\n"
    )
    place.write_text(RECIPE.partition("generations:")[0] + "generations:\n" + stage)
    [(_, found)] = load_recipe(place).generations.parts()
    assert found.init.examples.content == hashlib.sha256(LINE.encode()).hexdigest()
    (place.parent / "shots.jsonl").unlink()
    with pytest.raises(RecipeError, match=r"generations\.stages\[0\]\.init\.examples: there is no file"):
        load_recipe(place)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "holds 0 examples"),
        ("\n\n", "holds 0 examples"),
        (LINE * (MOST_EXAMPLES + 1), f"give 1 to {MOST_EXAMPLES}"),
        (LINE + "{", r"shots\.jsonl, line 2, is no example"),
        (LINE + '["1", "2"]', "line 2, is no example"),
        ('{"prompt": "1+1="}', "line 1, is no example"),
        ('{"prompt": "1+1=", "answer": 2}', "line 1, is no example"),
        ('{"prompt": "1+1=", "answer": " "}', "line 1, is no example"),
        (b"\xff", "no UTF-8"),
        (None, "there is no file"),
    ],
)
def test_a_file_of_examples_that_cannot_be_read_is_refused_with_the_remedy(place, content, expected):
    file = place.parent / "shots.jsonl"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError, match=rf"small\.yaml:7: base\.model\.examples: .*{expected}"):
        load_recipe(place)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["device", "pipe", "large"])
def test_what_never_ends_or_fills_memory_is_no_file_of_examples_or_rows(tmp_path, kind):
    path = tmp_path / "rows.jsonl"
    expected = "is a pipe or a device; write its content to a file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/null")
    else:
        # A sparse file takes no room on disk.
        with path.open("wb") as file:
            file.truncate(data.MOST_BYTES + 1)
        expected = r"holds 8,589,934,593 bytes, and at most .* are read into memory"
    for read in (ExampleFile(path=str(path)).read, lambda: data.read(str(path)), lambda: read_pairs(path)):
        with pytest.raises(ValueError, match=expected):
            read()


def test_examples_may_hold_more_than_a_row_needs_and_any_letters(tmp_path):
    file = tmp_path / "shots.jsonl"
    file.write_text('{"prompt": "a\u2028b", "answer": "é", "source": 3}\n\n', encoding="utf-8")
    assert ExampleFile(path=str(file)).read() == (Shot("a\u2028b", "é"),)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('"stop": [""]', "stop"),
        ('"stop": "x"', "stop"),
        ('"min_new_tokens": -1', "min_new_tokens"),
        ('"template_arguments": {"a": [1]}', "template_arguments"),
        ('"template_arguments": {"a": 1}, "chat": "plain"', "no effect with chat plain"),
        ('"examples": 3', "examples"),
        *((f'"template_arguments": {{"{name}": 1}}', f"{name} cannot be set") for name in sorted(RESERVED_ARGUMENTS)),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, expected):
    with pytest.raises(ValidationError, match=expected):
        model(f'{{"type": "folder", "path": "m", {settings}}}')


@pytest.mark.parametrize("value", ["true", "1", "0.5", '"x"', "null"])
def test_an_argument_of_the_template_keeps_its_type(value):
    found = model(f'{{"type": "folder", "path": "m", "template_arguments": {{"a": {value}}}}}')
    kept = found.template_arguments["a"]
    assert (kept, type(kept)) == (json.loads(value), type(json.loads(value)))


def test_arguments_of_the_template_keep_their_names_in_every_schema():
    found = model('{"type": "folder", "path": "m", "template_arguments": {"health": 1, "updates": 2, "type": "rl"}}')
    assert hashed(identity_of(found))["template_arguments"] == {"health": 1, "updates": 2, "type": "rl"}


def test_models_that_are_asked_alike_are_one_key():
    one, other = (model('{"type": "folder", "path": "m", "template_arguments": {"a": 1}}') for _ in range(2))
    assert {one: 1}[other] == 1 and one != PretrainedModel(path="m")


def test_a_least_length_beyond_the_answers_limit_is_refused(place):
    place.write_text(
        RECIPE.replace("{type: addition, base_level: 2}", "{type: file, path: rows, max_answer_tokens: 2}")
    )
    with pytest.raises(
        RecipeError, match=r"cannot end before 2 tokens, and one to task is cut at 2.*task\.max_answer_tokens"
    ):
        load_recipe(place)


def test_editors_accept_examples_by_path_alone():
    examples = json_schema()["$defs"]["PretrainedModel"]["properties"]["examples"]
    assert {"type": "string"} in examples["anyOf"]


def test_a_recipe_takes_examples_in_both_forms():
    written = {"path": "x.jsonl"}
    for examples in ("x.jsonl", written):
        found = MODEL.validate_python({"path": "m", "examples": examples})
        assert found.examples.written == "x.jsonl"


@pytest.mark.parametrize(("stop", "told"), [("1", True), ("x", False)])
def test_a_plan_tells_of_right_answers_that_a_stop_text_would_cut(place, stop, told):
    place.write_text(RECIPE.replace('stop: ["\\n\\n"]', f'stop: ["{stop}"]'))
    recipe = load_recipe(place)
    notes = [note for note in notes_on(recipe, build_task(recipe.task), {}) if note.startswith("base.model.stop")]
    assert bool(notes) == told
    assert not told or re.search(r"\d+ of 32 right answers hold a stop text, as '1'", notes[0])


@pytest.mark.parametrize(("split", "refused"), [(Split.HELDOUT, True), (Split.FINAL, True), (Split.TRAIN, False)])
def test_an_example_that_a_gate_asks_is_refused(place, split, refused):
    rows = [{"prompt": f"What  is {n} + 1?", "answer": str(n + 1)} for n in range(40)]
    (place.parent / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    task = "{type: file, path: rows.jsonl, prompt_template: 'Q: {prompt}', final_fraction: 0.2}"
    place.write_text(RECIPE.replace("{type: addition, base_level: 2}", task))
    tokenizer = place.parent / "model" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("WordLevel", "BPE"))
    recipe = load_recipe(place)
    found = build_task(recipe.task)
    [asked] = (
        found.heldout(1, 1)
        if split is Split.HELDOUT
        else (found.final(1, 1) if split is Split.FINAL else found.draw(1, 1, seed=0))
    )
    for prompt in (asked.text, asked.text.removeprefix("Q: ").replace(" ", "   ")):
        shots = [LINE.strip(), json.dumps({"prompt": prompt, "answer": "4"})]
        (place.parent / "shots.jsonl").write_text("\n".join(shots))
        recipe = load_recipe(place)
        if refused:
            with pytest.raises(RecipeError, match=r"base\.model\.examples: example 2 of .* is a held-out question"):
                check_tasks(recipe, found, {})
        else:
            check_tasks(recipe, found, {})
