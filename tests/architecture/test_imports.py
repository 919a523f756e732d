"""The layer table and the fences of the design, read from the source as it is written (lazy imports included)."""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(bootstrap.__file__).parent

LAYERS = {
    "errors": 0,
    "seeds": 0,
    "ids": 0,
    "records": 0,
    "ledger_records": 0,
    "learner_records": 0,
    "canonical": 0,
    "schema": 0,
    "references": 0,
    "levels": 0,
    "paired": 0,
    "meaning": 0,
    "plugins": 0,
    "plugin_files": 0,
    "lookups": 0,
    "python_values": 0,
    "telemetry": 0,
    "compute": 0,
    "processor": 0,
    "machine": 0,
    "reading": 0,
    "memory": 0,
    "provenance": 0,
    "local_server": 0,
    "config": 0,
    "gym_items": 1,
    "store": 1,
    "sandbox": 1,
    "prompts": 2,
    "rollouts": 2,
    "scoring": 2,
    "selection": 2,
    "training": 2,
    "evaluation": 2,
    "lineage": 3,
    "pool": 4,
    "roles": 4,
    "worker": 4,
    "sharded_pool": 4,
    "sharded_worker": 4,
    "model_process": 4,
    "vllm_sampler": 4,
    "vllm_worker": 4,
    "room": 4,
    "stages": 4,
    "planning": 4,
    "loop": 4,
    "reproduction": 4,
    "cluster": 5,
    "api": 6,
    "bench": 6,
    "cli": 6,
    "__main__": 6,
}
STAGE_FOLDERS = {name for name, layer in LAYERS.items() if layer == 2}
FENCES = {
    "torch": ("rollouts", "training", "worker", "model_process", "scoring.reward_model"),
    "transformers": ("rollouts", "training", "worker", "model_process", "scoring.reward_model"),
    "peft": ("rollouts", "training", "worker", "model_process", "scoring.reward_model"),
    "vllm": ("rollouts.vllm_server", "rollouts.vllm_weights"),
    "datasets": ("prompts.hub",),
    "reasoning_gym": ("gym_items", "prompts.gym", "scoring.gym_sandboxed"),
    "ray": ("cluster",),
    "mlflow": ("lineage",),
    "openlineage": ("lineage.openlineage",),
    "typer": ("cli",),
    "rich": ("cli",),
    "bootstrap.sandbox": ("sandbox", "scoring", "bench.sandbox"),
}
UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
WRITING_CALLS = {
    "write_text",
    "write_bytes",
    "save_pretrained",
    "save_file",
    "savetxt",
    "copyfile",
    "copytree",
    "move",
    "rmtree",
    "mkdir",
    "makedirs",
    "rmdir",
    "touch",
    "unlink",
    "rename",
    "symlink_to",
    "hardlink_to",
}
WRITING_OS_CALLS = {"open", "write", "replace", "link", "symlink", "remove"}
WRITERS = {
    # For reading alone: `os.open` says so in flags.
    "reading": {"open"},
    "store.durable": None,
    # Reading the policy's folders, writing to pipes, and wiping the scratch folder of a process that is gone.
    "sandbox.landlock": {"open"},
    "sandbox.supervisor": {"write"},
    # A script's input as a file in memory; pipes in the place of sockets.
    "sandbox.kernel": {"write"},
    "sandbox.stand_ins": {"write"},
    "sandbox.zygote": {"open", "write", "rename", "rmdir", "unlink"},
    # What a Ray job takes along is gathered in a temporary folder.
    "cluster.submit": {"mkdir", "copytree", "copyfile"},
    # A GGUF file is opened through a link in an empty temporary folder.
    "training.sources": {"symlink"},
    # /dev/null, in the place of a reader that has left.
    "cli.output": {"open"},
}
"""Modules that may write, and with which calls (None: any)."""


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name below `bootstrap`."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def imports(name: str) -> Iterator[str]:
    """Yield the dotted name of everything a module imports; names inside our package as far as they are modules."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("bootstrap.") in modules() else node.module


def ours(name: str) -> Iterator[str]:
    """Yield the modules of this package that a module imports, named below `bootstrap`."""
    yield from (imported.removeprefix("bootstrap.") for imported in imports(name) if imported.startswith("bootstrap."))


def top(name: str) -> str:
    return name.partition(".")[0]


def is_below(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}.")


def calls(name: str) -> Iterator[tuple[ast.Call, str, str]]:
    """Yield each call of a module with the name called and the name it is called on (empty for plain functions)."""
    return named(ast.walk(modules()[name]))


def named(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.Call, str, str]]:
    for node in nodes:
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node, node.func.id, ""
            elif isinstance(node.func, ast.Attribute):
                yield node, node.func.attr, ast.unparse(node.func.value)


def writes(call: ast.Call, function: str, owner: str) -> bool:
    """Whether a call creates, changes or removes a file: by its name, or `open` with a mode that writes."""
    if function in WRITING_CALLS or (owner == "os" and function in WRITING_OS_CALLS):
        return True
    if function != "open":
        return False
    values = [*call.args[: 1 if owner else 2], *(word.value for word in call.keywords if word.arg == "mode")]
    modes = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)


def test_every_module_has_a_layer() -> None:
    unknown = sorted({top(name) for name in modules() if name} - LAYERS.keys())
    assert not unknown, f"give these a place in the layer table of DESIGN.md and here: {unknown}"


def test_no_module_imports_a_higher_layer() -> None:
    wrong = [
        f"{name} (layer {LAYERS[top(name)]}) imports {other} (layer {LAYERS[top(other)]})"
        for name in modules()
        if name
        for other in ours(name)
        if LAYERS[top(other)] > LAYERS[top(name)]
    ]
    assert not wrong, wrong


def test_stage_folders_never_import_each_other() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if top(name) in STAGE_FOLDERS
        for other in ours(name)
        if top(other) in STAGE_FOLDERS and top(other) != top(name)
    ]
    assert not wrong, wrong


def test_the_lineage_rests_on_records_and_the_store_alone() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if top(name) == "lineage"
        for other in ours(name)
        if LAYERS[top(other)] > 1 and top(other) != "lineage"
    ]
    assert not wrong, wrong


def test_a_run_rests_on_no_plan() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if LAYERS.get(top(name), 6) <= 5 and top(name) != "planning"
        for other in ours(name)
        if top(other) == "planning"
    ]
    assert not wrong, wrong


def test_the_sandbox_needs_the_standard_library_and_our_errors_alone() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if top(name) == "sandbox"
        for other in imports(name)
        if top(other) not in sys.stdlib_module_names and not other.startswith(("bootstrap.errors", "bootstrap.sandbox"))
    ]
    assert not wrong, wrong


def test_the_lowest_layer_needs_pydantic_and_yaml_alone() -> None:
    allowed = {*sys.stdlib_module_names, "bootstrap", "pydantic", "yaml"}
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if LAYERS.get(top(name)) == 0
        for other in imports(name)
        if top(other) not in allowed
    ]
    assert not wrong, wrong


def test_heavy_packages_stay_behind_their_fences() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        for other in imports(name)
        for fenced, rooms in FENCES.items()
        if is_below(other, fenced) and not any(is_below(name, room) for room in rooms)
    ]
    assert not wrong, wrong


def test_imports_form_no_cycle() -> None:
    # A package's own docstring-only __init__ is no link of a chain.
    graph = {name: {other for other in ours(name) if other != name} for name in modules() if name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"import cycle: {' -> '.join(error.args[1])}") from None


def test_one_module_writes_files() -> None:
    wrong = [
        f"{name}, line {call.lineno}: {owner}{'.' if owner else ''}{function}"
        for name in modules()
        for call, function, owner in calls(name)
        if writes(call, function, owner) and not (name in WRITERS and function in (WRITERS[name] or {function}))
    ]
    assert not wrong, f"use bootstrap.store.durable: {wrong}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("open(path, 'w')", True),
        ("open(path, mode='ab')", True),
        ("path.open('x')", True),
        ("os.open(path, flags)", True),
        ("path.write_text(text)", True),
        ("path.parent.mkdir(parents=True)", True),
        ("open(path)", False),
        ("open(path, 'rb')", False),
        ("path.open()", False),
        ("text.replace('a', 'b')", False),
    ],
)
def test_the_fence_tells_writing_from_reading(line: str, expected: bool) -> None:
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    [(_, function, owner)] = named([call])
    assert writes(call, function, owner) is expected


def test_nothing_is_pickled() -> None:
    wrong = [f"{name} imports {other}" for name in modules() for other in imports(name) if top(other) in UNSAFE_MODULES]
    wrong += [
        f"{name}, line {call.lineno}: {owner}.{function}"
        for name in modules()
        for call, function, owner in calls(name)
        if owner == "torch" and function in {"load", "save"}
    ]
    assert not wrong, f"use safetensors or JSON: {wrong}"


def test_no_seed_rests_on_the_salted_hash() -> None:
    wrong = [
        f"{name}, line {call.lineno}"
        for name in modules()
        for call, function, owner in calls(name)
        if function == "hash" and not owner
    ]
    assert not wrong, f"use bootstrap.seeds: {wrong}"


def test_no_file_has_more_than_500_lines() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.rglob("*.py")}
    assert len(lengths) > 300
    assert not {path: lines for path, lines in lengths.items() if lines > 500}


def test_the_loop_stays_a_table_of_contents() -> None:
    lines = (ROOT / "loop.py").read_text(encoding="utf-8").count("\n")
    assert lines <= 150, f"bootstrap/loop.py has {lines} lines"


def test_every_module_says_what_it_is_for() -> None:
    silent = [name or "bootstrap" for name, tree in modules().items() if not ast.get_docstring(tree)]
    assert not silent, silent
