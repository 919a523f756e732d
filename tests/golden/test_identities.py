"""What is stored under a hash is found again: fixed inputs give the ids and digests that stores already hold."""

import json
import struct

from bootstrap.ledger_records import ArtifactRef, Edge
from bootstrap.selection.replay import PoolEntry, ReplayPool
from bootstrap.selection.retirement import PassRates
from bootstrap.store.artifacts import stage_id
from bootstrap.store.fingerprint import ADAPTER_BASE, ADAPTER_CONFIG, ADAPTER_WEIGHTS, MODEL_WEIGHTS, fingerprint_model
from bootstrap.store.ledger import _hash

INPUTS = {"generation": 3, "seed": 7, "lr": 0.1, "text": "é\ud800", "levels": {10: None, 9: [True, 1e-9]}}
TENSORS = {"b.weight": ([2, 1], [1.0, -0.5]), "a": ([1], [3.0])}


def weights() -> bytes:
    """Return a safetensors file of float32 tensors."""
    header, body = {}, b""
    for name, (shape, values) in TENSORS.items():
        data = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_the_id_of_a_stage_output() -> None:
    assert stage_id("step", INPUTS) == "d2f5d2ee623473cd29c52824dbef5e2ac0c7e0e3c0632dad734928c2cf1f93d1"


def test_the_hash_of_a_ledger_record() -> None:
    edge = Edge(role="init", generation=2, fingerprint="ab" * 32)
    ref = ArtifactRef(id="12" * 32, digest="34" * 32, path="artifacts/step-1234")
    payload = {"edges": [edge.model_dump(mode="json")], "artifacts": {"step-0": ref.model_dump(mode="json")}}
    assert _hash(payload, "0" * 64) == "eff55075dae47555a41d7d6650b21dc08bb121e11727b60208c2d778d6794e10"


def test_the_hash_of_a_ledger_record_of_schema_3_is_that_of_its_own_names() -> None:
    edge = {"external": None, "fingerprint": "ab" * 32, "generation": 2, "record": None, "role": "init", "spent": None}
    ref = {"id": "12" * 32, "digest": "34" * 32, "path": "artifacts/step-1234"}
    payload = {"edges": [edge], "artifacts": {"step-0": ref}}
    assert _hash(payload, "0" * 64) == "099523098750722ee0b7d85a54c6307f2ea3a3ad18f35fa0cf3314edbbb4f660"


def test_the_digest_of_a_replay_pool() -> None:
    first = PoolEntry(
        rollout_id="g1.s0.u3.p2.k1", generation=1, level=4, prompt_text="ü+1=", completion_text="2", task="sum"
    )
    second = PoolEntry(
        rollout_id="g0.tiny.g1.s0.u0.p0.k0", generation=-1, level=5, prompt_text="", completion_text="\n", task=""
    )
    assert ReplayPool([first, second]).digest() == "25233058c0b23f516e34bded8dd332f171304f314e5243f85773972c0bf7fd68"
    assert ReplayPool().digest() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_pass_rates() -> None:
    assert (
        PassRates(counts={"b" * 16: (3, 4), "a" * 16: (0, 2)}).digest()
        == "6f25e69f7c960bf7761f9b5a9e9485c18f710920fc513d6a874dcd853ac5d67a"
    )


def test_the_fingerprint_of_weights_and_of_an_adapter_on_them() -> None:
    whole = fingerprint_model({MODEL_WEIGHTS: weights()})
    assert whole == "fe538c298bc5de9da1ce6560cf99315402aac63e9b1a17213e6a4c7f71c804b8"
    adapter = {
        ADAPTER_WEIGHTS: weights(),
        ADAPTER_CONFIG: b'{"r": 8}',
        ADAPTER_BASE: json.dumps({"fingerprint": whole}).encode(),
    }
    assert fingerprint_model(adapter) == "57b88646067a8654dfffbf066f97038e78185e4319d91e1337d23ad952039cda"
