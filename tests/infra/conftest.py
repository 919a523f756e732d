"""The trees of infra/k8s as kustomize builds them."""

import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
from support.kubernetes import COMBINED, COMPONENTS, REPOSITORY, TREE, Document, build, write_overlay


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/k8s, with an overlay of all components."""
    copy = tmp_path_factory.mktemp("infra") / "k8s"
    shutil.copytree(TREE, copy)
    write_overlay(copy, COMBINED, COMPONENTS)
    return copy


@pytest.fixture(scope="session")
def built(tree: Path) -> Callable[[str], list[Document]]:
    """Build a tree by name, once; the documents are shared: copy before you change one."""
    return cache(lambda name: build(tree / name))


@pytest.fixture(scope="session")
def versions() -> Mapping[str, str]:
    """The exact versions of constraints.txt by name."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)
