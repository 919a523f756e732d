"""Loading recipes: every mistake becomes one error that names the place, what is wrong and the remedy."""

import hashlib
import json
import os
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bootstrap.config.base_model import scratch_vocabulary
from bootstrap.config.load import json_schema, load_recipe, load_verifier
from bootstrap.config.model_files import MODEL_FILES
from bootstrap.config.models import LineageModel, Reference, Sampler, StageEnd, Start, Teacher
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task

RECIPE = """\
name: small
task: {type: addition, base_level: 2}
base:
  steps:
    - {type: sft, updates: 10}
generations:
  count: 2
  steps:
    - type: rl
      rounds: 5
"""
FORWARD_KL = "generations.steps.0.distillation={loss: forward_kl, teacher: {type: folder, path: teacher}}"


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    return write(tmp_path / "small.yaml", RECIPE)


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


def write_folder(folder: Path, vocabulary: dict[str, int], *, kind: str = "WordLevel", positions: int = 512) -> Path:
    """Write what `load_recipe` looks at in a Hugging Face folder."""
    folder.mkdir()
    tokenizer: dict[str, Any] = {"model": {"type": kind, "vocab": vocabulary}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_a_recipe_becomes_settings_with_the_defaults_filled_in(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    assert recipe.generations.steps[0].rounds == 5
    assert recipe.gate.alpha == 0.05


def test_a_misspelt_key_is_named_with_its_line_and_the_key_that_was_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "typo.yaml", RECIPE.replace("rounds: 5", "rounds: 5\n      group_sise: 4"))
    assert refusal(path) == (f"{path}:11: generations.steps[0].group_sise: no such setting; did you mean group_size?")


def test_a_key_like_no_other_is_answered_with_those_there_are(recipe_path: Path) -> None:
    assert (
        "gate.zzz: no such setting; there is alpha, spending, retention_margin, panel_margin, min_prompts"
        in refusal(recipe_path, "gate.zzz=1")
    )


def test_a_misspelt_type_is_answered_from_the_union_at_that_place(tmp_path: Path) -> None:
    path = write(tmp_path / "typo.yaml", RECIPE.replace("type: addition", "type: addtion"))
    assert refusal(path) == f"{path}:2: task: no such type 'addtion'; did you mean addition?"


def test_a_missing_type_lists_the_types(recipe_path: Path) -> None:
    message = refusal(recipe_path, "generations.steps.0={updates: 1}")
    types = "sft, distill, rl, self_play, merge, plugin"
    assert message.endswith(f"generations.steps[0]: missing type; add one of: {types}")


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "short.yaml", "name: short\ngenerations: {steps: [{type: rl}]}\n")
    message = refusal(path)
    assert message.startswith(str(path))
    assert "task: missing; add it with one of the types addition, reversal, copy" in message


def test_several_problems_are_listed_together(tmp_path: Path) -> None:
    text = RECIPE.replace("count: 2", "cuont: 2\n  init: champ").replace("type: addition", "type: addition, x: 1")
    message = refusal(write(tmp_path / "bad.yaml", text))
    assert "has 3 problems:" in message
    assert ":2: task.x: no such setting" in message
    assert ":7: generations.cuont: no such setting; did you mean count?" in message
    assert ":8: generations.init: must be one of champion, previous, base (did you mean champion?)" in message


def test_a_long_list_of_problems_is_cut_and_counted(tmp_path: Path) -> None:
    text = RECIPE + "".join(f"unknown{number}: 1\n" for number in range(14))
    lines = refusal(write(tmp_path / "bad.yaml", text)).splitlines()
    assert len(lines) == 12
    assert lines[-1].strip() == "and 4 more"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("generations.count='8'", 'must be a whole number, not "8"'),
        ("generations.count=true", "must be a whole number, not true"),
        ("generations.count=1.5", "must be a whole number, not 1.5"),
        ("seed=-1", "must be greater than or equal to 0, not -1"),
        ("gate.alpha=.nan", "must be a finite number, not NaN"),
        ("verifier.answer.strip=yes", 'must be true or false, not "yes"'),
        ("name=Big Name", "lower-case letters, digits, `-` and `_`"),
        ("generations.steps=[]", "must be a list of at least 1 entries"),
        ("generations.steps=rl", "must be a list"),
        ("task=addition", "must be a section of settings (type is one of addition, reversal, copy, functions"),
        ("gate=3", "must be a section of settings (alpha, spending, retention_margin, panel_margin, min_prompts)"),
        ("resources.workers=some", "must be a whole number or auto"),
        (
            "generations.steps.0.distillation.teacher=3.5",
            "must be one of parent, champion, previous, base or a",
        ),
        ("generations.steps.0.optimizer.betas=[0.9, 1.0]", "betas[1]: must be less than 1"),
        ("generations.steps.0.optimizer.betas=[0.9]", "betas[1]: missing; add it"),
        ("guards=[{metric: entrpy, min: 1}]", "must be one of entropy, distinct_answers, pass_at_k_change"),
        ("guards=[{metric: entrpy, min: 1}]", 'accuracy_jump (did you mean entropy?), not "entrpy"'),
        ("guards.0.min=1", 'guards: must be a list, not {"0": {"min": 1}}'),
    ],
)
def test_values_keep_their_types_and_bounds(recipe_path: Path, override: str, expected: str) -> None:
    message = refusal(recipe_path, override)
    assert message.startswith(f"override {override}: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("generations.steps.0.group_size=1", "use group_size 2 or more"),
        ("generations.steps.0.easier_variants=0.5", ""),
        ("generations.steps.0.distillation={teacher: base}", "set loss: forward_kl"),
        (
            "generations.steps.0.distillation={loss: forward_kl, teacher: 1}",
            "generation 1 does not exist when",
        ),
        ("generations.steps.0.schedule={warmup: 0.5, decay: 0.9}", "overlap"),
        ("generations.curriculum={type: accelerated, until: 0.9}", "use type: next"),
        (
            "generations.steps.0={type: sft, updates: 1, source: {type: rejection, max_accepted_per_prompt: 2}}",
            "never acts",
        ),
        ("base.steps.0={type: rl}", "move this step to generations.steps"),
        ("base.steps=[]", "random weights give no right answer"),
        ("base.model.max_length=19", "set max_length: 23 or more"),
        ("base.model={type: scratch, hidden_size: 50, num_heads: 4}", "use 48"),
        ("evaluation.prompts_per_level=50", "gate.min_prompts: no level has 100 held-out prompts"),
        ("evaluation={prompts_per_level: 200, sampled: {prompts: 300}}", "use 200 or fewer"),
        ("gate.alpha=1e-301", "use 1001 or more"),
    ],
)
def test_combinations_that_cannot_work_are_refused_with_the_remedy(
    recipe_path: Path, override: str, expected: str
) -> None:
    if expected:
        assert expected in refusal(recipe_path, override)
    else:
        load_recipe(recipe_path, [override])


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("{type: rl, levels: reached}", "levels"),
        ("{type: sft, updates: 1, source: {type: rejection, levels: reached}}", "source.levels"),
    ],
)
def test_no_step_draws_from_levels_below_the_first(recipe_path: Path, step: str, place: str) -> None:
    aims = {first: f"generations.curriculum={{type: given, levels: [{first}, 4]}}" for first in (1, 2)}
    message = refusal(recipe_path, aims[1], f"generations.steps.0={step}")
    assert f"generations.steps[0].{place}: no level lies below level 1" in message
    load_recipe(recipe_path, [aims[2], f"generations.steps.0={step}"])


