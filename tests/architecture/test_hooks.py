"""The hooks of git check what `make lint` checks."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
HOOKS = {
    hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
}


def triggers(hook: str, path: str) -> bool:
    return re.search(HOOKS[hook]["files"], path) is not None


def test_scripts_are_checked_in_the_folder_that_make_lint_names() -> None:
    [folder] = re.findall(r"/oxlint --deny-warnings (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert triggers("oxlint", f"{folder}/lineage/page/dom.js")
    assert not triggers("oxlint", "docs/javascripts/any.js")


def test_types_are_checked_when_their_settings_change() -> None:
    assert triggers("basedpyright", "pyproject.toml") and triggers("basedpyright", "bootstrap/errors.py")
    assert not triggers("basedpyright", "docs/pyproject.toml") and not triggers("basedpyright", "tests/conftest.py")
