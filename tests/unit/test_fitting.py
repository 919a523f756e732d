"""Rows that the models at hand cannot read or answer, limits that follow their context, and defaults of such tasks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bootstrap.config.defaults import fill
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.planning.plan import make_plan
from bootstrap.prompts.build import build_task
from bootstrap.prompts.files import Rows
from bootstrap.records import Split
from bootstrap.scoring.verifier import Tools
from bootstrap.stages import findings, fitting
from bootstrap.stages.fitting import leave_out_unfit, text_models

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 =?."
NUM_ROWS = 60
CHAT = "{% for m in messages %}<u>{{ m['content'] }}<e>{% endfor %}<a>"


@pytest.fixture(autouse=True)
def _nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_found", {})


def letters() -> Tokenizer:
    """One token for each letter, `<unk>` for any other character."""
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *LETTERS]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["<pad>", "<bos>", "<eos>", "<unk>"])
    return tokenizer


def bytes_() -> Tokenizer:
    """One token for each byte, so that it reads everything."""
    alphabet = ["<pad>", "<bos>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: place for place, word in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<bos>", "<eos>"])
    return tokenizer


def model(folder: Path, tokenizer: Tokenizer, *, context: int | None = 64, chat: bool = False) -> Path:
    """Write a model's folder but its weights, which nothing here reads."""
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {f"{name}_token": f"<{name}>" for name in ("pad", "bos", "eos")}
    unknown = {"unk_token": "<unk>"} if tokenizer.token_to_id("<unk>") is not None else {}
    (folder / "tokenizer_config.json").write_text(json.dumps({**special, **unknown}))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = {**sizes, "vocab_size": tokenizer.get_vocab_size()}
    (folder / "config.json").write_text(json.dumps(config | ({"max_position_embeddings": context} if context else {})))
    (folder / "model.safetensors").write_bytes(b"")
    if chat:
        (folder / "chat_template.jinja").write_text(CHAT)
    return folder


def rows(**odd: dict[str, str]) -> list[dict[str, str]]:
    """Rows of which some are odd: `at_7={"why": "x"}`."""
    plain = [{"prompt": f"q{n}?", "answer": str(n), "why": f"it is {n}"} for n in range(NUM_ROWS)]
    for place, change in odd.items():
        plain[int(place.removeprefix("at_"))] |= change
    return plain


def recipe(folder: Path, listed: Sequence[dict[str, str]], *overrides: str, **task: Any) -> Recipe:
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in listed))
    settings = {
        "name": "fits",
        "task": {"type": "file", "path": "rows.jsonl", "columns": {"solution": "why"}, "heldout_fraction": 0.3, **task},
        "verifier": {"type": "exact", "answer": {"type": "last_line"}},
        "base": {"model": {"type": "folder", "path": "model"}},
        "generations": {"count": 1, "steps": [{"type": "rl", "rounds": 1, "prompts_per_update": 2}]},
        "evaluation": {"prompts_per_level": 10, "sampled": None},
        "gate": {"min_prompts": 10},
    }
    (folder / "recipe.yaml").write_text(json.dumps(settings))
    return load_recipe(folder / "recipe.yaml", overrides)


def fitted(settings: Recipe, tools: Tools | None = None) -> Rows:
    task = build_task(settings.task)
    leave_out_unfit(task, text_models(settings), tools=tools)
    assert isinstance(task, Rows)
    return task


# --- limits that follow the context ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "task", "limits"),
    [
        (64, {}, (32, 32)),
        (8192, {}, (7680, 512)),
        (8192, {"max_answer_tokens": 2000}, (6192, 2000)),
        (8192, {"max_prompt_tokens": 100}, (100, 512)),
        (600, {"max_prompt_tokens": 400}, (400, 200)),
        (64, {"max_answer_length": 10}, (51, None)),
        (64, {"max_prompt_length": 10}, (None, 32)),
        (None, {}, (None, None)),
    ],
)
def test_limits_in_tokens_follow_the_model_s_context(
    tmp_path: Path, context: int | None, task: dict[str, int], limits: tuple[int | None, int | None]
) -> None:
    model(tmp_path / "model", letters(), context=context)
    settings = recipe(tmp_path, rows(), **task).task
    assert (settings.max_prompt_tokens, settings.max_answer_tokens) == limits
    assert (settings.alphabet, settings.most_answer_tokens(1)) == (None, limits[1] or (13 if task else 512))
    assert build_task(settings).max_answer_tokens(1) == settings.most_answer_tokens(1)
    if context is not None:
        assert settings.longest_sequence(1) <= context