def test_easier_variants_need_two_operands(recipe_path: Path) -> None:
    message = refusal(recipe_path, "task={type: copy, base_level: 2}", "generations.steps.0.easier_variants=0.5")
    assert "generations.steps[0].easier_variants: easier variants need a task with two operands" in message


def test_a_limit_that_cuts_what_a_model_from_scratch_is_to_learn_is_refused(tmp_path: Path) -> None:
    rows = "".join(f'{{"prompt": "{n}+1=", "answer": "{n + 1}"}}\n' for n in range(99))
    write(tmp_path / "rows.jsonl", rows)
    path = write(
        tmp_path / "rows.yaml",
        "name: rows\ntask: {type: file, path: rows.jsonl, max_answer_length: 8}\n"
        "base: {model: {type: scratch, max_length: 1024}, steps: [{type: sft, updates: 1}]}\n"
        "generations: {count: 1, steps: [{type: rl}]}\n",
    )
    assert "max_answer_tokens 8 does not hold the longest reference (max_answer_length 8 characters)" in refusal(
        path, "task.max_answer_tokens=8"
    )
    shorter, longer = (load_recipe(path, [f"task.max_answer_tokens={limit}"]) for limit in (9, 300))
    assert longer.task.longest_sequence(1) - shorter.task.longest_sequence(1) == 300 - 9


def test_what_needs_a_change_elsewhere_is_refused_together_with_the_rest(recipe_path: Path) -> None:
    message = refusal(recipe_path, "base.model.max_length=8", "base.steps=[]")
    assert "has 2 problems" in message


@pytest.mark.parametrize("task", ["{type: addition}", "{type: reversal}", "{type: copy}"])
def test_the_longest_sequence_is_that_of_the_task(recipe_path: Path, task: str) -> None:
    settings = load_recipe(recipe_path, [f"task={task}"]).task
    for level in (1, 3, 7):
        prompt = build_task(settings).draw(level, 1, seed=0)[0]
        expected = 1 + len(prompt.text) + build_task(settings).max_answer_length(level) + 1
        assert settings.longest_sequence(level) == expected


def test_overrides_reach_into_lists_and_into_sections_left_out(recipe_path: Path) -> None:
    recipe = load_recipe(
        recipe_path,
        [
            "generations.steps.0.rounds=7",
            "generations.steps[0].optimizer.muon_lr=0.5",
            "generations.curriculum.raise_at=0.8",
            "base.model.hidden_size=32",
            "evaluation.sampled=null",
            "resources.workers=3",
            "generations.steps.0.grad_clip=1e-3",
        ],
    )
    step = recipe.generations.steps[0]
    assert (step.rounds, step.optimizer.muon_lr, step.grad_clip) == (7, 0.5, 0.001)
    assert recipe.generations.curriculum.raise_at == 0.8
    assert recipe.base.model.hidden_size == 32
    assert recipe.evaluation.sampled is None
    assert recipe.resources.workers == 3


