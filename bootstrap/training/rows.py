"""Which rows of a tensor a process holds: all of a plain tensor, 1/S of a sharded one.

Rows are split as `torch.chunk` does, so the last processes may hold fewer rows or none.
"""

from torch import Tensor
from torch.distributed.tensor import DTensor


def rows_of(rows: int, shards: int) -> list[int]:
    """Return how many of a tensor's rows each process holds."""
    most = -(-rows // shards)
    return [max(min(most, rows - place * most), 0) for place in range(shards)]


def own_range(tensor: Tensor) -> tuple[int, int]:
    """Return the first row that this process holds, and the number of its rows."""
    if not isinstance(tensor, DTensor):
        return 0, len(tensor)
    # The last dimension of the mesh is the one that splits; others repeat.
    mesh = tensor.device_mesh
    counts, place = rows_of(tensor.shape[0], mesh.size(mesh.ndim - 1)), mesh.get_local_rank(mesh.ndim - 1)
    return sum(counts[:place]), counts[place]


def own_rows(tensor: Tensor, *, of: Tensor | None = None) -> Tensor:
    """Return this process's rows of a tensor; `of`: of another one, whole, of the same number of rows."""
    if of is not None:
        return of.narrow(0, *own_range(tensor))
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
