"""Copy the lineages between the store and a tar archive, for backups; runs where the store is mounted:

    docker compose --file infra/compose.yaml exec -T head python -c "$(cat infra/store.py)" save /store/runs > store.tar
    docker compose --file infra/compose.yaml exec -T head python -c "$(cat infra/store.py)" load /store/runs < store.tar

A copy made while a run works is a whole lineage up to its newest record, because the ledgers are listed before the
artifacts, and what a record names was there before it. Final comparisons name records, so they come before the ledgers.
Left out is what a run throws away (`work/`, unfinished files). `load` wants a folder that is empty.
"""

import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

UNFINISHED, FINAL = ".tmp-", "final-"
"""How names begin of what is still written to, and of final comparisons (`bootstrap/store/`)."""


def save(root: Path, archive: BinaryIO) -> int:
    """Write the files below the folder to the archive; return how many."""
    count = 0
    with tarfile.open(fileobj=archive, mode="w|", dereference=True) as tar:
        for path in files(root):
            try:
                source = path.open("rb")
            except FileNotFoundError:
                # Removed since it was found; no record names such a file.
                continue
            with source:
                tar.addfile(tar.gettarinfo(arcname=str(path.relative_to(root)), fileobj=source), source)
            count += 1
    return count


def files(root: Path) -> Iterator[Path]:
    """Yield files in the order that keeps a copy whole; what is looked for later may have been written meanwhile."""
    finals = list(root.glob(f"*/artifacts/{FINAL}*/**/*"))
    ledgers = list(root.glob("*/ledger/*"))
    yield from sorted(path for path in (*finals, *ledgers) if path.is_file() and not is_unfinished(path))
    for folder, names, found in os.walk(root):
        names[:] = [name for name in sorted(names) if not is_left_out(Path(folder, name).relative_to(root))]
        yield from (path for name in sorted(found) if not is_unfinished(path := Path(folder, name)))


def is_left_out(folder: Path) -> bool:
    """Whether a folder, relative to the store, is thrown away by a run or in the archive already."""
    match folder.parts:
        case (_, "work" | "ledger"):
            return True
        case (_, "artifacts", name) if name.startswith(FINAL):
            return True
    return is_unfinished(folder)


def is_unfinished(path: Path) -> bool:
    return path.name.startswith(UNFINISHED)


def load(root: Path, archive: BinaryIO) -> int:
    """Write every file of the archive below the folder; return how many. Exits with a message if anything is there."""
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        sys.exit(f"{root} is not empty: restore into a folder of its own, or move away what is there")
    count = 0
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            tar.extract(member, root, filter="data")
            count += 1
    return count


def main(arguments: list[str]) -> None:
    """Do what the command line says. Exits with a message for any other."""
    if len(arguments) != 2 or arguments[0] not in ("save", "load"):
        sys.exit("usage: store.py save FOLDER > ARCHIVE, or store.py load FOLDER < ARCHIVE")
    action, root = arguments[0], Path(arguments[1])
    count = save(root, sys.stdout.buffer) if action == "save" else load(root, sys.stdin.buffer)
    print(f"{action}: {count} files of {root}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
