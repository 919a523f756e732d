"""reasoning-gym as a task: levels, splits, draws, and what its settings refuse."""

import decimal
import json
import math
import os
import re
import string
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from support.splits import split_of

from bootstrap import gym_items
from bootstrap.config.gym import GymDataset, ReasoningGymTask
from bootstrap.config.load import load_recipe
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.prompts.gym import SEEDS, Gym
from bootstrap.prompts.splits import normalised
from bootstrap.records import Split

SPELL = {
    "name": "spell_backward",
    "levels": tuple({"min_word_len": n, "max_word_len": n} for n in range(3, 9)),
    "keep": r": (\w+)$",
    "before": "s",
    "after": "=",
}
SORT = {
    "name": "number_sorting",
    "levels": tuple(
        {"min_numbers": n, "max_numbers": n, "min_value": 0, "max_value": 9, "max_decimals": 0} for n in range(2, 8)
    ),
    "keep": r"in (a|d)\w+ order: (.*)",
    "before": "n",
    "after": "=",
}
CHAINS = {"name": "chain_sum"}
LETTERS = string.ascii_lowercase + string.digits + ".,'[]- ="


def task(*datasets, **changes):
    given = {"base_level": 2, "alphabet": LETTERS, "max_prompt_length": 60, "max_answer_length": 60, **changes}
    return Gym(ReasoningGymTask(datasets=tuple(GymDataset(**dataset) for dataset in datasets), **given))


def plain(name, **changes):
    """One data set, whole questions, nothing left out for its length."""
    return task({"name": name, **changes}, alphabet=string.printable, max_prompt_length=5000, base_level=1)


BOTH = task(SPELL, SORT)
SMALL = task({**SPELL, "levels": ({"min_word_len": 3, "max_word_len": 3},) * 2})
ADD = plain("chain_sum")
TASKS = [BOTH, SMALL, ADD, plain("count_bits")]


def test_the_recipes_task_is_built_from_its_settings():
    assert isinstance(build_task(BOTH.settings), Gym)


def test_a_prompt_is_what_the_pattern_keeps_between_two_marks():
    prompt = next(p for p in BOTH.draw(1, 50, seed=0) if p.key.startswith("spell_backward"))
    assert prompt.text[0] == "s" and prompt.text[-1] == "=" and len(prompt.text) == 5
    assert BOTH.solution(prompt) == prompt.text[1:-1][::-1]


def test_without_a_pattern_a_prompt_is_the_whole_question():
    prompt = ADD.draw(1, 1, seed=0)[0]
    assert prompt.text.startswith("State the final answer to the following arithmetic problem: ")
    assert ADD.solution(prompt) == str(eval(prompt.text.split(": ")[1].removesuffix(" =")))


def test_a_template_writes_references_down_and_wrong_answers_alike():
    template = "<think>{numbers}: {result}</think> <answer>{answer}</answer>"
    source = plain("gcd", answer_template=template)
    prompt = source.draw(1, 1, seed=0)[0]
    numbers = re.search(r"numbers: (.*)\. Give", prompt.text)[1]
    right = str(math.gcd(*map(int, numbers.split(", "))))
    assert source.solution(prompt) == f"<think>{numbers}: {right}</think> <answer>{right}</answer>"
    assert source.demonstrate([1], 5, seed=0)[0][1].startswith("<think>")
    bare = plain("gcd")
    assert source.wrong_answers(prompt) == [
        f"<think>{numbers}: {right}</think> <answer>{wrong}</answer>" for wrong in bare.wrong_answers(prompt)
    ]
    assert source.reference(prompt) == bare.reference(prompt)


def test_a_template_counts_in_an_answers_length():
    with pytest.raises(RecipeError, match=r"answers are longer than max_answer_length 60 \(1000\)"):
        task({**SPELL, "answer_template": "{answer}" * 30}).draw(1, 1, seed=0)


def test_a_template_that_names_what_the_metadata_lack_is_an_error_that_names_it():
    with pytest.raises(RecipeError, match=r"chain_sum names expresion, which its metadata lack; did you mean expressi"):
        plain("chain_sum", answer_template="{expresion} = {answer}").draw(1, 1, seed=0)


def test_a_template_holds_the_answer():
    with pytest.raises(ValidationError, match=r"\{answer\} must stand in it"):
        plain("chain_sum", answer_template="<answer></answer>")


def test_an_answer_may_have_the_tokens_that_the_recipe_allows_or_the_characters_of_the_longest_right_one():
    assert task(SPELL).max_answer_tokens(1) == 60 + 1 + 2
    assert task(SPELL, max_answer_tokens=300).max_answer_tokens(1) == 300


