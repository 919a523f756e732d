"""Learners that hold one model together, as Ray actors."""

from pathlib import Path
from typing import Any

from bootstrap.cluster.calls import WorkerCall
from bootstrap.cluster.pool import RayPool
from bootstrap.sharded_pool import ShardedPool


class ShardedRayPool(ShardedPool, RayPool):
    """`RayPool` of learners that share one model.

    `shard`: learners that hold one copy together, a divisor of `size`; `scratch`: as of `ShardedPool`; the others as of
    `RayPool`.
    """

    def __init__(self, size: int, *, shard: int, scratch: Path, **settings: Any) -> None:
        self.shard, self.scratch = shard, scratch.absolute()
        super().__init__(size, **settings)

    def _is_together(self, call: WorkerCall) -> bool:
        # Even reading and writing weights is work of all.
        return True
