"""Assert-style tests become calls with expected values, or are refused with the reason; nothing is executed."""

import pytest

from bootstrap.prompts.assertions import NotConvertible, calls_of_asserts, calls_of_check
from bootstrap.python_values import write_value
from bootstrap.references import Call

HUMANEVAL = """

METADATA = {
    'author': 'jt',
    'dataset': 'test'
}


def check(candidate):
    assert candidate([1.0, 2.0, 3.9], 0.3) == True
    assert candidate([], k=-1) == [[], {'a': None}], "This prints if this assert fails"
    assert True, "This prints if this assert fails 2 (also good for debugging!)"
    assert abs(candidate(3.5) - 0.5) < 1e-6
    assert candidate('x') is None
"""
"""In the form of the data set's rows."""


def one(test: str, *, exact: bool = False) -> Call:
    name, (call,) = calls_of_asserts([test], exact=exact)
    assert name == "f"
    return call


def test_a_check_function_becomes_its_calls() -> None:
    assert calls_of_check(HUMANEVAL) == (
        Call(args=([1.0, 2.0, 3.9], 0.3), expected=True),
        Call(args=([],), kwargs={"k": -1}, expected=[[], {"a": None}]),
        Call(args=(3.5,), expected=0.5, tolerance=9.999999999999997e-07),
        Call(args=("x",), expected=None, identical=True),
    )
    assert calls_of_check(HUMANEVAL, exact=True)[-1] == Call(args=("x",), expected=None)


def test_a_list_of_asserts_becomes_calls_of_the_function_they_name() -> None:
    name, calls = calls_of_asserts(["assert add(1, 2) == 3", "assert add(-1, 1) == 0\nassert 5 == add(2, 3)"])
    assert name == "add"
    assert calls == (
        Call(args=(1, 2), expected=3),
        Call(args=(-1, 1), expected=0),
        Call(args=(2, 3), expected=5),
    )


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("assert f(1) == -2.5", -2.5),
        ("assert f(1)", True),
        ("assert not f(1)", False),
        ("assert f(1) == {'a': [1]}, 'message'", {"a": [1]}),
        ("assert f(1) == 'x' 'y'", "xy"),
    ],
)
def test_what_is_asserted_becomes_the_expected_value(test: str, expected: object) -> None:
    call = one(test)
    assert (call.args, call.tolerance) == ((1,), 0.0)
    assert call.expected == expected and type(call.expected) is type(expected)


@pytest.mark.parametrize(
    ("test", "number", "tolerance"),
    [
        ("assert abs(f(1) - 2) <= 0.5", 2.0, 0.5),
        ("assert abs(2.5 - f(1)) <= 1", 2.5, 1.0),
        ("import math\nassert math.isclose(f(1), 4.0)", 4.0, 4e-9),
        ("from math import isclose\nassert isclose(-4.0, f(1), rel_tol=0.01, abs_tol=0.5)", -4.0, 0.5),
        ("assert math.isclose(f(1), 400, rel_tol=0.01)", 400.0, 4.0),
    ],
)
def test_a_tolerance_goes_along(test: str, number: float, tolerance: float) -> None:
    call = one(test)
    assert (call.expected, call.tolerance) == (number, tolerance)
    assert type(call.expected) is float


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("(1, 'a')", (1, "a")),
        ("[(1, [2]), ()]", [(1, [2]), ()]),
        ("{1, 2}", {1, 2}),
        ("set([2, 1])", {1, 2}),
        ("frozenset({1})", frozenset({1})),
        ("{1: 'x', (2, 3): None}", {1: "x", (2, 3): None}),
        ("b'x'", b"x"),
        ("1j", 1j),
        ("1e999", float("inf")),
        ("2.0 / 3.0", 2.0 / 3.0),
        ("3 * 19", 57),
        ("(3 + 5 + 7, 3 * 5 * 7)", (15, 105)),
        ("[-0, 1 ** 0]", [0, 1]),
        ("'abcde' + 'cade' + 'CADE'", "abcdecadeCADE"),
        ("[0] * 5", [0] * 5),
        ("tuple([1, 2])", (1, 2)),
        ("{'$tuple': [1]}", {"$tuple": [1]}),
    ],
)
def test_a_value_is_what_python_makes_of_it_as_argument_and_as_expected(literal: str, value: object) -> None:
    for call in (one(f"assert f({literal}) == 0"), one(f"assert f(x={literal}) == 0")):
        assert [*call.args, *call.kwargs.values()] == [write_value(value)]
    for call in (one(f"assert f(0) == {literal}"), one(f"assert {literal} == f(0)")):
        assert call.expected == write_value(value) and not call.identical


@pytest.mark.parametrize("value", [None, True, False])
def test_what_is_asserted_to_be_something_must_be_that_itself(value: object) -> None:
    assert one(f"assert f(1) is {value}") == Call(args=(1,), expected=value, identical=True)
    assert one(f"assert f(1) == {value}") == Call(args=(1,), expected=value)
    assert one(f"assert f(1) is {value}", exact=True) == Call(args=(1,), expected=value)


def test_a_bare_name_among_the_asserts_tests_nothing() -> None:
    test = "def check(candidate):\n    assert candidate(1) == 1\n    print\n    assert candidate(2) == 2\n"
    assert len(calls_of_check(test)) == 2
    with pytest.raises(NotConvertible, match="no call with a literal: print"):
        calls_of_check(test, exact=True)


