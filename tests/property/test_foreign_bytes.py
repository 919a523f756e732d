"""Readers of foreign bytes, given sound ones with changes: each ends in a result or in an error told in words.

The same readers under atheris: tests/fuzz.
"""

import hypothesis
import pytest
from hypothesis import strategies as st
from support.fuzz_readers import READERS, tried

PIECES = [b"[" * 2000, b"9" * 5000, b"\xff" * 8, bytes(8), b"-1", b"1e999", b"NaN", b'"../../x"', b"null", b"\x7f" * 4]


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Sound bytes with a few parts cut out, doubled, or replaced by what readers stumble over."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.sampled_from([0, 1, 2, 8, 100])))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(2 * data[begin:end]))
        data = data[:begin] + piece + data[end:]
    return data


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.torch) if READERS[name].needs_torch else name for name in READERS]
)
def test_changed_bytes_are_read_or_refused_in_words(name: str) -> None:
    seeds = list(READERS[name].seeds())

    @hypothesis.settings(max_examples=40, derandomize=True, database=None, deadline=None)
    @hypothesis.given(changed(seeds))
    def check(data: bytes) -> None:
        tried(name, data)

    for data in seeds:
        tried(name, data)
    check()
