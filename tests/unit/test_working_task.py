"""Addition with working between tags: its forms, its hints, its tokens, and what verifiers make of it."""

from collections import Counter

import pytest
import yaml

from bootstrap.config.base_model import SPECIAL_TOKENS
from bootstrap.config.load import load_recipe
from bootstrap.config.verifiers import RubricVerifier
from bootstrap.config.working import LETTERS, TAGS, Forms, WorkingTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.prompts.splits import prompt_id
from bootstrap.prompts.working import Working, foreign
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, build_verifier
from bootstrap.training.model import character_tokenizer

pytestmark = pytest.mark.torch

TASK = build_task(WorkingTask(base_level=3))
FAMILY = Working()
RUBRIC = RubricVerifier.model_validate(
    {
        "components": [
            {"name": "accuracy", "verifier": {"type": "exact", "answer": {"type": "tagged"}}},
            {"name": "format", "verifier": {"type": "format"}, "decides": False},
            {"name": "language", "verifier": {"type": "language", "alphabet": "0123456789,"}, "decides": False},
        ]
    }
)


def demonstrations(forms: Forms, count: int = 400):
    return TASK.showing(forms).demonstrate([1, 2, 3], count, seed=5, mixed=True)


@pytest.mark.parametrize(
    ("text", "completion"),
    [
        ("74+58=", "<think>12,13</think><answer>132</answer>"),
        ("0+0=", "<think>00</think><answer>0</answer>"),
        ("99+1=", "<think>10,10</think><answer>100</answer>"),
        ("1+99=132?", "<think>10,10</think><answer>100</answer>"),
        ("21+43=", "<think>06,04</think><answer>46</answer>"),
    ],
)
def test_the_working_goes_through_the_columns_and_the_answer_stands_in_plain_order(text, completion):
    assert FAMILY.answer(text) == completion


def test_the_answer_can_be_read_off_the_working():
    for prompt in TASK.draw(3, 200, seed=1):
        working = FAMILY.columns(prompt.text)
        assert str(int(working[-1] + "".join(column[1] for column in reversed(working[:-1])))) == TASK.reference(prompt)


def test_a_tag_is_one_token_and_every_form_comes_back_from_its_tokens():
    tokenizer = character_tokenizer(TASK.characters, max_length=128)
    assert len(tokenizer) == len(SPECIAL_TOKENS) + len(TASK.characters)
    for prompt, completion in demonstrations(Forms(direct=0.3, mixed_language=0.5, hinted=0.3)):
        for text in (prompt.text, completion):
            tokens = tokenizer.encode(text, add_special_tokens=False)
            assert tokenizer.unk_token_id not in tokens
            assert tokenizer.decode(tokens) == text
        assert sum(tokenizer.convert_ids_to_tokens(tokens).count(tag) for tag in TAGS) in (2, 4)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_lengths_are_counted_in_tokens_and_the_longest_is_reached(level):
    tokenizer = character_tokenizer(TASK.characters, max_length=128)
    prompts = [TASK.hint(prompt) for prompt in TASK.draw(level, 300, seed=2)]
    answers = [len(tokenizer.encode(TASK.solution(prompt), add_special_tokens=False)) for prompt in prompts]
    whole = [len(tokenizer.encode(p.text)) + n + 1 for p, n in zip(prompts, answers, strict=True)]
    assert max(answers) == TASK.max_answer_length(level)
    assert max(whole) == TASK.settings.longest_sequence(level)


def test_demonstrations_come_in_the_shares_that_the_forms_name():
    shown = demonstrations(Forms(direct=0.5, mixed_language=0.5, hinted=0.25), 4000)
    direct = sum(completion.startswith("<answer>") for _, completion in shown)
    hinted = sum(prompt.text.endswith("?") for prompt, _ in shown)
    workings = [completion.removeprefix("<think>").partition("</think>") for _, completion in shown]
    mixed = sum(any(letter in working for letter in LETTERS) for working, found, _ in workings if found)
    assert direct / 4000 == pytest.approx(0.5, abs=0.03)
    assert hinted / 4000 == pytest.approx(0.25, abs=0.03)
    # Half of those with working, less those whose every column fell to digits.
    assert 0.12 < mixed / 4000 < 0.25
    assert not any(p.text.endswith("?") and c.startswith("<answer>") for p, c in shown)


