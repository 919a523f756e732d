"""Learners that hold one model together, as one pool: every call goes to all of them, and weights go by the disk.

    stored folder --- its path ---> rank 0..N-1, each reads its rows
    rank 0..N-1 --- rows ---> rank 0 --- a folder in `scratch` ---> samplers, the store

The driver handles paths and hashes; it never holds the weights. Left out: what a rank does (`sharded_worker.py`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bootstrap.errors import RecipeError
from bootstrap.learner_records import Version
from bootstrap.pool import OPTIMIZER_STATE, Pool, split_examples
from bootstrap.records import Checkpoint, Example
from bootstrap.store import durable
from bootstrap.store.on_disk import StoredFile, entries, renamed, written

FOLDER = "ranks/"
"""Where `training_state` has the files of all ranks."""


class ShardedPool(Pool):
    """Learners of one shared model; subclasses say how a call reaches a worker."""

    shares_disk = True
    scratch: Path
    """A folder on a disk that the driver, all learners and all samplers see under this path."""
    _latest: Checkpoint | None = None
    """The weights held, as they were written last."""

    def _dealt(self, examples: Sequence[Example]) -> list[tuple[int, list[Example]]]:
        """Return all workers, since those without examples take part too."""
        return list(enumerate(split_examples(examples, self.size)))

    def _new_folder(self) -> Path:
        return durable.temporary_beside(self.scratch / "any")

    def export(self) -> Checkpoint:
        """Return the current weights, written by all workers."""
        if self._latest is None or self._latest.fingerprint != self.holding:
            # The folder before goes once nobody needs it.
            self._latest, folder = None, self._new_folder()
            self.holding = self._one(self.broadcast("write", folder))
            self._latest = Checkpoint(fingerprint=self.holding, files=written(folder))
        return self._latest

    def publish(self) -> Version:
        """Return the weights as they are, once all workers agree on them."""
        return Version(self.holding or self.export().fingerprint)

    def published(self) -> Checkpoint:
        """Return the current weights for samplers, which read them from the disk."""
        return self.export()

    def training_state(self) -> tuple[Checkpoint, Mapping[str, bytes]]:
        """Return the weights, and the files of what else the training step goes on from, one or more of each rank."""
        folder = self._new_folder()
        self.broadcast("save", folder)
        return self.export(), renamed(written(folder), lambda name: f"{FOLDER}{name}")

    def release(self) -> None:
        """Let the workers, their memory and what they wrote go. May be repeated."""
        self._latest = None
        super().release()

    def _require_own(self, state: Mapping[str, bytes], stored: str) -> None:
        if OPTIMIZER_STATE in state:
            raise RecipeError(
                f"{stored or 'the state'} is of learners that each hold the whole model; set resources.shard to 1 to "
                "go on from it, or remove that folder to begin the training step anew"
            )

    def _restore(self, state: Mapping[str, bytes]) -> None:
        files = [file for name, file in entries(state).items() if name.startswith(FOLDER)]
        folders = set[Path]()
        for file in files:
            assert isinstance(file, StoredFile), "a state is not brought into this process"
            file.check()
            folders.add(file.path.parent)
        # Without any, no update has moved anything yet.
        for folder in folders:
            self.broadcast("restore", folder)