def test_a_later_override_wins(recipe_path: Path) -> None:
    assert load_recipe(recipe_path, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("generations.cuont=3", "generations.cuont: no such setting; did you mean count?"),
        ("generatons.count=3", "generatons: no such setting; did you mean generations?"),
        ("generations.steps.1.rounds=3", "generations.steps has 1 entry, counted from 0; index 1 is out of range"),
        ("generations.steps.\u00b2.rounds=3", "'\u00b2' is not an index"),
        ("generations.steps.\u0660.rounds=3", "'\u0660' is not an index"),
        (f"generations.steps.{5000 * '9'}.rounds=3", "generations.steps has 1 entry, counted from 0"),
        ("name.x=3", "name is 'small' and holds no settings of its own"),
        ("seed", "is not of the form key=value"),
        ("=3", "is not of the form key=value"),
        ("a..b=3", "is not of the form key=value"),
        ("seed=[1", "not valid YAML"),
        ("seed={a: 1, a: 2}", "a: given twice"),
    ],
)
def test_a_wrong_override_is_named_as_one(recipe_path: Path, override: str, expected: str) -> None:
    message = refusal(recipe_path, override)
    assert message.startswith("override ")
    assert expected in message


def test_a_key_given_twice_names_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "twice.yaml", RECIPE + "name: other\n")
    assert refusal(path) == f"{path}:11: name: given twice, first in line 1; keep one of the two"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("- a\n", "is no mapping"),
        ("a: b: c\n", ":1: not valid YAML"),
        ("? [a]\n: b\n", ":1: a key must be a word"),
        ("x: &a\n  b: *a\n", "contains itself"),
        ("x: !!python/object:os.system y\n", ":1: not valid YAML"),
        ("a: 1\n\tb: 2\n", ":2: not valid YAML"),
        ("seed: " + 5000 * "9", "not valid YAML"),
        ("x: " + 2000 * "[", "not valid YAML"),
        ("description: !!binary aGVsbG8=\n", ":1: not valid YAML for a recipe: description has the tag"),
        ("description: !!timestamp 2001-01-01\n", "write plain text"),
        ("description: !!timestamp x\n", "write plain text"),
        ("x: {y: [!!bool maybe]}\n", "neither true nor false"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(write(tmp_path / "bad.yaml", text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"name: \xff\xfe")
    assert "is not UTF-8 text" in refusal(path)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_loaded_or_refused_and_never_crashes(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(RecipeError):
        load_recipe(path)


def test_yaml_1_1_surprises_do_not_happen(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.yaml", RECIPE + "description: on\nseed: 010\n")
    recipe = load_recipe(path)
    assert recipe.description == "on"
    assert recipe.seed == 10


@pytest.mark.parametrize(
    ("written", "seed"), [("0x1F", 31), ("0xff", 255), ("0o17", 15), ("0o0", 0), ("010", 10), ("!!int 0x10", 16)]
)
def test_integers_are_those_of_the_core_schema(recipe_path: Path, written: str, seed: int) -> None:
    assert load_recipe(recipe_path, [f"seed={written}"]).seed == seed
    assert load_recipe(write(recipe_path, f"{RECIPE}seed: {written}\n")).seed == seed


@pytest.mark.parametrize("word", ["0o8", "0xg", "-0x1", "0X1F", "1_000", "0b1", "inf", "nan"])
def test_what_the_core_schema_does_not_call_a_number_stays_a_word(recipe_path: Path, word: str) -> None:
    assert load_recipe(write(recipe_path, f"{RECIPE}description: {word}\n")).description == word


@pytest.mark.parametrize("written", [".inf", "-.Inf", "+.INF", ".nan", ".NaN"])
def test_numbers_that_are_not_finite_are_refused_as_numbers(recipe_path: Path, written: str) -> None:
    assert "gate.alpha: must be a finite number, not " in refusal(recipe_path, f"gate.alpha={written}")
    plugin = f"verifier={{type: plugin, uses: 'a:b', settings: {{bounds: [1, {written}]}}}}"
    assert "verifier.settings.bounds[1]: must be a finite number, not " in refusal(recipe_path, plugin)
    with pytest.raises(RecipeError, match=r"verifier plugin: settings.bound: must be a finite number, not "):
        load_verifier("plugin", ["uses=a:b", f"settings.bound={written}"])


@pytest.mark.parametrize("written", ["!!int 1_000", "!!int 1.5", "!!float 1_0", "!!float word", "0x" + "f" * 5000])
def test_a_number_by_its_tag_alone_is_refused(recipe_path: Path, written: str) -> None:
    assert "is no number of that kind" in refusal(write(recipe_path, f"{RECIPE}seed: {written}\n"))


def test_anchors_and_merges_are_written_out(tmp_path: Path) -> None:
    text = """\
        name: small
        task: {type: addition, base_level: 2}
        base: {steps: [{type: sft, updates: 10}]}
        generations:
          steps:
            - &first {type: rl, rounds: 5}
            - {<<: *first, rounds: 6}
        """
    recipe = load_recipe(write(tmp_path / "merged.yaml", text))
    assert [step.rounds for step in recipe.generations.steps] == [5, 6]


def test_a_missing_file_is_answered_with_the_recipes_near_by(recipe_path: Path) -> None:
    message = refusal(recipe_path.with_name("smal.yaml"))
    assert message.startswith("there is no recipe ")
    assert str(recipe_path) in message
    assert str(recipe_path) in refusal(recipe_path.parent)


def test_recipes_near_by_are_those_of_pipelines_too_and_no_other_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(Path("nope.yaml")) == "there is no recipe nope.yaml, and none near by; name a recipe file"
    for name in (".hooks.yaml", "pipelines/star.yaml", "nearby.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, RECIPE)
    write(tmp_path / "mkdocs.yml", "site_name: task\nnav:\n  task: index.md\n")
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    assert (
        refusal(Path("nope.yaml")) == "there is no recipe nope.yaml; recipes near by: nearby.yml, pipelines/star.yaml"
    )
    assert refusal(Path("sta.yaml")).endswith("near by: pipelines/star.yaml, nearby.yml")
    assert refusal(Path("pipelines/nope.yaml")).endswith("near by: pipelines/star.yaml")


def test_a_folder_starts_at_the_recipe_and_keeps_its_written_path_in_the_identity(recipe_path: Path) -> None:
    write_folder(recipe_path.parent / "model", scratch_vocabulary("0123456789+="))
    recipe = load_recipe(recipe_path, ["base.model={type: folder, path: model}", "base.steps=[]"])
    assert recipe.base.model.path == str(recipe_path.parent / "model")
    assert recipe.identity()["base"]["model"]["path"] == "model"


def test_a_recipe_for_other_disks_is_loaded_without_looking_for_its_folders(recipe_path: Path) -> None:
    overrides = ["base.model={type: folder, path: /nowhere/model}", "base.steps=[]"]
    assert load_recipe(recipe_path, overrides, check_folders=False).base.model.path == "/nowhere/model"
    assert "there is no folder /nowhere/model; fetch it with `bootstrap import SOURCE DIR`" in refusal(
        recipe_path, *overrides
    )


@pytest.mark.parametrize("name", MODEL_FILES)
def test_an_incomplete_folder_is_refused(recipe_path: Path, name: str) -> None:
    folder = write_folder(recipe_path.parent / "model", scratch_vocabulary("0123456789+="))
    (folder / name).unlink()
    message = refusal(recipe_path, "base.model={type: folder, path: model}", "base.steps=[]")
    assert f"base.model.path: {folder} lacks {name}; save the model and its fast tokenizer" in message


def test_sharded_weights_without_an_index_are_refused_with_the_remedy(recipe_path: Path) -> None:
    folder = write_folder(recipe_path.parent / "model", scratch_vocabulary("0123456789+="))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    message = refusal(recipe_path, "base.model={type: folder, path: model}", "base.steps=[]")
    assert "lacks model.safetensors" in message and "their index" in message


DEEP = 100_000 * "["
SHARD = "model-00001-of-00001.safetensors"


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ({"weight_map": {"a": SHARD}}, None),
        ({"weight_map": {"a": SHARD, "b": "model-00002.safetensors"}}, "lacks model-00002.safetensors, which"),
        ({"weight_map": {"a": f"../model/{SHARD}"}}, "does not say which file"),
        ({"weight_map": {"a": "/etc/passwd"}}, "does not say which file"),
        ({"weight_map": {"a": "weights.bin"}}, "does not say which file"),
        ({"weight_map": {}}, "does not say which file"),
        ({"weight_map": [SHARD]}, "does not say which file"),
        ({"weight_map": {"a": ["x"]}}, "does not say which file"),
        ([], "does not say which file"),
    ],
)
def test_the_index_of_sharded_weights_names_files_of_the_folder(recipe_path: Path, index: Any, expected: str | None):
    folder = write_folder(recipe_path.parent / "model", scratch_vocabulary("0123456789+="))
    (folder / "model.safetensors").rename(folder / SHARD)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    overrides = ("base.model={type: folder, path: model}", "base.steps=[]")
    if expected is None:
        assert load_recipe(recipe_path, overrides).base.model.folder == folder
    else:
        assert expected in refusal(recipe_path, *overrides)


@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM2-135M-Instruct", "a/b@refs/pr/1"])
def test_a_hub_id_in_place_of_a_folder_gets_the_command_that_fetches_it(recipe_path: Path, name: str) -> None:
    message = refusal(recipe_path, f"base.model={{type: folder, path: {name}}}", "base.steps=[]")
    target = f"models/{name.partition('/')[2].partition('@')[0].lower()}"
    assert f"`bootstrap import {name} {recipe_path.parent / target}` and set path: {target}" in message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tokenizer.json", "{}", "holds no vocabulary (model.vocab)"),
        ("tokenizer.json", '{"model": {"vocab": 3}}', "holds no vocabulary"),
        ("tokenizer.json", '{"model": {"vocab": {}}, "added_tokens": ["x"]}', "has a list as added_tokens"),
        ("tokenizer.json", "[", "is not valid JSON"),
        ("tokenizer.json", '{"model": {"vocab": {}}}', "holds no vocabulary"),
        ("tokenizer.json", '{"model": {"vocab": {"a": "x"}}}', "holds no vocabulary"),
        ("config.json", "[]", "is no JSON object"),
        ("config.json", DEEP, "is not valid JSON"),
        ("tokenizer.json", DEEP, "is not valid JSON"),
        ("tokenizer_config.json", DEEP, "is not valid JSON"),
        ("generation_config.json", "[]", "is no JSON object"),
        ("model.safetensors.index.json", DEEP, "does not say which file"),
    ],
)
def test_a_folder_of_another_form_is_refused(recipe_path: Path, name: str, content: str, expected: str) -> None:
    folder = write_folder(recipe_path.parent / "model", scratch_vocabulary("0123456789+="))
    (folder / name).write_text(content)
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    message = refusal(recipe_path, "base.model={type: folder, path: model}", "base.steps=[]")
    assert str(folder / name) in message and expected in message


def test_a_folder_that_cannot_be_read_is_refused(recipe_path: Path) -> None:
    message = refusal(recipe_path, f"base.model={{type: folder, path: {300 * 'x'}}}", "base.steps=[]")
    assert "cannot read" in message


def test_a_base_that_cannot_read_the_task_is_refused(recipe_path: Path) -> None:
    write_folder(recipe_path.parent / "model", scratch_vocabulary("abc="))
    message = refusal(recipe_path, "base.model={type: folder, path: model}", "base.steps=[]")
    assert "does not know 0 1 2 3 4 5 6 7 8 9 + of task addition" in message


def test_a_base_too_short_for_the_lineage_is_refused(recipe_path: Path) -> None:
    write_folder(recipe_path.parent / "model", scratch_vocabulary("0123456789+="), positions=20)
    message = refusal(recipe_path, "base.model={type: folder, path: model}", "base.steps=[]")
    assert "the model holds 20 tokens, level 6 of task addition needs 23" in message


def test_a_teacher_with_the_same_vocabulary_may_give_its_distribution(recipe_path: Path) -> None:
    write_folder(recipe_path.parent / "teacher", scratch_vocabulary("0123456789+="))
    load_recipe(recipe_path, [FORWARD_KL])


@pytest.mark.parametrize("characters", ["0123456789=+", "0123456789+", "0123456789+=-"])
def test_a_teacher_with_another_vocabulary_is_refused_with_the_remedy(recipe_path: Path, characters: str) -> None:
    write_folder(recipe_path.parent / "teacher", scratch_vocabulary(characters))
    message = refusal(recipe_path, FORWARD_KL)
    assert "generations.steps[0].distillation.teacher: the teacher's vocabulary is not the student's" in message
    assert "use loss: ce" in message


STUDENT = """\
name: student
task: {type: addition, base_level: 2}
base: {steps: [{type: sft, updates: 10}]}
generations:
  stages:
    - {name: grow, steps: [{type: rl, rounds: 5}]}
    - name: student
      gate: never
      init: {type: folder, path: small}
      steps: [{type: distill, updates: 5, distillation: {loss: forward_kl, teacher: {type: folder, path: large}}}]
    - name: further
      gate: never
      init: {type: stage, stage: student}
      steps: [{type: distill, updates: 5, distillation: {loss: forward_kl, teacher: {type: folder, path: large}}}]
"""
ASCII = "0123456789+= abcdefgh"


def student_recipe(folder: Path, *, small: str = ASCII, large: str = ASCII) -> Path:
    """Return a recipe from scratch with a student from one folder, taught by a model from another."""
    for name, characters in (("small", small), ("large", large)):
        write_folder(folder / name, scratch_vocabulary(characters))
    return write(folder / "student.yaml", STUDENT)


def declare_outputs(folder: Path, count: int) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": count}))


def test_a_student_from_a_folder_may_be_taught_in_its_own_vocabulary_whatever_the_bases(tmp_path: Path) -> None:
    load_recipe(student_recipe(tmp_path))


def test_a_teacher_is_compared_with_what_the_stage_starts_from_and_with_its_descendants(tmp_path: Path) -> None:
    message = refusal(student_recipe(tmp_path, large="0123456789+="))
    for stage in (1, 2):
        place = f"generations.stages[{stage}].steps[0].distillation.teacher"
        assert f"{place}: the teacher's vocabulary is not the student's" in message


@pytest.mark.parametrize("teacher", ["base", "champion", "0"])
def test_a_teacher_of_the_lineage_with_another_vocabulary_than_the_students_is_refused(
    tmp_path: Path, teacher: str
) -> None:
    override = f"generations.stages.1.steps.0.distillation.teacher={teacher}"
    message = refusal(student_recipe(tmp_path), override)
    assert "generations.stages[1].steps[0].distillation.teacher: the teacher's vocabulary is not" in message


def test_a_teacher_that_the_gate_has_yet_to_decide_is_let_through(tmp_path: Path) -> None:
    changes = ["generations.stages.1.gate=compare", "generations.stages.2.steps.0.distillation.teacher=champion"]
    load_recipe(student_recipe(tmp_path), changes)


def test_a_padded_output_matrix_is_no_other_vocabulary_and_one_that_lacks_tokens_is_refused(tmp_path: Path) -> None:
    path, size = student_recipe(tmp_path), len(scratch_vocabulary(ASCII))
    for padding in ((0, 64), (64, 0)):
        for name, more in zip(("small", "large"), padding, strict=True):
            declare_outputs(tmp_path / name, size + more)
        load_recipe(path)
    declare_outputs(tmp_path / "large", size - 1)
    assert f"has outputs for {size - 1} of the {size} tokens that the student can draw" in refusal(path)


def test_a_reference_with_another_vocabulary_is_refused_with_the_remedy(recipe_path: Path) -> None:
    write_folder(recipe_path.parent / "reference", scratch_vocabulary("0123456789+=-"))
    named = "{type: rl, algorithm: {type: grpo, kl: {model: {type: folder, path: reference}}}}"
    message = refusal(recipe_path, f"generations.steps=[{named}]")
    assert "generations.steps[0].algorithm.kl.model: the reference's vocabulary is not the student's" in message
    assert "use a reference with the same tokenizer" in message


def test_a_reference_that_does_not_exist_yet_is_refused_with_the_remedy(recipe_path: Path) -> None:
    message = refusal(recipe_path, "generations.steps=[{type: rl, algorithm: {type: grpo, kl: {model: 2}}}]")
    assert "generations.steps[0].algorithm.kl.model: generation 2 does not exist when generation 1 needs it" in message
    for known in ("start", "parent", "champion", "base", "0"):
        load_recipe(
            recipe_path, [f"generations.steps=[{{type: rl, algorithm: {{type: grpo, kl: {{model: {known}}}}}}}]"]
        )


@pytest.mark.parametrize("union", [LineageModel, Teacher, Reference, Sampler, Start])
def test_every_place_for_a_model_knows_every_name_in_the_lineage(union: Any) -> None:
    for name in ("parent", "champion", "previous", "base", 3, StageEnd(stage="scouts")):
        assert TypeAdapter(union).validate_python(name) == name


def test_a_teacher_of_an_unknown_type_is_told_what_there_is(recipe_path: Path) -> None:
    message = refusal(recipe_path, "generations.steps=[{type: distill, distillation: {teacher: {type: stagee}}}]")
    assert "distillation.teacher: no such type 'stagee'; did you mean stage?" in message


def test_a_penalty_of_length_that_begins_where_no_answer_ends_is_refused_with_the_remedy(recipe_path: Path) -> None:
    def shaped(right: str, most: int) -> str:
        length = f"{{name: length, verifier: {{type: length, max_tokens: {most}, soft_tokens: 10}}}}"
        return f"verifier={{type: rubric, components: [{{name: right, verifier: {{type: {right}}}}}, {length}]}}"

    message = refusal(recipe_path, shaped("exact", 1000))
    assert "verifier.components[1].verifier.max_tokens: the penalty begins after 990 tokens" in message
    load_recipe(recipe_path, [shaped("exact", 12)])
    gym = "task={type: reasoning_gym, base_level: 1, datasets: [{name: chain_sum}], max_answer_tokens: 400}"
    examined = "evaluation.verifier={type: reasoning_gym}"
    message = refusal(recipe_path, gym, examined, "base.model.max_length=1024", shaped("reasoning_gym", 410))
    assert "no answer may have more than 400" in message
    assert "lower max_tokens to 400 or less, or raise the task's max_answer_tokens" in message
    load_recipe(recipe_path, [gym, examined, "base.model.max_length=1024", shaped("reasoning_gym", 400)])


def test_unigram_vocabularies_are_compared_by_position(recipe_path: Path) -> None:
    vocabulary = scratch_vocabulary("0123456789+=")
    write_folder(recipe_path.parent / "model", vocabulary)
    folder = write_folder(recipe_path.parent / "teacher", vocabulary, kind="Unigram")
    pieces = [[token, -1.0] for token in vocabulary]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram", "vocab": pieces}}))
    load_recipe(recipe_path, [FORWARD_KL])


def test_the_digest_ignores_what_no_result_depends_on(recipe_path: Path) -> None:
    digest = load_recipe(recipe_path).digest()
    same = ["name=other", "generations.count=9", "resources.workers=4", "tracking.sample_rollouts=0"]
    assert load_recipe(recipe_path, same).digest() == digest
    assert load_recipe(recipe_path, ["seed=1"]).digest() != digest


def test_a_recipe_survives_its_own_dump(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    assert Recipe.model_validate(recipe.model_dump(mode="json")).digest() == recipe.digest()


def test_every_setting_is_described_in_the_schema() -> None:
    schema = json_schema()
    sections = {"Recipe": schema, **schema["$defs"]}
    silent = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, setting in section.get("properties", {}).items()
        if key != "type" and "description" not in setting
    ]
    assert not silent
    steps = schema["$defs"]["RlStep"]["properties"]
    assert steps["group_size"]["description"] == "Samples per prompt, which are compared with one another; 8 is usual."
    assert schema["additionalProperties"] is False


def test_what_is_operational_is_no_part_of_the_identity_at_any_depth(recipe_path: Path) -> None:
    first = load_recipe(recipe_path)
    step = f"generations.steps.{len(first.generations.steps) - 1}.checkpoint_every=3"
    for override in ("name=other", "description=words", "resources.workers=3", "generations.count=9", step):
        assert load_recipe(recipe_path, [override]).digest() == first.digest(), override
    assert load_recipe(recipe_path, ["seed=9"]).digest() != first.digest()
    assert not {"name", "description", "resources", "tracking", "max_unverifiable"} & first.identity().keys()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["verifier={type: regex, pattern: a}"], "verifier: regex looks at the form of answers"),
        (["verifier={type: code}"], "verifier: code cannot read the references of task addition, which are text"),
        (["task={type: functions}"], "verifier: exact cannot read the references of task functions, which are code"),
        (["verifier={type: majority}"], "verifier: majority compares the answers of a group"),
        (
            ["verifier={type: judge, rubric: r, model: {type: generation}}"],
            "verifier: judge asks generations of the lineage, so its verdicts on them would drift",
        ),
        (
            ["verifier={type: judge, rubric: r, model: {type: generation}}", "evaluation.verifier={type: exact}"],
            "verifier: generations of this lineage know the task's characters alone",
        ),
        (
            ["verifier={type: majority, voters: [3]}", "evaluation.verifier={type: exact}"],
            "verifier: generation 3 does not exist when generation 1 needs it",
        ),
        (
            ["verifier={type: rubric, components: [{name: a, verifier: {type: code}}]}"],
            "verifier.components[0].verifier: code cannot read",
        ),
        (["verifier={type: random}"], "verifier: random tells nothing about held-out answers"),
        (["evaluation.verifier={type: random}"], "evaluation.verifier: random tells nothing about held-out answers"),
        (["evaluation.verifier={type: length, max_tokens: 9, soft_tokens: 3}"], "evaluation.verifier: length looks at"),
    ],
)
def test_verifiers_that_cannot_judge_the_task_are_refused(
    recipe_path: Path, overrides: list[str], expected: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_path, overrides)
    assert expected in str(caught.value)


