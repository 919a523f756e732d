"""Fuzz one reader with atheris: `python tests/fuzz/atheris_reader.py READER CORPUS [libFuzzer's options]`."""

import os
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]  # untyped
    include=["bootstrap", "json", "gguf"]
):
    from support.fuzz_readers import READERS, tried


def main() -> None:
    name, corpus, *options = sys.argv[1:]
    os.makedirs(corpus, exist_ok=True)
    for number, data in enumerate(READERS[name].seeds()):
        Path(corpus, f"seed-{number}").write_bytes(data)
    atheris.Setup([sys.argv[0], corpus, *options], lambda data: tried(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
