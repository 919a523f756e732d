"""Benchmark of the number of workers, at the demonstration's sizes.

Measurements alternate between the numbers of workers, so that a machine whose speed drifts favours none. Absolute
figures belong to the machine; quote the ratios.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import MuonAdamW
from bootstrap.config.tasks import AdditionTask
from bootstrap.pool import Pool
from bootstrap.prompts.build import build_task
from bootstrap.records import Batch, Example, Normalizers, Request, Sampling
from bootstrap.stages.encoding import Encoder, completion_tokens
from bootstrap.stages.generate import requests

UPDATES = 20
BATCH_SIZE = 192
GROUPS, GROUP_SIZE, LEVEL = 24, 8, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkersRow:
    """Rates of one number of workers, as medians over the rounds."""

    workers: int
    updates_per_second: float
    samples_per_second: float
    bound_train: float
    """Training's share of the matmul rate that the same workers measure."""


def compare_workers(
    make_pool: Callable[[int], Pool], *, counts: Sequence[int], rounds: int, say: Callable[[str], None]
) -> list[WorkersRow]:
    """Return one row per number of workers, all measured in turn `rounds` times.

    Each round gives every pool the same updates (addition up to 4 digits, 192 sequences each) and the same groups to
    sample (24 prompts of 8 digits, 8 samples each).
    """
    task = build_task(AdditionTask())
    settings = ScratchModel()
    updates: dict[int, list[float]] = {count: [] for count in counts}
    samples: dict[int, list[float]] = {count: [] for count in counts}
    bounds: dict[int, list[float]] = {count: [] for count in counts}
    with ExitStack() as stack:
        pools: dict[int, Pool] = {}
        for count in counts:
            say(f"starting {count} worker(s)")
            pools[count] = stack.enter_context(make_pool(count))
            pools[count].build(settings, task.characters, seed=0)
            pools[count].broadcast("begin", MuonAdamW())
        encoder = Encoder(pools[counts[0]].export())
        batches = []
        for number in range(UPDATES):
            shown = task.demonstrate(range(1, 5), BATCH_SIZE, seed=number, mixed=True)
            examples = encoder.encode(
                [Example(source=p.id, prompt_text=p.text, completion_text=a, ce_weight=1.0) for p, a in shown]
            )
            batches.append(Batch(examples=examples, normalizers=Normalizers(ce=completion_tokens(examples))))
        asked = requests(task.draw(LEVEL, GROUPS, seed=0), prefix="bench.u0", samples=GROUP_SIZE, seed=0)
        how = Sampling(temperature=1.0, max_new_tokens=LEVEL + 4)
        for number in range(rounds + 1):
            say("warming up" if number == 0 else f"round {number} of {rounds}")
            for count, pool in pools.items():
                rate, flops = _time_updates(pool, batches)
                sampled = _time_samples(pool, asked, how)
                if number:
                    updates[count].append(rate)
                    samples[count].append(sampled)
                    bounds[count].append(rate * flops / pool.benchmark(1.0)["matmul_flops"])
    return [
        WorkersRow(
            workers=count,
            updates_per_second=statistics.median(updates[count]),
            samples_per_second=statistics.median(samples[count]),
            bound_train=statistics.median(bounds[count]),
        )
        for count in counts
    ]


def _time_updates(pool: Pool, batches: Sequence[Batch]) -> tuple[float, float]:
    """Return updates per second and FLOPs per update."""
    start = time.perf_counter()
    handles = [pool.update(batch, lr_factor=1.0, grad_clip=1.0) for batch in batches]
    metrics = [pool.metrics(handle) for handle in handles]
    return len(batches) / (time.perf_counter() - start), sum(m.flops for m in metrics) / len(metrics)


def _time_samples(pool: Pool, asked: Sequence[Request], how: Sampling) -> float:
    start = time.perf_counter()
    rollouts = pool.generate(asked, how)
    return len(rollouts) / (time.perf_counter() - start)
