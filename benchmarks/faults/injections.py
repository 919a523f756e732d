"""Faults inside a driver's process: each function changes what a module does before the command begins.

A count, never a clock, decides when a fault comes, so that it comes at the same place each time.
"""

import errno
import itertools
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bootstrap.pool import STAGE, LocalPool
from bootstrap.scoring.exact import ExactMatch
from bootstrap.scoring.verifier import Answer, Judgement, passed
from bootstrap.store.durable import Files
from bootstrap.training import group

FULL_AT = 150
"""Operations on the disk before it is full: in the middle of generation 1."""


def disk_full() -> None:
    """Let every write fail for want of space, from the middle of generation 1 on."""
    _fail("write", errno.ENOSPC, once=False)


def inodes_used_up() -> None:
    """Let no file be created, from the middle of generation 1 on."""
    _fail("open", errno.ENOSPC, once=False)


def disk_read_only() -> None:
    """Let every change fail, as on a file system that the kernel has made read-only after an error."""
    for operation in ("open", "mkdir", "rename", "link", "unlink"):
        _fail(operation, errno.EROFS, once=False)


def disk_error_once() -> None:
    """Let one sync fail."""
    _fail("fsync", errno.EIO, once=True)


def clock_jumps() -> None:
    """Let the clock of the day jump by up to ten days each way at each look."""
    generator, true = random.Random(0), time.time
    time.time = lambda: true() + generator.uniform(-864_000, 864_000)


def _fail(operation: str, code: int, *, once: bool) -> None:
    true, count = getattr(Files, operation), itertools.count()

    def failing(*arguments: Any, **named: Any) -> Any:
        number = next(count)
        if number == FULL_AT or (number > FULL_AT and not once):
            raise OSError(code, os.strerror(code))
        return true(*arguments, **named)

    keep: Callable[..., Any] = failing if operation == "open" else staticmethod(failing)
    setattr(Files, operation, keep)


WRONG_CALL = 12
"""The call of a worker's method, counted from 1, that gives something else."""


def gradient_bit_flipped() -> None:
    """Flip one bit of one entry's exponent, once, on the way between workers."""
    true, exchanges = group.dealt, itertools.count(1)

    def flipping(sent: Sequence[Sequence[torch.Tensor]]) -> list[Sequence[torch.Tensor]]:
        if sent and sent[0][0].dtype is torch.float32 and next(exchanges) == WRONG_CALL:
            sent = [[piece.clone() for piece in pieces] for pieces in sent]
            sent[0][0][:1].view(torch.int32).bitwise_xor_(1 << 24)
        return true(sent)

    group.dealt = flipping


def gradient_scaled() -> None:
    """Make one gradient a million times too large."""
    _wrong("gradient", _scaled(1e6), lambda call: call == WRONG_CALL)


def gradient_not_finite() -> None:
    """Make one gradient NaN."""
    _wrong("gradient", _scaled(float("nan")), lambda call: call == WRONG_CALL)


def gradients_scaled() -> None:
    """Make every gradient a million times too large from one on."""
    _wrong("gradient", _scaled(1e6), lambda call: call >= WRONG_CALL)


def logprobs_off() -> None:
    """Report the log-probabilities of one round 3 too low."""
    _wrong("generate", _shifted(-3.0), lambda call: call == WRONG_CALL)


def logprobs_not_finite() -> None:
    """Report the log-probabilities of one round as NaN."""
    _wrong("generate", _shifted(float("nan")), lambda call: call == WRONG_CALL)


def rollout_lost() -> None:
    """Lose one rollout of one round."""
    _wrong("generate", lambda rollouts: rollouts[1:], lambda call: call == WRONG_CALL)


def verifier_turns() -> None:
    """Let the verifier pass everything from its thousandth answer on."""
    true, judged = ExactMatch.judge, itertools.count()

    def judge(verifier: ExactMatch, answers: Sequence[Answer]) -> list[Judgement]:
        found = true(verifier, answers)
        return [passed(verifier.name) if next(judged) > 1000 else one for one in found]

    ExactMatch.judge = judge


def weights_change() -> None:
    """Change one weight in the worker when the evaluation of generation 0 begins."""
    true, changed = LocalPool.generate, []

    def generate(pool: LocalPool, requests: Any, sampling: Any, *, by: str | None = None) -> Any:
        if STAGE.get() == "evaluate" and not changed:
            changed.append(True)
            next(iter(pool.workers[0].model.parameters())).data[0, 0] += 1.0
        return true(pool, requests, sampling, by=by)

    LocalPool.generate = generate


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda gradient: replace(gradient, flat=gradient.flat * np.float32(factor))


def _shifted(amount: float) -> Callable[[Any], Any]:
    return lambda rollouts: [replace(one, logprobs=tuple(x + amount for x in one.logprobs)) for one in rollouts]


def _wrong(method: str, change: Callable[[Any], Any], is_wrong: Callable[[int], bool]) -> None:
    true, count = LocalPool.start, itertools.count(1)

    def start(pool: LocalPool, worker: int, called: str, *arguments: Any) -> Any:
        found = true(pool, worker, called, *arguments)
        return change(found) if called == method and is_wrong(next(count)) else found

    LocalPool.start = start
