"""The ranks that train one model together, and what travels between them.

    every rank   work -> pieces, one for each rank -> exchange -> pieces, one from each rank -> work -> ...

A rank's part of an update is a generator (`Steps`) that yields the pieces it has for every rank and is sent the pieces
that every rank has for it, in rank order. `together` runs all ranks in one process, one after the other; `Group` runs
the rank of this process, and `torch.distributed` carries the pieces from process to process, never through the driver
or an object store. Sums are the receiver's, in rank order, so that a result depends on the number of ranks alone.

What listens has no password: on one machine at loopback alone, across machines at the address of each rank's machine.

Left out: what is exchanged (`learner.py`), and where processes stand (the pool's).
"""

# torch declares its stores in a private module.
# pyright: reportPrivateImportUsage=false

import os
import socket
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _set_pg_timeout

from bootstrap.errors import PeerFailed, WorkerError

T = TypeVar("T")
Steps = Generator[Sequence[Tensor], Sequence[Tensor], T]
"""Yields one tensor (n) for each rank; all tensors of one exchange, on all ranks, have one dtype."""
FAILED = -1
LOOPBACK = "127.0.0.1"
INTERFACE = "GLOO_SOCKET_IFNAME"
"""Variable that names the network interface where gloo listens. Without it gloo resolves this machine's host name, and
finds loopback, any interface or nothing."""
LONGEST = timedelta(hours=24)
"""Bound on one exchange. Who runs the ranks sees sooner that one makes no progress, and ends them all."""


def together(ranks: Sequence[Steps[T]]) -> list[T]:
    """Run all ranks in this process and return their results. Raises what a rank raises."""
    received: list[Sequence[Tensor] | None] = [None] * len(ranks)
    results = list[T]()
    while not results:
        sent = list[Sequence[Tensor]]()
        for steps, pieces in zip(ranks, received, strict=True):
            try:
                sent.append(next(steps) if pieces is None else steps.send(pieces))
            except StopIteration as done:
                results.append(done.value)
        received = [*dealt(sent)]
        assert len(sent) in (0, len(ranks)), "all ranks exchange equally often"
    return results


def dealt(sent: Sequence[Sequence[Tensor]]) -> list[Sequence[Tensor]]:
    """Return for each rank what all ranks have for it."""
    return [list(pieces) for pieces in zip(*sent, strict=True)]


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the ranks find each other: a file on their machine, or a port of the first rank's."""

    folder: str = ""
    host: str = ""
    port: int = 0


class Group:
    """This process's place among the ranks.

    Made in two moves: rank 0 calls `meet`, then all call `join` with what it returned, and wait for each other.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.received = 0
        """Bytes that came from other ranks so far."""
        self._store: dist.Store | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def meet(self, host: str = "") -> Meeting:
        """Open the meeting, as rank 0. `host`: this machine's address for ranks on others; empty where all are here."""
        if not host:
            self._folder = tempfile.TemporaryDirectory(prefix="bootstrap-ranks-")
            return Meeting(folder=self._folder.name)
        # A store that opens its own port listens at all addresses of the machine.
        listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        port = listener.getsockname()[1]
        self._store = dist.TCPStore(
            host, port, self.size, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
        )
        return Meeting(host=host, port=port)

    def join(self, meeting: Meeting, seconds: float, address: str = "") -> None:
        """Meet the other ranks within `seconds`. `address`: this machine's, for a meeting of several machines.

        Raises PeerFailed; WorkerError when this machine does not have the address.
        """
        within = timedelta(seconds=seconds)
        with self.met(meeting, seconds, address) as store, _peers():
            dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.size, timeout=within)
            dist.barrier()
            # Updates may take longer than meeting.
            _set_pg_timeout(LONGEST)

    @contextmanager
    def met(self, meeting: Meeting, seconds: float, address: str) -> Generator[dist.Store]:
        """Yield where the ranks find each other, until they have. Arguments and errors are those of `join`."""
        within = timedelta(seconds=seconds)
        if not meeting.host:
            os.environ[INTERFACE] = interface(LOOPBACK)
        elif INTERFACE not in os.environ:
            os.environ[INTERFACE] = interface(address)
        with _peers():
            if meeting.folder:
                self._store = dist.FileStore(str(Path(meeting.folder) / "ranks"), self.size)
                self._store.set_timeout(within)
            elif self._store is None:
                self._store = dist.TCPStore(meeting.host, meeting.port, self.size, timeout=within)
        yield self._store
        if self._folder is not None:
            self._folder.cleanup()

    def run(self, steps: Steps[T]) -> T:
        """Run this rank's steps to their end. Raises what they raise, and PeerFailed when another rank has failed."""
        if self.size == 1:
            return together([steps])[0]
        received: Sequence[Tensor] | None = None
        while True:
            try:
                pieces = next(steps) if received is None else steps.send(received)
                outgoing, sizes = torch.cat(list(pieces)), [len(piece) for piece in pieces]
            except StopIteration as done:
                self._announce([0] * self.size)
                return done.value
            except BaseException:
                # The others wait for pieces that this rank will never have.
                with suppress(PeerFailed):
                    self._announce([FAILED] * self.size)
                raise
            received = self._exchange(outgoing, sizes)

    def _announce(self, sizes: Sequence[int]) -> list[int]:
        """Tell every rank how much comes for it, and return how much comes from each. Raises PeerFailed."""
        mine = torch.tensor(sizes)
        table = [torch.empty_like(mine) for _ in range(self.size)]
        with _peers():
            dist.all_gather(table, mine)
        failed = [rank for rank, row in enumerate(table) if FAILED in row]
        if failed and FAILED not in sizes:
            raise PeerFailed(f"worker {failed[0]}, which trains with this one, has failed")
        return [int(row[self.rank]) for row in table]

    def _exchange(self, outgoing: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
        """Return what every rank has for this one; `outgoing`: what this one has for each, of these sizes."""
        incoming = self._announce(sizes)
        received = outgoing.new_empty(sum(incoming))
        self.received += (sum(incoming) - incoming[self.rank]) * received.element_size()
        with _peers():
            dist.all_to_all_single(received, outgoing, incoming, list(sizes))
        return received.split(incoming)

    def leave(self) -> None:
        """Leave the others. May be repeated."""
        if dist.is_initialized():
            dist.destroy_process_group()


def interface(address: str) -> str:
    """Return the name of this machine's network interface with an address. Raises WorkerError when it has none."""
    for name, addresses in psutil.net_if_addrs().items():
        # The system writes an IPv6 address of one link with its interface behind.
        if any(one.address.partition("%")[0] == address for one in addresses):
            return name
    raise WorkerError(
        f"no network interface of {socket.gethostname()} has the address {address}, by which Ray knows it; start Ray "
        f"there with --node-ip-address and an address of the machine, or with {INTERFACE} set to the interface that "
        "the other machines reach"
    )


@contextmanager
def _peers() -> Generator[None]:
    """Raise PeerFailed where the other ranks are gone or do not answer."""
    try:
        yield
    except RuntimeError as error:
        told = str(error).strip().splitlines()[0]
        raise PeerFailed(f"a worker that trains with this one is gone or does not answer ({told})") from error
