"""Ranks in processes of their own exchange pieces; on one machine they listen at loopback alone."""

import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from bootstrap.errors import WorkerError
from bootstrap.training.group import INTERFACE, LOOPBACK, Group, Meeting, Steps, interface

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def sums(rank: int) -> Steps[Tensor]:
    """Return the sum of what both ranks have for this one: two numbers `rank` for each."""
    received = yield [torch.full((2,), float(rank))] * 2
    return torch.stack(list(received)).sum(0)


def meet_twice(rank: int, other: Connection) -> None:
    """Be one of two ranks that meet by a file, then at an address; what they get, and where each listens, is told."""
    torch.set_num_threads(1)
    before = listening()
    # No interface has the name: where all ranks are on one machine it does not count.
    os.environ[INTERFACE] = "elsewhere"
    for host in ("", LOOPBACK):
        group = Group(rank, 2)
        if rank == 0:
            other.send(group.meet(host))
        meeting = other.recv()
        assert isinstance(meeting, Meeting)
        group.join(meeting, 60, host)
        other.send((group.run(sums(rank)).tolist(), listening() - before))
        other.recv()
        group.leave()
        del os.environ[INTERFACE]


def test_two_processes_exchange_pieces_and_listen_at_loopback_alone() -> None:
    # Torch's threads do not outlive a fork.
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(2)]
    processes = [spawn.Process(target=meet_twice, args=(rank, pipe[1])) for rank, pipe in enumerate(pipes)]
    for process in processes:
        process.start()
    ends: list[Any] = [pipe[0] for pipe in pipes]
    try:
        for _ in range(2):
            meeting = told(ends[0])
            for end in ends:
                end.send(meeting)
            found = [told(end) for end in ends]
            assert [total for total, _ in found] == [[1.0, 1.0]] * 2
            assert all(ports for _, ports in found), "gloo listens"
            assert {ip for _, ports in found for ip, _ in ports} == {LOOPBACK}
            for end in ends:
                end.send("leave")
    finally:
        for process in processes:
            process.join(60)
            process.kill()


def told(end: Connection) -> Any:
    assert end.poll(600), "a rank says nothing"
    return end.recv()


def listening() -> set[tuple[str, int]]:
    """Return where this process listens: addresses and ports."""
    found = psutil.Process().net_connections("inet")
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


def test_an_address_that_no_interface_has_is_named_with_the_remedy() -> None:
    with pytest.raises(WorkerError, match=r"has the address 198\.18\.0\.9, by which Ray .* --node-ip-address"):
        interface("198.18.0.9")
