"""Where an answer stands: exactly once, or nowhere, in time proportional to the text."""

import time

import pytest

from bootstrap.config.answers import AnswerPlace, Boxed, LastLine, Tagged, Whole
from bootstrap.scoring.extract import answer_of, extract
from bootstrap.scoring.verifier import Answer

BOXED, TAGGED, LAST = Boxed(), Tagged(), LastLine()


@pytest.mark.parametrize(
    ("place", "completion", "expected"),
    [
        (Whole(), " 4 ", " 4 "),
        (Whole(strip=True), " 4\n", "4"),
        (Whole(strip=True), "", ""),
        (TAGGED, "<think>3</think><answer> 4 </answer>", "4"),
        (TAGGED, "<answer></answer>", ""),
        (Tagged(tag="think"), "<think>3</think><answer>4</answer>", "3"),
        (BOXED, r"so \boxed{4}.", "4"),
        (BOXED, r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (BOXED, r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (BOXED, r"\boxed{\left\{1\right\}}", r"\left\{1\right\}"),
        (BOXED, r"\boxed{4} and again \boxed{ 4 }", "4"),
        (BOXED, r"{ \boxed{4}", "4"),
        (BOXED, r"} \boxed{4} {", "4"),
        (LAST, "let me see\n\n 4 \n \n", "4"),
        (LAST, "4", "4"),
        (LAST, "3\r\n4\r\n", "4"),
    ],
)
def test_an_answer_is_found_where_it_stands(place: AnswerPlace, completion: str, expected: str):
    assert extract(completion, place).text == expected


@pytest.mark.parametrize(
    ("place", "completion", "reason"),
    [
        (TAGGED, "4", "0 <answer>"),
        (TAGGED, "<answer>4", "1 <answer> and 0 </answer>"),
        (TAGGED, "<answer>4</answer><answer>4</answer>", "2 <answer>"),
        (TAGGED, "<answer><answer>4</answer>", "2 <answer>"),
        (TAGGED, "</answer>4<answer>", "before"),
        (TAGGED, "<ANSWER>4</ANSWER>", "0 <answer>"),
        (TAGGED, "<answer >4</answer>", "0 <answer>"),
        (BOXED, "4", "no complete"),
        (BOXED, r"\boxed{4", "no complete"),
        (BOXED, r"\boxed{4} \boxed{5", "no complete"),
        (BOXED, r"\boxed{{4}", "no complete"),
        (BOXED, r"\boxed{4\}", "no complete"),
        (BOXED, r"\boxed{4} or \boxed{5}", "different contents"),
        (BOXED, r"\boxed{\boxed{4}}", "a box in a box"),
        (BOXED, r"\boxed{3 \boxed{4}}", "a box in a box"),
        (BOXED, r"\\boxed{4}", "no complete"),
        (BOXED, "boxed{4}", "no complete"),
        (LAST, " \n \n", "white space"),
        (LAST, "", "white space"),
    ],
)
def test_what_is_not_there_exactly_once_is_not_there(place: AnswerPlace, completion: str, reason: str):
    found = extract(completion, place)
    assert found.text is None
    assert reason in found.reason


@pytest.mark.parametrize("place", [Whole(), TAGGED, BOXED, LAST])
def test_a_truncated_completion_holds_no_answer(place: AnswerPlace):
    answer = Answer(prompt="", text=r"<answer>\boxed{4}</answer>", reference="4", truncated=True)
    found = answer_of(answer, place)
    assert (found.text, found.reason) == (None, "truncated")


@pytest.mark.parametrize("piece", ["\\boxed{", "\\boxed{4}", "{", "}", "\\", "<answer>", "\n", "\\boxed{}{"])
@pytest.mark.parametrize("place", [TAGGED, BOXED, LAST])
def test_the_time_taken_grows_with_the_length_alone(place: AnswerPlace, piece: str):
    hostile = piece * (1_000_000 // len(piece))
    start = time.process_time()
    extract(hostile, place)
    # A second pass over the text per box or brace would take minutes.
    assert time.process_time() - start < 5
