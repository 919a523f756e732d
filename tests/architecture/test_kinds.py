"""Each kind answers for itself: nobody outside its room asks an algorithm, step, curriculum, task or name its class."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(bootstrap.__file__).parent
ROOMS = {
    "algorithms": ("config/algorithms.py",),
    "optimizers": ("config/optimizers.py",),
    "step": ("config/step.py",),
    "steps": ("config/steps.py",),
    "self_play": ("config/self_play.py",),
    "sampling_step": ("config/sampling_step.py",),
    "plugin_step": ("config/plugin_step.py",),
    "generations": ("config/generations.py",),
    "base_model": ("config/base_model.py", "config/models.py"),
    "models": ("config/models.py",),
    "task": ("config/task.py", "config/tasks.py"),
    "tasks": ("config/tasks.py",),
    "files": ("config/files.py",),
    "plugin_task": ("config/plugin_task.py",),
}
"""Modules of `config/` whose classes are kinds, and who may tell these apart."""
OTHERS = {"JudgeVerifier", "MajorityVerifier", "RewardModelVerifier", "Endpoint", "GenerationJudge"}
"""Classes of these modules that are of another kind: verifiers."""


@cache
def kinds() -> set[str]:
    """Return the names of the classes that nobody may tell apart by class."""
    found = set()
    for module in ROOMS:
        tree = ast.parse((ROOT / "config" / f"{module}.py").read_text(encoding="utf-8"))
        found |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    return found - OTHERS


def asked(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, class) of each class that `isinstance`, `issubclass` or a pattern asks for."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            names = ast.walk(node.args[1])
        elif isinstance(node, ast.MatchClass):
            names = ast.walk(node.cls)
        else:
            continue
        for name in names:
            if isinstance(name, ast.Name | ast.Attribute):
                yield node.lineno, name.id if isinstance(name, ast.Name) else name.attr


def test_no_kind_is_told_by_its_class_outside_its_own_room() -> None:
    rooms = {room for allowed in ROOMS.values() for room in allowed}
    wrong = [
        f"{path.relative_to(ROOT)}, line {line}: {name}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.relative_to(ROOT).as_posix() not in rooms
        for line, name in asked(ast.parse(path.read_text(encoding="utf-8")))
        if name in kinds()
    ]
    assert not wrong, f"ask the settings (a property or a method), so that a new kind needs no edit there: {wrong}"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("isinstance(x, Grpo)", "Grpo"),
        ("isinstance(x, int | RlStep)", "RlStep"),
        ("isinstance(x, (int, steps.RlStep))", "RlStep"),
        ("match x:\n    case StageEnd(stage=s):\n        pass", "StageEnd"),
    ],
)
def test_the_fence_sees_who_asks(source: str, name: str) -> None:
    assert name in kinds() and name in [found for _, found in asked(ast.parse(source))]
