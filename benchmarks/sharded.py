"""One update of a model that several processes hold together (`bootstrap/training/sharded.py`), of random weights.

    python benchmarks/sharded.py                        # 1.7 billion parameters, LoRA in bf16, two ranks
    python benchmarks/sharded.py --shape 135m --whole   # all weights in float32, AdamW
    python benchmarks/sharded.py --shape 135m --whole --optimizer muon --ranks 4

Each rank reads its rows from the folder's file, takes two steps, and hashes the weights together with the others.
Columns: parameters held, of them trained; GiB held for weights, gradients and the optimizer's state; peak resident
GiB; seconds of loading and of the second step; MiB that the rank gives to others in that
step (payload: what a transport makes of it is not counted).

Left out: several machines, sampling.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from memory import GIB, SHAPES, make

MIB = 2**20
SECONDS = 900.0
"""Longest wait of a rank for the others: they share the machine's cores."""


def work(settings: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take two steps as one of the ranks and return its figures."""
    import torch
    import torch.distributed as dist

    from bootstrap import machine
    from bootstrap.config.optimizers import AdamW, MuonAdamW
    from bootstrap.config.training import LoraAdapter
    from bootstrap.reading import named_folder
    from bootstrap.records import Batch, Example, Normalizers
    from bootstrap.training.model import model_shape
    from bootstrap.training.precision import compute
    from bootstrap.training.ranks import join
    from bootstrap.training.rows import own_rows
    from bootstrap.training.sharded_learner import ShardedLearner
    from bootstrap.training.sharded_load import load, load_adapted

    torch.set_num_threads(1)
    # As a worker with a large model: the allocator would keep what was gathered.
    machine.give_back_blocks(2**18)
    device = torch.device("cuda", settings.rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = dist.FileStore(str(folder / "meeting"), settings.ranks)
    ranks = join(store, rank=settings.rank, size=settings.ranks, shard=settings.ranks, device=device, seconds=SECONDS)
    started = time.perf_counter()
    opened = named_folder(folder / "model")
    files = {name: opened.file(name) for name in opened.names()}
    bf16 = settings.precision == "bf16"
    if settings.whole:
        held = load(files, ranks, bf16=bf16)
    else:
        held = load_adapted(files, ranks, fingerprint="random", adapter=LoraAdapter(), bf16=bf16)
    loaded = time.perf_counter() - started
    learner = ShardedLearner(
        held,
        MuonAdamW() if settings.optimizer == "muon" else AdamW(),
        ranks=ranks,
        shape=model_shape(held.model),
        max_rows=8,
        teachers={},
        compute=lambda: compute(device, settings.precision),
        recompute=True,
    )
    generator = torch.Generator().manual_seed(settings.rank)
    drawn = torch.randint(0, 16, (settings.rows, settings.tokens), generator=generator)
    examples = [
        Example(source=f"e{row}", tokens=tuple(tokens), num_prompt_tokens=settings.tokens // 2, ce_weight=1.0)
        for row, tokens in enumerate(drawn.tolist())
    ]
    normalizers = Normalizers(ce=float(settings.ranks * settings.rows * (settings.tokens - settings.tokens // 2)))
    batch = Batch(examples=examples, normalizers=normalizers)
    learner.step(batch, lr_factor=1.0, grad_clip=1.0)
    with sent_bytes() as sent:
        started = time.perf_counter()
        metrics = learner.step(batch, lr_factor=1.0, grad_clip=1.0)
        seconds = time.perf_counter() - started
    parameters = list(held.model.parameters())
    states = [
        value
        for one in learner.trainables.optimizers.values()
        for state in one.state.values()
        for value in state.values()
    ]
    figures = {
        "held": sum(own_rows(p).numel() for p in parameters),
        "trained": sum(own_rows(p).numel() for p in learner.trainables.policy),
        "whole": sum(p.numel() for p in parameters),
        "bytes": sum(own_rows(p).nbytes for p in parameters)
        + sum(own_rows(p).nbytes for p in learner.trainables.policy)
        + sum(own_rows(value).nbytes for value in states),
        "loading": loaded,
        "step": seconds,
        "sent": dict(sent),
        "loss": metrics.loss,
        "peak": torch.cuda.max_memory_allocated()
        if device.type == "cuda"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    figures["fingerprint"] = learner.fingerprint()
    learner.close()
    return figures


def sent_bytes() -> Any:
    """Return a context that counts bytes given to other ranks, by kind of exchange."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counted(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.found: Counter[str] = Counter()

        def __enter__(self) -> Counter[str]:  # type: ignore[override]
            super().__enter__()
            return self.found

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = str(func)
            if name.startswith("c10d."):
                self.count(name, args)
            return func(*args, **(kwargs or {}))

        def count(self, name: str, args: Any) -> None:
            # A ring of N ranks passes each rank's part on N - 1 times, whichever way.
            if "_allgather_base_" in name:
                self.found["weights gathered"] += args[0].nbytes - args[1].nbytes
            elif "_reduce_scatter_base_" in name:
                self.found["gradients added"] += args[1].nbytes - args[0].nbytes
            elif "alltoall_base_" in name:
                self.found["matrices to owners"] += args[1].nbytes
            else:
                self.found["other"] += 1

    return Counted()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="1.7b")
    parser.add_argument("--whole", action="store_true", help="train all weights instead of an adapter")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2, help="sequences of each rank")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of each sequence")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.folder is not None and settings.rank is None:
        (Path(settings.folder) / "model").mkdir()
        make(settings.shape, Path(settings.folder) / "model")
        return
    if settings.folder is not None:
        print(json.dumps(work(settings, Path(settings.folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        subprocess.run(command, check=True, env=environment)
        started = [
            subprocess.Popen([*command, "--rank", str(rank)], stdout=subprocess.PIPE, env=environment)
            for rank in range(settings.ranks)
        ]
        printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a rank has failed; its error stands above")
    found = [json.loads(text.splitlines()[-1]) for text in printed]
    kind = f"all weights, {settings.optimizer}" if settings.whole else "LoRA"
    size = f"{found[0]['whole']:,} parameters"
    print(f"{settings.shape}, {kind}, {settings.precision}, {settings.ranks} ranks: {size}")
    columns = {"held": 16, "trained": 14, "held GiB": 10, "peak GiB": 10, "loading s": 11, "step s": 8, "sent MiB": 10}
    print("rank" + "".join(f"{name:>{width}}" for name, width in columns.items()))
    for rank, one in enumerate(found):
        sent = sum(number for name, number in one["sent"].items() if name != "other")
        print(
            f"{rank:<4}{one['held']:>16,}{one['trained']:>14,}{one['bytes'] / GIB:>10.2f}{one['peak'] / GIB:>10.2f}"
            f"{one['loading']:>11.1f}{one['step']:>8.1f}{sent / MIB:>10.0f}"
        )
    parts = {name: number / MIB for name, number in found[0]["sent"].items() if name != "other"}
    print("sent by rank 0, MiB: " + ", ".join(f"{name} {number:.0f}" for name, number in parts.items()))
    same = len({one["fingerprint"] for one in found}) == 1
    print(f"loss {found[0]['loss']:.4f}, fingerprint of version 2 {'the same' if same else 'DIFFERENT'} on each rank")


if __name__ == "__main__":
    main()
