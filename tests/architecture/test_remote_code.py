"""No call of transformers runs the code of a model's author, or asks whether it may."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "bootstrap"


def refuses(call: ast.Call, tree: ast.Module) -> bool:
    """Whether a call passes trust_remote_code=False, itself or through a dictionary of its module."""
    shared = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for word in call.keywords:
        if word.arg == "trust_remote_code":
            return ast.unparse(word.value) == "False"
        if word.arg is None and isinstance(word.value, ast.Name):
            found = shared.get(word.value.id)
            if found is not None and "'trust_remote_code': False" in ast.unparse(found):
                return True
    return False


def test_every_opening_by_transformers_refuses_code_of_the_models_author() -> None:
    calls, faults = 0, list[str]()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="from_pretrained" | "from_config")):
                    calls += 1
                    if not refuses(node, tree):
                        faults.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert calls > 5 and not faults, faults
