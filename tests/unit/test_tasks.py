"""Tasks: formats, draws, references and the held-out suite."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.splits import split_of

from bootstrap.config.base import identity_of
from bootstrap.config.tasks import AdditionTask, CopyTask, FunctionsTask, ReversalTask, WorkingTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.addition import Addition
from bootstrap.prompts.build import build_task
from bootstrap.prompts.splits import prompt_id, suite_digest
from bootstrap.records import Prompt, Split

ADDITION = build_task(AdditionTask())
REVERSAL = build_task(ReversalTask())
COPY = build_task(CopyTask())
ALL = [ADDITION, REVERSAL, COPY]


def asked(task, text):
    """A prompt with a text of our choice."""
    split = task.split_of(text)
    return Prompt(id=prompt_id(task.name, text), task=task.name, level=1, text=text, split=split)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("21+43=", "640"), ("9+9=", "81"), ("0+0=", "00"), ("999+1=", "0001"), ("1+999=", "0001"), ("01+01=", "020")],
)
def test_sums_are_written_backwards_and_padded_to_one_digit_more_than_the_longer_operand(text, answer):
    assert ADDITION.reference(asked(ADDITION, text)) == answer


@given(st.integers(1, 25), st.integers(0, 2**62))
def test_every_addition_reference_reads_as_the_sum(level, seed):
    for prompt in ADDITION.draw(level, 5, seed=seed):
        first, second = prompt.text.removesuffix("=").split("+")
        assert int(ADDITION.reference(prompt)[::-1]) == int(first[::-1]) + int(second[::-1])


def test_strings_come_back_reversed_or_as_they_are():
    assert REVERSAL.reference(asked(REVERSAL, "abc=")) == "cba"
    assert COPY.reference(asked(COPY, "abc=")) == "abc"


@pytest.mark.parametrize("level", [1, 2, 3, 7, 20])
def test_operands_have_exactly_the_levels_digits_and_no_leading_zero(level):
    for prompt in ADDITION.draw(level, 200, seed=1):
        for operand in prompt.text.removesuffix("=").split("+"):
            assert len(operand) == level
            assert level == 1 or operand[-1] != "0"


@pytest.mark.parametrize("level", [2, 3, 9])
def test_easier_variants_have_one_operand_of_the_level_and_one_shorter_in_either_order(level):
    prompts = ADDITION.draw(level, 300, seed=1, easier_variant=True)
    lengths = [tuple(map(len, prompt.text.removesuffix("=").split("+"))) for prompt in prompts]
    assert all(max(pair) == level and min(pair) < level for pair in lengths)
    assert {min(pair) for pair in lengths} == set(range(1, level))
    assert {first > second for first, second in lengths} == {True, False}
    assert all(prompt.easier_variant and prompt.level == level for prompt in prompts)


def test_easier_variants_that_do_not_exist_are_refused():
    with pytest.raises(RecipeError, match="reversal level 5 has no easier variants; set easier_variants: 0"):
        REVERSAL.draw(5, 1, seed=0, easier_variant=True)
    with pytest.raises(RecipeError, match="level 2 or higher"):
        ADDITION.draw(1, 1, seed=0, easier_variant=True)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
@pytest.mark.parametrize("level", [1, 2, 4, 9])
def test_answers_fit_the_characters_and_the_longest_answer(task, level):
    prompts = task.draw(level, 100, seed=3)
    if task.has_easier_variants and level > 1:
        prompts += task.draw(level, 100, seed=3, easier_variant=True)
    answers = [task.reference(prompt) for prompt in prompts]
    assert max(map(len, answers)) == task.max_answer_length(level)
    assert set("".join(answers) + "".join(prompt.text for prompt in prompts)) <= set(task.characters)


def test_an_id_is_the_hash_of_name_and_text():
    prompt = ADDITION.draw(5, 1, seed=0)[0]
    assert prompt.id == hashlib.sha256(f"addition\n{prompt.text}".encode()).hexdigest()[:16]


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
@pytest.mark.parametrize(("level", "count"), [(2, 60), (3, 500), (12, 500)])
def test_a_draw_repeats_no_prompt_while_the_split_has_enough(task, level, count):
    texts = [prompt.text for prompt in task.draw(level, count, seed=5)]
    assert len(set(texts)) == len(texts) == count


def test_a_draw_beyond_the_split_goes_through_all_of_it_before_any_prompt_repeats_again():
    available = 100 - len(ADDITION.heldout(1, 1000))
    counts = Counter(prompt.text for prompt in ADDITION.draw(1, 2 * available + 5, seed=2))
    assert len(counts) == available
    assert sorted(counts.values()) == [2] * (available - 5) + [3] * 5


def test_an_exhausted_large_level_ends():
    task = build_task(CopyTask(alphabet="abc", heldout_fraction=0.5))
    num_texts = 3**10
    available = {t for t in map("".join, product("abc", repeat=10)) if asked(task, t + "=").split is Split.HELDOUT}
    prompts = task.draw(10, num_texts, seed=0, split=Split.HELDOUT)
    assert len(prompts) == num_texts
    assert {prompt.text.removesuffix("=") for prompt in prompts} == available


def test_levels_beyond_machine_integers_and_floats_can_be_drawn():
    assert len(REVERSAL.draw(400, 3, seed=0)[0].text) == 401
    assert len(ADDITION.draw(200, 3, seed=0, easier_variant=True)) == 3


def test_the_number_of_texts_is_the_number_of_texts():
    family = Addition()
    for level, easier_variant in [(1, False), (2, False), (1, True), (2, True), (3, True)]:
        texts = list(family.texts(level, easier_variant=easier_variant))
        assert len(set(texts)) == len(texts) == family.num_texts(level, easier_variant=easier_variant)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_a_draw_depends_on_its_seed_and_on_nothing_drawn_before(task):
    first = task.draw(6, 30, seed=11)
    task.draw(6, 7, seed=12)
    assert task.draw(6, 30, seed=11) == first
    assert task.draw(6, 30, seed=12) != first
    assert build_task(task.settings).draw(6, 30, seed=11) == first


def test_draws_have_golden_values():
    assert [p.text for p in ADDITION.draw(1, 4, seed=7)] == ["6+3=", "6+6=", "6+7=", "0+8="]
    assert [p.text for p in ADDITION.draw(5, 2, seed=7)] == ["32958+20062=", "72291+08485="]
    assert [p.text for p in ADDITION.draw(5, 2, seed=7, easier_variant=True)] == ["5+87037=", "62+67256="]
    assert [p.text for p in REVERSAL.draw(5, 2, seed=7)] == ["dikbf=", "edcfg="]
    assert [p.text for p in COPY.draw(5, 2, seed=7)] == ["icaci=", "kidfk="]
    assert ADDITION.draw(5, 1, seed=7)[0].id == "34f558541fefc281"
    shown = ADDITION.demonstrate([1, 2, 3, 4], 2, seed=7)
    assert [(p.text, p.level, answer) for p, answer in shown] == [("931+489=", 3, "3211"), ("716+403=", 3, "1290")]
    mixed = ADDITION.demonstrate([1, 2, 3, 4], 2, seed=7, mixed=True)
    assert [(p.text, answer) for p, answer in mixed] == [("9454+923=", "87840"), ("72+8643=", "59430")]


def test_a_lineage_grown_with_the_split_of_texts_draws_what_it_has_always_drawn():
    task = build_task(AdditionTask(split_by="text"))
    assert [p.text for p in task.draw(1, 4, seed=7)] == ["6+1=", "6+4=", "6+5=", "0+6="]
    shown = task.demonstrate([1, 2, 3, 4], 2, seed=7)
    assert [(p.text, answer) for p, answer in shown] == [("931+489=", "3211"), ("323+787=", "0111")]
    assert [suite_digest(task.heldout(level, 50))[:16] for level in (1, 2, 5)] == [
        "7452341e1e46f049",
        "33847f082a69b3d1",
        "fcd712b95c1f8b8a",
    ]


def test_final_suites_have_golden_digests():
    task = build_task(AdditionTask(final_fraction=0.2))
    assert [suite_digest(task.final(level, 50))[:16] for level in (1, 2, 5)] == [
        "bc8e2dab58792631",
        "faf3c863f0649707",
        "721faffcd70480df",
    ]


def test_held_out_suites_have_golden_digests():
    digests = {(task.name, level): suite_digest(task.heldout(level, 50))[:16] for task in ALL for level in (1, 2, 5)}
    assert digests == {
        ("addition", 1): "b36f77c7f5f75c7a",
        ("addition", 2): "73a396c68e3e5241",
        ("addition", 5): "327bf05f6d883aad",
        ("reversal", 1): "9ffba026025181b2",
        ("reversal", 2): "d4e5d6fe6f319fd2",
        ("reversal", 5): "1da49ad83a004c07",
        ("copy", 1): "ce54c74631870a2e",
        ("copy", 2): "68842bd999b049a2",
        ("copy", 5): "77c3a85903f4fec3",
    }


PRINT_DRAWS = """
import json
from bootstrap.config.tasks import AdditionTask, ReversalTask
from bootstrap.prompts.addition import Addition
from bootstrap.prompts.build import build_task
found = []
for task in (build_task(AdditionTask()), build_task(ReversalTask())):
    for level in (1, 2, 3, 8):
        found.append([p.text for p in task.draw(level, 20, seed=9)])
        found.append([p.text for p in task.heldout(level, 20)])
    found.append([(p.text, answer) for p, answer in task.demonstrate([1, 2, 4], 20, seed=9, mixed=True)])