def test_a_label_free_verifier_trains_where_another_one_examines(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path, ["verifier={type: majority}", "evaluation.verifier={type: exact}"])
    assert recipe.verifier.type == "majority"
    assert recipe.evaluation.verifier is not None


@pytest.mark.parametrize(
    ("panel", "expected"),
    [
        ("{task: {type: copy, alphabet: xyz}}", "knows the characters of task addition alone, not 'x' 'y' 'z'"),
        ("{task: {type: addition}, levels: [90]}", "level 90 needs 275 tokens, base.model.max_length is 128"),
        ("{task: {type: addition}, levels: [2, 1]}", "panel.p.levels: [2, 1] is not ascending"),
        ("{task: {type: addition}, verifier: {type: majority}}", "panel.p.verifier: majority compares no answer"),
        ("{task: {type: addition}, verifier: {type: format}}", "panel.p.verifier: format compares no answer"),
        ("{task: {type: addition}, verifier: {type: code}}", "code cannot read the references of task addition"),
        ("{task: {type: addition}, level: [1]}", "panel.p.level: no such setting; did you mean levels?"),
        ("{task: {type: copy, alphabit: '01'}}", "panel.p.task.alphabit: no such setting; did you mean alphabet?"),
        ("{task: {type: sums}}", "panel.p.task: no such type 'sums'"),
        (
            "{task: {type: addition, heldout_fraction: 0.5}}",
            "panel.p.task.heldout_fraction: training draws from prompts of addition that the panel would ask, since "
            "the recipe's own task holds only 0.125 of them out; set 0.125 or less",
        ),
        (
            "{task: {type: mixture, base_level: 1, parts: {sum: {task: {type: addition, heldout_fraction: 0.2}}}}}",
            "panel.p.task.parts.sum.task.heldout_fraction: training draws from prompts of addition",
        ),
        (
            "{task: {type: working, heldout_fraction: 0.5}}",
            "panel.p.task.heldout_fraction: training draws from prompts of working that the panel would ask",
        ),
        (
            "{task: {type: addition, split_by: text}}",
            "panel.p.task.split_by: training draws from prompts of addition that the panel would ask, since the "
            "recipe's own task chooses what is held out by question; set split_by: question",
        ),
        (
            "{task: {type: addition}, verifier: {type: judge, rubric: r, model: {type: generation}}}",
            "judge asks generations of the lineage",
        ),
    ],
)
def test_a_panel_that_cannot_work_is_refused(recipe_path: Path, panel: str, expected: str) -> None:
    assert expected in refusal(recipe_path, f"evaluation.panel={{p: {panel}}}")