def test_weights_share_the_prompts_out():
    drawn = task({**SPELL, "weight": 3}, SORT).draw(3, 400, seed=0)
    share = sum(prompt.key.startswith("spell_backward") for prompt in drawn) / 400
    assert 0.68 < share < 0.82


@pytest.mark.parametrize("level", [1, 2, 6])
def test_the_recipes_own_levels_decide(level):
    for prompt in task(SPELL).draw(level, 20, seed=1):
        assert len(prompt.text) == 2 + level + 2


def test_the_levels_of_a_curriculum_raise_all_attributes_together():
    def config(level, **changes):
        return json.loads(gym_items.canonical(plain("chain_sum", **changes)._sources["chain_sum"].config(level)))

    assert config(1) == {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    assert config(3) == {"min_terms": 4, "max_terms": 4, "min_digits": 3, "max_digits": 3}
    assert config(3, attributes=("num_digits",)) == {
        "min_terms": 2,
        "max_terms": 2,
        "min_digits": 3,
        "max_digits": 3,
    }
    assert config(3, inclusive=True)["min_digits"] == 1
    assert config(3, config={"min_digits": 2})["min_digits"] == 2


def test_a_level_beyond_the_curriculums_last_is_refused_with_the_last_ones_number():
    with pytest.raises(RecipeError, match=r"level 12 of data set chain_sum was asked for, its highest is 11"):
        ADD.draw(12, 1, seed=0)


def test_a_level_beyond_the_recipes_own_is_refused_with_the_last_ones_number():
    with pytest.raises(RecipeError, match=r"its highest is 6; add levels, or lower generations\.count"):
        BOTH.heldout(7, 10)


def test_settings_that_a_data_set_refuses_are_named_with_their_level():
    wrong = task({**SPELL, "levels": ({"min_word_len": 3}, {"min_word_len": 5, "max_word_len": 4})})
    with pytest.raises(RecipeError, match=r"refuses the settings of level 2.*max_word_len must be >= min_word_len"):
        wrong.draw(2, 1, seed=0)


seeds = st.integers(min_value=0, max_value=2**63 - 1)


@settings(max_examples=40)
@given(source=st.sampled_from(TASKS), level=st.integers(1, 2), seed=seeds, other=seeds, count=st.integers(0, 40))
def test_no_seed_and_no_text_is_ever_in_both_splits(source, level, seed, other, count):
    train = source.draw(level, count, seed=seed)
    held_out = [*source.draw(level, count, seed=other, split=Split.HELDOUT), *source.heldout(level, 60)]
    if level <= source.settings.base_level:
        train += [prompt for prompt, _ in source.demonstrate([level], count, seed=seed)]
    assert not {prompt.text for prompt in train} & {prompt.text for prompt in held_out}
    for split, prompts in ((Split.TRAIN, train), (Split.HELDOUT, held_out)):
        for prompt in prompts:
            assert prompt.split is split
            name, level_of, number = prompt.key.split("/")
            held = source._sources[name]
            entry = gym_items.item(name, held.config(int(level_of)), int(number))
            question = normalised(held.kept(entry["question"]))
            assert split_of(source.name, question, heldout_fraction=source.settings.heldout_fraction) is split
            assert int(prompt.key.split("/")[2]) in SEEDS[split]


def test_the_splits_ranges_of_seeds_do_not_overlap():
    assert SEEDS[Split.HELDOUT].stop <= SEEDS[Split.TRAIN].start


@pytest.mark.parametrize("source", TASKS, ids=lambda source: "+".join(source._sources))
def test_draws_depend_on_their_arguments_alone(source):
    first = source.draw(1, 30, seed=7)
    source.draw(2, 30, seed=8)
    assert source.draw(1, 30, seed=7) == first
    assert source.draw(1, 30, seed=8) != first


@pytest.mark.slow
def test_prompts_are_distinct_until_the_split_is_exhausted_and_then_repeat():
    total = len({prompt.text for prompt in SMALL.draw(1, 3000, seed=0)})
    assert 500 < total < 1400
    drawn = [prompt.text for prompt in SMALL.draw(1, 3000, seed=0)]
    assert len(set(drawn[:total])) == total
    assert len(drawn) == 3000


def test_a_suite_is_frozen_and_begins_with_the_shorter_one():
    assert task(SPELL, SORT).heldout(2, 80) == BOTH.heldout(2, 80)
    assert BOTH.heldout(2, 30) == BOTH.heldout(2, 80)[:30]


def test_a_suite_of_a_small_level_is_all_that_there_is():
    suite = SMALL.heldout(1, 5000)
    assert 50 < len(suite) < 300
    assert len({prompt.text for prompt in suite}) == len(suite)


def test_a_split_without_a_text_is_an_error():
    only = task(
        {"name": "leg_counting", "levels": ({},) * 2}, heldout_fraction=0.001, max_prompt_length=300, alphabet=LETTERS
    )
    with pytest.raises(RecipeError, match=r"could not be used.*alphabet"):
        only.draw(1, 1, seed=0)
    one = task({"name": "caesar_cipher", "levels": ({"min_words": 20, "max_words": 20, "max_rotation": 1},) * 2,
                "keep": "(Caesar)"}, alphabet=string.printable, max_answer_length=500)  # fmt: skip
    with pytest.raises(RecipeError, match=r"no (heldout|train) prompt at task\.heldout_fraction"):
        [one.draw(1, 1, seed=0, split=split) for split in Split]


def test_demonstrations_end_at_the_base_level():
    with pytest.raises(RecipeError, match=r"references of reasoning_gym end at level 2 \(task\.base_level\), level 3"):
        BOTH.demonstrate([1, 3], 1, seed=0)


def test_demonstrations_are_right_answers_at_the_levels_asked_for():
    shown = BOTH.demonstrate([1, 2], 60, seed=3)
    assert {prompt.level for prompt, _ in shown} == {1, 2}
    assert all(answer == BOTH.solution(prompt) for prompt, answer in shown)


def test_items_beyond_the_alphabet_or_the_lengths_are_left_out():
    mixed = {"name": "spell_backward", "levels": ({"min_word_len": 3, "max_word_len": 10},) * 2, "keep": r": (\w+)$"}
    short = task(mixed, alphabet=string.ascii_lowercase, max_prompt_length=6, max_answer_length=5)
    texts = [prompt.text for prompt in short.draw(1, 200, seed=0)]
    assert {len(text) for text in texts} == {3, 4, 5}
    assert all(text.islower() for text in texts)


def test_a_level_whose_items_are_all_left_out_is_an_error_that_says_why():
    with pytest.raises(RecipeError, match=r"spell_backward: prompts are longer than max_prompt_length 4 \(1000\)"):
        task(SPELL, max_prompt_length=4).draw(1, 1, seed=0)


def test_a_question_that_the_pattern_does_not_match_is_an_error_that_names_both():
    with pytest.raises(RecipeError, match=r"keep 'backwards: \(.*\)' of data set spell_backward.*'Spell this word"):
        task({**SPELL, "keep": "backwards: (.*)"}).draw(1, 1, seed=0)


def test_wrong_answers_are_distinct_and_wrong_by_the_data_sets_own_scorer():
    for source in TASKS:
        for prompt in source.heldout(1, 12):
            name, level, seed = prompt.key.split("/")
            config = source._sources[name].config(int(level))
            entry = gym_items.item(name, config, int(seed))
            wrong = source.wrong_answers(prompt)
            assert len(set(wrong)) == len(wrong) >= 4
            scores = [gym_items.score(name, config, entry, text) for text in wrong]
            assert max(scores) < 0.99
            assert source.wrong_answers(prompt) == wrong


@pytest.mark.slow
def test_the_reference_is_found_again_from_the_prompt_alone_in_another_process():
    prompt = BOTH.draw(2, 1, seed=5)[0]
    program = (
        "import json, sys\n"
        "from bootstrap.config.gym import ReasoningGymTask\n"
        "from bootstrap.prompts.gym import Gym\n"
        "from bootstrap.records import Prompt, Split\n"
        "settings, text, key = json.load(sys.stdin)\n"
        "task = Gym(ReasoningGymTask.model_validate_json(settings))\n"
        "prompt = Prompt(id='', task=task.name, level=2, text=text, split=Split.TRAIN, key=key)\n"
        "print(json.dumps([task.reference(prompt), task.solution(prompt), task.wrong_answers(prompt)]))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([BOTH.settings.model_dump_json(), prompt.text, prompt.key]),
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(found.stdout) == [BOTH.reference(prompt), BOTH.solution(prompt), BOTH.wrong_answers(prompt)]


def test_an_item_by_index_is_the_item_of_a_data_set_with_that_seed():
    from reasoning_gym.factory import create_dataset

    config = dict(SPELL["levels"][2])
    for seed in (0, 3, 2**31, 2**32 - 1):
        assert (
            gym_items.item("spell_backward", config, seed)["answer"]
            == (create_dataset("spell_backward", seed=seed, size=1, **config)[0]["answer"])
        )


@pytest.mark.parametrize("name", sorted(gym_items.GLOBALLY_RANDOM))
def test_items_of_data_sets_that_use_global_randomness_stay_the_same_and_leave_it_alone(name):
    import random

    def fresh(seed):
        gym_items._item.cache_clear()
        return gym_items.digest(gym_items.item(name, {}, seed))

    found = [fresh(seed) for seed in range(8)]
    random.seed(99)
    assert [fresh(seed) for seed in reversed(range(8))] == found[::-1]
    random.seed(5)
    expected = random.random()
    random.seed(5)
    fresh(3)
    assert random.random() == expected


def test_an_unknown_data_set_is_refused_with_a_suggestion():
    with pytest.raises(RecipeError, match=r"no data set spel_backwards; did you mean spell_backward\?"):
        task({"name": "spel_backwards"})


def test_an_unknown_setting_is_refused_with_a_suggestion():
    with pytest.raises(RecipeError, match=r"spell_backward has no setting min_wordlen; did you mean min_word_len\?"):
        task({"name": "spell_backward", "config": {"min_wordlen": 3}})


def test_an_unknown_attribute_is_refused_with_a_suggestion():
    with pytest.raises(RecipeError, match=r"curriculum of data set chain_sum has no attribute num_digit; did you mean"):
        plain("chain_sum", attributes=("num_digit",))


def test_a_data_set_without_a_curriculum_needs_levels():
    with pytest.raises(RecipeError, match=r"data set acre has no curriculum; give levels"):
        plain("acre")


@pytest.mark.parametrize("name", sorted(gym_items.REFUSED))
def test_data_sets_that_cannot_be_learnt_from_are_refused_with_the_reason(name):
    with pytest.raises(RecipeError, match=f"data set {name} cannot be used: "):
        plain(name)


@pytest.mark.parametrize("salt", ["random", "0"])
def test_data_sets_that_depend_on_salted_hashes_are_refused_with_the_remedy(salt):
    code = "from bootstrap import gym_items; print(gym_items.refusal('isomorphic_strings'))"
    environment = {**os.environ, "PYTHONHASHSEED": salt}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ("set the environment variable PYTHONHASHSEED=0 everywhere" in done.stdout) == (salt == "random")


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(RecipeError, match=r"pip install 'bootstrap-lm\[gym\]'"):
        task(SPELL)


def test_another_release_than_the_one_reviewed_is_refused(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "0.2.0")
    with pytest.raises(RecipeError, match=r"pip install 'reasoning-gym==0\.1\.25'"):
        task(SPELL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": "(unclosed"}, "is no regular expression"),
        ({"keep": "no group"}, "has no group, so nothing would be kept"),
        ({"config": {"seed": 3}}, "seed of data set spell_backward is not the recipe's to set"),
        ({"levels": ({"size": 3},)}, "size of data set spell_backward is not the recipe's to set"),
        ({"attributes": ("word_len",)}, "attributes and inclusive belong to the curriculum"),
        ({"inclusive": True}, "attributes and inclusive belong to the curriculum"),
        ({"weight": 0.0}, "greater than 0"),
        ({"name": "Spell Backward"}, "must be of the form"),
    ],
)
def test_settings_of_a_data_set_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        GymDataset(**{**SPELL, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ()}, "at least 1"),
        ({"datasets": (GymDataset(**SPELL), GymDataset(**SPELL))}, "data set spell_backward stands twice"),
        ({"base_level": 7}, r"has 6 level\(s\), fewer than base_level 7"),
        ({"alphabet": "abc="}, "adds 's', which alphabet lacks"),
    ],
)
def test_settings_of_the_task_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        ReasoningGymTask(**{"datasets": (GymDataset(**SPELL),), **changes})


