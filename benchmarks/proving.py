"""What hashing a model's weights takes: as they lie in memory, as every proof before a commit does it, and as a file.

    python benchmarks/proving.py               # 135 million parameters, random
    python benchmarks/proving.py --shape 0.5b

Both ways give the same fingerprint. They take turns, so that a machine whose speed drifts favours neither; the table
has the median seconds of each, bytes a second, and how many times longer the file takes. Left out: what a GPU's memory
adds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from memory import SHAPES, config_of
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from bootstrap.store.fingerprint import fingerprint_safetensors
from bootstrap.training import model as models

WAYS: dict[str, Callable[[PreTrainedModel], str]] = {
    "in memory": models.fingerprint,
    "as a file": lambda model: fingerprint_safetensors(models.weights_bytes(model)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = AutoConfig.for_model(**cast("dict[str, Any]", config_of(given.shape)))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    size = sum(parameter.nbytes for parameter in model.parameters())
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    found = set[str]()
    for _ in range(given.rounds):
        for way, fingerprint in WAYS.items():
            began = time.perf_counter()
            found.add(fingerprint(model))
            seconds[way].append(time.perf_counter() - began)
    assert len(found) == 1, f"the ways give different fingerprints: {found}"
    medians = {way: statistics.median(taken) for way, taken in seconds.items()}
    print(f"{size / 1e9:.2f} GB of weights, {given.rounds} rounds")
    for way, median in medians.items():
        print(f"{way:10} {median:7.2f} s {size / median / 1e9:6.2f} GB/s")
    print(f"the file takes {medians['as a file'] / medians['in memory']:.1f} times as long")


if __name__ == "__main__":
    main()
