"""The one JSON text of a value, and the hashes made of it."""

import hashlib

import pytest

from bootstrap.canonical import canonical_json, digest_of, json_file, sha256, sha256_of


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == canonical_json({"a": "é", "b": (1, 2.5)})
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == b'{"a":"\\u00e9","b":[1,2.5]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_canonical_json_refuses_numbers_that_json_does_not_know(value: object):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_a_file_for_people_has_sorted_keys_and_spaces():
    assert json_file({"b": [1, 2.5], "a": "é"}) == b'{"a": "\\u00e9", "b": [1, 2.5]}'
    assert json_file({"b": 1, "a": {}}, indent=2) == b'{\n  "a": {},\n  "b": 1\n}'


def test_hashes_are_those_of_the_bytes_however_they_are_cut():
    expected = hashlib.sha256(b'{"a":1}').hexdigest()
    assert digest_of({"a": 1}) == sha256(b'{"a":1}') == expected
    assert sha256_of(part for part in (b'{"a"', memoryview(b":1}"))) == expected