print(json.dumps(found))
"""


def test_draws_agree_between_processes_with_different_hash_salts():
    def printed(salt):
        environment = os.environ | {"PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", PRINT_DRAWS]
        return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60).stdout)

    assert printed("1") == printed("2")


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
@pytest.mark.parametrize("mixed", [False, True])
def test_references_beyond_the_base_level_are_refused(task, mixed):
    beyond = task.settings.base_level + 1
    with pytest.raises(RecipeError, match=rf"level {beyond} was asked for; .*raise task.base_level"):
        task.demonstrate([1, beyond], 1, seed=0, mixed=mixed)
    assert len(task.demonstrate([1, beyond - 1], 3, seed=0, mixed=mixed)) == 3


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
@pytest.mark.parametrize("mixed", [False, True])
def test_no_demonstration_goes_beyond_the_base_level(task, mixed):
    shown = task.demonstrate(range(1, task.settings.base_level + 1), 3000, seed=4, mixed=mixed)
    longest = task.max_answer_length(task.settings.base_level)
    assert max(prompt.level for prompt, _ in shown) == task.settings.base_level
    assert max(len(answer) for _, answer in shown) == longest


def test_demonstrations_carry_right_answers_at_uniform_levels():
    shown = ADDITION.demonstrate([1, 3, 4], 6000, seed=0)
    assert all(answer == ADDITION.reference(prompt) for prompt, answer in shown)
    counts = Counter(prompt.level for prompt, _ in shown)
    assert counts.keys() == {1, 3, 4}
    assert all(1850 < count < 2150 for count in counts.values())


def test_mixed_demonstrations_draw_both_operand_lengths_uniformly_and_independently():
    shown = ADDITION.demonstrate([1, 2, 3, 4], 16_000, seed=0, mixed=True)
    lengths = Counter(tuple(map(len, prompt.text.removesuffix("=").split("+"))) for prompt, _ in shown)
    assert len(lengths) == 16
    assert all(850 < count < 1150 for count in lengths.values())
    for prompt, _ in shown:
        first, second = map(len, prompt.text.removesuffix("=").split("+"))
        assert prompt.level == max(first, second)
        assert prompt.easier_variant == (first != second)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_level_one_has_held_out_prompts(task):
    suite = task.heldout(1, 1000)
    num_texts = 100 if task is ADDITION else 11
    assert 0 < len(suite) < num_texts
    assert all(prompt.split is Split.HELDOUT for prompt in suite)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_a_suite_is_distinct_and_a_longer_one_begins_with_the_shorter(task):
    for level in range(1, 12):
        suite = task.heldout(level, 1000)
        assert len({prompt.text for prompt in suite}) == len(suite) <= 1000
        assert task.heldout(level, 64) == suite[:64]
        assert build_task(task.settings).heldout(level, 1000) == suite


def test_a_suite_of_a_small_level_is_all_there_is():
    every = {f"{a}+{b}=" for a in range(10) for b in range(10)}
    heldout = {
        f"{a}+{b}="
        for a in range(10)
        for b in range(10)
        if split_of("addition", f"{min(a, b)}+{max(a, b)}", heldout_fraction=0.125) is Split.HELDOUT
    }
    assert heldout < every
    assert {prompt.text for prompt in ADDITION.heldout(1, 1000)} == heldout


@pytest.mark.parametrize("settings", [AdditionTask(final_fraction=0.2), WorkingTask(final_fraction=0.2)])
def test_sums_with_their_operands_changed_over_are_on_one_side(settings):
    task = build_task(settings)
    assert {task.split_of(f"{a}+{b}=") for a in range(10) for b in range(10)} == set(Split)
    for a, b in product(range(100), range(100)):
        assert task.split_of(f"{a}+{b}=") is task.split_of(f"{b}+{a}=")


def test_sums_with_and_without_working_are_on_one_side():
    working = build_task(WorkingTask())
    texts = [f"{a}+{b}=" for a in range(30) for b in range(30)]
    assert all(working.split_of(text) is ADDITION.split_of(text) for text in texts)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a+b:", "b+a:"), ("a*7:", "7*a:"), ("a+b*3:", "b+a*3:"), ("a-b+c:", "c+a-b:"), ("b*2-3+c*a:", "2*b+c-3*a:")],
)
def test_descriptions_with_operations_changed_over_ask_the_same(one, other):
    task = build_task(FunctionsTask())
    assert task._family.question(one) == task._family.question(other)
    assert task._family.cases(one).cases != task._family.cases(one[:-1] + "+2:").cases


@pytest.mark.parametrize("level", [1, 2])
def test_descriptions_of_one_question_have_one_result(level):
    family, inputs = build_task(FunctionsTask())._family, {"a": 37, "b": -91, "c": 203}
    results = {}
    for text in family.texts(level, easier_variant=False):
        result = _run(text, inputs)
        assert results.setdefault(family.question(text), result) == result
    assert len(results) < family.num_texts(level, easier_variant=False)


def _run(text, inputs):
    known = {**inputs, **{digit: int(digit) for digit in "23456789"}}
    result = known[text[0]]
    for operator, operand in zip(text[1:-1:2], text[2:-1:2], strict=True):
        result = {"+": result + known[operand], "-": result - known[operand], "*": result * known[operand]}[operator]
    return result


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_without_a_share_for_the_end_nothing_is_kept_and_nothing_changes(task):
    assert task.final(3, 10) == []
    with pytest.raises(RecipeError, match=r"has no final prompt at task.final_fraction 0; raise it"):
        task.draw(3, 1, seed=0, split=Split.FINAL)
    assert "final_fraction" not in identity_of(task.settings)
    kept = build_task(task.settings.model_copy(update={"final_fraction": 0.25}))
    assert kept.heldout(3, 40) == task.heldout(3, 40), "what gates ask stays the same"
    assert identity_of(kept.settings)["final_fraction"] == 0.25
    final = {prompt.id for prompt in kept.final(2, 3000)}
    trained = {prompt.id for prompt in task.draw(2, 9000, seed=0)}
    assert final and final <= trained and not final & {prompt.id for prompt in kept.draw(2, 9000, seed=0)}


@pytest.mark.parametrize("level", [1, 2, 9])
def test_final_prompts_are_frozen_and_a_longer_suite_begins_with_the_shorter(level):
    task = build_task(AdditionTask(final_fraction=0.2))
    suite = task.final(level, 60)
    assert suite[:5] == task.final(level, 5) == build_task(task.settings).final(level, 5)
    assert len({prompt.id for prompt in suite}) == len(suite)
    assert {(prompt.split, prompt.level) for prompt in suite} == {(Split.FINAL, level)}
    assert not {prompt.id for prompt in suite} & {prompt.id for prompt in task.heldout(level, 1000)}


def test_about_the_recipes_share_is_held_out():
    texts = [f"{n}+{n}=" for n in range(20_000)]
    heldout = sum(split_of("addition", text, heldout_fraction=0.125) is Split.HELDOUT for text in texts)
    assert heldout / len(texts) == pytest.approx(0.125, abs=0.01)


def test_a_task_with_an_empty_split_is_refused_with_the_remedy():
    with pytest.raises(RecipeError, match=r"level 1 has no heldout prompt at task.heldout_fraction 0.001; raise it"):
        build_task(ReversalTask(heldout_fraction=0.001))
    with pytest.raises(RecipeError, match=r"has no train prompt at task.heldout_fraction 0.999; lower it"):
        build_task(ReversalTask(heldout_fraction=0.999))


@given(st.sampled_from([ADDITION, REVERSAL, COPY]), st.integers(1, 12), st.integers(0, 2**62))
def test_every_prompt_has_four_distinct_wrong_answers_or_more(task, level, seed):
    prompt = task.draw(level, 1, seed=seed)[0]
    wrong = task.wrong_answers(prompt)
    assert len(set(wrong)) == len(wrong) >= 4
    assert task.reference(prompt) not in wrong
    assert "" in wrong
    assert wrong == task.wrong_answers(prompt)


def test_a_two_symbol_alphabet_still_has_four_wrong_answers():
    task = build_task(CopyTask(alphabet="ab", heldout_fraction=0.5))
    assert len(task.wrong_answers(asked(task, "a="))) >= 4


def test_a_suites_digest_depends_on_its_prompts_and_their_order():
    suite = ADDITION.heldout(5, 10)
    assert suite_digest(suite) == suite_digest(list(suite))
    assert suite_digest(suite) != suite_digest(suite[:9])
    assert suite_digest(suite) != suite_digest(suite[::-1])
