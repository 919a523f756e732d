"""A class name has one meaning in the package."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "bootstrap"
HASHED = {"Judgement", "NotANumber", "Task"}
"""Names of two classes, of which a verifier's version covers one or both: new names would make it another verifier."""


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name for name, found in places.items() if len(found) > 1} == HASHED, dict(places)