def test_every_form_of_a_prompt_has_the_same_right_answer():
    verifier = build_verifier(RUBRIC.components[0].verifier)
    for prompt, completion in demonstrations(Forms(direct=0.3, mixed_language=0.5, hinted=0.3)):
        answer = Answer(prompt=prompt.text, text=completion, reference=TASK.reference(prompt))
        assert verifier.judge([answer])[0].status == "PASS"


def test_plain_forms_show_one_answer_for_each_prompt():
    assert all(completion == TASK.solution(prompt) for prompt, completion in demonstrations(Forms()))


def test_a_step_may_show_other_forms_without_changing_the_task():
    before = TASK.demonstrate([3], 20, seed=3)
    demonstrations(Forms(direct=1))
    assert TASK.demonstrate([3], 20, seed=3) == before


def test_a_hint_holds_the_answer_and_the_prompt_keeps_its_split_and_level():
    prompt = TASK.draw(3, 1, seed=4)[0]
    hinted = TASK.hint(prompt)
    assert hinted.text == f"{prompt.text}{TASK.reference(prompt)}?"
    assert (hinted.level, hinted.split, hinted.task) == (prompt.level, prompt.split, prompt.task)
    assert hinted.id == prompt_id(TASK.name, hinted.text) != prompt.id
    assert TASK.reference(hinted) == TASK.reference(prompt)


def test_demonstrations_beyond_the_base_level_are_refused_in_every_form():
    with pytest.raises(RecipeError, match="references of working end at level 3"):
        TASK.showing(Forms(direct=1)).demonstrate([4], 1, seed=0)


def test_r1s_rule_reward_accepts_right_answers_and_rejects_wrong_ones():
    cases = [
        Case(prompt=p.text, reference=TASK.reference(p), right=TASK.solution(p), wrong=TASK.wrong_answers(p))
        for level in (1, 2, 3)
        for p in TASK.draw(level, 4, seed=6)
    ]
    assert sanity_check(build_verifier(RUBRIC), cases) > 12 * 4


def test_working_in_another_language_and_no_working_are_right_and_earn_less():
    prompt = TASK.draw(3, 1, seed=7)[0]
    columns = FAMILY.columns(prompt.text)
    texts = [
        TASK.solution(prompt),
        FAMILY.completion(prompt.text, columns=[foreign(columns[0]), *columns[1:]]),
        FAMILY.completion(prompt.text, columns=[foreign(column) for column in columns]),
        FAMILY.direct(prompt.text),
    ]
    answers = [Answer(prompt=prompt.text, text=text, reference=TASK.reference(prompt)) for text in texts]
    judged = build_verifier(RUBRIC).judge(answers)
    assert Counter(judgement.status for judgement in judged) == {"PASS": 4}
    rewards = [judgement.reward for judgement in judged]
    assert rewards == sorted(rewards, reverse=True)
    assert len(set(rewards)) == 4


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ({"direct": 0.7, "hinted": 0.6}, "sum to more than 1"),
        ({"direct": 1.0, "mixed_language": 0.1}, "leaves no working"),
    ],
)
def test_shares_that_cannot_be_are_refused(forms, message):
    with pytest.raises(ValueError, match=message):
        Forms(**forms)


def test_forms_of_another_task_are_refused(tmp_path):
    recipe = {
        "name": "x",
        "task": {"type": "addition"},
        "base": {"steps": [{"type": "sft", "updates": 1, "source": {"type": "references", "forms": {"direct": 1.0}}}]},
        "generations": {"steps": [{"type": "rl"}]},
    }
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(RecipeError, match=r"base\.steps\[0\]\.source\.forms: task addition has one form of answer"):
        load_recipe(path)
