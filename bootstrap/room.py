"""A worker's bounds of memory: how much it may take at once, what happens when that was too much, and its progress.

    worker --- model, limits ---> WorkerBounds <--- ModelRoom <--- engine, learner    before each pass: does it fit?
                                    |
    pool <--- shortages, beats -----+

The bounds depend on the limits and on the models held, never on what happens to be free at the moment, so that equal
runs split their work alike. The first time that memory runs out, the limit becomes half of what was tried, for good:
sequences are counted with their length, so that a few long ones do not bound many short ones.

Left out: how much a pass takes (`memory.py`), who tells the other workers (`pool.py`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from safetensors import SafetensorError

from bootstrap.config.training import Training
from bootstrap.errors import WorkerError
from bootstrap.memory import ALLOCATION_ERRORS, MOMENTS, Kind, MemoryLimits, Room, Shortage, Work, sizes_of
from bootstrap.training.shortage import give_back, is_of_memory

REMEDIES = (
    "lower resources.workers, set training.gradient_checkpointing: true or training.adapter, or use a machine with "
    "more memory"
)
AGAIN = "run the same command again: it goes on from the last checkpoint"


class WorkerBounds:
    """A worker's limits, its shortages that are not told yet, and a count that grows while it works."""

    def __init__(self) -> None:
        self.limits = MemoryLimits()
        self.shortages: list[Shortage] = []
        self.beats = 0
        self.answered = 0
        """Answers finished in the call that samples, or sampled last."""
        self.state = 0
        """Bytes of the weights in training and of their optimizer's state."""
        self.held = 0
        """Bytes of other models held: teachers, frozen samplers, and bases of adapters not in use."""
        self.has_teachers = False
        self.largest: dict[Kind, Shortage] = {}
        """The largest pass of each kind, for whoever finds this process killed."""
        self.on_larger: Callable[[], None] = lambda: None

    def begin(self, tried: Shortage) -> None:
        """Take note that a pass begins."""
        self.beats += 1
        if tried.kind not in self.largest or tried.size > self.largest[tried.kind].size:
            self.largest[tried.kind] = tried
            self.on_larger()

    def halve(self, shortage: Shortage, error: Exception, *, single: bool) -> None:
        """Lower a limit after a shortage. Raises WorkerError where that was done before or cannot be done.

        Raises the error itself when it is not of memory. `single`: a single sequence was tried, which has no half.
        """
        if not is_of_memory(error):
            raise error
        halved = shortage.kind in self.limits.halved
        if single or halved:
            raise WorkerError(_too_little(shortage, single=single)) from error
        self.limits = self.limits.halve(shortage)
        self.shortages.append(shortage)


class ModelRoom(Room):
    """The bounds for one model; `work` None has no automatic limits."""

    def __init__(self, bounds: WorkerBounds, work: Work | None) -> None:
        self._bounds, self._work = bounds, work
        self._tried: Shortage | None = None
        self._sequences = 0

    @property
    def state(self) -> int:
        """Bytes that the model takes between calls, in training; 0 where its sizes have other names."""
        return 0 if self._work is None else self._work.state

    @property
    def _room(self) -> int | None:
        """Bytes that are left for a pass; None without a bound."""
        memory = self._bounds.limits.memory
        if memory is None or self._work is None:
            return None
        return memory - self._bounds.state - self._bounds.held

    def fits(self, *, rows: int, prompts: int, prompt_length: int, new_tokens: int) -> bool:
        if not self._bounds.limits.admits(rows, length=prompt_length + new_tokens):
            return False
        room = self._room
        if room is None or self._work is None or self._bounds.limits.rollout_rows is not None:
            return True
        needed = self._work.sampling(rows=rows, prompts=prompts, prompt_length=prompt_length, new_tokens=new_tokens)
        return needed <= room

    def tokens(self) -> int | None:
        most = self._bounds.limits.most("train_tokens")
        room = self._room
        if room is None or self._work is None or self._bounds.limits.train_tokens is not None:
            return most
        found = self._work.tokens_within(room, taught=self._bounds.has_teachers)
        return found if most is None else min(found, most)

    def beat(self, answered: int = 0) -> None:
        self._bounds.beats += 1
        self._bounds.answered = answered

    def decoding(self, rows: int, *, length: int) -> None:
        self._begin(Shortage("rollout_rows", rows, length), sequences=rows)

    def passing(self, tokens: int, *, sequences: int) -> None:
        self._begin(Shortage("train_tokens", tokens), sequences=sequences)

    def _begin(self, tried: Shortage, *, sequences: int) -> None:
        self._tried, self._sequences = tried, sequences
        self._bounds.begin(tried)

    def ran_out(self, error: Exception) -> None:
        if self._tried is None:
            raise error
        self._bounds.halve(self._tried, error, single=self._sequences <= 1)

    def clear(self) -> None:
        give_back()


def work_of(model: Any, training: Training, *, device: Literal["cpu", "cuda"], shard: int = 1) -> Work | None:
    """Return what a worker does with a model, of which it holds 1/`shard`; None where sizes have other names."""
    sizes = sizes_of(model.config.to_dict())
    if sizes is None:
        return None
    return Work(
        sizes=sizes,
        device=device,
        bf16=training.precision == "bf16",
        adapter_rank=training.adapter.rank if training.adapter is not None else None,
        recomputes=training.gradient_checkpointing,
        moments=MOMENTS,
        shard=shard,
    )


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Raise WorkerError with a remedy where memory for `what` runs out in the block; nothing in it has a half."""
    try:
        yield
    except (*ALLOCATION_ERRORS, SafetensorError) as error:
        if not is_of_memory(error):
            raise
        raise WorkerError(
            f"a worker's memory does not suffice for {what}; train an adapter (training.adapter), lower "
            f"resources.workers, or use a machine with more memory; then {AGAIN}"
        ) from error


def _too_little(shortage: Shortage, *, single: bool) -> str:
    used = shortage.used
    what, remedies = {
        "rollout_rows": (f"decode {used} sequence(s) together", "resources.rollout_rows, or the task's answers"),
        "train_tokens": (f"train {used} token(s) in one pass", "resources.train_tokens"),
    }[shortage.kind]
    if single:
        what = {
            "rollout_rows": f"decode a single sequence of up to {shortage.length} tokens",
            "train_tokens": f"train a single sequence of {used} token(s)",
        }[shortage.kind]
        remedies = "the lengths of the task's prompts and answers"
    again = "" if single else ", the limit having been halved once"
    return f"a worker's memory does not suffice to {what}{again}; lower {remedies}, {REMEDIES}; then {AGAIN}"
