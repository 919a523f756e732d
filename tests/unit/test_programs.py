"""Programs: what they print, which texts are problems, and what a model is shown of proposing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.splits import split_of

from bootstrap.config.programs import DIGITS, OPERATIONS
from bootstrap.config.tasks import ProgramsTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.prompts.programs import execute
from bootstrap.records import Split

TASK = build_task(ProgramsTask(base_level=2, width=3))


@pytest.mark.parametrize(
    ("program", "digits", "printed"),
    [
        ("r", "123", "r321"),
        ("l", "123", "l231"),
        ("s", "123", "s213"),
        ("i", "190", "i201"),
        ("c", "123", "c121"),
        ("rl", "0123", "r3210l2103"),
        ("ccs", "45", "c44c44s44"),
    ],
)
def test_each_operation_prints_its_name_and_what_it_leaves(program, digits, printed):
    assert execute(program, digits) == printed


@settings(max_examples=40)
@given(st.text(OPERATIONS, max_size=40), st.text(DIGITS, min_size=2, max_size=16))
def test_every_program_ends_with_as_many_digits_as_it_began_with(program, digits):
    printed = execute(program, digits)
    assert len(printed) == len(program) * (1 + len(digits))
    assert "".join(printed[:: 1 + len(digits)]) == program


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(0, 2**62))
def test_what_the_task_draws_it_reads_back(level, seed):
    assert [TASK.read(prompt.text) for prompt in TASK.draw(level, 3, seed=seed)] == TASK.draw(level, 3, seed=seed)


@settings(max_examples=40)
@given(st.text(TASK.characters, max_size=10))
def test_a_text_is_a_problem_exactly_when_the_executor_can_answer_it(text):
    program, colon, digits = text.partition(":")
    well_formed = (
        bool(program) and set(program) <= set(OPERATIONS) and colon and len(digits) == 4 and digits.endswith("=")
    )
    problem = TASK.read(text)
    assert (problem is not None) == bool(well_formed and set(digits[:-1]) <= set(DIGITS))
    if problem is not None:
        assert problem.level == len(program)
        assert TASK.solution(problem) == execute(program, digits[:-1])


def test_a_problem_is_held_out_by_its_text_whoever_puts_it():
    texts = [f"{a}{b}:{d}=" for a in OPERATIONS for b in OPERATIONS for d in ("123", "456", "789")]
    found = {TASK.read(text).split for text in texts}
    assert found == {Split.TRAIN, Split.HELDOUT}
    assert all(TASK.read(t).split is split_of("programs", t, heldout_fraction=0.125) for t in texts)


def test_shown_proposals_are_train_problems_of_levels_with_references():
    shown = TASK.demonstrate_proposals([1, 2], 200, seed=3)
    problems = [TASK.read(text) for _, text in shown]
    assert {problem.level for problem in problems} == {1, 2}
    assert {problem.split for problem in problems} == {Split.TRAIN}
    assert {prompt for prompt, _ in shown} == {TASK.proposing}
    with pytest.raises(RecipeError, match="base_level"):
        TASK.demonstrate_proposals([3], 1, seed=0)


def test_the_declared_lengths_hold_the_longest_problem_and_its_answer():
    for level in (1, 2, 9):
        prompt = TASK.draw(level, 1, seed=0)[0]
        assert len(prompt.text) + 1 < TASK.max_problem_tokens(level)
        assert len(TASK.solution(prompt)) == TASK.max_answer_length(level)
        assert TASK.settings.longest_sequence(level) == 2 + len(prompt.text) + len(TASK.solution(prompt))


def test_wrong_answers_are_wrong_and_several():
    for prompt in TASK.heldout(1, 20) + TASK.heldout(2, 20):
        wrong = TASK.wrong_answers(prompt)
        assert len(set(wrong)) == len(wrong) >= 4
        assert TASK.solution(prompt) not in wrong