SPELL = "{type: reasoning_gym, datasets: [{name: spell_backward, levels: [{}]%s}]}"
SPELLING = "{type: mixture, base_level: 1, parts: {spell: {task: %s}}}" % (SPELL % "")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (", keep: '(.)$'", "panel.p.task.datasets: other questions of data set spell_backward are held out than the"),
        (", before: 's'", None),
    ],
)
def test_a_data_set_of_which_other_words_are_kept_holds_out_other_questions(
    recipe_path: Path, settings: str, expected: str | None
) -> None:
    own = [
        f"task={SPELL % ''}",
        "verifier={type: reasoning_gym}",
        "base.model.max_length=512",
        "evaluation.lookahead=0",
    ]
    own += ["generations.curriculum={type: given, levels: [1]}", "generations.steps.0.distillation=null"]
    own += [f"evaluation.panel={{p: {{task: {SPELL % settings}, verifier: {{type: reasoning_gym}}}}}}"]
    if expected:
        assert expected in refusal(recipe_path, *own)
    else:
        assert load_recipe(recipe_path, own).evaluation.panel["p"].task.datasets[0].before == "s"


def test_parts_of_one_kind_hold_out_the_same_questions(recipe_path: Path) -> None:
    def mixture(**other: Any) -> str:
        parts = {"one": {"task": {"type": "addition"}}, "two": {"task": {"type": "addition", **other}, "before": "+"}}
        return f"task={json.dumps({'type': 'mixture', 'base_level': 4, 'parts': parts})}"

    assert load_recipe(recipe_path, [mixture()]).task.type == "mixture"
    assert (
        "task.parts.two.task.heldout_fraction: training draws from prompts of addition that another part holds out, "
        "since another part holds only 0.125 of them out; set 0.125 or less"
    ) in refusal(recipe_path, mixture(heldout_fraction=0.5))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["generations.curriculum={type: given, levels: [1, 2]}"], "level 2 is given, and the task's last level is 1"),
        (["generations.curriculum={type: fixed}"], "would aim at level"),
        (
            [f"evaluation.panel={{p: {{task: {SPELLING}, levels: [1, 2], verifier: {{type: reasoning_gym}}}}}}"],
            "evaluation.panel.p.levels: level 2 is asked, and this task's last level is 1",
        ),
    ],
)
def test_levels_beyond_those_that_settings_list_are_refused(
    recipe_path: Path, overrides: list[str], expected: str
) -> None:
    own = [f"task={SPELLING}", "verifier={type: reasoning_gym}", "base.model.max_length=512"]
    assert load_recipe(recipe_path, own).task.highest_level == 1
    assert expected in refusal(recipe_path, *own, *overrides)