def test_the_shortest_context_of_all_that_is_trained_decides(tmp_path: Path) -> None:
    model(tmp_path / "model", letters(), context=512)
    model(tmp_path / "other", letters(), context=32)
    stages = [
        {"name": "a", "generations": 1, "steps": [{"type": "rl"}]},
        {"name": "b", "generations": 1, "init": {"type": "folder", "path": "other"}, "steps": [{"type": "rl"}]},
    ]
    settings = recipe(tmp_path, rows(), f"generations={json.dumps({'count': 2, 'stages': stages})}")
    assert (settings.task.max_prompt_tokens, settings.task.max_answer_tokens) == (16, 16)
    assert len(text_models(settings)) == 2


def test_limits_beyond_the_context_are_refused_with_what_to_lower(tmp_path: Path) -> None:
    model(tmp_path / "model", letters())
    with pytest.raises(
        RecipeError,
        match=r"holds 64 tokens, the longest row that task file allows needs 70; lower its max_prompt_tokens",
    ):
        recipe(tmp_path, rows(), max_prompt_tokens=50, max_answer_tokens=20)


def test_characters_stay_the_limit_of_models_from_scratch(tmp_path: Path) -> None:
    model(tmp_path / "model", letters())
    scratch = "{model: {type: scratch, max_length: 512}, steps: [{type: sft, updates: 1}]}"
    settings = recipe(tmp_path, rows(), f"base={scratch}", heldout_fraction=0.125)
    assert (settings.task.max_prompt_length, settings.task.max_answer_length) == (256, 64)
    assert (settings.task.max_prompt_tokens, settings.task.max_answer_tokens) == (None, None)
    assert text_models(settings) == []
    given = recipe(tmp_path, rows(), alphabet=LETTERS, max_prompt_length=9, max_answer_length=9)
    assert (given.task.alphabet, given.task.max_prompt_length) == (LETTERS, 9), "what a recipe says is left alone"
    with pytest.raises(RecipeError, match=r"task.alphabet: null leaves the limit to a pretrained model's tokenizer"):
        recipe(tmp_path, rows(), f"base={scratch}", "task.alphabet=null")


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [False, True])
def test_a_prompt_is_measured_as_the_model_reads_it(tmp_path: Path, chat: bool) -> None:
    model(tmp_path / "model", bytes_(), context=40, chat=chat)
    frame = len("<u><e><a>") if chat else 0
    listed = rows(at_7={"prompt": "p" * (20 - frame)}, at_8={"prompt": "p" * (21 - frame)})
    task = fitted(recipe(tmp_path, listed, max_prompt_tokens=20))
    assert task.left_out.told() == "1 with a prompt over task.max_prompt_tokens 20 (line 9)"
    assert {row.line for row in task.rows(*Split)} == set(range(1, NUM_ROWS + 1)) - {9}


def test_a_long_solution_is_not_shown_and_a_long_answer_serves_nobody(tmp_path: Path) -> None:
    model(tmp_path / "model", bytes_(), context=64)
    long = "w" * 30
    listed = rows(at_7={"why": long}, at_8={"why": long[1:]}, at_9={"answer": "1" * 32}, at_10={"answer": "1" * 31})
    task = fitted(recipe(tmp_path, listed))
    assert task.left_out.told() == "1 with an answer over task.max_answer_tokens 32 (line 10)"
    assert task.not_shown.told() == "1 with a solution over task.max_answer_tokens 32 (line 11)", "8 is held out"
    drawn = {prompt.key for prompt in task.draw(1, NUM_ROWS, seed=0)}
    told = {prompt.key for prompt, _ in task.demonstrate([1], 900, seed=0)}
    assert drawn - told == drawn & {"8", "11"}


