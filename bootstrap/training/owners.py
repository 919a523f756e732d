"""Whole tensors on one owner each: shards travel to the owner alone, and its result travels back.

Tensors of one call have one type.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from bootstrap.training.ranks import Ranks
from bootstrap.training.rows import own_rows, rows_of


@dataclass(frozen=True, kw_only=True)
class Owned:
    """Sharded tensors of some shapes, and the place in the copy of each one's owner."""

    ranks: Ranks
    shapes: Sequence[torch.Size]
    owners: Sequence[int]

    def collect(self, shards: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the whole tensors that this rank owns, by their index among `shards`, this rank's rows of each."""
        places = range(self.ranks.num_shards)
        sent = [shards[index].reshape(-1) for owner in places for index in self._of(owner)]
        outgoing = [sum(shards[index].numel() for index in self._of(owner)) for owner in places]
        mine = self._of(self.ranks.place)
        incoming = [sum(self._size(index, place) for index in mine) for place in places]
        received = self._exchange(sent, outgoing, incoming)
        pieces: dict[int, list[Tensor]] = {index: [] for index in mine}
        for place, part in zip(places, received.split(incoming), strict=True):
            for index, piece in zip(mine, part.split([self._size(index, place) for index in mine]), strict=True):
                pieces[index].append(piece)
        return {index: torch.cat(found).view(self.shapes[index]) for index, found in pieces.items()}

    def spread(self, wholes: dict[int, Tensor], *, like: Tensor) -> list[Tensor]:
        """Return this rank's rows of every tensor, from the whole ones of each owner; `like`: of their type."""
        places = range(self.ranks.num_shards)
        mine = self._of(self.ranks.place)
        rows = {index: wholes[index].split(self._rows(index)) for index in mine}
        sent = [rows[index][place].reshape(-1) for place in places for index in mine]
        outgoing = [sum(self._size(index, place) for index in mine) for place in places]
        here = self.ranks.place
        incoming = [sum(self._size(index, here) for index in self._of(owner)) for owner in places]
        received = self._exchange(sent or [like.new_empty(0)], outgoing, incoming)
        order = [index for owner in places for index in self._of(owner)]
        found = dict(zip(order, received.split([self._size(index, here) for index in order]), strict=True))
        return [found[index].view(self._rows(index)[here], *shape[1:]) for index, shape in enumerate(self.shapes)]

    def _exchange(self, sent: list[Tensor], outgoing: list[int], incoming: list[int]) -> Tensor:
        flat = torch.cat(sent)
        received = flat.new_empty(sum(incoming))
        dist.all_to_all_single(received, flat, incoming, outgoing, group=self.ranks.shards)
        return received

    def _of(self, owner: int) -> list[int]:
        return [index for index, one in enumerate(self.owners) if one == owner]

    def _rows(self, index: int) -> list[int]:
        """Return the number of rows of a tensor at each place."""
        return rows_of(self.shapes[index][0], self.ranks.num_shards)

    def _size(self, index: int, place: int) -> int:
        """Return the number of entries of a tensor at a place."""
        return self._rows(index)[place] * math.prod(self.shapes[index][1:])


def wholes(named: Sequence[tuple[str, Tensor]], ranks: Ranks, *, owners: Sequence[int]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that this rank owns, whole and on the CPU.

    Neighbours of different owners travel together, so that all owners are busy and none holds more than one of them.
    """
    together: list[tuple[str, Tensor, int]] = []
    for (name, tensor), owner in zip(named, owners, strict=True):
        if together and (tensor.dtype != together[0][1].dtype or owner in {other for _, _, other in together}):
            yield from _arrived(together, ranks)
            together = []
        together.append((name, tensor.detach(), owner))
    yield from _arrived(together, ranks)


def _arrived(together: Sequence[tuple[str, Tensor, int]], ranks: Ranks) -> Iterator[tuple[str, Tensor]]:
    """Yield this rank's one of some tensors, if any."""
    spread = [one for one in together if isinstance(one[1], DTensor)]
    found = [(name, tensor) for name, tensor, owner in together if owner == ranks.place]
    if spread:
        owned = Owned(ranks=ranks, shapes=[t.shape for _, t, _ in spread], owners=[owner for *_, owner in spread])
        mine = owned.collect([own_rows(tensor) for _, tensor, _ in spread])
        found = [(name, t) for name, t in found if not isinstance(t, DTensor)]
        found += [(spread[index][0], whole) for index, whole in mine.items()]
    for name, tensor in found:
        yield name, tensor.cpu()