def test_a_panel_may_hold_out_less_than_training_does_or_another_file(recipe_path: Path) -> None:
    less = "evaluation.panel={p: {task: {type: addition, heldout_fraction: 0.1}}}"
    assert load_recipe(recipe_path, [less]).evaluation.panel["p"].task.heldout_fraction == 0.1
    for name in ("own", "other"):
        rows = "".join(json.dumps({"prompt": f"{n}+1=", "answer": str(n + 1)}) + "\n" for n in range(9))
        (recipe_path.parent / f"{name}.jsonl").write_text(rows, encoding="utf-8")
    own = "task={type: file, path: own.jsonl, max_prompt_length: 20, max_answer_length: 20}"
    panel = "evaluation.panel={p: {task: {type: file, path: %s.jsonl, max_prompt_length: 20, max_answer_length: 20, "
    panel += "heldout_fraction: 0.9}}}"
    assert load_recipe(recipe_path, [own, panel % "other"]).evaluation.panel["p"].task.heldout_fraction == 0.9
    assert "set 0.125 or less" in refusal(recipe_path, own, panel % "own")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("task.parts.sum.wieght=2", "task.parts.sum.wieght: no such setting; did you mean weight?"),
        (
            "task.parts.sum.task.base_levle=2",
            "sum.task.base_levle: no such setting; did you mean base_level",
        ),
        (
            "task.parts.back={task: {type: revesal}}",
            "back.task: no such type 'revesal'; did you mean reversal",
        ),
        (
            "verifier={type: by_task, tasks: {sum: {type: exakt}}}",
            "tasks.sum: no such type 'exakt'; did you mean exact",
        ),
        ("task.heldout_fraction=0.5", "task.heldout_fraction: no such setting"),
        ("task.parts={}", "task.parts: must be a section of at least 1 entries, not {}"),
        ("task.parts=3", "task.parts: must be a section of settings (one per name), not 3"),
        ("evaluation.panel={P: {task: {type: copy}}}", "panel.P: this name must be of the form ^[a-z][a-z0-9_-]*$"),
    ],
)
def test_mistakes_inside_named_parts_are_named_with_their_place(
    recipe_path: Path, override: str, expected: str
) -> None:
    mixture = "task={type: mixture, base_level: 2, parts: {sum: {task: {type: addition}}}}"
    assert expected in refusal(recipe_path, mixture, override)