def test_any_text_that_the_tokenizer_reads_serves(tmp_path: Path) -> None:
    model(tmp_path / "model", bytes_(), context=256)
    listed = rows(at_7={"prompt": "\u4e03\U0001f600\x00\r?"}, at_8={"why": "\u00e9\u0301"}, at_9={"answer": "\u221a2"})
    task = fitted(recipe(tmp_path, listed))
    assert not task.left_out and not task.not_shown
    half = fitted(recipe(tmp_path, rows(at_7={"prompt": "\ud83d?"}, at_8={"why": "\udc00"})))
    assert half.left_out == {"with half of a character (a surrogate alone)": 2}


def test_text_without_tokens_is_left_out_or_not_shown(tmp_path: Path) -> None:
    model(tmp_path / "model", letters(), context=256)
    listed = rows(at_7={"prompt": "\u4e03?"}, at_8={"why": "\u00e9"}, at_9={"answer": "\u221a2"})
    task = fitted(recipe(tmp_path, listed))
    assert task.left_out == {
        "with a prompt that the model's tokenizer cannot read": 1,
        "with an answer that the model's tokenizer cannot write": 1,
    }
    # A solution is followed by its answer on a line of its own, and this tokenizer knows no line end.
    assert task.not_shown == {"with a solution that the model's tokenizer cannot write": len(task.rows(Split.TRAIN))}


def test_a_framing_that_writes_the_unknown_token_is_not_taken_for_the_row_s(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", letters(), context=256)
    (folder / "chat_template.jinja").write_text(CHAT.replace("<u>", "<unk>"))
    task = fitted(recipe(tmp_path, rows(at_7={"prompt": "\u4e03?"})))
    assert task.left_out == {"with a prompt that the model's tokenizer cannot read": 1}


def test_programs_that_are_too_long_are_sampled(tmp_path: Path) -> None:
    model(tmp_path / "model", bytes_(), context=128)
    code = [
        {
            "prompt": f"plus {n}",
            "reference": json.dumps(
                {"kind": "calls", "function": "f", "cases": [{"args": [x], "expected": x + n} for x in (1, 2)]}
            ),
            "solution": f"def f(x):\n    return x + {n}\n" + "#" * (90 * (n == 3)),
        }
        for n in range(NUM_ROWS)
    ]
    settings = recipe(tmp_path, code, "verifier={type: code}", form="calls", columns={})
    task = fitted(settings)
    assert not task.left_out
    assert task.not_shown == {"with a solution over task.max_answer_tokens 64": 1}


def test_the_text_before_a_part_of_a_mixture_counts(tmp_path: Path) -> None:
    model(tmp_path / "model", bytes_(), context=40)
    part = {"type": "file", "path": "rows.jsonl", "max_prompt_tokens": 20, "heldout_fraction": 0.3}
    parts = {"a": {"task": part, "before": "b" * 15}, "b": {"task": {"type": "copy"}}}
    task = json.dumps({"type": "mixture", "base_level": 1, "parts": parts})
    settings = recipe(tmp_path, rows(at_7={"prompt": "p" * 6}), f"task={task}", "evaluation.lookahead=0")
    mixture = build_task(settings.task)
    leave_out_unfit(mixture, text_models(settings))
    assert mixture.parts["a"].as_rows.left_out == {"with a prompt over task.max_prompt_tokens 20": 1}


def test_a_level_without_prompts_that_fit_is_refused(tmp_path: Path) -> None:
    model(tmp_path / "model", bytes_(), context=40)
    with pytest.raises(
        RecipeError, match=r"level 1 has no \w+ prompt among its \d+ rows; .*Rows left out: 60 with a prom"
    ):
        fitted(recipe(tmp_path, rows(), max_prompt_tokens=1))


def test_what_was_found_is_kept_by_rows_model_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "model", bytes_(), context=64)
    tools = Tools(cache=tmp_path / "cache")
    listed = rows(at_7={"prompt": "p" * 30}, at_8={"why": "w" * 40})
    before = fitted(recipe(tmp_path, listed, max_prompt_tokens=20), tools)
    monkeypatch.setattr(findings, "_found", {})
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "_found", None)
        again = fitted(recipe(tmp_path, listed, max_prompt_tokens=20), tools)
    assert (again.left_out, again.not_shown) == (before.left_out, before.not_shown)
    assert fitted(recipe(tmp_path, listed, max_prompt_tokens=30), tools).left_out == {}
    (tmp_path / "model" / "chat_template.jinja").write_text(CHAT)
    assert fitted(recipe(tmp_path, listed, max_prompt_tokens=30), tools).left_out.total() == 1


