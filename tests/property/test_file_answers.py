"""Answers of a file's rows: what two spellings share can be told of any text."""

from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bootstrap.prompts.wrong_answers import meaning

SPACES = " \t\n\r\f\v\x1c\x85\xa0\u2003\u2028"
NUMBERLIKE = st.text(alphabet=f"0123456789+-.,/eE\\frac{{}}x={SPACES}", max_size=80)


@settings(max_examples=400)
@given(st.one_of(NUMBERLIKE, st.text(max_size=60)))
@example("= -\t1")
@example("-\n1/\u20032")
@example("1/0")
@example("\\frac{1}{0}")
def test_any_text_has_a_meaning(text: str) -> None:
    assert meaning(text) == meaning(text)


@pytest.mark.parametrize("space", SPACES)
def test_white_space_after_a_sign_changes_no_number(space: str) -> None:
    assert meaning(f"= -{space}1") == meaning("= -1") == (Fraction(-1),)
