"""What somebody else may have made is opened by `bootstrap/reading.py` alone, and tables by `store/parquet.py`."""

import ast
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(bootstrap.__file__).parent
OPENING = {"read_bytes", "read_text", "safe_open", "load_file", "GGUFReader", "ParquetFile", "memmap", "mmap", "fdopen"}
"""Calls that open a file to read it, or a format that libraries open, whatever they are called on."""
OPENING_OF = {
    "": {"open"},
    "io": {"open", "FileIO"},
    "os": {"open", "fdopen", "listdir", "scandir"},
    "json": {"load"},
    "pq": {"read_table"},
    "zipfile": {"ZipFile"},
    "tarfile": {"open"},
    "gzip": {"open"},
    "tokenize": {"open"},
    "sqlite3": {"connect"},
}
"""Owner of a call -> calls. `open` on a path is in `_opens`."""
ALLOWED = {
    "reading": "the reader itself",
    "store.durable": "writes",
    "store.parquet": "bounds what the library reads",
    "store.index_file": "SQLite in the user's own cache folder",
    "lineage.places": "SQLite, whose file is checked first",
    "training.sources": "GGUF, whose header is checked first",
    "config.source": "a recipe that the person names, which may be a pipe",
    "config.data": "data that the recipe's author names, checked to be a file of bounded size",
    "cli.recipes": "this program's and the working folder's recipes",
    "processor": "/proc",
    "machine": "/proc",
    "meaning": "this program's own code and that of plug-ins in use",
    "provenance": "this program's own code",
    "lineage.page.inline": "files of this package",
    "lineage.first_visit": "a file of MLflow's package",
    "cli.output": "/dev/null",
    "bench.sandbox": "measures",
}


def opens(call: ast.Call) -> bool:
    """Whether a call opens a file to be read, as far as its form tells."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in OPENING_OF[""] | OPENING
    if not isinstance(function, ast.Attribute):
        return False
    owner = ast.unparse(function.value)
    if function.attr in OPENING or function.attr in OPENING_OF.get(owner, ()):
        return True
    # A path's `open` has no argument, or its mode as text; this program's own have other ones.
    modes = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    return function.attr == "open" and any(
        isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) <= set("rwaxbt+")
        for mode in modes
    )


def test_one_module_opens_what_somebody_else_may_have_made() -> None:
    wrong, used = [], set[str]()
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name.startswith("sandbox."):
            # It runs what a model wrote, and reads the kernel's files and its own pipes.
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and opens(node):
                used.add(name)
                if name not in ALLOWED:
                    wrong.append(f"{name}, line {node.lineno}: {ast.unparse(node.func)}")
    assert not wrong, f"use bootstrap.reading: {wrong}"
    assert not ALLOWED.keys() - used, "these need no allowance any more"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("open(path)", True),
        ("path.open('rb')", True),
        ("path.read_bytes()", True),
        ("os.open(path, flags)", True),
        ("pq.ParquetFile(source)", True),
        ("safetensors.safe_open(path)", True),
        ("store.open(name, identity=identity)", False),
        ("root.read(name)", False),
        ("json.loads(data)", False),
    ],
)
def test_the_fence_tells_what_opens_a_file(line: str, expected: bool) -> None:
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert opens(call) is expected
