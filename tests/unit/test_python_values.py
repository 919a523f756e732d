"""Python values written as JSON: each kind keeps what it is, and what equals what is as Python says."""

import json
import math
import time
from collections import Counter, OrderedDict, defaultdict
from fractions import Fraction
from itertools import product

import pytest

from bootstrap.python_values import (
    MAX_DEPTH,
    NotANumber,
    NoValue,
    canonical,
    check,
    equal,
    write_value,
)

VALUES = [
    None,
    False,
    True,
    0,
    1,
    -1,
    2**53,
    2**53 + 1,
    10**400,
    0.0,
    -0.0,
    1.0,
    0.1,
    2.0**53,
    1e300,
    int(1e300),
    math.inf,
    -math.inf,
    1j,
    1 + 0j,
    complex(0.5, 0),
    0.5,
    "",
    "1",
    "float 0.1",
    "none",
    "é\u2028\U0001f600",
    b"",
    b"1",
    b"\x00\xff",
    [],
    [1],
    [True],
    [1.0, "x"],
    [[1]],
    (),
    (1,),
    (1, (2, 3)),
    (1, [2, 3]),
    set(),
    {1},
    {1.0, "x"},
    frozenset({1}),
    frozenset({"x", 1}),
    {(1, 2), frozenset({3})},
    {},
    {"a": 1},
    {"a": 1.0, "b": [2]},
    {"b": [2.0], "a": True},
    {1: "x"},
    {True: "x"},
    {(1, 2): {None: 3}},
    {"$tuple": [1]},
    {"$set": [1]},
    {"$dict": [["a", 1]]},
    {"$float": "inf"},
    {"$other": 1, "a": 2},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {len(repr(value))}")
def test_what_is_written_is_json_and_equals_itself(value: object) -> None:
    written = json.loads(json.dumps(write_value(value), allow_nan=False))
    check(written)
    assert equal(write_value(value), written)


def test_equality_is_python_s() -> None:
    for one, other in product(VALUES, VALUES):
        assert equal(write_value(one), write_value(other)) == (one == other), (one, other)


def test_fractions_equal_the_floats_and_whole_numbers_that_they_are() -> None:
    for fraction, number in product(
        (Fraction(1, 2), Fraction(1, 3), Fraction(0.1), Fraction(4, 2)), (0.5, 1 / 3, 0.1, 2)
    ):
        written = {"$fraction": [fraction.numerator, fraction.denominator]}
        assert equal(number, written) == (number == fraction), (number, fraction)
    assert equal({"$fraction": [1, 2]}, {"$fraction": [2, 4]})


def test_a_nan_equals_nothing_at_any_depth() -> None:
    for value in (math.nan, [math.nan], {"a": math.nan}, (1, math.nan), complex(0, math.nan)):
        written = write_value(value)
        check(written)
        assert not equal(written, written)
        assert not equal(1, written)
        with pytest.raises(NotANumber):
            canonical(written)


@pytest.mark.parametrize("value", [object(), range(3), Counter("a"), OrderedDict(), defaultdict(list), [int], "\ud800"])
def test_other_kinds_are_not_written(value: object) -> None:
    with pytest.raises(NoValue):
        write_value(value)


def test_a_value_is_bounded_in_depth() -> None:
    value: object = 0
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert canonical(write_value(value))
    with pytest.raises(NoValue, match="deep"):
        write_value([value])
    with pytest.raises(NoValue, match="deep"):
        canonical([value])


@pytest.mark.parametrize(
    "written",
    [
        {"$list": [1]},
        {"$tuple": 1},
        {"$tuple": [1], "a": 2},
        {"$set": [1, 1]},
        {"$set": [1, 1.0]},
        {"$set": [True, 1]},
        {"$set": [[1]]},
        {"$set": [{"$tuple": [[1]]}]},
        {"$set": [{"$set": [1]}]},
        {"$frozenset": [{"a": 1}]},
        {"$dict": [[1, 2], [1.0, 3]]},
        {"$dict": [[1, 2, 3]]},
        {"$dict": [1]},
        {"$dict": {"a": 1}},
        {"$dict": [[[], 1]]},
        {"$bytes": "0"},
        {"$bytes": "0G"},
        {"$bytes": [0]},
        {"$float": "1.0"},
        {"$float": []},
        {"$float": 1.0},
        {"$complex": [1.0]},
        {"$complex": [1, 2]},
        {"$complex": [[], 2.0]},
        {"$complex": [{"$bytes": ""}, 2.0]},
        {"$fraction": [1, 0]},
        {"$fraction": [1, -2]},
        {"$fraction": [True, 2]},
        {"$fraction": [0.5, 2]},
        {"$fraction": [1]},
        {"$": 1},
    ],
    ids=json.dumps,
)
def test_what_no_value_is_written_as_is_refused_and_equals_nothing(written: object) -> None:
    with pytest.raises(NoValue):
        check(written)
    for other in (written, [], {}, 1, write_value({1}), write_value((1,))):
        assert not equal(other, written)


def test_a_tolerance_acts_on_expected_floats_alone() -> None:
    near = 0.5 + 1e-7
    assert equal(0.5, near, tolerance=1e-6)
    assert not equal(0.5, 0.5 + 1e-5, tolerance=1e-6)
    assert equal(1.0, 1, tolerance=1e-6)
    assert equal(0.5, {"$fraction": [1, 2]}, tolerance=1e-6)
    assert equal(0.5, {"$fraction": [500001, 1000000]}, tolerance=1e-5)
    assert not equal(2, 2.0000001, tolerance=1e-6)
    assert not equal(1.0, "1.0", tolerance=5.0)
    assert not equal(1.0, {"$float": "inf"}, tolerance=5.0)
    assert not equal(1.0, {"$float": "nan"}, tolerance=5.0)
    assert not equal(1.0, 10**400, tolerance=5.0)
    assert equal([0.5, {"a": 0.5}], [near, {"a": near}], tolerance=1e-6)
    assert equal(write_value((0.5, {1: 0.5, 2: 1})), write_value((near, {2: 1, 1: near})), tolerance=1e-6)
    assert not equal(write_value((0.5,)), write_value([near]), tolerance=1e-6)
    assert not equal(write_value({1: 0.5}), write_value({2: near}), tolerance=1e-6)
    assert not equal([0.5], [near, near], tolerance=1e-6)
    assert not equal(write_value({0.5}), write_value({near}), tolerance=1e-6)


def test_no_value_is_slow_to_compare() -> None:
    """Whole numbers that hash alike, long texts that begin alike, numbers of very many digits."""
    modulus = 2**61 - 1
    alike = {"$set": [n * modulus for n in range(1, 3000)]}
    texts = {"$set": [f"{'x' * 200}{n}" for n in range(3000)]}
    digits = [10**4000 + n for n in range(300)]
    for written in (alike, texts, digits, [1e308] * 20_000):
        seconds = []
        for _ in range(3):
            start = time.process_time()
            assert equal(written, written)
            seconds.append(time.process_time() - start)
        # The least, because the collector may take its turn in any one of them.
        assert min(seconds) < 0.5
