"""What equals what among written values is what equals what in Python."""

import json

from hypothesis import given
from hypothesis import strategies as st

from bootstrap.python_values import check, equal, write_value
from bootstrap.sandbox.wire import decode_arguments, encode_value

numbers = st.one_of(st.booleans(), st.integers(-3, 3), st.integers(), st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.5]))
scalars = st.one_of(
    st.none(),
    numbers,
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text("ab$é", max_size=3),
    st.binary(max_size=2),
)
keys = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)
values = st.recursive(
    keys,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(keys, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "$tuple", "$set", "$dict", "$float"]), inner, max_size=2),
    ),
    max_leaves=10,
)


@given(values, values)
def test_two_written_values_are_equal_when_the_values_are(one: object, other: object) -> None:
    assert equal(write_value(one), write_value(other)) == (one == other)
    assert equal(write_value(one), write_value(one))


@given(values)
def test_the_sandbox_writes_and_reads_the_same_vocabulary(value: object) -> None:
    written = json.loads(encode_value(value, max_bytes=2**20, max_depth=100, python=True))
    check(written)
    assert equal(write_value(value), written)
    again = decode_arguments(write_value(value))
    assert again == value and type(again) is type(value)
    assert equal(json.loads(encode_value(again, max_bytes=2**20, max_depth=100, python=True)), written)