def test_keys_of_an_argument_keep_their_order() -> None:
    assert list(one("assert f({'b': 1, 'a': 2}) == 'b'").args[0]) == ["b", "a"]


def test_tests_of_earlier_lineages_are_read_as_they_were() -> None:
    assert one("assert f([1]) == (1, ('a', 2.0))", exact=True) == Call(args=([1],), expected=[1, ["a", 2.0]])
    for test, reason in (
        ("assert f((1, 2)) == 3", "an argument is a tuple"),
        ("assert f([{'a': (1,)}]) == 3", "an argument is a tuple"),
        ("assert set(f(1)) == {1}", "2 functions are called"),
        ("assert f(1 + 1) == 2", "no literal: 1 + 1"),
        ("assert f(1) == {1, 2}", "JSON cannot hold"),
        ("assert f(1) == {1: 2}", "JSON cannot hold"),
        ("assert f(1) == 1j", "JSON cannot hold"),
        ("assert f(1) == 1e999", "JSON cannot hold"),
        ("assert f(b'x') == 1", "JSON cannot hold"),
    ):
        with pytest.raises(NotConvertible, match=reason.replace("+", "[+]")):
            one(test, exact=True)


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("assert set(f(1)) == {1}", "no call with a literal: set(f(1)) == {1}"),
        ("assert len(f(1)) == 1", "2 functions are called"),
        ("assert f(1) == [1] + g", "no literal: [1] + g"),
        ("assert f(1) == 1 / 0", "no value (ZeroDivisionError): 1 / 0"),
        ("assert f(1) == 10 ** 10 ** 10", "a whole number of more than"),
        ("assert f(1) == [0] * 10 ** 9", "more than 100000 characters and elements"),
        ("assert f(1) == {[1]: 2}", "no value (TypeError)"),
        ("assert f(1) == float('nan')", "a NaN, which equals nothing"),
        ("assert f(1) == [float('nan')]", "a NaN, which equals nothing"),
        ("assert f(1) == range(3)", "a value of type range cannot be written down"),
        ("assert f(1) == " + "[" * 150 + "]" * 150, "nested more than 120 deep"),
        ("assert f(1) == g(1)", "2 functions are called"),
        ("assert f(1) == x", "no literal: x"),
        ("assert f(x) == 1", "no literal: x"),
        ("assert f(*[1]) == 2", "no literal"),
        ("assert f(**{'a': 1}) == 2", "no call with a literal"),
        ("assert f(f(1)) == 2", "no literal: f(1)"),
        ("assert f(1) != 2", "no call with a literal"),
        ("assert f(1) < 2", "no call with a literal"),
        ("assert f(1) == f(1) == 2", "no call with a literal"),
        ("assert f(1) == 2 or True", "no call with a literal"),
        ("assert f(1)[0] == 2", "no call with a literal"),
        ("assert abs(f(1) - 2) < 0", "a tolerance of 0"),
        ("assert math.isclose(f(1), 0.0)", "a tolerance of 0"),
        ("assert abs(f(1) - 'a') < 1", "no number"),
        ("assert abs(f(1) + 2) < 1", "no call with a literal"),
        ("assert math.isclose(f(1), 2, abs=1)", "no call with a literal"),
        ("x = f(1)\nassert x == 1", "no call with a literal: x = f(1)"),
        ("for i in [1]:\n    assert f(i) == i", "no call with a literal"),
        ("import os\nassert f(1) == 1", "no call with a literal: import os"),
        ("__import__('os').system('true')\nassert f(1) == 1", "2 functions are called"),
        ("assert o.f(1) == 1", "0 functions are called"),
        ("assert True", "0 functions are called"),
        ("", "0 functions are called"),
        ("assert f(", "no Python: SyntaxError"),
        ("assert f(1) == '\0'", "no Python"),
        ("assert f(1) == " + "-" * 100_000 + "1", "no Python"),
    ],
)
def test_anything_else_is_refused_with_the_reason(test: str, reason: str) -> None:
    with pytest.raises(NotConvertible) as refusal:
        calls_of_asserts([test])
    assert reason in str(refusal.value)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    "test",
    [
        "assert candidate(1) == 1",
        "def check(candidate):\n    pass",
        "def check(candidate):\n    assert True",
        "def check(candidate, other):\n    assert candidate(1) == 1",
        "def check(candidate=1):\n    assert candidate(1) == 1",
        "def check(*candidate):\n    assert candidate(1) == 1",
        "def other(candidate):\n    assert candidate(1) == 1",
        "def check(candidate):\n    assert candidate(1) == 1\ndef check2(candidate):\n    pass",
        "def check(candidate):\n    assert candidate(1) == 1\n    for i in range(3):\n        assert candidate(i) == i",
        "def check(candidate):\n    assert other(1) == 1",
        "x = 1\ndef check(candidate):\n    assert candidate(1) == 1",
    ],
)
def test_a_check_that_is_no_list_of_calls_is_refused_whole(test: str) -> None:
    with pytest.raises(NotConvertible):
        calls_of_check(test)


def test_nothing_is_executed() -> None:
    for test in ("assert f(exit()) == 1", "assert f(1) == exit()", "assert abs(f(1) - exit()) < 1"):
        with pytest.raises(NotConvertible):
            calls_of_asserts([test])
