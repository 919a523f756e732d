"""Write what the images install as requirement files: `python requirements.py pyproject.toml FOLDER`.

`package.txt`: the package's dependencies. `server.txt`: MLflow and what its server needs beside (the extra `server`).
Standard library alone: it runs before anything is installed.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def main(pyproject: Path, folder: Path) -> None:
    project = tomllib.loads(pyproject.read_text())["project"]
    package: list[str] = project["dependencies"]
    mlflow = [line for line in package if line.startswith("mlflow")]
    _write(folder / "package.txt", package)
    _write(folder / "server.txt", [*mlflow, *project["optional-dependencies"]["server"]])


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