def test_a_parts_file_is_pinned_to_its_content(recipe_path: Path) -> None:
    rows = recipe_path.parent / "rows.jsonl"
    rows.write_text('{"prompt": "1+1=", "answer": "2"}\n', encoding="utf-8")
    task = "task={type: mixture, base_level: 1, parts: {f: {task: {type: file, path: rows.jsonl}}}}"
    recipe = load_recipe(recipe_path, [task, "base.model={type: scratch, max_length: 512}"])
    assert recipe.task.parts["f"].task.content == hashlib.sha256(rows.read_bytes()).hexdigest()


def test_a_panels_file_is_pinned_to_its_content(recipe_path: Path) -> None:
    rows = recipe_path.parent / "rows.jsonl"
    rows.write_text('{"prompt": "1+1=", "answer": "2"}\n', encoding="utf-8")
    override = "evaluation.panel={p: {task: {type: file, path: rows.jsonl, alphabet: '0123456789+='}}}"
    recipe = load_recipe(recipe_path, [override, "base.model={type: scratch, max_length: 512}"])
    assert recipe.evaluation.panel["p"].task.content == hashlib.sha256(rows.read_bytes()).hexdigest()
    rows.unlink()
    assert "evaluation.panel.p.task.path: there is no file" in refusal(
        recipe_path, override, "base.model={type: scratch, max_length: 512}"
    )


