"""A worker's bounds of memory: how much it may take at once, what happens when that was too much, and its progress.

    worker --- model, limits ---> Bounds <--- ModelRoom <--- engine, learner    before each pass: does it fit?
                                    |
    pool <--- shortages, beats -----+

The bounds depend on the limits and on the models held, never on what happens to be free at the moment, so that equal
runs split their work alike. The first time that memory runs out, the limit becomes half of what was tried, for good.

Left out: how much a pass takes (`memory.py`), who tells the other workers (`pool.py`).
"""

from typing import Any, Literal

from bootstrap.config.training import Training
from bootstrap.errors import WorkerError
from bootstrap.memory import Kind, Limits, Room, Shortage, Work, sizes_of
from bootstrap.training.shortage import is_of_memory

MOMENTS = 2
"""Those of AdamW, the most of any optimizer: room for it is left while sampling too, so that both split alike."""


class Bounds:
    """A worker's limits, its shortages that are not told yet, and a count that grows while it works."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.shortages: list[Shortage] = []
        self.beats = 0
        self.answered = 0
        """Answers finished in the call that samples, or sampled last."""
        self.state = 0
        """Bytes of the weights in training and of their optimizer's state."""
        self.teacher_bytes = 0
        """Bytes of the teachers held."""

    def halve(self, kind: Kind, used: int, error: Exception) -> None:
        """Lower a limit to half of what was used. Raises WorkerError where that was done before or cannot be done.

        Raises the error itself when it is not of memory.
        """
        if not is_of_memory(error):
            raise error
        if kind in self.limits.halved or used < 2:
            raise WorkerError(_too_little(kind, used, halved=kind in self.limits.halved)) from error
        self.limits = self.limits.halve(kind, used)
        self.shortages.append(Shortage(kind, used))


class ModelRoom(Room):
    """The bounds for one model; `work` None has no automatic limits."""

    def __init__(self, bounds: Bounds, work: Work | None) -> None:
        self._bounds, self._work = bounds, work
        self._used = 0

    @property
    def state(self) -> int:
        """Bytes that the model takes between calls, in training; 0 where its sizes have other names."""
        return 0 if self._work is None else self._work.state

    @property
    def _room(self) -> int | None:
        """Bytes beside what the worker holds; None without a bound."""
        memory = self._bounds.limits.memory
        if memory is None or self._work is None:
            return None
        return memory - self._bounds.state - self._bounds.teacher_bytes

    def fits(self, *, rows: int, prompts: int, prompt_length: int, new_tokens: int) -> bool:
        most = self._bounds.limits.most("rollout_rows")
        if most is not None and rows > most:
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
        found = self._work.tokens_within(room, taught=self._bounds.teacher_bytes > 0)
        return found if most is None else min(found, most)

    def beat(self, answered: int = 0) -> None:
        self._bounds.beats += 1
        self._bounds.answered = answered

    def passing(self, tokens: int) -> None:
        self._used = tokens
        self._bounds.beats += 1

    def ran_out(self, kind: Kind, error: Exception, *, used: int | None = None) -> None:
        self._bounds.halve(kind, self._used if used is None else used, error)


def work_of(model: Any, training: Training, *, device: Literal["cpu", "cuda"]) -> Work | None:
    """Return what a worker does with a model; None for a model whose sizes have other names."""
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
    )


def _too_little(kind: Kind, used: int, *, halved: bool) -> str:
    what, remedies = {
        "rollout_rows": (f"decode {used} sequence(s) together", "resources.rollout_rows, or the task's answers"),
        "train_tokens": (f"train {used} token(s) in one pass", "resources.train_tokens"),
    }[kind]
    again = ", the limit having been halved once" if halved else ""
    return (
        f"a worker's memory does not suffice to {what}{again}; lower {remedies}, lower resources.workers, set "
        "training.gradient_checkpointing: true or training.adapter, or use a machine with more memory; then run the "
        "same command again: it goes on from the last checkpoint"
    )
