"""The trees of infra/k8s as kustomize builds them, with passwords that a test made up."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
import yaml
from support.kubernetes import TREE, Document, build

COMBINED = "everything"
"""All components in one overlay, in the order that their comments ask for."""
COMPONENTS = ("gpu", "spot", "autoscale", "job")
TREES = ("base", *(f"overlays/{name}" for name in COMPONENTS), f"overlays/{COMBINED}")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/k8s with secrets.env filled, and an overlay of all components."""
    copy = tmp_path_factory.mktemp("infra") / "k8s"
    shutil.copytree(TREE, copy)
    names = [line for line in (copy / "base/secrets.example.env").read_text().splitlines() if line.endswith("=")]
    (copy / "base/secrets.env").write_text("".join(f"{name}made-up-{number}\n" for number, name in enumerate(names)))
    write_overlay(copy, COMBINED, COMPONENTS)
    return copy


def write_overlay(tree: Path, name: str, components: Sequence[str]) -> Path:
    """Write an overlay of the base and these components; return its folder."""
    folder = tree / "overlays" / name
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": ["../../base"],
                "components": [f"../../components/{component}" for component in components],
            }
        )
    )
    return folder


@pytest.fixture(scope="session")
def built(tree: Path) -> Callable[[str], list[Document]]:
    """Build a tree by name, once; the documents are shared: copy before you change one."""
    return cache(lambda name: build(tree / name))


@pytest.fixture(scope="session")
def versions() -> Mapping[str, str]:
    """The exact versions of constraints.txt by name."""
    lines = (TREE.parents[1] / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)