# --- defaults and what a plan says -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verifier", "template"),
    [
        ("{type: math}", "\\boxed{{answer}}"),
        ("{type: numeric, answer: {type: tagged, tag: final}}", "<final>{answer}</final>"),
        ("{type: numeric}", "{answer}"),
        ("{type: exact, answer: {type: last_line}}", "{answer}"),
        (
            "{type: rubric, components: [{name: form, verifier: {type: format}}, "
            "{name: right, verifier: {type: numeric, answer: {type: tagged}}}]}",
            "<answer>{answer}</answer>",
        ),
    ],
)
def test_answers_stand_where_the_verifier_looks(tmp_path: Path, verifier: str, template: str) -> None:
    model(tmp_path / "model", bytes_(), context=512)
    assert recipe(tmp_path, rows(), f"verifier={verifier}").task.answer_template == template
    given = recipe(tmp_path, rows(), f"verifier={verifier}", answer_template="A: {answer}")
    assert given.task.answer_template == "A: {answer}"


def test_each_task_has_the_form_of_its_own_verifier(tmp_path: Path) -> None:
    model(tmp_path / "model", bytes_(), context=512)
    own = {"type": "file", "path": "rows.jsonl"}
    task = {"type": "mixture", "base_level": 1, "parts": {n: {"task": own, "before": n} for n in ("a", "b")}}
    verifier = "{type: by_task, tasks: {a: {type: numeric, answer: {type: boxed}}, b: {type: exact}}}"
    panel = {"p": {"task": own, "verifier": {"type": "numeric", "answer": {"type": "tagged"}}}}
    overrides = [f"task={json.dumps(task)}", f"verifier={verifier}", f"evaluation.panel={json.dumps(panel)}"]
    settings = recipe(tmp_path, rows(), *overrides)
    parts = {name: part.task for name, part in settings.task.parts.items()}
    assert (parts["a"].answer_template, parts["b"].answer_template) == ("\\boxed{{answer}}", "{answer}")
    watched = settings.evaluation.panel["p"].task
    assert watched.answer_template == "<answer>{answer}</answer>"
    assert {one.alphabet for one in (*parts.values(), watched)} == {None}
    assert {one.max_answer_tokens for one in (*parts.values(), watched)} == {256}


@pytest.mark.parametrize(
    "odd",
    [
        {"task": None},
        {"task": [1]},
        {"task": {"type": "mixture", "parts": [1]}},
        {"task": {"type": "mixture", "parts": {"a": None, "b": {"task": "file"}}}},
        {"task": {"type": "file"}, "verifier": None},
        {"task": {"type": "file"}, "verifier": {"type": "none"}},
        {"task": {"type": "file", "form": 3}, "evaluation": {"panel": {"p": 1}}},
        {"generations": {"stages": {"a": 1}}},
    ],
)
def test_defaults_of_a_recipe_with_faults_leave_the_faults_to_be_told(odd: dict[str, Any]) -> None:
    data = {"base": {"model": {"type": "folder", "path": "model"}}, **odd}
    fill(data)
    assert data.keys() >= odd.keys()
    with pytest.raises(ValidationError):
        Recipe.model_validate_json(json.dumps(data))


def test_a_plan_says_which_rows_serve_and_what_each_limit_costs(tmp_path: Path) -> None:
    model(tmp_path / "model", bytes_(), context=64)
    listed = rows(at_7={"prompt": "p" * 40}, at_8={"why": "w" * 40})
    settings = recipe(tmp_path, listed, "generations.steps.0.distillation=null")
    told = make_plan(settings, lineage="x", workers=1).notes
    path = settings.task.path
    assert f"rows of {path} that are left out: 1 with a prompt over task.max_prompt_tokens 32 (line 8)" in told
    assert (
        f"rows of {path} that are sampled, and whose solutions are not shown: 1 with a solution over "
        "task.max_answer_tokens 32 (line 9)"
    ) in told
    [served] = [note for note in told if note.startswith(f"rows of {path} that serve: ")]
    assert served.endswith(
        "; at most 32 tokens of prompt (max_prompt_tokens) and 32 tokens of answer (max_answer_tokens)"
    )
