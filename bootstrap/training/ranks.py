"""The processes that train one model together: who they are, how they agree, and what a lost one does to the others.

Ranks 0 to S - 1 hold one copy of the model, each 1/S of it (S: `shard`); so do the next S, and so on. Every rank makes
the same calls in the same order. Left out: who starts the processes and hands out their numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store
from torch.distributed.device_mesh import DeviceMesh

from bootstrap.errors import PeerFailed, RecipeError, WorkerError

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
_LOST = ("gloo", "NCCL", "Connection closed by peer", "Timed out waiting")
"""Words of the errors of a collective that is no `DistError`."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """A process's place among those that train a model together."""

    rank: int
    size: int
    device: torch.device
    seconds: float
    """Longest wait for the others in one exchange."""
    mesh: DeviceMesh
    """(replica, shard); without replicas (shard)."""

    @property
    def shards(self) -> dist.ProcessGroup:
        """The ranks that hold one copy of the model together."""
        return self.mesh.get_group("shard")

    @property
    def num_shards(self) -> int:
        return self.mesh["shard"].size()

    @property
    def place(self) -> int:
        """This rank's number among those of its copy."""
        return self.mesh.get_local_rank("shard")

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Do something that every rank does. Raises PeerFailed where another rank does not, or not in time."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, WorkerError) or not _is_lost(error):
                raise
            raise PeerFailed(
                f"rank {self.rank} of {self.size} waited for the others at {what}, and one of them is gone or took "
                f"longer than {self.seconds:g} s (resources.wait_seconds): {error}"
            ) from error

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """Return every rank's values, in the order of ranks; all give equally many."""
        mine = torch.tensor(values, dtype=torch.float64, device=self.device)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(found, mine)
        return [one.tolist() for one in found]

    def greatest(self, values: Tensor) -> Tensor:
        """Return the elementwise greatest of all ranks' whole numbers."""
        found = values.to(self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.cpu()

    def leave(self) -> None:
        """End this process's part."""
        dist.destroy_process_group()


def join(
    store: Store,
    *,
    rank: int,
    size: int,
    shard: int,
    device: torch.device,
    seconds: float,
) -> Ranks:
    """Meet the other ranks at a store and return this one's place; every process joins once.

    `shard`: ranks that hold one copy; `seconds`: longest wait of any exchange. Raises RecipeError for a `shard` that
    does not divide the ranks, WorkerError if some do not come.
    """
    require_divisor(shard, size)
    wait = timedelta(seconds=seconds)
    try:
        dist.init_process_group(BACKENDS[device.type], store=store, rank=rank, world_size=size, timeout=wait)
        mesh = _mesh(size, shard, device.type, wait)
        # NCCL asks the store again for each group's first exchange; afterwards nobody does, and it may go.
        for group in (*mesh.get_all_groups(), None):
            dist.barrier(group=group)
    except RuntimeError as error:
        raise WorkerError(f"rank {rank} of {size} did not find the others in {seconds:g} s: {error}") from error
    return Ranks(rank=rank, size=size, device=device, seconds=seconds, mesh=mesh)


def require_divisor(shard: int, size: int) -> None:
    """Raise RecipeError where so many ranks make no whole number of copies."""
    if size % shard:
        raise RecipeError(f"resources.shard is {shard}, which does not divide {size} workers; use a divisor")


def _mesh(size: int, shard: int, kind: str, wait: timedelta) -> DeviceMesh:
    """Return the mesh of all ranks; groups that torch makes for one would wait half an hour."""
    numbers = torch.arange(size).view(-1, shard)
    copies, replicas = (_own_group(groups, wait) for groups in (numbers.tolist(), numbers.T.tolist()))
    if size == shard:
        return DeviceMesh.from_group(copies, kind, mesh_dim_names=("shard",))
    return DeviceMesh.from_group([replicas, copies], kind, mesh=numbers, mesh_dim_names=("replica", "shard"))


def _own_group(groups: Sequence[Sequence[int]], wait: timedelta) -> dist.ProcessGroup:
    """Make all groups, as every rank must, and return the one that this rank is in."""
    made = [(ranks, dist.new_group(list(ranks), timeout=wait)) for ranks in groups]
    (mine,) = (group for ranks, group in made if dist.get_rank() in ranks)
    assert isinstance(mine, dist.ProcessGroup), "this rank is in the group"
    return mine


def _is_lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST)
