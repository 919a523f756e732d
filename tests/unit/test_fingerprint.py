"""The fingerprint of weights: what it covers, and that a broken file has none."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save

from bootstrap.errors import StoreCorrupt
from bootstrap.store.fingerprint import fingerprint_safetensors


def tensors() -> dict[str, np.ndarray]:
    return {
        "head.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "embed.weight": np.arange(6, dtype=np.float16).reshape(2, 3),
        "bias": np.array(1.5, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }


def test_the_fingerprint_is_the_hash_of_names_types_shapes_and_bytes():
    expected = hashlib.sha256()
    for line, array in [
        ('["bias","F32",[]]', tensors()["bias"]),
        ('["embed.weight","F16",[2,3]]', tensors()["embed.weight"]),
        ('["empty","F32",[0,4]]', tensors()["empty"]),
        ('["head.weight","F32",[3,4]]', tensors()["head.weight"]),
    ]:
        expected.update(line.encode() + b"\n" + array.tobytes())
    assert fingerprint_safetensors(save(tensors())) == expected.hexdigest()


def test_the_order_of_saving_and_the_metadata_do_not_matter():
    backwards = dict(reversed(tensors().items()))
    assert fingerprint_safetensors(save(backwards, metadata={"format": "pt"})) == fingerprint_safetensors(
        save(tensors())
    )


def test_names_types_shapes_and_values_all_matter():
    base = tensors()
    variants = [
        {**base, "bias": np.array(-1.5, dtype=np.float32)},
        {**base, "bias": base["bias"].view(np.int32)},
        {**base, "head.weight": base["head.weight"].reshape(4, 3)},
        {("renamed" if name == "bias" else name): value for name, value in base.items()},
        {name: value for name, value in base.items() if name != "empty"},
    ]
    prints = {fingerprint_safetensors(save(variant)) for variant in [base, *variants]}
    assert len(prints) == 1 + len(variants)


def test_a_broken_file_has_no_fingerprint():
    data = save(tensors())
    header = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[%s]}}'
    broken = [b"", data[:4], data[:20], data[:-1], data + b"\0", b"\xff" * 64, (2).to_bytes(8, "little") + b"[]"]
    broken += [framed(header % offsets) + b"xy" for offsets in (b"0,1", b"1,2", b"-1,2", b"2,0", b'"a",2', b"0,1,2")]
    for wrong in broken:
        with pytest.raises(StoreCorrupt, match="safetensors"):
            fingerprint_safetensors(wrong)


def framed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


def test_tensors_that_overlap_have_no_fingerprint():
    entry = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
    with pytest.raises(StoreCorrupt, match="begins at byte 0, not at byte 2"):
        fingerprint_safetensors(framed(json.dumps({"a": entry, "b": entry}).encode()) + b"xy")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"shape": [10**12]}, "needs 4000000000000"),
        ({"shape": [2**62, 2**62]}, "needs"),
        ({"shape": [-1]}, "no whole numbers"),
        ({"shape": [0]}, "needs 0"),
        ({"shape": [1.0]}, "no whole numbers"),
        ({"shape": [True]}, "no whole numbers"),
        ({"shape": [1] * 65}, "at most 64 dimensions"),
        ({"shape": {"0": 1}}, "at most 64 dimensions"),
        ({"dtype": "F31"}, "type 'F31'"),
        ({"dtype": ["F32"]}, "unhashable"),
        ({"data_offsets": [-4, 0]}, "no whole numbers"),
        ({"data_offsets": [4, 0]}, "no whole numbers"),
        ({"data_offsets": [0, 10**30]}, "no whole numbers"),
        ({"data_offsets": [0, 2]}, "needs 4"),
    ],
)
def test_a_tensor_that_claims_another_size_than_its_bytes_is_refused(entry, told):
    header = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **entry}}
    with pytest.raises(StoreCorrupt, match=told):
        fingerprint_safetensors(framed(json.dumps(header).encode()) + bytes(4))


@pytest.mark.parametrize(
    "header", [b"[" * 100_000, b'{"a":' * 50_000, b'{"a": {}, "a": {}}', b'{"a": 1e999}', b"[]", b"3"]
)
def test_a_header_of_another_form_is_refused(header):
    with pytest.raises(StoreCorrupt, match="no valid safetensors file"):
        fingerprint_safetensors(framed(header))
