"""Processes that train one model together over gloo, for tests.

They fork from a server that has imported torch once, so a rank costs a fraction of a second.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
SECONDS = 60.0
"""Longest wait of ranks for each other, and of the test for them beyond that."""
Work = Callable[..., Any]


def together(size: int, work: Work, folder: Path, *arguments: Any, shard: int | None = None) -> list[Any]:
    """Return `work(ranks, *arguments)` of each rank; an exception that ends a rank stands in place of its result."""
    CONTEXT.set_forkserver_preload(["bootstrap.training.sharded_learner"])
    folder.mkdir(parents=True, exist_ok=True)
    pipes, processes = [], []
    for rank in range(size):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_rank, args=(theirs, work, folder, arguments, rank, size, shard or size))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        return [_answer(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.join(1.0)
            process.kill()
            process.join()


def _answer(pipe: Connection) -> Any:
    assert pipe.poll(2 * SECONDS), "a rank answers nothing"
    try:
        return pipe.recv()
    except EOFError:
        return None


def _rank(
    pipe: Connection, work: Work, folder: Path, arguments: tuple[Any, ...], rank: int, size: int, shard: int
) -> None:
    # Imported here: the test's own process may never need torch's process groups.
    import torch
    import torch.distributed as dist

    from bootstrap.training.ranks import join

    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(str(folder / "meeting"), size)
    try:
        ranks = join(store, rank=rank, size=size, shard=shard, device=torch.device("cpu"), seconds=SECONDS)
        pipe.send(work(ranks, *arguments))
    # Whatever a rank raises is the test's to judge, in the process that started it.
    except Exception as error:
        error.add_note(traceback.format_exc())
        pipe.send(error)