def test_a_pretrained_base_must_read_the_panel(recipe_path: Path) -> None:
    write_folder(recipe_path.parent / "model", scratch_vocabulary("0123456789+="), positions=30)
    overrides = [
        "base={model: {type: folder, path: model}}",
        "evaluation.panel={p: {task: {type: copy}, levels: [40]}}",
    ]
    message = refusal(recipe_path, *overrides)
    assert "does not know a b c d e f g h i j k of task p of the panel" in message
    assert "level 40 of task p of the panel needs 83" in message


BILLION = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n  k{n}: 1\n" for n in range(1, 10)
)
REPEATED = f"x: [&a {'x' * 20_000}{', *a' * 5000}]"
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 150))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (BILLION, ":5: not valid YAML: more than 20000 values, those that aliases repeat included"),
        (MERGED, ":1[0-9]: not valid YAML: more than 20000 values"),
        (REPEATED, ":1: not valid YAML: more than 20000 values"),
        (CHAIN, ":100: not valid YAML: more than 100 sections within each other"),
        ("x:\n " + 200 * "[", ":2: not valid YAML: more than 100 sections within each other"),
        ("x: " + 200 * "{a: ", ":1: not valid YAML: more than 100 sections within each other"),
        ("x: |\n" + 600_000 * " a\n", ":349[0-9]{3}: longer than 1048576 bytes"),
        ("x: 1\ny: 0x" + 5000 * "f", "line 2: !!int"),
    ],
)
def test_a_recipe_cannot_ask_for_more_than_there_is_memory(tmp_path: Path, written: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(written)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


@pytest.mark.parametrize("override", ["description=" + 300 * "[", "seed=" + 2000 * "9", "a." * 50_000 + "b=1"])
def test_nor_can_an_override(recipe_path: Path, override: str) -> None:
    with pytest.raises(RecipeError, match="override"):
        load_recipe(recipe_path, [override])