def test_the_highest_level_is_the_last_that_all_lists_of_levels_have():
    assert BOTH.settings.highest_level == 6
    assert task(SPELL, {**SORT, "levels": SORT["levels"][:3]}).settings.highest_level == 3
    assert ADD.settings.highest_level is None


def test_a_recipe_that_can_climb_beyond_its_levels_is_refused_before_it_runs():
    path = Path(__file__).parents[2] / "pipelines" / "gym.yaml"
    assert load_recipe(path).task.highest_level == load_recipe(path).highest_level()
    with pytest.raises(RecipeError, match=r"level 9 can be reached, the levels of data set spell_backward end at 8"):
        load_recipe(path, ["generations.count=6"])


def test_a_bad_pattern_in_a_recipe_is_named_with_its_line(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: gym\n"
        "task:\n"
        "  type: reasoning_gym\n"
        "  datasets:\n"
        "    - name: spell_backward\n"
        "      keep: '(unclosed'\n"
        "verifier: {type: reasoning_gym}\n"
        "base: {steps: [{type: sft, updates: 1}]}\n"
        "generations: {count: 1, steps: [{type: rl}]}\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError, match=r"recipe\.yaml:6: task\.datasets\[0\]\.keep: .*is no regular expression"):
        load_recipe(path)


def test_a_data_set_leaves_the_precision_of_decimals_alone():
    before = decimal.getcontext().prec
    entry = gym_items.item("decimal_arithmetic", {}, 5)
    gym_items.score("decimal_arithmetic", {}, entry, gym_items.solution("decimal_arithmetic", entry))
    assert decimal.getcontext().prec == before
